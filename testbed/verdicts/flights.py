"""What each link direction did to each frame: the samples of the fidelity verdict, gathered in columns.

A *way* is what is seen as one: a link direction where hops were captured, else the whole path between two hosts. A
*crossing* is one frame on one way. A *stretch* is a way under one set of impairments: a burst of jitter makes two
stretches of a direction, each judged against what was asked for in it.

What is left out is decided by what was known when the frame entered (a NIC that is cut off before it can arrive, a run
that ends before): to choose by what became of frames would bend the very samples that are tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from testbed.topologies.impairment import Impairment
from testbed.verdicts.columns import CODE, Bools, Columns, Ints
from testbed.verdicts.delays import law_of, packet_ns
from testbed.verdicts.paths import Direction, NoPathError, Paths
from testbed.verdicts.timeline import Timeline

NEVER = -(1 << 62)
Way = tuple[Direction, ...]


class Crossings(NamedTuple):
    """One row per frame and way, by way and within it in the order of entry. NEVER: it did not.

    left_ns, second_ns: when it arrived at the other end, and a second copy of it. before_ns, second_before_ns: when
    the frame left that left the same direction before it. drop: CODE of what took it, -1 when nothing is said.
    seen_later: it did not arrive here, but was seen further on. size: in bytes.
    """

    way: Ints
    entered_ns: Ints
    size: Ints
    left_ns: Ints
    second_ns: Ints
    before_ns: Ints
    second_before_ns: Ints
    copies: Ints
    drop: Ints
    corrupt: Bools
    seen_later: Bools


@dataclass(frozen=True, slots=True)
class Stretch:
    """A way under one set of impairments (one per direction of it) and its crossings that are to be judged.

    entered: how many frames are judged. delays_ns: of those that arrived, with their copies, in order of entry; sizes:
    their bytes. waited_ns: from each one's entry to when the frame before it left (NEVER: there was none). lost: per
    frame, in order of entry, whether it vanished; of the rest, doubled: how many came out twice, corrupt: how many were
    hurt here. adjacent: per entered frame, whether the one before it entered the way right before it.
    setbacks_ns: by how much frames left before one that had entered before them. passed: how many frames arrived,
    judged or not. changed: whether a fault had given it these impairments.
    """

    way: Way
    impairments: tuple[Impairment, ...]
    entered: int
    delays_ns: Ints
    sizes: Ints
    waited_ns: Ints
    lost: Bools
    arrived: int
    doubled: int
    corrupt: int
    adjacent: Bools
    setbacks_ns: Ints
    passed: int
    changed: bool


class Flights:
    """Follows every frame along its way. captured: whether there are hops. missed: frames that were seen further on,
    but not where they must have passed. spoilt: whether directions double or hurt frames, or some went on other ways
    than those before them: such are not followed on, though others wait for them. gone_by_ns: per crossing,
    the instant by which the frame must have left."""

    def __init__(self, columns: Columns, paths: Paths, timeline: Timeline) -> None:
        self.columns, self.paths, self.timeline = columns, paths, timeline
        self.captured = bool(len(columns.sightings.t_ns))
        asked = [one for direction in paths.directions for one in timeline.in_force(direction)[1]]
        self.spoilt = any(one.duplicate or one.corrupt for one in asked) or bool(paths.changed_ns)
        self._longest_ns = self._longest_flight_ns()
        self.ways: list[Way] = []
        self.missed = 0
        self._numbers: dict[Way, int] = {}
        self.crossings = self._follow()
        self._bounds = np.flatnonzero(np.diff(self.crossings.way, prepend=-1, append=-1))
        self.gone_by_ns = np.concatenate([np.zeros(0, dtype=np.int64), *map(self._gone_by_ns, self._parts())])

    # -- following ---------------------------------------------------------------------------------------------------

    def in_change(self, at_ns: Ints) -> Bools:
        """What may belong to a frame that was on its way when switches began to forward otherwise: until all of those
        have arrived."""
        held = np.zeros(len(at_ns), dtype=bool)
        for changed_ns in self.paths.changed_ns:
            held |= (changed_ns <= at_ns) & (at_ns <= changed_ns + self._longest_ns)
        return held

    def _longest_flight_ns(self) -> int:
        """From a frame's being sent until it was last seen or handled: the longest of all."""
        columns = self.columns
        if not self.paths.changed_ns or not len(columns.sends.t_ns):
            return 0
        sent = np.full(columns.frames, -NEVER)
        np.minimum.at(sent, columns.sends.frame, columns.sends.t_ns)
        last = np.full(columns.frames, NEVER)
        np.maximum.at(last, columns.sightings.frame, columns.sightings.t_ns)
        np.maximum.at(last, columns.arrivals.frame, columns.arrivals.stamp_ns)
        known = (sent < -NEVER) & (last > NEVER)
        return int((last - sent)[known].max(initial=0))

    def _follow(self) -> Crossings:
        columns = self.columns
        sends = columns.sends
        gone = np.isin(sends.frame, columns.refused.frame)
        gone |= self.in_change(sends.t_ns + self._longest_ns)  # nobody can tell which way they went
        rows = np.flatnonzero((sends.peer >= 0) & ~gone)
        eras = np.searchsorted(self.paths.changed_ns, sends.t_ns[rows], side="right")
        routes, route_of = self._routes(sends.node[rows], sends.peer[rows], eras)
        if not self.captured:
            return _sorted([self._whole_ways(rows, routes[route_of, 0])] if len(rows) else [])
        owner = np.array([self.paths.number.get(one.tx.node, -1) for one in self.paths.directions], dtype=np.int64)
        seen = _Seen(columns, owner)
        parts: list[tuple[Ints, Crossings]] = []
        entered_ns, order, frame, size = sends.t_ns[rows], rows, sends.frame[rows], sends.size[rows]
        for place in range(routes.shape[1]):
            way = routes[route_of, place]
            on = way >= 0
            entered_ns, order, frame, size, route_of, way = (
                part[on] for part in (entered_ns, order, frame, size, route_of, way)
            )
            if not len(way):
                break
            crossed, arrival = self._cross(seen, way, entered_ns, size, frame)
            later = np.zeros(len(way), dtype=bool)
            for beyond in range(place + 1, routes.shape[1]):
                onward = routes[route_of, beyond]
                later |= (onward >= 0) & (seen.came.find(frame, onward ^ 1) >= 0)
            crossed = crossed._replace(seen_later=later & (arrival < 0))
            self.missed += int(crossed.seen_later.sum())
            parts.append((order, crossed))
            on = (arrival >= 0) & (crossed.copies == 1) & ~crossed.corrupt
            entered_ns, order = crossed.left_ns[on], arrival[on]
            frame, size, route_of = frame[on], size[on], route_of[on]
        return _sorted(parts)

    def _routes(self, src: Ints, dst: Ints, era: Ints) -> tuple[Ints, Ints]:
        """Which ways make up each path (a row per pair of hosts and era, -1 behind its end), and each frame's row."""
        hosts = len(self.paths.hosts)
        pairs, route_of = np.unique((era * hosts + src) * hosts + dst, return_inverse=True)
        found = []
        for pair in pairs.tolist():
            in_era, ends = divmod(pair, hosts * hosts)
            one, other = divmod(ends, hosts)
            try:
                path = self.paths.path(one, other, in_era)
            except NoPathError:
                path = ()
            ways = [(direction,) for direction in path] if self.captured else [path] if path else []
            found.append([self._number(way) for way in ways])
        routes = np.full((len(found), max(map(len, found), default=0) or 1), -1, dtype=np.int64)
        for row, numbers in enumerate(found):
            routes[row, : len(numbers)] = numbers
        return routes, route_of

    def _number(self, way: Way) -> int:
        if self.captured:  # a way is a direction, and has its number
            if not self.ways:
                self.ways = [(direction,) for direction in self.paths.directions]
            return 2 * way[0].link + (way[0].way == "ba")
        if way not in self._numbers:
            self._numbers[way] = len(self.ways)
            self.ways.append(way)
        return self._numbers[way]

    def _cross(self, seen: _Seen, way: Ints, entered_ns: Ints, size: Ints, frame: Ints) -> tuple[Crossings, Ints]:
        """One direction's deeds, and the row at which each frame arrived (-1: it did not)."""
        came, left = seen.came.find(frame, way ^ 1), seen.left.find(frame, way)
        here, there = seen.dropped.find(frame, way), seen.dropped.find(frame, way ^ 1)
        first, second = seen.came.row(came), seen.came.row(came, 1)
        drop = seen.dropped.row(np.where(here >= 0, here, there))
        crossed = Crossings(
            way=way,
            entered_ns=entered_ns,
            size=size,
            left_ns=seen.t_ns[first],
            second_ns=seen.t_ns[second],
            before_ns=seen.before_ns[seen.left.row(left)],
            second_before_ns=seen.before_ns[seen.left.row(left, 1)],
            copies=seen.came.count(came),
            drop=seen.what[drop],
            corrupt=seen.corrupt[first] | seen.corrupt[second],
            seen_later=np.zeros(len(way), dtype=bool),
        )
        return crossed, first

    def _whole_ways(self, rows: Ints, way: Ints) -> tuple[Ints, Crossings]:
        """Without hops: a frame is sent, and handled at the other end or not."""
        sends, arrivals = self.columns.sends, self.columns.arrivals
        on = way >= 0
        rows, way = rows[on], way[on]
        frame, nothing = sends.frame[rows], _nevers(way)
        first, copies = np.full(self.columns.frames, -1), np.bincount(arrivals.frame, minlength=self.columns.frames)
        first[arrivals.frame[::-1]] = np.arange(len(arrivals.frame))[::-1]
        last = np.full(self.columns.frames, -1)
        last[arrivals.frame] = np.arange(len(arrivals.frame))
        at, again = first[frame], last[frame]
        known = at >= 0
        stamps = np.append(arrivals.stamp_ns, NEVER)
        readable = np.append(arrivals.readable, True)
        return rows, Crossings(
            way=way,
            entered_ns=sends.t_ns[rows],
            size=sends.size[rows],
            left_ns=np.where(known, stamps[at], NEVER),
            second_ns=np.where(known & (copies[frame] > 1), stamps[again], NEVER),
            before_ns=nothing,
            second_before_ns=nothing,
            copies=copies[frame],
            drop=np.full(len(way), -1),
            corrupt=known & ~readable[at],
            seen_later=np.zeros(len(way), dtype=bool),
        )

    # -- what is judged ----------------------------------------------------------------------------------------------

    def stretches(self, edge_ns: int) -> Iterator[Stretch]:
        """Way by way, in order. edge_ns: how far an instant at which a fault struck may be off."""
        for begin, part in zip(self._bounds.tolist(), self._parts(), strict=False):
            gone_by_ns = self.gone_by_ns[begin : begin + len(part.way)]
            if self.timeline.changes:
                part = _not_behind_overtakers(part)  # noqa: PLW2901
            yield from self._stretches(self.ways[int(part.way[0])], part, gone_by_ns, edge_ns)

    def _parts(self) -> Iterator[Crossings]:
        """The crossings of one way after the other."""
        for begin, end in pairwise(self._bounds.tolist()):
            yield _rows(self.crossings, np.arange(begin, end))

    def _gone_by_ns(self, part: Crossings) -> Ints:
        """When the frames that entered a way must have left it, whatever was drawn, under all that was ever asked for.

        In FIFO order a frame waits for those that entered before, which are gone as soon. At a rate each goes after
        all before it, and then takes its time; frames that are not followed are reckoned with by as many again, and
        like what waits on several directions in a row, by the longest that was seen.
        """
        asked = [self.timeline.in_force(direction)[1] for direction in self.ways[int(part.way[0])]]
        gone_by_ns = part.entered_ns.copy()
        for asked_of in asked:
            longest = [law_of(one).greatest_of(packet_ns(one, part.size)) for one in asked_of]
            gone_by_ns += np.max(longest, axis=0)
        if not any(one.rate_bps for asked_of in asked for one in asked_of):
            return gone_by_ns
        if self.spoilt or len(asked) > 1:
            here = part.left_ns > NEVER
            seen_ns = np.max((part.left_ns - part.entered_ns)[here], initial=0)
            gone_by_ns = np.maximum(gone_by_ns, part.entered_ns + seen_ns)
        if len(asked) > 1:
            return gone_by_ns
        drawn_ns = max(int(law_of(one).greatest_of(np.zeros(1, dtype=np.int64))[0]) for one in asked[0])
        took_ns = np.max([packet_ns(one, part.size) for one in asked[0]], axis=0) * (2 if self.spoilt else 1)
        after_ns = np.cumsum(took_ns)
        queue_ns = after_ns + np.maximum.accumulate(part.entered_ns + drawn_ns - (after_ns - took_ns))
        return np.asarray(np.maximum(gone_by_ns, queue_ns))

    def _stretches(self, way: Way, part: Crossings, gone_by_ns: Ints, edge_ns: int) -> Iterator[Stretch]:
        regimes = [self.timeline.in_force(direction) for direction in way]
        judged = gone_by_ns + edge_ns < self.timeline.end_ns
        judged &= ~self._touched(way, part.entered_ns, gone_by_ns, edge_ns)
        number = np.zeros(len(part.way), dtype=np.int64)
        for times, asked_of in regimes:
            # In a direction it is known where a frame is by then; who has overtaken it in a queue, if all are followed.
            known = len(way) == 1 and not (self.spoilt and any(map(queued, asked_of)))
            until_ns = part.entered_ns if known else gone_by_ns
            for time in times.tolist():
                judged &= ~((part.entered_ns - edge_ns <= time) & (time <= until_ns + edge_ns))
            number = number * len(asked_of) + np.searchsorted(times, part.entered_ns, side="right")
        for combination in np.unique(number).tolist():
            asked: list[Impairment] = []
            rest = combination
            for _, asked_of in reversed(regimes):
                rest, place = divmod(rest, len(asked_of))
                asked.insert(0, asked_of[place])
            yield _stretch(way, tuple(asked), part, number == combination, judged, combination > 0)

    def _touched(self, way: Way, entered_ns: Ints, gone_by_ns: Ints, edge_ns: int) -> Bools:
        """Whether a NIC's or, without hops, a receiver's fault may have had to do with what became of a frame."""
        timeline = self.timeline
        since, until = entered_ns - edge_ns, gone_by_ns + edge_ns
        touched = np.zeros(len(entered_ns), dtype=bool)
        for direction in way:
            for end, other in ((direction.tx, "nic_half rx"), (direction.rx, "nic_half tx")):
                for span in timeline.nic_faults.get((end.node, end.nic), ()):
                    if span.what != other:
                        touched |= (span.since_ns <= until) & (since < span.until_ns)
        end, sender = way[-1].rx, way[0].tx.node
        receiver = end.node
        if not self.captured:  # each way is a whole one, from its sender on
            for span in timeline.deaf.get((receiver, end.nic, sender), ()):
                touched |= (span.since_ns <= until) & (since < span.until_ns)
        if self.captured or receiver not in self.paths.number:
            return touched
        for span in timeline.holds.get(receiver, ()):
            touched |= (span.since_ns <= until) & (since < span.until_ns)
        alive = np.zeros(len(entered_ns), dtype=bool)
        for span in timeline.lives.get(receiver, ()):
            alive |= (span.since_ns < since) & (until < span.until_ns)
        return touched | ~alive


