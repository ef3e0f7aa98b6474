"""The one schedule of faults: what strikes when, and in which order, whoever carries it out."""

from __future__ import annotations

from testbed.faults.schedule import Phase, Schedule
from testbed.nodes.core.moments import Moment
from testbed.plan import Fault

FIRST, WAKING, LAST = Phase.FIRST, Phase.WAKING, Phase.LAST


def timed(at_ns: int, verb: str = "node_kill", target: str = "host1") -> Fault:
    return Fault(verb, at_ns=at_ns, target=target)


def when(node: str, target: str, after_ns: int = 0, verb: str = "node_kill") -> Fault:
    return Fault(verb, node=node, moment=Moment(index=0, enters="REFLECTING"), target=target, after_ns=after_ns)


def following(leader: int, target: str, after_ns: int = 0, verb: str = "node_kill") -> Fault:
    return Fault(verb, follows=leader, target=target, after_ns=after_ns)


def agenda(schedule: Schedule) -> list[tuple[int, Phase, int]]:
    """All that is still to strike, in order."""
    strikes = []
    while (following_ := schedule.next()) is not None:
        strikes.append((*following_, schedule.take()))
    return strikes


def test_at_equal_times_the_plans_order_decides_but_who_is_woken_wakes_last() -> None:
    schedule = Schedule([timed(20), timed(10, "node_resume"), timed(10, "nic_down"), timed(10, "node_kill")])
    assert agenda(schedule) == [(10, FIRST, 2), (10, FIRST, 3), (10, WAKING, 1), (20, FIRST, 0)]


def test_what_follows_strikes_so_much_later_and_without_a_delay_at_once() -> None:
    faults = [timed(10), following(0, "host2", 5), following(0, "host3"), following(2, "host4", 1), timed(15)]
    assert agenda(Schedule(faults)) == [(10, FIRST, 0), (10, FIRST, 2), (11, FIRST, 3), (15, FIRST, 1), (15, FIRST, 4)]


def test_an_order_strikes_its_own_node_at_the_moment_and_all_others_when_the_instant_is_over() -> None:
    """{when: {node: host2, ..}, on: [host3, host2, host1]}: host2 does nothing more, wherever it stands in the list."""
    schedule = Schedule([when("host2", "host3"), following(0, "host2"), following(0, "host1"), timed(51)])
    assert schedule.at_moment(0, 50) == [1]
    assert agenda(schedule) == [(50, LAST, 0), (50, LAST, 2), (51, FIRST, 3)]


def test_each_target_of_an_order_comes_back_so_long_after_it_was_struck() -> None:
    undo = [following(0, "host3", 7, "node_restart"), following(1, "host2", 7, "node_restart")]
    schedule = Schedule([when("host2", "host3"), following(0, "host2"), *undo])
    assert schedule.at_moment(0, 50) == [1]
    assert agenda(schedule) == [(50, LAST, 0), (57, FIRST, 2), (57, FIRST, 3)]


def test_some_time_after_a_moment_is_a_time_like_any_other() -> None:
    schedule = Schedule([when("host2", "host2", after_ns=4), following(0, "host3")])
    assert schedule.at_moment(0, 50) == []
    assert agenda(schedule) == [(54, FIRST, 0), (54, FIRST, 1)]


def test_a_moment_comes_once_and_later_lives_do_not_look_out_for_it() -> None:
    schedule = Schedule([when("host2", "host2"), timed(5)])
    assert [moment.index for moment in schedule.moments("host2")] == [0]
    assert schedule.moments("host1") == []
    schedule.at_moment(0, 50)
    assert schedule.moments("host2") == []


def test_whoever_wants_to_know_is_told_of_each_fault_that_is_planned() -> None:
    told: list[tuple[int, Phase]] = []
    schedule = Schedule([timed(9), when("host2", "host3")], lambda at_ns, phase: told.append((at_ns, phase)))
    schedule.at_moment(1, 50)
    assert told == [(9, FIRST), (50, LAST)]
