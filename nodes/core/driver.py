"""Between a machine and whoever runs it: names frames, performs effects in order, lets faults strike between two.

The simulator's node and the agent on a NIC share this, so that a fault at a protocol moment means the same in both. A
machine says what is said to which port; the driver knows who speaks to whom, in which life, and numbers the frames.

Where a node has a clock of its own, its machine is told local times and its timers' times are local ones (LocalTime);
the driver is given true time and hands it on: whoever runs the node, and the history, know no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from testbed.nodes.core import (
    CancelTimer,
    Effect,
    Effects,
    Life,
    Machine,
    Note,
    Persist,
    Port,
    Send,
    SetTimer,
    Transition,
)
from testbed.nodes.core.clock import Clock
from testbed.nodes.core.config import NodeConfig
from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.core.lies import Liar, Lied
from testbed.nodes.core.moments import Moment
from testbed.nodes.frames import BODY_BYTES, Frame, FrameKey, Message, check_body


class NodeIO(Protocol):
    """What a driver needs from whoever runs it."""

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:
        """Put the frame on the wire and record it."""

    def set_timer(self, name: str, at_ns: int) -> None:
        """Arm or move a timer."""

    def cancel_timer(self, name: str) -> None:
        """Disarm a timer."""

    def record(self, effect: Effect | Lied, now_ns: int) -> None:
        """Keep an effect for the history (everything but sends and timers), or a lie that was told."""

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:
        """Write ``data`` to the node's disk, or that there is nothing under that key any more; False when this life
        ends with it, for the disk is full."""

    def sync(self, now_ns: int) -> None:
        """What has been written is durable on return."""

    def strike(self, index: int, now_ns: int) -> bool:
        """Carry out fault ``index`` now; False when this node's life ends with it."""


UNHEARD = Life(0, 0)
"""Of a peer from which nothing has come."""

_EMPTY: Mapping[str, bytes] = {}

# What every message asks for: compiled, looking a name up takes as long as a small deed.
_SEND: Final = Send
_TRANSITION: Final = Transition
_SET_TIMER: Final = SetTimer
_FRAME: Final = Frame
_FRAME_KEY: Final = FrameKey
_BODY_BYTES: Final = BODY_BYTES
_LIFE = "driver life "  # no machine's keys begin with this


def _life_key(port: Port) -> str:
    return f"{_LIFE}{port}"


def _life(data: bytes | None) -> Life:
    return UNHEARD if data is None else Life(*unpack(data))


class LocalTime:
    """A machine on a node with a clock of its own: it is told the times that the clock shows.

    due: per timer that is set, the local time that its machine asked for and the true time that it comes to.
    """

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self.machine = machine
        self.clock = clock
        self.due: dict[str, tuple[int, int]] = {}

    def on_start(self, now_ns: int, disk: Mapping[str, bytes]) -> Effects:
        """The node comes up."""
        return self.machine.on_start(self.clock.local_ns(now_ns), disk)

    def on_message(self, port: Port, message: Message, life: Life, now_ns: int) -> Effects:
        """A message came in."""
        return self.machine.on_message(port, message, life, self.clock.local_ns(now_ns))

    def on_timer(self, name: str, now_ns: int) -> Effects:
        """A timer is due: the clock shows the time that it was set to."""
        self.due.pop(name, None)
        return self.machine.on_timer(name, self.clock.local_ns(now_ns))

    def set_timer(self, name: str, local_ns: int, now_ns: int) -> int:
        """The true time at which a timer is due."""
        due_ns = self.clock.true_ns(local_ns, now_ns)
        self.due[name] = (local_ns, due_ns)
        return due_ns

    def set_clock(self, clock: Clock) -> list[SetTimer]:
        """Another clock from its ``since_ns`` on: when those timers are due now that had not been due before."""
        self.clock = clock
        coming = [(name, local_ns) for name, (local_ns, due_ns) in self.due.items() if due_ns >= clock.since_ns]
        return [SetTimer(name, self.set_timer(name, local_ns, clock.since_ns)) for name, local_ns in coming]


