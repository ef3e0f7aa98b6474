"""Containers on this host's kernel, started through an engine of the tests' own."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from container_stories import EIGHT, plan_of

from testbed.engines.live import LiveEngine
from testbed.engines.live.containers.engine import ContainerEngine
from testbed.history import History
from testbed.nodes.core import Resolve
from testbed.nodes.core.record import Died, Received, Sent, Started, Struck
from testbed.plan import Plan
from testbed.verdicts import judge

MS = 1_000_000


def run(plan: Plan, folder: Path) -> History:
    history = LiveEngine().run(plan, folder)
    assert history.complete, history.why
    return history


def test_eight_containers_without_jitter_hold_every_round_and_agree(engine: ContainerEngine, tmp_path: Path) -> None:
    """In windows wide enough for a machine that is busy with other things."""
    story = {"topology": EIGHT, "protocol": {"consensus": "oae", "f": 1, "rounds": 4, "window": "1s"}}
    plan = plan_of(story)
    history = run(plan, tmp_path)
    verdict = judge(plan, history)
    assert [event.what.outcome for event in history.events.of_kind(Resolve)] == ["committed"] * (4 * 8 * 7)
    assert verdict.bisynchrony.holds
    assert (verdict.consensus.decided, verdict.consensus.disagreements) == (1, ())
    assert sum(verdict.consensus.rounds_to_decide.values()) == 8
    assert engine.containers() == []


@pytest.mark.slow
def test_an_engine_of_messages_decides_in_containers(engine: ContainerEngine, tmp_path: Path) -> None:
    """What each of three submits is delivered at all, in one order."""
    protocol = {"consensus": "raft", "f": 1, "instances": 4, "window": "200ms", "retry": "100ms"}
    plan = plan_of({"topology": {"kind": "star", "hosts": 3}, "protocol": protocol})
    verdict = judge(plan, run(plan, tmp_path)).consensus
    assert verdict is not None
    assert (verdict.decided, verdict.instances) == (12, 12)
    assert (verdict.disagreements, verdict.invalid, verdict.repeated, verdict.disordered) == ((), (), (), ())
    assert engine.containers() == []


def test_cells_are_containers_too_and_carry_what_their_hosts_swap(engine: ContainerEngine, tmp_path: Path) -> None:
    """Until one on the way is killed; in windows wide enough for a machine that is busy with other things."""
    story = {
        "topology": {"kind": "leaf_spine", "spines": 1, "leaves": 2, "hosts_per_leaf": 1},
        "switches": "cells",
        "protocol": {"rounds": 3, "window": "1s"},
        "faults": [{"at": "1500ms", "do": "node_kill", "on": "leaf1"}],
    }
    plan = plan_of(story)
    with watched(engine) as seen:
        history = run(plan, tmp_path)
    assert {"host1", "host2", "leaf1", "leaf2", "spine1"} <= set(seen)
    assert "exited" in seen["leaf1"]
    ends = [event for event in history.events.of_kind(Resolve) if event.node in ("host1", "host2")]
    outcomes = {(event.node, event.what.swap.round): event.what.outcome for event in ends}
    assert {outcomes[host, number] for host in ("host1", "host2") for number in (0, 1)} == {"committed"}
    assert {outcomes["host1", 2], outcomes["host2", 2]} == {"aborted"}
    verdict = judge(plan, history).bisynchrony
    ended = [verdict.swaps[kind] for kind in ("committed", "aborted", "split")]
    assert ended == [2, 1, 0]  # both ends abort: nothing is broken, unless a busy machine is late
    assert engine.containers() == []


@contextmanager
def watched(engine: ContainerEngine) -> Iterator[dict[str, set[str]]]:
    """In which states each container is found, until the run is over."""
    over = threading.Event()
    seen: dict[str, set[str]] = {}

    def watch() -> None:
        while not over.wait(0.05):
            for container in engine.containers():
                seen.setdefault(container.name.split("-", 2)[-1], set()).add(container.state)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_faults_strike_containers_through_the_engine(engine: ContainerEngine, tmp_path: Path) -> None:
    """host1 is frozen and thawed. host2 is killed, and restarted as a new container that finds its state; host3 as one
    that doesn't. host4 is struck at a protocol moment."""
    story = {
        "topology": {"kind": "star", "hosts": 4},
        "protocol": {"rounds": 80, "window": "120ms", "horizon": "reconcile"},  # time to start containers when busy
        "faults": [
            {"at": "500ms", "do": "node_pause", "on": "host1", "for": "900ms"},
            {"at": "700ms", "do": "node_kill", "on": "host2", "for": "500ms", "state": "kept"},
            {"at": "1500ms", "do": "node_restart", "on": "host3"},
            {"when": {"node": "host4", "enters": "REFLECTING", "round": 30}, "do": "node_kill"},
        ],
    }
    plan = plan_of(story)
    with watched(engine) as seen:
        history = run(plan, tmp_path)

    def of(node: str, *kinds: type) -> list:
        return [event for event in history.events.of_kind(*kinds) if event.node == node]

    assert "paused" in seen["host1"]
    assert {"host2", "host2-net", "host2-2", "host3-2"} <= set(seen)  # its network is another container's, which stays
    assert not seen["host2-net"] & {"exited", "paused"}
    assert "exited" in seen["host2"]
    paused, resumed = (event.t_ns for event in of("host1", Struck))
    quiet = [event for event in of("host1", Sent, Received) if paused + 100 * MS < event.t_ns < resumed]
    assert quiet == []
    assert [event for event in of("host1", Sent) if event.t_ns > resumed]
    assert [event.what.kept for event in of("host2", Started)] == [False, True]
    assert [event.what.kept for event in of("host3", Started)] == [False, False]
    assert [len(of(node, Died)) for node in ("host1", "host2", "host3", "host4")] == [0, 1, 1, 1]
    (died,) = of("host4", Died)
    assert not [event for event in of("host4", Sent, Received) if event.t_ns > died.t_ns]
    for node in ("host2", "host3"):
        assert {event.what.key.epoch for event in of(node, Sent)} == {1, 2}
    assert engine.containers() == []


