"""Clocks that drift, on a real kernel: what the closed form says, and the same as under sim whatever else strikes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from testbed.engines.sim import SimEngine
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.history import History
from testbed.nodes.core import Resolve
from testbed.plan import Plan
from testbed.study.closed_forms import clock_skew_ns
from testbed.verdicts import judge

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

FABRIC = {"kind": "leaf_spine", "spines": 2, "leaves": 3, "hosts_per_leaf": 1}
STRUCK: list[dict[str, Any]] = [
    {"do": "clock_step", "on": "host3", "by": "80us", "at": "10ms", "for": "10ms"},
    {"do": "clock_step", "on": "host2", "by": "-250us", "at": "round 80 + 3us"},
    {"do": "clock_step", "by": "40us", "when": {"node": "host1", "enters": "REFLECTING", "round": 100}},
    {"do": "node_pause", "on": "host2", "at": "50ms", "for": "2ms"},
    {"do": "clock_step", "on": "host2", "by": "400us", "at": "51ms"},
    {"do": "node_kill", "on": "host3", "at": "60ms", "for": "3ms"},
    {"do": "clock_drift", "on": "host3", "drift": "-2000ppm", "at": "61ms"},
]


def skews(history: History) -> list[int]:
    ends: dict[int, list[int]] = defaultdict(list)
    for event in history.events.of_kind(Resolve):
        ends[event.what.swap.round].append(event.t_ns)
    return [max(times) - min(times) for _, times in sorted(ends.items())]


def test_drift_adds_2_rho_t_to_the_skew_on_the_kernel_too(kernel, plan_of: Callable[..., Plan]) -> None:
    """100 ppm either way, set every 10 ms: the last of ten rounds begins 2 rho 9 ms apart, and that is the worst."""
    clocks = {
        host: {"drift": f"{sign}100ppm", "sync": {"every": "10ms"}} for host, sign in (("host1", "+"), ("host2", "-"))
    }
    protocol = {"handshake": "simultaneous", "window": "200us", "period": "1ms", "rounds": 100}
    plan = plan_of({"kind": "pair"}, {"delay": "20us"}, protocol, clocks=clocks)
    found = skews(VKernelEngine().run(plan))
    assert found == skews(SimEngine().run(plan))
    assert found[9::10] == [2 * 100 * 9] * 10
    assert 0.9 * (clock_skew_ns(100_000, 10_000_000) - 2) <= max(found) <= clock_skew_ns(100_000, 10_000_000)


def test_clocks_of_paused_and_restarted_nodes_are_the_same_ones(kernel, plan_of: Callable[..., Plan]) -> None:
    clocks = {
        "host1": {"drift": "100ppm", "sync": {"every": "10ms", "within": "2us"}},
        "host2": {"drift": "-100ppm", "offset": "3us"},
    }
    link, protocol = {"delay": "15us", "jitter": "5us"}, {"consensus": "oae", "f": 1, "rounds": 300}
    plan = plan_of(FABRIC, link, protocol, clocks=clocks, faults=STRUCK)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    rows = [sorted((event.t_ns, event.node, repr(event.what)) for event in run.events) for run in (one, other)]
    assert rows[0] == rows[1]
    assert [str(judge(plan, run).fidelity.answer) for run in (one, other)] == ["trusted"] * 2


def test_a_swap_that_a_slow_clock_ends_late_is_late_on_the_kernel_too(kernel, plan_of: Callable[..., Plan]) -> None:
    """Both clocks are 400 ns behind: by them the last message comes in time, and in true time 400 ns too late."""
    clocks = {host: {"offset": "-400ns"} for host in ("host1", "host2")}
    protocol = {"depth": 4, "window": "80us", "period": "200us", "rounds": 5}
    plan = plan_of({"kind": "pair"}, {"delay": "20us"}, protocol, clocks=clocks)
    one, other = (judge(plan, engine.run(plan)).bisynchrony for engine in (SimEngine(), VKernelEngine()))
    assert len(one.broken_rounds) == 5
    assert other == one