def _not_behind_overtakers(part: Crossings) -> Crossings:
    """No frame waits for one that entered after it and left before it, as when a change makes delays shorter, but for
    the last one that left before those."""
    came = np.flatnonzero(part.left_ns > NEVER)
    order = came[np.argsort(part.left_ns[came], kind="stable")]
    left, entered = np.append(part.left_ns[order], -NEVER), np.append(part.entered_ns[order], NEVER)
    before_it = np.append(part.before_ns[order], NEVER)

    def waited_for(before_ns: Ints) -> Ints:
        while True:
            place = np.searchsorted(left, before_ns)
            overtakes = (left[place] == before_ns) & (entered[place] > part.entered_ns)
            if not overtakes.any():
                return before_ns
            earlier = np.where(before_it[place] < before_ns, before_it[place], NEVER)
            before_ns = np.where(overtakes, earlier, before_ns)

    return part._replace(before_ns=waited_for(part.before_ns), second_before_ns=waited_for(part.second_before_ns))


def queued(asked: Impairment) -> bool:
    """Whether frames wait for those before them: without jitter too, for those that a burst still holds."""
    return bool(asked.rate_bps) or asked.order == "fifo"


def _stretch(
    way: Way, asked: tuple[Impairment, ...], part: Crossings, here: Bools, judged: Bools, changed: bool
) -> Stretch:
    passed = int(np.sum(part.left_ns[here] > NEVER))
    on = here & judged & ~part.seen_later & ((part.drop < 0) | (part.drop == CODE["lost"]) | (part.left_ns > NEVER))
    entered, left, second = part.entered_ns[on], part.left_ns[on], part.second_ns[on]
    came, twice = left > NEVER, second > NEVER
    delays = np.concatenate((left[came] - entered[came], second[twice] - entered[twice]))
    before = np.concatenate((part.before_ns[on][came], part.second_before_ns[on][twice]))
    waited = np.where(before > NEVER, before - np.concatenate((entered[came], entered[twice])), NEVER)
    return Stretch(
        way=way,
        impairments=asked,
        entered=len(entered),
        delays_ns=delays,
        sizes=np.concatenate((part.size[on][came], part.size[on][twice])),
        waited_ns=waited,
        lost=~came,
        arrived=int(came.sum()),
        doubled=int(twice.sum()),
        corrupt=int(np.sum(part.corrupt[on] & came)),
        adjacent=np.diff(np.flatnonzero(on), prepend=-2) == 1,
        setbacks_ns=np.maximum.accumulate(left[came]) - left[came],
        passed=passed,
        changed=changed,
    )


