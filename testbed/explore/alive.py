"""Nodes that live through one schedule, and of which no state is kept, copied or compared.

For schedules at random, which seldom come to the same state twice and never go back to one: a step costs what it costs
the machine. What States tells of a schedule's steps these tell, too, by other numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.explore.disks import Disk
from testbed.explore.model import Model, Time
from testbed.explore.states import Event, Hands, Lives, NodeState, Outcome
from testbed.nodes.core.config import START_NS
from testbed.nodes.core.disk import State
from testbed.nodes.core.driver import Driver


class _Node:
    """What becomes of one node. state: the number of the state that it is in now; driver: None while it is down."""

    def __init__(self, lives: Lives, state: int, was: NodeState) -> None:
        self.state, self.epoch, self.now_ns = state, was.epoch, was.now_ns
        self.hands = Hands(lives, was)
        self.driver: Driver | None = None
        self.told = 0  # how many facts it had told when they had a number last


class Alive(Lives):
    """The nodes of one schedule. Only the last state of each can be left, and that once."""

    def __init__(self, model: Model, finds: Sequence[State] = ()) -> None:
        super().__init__(model, finds)
        self._nodes: list[_Node] = []
        self._node_in: list[int] = []  # of each state, whose it is
        self.distinct_facts.append(frozenset())

    def unborn(self, node: int) -> int:
        """The state before the first life."""
        now_ns = START_NS if self.model.time is Time.OWN else 0
        was = NodeState(node, None, (), Disk(), (), 0, now_ns, frozenset())
        self._nodes.append(_Node(self, len(self.up), was))
        self._node_in.append(node)
        return self._add(False, (), 0)

    def after(self, state: int, event: Event, now_ns: int) -> Outcome:
        """What comes of an event. now_ns: the time, where all have one clock."""
        node = self._in(state)
        sent = self._do(node, event, now_ns, None)
        return Outcome(self._left(node), sent)

    def dying(self, state: int, event: Event, now_ns: int, done: int) -> Outcome:
        """The same, of a node that dies when so many effects of it are done, or all, if there are fewer."""
        node = self._in(state)
        sent = self._do(node, event, now_ns, done)
        node.driver = None
        return Outcome(self._left(node), sent)

    def killed(self, state: int) -> int:
        """The node dies between two events."""
        node = self._in(state)
        node.driver = None
        return self._left(node)

    def _in(self, state: int) -> _Node:
        node = self._nodes[self._node_in[state]]
        assert node.state == state, "a state that has been left is gone"
        return node

    def _do(self, node: _Node, event: Event, now_ns: int, done: int | None) -> tuple[int, ...]:
        """An event happens to the node; the messages sent in it."""
        hands = node.hands
        due_ns = hands.timers.pop(event, 0) if isinstance(event, str) else 0
        now_ns = self.told_ns(node.now_ns, due_ns, now_ns)
        if isinstance(event, State):
            node.driver = self._born(node, event)
        assert node.driver is not None
        effects = self.tell(node.driver, event, now_ns)
        node.driver.perform(effects[:done], now_ns)
        if self.model.time is Time.OWN:
            node.now_ns = now_ns
        sent = tuple(hands.sent)
        hands.sent.clear()
        return sent

    def _born(self, node: _Node, finds: State) -> Driver:
        node.epoch += 1
        node.hands.disk = node.hands.disk.found(finds)
        config = self.config(self._node_in[node.state], node.epoch)
        return Driver(self.model.build(config), node.hands, config, (), dict(node.hands.disk.held))

    def _left(self, node: _Node) -> int:
        """The number of the state that it is in now."""
        hands, up = node.hands, node.driver is not None
        if not up:
            hands.timers.clear()
        facts = self.facts[node.state]
        if len(hands.facts) > node.told:
            node.told, facts = len(hands.facts), len(self.distinct_facts)
            self.distinct_facts.append(frozenset(hands.facts))
        self._node_in.append(self._node_in[node.state])
        node.state = self._add(up, tuple(hands.timers.items()), facts)
        return node.state
