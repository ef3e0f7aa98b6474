"""What a trial counts, and that recording less for it changes nothing that it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.scenario import Scenario
from testbed.scenario.document import Document
from testbed.scenario.load import from_document
from testbed.study.measure import Task, do_task

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
    task = Task("key", "variant", 1.0, scenario(changes, faults), tuple(range(20)), crashes=0 if faults else 1)
    short, full = do_task(task), do_task(replace(task, causes=True))
    assert full.broken > 0
    assert sum(full.causes.values()) >= full.broken
    assert replace(short, seconds=0.0) == replace(full, causes={}, seconds=0.0)
