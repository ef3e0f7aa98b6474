"""The driver: effects in their order, and faults that strike between two of them."""

from __future__ import annotations

from dataclasses import asdict

from nodes.core import (
    CancelTimer,
    Decide,
    Effect,
    Effects,
    LinkState,
    Note,
    Port,
    Propose,
    RoundStart,
    Send,
    SetTimer,
    SwapId,
    Transition,
)
from nodes.core.driver import Driver, Moment
from nodes.frames import Frame, Kind

ME, PEER, OTHER = 1, 0, 2


def send(round_: int = 0, dst: int = PEER) -> Send:
    return Send(0, Frame(Kind.SWAP, ME, dst, 1, 0, round_, 1, 1))


def enters(new: LinkState, old: LinkState = LinkState.TENTATIVE, round_: int = 0, peer: int = PEER) -> Transition:
    return Transition(SwapId(round_, min(ME, peer), max(ME, peer)), old, new)


class Told:
    """A node that writes down what it is asked to do; it outlives a fault if it is told so."""

    def __init__(self, survives: bool = False) -> None:
        self.survives = survives
        self.done: list[object] = []

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:
        self.done.append(Send(port, frame))

    def set_timer(self, name: str, at_ns: int) -> None:
        self.done.append(SetTimer(name, at_ns))

    def cancel_timer(self, name: str) -> None:
        self.done.append(CancelTimer(name))

    def record(self, effect: Effect, now_ns: int) -> None:
        self.done.append(effect)

    def strike(self, index: int, now_ns: int) -> bool:
        self.done.append(f"fault {index} at {now_ns}")
        return self.survives


class Echo:
    """A machine whose answer names the event."""

    def on_start(self, now_ns: int) -> Effects:
        return [Note("start", now_ns)]

    def on_frame(self, port: Port, frame: Frame, now_ns: int) -> Effects:
        return [Note(f"frame {port} {frame.seq}", now_ns)]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        return [Note(name, now_ns)]


def drive(effects: Effects, *moments: Moment, survives: bool = False) -> tuple[bool, list[object]]:
    node = Told(survives)
    return Driver(Echo(), node, ME, moments).perform(effects, 7), node.done


ALL: Effects = [
    send(),
    SetTimer("a", 5),
    CancelTimer("a"),
    enters(LinkState.REFLECTING),
    Note("n"),
    Propose(0, 1),
    Decide(0, 1, 0),
    RoundStart(0),
]


def test_every_effect_is_performed_in_its_order() -> None:
    assert drive(ALL) == (True, ALL)
    assert drive(ALL, Moment(0, enters="COMMITTED")) == (True, ALL)  # a fault whose moment does not come


def test_events_reach_the_machine_and_its_answers_the_node() -> None:
    node = Told()
    driver = Driver(Echo(), node, ME)
    assert driver.start(1)
    assert driver.frame(3, send().frame, 2)
    assert driver.timer("tick", 3)
    assert node.done == [Note("start", 1), Note("frame 3 1", 2), Note("tick", 3)]


def test_a_fault_on_entering_strikes_when_the_transition_is_on_record_and_nothing_after_it_is_done() -> None:
    """What stands before the transition was done in the old state; what would be done in the new one never is."""
    effects = [send(0), enters(LinkState.REFLECTING), send(0), Note("never")]
    assert drive(effects, Moment(4, enters="REFLECTING")) == (False, [*effects[:2], "fault 4 at 7"])


def test_a_fault_that_the_node_survives_is_done_once_and_the_rest_follows() -> None:
    effects: Effects = [enters(LinkState.REFLECTING), send(), enters(LinkState.REFLECTING, round_=1)]
    alive, done = drive(effects, Moment(4, enters="REFLECTING"), survives=True)
    assert alive
    assert done == [effects[0], "fault 4 at 7", *effects[1:]]


def test_leaving_a_state_is_the_same_moment_seen_from_the_other_side() -> None:
    effects: Effects = [enters(LinkState.TENTATIVE, LinkState.IDLE), enters(LinkState.REFLECTING)]
    assert drive(effects, Moment(0, leaves="TENTATIVE")) == (False, [*effects, "fault 0 at 7"])


def test_round_and_peer_narrow_the_moment_down() -> None:
    effects: Effects = [
        enters(LinkState.REFLECTING, round_=1),
        enters(LinkState.REFLECTING, round_=2, peer=OTHER),
        enters(LinkState.REFLECTING, round_=2),
    ]
    assert drive(effects, Moment(0, enters="REFLECTING", round=2, peer=PEER))[1] == [*effects, "fault 0 at 7"]
    assert drive(effects, Moment(0, enters="REFLECTING", round=2))[1] == [*effects[:2], "fault 0 at 7"]
    assert drive(effects, Moment(0, enters="REFLECTING", peer=OTHER))[1] == [*effects[:2], "fault 0 at 7"]


def test_sends_are_counted_per_round_over_all_events() -> None:
    node = Told()
    driver = Driver(Echo(), node, ME, [Moment(3, after_sends=2, round=5)])
    assert driver.perform([send(5), send(4), send(4)], 1)
    assert not driver.perform([send(5), Note("never")], 2)
    assert node.done == [send(5), send(4), send(4), send(5), "fault 3 at 2"]
    # without a round, the first round to get that far
    assert drive([send(5), send(4), send(4), send(5)], Moment(3, after_sends=2))[1][-1] == "fault 3 at 7"


def test_faults_of_one_moment_all_strike_and_one_death_is_enough() -> None:
    class Half(Told):
        def strike(self, index: int, now_ns: int) -> bool:
            super().strike(index, now_ns)
            return index != 1

    node = Half()
    moments = [Moment(index, enters="COMMITTED") for index in range(3)]
    assert not Driver(Echo(), node, ME, moments).perform([enters(LinkState.COMMITTED), Note("never")], 7)
    assert node.done[1:] == [f"fault {index} at 7" for index in range(3)]


def test_moments_come_back_from_their_json() -> None:
    moment = Moment(3, "COMMITTED", "REFLECTING", 4, 5, 6)
    assert Moment.from_json(asdict(moment)) == moment
