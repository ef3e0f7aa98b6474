"""The simulated fabric: when frames arrive, in what order, and that none is lost without a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from builders import everyone
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_plans import US, beacons, events, hops, make_plan

from testbed.engines.sim import SimEngine
from testbed.history import Event, History
from testbed.nodes.core import Effects, Life, Port, Resolve, RoundStart, Send, SetTimer
from testbed.nodes.core.config import START_NS, NodeConfig, ProtocolConfig
from testbed.nodes.core.record import Dropped, Received, Sent, Started, TimerFired
from testbed.nodes.frames import Kind, Message
from testbed.plan import Plan
from testbed.topologies.fabric import Fabric, Link, LinkEnd
from testbed.topologies.impairment import CLEAN, GilbertElliott, Impairment

PATHS = {"pair": 1, "star": 2, "leaf_spine": 4}
FABRICS = {"pair": {}, "star": {"hosts": 4}, "leaf_spine": {"spines": 2, "leaves": 2, "hosts_per_leaf": 2}}


def run(plan: Plan, count: int = 1, gap_ns: int = 10 * US, answers: bool = False, only: int = -1) -> History:
    return SimEngine(build=beacons(count, gap_ns, answers, only)).run(plan)


# -- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FABRICS)
def test_a_frame_takes_each_links_delay_in_turn(kind: str) -> None:
    history = run(make_plan(Impairment(delay_ns=7 * US), kind, FABRICS[kind]), only=0)
    farthest = history.events[-1]
    assert farthest.t_ns == 7 * US * PATHS[kind]
    assert isinstance(farthest.what, Received)
    assert farthest.what.key.src == 0
    assert len(events(history, Received)) == len(events(history, Sent))


def test_a_switch_stores_a_whole_frame_before_it_sends_it_on() -> None:
    """Two links of 10 Gbit/s: 67 ns each, one after the other."""
    history = run(make_plan(Impairment(delay_ns=US, rate_bps=10_000_000_000), "star", {"hosts": 2}), only=0)
    assert [(hop.t_ns, hop.node, hop.what) for hop in history.hops] == [
        (1067, "host1", "out"),
        (1067, "switch1", "in"),
        (2134, "switch1", "out"),
        (2134, "host2", "in"),
    ]


def test_machines_start_a_millisecond_before_round_0() -> None:
    history = run(make_plan())
    assert events(history, Started) == [
        Event(START_NS, "host1", Started(kept=False, told_ns=START_NS)),
        Event(START_NS, "host2", Started(kept=False, told_ns=START_NS)),
    ]


def test_the_end_of_the_run_is_part_of_it() -> None:
    plan = make_plan(Impairment(delay_ns=100 * US), duration_ns=100 * US)
    assert len(events(run(plan), Received)) == 2
    assert events(run(replace(plan, duration_ns=100 * US - 1)), Received) == []


class Witness:
    """Notes the order of what happens to it at 10 us: a timer set for then, a frame due then."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        return [SetTimer("send", 0), SetTimer("act", 10 * US)]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        if name == "send":
            return [Send(0, Message(Kind.DATA, 0, 1))]
        return [SetTimer("late", now_ns - 5)] if name == "act" else []

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        return [RoundStart(1)]


def test_at_equal_instants_frames_come_before_timers_and_past_timers_fire_now() -> None:
    history = SimEngine(build=Witness).run(make_plan(Impairment(delay_ns=10 * US)))
    at_ten = [row.what for row in history.events if row.t_ns == 10 * US and row.node == "host1"]
    assert at_ten == [
        Received(at_ten[0].key, 0, 1, 10 * US),
        RoundStart(1),
        TimerFired("act", 10 * US),
        TimerFired("late", 10 * US - 5),
    ]
    assert history.meta["timer_tolerance_ns"] == 0


# -- the record ----------------------------------------------------------------------------------------------------


def test_one_seed_gives_one_history_and_another_seed_another() -> None:
    noisy = Impairment(delay_ns=20 * US, jitter_ns=9 * US, loss=0.1, duplicate=0.1, corrupt=0.05)
    plan = make_plan(noisy, "leaf_spine", FABRICS["leaf_spine"], duration_ns=3_000 * US)

    assert run(plan, 30, answers=True) == run(plan, 30, answers=True)
    other = make_plan(noisy, "leaf_spine", FABRICS["leaf_spine"], duration_ns=3_000 * US, seed=2)
    assert run(plan, 30, answers=True) != run(other, 30, answers=True)