class Driver:
    """Runs one life of a machine: call ``start``, ``frame`` and ``timer``; a False answer means that the node died.
    ``wake``, ``hear`` and ``ring`` give the answers, which ``perform`` does.

    disk: what the lives before have persisted. lives: per port, the peer's life as last heard of, by this life or,
    where the disk is kept, by one before.
    """

    def __init__(
        self,
        machine: Machine,
        io: NodeIO,
        config: NodeConfig,
        moments: Sequence[Moment] = (),
        disk: Mapping[str, bytes] = _EMPTY,
    ) -> None:
        self._local = None if config.clock is None else LocalTime(machine, config.clock)
        self.machine = machine
        self._told: Machine = self._local or machine
        self.lives = [_life(disk.get(_life_key(port))) for port in range(len(config.peers))]
        self._disk = {key: data for key, data in disk.items() if not key.startswith(_LIFE)}
        self._keeps = config.keeps
        self._io = io
        self._node, self._epoch = config.node, config.epoch
        self._peers = [peer.node for peer in config.peers]
        self._sent = self._written = 0
        self._hearing: Frame | None = None
        self._waiting = list(moments)
        self._sends: dict[int, int] = {}

    def start(self, now_ns: int) -> bool:
        """The node comes up."""
        return self.perform(self.wake(now_ns), now_ns)

    def frame(self, port: Port, frame: Frame, now_ns: int) -> bool:
        """A whole frame came in on ``port``."""
        return self.perform(self.hear(port, frame, now_ns), now_ns)

    def timer(self, name: str, now_ns: int) -> bool:
        """A timer is due."""
        return self.perform(self.ring(name, now_ns), now_ns)

    def set_clock(self, clock: Clock) -> None:
        """The node's clock is this one from its ``since_ns`` on; for a node that was born with a clock."""
        assert self._local is not None
        for name, at_ns in self._local.set_clock(clock):
            self._io.set_timer(name, at_ns)

    def due_ns(self, name: str, at_ns: int) -> int:
        """When a timer is due that was asked for at ``at_ns``: the clock may be another one since."""
        return at_ns if self._local is None else self._local.due.get(name, (0, at_ns))[1]

    def wake(self, now_ns: int) -> Effects:
        """What the machine does first; it is told of nothing on the disk but its own."""
        return self._told.on_start(now_ns, self._disk)

    def hear(self, port: Port, frame: Frame, now_ns: int) -> Effects:
        """What the machine answers to a frame from the peer behind ``port``; it never sees one of an earlier life."""
        (_, epoch, _), _, answers, message = frame
        life = self.lives[port]
        known_epoch, known_answers = life
        if known_epoch != epoch or known_answers != answers:
            if epoch < known_epoch:
                return [Note("stale", message.round, f"the sender is in epoch {known_epoch}", frame)]
            life = self.lives[port] = Life(epoch, answers)
            if self._keeps:
                self._hearing = frame
                known = Persist(_life_key(port), pack(*life))
                return [known, *self._told.on_message(port, message, life, now_ns)]
        self._hearing = frame
        return self._told.on_message(port, message, life, now_ns)

    def ring(self, name: str, now_ns: int) -> Effects:
        """What the machine answers to a timer of its."""
        return self._told.on_timer(name, now_ns)

    def perform(self, effects: Effects, now_ns: int) -> bool:
        """Do the effects in order; faults that wait for one of them strike before a transition, after a send.

        Raises ValueError for a message that no frame can carry.
        """
        io = self._io
        for effect in effects:
            if type(effect) is _SEND:
                port, message = effect
                _, round_, _, body, _ = message
                if len(body) != _BODY_BYTES:
                    check_body(message)
                self._sent += 1
                key = _FRAME_KEY(self._node, self._epoch, self._sent)
                io.send(port, _FRAME(key, self._peers[port], self.lives[port][0], message), now_ns)
                if self._waiting and not self._after_send(round_, now_ns):
                    return False
            elif type(effect) is _TRANSITION:
                io.record(effect, now_ns)
                if self._waiting and not self._at_transition(effect, now_ns):
                    return False
            elif type(effect) is _SET_TIMER:
                name, at_ns = effect
                io.set_timer(name, at_ns if self._local is None else self._local.set_timer(name, at_ns, now_ns))
            elif isinstance(effect, CancelTimer):
                if self._local is not None:
                    self._local.due.pop(effect.name, None)
                io.cancel_timer(effect.name)
            elif isinstance(effect, Persist):
                if not self._persist(effect, now_ns):
                    return False
            else:
                io.record(self._traced(effect) if isinstance(effect, Note) else effect, now_ns)
        return True

    def _persist(self, effect: Persist, now_ns: int) -> bool:
        key, data, sync, more = effect
        if not self._io.persist(key, data, more, now_ns):
            return False
        self._written += 1
        if self._waiting:
            due = [moment for moment in self._waiting if moment.after_writes == self._written]
            if not self._strike(due, now_ns):
                return False
        if sync:
            self._io.sync(now_ns)
        return True

    def _traced(self, note: Note) -> Note:
        """With the frame in hand, if it brought the message that the note is about."""
        frame = self._hearing
        return note._replace(about=frame) if frame is not None and note.about is frame.message else note

    def _at_transition(self, effect: Transition, now_ns: int) -> bool:
        peer = effect.swap.high if effect.swap.low == self._node else effect.swap.low
        return self._strike(
            [
                moment
                for moment in self._waiting
                if (moment.enters == effect.new or moment.leaves == effect.old)
                and moment.round in (-1, effect.swap.round)
                and moment.peer in (-1, peer)
            ],
            now_ns,
        )

    def _after_send(self, round_: int, now_ns: int) -> bool:
        count = self._sends[round_] = self._sends.get(round_, 0) + 1
        return self._strike(
            [moment for moment in self._waiting if moment.after_sends == count and moment.round in (-1, round_)],
            now_ns,
        )

    def _strike(self, due: list[Moment], now_ns: int) -> bool:
        alive = True
        for moment in due:
            self._waiting.remove(moment)
            alive = self._come(moment, now_ns) and alive
        return alive

    def _come(self, moment: Moment, now_ns: int) -> bool:
        """A moment that something waits for; False when the life ends with it."""
        return self._io.strike(moment.index, now_ns)


