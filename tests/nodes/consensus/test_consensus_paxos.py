"""Single-decree Paxos: four message delays, takeovers, restarts, and agreement whatever the network does."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from builders import Disk, Fed, node_config, rest
from consensus_harness import FIRST, Chaos, port_to
from hypothesis import given, settings
from hypothesis import strategies as st
from network import Network, Timed

from testbed.explore.model import all_pairs
from testbed.nodes import frames
from testbed.nodes.consensus.ballots import MAX_BALLOT, Ballots
from testbed.nodes.consensus.paxos import PaxosMachine, Pitfall
from testbed.nodes.consensus.paxos.messages import Message, Step, read
from testbed.nodes.consensus.paxos.roles import Acceptor, Proposer
from testbed.nodes.core import CancelTimer, Decide, Effects, Machine, Note, Persist, Propose, Send, SetTimer
from testbed.nodes.core.config import ProtocolConfig
from testbed.nodes.core.disk import State as DiskState
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.values import of_int
from testbed.nodes.frames import Frame, Kind

DELAY_NS = 10_000
PERIOD_NS = 1_000_000


def machines(n: int, pitfalls: tuple[Pitfall, ...] = (), **settings_: Any) -> dict[int, PaxosMachine]:
    settings_ = {"consensus": "paxos", "period_ns": PERIOD_NS, "retry_ns": 100_000, **settings_}
    return {node: Fed(PaxosMachine(node_config(node, n, **settings_), pitfalls)) for node in range(n)}


def decide(instance: int, number: int, round_: int) -> Decide:
    return Decide(instance, of_int(number), round_)


def propose(instance: int, number: int) -> Propose:
    return Propose(instance, of_int(number))


def lockstep(nodes: dict[int, PaxosMachine]) -> Timed:
    return Timed(nodes, lambda *_: DELAY_NS)


def message(instance: int, what: Message) -> frames.Message:
    return frames.Message(Kind.DATA, instance, what.step, what.body())


# -- without failures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_the_first_member_decides_after_four_message_delays_and_the_others_after_five(n: int) -> None:
    net = lockstep(machines(n))
    net.start()
    net.run(PERIOD_NS)
    assert net.decided() == {node: ((4 if node == 0 else 5) * DELAY_NS, decide(0, 0, 0)) for node in range(n)}
    # prepare, promise, accept, accepted, decide: each between node 0 and all others, none repeated, nobody takes over
    assert len(net.frames) == 5 * (n - 1)


def test_a_single_node_decides_alone_and_at_once() -> None:
    net = lockstep(machines(1, instances=2))
    net.start()
    net.run(2 * PERIOD_NS)
    assert [(at, decide) for at, _, decide in net.decisions] == [(0, decide(0, 0, 0)), (PERIOD_NS, decide(1, 0, 1))]
    assert not net.frames


def test_instances_follow_each_other_and_each_takes_the_proposers_input() -> None:
    net = lockstep(machines(3, instances=4, instance_rounds=1))
    net.start()
    net.run(5 * PERIOD_NS)
    for instance in range(4):
        decided = net.decided(instance)
        assert {told for _, told in decided.values()} == {decide(instance, instance % 3, instance)}
        assert min(at for at, _ in decided.values()) == instance * PERIOD_NS + 4 * DELAY_NS
    assert {(node, p.instance, p.value) for node, p in net.proposals} == {
        (node, instance, of_int((node + instance) % 3)) for node in range(3) for instance in range(4)
    }
    assert not any(machine.open for machine in net.machines.values())


def test_frames_are_numbered_and_name_the_instance() -> None:
    net = lockstep(machines(3, instances=2))
    net.start()
    net.run(3 * PERIOD_NS)
    sent = [frame for _, frame in net.frames]
    assert len({frame.key for frame in sent}) == len(sent)
    assert {frame.message.round for frame in sent} == {0, 1}
    assert all(frame.message.kind is Kind.DATA and 1 <= frame.message.step <= 6 for frame in sent)


# -- crashes and losses -----------------------------------------------------------------------------------------------


def test_the_next_in_rank_takes_over_from_a_proposer_that_never_came_up() -> None:
    net = lockstep(machines(5))
    net.start(1, 2, 3, 4)
    net.run(PERIOD_NS)
    decided = net.decided()
    # node 1 waits for four retries, and then needs its two round trips
    assert decided[1] == (400_000 + 4 * DELAY_NS, decide(0, 1, 1))
    assert {told.value for _, told in decided.values()} == {of_int(1)}
    assert set(decided) == {1, 2, 3, 4}


@pytest.mark.parametrize("crash_ns", range(0, 45_000, 5_000))
def test_whenever_the_proposer_dies_the_rest_agrees_with_what_it_may_have_decided(crash_ns: int) -> None:
    net = lockstep(machines(3))
    net.start()
    net.run(crash_ns)
    net.kill(0)
    net.run(20 * PERIOD_NS)
    decided = net.decided()
    assert set(decided) >= {1, 2}
    assert len({decide.value for _, decide in decided.values()}) == 1


def test_two_of_five_die_one_after_the_other_in_the_middle_of_their_ballots() -> None:
    net = lockstep(machines(5))
    net.start()
    net.run(15_000)
    net.kill(0)
    net.run(425_000)  # node 1 heard of ballot 1 at 10 us, took over 4 retries later and waits for promises
    net.kill(1)
    net.run(20 * PERIOD_NS)
    decided = net.decided()
    assert set(decided) == {2, 3, 4}
    assert len({decide.value for _, decide in decided.values()}) == 1


def test_without_a_majority_nothing_is_decided() -> None:
    net = lockstep(machines(4))
    net.start(0, 1)
    net.run(50 * PERIOD_NS)
    assert not net.decisions


@pytest.mark.parametrize("seed", range(30))
def test_a_third_of_all_frames_lost_and_delays_past_every_retry(seed: int) -> None:
    rng = random.Random(seed)
    net = Timed(machines(5), lambda *_: rng.randrange(1_000, 300_000) if rng.random() > 1 / 3 else None)
    net.start()
    net.run(10**9)
    decided = net.decided()
    assert set(decided) == set(range(5))
    assert len({decide.value for _, decide in decided.values()}) == 1
    assert not any(machine.open for machine in net.machines.values())


def test_delays_a_hundred_times_the_patience_only_cost_attempts() -> None:
    net = Timed(machines(3), lambda *_: 40_000_000)
    net.start()
    net.run(100 * 10**9)
    decided = net.decided()
    assert set(decided) == {0, 1, 2}
    assert len({decide.value for _, decide in decided.values()}) == 1
    assert max(decide.round for _, decide in decided.values()) > 3


def test_who_misses_the_decision_asks_for_it() -> None:
    def delay_ns(src: int, dst: int, frame: Frame) -> int | None:
        lost = frame.message.step == Step.DECIDE and dst == 2 and net.now_ns < 50_000
        return None if lost else DELAY_NS

    net = Timed(machines(3), delay_ns)
    net.start()
    net.run(PERIOD_NS)
    # node 2 is two places behind the owner of the ballot: its turn comes 8 retries after it heard of it
    assert net.decided()[2] == (800_000 + 2 * DELAY_NS, decide(0, 0, 0))


# -- restarts ---------------------------------------------------------------------------------------------------------


def restart_kept(net: Timed, node: int) -> None:
    """A new machine, and the disk of the old one."""
    net.kill(node)
    net.machines[node] = reborn(net.machines[node])
    net.start(node)


def reborn(machine: PaxosMachine) -> PaxosMachine:
    """A machine of the same node's next life."""
    return Fed(PaxosMachine(replace(machine.config, epoch=machine.config.epoch + 1)))


