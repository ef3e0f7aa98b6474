"""Containers inside the virtual-time kernel: the same run as on plain namespaces, to the byte."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from container_stories import EIGHT, LIMITS, plan_of, result
from deciding import DECIDING, around_a_mute_nic, assert_decided
from needs import ROOT, lacking

from testbed.engines.live.containers.image import Image
from testbed.engines.live.containers.runtime import RUNTIMES, find_runtime
from testbed.engines.sim import SimEngine
from testbed.engines.vkernel.boot import CONSOLE, Guest, boot, console_tail
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.plan import Container, Plan
from testbed.verdicts import judge
from testbed.verdicts.comparison import compare

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

STORY = {
    "topology": EIGHT,
    "links": {"default": {"delay": "10us", "jitter": "3us", "loss": "0.1%"}},
    "protocol": {"consensus": "oae", "f": 1, "rounds": 32, "window": "300us", "horizon": "reconcile"},
    "faults": [
        {"at": "1ms", "do": "node_pause", "on": "host2", "for": "600us"},
        {"at": "2ms", "do": "node_kill", "on": "host3", "for": "1500us", "state": "kept"},
        {"at": "4500us", "do": "node_restart", "on": "host4"},
        {"when": {"node": "host5", "enters": "REFLECTING", "round": 18}, "do": "node_kill"},
        {"at": "6ms", "do": "nic_mute", "on": "host6", "for": "600us"},
        {"at": "7ms", "do": "node_pause", "on": "host1", "for": "600us"},
    ],
}
CELLS = {
    "topology": {"kind": "leaf_spine", "spines": 1, "leaves": 2, "hosts_per_leaf": 1},
    "switches": "cells",
    "links": {"default": {"delay": "8us", "jitter": "3us", "loss": "1%"}},
    "protocol": {"rounds": 24, "window": "250us", "horizon": "reconcile"},
    "faults": [
        {"at": "1ms", "do": "node_kill", "on": "leaf1", "for": "1ms"},
        {"when": {"node": "spine1", "enters": "COMMITTED", "round": 14}, "do": "node_pause", "for": "500us"},
    ],
}
OF_THE_CONTAINER = {"plan.json", "containers.json", "console.log", "result.json"}
"""Files of a job that tell what nodes were."""


def run(plan: Plan, folder: Path) -> tuple[object, dict[str, bytes]]:
    history = VKernelEngine().run(plan, folder)
    assert history.complete, history.why
    files = {path.name: path.read_bytes() for path in (folder / "vkernel").iterdir() if path.is_file()}
    return judge(plan, history), {name: data for name, data in files.items() if name not in OF_THE_CONTAINER}


def test_eight_containers_with_jitter_and_every_fault_of_nodes_are_one_run_with_plain_namespaces(
    kernel: Path, runtime: str, node_image: Image, tmp_path: Path
) -> None:
    """Paused by the freezer, killed and restarted with and without state, struck between two effects: what each node
    did and when, every frame at every hop, and the verdict are the same bytes."""
    plain, contained = tmp_path / "plain", tmp_path / "contained"
    verdict, files = run(plan_of(STORY, None), plain)
    assert len(verdict.bisynchrony.broken_rounds) > 10
    assert run(plan_of(STORY, Container(cpus=0.5, memory_bytes=128 << 20)), contained) == (verdict, files)
    assert len([name for name in files if name.startswith("journal-")]) == 8
    told = [result(folder / "vkernel") for folder in (plain, contained)]
    assert told[0] == told[1]  # each node had a process of its own in both, because of the faults


def test_cells_in_containers_are_one_run_with_cells_in_plain_namespaces(
    kernel: Path, runtime: str, node_image: Image, tmp_path: Path
) -> None:
    """A cell is a node like any other: a container of its own, killed and frozen as one."""
    verdict, files = run(plan_of(CELLS, None), tmp_path / "plain")
    assert {name for name, count in verdict.bisynchrony.swaps.items() if count} == {"committed", "blocked"}
    assert run(plan_of(CELLS), tmp_path / "contained") == (verdict, files)
    assert {name for name in files if name.startswith("journal-")} == {
        f"journal-{node}.txt" for node in ("host1", "host2", "leaf1", "leaf2", "spine1")
    }


@pytest.mark.parametrize("program", RUNTIMES)
def test_nodes_that_share_a_process_as_namespaces_do_the_same_in_containers_of_their_own(
    kernel: Path, node_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Whichever runtime it is."""
    monkeypatch.setattr("testbed.engines.live.containers.runtime.RUNTIMES", (program,))
    if not find_runtime():
        lacking("runtime", f"there is no {program}")
    story = {"topology": {"kind": "star", "hosts": 3}, "links": STORY["links"], "protocol": {"rounds": 40}}
    verdict, files = run(plan_of(story, None), tmp_path / "plain")
    assert run(plan_of(story), tmp_path / "contained") == (verdict, files)
    processes = [result(tmp_path / name / "vkernel")["meta"]["agent_processes"] for name in ("plain", "contained")]
    assert processes == [1, 3]


IN_THE_SUITE = {"ben_or", "epaxos", "floodset", "paxos", "raft"}
"""One engine of each kind, oae besides: of bits, with a partial order, of swaps, of instances, with a log."""


@pytest.mark.parametrize(
    "consensus", [pytest.param(name, marks=() if name in IN_THE_SUITE else pytest.mark.by_hand) for name in DECIDING]
)
def test_every_engine_decides_in_containers_as_it_does_under_sim(
    kernel: Path, runtime: str, node_image: Image, consensus: str
) -> None:
    """To the nanosecond, while host1's NIC is mute, too; each node's agent in a container of its own."""
    plan = around_a_mute_nic(consensus)
    history = VKernelEngine().run(replace(plan, container=LIMITS))
    assert history.complete, history.why
    assert history.meta["agent_processes"] == len(plan.nodes)
    assert_decided(plan, history)
    found = compare(SimEngine().run(plan), history)
    assert found.equal, found.parts_at


def test_there_is_no_way_out_of_a_container_in_a_guest_either(
    kernel: Path, runtime: str, node_image: Image, tmp_path: Path
) -> None:
    """The same rights as an engine gives on a host, and the limit of memory."""
    program = Path(__file__).with_name("guest_walls.py")
    job, rootfs = tmp_path / "job", node_image.rootfs
    guest = Guest((sys.executable, str(program), runtime, str(rootfs)), job, ROOT, visible=(rootfs,))
    assert boot(guest).status == 0, console_tail(job / CONSOLE)
    told = json.loads((job / "told").read_text())
    net_raw = f"{1 << 13:016x}"
    assert told.pop("rights") == [net_raw, net_raw, net_raw, f"{0:016x}", "1", "2"]
    assert (told.pop("processes"), told.pop("name")) == (["1"], "host1")
    assert told == {
        "a namespace": "EPERM",
        "a namespace, by clone": "EPERM",
        "another namespace": "EPERM",
        "a mount": "EPERM",
        "its root": "EROFS",
        "its socket's folder": "EROFS",
        "a device": "EPERM",
        "the kernel's settings": "EROFS",
        "the machine's key": "EROFS",
        "its NIC": "EPERM",
        "the guest's files": "ENOENT",
        "another process": "ESRCH",
    }
    assert int((job / "limit").read_text()) == 64 << 20
