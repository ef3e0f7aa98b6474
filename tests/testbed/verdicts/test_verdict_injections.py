"""Good records, damaged: each damage is caught by a verdict, or named as not checked. Nothing damaged reads as good.

The records are of simulated runs; under ``vkernel`` they carry what a real kernel leaves (no hops that say why a frame
was dropped, no traffic counted). Everything is seeded.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from damage import PERIOD_NS, WINDOW_NS, Damage, moved, run, with_
from verdict_story import US

from testbed.engines.sim import SimEngine
from testbed.history import Event
from testbed.nodes.core import Decide, Outcome, Propose, Resolve, RoundStart
from testbed.nodes.core.record import Dropped, Received, Sent, Started, Struck, TimerFired
from testbed.plan import Fault
from testbed.topologies.impairment import GilbertElliott, Impairment
from testbed.verdicts import judge
from testbed.verdicts.model import Trust, Verdicts

PLAIN = Impairment(20 * US, 5 * US)
LOSSY = Impairment(20 * US, 5 * US, loss=0.02)
STILL = Impairment(10 * US)
NORMAL = Impairment(20 * US, 2 * US, "normal")
BURSTS = Impairment(20 * US, 5 * US, burst_loss=GilbertElliott(0.01, 0.3))
ENGINES = ("sim", "vkernel")
BOTH = pytest.mark.parametrize("engine", ENGINES)

Hurt = Callable[[Damage], object]


def record(way: Impairment = PLAIN, engine: str = "sim", **more: object) -> Damage:
    return Damage.of(*run(way, **more), engine)


def is_a(event: Event, *kinds: type) -> bool:
    return isinstance(event.what, kinds)


def of_round(event: Event) -> int:
    """The round that begins or ends with this event."""
    if isinstance(event.what, Resolve):
        return event.what.swap.round
    return event.what.round if isinstance(event.what, RoundStart) else -1


def judged(damage: Damage) -> Verdicts:
    return judge(damage.plan, damage.history())


def assert_not_trusted(damage: Damage, words: str) -> None:
    fidelity = judged(damage).fidelity
    assert fidelity.answer is Trust.NOT_TRUSTED
    assert any(words in reason for reason in fidelity.reasons), fidelity.reasons


WAYS = {
    "uniform": PLAIN,
    "clean": Impairment(),
    "constant": STILL,
    "lossy": LOSSY,
    "normal": NORMAL,
    "pareto": Impairment(20 * US, 4 * US, "pareto"),
    "below zero": Impairment(2 * US, 5 * US),
    "bursts": BURSTS,
    "fifo": replace(LOSSY, order="fifo"),
    "rate": replace(PLAIN, rate_bps=100_000_000),
    "fifo, rate": replace(NORMAL, order="fifo", rate_bps=50_000_000),
    "correlation": replace(PLAIN, correlation=0.3),
    "doubling": replace(LOSSY, duplicate=0.1),
    "hurting": replace(LOSSY, corrupt=0.02),
    "doubling, hurting": replace(PLAIN, duplicate=0.1, corrupt=0.02),
}


MS = 1_000 * US
MESSAGES = {
    "rate": replace(PLAIN, rate_bps=1_000_000_000),
    "rate, below zero": Impairment(2 * US, 5 * US, "normal", rate_bps=100_000_000),
    "fifo, rate": replace(NORMAL, order="fifo", rate_bps=300_000_000),
    "rate, doubling, hurting": replace(LOSSY, rate_bps=400_000_000, duplicate=0.1, corrupt=0.02),
}


def messages(way: Impairment, engine: str = "sim") -> Damage:
    """Paxos on values of 3,000 bytes: frames of 60, 136 and 1,514 bytes, three of them sent at one instant."""
    return record(way, engine, rounds=60, value_bytes=3_000, window_ns=2 * MS, period_ns=2 * MS, retry_ns=MS)


@BOTH
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_records_are_good_before_they_are_damaged(way: Impairment, engine: str) -> None:
    fidelity = judged(record(way, engine)).fidelity
    assert fidelity.reasons == ()
    assert fidelity.answer is Trust.TRUSTED, fidelity.unchecked
    assert all(direction.n > 400 for direction in fidelity.directions)


@BOTH
@pytest.mark.parametrize("way", MESSAGES.values(), ids=MESSAGES)
def test_records_of_messages_of_several_sizes_are_good_as_well(way: Impairment, engine: str) -> None:
    damage = messages(way, engine)
    assert len({event.what.size for event in damage.events if is_a(event, Sent)}) == 3
    fidelity = judged(damage).fidelity
    assert fidelity.answer is Trust.TRUSTED, (fidelity.reasons, fidelity.unchecked)
    assert all(direction.n > 100 for direction in fidelity.directions)


@BOTH
def test_frames_that_the_end_finds_in_a_queue_that_grew_are_not_missed(engine: str) -> None:
    """Ben-Or asks 10 Mbit/s for more than they carry: each frame waits longer than any before it."""
    way = Impairment(2 * US, 5 * US, "normal", rate_bps=10_000_000)
    damage = record(way, engine, rounds=6, consensus="ben_or", instances=6, f=1)
    waiting = sum(is_a(event, Sent) for event in damage.events) - len(damage.crossed("host1>leaf1"))
    assert waiting > 10
    fidelity = judged(damage).fidelity
    assert fidelity.answer is Trust.TRUSTED, (fidelity.reasons, fidelity.unchecked)


# -- delays -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("by_ns", "words"),
    [
        (lambda _, __: 60 * US, "took longer than the greatest"),
        (lambda _, __: 100, "took longer than the greatest"),
        (lambda _, __: -3 * US, "took less than the least"),
        (lambda n, _: 500 * US if n % 50 == 0 else 0, "took longer than the greatest"),
        (lambda n, _: 10 * US if n == 7 else 0, "took longer than the greatest"),
        (lambda n, _: -15 * US if n == 7 else 0, "took less than the least"),
        (lambda _, delay: (20 * US - delay) // 2, "delays are too"),
        (lambda n, delay: 24_999 - delay if n % 4 == 0 else 0, "delays are too long"),
        (lambda n, delay: 24_990 - delay if n % 25 == 0 else 0, "delays lie above"),
        (lambda n, delay: 15_010 - delay if n % 25 == 0 else 0, "delays lie below"),
    ],
    ids=[
        "+60us",
        "+100ns",
        "-3us",
        "2% late",
        "one late",
        "one early",
        "half",
        "a quarter",
        "upper tail",
        "lower tail",
    ],
)
def test_delays_of_one_direction(by_ns: Callable[[int, int], int], words: str, engine: str) -> None:
    damage = record(PLAIN, engine)
    damage.delay("host1>leaf1", by_ns)
    assert_not_trusted(damage, words)


@BOTH
@pytest.mark.parametrize("by_ns", [60 * US, 100, 1, -1, -3 * US])
def test_a_constant_more_or_less_on_every_frame_of_links_that_do_not_jitter(by_ns: int, engine: str) -> None:
    damage = record(STILL, engine)
    damage.delay_all(lambda _, __: by_ns)
    assert_not_trusted(damage, "than the greatest" if by_ns > 0 else "than the least")


@pytest.mark.parametrize("name", ["fifo", "rate", "fifo, rate", "correlation", "bursts", "doubling", "normal"])
@pytest.mark.parametrize("by_ns", [100 * US, -12 * US])
def test_whatever_else_is_asked_for_a_hundred_microseconds_on_every_frame_are_seen(name: str, by_ns: int) -> None:
    damage = record(WAYS[name])
    damage.delay_all(lambda _, __: by_ns)
    assert_not_trusted(damage, "than the")


@pytest.mark.parametrize("name", ["fifo", "rate", "correlation"])
def test_a_shape_is_seen_where_frames_wait_or_are_correlated(name: str) -> None:
    damage = record(WAYS[name])
    damage.delay("leaf1>host2", lambda _, delay: max(0, 23 * US - delay) if delay < 25 * US else 0)
    assert_not_trusted(damage, "leaf1>host2")


@BOTH
@pytest.mark.parametrize("way", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("by_ns", [100 * US, -30 * US])
def test_messages_of_several_sizes_that_are_late_or_early(way: Impairment, by_ns: int, engine: str) -> None:
    damage = messages(way, engine)
    damage.delay_all(lambda _, delay: max(by_ns, 1 - delay))
    assert_not_trusted(damage, "than the")


@BOTH
@pytest.mark.parametrize(("bytes_counted", "words"), [(60, "less than the least"), (3_000, "longer than the greatest")])
def test_sizes_that_do_not_count_or_count_too_much(bytes_counted: int, words: str, engine: str) -> None:
    """The first of the long frames that a node sends at once takes as long on 100 Mbit/s as one of another size."""
    damage = messages(replace(STILL, rate_bps=100_000_000), engine)
    assert judged(damage).fidelity.answer is Trust.TRUSTED
    sizes = [event.what.size for event in damage.events if is_a(event, Sent) and event.node == "host1"]
    first = sizes.index(1_514)
    damage.delay("host1>leaf1", lambda n, _: (bytes_counted - sizes[n]) * 80 if n == first else 0)
    assert_not_trusted(damage, words)


@BOTH
def test_messages_that_overtake_at_a_rate(engine: str) -> None:
    damage = messages(MESSAGES["rate"], engine)
    damage.delay("host1>leaf1", lambda n, _: 9 * US if n % 40 == 0 else 0)
    assert_not_trusted(damage, "host1>leaf1")


def test_a_little_on_all_frames_is_seen_on_all_directions_together() -> None:
    """300 ns of 10 us in the middle of the distribution; no direction's own delays are enough to tell."""
    damage = record(replace(PLAIN, jitter_ns=5 * US), hosts=6)
    damage.delay_all(lambda _, delay: 300 if delay < 24_600 else 0)
    assert_not_trusted(damage, "all directions together")


