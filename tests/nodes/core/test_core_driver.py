"""The driver: effects in their order, and faults that strike between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import pytest

from testbed.nodes.core import (
    CancelTimer,
    Decide,
    Effect,
    Effects,
    Life,
    LinkState,
    Note,
    Persist,
    Port,
    Propose,
    RoundStart,
    Send,
    SetTimer,
    SwapId,
    Transition,
)
from testbed.nodes.core.config import NodeConfig, Peer, ProtocolConfig
from testbed.nodes.core.driver import Driver, driver_of
from testbed.nodes.core.lies import Liar, Lie, Lied, LieKind
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import MAX_BODY, Frame, FrameKey, Kind, Message

ME, PEER, OTHER = 1, 0, 2


def config(epoch: int = 1, keeps: bool = False) -> NodeConfig:
    peers = tuple(Peer(node, f"host{node}", "eth0", "") for node in (PEER, OTHER))
    return NodeConfig(ME, "me", peers, {}, (PEER, ME, OTHER), ProtocolConfig(), epoch=epoch, keeps=keeps)


def said(round_: int = 0) -> Message:
    return Message(Kind.SWAP, round_, 1)


def send(round_: int = 0, port: Port = 0) -> Send:
    return Send(port, said(round_))


def heard(seq: int = 1, epoch: int = 1, answers: int = 0, round_: int = 0) -> Frame:
    """From PEER."""
    return Frame(FrameKey(PEER, epoch, seq), ME, answers, said(round_))


def enters(new: LinkState, old: LinkState = LinkState.TENTATIVE, round_: int = 0, peer: int = PEER) -> Transition:
    return Transition(SwapId(round_, min(ME, peer), max(ME, peer)), old, new)


class Told:
    """A node that writes down what it is asked to do; it outlives a fault if it is told so."""

    def __init__(self, survives: bool = False, no_room_for: str = "") -> None:
        self.survives, self.no_room_for = survives, no_room_for
        self.done: list[object] = []
        self.frames: list[Frame] = []

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:
        assert frame.dst == (PEER, OTHER)[port]
        self.frames.append(frame)
        self.done.append(Send(port, frame.message))

    def set_timer(self, name: str, at_ns: int) -> None:
        self.done.append(SetTimer(name, at_ns))

    def cancel_timer(self, name: str) -> None:
        self.done.append(CancelTimer(name))

    def record(self, effect: Effect, now_ns: int) -> None:
        self.done.append(effect)

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:
        self.done.append((key, data, more))
        return key != self.no_room_for

    def sync(self, now_ns: int) -> None:
        self.done.append("synced")

    def strike(self, index: int, now_ns: int) -> bool:
        self.done.append(f"fault {index} at {now_ns}")
        return self.survives


class Echo:
    """A machine whose answer names the event."""

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        return [Note("start", now_ns)]

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        return [Note(f"port {port}, life {life.epoch} to {life.answers}", now_ns, "", message), Send(port, message)]

    def on_timer(self, name: str, now_ns: int) -> Effects:
        return [Note(name, now_ns)]


def drive(effects: Effects, *moments: Moment, survives: bool = False) -> tuple[bool, list[object]]:
    node = Told(survives)
    return Driver(Echo(), node, config(), moments).perform(effects, 7), node.done


ALL: Effects = [
    Persist("a", b"1"),
    send(),
    Persist("a", None, sync=False),
    SetTimer("a", 5),
    CancelTimer("a"),
    enters(LinkState.REFLECTING),
    Note("n"),
    Propose(0, b"x"),
    Decide(0, b"x", 0),
    RoundStart(0),
]


def test_every_effect_is_performed_in_its_order() -> None:
    done = [("a", b"1", False), "synced", send(), ("a", None, False), *ALL[3:]]
    assert drive(ALL) == (True, done)
    assert drive(ALL, Moment(0, enters="COMMITTED")) == (True, done)  # a fault whose moment does not come


def test_who_dies_after_a_send_has_kept_what_stood_before_it_and_nothing_after() -> None:
    effects: Effects = [Persist("before", b"1"), send(), Persist("after", b"2")]
    assert drive(effects, Moment(0, after_sends=1)) == (
        False,
        [("before", b"1", False), "synced", send(), "fault 0 at 7"],
    )


BATCH: Effects = [Persist("a", b"1", sync=False, more=True), Persist("b", b"2"), send()]


@pytest.mark.parametrize("writes", [1, 2])
def test_a_fault_after_a_write_strikes_before_that_is_synced(writes: int) -> None:
    written = [("a", b"1", True), ("b", b"2", False)]
    assert drive(BATCH, Moment(0, after_writes=writes)) == (False, [*written[:writes], "fault 0 at 7"])
    alive, done = drive(BATCH, Moment(0, after_writes=writes), survives=True)
    assert alive
    assert done == [*written[:writes], "fault 0 at 7", *written[writes:], "synced", send()]
    assert drive(BATCH, Moment(0, after_writes=3)) == (True, [*written, "synced", send()])


def test_a_life_ends_with_a_write_for_which_there_is_no_room() -> None:
    node = Told(no_room_for="b")
    assert not Driver(Echo(), node, config()).perform(BATCH, 7)
    assert node.done == [("a", b"1", True), ("b", b"2", False)]


def test_a_node_without_need_of_a_disk_writes_nothing_and_one_with_it_each_peers_life_once() -> None:
    for keeps in (False, True):
        node = Told()
        driver = Driver(Echo(), node, config(keeps=keeps))
        for frame in (heard(1), heard(2), heard(3, answers=1), heard(4, answers=1)):
            driver.frame(0, frame, 5)
        assert node.done.count("synced") == 2 * keeps


def test_a_liar_sends_other_frames_under_its_own_name_and_its_machine_never_hears_of_the_timer() -> None:
    lies = (Lie(LieKind.DELAY, (PEER,), by_ns=10), Lie(LieKind.SILENT, moment=Moment(-1, after_sends=2)))
    liar = Liar(lies, (PEER, OTHER), lambda message, which: None)
    node = Told(survives=True)
    driver = driver_of(Echo(), node, config(), [Moment(4, after_sends=1)], {}, liar)
    assert driver.perform([send(port=0), send(port=1)], 7)
    lied, timer, sent, fault = node.done
    assert (lied, sent, fault) == (Lied(LieKind.DELAY, PEER, 0, 1), send(port=1), "fault 4 at 7")
    assert isinstance(timer, SetTimer)
    assert driver.timer(timer.name, timer.at_ns)  # its second send is the moment from which on it is silent
    assert driver.perform([send(port=0), send(port=1)], 20)
    assert node.done[4:] == [send(port=0), Lied(LieKind.SILENT, PEER, 0, 1), Lied(LieKind.SILENT, OTHER, 0, 1)]
    assert [frame.key for frame in node.frames] == [(ME, 1, 1), (ME, 1, 2)]
    assert driver.timer("tick", 21)
    assert node.done[-1] == Note("tick", 21)


def test_events_reach_the_machine_and_its_answers_the_node() -> None:
    node = Told()
    driver = Driver(Echo(), node, config())
    assert driver.start(1)
    assert driver.frame(0, heard(), 2)
    assert driver.timer("tick", 3)
    told = Note("port 0, life 1 to 0", 2, "", heard())  # with the frame that brought the message
    assert node.done == [Note("start", 1), told, Send(0, said()), Note("tick", 3)]


def test_frames_are_named_by_their_sender_its_life_and_their_number_and_tell_the_receivers_life() -> None:
    node = Told()
    driver = Driver(Echo(), node, config(epoch=3))
    driver.perform([send(port=1), send(port=0)], 1)
    driver.frame(0, heard(epoch=2), 2)
    driver.perform([send(port=1)], 3)
    assert [frame.key for frame in node.frames] == [(ME, 3, 1), (ME, 3, 2), (ME, 3, 3), (ME, 3, 4)]
    assert [(frame.dst, frame.peer_epoch) for frame in node.frames] == [(OTHER, 0), (PEER, 0), (PEER, 2), (OTHER, 0)]


def test_frames_of_a_life_that_is_over_never_reach_the_machine() -> None:
    """The peer has restarted, and one of its earlier life's frames was still on the wire."""
    node = Told()
    driver = Driver(Echo(), node, config(keeps=True))
    for frame in (heard(1), heard(1, epoch=2), heard(2), heard(2, epoch=2, answers=1)):
        driver.frame(0, frame, 5)
    assert [effect for effect in node.done if isinstance(effect, Note)] == [
        Note("port 0, life 1 to 0", 5, "", heard(1)),
        Note("port 0, life 2 to 0", 5, "", heard(1, epoch=2)),
        Note("stale", 0, "the sender is in epoch 2", heard(2)),
        Note("port 0, life 2 to 1", 5, "", heard(2, epoch=2, answers=1)),
    ]
    # a life that begins with the disk of this one knows it too; the other port has heard nothing
    disk = {key: data for key, data, _ in (one for one in node.done if one != "synced" and type(one) is tuple)}
    again = Driver(Echo(), node, config(epoch=2), disk=disk)
    assert again.hear(0, heard(3), 6) == [Note("stale", 0, "the sender is in epoch 2", heard(3))]
    assert again.lives == [Life(2, 1), Life(0, 0)]


