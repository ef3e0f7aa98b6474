"""Messages longer than a frame: cut where they are said, joined where they are heard, the same under every engine."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.nodes.core import Effects, Life, Note, Port, Send, SetTimer
from testbed.nodes.core.segmented import MOST_JOINING, MOST_PARTS, PART_BYTES, Segmented
from testbed.nodes.frames import MAX_BODY, Kind, Message

FIRST = Life(1, 0)


class Says:
    """Says ``message`` whatever happens, and keeps what it is told."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.told: list[tuple[Port, Message, Life]] = []

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        return [SetTimer("t", 5), Send(1, self.message)]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        self.told.append((port, message, life))
        return [Send(port, self.message)]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        return [Send(2, self.message)]


def body(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def parts(effects: Effects) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


SHORT = Message(Kind.DATA, 3, 2, b"short", 1)
LONG = Message(Kind.DATA, 3, 2, body(4096), 1)


def test_what_a_frame_can_carry_passes_as_it_is() -> None:
    for message in (SHORT, SHORT._replace(body=body(MAX_BODY)), Message(Kind.SWAP, 0, 1)):
        inner = Says(message)
        wrapped = Segmented(inner)
        assert wrapped.on_start(0, {}) == inner.on_start(0, {})
        assert wrapped.on_timer("t", 0) == [Send(2, message)]
        assert wrapped.on_message(0, message, FIRST, 0) == [Send(0, message)]
        assert inner.told == [(0, message, FIRST)]


@given(st.integers(MAX_BODY + 1, 20_000), st.randoms(use_true_random=False))
def test_a_long_message_goes_in_parts_and_comes_whole_in_whatever_order(size: int, rng: random.Random) -> None:
    message = LONG._replace(body=body(size))
    cut = parts(Segmented(Says(message)).on_start(0, {}))
    assert len(cut) == -(-size // PART_BYTES)
    assert all((part.kind, *part[1:3], part.flags) == (Kind.PART, 3, 2, 1) for part in cut)
    assert max(len(part.body) for part in cut) <= MAX_BODY
    arriving = [*cut, *rng.sample(cut, rng.randrange(len(cut)))]  # some of them twice
    rng.shuffle(arriving)
    hearer = Says(SHORT)
    joins = Segmented(hearer)
    answers = [joins.on_message(4, part, FIRST, 0) for part in arriving]
    assert hearer.told[0] == (4, message, FIRST)
    assert [Send(4, SHORT)] in answers


def test_other_effects_keep_their_place_between_the_parts() -> None:
    effects = Segmented(Says(LONG)).on_start(0, {})
    assert [type(effect) for effect in effects] == [SetTimer, Send, Send, Send]


def test_messages_under_way_at_a_time_are_told_apart_by_port_life_and_number() -> None:
    sender = Segmented(Says(LONG))
    one, other = parts(sender.on_start(0, {})), parts(sender.on_timer("t", 0))
    hearer = Says(SHORT)
    joins = Segmented(hearer)
    for place in range(3):
        for port, message, life in ((0, one, FIRST), (0, other, FIRST), (0, one, Life(2, 0)), (1, one, FIRST)):
            assert joins.on_message(port, message[place], life, 0) == ([Send(port, SHORT)] if place == 2 else [])
    assert [(port, life) for port, _, life in hearer.told] == [(0, FIRST), (0, FIRST), (0, Life(2, 0)), (1, FIRST)]


def test_parts_that_fit_nowhere_are_strays() -> None:
    joins = Segmented(Says(SHORT))
    [first, *_] = parts(Segmented(Says(LONG)).on_start(0, {}))
    joins.on_message(0, first, FIRST, 0)
    for bad in (b"", first.body[:7], first.body[:6] + b"\0\4", first.body[:4] + b"\0\3\0\3"):
        [note] = joins.on_message(0, first._replace(body=bad), FIRST, 0)
        assert isinstance(note, Note)
        assert note.what == "stray"


def test_what_never_becomes_whole_is_given_up_when_there_is_too_much_of_it() -> None:
    sender, joins = Segmented(Says(LONG)), Segmented(Says(SHORT))
    firsts = [parts(sender.on_timer("t", 0)) for _ in range(MOST_JOINING + 1)]
    notes = [note for message in firsts for note in joins.on_message(0, message[0], FIRST, 0)]
    assert [note.what for note in notes if isinstance(note, Note)] == ["incomplete"]
    assert len(joins.joining[0]) == MOST_JOINING
    for part in firsts[1][1:]:
        joins.on_message(0, part, FIRST, 0)
    assert len(joins.joining[0]) == MOST_JOINING - 1  # the second one still came whole


def test_what_cannot_be_cut_is_refused() -> None:
    for message in (LONG._replace(kind=Kind.SWAP), LONG._replace(body=bytes(PART_BYTES * MOST_PARTS + 1))):
        with pytest.raises(ValueError, match="can't be cut"):
            Segmented(Says(message)).on_start(0, {})