@BOTH
def test_frames_that_overtake_where_order_is_kept(engine: str) -> None:
    damage = record(WAYS["fifo"], engine)
    damage.delay("host1>leaf1", lambda n, _: 9 * US if n % 40 == 0 else 0)
    assert_not_trusted(damage, "host1>leaf1")


@BOTH
def test_two_frames_swapped(engine: str) -> None:
    damage = record(STILL, engine)
    first, second = damage.crossed("host1>leaf1")[10:12]
    names = {first: second, second: first}
    for number, hop in enumerate(damage.hops):
        if hop.key in names and hop.what == "in" and hop.node == "leaf1" and hop.nic == "leaf1-eth1":
            damage.hops[number] = hop._replace(key=names[hop.key])
    damage.delay("host1>leaf1", lambda n, _: 400 * US if n == 10 else 0)
    assert_not_trusted(damage, "host1>leaf1")


# -- losses, duplicates, corruption -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("way", "share"), [(LOSSY, 0.02), (PLAIN, 0.002), (BURSTS, 0.03)], ids=["doubled", "none asked", "bursts"]
)
def test_more_losses_than_asked(way: Impairment, share: float, engine: str) -> None:
    damage, rng = record(way, engine, rounds=3_000, hosts=2), random.Random(1)
    damage.lose("host1>leaf1", [key for key in damage.crossed("host1>leaf1") if rng.random() < share])
    assert_not_trusted(damage, "host1>leaf1")