@pytest.mark.parametrize("at_ns", [0, 5_000, 15_000, 25_000, 35_000, 45_000])
@pytest.mark.parametrize("node", [0, 1])
def test_a_node_restarted_with_its_state_goes_on_where_it_was(node: int, at_ns: int) -> None:
    net = lockstep(machines(3, instances=2, keeps=True))
    net.start()
    net.run(at_ns)
    restart_kept(net, node)
    net.run(6 * PERIOD_NS)
    for instance in range(2):
        decided = net.decided(instance)
        assert set(decided) == {0, 1, 2}
        assert len({decide.value for _, decide in decided.values()}) == 1
    assert {frame.key.epoch for _, frame in net.frames if frame.key.src == node} >= {2}


def test_a_kept_state_tells_the_decisions_of_its_last_event_again_and_no_older_ones() -> None:
    """The crash may have struck among the effects of that event."""
    machine = machines(3, instances=3, keeps=True)[1]
    disk = Disk().after(machine.on_start(0, {}))
    decision = machine.on_message(0, message(0, Message(Step.DECIDE, 1, value=of_int(7))), FIRST, 50)
    assert rest(decision)[0] == decide(0, 7, 0)
    assert reborn(machine).on_start(60, disk.after(decision)) == [decide(0, 7, 0), SetTimer("instance", PERIOD_NS)]
    disk.after(machine.on_message(0, message(0, Message(Step.PROMISE, 1)), FIRST, 70))
    assert reborn(machine).on_start(80, disk) == [SetTimer("instance", PERIOD_NS)]


