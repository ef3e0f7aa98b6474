"""The impossibility of Fischer, Lynch and Paterson (1985), followed step by step over an engine's own machines.

Lemma 2: some initial configuration is bivalent. Lemma 3: from a bivalent configuration, whatever event is due, a
bivalent one can be come to in which that event has just happened. So a schedule can be made in which every event
happens some day and nothing is ever decided: the oldest event is the next that is due, again and again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import NamedTuple

from testbed.errors import UserError
from testbed.explore.model import LINK, TWO_PHASE_COMMIT, Time
from testbed.explore.schedule import Asked
from testbed.explore.valence import Reach, Valences, steps_of
from testbed.explore.worlds import Network, Step, Verb, World, Worlds
from testbed.nodes.consensus.spec import LOG, PARTIAL
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.inputs import input_value
from testbed.nodes.core.values import to_int
from testbed.nodes.registry import engine_spec

MOST_NODES = 5

_NEAR, _FAR = 60, 3000
"""Worlds that are looked at for one bivalent successor: at first, and when nothing else has helped."""


class Valence(StrEnum):
    """What can be decided from a configuration."""

    BIVALENT = "bivalent"
    """Two values or more."""
    UNIVALENT = "univalent"
    """One, and no other: all that can be come to was looked at."""
    BARREN = "barren"
    """None: all was looked at."""
    OPEN = "open"
    """One or none is known, and not all was looked at."""


@dataclass(frozen=True)
class Initial:
    """One initial configuration. inputs: the nodes' bits; None: each submits a value of its own, and there is no other.

    asked: what leads to it. values: that are decided in some run. ways: in how many steps, where one is known. states:
    worlds that were looked at beside those ways; complete: all that there are. reach: these, where each world's valence
    was asked for (Time.TIMELY).
    """

    inputs: tuple[int, ...] | None
    asked: Asked
    values: tuple[bytes, ...]
    ways: Mapping[bytes, int]
    states: int
    complete: bool
    reach: Reach | None = None

    @property
    def valence(self) -> Valence:
        """What was not looked at as a whole is never called univalent."""
        if len(self.values) > 1:
            return Valence.BIVALENT
        if not self.complete:
            return Valence.OPEN
        return Valence.UNIVALENT if self.values else Valence.BARREN


class Successor(NamedTuple):
    """Lemma 3 for one event that can happen. steps: to a bivalent configuration in which it has happened, or is past;
    None: none was found among ``tried`` worlds."""

    due: Step
    steps: list[Step] | None
    tried: int


@dataclass
class Ever:
    """A schedule along which every configuration is bivalent. stages: how often Lemma 3 was applied. longest_wait:
    steps between an event's being due and its happening, at most. ways: from its last configuration to two decisions.
    stuck: what was due when no bivalent successor was found; None: it is as long as was asked for."""

    steps: list[Step]
    stages: int
    longest_wait: int
    ways: dict[bytes, list[Step]]
    stuck: Successor | None


def _check(asked: Asked) -> None:
    """Raises UserError for what no valence can be told of."""
    if asked.engine in (LINK, TWO_PHASE_COMMIT):
        raise UserError(f"flp {asked.engine}: name an engine of consensus (testbed list consensus), such as paxos")
    n = len(asked.model().configs)
    if n > MOST_NODES:
        raise UserError(f"--nodes {n}: valence can be told of {MOST_NODES} at the most")
    if engine_spec(asked.engine).order == PARTIAL:
        raise UserError(f"flp {asked.engine}: it puts in order only what does not commute; there is no first entry")
    if not _keeps_log(asked) and {"inputs", "seed"} & set(asked.settings):
        raise UserError("--set inputs and --set seed: flp looks at all inputs by itself; leave them out")
    if asked.rules.network is Network.SET:
        raise UserError("--network set: there every event is due for ever; take any or fifo")


def _keeps_log(asked: Asked) -> bool:
    return engine_spec(asked.engine).order == LOG


# -- Lemma 2 -----------------------------------------------------------------------------------------------------------


def initials(asked: Asked, most: int) -> Iterator[Initial]:
    """Every initial configuration with a bit at each node, and what can be decided from it. most: worlds that are
    looked at for each. Raises UserError."""
    _check(asked)
    if _keeps_log(asked):
        yield _initial(None, asked, most)
        return
    configs = asked.model().configs
    for bits in product((0, 1), repeat=len(configs)):
        settings = {**asked.settings, "inputs": "random", "seed": _seed_of(bits, configs[0])}
        yield _initial(bits, replace(asked, settings=settings), most)


def _seed_of(bits: tuple[int, ...], config: NodeConfig) -> int:
    """The least seed of the protocol under which these are the nodes' random inputs."""
    seed = 0
    while True:
        protocol = replace(config.protocol, inputs="random", seed=seed)
        drawn = (input_value(replace(config, node=node, protocol=protocol), 0) for node in config.members)
        if all(to_int(value) == bit for value, bit in zip(drawn, bits, strict=True)):
            return seed
        seed += 1


