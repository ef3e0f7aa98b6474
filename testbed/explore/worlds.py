"""Worlds, and what can happen in them: one definition for breadth-first search, for random schedules and for replay.

A world is what its nodes are in, what is under way between them, the time where all have one clock, and how often what
goes wrong may still go wrong. All of these are numbers (States), so that a world is small and soon compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from struct import pack
from typing import Any, NamedTuple, cast

from testbed.errors import UserError
from testbed.explore.model import Model, Time
from testbed.explore.states import Event, States
from testbed.nodes.core.config import START_NS
from testbed.nodes.core.disk import State

UNBOUNDED = -1
"""In place of how often something may happen: as often as can be."""

NOBODY = -1
"""In place of a node's number."""


class Network(StrEnum):
    """What becomes of messages under way."""

    ANY = "any"
    """They come in any order, or never."""
    FIFO = "fifo"
    """Those from one node to another come in the order in which they were sent."""
    SET = "set"
    """What has been said once may be heard again and again, in any order, or never: nothing is used up."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How often what may go wrong does, in one run. crashes, restarts: of nodes; finds: what a restarted node may find
    on its disk. drops, copies: of messages. timers: that fire. Each may be UNBOUNDED.

    omits: of Time.TIMELY. How many messages of one node may be lost each time before the clock goes on, of another node
    each time: in rounds, omissions of one sender a round (Santoro, Widmayer 1989)."""

    network: Network = Network.ANY
    crashes: int = 0
    restarts: int = 0
    drops: int = 0
    copies: int = 0
    timers: int = UNBOUNDED
    finds: tuple[State, ...] = (State.KEPT,)
    omits: int = 0

    def check(self, model: Model) -> None:
        """Raises UserError for what makes no sense together."""
        if self.network is Network.SET and (self.drops or self.copies):
            raise UserError("--network set: nothing is used up, so that there is nothing to drop or copy; leave it out")
        if self.network is Network.SET and model.time is Time.TIMELY:
            raise UserError("--network set does not go with --time timely: there would always be something under way")
        if self.omits and model.time is not Time.TIMELY:
            raise UserError(f"--omissions {self.omits}: they are counted by rounds; take --time timely")
        if self.omits and self.drops:
            raise UserError("--omissions and --drops: one of them, or nobody can tell which a lost message is")
        if self.restarts > self.crashes >= 0:
            raise UserError(f"--restarts {self.restarts}: no more than there are crashes ({self.crashes})")


class Verb(StrEnum):
    """What happens in a step."""

    DELIVER = "deliver"
    DROP = "drop"
    COPY = "copy"
    FIRE = "fire"
    CRASH = "crash"
    RESTART = "restart"


class Step(NamedTuple):
    """One thing that happens. node: to whom, or whose message is meant for it. event: the message's number, the timer's
    name, what is found on the disk; 0 of a crash between events. done: the node dies when so many effects of it are
    done (None: it lives)."""

    verb: Verb
    node: int
    event: Event = 0
    done: int | None = None


class Left(NamedTuple):
    """How often it may still happen (Rules). omits: before the clock goes on; omitting: whose messages have been lost
    since it went on last, or NOBODY."""

    crashes: int
    restarts: int
    drops: int
    copies: int
    timers: int
    omits: int = 0
    omitting: int = NOBODY


class World(NamedTuple):
    """nodes: the number of each one's state. wire: the numbers of messages under way, in a canonical order; of one that
    is under way twice, twice. now_ns: Time.TIMELY only, else 0."""

    nodes: tuple[int, ...]
    wire: tuple[int, ...]
    now_ns: int
    left: Left


