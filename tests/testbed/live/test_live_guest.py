"""The same supervisor and agents inside the virtual-time kernel: exact, and the same in every boot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.engines.live.results import collect
from testbed.engines.vkernel.boot import JOB, Guest, boot
from testbed.history import History
from testbed.nodes.core import Resolve
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.record import Sent, Struck
from testbed.plan import Fault, Plan
from testbed.topologies.impairment import Impairment

ROOT = Path(__file__).resolve().parents[3]
W = 300_000
HEAVY = (
    "numpy",
    "pydantic",
    "pyarrow",
    "matplotlib",
    "rich",
    "scipy",
    "scapy",
    "typer",
    "networkx",
    "mininet",
    "setuptools",
)


def test_what_runs_in_the_guest_imports_nothing_heavy() -> None:
    code = (
        "import sys, testbed.engines.live.supervisor, testbed.engines.live.fabric_net;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def run_in_guest(plan: Plan, directory: Path) -> History:
    directory.mkdir()
    (directory / "plan.json").write_text(plan.to_json())
    argv = (sys.executable, "-m", "testbed.engines.live.supervisor", str(JOB), "virtual")
    result = boot(Guest(argv, directory, cwd=ROOT, limit_s=240))
    assert result.status == 0, result.console.read_text()
    return collect(directory, plan, "vkernel")


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.usefixtures("kernel")
def test_two_boots_with_faults_are_byte_identical_and_exact(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    moment = Moment(index=0, enters="REFLECTING", round=3)
    faults = (
        Fault("node_kill", node="host1", moment=moment, target="host1"),
        Fault("node_restart", target="host1", state=State.KEPT, follows=0, after_ns=2 * W),
        Fault("node_pause", at_ns=8 * W + W // 10, target="host2"),
        Fault("node_resume", target="host2", follows=2, after_ns=W),
        Fault("nic_mute", at_ns=12 * W + W // 2, target="host3", nic="host3-eth0"),
        Fault("nic_unmute", at_ns=14 * W + W // 2, target="host3", nic="host3-eth0"),
        Fault("nic_down", at_ns=16 * W + W // 2, target="host4", nic="host4-eth0"),
        Fault("nic_up", at_ns=17 * W + W // 2, target="host4", nic="host4-eth0"),
    )
    plan = plan_of(
        "leaf_spine",
        {"spines": 2, "leaves": 2, "hosts_per_leaf": 2},
        rounds=20,
        window_ns=W,
        impairment=Impairment(delay_ns=10_000, jitter_ns=2_000),
        faults=faults,
        horizon="reconcile",
        retry_ns=50_000,
    )
    first, second = (run_in_guest(plan, tmp_path / name) for name in ("first", "second"))
    assert first.complete, first.why
    assert first.meta["clock_step_ns"] == first.meta["capture_drops"] == first.meta["ring_drops"] == 0
    for name in sorted(path.name for path in (tmp_path / "first").iterdir()):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    assert (first.events, first.hops) == (second.events, second.hops)

    # every timed fault within 20 ns of its time, every delay within the jitter and 20 ns
    struck = {event.what.fault: event.t_ns for event in first.events.of_kind(Struck)}
    assert sorted(struck) == list(range(len(faults)))
    for index, fault in enumerate(faults):
        if fault.at_ns >= 0:
            assert 0 <= struck[index] - fault.at_ns <= 20
    before_ns = 3 * W
    came_ns = {event.what.key: event.t_ns for event in first.events.of_kind(Sent) if event.t_ns < before_ns}
    delays = []
    for hop in first.hops:
        if hop.key in came_ns and hop.t_ns < before_ns:
            if hop.what == "out":
                delays.append(hop.t_ns - came_ns[hop.key])
            came_ns[hop.key] = hop.t_ns
    assert len(delays) > 200
    assert min(delays) >= 8_000
    assert max(delays) <= 12_020
    ends = [event.what for event in first.events.of_kind(Resolve)]
    assert {end.outcome for end in ends if end.swap.round < 3} == {"committed"}
