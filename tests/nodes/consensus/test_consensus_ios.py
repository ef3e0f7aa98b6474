"""Ios: what delegation adds to Multi-Paxos. What every log owes is tested over all engines (conformance)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest
from log_cluster import DELAY_NS, RETRY_NS, LogCluster

from testbed.nodes.consensus.ios import IosMachine, Pitfall
from testbed.nodes.consensus.ios.machine import Delegate
from testbed.nodes.consensus.ios.messages import Done, Order, Step, read, says
from testbed.nodes.consensus.logs import Submission
from testbed.nodes.consensus.multi_paxos.messages import Message
from testbed.nodes.consensus.multi_paxos.messages import Step as PaxosStep
from testbed.nodes.core import INDEX, LEASE
from testbed.nodes.core.disk import State
from testbed.nodes.frames import Kind
from testbed.nodes.frames import Message as FrameMessage
from testbed.nodes.registry import engine_spec
from testbed.scenario import ScenarioError, compile_plan, from_data


class Cluster(LogCluster):
    """n0 leads, in ballot 1."""

    def __init__(self, n: int = 3, pitfalls: Collection[Pitfall] = (), **own: Any) -> None:
        super().__init__("ios", n, lambda config: IosMachine(config, pitfalls, **own))

    def delays(self, name: str) -> dict[str, float]:
        """How many message delays after ``name`` has submitted something each node is told it."""
        self.play(RETRY_NS // 4)  # between two heartbeats
        begun_ns = self.net.now_ns
        self.submit(name, b"x")
        self.play(RETRY_NS // 2)
        return {node: (told[-1][0] - begun_ns) / DELAY_NS for node, told in self.told.items()}


def entry(value: bytes) -> bytes:
    """As the node of rank 0 submits it first."""
    return Submission(0, 1, 0, value).entry()


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_of_three_the_coordinator_is_told_after_one_delay_and_all_others_after_two() -> None:
    """The leader's vote comes with the order, and the coordinator's own is the second of three."""
    assert Cluster(3).delays("n0") == {"n1": 1, "n0": 2, "n2": 2}


@pytest.mark.parametrize("n", [4, 5, 7])
def test_of_more_the_coordinator_is_told_after_three_delays_and_all_others_after_four(n: int) -> None:
    assert Cluster(n).delays("n0") == {"n1": 3} | {f"n{node}": 4 for node in range(n) if node != 1}


def test_two_votes_are_enough_where_a_new_leader_asks_all_but_one() -> None:
    assert Cluster(5, replication=2).delays("n0") == {"n1": 1} | {f"n{node}": 2 for node in (0, 2, 3, 4)}


def test_who_submits_coordinates_where_it_is_so_asked_and_is_told_after_two_or_four_delays() -> None:
    assert Cluster(3, delegate=Delegate.SUBMITTER).delays("n2") == {"n0": 3, "n1": 3, "n2": 2}
    assert Cluster(5, delegate=Delegate.SUBMITTER).delays("n2")["n2"] == 4


def test_a_single_node_needs_nobody() -> None:
    assert Cluster(1).delays("n0") == {"n0": 0}


@pytest.mark.parametrize("n", [2, 3, 5])
def test_of_an_entry_s_frames_the_leader_sends_one_whatever_the_number_of_members(n: int) -> None:
    cluster = Cluster(n)
    cluster.play(RETRY_NS // 2)
    before = Counter(cluster.sent())
    for value in range(12):
        cluster.submit("n0", b"%d" % value)
        cluster.play(RETRY_NS // 40)
    cluster.play(RETRY_NS // 100)
    asked = Counter(cluster.sent())
    asked.subtract(before)
    assert asked["n0"] == 12
    cluster = Cluster(n)
    cluster.play(RETRY_NS // 2)
    before = Counter(cluster.sent())
    cluster.submit("n0", b"x")
    cluster.play(RETRY_NS * 45 // 100)
    assert sum(cluster.sent().values()) - sum(before.values()) == 3 * n - 4, "order, accepts, votes, done"


def test_coordinators_take_turns_unless_one_is_asked_for() -> None:
    def coordinators(delegate: Delegate) -> list[str]:
        cluster = Cluster(4, delegate=delegate)
        for value in range(6):
            cluster.submit("n0", b"%d" % value)
        orders = [way.frame for way in cluster.net.wire if way.frame.message.step == Step.ORDER]
        return [cluster.net.names[frame.dst] for frame in orders]

    assert coordinators(Delegate.ROTATE) == ["n1", "n2", "n3", "n1", "n2", "n3"]
    assert coordinators(Delegate.NEXT) == ["n1"] * 6


# -- the coordinator fails ---------------------------------------------------------------------------------------------


def test_what_a_dead_coordinator_leaves_another_does_and_the_dead_one_gets_nothing_more() -> None:
    assert told_when_the_coordinator_dies(()) == [b"a", b"b", b"c"]
    assert told_when_the_coordinator_dies((Pitfall.COORDINATOR_FAILURE_IGNORED,)) == []


def told_when_the_coordinator_dies(pitfalls: Collection[Pitfall]) -> list[bytes]:
    """What n0 is told when n1 dies with an order; then it gets two more."""
    cluster = Cluster(3, pitfalls)
    cluster.submit("n0", b"a")
    cluster.net.crash("n1")
    cluster.play(6 * RETRY_NS)
    cluster.submit("n0", b"b")
    cluster.submit("n0", b"c")
    cluster.play(RETRY_NS // 2)
    return cluster.values("n0")


def test_a_coordinator_that_is_heard_but_reaches_nobody_else_holds_an_entry_up_and_no_longer() -> None:
    cluster = Cluster(5, delegate=Delegate.NEXT)
    cluster.net.cuts = {("n1", name) for name in ("n2", "n3", "n4")}
    cluster.submit("n0", b"a")
    cluster.play(5 * RETRY_NS)
    assert all(cluster.values(name) == [b"a"] for name in cluster.told)


def test_a_coordinator_that_comes_back_with_its_disk_has_voted_and_coordinates_nothing() -> None:
    """It dies when it has asked the others; what it had counted is gone, its vote is not."""
    cluster = Cluster(5)
    cluster.submit("n0", b"a")
    cluster.play(DELAY_NS)
    cluster.net.crash("n1")
    cluster.net.start("n1", State.KEPT)
    assert cluster.machine("n1").acceptor.votes
    assert not cluster.machine("n1").coordinated
    cluster.play(10 * RETRY_NS)
    assert all(cluster.values(name) == [b"a"] for name in cluster.told)


def test_three_bear_the_death_of_the_leader_with_an_order_on_its_way_and_not_that_of_two() -> None:
    cluster = Cluster(3)
    cluster.submit("n0", b"a")
    cluster.play(DELAY_NS)
    cluster.net.crash("n0")
    cluster.submit("n2", b"b")
    cluster.play(30 * RETRY_NS)
    assert cluster.values("n1") == cluster.values("n2") == [b"a", b"b"]
    cluster.net.crash("n1")
    cluster.submit("n2", b"c")
    cluster.play(100 * RETRY_NS)
    assert cluster.values("n2") == [b"a", b"b"]


def test_small_replication_quorums_bear_followers_deaths_and_hardly_any_leader_s() -> None:
    """Two of five: the leader and one more go on alone; but a new leader needs four."""
    cluster = Cluster(5, replication=2)
    for name in ("n2", "n3", "n4"):
        cluster.net.crash(name)
    cluster.play(3 * RETRY_NS)
    cluster.submit("n0", b"a")
    cluster.play(RETRY_NS)
    assert cluster.values("n0") == cluster.values("n1") == [b"a"]
    cluster = Cluster(5, replication=2)
    for name in ("n0", "n4"):
        cluster.net.crash(name)
    cluster.submit("n1", b"a")
    cluster.play(200 * RETRY_NS)
    assert cluster.values("n1") == []


# -- orders of an old leader, orders that come twice -------------------------------------------------------------------


def test_an_order_of_a_leader_that_is_none_any_more_is_not_carried_out() -> None:
    assert firsts_after_a_stale_order(()) == {b"b"}
    assert firsts_after_a_stale_order((Pitfall.STALE_DELEGATION,)) == {b"a", b"b"}


def firsts_after_a_stale_order(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """n0's order comes to n1 when n1 leads, and has another entry in that slot, which n2 has brought about already."""
    cluster = Cluster(3, pitfalls)
    cluster.cut("n0")
    while cluster.machine("n1").leader() != 1:
        cluster.play(DELAY_NS)
    cluster.net.cuts.add(("n2", "n1"))
    cluster.submit("n1", b"b")
    cluster.play(DELAY_NS)
    assert cluster.firsts() == {b"b"}
    order = Order(1, 0, 0, entry(b"a"))
    cluster.hear("n1", 0, FrameMessage(Kind.DATA, 1, Step.ORDER, order.body()))
    cluster.net.cuts = set()
    cluster.play(20 * RETRY_NS)
    return cluster.firsts()