def test_bursts_that_last_twice_as_long() -> None:
    """As many bursts begin; each goes on, and doubles the losses."""
    damage, rng = record(BURSTS, rounds=3_000, hosts=2), random.Random(1)
    kept = damage.crossed("host1>leaf1")
    lost = {hop.key for hop in damage.hops if hop.what == "lost" and hop.node == "host1"}
    order = [event.what.key for event in damage.events if isinstance(event.what, Sent) and event.node == "host1"]
    longer, burning = [], False
    for key in order:
        burning = (key in lost) or (burning and rng.random() > 0.3)
        if burning and key not in lost:
            longer.append(key)
    damage.lose("host1>leaf1", [key for key in longer if key in set(kept)])
    assert_not_trusted(damage, "behind one that was lost")


@BOTH
@pytest.mark.parametrize("way", [LOSSY, BURSTS], ids=["loss", "bursts"])
def test_losses_that_never_were(way: Impairment, engine: str) -> None:
    """The run was asked to lose and did not."""
    damage = record(replace(way, loss=0.0, burst_loss=None), engine)
    links = tuple(replace(link, ab=way, ba=way) for link in damage.plan.fabric.links)
    damage.plan = replace(damage.plan, fabric=replace(damage.plan.fabric, links=links))
    assert_not_trusted(damage, "lost")


@BOTH
def test_losses_in_a_row_where_each_should_be_by_chance(engine: str) -> None:
    damage = record(replace(LOSSY, loss=0.05), engine, rounds=1_500, hosts=2)
    clean = record(replace(LOSSY, loss=0.0), engine, rounds=1_500, hosts=2)
    keys = clean.crossed("host1>leaf1")
    clean.lose("host1>leaf1", [key for n, key in enumerate(keys) if n % 100 < 5])
    clean.plan = damage.plan
    assert_not_trusted(clean, "behind one that was lost")


