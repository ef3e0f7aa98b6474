"""Runs on this host's kernel, from the plan to the History: clean links, faults of nodes and NICs, refusals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from families import families
from needs import MOOT, lacking
from scapy.utils import PcapNgReader

from testbed.engines.base import EngineUnavailable
from testbed.engines.live import LiveEngine
from testbed.engines.live.results import RunFailed, collect
from testbed.engines.live.wires import netem_available
from testbed.engines.sim import SimEngine
from testbed.history import Event, History
from testbed.nodes.core import Decide, Resolve, RoundStart
from testbed.nodes.core.clock import PPB, Clock
from testbed.nodes.core.config import START_NS
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.record import (
    KINDS,
    Died,
    Dropped,
    Overrun,
    Received,
    Refused,
    Sent,
    Started,
    Struck,
    TimerFired,
    What,
)
from testbed.nodes.frames import MAX_WIRE_BYTES
from testbed.plan import Fault, Plan
from testbed.topologies.impairment import Impairment
from testbed.topologies.routes import Routes

PlanOf = Callable[..., Plan]
W = 100_000_000


pytestmark = pytest.mark.usefixtures("namespaces")


def run(plan: Plan, directory: Path) -> History:
    history = LiveEngine().run(plan, directory)
    assert history.complete, history.why
    assert [event.t_ns for event in history.events] == sorted(event.t_ns for event in history.events)
    return history


def of(history: History, node: str, *kinds: type[What]) -> list[Event]:
    return [event for event in history.events.of_kind(*(kinds or KINDS)) if event.node == node]


def outcomes(history: History, round_: int) -> list[str]:
    return [event.what.outcome for event in history.events.of_kind(Resolve) if event.what.swap.round == round_]


def test_values_of_4_kib_are_decided_as_under_sim(plan_of: PlanOf, tmp_path: Path) -> None:
    """Each message goes in three parts over real sockets, through real queues, and is captured whole."""
    plan = plan_of(
        "star",
        {"hosts": 3},
        rounds=3,
        instances=3,
        consensus="paxos",
        f=1,
        retry_ns=W // 2,
        parameters={"value_bytes": 4096},
    )
    history, reference = run(plan, tmp_path), SimEngine().run(plan)

    def decided(of: History) -> list[tuple[str, int, bytes]]:
        return sorted((event.node, *event.what[:2]) for event in of.events.of_kind(Decide))

    assert len(decided(history)) == 9
    assert decided(history) == decided(reference)
    assert all(len(value) == 4096 for _, _, value in decided(history))
    with PcapNgReader(str(tmp_path / "live" / "frames.pcapng")) as packets:
        sizes = {len(packet) for packet in packets}
    assert MAX_WIRE_BYTES in sizes


@pytest.mark.parametrize(
    ("kind", "parameters", "hops_per_frame"),
    [("pair", {}, 2), ("star", {"hosts": 3}, 4), ("leaf_spine", {"spines": 2, "leaves": 2, "hosts_per_leaf": 1}, 8)],
)
def test_on_clean_links_every_swap_commits_and_every_hop_is_seen(
    plan_of: PlanOf, tmp_path: Path, kind: str, parameters: dict[str, int], hops_per_frame: int
) -> None:
    plan = plan_of(kind, parameters)
    history = run(plan, tmp_path)
    n = len(plan.nodes)
    assert history.engine == "live"
    for round_ in range(5):
        assert outcomes(history, round_) == ["committed"] * n * (n - 1)
    sent = {event.what.key: event for event in history.events.of_kind(Sent)}
    received = {event.what.key: event for event in history.events.of_kind(Received)}
    assert len(sent) == 5 * 4 * n * (n - 1) // 2
    assert sent.keys() == received.keys()
    for key, event in received.items():
        path = [hop for hop in history.hops if hop.key == key]
        assert len(path) == hops_per_frame
        assert [hop.what for hop in path] == ["out", "in"] * (hops_per_frame // 2)
        assert (path[0].node, path[-1].node) == (sent[key].node, event.node)
        assert event.what.at_ns <= event.t_ns
    assert history.meta["capture_drops"] == 0
    with PcapNgReader(str(tmp_path / "live" / "frames.pcapng")) as packets:
        captured = list(packets)
    assert len(captured) == len(sent) * hops_per_frame
    assert all(len(bytes(packet)) == 60 for packet in captured)


def test_a_killed_node_falls_silent_and_a_restarted_one_joins_with_a_new_epoch(plan_of: PlanOf, tmp_path: Path) -> None:
    faults = (
        Fault("node_kill", at_ns=W + W // 2, target="host2"),
        Fault("node_restart", at_ns=3 * W + W // 2, target="host2"),
    )
    history = run(plan_of("star", {"hosts": 3}, rounds=7, faults=faults), tmp_path)
    struck = [(event.node, event.what.fault, event.what.verb) for event in history.events.of_kind(Struck)]
    assert struck == [("host2", 0, "node_kill"), ("host2", 1, "node_restart")]
    (died,) = of(history, "host2", Died)
    assert 0 <= died.t_ns - (W + W // 2) < W // 2
    assert [event.what.kept for event in of(history, "host2", Started)] == [False, False]
    lives = {event.what.key.epoch for event in of(history, "host2", Sent)}
    assert lives == {1, 2}
    rounds = {event.what.round for event in of(history, "host2", RoundStart)}
    assert rounds - {4} == {0, 1, 5, 6}  # starting a process takes a while in real time
    assert outcomes(history, 6) == ["committed"] * 6
    ends = of(history, "host1", Resolve)
    assert {event.what.outcome for event in ends if event.what.swap.round == 2} == {"committed", "aborted"}


def test_a_kept_state_goes_on_in_doubt_and_reconciles(plan_of: PlanOf, tmp_path: Path) -> None:
    """host1 dies on entering REFLECTING in round 1 and comes back with its state: that swap still completes."""
    moment = Moment(index=0, enters="REFLECTING", round=1)
    faults = (
        Fault("node_kill", node="host1", moment=moment, target="host1"),
        Fault("node_restart", target="host1", state=State.KEPT, follows=0, after_ns=2 * W),
    )
    plan = plan_of(faults=faults, rounds=6, horizon="reconcile", retry_ns=W // 10)
    history = run(plan, tmp_path)
    assert [event.what.kept for event in of(history, "host1", Started)] == [False, True]
    (died,) = of(history, "host1", Died)
    fault, restart = of(history, "host1", Struck)
    assert fault.t_ns == died.t_ns
    assert 0 <= restart.t_ns - fault.t_ns - 2 * W < W
    for host in ("host1", "host2"):
        of_round = [event.what for event in of(history, host, Resolve) if event.what.swap.round == 1]
        assert of_round[-1].outcome == "committed"
        assert len({end.value for end in of_round}) <= 2


def test_a_fault_at_a_moment_strikes_between_two_effects(plan_of: PlanOf, tmp_path: Path) -> None:
    moment = Moment(index=0, after_sends=2, round=2)
    fault = Fault("node_kill", node="host1", moment=moment, target="host1")
    history = run(plan_of("star", {"hosts": 4}, faults=[fault]), tmp_path)
    sends = [event for event in of(history, "host1", Sent) if event.what.round == 2]
    assert [event.what.dst for event in sends] == [1, 2]
    assert {event.what.key for event in sends} <= {event.what.key for event in history.events.of_kind(Received)}
    last = of(history, "host1")[-1]
    assert last.t_ns <= of(history, "host1", Died)[0].t_ns


def test_a_paused_node_handles_everything_late_and_in_order(plan_of: PlanOf, tmp_path: Path) -> None:
    faults = (
        Fault("node_pause", at_ns=W + W // 2, target="host2"),
        Fault("node_resume", target="host2", follows=0, after_ns=2 * W),
    )
    history = run(plan_of(faults=faults, rounds=6), tmp_path)
    pause, resume = of(history, "host2", Struck)
    handled = of(history, "host2", Received, TimerFired)
    assert not [event for event in handled if pause.t_ns + W // 4 < event.t_ns < resume.t_ns]
    late = [event for event in handled if pause.t_ns + W // 4 < due_ns(event) < resume.t_ns]
    assert {type(event.what) for event in late} == {Received, TimerFired}
    assert [due_ns(event) for event in late] == sorted(due_ns(event) for event in late)
    assert outcomes(history, 5) == ["committed"] * 2


def test_a_slow_node_handles_each_thing_so_much_later_and_the_others_at_once(plan_of: PlanOf, tmp_path: Path) -> None:
    by_ns = W // 20
    faults = (
        Fault("node_slow", at_ns=W + W // 2, target="host2", amount=by_ns),
        Fault("node_quick", target="host2", follows=0, after_ns=3 * W),
    )
    history = run(plan_of(faults=faults, rounds=6), tmp_path)
    slow, quick = (event.t_ns for event in of(history, "host2", Struck))
    handled = of(history, "host2", Received, TimerFired)
    late = [event for event in handled if slow < due_ns(event) < quick - W // 2]
    assert {type(event.what) for event in late} == {Received, TimerFired}
    assert all(event.t_ns - due_ns(event) >= by_ns for event in late)
    assert all(later.t_ns - event.t_ns >= by_ns for event, later in pairwise(late))
    assert not [event for event in handled if event.t_ns - due_ns(event) >= by_ns and event.t_ns > quick + by_ns]
    assert outcomes(history, 0) == outcomes(history, 5) == ["committed"] * 2


def due_ns(event: Event) -> int:
    """When what was handled came in or was due."""
    return event.what.at_ns if isinstance(event.what, Received) else event.what.due_ns


@pytest.mark.parametrize(("off", "on"), [("nic_mute", "nic_unmute"), ("nic_down", "nic_up")])
def test_a_nic_that_is_mute_or_down_loses_its_rounds_and_no_others(
    plan_of: PlanOf, tmp_path: Path, off: str, on: str
) -> None:
    faults = (
        Fault(off, at_ns=W + W // 2, target="host2", nic="host2-eth0"),
        Fault(on, at_ns=3 * W + W // 2, target="host2", nic="host2-eth0"),
    )
    history = run(plan_of("star", {"hosts": 3}, rounds=6, faults=faults), tmp_path)
    for round_ in (0, 1, 4, 5):
        assert outcomes(history, round_) == ["committed"] * 6
    for round_ in (2, 3):
        ends = [event.what for event in of(history, "host2", Resolve) if event.what.swap.round == round_]
        assert {end.outcome for end in ends} == {"aborted"}
        others = [event.what for event in of(history, "host1", Resolve) if event.what.swap == (round_, 0, 2)]
        assert [end.outcome for end in others] == ["committed"]
    assert of(history, "host2", Dropped, Overrun) == []
    refused = {event.what.why for event in of(history, "host2", Refused)}
    assert refused == ({"ENETDOWN"} if off == "nic_down" else set())


SQUARE = {"spines": 2, "leaves": 2, "hosts_per_leaf": 1}


def on_the_way(plan: Plan) -> tuple[int, str]:
    """The link from host1's leaf to the spine over which its frames to host2 go, and that spine."""
    link = Routes(plan.fabric).path("host1", "host2")[1].link
    ends = (plan.fabric.links[link].a.node, plan.fabric.links[link].b.node)
    return link, next(node for node in ends if node.startswith("spine"))


