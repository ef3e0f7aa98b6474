"""Raft: two message delays, elections, reads, members and leaders that change, snapshots; one log whatever happens."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from log_world import RETRY_NS, Clocked, LogWorld, Staged, goes_wrong

from testbed.engines.sim import SimEngine
from testbed.nodes.consensus.changes import Change
from testbed.nodes.consensus.raft.entries import Spot
from testbed.nodes.consensus.raft.machine import Plans, RaftMachine, Role, Transfer
from testbed.nodes.consensus.raft.messages import Append, Step, message
from testbed.nodes.consensus.raft.pitfalls import Pitfall
from testbed.nodes.core import SetTimer
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.record import Sent
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge

PATIENCE = 3
T = PATIENCE * RETRY_NS
VOTING = (Step.ASK_VOTE, Step.VOTE)


def built(pitfalls: Iterable[Pitfall] = (), **own: Any) -> Callable[[NodeConfig], RaftMachine]:
    return lambda config: RaftMachine(config, frozenset(pitfalls), PATIENCE, **own)


def raft(world: LogWorld, number: int) -> RaftMachine:
    """The machine of a node that is up."""
    machine: RaftMachine = world.nodes[number].machine.machine
    return machine


def leaders(world: LogWorld) -> list[int]:
    up = [node.config.node for node in world.nodes if node.machine is not None]
    return [number for number in up if raft(world, number).role is Role.LEADER]


def value(number: int) -> bytes:
    """The number-th value that a world submits, from 1 on."""
    return number.to_bytes(4, "big")


class Elected(Clocked):
    """One in which somebody is elected."""

    def elected(self) -> int:
        """Who leads when the first election is over."""
        self.wait(4 * T)
        (leader,) = leaders(self)
        return leader


# -- without failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_what_the_leader_submits_is_decided_after_two_message_delays_there_and_three_elsewhere(n: int) -> None:
    world = Elected(n, built())
    leader = world.elected()
    asked_ns, world.sent = world.now_ns + 5, []
    world.wait(5)
    world.submit(leader)
    world.run(asked_ns + 3 * world.DELAY_NS)
    delays = {number: (at_ns - asked_ns) / world.DELAY_NS for at_ns, number, _ in world.told}
    assert delays == {number: 2 if number == leader else 3 for number in range(n)}


def test_what_another_submits_takes_one_delay_more_to_the_leader() -> None:
    world = Elected(3, built())
    leader = world.elected()
    other = (leader + 1) % 3
    asked_ns = world.now_ns
    world.submit(other)
    world.wait(5 * world.DELAY_NS)
    assert {number: (at_ns - asked_ns) / world.DELAY_NS for at_ns, number, _ in world.told} == {
        number: 3 if number == leader else 4 for number in range(3)
    }


def test_an_idle_leader_says_one_thing_to_each_every_retry_and_is_answered() -> None:
    world = Elected(5, built())
    world.elected()
    world.wait(RETRY_NS)
    world.sent = []
    world.wait(10 * RETRY_NS)
    assert len(world.sent) == 10 * 2 * 4
    assert {frame.message.step for _, frame in world.sent} == {Step.APPEND, Step.APPENDED}


def test_a_single_node_decides_alone_and_at_once() -> None:
    world = Elected(1, built())
    world.elected()
    world.submit(0)
    assert world.told == [(world.now_ns, 0, 0)]
    assert not world.sent


def test_a_read_at_the_leader_takes_one_round_trip_and_no_entry() -> None:
    world = Elected(3, built())
    leader = world.elected()
    world.submit(leader)
    world.wait(5 * world.DELAY_NS)
    last = raft(world, leader).entries.last
    for number in (leader, (leader + 1) % 3):
        world.read(number)
        world.wait((2 if number == leader else 4) * world.DELAY_NS - 1)
        assert len(world.reads) == 1
        world.wait(1)
        assert not world.reads
    assert world.answered == 2
    assert raft(world, leader).entries.last == last


# -- elections ---------------------------------------------------------------------------------------------------------


def test_when_the_leader_dies_another_is_elected_within_two_patiences_and_goes_on() -> None:
    for seed in range(10):
        world = Elected(3, built(), seed)
        first = world.elected()
        world.submit(first)
        world.wait(50)
        world.kill(first)
        others = [number for number in range(3) if number != first]
        world.submit(others[0])
        died_ns = world.now_ns
        world.wait(3 * T)
        assert len(leaders(world)) == 1
        assert world.order == [value(1), value(2)]
        first_again = min(at_ns for at_ns, _, index in world.told if index == 1)
        assert first_again - died_ns <= 2 * T + 10 * world.DELAY_NS


def test_who_waits_how_long_is_a_function_of_the_seed() -> None:
    def waits(seed: int) -> list[int]:
        world = Elected(5, built(), seed)
        return sorted(raft(world, number)._election_ns() for number in range(5))

    assert waits(1) == waits(1) != waits(2)
    assert all(T <= wait_ns < 2 * T for seed in range(50) for wait_ns in waits(seed))


def test_a_timer_set_for_a_leader_that_is_heard_moves_on_with_it() -> None:
    machine = raft(Elected(3, built()), 1)
    machine.heard_ns = 1000
    [again] = machine.on_timer("election", 1100)
    assert again == SetTimer("election", machine._election_ns())
    assert machine.role is Role.FOLLOWER


# -- availability: what PreVote and CheckQuorum are for ----------------------------------------------------------------


def disturbed(pitfalls: Iterable[Pitfall]) -> bool:
    """Whether a node that was cut off for long makes the others elect anew when it is back."""
    world = Elected(3, built(pitfalls))
    leader = world.elected()
    term = raft(world, leader).term
    world.part((leader + 1) % 3)
    world.wait(20 * T)
    world.part()
    world.wait(4 * T)
    return leaders(world) != [leader] or raft(world, leader).term != term


def test_who_comes_back_from_far_away_does_not_disturb() -> None:
    assert not disturbed(())


def stuck(pitfalls: Iterable[Pitfall]) -> bool:
    """One node is down, the leader hears but one other, and the other three hear each other: whether nothing is decided
    any more."""
    world = Elected(5, built(pitfalls))
    leader = world.elected()
    _, one, other, down = (number for number in range(5) if number != leader)
    world.kill(down)
    world.cuts = {way for far in (one, other) for way in ((leader, far), (far, leader))}
    world.submit(one)
    world.wait(30 * T)
    return not world.order


def test_a_leader_that_hears_no_majority_makes_way_for_those_that_do() -> None:
    assert not stuck(())


def test_without_a_majority_nothing_is_decided_and_nobody_leads() -> None:
    world = Elected(4, built())
    world.elected()
    world.part(0, 1)
    for number in range(4):
        world.submit(number)
    decided = len(world.order)
    world.wait(20 * T)
    assert leaders(world) == []
    assert len(world.order) == decided
    world.part()
    world.wait(4 * T)
    assert len(world.order) == 4


# -- schedules by hand -------------------------------------------------------------------------------------------------


class Stage(Staged):
    """Raft on it."""

    def __init__(self, n: int, pitfalls: Iterable[Pitfall], **own: Any) -> None:
        super().__init__(n, built(pitfalls, **own))

    def elect(self, number: int, *voters: int, lost: bool = True) -> bool:
        """All else is lost; nobody has heard a leader for long; these elect it, and hear nothing of it yet. Whether it
        leads."""
        if lost:
            self.lose()
        for voter in voters:
            if raft(self, voter).role is Role.LEADER:
                self.now_ns += 2 * T
                self.fire(voter, "beat")  # it hears no majority
        for _ in range(2):  # the first time, it may learn that the term is a later one
            if raft(self, number).role is not Role.LEADER:
                self.now_ns += 2 * T
                self.fire(number, "election")
                self.let(number, *voters, only=VOTING)
        return raft(self, number).role is Role.LEADER


def figure_8(pitfalls: Iterable[Pitfall]) -> None:
    """Figure 8 of the paper, by its letters; an entry is one message here."""
    stage = Stage(5, pitfalls, batch=1)
    stage.elect(0, 1, 2)
    stage.let(0, 1, 2, 3, 4)
    stage.submit(0)
    stage.let(0, 1)  # (a): node 0 leads, its entry is at node 1 only
    stage.kill(0)
    stage.elect(4, 2, 3)  # (b): node 4, by the votes of 2 and 3, takes another in its place, and dies
    stage.submit(4)
    stage.kill(4)
    stage.start(0)
    stage.elect(0, 1, 2)  # (c): node 0 leads again; its old entry is at a majority now, its new ones at no other
    for other in (1, 2, 2):  # node 2 first says that it lacks the old entry
        stage.deliver(0, other)
        stage.deliver(other, 0)
    assert [entry.term for entry in raft(stage, 2).entries.kept] == [1, 1]
    stage.kill(0)
    stage.start(4)
    stage.elect(4, 2, 3)  # (d): node 4 is elected by 2 and 3, and replaces it
    stage.let(4, 2, 3)
    assert stage.order, "something is decided in the end"


def joint_counts_union(pitfalls: Iterable[Pitfall]) -> None:
    """Voters 0 1 2 become 0 3 4. The leader reaches the new ones alone, and the old ones choose another."""
    plans = Plans((0, 1, 2), (Change(0, (0, 3, 4)),))
    stage = Stage(5, pitfalls, plans=plans)
    stage.elect(0, 1, 2)
    stage.let(0, 1, 2, 3, 4)
    stage.fire(0, "beat")
    stage.submit(0)
    stage.let(0, 3, 4)
    assert stage.elect(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert stage.order


def vote_not_kept(pitfalls: Iterable[Pitfall]) -> None:
    """Node 1 votes, dies as soon as it has said so, and is asked by another in its next life."""
    stage = Stage(3, pitfalls)
    stage.doomed[1] = 2  # it would vote; it votes
    stage.start(1)
    assert stage.elect(0, 1)
    stage.start(1, State.KEPT)
    stage.elect(2, 1, lost=False)
    for number in (0, 2):
        stage.let(number, 1)
        stage.submit(number)
        stage.let(number, 1)
    assert stage.order


def test_the_word_of_one_that_only_learns_confirms_no_read() -> None:
    """It may follow an old leader still: it has no part in the election of the next."""
    stage = Stage(3, ())
    stage.elect(0, 1)
    stage.let(0, 1, 2)
    stage.start(2, State.LOST)
    stage.fire(0, "beat")
    stage.let(0, 2)
    stage.read(0)
    stage.let(0, 2)
    assert len(stage.reads) == 1
    stage.let(0, 1)
    assert not stage.reads


def fresh_life_votes(pitfalls: Iterable[Pitfall]) -> None:
    """An entry is at nodes 0 and 1, of three; node 1 loses its disk, and is asked for its vote by node 2."""
    stage = Stage(3, pitfalls)
    stage.elect(0, 1)
    stage.submit(0)
    stage.let(0, 1)
    assert len(stage.order) == 1
    stage.kill(0)
    stage.start(1, State.LOST)
    stage.elect(2, 1)
    stage.submit(2)
    stage.let(2, 1)


def commits_unverified(pitfalls: Iterable[Pitfall]) -> None:
    """Node 1 has an entry that nobody else has; a leader that looks for where their logs part tells it what is
    committed."""
    stage = Stage(5, pitfalls, batch=1)
    stage.elect(0, 1, 2)
    stage.let(0, 1, 2, 3, 4)
    for reached in ((1, 2, 3, 4), (1,)):
        stage.submit(0)
        stage.let(0, *reached)
    stage.kill(0)
    stage.elect(2, 3, 4)
    stage.let(2, 3, 4)
    stage.submit(2)
    stage.let(2, 3, 4)
    stage.elect(3, 2, 4)
    stage.let(3, 2, 4)
    stage.let(3, 1)
    assert len(stage.order) == 2


def truncates_committed(pitfalls: Iterable[Pitfall]) -> None:
    """What told node 1 of the first of two entries comes a second time, when both are decided."""
    stage = Stage(3, pitfalls)
    stage.elect(0, 1)
    stage.let(0, 1, 2)
    stage.submit(0)
    stage.submit(0)
    first = next(one for one in stage.wire if one.dst == 1)
    for src, dst in ((0, 2), (0, 1), (0, 1), (1, 0), (1, 0)):
        stage.deliver(src, dst)
    assert len(stage.order) == 2
    stage.wire = [first]
    stage.deliver(0, 1)
    stage.kill(0)
    stage.elect(2, 1)
    stage.submit(2)
    stage.let(2, 1)


def snapshot_loses_tail(pitfalls: Iterable[Pitfall]) -> None:
    """Node 1's word that it has two entries arrives late: a snapshot of the first is under way to it by then."""
    stage = Stage(3, pitfalls)
    stage.elect(0, 1)
    stage.let(0, 1, 2)
    stage.submit(0)
    stage.submit(0)
    stage.deliver(0, 1)
    stage.deliver(0, 1)  # both entries; the answers wait
    answers, stage.wire = (
        [one for one in stage.wire if one.key.src == 1],
        [one for one in stage.wire if one.key.src == 0],
    )
    stage.deliver(0, 2)
    stage.deliver(2, 0)  # node 2 has the first, which is decided ..
    stage.compact(0)  # .. and forgotten
    stage.lose()
    stage.now_ns += RETRY_NS
    stage.fire(0, "beat")
    stage.fire(0, "beat")
    snapshots = [one for one in stage.wire if one.dst == 1 and one.message.step == Step.SNAPSHOT]
    assert snapshots, "what node 1 is not known to have is there no more"
    stage.wire = answers
    stage.deliver(1, 0)
    stage.deliver(1, 0)
    assert len(stage.order) == 2, "now it is known"
    stage.wire = snapshots[:1]
    stage.let(0, 1)
    stage.kill(0)
    stage.elect(2, 1)
    stage.submit(2)
    stage.let(2, 1)