def test_recording_less_changes_nothing_that_is_still_recorded() -> None:
    protocol = ProtocolConfig(rounds=20, depth=3, window_ns=80 * US, period_ns=100 * US)
    noisy = Impairment(delay_ns=20 * US, jitter_ns=15 * US, loss=0.02)
    plan = make_plan(noisy, "star", {"hosts": 3}, duration_ns=2_000 * US, protocol=protocol)
    whole = SimEngine().run(plan)
    sparse = SimEngine(events="outcomes", hops=False).run(plan)
    kinds = {type(row.what) for row in sparse.events}
    assert kinds == {Started, RoundStart, Resolve}
    assert list(sparse.events) == list(whole.events.of_kind(*kinds))
    assert (len(sparse.hops), sparse.meta) == (0, whole.meta)
    assert len(SimEngine(events="none", hops=False).run(plan).events) == 0
    assert set(whole.events.table(Resolve)["outcome"].values) == {"committed", "aborted"}


def test_events_and_hops_are_in_order_of_time() -> None:
    noisy = Impairment(delay_ns=20 * US, jitter_ns=9 * US, loss=0.1)
    history = run(make_plan(noisy, "leaf_spine", FABRICS["leaf_spine"]), 20)
    assert [row.t_ns for row in history.events] == sorted(row.t_ns for row in history.events)
    assert [hop.t_ns for hop in history.hops] == sorted(hop.t_ns for hop in history.hops)


def test_a_corrupted_frame_is_dropped_where_it_ends() -> None:
    history = run(make_plan(Impairment(delay_ns=US, corrupt=1.0), "star", {"hosts": 2}), only=0)
    drop = events(history, Dropped)[0]
    assert drop == Event(2 * US, "host2", Dropped("corrupt", None, -1, -1, 2 * US))
    assert [hop.corrupt for hop in history.hops] == [True] * 4
    assert events(history, Received) == []


def test_a_copy_of_a_frame_is_recorded_as_one() -> None:
    history = run(make_plan(Impairment(delay_ns=US, duplicate=1.0)), only=0)
    assert [hop.what for hop in history.hops] == ["dup", "in", "out", "in"]
    first, second = events(history, Received)
    assert first.what.key == second.what.key


def test_an_address_that_no_switch_knows_is_dropped_there() -> None:
    plan = make_plan(Impairment(delay_ns=US), "star", {"hosts": 2})
    plan = replace(plan, fabric=replace(plan.fabric, forwarding={"switch1": {}}))
    history = run(plan, only=0)
    assert [(hop.node, hop.what) for hop in history.hops] == [
        ("host1", "out"),
        ("switch1", "in"),
        ("switch1", "unknown"),
    ]
    assert history.meta["traffic"]["unknown"] == 1


def test_a_loop_of_forwarding_is_refused_before_the_run() -> None:
    """Three switches in a ring, each of which sends everything on to the next."""

    def end(node: str, port: int) -> LinkEnd:
        return LinkEnd(node, f"{node}-eth{port}", f"02:00:00:00:{ord(node[-1]):02x}:{port:02x}")

    joins = [("h1", 0, "s1", 0), ("h2", 0, "s2", 0), ("s1", 1, "s2", 2), ("s2", 1, "s3", 2), ("s3", 1, "s1", 2)]
    links = tuple(Link(end(a, p), end(b, q), CLEAN, CLEAN) for a, p, b, q in joins)
    to = end("h2", 0).mac
    ring = {switch: {to: f"{switch}-eth1"} for switch in ("s1", "s2", "s3")}
    fabric = Fabric("ring", ("h1", "h2"), ("s1", "s2", "s3"), links, ring)
    with pytest.raises(ValueError, match="runs in a loop"):
        run(Plan("ring", 1, fabric, ProtocolConfig(), everyone(fabric), (), 1000, 0))


def test_a_full_queue_is_counted_at_its_interface() -> None:
    plan = make_plan(Impairment(delay_ns=500 * US, limit=3))
    history = run(plan, 10, only=0)
    nic = plan.node_config("host1").peers[0].nic
    assert history.meta["limit_drops"] == {nic: 7}
    assert len(hops(history, "limit")) == 7


def test_progress_is_told_and_changes_nothing() -> None:
    told: list[float] = []
    plan = make_plan(Impairment(delay_ns=US, jitter_ns=100))
    engine = SimEngine(build=beacons(20, 40 * US))
    history = engine.run(plan, progress=lambda _, share: told.append(share))
    assert told == sorted(told)
    assert told[0] > 0
    assert told[-1] < 1
    assert history.events == engine.run(plan).events


def test_plans_that_no_engine_could_run_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="probability lies between"):
        run(make_plan(Impairment(loss=1.5)))
    with pytest.raises(ValueError, match="is none of all, outcomes, none"):
        SimEngine(events="some")
    plan = make_plan()
    three = replace(plan.fabric, hosts=(*plan.fabric.hosts, "h9"))
    with pytest.raises(ValueError, match="host1 cannot reach h9"):
        run(replace(plan, fabric=three, nodes=everyone(three)))


