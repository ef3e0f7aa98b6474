"""Fast Paxos: two message delays, collisions and their recovery, quorums counted exhaustively, fallback to classic."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from builders import Fed, node_config
from consensus_harness import FIRST, islands
from hypothesis import given, settings
from hypothesis import strategies as st
from network import Timed

from testbed.nodes import frames
from testbed.nodes.consensus.ballots import MAX_BALLOT, Ballots
from testbed.nodes.consensus.fast_paxos import FastPaxosMachine, Pitfall
from testbed.nodes.consensus.fast_paxos.messages import Message, Step, read
from testbed.nodes.consensus.fast_paxos.roles import FAST, NOTHING, Acceptor, Numbers, Proposer, Quorums, Vote
from testbed.nodes.core import Decide, Note, Send
from testbed.nodes.core.disk import State
from testbed.nodes.core.values import of_int
from testbed.nodes.frames import Frame, Kind
from testbed.scenario import ScenarioError, compile_plan, from_data

DELAY_NS = 10_000
PERIOD_NS = 1_000_000
RETRY_NS = 100_000
PATIENCE_NS = 4 * RETRY_NS

Lost = Callable[[int, int, Step], bool]


def machine(node: int, n: int, pitfalls: Collection[str] = (), own: Any = None, **protocol: Any) -> FastPaxosMachine:
    protocol = {"f": (n - 1) // 2, "period_ns": PERIOD_NS, "retry_ns": RETRY_NS, **protocol}
    config = node_config(node, n, consensus="fast_paxos", **protocol)
    return Fed(FastPaxosMachine(config, [Pitfall(name) for name in pitfalls], **(own or {})))


def machines(n: int, pitfalls: Collection[str] = (), own: Any = None, **protocol: Any) -> dict[int, FastPaxosMachine]:
    return {node: machine(node, n, pitfalls, own, **protocol) for node in range(n)}


def all_offer(n: int) -> dict[str, int]:
    return {"proposers": n}


def lockstep(nodes: dict[int, FastPaxosMachine], lost: Lost = lambda *_: False) -> Timed:
    def delay_ns(src: int, dst: int, frame: Frame) -> int | None:
        return None if lost(src, dst, Step(frame.message.step)) else DELAY_NS

    return Timed(nodes, delay_ns)


def run(net: Timed, *alive: int, until_ns: int = PERIOD_NS) -> Timed:
    net.start(*alive)
    net.run(until_ns)
    return net


def decide(instance: int, number: int, round_: int) -> Decide:
    return Decide(instance, of_int(number), round_)


def values(net: Timed, instance: int = 0) -> set[bytes]:
    return {told.value for _, told in net.decided(instance).values()}


def steps(net: Timed) -> Counter[Step]:
    return Counter(Step(frame.message.step) for _, frame in net.frames)


def message(what: Message, instance: int = 0) -> frames.Message:
    return frames.Message(Kind.DATA, instance, what.step, what.body())


# -- without failures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_a_value_that_meets_no_other_is_learned_everywhere_after_two_message_delays(n: int) -> None:
    net = run(lockstep(machines(n)))
    assert net.decided() == {node: (2 * DELAY_NS, decide(0, 1, 0)) for node in range(n)}
    each = n - 1
    assert steps(net) == Counter(
        {Step.OFFER: each, Step.ANY: each, Step.ACCEPTED: n * each, Step.DECIDE: each}
    )  # the last for whoever missed a vote


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_by_way_of_a_leader_it_takes_three(n: int) -> None:
    """Where two are a quorum, who hears the leader's vote is one of them, and knows a delay before the leader does."""
    net = run(lockstep(machines(n, own={"fast": False})))
    assert net.decided() == {node: ((3 if n > 3 or node == 0 else 2) * DELAY_NS, decide(0, 1, 1)) for node in range(n)}


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_values_that_collide_take_two_more(n: int) -> None:
    """Everybody votes for its own; the votes are promises for the next ballot already."""
    net = run(lockstep(machines(n, own=all_offer(n))))
    assert {node: (at_ns, told.round) for node, (at_ns, told) in net.decided().items()} == {
        node: ((4 if n > 3 or node == 0 else 3) * DELAY_NS, 1) for node in range(n)
    }
    assert len(values(net)) == 1
    assert steps(net)[Step.PREPARE] == steps(net)[Step.REJECT] == 0


