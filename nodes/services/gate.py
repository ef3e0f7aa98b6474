"""A gate that opens round by round, each time for all at once: what a barrier is made of."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Pitfall(StrEnum):
    """Known bugs that can be planted."""

    COUNTS_ARRIVALS = "counts_arrivals"  # counts who comes, and not who is there: a worker's next life counts again


class Gate:
    """``round`` is the first that is not open: ``inside`` are the workers that wait at it. What is asked about a round
    before it has been answered by that: it is open."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.pitfalls = frozenset(pitfalls)
        self.round = 0
        self.inside: list[int] = []

    def enter(self, round_: int, worker: int, of: int) -> bool:
        """Whether that opened it: ``worker`` is the last one of ``of``. In another round than the present one it
        changes nothing."""
        if round_ != self.round or (worker in self.inside and Pitfall.COUNTS_ARRIVALS not in self.pitfalls):
            return False
        self.inside = sorted([*self.inside, worker])
        if len(self.inside) < of:
            return False
        self.round += 1
        self.inside = []
        return True
