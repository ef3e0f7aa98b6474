"""Every fault verb, timed and at protocol moments: what is lost, what goes on, and who comes back as what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from sim_plans import US, beacons, events, hops, make_plan

from testbed.engines.sim import SimEngine
from testbed.engines.sim.prng import Prng
from testbed.history import History
from testbed.nodes.core import (
    CancelTimer,
    Effects,
    Life,
    LinkState,
    Note,
    Persist,
    Port,
    Resolve,
    RoundStart,
    Send,
    SetTimer,
    Transition,
    swap_id,
)
from testbed.nodes.core.config import RING_FRAMES, NodeConfig, ProtocolConfig
from testbed.nodes.core.disk import State
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.record import DISK_FULL, Died, Noted, Overrun, Received, Sent, Started, Struck, TimerFired
from testbed.nodes.frames import Kind, Message
from testbed.plan import Fault, derive_seed
from testbed.topologies.impairment import Impairment

DELAY = Impairment(delay_ns=10 * US)


def run(
    *faults: Fault,
    impairment: Impairment = DELAY,
    count: int = 5,
    gap_ns: int = 10 * US,
    kind: str = "pair",
    only: int = 0,
    answers: bool = False,
) -> History:
    """host1 sends ``count`` frames, one every 10 us from 0 on; each takes 10 us per link."""
    parameters = {"hosts": 2} if kind == "star" else {}
    plan = make_plan(impairment, kind, parameters, faults)
    return SimEngine(build=beacons(count, gap_ns, answers, only)).run(plan)


def heard(history: History, node: str = "host2") -> list[int]:
    """When (in us) frames were handled at a node."""
    return [row.t_ns // US for row in events(history, Received, node)]


def at(time_us: float, verb: str, target: str = "host2", **more: object) -> Fault:
    """A timed fault."""
    return Fault(verb, at_ns=int(time_us * US), target=target, **more)  # type: ignore[arg-type]


# -- NICs ----------------------------------------------------------------------------------------------------------


def test_without_faults_all_frames_arrive() -> None:
    assert heard(run()) == [10, 20, 30, 40, 50]


def test_nic_down_loses_what_is_on_the_wire_and_what_is_sent_until_it_is_up() -> None:
    history = run(at(25, "nic_down"), at(35, "nic_up"), gap_ns=5 * US, count=9)
    # sent at 0, 5, .. 40; on the wire at 25: those of 20 (and of 25, sent after the fault); until 35: 30
    assert heard(history) == [10, 15, 20, 45, 50]
    assert [(hop.t_ns // US, hop.node) for hop in hops(history, "cut")] == [(25, "host1")] * 3 + [(30, "host1")]


def test_nic_down_cuts_both_directions() -> None:
    history = run(at(5, "nic_down", "host1"), at(6, "nic_up", "host1"), only=-1, count=1)
    assert history.meta["traffic"]["cut"] == 2
    assert heard(history, "host1") == heard(history, "host2") == []


def test_a_frame_due_at_the_very_instant_of_the_fault_is_lost() -> None:
    assert heard(run(at(10, "nic_down"), at(11, "nic_up"), count=1)) == []
    assert heard(run(at(10.001, "nic_down"), count=1)) == [10]


def test_only_the_link_of_the_nic_is_cut() -> None:
    """On a star: a frame that is already on the switch's other link goes on."""
    assert heard(run(at(15, "nic_down", "host1"), count=1, kind="star")) == [20]
    assert heard(run(at(5, "nic_down", "host1"), count=1, kind="star")) == []


