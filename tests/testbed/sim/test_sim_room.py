"""Runs that would not fit into memory are refused at once; the others go on, whatever they record."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sim_plans import US, beacons, make_plan

from testbed.engines.sim import SimEngine
from testbed.engines.sim.room import EVENT_BYTES, HOP_BYTES, NoRoomError
from testbed.memory import available_bytes, parse_size, spell_size
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data
from testbed.scenario.drawn import drawn_scenario

ROUNDS = 3_000


def swaps(rounds: int) -> Plan:
    return compile_plan(
        from_data(
            {
                "name": "long",
                "topology": {"kind": "pair"},
                "links": {"default": {"delay": "10us"}},
                "protocol": {"window": "300us", "rounds": rounds},
            }
        )
    )


def test_a_run_that_would_not_fit_is_refused_long_before_memory_runs_out() -> None:
    """66 million events and 24 million hops: killed for want of memory once, after minutes."""
    begin = time.process_time()
    with pytest.raises(NoRoomError) as refusal:
        SimEngine(memory_bytes=8 * 10**9).run(swaps(3_000_000))
    assert time.process_time() - begin < 20  # a whole run takes minutes
    told = str(refusal.value)
    assert "\n" not in told
    assert "some 66,0" in told
    assert "events and 24,0" in told
    assert "it may take 8.0 GB. Run fewer rounds at a time (about 28 % of these)" in told


def test_what_is_forecast_is_what_is_recorded_and_the_bound_is_sharp() -> None:
    history = SimEngine(memory_bytes=10**12).run(swaps(ROUNDS))
    needed = len(history.events) * EVENT_BYTES + len(history.hops) * HOP_BYTES
    assert SimEngine(memory_bytes=int(1.02 * needed)).run(swaps(ROUNDS)).events == history.events
    with pytest.raises(NoRoomError):
        SimEngine(memory_bytes=int(0.98 * needed)).run(swaps(ROUNDS))


def test_a_run_that_begins_with_a_burst_is_not_refused_for_it() -> None:
    """Its first 0.05 % are 10 MB; forecast from them it would take 20 GB, and it takes 0.1."""
    plan = compile_plan(from_data(drawn_scenario(3)))
    assert SimEngine(memory_bytes=2 * 10**9).run(plan).complete


def test_what_is_not_recorded_needs_no_room() -> None:
    assert SimEngine("none", hops=False, memory_bytes=0).run(swaps(ROUNDS)).complete


def test_looking_at_the_room_changes_no_history() -> None:
    """Parts packed as the run goes and a run too short to be looked at at all are one and the same kind of history."""
    plan = make_plan(kind="star", parameters={"hosts": 3}, duration_ns=1_000 * US)
    watched: list[float] = []
    history = SimEngine(build=beacons(20, 40 * US)).run(plan, progress=lambda _, share: watched.append(share))
    assert history == SimEngine(build=beacons(20, 40 * US)).run(plan)
    assert watched == sorted(watched)
    short = make_plan(duration_ns=10)
    assert SimEngine(build=beacons(1, US)).run(short).complete


def machine(root: Path, available_kb: int, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available_kb} kB\n")
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_what_is_free_is_the_machines_when_no_group_bounds_it(tmp_path: Path) -> None:
    assert available_bytes(machine(tmp_path, 1000)) == 1_024_000
    assert available_bytes() > 0


def test_a_control_group_bounds_what_is_free_and_so_do_those_above_it(tmp_path: Path) -> None:
    root = machine(tmp_path, 10**6, proc__self__cgroup="0::/box/job\n")
    group = root / "sys/fs/cgroup/box"
    (group / "job").mkdir(parents=True)
    for name, text in {"memory.max": "50000000", "memory.current": "30000000"}.items():
        (group / name).write_text(text + "\n")
    (group / "job" / "memory.max").write_text("max\n")
    assert available_bytes(root) == 20_000_000
    (group / "memory.stat").write_text("anon 1\ninactive_file 5000000\n")
    assert available_bytes(root) == 25_000_000  # pages of files are given up first
    (group / "memory.current").write_text("70000000\n")
    assert available_bytes(root) == 0


def test_groups_of_version_1_count_as_well(tmp_path: Path) -> None:
    root = machine(tmp_path, 10**6, proc__self__cgroup="5:cpu:/x\n4:memory:/job\n")
    group = root / "sys/fs/cgroup/memory/job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("3000000\n")
    (group / "memory.usage_in_bytes").write_text("1000000\n")
    assert available_bytes(root) == 2_000_000


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 * 10**9), ("1.5 GB", 1_500_000_000), ("500m", 5 * 10**8), ("12", 12)]
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_what_is_no_size_is_said() -> None:
    with pytest.raises(ValueError, match="'lots' is no amount of memory; write a number and M or G, such as 4G"):
        parse_size("lots")
    assert [spell_size(size) for size in (28_500_000_000, 2_000_000, 900)] == ["28.5 GB", "2.0 MB", "0.9 kB"]
