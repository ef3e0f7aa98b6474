"""Worlds, and what can happen in them: one definition for breadth-first search, for random schedules and for replay.

A world is what its nodes are in, what is under way between them, the time where all have one clock, and how often what
goes wrong may still go wrong. All of these are numbers (Lives), so that a world is small and soon compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from struct import pack
from typing import Any, NamedTuple, cast

from testbed.errors import UserError
from testbed.explore.model import Model, Time
from testbed.explore.states import Event, Lives, States
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


class Moves:
    """What can happen next in the worlds of some lives under some rules, and what comes of it."""

    def __init__(self, lives: Lives, rules: Rules) -> None:
        self.model, self.rules, self.lives = lives.model, rules, lives
        self._channels: list[int] = []  # of each message, by its number: from whom to whom
        self._deliveries: list[Step] = []
        self._learn()

    def begin(self) -> World:
        """All nodes have come up, and nothing has been heard yet."""
        rules = self.rules
        nodes: list[int] = []
        wire: list[int] = []
        now_ns = START_NS if self.model.time is Time.TIMELY else 0
        for node in range(len(self.model.configs)):
            born = self.lives.after(self.lives.unborn(node), State.LOST, now_ns)
            nodes.append(born.state)
            wire += born.sent
        left = Left(rules.crashes, rules.restarts, rules.drops, rules.copies, rules.timers, rules.omits)
        return World(tuple(nodes), self.ordered(wire), now_ns, left)

    def broken(self, world: World) -> str:
        """Which invariant does not hold, and how, in words; empty when all do."""
        told = [self.lives.distinct_facts[self.lives.facts[state]] for state in world.nodes]
        wrong = ((one.name, one.broken(told)) for one in self.model.invariants)
        return next((f"{name}: {how}" for name, how in wrong if how), "")

    # -- what can happen ---------------------------------------------------------------------------------------------

    def deliveries(self, world: World) -> list[Step]:
        """That a message comes, to whoever is there or not."""
        deliveries = self._deliveries
        return [deliveries[packet] for packet in self._heads(world)]

    def fires(self, world: World) -> list[Step]:
        """That a timer fires."""
        if world.left.timers == 0:
            return []
        if self.model.time is not Time.TIMELY:
            return [step for node, state in enumerate(world.nodes) for step in self._first_timers(node, state)]
        soonest_ns = min(self.lives.first_ns[state] for state in world.nodes)
        if soonest_ns > world.now_ns and any(self._is_up(world, packet) for packet in world.wire):
            return []
        return [
            Step(Verb.FIRE, node, name)
            for node, state in enumerate(world.nodes)
            for name, due_ns in self.lives.timers[state]
            if due_ns <= max(soonest_ns, world.now_ns)
        ]

    def kills(self, world: World) -> list[Step]:
        """That a node dies between two events."""
        if not world.left.crashes:
            return []
        return [Step(Verb.CRASH, node) for node, state in enumerate(world.nodes) if self.lives.up[state]]

    def restarts(self, world: World) -> list[Step]:
        """That a node comes up again."""
        if not world.left.restarts:
            return []
        down = [node for node, state in enumerate(world.nodes) if not self.lives.up[state]]
        return [Step(Verb.RESTART, node, find) for node in down for find in self.rules.finds]

    def losses(self, world: World) -> list[Step]:
        """That a message is lost."""
        left, packets = world.left, self.lives.packets
        lost: list[int] = []
        if left.drops or left.omits:
            lost = self._heads(world)
        if not left.drops:
            lost = [packet for packet in lost if left.omitting in (NOBODY, packets[packet].src)]
        return [Step(Verb.DROP, packets[packet].dst, packet) for packet in lost]

    def copies(self, world: World) -> list[Step]:
        """That a message is under way once more."""
        if not world.left.copies:
            return []
        return [Step(Verb.COPY, self.lives.packets[packet].dst, packet) for packet in self._heads(world)]

    def _heads(self, world: World) -> list[int]:
        """The messages that can come next, each once."""
        if self.rules.network is Network.FIFO:
            first: dict[int, int] = {}
            for packet in world.wire:
                first.setdefault(self._channels[packet], packet)
            return list(first.values())
        return list(dict.fromkeys(world.wire))

    def _first_timers(self, node: int, state: int) -> Iterable[Step]:
        """That a timer fires which is due first at its node."""
        first_ns = self.lives.first_ns[state]
        return [Step(Verb.FIRE, node, name) for name, due_ns in self.lives.timers[state] if due_ns == first_ns]

    def _is_up(self, world: World, packet: int) -> bool:
        return self.lives.up[world.nodes[self.lives.packets[packet].dst]]

    def time_of(self, world: World, node: int, event: Event) -> int:
        """When something happens, where all have one clock."""
        if self.model.time is not Time.TIMELY or not isinstance(event, str):
            return world.now_ns
        return max(world.now_ns, dict(self.lives.timers[world.nodes[node]])[event])

    # -- what comes of it --------------------------------------------------------------------------------------------

    def after(self, world: World, step: Step) -> World:
        """What one of its choices leads to."""
        verb, node, event, done = step
        nodes, wire, now_ns, left = world
        if verb is Verb.DELIVER:
            if self.rules.network is not Network.SET:
                wire = _without(wire, event)
            if not self.lives.up[nodes[node]]:
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
            dead = self.lives.killed(nodes[node])
            return self._mourned(_put(nodes, node, dead), wire, now_ns, left)
        if done is None:
            state, sent = self.lives.after(nodes[node], event, now_ns)
            if state == nodes[node] and not sent and wire is world.wire and left == world.left:
                return world
            if sent:
                wire = self.ordered((*wire, *self._heard(sent, nodes, left)))
            return World(_put(nodes, node, state), wire, now_ns, left)
        state, sent = self.lives.dying(nodes[node], event, now_ns, done)
        wire = self.ordered((*wire, *self._heard(sent, nodes, left)))
        return self._mourned(_put(nodes, node, state), wire, now_ns, left)

    def _lost(self, left: Left, packet: int) -> Left:
        """A message is lost."""
        if self.rules.omits:
            return left._replace(omits=_less(left.omits), omitting=self.lives.packets[packet].src)
        return left._replace(drops=_less(left.drops))

    def _heard(self, sent: tuple[int, ...], nodes: tuple[int, ...], left: Left) -> tuple[int, ...]:
        """What is sent, but for what nobody will ever hear."""
        if left.restarts or left.crashes == self.rules.crashes > 0:
            return sent
        packets, up = self.lives.packets, self.lives.up
        return tuple([packet for packet in sent if up[nodes[packets[packet].dst]]])

    def _mourned(self, nodes: tuple[int, ...], wire: tuple[int, ...], now_ns: int, left: Left) -> World:
        """A node has died; if none can be restarted, nobody will hear what is under way to it."""
        left = left._replace(crashes=_less(left.crashes))
        return World(nodes, self._heard(wire, nodes, left), now_ns, left)

    def ordered(self, wire: list[int] | tuple[int, ...]) -> tuple[int, ...]:
        """What is under way, in the order that is the same for equal worlds."""
        if len(self._channels) < len(self.lives.packets):
            self._learn()
        if self.rules.network is Network.SET:
            return tuple(sorted(set(wire)))
        if self.rules.network is Network.FIFO:
            return tuple(sorted(wire, key=self._channels.__getitem__))
        return tuple(sorted(wire))

    def _learn(self) -> None:
        """What is to be known of messages that have a number since the last time."""
        for number, packet in enumerate(self.lives.packets[len(self._channels) :], len(self._channels)):
            self._channels.append(packet.src << 8 | packet.dst)
            self._deliveries.append(Step(Verb.DELIVER, packet.dst, number))


class Worlds(Moves):
    """Worlds that are kept as values, so that a search may go on from any of them, and tell whether it has been there:
    with all ways of dying that make a difference."""

    def __init__(self, model: Model, rules: Rules, states: States | None = None) -> None:
        rules.check(model)
        self.states = states or States(model, rules.finds if rules.restarts else ())
        super().__init__(self.states, rules)
        self._fires: dict[int, Sequence[Step]] = {}
        self._broken: dict[tuple[int, ...], str] = {}

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
            found = self._broken[key] = super().broken(world)
        return found

    def choices(self, world: World) -> list[Step]:
        """All that can happen next, in an order that is always the same."""
        left = world.left
        steps = self.deliveries(world)
        steps += self.fires(world)
        if left.crashes:
            steps += list(self._deaths(world, steps))
        if left.restarts:
            steps += self.restarts(world)
        if left.drops or left.omits:
            steps += self.losses(world)
        if left.copies:
            steps += self.copies(world)
        return steps

    def can_happen(self, world: World, step: Step) -> bool:
        """Whether it can, next: one of the choices, or dying at another place of an event."""
        if step.verb is Verb.DELIVER or step.verb is Verb.FIRE:
            may = self.deliveries(world) if step.verb is Verb.DELIVER else self.fires(world)
            dies = step.done is None or (world.left.crashes != 0 and self.states.up[world.nodes[step.node]])
            return dies and step._replace(done=None) in may
        others = {
            Verb.CRASH: self.kills,
            Verb.RESTART: self.restarts,
            Verb.DROP: self.losses,
            Verb.COPY: self.copies,
        }
        return step in others[step.verb](world)

    def _deaths(self, world: World, steps: list[Step]) -> Iterator[Step]:
        """Nodes that die in one of these steps, or between any two."""
        yield from self.kills(world)
        for verb, node, event, _ in steps:
            state = world.nodes[node]
            if self.states.up[state]:
                for done, _ in self.states.deaths(state, event, self.time_of(world, node, event)):
                    yield Step(verb, node, event, done)

    def _first_timers(self, node: int, state: int) -> Iterable[Step]:
        steps = self._fires.get(state)
        if steps is None:
            steps = self._fires[state] = list(super()._first_timers(node, state))
        return steps


def _less(left: int) -> int:
    """Once more it has happened."""
    return left if left == UNBOUNDED else left - 1


def _without(wire: tuple[int, ...], packet: Any) -> tuple[int, ...]:
    place = wire.index(packet)
    return wire[:place] + wire[place + 1 :]


def _put(nodes: tuple[int, ...], node: int, state: int) -> tuple[int, ...]:
    return (*nodes[:node], state, *nodes[node + 1 :])
