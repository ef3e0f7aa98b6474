"""Breadth-first search over all worlds: every state once, the shortest way to what is wrong."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from testbed.errors import UserError
from testbed.explore.symmetry import AsymmetryError, Symmetry, check, groups
from testbed.explore.worlds import UNBOUNDED, Step, World, Worlds

Progress = Callable[[int, int, int], None]
"""Told now and then: levels that are complete, distinct states so far, states of which the next are still to come."""


class End(StrEnum):
    """How a search ended."""

    ALL = "all"
    """There is nothing left to look at."""
    BROKEN = "broken"
    """An invariant does not hold."""
    STATES = "states"
    """As many states as were asked for."""
    MEMORY = "memory"
    """As much memory as it may take."""
    DEPTH = "depth"
    """As many steps as were asked for."""
    INTERRUPTED = "interrupted"
    """Whoever runs it wanted it so."""


@dataclass
class Found:
    """What a search has seen. states: distinct ones. made: those that steps led to, the same ones counted again.
    levels: by the least number of steps to them, of which the first state alone is level 1. path: the steps to where
    ``broken`` says what is wrong."""

    end: End
    states: int
    made: int
    levels: int
    broken: str = ""
    path: list[Step] = field(default_factory=list)


class Search:
    """One search, which can be stopped, kept (``state``) and gone on with.

    What has been seen is a set of digests; of how a state was come to, the state before and the step are kept, by their
    numbers; whole worlds only of the level that is under work and the one after it.

    symmetric: of worlds that differ in the names of nodes only, one is looked at. Where an engine turns out to tell
    nodes apart, the search begins anew with fewer renamings, at last with none.
    """

    def __init__(self, worlds: Worlds, state: Mapping[str, Any] | None = None, symmetric: bool = False) -> None:
        """state: that of an earlier search in the same worlds, to go on with."""
        rules = worlds.rules
        if rules.timers == UNBOUNDED and not worlds.model.ends:
            raise UserError("--timers: the timers of this engine go on for ever; say how many may fire, such as 2")
        if UNBOUNDED in (rules.crashes, rules.restarts, rules.copies):
            raise UserError("crashes, restarts and copies without end lead to states without end; say how many")
        self.worlds = worlds
        self.symmetric = symmetric
        if symmetric:
            check(rules)
        self.groups = groups(worlds.model) if symmetric else []
        self.symmetry: Symmetry | None = None
        if state is None:
            self._begin()
        else:
            kept = dict(state)
            symmetry = kept.pop("symmetry")
            self.symmetry = None if symmetry is None else Symmetry.take_up(worlds, symmetry)
            vars(self).update(kept)

    def _begin(self) -> None:
        """At the first world, with the largest group of renamings that is not known to be too large."""
        self.symmetry = self._symmetry()
        first = self.worlds.begin()
        self.seen = {self.worlds.digest(first)}
        self.parents = array("I", [0])
        self.steps = array("I", [0])
        self.turns = array("H", [0])  # by which renaming the world became the one that stands for it
        self.step_numbers: dict[Step, int] = {}
        self.level = 1
        self.made = 0
        self.layer: list[tuple[int, World]] = [(0, first)]
        self.place = 0  # in the layer: what comes before has been looked at
        self.following: list[tuple[int, World]] = []
        self.broken = self.worlds.broken(first)
        self.broken_at = 0

    def _symmetry(self) -> Symmetry | None:
        while self.groups and len(self.groups[0]) > 1:
            try:
                return Symmetry(self.worlds, self.groups[0])
            except AsymmetryError:
                self.groups.pop(0)
        return None

    @property
    def renamings(self) -> int:
        """How many worlds one stands for, at most: 1 where nodes are told apart."""
        return 1 if self.symmetry is None else len(self.symmetry.group)

    def state(self) -> dict[str, Any]:
        """All but the worlds, as it can be pickled."""
        kept = {key: value for key, value in vars(self).items() if key != "worlds"}
        return kept | {"symmetry": None if self.symmetry is None else self.symmetry.kept()}

    def run(
        self,
        most_states: int = 1 << 62,
        most_steps: int = 1 << 62,
        stop: Callable[[], End | None] = lambda: None,
        progress: Progress = lambda *_: None,
    ) -> Found:
        """Goes on until there is an end. stop: asked now and then whether there is one for some other reason."""
        while not self.broken:
            if self.place == len(self.layer):
                if not self.following:
                    return self._found(End.ALL)
                self.layer, self.following, self.place = self.following, [], 0
                self.level += 1
            if self.level > most_steps:
                return self._found(End.DEPTH)
            if len(self.seen) >= most_states:
                return self._found(End.STATES)
            if (asked := stop()) is not None:
                return self._found(asked)
            try:
                self._work(min(self.place + _BATCH, len(self.layer)))
            except AsymmetryError:
                self.groups.pop(0)
                self._begin()
            progress(self.level, len(self.seen), len(self.layer) - self.place + len(self.following))
        return self._found(End.BROKEN)

    def _work(self, until: int) -> None:
        worlds, seen, following = self.worlds, self.seen, self.following
        numbers, parents, steps, symmetry = self.step_numbers, self.parents, self.steps, self.symmetry
        choices, after, digest, broken = worlds.choices, worlds.after, worlds.digest, worlds.broken
        for place in range(self.place, until):
            parent, world = self.layer[place]
            for step in choices(world):
                self.made += 1
                new = after(world, step)
                if new is world:
                    continue
                turn = 0
                if symmetry is not None:
                    symmetry.learn(world, step)
                    new, turn = symmetry.canonical(new)
                name = digest(new)
                if name in seen:
                    continue
                seen.add(name)
                number = len(parents)
                parents.append(parent)
                steps.append(numbers.setdefault(step, len(numbers)))
                self.turns.append(turn)
                following.append((number, new))
                if wrong := broken(new):
                    self.broken, self.broken_at = wrong, number
                    return
            self.place = place + 1

    def _found(self, end: End) -> Found:
        deepest = self.level + bool(self.following)
        return Found(end, len(self.seen), self.made, deepest, self.broken, self._path() if self.broken else [])

    def _path(self) -> list[Step]:
        names = list(self.step_numbers)
        path, turns, at = [], [], self.broken_at
        while at:
            path.append(names[self.steps[at]])
            turns.append(self.turns[at])
            at = self.parents[at]
        if self.symmetry is None:
            return path[::-1]
        return self.symmetry.unturned(path[::-1], turns[::-1])


_BATCH = 200
"""States of which the next ones are looked for before anybody asks whether to go on."""