def test_an_agent_that_fails_in_its_container_is_told_of_with_its_traceback(
    engine: ContainerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given a clock that there is none of."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if any('supervisor' in word for word in sys.orig_argv):\n"
        "    import testbed.engines.live.clock as clock\n"
        "    clock.POLICIES['live'] = clock.ClockPolicy(agent='none', lead_ns=200_000_000, grid_ns=0)\n"
    )
    plan = plan_of({"topology": {"kind": "pair"}, "protocol": {"rounds": 3, "window": "100ms"}})
    history = LiveEngine().run(plan, tmp_path)
    assert not history.complete
    assert re.fullmatch(
        r"the agent of (host[12]) failed: ValueError: clock 'none' is none of stamp, read "
        r"\(traceback in crash-\1-1.txt\)", history.why,
    )  # fmt: skip
    (crash,) = (tmp_path / "live").glob("crash-*")
    assert crash.read_text().startswith("Traceback (most recent call last):")
    assert engine.containers() == []


def test_a_container_that_somebody_else_kills_ends_the_run_with_a_reason(
    engine: ContainerEngine, tmp_path: Path
) -> None:
    plan = plan_of({"topology": {"kind": "pair"}, "protocol": {"rounds": 600, "window": "100ms"}})
    histories = []
    runner = threading.Thread(target=lambda: histories.append(LiveEngine().run(plan, tmp_path)))
    runner.start()
    deadline = time.monotonic() + 60
    while (
        not (tmp_path / "live" / "progress").exists() or "running" not in (tmp_path / "live" / "progress").read_text()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    victim = next(container for container in engine.containers() if container.name.endswith("host2"))
    engine.api.kill(victim.id)
    runner.join()
    (history,) = histories
    assert not history.complete
    assert history.why == "the agent of host2 ended by SIGKILL, and no fault of the plan asked for it"
    assert engine.containers() == []
