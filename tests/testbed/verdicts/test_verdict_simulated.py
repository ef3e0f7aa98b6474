"""Verdicts on whole simulated runs: what the engine really records is what they read. Seeds are fixed."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from verdict_story import US, plan_on, star

from testbed.engines.sim.engine import SimEngine
from testbed.nodes.core.disk import State
from testbed.nodes.core.lies import Lie, LieKind
from testbed.plan import Fault, Plan, derive_seed
from testbed.scenario import compile_plan, load
from testbed.study.closed_forms import round_broken_probability, swap_forms
from testbed.study.statistics import clopper_pearson
from testbed.topologies.impairment import Impairment
from testbed.verdicts import judge
from testbed.verdicts.model import Verdicts

JITTERY = Impairment(20 * US, 12 * US, loss=0.005)


def seeded(plan: Plan, seed: int = 3) -> Plan:
    """Every link direction under a seed of its own, as the scenario compiler does it."""
    links = tuple(
        replace(
            link,
            ab=link.ab.with_seed(derive_seed(seed, "link", index, "ab")),
            ba=link.ba.with_seed(derive_seed(seed, "link", index, "ba")),
        )
        for index, link in enumerate(plan.fabric.links)
    )
    period = plan.protocol.period_ns
    rounds = plan.protocol.rounds
    return replace(
        plan, seed=seed, fabric=replace(plan.fabric, links=links), duration_ns=(rounds + 2) * period, epsilon_ns=60 * US
    )


def simulated(plan: Plan, **engine: object) -> Verdicts:
    return judge(plan, SimEngine(**engine).run(plan))


def fabric_plan(hosts: int = 2, way: Impairment = JITTERY, faults: tuple[Fault, ...] = (), **protocol: object) -> Plan:
    settings = {"depth": 4, "window_ns": 170 * US, "period_ns": 400 * US, "rounds": 400} | protocol
    return seeded(plan_on(star(hosts, way), faults, **settings))


@pytest.mark.parametrize("horizon", ["abort", "hold", "reconcile"])
@pytest.mark.parametrize("handshake", ["alternating", "simultaneous"])
def test_frequencies_meet_the_closed_form(handshake: str, horizon: str) -> None:
    window = 170 * US if handshake == "alternating" else 45 * US
    plan = fabric_plan(handshake=handshake, horizon=horizon, window_ns=window, rounds=1_500)
    verdicts = simulated(plan)
    theory = swap_forms(plan, (0, 1))
    swaps = verdicts.bisynchrony.swaps
    for outcome in ("committed", "aborted", "split", "blocked"):
        p = getattr(theory, outcome)
        assert clopper_pearson(swaps[outcome], 1_500, 0.999).holds(p), (outcome, p, swaps)
    broken = len(verdicts.bisynchrony.broken_rounds)
    assert clopper_pearson(broken, 1_500, 0.999).holds(round_broken_probability(plan))
    assert verdicts.fidelity.trusted, verdicts.fidelity.reasons


def test_three_hosts_break_a_round_more_often_than_two() -> None:
    plan = fabric_plan(3, rounds=800)
    broken = len(simulated(plan, events="outcomes", hops=False).bisynchrony.broken_rounds)
    assert clopper_pearson(broken, 800, 0.999).holds(round_broken_probability(plan))


def test_every_break_has_a_frame_and_a_hop_where_the_hops_say_it_was_lost_or_late() -> None:
    breaks = simulated(fabric_plan(3)).bisynchrony.breaks
    causes = Counter(found.cause for found in breaks)
    assert set(causes) == {"lost", "late"}
    assert min(causes.values()) > 5
    for found in breaks:
        assert found.frame
        assert found.hop


def test_what_is_known_with_hops_is_not_contradicted_without_them() -> None:
    plan = fabric_plan(3)
    with_hops = simulated(plan).bisynchrony.breaks
    without = simulated(plan, hops=False).bisynchrony.breaks
    assert [(b.round, b.link, b.kind, b.frame, b.cause) for b in with_hops] == [
        (b.round, b.link, b.kind, b.frame, b.cause) for b in without
    ]


@pytest.mark.parametrize("hops", [True, False])
@pytest.mark.parametrize("verb", ["nic_down", "nic_mute"])
def test_a_crashed_nic_is_blamed(verb: str, hops: bool) -> None:
    quiet = Impairment(20 * US, 2 * US)
    fault = Fault(verb, at_ns=10 * 400 * US + 30 * US, target="host2", nic="host2-eth0")
    held = simulated(fabric_plan(3, quiet, (fault,), rounds=20, horizon="hold"), hops=hops)
    assert held.bisynchrony.broken_rounds == tuple(range(10, 20))
    assert {b.cause for b in held.bisynchrony.breaks} == {"crashed"}
    assert all("host2" in b.link for b in held.bisynchrony.breaks)
    assert held.fidelity.trusted, held.fidelity.reasons


@pytest.mark.parametrize("hops", [True, False])
def test_corruption_and_pauses_are_told_apart_from_loss(hops: bool) -> None:
    way = Impairment(20 * US, 2 * US, corrupt=0.02)
    pause = (
        Fault("node_pause", at_ns=50 * 400 * US + 30 * US, target="host1"),
        Fault("node_resume", at_ns=52 * 400 * US, target="host1"),
    )
    verdicts = simulated(fabric_plan(2, way, pause, rounds=100, horizon="hold"), hops=hops)
    causes = Counter(found.cause for found in verdicts.bisynchrony.breaks)
    assert causes["corrupted"] > 3
    assert causes["paused"] >= 1
    assert set(causes) == {"corrupted", "paused"}


def test_a_killed_and_restarted_node_is_excluded_in_between() -> None:
    quiet = Impairment(20 * US)
    faults = (
        Fault("node_kill", at_ns=5 * 400 * US + 30 * US, target="host1"),
        Fault("node_restart", at_ns=8 * 400 * US + 30 * US, target="host1"),
    )
    verdict = simulated(fabric_plan(3, quiet, faults, rounds=20)).bisynchrony
    assert verdict.swaps["excluded"] == 2 * 4  # rounds 5 to 8
    assert verdict.swaps["committed"] == 3 * 20 - 8
    assert verdict.holds


@pytest.mark.parametrize("state", list(State))
def test_a_restart_at_the_very_start_of_a_round_breaks_nothing(state: State) -> None:
    """Killed in round 5 for three periods: it comes up again exactly as round 8 begins."""
    faults = (
        Fault("node_kill", at_ns=5 * 400 * US, target="host1"),
        Fault("node_restart", at_ns=8 * 400 * US, target="host1", state=state),
    )
    verdict = simulated(fabric_plan(3, Impairment(20 * US), faults, rounds=20)).bisynchrony
    assert verdict.holds
    assert verdict.swaps["excluded"] == 2 * 4  # rounds 5 to 8


@pytest.mark.slow
def test_a_million_events_are_judged_in_near_linear_time() -> None:
    import time

    costs = []
    for rounds in (2_000, 16_000):
        plan = fabric_plan(3, rounds=rounds)
        history = SimEngine().run(plan)
        begin = time.process_time()
        judge(plan, history)
        costs.append((time.process_time() - begin) / (len(history.events) + len(history.hops)))
    assert len(history.events) + len(history.hops) > 10**6
    assert costs[1] < 3 * costs[0]


def test_timers_that_ran_out_while_a_node_was_down_are_no_lag() -> None:
    """Found on the shipped scenario: a restart with kept state made a perfect run look untrustworthy."""
    plan = compile_plan(load(Path(__file__).resolve().parents[3] / "scenarios" / "reconcile-restart.yaml"))
    verdicts = judge(plan, SimEngine().run(plan))
    assert verdicts.fidelity.trusted, verdicts.fidelity.reasons
    assert verdicts.fidelity.timer_lag_max_ns == 0


LIES = {
    LieKind.EQUIVOCATE: {},
    LieKind.WITHHOLD: {"to": (1, 2)},
    LieKind.WRONG_VALUE: {},
    LieKind.REPLAY: {},
    LieKind.DELAY: {"by_ns": 77 * US},
    LieKind.SILENT: {},
}


@pytest.mark.parametrize("kind", list(LieKind))
def test_what_a_liar_does_to_its_frames_is_no_fault_of_the_measurement_nor_of_its_peers(kind: LieKind) -> None:
    honest = seeded(plan_on(star(4, Impairment(10 * US, 2 * US)), window_ns=200 * US, period_ns=400 * US, rounds=60))
    lie = Lie(kind, from_ns=10 * 400 * US, until_ns=50 * 400 * US, **LIES[kind])
    plan = replace(honest, nodes=(replace(honest.nodes[0], lies=(lie,)), *honest.nodes[1:]))
    verdicts = simulated(plan)
    assert verdicts.fidelity.reasons == ()
    assert verdicts.bisynchrony.holds
    assert verdicts.bisynchrony.swaps["excluded"] == 60 * 3
    assert list(verdicts.lies) == ["host1"]
    assert list(verdicts.lies["host1"]) == [kind.value]
    assert Verdicts.from_dict(json.loads(json.dumps(verdicts.to_dict()))) == verdicts