@BOTH
def test_a_frame_that_comes_twice(engine: str) -> None:
    damage = record(PLAIN, engine)
    key = damage.crossed("leaf1>host2")[5]
    for row in [hop for hop in damage.hops if hop.key == key and hop.node == "host2"]:
        damage.hops.append(row._replace(t_ns=row.t_ns + 10))
    damage.events += [moved(event, 10) for event in damage.events if is_a(event, Received) and event.what.key == key]
    assert_not_trusted(damage, "frames were doubled")


@BOTH
def test_a_frame_that_is_hurt(engine: str) -> None:
    damage = record(PLAIN, engine)
    key = damage.crossed("leaf1>host2")[5]
    damage.hops = [hop._replace(corrupt=True) if hop.key == key and hop.node == "host2" else hop for hop in damage.hops]
    damage.change(
        lambda e: is_a(e, Received) and e.what.key == key,
        lambda e: e._replace(what=Dropped("corrupt", None, -1, -1, e.what.at_ns)),
    )
    assert_not_trusted(damage, "hurt")


@pytest.mark.parametrize("what", ["cut", "mute", "unknown", "limit"])
def test_drops_that_no_fault_and_no_impairment_accounts_for(what: str) -> None:
    damage = record(PLAIN)
    damage.lose("host1>leaf1", damage.crossed("host1>leaf1")[40:43], what)
    words = {"unknown": "nobody forwards", "limit": "full queues"}.get(what, f"dropped as {what}")
    assert_not_trusted(damage, words)


def test_frames_that_vanish_without_a_word() -> None:
    damage = record(LOSSY)
    gone = set(damage.crossed("host1>leaf1")[40:42])
    damage.drop_hops(lambda hop: hop.key in gone)
    damage.drop_events(lambda event: is_a(event, Received) and event.what.key in gone)
    assert_not_trusted(damage, "2 frames vanished on the way without a word")


# -- the record of frames ---------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (lambda d: d.drop_events(lambda e: is_a(e, Received) and e.what.round == 7), "neither handled nor dropped"),
        (lambda d: d.drop_events(lambda e: is_a(e, Sent) and e.what.round == 7 and e.node == "host1"), "nobody sent"),
        (lambda d: d.drop_hops(lambda h: h.round == 7 and h.node == "host2"), "never came in"),
        (lambda d: d.drop_hops(lambda h: h.round == 7 and h.node == "leaf1" and h.what == "in"), "seen further on"),
        (lambda d: d.drop_hops(lambda h: h.t_ns > 50 * PERIOD_NS), "never came in"),
        (lambda d: d.events.extend([e for e in d.events if is_a(e, Sent)][5:6]), "sent twice"),
        (lambda d: d.events.extend([e for e in d.events if is_a(e, Received)][5:6]), "never came in"),
        (
            lambda d: d.change(lambda e: is_a(e, Received), lambda e: with_(e, at_ns=e.what.at_ns - 5 * US), 3),
            "under another stamp",
        ),
        (
            lambda d: d.change(lambda e: is_a(e, Received), lambda e: e._replace(t_ns=e.t_ns + 5 * US), 3),
            "waited more than",
        ),
    ],
    ids=[
        "not handled",
        "not sent",
        "not come in",
        "not seen at the switch",
        "capture cut off",
        "sent twice",
        "handled twice",
        "other stamps",
        "handled late",
    ],
)
def test_holes_in_the_record_of_frames(hurt: Hurt, words: str, engine: str) -> None:
    damage = record(PLAIN, engine)
    hurt(damage)
    assert_not_trusted(damage, words)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("limit_drops", {"leaf1-eth1": 3}, "full queues (netem's limit) dropped 3"),
        ("capture_drops", 2, "the capture missed 2"),
        ("ring_drops", 500, "full rings of sockets dropped 500"),
        ("backlog_drops", 178, "full input queues (of all its namespaces) dropped 178"),
        ("clock_step_ns", 3_000_000_000, "stepped by 3000000000 ns"),
        ("clock_step_ns", -40_000, "stepped by 40000 ns"),
    ],
)
@BOTH
def test_what_the_engine_counted(key: str, value: object, words: str, engine: str) -> None:
    damage = record(PLAIN, engine)
    damage.meta[key] = value
    assert_not_trusted(damage, words)


