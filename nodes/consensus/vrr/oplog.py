"""The log of one node: entries behind a base, each with the view that brought it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """view: the term of the primary that put it in order. data: what was submitted, or the engine's own."""

    view: int
    data: bytes


class OpLog:
    """Entries in slots ``first`` .. ``end`` - 1; a base stands for those below."""

    def __init__(self) -> None:
        self.first = 0
        self.kept: list[Entry] = []

    @property
    def end(self) -> int:
        """The op-number of the paper: the slot that is filled next."""
        return self.first + len(self.kept)

    def at(self, slot: int) -> Entry:
        """The entry in ``slot``, which is kept."""
        return self.kept[slot - self.first]

    def since(self, slot: int) -> tuple[Entry, ...]:
        """All from ``slot`` on, which is no less than ``first``."""
        return tuple(self.kept[slot - self.first :])

    def append(self, entry: Entry) -> None:
        """Into the next slot."""
        self.kept.append(entry)

    def replace(self, slot: int, entries: Iterable[Entry]) -> None:
        """From ``slot`` on, which is no less than ``first``, these stand and no others."""
        self.kept[slot - self.first :] = entries

    def forget(self, slot: int) -> range:
        """A base stands for what is below ``slot``. Those of which something was known."""
        known = range(self.first, min(slot, self.end))
        self.kept = self.kept[max(0, slot - self.first) :]
        self.first = max(self.first, slot)
        return known