class Worlds:
    """What can happen in the worlds of a model under some rules."""

    def __init__(self, model: Model, rules: Rules, states: States | None = None) -> None:
        rules.check(model)
        self.model, self.rules = model, rules
        self.states = states or States(model, rules.finds if rules.restarts else ())
        self._channels: list[int] = []  # of each message, by its number: from whom to whom
        self._deliveries: list[Step] = []
        self._fires: dict[int, tuple[Step, ...]] = {}
        self._broken: dict[tuple[int, ...], str] = {}
        self._learn()

    def begin(self) -> World:
        """All nodes have come up, and nothing has been heard yet."""
        rules = self.rules
        nodes: list[int] = []
        wire: list[int] = []
        now_ns = START_NS if self.model.time is Time.TIMELY else 0
        for node in range(len(self.model.configs)):
            born = self.states.after(self.states.unborn(node), State.LOST, now_ns)
            nodes.append(born.state)
            wire += born.sent
        left = Left(rules.crashes, rules.restarts, rules.drops, rules.copies, rules.timers, rules.omits)
        return World(tuple(nodes), self.ordered(wire), now_ns, left)

    def digest(self, world: World) -> bytes:
        """16 bytes that tell worlds apart."""
        nodes, wire, now_ns, left = world
        numbers = (*nodes, now_ns, *left, *wire)
        return blake2b(pack(f"{len(numbers)}q", *numbers), digest_size=16).digest()

    def broken(self, world: World) -> str:
        """Which invariant does not hold, and how, in words; empty when all do."""
        facts = self.states.facts
        key = tuple([facts[state] for state in world.nodes])
        found = self._broken.get(key)
        if found is None:
            told = [self.states.distinct_facts[number] for number in key]
            wrong = ((one.name, one.broken(told)) for one in self.model.invariants)
            found = self._broken[key] = next((f"{name}: {how}" for name, how in wrong if how), "")
        return found

    # -- what can happen ---------------------------------------------------------------------------------------------

    def choices(self, world: World) -> list[Step]:
        """All that can happen next, in an order that is always the same."""
        left = world.left
        steps = self._deliverable(world)
        steps += self._fireable(world)
        if left.crashes:
            steps += list(self._deaths(world, steps))
        if left.restarts:
            up = self.states.up
            steps += [
                Step(Verb.RESTART, node, find)
                for node, state in enumerate(world.nodes)
                if not up[state]
                for find in self.rules.finds
            ]
        if left.drops or left.copies or left.omits:
            heads, packets = self._heads(world), self.states.packets
            if left.drops:
                steps += [Step(Verb.DROP, packets[packet].dst, packet) for packet in heads]
            if left.omits:
                lost = [packet for packet in heads if left.omitting in (NOBODY, packets[packet].src)]
                steps += [Step(Verb.DROP, packets[packet].dst, packet) for packet in lost]
            if left.copies:
                steps += [Step(Verb.COPY, packets[packet].dst, packet) for packet in heads]
        return steps

    def _heads(self, world: World) -> list[int]:
        """The messages that can come next, each once."""
        if self.rules.network is Network.FIFO:
            first: dict[int, int] = {}
            for packet in world.wire:
                first.setdefault(self._channels[packet], packet)
            return list(first.values())
        return list(dict.fromkeys(world.wire))

    def _deliverable(self, world: World) -> list[Step]:
        deliveries = self._deliveries
        return [deliveries[packet] for packet in self._heads(world)]

    def _fireable(self, world: World) -> list[Step]:
        if world.left.timers == 0:
            return []
        if self.model.time is not Time.TIMELY:
            return [step for state in world.nodes for step in self._first_timers(state)]
        soonest_ns = min(self.states.first_ns[state] for state in world.nodes)
        if soonest_ns > world.now_ns and any(self._is_up(world, packet) for packet in world.wire):
            return []
        return [
            Step(Verb.FIRE, node, name)
            for node, state in enumerate(world.nodes)
            for name, due_ns in self.states.timers[state]
            if due_ns <= max(soonest_ns, world.now_ns)
        ]

    def _first_timers(self, state: int) -> tuple[Step, ...]:
        """That a timer fires which is due first at its node."""
        steps = self._fires.get(state)
        if steps is None:
            first_ns, node = self.states.first_ns[state], self.states.states[state].node
            due = (name for name, due_ns in self.states.timers[state] if due_ns == first_ns)
            steps = self._fires[state] = tuple(Step(Verb.FIRE, node, name) for name in due)
        return steps

    def _is_up(self, world: World, packet: int) -> bool:
        return self.states.up[world.nodes[self.states.packets[packet].dst]]

    def _deaths(self, world: World, steps: list[Step]) -> Iterator[Step]:
        """Nodes that die in one of these steps, or between any two."""
        for node, state in enumerate(world.nodes):
            if self.states.up[state]:
                yield Step(Verb.CRASH, node)
        for verb, node, event, _ in steps:
            state = world.nodes[node]
            if self.states.up[state]:
                for done, _ in self.states.deaths(state, event, self.time_of(world, node, event)):
                    yield Step(verb, node, event, done)

    def time_of(self, world: World, node: int, event: Event) -> int:
        """When something happens, where all have one clock."""
        if self.model.time is not Time.TIMELY or not isinstance(event, str):
            return world.now_ns
        return max(world.now_ns, dict(self.states.timers[world.nodes[node]])[event])

    # -- what comes of it --------------------------------------------------------------------------------------------

    def after(self, world: World, step: Step) -> World:
        """What one of its choices leads to."""
        verb, node, event, done = step
        nodes, wire, now_ns, left = world
        if verb is Verb.DELIVER:
            if self.rules.network is not Network.SET:
                wire = _without(wire, event)
            if not self.states.up[nodes[node]]:
                return World(nodes, wire, now_ns, left)
        elif verb is Verb.FIRE:
            later_ns = self.time_of(world, node, event)
            if later_ns > now_ns:  # what is under way then is for nodes that are down, and is lost there
                now_ns, wire = later_ns, ()
                left = left._replace(omits=self.rules.omits, omitting=NOBODY)
            left = left._replace(timers=_less(left.timers))
        elif verb is Verb.RESTART:
            left = left._replace(restarts=_less(left.restarts))
        elif verb is Verb.DROP:
            return World(nodes, _without(wire, event), now_ns, self._lost(left, cast(int, event)))
        elif verb is Verb.COPY:
            return World(
                nodes, self.ordered((*wire, cast(int, event))), now_ns, left._replace(copies=_less(left.copies))
            )
        else:
            dead = self.states.killed(nodes[node])
            return self._mourned(_put(nodes, node, dead), wire, now_ns, left)
        if done is None:
            state, sent = self.states.after(nodes[node], event, now_ns)
            if state == nodes[node] and not sent and wire is world.wire and left == world.left:
                return world
            if sent:
                wire = self.ordered((*wire, *self._heard(sent, nodes, left)))
            return World(_put(nodes, node, state), wire, now_ns, left)
        ways = self.states.deaths(nodes[node], event, now_ns)
        state, sent = next(outcome for died, outcome in ways if died == done)
        wire = self.ordered((*wire, *self._heard(sent, nodes, left)))
        return self._mourned(_put(nodes, node, state), wire, now_ns, left)

    def _lost(self, left: Left, packet: int) -> Left:
        """A message is lost."""
        if self.rules.omits:
            return left._replace(omits=_less(left.omits), omitting=self.states.packets[packet].src)
        return left._replace(drops=_less(left.drops))

    def _heard(self, sent: tuple[int, ...], nodes: tuple[int, ...], left: Left) -> tuple[int, ...]:
        """What is sent, but for what nobody will ever hear."""
        if left.restarts or left.crashes == self.rules.crashes > 0:
            return sent
        packets, up = self.states.packets, self.states.up
        return tuple([packet for packet in sent if up[nodes[packets[packet].dst]]])

    def _mourned(self, nodes: tuple[int, ...], wire: tuple[int, ...], now_ns: int, left: Left) -> World:
        """A node has died; if none can be restarted, nobody will hear what is under way to it."""
        left = left._replace(crashes=_less(left.crashes))
        return World(nodes, self._heard(wire, nodes, left), now_ns, left)

    def ordered(self, wire: list[int] | tuple[int, ...]) -> tuple[int, ...]:
        """What is under way, in the order that is the same for equal worlds."""
        if len(self._channels) < len(self.states.packets):
            self._learn()
        if self.rules.network is Network.SET:
            return tuple(sorted(set(wire)))
        if self.rules.network is Network.FIFO:
            return tuple(sorted(wire, key=self._channels.__getitem__))
        return tuple(sorted(wire))

    def _learn(self) -> None:
        """What is to be known of messages that have a number since the last time."""
        for number, packet in enumerate(self.states.packets[len(self._channels) :], len(self._channels)):
            self._channels.append(packet.src << 8 | packet.dst)
            self._deliveries.append(Step(Verb.DELIVER, packet.dst, number))


def _less(left: int) -> int:
    """Once more it has happened."""
    return left if left == UNBOUNDED else left - 1


def _without(wire: tuple[int, ...], packet: Any) -> tuple[int, ...]:
    place = wire.index(packet)
    return wire[:place] + wire[place + 1 :]


def _put(nodes: tuple[int, ...], node: int, state: int) -> tuple[int, ...]:
    return (*nodes[:node], state, *nodes[node + 1 :])
