"""Lies: what a liar says in place of what its machine wants said, to whom and when. Its machine notices nothing."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.nodes.core import Effects, Note, Send, SetTimer
from testbed.nodes.core.lies import Liar, Lie, Lied, LieKind
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import Kind, Message

PEERS = (1, 2, 3)  # by port


def said(value: int = 0, round_: int = 0) -> Message:
    return Message(Kind.DATA, round_, 1, bytes([value]))


def falsify(message: Message, which: int) -> Message | None:
    """Values are 0 and above; 99 is a message that tells none."""
    return None if message.body == b"c" else message._replace(body=bytes([(message.body[0] + which) % 10]))


def liar(*lies: Lie) -> Liar:
    return Liar(lies, PEERS, falsify)


def to_all(value: int = 0, round_: int = 0) -> Effects:
    return [Send(port, said(value, round_)) for port in range(3)]


def heard(liar: Liar, effects: Effects, now_ns: int = 5) -> list[tuple[int, int, int]]:
    """(peer, round, value) of what is said."""
    sends = (one for one in liar.twisted(effects, now_ns) if isinstance(one, Send))
    return [(PEERS[port], message.round, message.body[0]) for port, message in sends]


@pytest.mark.parametrize(
    ("lie", "values"),
    [
        ({"kind": LieKind.WRONG_VALUE}, [(1, 8), (2, 8), (3, 8)]),
        ({"kind": LieKind.WRONG_VALUE, "to": (2,)}, [(1, 7), (2, 8), (3, 7)]),
        ({"kind": LieKind.EQUIVOCATE}, [(1, 7), (2, 8), (3, 9)]),
        ({"kind": LieKind.EQUIVOCATE, "to": (1, 3)}, [(1, 8), (2, 7), (3, 8)]),
        ({"kind": LieKind.WITHHOLD, "to": (1, 3)}, [(2, 7)]),
        ({"kind": LieKind.SILENT}, []),
        ({"kind": LieKind.REPLAY}, [(1, 7), (2, 7), (3, 7)]),  # there is nothing older
        ({"kind": LieKind.DELAY, "by_ns": 10}, []),
    ],
)
def test_what_peers_hear(lie: dict[str, Any], values: list[tuple[int, int]]) -> None:
    assert heard(liar(Lie(**lie)), to_all(7)) == [(peer, 0, value) for peer, value in values]


def test_each_lie_is_on_record_before_what_is_sent_and_all_else_is_done_as_ever() -> None:
    effects: Effects = [Note("a"), Send(1, said(7)), SetTimer("b", 9)]
    told = list(liar(Lie(LieKind.WRONG_VALUE)).twisted(effects, 5))
    assert told == [Note("a"), Lied(LieKind.WRONG_VALUE, 2, 0, 1), Send(1, said(8)), SetTimer("b", 9)]


def test_a_message_that_tells_no_value_is_said_as_it_is_and_is_no_lie() -> None:
    neutral: Effects = [Send(1, Message(Kind.DATA, 0, 1, b"c"))]
    assert list(liar(Lie(LieKind.WRONG_VALUE)).twisted(neutral, 5)) == neutral


def test_a_replay_says_the_last_word_about_the_round_before_again() -> None:
    again = liar(Lie(LieKind.REPLAY, (1,)))
    heard(again, [Send(0, said(1, 3)), Send(0, said(2, 3)), Send(1, said(1, 3))])
    assert heard(again, to_all(5, 4)) == [(1, 4, 5), (1, 3, 2), (2, 4, 5), (3, 4, 5)]
    assert heard(again, [Send(0, said(6, 4))]) == [(1, 4, 6), (1, 3, 2)]


def test_what_is_delayed_is_said_once_its_timer_runs_out_and_once() -> None:
    late = liar(Lie(LieKind.DELAY, (1,), by_ns=10), Lie(LieKind.WRONG_VALUE))
    effects = list(late.twisted([Send(0, said(7)), Send(1, said(7))], 5))
    [timer] = [effect for effect in effects if isinstance(effect, SetTimer)]
    assert timer.at_ns == 15
    assert heard(late, [Send(0, said(3))], 6) == []
    released = late.released(timer.name)
    assert released is not None
    assert heard(late, released, 15) == [(1, 0, 8)]  # neither held back nor falsified again
    assert late.released(timer.name) is None
    assert late.released("a timer of the machine's") is None


def test_a_lie_has_its_time() -> None:
    for_a_while = liar(Lie(LieKind.SILENT, from_ns=5, until_ns=7))
    assert [len(heard(for_a_while, to_all(), now)) for now in (4, 5, 6, 7)] == [3, 0, 0, 3]


def test_a_lie_may_begin_between_two_sends_of_one_event_and_ends_by_itself() -> None:
    at_a_moment = liar(Lie(LieKind.SILENT, moment=Moment(-1, after_sends=2), for_ns=10))
    [moment] = at_a_moment.moments()
    assert moment.after_sends == 2
    done = []
    for effect in at_a_moment.twisted(to_all(), 5):
        done.append(effect)
        if len(done) == 2:
            at_a_moment.begin(moment, 5)
    assert done == [*to_all()[:2], Lied(LieKind.SILENT, 3, 0, 1)]
    assert [len(heard(at_a_moment, to_all(), now)) for now in (14, 15)] == [0, 3]
