"""The bilateral link, exhaustively: one swap, every loss, copy, order and delay, held-up ends and a restart with state.

The wire is a set of frames that only grows: any of them may arrive at any time, again and again, or never. Time has
three instants: the round's start, the horizon, and later. The code under test is Link itself.
"""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import pytest

from testbed.nodes.core import Effects, Life, LinkState, Outcome, Resolve, Send, Transition
from testbed.nodes.core.snapshot import snapshot
from testbed.nodes.frames import Message
from testbed.nodes.oae.link import Link

W = 1000
INSTANTS = (0, W, W + 1)
VALUES = (b"a" * 16, b"b" * 16)
IDLE, COMMITTED, ABORTED = LinkState.IDLE, LinkState.COMMITTED, LinkState.ABORTED


class Said(NamedTuple):
    """A message on the wire."""

    dst: int
    message: Message
    life: Life


@dataclass
class World:
    """Two ends and the wire. lives: how many each end has begun; expired: whose horizon's timer has fired."""

    ends: tuple[Link, Link]
    wire: frozenset[Said] = frozenset()
    now: int = 0
    lives: list[int] = field(default_factory=lambda: [1, 1])
    expired: list[bool] = field(default_factory=lambda: [False, False])

    def copy(self) -> World:
        """To be changed; this one is not any more, once it has been copied."""
        return replace(self, ends=pickle.loads(self._packed), lives=[*self.lives], expired=[*self.expired])

    @cached_property
    def _packed(self) -> bytes:
        return pickle.dumps(self.ends)

    def name(self) -> Hashable:
        """Equal for equal worlds."""
        return snapshot(self.ends), self.wire, self.now, *self.lives, *self.expired

    def state(self, me: int) -> LinkState:
        end = self.ends[me].ends.get(0)
        return IDLE if end is None else end.state

    def perform(self, me: int, effects: Effects) -> World:
        """Messages go on the wire; what is told must be true."""
        told = [effect for effect in effects if isinstance(effect, Resolve)]
        for effect in effects:
            if isinstance(effect, Send):
                self.wire |= {Said(1 - me, effect.message, Life(self.lives[me], self.ends[me].peer_epoch))}
            elif isinstance(effect, Transition):
                assert effect.old not in (COMMITTED, ABORTED), "what is resolved stays so"
        for resolve in told:  # a held-up end may find itself in doubt and commit in one event
            assert resolve.outcome.name == (self.state(me) if resolve is told[-1] else "IN_DOUBT")
            assert resolve.value == VALUES[1 - me if resolve.outcome is Outcome.COMMITTED else me]
        return self

    def arrive(self, said: Said) -> World:
        """Unless its sender has restarted since, and been heard: the driver drops such a frame."""
        end = self.ends[said.dst]
        if said.life.epoch < end.peer_epoch:
            return self
        return self.perform(said.dst, end.on_message(said.message, said.life, self.now))

    def successors(self, most_lives: int) -> Iterator[World]:
        """All that can happen next. A message of the round to come is kept once, or there would be no end of states."""
        if self.now < INSTANTS[-1]:
            yield replace(self.copy(), now=INSTANTS[INSTANTS.index(self.now) + 1])
        for me in (0, 1):
            yield from self._deeds(me, most_lives)
        for said in self.wire:
            if said[1:] not in self.ends[said.dst].early:
                yield self.copy().arrive(said)

    def _deeds(self, me: int, most_lives: int) -> Iterator[World]:
        if self.state(me) is IDLE:
            world = self.copy()
            yield world.perform(me, world.ends[me].start(0, VALUES[me], W, self.now))
            return
        if not self.expired[me] and self.now >= W:
            yield self.copy().expire(me)
        if self.ends[me].in_doubt():
            world = self.copy()
            yield world.perform(me, world.ends[me].retry())
        if self.lives[me] < most_lives:
            world = self.copy()
            world.lives[me] += 1
            yield world.perform(me, world.ends[me].resume())

    def expire(self, me: int) -> World:
        self.expired[me] = True
        return self.perform(me, self.ends[me].expire(self.now))

    def healed(self) -> World:
        """What was on the wire is lost; from now on every frame arrives at once, and ends in doubt retry twice."""
        world = replace(self.copy(), wire=frozenset(), now=INSTANTS[-1])
        for me in (0, 1):
            if not world.expired[me]:
                world.expire(me)
        for _ in range(2):
            for me in (0, 1):
                world.perform(me, world.ends[me].retry())
            for _ in range(20):
                coming, world.wire = world.wire, frozenset()
                for said in coming:
                    world.arrive(said)
            assert not world.wire, "answers to answers come to an end"
        return world


