"""What a trial counts, that recording less for it changes nothing that it says, and what it is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.engines.sim import SimEngine
from testbed.history import History
from testbed.plan import Plan
from testbed.scenario import Scenario
from testbed.scenario.document import Document
from testbed.scenario.load import from_document
from testbed.study.document import Crashes
from testbed.study.measure import Task, do_task
from testbed.study.trials import OUTCOMES_ALONE, summed

LEAF_SPINE = {
    "name": "leaf-spine",
    "topology": {"kind": "leaf_spine", "spines": 2, "leaves": 3, "hosts_per_leaf": 1},
    "links": {"default": {"delay": "15us", "jitter": "14us"}},
    "protocol": {"consensus": "floodset", "depth": 4, "horizon": "abort", "window": "300us", "f": 1},
}
DYING = [{"at": "1400us", "do": "node_kill", "on": "*"}]
CRASHING = [
    {"at": "1ms", "do": "nic_mute", "on": "host2"},
    {"at": "2ms", "do": "node_restart", "on": "host1"},
    {"at": "3ms", "do": "node_pause", "on": "host3"},
]


def scenario(changes: dict[str, Any], faults: list[dict[str, Any]]) -> Scenario:
    written = {**LEAF_SPINE, "protocol": {**LEAF_SPINE["protocol"], **changes, "rounds": 18}, "faults": faults}
    return from_document(Document(written, "test.yaml"), Path())


@pytest.mark.parametrize("faults", [[], DYING, CRASHING], ids=["clean", "dying", "crashing"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"horizon": "hold"},
        {"horizon": "reconcile", "consensus": "oae"},
        {"handshake": "simultaneous", "window": "75us", "period": "300us"},
    ],
    ids=["abort", "hold", "reconcile", "simultaneous"],
)
def test_recording_outcomes_only_changes_nothing_but_the_causes(
    changes: dict[str, Any], faults: list[dict[str, Any]]
) -> None:
    crashes = None if faults else Crashes(nodes=1)
    task = Task("key", "variant", 1.0, scenario(changes, faults), tuple(range(20)), crashes)
    short, full = do_task(task), do_task(replace(task, causes=True))
    assert full.broken > 0
    assert sum(full.causes.values()) >= full.broken
    assert replace(short, seconds=0.0) == replace(full, causes={}, seconds=0.0)


RATE = {"delay": "15us", "jitter": "14us", "rate": "1gbit"}


@pytest.mark.parametrize("link", [LEAF_SPINE["links"]["default"], RATE], ids=["plain", "rate"])
def test_a_points_first_run_is_judged_in_full_and_stands_for_it(link: dict[str, str]) -> None:
    """The same draws, the same counts; the hops that a rate is judged by are kept for that one run only."""
    written = {**LEAF_SPINE, "links": {"default": link}, "protocol": {**LEAF_SPINE["protocol"], "rounds": 60}}
    task = Task("key", "variant", 1.0, from_document(Document(written, "test.yaml"), Path()), tuple(range(5)))
    short, full = do_task(task), do_task(replace(task, full=True))
    assert (short.full, short.trust, short.unchecked) == (0, "not_checked", (OUTCOMES_ALONE,))
    assert (full.full, full.trust, full.reasons, full.unchecked) == (1, "trusted", (), ())
    assert replace(full, full=0, trust=short.trust, unchecked=short.unchecked, seconds=0) == replace(short, seconds=0)
    point = summed([full, short])
    assert (point["runs"], point["full"], point["trust"]) == (10, 1, "trusted")
    assert summed([short])["trust"] == "not_checked"
    off = replace(short, trust="not_trusted", reasons=("frames were dropped by full queues; raise limit",))
    assert summed([full, off])["trust"] == "not_trusted"


def test_an_engine_that_delays_otherwise_is_seen_in_the_run_that_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every link of the engine takes 40 ns more than the plan says, one way."""

    def slower(engine: SimEngine, plan: Plan) -> History:
        links = (replace(link, ab=replace(link.ab, delay_ns=link.ab.delay_ns + 40)) for link in plan.fabric.links)
        return run(engine, replace(plan, fabric=replace(plan.fabric, links=tuple(links))))

    run = SimEngine.run
    monkeypatch.setattr(SimEngine, "run", slower)
    steady = {**LEAF_SPINE, "links": {"default": {"delay": "15us"}}}
    steady["protocol"] = {**LEAF_SPINE["protocol"], "rounds": 18}
    task = Task("key", "variant", 1.0, from_document(Document(steady, "test.yaml"), Path()), (1,), full=True)
    trial = do_task(task)
    assert trial.trust == "not_trusted"
    assert any("longer than the greatest" in reason for reason in trial.reasons)