def test_a_muted_nic_neither_sends_nor_hears_but_what_is_on_the_wire_goes_on() -> None:
    history = run(at(15, "nic_mute", "host1"), at(25, "nic_unmute", "host1"))
    assert heard(history) == [10, 20, 40, 50]  # that of 10 us was on the wire at 15, that of 20 us never left
    assert [(hop.t_ns // US, hop.node) for hop in hops(history, "mute")] == [(20, "host1")]
    history = run(at(15, "nic_mute"), at(25, "nic_unmute"))
    assert heard(history) == [10, 30, 40, 50]
    assert [(hop.t_ns // US, hop.node) for hop in hops(history, "mute")] == [(20, "host2")]


def test_a_nic_deaf_to_a_host_drops_what_comes_from_there_as_it_arrives_whenever_it_was_sent() -> None:
    history = run(at(15, "nic_deaf", peers=("host1",)), at(35, "nic_hear", peers=("host1",)))
    assert heard(history) == [10, 40, 50]  # that of 30 us was sent while host2 was deaf, and came in afterwards
    assert [(hop.t_ns // US, hop.node) for hop in hops(history, "mute")] == [(20, "host2"), (30, "host2")]


def test_who_is_deaf_to_one_host_hears_the_others_and_is_heard() -> None:
    deaf = at(0, "nic_deaf", peers=("host2",))
    assert heard(run(deaf, kind="star", count=1)) == [20]
    assert heard(run(at(0, "nic_deaf", "host1", peers=("host2",)), kind="star", count=1)) == [20]


def test_nic_hear_without_a_name_ends_deafness_to_all_and_leaves_a_mute_alone() -> None:
    deaf = at(0, "nic_deaf", peers=("host1", "host2"))
    assert heard(run(deaf, at(15, "nic_hear"))) == [20, 30, 40, 50]
    assert heard(run(deaf, at(0, "nic_mute"), at(15, "nic_hear"))) == []
    assert heard(run(deaf, at(0, "nic_mute"), at(15, "nic_unmute"))) == []


def test_what_comes_in_at_the_instant_of_the_moment_has_come_in_before_a_nic_is_deaf() -> None:
    """host1's second send triggers it, at the instant at which its first frame comes in at host2."""
    deaf = Fault("nic_deaf", target="host2", peers=("host1",), node="host1", moment=Moment(0, after_sends=1, round=1))
    assert heard(run(deaf)) == [10]


@pytest.mark.parametrize(("direction", "answered", "heard_at"), [("tx", [], [10]), ("rx", [], []), ("", [20], [10])])
def test_half_a_nic(direction: str, answered: list[int], heard_at: list[int]) -> None:
    """host2 answers; with its transmitter mute the answer is lost there, with its receiver mute nothing comes in."""
    faults = [at(5, "nic_half", direction=direction)] if direction else []
    history = run(*faults, count=1, answers=True)
    assert (heard(history, "host1"), heard(history, "host2")) == (answered, heard_at)


def test_a_fault_may_name_one_nic_or_strike_all_of_a_node() -> None:
    nic = make_plan().node_config("host2").peers[0].nic
    assert heard(run(at(0, "nic_down", nic=nic))) == heard(run(at(0, "nic_down"))) == []
    with pytest.raises(ValueError, match="has no interface 'eth7'"):
        run(at(0, "nic_down", nic="eth7"))


# -- nodes ---------------------------------------------------------------------------------------------------------


def test_a_killed_node_hears_nothing_and_its_frames_go_on() -> None:
    history = run(at(25, "node_kill", "host1"))
    assert heard(history) == [10, 20, 30]
    assert [(row.t_ns, row.node) for row in events(history, Died)] == [(25 * US, "host1")]
    history = run(at(25, "node_kill"))
    assert heard(history) == [10, 20]
    assert len(hops(history, "in")) == 5  # they still come in at its NIC
    assert not [row for row in history.events if row.node == "host2" and row.t_ns > 25 * US]


def test_a_paused_node_catches_up_in_the_order_in_which_things_became_due() -> None:
    history = run(at(15, "node_pause"), at(42, "node_resume"), only=-1)
    handled = [
        (row.t_ns // US, row.what) for row in history.events.of_kind(Received, TimerFired) if row.node == "host2"
    ]
    mine = [
        ("frame", t_us, what.at_ns // US) if isinstance(what, Received) else ("timer", t_us, what.due_ns // US)
        for t_us, what in handled
    ]
    assert mine[1:] == [
        ("frame", 10, 10),
        ("timer", 10, 10),
        ("frame", 42, 20),
        ("timer", 42, 20),  # it sets the next, 10 us after the instant at which it was handled
        ("frame", 42, 30),
        ("frame", 42, 40),
        ("frame", 50, 50),
        ("timer", 52, 52),
        ("timer", 62, 62),
    ]


def test_a_paused_node_may_be_killed_and_wakes_to_nothing() -> None:
    history = run(at(15, "node_pause"), at(20, "node_kill"), at(30, "node_resume"))
    assert heard(history) == [10]


def test_a_slow_node_handles_one_thing_after_the_other_each_so_much_later() -> None:
    """Frames come every 10 us from 10 us on, and each takes it 15 us longer; at 70 us what waits is handled at once."""
    history = run(at(15, "node_slow", amount=15 * US), at(70, "node_quick"), count=8)
    assert [(row.t_ns // US, row.what.at_ns // US) for row in events(history, Received, "host2")] == [
        (10, 10), (35, 20), (50, 30), (65, 40), (70, 50), (70, 60), (70, 70), (80, 80),
    ]  # fmt: skip


def test_a_timer_that_falls_due_while_its_node_is_busy_fires_when_its_turn_comes() -> None:
    history = run(at(15, "node_slow", amount=7 * US), only=-1, count=4)
    handled = [
        ("frame", row.t_ns // US, row.what.at_ns // US)
        if isinstance(row.what, Received)
        else ("timer", row.t_ns // US, row.what.due_ns // US)
        for row in history.events.of_kind(Received, TimerFired)
        if row.node == "host2"
    ]
    assert handled == [
        ("timer", 0, 0),
        ("frame", 10, 10),
        ("timer", 10, 10),
        ("frame", 27, 20),
        ("timer", 34, 20),
        ("frame", 41, 30),
        ("frame", 48, 40),
        ("timer", 55, 44),  # which it set at 34 us, 10 us ahead
    ]


def test_another_pace_and_the_end_of_a_pause_have_it_begin_anew_what_it_is_at() -> None:
    slow = at(5, "node_slow", amount=20 * US)
    assert heard(run(slow, count=1)) == [30]
    assert heard(run(slow, at(20, "node_slow", amount=4 * US), count=1)) == [24]
    assert heard(run(slow, at(20, "node_pause"), at(25, "node_resume"), count=1)) == [45]
    assert heard(run(slow, at(20, "node_resume"), count=1)) == [30]  # it was not paused
    assert heard(run(slow, at(30, "node_quick"), count=1)) == [30]


def test_slowness_is_the_hosts_and_outlives_its_lives() -> None:
    history = run(at(5, "node_slow", amount=4 * US), at(12, "node_restart"), count=3)
    assert heard(history) == [24, 34]  # the first frame waited, and went with its life
    assert heard(run(at(5, "node_slow", amount=4 * US), at(12, "node_kill"), at(13, "node_quick"))) == []


def test_a_node_that_is_slow_from_a_moment_of_its_own_on_ends_what_it_is_at_first() -> None:
    """The rest of the event, and what it sends, is not held back."""
    history = scripted(replace(when("node_slow", enters="REFLECTING"), amount=3 * US))
    assert [row.t_ns // US for row in events(history, Sent)] == [0, 0, 0]
    assert [(row.what.text, row.t_ns // US) for row in events(history, Noted)] == [("end", 33)]


def test_a_slow_node_has_room_for_so_many_frames_and_no_more_and_says_how_many_it_lost() -> None:
    """It is busy with the first frame as the others come, and told of the loss by the first that comes in later."""
    history = run(at(5, "node_slow", amount=900 * US), at(840, "node_quick"), count=4200, gap_ns=US // 5)
    came = [hop.t_ns for hop in hops(history, "in")]
    lost = sum(t_ns <= 840 * US for t_ns in came) - RING_FRAMES
    (overrun,) = events(history, Overrun)
    assert (overrun.node, overrun.t_ns, overrun.what) == ("host2", 840_200, Overrun(lost, 840_200))
    assert lost > 0
    assert len(events(history, Received)) == len(came) - lost


def test_a_restarted_node_is_in_its_next_life_and_has_forgotten() -> None:
    history = run(at(25, "node_restart", "host1"), count=4)
    assert [(row.t_ns // US, row.what.kept) for row in events(history, Started, "host1")] == [
        (-1000, False),
        (25, False),
    ]
    assert [(row.what.key.epoch, row.what.round) for row in events(history, Sent)] == [
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 2),
        (2, 3),
    ]


def test_a_node_restarted_with_kept_state_goes_on_where_it_was() -> None:
    history = run(at(25, "node_restart", "host1", state=State.KEPT), count=4)
    assert [row.what.kept for row in events(history, Started, "host1")] == [False, True]
    assert [(row.t_ns // US, row.what.round) for row in events(history, Sent)] == [(0, 0), (10, 1), (20, 2), (25, 3)]


def test_a_dead_node_can_be_restarted_and_does_not_die_twice() -> None:
    history = run(at(15, "node_kill", "host1"), at(16, "node_kill", "host1"), at(30, "node_restart", "host1"), count=2)
    lives = [(type(row.what), row.t_ns // US) for row in history.events.of_kind(Died, Started, Struck)]
    assert lives[2:] == [(Struck, 15), (Died, 15), (Struck, 16), (Struck, 30), (Started, 30)]


# -- links ---------------------------------------------------------------------------------------------------------


def test_a_jitter_burst_draws_from_a_seed_of_its_own_and_ends() -> None:
    burst = Impairment(delay_ns=50 * US, jitter_ns=20 * US)
    plan = make_plan(DELAY)
    ways = tuple((0, way) for way in ("ab", "ba"))
    faults = (at(5, "impair", "", links=ways, impairment=burst), at(25, "unimpair", "", links=ways))
    history = SimEngine(build=beacons(5, 10 * US, only=0)).run(replace(plan, faults=faults))
    sent_by = "ab" if plan.fabric.links[0].a.node == "host1" else "ba"
    prng = Prng(derive_seed(derive_seed(1, "link", 0, sent_by), "change", 0))
    slow = [now + 30 * US + prng.u32() % (40 * US) for now in (10 * US, 20 * US)]
    assert [row.t_ns for row in events(history, Received)] == sorted([10 * US, *slow, 40 * US, 50 * US])
    assert [(row.node, row.what.verb, row.what.fault) for row in events(history, Struck)] == [
        ("", "impair", 0),
        ("", "unimpair", 1),
    ]


# -- moments -------------------------------------------------------------------------------------------------------


@dataclass
class Scripted:
    """host1 does at 0, in one event: send round 0 twice, enter REFLECTING, send again, set a timer; host2 listens."""

    config: NodeConfig
    sent: int = 0

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        return [SetTimer("go", max(0, now_ns))] if self.config.node == 0 and not disk else []

    def on_timer(self, name: str, now_ns: int) -> Effects:
        if name != "go":
            return [Note("timer", 0, name)]
        swap = swap_id(0, 0, 1)
        kept: Effects = [Persist("gone", b"yes")] if self.config.keeps else []
        effects: Effects = [
            *kept,
            self._send(),
            self._send(),
            Transition(swap, LinkState.TENTATIVE, LinkState.REFLECTING),
        ]
        return [*effects, self._send(), SetTimer("end", 30 * US), SetTimer("never", 31 * US), CancelTimer("never")]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        return [RoundStart(message.step)]

    def _send(self) -> Send:
        self.sent += 1
        return Send(0, Message(Kind.DATA, 0, self.sent))


class TwoWrites(Scripted):
    """It writes once more after its first send."""

    def on_timer(self, name: str, now_ns: int) -> Effects:
        first, send, *others = super().on_timer(name, now_ns)
        return [first, send, first, *others]


def scripted(*faults: Fault) -> History:
    return SimEngine(build=Scripted).run(make_plan(DELAY, faults=faults))


def when(verb: str, target: str = "host1", after_ns: int = 0, state: State = State.LOST, **moment: object) -> Fault:
    """A fault at a moment of host1; its index in the plan is 0."""
    index = int(moment.pop("index", 0))  # type: ignore[call-overload]
    return Fault(
        verb,
        node="host1",
        target=target,
        moment=Moment(index, **moment),  # type: ignore[arg-type]
        after_ns=after_ns,
        state=state,
    )


def test_a_kill_on_entering_a_state_leaves_what_stood_before_it_done_and_the_rest_undone() -> None:
    history = scripted(when("node_kill", enters="REFLECTING"))
    assert len(events(history, Sent)) == 2
    assert [type(row.what) for row in history.events if row.node == "host1"][-3:] == [Transition, Struck, Died]
    assert heard(history) == [10, 10]


def test_a_kill_after_so_many_sends() -> None:
    assert len(events(scripted(when("node_kill", after_sends=1)), Sent)) == 1
    assert len(events(scripted(when("node_kill", after_sends=4)), Sent)) == 3


def test_a_mute_at_a_moment_lets_the_earlier_frames_pass() -> None:
    history = scripted(when("nic_mute", leaves="TENTATIVE"))
    assert len(events(history, Sent)) == 3
    assert heard(history) == [10, 10]


def test_a_moment_may_strike_another_node_later_and_start_the_end_of_the_fault() -> None:
    down = when("nic_mute", target="host2", after_ns=5 * US, enters="REFLECTING")
    up = Fault("nic_unmute", target="host2", follows=0, after_ns=4 * US)
    history = scripted(down, up)
    assert [(row.t_ns // US, row.what.verb, row.what.fault) for row in events(history, Struck)] == [
        (5, "nic_mute", 0),
        (9, "nic_unmute", 1),
    ]
    assert heard(history) == [10, 10, 10]


def test_a_pause_at_a_moment_holds_the_rest_of_the_event_back() -> None:
    history = scripted(when("node_pause", enters="REFLECTING"), at(20, "node_resume", "host1"))
    assert [row.t_ns // US for row in events(history, Sent)] == [0, 0, 20]
    assert heard(history) == [10, 10, 30]
    assert [(row.what.text, row.t_ns // US) for row in events(history, Noted)] == [("end", 30)]
    late = scripted(when("node_pause", enters="REFLECTING"), at(40, "node_resume", "host1"))
    assert [(row.what.text, row.t_ns // US) for row in events(late, Noted)] == [("end", 40)]


def test_a_restart_at_a_moment_finds_what_was_persisted_before_it() -> None:
    """The next life knows that the event has been, and sends nothing; one without the disk does it all again."""
    history = scripted(when("node_restart", enters="REFLECTING", state=State.KEPT))
    *_, entered, struck, died, started = [row.what for row in history.events if row.node == "host1"]
    assert (entered.old, entered.new) == (LinkState.TENTATIVE, LinkState.REFLECTING)
    assert (struck, died, started) == (Struck(0, "node_restart"), Died(), Started(kept=True, told_ns=0))
    fresh = scripted(when("node_restart", enters="REFLECTING"))
    assert [row.what.key.epoch for row in events(fresh, Sent)] == [1, 1, 2, 2, 2]  # the moment struck once


@pytest.mark.parametrize("state", list(State))
def test_a_restart_between_a_write_and_its_sync_finds_what_is_left_of_it(state: State) -> None:
    """The event has persisted its word, and said nothing yet."""
    history = scripted(when("node_restart", after_writes=1, state=state))
    assert [row.what.kept for row in events(history, Started, "host1")] == [False, state is State.KEPT]
    assert [row.what.key.epoch for row in events(history, Sent)] == ([] if state is State.KEPT else [2, 2, 2])


def test_a_node_whose_disk_is_full_dies_of_its_next_write_and_lives_again_when_there_is_room() -> None:
    """It would send every 10 us, and writes before it sends."""
    full = at(15, "disk_full", "host1")
    again = at(35, "node_restart", "host1", state=State.KEPT)
    history = run(full, again, at(45, "disk_free", "host1"), at(55, "node_restart", "host1", state=State.KEPT))
    assert [row.t_ns // US for row in events(history, Sent)] == [0, 10, 55, 65, 75]
    assert [(row.t_ns // US, row.what) for row in events(history, Died)] == [
        (20, Died(DISK_FULL)),
        (35, Died(DISK_FULL)),
    ]
    assert [row.what.kept for row in events(history, Started, "host1")] == [False, True, True]
    assert history.complete


def test_a_disk_that_was_not_full_is_freed_without_anything_happening() -> None:
    history = run(at(15, "disk_free", "host1"), count=3)
    assert [row.t_ns // US for row in events(history, Sent)] == [0, 10, 20]
    assert events(history, Died) == []


def test_a_write_that_a_pause_holds_back_fails_when_the_node_goes_on() -> None:
    faults = (when("node_pause", after_sends=1), at(5, "disk_full", "host1"), at(20, "node_resume", "host1"))
    history = SimEngine(build=TwoWrites).run(make_plan(DELAY, faults=faults))
    assert [row.t_ns // US for row in events(history, Sent)] == [0]
    assert [(row.t_ns // US, row.what.why) for row in events(history, Died)] == [(20, DISK_FULL)]


def test_a_moment_that_has_not_come_waits_for_the_next_life() -> None:
    history = scripted(at(0, "node_restart", "host1"), when("node_kill", index=1, after_sends=3))
    assert [(row.what.verb, row.t_ns) for row in events(history, Struck)] == [("node_restart", 0), ("node_kill", 0)]
    assert [row.what.key.epoch for row in events(history, Sent)] == [2, 2, 2]


# -- with the project's own machines -------------------------------------------------------------------------------


def test_a_crash_in_the_middle_of_a_handshake_leaves_the_peer_to_the_horizon() -> None:
    protocol = ProtocolConfig(rounds=3, depth=4, window_ns=100 * US, period_ns=100 * US)
    fault = Fault("node_kill", node="host2", target="host2", moment=Moment(0, enters="REFLECTING", round=1))
    history = SimEngine().run(make_plan(DELAY, faults=(fault,), protocol=protocol))
    ends = [(row.what.swap.round, row.node, row.what.outcome) for row in events(history, Resolve)]
    assert ends == [
        (0, "host2", "committed"),
        (0, "host1", "committed"),
        (1, "host1", "aborted"),
        (2, "host1", "aborted"),
    ]


@pytest.mark.parametrize("state", list(State))
def test_reconcile_resolves_over_a_restart_only_when_the_state_was_kept(state: State) -> None:
    protocol = ProtocolConfig(
        rounds=1, depth=4, window_ns=100 * US, period_ns=100 * US, horizon="reconcile", retry_ns=50 * US
    )
    moment = Moment(0, enters="REFLECTING", round=0)
    crash = Fault("node_kill", node="host2", target="host2", moment=moment)
    back = Fault("node_restart", target="host2", follows=0, after_ns=200 * US, state=state)
    history = SimEngine().run(make_plan(DELAY, faults=(crash, back), protocol=protocol))
    final = {row.node: row.what.outcome for row in events(history, Resolve)}
    assert final.get("host1") == ("in_doubt" if state is State.LOST else "committed")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("nic_break", 0, target="host1"), "no such verb"),
        (Fault("node_kill", 0, target="host9"), "there is no node 'host9'"),
        (Fault("nic_half", 0, target="host1"), "direction must be tx or rx"),
        (Fault("impair", 0, links=((7, "ab"),), impairment=DELAY), "there is no link direction"),
        (Fault("impair", 0, links=((0, "ab"),)), "needs an impairment"),
        (Fault("node_kill", target="host1", follows=4), "follows fault 4, which does not exist"),
    ],
)
def test_impossible_faults_are_refused(fault: Fault, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        run(fault)
