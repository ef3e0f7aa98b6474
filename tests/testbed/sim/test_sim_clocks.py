"""Nodes with clocks of their own under sim: windows begin by their clocks, verdicts judge in true time."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.nodes.core import Resolve, RoundStart
from testbed.plan import Plan
from testbed.scenario import ScenarioError, compile_plan, from_data
from testbed.study.closed_forms import NotClosedFormError, clock_skew_ns, swap_forms
from testbed.verdicts import judge

PAIR = {
    "name": "clocks",
    "topology": {"kind": "pair"},
    "links": {"default": {"delay": "20us"}},
    "protocol": {"handshake": "simultaneous", "window": "200us", "period": "1ms", "rounds": 40},
}


def plan_of(**rest: Any) -> Plan:
    protocol = {**PAIR["protocol"], **rest.pop("protocol", {})}
    return compile_plan(from_data({**PAIR, "protocol": protocol, **rest}))


def starts(history: History, node: str) -> list[int]:
    return [event.t_ns for event in history.events.of_kind(RoundStart) if event.node == node]


def skews(history: History) -> list[int]:
    ends: dict[int, list[int]] = defaultdict(list)
    for event in history.events.of_kind(Resolve):
        ends[event.what.swap.round].append(event.t_ns)
    return [max(times) - min(times) for _, times in sorted(ends.items())]


def test_rounds_begin_when_the_nodes_clock_says_so() -> None:
    history = SimEngine().run(plan_of(clocks={"host1": {"offset": "7us"}, "host2": {"offset": "-5us"}}))
    assert starts(history, "host1") == [r * 1_000_000 - 7_000 for r in range(40)]
    assert starts(history, "host2") == [r * 1_000_000 + 5_000 for r in range(40)]


@pytest.mark.parametrize(("ppm", "within_ns"), [(20, 0), (100, 0), (100, 3_000)])
def test_drift_adds_2_rho_t_to_the_skew(ppm: int, within_ns: int) -> None:
    """Ends that drift apart, at the worst, in the last round before they are set; the bound is met and kept."""
    sync = {"every": "10ms", "within": f"{within_ns}ns"}
    clocks = {"host1": {"drift": f"{ppm}ppm", "sync": sync}, "host2": {"drift": f"-{ppm}ppm", "sync": sync}}
    plan = plan_of(clocks=clocks, protocol={"rounds": 400}, epsilon="100ns")
    history = SimEngine().run(plan)
    found, bound_ns = skews(history), clock_skew_ns(ppm * 1000, 10_000_000, within_ns)
    assert len(found) == 400
    assert max(found) <= bound_ns
    if not within_ns:
        assert max(found) >= 0.9 * (bound_ns - 2)  # the last of ten rounds begins nine tenths into the interval
        assert [found[9], found[19]] == [2 * ppm * 9] * 2
    verdict = judge(plan, history)
    assert str(verdict.fidelity.answer) == "trusted"
    assert {(one.kind, one.cause) for one in verdict.bisynchrony.breaks} == {("skew", "clock")}
    with pytest.raises(NotClosedFormError, match="clocks"):
        swap_forms(plan, (0, 1))


def test_a_swap_at_a_slow_clock_is_late_in_true_time_and_the_clock_is_to_blame() -> None:
    plan = plan_of(clocks={"host2": {"offset": "-30us"}}, links={"default": {"loss": "100%"}})
    found = judge(plan, SimEngine().run(plan)).bisynchrony.breaks
    assert len(found) == 40
    assert {(one.kind, one.cause) for one in found} == {("late", "clock")}
    assert "30.000 us behind true time" in found[0].detail


def test_a_message_in_time_for_all_but_a_fast_clock_splits_the_swap_and_the_clock_is_to_blame() -> None:
    plan = plan_of(clocks={"host2": {"offset": "60us"}}, links={"default": {"delay": "150us"}})
    found = judge(plan, SimEngine().run(plan)).bisynchrony.breaks
    assert len(found) == 40
    assert {(one.kind, one.cause) for one in found} == {("split", "clock")}
    assert found[0].frame.startswith("host1>host2 round 0")
    assert "10.000 us after the window's end at host2: the clock of host2 was 60.000 us ahead" in found[0].detail


def test_steps_are_undone_and_timers_move_with_the_clock() -> None:
    step = {"do": "clock_step", "on": "host1", "by": "400us", "at": "10.5ms", "for": "10ms"}
    history = SimEngine().run(plan_of(faults=[step]))
    begun = starts(history, "host1")
    assert begun[:11] == [r * 1_000_000 for r in range(11)]
    assert begun[11:21] == [r * 1_000_000 - 400_000 for r in range(11, 21)]
    assert begun[21:] == [r * 1_000_000 for r in range(21, 40)]


def test_a_step_over_rounds_begins_them_at_once_and_a_step_back_repeats_none() -> None:
    forward = {"do": "clock_step", "on": "host1", "by": "3ms", "at": "10.5ms"}
    back = {"do": "clock_step", "on": "host1", "by": "-3ms", "at": "20.5ms"}
    begun = starts(SimEngine().run(plan_of(faults=[forward, back])), "host1")
    assert begun[11:14] == [10_500_000] * 3
    assert begun[14] == 11_000_000
    assert begun[23:25] == [20_000_000, 24_000_000]  # stands still from 23.5 ms on the clock for 3 ms
    assert len(begun) == 40


def test_drift_adds_up_and_a_restarted_node_keeps_its_clock() -> None:
    faults = [
        {"do": "clock_drift", "on": "host1", "drift": "1000ppm", "at": "0ms"},
        {"do": "node_kill", "on": "host1", "at": "10.5ms", "for": "2ms"},
    ]
    history = SimEngine().run(plan_of(faults=faults))
    begun = starts(history, "host1")
    assert begun[10] == -(-10_000_000 * 1000 // 1001)
    assert begun[11] == -(-13_000_000 * 1000 // 1001)
    assert str(judge(plan_of(faults=faults), history).fidelity.answer) == "trusted"


def test_a_run_lasts_until_the_slowest_clock_is_through() -> None:
    plan = plan_of(clocks={"host2": {"drift": "-10000ppm", "offset": "-2ms"}})
    history = SimEngine().run(plan)
    assert len(starts(history, "host2")) == 40
    assert str(judge(plan, history).fidelity.answer) == "trusted"


def test_residuals_come_from_the_runs_seed_and_differ_between_hosts() -> None:
    sync = {"*": {"sync": {"every": "1ms", "within": "9us"}}}
    one, again, other = (SimEngine().run(plan_of(clocks=sync, seed=seed)) for seed in (1, 1, 2))
    assert starts(one, "host1") == starts(again, "host1")
    assert len({tuple(starts(one, "host1")), tuple(starts(one, "host2")), tuple(starts(other, "host1"))}) == 3


BAD = [
    ({"clocks": {"host9": {"drift": "1ppm"}}}, "host9"),
    ({"clocks": {"host1": {"drift": "1"}}}, "20ppm"),
    ({"clocks": {"host1": {"drift": "300000ppm"}}}, "100000ppm"),
    ({"clocks": {"host1": {"sync": {"every": "10us", "within": "6us"}}}}, "set back"),
    ({"clocks": {"host1": {"syn": 3}}}, "sync"),
    ({"faults": [{"do": "clock_step", "on": "host1", "at": "1ms"}]}, "by"),
    ({"faults": [{"do": "clock_drift", "on": "host1", "at": "1ms", "by": "1us"}]}, "clock_step"),
    ({"faults": [{"do": "node_kill", "on": "host1", "at": "1ms", "drift": "1ppm"}]}, "clock_drift"),
]


@pytest.mark.parametrize(("rest", "word"), BAD)
def test_a_clock_that_makes_no_sense_is_one_clear_line(rest: dict[str, Any], word: str) -> None:
    with pytest.raises(ScenarioError, match=word):
        plan_of(**rest)