def test_an_entry_that_is_late_keeps_its_slot() -> None:
    assert told_around_a_late_order(()) == ([b"a", b"b"], [b"a", b"b"])
    told, elsewhere = told_around_a_late_order((Pitfall.TWO_COORDINATORS_ONE_SLOT,))
    assert (told, elsewhere) == ([b"a", b"b"], [b"b", b"a"])


def told_around_a_late_order(pitfalls: Collection[Pitfall]) -> tuple[list[bytes], list[bytes]]:
    """What n1 and n2 are told when n1 has done as it was ordered, and nobody hears of it for a while."""
    cluster = Cluster(3, pitfalls)
    cluster.net.cuts = {("n1", "n0"), ("n1", "n2")}
    cluster.submit("n0", b"a")
    cluster.submit("n0", b"b")
    cluster.play(5 * RETRY_NS)
    cluster.net.cuts = set()
    cluster.play(5 * RETRY_NS)
    return cluster.values("n1"), cluster.values("n2")


# -- votes -------------------------------------------------------------------------------------------------------------


def test_the_vote_that_comes_with_an_order_is_on_the_leader_s_disk() -> None:
    assert firsts_after_an_order_and_two_deaths(()) == {b"a"}
    assert firsts_after_an_order_and_two_deaths((Pitfall.ORDER_WITHOUT_VOTE,)) == {b"a", b"b"}


