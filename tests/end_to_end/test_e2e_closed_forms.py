"""The closed forms of the link are met: by sim over a grid, by vkernel at six points.

Each comparison uses an exact binomial interval; the confidence is shared out over the comparisons (Bonferroni),
so that a correct testbed fails a whole test with probability below 1 %. Seeds are fixed: a pass stays a pass.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testbed.engines.sim import SimEngine
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.history import History
from testbed.plan import Plan
from testbed.study.closed_forms import swap_forms
from testbed.study.statistics import clopper_pearson
from testbed.verdicts import judge

ROUNDS = 1500
GRID = [
    (handshake, depth, horizon, window, jitter, loss)
    for handshake, depth in (("alternating", 2), ("alternating", 3), ("alternating", 4), ("simultaneous", 2))
    for horizon in ("abort", "hold")
    for window in (0.9, 1.0, 1.15)  # of the mean duration of the exchange
    for jitter in (3, 9)
    for loss in (0.0, 0.05)
]
DELAY_US = 20


def plan_at(plan_of: Callable[..., Plan], point: tuple, rounds: int, seed: int) -> Plan:
    handshake, depth, horizon, window, jitter, loss = point
    steps = 1 if handshake == "simultaneous" else depth
    window_us = round(window * steps * DELAY_US)
    return plan_of(
        {"kind": "pair"},
        {"delay": f"{DELAY_US}us", "jitter": f"{jitter}us", "loss": loss},
        {
            "handshake": handshake,
            "depth": depth,
            "horizon": horizon,
            "window": f"{window_us}us",
            "period": f"{window_us + 200}us",
            "rounds": rounds,
        },
        seed=seed,
        capture=False,
    )


def outside(plan: Plan, history: History, comparisons: int) -> list[str]:
    """Outcomes whose observed counts do not fit the closed form. A swap that is held never splits, whatever befalls."""
    counts = judge(plan, history).bisynchrony.swaps
    assert plan.protocol.horizon != "hold" or counts["split"] == 0
    trials = sum(counts.values())
    told = swap_forms(plan, (0, 1))
    confidence = 1 - 0.01 / comparisons
    return [
        f"{outcome}: {counts[outcome]} of {trials}, expected {p:.4f}"
        for outcome in ("committed", "aborted", "split", "blocked")
        for p in [getattr(told, outcome)]
        if not clopper_pearson(counts[outcome], trials, confidence).holds(p)
    ]


@pytest.mark.slow
def test_sim_meets_the_closed_forms_over_the_grid(plan_of: Callable[..., Plan]) -> None:
    engine = SimEngine(events="outcomes", hops=False)
    wrong = {}
    for seed, point in enumerate(GRID):
        plan = plan_at(plan_of, point, ROUNDS, seed)
        found = outside(plan, engine.run(plan), 4 * len(GRID))
        if found:
            wrong[point] = found
    assert not wrong


VKERNEL_POINTS = [
    ("alternating", 2, "abort", 1.0, 9, 0.0),
    ("alternating", 3, "abort", 1.15, 9, 0.0),
    ("alternating", 4, "abort", 1.0, 9, 0.0),
    ("alternating", 4, "abort", 1.15, 3, 0.05),
    ("alternating", 4, "hold", 1.0, 9, 0.05),
    ("simultaneous", 2, "abort", 1.15, 9, 0.05),
]


@pytest.mark.slow
@pytest.mark.kernel
def test_vkernel_meets_the_closed_forms_at_six_points(kernel, plan_of: Callable[..., Plan]) -> None:
    plans = [plan_at(plan_of, point, ROUNDS, 100 + seed) for seed, point in enumerate(VKERNEL_POINTS)]
    histories = VKernelEngine().run_many(plans)
    wrong = {
        point: found
        for point, plan, history in zip(VKERNEL_POINTS, plans, histories, strict=True)
        if (found := outside(plan, history, 4 * len(plans)))
    }
    assert not wrong