def test_a_kept_state_tells_what_its_last_event_proposed_again_and_no_older_proposals() -> None:
    """The state was kept, and the crash struck before the proposal was on record: whoever decides its value would seem
    to have made it up."""
    machine = machines(3, instances=3, keeps=True)[1]
    disk = Disk().after(machine.on_start(0, {}))
    assert propose(0, 1) in reborn(machine).on_start(60, disk)
    disk.after(machine.on_timer("instance", PERIOD_NS))
    again = reborn(machine).on_start(PERIOD_NS, disk)
    assert [effect for effect in again if isinstance(effect, Propose)] == [propose(1, 2)]
    disk.after(machine.on_timer("turn 0", PERIOD_NS + 1))
    assert not any(isinstance(effect, Propose) for effect in reborn(machine).on_start(PERIOD_NS + 2, disk))


def test_a_kept_state_begins_missed_instances_one_by_one() -> None:
    """Each proposal is the first effect of its event: no crash after some sends can swallow it."""
    machine = machines(3, instances=3, keeps=True)[0]
    disk = Disk().after(machine.on_start(-1, {}))
    machine = reborn(machine)
    assert machine.on_start(5 * PERIOD_NS, disk) == [SetTimer("instance", 0)]
    for instance in range(3):
        effects = rest(machine.on_timer("instance", 5 * PERIOD_NS))
        assert [effect for effect in effects if isinstance(effect, Propose)] == [effects[0]]
        assert effects[0] == propose(instance, instance)


def written_by(instances: int) -> tuple[int, int, int]:
    """What a node of three that keeps its disk writes: bytes in all, in one event at most, and what is left at last."""
    net = lockstep(machines(3, instances=instances, keeps=True))
    events: list[int] = []

    class Counting(PaxosMachine):
        def keep(self, effects: Effects, *instances: int) -> Effects:
            kept = super().keep(effects, *instances)
            events.append(sum(len(one.key) + len(one.data or b"") for one in kept if isinstance(one, Persist)))
            return kept

    net.machines[1] = Fed(Counting(net.machines[1].config))
    net.start()
    net.run(instances * PERIOD_NS)
    assert all(len(net.decided(instance)) == 3 for instance in (0, instances - 1))
    return (
        sum(events),
        max(events),
        sum(len(key) + len(data) for key, data in net.nodes[1].disk.recover(DiskState.KEPT).items()),
    )


def test_what_is_written_in_an_event_does_not_grow_with_the_instances_that_have_been() -> None:
    """A node that keeps its disk pays for what it does, not for what it has ever done."""
    few, most_of_few, _ = written_by(100)
    many, most_of_many, left = written_by(1600)
    assert most_of_many <= most_of_few + 20  # four places for numbers of four digits in place of three
    assert many / 1600 <= 1.1 * few / 100 < 500
    assert left < 1600 * 50


