"""One simulated run: the event loop, what frames meet on their way, and the faults.

Events (queue.py) wait in one queue: at equal times faults come before frames before timers. Within a class what was
queued first comes first, but that frames come wire by wire (Wire.rank).
Everything is integer nanoseconds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from testbed.engines.base import Progress
from testbed.engines.sim.fabric import Leg, Network, Wire, onward, ways
from testbed.engines.sim.netem import CARRIED, CLONED, COPY, FULL, LOST
from testbed.engines.sim.node import OUTCOMES, Build, Node
from testbed.engines.sim.queue import FAULT, FRAME, MARK, Event, Queue
from testbed.engines.sim.recorder import CROSSED, DEAF, HopRecorder
from testbed.engines.sim.room import Room
from testbed.faults.outages import Outages
from testbed.faults.schedule import Phase, Schedule
from testbed.history import NOBODY, History, Recorder, Row, node_names
from testbed.nodes.core.config import START_NS
from testbed.nodes.core.disk import State
from testbed.nodes.core.record import Struck
from testbed.nodes.frames import Frame
from testbed.plan import Fault, Plan, derive_seed

EVENTS = ("all", "outcomes", "none")
_MARKS = 50
_EARLY = (2000, 500, 100)  # parts of a run after the first of which its room is looked at already
_STOP: Final = -1
_VERY_LAST: Final = 1 << 62  # instead of a serial number


class Run:
    """Runs ``plan`` once. build makes the machines; events is one of EVENTS; hops says whether to record them."""

    def __init__(
        self, plan: Plan, build: Build, events: str = "all", hops: bool = True, memory_bytes: int | None = None
    ) -> None:
        self.plan = plan
        self._room = Room(memory_bytes)
        self.full = events == "all"
        self.outcomes: tuple[type, ...] = () if events == "none" else OUTCOMES
        self.queue = Queue()
        self._serial: i64 = -1
        self.sent = 0
        self.traffic = dict.fromkeys(("copies", "lost", "limit", "cut", "mute", "unknown", "delivered"), 0)
        self.limit_drops: dict[str, int] = {}
        self._crossings = 0
        self._handled = 0
        self._recorder = Recorder(node_names(plan.fabric))
        self._numbers = {name: number for number, name in enumerate(self._recorder.names)} | {"": NOBODY}
        self._capture = hops
        self.record: Callable[[Row], None] = _forget if events == "none" else self._recorder.rows.append
        self.network = Network(plan.fabric)
        self.outages = Outages(plan.fabric)
        self._hops = HopRecorder(self.network)
        self.schedule = Schedule(plan.faults, self._expect)
        self.nodes = {name: Node(self, plan.node_config(name), build) for name in plan.names}
        for name, legs in ways(self.network, self.nodes).items():
            self.nodes[name].legs = legs

    # -- the run -----------------------------------------------------------------------------------------------------

    def run(self, progress: Progress | None = None) -> History:
        """Start the nodes, let happen what happens until the plan's end (that instant included)."""
        collects = gc.isenabled()
        gc.disable()  # nothing in here makes cycles, and a growing history makes each collection dearer
        try:
            for node in self.nodes.values():
                node.start(START_NS, State.LOST)
            end_ns = self.plan.duration_ns
            for at_ns in self._marks():
                self.queue.push(Event(at_ns << 2 | MARK, self.tick(), None, None, at_ns))
                self._loop()
                self._recorder.pack()
                self._hops.pack()
                share = at_ns / end_ns
                self._room.check(share, self._recorder.count(), self._hops.count())
                if progress is not None:
                    progress("simulating", share)
            self.queue.push(Event(end_ns << 2 | MARK, _VERY_LAST, None, None, _STOP))
            self._loop()
            return self._history()
        finally:
            if collects:
                gc.enable()

    def _marks(self) -> list[int]:
        """When to look at the room, before the end."""
        end_ns = self.plan.duration_ns
        parts = {*(end_ns // part for part in _EARLY), *(end_ns * part // _MARKS for part in range(1, _MARKS))}
        return sorted(parts - {0})

    def tick(self) -> i64:
        """The next serial number."""
        self._serial += 1
        return self._serial

    def _loop(self) -> None:  # noqa: PLR0912, PLR0915  (one loop, written out: it is what a run's time goes into)
        """Handle events up to the next mark."""
        queue, capture = self.queue, self._capture
        traffic, crossed = self.traffic, self._hops.rows
        crossings: i64 = 0
        handled: i64 = 0
        delivered: i64 = 0
        while True:
            event = queue.first()
            key = event.key
            class_ = key & 3
            now = key >> 2
            handled += 1
            if class_ == FRAME:
                leg: Leg = event.target
                wire = leg.wire
                crossings += 1
                dropped = wire.deaf and wire.drops(event.item)
                if capture:
                    crossed.append((now, DEAF if dropped else CROSSED, wire.number, event.item, event.extra))
                if dropped:
                    queue.pop()
                    traffic["mute"] += 1
                    continue
                onward = leg.next
                if onward is not None:
                    flags = event.extra & CARRIED
                    out = onward.wire
                    if out.direct:
                        leaves = out.qdisc.enqueue(now)
                        if leaves > now:
                            event.key, event.serial = leaves << 2 | FRAME, out.rank + self.tick()
                            event.target, event.extra = onward, flags
                            queue.moved(event)
                        else:
                            queue.pop()
                            self._dropped(leaves, out, event.item, flags, now)
                    else:
                        queue.pop()
                        self.transmit(onward, event.item, flags, now)
                    continue
                queue.pop()
                if leg.unknown:
                    traffic["unknown"] += 1
                    if capture:
                        crossed.append((now, "unknown", wire.number, event.item, event.extra))
                    continue
                delivered += 1
                node: Node | None = leg.receiver
                if node is None or not node.alive:
                    continue
                if node.busy:
                    node.wait_frame(now, event.serial, leg, event.item, event.extra)
                else:
                    node.receive(leg.port, event.item, event.extra, now, now)
                continue
            queue.pop()
            if class_ == MARK:
                if event.item is None:
                    handled -= event.extra != _STOP  # looking at the room is no event of the run
                    break
                event.item(now)
            elif class_ == FAULT:
                self._strike_due(now)
            else:
                owner: Node = event.target
                if owner.timers.get(event.item) != event.serial:
                    continue  # moved, cancelled, or of an earlier life
                if owner.busy:
                    owner.wait_timer(now, event.serial, event.item, event.extra)
                else:
                    owner.fire(event.item, event.extra, now)
        self._crossings += crossings
        self._handled += handled
        traffic["delivered"] += delivered

    # -- frames ------------------------------------------------------------------------------------------------------

    def transmit(self, leg: Leg, frame: Frame, flags: i64, now_ns: i64) -> str:
        """A frame is whole at the interface that begins ``leg``: queue it there, or drop it.

        Returns the error that whoever sends there is told (``ENETDOWN``), or nothing.
        """
        wire = leg.wire
        if wire.direct:
            leaves = wire.qdisc.enqueue(now_ns)
            if leaves > now_ns:
                self.queue.push(Event(leaves << 2 | FRAME, wire.rank + self.tick(), leg, frame, flags))
            else:
                self._dropped(leaves, wire, frame, flags, now_ns)
                return "ENOBUFS" if leaves == FULL else ""
        elif wire.blocked:
            self._drop(wire.blocked, wire, frame, flags, now_ns)
            return "ENETDOWN" if wire.source.down else ""
        else:
            passages = wire.qdisc.enqueue_all(now_ns, bool(flags & CLONED), frame.wire_bytes)
            self.traffic["copies"] += len(passages) - 1
            for leaves, marks in passages:
                if leaves > now_ns:
                    self.queue.push(Event(leaves << 2 | FRAME, wire.rank + self.tick(), leg, frame, flags | marks))
                else:
                    self._dropped(leaves, wire, frame, flags | marks, now_ns)
            return "ENOBUFS" if len(passages) == 1 and passages[0][0] == FULL else ""
        return ""

    def _dropped(self, why: i64, wire: Wire, frame: Frame, flags: i64, now_ns: i64) -> None:
        if why == LOST:
            self._drop("lost", wire, frame, flags, now_ns)
            return
        nic = wire.source.nic
        self.limit_drops[nic] = self.limit_drops.get(nic, 0) + 1
        self._drop("limit", wire, frame, flags, now_ns)

    def _drop(self, what: str, wire: Wire, frame: Frame, flags: i64, now_ns: i64) -> None:
        self.traffic[what] += 1
        if self._capture and not flags & COPY:  # a copy that did not get out never was
            self._hops.rows.append((now_ns, what, wire.number, frame, flags))

    # -- faults ------------------------------------------------------------------------------------------------------

    def strike(self, index: int, now_ns: int) -> None:
        """The protocol moment of fault ``index`` has come."""
        for own in self.schedule.at_moment(index, now_ns):
            self._carry_out(own, now_ns, amid=True)

    def _expect(self, at_ns: int, phase: Phase) -> None:
        """A fault has been put on the schedule."""
        if phase is Phase.LAST:
            self._when_over(at_ns, self._strike_due)
        else:
            self.queue.push(Event(at_ns << 2 | FAULT, self.tick(), None, None, 0))

    def _when_over(self, now_ns: int, deed: Callable[[int], None]) -> None:
        """Do ``deed`` when all else of this instant has been done."""
        self.queue.push(Event(now_ns << 2 | MARK, self.tick(), None, deed, 0))

    def _strike_due(self, now_ns: int) -> None:
        self._carry_out(self.schedule.take(), now_ns)

    def _carry_out(self, index: int, now_ns: int, amid: bool = False) -> None:
        """Fault ``index`` strikes. amid: in the middle of an instant, at the moment of the node that it strikes."""
        fault = self.plan.faults[index]
        self.record((now_ns, self._numbers[fault.target], Struck, Struck(index, fault.verb)))
        if fault.verb in ("impair", "unimpair"):
            self._impair(fault, index)
        elif fault.verb == "reroute":
            self._reroute()
        elif fault.verb.startswith(("link_", "switch_")):
            self._strike_links(fault, now_ns)
        elif fault.verb.startswith("nic_"):
            self._strike_nic(fault, now_ns, amid)
        else:
            self._strike_node(fault, now_ns, amid)

    def _strike_node(self, fault: Fault, now_ns: int, amid: bool) -> None:
        node = self.nodes.get(fault.target)
        if node is None:
            return  # a host without a machine
        if fault.verb == "node_kill":
            node.kill(now_ns)
        elif fault.verb == "node_pause":
            node.pause()
        elif fault.verb == "node_resume":
            node.resume(now_ns)
        elif fault.verb in ("node_slow", "node_quick"):
            node.slow_down(fault.amount, now_ns)
        elif fault.verb in ("clock_step", "clock_drift"):
            node.strike_clock(fault.verb, fault.amount, now_ns)
        elif fault.verb in ("disk_full", "disk_free"):
            node.set_disk_full(fault.verb == "disk_full")
        elif amid:  # what else comes in at this instant dies with the socket of the old life
            node.kill(now_ns)
            self._when_over(now_ns, lambda now_ns: node.restart(now_ns, fault.state))
        else:
            node.restart(now_ns, fault.state)

    def _strike_nic(self, fault: Fault, now_ns: int, amid: bool) -> None:
        if amid and fault.verb in ("nic_deaf", "nic_hear"):  # as below, but the node sends on
            self._when_over(now_ns, lambda now_ns: self._strike_nic(fault, now_ns, amid=False))
            return
        if amid and fault.verb not in ("nic_up", "nic_unmute"):
            # the node itself sends no more; what else comes in at this instant has come in, in whatever order we look
            for interface in self.network.nics(fault.target, fault.nic):
                interface.down |= fault.verb == "nic_down"
                if fault.direction != "rx":
                    interface.out.block("cut" if fault.verb == "nic_down" else "mute")
            self._when_over(now_ns, lambda now_ns: self._strike_nic(fault, now_ns, amid=False))
            return
        for interface in self.network.nics(fault.target, fault.nic):
            if fault.verb in ("nic_down", "nic_up"):
                interface.down = fault.verb == "nic_down"
            elif fault.verb == "nic_deaf":
                interface.deaf_to |= {self._numbers[peer] for peer in fault.peers}
            elif fault.verb == "nic_hear":
                heard = fault.peers or self.plan.fabric.hosts
                interface.deaf_to -= {self._numbers[peer] for peer in heard}
            elif fault.verb == "nic_unmute":
                interface.mute_in = interface.mute_out = False
            else:
                interface.mute_out |= fault.verb == "nic_mute" or fault.direction == "tx"
                interface.mute_in |= fault.verb == "nic_mute" or fault.direction == "rx"
            interface.update()
            if interface.down:
                self._cut((interface.out, interface.out.sink.out), now_ns)

    def _strike_links(self, fault: Fault, now_ns: int) -> None:
        down, up = self.outages.strike(fault)
        for ends, is_down in ((down, True), (up, False)):
            for end in ends:
                interface = self.network.interface(end.node, end.nic)
                interface.down = is_down
                interface.update()
                if is_down:
                    self._cut((interface.out, interface.out.sink.out), now_ns)

    def _reroute(self) -> None:
        """Other tables from now on, also for what is on the way."""
        self.network.forwarding = self.outages.forwarding()
        for name, legs in ways(self.network, self.nodes).items():
            self.nodes[name].legs = legs
        for event in self.queue.events():
            if event.key & 3 == FRAME:
                event.target = onward(self.network, self.nodes, event.target)

    def _cut(self, wires: tuple[Wire, Wire], now_ns: int) -> None:
        """What is on these wires is lost."""
        for event in self.queue.take_out(lambda event: event.key & 3 == FRAME and event.target.wire in wires):
            self._drop("cut", event.target.wire, event.item, event.extra, now_ns)
        for wire in wires:
            wire.qdisc.drop_all()

    def _impair(self, fault: Fault, index: int) -> None:
        for link, way in fault.links:
            wire = self.network.wires[link, way]
            impairment = fault.impairment if fault.verb == "impair" and fault.impairment else wire.base
            wire.impair(impairment.with_seed(derive_seed(wire.base.seed, "change", index)))

    # -- the history -------------------------------------------------------------------------------------------------

    def _history(self) -> History:
        in_flight = sum(1 for event in self.queue.events() if event.key & 3 == FRAME)
        return History(
            engine="sim",
            events=self._recorder.events(),
            hops=self._hops.hops(),
            meta={
                "timer_tolerance_ns": 0,
                "limit_drops": self.limit_drops,
                "events_processed": self._handled,
                "frame_hops": self._crossings,
                "traffic": {"sent": self.sent, **self.traffic, "in_flight": in_flight},
            },
        )


def _forget(row: Row) -> None:
    """Record nothing."""
