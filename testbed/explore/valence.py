"""What can still be decided in a world: its valence (Fischer, Lynch, Paterson 1985).

Two ways lead to an answer. A few continuations in which all goes well, each with another node silent or another one in
a hurry, show soon that different values can be decided (``Valences``): then a world is bivalent, whatever else may
happen. That nothing else can be decided needs all worlds that can be come to (``Reach``); where they are too many the
answer is that nobody knows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from testbed.explore.model import Time
from testbed.explore.worlds import Step, Verb, World, Worlds
from testbed.nodes.core import Decide

INSTANCE = 0
"""Of which instance, or entry of the log, decisions are looked at."""

_LONGEST = 300
"""Steps after which a continuation that decides nothing is given up."""


class Way(NamedTuple):
    """Steps to a decision, the first one first; those that follow are shared between ways."""

    step: Step
    rest: Way | None


def steps_of(way: Way | None) -> Iterator[Step]:
    """One after the other."""
    while way is not None:
        yield way.step
        way = way.rest


class Decisions:
    """What has been decided in the worlds of a model, by whomever."""

    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds
        self._of_facts: dict[int, frozenset[bytes]] = {}

    def __call__(self, world: World) -> frozenset[bytes]:
        """The values."""
        facts = self._worlds.states.facts
        decided: frozenset[bytes] = frozenset()
        for state in world.nodes:
            decided |= self._told(facts[state])
        return decided

    def _told(self, number: int) -> frozenset[bytes]:
        found = self._of_facts.get(number)
        if found is None:
            told = self._worlds.states.distinct_facts[number]
            values = (one.value for one in told if isinstance(one, Decide) and one.instance == INSTANCE)
            found = self._of_facts[number] = frozenset(values)
        return found


# -- all that can be come to -------------------------------------------------------------------------------------------

_OPEN = 1  # in a set of values as bits: something that can be come to has not been looked at


@dataclass
class Reach:
    """All worlds that can be come to from one, or the first ``most`` of them, and what can be decided from each.

    values: that are decided anywhere. complete: nothing has been left out. states: how many worlds. bivalent: those
    from which two values can be decided. open: those of which that is not known. last_ns: the latest time at which one
    is bivalent (Time.TIMELY). broken: the first invariant that is found not to hold, and how.
    """

    worlds: Worlds
    begin: World
    most: int
    values: list[bytes] = field(init=False, default_factory=list)
    complete: bool = field(init=False, default=True)
    states: int = field(init=False, default=0)
    bivalent: int = field(init=False, default=0)
    open: int = field(init=False, default=0)
    last_ns: int | None = field(init=False, default=None)
    broken: str = field(init=False, default="")

    def __post_init__(self) -> None:
        worlds, decisions = self.worlds, Decisions(self.worlds)
        numbers = {worlds.digest(self.begin): 0}
        found = array("Q", [self._bits(decisions(self.begin))])
        times = array("q", [self.begin.now_ns])
        sources, targets = array("I"), array("I")
        layer = [(0, self.begin)]
        while layer:
            following: list[tuple[int, World]] = []
            for number, world in layer:
                for step in worlds.choices(world):
                    new = worlds.after(world, step)
                    if new is world:
                        continue
                    name = worlds.digest(new)
                    target = numbers.get(name)
                    if target is None and len(found) >= self.most:
                        found[number] |= _OPEN
                        self.complete = False
                        continue
                    if target is None:
                        target = numbers[name] = len(found)
                        found.append(self._bits(decisions(new)))
                        times.append(new.now_ns)
                        following.append((target, new))
                        self.broken = self.broken or worlds.broken(new)
                    sources.append(number)
                    targets.append(target)
            layer = following
        _carry_back(found, sources, targets)
        self.states = len(found)
        for bits, now_ns in zip(found, times, strict=True):
            if (bits >> 1).bit_count() > 1:
                self.bivalent += 1
                self.last_ns = now_ns if self.last_ns is None else max(self.last_ns, now_ns)
            elif bits & _OPEN:
                self.open += 1

    def _bits(self, values: frozenset[bytes]) -> int:
        """A set of values as a number."""
        bits = 0
        for value in values:
            if value not in self.values:
                self.values.append(value)
            bits |= 2 << self.values.index(value)
        return bits


def _carry_back(found: array[int], sources: array[int], targets: array[int]) -> None:
    """What can be decided from a world can be decided from those before it."""
    before: dict[int, list[int]] = {}
    for source, target in zip(sources, targets, strict=True):
        before.setdefault(target, []).append(source)
    waiting = [number for number, bits in enumerate(found) if bits]
    while waiting:
        target = waiting.pop()
        bits = found[target]
        for source in before.get(target, ()):
            if found[source] | bits != found[source]:
                found[source] |= bits
                waiting.append(source)


# -- ways to decisions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mood:
    """How a continuation goes. silent: nothing of this node is heard, and it hears nothing. eager: its timers fire."""

    silent: int | None
    eager: int


class Valences:
    """Ways to decisions from the worlds of a model, those that were found kept."""

    def __init__(self, worlds: Worlds) -> None:
        self.worlds = worlds
        self.decisions = Decisions(worlds)
        nodes = range(len(worlds.model.configs))
        silences: list[int | None] = [None, *nodes]
        self._moods = [Mood(silent, eager) for silent in silences for eager in nodes if eager != silent]
        self._ways: dict[bytes, dict[bytes, Way | None]] = {}
        self._tried: set[bytes] = set()

    def ways(self, world: World, hints: Sequence[Way] = ()) -> Mapping[bytes, Way | None]:
        """A way to each value of which one is found: all of them, as soon as there are two. hints: steps that have led
        to decisions from a world nearby."""
        name = self.worlds.digest(world)
        found = self._ways.setdefault(name, {})
        if len(found) > 1 or name in self._tried:
            return found
        for way in hints:
            self._follow(world, list(steps_of(way)))
            if len(found) > 1:
                return found
        self._tried.add(name)
        for mood in self._moods:
            self._went_on(world, mood)
            if len(found) > 1:
                break
        return found

    def is_bivalent(self, world: World, hints: Sequence[Way] = ()) -> bool:
        """Whether ways to two values are found."""
        return len(self.ways(world, hints)) > 1

    def continuations(self, world: World, without: Step) -> Iterator[list[tuple[World, Step]]]:
        """Steps that go well, but for each mood, until something is decided, and the world before each; one step does
        not happen."""
        for mood in self._moods:
            yield self._went_on(world, mood, without)

    def _follow(self, world: World, steps: Sequence[Step]) -> None:
        """Those of the steps that can happen."""
        taken: list[tuple[World, Step]] = []
        for step in steps:
            if step in self.worlds.choices(world):
                taken.append((world, step))
                world = self.worlds.after(world, step)
                if self._arrived(world, taken):
                    return

    def _went_on(self, world: World, mood: Mood, without: Step | None = None) -> list[tuple[World, Step]]:
        """All goes well, but for ``mood``, until something is decided."""
        taken: list[tuple[World, Step]] = []
        fired: dict[tuple[int, object], int] = {}  # when a timer fired last
        while not self._arrived(world, taken) and len(taken) < _LONGEST:
            step = self._next(world, mood, fired, without)
            if step is None:
                break
            if step.verb is Verb.FIRE:
                fired[step.node, step.event] = len(taken) + 1
            taken.append((world, step))
            world = self.worlds.after(world, step)
        return taken

    def _arrived(self, world: World, taken: Sequence[tuple[World, Step]]) -> bool:
        """Whether something is decided here, or a way is known from here to what none is known to from where the steps
        that were taken began: then the way is kept for all worlds on it."""
        ends: dict[bytes, Way | None] = dict.fromkeys(self.decisions(world))
        if not ends:
            begun = self._ways.get(self.worlds.digest(taken[0][0] if taken else world), {})
            known = self._ways.get(self.worlds.digest(world), {})
            ends = {value: way for value, way in known.items() if value not in begun}
        for value, last in ends.items():
            way = last
            for before, step in reversed(taken):
                way = Way(step, way)
                self._ways.setdefault(self.worlds.digest(before), {}).setdefault(value, way)
        return bool(ends)

    def _next(
        self, world: World, mood: Mood, fired: Mapping[tuple[int, object], int], without: Step | None
    ) -> Step | None:
        """What comes next; None: nothing does."""
        choices = (step for step in self.worlds.choices(world) if step != without)
        ranked = ((self._rank(world, step, mood, fired), step) for step in choices)
        possible = [(rank, place, step) for place, (rank, step) in enumerate(ranked) if rank is not None]
        return min(possible)[2] if possible else None

    def _rank(
        self, world: World, step: Step, mood: Mood, fired: Mapping[tuple[int, object], int]
    ) -> tuple[int, ...] | None:
        """What comes first; None: what does not happen. Of a silent node's messages in rounds as many are lost as
        can be."""
        verb, node, event, done = step
        states, time = self.worlds.states, self.worlds.model.time
        if done is not None:
            return None
        if verb is Verb.FIRE:
            if time is Time.TIMELY:
                return 3, 0
            if node == mood.silent:
                return None
            if time is Time.OWN:
                return 3, states.first_ns[world.nodes[node]]
            return (3, fired.get((node, event), 0)) if node == mood.eager else None
        if verb not in (Verb.DELIVER, Verb.DROP):
            return None
        assert isinstance(event, int)
        source = states.packets[event].src
        if verb is Verb.DROP:
            return (0, 0) if source == mood.silent and time is Time.TIMELY else None
        if mood.silent not in (node, source):
            return 1, 0
        return (2, 0) if time is Time.TIMELY else None