def read_without_quorum(pitfalls: Iterable[Pitfall]) -> None:
    """A leader that was held up does not know yet that there is another."""
    stage = Stage(3, pitfalls)
    stage.elect(0, 1)
    stage.let(0, 1, 2)
    stage.submit(0)
    stage.let(0, 1, 2)
    stage.elect(1, 2)
    stage.submit(1)
    stage.let(1, 2)
    assert len(stage.order) == 2
    stage.read(0)
    stage.let(0, 1, 2)


STORIES: dict[Pitfall, Callable[[Iterable[Pitfall]], None]] = {
    Pitfall.FIGURE_8: figure_8,
    Pitfall.JOINT_COUNTS_UNION: joint_counts_union,
    Pitfall.VOTE_NOT_KEPT: vote_not_kept,
    Pitfall.FRESH_LIFE_VOTES: fresh_life_votes,
    Pitfall.TRUNCATES_COMMITTED: truncates_committed,
    Pitfall.COMMITS_UNVERIFIED: commits_unverified,
    Pitfall.SNAPSHOT_LOSES_TAIL: snapshot_loses_tail,
    Pitfall.READ_WITHOUT_QUORUM: read_without_quorum,
}
"""Schedules, each of which one bug does not bear."""

UNAVAILABLE = {Pitfall.NO_PREVOTE: disturbed, Pitfall.PREVOTE_ONLY: stuck}
"""Worlds in which one bug costs time."""

