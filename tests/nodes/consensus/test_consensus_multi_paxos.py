"""Multi-Paxos: what is particular to it. What every log owes is tested over all engines (conformance)."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest
from log_cluster import DELAY_NS, RETRY_NS, LogCluster

from testbed.nodes.consensus.logs import NOOP, Base, Seen, Submission
from testbed.nodes.consensus.multi_paxos import MultiPaxosMachine, Pitfall
from testbed.nodes.consensus.multi_paxos.messages import Message, Step, pack_votes, read, read_votes
from testbed.nodes.consensus.multi_paxos.roles import Acceptor, Leader, Promise, Vote
from testbed.nodes.core import INDEX, LEASE
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import Kind
from testbed.nodes.frames import Message as FrameMessage

PATIENCE = 4


class Cluster(LogCluster):
    """Of Multi-Paxos."""

    def __init__(self, n: int = 3, pitfalls: Collection[Pitfall] = (), **doomed: list[Moment]) -> None:
        super().__init__("multi_paxos", n, lambda config: MultiPaxosMachine(config, pitfalls), **doomed)


# -- what it costs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_two_delays_at_the_leader_three_at_the_others_and_three_frames_each(n: int) -> None:
    cluster = Cluster(n)
    cluster.play(RETRY_NS // 2)  # between two heartbeats
    sent = cluster.sent()
    begun = cluster.net.now_ns
    cluster.submit("n0", b"x")
    cluster.play(RETRY_NS // 2)
    assert [at - begun for at, _ in cluster.told["n0"]] == [2 * DELAY_NS if n > 1 else 0]
    for node in range(1, n):
        assert [at - begun for at, _ in cluster.told[f"n{node}"]] == [3 * DELAY_NS]
    assert sum(cluster.sent().values()) - sum(sent.values()) == 3 * (n - 1), "accept, accepted, commit"


def test_what_a_follower_submits_takes_one_delay_more_and_comes_back_with_the_next() -> None:
    cluster = Cluster()
    cluster.play(RETRY_NS // 4)
    begun = cluster.net.now_ns
    cluster.submit("n1", b"x")
    cluster.play(RETRY_NS // 2)
    assert [cluster.told[name][0][0] - begun for name in ("n0", "n1", "n2")] == [300, 400, 400]


def test_entries_side_by_side_share_the_word_that_they_are_chosen() -> None:
    cluster = Cluster()
    cluster.play(RETRY_NS // 4)
    for value in (b"a", b"b", b"c"):
        cluster.submit("n0", value)
    cluster.play(RETRY_NS // 2)
    for name in cluster.told:
        assert cluster.values(name) == [b"a", b"b", b"c"]
    sent = cluster.sent()["n0"]
    cluster.submit("n0", b"d")
    assert cluster.sent()["n0"] == sent + 2


# -- leaders come and go -----------------------------------------------------------------------------------------------


def test_who_is_heard_but_hears_nobody_stops_leading() -> None:
    cluster = Cluster()
    cluster.net.cuts = {("n1", "n0"), ("n2", "n0")}
    cluster.submit("n1", b"x")
    cluster.play(20 * RETRY_NS)
    assert cluster.values("n1") == cluster.values("n2") == [b"x"]
    assert cluster.machine("n0").leader() != 0


def test_a_node_without_its_disk_learns_and_votes_for_nothing() -> None:
    cluster = Cluster()
    cluster.submit("n0", b"a")
    cluster.play(RETRY_NS)
    cluster.net.crash("n1")
    cluster.net.start("n1", State.LOST)
    cluster.submit("n0", b"b")
    cluster.play(5 * RETRY_NS)
    assert cluster.values("n1") == [b"a", b"a", b"b"], "both lives"
    cluster.net.crash("n2")
    cluster.submit("n0", b"c")
    cluster.play(100 * RETRY_NS)
    assert cluster.values("n0") == [b"a", b"b"], "one node of three that may vote is no quorum"


def test_a_slot_that_nobody_has_voted_in_is_filled_and_the_log_goes_on() -> None:
    assert after_a_hole(()) == ([b"b", b"c"], [b"b", b"c"])


def after_a_hole(pitfalls: Collection[Pitfall]) -> tuple[list[bytes], list[bytes]]:
    """What n1 and n2 are told when n0 dies whose entry for slot 0 nobody has, and for slot 1 one has."""
    cluster = Cluster(3, pitfalls)
    cluster.net.cuts = {("n0", "n1"), ("n0", "n2")}
    cluster.submit("n0", b"a")
    cluster.net.cuts = {("n0", "n2")}
    cluster.submit("n0", b"b")
    cluster.play(DELAY_NS)
    cluster.net.crash("n0")
    cluster.net.cuts = set()
    cluster.play(20 * RETRY_NS)
    cluster.submit("n2", b"c")
    cluster.play(20 * RETRY_NS)
    return cluster.values("n1"), cluster.values("n2")


def test_the_story_of_a_vote_that_was_told_before_it_was_kept() -> None:
    assert after_a_vote_and_a_crash(()) == {b"a"}
    assert len(after_a_vote_and_a_crash((Pitfall.ANSWER_NOT_KEPT,))) == 2


def after_a_vote_and_a_crash(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """The first entries anywhere when n1 dies right behind the word that it has voted, with which n0 chooses."""
    first = Cluster(3, pitfalls)
    sent = first.sent()["n1"]
    cluster = Cluster(3, pitfalls, n1=[Moment(0, after_sends=sent + 1)])
    cluster.net.cuts = {("n0", "n2")}
    cluster.submit("n0", b"a")
    cluster.play(2 * DELAY_NS)
    assert cluster.values("n0") == [b"a"]
    cluster.net.crash("n0")
    cluster.net.cuts = set()
    cluster.net.start("n1", State.KEPT)
    cluster.submit("n2", b"b")
    cluster.play(40 * RETRY_NS)
    return cluster.firsts()


def test_what_lies_behind_an_open_slot_waits_for_it() -> None:
    assert first_entries_around_a_hole(()) == {b"b"}
    assert first_entries_around_a_hole((Pitfall.COMMIT_PAST_HOLE,)) == {b"a", b"b"}


def first_entries_around_a_hole(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """As after_a_hole, but n0 has heard that the second entry is chosen before it dies."""
    cluster = Cluster(3, pitfalls)
    cluster.net.cuts = {("n0", "n1"), ("n0", "n2")}
    cluster.submit("n0", b"a")
    cluster.net.cuts = {("n0", "n2")}
    cluster.submit("n0", b"b")
    cluster.play(2 * DELAY_NS)
    cluster.net.crash("n0")
    cluster.net.cuts = set()
    cluster.play(20 * RETRY_NS)
    return cluster.firsts()


def test_slots_that_were_forgotten_are_not_free() -> None:
    assert first_entries_of_one_who_lacks_them(()) == {b"a"}
    assert first_entries_of_one_who_lacks_them((Pitfall.BASE_SAYS_NOTHING,)) == {b"a", b"c"}


def first_entries_of_one_who_lacks_them(pitfalls: Collection[Pitfall]) -> set[bytes]:
    """n2 was cut off while a and b were chosen, and leads when the others have forgotten them; states get lost."""
    cluster = Cluster(3, pitfalls)
    cluster.cut("n2")
    cluster.submit("n0", b"a")
    cluster.submit("n0", b"b")
    cluster.play(30 * RETRY_NS)
    for name in ("n0", "n1"):
        node = cluster.net.nodes[name]
        node._do(cluster.machine(name).compact(2, b"a and b", cluster.net.now_ns))
    cluster.net.crash("n0")
    cluster.net.cuts = set()
    cluster.submit("n2", b"c")
    net = cluster.net
    net.play(net.now_ns + 60 * RETRY_NS, DELAY_NS, lambda: net.wire[0].frame.message.step == Step.STATE)
    return cluster.firsts()


def hear(cluster: Cluster, name: str, src: int, said: Message) -> None:
    """``name`` hears this from ``src``, however late."""
    cluster.hear(name, src, FrameMessage(Kind.DATA, said.ballot, said.step, said.body()))


def test_what_is_known_to_be_chosen_is_not_lost_to_an_older_vote_that_is_asked_for_late() -> None:
    assert learned_out_of_order(()) == [b"0", b"1"]
    assert learned_out_of_order((Pitfall.LEARNED_BINDS_NOT,)) == [b"0", b"stale"]


def learned_out_of_order(pitfalls: Collection[Pitfall]) -> list[bytes]:
    """What n2 is told that learns of slot 1 before slot 0; in between an accept arrives that a dead leader had sent."""
    cluster = Cluster(5, pitfalls)
    one, other = (Submission(1, 1, place, b"%d" % place).entry() for place in (0, 1))
    stale = Submission(0, 1, 0, b"stale").entry()
    hear(cluster, "n2", 1, Message(Step.BEAT, 7, (2, 1, 1)))
    hear(cluster, "n2", 1, Message(Step.CHOSEN, 7, (1, 7), other))
    hear(cluster, "n2", 0, Message(Step.ACCEPT, 1, (1, 0), stale))
    hear(cluster, "n2", 1, Message(Step.CHOSEN, 7, (0, 7), one))
    return cluster.values("n2")


@pytest.mark.parametrize("step", [Step.CHOSEN, Step.STATE])
def test_a_leader_that_is_told_what_a_later_one_has_brought_about_leads_no_more(step: Step) -> None:
    """Else it would say that these slots are chosen, and who voted in its ballot would take its own votes for that."""
    cluster = Cluster()
    entry = Submission(1, 1, 0, b"later").entry()
    told = {
        Step.CHOSEN: Message(step, 5, (0, 5), entry),
        Step.STATE: Message(step, 5, (), Base(1, 1, Seen().pack(), b"later").pack()),
    }[step]
    hear(cluster, "n0", 1, told)
    assert cluster.machine("n0").leader() is None


def test_who_was_told_by_one_of_a_later_term_knows_of_it_in_its_next_life() -> None:
    """A state that it hands on must not seem to be of an earlier one."""
    cluster = Cluster()
    cluster.net.cuts = {(src, "n1") for src in ("n0", "n2")}
    hear(cluster, "n1", 2, Message(Step.STATE, 6, (), Base(1, 1, Seen().pack(), b"later").pack()))
    cluster.net.crash("n1")
    cluster.net.start("n1", State.KEPT)
    assert cluster.machine("n1").term == 6


# -- reads -------------------------------------------------------------------------------------------------------------


def test_a_lease_answers_at_once_and_a_read_index_after_a_round_trip() -> None:
    cluster = Cluster()
    cluster.submit("n0", b"a")
    cluster.play(RETRY_NS)
    begun = cluster.net.now_ns
    cluster.read("n0", 1, LEASE)
    cluster.read("n0", 2, INDEX)
    cluster.read("n1", 3, LEASE)
    cluster.read("n1", 4, INDEX)
    cluster.play(RETRY_NS // 2)
    assert sorted((read.number, at - begun, read.below) for at, read in cluster.readable) == [
        (1, 0, 1), (2, 200, 1), (3, 200, 1), (4, 400, 1)]  # fmt: skip


def test_a_leader_that_is_cut_off_reads_until_its_lease_ends_and_no_longer() -> None:
    cluster = Cluster()
    cluster.cut("n0")
    begun = cluster.net.now_ns
    for number in range(60):
        cluster.read("n0", number, LEASE)
        cluster.play(DELAY_NS)
    last = max(at for at, _ in cluster.readable)
    assert (PATIENCE - 2) * RETRY_NS < last - begun < PATIENCE * RETRY_NS
    taken_over = cluster.net.now_ns
    cluster.submit("n1", b"x")
    cluster.play(RETRY_NS)
    assert cluster.told["n1"][0][0] > taken_over > last


def test_who_has_given_a_lease_promises_nothing_to_one_who_does_not_hear_the_leader() -> None:
    assert not reads_while_another_leads(())
    assert reads_while_another_leads((Pitfall.LEASE_NOT_KEPT,))


def reads_while_another_leads(pitfalls: Collection[Pitfall]) -> bool:
    """Whether n0 answers a read by its lease from before what n2 was told, when these two do not hear each other."""
    cluster = Cluster(3, pitfalls)
    cluster.net.cuts = {("n0", "n2"), ("n2", "n0")}
    cluster.submit("n2", b"x")
    for number in range(300):
        cluster.read("n0", number, LEASE)
        if any(at < cluster.net.now_ns for at, _ in cluster.told["n2"]):
            return any(at == cluster.net.now_ns and read.below == 0 for at, read in cluster.readable)
        cluster.play(DELAY_NS)
    return False


# -- roles -------------------------------------------------------------------------------------------------------------


def test_what_may_have_been_chosen_is_proposed_again_and_nothing_else_has_a_place() -> None:
    leader = Leader(7, 2, 2, 3)
    leader.promises = {0: Promise(0, {3: Vote(1, b"old"), 6: Vote(5, b"six")}), 1: Promise(0, {3: Vote(4, b"new")})}
    assert leader.inherited(3) == {3: b"new", 4: NOOP, 5: NOOP, 6: b"six"}
    assert leader.inherited(7) == {}
    assert leader.may_lead(3)
    leader.promises[2] = Promise(5, {})
    assert not leader.may_lead(4), "one of them knows of slots only that they are over"
    assert leader.may_lead(5)


def chosen_by_chance(seed: int, pitfalls: Collection[Pitfall]) -> set[bytes]:
    """What three acceptors choose in one slot when three leaders ask them in any order, and answers are lost."""
    rng = random.Random(seed)
    acceptors = [Acceptor(pitfalls) for _ in range(3)]
    leaders = [Leader(ballot, 2, 2, 0, pitfalls) for ballot in (1, 2, 3)]
    entries: dict[int, bytes] = {}
    votes: dict[int, set[int]] = {1: set(), 2: set(), 3: set()}
    for _ in range(24):
        leader, name = rng.choice(leaders), rng.randrange(3)
        ballot = leader.ballot
        if ballot in entries:
            if acceptors[name].accept(ballot, 0, entries[ballot]):
                votes[ballot].add(name)
        elif acceptors[name].prepare(ballot) and rng.random() < 0.8:
            leader.promises[name] = Promise(0, dict(acceptors[name].votes))
            if leader.may_lead(0):
                entries[ballot] = leader.inherited(0).get(0, b"own %d" % ballot)
    return {entries[ballot] for ballot, voters in votes.items() if len(voters) > 1}


WALKS = 3000


def test_no_two_entries_are_chosen_in_a_slot() -> None:
    assert max(len(chosen_by_chance(seed, ())) for seed in range(WALKS)) == 1


FOUND_HERE = (
    Pitfall.ACCEPT_KEEPS_PROMISE,
    Pitfall.ANY_VOTE,
    Pitfall.HOLE_LEFT_OPEN,
    Pitfall.COMMIT_PAST_HOLE,
    Pitfall.LEARNED_BINDS_NOT,
    Pitfall.BASE_SAYS_NOTHING,
    Pitfall.ANSWER_NOT_KEPT,
    Pitfall.LEASE_NOT_KEPT,
)


def finds(pitfall: str) -> bool:
    """Whether a walk over the roles, or a story, shows the known bug (for the conformance suite)."""
    planted = (Pitfall(pitfall),)
    match planted[0]:
        case Pitfall.HOLE_LEFT_OPEN:
            return after_a_hole(planted) != after_a_hole(())
        case Pitfall.ANSWER_NOT_KEPT:
            return len(after_a_vote_and_a_crash(planted)) > 1
        case Pitfall.COMMIT_PAST_HOLE:
            return len(first_entries_around_a_hole(planted)) > 1
        case Pitfall.LEARNED_BINDS_NOT:
            return learned_out_of_order(planted) != learned_out_of_order(())
        case Pitfall.BASE_SAYS_NOTHING:
            return len(first_entries_of_one_who_lacks_them(planted)) > 1
        case Pitfall.LEASE_NOT_KEPT:
            return reads_while_another_leads(planted)
        case Pitfall.ACCEPT_KEEPS_PROMISE | Pitfall.ANY_VOTE:
            return any(len(chosen_by_chance(seed, planted)) > 1 for seed in range(WALKS))
        case _:
            return False


# -- bytes -------------------------------------------------------------------------------------------------------------


def test_messages_come_back_and_others_are_none() -> None:
    for step, numbers, data in (
        (Step.PREPARE, (3,), b""),
        (Step.ACCEPT, (3, 2), b"entry"),
        (Step.BEAT, (1, 2, 3), b""),
    ):
        said = Message(step, 5, numbers, data)
        assert read(FrameMessage(Kind.DATA, 5, step, said.body())) == said
    assert read(FrameMessage(Kind.DATA, 5, Step.PREPARE, bytes(9))) is None
    assert read(FrameMessage(Kind.DATA, 0, Step.PREPARE, bytes(8))) is None
    assert read(FrameMessage(Kind.DATA, 5, 99, bytes(8))) is None
    assert read(FrameMessage(Kind.DATA, 5, Step.REJECT, b"\xff" * 4)) is None, "no ballot is above all others"
    assert read(FrameMessage(Kind.DATA, 5, Step.CHOSEN, bytes(8) + b"\xff" * 4)) is None
    votes = {3: Vote(1, b"x"), 9: Vote(2, b"")}
    assert read_votes(pack_votes(votes)) == votes
    assert read_votes(b"\0\0\0\1x") is None