class _Seen:
    """Sightings, looked up by frame and interface. Row -1, behind the last, stands for: not seen.

    before_ns: for each departure, when the frame left that left there before it. owner: of each interface, the host's
    number. What a NIC keeps from its host has come as far as that, and was not lost on the way.
    """

    def __init__(self, columns: Columns, owner: Ints) -> None:
        sightings, nics = columns.sightings, len(owner)
        code, what = sightings.frame * nics + sightings.nic, sightings.what
        leaves = (what == CODE["out"]) | (what == CODE["dup"])
        kept_back = (what == CODE["mute"]) & (owner[sightings.nic] != columns.sender[sightings.frame])
        comes = (what == CODE["in"]) | kept_back
        self.came = _Group(code, comes, nics)
        self.left = _Group(code, leaves, nics)
        self.dropped = _Group(code, ~leaves & ~comes, nics)
        self.t_ns = np.append(sightings.t_ns, NEVER)
        self.what = np.append(what, -1)
        self.corrupt = np.append(sightings.corrupt, False)
        rows = np.flatnonzero(leaves)
        rows = rows[np.lexsort((rows, sightings.t_ns[rows], sightings.nic[rows]))]
        self.before_ns = np.full(len(self.t_ns), NEVER)
        same = sightings.nic[rows[1:]] == sightings.nic[rows[:-1]]
        self.before_ns[rows[1:][same]] = sightings.t_ns[rows[:-1][same]]


