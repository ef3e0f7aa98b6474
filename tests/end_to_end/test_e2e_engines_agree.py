"""sim and vkernel on one plan: frame by frame, round by round; and vkernel with itself: byte by byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from deciding import DECIDING, around_a_mute_nic, assert_decided
from e2e_helpers import busy_host
from needs import ROOT, as_nobody

from testbed.engines.sim import SimEngine
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.history import Events, History
from testbed.nodes.core import Decide
from testbed.nodes.core.record import Refused, Struck
from testbed.nodes.registry import engine_specs
from testbed.plan import Plan
from testbed.scenario import compile_plan, load
from testbed.verdicts import judge
from testbed.verdicts.comparison import compare

pytestmark = [pytest.mark.slow, pytest.mark.kernel]

LEAF_SPINE = {"kind": "leaf_spine", "spines": 2, "leaves": 3, "hosts_per_leaf": 1}
OAE = {"consensus": "oae", "f": 1, "rounds": 300}
LINKS = [
    {"delay": "15us", "jitter": "9us"},
    {"delay": "20us", "jitter": "4us", "distribution": "normal"},
    {"delay": "15us", "jitter": "6us", "distribution": "pareto", "loss": "1%", "duplicate": "1%"},
]


@pytest.mark.parametrize("link", LINKS, ids=["uniform", "normal", "pareto-loss-duplicate"])
def test_the_two_are_one_run_to_the_nanosecond(kernel, plan_of: Callable[..., Plan], link: dict) -> None:
    """Whatever is drawn: every frame leaves and arrives at the same instants, every node does the same then."""
    plan = plan_of(LEAF_SPINE, link, {**OAE, "rounds": 900})
    found = compare(SimEngine().run(plan), VKernelEngine().run(plan))
    assert found.frames > 9_000
    assert found.equal, found.parts_at
    assert found.only_reference == found.only_other == 0
    assert found.frames_same == found.frames
    assert found.fixed_cost_ns == 0


def test_a_full_queue_refuses_the_same_frames_and_draws_once_for_each(kernel, plan_of: Callable[..., Plan]) -> None:
    """Every round's second frame of a host finds the queue full. It is refused and not retried: netem has drawn."""
    link = {"delay": "40us", "jitter": "11us", "burst_loss": {"p": 0.1, "r": 0.5}, "limit": 1}
    plan = plan_of(LEAF_SPINE, link, {"rounds": 200})
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    refused = int(other.events.table(Refused)["why"].where("ENOBUFS").sum())
    assert refused == sum(hop.what == "limit" and hop.node.startswith("host") for hop in one.hops) > 50
    found = compare(one, other)
    assert found.equal


def test_values_of_4_kib_are_decided_alike(kernel) -> None:
    """Messages in three parts, on links with a rate: what a frame weighs counts in both engines alike."""
    plan = compile_plan(load(ROOT / "scenarios" / "long-values.yaml"))
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    decisions = [
        sorted((event.node, *event.what[:2]) for event in history.events.of_kind(Decide)) for history in (one, other)
    ]
    assert decisions[0] == decisions[1]
    assert len(decisions[0]) >= 2 * 10
    assert {len(value) for _, _, value in decisions[0]} == {4096}
    found = compare(one, other)
    assert found.equal, found.parts_at


def test_every_engine_that_decides_has_a_row() -> None:
    """By which it is run here, and in containers."""
    assert {spec.name for spec in engine_specs() if spec.decides} == set(DECIDING)


@pytest.mark.parametrize("consensus", DECIDING)
def test_every_engine_decides_alike_around_a_nic_that_is_mute_for_a_while(kernel, consensus: str) -> None:
    plan = around_a_mute_nic(consensus)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    assert_decided(plan, other)
    assert judge(plan, one).consensus == judge(plan, other).consensus
    found = compare(one, other)
    assert found.equal, found.parts_at


def test_broken_rounds_are_the_same_ones(kernel, plan_of: Callable[..., Plan]) -> None:
    """With common draws not only the rates agree: the very same rounds break."""
    plan = plan_of(LEAF_SPINE, {"delay": "15us", "jitter": "14us"}, OAE)
    one, other = (
        set(judge(plan, engine.run(plan)).bisynchrony.broken_rounds) for engine in (SimEngine(), VKernelEngine())
    )
    assert len(one) > 10
    assert one == other