@pytest.mark.parametrize("what", ["sent", "lost", "cut", "delivered", "in_flight"])
def test_traffic_that_does_not_add_up(what: str) -> None:
    damage = record(LOSSY)
    traffic = damage.meta["traffic"]
    assert isinstance(traffic, dict)
    damage.meta["traffic"] = traffic | {what: traffic[what] + 1}
    assert_not_trusted(damage, "the engine counts")


# -- clocks and timers ------------------------------------------------------------------------------------------------


@BOTH
def test_a_clock_that_was_stepped_at_one_node(engine: str) -> None:
    damage = record(PLAIN, engine)
    late = 50 * PERIOD_NS
    damage.change(
        lambda e: e.node == "host2" and e.t_ns > late,
        lambda e: moved(e, 40 * US),
    )
    assert_not_trusted(damage, "host2>leaf1")


@BOTH
def test_a_clock_that_drifts_at_one_node(engine: str) -> None:
    """20 parts in a million: 3 us at the end of the run."""
    damage = record(PLAIN, engine)

    damage.change(lambda e: e.node == "host2", lambda e: moved(e, e.t_ns // 50_000))
    fidelity = judged(damage).fidelity
    assert fidelity.answer is Trust.NOT_TRUSTED


@BOTH
@pytest.mark.parametrize("count", [1, 50])
def test_timers_that_are_late(count: int, engine: str) -> None:
    damage = record(PLAIN, engine)
    damage.change(
        lambda e: is_a(e, TimerFired) and e.t_ns > PERIOD_NS, lambda e: with_(e, due_ns=e.what.due_ns - 5 * US), count
    )
    assert_not_trusted(damage, f"{count} of")


@BOTH
def test_timers_that_fire_early(engine: str) -> None:
    damage = record(PLAIN, engine)
    damage.change(lambda e: is_a(e, TimerFired), lambda e: with_(e, due_ns=e.what.due_ns + 5 * US), 1)
    assert_not_trusted(damage, "before they were due")


@BOTH
def test_rounds_that_begin_late(engine: str) -> None:
    damage = record(PLAIN, engine)
    damage.change(lambda e: is_a(e, RoundStart) and e.what.round == 9, lambda e: e._replace(t_ns=e.t_ns + 5 * US))
    assert_not_trusted(damage, "rounds began early, or late")


@BOTH
def test_a_node_that_comes_up_late_or_never(engine: str) -> None:
    damage = record(PLAIN, engine)
    damage.change(lambda e: is_a(e, Started) and e.node == "host2", lambda e: e._replace(t_ns=7))
    damage.drop_events(lambda e: is_a(e, Started) and e.node == "host3")
    assert_not_trusted(damage, "host2 came up 7 ns after round 0 began")
    assert_not_trusted(damage, "host3 never came up")


@BOTH
def test_a_deed_at_an_instant_at_which_nothing_happened(engine: str) -> None:
    """A resolution moved by some microseconds: still in time, and no verdict on the swap would notice."""
    damage = record(PLAIN, engine)
    moved = damage.change(
        lambda e: is_a(e, Resolve) and e.what.outcome == "committed", lambda e: e._replace(t_ns=e.t_ns + 3 * US), 1
    )
    assert moved == 1
    assert judged(damage).bisynchrony.holds
    assert_not_trusted(damage, "nothing had come to them")


# -- rounds, lives, faults --------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("hurt", "words"),
    [
        (lambda d: d.drop_events(lambda e: e.t_ns >= 10 * PERIOD_NS), "rounds never began"),
        (lambda d: d.drop_events(lambda e: e.t_ns >= 10 * PERIOD_NS and e.node == "host2"), "host2 140"),
        (lambda d: d.drop_events(lambda e: of_round(e) == 12), "the first round 12"),
        (lambda d: setattr(d, "complete", False), "not complete"),
    ],
    ids=["all after round 10", "one node's after round 10", "one round", "cut short"],
)
def test_rounds_that_are_missing(hurt: Hurt, words: str, engine: str) -> None:
    damage = record(PLAIN, engine)
    hurt(damage)
    if words.startswith("rounds"):
        damage.drop_hops(lambda hop: hop.t_ns >= 10 * PERIOD_NS)
    assert_not_trusted(damage, words)


MUTED = (
    Fault("nic_mute", at_ns=40 * PERIOD_NS + 50 * US, target="host2"),
    Fault("nic_unmute", target="host2", follows=0, after_ns=30 * PERIOD_NS),
)


@BOTH
def test_a_fault_that_is_not_in_the_record(engine: str) -> None:
    """Without the event that tells of it, what it dropped has no ground either."""
    damage = record(PLAIN, engine, faults=MUTED)
    assert judged(damage).fidelity.answer is Trust.TRUSTED
    damage.drop_events(lambda e: is_a(e, Struck))
    assert_not_trusted(damage, "fault 0 (nic_mute) never struck")
    if engine == "sim":
        assert_not_trusted(damage, "dropped as mute though no fault was in force")


@BOTH
def test_a_fault_that_strikes_at_another_time(engine: str) -> None:
    damage = record(PLAIN, engine, faults=MUTED)
    damage.change(lambda e: is_a(e, Struck) and e.what.fault == 1, lambda e: e._replace(t_ns=e.t_ns + 30 * US))
    assert_not_trusted(damage, "fault 1 (nic_unmute) struck 30000 ns late")


@BOTH
def test_a_fault_that_does_nothing(engine: str) -> None:
    """The mute is in the record, but frames went through all the same."""
    plan, _ = run(PLAIN, faults=MUTED)
    damage = record(PLAIN, engine)
    for index, fault in enumerate(MUTED):
        t_ns = MUTED[0].at_ns + index * 30 * PERIOD_NS
        damage.events.append(Event(t_ns, "host2", Struck(index, fault.verb)))
    damage.plan = plan
    assert_not_trusted(damage, "got through NICs that a fault held")


PAUSED, KILLED = 40 * PERIOD_NS - 1, 45 * PERIOD_NS - 1
DYING = (
    Fault("node_pause", at_ns=PAUSED, target="host2"),
    Fault("node_kill", at_ns=KILLED, target="host2"),
)


@BOTH
def test_frames_that_waited_at_a_node_as_it_was_killed_are_told_from_frames_lost_unseen(engine: str) -> None:
    """host2 is paused for five rounds and then killed. What came in meanwhile went with it, and is counted; a frame
    that it did not handle while it was up, or one that came in after its death, is another matter."""
    damage = record(PLAIN, engine, faults=DYING)
    came = [hop for hop in damage.hops if (hop.node, hop.what) == ("host2", "in") and PAUSED <= hop.t_ns < KILLED]
    fidelity = judged(damage).fidelity
    assert fidelity.answer is Trust.TRUSTED, fidelity.reasons
    assert fidelity.left_waiting == len(came) > 1
    assert any((hop.node, hop.what) == ("host2", "in") and hop.t_ns > KILLED for hop in damage.hops)
    unseen = next(e.what.key for e in damage.events if is_a(e, Received) and e.node == "host2" and e.what.round == 7)
    damage.drop_events(lambda e: is_a(e, Received) and e.what.key == unseen)
    assert judged(damage).fidelity.left_waiting == len(came)
    assert_not_trusted(damage, "neither handled nor dropped: host2 1")


BURST = (Fault("impair", at_ns=0, links=((0, "ab"), (0, "ba")), impairment=replace(PLAIN, delay_ns=40 * US, seed=5)),)


@BOTH
def test_a_run_wholly_inside_a_burst_is_held_against_the_burst(engine: str) -> None:
    damage = record(PLAIN, engine, faults=BURST)
    fidelity = judged(damage).fidelity
    assert fidelity.answer is Trust.TRUSTED, (fidelity.reasons, fidelity.unchecked)
    inside = next(way for way in fidelity.directions if way.direction.startswith("host1>leaf1 ("))
    assert inside.n > 500
    assert inside.asked_ns[3] == 40 * US - 1
    damage.delay("host1>leaf1", lambda _, __: 11 * US)
    assert_not_trusted(damage, "host1>leaf1 (40us +- 5us uniform)")


@BOTH
def test_a_burst_that_never_came(engine: str) -> None:
    plan, _ = run(PLAIN, faults=BURST)
    damage = record(PLAIN, engine)
    damage.events.append(Event(0, "", Struck(0, "impair")))
    damage.plan = plan
    assert_not_trusted(damage, "host1>leaf1 (40us +- 5us uniform): ")


# -- values and decisions: other verdicts see to them -----------------------------------------------------------------


def consensus(engine: str) -> Damage:
    return record(PLAIN, engine, consensus="floodset", f=1, instance_rounds=2, rounds=100, instances=50)


@BOTH
@pytest.mark.parametrize(
    ("hurt", "seen"),
    [
        (
            lambda d: d.change(lambda e: is_a(e, Decide), lambda e: with_(e, value=b"another"), 1),
            lambda v: v.consensus.disagreements,
        ),
        (
            lambda d: d.drop_events(lambda e: is_a(e, Decide) and e.what.instance == 3 and e.node == "host2"),
            lambda v: v.consensus.undecided == (3,),
        ),
        (
            lambda d: d.events.extend([with_(e, value=b"another") for e in d.events if is_a(e, Decide)][:1]),
            lambda v: v.consensus.disagreements,
        ),
        (
            lambda d: d.change(lambda e: is_a(e, Propose), lambda e: with_(e, value=b"another"), 300),
            lambda v: v.consensus.invalid,
        ),
        (
            lambda d: d.change(
                lambda e: is_a(e, Resolve) and e.what.outcome == "committed", lambda e: with_(e, value=b"x" * 16), 1
            ),
            lambda v: v.bisynchrony.swaps["split"] >= 1,
        ),
        (
            lambda d: d.change(
                lambda e: is_a(e, Resolve) and e.what.outcome == "committed",
                lambda e: with_(e, outcome=Outcome.ABORTED),
                1,
            ),
            lambda v: v.bisynchrony.swaps["split"] >= 1,
        ),
        (
            lambda d: d.events.remove(next(e for e in d.events if is_a(e, Resolve))),
            lambda v: v.bisynchrony.swaps["blocked"] == 1,
        ),
        (
            lambda d: d.change(lambda e: is_a(e, Resolve), lambda e: e._replace(t_ns=e.t_ns + WINDOW_NS), 1),
            lambda v: {found.kind for found in v.bisynchrony.breaks} == {"late"},
        ),
    ],
    ids=[
        "decision changed",
        "decision removed",
        "decision added",
        "proposals changed",
        "value changed",
        "outcome changed",
        "resolution removed",
        "resolution late",
    ],
)
def test_values_and_decisions(hurt: Hurt, seen: Callable[[Verdicts], object], engine: str) -> None:
    damage = consensus(engine)
    before = judged(damage)
    assert before.bisynchrony.holds
    assert before.consensus is not None
    assert not before.consensus.disagreements
    hurt(damage)
    assert seen(judged(damage))


@BOTH
@pytest.mark.parametrize("whose", ["committed", "offered"])
def test_a_wrong_value_is_seen_on_a_pair_too(whose: str, engine: str) -> None:
    """No third node tells of the register, but what was offered is in the record."""
    damage = record(PLAIN, engine, hosts=2)
    assert judged(damage).bisynchrony.holds
    if whose == "committed":
        damage.change(lambda e: is_a(e, Resolve), lambda e: with_(e, value=b"x" * 16), 1)
    else:
        damage.change(lambda e: is_a(e, RoundStart), lambda e: with_(e, offered=b"x" * 16), 1)
    assert judged(damage).bisynchrony.swaps["split"] == 1


# -- what is not checked says so --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (replace(LOSSY, loss_correlation=0.3), "losses of host1>leaf1"),
        (replace(PLAIN, burst_loss=GilbertElliott(0.01, 0.3, 0.7)), "only some frames are lost"),
        (replace(PLAIN, jitter_ns=2**31 - 1, delay_ns=2**31, correlation=0.5), "correlated draws reach the delay"),
    ],
    ids=["correlated loss", "half bursts", "wide correlation"],
)
def test_what_was_not_checked_is_named_and_does_not_read_trusted(way: Impairment, words: str) -> None:
    window_ns = 2**36 if way.correlation else WINDOW_NS
    damage = record(way, window_ns=window_ns, period_ns=max(window_ns, PERIOD_NS))
    fidelity = judged(damage).fidelity
    assert fidelity.answer is Trust.NOT_CHECKED, (fidelity.reasons, fidelity.unchecked)
    assert any(words in what for what in fidelity.unchecked), fidelity.unchecked


def test_a_record_of_outcomes_alone_is_not_checked() -> None:
    plan, _ = run(PLAIN)
    fidelity = judge(plan, SimEngine(events="outcomes", hops=False).run(plan)).fidelity
    assert fidelity.answer is Trust.NOT_CHECKED, fidelity.reasons
    assert "no frame's sending is in the record" in fidelity.unchecked[0]