SEARCHED = 20
"""Random worlds in which the other bugs are looked for."""


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_schedule_that_a_bug_does_not_bear_is_borne_without_it(story: Callable[[Iterable[Pitfall]], None]) -> None:
    story(())


# -- schedules by chance -----------------------------------------------------------------------------------------------


def drawn_plans(rng: random.Random, n: int, until_ns: int) -> Plans:
    """Voters, and perhaps changes of them and of the leader."""
    nodes = range(n)
    times = sorted(rng.randrange(until_ns) for _ in range(3))
    changes = [Change(at_ns, tuple(rng.sample(nodes, rng.randint(1, n)))) for at_ns in times if rng.random() < 0.3]
    transfers = [Transfer(at_ns, rng.randrange(n)) for at_ns in times if rng.random() < 0.3]
    return Plans(tuple(rng.sample(nodes, rng.randint(n // 2 + 1, n))), tuple(changes), tuple(transfers))


def raged(seed: int, pitfalls: Iterable[Pitfall] = ()) -> LogWorld:
    """A random world, calmed down: three or five nodes, and what may go wrong drawn from the seed."""
    rng = random.Random(f"raft {seed}")
    n, batch, step_ns = rng.choice((3, 3, 5)), rng.choice((1, 2, 64)), rng.choice((T, 3 * T))
    loss, kills, compacts = rng.choice((0.0, 0.05, 0.2)), rng.choice((0.0, 0.1, 0.3)), rng.choice((0.0, 0.1))
    plans = drawn_plans(rng, n, 20 * step_ns) if seed % 2 else None
    world = LogWorld(seed, n, built(pitfalls, batch=batch, plans=plans), loss)
    world.rage(40, step_ns, kills, compacts)
    world.calm(25 * T)
    return world


def test_one_log_in_every_world_and_all_of_it_when_it_is_calm_again() -> None:
    answered = decided = 0
    for seed in range(SEARCHED):
        world = raged(seed)
        answered, decided = answered + world.answered, decided + len(world.order)
        assert len(leaders(world)) == 1
        for number, held in enumerate(world.held):
            assert held == world.order
            assert not raft(world, number).pending
            assert not raft(world, number).reading
    assert decided > 400
    assert answered > 200


def wrong_by_chance(pitfall: Pitfall) -> bool:
    """Whether one of the random worlds shows the bug."""
    return any(goes_wrong(lambda planted, seed=seed: raged(seed, planted), (pitfall,)) for seed in range(SEARCHED))


FOUND_HERE = tuple(Pitfall)


def finds(name: str) -> bool:
    """Whether the tests in here show a planted bug: one schedule, one world, or SEARCHED random ones, none of which
    shows anything without it (for the conformance suite)."""
    pitfall = Pitfall(name)
    if pitfall in STORIES:
        return goes_wrong(STORIES[pitfall], (pitfall,)) and not goes_wrong(STORIES[pitfall])
    if pitfall in UNAVAILABLE:
        return UNAVAILABLE[pitfall]((pitfall,)) and not UNAVAILABLE[pitfall](())
    return wrong_by_chance(pitfall)


# -- members and leaders that change -----------------------------------------------------------------------------------


@pytest.mark.parametrize("voters", [(0, 1, 2, 3, 4), (2, 3, 4), (4,), (0, 3)])
def test_members_change_while_values_are_submitted_and_nothing_is_lost(voters: tuple[int, ...]) -> None:
    for seed in range(2):
        world = Elected(5, built(plans=Plans((0, 1, 2), (Change(6 * T, voters),))), seed)
        for number in range(60):
            world.submit(number % 5)
            world.wait(T // 5)
        world.wait(10 * T)
        (leader,) = leaders(world)
        assert leader in voters
        assert {raft(world, number).membership for number in range(5)} == {(1, voters, ())}
        assert all(held == world.order for held in world.held)
        assert len(world.order) == 60


def test_after_a_change_the_new_voters_alone_suffice() -> None:
    world = Elected(5, built(plans=Plans((0, 1, 2), (Change(6 * T, (2, 3, 4)),))))
    world.wait(15 * T)
    world.kill(0)
    world.kill(1)
    world.submit(2)
    world.wait(6 * T)
    assert world.order == [value(1)]
    world.kill(2)
    world.submit(3)
    world.wait(10 * T)
    assert len(world.order) == 2
    world.kill(4)
    world.submit(3)
    world.wait(10 * T)
    assert len(world.order) == 2, "one of three is no majority"


def test_a_change_that_its_leader_did_not_finish_is_finished_by_the_next() -> None:
    world = Elected(5, built(plans=Plans((0, 1, 2), (Change(6 * T, (2, 3, 4)),))))
    while not any(raft(world, number).membership.is_joint for number in range(5)):
        world.wait(1)
    (leader,) = leaders(world)
    world.wait(world.DELAY_NS)  # the others have it as well
    world.kill(leader)
    world.wait(10 * T)
    assert {raft(world, number).membership for number in range(5) if number != leader} == {(1, (2, 3, 4), ())}


def test_who_does_not_vote_learns_and_never_asks_for_votes() -> None:
    world = Elected(4, built(plans=Plans((0, 1, 2))))
    leader = world.elected()
    world.submit(3)
    world.wait(50)
    assert world.held[3] == [value(1)]
    for number in {0, 1, 2} - {leader}:
        world.kill(number)
    world.submit(leader)
    world.wait(20 * T)
    assert len(world.order) == 1, "the leader and who learns are no majority"
    assert raft(world, 3).role is Role.FOLLOWER


def test_who_does_not_vote_loses_patience_as_well_and_votes_when_it_is_asked() -> None:
    """By its own log it is no voter; by that of a candidate, which it can't know, it may be one that is needed."""
    plans = Plans((0, 1, 2), (Change(0, (0, 3)),))
    stage = Stage(4, (), plans=plans)
    stage.elect(0, 1)
    stage.let(0, 1, 2, 3)
    stage.fire(0, "beat")
    stage.deliver(0, 1)
    stage.deliver(0, 1)
    assert raft(stage, 1).membership.is_joint
    stage.lose()
    stage.start(0)
    stage.now_ns += 2 * T
    stage.fire(3, "election")
    stage.fire(0, "election")
    stage.let(0, 1, 3, only=VOTING)
    assert raft(stage, 0).role is Role.LEADER
    assert raft(stage, 3).voted == 0


def test_leadership_goes_where_it_is_planned_to_without_an_election_time_out() -> None:
    for to in range(3):
        world = Elected(3, built(plans=Plans((0, 1, 2), transfers=(Transfer(6 * T, to),))))
        leader = world.elected()
        world.submit(leader)
        world.wait(2 * T + RETRY_NS + 6 * world.DELAY_NS)
        assert leaders(world) == [to]
        assert raft(world, to).term == 1 + (to != leader)
        world.submit(leader)
        world.wait(10 * T)
        assert leaders(world) == [to], "once"
        assert world.order == [value(1), value(2)]


def test_a_transfer_to_one_that_is_down_waits_and_the_leader_goes_on() -> None:
    world = Elected(3, built(plans=Plans((0, 1, 2), transfers=(Transfer(6 * T, 2),))))
    world.wait(5 * T)
    world.kill(2)
    world.wait(3 * T)
    (leader,) = leaders(world)
    world.submit(leader)
    world.wait(T)
    assert world.order == [value(1)]
    world.start(2)
    world.wait(8 * T)
    assert leaders(world) == [2]


def test_what_a_scenario_plans_is_done_on_the_simulator() -> None:
    parameters = {
        "voters": 3,
        "changes": [{"at_ns": "8ms", "members": [2, 3, 4]}],
        "transfers": [{"at_ns": "16ms", "to": 4}],
    }
    protocol = {
        "consensus": "raft",
        "f": 1,
        "window": "1ms",
        "retry": "300us",
        "instances": 24,
        "parameters": parameters,
    }
    data = {"name": "x", "topology": {"kind": "star", "hosts": 5}, "links": {"default": {"delay": "20us"}}}
    plan = compile_plan(from_data({**data, "protocol": {**protocol, "parameters": parameters}}))
    history = SimEngine().run(plan)
    verdict = judge(plan, history).consensus
    assert verdict is not None
    assert (verdict.decided, verdict.undecided, verdict.disagreements) == (5 * 24, (), ())
    speaks = {event.what.round: event.node for event in history.events.of_kind(Sent) if event.what.step == Step.APPEND}
    assert speaks[max(speaks)] == "host5"


# -- snapshots and lives -----------------------------------------------------------------------------------------------


def test_who_lacks_what_is_forgotten_gets_the_state_in_its_place() -> None:
    world = Elected(3, built())
    leader = world.elected()
    behind = (leader + 1) % 3
    world.kill(behind)
    for _ in range(10):
        world.submit(leader)
        world.wait(50)
    world.compact(leader)
    assert not raft(world, leader).entries.kept
    world.submit(leader)
    world.wait(50)
    world.start(behind, State.KEPT)
    world.wait(3 * T)
    assert world.held[behind] == world.order
    assert len(world.order) == 11
    assert raft(world, behind).entries.base == raft(world, leader).entries.base


def test_nothing_long_is_said_to_one_that_is_down() -> None:
    world = Elected(3, built())
    leader = world.elected()
    down = (leader + 1) % 3
    world.kill(down)
    for _ in range(10):
        world.submit(leader)
        world.wait(50)
    world.compact(leader)
    world.wait(2 * T)
    world.sent = []
    world.wait(10 * T)
    said = {(frame.message.step, len(frame.message.body)) for _, frame in world.sent if frame.dst == down}
    assert said == {(Step.APPEND, len(message(1, Append(Spot(0, 0), 0, 0)).body))}
    world.start(down, State.KEPT)
    world.wait(T)
    assert world.held[down] == world.order


def test_a_life_with_its_disk_goes_on_with_its_term_vote_log_and_members() -> None:
    plans = Plans((0, 1, 2), (Change(5 * T, (0, 1, 2, 3)),))
    world = Elected(4, built(plans=plans))
    for number in range(30):
        world.submit(number % 4)
        world.wait(T // 2)
        if number == 20:
            world.compact(1)
    before = [(m.term, m.voted, m.entries.kept, m.entries.base, m.members) for m in (raft(world, n) for n in range(4))]
    for number in range(4):
        world.kill(number)
    for number in range(4):
        world.start(number, State.UNSYNCED_LOST)
    after = [(m.term, m.voted, m.entries.kept, m.entries.base, m.members) for m in (raft(world, n) for n in range(4))]
    assert before == after
    world.wait(5 * T)
    assert all(held == world.order for held in world.held)
    assert len(world.order) == 30


def test_a_life_without_its_disk_learns_and_neither_votes_nor_counts_nor_do_its_next_lives() -> None:
    world = Elected(3, built())
    leader = world.elected()
    one, other = (number for number in range(3) if number != leader)
    for _ in range(5):
        world.submit(leader)
        world.wait(50)
    world.start(one, State.LOST)
    world.wait(2 * T)
    assert world.held[one] == world.order
    world.start(one, State.KEPT)
    world.wait(2 * T)
    world.kill(other)
    decided = len(world.order)
    world.submit(leader)
    world.wait(20 * T)
    assert len(world.order) == decided
    assert leaders(world) == []
    world.start(other, State.KEPT)
    world.wait(6 * T)
    assert len(world.order) == decided + 1
    assert world.held[one] == world.order
