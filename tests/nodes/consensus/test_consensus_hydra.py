"""Hydra: one order of many sites' logs. What every log owes is tested over all engines (conformance)."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_cluster import DELAY_NS, RETRY_NS, LogCluster

from testbed.nodes.consensus.hydra import HydraMachine, Pitfall
from testbed.nodes.consensus.hydra.merge import (
    Entry,
    Merge,
    Site,
    Snapshot,
    parted,
    read_snapshot,
    skip,
    submitted,
    value_of,
)
from testbed.nodes.consensus.hydra.messages import (
    STEPS,
    Step,
    falsify,
    pack_entries,
    pack_known,
    read_entries,
    read_known,
    says,
)
from testbed.nodes.core import Effect
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.values import of_int
from testbed.nodes.frames import Kind, Message
from testbed.scenario import ScenarioError, compile_plan, from_data


class Cluster(LogCluster):
    """Of two sites: n0 leads the first half, the first of the second half that."""

    def __init__(self, n: int = 4, pitfalls: Collection[Pitfall] = (), **own: Any) -> None:
        self.configs: dict[str, NodeConfig] = {}
        super().__init__("hydra", n, lambda config: HydraMachine(config, pitfalls, **own))

    def delays(self, *names: str) -> dict[str, list[float]]:
        """How many message delays after these have submitted something each node is told it."""
        self.play(RETRY_NS // 20)  # behind what is sent every interval
        begun_ns = self.net.now_ns
        for name in names:
            self.submit(name, name.encode())
        self.play(RETRY_NS * 9 // 10)
        return {node: [(at - begun_ns) / DELAY_NS for at, _ in told] for node, told in self.told.items()}

    def compact(self, *names: str) -> None:
        """What these were told they hand over as a state."""
        for name in names:
            told = self.values(name)
            self.net.nodes[name]._do(self.machine(name).compact(len(told), b" ".join(told), self.net.now_ns))


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_where_nobody_s_turn_is_before_it_an_entry_is_told_when_its_site_has_decided_it() -> None:
    """Two delays at the site's leader, a third to everybody else."""
    assert Cluster().delays("n0") == {"n0": [2], "n1": [3], "n2": [3], "n3": [3]}


def test_an_entry_waits_for_the_turn_of_a_site_that_has_nothing_to_say() -> None:
    """Two delays in its site, one to the other, two to give up a turn there, and one back."""
    assert Cluster().delays("n2") == {"n0": [5], "n1": [6], "n2": [6], "n3": [6]}


def test_sites_that_are_busy_do_not_wait_for_each_other() -> None:
    assert Cluster().delays("n0", "n2") == {"n0": [2, 3], "n1": [3, 3], "n2": [3, 3], "n3": [3, 3]}


def test_of_one_site_nothing_is_left_but_multi_paxos() -> None:
    cluster = Cluster(3, sites=1)
    assert cluster.delays("n0") == {"n0": [2], "n1": [3], "n2": [3]}
    assert {way.frame.message.step for way in cluster.net.wire} & STEPS == set()


# -- what it bears -----------------------------------------------------------------------------------------------------


def test_each_site_bears_the_death_of_its_leader_and_not_that_of_a_majority() -> None:
    cluster = Cluster(6)
    for name in ("n0", "n3"):
        cluster.net.crash(name)
    cluster.submit("n1", b"a")
    cluster.submit("n4", b"b")
    cluster.play(60 * RETRY_NS)
    for name in ("n1", "n2", "n4", "n5"):
        assert sorted(cluster.values(name)) == [b"a", b"b"]
    cluster.net.crash("n4")
    cluster.submit("n1", b"c")
    cluster.submit("n1", b"d")
    cluster.play(200 * RETRY_NS)
    assert cluster.values("n1")[2:] == [b"c"], "its turn was given up before; the next was not"


def test_a_site_that_is_lost_whole_stops_the_order_and_nothing_is_lost_when_it_is_back() -> None:
    cluster = Cluster()
    for name in ("n2", "n3"):
        cluster.net.crash(name)
    for value in (b"a", b"b", b"c"):
        cluster.submit("n0", value)
    cluster.play(100 * RETRY_NS)
    assert cluster.values("n0") == cluster.values("n1") == [b"a"], "the second turn of the other site is not over"
    for name in ("n2", "n3"):
        cluster.net.start(name, State.KEPT)
    cluster.play(30 * RETRY_NS)
    assert all(cluster.values(name) == [b"a", b"b", b"c"] for name in cluster.told)


