"""Schedules at random, and the least of one that breaks something.

To pick among all that can happen, step by step, hardly ever leads two quorums past each other. So a schedule is drawn
in stages: in each some nodes hear each other, in any order and some of it only; what is under way between the others
waits, or is lost. A node's clock runs on now and then; crashes, restarts and copies are rare.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from testbed.explore.alive import Alive
from testbed.explore.invariants import Facts
from testbed.explore.model import Model, Time
from testbed.explore.worlds import Moves, Rules, Step, Verb, Worlds

_LENGTHS = ((2, 4, 8, 16, 1000), (1, 1, 2, 3, 5))
"""How much is heard in a stage, at most: one of these, and one of those for all of a schedule."""

_LOSSES = (0.02, 0.3, 0.3)
"""How likely what was not heard in a stage is lost at its end: one of these for all of a schedule."""

_CALM = (0.1, 0.4, 0.7)
"""How likely a stage is one in which all hear each other and little goes wrong, where it goes on when something is
decided: else hardly a leader stands who could be lost. One of these for all of a schedule."""

_HEARD_IN_CALM = (8, 16, 32)
"""How much is heard in such a stage, at most."""

_IDLE_STAGES = 4
"""After so many stages in which nothing happens a schedule is at its end."""

_TIMER = 0.7
"""How likely a timer fires in a stage."""

_DEATHS = 0.05
"""How likely a node dies in what it does, of those that may die."""

_MOST_DONE = (2, 5, 12)
"""After how many effects of it, at most: one of these. What it has not so many of it does to the end, and dies."""


@dataclass
class Hunt:
    """What a search has come to. schedules: drawn and judged. steps: of all of them. path: the steps to where
    ``broken`` says what is wrong, as they were drawn; shrunk: what is left of them when none can be spared."""

    schedules: int = 0
    steps: int = 0
    broken: str = ""
    path: list[Step] = field(default_factory=list)
    shrunk: list[Step] = field(default_factory=list)


def hunt(
    worlds: Worlds,
    schedules: int,
    seed: int,
    most_steps: int = 1000,
    progress: Callable[[Hunt], None] = lambda _: None,
    first: int = 0,
    ended: Callable[[Walk], None] = lambda _: None,
) -> Hunt:
    """Draws schedules until one breaks an invariant, which is then shrunk. Each depends on the seed and its number, of
    which ``first`` is the lowest. ended: is told of each that has come to its end."""
    found = Hunt()
    for number in range(first, first + schedules):
        walk = drawn(worlds.model, worlds.rules, seed, number, most_steps)
        found.schedules += 1
        found.steps += len(walk.path)
        ended(walk)
        if walk.broken:
            found.path = walk.steps_in(worlds)
            found.shrunk = shrink(worlds, found.path)
            found.broken = follow(worlds, found.shrunk)[1]
            break
        if number % 20 == 0:
            progress(found)
    return found


def drawn(model: Model, rules: Rules, seed: int, number: int, most_steps: int = 1000) -> Walk:
    """The schedule of this seed and number, lived through."""
    walk = Walk(model, rules, random.Random(f"schedule {seed} {number}"), most_steps)
    walk.run()
    return walk


class Walk:
    """One schedule as it is drawn, and lived through."""

    def __init__(self, model: Model, rules: Rules, rng: random.Random, most_steps: int) -> None:
        self.rng, self.most_steps = rng, most_steps
        self.lives = Alive(model, rules.finds if rules.restarts else ())
        self.moves = Moves(self.lives, rules)
        self.world = self.moves.begin()
        self.path: list[Step] = []
        self._facts: list[int] = []
        self.broken = ""
        self._judge()
        self._nodes = range(len(self.world.nodes))
        self._loss = rng.choice(_LOSSES)
        self._lengths = rng.choice(_LENGTHS)
        self._timely = model.time is Time.TIMELY
        self._calm = rng.choice(_CALM) if model.goes_on else 0.0

    def run(self) -> None:
        """To its end."""
        idle = 0
        while idle < _IDLE_STAGES and not self.over:
            before = len(self.path)
            self._stage()
            idle = idle + 1 if len(self.path) == before else 0

    @property
    def over(self) -> bool:
        """Whether no more steps are wanted."""
        return bool(self.broken) or len(self.path) >= self.most_steps

    @property
    def told(self) -> list[Facts]:
        """What each node has told."""
        return [self.lives.distinct_facts[number] for number in self._facts]

    def steps_in(self, worlds: Worlds) -> list[Step]:
        """The steps by the numbers that messages have there, up to where an invariant breaks, if one does."""
        steps = []
        for step in self.path:
            event = step.event
            if isinstance(event, int) and step.verb is not Verb.CRASH:
                event = worlds.states.packet_number(self.lives.packets[event])
            steps.append(step._replace(event=event))
        same, broken = follow(worlds, steps)
        assert (len(same), broken) == (len(steps), self.broken), "states tell of these steps what lives told"
        return same

    def _stage(self) -> None:
        if self._calm and _share(self.rng, self._calm):
            self._fire(set(self._nodes))
            self._listen(set(self._nodes), _HEARD_IN_CALM)
        else:
            self._rough_stage()

    def _rough_stage(self) -> None:
        rng, everybody = self.rng, self._timely or _share(self.rng, 0.2)
        group = set(self._nodes if everybody else rng.sample(self._nodes, rng.randint(2, len(self._nodes))))
        if _share(rng, _TIMER):
            self._fire(group)
        if _share(rng, 0.3):
            self._take(self.moves.restarts(self.world), group)
        if _share(rng, 0.05):
            self._take(self.moves.kills(self.world), group)
        self._listen(group, self._lengths)
        if not self._timely or _share(rng, 0.3):
            self._lose()

    def _fire(self, group: set[int]) -> None:
        """A timer of the group's, most often one that is due first."""
        due = [step for step in self.moves.fires(self.world) if step.node in group]
        if due and _share(self.rng, 0.8):
            first_ns = self.lives.first_ns
            soonest_ns = min(first_ns[self.world.nodes[step.node]] for step in due)
            due = [step for step in due if first_ns[self.world.nodes[step.node]] == soonest_ns]
        self._choose(due)

    def _listen(self, group: set[int], lengths: tuple[int, ...]) -> None:
        left = self.rng.choice(lengths)
        while left and not self.over and self._hear(group):
            left -= 1

    def _hear(self, group: set[int]) -> bool:
        packets = self.lives.packets
        ready = [
            step
            for step in self.moves.deliveries(self.world)
            if step.node in group and packets[cast(int, step.event)].src in group
        ]
        if not ready:
            return False
        if _share(self.rng, 0.05):
            self._take(self.moves.copies(self.world), group)
        return self._choose(ready)

    def _choose(self, steps: list[Step]) -> bool:
        """One of these; rarely one in which the node dies."""
        if not steps:
            return False
        step = self.rng.choice(steps)
        if self.world.left.crashes and self.lives.up[self.world.nodes[step.node]] and _share(self.rng, _DEATHS):
            step = step._replace(done=self.rng.randint(1, self.rng.choice(_MOST_DONE)))
        self._do(step)
        return True

    def _take(self, steps: list[Step], group: set[int]) -> None:
        steps = [step for step in steps if step.node in group]
        if steps:
            self._do(self.rng.choice(steps))

    def _lose(self) -> None:
        """What did not come in the stage may never come."""
        for step in self.moves.losses(self.world):
            if not self.over and _share(self.rng, self._loss) and step in self.moves.losses(self.world):
                self._do(step)

    def _do(self, step: Step) -> None:
        self.world = self.moves.after(self.world, step)
        self.path.append(step)
        self._judge()

    def _judge(self) -> None:
        """Whether what has been told breaks anything, where there is something new."""
        facts = [self.lives.facts[state] for state in self.world.nodes]
        if facts != self._facts:
            self._facts = facts
            self.broken = self.moves.broken(self.world)


