"""Zab: two message delays, elections, epochs promised and begun, the order of primaries; one log whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from log_world import RETRY_NS, Clocked, LogWorld, Staged, goes_wrong, must

from nodes.consensus.zab.history import Zxid
from nodes.consensus.zab.machine import BATCH, ZabMachine
from nodes.consensus.zab.messages import Step
from nodes.consensus.zab.pitfalls import Pitfall
from nodes.core import Effects
from nodes.core.config import NodeConfig
from nodes.core.disk import State
from nodes.core.moments import Moment

PATIENCE = 3
T = PATIENCE * RETRY_NS
VOTING = (Step.VOTE,)
DISCOVERY = (Step.CEPOCH, Step.NEWEPOCH, Step.ACK_EPOCH)


def built(pitfalls: Iterable[Pitfall] = (), batch: int = BATCH) -> Callable[[NodeConfig], ZabMachine]:
    return lambda config: ZabMachine(config, frozenset(pitfalls), PATIENCE, batch)


def zab(world: LogWorld, number: int) -> ZabMachine:
    """The machine of a node that is up."""
    machine: ZabMachine = world.nodes[number].machine.machine
    return machine


def leaders(world: LogWorld) -> list[int]:
    """Those that a quorum has the history of."""
    up = [node.config.node for node in world.nodes if node.machine is not None]
    return [number for number in up if zab(world, number).leader() == number]


def value(number: int) -> bytes:
    """The number-th value that a world submits, from 1 on."""
    return number.to_bytes(4, "big")


def running(n: int = 3, seed: int = 0) -> Clocked:
    """A world in which node 0 leads, and the others follow it."""
    world = Clocked(n, built(), seed)
    world.wait(RETRY_NS)
    assert leaders(world) == [0]
    world.sent = []
    return world


# -- without failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 5, 7])
def test_the_first_leader_leads_after_seven_message_delays(n: int) -> None:
    """Votes, and votes for the first; CEPOCH, NEWEPOCH, its answer; NEWLEADER, its answer."""
    world = Clocked(n, built())
    world.wait(7 * world.DELAY_NS - 1)
    assert leaders(world) == []
    world.wait(1)
    assert leaders(world) == [0]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_what_the_leader_submits_is_decided_after_two_message_delays_there_and_three_elsewhere(n: int) -> None:
    world = running(n)
    asked_ns = world.now_ns + 1
    world.wait(1)  # pings are under way by themselves
    world.sent = []
    world.submit(0)
    world.wait(3 * world.DELAY_NS)
    assert {number: (at_ns - asked_ns) / world.DELAY_NS for at_ns, number, _ in world.told} == {
        number: 2 if number == 0 else 3 for number in range(n)
    }
    of_entry = [frame for _, frame in world.sent if frame.message.step in (Step.PROPOSE, Step.ACK, Step.COMMIT)]
    assert len(of_entry) == 3 * (n - 1)


def test_what_another_submits_takes_one_delay_more_to_the_leader() -> None:
    world = running()
    asked_ns = world.now_ns
    world.submit(1)
    world.wait(5 * world.DELAY_NS)
    assert {number: (at_ns - asked_ns) / world.DELAY_NS for at_ns, number, _ in world.told} == {0: 3, 1: 4, 2: 4}


def test_an_idle_leader_pings_each_every_retry_and_is_answered() -> None:
    world = running(5)
    world.wait(1)
    world.sent = []
    world.wait(10 * RETRY_NS)
    steps = [frame.message.step for _, frame in world.sent]
    assert steps.count(Step.PING) == steps.count(Step.PONG) == 10 * 4
    assert len(steps) == 10 * 2 * 4


def test_a_single_node_decides_alone_and_at_once() -> None:
    world = Clocked(1, built())
    world.submit(0)
    assert world.told == [(world.now_ns, 0, 0)]
    assert not world.sent


def test_a_read_at_the_leader_takes_one_round_trip_and_no_entry() -> None:
    world = running()
    world.submit(0)
    world.wait(5 * world.DELAY_NS)
    for number in (0, 1):
        world.read(number)
        world.wait((2 if number == 0 else 4) * world.DELAY_NS - 1)
        assert len(world.reads) == 1
        world.wait(1)
        assert not world.reads
    assert world.answered == 2
    assert zab(world, 0).history.end == 1


# -- elections, and who is borne ---------------------------------------------------------------------------------------


def test_when_the_leader_dies_another_leads_within_two_patiences_and_goes_on() -> None:
    for seed in range(5):
        world = running(3, seed)
        world.submit(0)
        world.wait(50 + seed * 17)
        world.kill(0)
        world.submit(1)
        died_ns = world.now_ns
        world.wait(3 * T)
        assert leaders(world) == [1]
        assert world.order == [value(1), value(2)]
        assert min(at_ns for at_ns, _, index in world.told if index == 1) - died_ns <= 2 * T + 10 * world.DELAY_NS


def test_whose_history_is_the_newest_leads() -> None:
    """Node 1 would be chosen before node 2, did not node 2 have an entry that it lacks."""
    world = running()
    world.cuts = {(0, 1), (1, 0)}
    world.submit(0)
    world.wait(2 * world.DELAY_NS)
    world.kill(0)
    world.cuts = set()
    world.wait(5 * T)
    assert leaders(world) == [2]
    assert world.held[1] == world.held[2] == world.order == [value(1)]


@pytest.mark.parametrize(("n", "f"), [(3, 1), (4, 1), (5, 2)])
def test_it_goes_on_without_f_and_stands_still_without_one_more(n: int, f: int) -> None:
    world = running(n)
    for number in range(f):
        world.submit(number)
        world.wait(50)
        world.kill(number)
        world.wait(4 * T)
        world.submit(n - 1)
        world.wait(50)
    assert len(world.order) == 2 * f
    world.kill(f)
    world.submit(n - 1)
    world.wait(40 * T)
    assert len(world.order) == 2 * f
    assert leaders(world) == []
    world.start(f, State.KEPT)
    world.wait(8 * T)
    assert len(world.order) == 2 * f + 1
    assert all(world.held[number] == world.order for number in range(f, n))


def test_without_a_majority_nothing_is_decided_and_nobody_leads() -> None:
    world = running(4)
    world.part(0, 1)
    for number in range(4):
        world.submit(number)
    world.wait(20 * T)
    assert leaders(world) == []
    assert world.order == []
    world.part()
    world.wait(8 * T)
    assert len(world.order) == 4


def test_who_was_away_follows_without_an_election() -> None:
    world = running()
    world.part(2)
    for _ in range(5):
        world.submit(0)
    world.wait(10 * T)
    world.part()
    world.wait(2 * T)
    assert leaders(world) == [0]
    assert zab(world, 0).accepted == 1
    assert world.held[2] == world.order
    assert len(world.order) == 5


def test_who_has_promised_a_later_epoch_than_the_leaders_is_followed_by_one_above_it() -> None:
    """Or it would stay outside for as long as the leader leads."""
    world = running()
    world.submit(0)
    world.wait(T)
    zab(world, 2).accepted = 7
    world.wait(8 * T)
    (leader,) = leaders(world)
    assert {zab(world, number).current for number in range(3)} == {8}
    world.submit(leader)
    world.wait(T)
    assert all(held == world.order for held in world.held)
    assert len(world.order) == 2


def test_where_frames_take_longer_than_anybody_waits_waits_grow_until_one_leads() -> None:
    world = Clocked(3, built())
    world.DELAY_NS = 5 * T
    world.wait(400 * T)
    (leader,) = leaders(world)
    world.submit(leader)
    world.wait(30 * T)
    assert all(held == [value(1)] for held in world.held)


# -- schedules by hand -------------------------------------------------------------------------------------------------


class Stage(Staged):
    """Zab on it. ends: node -> the moment at which its next life is to end."""

    def __init__(self, n: int, pitfalls: Iterable[Pitfall]) -> None:
        self.ends: dict[int, Moment] = {}
        super().__init__(n, built(pitfalls))
        self.lose()

    def moments(self, node: Any) -> Sequence[Moment]:
        return [self.ends.pop(node.config.node)] if node.config.node in self.ends else []

    def told(self, number: int, deed: Callable[[ZabMachine], Effects]) -> None:
        """Something befalls its machine."""
        machine = zab(self, number)
        self.nodes[number]._do(machine._done(deed(machine), self.now_ns))

    def look(self, *numbers: int) -> None:
        """These give up whom they follow, or that they lead; all that waits is lost."""
        for number in numbers:
            self.told(number, lambda machine: machine._look(self.now_ns))
        self.lose()

    def impose(self, leader: int, *followers: int) -> None:
        """An oracle, right or wrong, says that these are to follow that one, who begins to lead."""
        self.look(leader, *followers)
        self.told(leader, lambda machine: machine._lead(self.now_ns))
        self.join(leader, *followers)

    def join(self, leader: int, *followers: int) -> None:
        """The same, of one that leads already; it has beaten since it was asked last."""
        self.fire(leader, "tick")
        self.lose()
        for number in followers:
            self.told(number, lambda machine: machine._join(leader, self.now_ns))

    def elect(self, *numbers: int) -> None:
        """These look for a leader among themselves, and go through all phases with the one that they find."""
        self.look(*numbers)
        for number in numbers:
            self.fire(number, "tick")
        self.let(*numbers, only=VOTING)
        for number in numbers:
            self.fire(number, "settle")
        self.let(*numbers)


def begun(n: int, pitfalls: Iterable[Pitfall]) -> Stage:
    """Node 0 leads, and all others have its history, which is empty."""
    stage = Stage(n, pitfalls)
    stage.impose(0, *range(1, n))
    stage.let(*range(n))
    assert leaders(stage) == [0]
    return stage


def leader_of(stage: Stage) -> int:
    """The one that leads; that there is one is promised as well."""
    must(len(leaders(stage)) == 1, "somebody leads")
    return leaders(stage)[0]


def has_entry_that(stage: Stage, *others: int) -> None:
    """Node 0 leads and submits; these get the entry too, and no others."""
    stage.submit(0)
    stage.let(0, *others)
    stage.lose()


def commits_old_epoch_without_sync(pitfalls: Iterable[Pitfall]) -> None:
    """Node 0 has an entry that nobody else has; the next leader's ping gets to it before that one's history does."""
    stage = begun(3, pitfalls)
    has_entry_that(stage)
    stage.impose(1, 2)
    stage.let(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert stage.order == [value(2)]
    stage.look(0)
    stage.join(1, 0)
    stage.let(0, 1, only=DISCOVERY)
    stage.lose()
    stage.fire(1, "tick")
    stage.let(0, 1, only=(Step.PING,))
    stage.fire(1, "tick")
    stage.let(0, 1)
    assert stage.held[0] == [value(2)]


def epoch_promise_not_kept(pitfalls: Iterable[Pitfall]) -> None:
    """Node 1 promises an epoch to node 0, dies, and promises one to node 2; then it goes to and fro between them."""
    stage = Stage(3, pitfalls)
    stage.impose(0, 1)
    stage.let(0, 1, only=DISCOVERY)
    stage.start(1, State.KEPT)
    stage.impose(2, 1)
    stage.let(1, 2)
    assert leaders(stage) == [2]
    stage.look(1)
    stage.join(0, 1)
    stage.let(0, 1)
    stage.submit(0)
    stage.let(0, 1)
    stage.submit(2)
    stage.look(1)
    stage.join(2, 1)
    stage.let(1, 2)
    assert stage.order


def one_epoch_for_both(pitfalls: Iterable[Pitfall]) -> None:
    """Node 2 promises an epoch in which it never takes part, and lacks an entry that is committed."""
    stage = begun(3, pitfalls)
    has_entry_that(stage, 1)
    stage.impose(1, 2)
    stage.let(1, 2, only=DISCOVERY)
    stage.kill(1)
    stage.elect(0, 2)
    stage.submit(leader_of(stage))
    stage.let(0, 2)
    assert len(stage.order) == 2


def history_by_length_only(pitfalls: Iterable[Pitfall]) -> None:
    """Node 0 has two entries that nobody else has, nodes 1 and 2 one that is committed in a later epoch."""
    stage = begun(3, pitfalls)
    stage.submit(0)
    stage.submit(0)
    stage.impose(1, 2)
    stage.let(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 1
    stage.kill(1)
    stage.elect(0, 2)
    stage.submit(leader_of(stage))
    stage.let(0, 2)
    assert stage.held[0] == stage.held[2] == stage.order


def history_by_zxid_only(pitfalls: Iterable[Pitfall]) -> None:
    """Figure 8 of the Raft paper, as Zab has it: an entry of epoch 1 gets to a majority after an epoch 2 without it."""
    stage = begun(5, pitfalls)
    stage.submit(0)
    stage.let(0, 1, only=(Step.PROPOSE,))
    stage.lose()
    stage.impose(4, 2, 3)
    stage.let(4, 2, 3)
    stage.submit(4)
    assert (zab(stage, 4).history.last, zab(stage, 0).history.last) == (Zxid(2, 1), Zxid(1, 1))
    stage.elect(0, 1, 2)
    assert len(leaders(stage)) == 2
    for number in (0, 1):
        stage.kill(number)
    stage.elect(4, 2, 3)
    for leader in leaders(stage):
        stage.submit(leader)
    stage.let(4, 2, 3)
    assert stage.order


def proposes_before_quorum_synced(pitfalls: Iterable[Pitfall]) -> None:
    """Node 1 has an entry that is committed, which it does not know before a quorum has taken over its history."""
    stage = begun(3, pitfalls)
    stage.submit(0)
    stage.let(0, 1, only=(Step.PROPOSE, Step.ACK))
    assert len(stage.order) == 1
    stage.impose(1, 2)
    stage.let(1, 2, only=DISCOVERY)
    stage.read(1)
    stage.let(1, 2, only=(Step.PING, Step.PONG))
    stage.let(1, 2)
    assert not stage.reads


def commits_before_quorum_synced(pitfalls: Iterable[Pitfall]) -> None:
    """Node 0 leads again, with an entry that nobody else has, and dies before anybody takes it over."""
    stage = begun(3, pitfalls)
    has_entry_that(stage)
    stage.impose(0, 1)
    stage.let(0, 1, only=DISCOVERY)
    stage.kill(0)
    stage.elect(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 1


def acknowledges_before_persisted(pitfalls: Iterable[Pitfall]) -> None:
    """Node 1 dies right behind its word that it has an entry, which makes the entry committed."""
    stage = Stage(3, pitfalls)
    stage.ends[1] = Moment(0, after_sends=3, round=1)  # it promises; it has the history; it has the entry
    stage.start(1)
    stage.impose(0, 1)
    stage.let(0, 1)
    stage.submit(0)
    stage.let(0, 1)
    assert stage.nodes[1].machine is None
    assert len(stage.order) == 1
    stage.kill(0)
    stage.start(1, State.KEPT)
    stage.elect(1, 2)
    stage.submit(leader_of(stage))
    stage.let(1, 2)
    assert len(stage.order) == 2


def sync_not_atomic(pitfalls: Iterable[Pitfall]) -> None:
    """An entry is at nodes 0 and 1; node 2 dies while it writes down that history and its epoch."""
    stage = begun(3, pitfalls)
    has_entry_that(stage, 1)
    stage.ends[2] = Moment(0, after_writes=3)  # the promise; the epoch; the entry
    stage.start(2)
    stage.impose(1, 2)
    stage.let(1, 2)
    assert stage.nodes[2].machine is None
    stage.kill(1)
    stage.start(2, State.UNSYNCED_LOST)
    stage.elect(0, 2)
    stage.submit(leader_of(stage))
    stage.let(0, 2)
    assert len(stage.order) == 2


def tail_not_cut(pitfalls: Iterable[Pitfall]) -> None:
    """Node 0 has an entry that nobody else has, and takes over a history without it."""
    stage = begun(3, pitfalls)
    has_entry_that(stage)
    stage.impose(1, 2)
    stage.let(1, 2)
    stage.look(0)
    stage.join(1, 0)
    stage.let(0, 1)
    stage.submit(1)
    stage.let(1, 2)
    for _ in range(3):
        stage.fire(1, "tick")
        stage.let(0, 1, 2)
    assert stage.held[0] == stage.order == [value(2)]


def behind_and_leads(pitfalls: Iterable[Pitfall]) -> None:
    """An entry is at nodes 0 and 1; the oracle names node 2, and node 1 follows it."""
    stage = begun(3, pitfalls)
    has_entry_that(stage, 1)
    stage.kill(0)
    stage.impose(2, 1)
    stage.let(1, 2)
    if not leaders(stage):
        stage.elect(1, 2)
    stage.submit(leader_of(stage))
    stage.let(1, 2)
    assert len(stage.order) == 2


def accepts_past_gap(pitfalls: Iterable[Pitfall]) -> None:
    """The first of two proposals does not get to node 1."""
    stage = begun(3, pitfalls)
    stage.submit(0)
    stage.deliver(0, 2)
    stage.lose()
    stage.submit(0)
    stage.let(0, 1)
    stage.fire(0, "tick")
    stage.fire(0, "tick")
    stage.let(0, 1, 2)
    assert stage.held[1] == stage.held[0] == [value(1), value(2)]


def read_unconfirmed(pitfalls: Iterable[Pitfall]) -> None:
    """A leader that was held up does not know yet that there is another."""
    stage = begun(3, pitfalls)
    stage.impose(1, 2)
    stage.let(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 1
    stage.read(0)
    stage.let(0, 1, 2)


def fresh_life_votes(pitfalls: Iterable[Pitfall]) -> None:
    """An entry is at nodes 0 and 1, of three; node 1 loses its disk."""
    stage = begun(3, pitfalls)
    has_entry_that(stage, 1)
    stage.kill(0)
    stage.start(1, State.LOST)
    stage.elect(1, 2)
    for leader in leaders(stage):
        stage.submit(leader)
    stage.let(1, 2)
    assert len(stage.order) == 1


STORIES: dict[Pitfall, Callable[[Iterable[Pitfall]], None]] = {
    Pitfall.COMMITS_OLD_EPOCH_WITHOUT_SYNC: commits_old_epoch_without_sync,
    Pitfall.EPOCH_PROMISE_NOT_KEPT: epoch_promise_not_kept,
    Pitfall.ONE_EPOCH_FOR_BOTH: one_epoch_for_both,
    Pitfall.HISTORY_BY_LENGTH_ONLY: history_by_length_only,
    Pitfall.HISTORY_BY_ZXID_ONLY: history_by_zxid_only,
    Pitfall.PROPOSES_BEFORE_QUORUM_SYNCED: proposes_before_quorum_synced,
    Pitfall.COMMITS_BEFORE_QUORUM_SYNCED: commits_before_quorum_synced,
    Pitfall.ACKNOWLEDGES_BEFORE_PERSISTED: acknowledges_before_persisted,
    Pitfall.SYNC_NOT_ATOMIC: sync_not_atomic,
    Pitfall.TAIL_NOT_CUT: tail_not_cut,
    Pitfall.BEHIND_AND_LEADS: behind_and_leads,
    Pitfall.ACCEPTS_PAST_GAP: accepts_past_gap,
    Pitfall.READ_UNCONFIRMED: read_unconfirmed,
    Pitfall.FRESH_LIFE_VOTES: fresh_life_votes,
}
"""Schedules, each of which one bug does not bear."""

FOUND_HERE = tuple(Pitfall)


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_schedule_that_a_bug_does_not_bear_is_borne_without_it(story: Callable[[Iterable[Pitfall]], None]) -> None:
    story(())


def finds(name: str) -> bool:
    """Whether its schedule shows a planted bug, and nothing without it (for the conformance suite)."""
    pitfall = Pitfall(name)
    return goes_wrong(STORIES[pitfall], (pitfall,)) and not goes_wrong(STORIES[pitfall])
