"""An agent: hands frames and timers to its node's machine and performs what it answers.

testbed.nodes.agent.process waits for them, for one agent or several.

Clock policies. ``read``: the clock is read for every event (cheap on real hardware). ``stamp``: a frame is handled at
its arrival stamp, which in virtual time, where computing takes none, IS the time of handling; it saves a system call
per frame. Timers always read the clock, so that their lag is on record.

Order. What waits is handled by time: frames by stamp, timers by due time, frames before timers at equal times; a timer
that is set to a time that is past comes after the frames of the instant at which it is set. So a node that was paused
and resumed works off what gathered meanwhile in the order in which it became due, with ``now`` = the instant of
resumption. A slow node handles one thing after the other, each so long after it was due and the one before was done; a
change of its pace, or a pause, has what it is at begin anew.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from testbed.nodes.agent.control import hear, tell
from testbed.nodes.agent.journal import Journal
from testbed.nodes.agent.nic import Nic
from testbed.nodes.agent.timers import NEVER, Timers
from testbed.nodes.core import Effect, Effects, Machine, Note, Port
from testbed.nodes.core.clock import Clock
from testbed.nodes.core.config import RING_FRAMES, START_NS, NodeConfig
from testbed.nodes.core.disk import DiskFullError, Log, State
from testbed.nodes.core.driver import driver_of
from testbed.nodes.core.lies import Lied
from testbed.nodes.core.moments import Moment
from testbed.nodes.core.record import (
    DISK_FULL,
    Dropped,
    Overrun,
    Received,
    Refused,
    Sent,
    Started,
    TimerFired,
    What,
    recorded,
)
from testbed.nodes.frames import BODY_BYTES, NO_ENDS, WIRE_BYTES, Frame, FrameError, decode, encode, ends_of
from testbed.nodes.registry import build_liar

CLOCKS = ("stamp", "read")


class Agent:
    """One life of one node. Implements testbed.nodes.core.driver.NodeIO.

    told: whether the supervisor may have something to say to it unasked. busy: frames wait, and not for want of being
    seen: it has to be left alone until ``next_ns``.
    """

    def __init__(
        self,
        config: NodeConfig,
        machine: Machine,
        *,
        moments: Sequence[Moment],
        journal: Journal,
        channel: socket.socket,
        disk: Log | None = None,
        state: State = State.KEPT,
        slow_ns: int = 0,
        told: bool = False,
        clock: str = "read",
        ring_frames: int = RING_FRAMES,
        frame_bytes: int = WIRE_BYTES,
    ) -> None:
        if clock not in CLOCKS:
            raise ValueError(f"clock {clock!r} is none of {', '.join(CLOCKS)}")
        self.config = config
        self.journal = journal
        self.channel = channel
        self.disk = disk
        self.told = told
        self.busy = False
        self.reads_clock = clock == "read"
        found = {} if disk is None else disk.recover(state)
        self.kept = bool(found)
        self.driver = driver_of(machine, self, config, moments, found, build_liar(config))
        self.timers = Timers()
        self.zero_ns = 0
        self.latest_ns = -NEVER  # the latest time known for sure; no event is handled before it
        self._instant_ns = -NEVER  # that of the event being handled; -NEVER for one that waited
        self._slow_ns = slow_ns
        self._paced = slow_ns > 0  # is slow, or has still to work off what waited while it was
        self._free_ns = -NEVER  # nothing that waits is begun before
        self._next_ns = NEVER
        self._resumed = False  # may have been told something meanwhile
        self._nics: dict[str, Nic[Frame]] = {name: Nic(name, ring_frames, frame_bytes) for name in config.nics}
        self._by_fd = {nic.fileno(): nic for nic in self._nics.values()}
        # per port: NIC, destination and source address
        self._ports = [(self._nics[peer.nic], _mac(peer.mac), _mac(config.nics[peer.nic])) for peer in config.peers]
        # (NIC, source address) -> port, the peer's number
        self._senders = {(peer.nic, _mac(peer.mac)): (port, peer.node) for port, peer in enumerate(config.peers)}
        self._own_macs = {name: _mac(mac) for name, mac in config.nics.items()}
        self._unsent: dict[str, Nic[Frame]] = {}  # NICs with frames in their batch
        self._rows: list[tuple[int, What]] = []  # of the event being handled

    # -- time --------------------------------------------------------------------------------------------------------

    def clock_ns(self) -> int:
        """Reads the run's clock."""
        return time.time_ns() - self.zero_ns

    def advance(self, now_ns: int) -> int:
        """Time never runs backwards within a life."""
        self.latest_ns = max(self.latest_ns, now_ns)
        return self.latest_ns

    def resumed(self, *_: object) -> None:
        """SIGCONT: whatever waits is handled, or begun, now, not when it came in."""
        self._free_ns = self.advance(self.clock_ns())
        self._resumed = self.told

    # -- NodeIO ------------------------------------------------------------------------------------------------------
    # What happens is recorded at latest_ns: later than the event's now_ns if a pause struck in between.

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:  # noqa: ARG002
        """Records the frame and puts it into the batch of its NIC."""
        nic, dst_mac, src_mac = self._ports[port]
        key, dst, _, message = frame
        _, round_, step, body, _ = message
        size, ends = WIRE_BYTES, NO_ENDS
        if len(body) != BODY_BYTES:
            size, ends = frame.wire_bytes, ends_of(message)
        self._rows.append((self.latest_ns, Sent(key, dst, round_, step, size, ends)))
        nic.queue(encode(frame, dst_mac, src_mac), frame)
        self._unsent[nic.name] = nic

    def set_timer(self, name: str, at_ns: int) -> None:
        """Arms or moves a timer of the machine; one that is due already comes after the frames of this instant."""
        self.timers.set(name, at_ns, self._instant_ns)

    def cancel_timer(self, name: str) -> None:
        """Disarms a timer of the machine."""
        self.timers.cancel(name)

    def record(self, effect: Effect | Lied, now_ns: int) -> None:  # noqa: ARG002
        """Puts an effect into the record."""
        what: What = recorded(effect) if isinstance(effect, Note) else effect  # type: ignore[assignment]
        self._rows.append((self.latest_ns, what))

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:  # noqa: ARG002
        """Writes to the disk, if there is one; what was sent before it is on the wire by then. When it is full, the
        supervisor is told, who ends this life."""
        if self.disk is None:
            return True
        if self._unsent:
            self._flush()
        try:
            self.disk.append(key, data, more)
        except DiskFullError:
            self._flush()
            tell(self.channel, "died", self.latest_ns, DISK_FULL)
            hear(self.channel)
            return False
        return True

    def sync(self, now_ns: int) -> None:  # noqa: ARG002
        """What was written is durable."""
        if self.disk is not None:
            self.disk.sync()

    def strike(self, index: int, now_ns: int) -> bool:  # noqa: ARG002
        """Sends what stands before the fault, then lets the supervisor carry it out; waits until it has."""
        self._flush()
        tell(self.channel, "strike", index, self.latest_ns)
        return self.hear()[:1] == ["alive"]

    def hear(self) -> list[str]:
        """Waits for what the supervisor says; what is to be done at once has been done."""
        words = hear(self.channel)
        while words[0] in ("clock", "slow"):
            if words[0] == "clock":
                self.driver.set_clock(Clock.from_json(json.loads(" ".join(words[1:]))))
            else:
                self._slow_ns, self._paced = int(words[1]), True
                self._free_ns = max(self._free_ns, int(words[2]))  # a pause that is over by now may have ended later
            words = hear(self.channel)
        return words

    # -- for its process ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the machine.

        That of a first life is told START_NS, the time it was meant to start at, so that it joins round 0; what it does
        is recorded at the time at which it does it.
        """
        now_ns = self._free_ns = self.advance(self.clock_ns())
        told_ns = START_NS if self.config.epoch == 1 else now_ns
        self._rows.append((now_ns, Started(self.kept, told_ns)))
        self._perform(self.driver.wake(told_ns), now_ns)

    def obey(self) -> None:
        """Does all that the supervisor has said by now."""
        self.channel.setblocking(False)
        with suppress(BlockingIOError):
            self.hear()
        self.channel.setblocking(True)
        self.advance(self.clock_ns())  # what is due now by another clock is not to wait for a timer

    def nic_fds(self) -> Iterable[int]:
        """What becomes readable when frames have come in."""
        return self._by_fd

    def clear_error(self, fd: int) -> None:
        """The NIC of this descriptor has lost its carrier."""
        self._by_fd[fd].clear_error()

    def next_ns(self) -> int:
        """When to handle what is pending though nothing has come in: as the next timer is due, or when the node is
        ready for what waits."""
        return self._next_ns if self._paced else self.timers.due_ns()

    def handle_pending(self) -> None:
        """Handles all frames that are in and all timers that are due, merged by stamp and due time."""
        while True:
            if self._resumed:
                self._resumed = False
                self.obey()
            stamp_ns, nic = self._oldest()
            due_ns = self.timers.due_ns()
            if self._paced and not self._is_ready(due_ns if nic is None else min(stamp_ns, due_ns), nic is not None):
                return
            if nic is not None and stamp_ns <= due_ns:
                self._on_frame(nic, stamp_ns)
            elif nic is not None or due_ns <= self.latest_ns:
                self._on_timer()
            else:
                return
            if self._paced:
                self._free_ns = self.latest_ns

    # -- events ------------------------------------------------------------------------------------------------------

    def _is_ready(self, first_ns: int, frames_wait: bool) -> bool:
        """Whether a slow node has had its time for what became due first."""
        ready_ns = max(first_ns, self._free_ns) + self._slow_ns
        if ready_ns > self.latest_ns:
            self.advance(self.clock_ns())  # a timer that is set for this very instant would be late
        is_ready = ready_ns <= self.latest_ns
        self._paced = self._slow_ns > 0 or not is_ready
        self.busy = frames_wait and not is_ready
        self._next_ns = min(ready_ns, NEVER)
        return is_ready

    def _oldest(self) -> tuple[int, Nic[Frame] | None]:
        best_ns, best = NEVER, None
        for nic in self._by_fd.values():
            stamp_ns = nic.ring.head_ns()
            if 0 <= stamp_ns < best_ns:
                best_ns, best = stamp_ns, nic
        return best_ns - self.zero_ns, best

    def _on_frame(self, nic: Nic[Frame], stamp_ns: int) -> None:
        wire = nic.ring.take()
        now_ns = self.advance(self.clock_ns() if self.reads_clock else stamp_ns)
        if nic.ring.lost_some:
            lost = nic.dropped()
            if lost:
                self._rows.append((now_ns, Overrun(lost, stamp_ns)))
        try:
            frame = decode(wire)
        except FrameError as error:
            self._rows.append((now_ns, Dropped(error.reason, None, -1, -1, stamp_ns)))
            self._write()
            return
        key, dst, _, message = frame
        sender = self._senders.get((nic.name, wire[6:12]))
        if sender is None or key.src != sender[1] or dst != self.config.node or wire[:6] != self._own_macs[nic.name]:
            self._rows.append((now_ns, Dropped("foreign", key, message.round, message.step, stamp_ns)))
            self._write()
            return
        port, _ = sender
        self._rows.append((now_ns, Received(key, message.round, message.step, stamp_ns)))
        self._perform(self.driver.hear(port, frame, now_ns), now_ns, stamp_ns)

    def _on_timer(self) -> None:
        turn_ns, due_ns, name = self.timers.pop()
        # waking for this timer has read the clock; only a frame with a later stamp may have come in between
        now_ns = self.latest_ns if self.latest_ns >= due_ns and not self.reads_clock else self.advance(self.clock_ns())
        self._rows.append((now_ns, TimerFired(name, due_ns)))
        self._perform(self.driver.ring(name, now_ns), now_ns, turn_ns)

    def _perform(self, effects: Effects, now_ns: int, due_ns: int = NEVER) -> None:
        """Does what the machine answered to an event that was due at ``due_ns``."""
        self._instant_ns = now_ns if due_ns >= now_ns else -NEVER
        if not self.driver.perform(effects, now_ns):
            os._exit(0)  # its life has ended in this event; the supervisor's SIGKILL is on its way
        self._flush()

    def _flush(self) -> None:
        """Puts what was recorded into the journal and then what was sent on the wire: the record is never behind."""
        self._write()
        while self._unsent:
            _, nic = self._unsent.popitem()
            for frame, error in nic.flush():
                refused = Refused(error, frame.key, frame.dst, frame.message.round, frame.message.step)
                self._rows.append((self.latest_ns, refused))
                self._write()

    def _write(self) -> None:
        self.journal.append(self._rows)
        self._rows.clear()


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