def firsts_after_an_order_and_two_deaths(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """The coordinator tells its holder, and dies; the leader dies too, and comes back with its disk."""
    cluster = Cluster(3, pitfalls)
    cluster.net.cuts = {("n1", "n0"), ("n1", "n2")}
    cluster.submit("n0", b"a")
    cluster.play(DELAY_NS)
    assert cluster.values("n1") == [b"a"]
    cluster.net.crash("n0")
    cluster.net.crash("n1")
    cluster.net.start("n0", State.KEPT)
    cluster.submit("n2", b"b")
    cluster.play(60 * RETRY_NS)
    return cluster.firsts()


def test_who_takes_over_asks_one_of_every_replication_quorum() -> None:
    assert firsts_when_one_is_asked(()) == {b"a"}
    assert firsts_when_one_is_asked((Pitfall.DISJOINT_QUORUMS,)) == {b"a", b"b"}


def firsts_when_one_is_asked(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """n2 misses the first entry, and the leader dies; before anybody else takes over n2 asks itself."""
    cluster = Cluster(3, pitfalls)
    cluster.cut("n2")
    cluster.submit("n0", b"a")
    cluster.play(RETRY_NS)
    cluster.net.crash("n0")
    cluster.submit("n2", b"b")
    for _ in range(1000):
        if cluster.machine("n2").leader() == 2:
            break
        cluster.play(DELAY_NS)
    cluster.net.cuts = set()
    cluster.play(30 * RETRY_NS)
    return cluster.firsts()


def test_one_who_votes_twice_has_one_vote() -> None:
    assert not chosen_by_three_of_four(())
    assert chosen_by_three_of_four((Pitfall.VOTE_COUNTED_TWICE,))


def chosen_by_three_of_four(pitfalls: Collection[Pitfall]) -> bool:
    """Whether n1 is told what it, the leader and n2 have voted for where four votes are needed; n2's comes twice."""
    cluster = Cluster(5, pitfalls, replication=4)
    cluster.net.cuts = {("n1", name) for name in ("n0", "n3", "n4")}
    cluster.submit("n0", b"a")
    cluster.play(3 * DELAY_NS)
    voted = Message(PaxosStep.ACCEPTED, 1, (0,))
    cluster.hear("n1", 2, FrameMessage(Kind.DATA, 1, voted.step, voted.body()))
    return cluster.values("n1") == [b"a"]


def test_what_is_done_is_what_was_voted_for_in_that_ballot() -> None:
    assert firsts_of_one_with_an_old_vote(()) == {b"b"}
    assert firsts_of_one_with_an_old_vote((Pitfall.DONE_FITS_ANY_VOTE,)) == {b"a", b"b"}


def firsts_of_one_with_an_old_vote(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """n4 alone has voted for what n0 had in mind before it died; the next leader has another entry there, and n4 hears
    that it is done before it hears which."""
    cluster = Cluster(5, pitfalls)
    net = cluster.net
    accept = Message(PaxosStep.ACCEPT, 1, (0, 0), entry(b"a"))
    cluster.hear("n4", 0, FrameMessage(Kind.DATA, 1, accept.step, accept.body()))
    cluster.net.crash("n0")
    cluster.submit("n1", b"b")
    net.play(
        net.now_ns + 6 * RETRY_NS,
        DELAY_NS,
        lambda: net.wire[0].frame.dst == 4 and net.wire[0].frame.message.step in (PaxosStep.ACCEPT, PaxosStep.BEAT),
    )
    assert cluster.values("n1") == [b"b"]
    cluster.play(10 * RETRY_NS)
    return cluster.firsts()


# -- reads -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [LEASE, INDEX])
def test_a_read_waits_for_what_was_ordered_before_it(mode: str) -> None:
    """The coordinator's holder may know already what the leader has no word of."""
    assert read_behind_an_order(mode, ()) == (1, 1)
    assert read_behind_an_order(mode, (Pitfall.READ_BEHIND_ORDERS,)) == (0, 1)


def read_behind_an_order(mode: str, pitfalls: Collection[Pitfall]) -> tuple[int, int]:
    """How many entries a read at the leader sees, and how many n1 had been told when it was asked for."""
    cluster = Cluster(3, pitfalls)
    cluster.net.cuts = {("n1", "n0")}
    cluster.submit("n0", b"a")
    cluster.play(DELAY_NS)
    told = len(cluster.values("n1"))
    cluster.read("n0", 1, mode)
    cluster.play(RETRY_NS // 2)
    cluster.net.cuts = set()
    cluster.play(5 * RETRY_NS)
    return cluster.readable[0][1].below, told


# -- pitfalls ----------------------------------------------------------------------------------------------------------


FOUND_HERE = tuple(Pitfall)


def finds(pitfall: str) -> bool:
    """Whether a story shows the known bug (for the conformance suite)."""
    planted = (Pitfall(pitfall),)
    match planted[0]:
        case Pitfall.COORDINATOR_FAILURE_IGNORED:
            return told_when_the_coordinator_dies(planted) == []
        case Pitfall.DISJOINT_QUORUMS:
            return len(firsts_when_one_is_asked(planted)) > 1
        case Pitfall.TWO_COORDINATORS_ONE_SLOT:
            one, other = told_around_a_late_order(planted)
            return one != other
        case Pitfall.STALE_DELEGATION:
            return len(firsts_after_a_stale_order(planted)) > 1
        case Pitfall.ORDER_WITHOUT_VOTE:
            return len(firsts_after_an_order_and_two_deaths(planted)) > 1
        case Pitfall.VOTE_COUNTED_TWICE:
            return chosen_by_three_of_four(planted)
        case Pitfall.DONE_FITS_ANY_VOTE:
            return len(firsts_of_one_with_an_old_vote(planted)) > 1
        case Pitfall.READ_BEHIND_ORDERS:
            seen, told = read_behind_an_order(LEASE, planted)
            return seen < told
        case _:
            return False


# -- bytes and parameters ----------------------------------------------------------------------------------------------


def test_messages_come_back_and_others_are_none() -> None:
    order, done = Order(5, 3, 2, entry(b"x")), Done(5, 3)
    for said, step in ((order, Step.ORDER), (done, Step.DONE)):
        assert read(FrameMessage(Kind.DATA, 5, step, said.body())) == said
        assert read(FrameMessage(Kind.DATA, 0, step, said.body())) is None, "no ballot"
        assert read(FrameMessage(Kind.DATA, 1 << 31, step, said.body())) is None
        assert read(FrameMessage(Kind.DATA, 5, step, said.body()[:7])) is None
    assert says(FrameMessage(Kind.DATA, 5, Step.DONE, done.body())) == "done, ballot 5, slot 3"


@pytest.mark.parametrize(
    ("parameters", "f", "why"),
    [
        ({"replication": 1}, 1, "a leader and a coordinator replicate among 5 members; take replication from 2 to 5"),
        ({"replication": 6}, 1, "a leader and a coordinator replicate among 5 members; take replication from 2 to 5"),
        ({"replication": 2}, 2, "replication 2 of 5 bears 1 crashes, not f = 2; change either"),
        ({"replication": 4}, 2, "replication 4 of 5 bears 1 crashes, not f = 2; change either"),
        ({"delegate": "everybody"}, 1, "delegate"),
    ],
)
def test_parameters_that_can_not_be_are_refused(parameters: dict[str, Any], f: int, why: str) -> None:
    data = {"name": "x", "topology": {"kind": "star", "hosts": 5}}
    with pytest.raises(ScenarioError, match=why):
        compile_plan(from_data(data | {"protocol": {"consensus": "ios", "f": f, "parameters": parameters}}))


def test_a_plan_carries_them() -> None:
    own = {"replication": 4, "delegate": "submitter"}
    data = {"name": "x", "topology": {"kind": "star", "hosts": 5}, "protocol": {"consensus": "ios", "parameters": own}}
    plan = compile_plan(from_data(data))
    machine = engine_spec("ios").build(plan.node_config("host1"), ())
    assert isinstance(machine, IosMachine)
    assert (machine.quorum, machine.recovery, machine.delegate) == (4, 2, Delegate.SUBMITTER)