# -- properties ----------------------------------------------------------------------------------------------------

probabilities = st.sampled_from([0.0, 0.0, 0.1, 0.5])
impairments = st.builds(
    Impairment,
    delay_ns=st.integers(0, 60 * US),
    jitter_ns=st.sampled_from([0, 5 * US]),
    loss=probabilities,
    burst_loss=st.sampled_from([None, GilbertElliott(0.2, 0.4)]),
    duplicate=probabilities,
    corrupt=probabilities,
    order=st.sampled_from(["free", "fifo"]),
    rate_bps=st.sampled_from([0, 100_000_000]),
    limit=st.sampled_from([0, 2]),
)


@settings(max_examples=40, deadline=None)
@given(impairments, st.sampled_from(sorted(FABRICS)), st.integers(0, 200 * US), st.integers(0, 99))
def test_every_frame_and_copy_is_delivered_dropped_for_a_reason_or_still_on_its_way(
    impairment: Impairment, kind: str, duration_ns: int, seed: int
) -> None:
    plan = make_plan(impairment, kind, FABRICS[kind], duration_ns=duration_ns, seed=seed)
    history = run(plan, 6, 15 * US, answers=True)
    traffic = history.meta["traffic"]
    ends = ("delivered", "lost", "limit", "cut", "mute", "unknown", "in_flight")
    assert traffic["sent"] + traffic["copies"] == sum(traffic[end] for end in ends)
    assert traffic["sent"] == len(events(history, Sent))
    assert traffic["delivered"] == len(events(history, Received)) + len(events(history, Dropped))
    assert sum(history.meta["limit_drops"].values()) == traffic["limit"]
    what = Counter(hop.what for hop in history.hops)
    assert what["in"] == what["out"] + what["dup"] == history.meta["frame_hops"]


@settings(max_examples=40, deadline=None)
@given(impairments, st.sampled_from(sorted(FABRICS)), st.integers(0, 99))
def test_no_frame_is_faster_than_its_links(impairment: Impairment, kind: str, seed: int) -> None:
    history = run(make_plan(impairment, kind, FABRICS[kind], duration_ns=400 * US, seed=seed), 5)
    sent = {row.what.key: row.t_ns for row in events(history, Sent)}
    least = max(0, impairment.delay_ns - impairment.jitter_ns)
    for row in events(history, Received):
        hops_taken = sum(hop.what == "in" and hop.key == row.what.key and hop.t_ns <= row.t_ns for hop in history.hops)
        assert row.t_ns - sent[row.what.key] >= least * min(hops_taken, 1)


@settings(max_examples=30, deadline=None)
@given(impairments, st.integers(0, 99))
def test_fifo_links_deliver_in_the_order_of_sending(impairment: Impairment, seed: int) -> None:
    history = run(make_plan(replace(impairment, order="fifo"), "star", {"hosts": 3}, seed=seed), 12, 2 * US)
    for sender in ("host1", "host2", "host3"):
        for receiver in ("host1", "host2", "host3"):
            rows = [row for row in events(history, Received, receiver) if history.names[row.what.key.src] == sender]
            assert [row.what.round for row in rows] == sorted(row.what.round for row in rows)


def test_the_closed_form_of_a_swap_is_met() -> None:
    """Two ends, k = 4, loss q: P(split) = q (1 - q)^3; 20,000 rounds, 99.9 % interval."""
    from scipy.stats import binom

    q, rounds = 0.1, 20_000
    protocol = ProtocolConfig(rounds=rounds, depth=4, window_ns=10 * US, period_ns=10 * US)
    plan = make_plan(Impairment(delay_ns=US, loss=q), duration_ns=rounds * 10 * US, protocol=protocol)
    history = SimEngine(events="outcomes", hops=False).run(plan)
    outcomes: dict[int, set[str]] = {}
    for row in events(history, Resolve):
        outcomes.setdefault(row.what.swap.round, set()).add(row.what.outcome)
    split = sum(len(seen) == 2 for seen in outcomes.values())
    low, high = binom.interval(0.999, rounds, q * (1 - q) ** 3)
    assert len(outcomes) == rounds
    assert low <= split <= high


def test_numbers_of_nodes_do_not_make_it_slow() -> None:
    """A hundred hosts on a star: the events are as many as the frames make, not more."""
    plan = make_plan(Impairment(delay_ns=US), "star", {"hosts": 100})
    history = SimEngine(events="none", hops=False, build=beacons(1, US)).run(plan)
    assert history.meta["frame_hops"] == 2 * 100 * 99
    assert history.meta["events_processed"] == 2 * 100 * 99 + 100 + 1
