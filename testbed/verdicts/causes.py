"""What broke a swap: the first message of its handshake that its receiver did not act on by W, and where it was then.

The handshake (testbed.nodes.oae.link): ``alternating`` sends the steps 1..k in turns, the lower node number first;
``simultaneous`` sends step 1 both ways. Hop records exist at every interface in ``sim`` and at switch ports only in
``live`` and ``vkernel``; where they are missing, sends and arrivals bound what can be said, and the hop stays empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from testbed.history import History, Hop, Table
from testbed.nodes.core import SwapId
from testbed.nodes.core.record import Dropped, Noted, Received, Refused, Sent
from testbed.nodes.frames import FrameKey
from testbed.plan import Plan
from testbed.topologies.tables import greatest_delay_ns
from testbed.verdicts.bisynchrony import COMMITTED, Broken, link_name
from testbed.verdicts.model import Break
from testbed.verdicts.paths import Direction, Paths
from testbed.verdicts.timeline import Span, Timeline

_IGNORED = ("stale", "stray", "no_state")  # notes: the frame came, and changed nothing
_NETWORK_DROPS = {"lost": "lost", "limit": "lost", "unknown": "lost", "cut": "crashed", "mute": "crashed"}


class Step(NamedTuple):
    """One transmission of a handshake: the number of its message, and between whom. It is between the swap's ends, or
    where cells carry the message, between neighbours on the way."""

    number: int
    src: int
    dst: int


class Cause(NamedTuple):
    """The part of a Break that is found out here."""

    cause: str
    hop: str
    detail: str


class _Send(NamedTuple):
    """A frame that was sent."""

    key: FrameKey
    t_ns: int


class _Arrival(NamedTuple):
    """A frame that was handed to its receiver's machine. at_ns: when it came in at the NIC."""

    t_ns: int
    at_ns: int


class _Unreadable(NamedTuple):
    """A frame that came in damaged; its key, if that could still be read."""

    t_ns: int
    key: FrameKey | None


class _Flight(NamedTuple):
    """One transmission under suspicion."""

    step: Step
    sent: _Send
    path: tuple[Direction, ...]
    broken: Broken


def explain(plan: Plan, history: History, broken: tuple[Broken, ...], paths: Paths, timeline: Timeline) -> list[Break]:
    """One Break per broken swap, in the same order. Linear in events, hops and broken swaps."""
    if not broken:
        return []
    return _Inquest(plan, history, broken, paths, timeline).breaks()


def handshake(handshake_: str, depth: int, low: int, high: int) -> list[Step]:
    """The messages of a swap in the order in which they are expected."""
    if handshake_ == "simultaneous":
        return [Step(1, low, high), Step(1, high, low)]
    return [Step(step, *((low, high) if step % 2 else (high, low))) for step in range(1, depth + 1)]