def _initial(inputs: tuple[int, ...] | None, asked: Asked, most: int) -> Initial:
    worlds = asked.worlds()
    ways = Valences(worlds).ways(worlds.begin())
    lengths = {value: len(list(steps_of(way))) for value, way in ways.items()}
    if worlds.model.time is Time.TIMELY:
        reach = Reach(worlds, worlds.begin(), most)
        values = set(reach.values) | set(ways)
        return Initial(inputs, asked, tuple(sorted(values)), lengths, reach.states, reach.complete, reach)
    if len(ways) > 1:
        return Initial(inputs, asked, tuple(sorted(ways)), lengths, 0, complete=False)
    # What can be decided at all can be decided where nothing that was said is used up: there are fewer such worlds.
    wide = replace(asked, rules=replace(asked.rules, network=Network.SET, drops=0, copies=0)).worlds()
    reach = Reach(wide, wide.begin(), most)
    complete = reach.complete and set(reach.values) <= set(ways)
    return Initial(inputs, asked, tuple(sorted(ways)), lengths, reach.states, complete)


# -- Lemma 3 -----------------------------------------------------------------------------------------------------------


class Stays:
    """Keeps the worlds of one model bivalent."""

    def __init__(self, worlds: Worlds) -> None:
        self.worlds = worlds
        self.valences = Valences(worlds)

    def undecided(self, world: World, nearby: World | None = None) -> bool:
        """Whether nobody has decided in a world, and two values can be decided from it."""
        if self.valences.decisions(world):
            return False
        hints = [] if nearby is None else [way for way in self.valences.ways(nearby).values() if way is not None]
        return self.valences.is_bivalent(world, hints)

    def events(self, world: World) -> list[Step]:
        """What can happen next, of what must happen some day: messages come, timers fire."""
        choices = self.worlds.choices(world)
        return [step for step in choices if step.verb in (Verb.DELIVER, Verb.FIRE) and step.done is None]

    def successor(self, world: World, due: Step) -> Successor:
        """A bivalent world in which ``due`` has happened, through bivalent ones in which it has not: the nearest, or
        where none is near one beside a way to a decision."""
        near = self._nearest(world, due, _NEAR)
        if near.steps is not None:
            return near
        return self._beside_ways(world, due, near.tried) or self._nearest(world, due, _FAR)

    def _nearest(self, world: World, due: Step, most: int) -> Successor:
        waiting: deque[tuple[World, tuple[Step, ...]]] = deque([(world, ())])
        seen = {self.worlds.digest(world)}
        tried = 0
        while waiting and tried < most:
            here, path = waiting.popleft()
            if path and not self._is_due(here, due):  # it was lost, or called off
                return Successor(due, list(path), tried)
            choices = self.worlds.choices(here)
            if due in choices:
                tried += 1
                if self.undecided(self.worlds.after(here, due), here):
                    return Successor(due, [*path, due], tried)
            for step in choices:
                if step == due or step.done is not None or step.verb not in (Verb.DELIVER, Verb.FIRE, Verb.DROP):
                    continue
                new = self.worlds.after(here, step)
                name = self.worlds.digest(new)
                if name not in seen:
                    seen.add(name)
                    tried += 1
                    if self.undecided(new, here):
                        waiting.append((new, (*path, step)))
        return Successor(due, None, tried)

    def _beside_ways(self, world: World, due: Step, tried: int) -> Successor | None:
        """At the beginning of a way to one value ``due`` leads to another: so between its steps it leads to both."""
        for way in self.valences.continuations(world, due):
            path: list[Step] = []
            for here, step in way:
                if path and not self.undecided(here):
                    break
                if due in self.worlds.choices(here):
                    tried += 1
                    if self.undecided(self.worlds.after(here, due), here):
                        return Successor(due, [*path, due], tried)
                path.append(step)
        return None

    def _is_due(self, world: World, event: Step) -> bool:
        """Whether it has yet to happen."""
        if event.verb is Verb.DELIVER:
            return event.event in world.wire
        timers = self.worlds.states.timers[world.nodes[event.node]]
        return any(name == event.event for name, _ in timers)

    def ever(self, most_steps: int, progress: Callable[[int], None] = lambda _: None) -> Ever:
        """From the initial world, which is bivalent: the oldest event first, for as many steps as asked for."""
        world = self.worlds.begin()
        path: list[Step] = []
        born = dict.fromkeys(self.events(world), 0)
        stages = longest = 0
        stuck = None
        while len(path) < most_steps:
            due = min(self.events(world), key=lambda event: (born[event], event))
            found = self.successor(world, due)
            if found.steps is None:
                stuck = found
                break
            stages += 1
            for step in found.steps[: most_steps - len(path)]:
                path.append(step)
                world = self.worlds.after(world, step)
                coming = self.events(world)
                longest = max([longest, *(len(path) - since for since in born.values())])
                born.pop(step, None)
                born = {event: born.get(event, len(path)) for event in coming}
            progress(len(path))
        ways = {value: list(steps_of(way)) for value, way in self.valences.ways(world).items()}
        return Ever(path, stages, longest, ways, stuck)


def long_enough(asked: Asked, steps: int) -> Asked:
    """With so many rounds that they do not end before the schedule does, where the engine is made of rounds."""
    spec = engine_spec(asked.engine)
    if not spec.made_of_swaps:
        return asked
    protocol = asked.model().configs[0].protocol
    return replace(asked, settings={**asked.settings, "rounds": protocol.instance_rounds + steps})
