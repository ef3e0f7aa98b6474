"""What breaks with bisynchrony: floodset's agreement does, oae's never does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testbed.engines.sim import SimEngine
from testbed.plan import Plan, derive_seed
from testbed.verdicts import judge

RUNS = 400  # studies/indulgence.yaml does 10,000


def disagreements(plan_of: Callable[..., Plan], engine: str) -> tuple[int, int]:
    """(instances, disagreements) over runs with jitter far past the window and f = 2 crashes of 5."""
    instances = found = 0
    for run in range(RUNS):
        crash = derive_seed("crash", run)
        plan = plan_of(
            {"kind": "star", "hosts": 5},
            {"delay": "20us", "jitter": "20us"},
            {"consensus": engine, "depth": 2, "window": "80us", "f": 2, "rounds": 9},
            seed=run,
            capture=False,
            faults=[
                {"at": f"{crash % 300}us", "do": "node_kill", "on": f"host{1 + crash % 5}"},
                {"at": f"{crash // 300 % 300}us", "do": "node_kill", "on": f"host{1 + (crash + 2) % 5}"},
            ],
        )
        consensus = judge(plan, SimEngine(events="outcomes", hops=False).run(plan)).consensus
        assert consensus is not None
        assert not consensus.invalid
        instances += consensus.instances
        found += len(consensus.disagreements)
    return instances, found


@pytest.mark.slow
def test_oae_never_disagrees_however_late_the_frames(plan_of: Callable[..., Plan]) -> None:
    instances, found = disagreements(plan_of, "oae")
    assert instances >= RUNS
    assert found == 0


@pytest.mark.slow
def test_floodset_disagrees_in_the_same_runs(plan_of: Callable[..., Plan]) -> None:
    _, found = disagreements(plan_of, "floodset")
    assert found > 0