def test_a_link_that_is_down_loses_its_rounds_and_no_others(plan_of: PlanOf, tmp_path: Path) -> None:
    link, _ = on_the_way(plan_of("leaf_spine", SQUARE))
    faults = (
        Fault("link_down", at_ns=W + W // 2, links=((link, "ab"),)),
        Fault("link_up", at_ns=3 * W + W // 2, links=((link, "ab"),)),
    )
    history = run(plan_of("leaf_spine", SQUARE, rounds=6, faults=faults), tmp_path)
    assert [outcomes(history, round_) for round_ in range(6)] == [
        ["committed"] * 2, ["committed"] * 2, ["aborted"] * 2, ["aborted"] * 2, ["committed"] * 2, ["committed"] * 2,
    ]  # fmt: skip
    assert [event.what for event in history.events.of_kind(Refused)] == []  # the hosts' own links are up


def test_switches_forward_around_a_dead_one_when_they_are_to_and_as_before_when_it_is_back(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    _, spine = on_the_way(plan_of("leaf_spine", SQUARE))
    faults = (
        Fault("switch_kill", at_ns=W + W // 2, target=spine),
        Fault("reroute", follows=0, after_ns=2 * W),
        Fault("switch_restart", at_ns=5 * W + W // 2, target=spine),
        Fault("reroute", follows=2, after_ns=W),
    )
    plan = plan_of("leaf_spine", SQUARE, rounds=8, faults=faults)
    history = run(plan, tmp_path)
    assert [outcomes(history, round_) for round_ in range(8)] == [
        ["aborted" if round_ in (2, 3) else "committed"] * 2 for round_ in range(8)
    ]
    seen = [hop.t_ns // W for hop in history.hops if hop.node == spine and hop.what == "in"]
    assert set(seen) & {0, 1, 7} == {0, 1, 7}
    assert not set(seen) & {4, 5}


def test_rounds_begin_by_the_clocks_of_nodes_and_a_step_moves_them(plan_of: PlanOf, tmp_path: Path) -> None:
    """host2 loses a tenth, host1 is set back in round 2. When each timer was due is exact on any machine."""
    plan = plan_of(rounds=5, faults=[Fault("clock_step", at_ns=2 * W + W // 2, target="host1", amount=-W // 4)])
    one, other = plan.nodes
    plan = replace(plan, nodes=(one, replace(other, clock=Clock(drift_ppb=-PPB // 10, since_ns=START_NS))))
    history = run(plan, tmp_path)

    def begun(node: str, of_: History) -> list[int]:
        return [event.what.due_ns for event in of(of_, node, TimerFired) if event.what.name == "round"]

    reference = SimEngine().run(plan)
    assert begun("host1", history) == [0, W, 2 * W, 3 * W + W // 4, 4 * W + W // 4]
    assert begun("host1", reference) == begun("host1", history)
    assert begun("host2", reference)[:4] == begun("host2", history)[:4]
    assert begun("host2", history)[3] - begun("host2", history)[0] == pytest.approx(3 * W / 0.9, abs=2)
    early = [event for event in history.events.of_kind(TimerFired) if event.t_ns < event.what.due_ns]
    assert early == []


def test_half_a_nic_receives_and_does_not_send(plan_of: PlanOf, tmp_path: Path) -> None:
    fault = Fault("nic_half", at_ns=W + W // 2, target="host2", nic="host2-eth0", direction="tx")
    history = run(plan_of(faults=[fault]), tmp_path)
    assert [event.what.round for event in of(history, "host2", Received) if event.what.step == 1] == [0, 1, 2, 3, 4]
    assert not [event for event in of(history, "host1", Received) if event.what.round > 1]


MISTAKEN = """
from dataclasses import replace
from testbed.plan import Plan
right = Plan.node_config
def mistaken(plan, name, epoch=1):
    config = right(plan, name, epoch)
    return replace(config, peers=(replace(config.peers[0], nic="nowhere0"),)) if name == "host2" else config
Plan.node_config = mistaken
"""


def test_an_agent_that_fails_ends_the_run_with_its_reason(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is told of a NIC that its host does not have, by a supervisor whose Python loads this first."""
    (tmp_path / "sitecustomize.py").write_text(MISTAKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    history = LiveEngine().run(plan_of(), tmp_path)
    assert not history.complete
    assert "host2" in history.why
    assert "KeyError: 'nowhere0'" in history.why
    assert "Traceback" in (tmp_path / "live" / "crash-host2-1.txt").read_text()


STRANGER = """
import sys
from pathlib import Path
from testbed.engines.live import LiveEngine
from testbed.plan import Plan
history = LiveEngine().run(Plan.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
print(history.complete, history.why)
"""


def start_elsewhere(plan: Plan, directory: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A run in a process of its own, under way, and all processes that belong to it, oldest first."""
    (directory / "plan.json").write_text(plan.to_json())
    argv = [sys.executable, "-c", STRANGER, str(directory / "plan.json"), str(directory)]
    engine = subprocess.Popen(argv, stdout=subprocess.PIPE)
    progress = directory / "live" / "progress"
    wait_for(lambda: progress.exists() and "running" in progress.read_text())
    return engine, sorted(tree(engine.pid))


@pytest.mark.parametrize(("youngest", "why"), [(1, "no fault of the plan asked for it"), (5, "capture")])
def test_a_process_killed_by_somebody_else_ends_the_run_with_its_reason(
    plan_of: PlanOf, tmp_path: Path, youngest: int, why: str
) -> None:
    """The youngest process is an agent; the capture came before both agents and their hosts' processes."""
    engine, family = start_elsewhere(plan_of(rounds=100), tmp_path)
    os.kill(family[-youngest], signal.SIGKILL)
    output = engine.communicate(timeout=60)[0].decode()
    assert output.startswith("False")
    assert why in output


def test_a_host_whose_namespaces_go_ends_the_run_at_once(plan_of: PlanOf, tmp_path: Path) -> None:
    """As when memory runs out in a guest: unnoticed, the supervisor would ask for news of it till the end of time."""
    engine, family = start_elsewhere(plan_of(rounds=3000), tmp_path)
    os.kill(family[-2], signal.SIGKILL)  # each agent's host came right before it
    output = engine.communicate(timeout=60)[0].decode()
    assert output.startswith("False host2: its holder ended")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Traceback ...\nOSError: broken\nsysrq: Power Off\nreboot: Power down\n\n",
            "without results: OSError: broken (all",
        ),
        ("", "it said nothing"),
    ],
)
def test_a_supervisor_that_ends_without_results_is_quoted(
    plan_of: PlanOf, tmp_path: Path, said: str, told: str
) -> None:
    (tmp_path / "console.log").write_text(said)
    with pytest.raises(RunFailed, match=re.escape(told)):
        collect(tmp_path, plan_of(), "vkernel")


def test_sigkill_leaves_no_process_behind(plan_of: PlanOf, tmp_path: Path) -> None:
    engine, family = start_elsewhere(plan_of("star", {"hosts": 3}, rounds=600), tmp_path)
    engine.kill()
    engine.communicate()
    assert len(family) >= 8
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))


def test_without_netem_a_plan_with_jitter_is_refused_with_advice(plan_of: PlanOf) -> None:
    try:
        netem_available("delay")
    except EngineUnavailable:
        pass
    else:
        lacking(MOOT, "this kernel has netem")
    plan = plan_of(impairment=Impairment(delay_ns=50_000, jitter_ns=5_000))
    with pytest.raises(EngineUnavailable, match="--engine vkernel"):
        LiveEngine().run(plan)
    later = Fault("impair", at_ns=W, links=((0, "ab"),), impairment=Impairment(delay_ns=1000))
    with pytest.raises(EngineUnavailable, match="netem"):
        LiveEngine().check(plan_of(faults=[later]))


def tree(pid: int) -> list[int]:
    """All descendants of a process."""
    there = families()  # looked at once: the run goes on meanwhile
    found = list(there.get(pid, {}))
    for child in found:
        found += there.get(child, {})
    return found


def wait_for(what: Callable[[], object], limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("did not happen in time")