def _share(rng: random.Random, share: float) -> bool:
    """Whether it happens, that does in this share of all cases."""
    return rng.random() < share


# -- the least of a schedule -------------------------------------------------------------------------------------------


def follow(worlds: Worlds, steps: Sequence[Step]) -> tuple[list[Step], str]:
    """Those of the steps that can happen, one after the other, up to where an invariant breaks; and how it does."""
    world, done = worlds.begin(), []
    for step in steps:
        if not worlds.can_happen(world, step):
            continue
        world = worlds.after(world, step)
        done.append(step)
        if broken := worlds.broken(world):
            return done, broken
    return done, ""


def shrink(worlds: Worlds, steps: Sequence[Step]) -> list[Step]:
    """Steps among these that break an invariant too, and none of which can be left out (Zeller's delta debugging): half
    of them, a quarter, .. and at last one at a time are left out for as long as that succeeds."""
    kept, _ = follow(worlds, steps)
    size = max(1, len(kept) // 2)
    while True:
        at, shrunk = 0, False
        while at < len(kept):
            fewer, broken = follow(worlds, kept[:at] + kept[at + size :])
            if broken and len(fewer) < len(kept):
                kept, shrunk = fewer, True
            else:
                at += size
        if size == 1 and not shrunk:
            return kept
        size = max(1, size // 2)