class _Inquest:
    def __init__(
        self, plan: Plan, history: History, broken: tuple[Broken, ...], paths: Paths, timeline: Timeline
    ) -> None:
        self.plan, self.history, self.broken, self.paths, self.timeline = plan, history, broken, paths, timeline
        self.protocol = plan.protocol
        self.sends: dict[tuple[SwapId, Step], list[_Send]] = defaultdict(list)
        self.recvs: dict[FrameKey, _Arrival] = {}
        self.notes: dict[FrameKey, Noted] = {}  # why the first copy was ignored
        self.refused: dict[FrameKey, tuple[int, Refused]] = {}  # sends that failed, and when
        self.unreadable: dict[str, list[_Unreadable]] = defaultdict(list)  # by the node at which they arrived
        self.hops: dict[FrameKey, list[Hop]] = defaultdict(list)
        self.recorded = history.events.count(Sent) > 0  # whether sends were recorded at all
        self._greatest: dict[tuple[int, str], int] = {}
        self._gather_events()

    def breaks(self) -> list[Break]:
        """First the frames, then the hops of those frames only, then the causes."""
        culprits = [self._culprit(broken) for broken in self.broken]
        wanted = {sent.key for _, sent in culprits if sent is not None}
        for hop in self._hops_with(wanted):
            self.hops[hop.key].append(hop)
        return [self._break(broken, *culprit) for broken, culprit in zip(self.broken, culprits, strict=True)]

    def _hops_with(self, keys: set[FrameKey]) -> Iterator[Hop]:
        hops = self.history.hops
        likely = np.isin(hops.key_seq, [key.seq for key in keys])
        return (hop for hop in hops.take(likely).rows() if hop.key in keys)

    # -- gathering ---------------------------------------------------------------------------------------------------

    def _gather_events(self) -> None:
        events = self.history.events
        wanted = {broken.swap for broken in self.broken}
        rounds = np.unique([swap.round for swap in wanted])

        def of_rounds(table: Table) -> Table:
            return table.take(np.isin(table["round"], rounds))

        sends, recvs, notes = (of_rounds(events.table(kind)) for kind in (Sent, Received, Noted))
        for event in sends.rows():
            what = event.what
            assert isinstance(what, Sent)
            if what.swap in wanted:
                step = Step(what.step, what.key.src, what.dst)
                self.sends[what.swap, step].append(_Send(what.key, event.t_ns))
        about = {sent.key for sends in self.sends.values() for sent in sends}
        second: dict[FrameKey, int] = {}  # when a copy came in, by its place among the events
        for order, event in zip(recvs.order.tolist(), recvs.rows(), strict=True):
            what = event.what
            assert isinstance(what, Received)
            if what.key not in about:
                continue
            if what.key in self.recvs:
                second.setdefault(what.key, order)
            self.recvs.setdefault(what.key, _Arrival(event.t_ns, what.at_ns))
        for order, event in zip(notes.order.tolist(), notes.rows(), strict=True):
            what = event.what
            assert isinstance(what, Noted)
            if what.key not in about:
                continue
            assert what.key is not None
            if what.what in _IGNORED and order < second.get(what.key, order + 1):
                self.notes.setdefault(what.key, what)
        for event in events.of_kind(Refused, Dropped):
            what = event.what
            if isinstance(what, Refused):
                self.refused.setdefault(what.key, (event.t_ns, what))
            elif isinstance(what, Dropped) and (what.key is None or what.why == "corrupt"):
                self.unreadable[event.node].append(_Unreadable(event.t_ns, what.key))

    def _culprit(self, broken: Broken) -> tuple[Step | None, _Send | None]:
        """The first message not acted on by W; else, when both ends committed, the one that made the later end late."""
        swap = broken.swap
        messages = handshake(self.protocol.handshake, self.protocol.depth, swap.low, swap.high)
        steps = [Step(step.number, *hop) for step in messages for hop in self.paths.hops(step.src, step.dst)]
        taken: list[tuple[int, Step, _Send]] = []
        for step in steps:
            sends = self.sends.get((swap, step), [])
            acted_on = [(recv.t_ns, sent) for sent in sends if (recv := self._acted_on(sent)) is not None]
            t_ns, sent = min(acted_on, key=lambda entry: entry[0], default=(broken.deadline_ns + 1, None))
            if sent is None or t_ns > self._horizon_ns(broken, self.paths.hosts[step.dst]):
                return step, sends[0] if sends else None
            taken.append((t_ns, step, sent))
        if broken.kind not in ("skew", "late"):
            return None, None
        _, step, sent = max(taken, key=lambda entry: entry[0])
        return step, sent

    def _horizon_ns(self, broken: Broken, node: str) -> int:
        """Up to when a message counts at ``node``: the window's end, or before it where its clock is ahead."""
        return min(broken.deadline_ns, self.timeline.shows_ns(node, broken.deadline_ns))

    def _acted_on(self, sent: _Send) -> _Arrival | None:
        """The arrival of this frame, if it changed anything there."""
        return self.recvs.get(sent.key) if sent.key not in self.notes else None

    # -- judging -----------------------------------------------------------------------------------------------------

    def _break(self, broken: Broken, step: Step | None, sent: _Send | None) -> Break:
        cause = self._cause(broken, step, sent)
        frame = self._frame_name(broken.swap.round, step, sent) if step is not None and self.recorded else ""
        link = link_name(broken.swap, self.paths)
        key = sent.key if frame and sent is not None else None
        return Break(broken.swap.round, link, broken.kind, cause.cause, frame, cause.hop, cause.detail, key)

    def _frame_name(self, round_: int, step: Step, sent: _Send | None) -> str:
        hosts = self.paths.hosts
        number = f" (#{sent.key.seq})" if sent is not None else ""
        return f"{hosts[step.src]}>{hosts[step.dst]} round {round_} step {step.number}{number}"

    def _cause(self, broken: Broken, step: Step | None, sent: _Send | None) -> Cause:
        if broken.kind in ("late", "skew"):
            held_up = self._held_up(broken, step, sent)
            if held_up is not None:
                return held_up
        if step is None:
            return self._no_frame_to_blame(broken)
        if sent is None:
            return self._never_sent(broken, step)
        flight = _Flight(step, sent, self.paths.path(step.src, step.dst, self.paths.era(sent.t_ns)), broken)
        if sent.t_ns > broken.deadline_ns:
            return self._sent_late(flight)
        recv = self.recvs.get(sent.key)
        if recv is not None:
            return self._arrived(flight, recv)
        return self._vanished(flight)

    def _held_up(self, broken: Broken, step: Step | None, sent: _Send | None) -> Cause | None:
        """For a swap that is atomic but out of time: the node that was late itself, or None when a frame was late."""
        ends = [
            (end.t_ns, end, node)
            for end, node in ((broken.low, broken.swap.low), (broken.high, broken.swap.high))
            if end
        ]
        t_ns, end, number = max(ends)
        node = self.paths.hosts[number]
        behind_ns = t_ns - min(entry[0] for entry in ends)
        what = f"{node} ended {_us(t_ns - broken.deadline_ns)} after the window" if broken.kind == "late" else ""
        what = what or f"{node} ended {_us(behind_ns)} after its peer"
        hold = self.timeline.held_up(node, broken.start_ns, t_ns)
        if hold is not None:
            return Cause(hold.what, "", f"{what}: {_hold(node, hold)}")
        if blame := self._clock_to_blame(broken, node, t_ns - broken.deadline_ns, behind_ns):
            return Cause("clock", "", f"{what}: {blame}")
        if end.first == COMMITTED and step is not None and sent is not None:
            return None
        return Cause("unknown", "", f"{what}: its horizon's timer was late")

    def _clock_to_blame(self, broken: Broken, node: str, late_ns: int, behind_ns: int) -> str:
        """Whose clock was behind whose by so much that the swap would else have been in time; empty: no one's."""
        if broken.kind == "late":
            clock_ns = self.timeline.shows_ns(node, broken.deadline_ns) - broken.deadline_ns
            return f"its clock was {_us(clock_ns)} behind true time" if clock_ns >= late_ns else ""
        begun = [(self.timeline.shows_ns(self.paths.hosts[end], broken.start_ns), end) for end in broken.swap[1:]]
        (first_ns, fast), (last_ns, slow) = sorted(begun)
        if last_ns - first_ns < max(1, behind_ns - self.plan.epsilon_ns):
            return ""
        hosts = self.paths.hosts
        return f"the clock of {hosts[slow]} was {_us(last_ns - first_ns)} behind that of {hosts[fast]}"

    def _no_frame_to_blame(self, broken: Broken) -> Cause:
        """Every message was acted on by W: an end contradicts itself, or was stopped before it said how it ended."""
        if broken.why:
            return Cause("unknown", "", broken.why)
        for end, number in ((broken.low, broken.swap.low), (broken.high, broken.swap.high)):
            node = self.paths.hosts[number]
            hold = self.timeline.held_up(node, broken.start_ns, broken.deadline_ns)
            if hold is not None and (end is None or end.t_ns > broken.deadline_ns):
                return Cause(hold.what, "", f"{node} did not end in time: {_hold(node, hold)}")
        return Cause("unknown", "", "every message was acted on by the window's end")

    def _never_sent(self, broken: Broken, step: Step) -> Cause:
        node = self.paths.hosts[step.src]
        hold = self.timeline.held_up(node, broken.start_ns, broken.deadline_ns)
        if not self.recorded:
            return Cause("unknown", "", "this run recorded outcomes only, no messages")
        if hold is not None:
            return Cause(hold.what, "", f"never sent: {_hold(node, hold)}")
        return Cause("unknown", "", f"{node} never sent it, though nothing kept it from doing so")

    def _sent_late(self, flight: _Flight) -> Cause:
        node, t_ns = self.paths.hosts[flight.step.src], flight.sent.t_ns
        late = f"sent {_us(t_ns - flight.broken.deadline_ns)} after the window"
        hold = self.timeline.held_up(node, flight.broken.start_ns, t_ns)
        return Cause(hold.what, "", f"{late}: {_hold(node, hold)}") if hold is not None else Cause("late", "", late)

    def _arrived(self, flight: _Flight, recv: _Arrival) -> Cause:
        """It came; too late, or to a node that was held up, or to one that had no use for it."""
        node, deadline_ns = self.paths.hosts[flight.step.dst], flight.broken.deadline_ns
        arrived_ns = recv.at_ns
        note = self.notes.get(flight.sent.key)
        if note is not None and recv.t_ns <= deadline_ns:
            return self._refused(flight, node, note)
        if arrived_ns <= deadline_ns < recv.t_ns:
            hold = self.timeline.held_up(node, arrived_ns, recv.t_ns)
            waited = f"arrived in time and waited {_us(recv.t_ns - arrived_ns)} in {node}"
            if hold is not None:
                return Cause(hold.what, "", f"{waited}: {_hold(node, hold)}")
            return Cause("late", "", waited)
        horizon_ns = self._horizon_ns(flight.broken, node)
        if horizon_ns < recv.t_ns <= deadline_ns:
            late = f"arrived {_us(recv.t_ns - horizon_ns)} after the window's end at {node}"
            return Cause("clock", "", f"{late}: the clock of {node} was {_us(deadline_ns - horizon_ns)} ahead")
        hop, where = self._slowest(flight, arrived_ns)
        if arrived_ns > deadline_ns:
            return Cause("late", hop, f"arrived {_us(arrived_ns - deadline_ns)} after the window{where}")
        return Cause(
            "late",
            hop,
            f"took {_us(arrived_ns - flight.sent.t_ns)} against {_us(self.plan.epsilon_ns)} of allowed skew{where}",
        )

    def _refused(self, flight: _Flight, node: str, note: Noted) -> Cause:
        """Only a restarted end refuses what the other says: it knows nothing of that life."""
        ends = (self.paths.hosts[flight.step.src], node)
        reborn = [end for end in ends if len(self.timeline.lives.get(end, ())) > 1]
        why = f"{node} refused it ({note.what}: {note.text})"
        return Cause("crashed" if reborn else "unknown", "", why + (f"; {reborn[0]} was restarted" if reborn else ""))

    def _slowest(self, flight: _Flight, arrived_ns: int) -> tuple[str, str]:
        """The NIC whose direction held the frame longest beyond its nominal delay, and words for it."""
        known = self._whereabouts(flight)
        known[len(flight.path)] = arrived_ns
        marks = sorted(known.items())
        segments = [(here, there, since, until) for (here, since), (there, until) in pairwise(marks)]
        nominal = [direction.impairment.delay_ns for direction in flight.path]
        here, there, since, until = max(
            segments, key=lambda segment: segment[3] - segment[2] - sum(nominal[segment[0] : segment[1]])
        )
        first, last = flight.path[here], flight.path[there - 1]
        asked_ns = sum(nominal[here:there])
        burst = any(self.timeline.changed(d.link, d.way, since, until) for d in flight.path[here:there])
        under = "; a fault had changed its impairment" if burst else ""
        span = f"{first.tx.node}>{last.rx.node}"
        where = f"; {span} took {_us(until - since)}, nominally {_us(asked_ns)}{under}"
        return (first.tx.nic if there - here == 1 else "", where)

    # -- frames that never came --------------------------------------------------------------------------------------

    def _whereabouts(self, flight: _Flight) -> dict[int, int]:
        """place -> instant: place i is where direction i of the path begins, place 0 the sender."""
        places = {0: flight.sent.t_ns}
        entries = {(direction.rx.node, direction.rx.nic): place for place, direction in enumerate(flight.path, 1)}
        for hop in self._hops_of(flight):
            place = entries.get((hop.node, hop.nic))
            if hop.what == "in" and place is not None:
                places.setdefault(place, hop.t_ns)
        return places

    def _hops_of(self, flight: _Flight) -> list[Hop]:
        return self.hops.get(flight.sent.key, [])

    def _vanished(self, flight: _Flight) -> Cause:
        hops = self._hops_of(flight)
        dropped = next((hop for hop in hops if hop.what in _NETWORK_DROPS), None)
        if dropped is not None:
            return self._dropped(dropped)
        for find in (self._failed_send, self._corrupted, self._not_taken):
            cause = find(flight, hops)
            if cause is not None:
                return cause
        return self._somewhere(flight, hops)

    def _dropped(self, hop: Hop) -> Cause:
        cause = _NETWORK_DROPS[hop.what]
        if cause == "crashed":
            return Cause(cause, hop.nic, f"dropped at {hop.nic}: {self._fault_at(hop) or hop.what}")
        words = {"lost": "lost by the link", "limit": "the queue was full", "unknown": "no forwarding entry"}
        return Cause(cause, hop.nic, f"dropped at {hop.nic}: {words[hop.what]}")

    def _fault_at(self, hop: Hop) -> str:
        """The fault at this interface or at the other end of its link; a lost carrier shows at both."""
        direction = self.paths.by_nic.get((hop.node, hop.nic))
        ends = [(hop.node, hop.nic)] + ([(direction.rx.node, direction.rx.nic)] if direction is not None else [])
        for node, nic in ends:
            span = self.timeline.cut_off(node, nic, hop.t_ns, hop.t_ns, src=self.paths.hosts[hop.key.src])
            if span is not None:
                return _fault(nic, span)
        return ""

    def _failed_send(self, flight: _Flight, _hops: list[Hop]) -> Cause | None:
        sender, nic = flight.path[0].tx.node, flight.path[0].tx.nic
        if flight.sent.key not in self.refused:
            return None
        t_ns, refused = self.refused[flight.sent.key]
        fault = self.timeline.cut_off(sender, nic, t_ns, t_ns, "tx")
        if fault is not None:
            return Cause("crashed", nic, f"{sender} could not send it: {_fault(nic, fault)}")
        return Cause("lost", nic, f"{sender} could not send it: {refused.why}")

    def _corrupted(self, flight: _Flight, hops: list[Hop]) -> Cause | None:
        """Marked on its way, dropped as corrupt under its own key, or matched by time with an unreadable arrival."""
        receiver, key = self.paths.hosts[flight.step.dst], flight.sent.key
        marked = next((hop for hop in hops if hop.corrupt), None)
        if marked is not None:
            direction = next((d for d in flight.path if (d.rx.node, d.rx.nic) == (marked.node, marked.nic)), None)
            nic = direction.tx.nic if direction is not None else marked.nic
            return Cause("corrupted", nic, f"bits were flipped at {nic}")
        arrivals = self.unreadable.get(receiver, ())
        if any(drop.key == key for drop in arrivals):
            return Cause("corrupted", "", f"{receiver} could not read it")
        if not any(direction.impairment.corrupt for direction in flight.path):
            return None
        since, until = flight.sent.t_ns, flight.sent.t_ns + self._longest(flight.path)
        for drop in arrivals:
            if since <= drop.t_ns <= until and drop.key is None:
                when = f"at {_instant(drop.t_ns)}, when this one was due"
                return Cause("corrupted", "", f"an unreadable slot reached {receiver} {when}")
        return None

    def _not_taken(self, flight: _Flight, _hops: list[Hop]) -> Cause | None:
        """It reached the receiver's NIC, or may have: the node was held up, or has died since."""
        node = self.paths.hosts[flight.step.dst]
        places = self._whereabouts(flight)
        arrived_ns = places.get(len(flight.path))
        since = arrived_ns if arrived_ns is not None else flight.sent.t_ns
        until = arrived_ns if arrived_ns is not None else flight.sent.t_ns + self._longest(flight.path)
        if arrived_ns is None and self._hops_of(flight):
            return None  # the hops know better where it stopped
        hold = self.timeline.held_up(node, since, until)
        if hold is not None:
            return Cause(hold.what, "", f"never taken in: {_hold(node, hold)}")
        if arrived_ns is None:
            return None
        nic = flight.path[-1].rx.nic
        src = self.paths.hosts[flight.step.src]
        fault = self.timeline.cut_off(node, nic, arrived_ns, arrived_ns, "rx", src)
        if fault is not None:
            return Cause("crashed", nic, f"dropped on arrival: {_fault(nic, fault)}")
        if not self.timeline.alive_through(node, arrived_ns, arrived_ns):
            return Cause("crashed", nic, f"{node} was dead when it arrived")
        return Cause("lost", nic, f"reached {nic} at {_instant(arrived_ns)} and was not handed to {node}")

    def _somewhere(self, flight: _Flight, hops: list[Hop]) -> Cause:
        """Nothing says where it stopped: look at the rest of its way, from where it was seen last."""
        places = self._whereabouts(flight)
        place = max(places)
        since = places[place]
        rest = flight.path[place:]
        left = {(hop.node, hop.nic) for hop in hops if hop.what in ("out", "dup")}
        until = since + self._longest(rest)
        if self.history.hops:
            rest = rest[:1]  # the next record is missing, so it stopped in this very direction
        for direction in rest:
            for end, way in ((direction.tx, "tx"), (direction.rx, "rx")):
                fault = self.timeline.cut_off(end.node, end.nic, since, until, way, flight.path[0].tx.node)
                if fault is not None:
                    return Cause("crashed", end.nic if self.history.hops else "", f"vanished: {_fault(end.nic, fault)}")
        nic = rest[0].tx.nic
        span = f"{rest[0].tx.node}>{rest[-1].rx.node}"
        if until > self.timeline.end_ns:
            return Cause("late", nic if len(rest) == 1 else "", f"had not arrived when the run ended; under way {span}")
        if len(rest) > 1:
            return Cause("lost", "", f"left {rest[0].tx.node} and never arrived; its way was not captured")
        when = "after leaving" if (rest[0].tx.node, nic) in left else "at"
        return Cause("lost", nic, f"vanished {when} {nic}, on {span}; last seen at {_instant(since)}")

    def _longest(self, path: Iterable[Direction]) -> int:
        """The longest that the way can take, under the fabric's impairments and those of all faults."""
        return sum(self._longest_of(direction) for direction in path)

    def _longest_of(self, direction: Direction) -> int:
        name = (direction.link, direction.way)
        known = self._greatest.get(name)
        if known is None:
            known = greatest_delay_ns(direction.impairment)
            for fault in self.plan.faults:
                if fault.impairment is not None and name in fault.links:
                    known = max(known, greatest_delay_ns(fault.impairment))
            self._greatest[name] = known
        return known


def _fault(nic: str, span: Span) -> str:
    return f"{span.what} at {nic} since {_instant(span.since_ns)}"


def _hold(node: str, span: Span) -> str:
    return f"{node} was {span.what} from {_instant(span.since_ns)} on"


def _instant(t_ns: int) -> str:
    """Of the run, exact: ``10 ms``, ``0.015012 ms``."""
    return f"{t_ns / 1e6:.6f}".rstrip("0").rstrip(".") + " ms"


def _us(t_ns: int) -> str:
    """Nanoseconds as microseconds with three places: ``12.345 us``."""
    return f"{t_ns / 1000:.3f} us"
