"""Zab: two message delays, elections, epochs promised and begun, the order of primaries; one log whatever happens."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, get_args

import pytest
from builders import node_config
from consensus_harness import port_to
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import RETRY_NS, BrokenError, Clocked, LogWorld, Staged, goes_wrong, must

from testbed.engines.sim import SimEngine
from testbed.nodes import frames
from testbed.nodes.consensus.logs import NOOP, Base
from testbed.nodes.consensus.zab.history import NO_ZXID, History, Txn, Zxid
from testbed.nodes.consensus.zab.machine import BATCH, Role, ZabMachine
from testbed.nodes.consensus.zab.messages import MAX_NUMBER, Flag, Message, Step, pack_txn, read, read_txns, says
from testbed.nodes.consensus.zab.pitfalls import Pitfall
from testbed.nodes.core import Decide, Effect, Effects, Life, Send
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import Kind
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge

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


def test_who_follows_one_that_does_not_lead_finds_one_that_does() -> None:
    """However long it would wait by now for whom it has chosen."""
    world = running()
    world.part(1)
    world.submit(0)
    world.wait(5 * T)
    world.part()
    machine = zab(world, 1)
    machine.failed = 4
    machine._join(2, world.now_ns)
    world.wait(2 * RETRY_NS)
    assert leaders(world) == [0]
    assert (machine.follows, world.held[1]) == (0, world.order)


def test_whoever_finds_a_leader_sees_that_it_looks_for_one_again() -> None:
    """Even if it has been in more elections than the leader; else its vote would go on counting for that one."""
    world = running()
    world.part(1)
    world.wait(5 * T)
    machine = zab(world, 1)
    machine.election.clock = 9
    world.part()
    world.wait(2 * RETRY_NS)
    assert (machine.follows, machine.election.clock) == (0, zab(world, 0).election.clock)


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
    stage.ends[2] = Moment(0, after_writes=4)  # whom it has heard; the promise; the epoch; the entry
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


# -- schedules by chance, and the order of primaries -------------------------------------------------------------------


class Began(NamedTuple):
    """A primary proposes for the first time: who it is, and how many slots it has delivered."""

    node: int
    delivered: int


class Ledger:
    """What primaries broadcast, and what was delivered: slot -> all that anybody was told there."""

    def __init__(self) -> None:
        self.broadcast: dict[Zxid, bytes] = {}
        self.primaries: dict[int, Began] = {}
        self.delivered: dict[int, set[Txn]] = {}

    def broken(self) -> str:
        """Which of the properties of the paper's section 3 does not hold."""
        slots = sorted(self.delivered)
        if slots != list(range(len(slots))) or any(len(found) > 1 for found in self.delivered.values()):
            return "total order"
        order = [next(iter(self.delivered[slot])) for slot in slots]
        if any(self.broadcast.get(txn.zxid) != txn.data for txn in order):
            return "integrity"
        for before, (zxid, _) in pairwise([Txn(NO_ZXID, b""), *order]):
            if zxid.epoch < before.zxid.epoch:
                return "global primary order"
            if zxid.counter != (before.zxid.counter if zxid.epoch == before.zxid.epoch else 0) + 1:
                return "local primary order"
        for slot, (zxid, _) in enumerate(order):
            if any(epoch > zxid.epoch and began.delivered <= slot for epoch, began in self.primaries.items()):
                return "primary integrity"
        return ""


class Watched(ZabMachine):
    """Writes down what it broadcasts and delivers."""

    def __init__(self, config: NodeConfig, ledger: Ledger, pitfalls: Collection[Pitfall], batch: int) -> None:
        super().__init__(config, pitfalls, PATIENCE, batch)
        self.ledger = ledger

    def append(self, entry: bytes, now_ns: int) -> Effects:
        began = self.ledger.primaries.setdefault(self.accepted, Began(self.config.node, self.slot))
        assert began.node == self.config.node, "an epoch has one primary"
        self.ledger.broadcast[Zxid(self.accepted, self._reign().counter + 1)] = entry
        return super().append(entry, now_ns)

    def tell(self, entry: bytes, term: int) -> Effects:
        txn = self.history.at(self.slot)
        assert txn is not None
        self.ledger.delivered.setdefault(self.slot, set()).add(txn)
        return super().tell(entry, term)


def raged(seed: int, ledger: Ledger, pitfalls: Collection[Pitfall] = ()) -> LogWorld:
    """A random world, calmed down: three or five nodes, and what may go wrong drawn from the seed."""
    rng = random.Random(f"zab {seed}")
    n, batch, step_ns = rng.choice((3, 3, 5)), rng.choice((1, 2, 64)), rng.choice((T, 3 * T))
    loss, kills, compacts = rng.choice((0.0, 0.05, 0.2)), rng.choice((0.0, 0.1, 0.3)), rng.choice((0.0, 0.1))
    world = LogWorld(seed, n, lambda config: Watched(config, ledger, pitfalls, batch), loss)
    world.rage(40, step_ns, kills, compacts)
    world.calm(25 * T)
    return world


