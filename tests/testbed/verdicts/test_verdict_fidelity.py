"""Can the measurement be trusted? Each story bends one thing that was asked for. Seeds are fixed; a fair run is accused
at most once in a thousand. Whole records that are damaged: test_verdict_injections.py."""

import math
import random
from dataclasses import replace

import pytest
from verdict_story import US, WINDOW, Story, pair, plan_on, star

from testbed.engines.sim.engine import SimEngine
from testbed.nodes.core import Decide, Propose
from testbed.nodes.core.record import Overrun, TimerFired
from testbed.nodes.core.values import of_int
from testbed.plan import Fault, derive_seed
from testbed.topologies.impairment import GilbertElliott, Impairment
from testbed.verdicts import judge
from testbed.verdicts.bands import evidence
from testbed.verdicts.fidelity import QUANTILES
from testbed.verdicts.model import Fidelity, Trust, Verdicts

ASKED = Impairment(20 * US, 5 * US, loss=0.1)


def run(
    asked: Impairment = ASKED,
    done: Impairment | None = None,
    cost_ns: int = 0,
    engine: str = "vkernel",
    frames: int = 1_000,
    switch: bool = False,
    seed: int = 1,
    faults: tuple[Fault, ...] = (),
    **meta: object,
) -> Fidelity:
    """host1 sends ``frames`` frames to host2 over links that do ``done`` plus a fixed cost."""
    rng = random.Random(seed)
    done = done or asked
    plan = replace(plan_on(star(impairment=asked) if switch else pair(asked), faults, rounds=0), duration_ns=10**10)
    story = Story(plan, engine)
    for index in range(len(faults)):
        story.fault(0, faults[index].target, index)
    for index in range(frames):
        at = index * 10 * US
        key = story.send("host1", "host2", 1, at)
        for place in range(2 if switch else 1):
            if rng.random() < done.loss:
                at = -1
                break
            at += rng.randrange(done.delay_ns - done.jitter_ns, done.delay_ns + max(1, done.jitter_ns)) + cost_ns
            if switch:
                story.drop(key, at, *(("leaf1", "leaf1-eth1"), ("host2", "host2-eth0"))[place], "in")
        if at >= 0:
            story.recv(key, at)
    history = story.history()
    history.meta.update(meta)
    return judge(plan, history).fidelity


@pytest.mark.parametrize("switch", [False, True])
def test_a_run_that_did_what_was_asked_is_trusted(switch: bool) -> None:
    verdict = run(switch=switch)
    assert verdict.trusted, verdict.reasons
    first = verdict.directions[0]
    assert first.direction == ("host1>leaf1" if switch else "host1>host2")
    assert first.at == QUANTILES
    assert first.asked_ns[3] == 20 * US - 1
    assert first.realised_ns[3] == pytest.approx(20 * US, abs=500)
    assert first.loss_realised == pytest.approx(0.1, abs=0.03)


def test_on_a_wall_clock_a_constant_cost_may_take_up_a_twentieth_of_the_window() -> None:
    """Two messages over one link each: 2.5 us a link in a window of 100 us, and a microsecond for the stamps."""
    verdict = run(cost_ns=2 * US, engine="live")
    assert verdict.trusted, verdict.reasons
    assert verdict.fixed_cost_ns == pytest.approx(2 * US, abs=500)
    reasons = run(cost_ns=4 * US, engine="live").reasons
    assert "3500 ns, which 2 links in a row may add to a window" in reasons[0]


@pytest.mark.parametrize("engine", ["sim", "vkernel", "live"])
@pytest.mark.parametrize("cost_ns", [60 * US, 5 * US, -3 * US])
def test_nothing_else_passes_as_a_cost(cost_ns: int, engine: str) -> None:
    asked = Impairment(10 * US)
    assert not run(asked, cost_ns=cost_ns, engine=engine).trusted


@pytest.mark.parametrize("engine", ["sim", "vkernel"])
def test_in_virtual_time_there_is_no_cost_but_what_the_engine_states(engine: str) -> None:
    asked = Impairment(10 * US)
    assert run(asked, engine=engine).trusted
    assert not run(asked, cost_ns=1, engine=engine).trusted
    assert run(asked, cost_ns=4, engine=engine, stamp_tolerance_ns=4).trusted
    assert not run(asked, cost_ns=5, engine=engine, stamp_tolerance_ns=4).trusted


@pytest.mark.parametrize(
    ("done", "word"),
    [
        (replace(ASKED, jitter_ns=8 * US), "took less than the least that was asked"),
        (replace(ASKED, jitter_ns=8 * US), "took longer than the greatest that was asked"),
        (replace(ASKED, jitter_ns=1 * US), "too long"),
        (replace(ASKED, delay_ns=10 * US), "took less than the least that was asked"),
        (replace(ASKED, loss=0.2), "lost"),
        (replace(ASKED, loss=0.0), "0 of 999 frames were lost"),
    ],
)
def test_another_distribution_or_loss_than_asked_is_noticed(done: Impairment, word: str) -> None:
    verdict = run(done=done)
    assert not verdict.trusted
    assert any(word in reason for reason in verdict.reasons), verdict.reasons
    assert not verdict.directions[0].ok


