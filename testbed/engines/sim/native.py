"""Rows of native integers: what the compiled build has in place of lists of numbers and of heapq's heap.

Only the compiled build imports this: plain Python would be slower with it, and librt comes with the compiler.
"""

from __future__ import annotations

from typing import Final

from librt.vecs import append, pop, vec
from mypy_extensions import i64


class Numbers:
    """A row of numbers. Its memory stays with it when numbers leave, for those to come."""

    __slots__ = ("_row", "_size")

    def __init__(self) -> None:
        self._row: vec[i64] = vec[i64]()
        self._size: i64 = 0

    def add(self, number: i64) -> None:
        """One more, behind the others."""
        size = self._size
        if size < len(self._row):
            self._row[size] = number
        else:
            self._row = append(self._row, number)
        self._size = size + 1

    def take(self) -> i64:
        """The last one leaves; -1: there is none."""
        if self._size == 0:
            return -1
        self._size -= 1
        return self._row[self._size]

    def keep_above(self, bound: i64) -> i64:
        """The others leave; how many stay."""
        row = self._row
        size = self._size
        kept: i64 = 0
        place: i64 = 0
        while place < size:
            number = row[place]
            if number > bound:
                row[kept] = number
                kept += 1
            place += 1
        self._size = kept
        return kept

    def listed(self) -> list[int]:
        """All, in their order."""
        found: list[int] = []
        place: i64 = 0
        while place < self._size:
            found.append(self._row[place])
            place += 1
        return found

    def clear(self) -> None:
        """None is left."""
        self._size = 0


_WIDTH: Final = 3  # numbers per entry of a heap


class Heap:
    """Entries of three numbers, the least one on top: by key, and by serial where keys are equal; no two share both.
    The third number is whose the entry is.
    """

    __slots__ = ("_row",)

    def __init__(self) -> None:
        self._row: vec[i64] = vec[i64]()

    def empty(self) -> bool:
        """Whether there is no entry."""
        return len(self._row) == 0

    def top(self) -> i64:
        """Whose the entry on top is."""
        return self._row[2]

    def owners(self) -> list[int]:
        """Whose the entries are, in no order."""
        return [self._row[place] for place in range(2, len(self._row), _WIDTH)]

    def push(self, key: i64, serial: i64, owner: i64) -> None:
        """One more."""
        place: i64 = len(self._row) // _WIDTH
        self._row = append(append(append(self._row, key), serial), owner)
        self._rise(place, key, serial, owner)

    def pop(self) -> None:
        """The top is gone."""
        row, owner = pop(self._row)
        row, serial = pop(row)
        row, key = pop(row)
        self._row = row
        if len(row) > 0:
            self.replace(key, serial, owner)

    def replace(self, key: i64, serial: i64, owner: i64) -> None:
        """Another entry in place of the top. The hole goes down to the end along the lesser entries, without a look at
        what shall fill it, for most of those belong near the end; from there they rise."""
        row = self._row
        size: i64 = len(row)
        place: i64 = 0
        hole: i64 = 0
        while True:
            place = 2 * place + 1
            child = _WIDTH * place
            if child >= size:
                break
            other = child + _WIDTH
            if other < size:
                left, right = row[child], row[other]
                if left == right:
                    left, right = row[child + 1], row[other + 1]
                lesser = i64(right < left)  # no branch, which would be guessed wrong half of the time
                place += lesser
                child += _WIDTH * lesser
            row[hole] = row[child]
            row[hole + 1] = row[child + 1]
            row[hole + 2] = row[child + 2]
            hole = child
        self._rise((place - 1) >> 1, key, serial, owner)

    def _rise(self, place: i64, key: i64, serial: i64, owner: i64) -> None:
        """Put an entry into the hole at ``place`` or above it."""
        row = self._row
        hole = _WIDTH * place
        while place > 0:
            place = (place - 1) >> 1
            above = _WIDTH * place
            if row[above] < key or (row[above] == key and row[above + 1] < serial):
                break
            row[hole] = row[above]
            row[hole + 1] = row[above + 1]
            row[hole + 2] = row[above + 2]
            hole = above
        row[hole] = key
        row[hole + 1] = serial
        row[hole + 2] = owner