def test_after_a_burst_of_another_distribution_the_draws_are_the_same(kernel, plan_of: Callable[..., Plan]) -> None:
    """netem keeps a delay table for good: back to uniform means the uniform distribution as a table, in both."""
    burst = {"at": "5ms", "do": "jitter", "distribution": "pareto", "jitter": "3us", "for": "5ms"}
    plan = plan_of({"kind": "pair"}, {"delay": "15us", "jitter": "7us"}, {"rounds": 60}, faults=[burst])
    found = compare(SimEngine().run(plan), VKernelEngine().run(plan))
    assert found.frames == 4 * 60
    assert found.equal


FAULTS = [
    {"at": "2ms", "do": "nic_mute", "on": "host3", "for": "3ms"},
    {"at": "9ms", "do": "nic_down", "on": "host1", "for": "2ms"},
    {"at": "14ms", "do": "nic_half", "on": "host2", "direction": "tx", "for": "2ms"},
    {"at": "18ms", "do": "node_pause", "on": "host2", "for": "2ms"},
    "at 21ms partition host1,host2 | host3 for 2ms",
    {"at": "24ms", "do": "jitter", "links": "leaf*<->spine*", "jitter": "14us", "for": "2ms"},
    "when host2 enters REFLECTING with host3 in round 93: partition host1 -> host2 for 700us",
    {"when": {"node": "host1", "enters": "REFLECTING", "round": 100}, "do": "node_kill", "on": "host3"},
]


def test_faults_mean_the_same_in_both(kernel, plan_of: Callable[..., Plan]) -> None:
    """Every verb but restart in one run: the same swaps end the same way, and the same rounds break."""
    plan = plan_of(LEAF_SPINE, {"delay": "15us", "jitter": "3us"}, OAE, faults=FAULTS)
    one, other = SimEngine().run(plan), VKernelEngine().run(plan)
    assert [(event.node, event.what) for event in one.events.of_kind(Struck)] == [
        (event.node, event.what) for event in other.events.of_kind(Struck)
    ]
    found = compare(one, other)
    assert found.equal
    rounds = [set(judge(plan, history).bisynchrony.broken_rounds) for history in (one, other)]
    assert len(rounds[0]) > 3
    assert rounds[0] == rounds[1]


RUN = """
import sys
from pathlib import Path
from testbed.engines.vkernel.engine import VKernelEngine
from testbed.plan import Plan
folder = Path(sys.argv[1])
VKernelEngine().run(Plan.from_json((folder / "plan.json").read_text()), folder / "run")
"""


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Histories and captures as the guest wrote them."""
    return {
        path.name: path.read_bytes()
        for path in sorted((folder / "vkernel").iterdir())
        if path.suffix in (".txt", ".pcapng")
    }


def test_runs_of_one_seed_are_identical_idle_or_loaded_root_or_not(kernel, plan_of, tmp_path) -> None:
    """A whole fabric, twice as this user, on an idle and on a loaded host, and once as an unprivileged user."""
    plan = plan_of(LEAF_SPINE, LINKS[0], {**OAE, "rounds": 120})
    runs = {}
    for name in ("idle", "loaded"):
        with busy_host() if name == "loaded" else open("/dev/null"):
            history = VKernelEngine().run(plan, tmp_path / name)
        runs[name] = ((history.events, history.hops, history.meta.get("limit_drops")), bytes_of(tmp_path / name))
    assert runs["idle"] == runs["loaded"]
    folder = Path("/var/tmp") / f"oae-{tmp_path.name}"
    folder.mkdir()
    folder.chmod(0o777)
    try:
        (folder / "plan.json").write_text(plan.to_json())
        shared = shutil.copy(kernel, folder)
        environment = {**os.environ, "OAE_KERNEL": str(shared), "HOME": str(folder)}
        with busy_host():
            command = [*as_nobody(), "-c", RUN, str(folder)]
            subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=600)
        assert bytes_of(folder / "run") == runs["idle"][1]
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_a_comparison_is_plain_data(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of({"kind": "pair"}, {"delay": "10us", "jitter": "1us"}, {"rounds": 5})
    history = SimEngine().run(plan)
    found = compare(history, history)
    assert found.fixed_cost_ns == found.worst_quantile_ns == 0
    assert json.loads(json.dumps(asdict(found)))["frames"] == 20
    with pytest.raises(ValueError, match="no delivered frame in common"):
        compare(history, History("vkernel", Events.of([], history.names)))