def test_values_that_are_alike_do_not_collide() -> None:
    net = run(lockstep(machines(5, own=all_offer(5), inputs="random", seed=6)))
    assert {round_ for _, (_, _, round_) in net.decided().values()} == {0}


def test_a_single_node_decides_alone_and_at_once() -> None:
    net = run(lockstep(machines(1, instances=2)), until_ns=2 * PERIOD_NS)
    assert [(at, told) for at, _, told in net.decisions] == [(0, decide(0, 0, 0)), (PERIOD_NS, decide(1, 0, 1))]
    assert not net.frames


# -- crashes ----------------------------------------------------------------------------------------------------------


def test_with_e_crashes_it_is_still_two_delays_and_with_one_more_a_classic_ballot_decides() -> None:
    """Seven members, F = 2, E = 2: five votes make a fast quorum, and a classic one."""
    alive = range(5)
    net = run(lockstep(machines(7, f=2)), *alive)
    assert net.decided() == {node: (2 * DELAY_NS, decide(0, 1, 0)) for node in alive}
    net = run(lockstep(machines(7, f=3)), *range(4))  # F = 3, E = 1: six, and four
    assert net.decided() == {node: (RETRY_NS + 2 * DELAY_NS, decide(0, 1, 1)) for node in range(4)}
    assert steps(net)[Step.PREPARE] == 0, "the votes in the fast ballot are promises"


@pytest.mark.parametrize(("n", "f"), [(3, 1), (4, 1), (5, 2), (5, 1), (7, 2)])
def test_it_bears_f_crashes_and_no_more(n: int, f: int) -> None:
    survived = run(lockstep(machines(n, f=f)), *range(f, n), until_ns=50 * PERIOD_NS)
    assert set(survived.decided()) == set(range(f, n))
    assert len(values(survived)) == 1
    assert not run(lockstep(machines(n, f=f)), *range(f + 1, n), until_ns=50 * PERIOD_NS).decisions


def test_without_its_proposer_the_fast_ballot_is_given_up_for_the_coordinators_value() -> None:
    net = run(lockstep(machines(5)), 0, 2, 3, 4)
    assert net.decided() == {node: (RETRY_NS + 4 * DELAY_NS, decide(0, 0, 1)) for node in (0, 2, 3, 4)}


def test_without_its_coordinator_nobody_may_vote_until_the_next_in_rank_takes_over() -> None:
    net = run(lockstep(machines(5)), 1, 2, 3, 4)
    assert net.decided() == {node: (PATIENCE_NS + 4 * DELAY_NS, decide(0, 1, 2)) for node in (1, 2, 3, 4)}