def test_one_log_in_the_order_of_primaries_in_every_world_and_all_of_it_when_it_is_calm_again() -> None:
    """Local and global primary order, and primary integrity: what anybody ever delivers of earlier primaries, a primary
    has delivered before it broadcasts."""
    answered = decided = epochs = 0
    for seed in range(20):
        ledger = Ledger()
        world = raged(seed, ledger)
        answered, decided, epochs = (
            answered + world.answered,
            decided + len(world.order),
            epochs + len(ledger.primaries),
        )
        assert ledger.broken() == ""
        assert len(leaders(world)) == 1
        for number, held in enumerate(world.held):
            assert held == world.order
            assert not zab(world, number).pending
            assert not zab(world, number).reading
    assert decided > 500
    assert answered > 200
    assert epochs > 60


def test_one_that_accepts_past_a_gap_breaks_the_order() -> None:
    ledger = Ledger()
    with pytest.raises(BrokenError):
        raged(0, ledger, (Pitfall.ACCEPTS_PAST_GAP,))
    assert ledger.broken() == "total order"


@pytest.mark.parametrize(
    ("delivered", "last_began", "broken"),
    [
        ([(1, 1), (1, 2), (2, 1)], 2, ""),
        ([(1, 2), (1, 1), (2, 1)], 2, "local primary order"),
        ([(1, 2), (2, 1)], 2, "local primary order"),
        ([(2, 1), (1, 1)], 2, "global primary order"),
        ([(1, 1), (1, 2), (2, 1)], 1, "primary integrity"),
        ([(1, 1), (1, 3)], 2, "integrity"),
    ],
)
def test_an_order_that_is_none_is_seen(delivered: list[tuple[int, int]], last_began: int, broken: str) -> None:
    ledger = Ledger()
    for zxid in ((1, 1), (1, 2), (2, 1)):
        ledger.broadcast[Zxid(*zxid)] = b"x"
    ledger.primaries = {1: Began(0, 0), 2: Began(1, last_began)}
    ledger.delivered = {slot: {Txn(Zxid(*zxid), b"x")} for slot, zxid in enumerate(delivered)}
    assert ledger.broken() == broken


def test_frames_that_overtake_each_other_cost_no_time() -> None:
    """The paper's channels are in order, these are not: a proposal waits for the one before it, what is committed for
    the proposal."""
    stage = begun(3, ())
    stage.submit(0)
    stage.submit(0)
    first, second = (one for one in stage.wire if one.dst == 1)
    stage.arrive(second)
    assert zab(stage, 1).history.end == 0
    stage.let(0, 2)
    assert len(stage.order) == 2
    told = [one for one in stage.wire if one.dst == 1 and one.message.step == Step.COMMIT]
    stage.arrive(told[-1])
    stage.arrive(first)
    assert zab(stage, 1).history.end == 2
    assert stage.held[1] == stage.order


# -- snapshots and lives -----------------------------------------------------------------------------------------------


def test_who_lacks_what_is_forgotten_gets_the_state_in_its_place() -> None:
    world = running()
    world.kill(2)
    for _ in range(10):
        world.submit(0)
        world.wait(50)
    world.compact(0)
    assert not zab(world, 0).history.txns
    world.submit(0)
    world.wait(50)
    world.start(2, State.KEPT)
    world.wait(3 * T)
    assert world.held[2] == world.order
    assert len(world.order) == 11
    assert zab(world, 2).history.start == zab(world, 0).history.start == 10


def test_one_that_took_part_in_the_epoch_and_lacks_what_is_forgotten_gets_the_state_too() -> None:
    stage = begun(3, ())
    for _ in range(3):
        stage.submit(0)
        stage.let(0, 1)
    stage.compact(0)
    stage.lose()
    for _ in range(2):
        stage.fire(0, "tick")
        stage.let(0, 2)
    stage.submit(0)
    stage.let(0, 1, 2)
    assert stage.held[2] == stage.order
    assert len(stage.order) == 4


def test_a_backlog_is_said_again_batch_by_batch() -> None:
    world = Clocked(3, built(batch=2))
    world.wait(RETRY_NS)
    world.cuts = {(0, 2)}
    for _ in range(9):
        world.submit(0)
    world.wait(5 * world.DELAY_NS)
    assert world.held[2] == []
    world.cuts = set()
    world.sent = []
    world.wait(3 * RETRY_NS)
    again = [frame.message for _, frame in world.sent if frame.dst == 2 and frame.message.step == Step.PROPOSE]
    told = [said for said in map(read, again) if said is not None]
    assert {said.numbers[0]: len(said.parts) for said in told} == {0: 2, 2: 2, 4: 2, 6: 2, 8: 1}
    assert len(told) <= 6, "the last is said twice, for it is not acknowledged when the leader beats"
    assert world.held[2] == world.order


