"""A log: agreement, validity, integrity, order and termination; good histories that are damaged, and what is said."""

from __future__ import annotations

import pytest
from verdict_story import US, Story, plan_on, star

from testbed.nodes.core import Decide, Install, Propose
from testbed.nodes.core.record import Died, Started
from testbed.nodes.core.values import of_int
from testbed.plan import Plan
from testbed.verdicts import judge
from testbed.verdicts.consensus import PROPERTIES
from testbed.verdicts.model import Consensus

IN_PART = plan_on(star(3), consensus="epaxos", instances=4, settle_ns=300 * US, parameters={"classes": 2})
PLAN = plan_on(star(3), consensus="multi_paxos", instances=4, settle_ns=300 * US)
HOSTS = PLAN.fabric.hosts

Line = tuple[int, str, object]


def good() -> list[Line]:
    """Four submissions, in two orders of time, told at three nodes in one order."""
    lines: list[Line] = []
    for place in range(4):
        lines.append((place * 10 * US, HOSTS[place % 3], Propose(place // 3, of_int(place))))
        lines += [
            (place * 10 * US + (1 + rank) * US, node, Decide(place, of_int(place), 1))
            for rank, node in enumerate(HOSTS)
        ]
    return lines


def told(lines: list[Line], plan: Plan = PLAN) -> Consensus:
    story = Story(plan)
    for t_ns, node, what in lines:
        story.event(t_ns, node, what)
    verdict = judge(plan, story.history()).consensus
    assert verdict is not None
    return verdict


def lost(verdict: Consensus) -> list[str]:
    """The properties that do not hold."""
    return [name for name, held in PROPERTIES.items() if not held(verdict)]


def place_of(lines: list[Line], node: str, entry: int) -> int:
    return next(
        place
        for place, (_, at, what) in enumerate(lines)
        if at == node and isinstance(what, Decide) and what.instance == entry
    )


def test_a_log_that_is_the_same_everywhere_holds() -> None:
    verdict = told(good())
    assert verdict == Consensus(4, (), (), 4, (), (), {1: 12}, "submissions", (), (), 4)
    assert lost(verdict) == []


def test_an_entry_that_is_dropped_leaves_a_hole_and_its_submission_untold() -> None:
    lines = good()
    del lines[place_of(lines, "host2", 1)]
    verdict = told(lines)
    assert lost(verdict) == ["order", "termination"]
    assert verdict.disordered == ("host2 was told entry 2 at 22000 ns, where 1 is the next",)
    assert verdict.undecided == (1,)
    assert verdict.later == 0


def test_a_submission_that_was_told_after_its_time_was_told_later() -> None:
    lines = good()
    last = place_of(lines, "host3", 3)
    lines[last] = (900 * US, *lines[last][1:])
    verdict = told(lines)
    assert lost(verdict) == ["termination"]
    assert (verdict.decided, verdict.undecided, verdict.later) == (3, (3,), 1)


def test_entries_that_are_swapped_at_one_node_disagree() -> None:
    lines = good()
    one, other = place_of(lines, "host3", 1), place_of(lines, "host3", 2)
    first, second = lines[one][2], lines[other][2]
    assert isinstance(first, Decide)
    assert isinstance(second, Decide)
    lines[one] = (*lines[one][:2], first._replace(value=second.value))
    lines[other] = (*lines[other][:2], second._replace(value=first.value))
    verdict = told(lines)
    assert [(item.instance, item.decisions["host3"]) for item in verdict.disagreements] == [(1, ("2",)), (2, ("1",))]
    assert "agreement" in lost(verdict)


def test_entries_that_change_places_in_time_are_out_of_order() -> None:
    lines = good()
    one, other = place_of(lines, "host3", 1), place_of(lines, "host3", 2)
    lines[one], lines[other] = (*lines[one][:2], lines[other][2]), (*lines[other][:2], lines[one][2])
    verdict = told(lines)
    assert lost(verdict) == ["order"]
    assert len(verdict.disordered) == 3, "2 instead of 1, then 1, then 3"


def test_an_entry_that_is_told_twice_is_out_of_order_and_a_submission_in_two_entries_is_repeated() -> None:
    lines = good()
    twice = lines[place_of(lines, "host1", 2)]
    assert lost(told([*lines, (90 * US, *twice[1:])])) == ["order"]
    again = [(90 * US, node, Decide(4, of_int(2), 1)) for node in HOSTS]
    verdict = told([*lines, *again])
    assert lost(verdict) == ["integrity"]
    assert verdict.repeated == ("2 was submitted once and is entry 2, 4",)
    assert lost(told([*lines, (80 * US, "host3", Propose(1, of_int(2))), *again])) == [], "if it is submitted twice"


def test_an_entry_that_is_altered_is_nobodys() -> None:
    lines = good()
    for node in HOSTS:
        place = place_of(lines, node, 3)
        lines[place] = (*lines[place][:2], Decide(3, of_int(77), 1))
    verdict = told(lines)
    assert lost(verdict) == ["validity", "termination"]
    assert verdict.invalid == tuple((3, node, "77") for node in HOSTS)


def test_a_state_stands_for_the_entries_before_it_and_for_no_later_ones() -> None:
    lines = [line for line in good() if line[1] != "host3" or isinstance(line[2], Propose)]
    behind = [*lines, (60 * US, "host3", Install(3, b"state")), (70 * US, "host3", Decide(3, of_int(3), 1))]
    assert lost(told(behind)) == []
    assert told([*lines, (60 * US, "host3", Install(3, b"state"))]).undecided == (3,)
    back = [*good(), (60 * US, "host3", Install(3, b"state"))]
    assert told(back).disordered == ("host3 was given a state of 3 entries at 60000 ns, after 4",)


def test_a_later_life_is_told_the_log_from_its_beginning_and_must_be_told_the_same() -> None:
    died = [(100 * US, "host2", Died()), (110 * US, "host2", Started(True, 110 * US))]
    again = [(120 * US + place, "host2", Decide(place, of_int(place), 1)) for place in range(4)]
    assert lost(told([*good(), *died, *again])) == []
    other = [(120 * US, "host2", Decide(0, of_int(1), 2))]
    assert lost(told([*good(), *died, *other])) == ["agreement", "integrity"], "and 1 is there twice"
    assert lost(told([*good(), *died, *again[1:]])) == ["order"]


@pytest.mark.parametrize("seen", [False, True])
def test_what_a_node_submits_that_dies_is_owed_once_somebody_was_told(seen: bool) -> None:
    """host1's third submission comes right before its death."""
    lines = [*good(), (40 * US, "host1", Propose(2, of_int(9))), (45 * US, "host1", Died())]
    if seen:
        lines.append((50 * US, "host2", Decide(4, of_int(9), 2)))
    verdict = told(lines)
    assert verdict.undecided == ((4,) if seen else ())
    assert (verdict.instances, verdict.decided) == (5, 4)


# -- a partial order ---------------------------------------------------------------------------------------------------


def in_orders(*orders: tuple[int, ...]) -> list[Line]:
    """The same submissions, 0 to 3, told at each node in an order of its own. 0 and 2 conflict, and 1 and 3."""
    lines: list[Line] = [(place * US, HOSTS[place % 3], Propose(place // 3, of_int(place))) for place in range(4)]
    for node, order in zip(HOSTS, orders, strict=True):
        lines += [((50 + place) * US, node, Decide(place, of_int(value), 1)) for place, value in enumerate(order)]
    return lines


def test_in_a_partial_order_what_commutes_may_stand_in_any_order_and_what_conflicts_may_not() -> None:
    verdict = told(in_orders((0, 1, 2, 3), (1, 3, 0, 2), (1, 0, 2, 3)), IN_PART)
    assert verdict == Consensus(4, (), (), 4, (), (), {1: 12}, "submissions", (), (), 4)
    verdict = told(in_orders((0, 1, 2, 3), (1, 3, 0, 2), (1, 2, 0, 3)), IN_PART)
    assert lost(verdict) == ["agreement"]
    places, moved = verdict.disagreements[:2], verdict.disagreements[2:]
    assert [(item.instance, item.decisions["host3"]) for item in places] == [(0, ("2",)), (1, ("0",))]
    assert moved[0].decisions == {
        "host1": ("0 behind 0 others",), "host2": ("0 behind 0 others",), "host3": ("0 behind 1 others",)
    }  # fmt: skip


def test_in_a_partial_order_what_is_left_out_moves_what_conflicts_with_it() -> None:
    verdict = told(in_orders((0, 1, 2, 3), (0, 1, 2, 3), (1, 2, 3)), IN_PART)
    assert lost(verdict) == ["agreement", "termination"], "2 stands where 0 should"
    assert lost(told(in_orders((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2)), IN_PART)) == ["termination"], "3 comes later"


def test_in_a_partial_order_each_life_counts_for_itself() -> None:
    lines = in_orders((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3))
    died = [(100 * US, "host2", Died()), (110 * US, "host2", Started(True, 110 * US))]
    again = [((120 + place) * US, "host2", Decide(place, of_int(value), 1)) for place, value in enumerate((1, 0, 2, 3))]
    assert lost(told([*lines, *died, *again], IN_PART)) == []
    assert lost(told([*lines, *died, *again[1:]], IN_PART)) == ["agreement", "order"]
    twice = [*lines, (90 * US, "host1", Decide(4, of_int(3), 1))]
    assert told(twice, IN_PART).repeated == ("3 was submitted once and told 2 times to one life",)
    alien = [*lines, (90 * US, "host1", Decide(4, of_int(8), 1))]
    assert lost(told(alien, IN_PART)) == ["validity"]