def test_a_node_restarted_without_its_state_stays_out_of_what_it_may_have_promised() -> None:
    net = lockstep(machines(3, instances=2))
    net.start()
    net.run(15_000)
    net.kill(1)
    net.kill(2)
    net.run(100_000)
    net.machines[1] = Fed(PaxosMachine(node_config(1, 3, epoch=2, period_ns=PERIOD_NS, retry_ns=100_000, instances=2)))
    net.start(1)
    net.run(PERIOD_NS - 1)
    assert not net.decided(0)  # node 0 asks and asks, but node 1 must not answer
    assert {note.what for _, note in net.notes} == {"absent"}
    net.run(10 * PERIOD_NS)
    assert set(net.decided(1)) == {0, 1}  # in the next instance it is a member like any other
    # it may learn of an old instance, though
    old = message(0, Message(Step.DECIDE, 1, value=of_int(9)))
    assert net.machines[1].on_message(0, old, FIRST, 0)[0] == decide(0, 9, 0)


def test_a_restart_at_the_very_instant_of_an_instance_counts_as_after_its_beginning() -> None:
    config = node_config(1, 3, epoch=2, period_ns=PERIOD_NS, instances=3, start_ns=500)
    for now_ns, first in [(0, 0), (499, 0), (500, 1), (500 + PERIOD_NS - 1, 1), (500 + PERIOD_NS, 2)]:
        machine = Fed(PaxosMachine(config))
        machine.on_start(now_ns, {})
        assert machine.next_instance == first
    machine = Fed(PaxosMachine(config))
    assert machine.on_start(500 + 9 * PERIOD_NS, {}) == []


# -- frames that do not belong here -----------------------------------------------------------------------------------


def test_strays_are_noted_and_change_nothing() -> None:
    machine = machines(3)[0]
    machine.on_start(0, {})
    before = pickle.dumps(machine)
    good = message(0, Message(Step.PREPARE, 5))
    for stray in (good._replace(kind=Kind.SWAP), good._replace(round=1)):  # there is only one instance
        [note] = machine.on_message(0, stray, FIRST, 0)
        assert isinstance(note, Note)
        assert note.what == "stray"
    assert pickle.dumps(machine) == before
    for stray in (good._replace(step=0), good._replace(step=7), message(0, Message(Step.PREPARE, 0))):
        assert [effect.what for effect in machine.on_message(0, stray, FIRST, 0) if isinstance(effect, Note)] == [
            "stray"
        ]


def test_a_number_that_leaves_no_room_above_it_is_no_ballot() -> None:
    machine = machines(3)[0]
    machine.on_start(0, {})
    for what in (Message(Step.PREPARE, MAX_BALLOT + 1), Message(Step.REJECT, 1, MAX_BALLOT + 1)):
        [note] = machine.on_message(0, message(0, what), FIRST, 0)
        assert isinstance(note, Note)
        assert note.what == "stray"
    machine.on_message(0, message(0, Message(Step.PREPARE, MAX_BALLOT)), FIRST, 0)
    [_, ask, _] = machine.on_timer("turn 0", 10**12)  # its own next ballot is above
    assert isinstance(ask, Send)
    assert int.from_bytes(ask.message.body[:4], "big") > MAX_BALLOT


def test_only_members_take_part() -> None:
    config = node_config(0, 3, period_ns=PERIOD_NS)
    machine = Fed(PaxosMachine(type(config)(0, "host0", config.peers, config.nics, (0, 1), config.protocol)))
    assert {effect.port for effect in machine.on_start(0, {}) if isinstance(effect, Send)} == {0}
    [note] = machine.on_message(1, message(0, Message(Step.PREPARE, 5)), FIRST, 0)
    assert isinstance(note, Note)
    assert note.what == "stray"


