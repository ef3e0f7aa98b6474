"""Chandra and Toueg: four phases a round, coordinators that die or are suspected in vain, timeouts that learn."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from builders import Fed, node_config
from consensus_harness import FIRST, islands
from hypothesis import given, settings
from hypothesis import strategies as st
from network import Timed

from testbed.nodes import frames
from testbed.nodes.consensus.chandra_toueg import ChandraTouegMachine, Pitfall
from testbed.nodes.consensus.chandra_toueg.detector import Detector
from testbed.nodes.consensus.chandra_toueg.messages import ANSWER, MAX_ROUND, Message, Step, read
from testbed.nodes.core import CancelTimer, Decide, Note, Send, SetTimer
from testbed.nodes.core.disk import State
from testbed.nodes.core.values import of_int
from testbed.nodes.frames import Frame, Kind

DELAY_NS = 10_000
PERIOD_NS = 1_000_000
RETRY_NS = 100_000
PATIENCE_NS = 4 * RETRY_NS

Lost = Callable[[int, int, Step], bool]


def machines(n: int, pitfalls: Collection[str] = (), **settings_: Any) -> dict[int, ChandraTouegMachine]:
    settings_ = {"consensus": "chandra_toueg", "period_ns": PERIOD_NS, "retry_ns": RETRY_NS, **settings_}
    planted = [Pitfall(name) for name in pitfalls]
    return {node: Fed(ChandraTouegMachine(node_config(node, n, **settings_), planted)) for node in range(n)}


def lockstep(nodes: dict[int, ChandraTouegMachine], lost: Lost = lambda *_: False) -> Timed:
    def delay_ns(src: int, dst: int, frame: Frame) -> int | None:
        return None if lost(src, dst, Step(frame.message.step)) else DELAY_NS

    return Timed(nodes, delay_ns)


def decide(instance: int, number: int, round_: int) -> Decide:
    return Decide(instance, of_int(number), round_)


def message(what: Message, instance: int = 0) -> frames.Message:
    return frames.Message(Kind.DATA, instance, what.step, what.body())


def values(net: Timed, instance: int = 0) -> set[bytes]:
    return {told.value for _, told in net.decided(instance).values()}


def steps(net: Timed) -> Counter[Step]:
    return Counter(Step(frame.message.step) for _, frame in net.frames)


# -- without failures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_a_round_has_four_phases_and_the_coordinator_knows_after_three_of_them(n: int) -> None:
    net = lockstep(machines(n))
    net.start()
    net.run(PERIOD_NS)
    assert net.decided() == {node: ((3 if node == 0 else 4) * DELAY_NS, decide(0, 0, 0)) for node in range(n)}
    each = n - 1
    relayed = each * (n - 2)  # whoever hears the decision tells all but its teller
    assert steps(net) == Counter(
        {Step.ESTIMATE: each, Step.PROPOSAL: each, Step.ACK: each, Step.DECIDE: each + relayed}
    )
    sent_ns = {step: min(at for at, frame in net.frames if frame.message.step == step) for step in steps(net)}
    assert sent_ns == {Step.ESTIMATE: 0, Step.PROPOSAL: DELAY_NS, Step.ACK: 2 * DELAY_NS, Step.DECIDE: 3 * DELAY_NS}


def test_a_single_node_decides_alone_and_at_once() -> None:
    net = lockstep(machines(1, instances=2))
    net.start()
    net.run(2 * PERIOD_NS)
    assert [(at, told) for at, _, told in net.decisions] == [(0, decide(0, 0, 0)), (PERIOD_NS, decide(1, 0, 1))]
    assert not net.frames


def test_instances_follow_each_other_and_nobody_is_watched_between_them() -> None:
    net = lockstep(machines(3, instances=3))
    net.start()
    net.run(4 * PERIOD_NS)
    for instance in range(3):
        assert values(net, instance) == {of_int(instance)}
        assert min(at for at, _ in net.decided(instance).values()) == instance * PERIOD_NS + 3 * DELAY_NS
    assert steps(net)[Step.ALIVE] == 0
    assert not any(machine.open or machine.detector.watches for machine in net.machines.values())


# -- crashes ----------------------------------------------------------------------------------------------------------


def test_a_coordinator_that_never_came_up_is_suspected_and_the_next_one_needs_three_phases() -> None:
    net = lockstep(machines(5))
    net.start(1, 2, 3, 4)
    net.run(PERIOD_NS)
    decided = net.decided()
    assert decided[1] == (PATIENCE_NS + 3 * DELAY_NS, decide(0, 1, 1))
    assert set(decided) == {1, 2, 3, 4}
    assert values(net) == {of_int(1)}


@pytest.mark.parametrize("crash_ns", range(0, 50_000, 5_000))
def test_whenever_the_coordinator_dies_the_rest_agrees_with_what_it_may_have_decided(crash_ns: int) -> None:
    net = lockstep(machines(3))
    net.start()
    net.run(crash_ns)
    net.kill(0)
    net.run(20 * PERIOD_NS)
    assert set(net.decided()) >= {1, 2}
    assert len(values(net)) == 1


def test_two_of_five_coordinators_die_one_after_the_other_in_the_middle_of_their_rounds() -> None:
    net = lockstep(machines(5))
    net.start()
    net.run(15_000)
    net.kill(0)
    net.run(PATIENCE_NS + 15_000)  # round 2 is under way
    net.kill(1)
    net.run(20 * PERIOD_NS)
    assert set(net.decided()) == {2, 3, 4}
    assert len(values(net)) == 1


@pytest.mark.parametrize(("n", "alive"), [(3, 1), (4, 2), (5, 2)])
def test_with_one_crash_more_than_it_bears_nothing_is_decided(n: int, alive: int) -> None:
    net = lockstep(machines(n))
    net.start(*range(n - alive, n))
    net.run(50 * PERIOD_NS)
    assert not net.decisions


def told_to_one(pitfalls: Collection[str] = ()) -> Timed:
    """The coordinator decides and dies, and only node 1 has heard of it."""
    net = lockstep(machines(3, pitfalls), lambda src, dst, step: (src, dst, step) == (0, 2, Step.DECIDE))
    net.start()
    net.run(3 * DELAY_NS)
    net.kill(0)
    net.run(20 * PERIOD_NS)
    return net


def test_a_decision_that_one_heard_of_reaches_all_before_anybody_is_suspected() -> None:
    """Reliable broadcast: whoever delivers has passed it on."""
    net = told_to_one()
    assert net.decided()[2] == (5 * DELAY_NS, decide(0, 0, 0))
    assert steps(net)[Step.NACK] == steps(net)[Step.ALIVE] == 0
    assert set(told_to_one([Pitfall.NO_RELIABLE_BROADCAST]).decided()) == {0, 1}


# -- suspicions in vain -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_third_of_all_frames_lost_and_delays_past_every_timeout(seed: int) -> None:
    rng = random.Random(seed)
    net = Timed(machines(5), lambda *_: rng.randrange(1_000, 1_000_000) if rng.random() > 1 / 3 else None)
    net.start()
    net.run(10**9)
    assert set(net.decided()) == set(range(5))
    assert len(values(net)) == 1
    assert not any(machine.open for machine in net.machines.values())


def in_bursts(pitfalls: Collection[str] = ()) -> Timed:
    """A fabric that lets frames through only every 2 ms, five times as long as anybody is waited for at first."""
    burst_ns = 5 * PATIENCE_NS

    def delay_ns(_: int, __: int, ___: Frame) -> int:
        return burst_ns - net.now_ns % burst_ns

    net = Timed(machines(3, pitfalls), delay_ns)
    net.start()
    net.run(40 * burst_ns)
    return net


def test_who_is_suspected_in_vain_is_given_longer_until_nobody_is() -> None:
    net = in_bursts()
    assert set(net.decided()) == {0, 1, 2}
    assert len(values(net)) == 1
    assert max(machine.detector.doublings.get(0, 0) for machine in net.machines.values()) == 3  # 400 us to 3.2 ms
    assert not in_bursts([Pitfall.TIMEOUTS_DO_NOT_GROW]).decisions, "all rounds are given up before they can end"


def test_a_detector_suspects_who_is_silent_trusts_who_speaks_and_has_learned_from_it() -> None:
    detector = Detector((1, 2), beat_ns=10, first_ns=40)
    assert detector.hear(1, 1, beats=True, now_ns=0) == []  # not at work
    assert detector.watch(0) == [SetTimer("beat", 10), SetTimer("suspect 1", 40), SetTimer("suspect 2", 40)]
    assert detector.watch(5) == []
    assert detector.hear(1, 1, beats=True, now_ns=10) == [SetTimer("suspect 1", 50)]
    assert detector.hear(1, 1, beats=False, now_ns=20) == []  # a message is no heartbeat,
    detector.suspect(1)
    assert detector.suspects == {1}
    assert detector.hear(1, 1, beats=False, now_ns=60) == [SetTimer("suspect 1", 140)]  # but shows that it lives
    assert detector.suspects == set()
    detector.suspect(1)
    assert detector.hear(1, 2, beats=True, now_ns=150) == [SetTimer("suspect 1", 230)]  # it had died: rightly suspected
    detector.suspect(2)
    assert detector.rest() == [CancelTimer("beat"), CancelTimer("suspect 1"), CancelTimer("suspect 2")]
    assert detector.watch(200) == [SetTimer("beat", 210), SetTimer("suspect 1", 280)]  # node 2 is still dead


def test_a_suspicion_of_one_node_alone_does_not_end_the_round_of_a_majority() -> None:
    net = lockstep(machines(5, retry_ns=RETRY_NS), lambda src, dst, _: (src, dst) == (0, 4) and net.now_ns < PERIOD_NS)
    net.start()
    net.machines[4].on_timer("suspect 0", 0)
    net.run(PERIOD_NS)
    assert values(net) == {of_int(0)}
    assert {told.round for _, told in net.decided().values()} == {0}


# -- what is locked ---------------------------------------------------------------------------------------------------


def locked(pitfalls: Collection[str] = ()) -> set[bytes]:
    """Node 0 decides with node 1 and dies without a word. In round 2 node 1, the coordinator, hears node 2's estimate
    last, which has never heard of the proposal."""

    def lost(src: int, dst: int, step: Step) -> bool:
        return (step is Step.DECIDE and src == 0) or (src, dst, step) == (0, 2, Step.PROPOSAL)

    net = lockstep(machines(3, pitfalls), lost)
    net.start()
    net.run(3 * DELAY_NS)
    net.kill(0)
    net.run(20 * PERIOD_NS)
    assert set(net.decided()) == {0, 1, 2}
    return values(net)


def test_the_estimate_adopted_last_is_proposed_for_it_may_have_been_decided() -> None:
    assert locked() == {of_int(0)}
    assert locked([Pitfall.ESTIMATE_NOT_LOCKED]) == {of_int(1), of_int(2)}  # in round 1 node 1's came last


def two_of_five(pitfalls: Collection[str] = ()) -> set[bytes]:
    """f = 1, and of five nodes two can hear each other: node 0 is answered by node 1 alone."""
    sides = lambda src, dst: (src < 2) == (dst < 2)  # noqa: E731
    net = lockstep(machines(5, pitfalls, f=1), lambda src, dst, step: step is not Step.ESTIMATE and not sides(src, dst))
    net.start()
    net.run(20 * PERIOD_NS)
    return values(net)


def test_f_and_one_more_are_no_majority() -> None:
    assert len(two_of_five()) == 1
    assert len(two_of_five([Pitfall.MAJORITY_OF_F])) == 2


FOUND_HERE = (Pitfall.TIMEOUTS_DO_NOT_GROW, Pitfall.ESTIMATE_NOT_LOCKED, Pitfall.MAJORITY_OF_F)


def finds(pitfall: str) -> bool:
    """Whether its story shows the known bug (for the conformance suite)."""
    if pitfall == Pitfall.TIMEOUTS_DO_NOT_GROW:
        return not in_bursts([pitfall]).decisions
    story = locked if pitfall == Pitfall.ESTIMATE_NOT_LOCKED else two_of_five
    return len(story([pitfall])) > 1


@pytest.mark.parametrize(("n", "seeds"), [(3, 40), (5, 15)])
def test_on_islands_of_any_kind_all_agree_and_decide_when_they_are_joined(n: int, seeds: int) -> None:
    for seed in range(seeds):
        net = islands(machines(n, period_ns=400, retry_ns=100, instances=20), seed, calm_ns=20_000)
        for instance in range(20):
            assert len(values(net, instance)) == 1
            assert len(net.decided(instance)) == n


# -- restarts ---------------------------------------------------------------------------------------------------------


def restart(net: Timed, node: int, state: State) -> None:
    """A new machine, and what is left of the disk of the old one."""
    net.kill(node)
    old = net.machines[node]
    net.machines[node] = Fed(ChandraTouegMachine(replace(old.config, epoch=old.config.epoch + 1)))
    net.start(node, state=state)


@pytest.mark.parametrize("at_ns", [0, 5_000, 15_000, 25_000, 35_000, 45_000])
@pytest.mark.parametrize("node", [0, 1])
def test_a_node_restarted_with_its_state_goes_on_where_it_was(node: int, at_ns: int) -> None:
    net = lockstep(machines(3, instances=2, keeps=True))
    net.start()
    net.run(at_ns)
    restart(net, node, State.KEPT)
    net.run(6 * PERIOD_NS)
    for instance in range(2):
        assert set(net.decided(instance)) == {0, 1, 2}
        assert len(values(net, instance)) == 1


def test_a_coordinator_restarted_with_its_state_stands_by_what_it_proposed() -> None:
    """Its second life hears other estimates first, and has asked for none."""
    net = lockstep(machines(3, keeps=True), lambda _, __, step: step is Step.PROPOSAL and net.now_ns < 2 * DELAY_NS)
    net.start()
    net.run(DELAY_NS)
    restart(net, 0, State.KEPT)
    net.run(PERIOD_NS)
    proposed = [frame for _, frame in net.frames if frame.message.step == Step.PROPOSAL]
    assert {frame.key.epoch for frame in proposed} == {1, 2}
    assert {frame.message.body for frame in proposed} == {Message(Step.PROPOSAL, 1, value=of_int(0)).body()}
    assert {told.round for _, told in net.decided().values()} == {0}


def test_a_life_without_its_state_stays_out_and_passes_its_turn_on_though_it_lives() -> None:
    """Node 0 has lost what it adopted. It coordinates round 1 of instance 0, and its heartbeats for instance 1 would
    keep the others waiting."""
    net = lockstep(machines(3, instances=2, keeps=True), lambda src, _, __: src == 0 and net.now_ns < 25_000)
    net.start()
    net.run(15_000)
    restart(net, 0, State.LOST)
    net.run(PERIOD_NS - 1)
    assert {told.round for _, told in net.decided(0).values()} == {1}
    assert set(net.decided(0)) == {0, 1, 2}  # it learns what it stays out of
    assert {note.what for _, note in net.notes} == {"absent"}
    net.run(3 * PERIOD_NS)
    assert {told.round for _, told in net.decided(1).values()} == {1}
    assert set(net.decided(1)) == {0, 1, 2}  # in the next instance it is a member like any other


def test_two_of_three_lives_without_their_state_decide_nothing_that_the_first_ones_began() -> None:
    net = lockstep(machines(3, keeps=True))
    net.start()
    net.run(15_000)
    restart(net, 1, State.LOST)
    restart(net, 2, State.LOST)
    net.run(20 * PERIOD_NS)
    assert not net.decisions


# -- frames that do not belong here -----------------------------------------------------------------------------------


def begun(n: int = 3, node: int = 0) -> ChandraTouegMachine:
    machine = machines(n)[node]
    machine.on_start(0, {})
    return machine


def test_strays_are_noted_and_change_nothing() -> None:
    machine = begun()
    good = message(Message(Step.ESTIMATE, 1, value=of_int(1)))
    for stray in (
        good._replace(kind=Kind.SWAP),
        good._replace(round=1),  # there is only one instance
        good._replace(step=0),
        good._replace(step=8),
        good._replace(body=b"short"),
        message(Message(Step.ESTIMATE, 0)),
        message(Message(Step.ESTIMATE, MAX_ROUND + 1)),
        message(Message(Step.ESTIMATE, 4, adopted=4)),
    ):
        [note] = machine.on_message(0, stray, FIRST, 0)
        assert isinstance(note, Note)
        assert note.what == "stray"


def test_only_the_coordinator_of_a_round_proposes_in_it_and_only_it_is_told_estimates() -> None:
    machine = begun(node=1)
    assert machine.on_message(1, message(Message(Step.PROPOSAL, 1, value=of_int(2))), FIRST, 0) == []
    assert machine.on_message(1, message(Message(Step.ESTIMATE, 1, value=of_int(2))), FIRST, 0) == []
    [_, answer] = machine.on_message(0, message(Message(Step.PROPOSAL, 1, value=of_int(2))), FIRST, 0)
    assert isinstance(answer, Send)
    assert answer.message.step == Step.ACK


def test_who_is_in_a_later_round_says_so_and_who_hears_it_follows() -> None:
    machine = begun(node=2)
    [_, estimate] = machine.on_message(1, message(Message(Step.ROUND, 5)), FIRST, 0)
    assert isinstance(estimate, Send)
    assert read(estimate.message) == Message(Step.ESTIMATE, 5, 0, of_int(2))
    [said] = machine.on_message(0, message(Message(Step.ROUND, 4)), FIRST, 0)
    assert isinstance(said, Send)
    assert read(said.message) == Message(Step.ROUND, 5)
    assert machine.on_message(0, message(Message(Step.ROUND, 4))._replace(flags=ANSWER), FIRST, 0) == []
    [nack] = machine.on_message(0, message(Message(Step.PROPOSAL, 4, value=of_int(0))), FIRST, 0)
    assert isinstance(nack, Send)
    assert read(nack.message) == Message(Step.NACK, 4)


def test_a_round_without_room_above_it_can_still_be_left() -> None:
    machine = begun(node=1)
    machine.on_message(0, message(Message(Step.ROUND, MAX_ROUND)), FIRST, 0)
    for suspect in (0, 2):
        machine.on_timer(f"suspect {suspect}", 10**6)
    machine.on_timer("retry 0", 10**6)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1]), st.integers(0, 255), st.binary(max_size=16), st.integers(0, 3)), max_size=8
    )
)
def test_messages_of_random_bytes_do_no_harm(said: list[tuple[int, int, bytes, int]]) -> None:
    machine = begun()
    for count, (port, step, body, round_) in enumerate(said):
        machine.on_message(port, frames.Message(Kind.DATA, round_, step, body), FIRST, 10 * count)
    for name in ("retry 0", "beat", "suspect 1", "instance"):
        machine.on_timer(name, PERIOD_NS)


def test_messages_survive_the_wire() -> None:
    for step in set(Step) - {Step.ALIVE}:
        what = Message(step, MAX_ROUND, 3, b"any bytes")
        assert read(message(what)) == what