class _Group:
    """The rows under ``mask``, by code (frame and interface), within one in the order of the record."""

    def __init__(self, code: Ints, mask: Bools, nics: int) -> None:
        rows = np.flatnonzero(mask)
        self._rows = rows[np.argsort(code[rows], kind="stable")]
        self._codes, self._starts, self._counts = np.unique(code[self._rows], return_index=True, return_counts=True)
        self._nics = nics

    def find(self, frame: Ints, nic: Ints) -> Ints:
        """The place of each frame at each interface among the codes, -1 where it is not."""
        if not len(self._codes):
            return np.full(len(frame), -1)
        code = frame * self._nics + nic
        place = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        return np.where(self._codes[place] == code, place, -1)

    def count(self, place: Ints) -> Ints:
        """How many rows each place has."""
        return np.append(self._counts, 0)[place]

    def row(self, place: Ints, number: int = 0) -> Ints:
        """The first (number 0), second, ... row of each place, -1 where there is none."""
        there = self.count(place) > number
        return np.where(
            there, np.append(self._rows, -1)[np.where(there, np.append(self._starts, 0)[place] + number, -1)], -1
        )


def _nevers(like: Ints) -> Ints:
    return np.full(len(like), NEVER)


def _sorted(parts: list[tuple[Ints, Crossings]]) -> Crossings:
    """By way, then by entry; at one instant in the order of the record."""
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Crossings(none, none, none, none, none, none, none, none, none, none.astype(bool), none.astype(bool))
    order = np.concatenate([order for order, _ in parts])
    columns = zip(*(part for _, part in parts), strict=True)
    whole = Crossings(*(np.concatenate(column) for column in columns))
    rows = np.lexsort((order, whole.entered_ns, whole.way))
    return _rows(whole, rows)


def _rows(crossings: Crossings, rows: Ints) -> Crossings:
    return Crossings(*(column[rows] for column in crossings))  # type: ignore[arg-type]
