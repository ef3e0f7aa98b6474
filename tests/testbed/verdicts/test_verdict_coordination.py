"""What services promise of coordination: good histories pass, and each way of damaging one is seen."""

from __future__ import annotations

from nodes.services.facts import Fact, Granted, Holds, Wrote
from testbed.scenario.expect import SERVICE_PROPERTIES
from testbed.verdicts.coordination import PROPERTIES, Observed, exclusion, leadership


def did(process: str, called: int, returned: int | None, *told: Fact, asked: tuple[Fact, ...] = ()) -> Observed:
    """One operation; its name tells who did it when."""
    return Observed(f"{process}@{called}", process, called, returned, asked, told)


def a(token: int) -> Granted:
    return Granted("lock", token, "a")


def b(token: int) -> Granted:
    return Granted("lock", token, "b")


def w(token: int) -> Wrote:
    return Wrote("lock", token)


GOOD = [
    did("a", 0, 10, a(1)),
    did("a", 11, 20, w(1)),
    did("b", 12, 30, Holds("lock", 1, "a")),
    did("b", 31, 40, b(2)),
    did("a", 32, 60, w(1)),  # while b's write is open
    did("b", 41, 50, w(2)),
    did("b", 51, 55),
    did("a", 70, 80, a(3)),
    did("a", 81, None),
    did("b", 72, 79, Granted("other", 1, "b")),
]


def test_a_lock_that_goes_from_hand_to_hand_accuses_nobody() -> None:
    assert exclusion(GOOD) == leadership(GOOD) == []
    assert exclusion(list(reversed(GOOD))) == [], "in whatever order they were recorded"


def test_what_is_written_under_an_older_token_after_a_newer_is_seen() -> None:
    assert exclusion([*GOOD, did("a", 51, 60, w(1))]) == [
        "a@51 wrote to lock under token 1 after b@41 had under token 2"
    ]
    assert exclusion([*GOOD, did("a", 50, 60, w(1))]) == [], "at the same moment they overlap"


def test_a_token_of_two_a_token_given_again_and_one_that_goes_back_are_seen() -> None:
    assert exclusion([*GOOD, did("b", 82, 90, b(3))]) == [
        "lock is held under 3 by two: a by a@70 and b by b@82",
        "lock was given under 3 twice, by a@70 and by b@82",
    ]
    assert leadership([*GOOD, did("c", 82, 90, Holds("lock", 3, "b"))]) == [
        "lock is held under 3 by two: a by a@70 and b by c@82"
    ]
    assert leadership([did("a", 0, 10, a(1)), did("a", 20, 30, a(1))]) == [
        "lock was given under 1 twice, by a@0 and by a@20"
    ]
    assert leadership([did("a", 0, 10, a(5)), did("b", 11, 20, b(4))]) == [
        "b@11 was given lock under 4 after a@0 had been under 5"
    ]
    assert leadership([did("a", 0, 15, a(5)), did("b", 11, 20, b(4))]) == [], "they overlap: 4 came first"


def test_who_writes_under_anothers_token_is_seen() -> None:
    assert exclusion([*GOOD, did("b", 82, 90, w(3))]) == ["b@82 wrote to lock under token 3, which was given to a"]


def test_what_never_returned_accuses_nobody() -> None:
    assert exclusion([*GOOD, did("a", 51, None, w(1)), did("b", 82, None, b(3))]) == []


def test_what_can_be_promised_can_be_expected() -> None:
    assert {"durability", *PROPERTIES} <= set(SERVICE_PROPERTIES)