@pytest.mark.parametrize("crash_ns", range(0, 50_000, 5_000))
@pytest.mark.parametrize("proposers", [1, 3])
def test_whenever_the_coordinator_dies_the_rest_agrees_with_what_may_have_been_chosen(
    crash_ns: int, proposers: int
) -> None:
    net = run(lockstep(machines(3, own={"proposers": proposers})), until_ns=crash_ns)
    net.kill(0)
    net.run(20 * PERIOD_NS)
    assert set(net.decided()) >= {1, 2}
    assert len(values(net)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_third_of_all_frames_lost_and_delays_past_every_retry(seed: int) -> None:
    rng = random.Random(seed)
    nodes = machines(5, own={"proposers": rng.choice((1, 2, 5))})
    net = run(Timed(nodes, lambda *_: rng.randrange(1_000, 300_000) if rng.random() > 1 / 3 else None), until_ns=10**9)
    assert set(net.decided()) == set(range(5))
    assert len(values(net)) == 1
    assert not any(one.open for one in net.machines.values())


@pytest.mark.parametrize(("n", "seeds"), [(3, 25), (4, 25), (5, 10)])
def test_on_islands_of_any_kind_all_agree_and_decide_when_they_are_joined(n: int, seeds: int) -> None:
    for seed in range(seeds):
        own = {"proposers": 1 + seed % n}
        net = islands(machines(n, own=own, period_ns=400, retry_ns=100, instances=20), seed, calm_ns=20_000)
        for instance in range(20):
            assert len(values(net, instance)) == 1
            assert len(net.decided(instance)) == n


# -- what may have been chosen ----------------------------------------------------------------------------------------


def three_of_four(pitfalls: Collection[str] = ()) -> set[bytes]:
    """Nodes 0, 1 and 3 vote for what node 1 offered, node 2 for its own: chosen, as node 1 knows, which dies. Node 3's
    vote does not reach the coordinator, which sees two against one."""

    def lost(src: int, dst: int, step: Step) -> bool:
        return step is Step.ACCEPTED and net.now_ns < RETRY_NS and (src, dst) in ((3, 0), (3, 2), (0, 3))

    net = lockstep(machines(4, pitfalls, own={"proposers": 2}), lost)
    run(net, until_ns=2 * DELAY_NS)
    assert net.decided() == {1: (2 * DELAY_NS, decide(0, 1, 0))}
    net.kill(1)
    net.run(20 * PERIOD_NS)
    assert set(net.decided()) == set(range(4))
    return values(net)


def test_the_coordinator_picks_what_may_have_been_chosen_whatever_else_was_voted_for() -> None:
    assert three_of_four() == {of_int(1)}
    assert three_of_four([Pitfall.RECOVERY_PICKS_ANY]) == {of_int(1), of_int(2)}


def test_the_rule_by_which_a_value_is_picked() -> None:
    a, b, c = (Vote(FAST, value) for value in (b"a", b"b", b"c"))
    quorums = Quorums(7, 2, 2)
    assert quorums.pick((NOTHING,) * 5, b"own") == b"own"
    assert quorums.pick((a, b, b, b, NOTHING), b"own") == b"b"  # three of five: with two more it may have five
    assert quorums.pick((b, a, a, c, NOTHING), b"own") == b"a"  # none can have: any would do
    assert quorums.pick((a, a, a, a, Vote(4, b"d")), b"own") == b"d"  # who brought that about knew better
    assert quorums.collided([b"a", b"a", b"b", b"b", b"b"]) is False  # two more for b
    assert quorums.collided([b"a", b"a", b"a", b"b", b"b", b"b"]) is True


def test_an_acceptor_votes_once_in_the_fast_ballot_and_only_when_it_may() -> None:
    acceptor = Acceptor()
    assert not acceptor.offer(b"a")
    assert not acceptor.offer(b"b")
    assert acceptor.may_be_any()
    assert acceptor.vote == Vote(FAST, b"a")
    assert not acceptor.offer(b"b")
    assert not acceptor.may_be_any()
    late = Acceptor()
    assert late.prepare(FAST + 1)
    late.offer(b"a")
    assert not late.may_be_any()


def test_the_fast_ballot_is_below_its_recovery_and_both_are_the_first_members() -> None:
    numbers = Numbers(Ballots(3))
    assert [numbers.number(attempt, rank) for attempt in (0, 1) for rank in range(3)] == [2, 3, 4, 5, 6, 7]
    assert [numbers.attempt(ballot) for ballot in range(FAST, 8)] == [0, 0, 0, 0, 1, 1, 1]
    assert numbers.wait_ns(1, FAST, 10) == numbers.wait_ns(1, FAST + 1, 10) == 10
    assert numbers.wait_ns(0, FAST, 10) == 30


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_fast_quorums_that_are_too_small_are_refused() -> None:
    for n, f, e in ((3, 1, 1), (5, 1, 2), (4, 0, 2), (5, 3, 0)):
        with pytest.raises(ValueError, match="needs n > 2f and n > 2E"):
            machine(0, n, own={"fast_crashes": e}, f=f)
    for n, f, e in ((3, 1, 0), (4, 1, 1), (5, 2, 1), (6, 1, 2), (7, 2, 2)):
        assert machine(0, n, f=f).quorums == (n, f, e, frozenset())
    data = {
        "name": "x",
        "topology": {"kind": "star", "hosts": 5},
        "protocol": {"consensus": "fast_paxos", "f": 1, "parameters": {"fast_crashes": 2}},
    }
    with pytest.raises(ScenarioError, match=r"fast_crashes: 2 is too large: 5 members .* f is 1; take 1 at most"):
        compile_plan(from_data(data))


class Column(NamedTuple):
    """An acceptor, and what others have from it: per classic ballot the promise, while it matters; per ballot, the fast
    one first, the values it voted for."""

    promised: int
    vote: Vote
    promises: tuple[Vote | tuple[()], ...]
    votes: tuple[tuple[bytes, ...], ...]


class World(NamedTuple):
    values: tuple[bytes | None, ...]  # per classic ballot: what its phase 2 proposes
    columns: tuple[Column, ...]  # sorted: acceptors are alike


class Explorer:
    """Breadth-first over what the fast ballot, to which values are offered, and so many classic ones can do when any
    message may come at any time, again and again, or never. A vote in the fast ballot is a promise for the one after
    it, too. The code under test is Acceptor, Proposer and Quorums themselves."""

    def __init__(self, quorums: Quorums, ballots: int, offered: tuple[bytes, ...] = (b"a", b"b")) -> None:
        self.quorums, self.offered = quorums, offered
        self.ballots = range(FAST + 1, FAST + 1 + ballots)

    def search(self) -> tuple[int, int | None]:
        """(worlds, None), or (worlds until then, steps of the shortest way to two chosen values)."""
        nothing = Column(0, NOTHING, ((),) * len(self.ballots), ((),) * (1 + len(self.ballots)))
        start = World((None,) * len(self.ballots), (nothing,) * self.quorums.n)
        seen, layer, deep = {start}, [start], 0
        while layer:
            deep += 1
            following = []
            for world in layer:
                for new in self._successors(world):
                    if new in seen:
                        continue
                    seen.add(new)
                    following.append(new)
                    if len(self._chosen(new)) > 1:
                        return len(seen), deep
            layer = following
        return len(seen), None

    def _chosen(self, world: World) -> set[bytes]:
        chosen: set[bytes] = set()
        for place in range(1 + len(self.ballots)):
            cast = Counter(value for column in world.columns for value in column.votes[place])
            chosen |= {value for value, count in cast.items() if count >= self.quorums.needed(FAST + place)}
        return chosen

    def _successors(self, world: World) -> Iterator[World]:
        for name, column in enumerate(world.columns):
            for value in self.offered:
                acceptor = self._acceptor(column)
                if acceptor.offer(value):
                    yield self._voted(world, name, acceptor, 0, value)
            for place in range(len(self.ballots)):
                yield from self._classic(world, name, column, place)

    def _classic(self, world: World, name: int, column: Column, place: int) -> Iterator[World]:
        ballot, value, acceptor = self.ballots[place], world.values[place], self._acceptor(column)
        if value is not None:
            if acceptor.accept(ballot, value):
                yield self._voted(world, name, acceptor, 1 + place, value)
            return
        for cast in column.votes[0] if ballot == FAST + 1 else ():
            yield self._promised(world, name, acceptor, place, Vote(FAST, cast))
        if acceptor.prepare(ballot):
            yield self._with(world, name, self._kept(acceptor, column))  # the promise is lost
            yield self._promised(world, name, acceptor, place, acceptor.vote)

    def _acceptor(self, column: Column) -> Acceptor:
        return Acceptor(self.quorums.pitfalls, column.promised, column.vote, any=True)

    def _voted(self, world: World, name: int, acceptor: Acceptor, place: int, value: bytes) -> World:
        column = world.columns[name]
        cast = tuple(sorted({*column.votes[place], value}))
        votes = (*column.votes[:place], cast, *column.votes[place + 1 :])
        return self._with(world, name, self._kept(acceptor, column)._replace(votes=votes))

    def _promised(self, world: World, name: int, acceptor: Acceptor, place: int, vote: Vote) -> World:
        heard = {a: Vote(*one.promises[place]) for a, one in enumerate(world.columns) if one.promises[place]}
        proposer = Proposer(self.ballots[place], self.quorums, heard)
        proposer.promise(name, vote, own=b"own %d" % place)
        kept = {} if proposer.value is not None else proposer.promises
        columns = [
            one._replace(promises=(*one.promises[:place], kept.get(a, ()), *one.promises[place + 1 :]))
            for a, one in enumerate(world.columns)
        ]
        proposed = (*world.values[:place], proposer.value, *world.values[place + 1 :])
        return self._with(World(proposed, tuple(columns)), name, self._kept(acceptor, columns[name]))

    @staticmethod
    def _kept(acceptor: Acceptor, column: Column) -> Column:
        return column._replace(promised=acceptor.promised, vote=acceptor.vote)

    @staticmethod
    def _with(world: World, name: int, column: Column) -> World:
        columns = (*world.columns[:name], column, *world.columns[name + 1 :])
        return World(world.values, tuple(sorted(columns)))


SOUND = [(Quorums(3, 1, 0), 2, 5432), (Quorums(4, 1, 1), 1, 1294), (Quorums(5, 2, 1), 1, 3597)]


@pytest.mark.parametrize(("quorums", "ballots", "worlds"), SOUND, ids=str)
def test_no_two_values_can_be_chosen(quorums: Quorums, ballots: int, worlds: int) -> None:
    assert Explorer(quorums, ballots).search() == (worlds, None)


def test_when_n_is_2e_and_f_two_values_can_be_chosen() -> None:
    assert Explorer(Quorums(3, 1, 1), 1).search()[1] == 7


BUGS = {
    Pitfall.MAJORITY_FAST_QUORUM: (Quorums(3, 1, 0), 1, (b"a", b"b"), 7),
    Pitfall.RECOVERY_PICKS_ANY: (Quorums(4, 1, 1), 1, (b"a", b"b"), 10),
    Pitfall.VOTES_AGAIN: (Quorums(3, 1, 0), 1, (b"a", b"b"), 6),
    Pitfall.ACCEPT_KEEPS_PROMISE: (Quorums(3, 1, 0), 3, (), 11),  # three classic ballots, as in Paxos
}


def shortest(pitfall: Pitfall) -> int | None:
    quorums, ballots, offered, _ = BUGS[pitfall]
    return Explorer(quorums._replace(pitfalls=(pitfall,)), ballots, offered).search()[1]


@pytest.mark.parametrize("pitfall", BUGS)
def test_the_same_search_finds_each_known_bug_by_the_shortest_way(pitfall: Pitfall) -> None:
    quorums, ballots, offered, length = BUGS[pitfall]
    assert shortest(pitfall) == length
    assert Explorer(quorums, ballots, offered).search()[1] is None


FOUND_HERE = tuple(Pitfall)


def finds(pitfall: str) -> bool:
    """Whether the search shows the known bug (for the conformance suite)."""
    return shortest(Pitfall(pitfall)) is not None


# -- restarts ---------------------------------------------------------------------------------------------------------


def restart(net: Timed, node: int, state: State) -> None:
    """A new machine, and what is left of the disk of the old one."""
    net.kill(node)
    config = net.machines[node].config
    net.machines[node] = Fed(FastPaxosMachine(replace(config, epoch=config.epoch + 1), proposers=config.n))
    net.start(node, state=state)


@pytest.mark.parametrize("at_ns", [0, 5_000, 15_000, 25_000, 35_000, 45_000])
@pytest.mark.parametrize("node", [0, 1])
def test_a_node_restarted_with_its_state_goes_on_where_it_was(node: int, at_ns: int) -> None:
    net = run(lockstep(machines(3, own=all_offer(3), instances=2, keeps=True)), until_ns=at_ns)
    restart(net, node, State.KEPT)
    net.run(6 * PERIOD_NS)
    for instance in range(2):
        assert set(net.decided(instance)) == {0, 1, 2}
        assert len(values(net, instance)) == 1


def test_a_coordinator_restarted_with_its_state_stands_by_what_it_picked() -> None:
    nodes = machines(3, own=all_offer(3), keeps=True)
    net = lockstep(nodes, lambda _, __, step: step is Step.ACCEPT and net.now_ns < 3 * DELAY_NS)
    run(net, until_ns=2 * DELAY_NS)
    restart(net, 0, State.KEPT)
    net.run(PERIOD_NS)
    asked = [frame for _, frame in net.frames if frame.message.step == Step.ACCEPT]
    assert {frame.key.epoch for frame in asked} == {1, 2}
    assert len({frame.message.body for frame in asked}) == 1
    assert steps(net)[Step.PREPARE] == 0
    assert len(values(net)) == 1


def test_a_node_restarted_without_its_state_stays_out_of_what_it_may_have_voted_in() -> None:
    net = run(lockstep(machines(3, instances=2)), until_ns=5_000)
    net.kill(2)
    restart(net, 1, State.LOST)
    net.run(PERIOD_NS - 1)
    assert not net.decided(0)  # node 0 asks and asks, but node 1 must not answer
    assert {note.what for _, note in net.notes} == {"absent"}
    net.run(10 * PERIOD_NS)
    assert set(net.decided(1)) == {0, 1}  # in the next instance it is a member like any other


# -- frames that do not belong here -----------------------------------------------------------------------------------


def begun(n: int = 3, node: int = 0) -> FastPaxosMachine:
    one = machine(node, n)
    one.on_start(0, {})
    return one


def test_strays_are_noted_and_change_nothing() -> None:
    good = message(Message(Step.PREPARE, 5))
    for stray in (
        good._replace(kind=Kind.SWAP),
        good._replace(round=1),  # there is only one instance
        good._replace(step=0),
        good._replace(step=9),
        good._replace(body=b"short"),
        message(Message(Step.PREPARE, 0)),
        message(Message(Step.PREPARE, MAX_BALLOT + 1)),
        message(Message(Step.REJECT, 2, MAX_BALLOT + 1)),
        message(Message(Step.ACCEPT, FAST, value=of_int(1))),  # nobody may say what is voted for in the fast ballot,
        message(Message(Step.OFFER, 2, value=of_int(1))),  # nor is anything else offered than for it
    ):
        [note] = begun().on_message(0, stray, FIRST, 0)
        assert isinstance(note, Note)
        assert note.what == "stray"


def test_any_may_be_said_by_the_first_member_only() -> None:
    one = begun(node=2)
    offer, free = message(Message(Step.OFFER, FAST, value=of_int(7))), message(Message(Step.ANY, FAST))
    assert one.on_message(1, offer, FIRST, 0) == []
    assert one.on_message(1, free, FIRST, 0) == []
    assert [read(effect.message) for effect in one.on_message(0, free, FIRST, 0) if isinstance(effect, Send)] == [
        Message(Step.ACCEPTED, FAST, value=of_int(7))
    ] * 2


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1]), st.integers(0, 255), st.binary(max_size=16), st.integers(0, 3)), max_size=8
    )
)
def test_messages_of_random_bytes_do_no_harm(said: list[tuple[int, int, bytes, int]]) -> None:
    one = begun()
    for count, (port, step, body, round_) in enumerate(said):
        one.on_message(port, frames.Message(Kind.DATA, round_, step, body), FIRST, 10 * count)
    for name in ("retry 0", "turn 0", "instance"):
        one.on_timer(name, PERIOD_NS)


def test_messages_survive_the_wire() -> None:
    for step in Step:
        what = Message(step, FAST if step in (Step.OFFER, Step.ANY) else MAX_BALLOT, 3, b"any bytes")
        assert read(message(what)) == what
