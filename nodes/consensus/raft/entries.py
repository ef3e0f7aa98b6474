"""The log of one node, from 1 on as in the paper, and what it must never lose: the append rule and compaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """One entry. term: of the leader that made it. data: what was submitted, or the engine's own."""

    term: int
    data: bytes


class Spot(NamedTuple):
    """A place in a log and the term of the entry there: two logs with one spot in common are the same up to it."""

    at: int
    term: int


NOWHERE = Spot(0, 0)
"""Before the first entry."""


class Entries:
    """base: the last spot that a snapshot stands for, with all before it; kept: the entries behind it."""

    def __init__(self) -> None:
        self.base = NOWHERE
        self.kept: list[Entry] = []

    @property
    def last(self) -> Spot:
        """Where it ends."""
        return Spot(self.base.at + len(self.kept), self.kept[-1].term) if self.kept else self.base

    def term(self, index: int) -> int | None:
        """Of the entry at ``index``; None where there is none, or none any more."""
        if index == self.base.at:
            return self.base.term
        entry = self.entry(index)
        return None if entry is None else entry.term

    def entry(self, index: int) -> Entry | None:
        """The entry, if it is kept."""
        place = index - self.base.at - 1
        return self.kept[place] if 0 <= place < len(self.kept) else None

    def since(self, index: int, most: int) -> Sequence[Entry]:
        """Up to ``most`` entries behind ``index``, which is the base or behind it."""
        place = index - self.base.at
        return self.kept[place : place + most]

    def append(self, entry: Entry) -> int:
        """Behind all others; its index."""
        self.kept.append(entry)
        return self.last.at

    def holds(self, spot: Spot) -> bool:
        """Whether this log and one with that spot are the same up to it; what a snapshot stands for is committed, and
        in every log of a leader."""
        return spot.at < self.base.at or self.term(spot.at) == spot.term

    def agrees_until(self, spot: Spot) -> int:
        """At ``spot`` they differ: up to where they may be the same. The whole term that stands there is given up, or
        what lies behind this log's end (thesis, section 3.5)."""
        if spot.at > self.last.at:
            return self.last.at
        term, index = self.term(spot.at), spot.at
        while index > self.base.at and self.term(index) == term:
            index -= 1
        return index

    def accept(self, after: Spot, entries: Iterable[Entry], truncates: bool = False) -> int | None:
        """The append rule: ``entries`` stand behind ``after``, which this log holds. An entry in conflict goes, with
        all behind it, and nothing else: a message that is late takes nothing back that a newer one brought. The first
        index that changed; None: none did. truncates: whatever stands behind ``after`` goes (a bug)."""
        changed = None
        if truncates and after.at >= self.base.at:
            changed = after.at + 1 if after.at < self.last.at else None
            self._cut(after.at)
        for index, entry in enumerate(entries, after.at + 1):
            if index <= self.base.at or self.term(index) == entry.term:
                continue
            self._cut(index - 1)
            self.kept.append(entry)
            changed = index if changed is None else changed
        return changed

    def forget(self, index: int) -> None:
        """A snapshot stands for all entries up to ``index``, which is kept."""
        term = self.term(index)
        assert term is not None
        self.kept = self.kept[index - self.base.at :]
        self.base = Spot(index, term)

    def take_on(self, spot: Spot, loses_tail: bool = False) -> bool:
        """A snapshot up to ``spot`` came in, behind the base. What this log holds behind that spot stays, if it is the
        same up to it: a majority may count on it (thesis, section 5.1). Whether it stayed. loses_tail: it goes (a bug).
        """
        if self.term(spot.at) == spot.term and not loses_tail:
            self.forget(spot.at)
            return True
        self.base, self.kept = spot, []
        return False

    def _cut(self, index: int) -> None:
        """What stands behind ``index`` goes."""
        del self.kept[max(0, index - self.base.at) :]