@pytest.mark.parametrize("size", [0, 15, 17, 4096])
def test_a_swap_with_a_body_that_is_no_slots_is_refused_before_it_is_sent(size: int) -> None:
    """In every engine alike: one that passes messages on whole must not let through what the wire would not carry."""
    for kind in (Kind.SWAP, Kind.RESET):
        with pytest.raises(ValueError, match=f"exactly 16 bytes, not {size}"):
            drive([Send(0, Message(kind, 0, 1, bytes(size)))])


def test_other_messages_are_as_long_as_one_frame_carries() -> None:
    longest = Send(0, Message(Kind.DATA, 0, 1, bytes(MAX_BODY)))
    assert drive([longest]) == (True, [longest])
    with pytest.raises(ValueError, match=f"{MAX_BODY + 1} bytes fits into no frame: {MAX_BODY} at most, or in parts"):
        drive([Send(0, Message(Kind.DATA, 0, 1, bytes(MAX_BODY + 1)))])


def test_a_note_about_an_earlier_message_names_no_frame() -> None:
    node = Told()
    driver = Driver(Echo(), node, config())
    driver.frame(0, heard(), 1)
    earlier = Note("late", 7, "", Message(Kind.SWAP, 7, 1))
    driver.perform([earlier], 2)
    assert node.done[-1] == earlier


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
    driver = Driver(Echo(), node, config(), [Moment(3, after_sends=2, round=5)])
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
    assert not Driver(Echo(), node, config(), moments).perform([enters(LinkState.COMMITTED), Note("never")], 7)
    assert node.done[1:] == [f"fault {index} at 7" for index in range(3)]


def test_moments_come_back_from_their_json() -> None:
    moment = Moment(3, "COMMITTED", "REFLECTING", 4, 5, 6)
    assert Moment.from_json(asdict(moment)) == moment