def test_frames_ahead_of_the_own_clock_wait_for_it() -> None:
    nodes = machines(3, instances=2)
    machine = nodes[1]
    machine.on_start(0, {})
    early = message(1, Message(Step.PREPARE, 1))
    assert not any(isinstance(effect, Send) for effect in machine.on_message(0, early, FIRST, PERIOD_NS - 1))
    effects = machine.on_timer("instance", PERIOD_NS)
    assert [effect for effect in effects if isinstance(effect, Propose)] == [propose(1, 2)]
    assert [effect.message.step for effect in effects if isinstance(effect, Send)] == [Step.PROMISE]


def test_a_frame_at_the_instant_of_the_beginning_begins_it() -> None:
    machine = machines(3, instances=2)[1]
    machine.on_start(0, {})
    effects = machine.on_message(0, message(1, Message(Step.PREPARE, 1)), FIRST, PERIOD_NS)
    assert propose(1, 2) in effects
    assert machine.on_timer("instance", PERIOD_NS) == []


def test_timers_of_what_is_over_do_nothing() -> None:
    net = lockstep(machines(3))
    net.start()
    net.run(PERIOD_NS)
    assert net.machines[0].on_timer("retry 0", PERIOD_NS) == []
    machine = machines(3)[1]
    machine.on_start(0, {})
    assert machine.on_timer("retry 0", 0) == []


def test_a_machine_keeps_to_the_contract() -> None:
    machine: Machine = machines(2)[1]
    effects = machine.on_start(0, {})
    assert effects == [propose(0, 1), SetTimer("turn 0", 400_000)]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2]), st.integers(0, 255), st.binary(min_size=16, max_size=16), st.integers(0, 3)),
        max_size=8,
    )
)
def test_messages_of_random_bytes_do_no_harm(said: list[tuple[int, int, bytes, int]]) -> None:
    machine = machines(3, instances=2)[0]
    machine.on_start(0, {})
    for seq, (src, step, body, round_) in enumerate(said):
        machine.on_message(src - 1, frames.Message(Kind.DATA, round_, step, body), FIRST, 10 * seq)
    for name in ("retry 0", "turn 0", "instance"):
        machine.on_timer(name, PERIOD_NS)


# -- the roles --------------------------------------------------------------------------------------------------------


def test_ballots_are_told_apart_by_rank_and_grow_by_attempt() -> None:
    ballots = Ballots(3)
    numbers = [ballots.number(attempt, rank) for attempt, rank in itertools.product(range(4), range(3))]
    assert numbers == list(range(1, 13))
    assert [(ballots.attempt(b), ballots.rank(b)) for b in numbers] == list(itertools.product(range(4), range(3)))


def test_an_acceptor_keeps_its_promises() -> None:
    acceptor = Acceptor()
    assert acceptor.prepare(5)
    assert not acceptor.prepare(4)
    assert not acceptor.accept(4, 1)
    assert acceptor.accept(7, 2)  # without a prepare: phase 2 may go to any quorum
    assert not acceptor.prepare(6)  # the vote was a promise too
    assert (acceptor.voted, acceptor.value) == (7, 2)


def test_a_proposer_takes_the_vote_of_the_highest_ballot() -> None:
    proposer = Proposer(9, 3)
    assert not proposer.promise(0, 2, 20, 99)
    assert not proposer.promise(0, 2, 20, 99)  # a duplicate counts once
    assert not proposer.promise(1, 4, 40, 99)
    assert proposer.promise(2, 0, 0, 99)
    assert proposer.value == 40
    assert not proposer.promise(3, 8, 80, 99)  # too late: phase 2 has begun
    assert proposer.value == 40


def test_messages_survive_the_wire() -> None:
    for step in Step:
        what = Message(step, MAX_BALLOT, 3, b"any bytes")
        assert read(message(0, what)) == what
    assert read(frames.Message(Kind.DATA, 0, Step.PREPARE, b"short")) is None


