"""A simulated node: performs its machine's effects (testbed.nodes.core.driver.NodeIO), sleeps, is slow, dies and comes
back."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from mypy_extensions import i64

from testbed.engines.sim.netem import CORRUPT
from testbed.engines.sim.queue import FRAME, TIMER, Event
from testbed.nodes.core import (
    Apply,
    Decide,
    Effect,
    Effects,
    Install,
    Invoke,
    Machine,
    Note,
    Port,
    Propose,
    Resolve,
    Return,
    RoundStart,
)
from testbed.nodes.core.config import RING_FRAMES, NodeConfig
from testbed.nodes.core.disk import DISK_BYTES, DiskFullError, Log, State
from testbed.nodes.core.driver import Driver, driver_of
from testbed.nodes.core.lies import Lied
from testbed.nodes.core.record import (
    DISK_FULL,
    KILLED,
    Died,
    Dropped,
    Overrun,
    Received,
    Refused,
    Sent,
    Started,
    TimerFired,
    recorded,
)
from testbed.nodes.frames import BODY_BYTES, NO_ENDS, WIRE_BYTES, Frame, ends_of
from testbed.nodes.registry import build_liar

if TYPE_CHECKING:
    from testbed.engines.sim.fabric import Leg
    from testbed.engines.sim.run import Run

Build = Callable[[NodeConfig], Machine]
OUTCOMES = (RoundStart, Resolve, Propose, Decide, Apply, Invoke, Return, Install)
"""The effects that a run with ``events="outcomes"`` records."""
_WORK = "sim work"  # the timer that wakes a slow node; no machine's timer is called so


class Node:
    """One host that runs a machine, over all its lives.

    ``alive`` is False between death and restart. While ``paused``, what is left to do of the event in which the pause
    struck is held back. While ``busy``, which a node is as it is paused, slow, or has yet to work off what gathered
    then, frames and timers wait in the backlog; frames take up the NIC's ring there.
    """

    def __init__(self, run: Run, config: NodeConfig, build: Build) -> None:
        self.run = run
        self.config = config
        self.name = config.name
        self.epoch = config.epoch
        self.clock = config.clock
        self.alive = False
        self.paused = False
        self.busy = False
        self.machine: Machine
        self._driver: Driver
        self.legs: list[Any] = []
        self.timers: dict[str, int] = {}  # name -> serial number of its event: what else is in the heap is stale
        self.now: i64 = 0
        self.number = config.node
        self._build = build
        self._disk = Log(mmap.mmap(-1, DISK_BYTES)) if config.keeps else None
        self._slow_ns = 0
        self._free_ns = 0  # nothing that waits is begun before
        self._backlog: list[tuple[int, int, int, Any, Any, int]] = []
        self._rings: dict[str, tuple[int, int]] = {}  # per NIC: frames that wait, and those lost since one was taken
        self._held: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._replaying = False

    # -- lives -------------------------------------------------------------------------------------------------------

    def start(self, now_ns: int, state: State) -> None:
        """A life begins, with what is found on the disk of the last one."""
        config = replace(self.config, epoch=self.epoch, clock=self.clock)
        found: Mapping[str, bytes] = {} if self._disk is None else self._disk.recover(state)
        self.machine = self._build(config)
        self.alive = True
        self.busy, self._free_ns = self._slow_ns > 0, now_ns
        moments = self.run.schedule.moments(self.name)
        self._driver = driver_of(self.machine, self, config, moments, found, build_liar(config))
        self.run.record((now_ns, self.number, Started, Started(bool(found), now_ns)))
        self._do(self._driver.wake(now_ns), now_ns)

    def kill(self, now_ns: int, why: str = KILLED) -> None:
        """The life ends, if there is one."""
        if not self.alive:
            return
        self.alive = self.paused = self._replaying = False
        self.timers.clear()
        self._backlog, self._held, self._rings = [], [], {}
        self.run.record((now_ns, self.number, Died, Died(why)))

    def restart(self, now_ns: int, state: State) -> None:
        """Kill if alive, then the next life."""
        self.kill(now_ns)
        self.epoch += 1
        self.start(now_ns, state)

    def pause(self) -> None:
        """Handle nothing from now on."""
        self.paused = self.busy = self.alive

    def resume(self, now_ns: int) -> None:
        """Finish what the pause interrupted, then all that waits, in the order in which it became due."""
        if not self.paused:
            return
        self.paused, self._replaying = False, True
        held, self._held = self._held, []
        epoch = self.epoch
        for position, (action, arguments) in enumerate(held):
            if self.paused:
                self._held += held[position:]
                break
            if not self.alive or self.epoch != epoch:
                break
            action(*arguments[:-1], now_ns)
        self._free_ns = now_ns
        self._work_off(now_ns)

    def slow_down(self, by_ns: int, now_ns: int) -> None:
        """Handling takes so much longer from now on, in this life and in those to come; 0: no longer. What is being
        handled begins anew."""
        self._slow_ns, self._free_ns = by_ns, now_ns
        if self.alive and (by_ns or self.busy):
            self.busy = True
            self._wake_at(now_ns)  # at this instant, but when all has come in that comes in now

    def set_disk_full(self, full: bool) -> None:
        """Nothing more can be written to the disk, if there is one, or no longer so."""
        if self._disk is not None:
            self._disk.set_full(full)

    def strike_clock(self, verb: str, amount: int, now_ns: int) -> None:
        """Its clock is another one from now on, in this life and in those to come."""
        assert self.clock is not None
        self.clock = clock = self.clock.struck(verb, now_ns, amount)
        if self.alive:
            self.now = now_ns
            held, self.paused = self.paused, False  # timers run whether or not anybody looks
            self._driver.set_clock(clock)
            self.paused = held

    # -- events ------------------------------------------------------------------------------------------------------

    def wait_frame(self, stamp_ns: i64, serial: i64, leg: Leg, frame: Frame, flags: i64) -> None:
        """A frame came in while busy; it is lost where the NIC's ring is full."""
        nic = leg.wire.sink.nic
        waiting, lost = self._rings.get(nic, (0, 0))
        if waiting == RING_FRAMES:
            self._rings[nic] = (waiting, lost + 1)
            return
        self._rings[nic] = (waiting + 1, lost)
        heappush(self._backlog, (stamp_ns, FRAME, serial, frame, (leg.port, nic, lost > 0), flags))
        self._look(stamp_ns)

    def wait_timer(self, now_ns: int, serial: int, name: str, due_ns: int) -> None:
        """A timer's turn came while busy, or that of what waits."""
        if name == _WORK:
            del self.timers[_WORK]
            self._work_off(now_ns)
        else:
            heappush(self._backlog, (now_ns, TIMER, serial, name, None, due_ns))
            self._look(now_ns)

    def _look(self, now_ns: int) -> None:
        """Something more waits; who has something to do already will see it then."""
        if not self.paused and _WORK not in self.timers:
            self._work_off(now_ns)

    def _work_off(self, now_ns: int) -> None:
        """Handle what waits as far as it can be handled by now, in the order in which it became due."""
        while not self.paused and self._is_one_waiting():
            ready_ns = max(self._backlog[0][0], self._free_ns) + self._slow_ns
            if ready_ns > now_ns:
                self._wake_at(ready_ns)
                break
            at_ns, class_, _, item, where, more = heappop(self._backlog)
            self._replaying = at_ns < now_ns
            if class_ == FRAME:
                port, nic, losing = where
                self._take(nic, losing, at_ns, now_ns)
                self.receive(port, item, more, at_ns, now_ns)
            else:
                self.fire(item, more, now_ns)
            self._free_ns = now_ns
        self._replaying = False
        lost_some = any(lost for _, lost in self._rings.values())  # which the next frame is to tell
        self.busy = self.paused or self._slow_ns > 0 or len(self._backlog) > 0 or lost_some
        if not self.busy:
            self.timers.pop(_WORK, None)

    def _is_one_waiting(self) -> bool:
        """Whether something waits; timers that were cancelled or moved meanwhile do not."""
        while self._backlog:
            _, class_, serial, item, _, _ = self._backlog[0]
            if class_ == FRAME or self.timers.get(item) == serial:
                return True
            heappop(self._backlog)
        return False

    def _wake_at(self, at_ns: int) -> None:
        serial = self.timers[_WORK] = self.run.tick()
        self.run.queue.push(Event(at_ns << 2 | TIMER, serial, self, _WORK, at_ns))

    def _take(self, nic: str, losing: bool, stamp_ns: int, now_ns: int) -> None:
        """A frame leaves its ring. losing: some had been lost when it came in."""
        waiting, lost = self._rings[nic]
        self._rings[nic] = (waiting - 1, 0 if losing else lost)
        if losing and lost:
            self.run.record((now_ns, self.number, Overrun, Overrun(lost, stamp_ns)))

    def receive(self, port: Port, frame: Frame, flags: i64, stamp_ns: i64, now_ns: i64) -> None:
        """A frame is handled; its stamp is when it came in."""
        if flags & CORRUPT or port < 0:
            key, _, _, message = frame
            dropped = Dropped("foreign", key, message.round, message.step, stamp_ns)
            if flags & CORRUPT:  # who reads it can't tell what it was
                dropped = Dropped("corrupt", None, -1, -1, stamp_ns)
            self.run.record((now_ns, self.number, Dropped, dropped))
            return
        if self.run.full:
            key, _, _, message = frame
            self.run.record((now_ns, self.number, Received, (key, message.round, message.step, stamp_ns)))
        self._do(self._driver.hear(port, frame, now_ns), now_ns)

    def fire(self, name: str, due_ns: int, now_ns: int) -> None:
        """A timer is handled."""
        del self.timers[name]
        if self.run.full:
            self.run.record((now_ns, self.number, TimerFired, (name, due_ns)))
        self._do(self._driver.ring(name, now_ns), now_ns)

    def _do(self, effects: Effects, now_ns: int) -> None:
        if effects:
            self.now = now_ns
            self._driver.perform(effects, now_ns)

    # -- NodeIO ------------------------------------------------------------------------------------------------------

    def send(self, port: Port, frame: Frame, now_ns: int) -> None:
        """Put the frame on the wire and record it."""
        if self.paused:
            self._held.append((self.send, (port, frame, now_ns)))
            return
        if self.run.full:
            key, dst, _, message = frame
            _, round_, step, body, _ = message
            size, ends = WIRE_BYTES, NO_ENDS
            if len(body) != BODY_BYTES:
                size, ends = frame.wire_bytes, ends_of(message)
            self.run.record((now_ns, self.number, Sent, (key, dst, round_, step, size, ends)))
        self.run.sent += 1
        refused = self.run.transmit(self.legs[port], frame, 0, now_ns)
        if refused:
            key, dst, _, message = frame
            told = Refused(refused, key, dst, message.round, message.step)
            self.run.record((now_ns, self.number, Refused, told))

    def set_timer(self, name: str, at_ns: int) -> None:
        """Arm or move a timer; one that is due already fires now, after the frames of this instant."""
        if self.paused:
            self._held.append((self._set_timer_held, (name, at_ns, 0)))
            return
        serial = self.timers[name] = self.run.tick()
        if at_ns > self.now:
            self.run.queue.push(Event(at_ns << 2 | TIMER, serial, self, name, at_ns))
        elif self._replaying and at_ns < self.now:
            heappush(self._backlog, (at_ns, TIMER, serial, name, None, at_ns))
        else:
            self.run.queue.push(Event(self.now << 2 | TIMER, serial, self, name, at_ns))

    def _set_timer_held(self, name: str, at_ns: int, now_ns: int) -> None:
        self.now = now_ns
        self.set_timer(name, self._driver.due_ns(name, at_ns))

    def cancel_timer(self, name: str) -> None:
        """Disarm a timer."""
        if self.paused:
            self._held.append((self._cancel_timer_held, (name, 0)))
            return
        self.timers.pop(name, None)

    def _cancel_timer_held(self, name: str, _now_ns: int) -> None:
        self.cancel_timer(name)

    def record(self, effect: Effect | Lied, now_ns: int) -> None:
        """Keep an effect for the history."""
        if self.paused:
            self._held.append((self.record, (effect, now_ns)))
            return
        if self.run.full or type(effect) in self.run.outcomes:
            what: Any = recorded(effect) if isinstance(effect, Note) else effect
            self.run.record((now_ns, self.number, type(what), what))

    def persist(self, key: str, data: bytes | None, more: bool, now_ns: int) -> bool:
        """Write to the node's disk, if there is one; when it is full, the life ends."""
        if self.paused:
            self._held.append((self.persist, (key, data, more, now_ns)))
        elif self._disk is not None:
            try:
                self._disk.append(key, data, more)
            except DiskFullError:
                self.kill(now_ns, DISK_FULL)
                return False
        return True

    def sync(self, now_ns: int) -> None:
        """What was written is durable."""
        if self.paused:
            self._held.append((self.sync, (now_ns,)))
        elif self._disk is not None:
            self._disk.sync()

    def strike(self, index: int, now_ns: int) -> bool:
        """Carry out fault ``index`` now; False when this life ends with it."""
        if self.paused:
            self._held.append((self.strike, (index, now_ns)))
            return True
        epoch = self.epoch
        self.run.strike(index, now_ns)
        return self.alive and self.epoch == epoch