def test_sites_that_do_not_hear_each_other_wait_and_agree_afterwards() -> None:
    cluster = Cluster()
    cluster.cut("n2", "n3")
    for name in ("n0", "n2", "n1", "n3"):
        cluster.submit(name, name.encode())
    cluster.play(50 * RETRY_NS)
    assert cluster.values("n2") == []
    cluster.net.cuts = set()
    cluster.play(30 * RETRY_NS)
    assert all(cluster.values(name) == [b"n0", b"n2", b"n1", b"n3"] for name in cluster.told)


# -- logs that are cut short, and what has not had its turn ------------------------------------------------------------


def test_what_waits_for_its_turn_outlives_a_log_cut_short_and_all_that_held_it() -> None:
    assert told_after_a_site_s_death(()) == [b"a", b"b", b"c"]
    assert told_after_a_site_s_death((Pitfall.WAITING_FORGOTTEN,)) == []


def told_after_a_site_s_death(pitfalls: Collection[Pitfall]) -> list[bytes]:
    """The other site is away while the first one decides three entries, of which it tells one, and cuts its log short;
    then it dies, comes back, and both hear each other again. What n3 is told."""
    cluster = Cluster(4, pitfalls)
    cluster.cut("n2", "n3")
    for value in (b"a", b"b", b"c"):
        cluster.submit("n0", value)
    cluster.play(5 * RETRY_NS)
    cluster.compact("n0", "n1")
    for name in ("n0", "n1"):
        cluster.net.crash(name)
    for name in ("n0", "n1"):
        cluster.net.start(name, State.KEPT)
    cluster.net.cuts = set()
    cluster.play(60 * RETRY_NS)
    node = cluster.machine("n3")
    assert node.merge.told in (1, 3)
    held = node.data and read_snapshot(node.data, 2)
    before = held.state.split() if held else []
    return before + cluster.values("n3") if node.merge.told == 3 else []


def test_who_comes_back_without_its_disk_is_given_a_state_and_what_is_behind_it() -> None:
    cluster = Cluster()
    for value in (b"a", b"b"):
        cluster.submit("n0", value)
        cluster.submit("n2", value + value)
    cluster.play(10 * RETRY_NS)
    cluster.net.crash("n3")
    cluster.compact("n0", "n1", "n2")
    cluster.submit("n0", b"c")
    cluster.play(RETRY_NS)
    cluster.told["n3"].clear()
    cluster.net.start("n3", State.LOST)
    cluster.play(10 * RETRY_NS)
    machine = cluster.machine("n3")
    assert cluster.values("n3") == [b"c"]
    assert machine.merge.told == 5
    assert machine.paxos.learns_only


def test_turns_are_given_up_by_a_site_and_not_by_its_leader() -> None:
    assert firsts_around_a_skip(()) == {b"x"}
    assert firsts_around_a_skip((Pitfall.SKIP_NOT_AGREED,)) == {b"x", b"y"}