# -- the roles, exhaustively ------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """An acceptor, and what the proposer of each ballot has from it: the promise, while it matters, and the vote."""

    acceptor: tuple[int, int, int]  # promised, voted, value
    promises: tuple[tuple[int, ...], ...]  # per ballot (voted, value) or ()
    votes: tuple[bool, ...]  # per ballot


class State(NamedTuple):
    values: tuple[int, ...]  # per ballot: what its phase 2 proposes, 0 during phase 1
    columns: tuple[Column, ...]  # sorted: acceptors are alike


class Explorer:
    """Breadth-first over what ballots 1 .. b, each with an input of its own, can do with a few acceptors when any
    message may come at any time, again and again, or never. Promises that come too late and votes that are lost are
    left out: they only keep values from being chosen. The code under test is Acceptor and Proposer themselves."""

    def __init__(self, acceptors: int, ballots: int, pitfalls: tuple[Pitfall, ...] = ()) -> None:
        self.acceptors, self.ballots, self.pitfalls = acceptors, ballots, pitfalls

    def search(self) -> tuple[int, int | None]:
        """(states, None), or (states until then, steps of the shortest way to two chosen values)."""
        nothing = Column((0, 0, 0), ((),) * self.ballots, (False,) * self.ballots)
        start = State((0,) * self.ballots, (nothing,) * self.acceptors)
        seen, layer, steps = {start}, [start], 0
        while layer:
            steps += 1
            following = []
            for state in layer:
                for new in self._successors(state):
                    if new in seen:
                        continue
                    seen.add(new)
                    following.append(new)
                    if len(self._chosen(new)) > 1:
                        return len(seen), steps
            layer = following
        return len(seen), None

    def _chosen(self, state: State) -> set[int]:
        return {
            value
            for index, value in enumerate(state.values)
            if 2 * sum(column.votes[index] for column in state.columns) > self.acceptors
        }

    def _successors(self, state: State) -> Iterator[State]:
        for index, name in itertools.product(range(self.ballots), range(self.acceptors)):
            column = state.columns[name]
            acceptor = Acceptor(self.pitfalls, *column.acceptor)
            if state.values[index]:
                if acceptor.accept(index + 1, state.values[index]):
                    votes = tuple(vote or ballot == index for ballot, vote in enumerate(column.votes))
                    yield self._with(state, name, self._kept(acceptor, column)._replace(votes=votes))
            elif acceptor.prepare(index + 1):
                yield self._with(state, name, self._kept(acceptor, column))  # the promise is lost
                yield self._promised(state, index, name, acceptor)

    def _promised(self, state: State, index: int, name: int, acceptor: Acceptor) -> State:
        before = {a: column.promises[index] for a, column in enumerate(state.columns) if column.promises[index]}
        proposer = Proposer(index + 1, self.acceptors // 2 + 1, self.pitfalls, before)
        proposer.promise(name, acceptor.voted, acceptor.value, own_value=100 + index)
        kept = {} if proposer.value is not None else proposer.promises
        columns = [
            column._replace(promises=(*column.promises[:index], kept.get(a, ()), *column.promises[index + 1 :]))
            for a, column in enumerate(state.columns)
        ]
        values = (*state.values[:index], proposer.value or 0, *state.values[index + 1 :])
        return self._with(State(values, tuple(columns)), name, self._kept(acceptor, columns[name]))

    @staticmethod
    def _kept(acceptor: Acceptor, column: Column) -> Column:
        return column._replace(acceptor=(acceptor.promised, acceptor.voted, acceptor.value))

    @staticmethod
    def _with(state: State, name: int, column: Column) -> State:
        return State(state.values, tuple(sorted((*state.columns[:name], column, *state.columns[name + 1 :]))))


@pytest.mark.parametrize(("ballots", "states"), [(1, 14), (2, 181), (3, 2424)])
def test_no_two_values_can_be_chosen(ballots: int, states: int) -> None:
    assert Explorer(acceptors=3, ballots=ballots).search() == (states, None)


def test_nor_by_four_acceptors() -> None:
    assert Explorer(acceptors=4, ballots=3).search() == (11_527, None)


FOUND_HERE = (Pitfall.ACCEPT_KEEPS_PROMISE, Pitfall.ANSWER_NOT_KEPT, Pitfall.ANSWER_NOT_SYNCED)


def finds(pitfall: str) -> bool:
    """Whether the search, or the story, shows the known bug (for the conformance suite)."""
    if pitfall in (Pitfall.ANSWER_NOT_KEPT, Pitfall.ANSWER_NOT_SYNCED):
        return len(promise_and_crash((Pitfall(pitfall),), DiskState.UNSYNCED_LOST)) > 1
    return Explorer(acceptors=3, ballots=3, pitfalls=(Pitfall(pitfall),)).search()[1] is not None


@pytest.mark.parametrize("pitfall", [Pitfall.ACCEPT_KEEPS_PROMISE, Pitfall.ANY_VOTE])
def test_the_same_search_finds_each_known_bug_by_the_shortest_way(pitfall: Pitfall) -> None:
    # both need three ballots: two quorums of promises, four votes for two of them, and the third one misled
    assert Explorer(acceptors=3, ballots=2, pitfalls=(pitfall,)).search()[1] is None
    assert Explorer(acceptors=3, ballots=3, pitfalls=(pitfall,)).search()[1] == 11


# -- everything that asynchrony allows --------------------------------------------------------------------------------


def promise_and_crash(pitfalls: tuple[Pitfall, ...], state: DiskState) -> set[bytes]:
    """The values decided when n1 dies right after its second send, which promises n2's ballot, and comes back."""
    protocol = ProtocolConfig(consensus="paxos", period_ns=PERIOD_NS, retry_ns=100_000)
    net = Network(all_pairs(3, protocol), build=lambda config: Fed(PaxosMachine(config, pitfalls)))
    net.doomed["n1"] = [Moment(0, after_sends=2)]
    for name in net.nodes:
        net.start(name)

    def deliver(src: int, dst: int, step: Step) -> None:
        ways = [
            way for way in net.wire if (way.frame.key.src, way.frame.dst, way.frame.message.step) == (src, dst, step)
        ]
        net.deliver(ways[0])

    net.tick(0)
    deliver(0, 1, Step.PREPARE)
    deliver(1, 0, Step.PROMISE)  # with its own a quorum for ballot 1, whose accepts are slow
    net.nodes["n2"].fire("turn 0")
    deliver(2, 1, Step.PREPARE)
    deliver(1, 2, Step.PROMISE)  # the last word of n1's first life: nothing below ballot 6
    assert net.nodes["n1"].machine is None
    net.start("n1", state)
    deliver(0, 1, Step.ACCEPT)
    [answer] = [way.frame.message.step for way in net.wire if (way.frame.key.src, way.frame.dst) == (1, 0)]
    deliver(1, 0, Step(answer))  # accepted by who has forgotten its promise, else rejected
    deliver(2, 1, Step.ACCEPT)
    deliver(1, 2, Step.ACCEPTED)
    deciders = [node.machine for node in net.nodes.values() if 0 in node.machine.decided]
    return {machine.decided[0].value for machine in deciders}


LEFT = [state for state in DiskState if state is not DiskState.LOST]


@pytest.mark.parametrize("state", LEFT)
def test_the_story_of_a_promise_that_was_sent_before_it_was_kept(state: DiskState) -> None:
    """Whatever became of the disk: the correct machine had synced what it said."""
    assert promise_and_crash((), state) == {of_int(2)}
    assert promise_and_crash((Pitfall.ANSWER_NOT_KEPT,), state) == {of_int(0), of_int(2)}


def test_the_story_of_a_promise_that_was_sent_before_it_was_synced() -> None:
    """A process may die like that, for what it wrote is written; its machine may not."""
    values = {state: promise_and_crash((Pitfall.ANSWER_NOT_SYNCED,), state) for state in LEFT}
    assert values == {
        DiskState.KEPT: {of_int(2)},
        DiskState.UNSYNCED_LOST: {of_int(0), of_int(2)},
        DiskState.TORN: {of_int(0), of_int(2)},
    }


def disagreements(seeds: range, pitfalls: tuple[Pitfall, ...] = (), n: int = 3) -> int:
    """Walks with two different decisions. Validity is asserted in all of them."""
    found = 0
    for seed in seeds:
        decisions = Chaos(machines(n, pitfalls), random.Random(seed)).run(stages=20)
        values = {decide.value for decide in decisions}
        assert values <= set(map(of_int, range(n)))
        found += len(values) > 1
    return found


def test_no_walk_of_the_machines_ends_in_disagreement() -> None:
    # fixed seeds; the exhaustive search of the roles above is the proof for small cases
    assert disagreements(range(400)) == 0
    assert disagreements(range(400), n=5) == 0


@pytest.mark.parametrize("pitfalls", [(), (Pitfall.ACCEPT_KEEPS_PROMISE,)])
def test_the_story_of_a_vote_that_was_no_promise(pitfalls: tuple[Pitfall, ...]) -> None:
    """Five machines, three ballots. Node 2 promises ballot 1, votes in a higher ballot that it never promised, and
    then the old accept of ballot 1 reaches it."""
    nodes = machines(5, pitfalls)
    wire: list[tuple[int, int, frames.Message]] = []
    decided: list[Decide] = []

    def perform(node: int, effects: Effects) -> None:
        peers = nodes[node].config.peers
        wire.extend((node, peers[effect.port].node, effect.message) for effect in effects if isinstance(effect, Send))
        decided.extend(effect for effect in effects if isinstance(effect, Decide))

    def deliver(step: Step, *ways: tuple[int, int]) -> None:
        for src, dst in ways:
            said = next(way for way in wire if way[:2] == (src, dst) and way[2].step == step)
            wire.remove(said)
            perform(dst, nodes[dst].on_message(port_to(nodes[dst], src), said[2], FIRST, 0))

    for node, machine in nodes.items():
        perform(node, machine.on_start(0, {}))
    # ballot 1 of node 0 is promised by nodes 1 and 2; its accepts stay on the way
    deliver(Step.PREPARE, (0, 1), (0, 2))
    deliver(Step.PROMISE, (1, 0), (2, 0))
    # node 4's ballot is promised by nodes 1 and 3, and accepted by nodes 2 and 3: value 4 is chosen
    perform(4, nodes[4].on_timer("turn 0", 0))
    deliver(Step.PREPARE, (4, 1), (4, 3))
    deliver(Step.PROMISE, (1, 4), (3, 4))
    deliver(Step.ACCEPT, (4, 2), (4, 3))
    deliver(Step.ACCEPTED, (2, 4), (3, 4))
    assert [told.value for told in decided] == [of_int(4)]
    # now the accept of ballot 1 comes to node 2, and then node 1 asks nodes 0 and 2
    deliver(Step.ACCEPT, (0, 2))
    perform(1, nodes[1].on_timer("turn 0", 0))
    deliver(Step.PREPARE, (1, 0), (1, 2))
    deliver(Step.PROMISE, (0, 1), (2, 1))
    deliver(Step.ACCEPT, (1, 0), (1, 2))
    deliver(Step.ACCEPTED, (0, 1), (2, 1))
    assert [told.value for told in decided] == [of_int(4), of_int(0 if pitfalls else 4)]


def test_giving_way_ends_the_own_ballot() -> None:
    machine = machines(3)[0]
    machine.on_start(0, {})
    effects = machine.on_message(0, message(0, Message(Step.REJECT, 1, 6)), FIRST, 100)
    assert effects == [CancelTimer("retry 0"), SetTimer("turn 0", 100 + 1 * 2 * 400_000)]
    # an answer to the ballot that was given up, and its timer, mean nothing any more
    assert machine.on_message(0, message(0, Message(Step.PROMISE, 1)), FIRST, 200) == []
    assert machine.on_timer("retry 0", 300) == []
