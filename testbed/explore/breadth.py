"""Breadth-first search over all worlds: every state once, the shortest way to what is wrong."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from testbed.errors import UserError
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
    """

    def __init__(self, worlds: Worlds, state: Mapping[str, Any] | None = None) -> None:
        """state: that of an earlier search in the same worlds, to go on with."""
        rules = worlds.rules
        if rules.timers == UNBOUNDED and not worlds.model.ends:
            raise UserError("--timers: the timers of this engine go on for ever; say how many may fire, such as 2")
        if UNBOUNDED in (rules.crashes, rules.restarts, rules.copies):
            raise UserError("crashes, restarts and copies without end lead to states without end; say how many")
        self.worlds = worlds
        first = worlds.begin()
        self.seen = {worlds.digest(first)}
        self.parents = array("I", [0])
        self.steps = array("I", [0])
        self.step_numbers: dict[Step, int] = {}
        self.level = 1
        self.made = 0
        self.layer: list[tuple[int, World]] = [(0, first)]
        self.place = 0  # in the layer: what comes before has been looked at
        self.following: list[tuple[int, World]] = []
        self.broken = worlds.broken(first)
        self.broken_at = 0
        vars(self).update(state or {})

    def state(self) -> dict[str, Any]:
        """All but the worlds, as it can be pickled."""
        return {key: value for key, value in vars(self).items() if key != "worlds"}

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
            self._work(min(self.place + _BATCH, len(self.layer)))
            progress(self.level, len(self.seen), len(self.layer) - self.place + len(self.following))
        return self._found(End.BROKEN)

    def _work(self, until: int) -> None:
        worlds, seen, following = self.worlds, self.seen, self.following
        numbers, parents, steps = self.step_numbers, self.parents, self.steps
        choices, after, digest, broken = worlds.choices, worlds.after, worlds.digest, worlds.broken
        for place in range(self.place, until):
            parent, world = self.layer[place]
            for step in choices(world):
                self.made += 1
                new = after(world, step)
                if new is world:
                    continue
                name = digest(new)
                if name in seen:
                    continue
                seen.add(name)
                number = len(parents)
                parents.append(parent)
                steps.append(numbers.setdefault(step, len(numbers)))
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
        path, at = [], self.broken_at
        while at:
            path.append(names[self.steps[at]])
            at = self.parents[at]
        return path[::-1]


_BATCH = 200
"""States of which the next ones are looked for before anybody asks whether to go on."""