def test_frames_that_a_fault_touched_are_left_out_and_when_there_are_no_others_that_is_said() -> None:
    muted = (Fault("nic_mute", at_ns=0, target="host2"),)
    verdict = run(done=replace(ASKED, loss=1.0), faults=muted)
    assert verdict.answer is Trust.NOT_CHECKED, verdict.reasons
    assert "no frame was on its way without a fault" in verdict.unchecked[0]
    assert verdict.directions == ()


def test_a_nic_that_does_not_send_still_hears() -> None:
    """A NIC mute one way leaves the other way as it is: its frames are judged like any."""
    half = (Fault("nic_half", at_ns=0, target="host2", nic="host2-eth0", direction="tx"),)
    verdict = run(faults=half)
    assert verdict.trusted, (verdict.reasons, verdict.unchecked)
    assert verdict.directions[0].loss_realised == pytest.approx(0.1, abs=0.03)


def fair(way: Impairment, hops: bool = True, done: Impairment | None = None, rounds: int = 700) -> Fidelity:
    """The verdict on a simulated run of three hosts at a switch that asks for ``way`` and got ``done``."""
    asked, got = (
        replace(plan_on(star(3, kind), rounds=rounds, window_ns=400 * US, period_ns=400 * US), duration_ns=10**9)
        for kind in (way, done or way)
    )
    seeded = tuple(
        replace(link, ab=link.ab.with_seed(derive_seed(5, i, "ab")), ba=link.ba.with_seed(derive_seed(5, i, "ba")))
        for i, link in enumerate(got.fabric.links)
    )
    history = SimEngine(hops=hops).run(replace(got, fabric=replace(got.fabric, links=seeded)))
    return judge(asked, history).fidelity


BURSTS = GilbertElliott(0.02, 0.2)


@pytest.mark.parametrize("hops", [True, False])
@pytest.mark.parametrize(
    "more",
    [
        {"corrupt": 0.03},
        {"corrupt": 0.03, "loss": 0.02},
        {"duplicate": 0.2, "loss": 0.1},
        {"duplicate": 0.2, "corrupt": 0.05},
        {"burst_loss": BURSTS},
    ],
    ids=str,
)
def test_a_fair_run_with_every_kind_of_mishap_is_trusted(more: dict[str, object], hops: bool) -> None:
    """What cannot be followed without hops is named, and the rest is checked all the same."""
    verdict = fair(Impairment(20 * US, 5 * US, **more), hops)
    named = not hops and ("duplicate" in more or "burst_loss" in more)
    assert verdict.answer is (Trust.NOT_CHECKED if named else Trust.TRUSTED), (verdict.reasons, verdict.unchecked)
    assert all(direction.n > 100 for direction in verdict.directions)


@pytest.mark.parametrize(
    ("asked", "done", "word"),
    [
        ({"corrupt": 0.03}, {}, "frames were hurt (corrupted); at a share of 0.03 it"),
        ({}, {"corrupt": 0.03}, "at a share of 0 it should be 0 to 0"),
        ({"duplicate": 0.2}, {}, "frames were doubled; at a share of 0.2 it"),
        ({}, {"duplicate": 0.2}, "it should be 0 to 0"),
        ({"duplicate": 0.2, "loss": 0.1}, {"duplicate": 0.05, "loss": 0.1}, "doubled"),
        ({"burst_loss": BURSTS}, {"burst_loss": GilbertElliott(0.04, 0.2)}, "behind one that came through"),
        ({"burst_loss": BURSTS}, {"burst_loss": GilbertElliott(0.02, 0.1)}, "behind one that was lost"),
        ({"burst_loss": GilbertElliott(0.1, 0.3)}, {}, "0 were lost"),
    ],
    ids=str,
)
def test_mishaps_other_than_asked_are_noticed(asked: dict[str, object], done: dict[str, object], word: str) -> None:
    way = Impairment(20 * US, 5 * US)
    verdict = fair(replace(way, **asked), done=replace(way, **done), rounds=1_500)
    assert any(word in reason for reason in verdict.reasons), verdict.reasons


def test_delays_of_a_duplicating_direction_are_compared_too() -> None:
    way = Impairment(20 * US, 5 * US, duplicate=0.3)
    reasons = fair(way, done=replace(way, jitter_ns=2 * US)).reasons
    assert any("delays are too" in reason for reason in reasons), reasons


