"""Whether the record of a run is whole and agrees with itself, with the plan and with what the engine counted.

Nothing here is a matter of chance: each sentence names something that cannot be in an honest run. Only on a wall clock
a small share of timers and frames may be late (Facts.late_allowed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from testbed.history import History
from testbed.nodes.core.record import Overrun
from testbed.plan import Plan
from testbed.verdicts.columns import CODE, Bools, Ints
from testbed.verdicts.facts import VIRTUAL, Facts
from testbed.verdicts.flights import NEVER, Flights
from testbed.verdicts.paths import Direction, Paths
from testbed.verdicts.timeline import CARRIER_LOST, FOREVER_NS, Span, Timeline

_TX_DEAD = (*CARRIER_LOST, "nic_mute", "nic_half tx")
_RX_DEAD = (*CARRIER_LOST, "nic_mute", "nic_half rx")


class Record:
    """The checks; each gives sentences, none when all is well."""

    def __init__(
        self, plan: Plan, history: History, paths: Paths, timeline: Timeline, flights: Flights, facts: Facts
    ) -> None:
        self.plan, self.history, self.paths, self.timeline = plan, history, paths, timeline
        self.flights, self.facts = flights, facts
        self.columns = flights.columns
        self.timer_lag_max_ns = 0
        self.limit_drops = 0
        self.left_waiting = 0
        self._overruns = self._explained_overruns()
        self.overrun = int(self._overruns.sum())
        self._hosts = np.array([direction.tx.node in paths.number for direction in paths.directions], dtype=bool)
        self._node_of_nic = np.array([paths.number.get(d.tx.node, -1) for d in paths.directions], dtype=np.int64)

    def reasons(self) -> list[str]:
        """All of them."""
        found = [f"the run is not complete: {self.history.why or 'cut short'}"] if not self.history.complete else []
        return [
            *found,
            *self._order(),
            *self._starts(),
            *self._rounds(),
            *self._faults(),
            *self._timers(),
            *self._handling(),
            *self._stirred(),
            *self._frames(),
            *self._unhandled(),
            *self._drops(),
            *self._passed_dead(),
            *self._refused(),
            *self._counters(),
        ]

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _order(self) -> list[str]:
        found = []
        for what, times in (("events", self.columns.deeds.t_ns), ("hops", self.columns.sightings.t_ns)):
            back = int(np.sum(np.diff(times) < 0))
            if back:
                found.append(f"{back} {what} stand behind later ones in the record")
        return found

    def _starts(self) -> list[str]:
        """A node that was not up when round 0 began took no part in it, through no fault of the protocol's."""
        found = []
        for name in self.plan.names:
            lives = self.timeline.lives.get(name)
            if not lives:
                found.append(f"{name} never came up")
            elif lives[0].since_ns > 0:
                found.append(f"{name} came up {lives[0].since_ns} ns after round 0 began")
        return found

    def _rounds(self) -> list[str]:
        """A node that was up begins every round, and in time by its own clock. A service's instances without rounds
        have no time: they begin when there is something to propose."""
        if self.plan.service and not self.paths.in_rounds:
            return []
        begun, found, protocol = self.columns.begun, [], self.plan.protocol
        what, planned = ("rounds", protocol.rounds) if self.paths.in_rounds else ("instances", protocol.instances)
        by_clock = np.arange(planned, dtype=np.int64) * protocol.period_ns
        missing: list[str] = []
        off = total = 0
        for node in self.plan.members:
            name = self.paths.hosts[node]
            starts = self.timeline.shows_all_ns(name, by_clock)
            awake = self._awake(name, starts)
            due = self._lives_through(name, starts, awake)
            here = (begun.node == node) & (begun.round >= 0) & (begun.round < planned)
            first = np.full(planned, FOREVER_NS)
            np.minimum.at(first, begun.round[here], begun.t_ns[here])
            absent = np.flatnonzero(due & (first == FOREVER_NS))
            if len(absent):
                missing.append(f"{name} {len(absent)}, the first {what[:-1]} {absent[0]}")
            told = np.full(planned, FOREVER_NS)
            np.minimum.at(told, begun.round[here & begun.told], begun.t_ns[here & begun.told])
            on_time = due & (awake == starts) & (told < FOREVER_NS)
            total += int(on_time.sum())
            off += int(
                np.sum(on_time & ((told < starts - self.facts.stamp_ns) | (told > starts + self.facts.timer_ns)))
            )
        if missing:
            found.append(f"{what} never began at nodes that were up: {_some(missing)}")
        if off > self.facts.late_allowed * total:
            found.append(f"{off} of {total} {what} began early, or late by more than {self.facts.timer_ns} ns")
        return found

    def _awake(self, node: str, at_ns: Ints) -> Ints:
        """The first instants from ``at_ns`` on at which nothing holds the node up; FOREVER_NS when there is none."""
        awake = at_ns.copy()
        for span in self.timeline.holds.get(node, ()):  # in order
            awake = np.where((span.since_ns <= awake) & (awake < span.until_ns), span.until_ns, awake)
        return awake

    def _lives_through(self, node: str, since_ns: Ints, until_ns: Ints) -> Bools:
        """Whether one life reaches from before the one instant over the other, which lies before the run's end."""
        alive = np.zeros(len(since_ns), dtype=bool)
        slack_ns = self.facts.timer_ns
        for span in self.timeline.lives.get(node, ()):
            alive |= (span.since_ns < since_ns) & (until_ns + slack_ns < span.until_ns)
        return alive & (until_ns + slack_ns < self.timeline.end_ns)

    def _faults(self) -> list[str]:
        """Each fault whose instant is known strikes then, and none twice."""
        struck, found = self.timeline.struck, []
        for index, fault in enumerate(self.plan.faults):
            times = struck.get(index, [])
            if len(times) > 1:
                found.append(f"fault {index} ({fault.verb}) struck {len(times)} times")
            due_ns = fault.at_ns if fault.moment is None and fault.follows < 0 else None
            if fault.follows >= 0:
                leader = struck.get(fault.follows, [])
                due_ns = leader[0] + fault.after_ns if leader else None
            if due_ns is None or due_ns < 0 or due_ns + self.facts.timer_ns >= self.timeline.end_ns:
                continue
            if not times:
                found.append(f"fault {index} ({fault.verb}) never struck, though it was due at {due_ns} ns")
            elif abs(times[0] - due_ns) > self.facts.timer_ns:
                found.append(f"fault {index} ({fault.verb}) struck {times[0] - due_ns} ns late")
        if unplanned := [index for index in struck if not 0 <= index < len(self.plan.faults)]:
            found.append(f"{len(unplanned)} faults struck that are not in the plan")
        return found

    def _timers(self) -> list[str]:
        """Timers of nodes that were up and not held up when they were due. A node that restarts with its state kept
        finds timers that ran out while it was down."""
        timers, facts = self.columns.timers, self.facts
        lags = timers.t_ns - timers.due_ns
        early = int(np.sum((lags < -facts.stamp_ns) & (timers.due_ns >= 0)))
        found = [f"{early} timers fired before they were due"] if early else []
        late = 0
        for row in np.flatnonzero((lags > 0) & (timers.due_ns >= 0)).tolist():
            if lags[row] > max(self.timer_lag_max_ns, 0) or lags[row] > facts.timer_ns:
                if self._held(int(timers.node[row]), int(timers.due_ns[row]), int(timers.t_ns[row])):
                    continue
                self.timer_lag_max_ns = max(self.timer_lag_max_ns, int(lags[row]))
                late += int(lags[row] > facts.timer_ns)
        if late > facts.late_allowed * len(lags):
            found.append(
                f"{late} of {len(lags)} timers were late by more than {facts.timer_ns} ns "
                f"(up to {self.timer_lag_max_ns} ns); {_allowed(facts)}"
            )
        return found

    def _handling(self) -> list[str]:
        """How long frames waited for a node that was up and not held up."""
        arrivals, facts = self.columns.arrivals, self.facts
        waits = arrivals.t_ns - arrivals.stamp_ns
        early = int(np.sum(waits < -facts.stamp_ns))
        found = [f"{early} frames were handled before they came in"] if early else []
        late = sum(
            not self._held(int(arrivals.node[row]), int(arrivals.stamp_ns[row]), int(arrivals.t_ns[row]))
            for row in np.flatnonzero(waits > facts.timer_ns).tolist()
        )
        if late > facts.late_allowed * len(waits):
            found.append(
                f"{late} of {len(waits)} frames waited more than {facts.timer_ns} ns for their node; {_allowed(facts)}"
            )
        return found

    def _held(self, node: int, since_ns: int, until_ns: int) -> bool:
        """Whether a pause, slowness or a death explains why a node did nothing in this time."""
        name = self.paths.hosts[node]
        return bool(self.timeline.held_up(name, since_ns, until_ns)) or not self.timeline.alive_through(
            name, since_ns, until_ns
        )

    def _stirred(self) -> list[str]:
        """In virtual time computing takes none: what a node does, it does at an instant at which something came to
        it."""
        if self.history.engine not in VIRTUAL or not len(self.columns.sends.frame):
            return []  # of a wall clock, or a record of outcomes alone
        deeds = self.columns.deeds
        rows = np.flatnonzero(deeds.node >= 0)
        rows = rows[np.argsort(deeds.node[rows], kind="stable")]
        t_ns, node, stirs = deeds.t_ns[rows], deeds.node[rows], deeds.stirs[rows]
        latest = np.maximum.accumulate(np.where(stirs, np.arange(len(rows)), -1))
        own = (latest >= 0) & (node[latest] == node)
        idle = int(np.sum(~own | (t_ns - t_ns[latest] > self.facts.timer_ns)))
        return [f"nodes acted {idle} times though nothing had come to them"] if idle else []

    # -- frames ------------------------------------------------------------------------------------------------------

    def _frames(self) -> list[str]:
        sends, found = self.columns.sends, []
        again = len(sends.frame) - len(np.unique(sends.frame))
        if again:
            found.append(f"{again} frames were sent twice under one number")
        if len(sends.frame):
            known = np.zeros(self.columns.frames, dtype=bool)
            known[sends.frame] = True
            ghosts = self.columns.frames - int(known.sum())
            if ghosts:
                found.append(f"{ghosts} frames were seen that nobody sent")
        if self.flights.missed:
            found.append(f"the capture missed {self.flights.missed} frames that were seen further on")
        if self.facts.drops_told and self.flights.captured:
            found += self._vanished()
        return found

    def _vanished(self) -> list[str]:
        """Where every drop leaves a hop, a frame that just is not there any more is a hole in the record."""
        crossings = self.flights.crossings
        gone = np.flatnonzero((crossings.left_ns == NEVER) & (crossings.drop < 0) & ~crossings.seen_later)
        holes = int(np.sum(self.flights.gone_by_ns[gone] < self.timeline.end_ns))
        return [f"{holes} frames vanished on the way without a word"] if holes else []

    def _unhandled(self) -> list[str]:
        """What comes in at the NIC of a node that is up is handled once, at the stamp at which it came in."""
        if not self.flights.captured:
            return []
        seen, arrivals = self.columns.sightings, self.columns.arrivals
        came_in = (seen.what == CODE["in"]) & self._hosts[seen.nic]
        rows = np.flatnonzero(came_in & ~seen.corrupt)  # what is hurt is handled under no number
        hosts = len(self.paths.hosts)
        code = seen.frame[rows] * hosts + self._node_of_nic[seen.nic[rows]]
        handled = arrivals.frame * hosts + arrivals.node
        codes, came_at, came = np.unique(code, return_index=True, return_counts=True)
        dealt, dealt_at, times = np.unique(handled, return_index=True, return_counts=True)
        place = np.asarray(np.searchsorted(codes, dealt))
        known = np.append(codes, -1)[place] == dealt
        count = np.zeros(len(codes), dtype=np.int64)
        count[place[known]] = times[known]
        found = []
        phantom = int(times[~known].sum() + np.maximum(count - came, 0).sum())
        if phantom:
            found.append(f"{phantom} frames were handled that never came in")
        once = known & (times == 1)
        once[known] &= came[place[known]] == 1
        apart = np.abs(arrivals.stamp_ns[dealt_at[once]] - seen.t_ns[rows[came_at[place[once]]]])
        off = int(np.sum(apart > self.facts.allowed_ns))
        if off:
            found.append(f"{off} frames were handled under another stamp than they came in at")
        less = np.isin(code, codes[count < came])
        unhandled = rows[less]
        # A frame may have come twice, once to a node that was up and once to nobody: it is to be handled once.
        due = np.bincount(np.searchsorted(codes, code[less][self._due(unhandled)]), minlength=len(codes))
        lost = np.bincount(codes % hosts, np.maximum(due - count, 0), minlength=hosts).astype(np.int64)
        lost = np.maximum(lost - self._overruns, 0)
        self.left_waiting = self._overtaken_by_death(unhandled)
        if not self.facts.unseen:
            hurt = np.flatnonzero(came_in & seen.corrupt)
            unreadable = self.columns.unreadable
            lost += np.maximum(self._by_node(hurt[self._due(hurt)]) - unreadable, 0)
            more = np.maximum(unreadable - self._by_node(hurt), 0)
            if more.any():
                found.append(f"{more.sum()} frames were dropped as unreadable that never came in hurt")
        if lost.any():
            told = _some(f"{self.paths.hosts[node]} {lost[node]}" for node in np.flatnonzero(lost).tolist())
            found.append(f"frames came in at nodes that were up and were neither handled nor dropped: {told}")
        return found

    def _by_node(self, rows: Ints) -> Ints:
        """How many of these rows were sighted at each node."""
        return np.bincount(self._node_of_nic[self.columns.sightings.nic[rows]], minlength=len(self.paths.hosts))

    def _due(self, rows: Ints) -> Bools:
        """Which of the frames that came in in these rows their nodes were up to handle."""
        seen, due = self.columns.sightings, np.zeros(len(rows), dtype=bool)
        for nic in np.unique(seen.nic[rows]).tolist():
            at = np.flatnonzero(seen.nic[rows] == nic)
            here, name = rows[at], self.paths.directions[nic].tx.node
            t_ns = seen.t_ns[here]
            up = self._lives_through(name, t_ns, self._awake(name, t_ns)) & ~self._dead_at(nic, t_ns, _RX_DEAD)
            up &= ~self._deaf_at(nic, here)
            due[at] = up
        return due

    def _explained_overruns(self) -> Ints:
        """How many frames each node's full rings lost because it was held up at some time between the frame that it
        took before it was told of them and the one that told it."""
        told, arrivals = self.history.events.table(Overrun), self.columns.arrivals
        found = np.zeros(len(self.paths.hosts), dtype=np.int64)
        rows = zip(told.node.tolist(), told["frames"].tolist(), told["at_ns"].tolist(), strict=True)
        for node, frames, at_ns in rows:
            before = arrivals.stamp_ns[(arrivals.node == node) & (arrivals.stamp_ns < at_ns)]
            if self.timeline.held_up(self.paths.hosts[node], int(before.max(initial=-FOREVER_NS)), at_ns):
                found[node] += frames
        return found

    def _overtaken_by_death(self, rows: Ints) -> int:
        """Of the frames that came in in these rows and were not handled, those whose node was killed as they waited for
        it: they went with its ring, and were not lost on the way."""
        seen, left = self.columns.sightings, 0
        for nic in np.unique(seen.nic[rows]).tolist():
            here, name = rows[seen.nic[rows] == nic], self.paths.directions[nic].tx.node
            t_ns = seen.t_ns[here]
            waiting = np.zeros(len(t_ns), dtype=bool)
            for life in self.timeline.lives.get(name, ()):
                if life.until_ns < FOREVER_NS:
                    waiting |= (life.since_ns <= t_ns) & (t_ns < life.until_ns)
            due = self._lives_through(name, t_ns, self._awake(name, t_ns))
            due |= self._dead_at(nic, t_ns, _RX_DEAD) | self._deaf_at(nic, here)
            left += int(np.sum(waiting & ~due))
        return left

    def _dead_at(self, nic: int, t_ns: Ints, kinds: tuple[str, ...], edge_ns: int = 0) -> Bools:
        """Whether a fault of these kinds held a NIC then; edge_ns: shortly before and after as well."""
        dead = np.zeros(len(t_ns), dtype=bool)
        for span in self._spans(nic, kinds):
            dead |= (span.since_ns - edge_ns <= t_ns) & (t_ns <= span.until_ns + edge_ns)
        return dead

    def _deaf_at(self, nic: int, rows: Ints, edge_ns: int = 0) -> Bools:
        """Whether a NIC was deaf to whoever sent what was sighted there in these rows."""
        seen, deaf = self.columns.sightings, np.zeros(len(rows), dtype=bool)
        t_ns, sender = seen.t_ns[rows], self.columns.sender[seen.frame[rows]]
        for (*place, peer), spans in self.timeline.deaf.items():
            for span in spans if tuple(place) == self.paths.nics[nic] else ():
                within = (span.since_ns - edge_ns <= t_ns) & (t_ns <= span.until_ns + edge_ns)
                deaf |= within & (sender == self.paths.number[peer])
        return deaf

    def _spans(self, nic: int, kinds: tuple[str, ...]) -> list[Span]:
        spans = self.timeline.nic_faults.get(self.paths.nics[nic], ())
        return [span for span in spans if span.what in kinds]

    def _drops(self) -> list[str]:
        """Frames that were dropped as if by a fault, while none was in force."""
        seen, edge_ns, found = self.columns.sightings, self.facts.timer_ns, []
        for what, kinds in (("cut", CARRIER_LOST), ("mute", ("nic_mute", "nic_half tx", "nic_half rx"))):
            rows = np.flatnonzero(seen.what == CODE[what])
            groundless = 0
            for nic in np.unique(seen.nic[rows]).tolist():
                here = rows[seen.nic[rows] == nic]
                held = self._dead_at(nic, seen.t_ns[here], kinds, edge_ns)
                if what == "cut":
                    held |= self._dead_at(nic ^ 1, seen.t_ns[here], kinds, edge_ns)
                else:
                    held |= self._deaf_at(nic, here, edge_ns)
                groundless += int(np.sum(~held))
            if groundless:
                found.append(f"{groundless} frames were dropped as {what} though no fault was in force")
        lost = seen.t_ns[seen.what == CODE["unknown"]]
        unknown = int(np.sum(~self.flights.in_change(lost)))
        if unknown:
            found.append(f"{unknown} frames were dropped because nobody forwards or takes their address")
        return found

    def _passed_dead(self) -> list[str]:
        """Frames that got through a NIC that a fault held."""
        crossings, edge_ns = self.flights.crossings, self.facts.timer_ns
        if not (self.timeline.nic_faults or self.timeline.deaf) or not self.flights.captured:
            return []
        through = 0
        for way in np.unique(crossings.way).tolist():
            spans = [
                *((span, crossings.entered_ns) for span in self._spans(way, _TX_DEAD)),
                *((span, crossings.entered_ns) for span in self._spans(way ^ 1, CARRIER_LOST)),
                *((span, crossings.left_ns) for span in self._spans(way, CARRIER_LOST)),
                *((span, crossings.left_ns) for span in self._spans(way ^ 1, CARRIER_LOST)),
            ]
            passed = (crossings.way == way) & (crossings.left_ns > NEVER)
            inside = np.zeros(len(passed), dtype=bool)
            for span, times in spans:
                inside |= passed & (span.since_ns + edge_ns < times) & (times < span.until_ns - edge_ns)
            through += int(inside.sum())
        through += self._heard_deaf(edge_ns)
        return [f"{through} frames got through NICs that a fault held"] if through else []

    def _heard_deaf(self, edge_ns: int) -> int:
        """Frames that nodes with a single NIC handled although it was deaf when they came in."""
        arrivals, heard = self.columns.arrivals, 0
        for (node, _), direction in self.paths.by_nic.items():
            if node not in self.paths.number or sum(self._node_of_nic == self.paths.number[node]) > 1:
                continue
            rows = arrivals.node == self.paths.number[node]
            deaf = [(span, rows) for span in self._spans(_index(direction), ("nic_mute", "nic_half rx"))]
            for (*place, peer), spans in self.timeline.deaf.items():
                if tuple(place) == (direction.tx.node, direction.tx.nic):
                    of_peer = rows & (self.columns.sender[arrivals.frame] == self.paths.number[peer])
                    deaf += [(span, of_peer) for span in spans]
            for span, mine in deaf:
                inside = (span.since_ns + edge_ns < arrivals.stamp_ns) & (arrivals.stamp_ns < span.until_ns - edge_ns)
                heard += int(np.sum(mine & inside))
        return heard

    def _refused(self) -> list[str]:
        """Sends that the operating system refused although no fault held a NIC of the sender's."""
        refused, rows, failed = self.columns.refused, ~self.columns.no_room, 0
        alike = Counter(zip(refused.node[rows].tolist(), refused.t_ns[rows].tolist(), strict=True))
        for (number, t_ns), sends in alike.items():
            node = self.paths.hosts[number]
            nics = [nic for owner, nic in self.paths.nics if owner == node]
            if not any(self.timeline.cut_off(node, nic, t_ns, t_ns) for nic in nics):
                failed += sends
        return [f"{failed} sends failed although no fault was in force"] if failed else []

    # -- what the engine counted -------------------------------------------------------------------------------------

    def _counters(self) -> list[str]:
        meta, found = self.history.meta, []
        seen = self.columns.sightings.what
        turned_away = max(int(np.sum(seen == CODE["limit"])), int(self.columns.no_room.sum()))
        self.limit_drops = max(_total(meta.get("limit_drops", 0)), turned_away)
        if self.limit_drops:
            found.append(f"full queues (netem's limit) dropped {self.limit_drops} frames")
        for key, words in (
            ("capture_drops", "the capture missed"),
            ("ring_drops", "full rings of sockets dropped"),
            ("backlog_drops", "the kernel's full input queues (of all its namespaces) dropped"),
        ):
            count = _total(meta.get(key, 0)) - (self.overrun if key == "ring_drops" else 0)
            if count > 0:
                found.append(f"{words} {count} frames")
        step_ns = abs(int(meta.get("clock_step_ns", 0)))
        if step_ns > self.facts.allowed_ns:
            found.append(f"the host's clock was stepped by {step_ns} ns during the run")
        traffic = meta.get("traffic")
        return found + (self._traffic(traffic) if traffic else [])

    def _traffic(self, traffic: dict[str, int]) -> list[str]:
        """Every frame that was sent, or copied on the way, ends somewhere; and the record tells of as many."""
        seen, found = self.columns.sightings, []
        ends = ("lost", "limit", "cut", "mute", "unknown", "delivered", "in_flight")
        put, gone = traffic["sent"] + traffic["copies"], sum(traffic[name] for name in ends)
        if put != gone:
            found.append(f"of {put} frames and copies the engine counts {gone} where they ended")
        told = {"sent": len(self.columns.sends.t_ns)}
        if self.flights.captured:
            if not traffic["unknown"]:  # what nobody takes comes in as well
                told["delivered"] = int(np.sum((seen.what == CODE["in"]) & self._hosts[seen.nic]))
            if not traffic["copies"]:  # a copy that does not get out leaves no hop
                told |= {what: int(np.sum(seen.what == CODE[what])) for what in ("lost", "limit", "cut", "mute")}
        if not told["sent"]:
            return found  # only outcomes were recorded
        off = [f"{what} {traffic[what]}, not {count}" for what, count in told.items() if count != traffic[what]]
        return [*found, f"the engine counts other frames than the record tells of: {', '.join(off)}"] if off else found


def _index(direction: Direction) -> int:
    return 2 * direction.link + (direction.way == "ba")


def _allowed(facts: Facts) -> str:
    return f"{facts.late_allowed:.1%} may be" if facts.late_allowed else "none may be"


def _some(words: Iterable[str], most: int = 4) -> str:
    """The first few."""
    listed = list(words)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return "; ".join(listed[:most]) + more


def _total(count: Any) -> int:
    return sum(int(value) for value in count.values()) if isinstance(count, dict) else int(count)