def reachable(horizon: str, handshake: str, depth: int, most_lives: int) -> Iterator[World]:
    """Breadth-first; every state once."""
    ends = [Link(me, 1 - me, 0, depth, handshake, horizon, 1) for me in (0, 1)]
    start = World((ends[0], ends[1]))
    seen = {start.name()}
    layer = [start]
    while layer:
        yield from layer
        following = []
        for world in layer:
            for new in world.successors(most_lives):
                name = new.name()
                if name not in seen:
                    seen.add(name)
                    following.append(new)
        layer = following


def endings(worlds: list[World]) -> set[tuple[str, str]]:
    """How a swap can have ended at both ends when both horizons are past."""
    return {(str(world.state(0)), str(world.state(1))) for world in worlds if all(world.expired)}


BOTH, NEITHER, LOW, HIGH = (
    ("COMMITTED", "COMMITTED"),
    ("ABORTED", "ABORTED"),
    ("COMMITTED", "ABORTED"),
    ("ABORTED", "COMMITTED"),
)


@pytest.mark.parametrize(("depth", "split", "states"), [(2, HIGH, 369), (3, LOW, 599), (4, HIGH, 908), (5, LOW, 1307)])
def test_abort_always_ends_and_splits_only_for_want_of_the_last_message(
    depth: int, split: tuple[str, str], states: int
) -> None:
    """Who waits for step k may miss it while the other has committed on step k - 1; the other way round it can't be."""
    worlds = list(reachable("abort", "alternating", depth, most_lives=2))
    assert endings(worlds) == {BOTH, NEITHER, split}
    assert len(worlds) == states


def test_abort_splits_simultaneous_swaps_either_way() -> None:
    worlds = list(reachable("abort", "simultaneous", 1, most_lives=2))
    assert endings(worlds) == {BOTH, NEITHER, LOW, HIGH}
    assert len(worlds) == 615


@pytest.mark.parametrize(
    ("handshake", "depth", "states"),
    [("alternating", 2, 451), ("alternating", 3, 814), ("alternating", 4, 1255), ("simultaneous", 1, 615)],
)
def test_hold_never_aborts(handshake: str, depth: int, states: int) -> None:
    worlds = list(reachable("hold", handshake, depth, most_lives=2))
    assert {state for ending in endings(worlds) for state in ending} == {"COMMITTED", "IN_DOUBT"}
    assert len(worlds) == states


@pytest.mark.parametrize(
    ("handshake", "depth", "most_lives", "states"),
    [
        ("alternating", 2, 2, 1126),
        ("alternating", 3, 1, 137),
        ("alternating", 4, 1, 163),
        ("alternating", 5, 1, 189),
        ("simultaneous", 1, 1, 494),
        ("alternating", 3, 2, 3316),
        pytest.param("simultaneous", 1, 2, 8528, marks=pytest.mark.slow),
    ],
)
def test_reconcile_commits_both_ends_from_wherever_the_link_heals(
    handshake: str, depth: int, most_lives: int, states: int
) -> None:
    worlds = list(reachable("reconcile", handshake, depth, most_lives))
    for world in worlds:
        if IDLE not in (world.state(0), world.state(1)):
            healed = world.healed()
            assert (healed.state(0), healed.state(1)) == (COMMITTED, COMMITTED)
    assert "ABORTED" not in {state for ending in endings(worlds) for state in ending}
    assert len(worlds) == states