def test_without_hops_the_whole_way_is_compared_at_once() -> None:
    asked = replace(ASKED, loss=0.0)
    plan = replace(plan_on(star(impairment=asked), rounds=0), duration_ns=10**10)
    for extra_ns, trusted in ((0, True), (15 * US, False)):
        rng, story = random.Random(4), Story(plan, "sim", captured=False)
        for index in range(500):
            key = story.send("host1", "host2", 1, index * US)
            flight = sum(rng.randrange(15 * US, 25 * US) for _ in range(2)) + extra_ns
            story.recv(key, index * US + flight)
        verdict = judge(plan, story.history()).fidelity
        assert verdict.trusted is trusted, verdict.reasons
        assert verdict.directions[0].direction == "host1>..>host2"


def test_timers_that_lag() -> None:
    story = Story(plan_on(pair(), rounds=0))
    for index in range(100):
        story.event(index * US + (7 * US if index == 50 else 0), "host1", TimerFired("round", index * US))
    history = story.history()
    assert "1 of 100 timers" in judge(story.plan, history).fidelity.reasons[0]
    history.meta["timer_tolerance_ns"] = 10 * US
    verdict = judge(story.plan, history).fidelity
    assert verdict.reasons == ()
    assert verdict.timer_lag_max_ns == 7 * US


@pytest.mark.parametrize(("begun", "ended"), [("node_pause", "node_resume"), ("node_slow", "node_quick")])
def test_timers_of_a_node_that_is_held_up_may_lag(begun: str, ended: str) -> None:
    faults = (Fault(begun, at_ns=0, target="host1"), Fault(ended, at_ns=0, target="host1"))
    story = Story(plan_on(pair(), faults, rounds=0))
    story.fault(5 * US, "host1", 0)
    story.fault(50 * US, "host1", 1)
    story.event(50 * US, "host1", TimerFired("round", 10 * US))
    verdict = judge(story.plan, story.history()).fidelity
    assert not any("timers" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("held_up", [True, False])
def test_frames_that_found_no_room_are_the_faults_only_where_one_held_the_node_up(held_up: bool) -> None:
    faults = (Fault("node_slow", at_ns=0, target="host1", amount=US), Fault("node_quick", at_ns=0, target="host1"))
    story = Story(plan_on(pair(), faults, rounds=0))
    if held_up:
        story.fault(5 * US, "host1", 0)
        story.fault(50 * US, "host1", 1)
    story.event(60 * US, "host1", Overrun(12, 60 * US))
    history = story.history()
    history.meta["ring_drops"] = 12
    verdict = judge(story.plan, history).fidelity
    assert verdict.overrun == (12 if held_up else 0)
    assert ("full rings of sockets dropped 12 frames" in verdict.reasons) == (not held_up)


def test_nodes_that_came_up_late_or_never() -> None:
    story = Story(plan_on(pair(), rounds=0))
    story.events = [story.events[0]._replace(t_ns=3)]
    reasons = judge(story.plan, story.history()).fidelity.reasons
    assert reasons == ("host1 came up 3 ns after round 0 began", "host2 never came up")


def test_an_incomplete_run_is_never_trusted_and_says_why() -> None:
    story = Story(plan_on(pair(), rounds=0))
    verdict = judge(story.plan, story.history(complete=False, why="time limit of 60 s")).fidelity
    assert verdict.reasons == ("the run is not complete: time limit of 60 s",)


def test_fair_runs_are_hardly_ever_called_bad() -> None:
    """40 fair runs at 99.9 %: even two bad ones would come once in 1,300."""
    assert sum(not run(frames=200, seed=seed).trusted for seed in range(40)) <= 1


@pytest.mark.parametrize("p", [0.001, 0.02, 0.3, 0.9])
def test_evidence_against_a_true_probability_is_rare_whenever_one_looks(p: float) -> None:
    """400 runs of 2,000 trials at 1 %, each looked at forty times: more than 14 would come once in 10,000 tries if the
    bound were tight, and it is not."""
    rng = random.Random(2)
    accused = 0
    for _ in range(400):
        hits = seen = 0
        for trials in range(50, 2_001, 50):
            hits += sum(rng.random() < p for _ in range(50))
            seen |= evidence(hits, trials, p) > math.log(100)
        accused += seen
    assert accused <= 14
    assert evidence(round(2_000_000 * p * 0.8), 2_000_000, p) > math.log(100)
    assert evidence(1, 10, 0.0) == math.inf == evidence(9, 10, 1.0)


def test_verdicts_survive_json() -> None:
    import json

    story = Story(plan_on(star(), consensus="floodset")).round(0)
    key = story.send("host1", "host2", 1, 0)
    story.recv(key, WINDOW + 1)
    for name, value in (("host1", 1), ("host2", 2)):
        story.event(0, name, Propose(0, of_int(value)))
        story.event(WINDOW, name, Decide(0, of_int(value), 0))
    story.resolve("host1", "host2", "aborted", WINDOW)
    verdicts = judge(story.plan, story.history())
    assert verdicts.bisynchrony.breaks
    assert verdicts.consensus is not None
    assert verdicts.consensus.disagreements
    assert Verdicts.from_dict(json.loads(json.dumps(verdicts.to_dict()))) == verdicts