def test_nothing_is_said_to_one_that_is_down() -> None:
    world = running()
    world.kill(1)
    world.wait(2 * T)
    world.sent = []
    for _ in range(10):
        world.submit(0)
        world.wait(RETRY_NS)
    assert not [frame for _, frame in world.sent if frame.dst == 1]
    world.start(1, State.KEPT)
    world.wait(T)
    assert world.held[1] == world.order


def kept(world: LogWorld, number: int) -> tuple[Any, ...]:
    """What a life must find of the one before it."""
    machine = zab(world, number)
    history = machine.history
    return machine.accepted, machine.current, history.start, history.before, tuple(history.txns)


@pytest.mark.parametrize("state", [State.KEPT, State.UNSYNCED_LOST, State.TORN])
def test_a_life_with_its_disk_goes_on_with_both_epochs_and_its_history(state: State) -> None:
    world = running(4)
    for number in range(30):
        world.submit(number % 4)
        world.wait(T // 2)
        if number == 20:
            world.compact(1)
    before = [kept(world, number) for number in range(4)]
    for number in range(4):
        world.kill(number)
    for number in range(4):
        world.start(number, state)
    assert [kept(world, number) for number in range(4)] == before
    world.wait(5 * T)
    assert all(held == world.order for held in world.held)
    assert len(world.order) == 30


def test_a_life_without_its_disk_learns_and_neither_votes_nor_counts_nor_do_its_next_lives() -> None:
    world = running()
    for _ in range(5):
        world.submit(0)
        world.wait(50)
    world.start(1, State.LOST)
    world.wait(2 * T)
    assert world.held[1] == world.order
    world.start(1, State.KEPT)
    world.wait(2 * T)
    world.kill(2)
    decided = len(world.order)
    world.submit(0)
    world.wait(20 * T)
    assert len(world.order) == decided
    assert leaders(world) == []
    world.start(2, State.KEPT)
    world.wait(8 * T)
    assert len(world.order) == decided + 1
    assert world.held[1] == world.order


# -- as a scenario -----------------------------------------------------------------------------------------------------


def test_a_service_on_it_bears_that_its_leaders_nic_dies() -> None:
    data = {
        "name": "x",
        "topology": {"kind": "star", "hosts": 5},
        "links": {"default": {"delay": "20us", "jitter": "5us", "loss": 0.01}},
        "protocol": {"consensus": "zab", "f": 1, "window": "1ms", "instances": 60, "retry": "300us",
                     "participants": ["host[123]"]},
        "service": {"kind": "kv", "snapshot_every": 16},
        "clients": {"hosts": ["host[45]"], "operations": 60, "think": "200us", "timeout": "3ms", "mix": {"keys": 2}},
        "faults": [{"at": "8ms", "do": "nic_down", "on": "host1", "for": "15ms"}],
        "seed": 1,
    }  # fmt: skip
    plan = compile_plan(from_data(data))
    history = SimEngine().run(plan)
    verdicts = judge(plan, history)
    service, told = verdicts.service, verdicts.consensus
    assert service is not None
    assert (service.violations, service.done, service.open) == ((), 120, 0)
    assert told is not None
    assert told.disagreements == told.invalid == told.repeated == told.disordered == told.undecided == ()
    assert {event.what.round for event in history.events.of_kind(Decide) if isinstance(event.what, Decide)} == {1, 2}
    assert verdicts.fidelity.reasons == ()


# -- histories and bytes -----------------------------------------------------------------------------------------------


def history(*zxids: tuple[int, int], start: int = 0, before: Zxid = NO_ZXID) -> History:
    return History(start, before, [Txn(Zxid(*zxid), b"%d.%d" % zxid) for zxid in zxids])


def test_where_a_history_parts_from_another_follows_from_the_last_zxid_of_that() -> None:
    one = history((1, 1), (1, 2), (3, 1))
    for last, shared in (((0, 0), 0), ((1, 1), 1), ((1, 7), 2), ((2, 5), 2), ((3, 1), 3), ((4, 1), 3)):
        assert one.shared(Zxid(*last)) == shared
    cut = history((3, 1), start=2, before=Zxid(1, 2))
    assert cut.shared(Zxid(1, 1)) is None
    assert cut.shared(Zxid(1, 2)) == 2
    assert (cut.zxid_before(2), cut.zxid_before(3), cut.zxid_before(1)) == (Zxid(1, 2), Zxid(3, 1), None)


def test_a_history_that_is_taken_over_takes_the_place_of_what_stands_there() -> None:
    one = history((1, 1), (1, 2), (1, 3))
    one.take_over(1, [Txn(Zxid(2, 1), b"x")])
    assert [txn.zxid for txn in one.txns] == [(1, 1), (2, 1)]
    one.forget(1)
    assert (one.start, one.before, one.end, one.at(0)) == (1, (1, 1), 2, None)


def test_messages_come_back_and_others_are_none() -> None:
    txn = Txn(Zxid(2, 1), NOOP)
    for message in (
        Message(Step.VOTE, 0, (3, 1, 1, 4, 7, 2), (), Flag.LEARNS),
        Message(Step.CEPOCH, 0),
        Message(Step.ACK_EPOCH, 5, (1, 1, 4, 7), (), Flag.PROMISED),
        Message(Step.NEWLEADER, 5, (3, 1, 4), (b"", pack_txn(txn))),
        Message(Step.PING, 5, (3, 1), (), Flag.LEADS),
    ):
        assert read(message.frame()) == message
    assert read_txns([pack_txn(txn)]) == [txn]
    assert read_txns([pack_txn(txn), pack_txn(txn)]) is None
    assert read_txns([b"short"]) is None
    for strange in (
        frames.Message(Kind.DATA, 0, Step.NEWEPOCH, b""),
        frames.Message(Kind.DATA, 1 << 31, Step.NEWEPOCH, b""),
        frames.Message(Kind.DATA, 5, Step.ACK, bytes(9)),
        frames.Message(Kind.DATA, 5, Step.ACK, b"\xff" * 8),
        frames.Message(Kind.DATA, 5, Step.PROPOSE, bytes(17)),
        frames.Message(Kind.DATA, 5, 99, b""),
    ):
        assert read(strange) is None


SMALL, LONG, WORD = st.integers(0, 5), st.integers(0, MAX_NUMBER), st.integers(0, (1 << 32) - 1)
STANDING = (SMALL, SMALL | WORD, SMALL | LONG, SMALL | LONG)
NUMBERS = {
    Step.VOTE: (SMALL | LONG, *STANDING, SMALL | st.integers(0, (1 << 16) - 1)),
    Step.CEPOCH: (),
    Step.NEWEPOCH: (),
    Step.ACK_EPOCH: STANDING,
    Step.NEWLEADER: (SMALL | LONG, *STANDING[1:3]),
    Step.ACK: (SMALL | LONG,),
    Step.PROPOSE: (SMALL | LONG, SMALL | LONG),
    Step.COMMIT: (SMALL | LONG,),
    Step.PING: (SMALL | LONG, SMALL | WORD),
    Step.PONG: (SMALL | WORD,),
}
STATES = st.sampled_from([b"", b"no state", Base(3, 3, b"", b"state").pack()])


@st.composite
def heard_messages(draw: Any) -> frames.Message:
    """Any bytes, or a message that is well-formed, whatever it says."""
    step, flags = draw(st.sampled_from(list(Step))), draw(st.integers(0, 7))
    epoch = draw(st.sampled_from([0, 1, 2, 3, (1 << 31) - 1, 1 << 31]))
    if draw(SMALL) == 0:
        return frames.Message(Kind.DATA, epoch, int(step), draw(st.binary(max_size=60)), flags)
    parts: tuple[bytes, ...] = ()
    if step in (Step.NEWLEADER, Step.PROPOSE):
        zxids = draw(st.lists(st.builds(Zxid, SMALL, SMALL | LONG), max_size=3, unique=True))
        parts = tuple(pack_txn(Txn(zxid, NOOP)) for zxid in sorted(zxids))
    if step is Step.NEWLEADER:
        parts = (draw(STATES), *parts)
    return Message(step, epoch, tuple(draw(number) for number in NUMBERS[step]), parts, Flag(flags)).frame()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(Role)), st.lists(st.tuples(st.sampled_from([0, 2]), heard_messages()), max_size=25))
def test_whatever_is_said_to_it_a_machine_answers_with_what_can_be_sent(
    role: Role, heard: list[tuple[int, frames.Message]]
) -> None:
    machine = ZabMachine(node_config(1, 3, retry_ns=RETRY_NS, keeps=True))
    machine.on_start(0, {})
    if role is Role.LEADING:
        machine._lead(0)
    elif role is Role.FOLLOWING:
        machine._join(0, 0)
    for number, (src, message) in enumerate(heard):
        now_ns = number * RETRY_NS // 2
        effects = machine.on_message(port_to(machine, src), message, Life(1, 1), now_ns)
        if number % 3 == 2:
            effects += machine.on_timer("tick", now_ns) + machine.on_timer("settle", now_ns)
        assert all(isinstance(effect, get_args(Effect)) for effect in effects)
        assert all(effect.message.round >> 32 == 0 for effect in effects if isinstance(effect, Send))
        assert says(message)
