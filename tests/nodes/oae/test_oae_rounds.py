"""Rounds of swaps: who is heard when, on synchronised clocks, with restarts and hold-ups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from builders import Disk, Fed, rest
from consensus_harness import FIRST
from network import Timed
from work import steps

from testbed.nodes.core import Decide, Note, Outcome, Propose, Resolve, RoundStart, SetTimer
from testbed.nodes.core.config import NodeConfig, Peer, ProtocolConfig
from testbed.nodes.core.disk import State, pack, unpack
from testbed.nodes.core.values import of_int, to_int
from testbed.nodes.frames import Frame, Kind, Message
from testbed.nodes.oae.rounds import RoundMachine

W, PERIOD, DELAY, END = 1000, 1500, 10, 10**6


class Gossip:
    """A round algorithm that decides, in the last round of its instance, how many nodes it has heard in all rounds."""

    def __init__(self, me: int, members: tuple[int, ...], f: int, value: int) -> None:
        self.value, self.heard_total = value, 0

    def message(self, round_: int) -> bytes:
        return bytes([self.value]) * 16

    def deliver(self, round_: int, heard: Mapping[int, bytes]) -> int | None:
        self.heard_total += len(heard)
        return self.heard_total if round_ == 1 else None

    def snapshot(self) -> bytes:
        return pack(self.heard_total)

    def restore(self, snapshot: bytes) -> None:
        [self.heard_total] = unpack(snapshot)


def config(node: int, n: int = 3, **protocol) -> NodeConfig:
    protocol = {"window_ns": W, "period_ns": PERIOD, "rounds": 4, "instance_rounds": 2, **protocol}
    peers = tuple(Peer(other, f"h{other}", "eth0", f"02:00:00:00:00:0{other}") for other in range(n) if other != node)
    return NodeConfig(node, f"h{node}", peers, {"eth0": ""}, tuple(range(n)), ProtocolConfig(**protocol), keeps=True)


def network(n: int = 3, make=Gossip, drop=lambda frame, now: False, **protocol) -> Timed:
    """A lockstep network: constant delay, drops by script."""
    machines = {node: Fed(RoundMachine(config(node, n, **protocol), make)) for node in range(n)}
    net = Timed(machines, lambda _src, _dst, frame: None if drop(frame, net.now_ns) else DELAY)
    net.now_ns = -1
    return net


def started(**kwargs) -> Timed:
    net = network(**kwargs)
    net.start()
    return net


def ran(net: Timed, until: int = END) -> Timed:
    net.run(until)
    return net


def test_every_round_swaps_with_every_neighbour() -> None:
    net = ran(started())
    for node in range(3):
        assert [effect.round for effect in net.of(node, RoundStart)] == [0, 1, 2, 3]
        resolutions = net.of(node, Resolve)
        assert len(resolutions) == 4 * 2
        assert {effect.outcome for effect in resolutions} == {Outcome.COMMITTED}


def test_instances_follow_one_another_and_hear_everyone() -> None:
    net = ran(started())
    for node in range(3):
        assert [effect.instance for effect in net.of(node, Propose)] == [0, 1]
        assert [(effect.instance, to_int(effect.value), effect.round) for effect in net.of(node, Decide)] == [
            (0, 6, 1),
            (1, 6, 3),
        ]


def test_a_round_counts_only_what_committed_by_its_horizon() -> None:
    """Node 0 hears nothing from node 2 in round 0: its last expected message is lost."""
    net = ran(started(drop=lambda frame, now: (frame.key.src, frame.dst, *frame.message[1:3]) == (2, 0, 0, 4)))
    assert [to_int(effect.value) for effect in net.of(0, Decide)] == [5, 6]
    assert [to_int(effect.value) for effect in net.of(2, Decide)] == [6, 6]


def test_with_period_equal_to_window_the_old_round_ends_before_the_new_one_begins() -> None:
    net = ran(started(period_ns=W, drop=lambda frame, now: frame.dst == 0))
    order = [
        (now, type(effect).__name__)
        for now, node, effect in net.told
        if node == 0 and isinstance(effect, Resolve | RoundStart)
    ]
    assert order.index((W, "Resolve")) < order.index((W, "RoundStart"))


def test_without_an_algorithm_rounds_are_plain_swaps() -> None:
    net = ran(started(make=None))
    assert not net.of(0, Decide)
    assert len(net.of(0, Resolve)) == 8


def test_a_fresh_restart_joins_at_the_next_round_and_stays_out_of_the_running_instance() -> None:
    net = ran(started(rounds=6), 100)
    net.kill(1)
    net.run(200)
    net.machines[1] = Fed(RoundMachine(replace(config(1, rounds=6), epoch=2), Gossip))
    net.start(1, state=State.LOST)
    net.run(END)
    assert [effect.round for effect in net.of(1, RoundStart)] == [0, 1, 2, 3, 4, 5]
    assert [effect.instance for effect in net.of(1, Decide)] == [1, 2]
    # the others swap with it in round 1, but its register carries nothing of instance 0
    assert [to_int(effect.value) for effect in net.of(0, Decide)] == [5, 6, 6]


def test_a_fresh_restart_at_the_instant_a_round_begins_leaves_that_round_to_its_earlier_life() -> None:
    """Killed after its first send of round 2 and up again at once, it must not begin round 2 a second time."""
    again = Fed(RoundMachine(replace(config(1), epoch=2), Gossip))
    assert rest(again.on_start(2 * PERIOD, {})) == [SetTimer("round", 3 * PERIOD)]
    first_life = Fed(RoundMachine(config(1), Gossip))
    assert rest(first_life.on_start(0, {})) == [SetTimer("round", 0)]


def test_a_restart_with_kept_state_catches_up_and_its_old_swaps_resolve() -> None:
    """Reconcile: node 1 is away over the horizon of round 0; back with its state, all of its swaps commit."""
    net = ran(started(horizon="reconcile", retry_ns=200, rounds=2, make=None), 5)
    net.kill(1)
    net.run(2000)
    assert Outcome.IN_DOUBT in {effect.outcome for effect in net.of(0, Resolve)}
    net.machines[1] = Fed(RoundMachine(replace(net.machines[1].config, epoch=2)))
    net.run(2100)
    net.start(1)
    net.run(50_000)
    for node in range(3):
        last: dict = {}
        for effect in net.of(node, Resolve):
            last[effect.swap] = effect.outcome
        assert len(last) == 4
        assert set(last.values()) == {Outcome.COMMITTED}


@pytest.mark.parametrize("retry_ns", [200, PERIOD, 4 * PERIOD])
def test_swaps_in_doubt_are_retried_while_rounds_go_on_however_long_the_interval(retry_ns: int) -> None:
    """Rounds that keep missing the window must not put the retry off again and again."""

    def drop(frame: Frame, now: int) -> bool:
        return frame.dst == 0 and now < frame.message.round * PERIOD + W

    net = ran(started(n=2, horizon="reconcile", retry_ns=retry_ns, rounds=20, make=None, drop=drop), 12 * PERIOD)
    ends = {effect.swap.round for effect in net.of(0, Resolve) if effect.outcome is Outcome.COMMITTED}
    assert ends >= set(range(12 - retry_ns // PERIOD - 2))


@pytest.mark.parametrize("horizon", ["hold", "reconcile"])
def test_what_a_round_keeps_is_what_it_has_changed_however_many_swaps_before_it_are_in_doubt(horizon: str) -> None:
    machine = RoundMachine(config(0, n=2, horizon=horizon, rounds=300, retry_ns=END))
    disk = Disk().after(machine.on_start(-1, {}))

    def unanswered(round_: int) -> None:
        for name, at_ns in (("round", round_ * PERIOD), ("horizon", round_ * PERIOD + W)):
            disk.after(machine.on_timer(name, at_ns))

    work = [steps(unanswered, round_) for round_ in range(200)]
    assert max(work) <= 2 * work[0]
    assert {f"link 0 {round_}" for round_ in range(200)} <= disk.keys(), "all of them may still be asked about"


@pytest.mark.parametrize("at_ns", [PERIOD + W, 2 * PERIOD - 1, 2 * PERIOD])
def test_a_restart_with_kept_state_tells_its_last_decision_again(at_ns: int) -> None:
    """The crash may have struck between the ending of a swap and the decision of the same instant."""
    kept = Fed(RoundMachine(replace(config(1), epoch=2), Gossip))
    effects = kept.on_start(at_ns, ran(started(), PERIOD + W).nodes[1].disk.recover(State.KEPT))
    assert Decide(0, of_int(6), 1) in effects
    assert [effect.swap.round for effect in effects if isinstance(effect, Resolve)] == [1, 1]
    assert [effect for effect in effects if isinstance(effect, SetTimer)] == [SetTimer("round", 2 * PERIOD)]


def test_a_restart_with_kept_state_tells_what_it_proposed_in_its_instance_again() -> None:
    """The crash may have struck when the state was kept and before the proposal was on record."""
    machine = Fed(RoundMachine(config(1), Gossip))
    disk = Disk().after(machine.on_start(-1, {})).after(machine.on_timer("round", 0))
    kept = Fed(RoundMachine(replace(config(1), epoch=2), Gossip))
    [again] = [effect for effect in kept.on_start(5, disk) if isinstance(effect, Propose)]
    assert again == Propose(0, of_int(1))
    assert not any(isinstance(effect, Propose) for effect in Fed(RoundMachine(config(1), Gossip)).on_start(-1, {}))


def test_a_frame_handled_after_the_horizon_is_not_heard_in_the_round_even_if_its_swap_commits() -> None:
    """A held-up node with a holding link: its timer for the horizon comes after the frames that waited."""
    machine = Fed(RoundMachine(config(1, 2, horizon="hold", depth=2, instance_rounds=1), Gossip))
    machine.on_start(-1, {})
    machine.on_timer("round", 0)
    opening = Message(Kind.SWAP, 0, 1, bytes(16), flags=1)
    resolved = [
        effect.outcome for effect in machine.on_message(0, opening, FIRST, W + 1) if isinstance(effect, Resolve)
    ]
    assert resolved == [Outcome.IN_DOUBT, Outcome.COMMITTED]
    machine.on_timer("horizon", W + 2)
    assert isinstance(machine.algorithm, Gossip)
    assert machine.algorithm.heard_total == 1  # itself


def test_a_fresh_life_keeps_only_frames_of_the_round_that_it_will_join() -> None:
    machine = Fed(RoundMachine(replace(config(1, 2, rounds=9), epoch=2), None))
    machine.on_start(3 * PERIOD + 10, {})
    for round_ in range(9):
        machine.on_message(0, Message(Kind.SWAP, round_, 1), FIRST, 3 * PERIOD + 20)
    assert [message.round for message, _ in machine.links[0].early] == [4]


def test_a_held_up_node_ends_missed_rounds_late() -> None:
    """All timers of three rounds fire at once after a pause: each round is aborted at the moment of waking."""
    machine = Fed(RoundMachine(config(0, make := 2), None))
    assert make == 2
    assert rest(machine.on_start(-1, {})) == [SetTimer("round", 0)]
    late = 2 * PERIOD + 100
    aborted = []
    effects = machine.on_timer("round", late)
    while any(isinstance(effect, SetTimer) and effect.name == "round" and effect.at_ns <= late for effect in effects):
        effects = machine.on_timer("horizon", late) + machine.on_timer("round", late)
        aborted += [effect for effect in effects if isinstance(effect, Resolve)]
    assert [effect.swap.round for effect in aborted] == [0, 1]
    assert {effect.outcome for effect in aborted} == {Outcome.ABORTED}
    assert [effect.round for effect in effects if isinstance(effect, RoundStart)] == [2]


def test_timers_that_come_early_or_twice_do_nothing() -> None:
    machine = Fed(RoundMachine(config(0), None))
    machine.on_start(-1, {})
    assert machine.on_timer("round", -1) == []
    assert machine.on_timer("horizon", W) == []
    machine.on_timer("round", 0)
    assert machine.on_timer("horizon", W - 1) == []


def test_messages_of_other_protocols_are_strays() -> None:
    machine = Fed(RoundMachine(config(0), None))
    [note] = machine.on_message(0, Message(Kind.DATA, 0, 1), FIRST, 0)
    assert isinstance(note, Note)
    assert note.what == "stray"


@pytest.mark.parametrize("rounds", [0, 1])
def test_rounds_end(rounds: int) -> None:
    net = ran(started(rounds=rounds))
    assert len(net.of(0, RoundStart)) == rounds
