"""The table of the link: each of its rows comes up, and nothing but its rows, whatever a peer says at whatever time.

One end is walked through every state that it can come to in its second life. The peer is anybody: it may say anything
about the swap, and about rounds around it, in either of two lives; the driver alone stands before it, and keeps back
what a life says after a later one has been heard.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from testbed.nodes.core import Effects, Life, LinkState, Resolve, Send, Transition
from testbed.nodes.frames import Kind, Message
from testbed.nodes.oae.link import HORIZONS, SETTLED, Link
from testbed.nodes.oae.table import TABLE, Act, LinkEvent

W = 1000
IN_TIME, LATE = 0, W + 1
ROUND = 1  # of the swap; there has been one before it, and two are to come
FIRST_EPOCH = 2
SHAPES = (("alternating", 2), ("alternating", 3), ("alternating", 5), ("simultaneous", 1))


class Seen(NamedTuple):
    """What came to an end, and what it did."""

    state: LinkState
    event: LinkEvent
    effects: tuple[object, ...]


class Watched(Link):
    """Tells its every reaction."""

    seen: list[Seen] = []  # noqa: RUF012 - of all of them

    def _react(self, end, event, *said) -> Effects:
        state = end.state
        effects = super()._react(end, event, *said)
        Watched.seen.append(Seen(state, event, tuple(effects)))
        return effects


@dataclass
class World:
    """An end and the time."""

    link: Watched
    now: int = IN_TIME

    def copy(self) -> World:
        link = copy.copy(self.link)
        link.ends = {round_: copy.copy(end) for round_, end in link.ends.items()}
        link.early = list(link.early)
        return World(link, self.now)

    def successors(self) -> Iterator[World]:
        """All that can happen next."""
        if self.now == IN_TIME:
            yield World(self.copy().link, LATE)
        if self.link.round < ROUND:
            begun = self.copy()
            begun.link.start(ROUND, b"a" * 16, W, self.now)
            yield begun
        elif self.now == LATE:
            expired = self.copy()
            expired.link.expire(self.now)
            expired.link.retry()
            yield expired
        for message, life in self._words():
            heard = self.copy()
            heard.link.on_message(message, life, self.now)
            if len(heard.link.early) <= 1:  # or there would be no end of states
                yield heard

    def _words(self) -> Iterator[tuple[Message, Life]]:
        for epoch in (1, 2):
            if epoch < self.link.peer_epoch:
                continue
            life = Life(epoch, FIRST_EPOCH)
            for round_ in range(ROUND + 3):
                yield Message(Kind.RESET, round_, 1), life
                yield Message(Kind.SWAP, round_, 1), life
            for step in range(self.link.depth + 2):
                yield Message(Kind.SWAP, ROUND, step), life
            yield Message(Kind.SWAP, ROUND, 1, flags=SETTLED), life
            for kind in (Kind.SWAP, Kind.RESET):
                yield Message(kind, ROUND, 2), Life(epoch, FIRST_EPOCH - 1)

    @property
    def name(self) -> Hashable:
        """Equal for equal worlds: all that varies in them (snapshot would do as well, but takes its time)."""
        link = self.link
        ends = tuple(
            (end.state, end.got, end.sent, end.peer_epoch, end.peer_flags, end.doubted, end.abandoned)
            for end in link.ends.values()
        )
        return self.now, link.round, link.peer_epoch, link.settled, link.told, tuple(link.early), ends


def walk(horizon: str, handshake: str, depth: int, me: int) -> int:
    """Every state once; how many there are."""
    link = Watched(me, 1 - me, 0, depth, handshake, horizon, FIRST_EPOCH, round=ROUND - 1)
    layer, known = [World(link)], set[Hashable]()
    while layer:
        following = []
        for world in layer:
            for new in world.successors():
                if new.name not in known:
                    known.add(new.name)
                    following.append(new)
        layer = following
    return len(known)


@pytest.fixture(scope="module", params=HORIZONS)
def walked(request: pytest.FixtureRequest) -> tuple[str, set[Seen]]:
    """All reactions under one policy, in all handshakes and both parts."""
    Watched.seen = []
    for handshake, depth in SHAPES:
        for me in (0, 1):
            walk(request.param, handshake, depth, me)
    return request.param, set(Watched.seen)


def test_what_comes_up_is_the_table_and_the_table_is_what_comes_up(walked) -> None:
    horizon, seen = walked
    rows = {(state, event) for state, events in TABLE[horizon].items() for event in events}
    assert {(state, event) for state, event, _ in seen} == rows


def test_the_deeds_of_a_row_are_what_is_done(walked) -> None:
    """Effects, in order: a state entered, a message, an ending told, a remark. (Other deeds have no effect to see.)"""
    horizon, seen = walked
    for state, event, effects in seen:
        deeds = [deed for deed in TABLE[horizon][state][event] if deed not in (Act.TAKE, Act.KEEP, Act.ABANDON)]
        assert len(deeds) == len(effects)
        for deed, effect in zip(deeds, effects, strict=True):
            if isinstance(deed, LinkState):
                assert isinstance(effect, Transition)
                assert effect.new is deed
            elif isinstance(deed, Act):
                assert isinstance(effect, Resolve if deed is Act.TELL else Send)
            else:
                assert effect.what == deed.what


def test_nothing_leaves_an_ending() -> None:
    for states in TABLE.values():
        for state in {LinkState.COMMITTED, LinkState.ABORTED} & set(states):
            assert not any(isinstance(deed, LinkState) for deeds in states[state].values() for deed in deeds)