class LyingDriver(Driver):
    """Runs one life of a machine whose node lies, by the time that its clock shows."""

    def __init__(
        self,
        machine: Machine,
        io: NodeIO,
        config: NodeConfig,
        moments: Sequence[Moment],
        disk: Mapping[str, bytes],
        liar: Liar,
    ) -> None:
        super().__init__(machine, io, config, [*moments, *liar.moments()], disk)
        self._liar = liar

    def ring(self, name: str, now_ns: int) -> Effects:
        """A timer of the machine's, or of what its node holds back."""
        held = self._liar.released(name)
        if held is None:
            return super().ring(name, now_ns)
        if self._local is not None:
            self._local.due.pop(name, None)
        return held

    def perform(self, effects: Effects, now_ns: int) -> bool:
        """Do what the liar does in place of the effects."""
        for deed in self._liar.twisted(effects, self._shown_ns(now_ns)):
            if isinstance(deed, Lied):
                self._io.record(deed, now_ns)
            elif not super().perform([deed], now_ns):
                return False
        return True

    def _shown_ns(self, now_ns: int) -> int:
        return now_ns if self._local is None else self._local.clock.local_ns(now_ns)

    def _come(self, moment: Moment, now_ns: int) -> bool:
        if moment.index >= 0:
            return super()._come(moment, now_ns)
        self._liar.begin(moment, self._shown_ns(now_ns))
        return True


def driver_of(
    machine: Machine,
    io: NodeIO,
    config: NodeConfig,
    moments: Sequence[Moment],
    disk: Mapping[str, bytes],
    liar: Liar | None,
) -> Driver:
    """Who runs this life. liar: tells the node's lies; None: it has none to tell."""
    if liar is None:
        return Driver(machine, io, config, moments, disk)
    return LyingDriver(machine, io, config, moments, disk, liar)
