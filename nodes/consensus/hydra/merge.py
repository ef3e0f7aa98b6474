"""One order made of the logs of many sites: plain data, the same for all who are given the same logs.

A site's log gives it turns: each entry takes the next one, and a skip gives up all below some turn. The order is turn 0
of all sites in their order, then turn 1 of all, and so on; what was skipped is passed over, and what is not known yet
is waited for.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from testbed.nodes.consensus.logs import pack_parts, read_parts
from testbed.nodes.core import values

FURTHEST = 1 << 16
"""Turns that one skip may give up."""
MOST = 1 << 31
"""Turns and entries that there may be; a greater number in a message is none."""

_SUBMITTED, _SKIP = b"\0", b"\1"  # the last byte of what stands in a site's log


def submitted(value: bytes) -> bytes:
    """What a member has submitted, as it stands in its site's log."""
    return value + _SUBMITTED


def skip(below: int) -> bytes:
    """The site gives up its turns below this one, as far as it has not taken them."""
    return values.of_int(below) + _SKIP


def value_of(said: bytes) -> bytes | None:
    """The inverse of ``submitted``; None for anything else."""
    return said[:-1] if said.endswith(_SUBMITTED) else None


_ROUND = struct.Struct("!I")
_TURN = struct.Struct("!Q")


class Entry(NamedTuple):
    """What stands in a site's log, and the ballot that led to it there."""

    round: int
    said: bytes

    def pack(self) -> bytes:
        """As it is told to other sites."""
        return _ROUND.pack(self.round) + self.said


def read_entry(data: bytes) -> Entry | None:
    """The inverse; None for bytes that are none."""
    if len(data) <= _ROUND.size:
        return None
    (round_,) = _ROUND.unpack_from(data)
    return Entry(round_, data[_ROUND.size :])


@dataclass(slots=True)
class Site:
    """A site's log as far as it is known, without holes. start: how many entries are not held any more, which took or
    gave up all turns below ``before``. ends: how many turns were taken or given up up to each entry that is held.
    waiting: turn -> its value, of those whose turn has not come."""

    start: int = 0
    before: int = 0
    entries: list[Entry] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    waiting: dict[int, Entry] = field(default_factory=dict)

    @property
    def known(self) -> int:
        """How many of its entries are known."""
        return self.start + len(self.entries)

    @property
    def turns(self) -> int:
        """How many it has taken or given up."""
        return self.ends[-1] if self.ends else self.before

    def extend(self, entry: Entry) -> None:
        """The next entry of its log."""
        end = turns = self.turns
        value = value_of(entry.said)
        if value is not None:
            self.waiting[turns] = Entry(entry.round, value)
            end = turns + 1
        elif entry.said.endswith(_SKIP) and len(entry.said) == len(skip(0)):
            below = values.to_int(entry.said[:-1])
            end = max(turns, below) if below <= turns + FURTHEST else turns
        self.entries.append(entry)
        self.ends.append(end)

    def forget(self, turn: int) -> None:
        """Of the entries no more are held than were needed to know all turns below this one: whoever has come so far
        knows them."""
        while self.ends and self.before < turn:
            self.before = self.ends.pop(0)
            del self.entries[0]
            self.start += 1


_SITE = struct.Struct("!QQ")  # Site.start, Site.before
_HEAD = struct.Struct("!QQH")  # entries told, the turn, whose it is


class Snapshot(NamedTuple):
    """In place of what was told: how many entries, whose turn it is, how much of each site's log it stands for (start,
    before), the holder's state."""

    told: int
    turn: int
    place: int
    sites: tuple[tuple[int, int], ...]
    state: bytes

    def pack(self) -> bytes:
        """As it is kept, and sent to who lacks it."""
        head = _HEAD.pack(self.told, self.turn, self.place)
        return pack_parts([head, *(_SITE.pack(*site) for site in self.sites), self.state])

    def passed(self, site: int) -> int:
        """All turns of this site below this one are over."""
        return self.turn + (site < self.place)


def read_snapshot(data: bytes, sites: int) -> Snapshot | None:
    """The inverse, of so many sites; None for bytes that are none."""
    parts = read_parts(data)
    if parts is None or len(parts) != sites + 2 or len(parts[0]) != _HEAD.size:
        return None
    told, turn, place = _HEAD.unpack(parts[0])
    if place >= sites or any(len(part) != _SITE.size for part in parts[1:-1]):
        return None
    known = [_SITE.unpack(part) for part in parts[1:-1]]
    read = Snapshot(told, turn, place, tuple((start, before) for start, before in known), parts[-1])
    passed = all(0 <= before - read.passed(site) <= FURTHEST for site, (_, before) in enumerate(read.sites))
    return read if passed and max(told, turn, *(start for start, _ in read.sites)) < MOST else None


@dataclass(slots=True)
class Merge:
    """The one order, as far as it is known. turn and place: the next is this turn of this site. told: entries before
    it that have a value."""

    sites: list[Site]
    turn: int = 0
    place: int = 0
    told: int = 0

    def next(self) -> Entry | None:
        """The next value in the order; None: it is not known yet."""
        while self.turn < self.sites[self.place].turns:
            entry = self.sites[self.place].waiting.pop(self.turn, None)
            self.place += 1
            if self.place == len(self.sites):
                self.turn, self.place = self.turn + 1, 0
            if entry is not None:
                self.told += 1
                return entry
        return None

    def snapshot(self, state: bytes) -> Snapshot:
        """``state`` stands for all that has been told; entries that it stands for are not held any more."""
        for number, site in enumerate(self.sites):
            site.forget(self.turn + (number < self.place))
        return Snapshot(
            self.told, self.turn, self.place, tuple((site.start, site.before) for site in self.sites), state
        )

    def take_on(self, snapshot: Snapshot) -> bool:
        """Another's, where it reaches further. What is known of a site beyond it stays."""
        if (snapshot.turn, snapshot.place) <= (self.turn, self.place):
            return False
        for number, (start, before) in enumerate(snapshot.sites):
            own = self.sites[number]
            if own.known <= start:
                self.sites[number] = Site(start, before)
            own.waiting = {turn: one for turn, one in own.waiting.items() if turn >= snapshot.passed(number)}
        self.told, self.turn, self.place = snapshot.told, snapshot.turn, snapshot.place
        return True


def parted(members: Sequence[int], sites: int) -> list[tuple[int, ...]]:
    """Members in so many sites, one beside the other, of sizes that differ by one at the most."""
    n, sites = len(members), min(sites, len(members))
    return [tuple(members[place] for place in range(n) if place * sites // n == site) for site in range(sites)]