def firsts_around_a_skip(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """n0 gives up a turn for what n2 has entered, and only n2 and n3 hear of it; then n1 enters something."""
    cluster = Cluster(4, pitfalls)
    cluster.play(RETRY_NS // 20)
    cluster.submit("n2", b"x")
    cluster.play(3 * DELAY_NS)
    if pitfalls:
        assert cluster.values("n0") == [b"x"]
    cluster.submit("n1", b"y")
    cluster.play(30 * RETRY_NS)
    return cluster.firsts()


# -- pitfalls ----------------------------------------------------------------------------------------------------------


FOUND_HERE = (Pitfall.WAITING_FORGOTTEN, Pitfall.SKIP_NOT_AGREED)


def finds(pitfall: str) -> bool:
    """Whether a story shows the known bug (for the conformance suite); the others its worlds find."""
    planted = (Pitfall(pitfall),)
    if planted[0] is Pitfall.SKIP_NOT_AGREED:
        return len(firsts_around_a_skip(planted)) > 1
    return told_after_a_site_s_death(planted) != [b"a", b"b", b"c"]


# -- the order ---------------------------------------------------------------------------------------------------------


def entries_of(site: int, drawn: list[int]) -> list[Entry]:
    """A site's log: 0 stands for a value, other numbers for giving up turns below them."""
    return [
        Entry(1, skip(below) if below else submitted(b"%d.%d" % (site, place))) for place, below in enumerate(drawn)
    ]


LOGS = st.lists(st.lists(st.one_of(st.just(0), st.integers(1, 12)), max_size=12), min_size=1, max_size=3)


def grown(logs: list[list[Entry]], rng: random.Random, merge: Merge) -> list[bytes]:
    """What is told as these logs come in, in any order among sites."""
    told = []
    while any(site.known < len(log) for site, log in zip(merge.sites, logs, strict=True)):
        site, log = rng.choice(list(zip(merge.sites, logs, strict=True)))
        if site.known < len(log):
            site.extend(log[site.known])
        while (entry := merge.next()) is not None:
            told.append(entry.said)
    return told


@given(LOGS, st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_the_same_logs_make_the_same_order_however_they_come_in_and_wherever_they_are_cut(
    drawn: list[list[int]], seed: int
) -> None:
    """Part of them come in; then another's state that reaches further or not so far; then the rest."""
    rng, logs = random.Random(seed), [entries_of(site, log) for site, log in enumerate(drawn)]
    whole = grown(logs, rng, Merge([Site() for _ in logs]))
    other, own = Merge([Site() for _ in logs]), Merge([Site() for _ in logs])
    told = grown([log[: rng.randint(0, len(log))] for log in logs], rng, other)
    snapshot = read_snapshot(other.snapshot(b"s").pack(), len(logs))
    assert snapshot is not None
    mine = grown([log[: rng.randint(0, len(log))] for log in logs], rng, own)
    assert mine == whole[: len(mine)]
    if own.take_on(snapshot):
        mine = told
    for site, log in zip(other.sites, logs, strict=True):
        assert site.entries == log[site.start : site.known]
    assert all(ours.known >= theirs.start for ours, theirs in zip(own.sites, other.sites, strict=True))
    assert mine + grown(logs, rng, own) == whole


def test_members_are_split_into_sites_that_differ_by_one_at_the_most() -> None:
    assert parted(range(5), 2) == [(0, 1, 2), (3, 4)]
    assert parted((3, 5, 9), 3) == [(3,), (5,), (9,)]
    assert parted((4,), 2) == [(4,)]


# -- bytes and parameters ----------------------------------------------------------------------------------------------


def test_messages_come_back_and_others_are_none() -> None:
    entries = [Entry(3, submitted(of_int(7))), Entry(4, skip(9))]
    body = pack_entries(1, 5, entries)
    assert read_entries(body) == (1, 5, entries)
    assert read_entries(body[:-1]) is None
    assert says(Message(Kind.DATA, 0, Step.ENTRIES, body)) == "of site 1 from 5 on: 7, skip below 9"
    false = falsify(NodeConfig(0, "n0", (), {}, (0, 1), None), Message(Kind.DATA, 0, Step.ENTRIES, body), 1)  # type: ignore[arg-type]
    assert false is not None
    read = read_entries(false.body)
    assert read is not None
    assert [value_of(entry.said) for entry in read[2]] == [of_int(9), None]
    assert read_known(pack_known([3, 4]), 2) == [3, 4]
    assert read_known(pack_known([3, 4]), 3) is None
    snapshot = Snapshot(3, 2, 1, ((4, 3), (5, 3)), b"state")
    assert read_snapshot(snapshot.pack(), 2) == snapshot
    assert read_snapshot(snapshot._replace(turn=1 << 60).pack(), 2) is None
    assert read_snapshot(snapshot.pack(), 3) is read_snapshot(snapshot.pack()[:-1], 2) is None


def test_whatever_other_sites_say_a_node_goes_on() -> None:
    """Bytes at random, and messages with some changed."""
    cluster, rng = Cluster(), random.Random(7)
    cluster.submit("n0", b"a")
    cluster.play(RETRY_NS)
    bodies = {
        Step.KNOWN: pack_known([1, 0]),
        Step.ASK: pack_known([0, 9]),
        Step.ENTRIES: pack_entries(1, 0, [Entry(1, submitted(b"b")), Entry(1, skip(1 << 31))]),
        Step.STATE: Snapshot(9, 9, 1, ((9, 10), (9, 9)), b"s").pack(),
    }
    machine = cluster.machine("n0")
    for _ in range(2000):
        step = rng.choice(list(bodies))
        body = bytearray(bodies[step] if rng.random() < 0.7 else rng.randbytes(rng.randrange(40)))
        for _ in range(rng.randrange(3)):
            if body:
                body[rng.randrange(len(body))] = rng.randrange(256)
        effects = machine.on_message(machine.ports[2], Message(Kind.DATA, 0, step, bytes(body)), None, 0)
        assert all(isinstance(effect, get_args(Effect)) for effect in effects)


@pytest.mark.parametrize(
    ("hosts", "f", "sites", "why"),
    [
        (4, 0, 5, "4 members can't be split into 5 sites; take 4 at the most"),
        (9, 1, 4, "the smallest of 4 sites bears 0 crashes, not f = 1; take fewer, or lower f"),
    ],
)
def test_sites_that_can_not_be_are_refused(hosts: int, f: int, sites: int, why: str) -> None:
    own = {"consensus": "hydra", "f": f, "parameters": {"sites": sites}}
    data = {"name": "x", "topology": {"kind": "star", "hosts": hosts}, "protocol": own}
    with pytest.raises(ScenarioError, match=why):
        compile_plan(from_data(data))
