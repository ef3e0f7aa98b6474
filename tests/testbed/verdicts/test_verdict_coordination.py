"""What services promise of coordination: good histories pass, and each way of damaging one is seen."""

from __future__ import annotations

from testbed.nodes.registry import service_names, service_spec
from testbed.nodes.services.facts import (
    Contributed,
    Entered,
    Fact,
    Granted,
    Holds,
    Left,
    Pulled,
    Pushed,
    Reduced,
    Wrote,
)
from testbed.scenario.expect import SERVICE_PROPERTIES
from testbed.verdicts.coordination import PROPERTIES, Observed, barrier, exclusion, leadership, staleness, sums


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


def enters(worker: str, called: int, round_: int = 0, returned: int | None = None) -> Observed:
    return did(worker, called, returned, asked=(Entered(round_, int(worker), 3),))


def leaves(worker: str, called: int, returned: int, round_: int = 0) -> Observed:
    return did(worker, called, returned, Left(round_))


def test_who_leaves_a_barrier_when_all_have_asked_to_enter_is_right_though_nobody_was_answered() -> None:
    assert barrier([enters("0", 0), enters("1", 5), enters("2", 9), leaves("0", 6, 10)]) == []
    assert barrier([leaves("0", 6, 10), enters("2", 9), enters("1", 5), enters("0", 0)]) == []


def test_who_leaves_before_another_has_entered_is_seen() -> None:
    told = ["0@6 left round 0 before worker 2 had entered it"]
    assert barrier([enters("0", 0), enters("1", 5), leaves("0", 6, 10), enters("2", 10)]) == told
    assert barrier([enters("0", 0), enters("1", 5), leaves("0", 6, 10), enters("2", 1, round_=1)]) == told
    assert barrier([enters("0", 0), enters("0", 1), enters("0", 2), leaves("0", 6, 10)]) == [
        "0@6 left round 0 before workers 1, 2 had entered it"
    ]
    assert barrier([leaves("0", 6, 10, 7)]) == ["0@6 left round 7 before worker 0 had entered it"]


def adds(worker: str, called: int, *values: int) -> Observed:
    return did(worker, called, called + 1, asked=(Contributed(0, int(worker), values),))


def test_a_sum_with_something_missing_or_twice_is_seen() -> None:
    both = [adds("0", 0, 1, 2), adds("1", 1, 10, 20), adds("0", 5, 1, 2)]
    assert sums([*both, did("0", 6, 9, Reduced(0, (11, 22)))]) == []
    for wrong, shown in [((1, 2), "1,2"), ((12, 24), "12,24"), ((11,), "11"), ((), "nothing")]:
        assert sums([*both, did("0", 6, 9, Reduced(0, wrong))]) == [
            f"0@6 was told {shown} as the sum of round 0; what was contributed comes to 11,22"
        ]
    assert len(sums([*both, did("0", 6, 9, Reduced(1, (11, 22)))])) == 1, "of a round to which nobody contributed"


def pushes(worker: str, called: int, iteration: int, value: int) -> Observed:
    return did(worker, called, None, asked=(Pushed(iteration, int(worker), (value,)),))


def pulls(iteration: int, staleness_: int, clocks: tuple[int, ...], value: int, returned: int = 50) -> Observed:
    return did("0", 40, returned, Pulled(iteration, staleness_, clocks, (value,)))


def test_a_model_that_is_too_old_or_lacks_or_repeats_a_gradient_is_seen() -> None:
    history = [pushes("0", 0, 0, 1), pushes("0", 5, 1, 2), pushes("1", 6, 0, 10), pushes("0", 7, 0, 1)]
    assert staleness([*history, pulls(2, 1, (2, 1), 13)]) == []
    assert staleness([*history, pulls(2, 0, (2, 1), 13)]) == [
        "0@40 is in iteration 2 with a model that lacks more than 0 iterations of worker 1"
    ]
    not_the_sum = "0@40 was given a model that is not the sum of what it says is in it"
    assert staleness([*history, pulls(2, 1, (2, 1), 14)]) == [not_the_sum], "a gradient twice"
    assert staleness([*history, pulls(2, 1, (2, 1), 3)]) == [not_the_sum], "one is missing"
    unheard = "0@40 was given a model with what nobody had pushed"
    assert staleness([*history, pulls(2, 1, (2, 2), 13)]) == [unheard]
    assert staleness([*history, pulls(2, 1, (2, 1, 1), 13)]) == [unheard], "a worker that there is not"
    assert staleness([*history, pushes("1", 50, 1, 20), pulls(2, 1, (2, 2), 33)]) == [unheard], "pushed later"


def test_every_property_of_a_service_has_a_checker_and_each_checker_a_service() -> None:
    promised = {name for service in service_names() for name in service_spec(service).properties}
    assert promised == set(PROPERTIES)
