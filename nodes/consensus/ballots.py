"""Ballot numbers, as all engines of the Paxos family count them."""

from __future__ import annotations

from typing import NamedTuple

MAX_BALLOT = (1 << 31) - 1
"""A greater number in a frame is no ballot, so that a ballot above all that are heard of always fits its 32 bits."""


class Ballots(NamedTuple):
    """Ballot numbers of ``n`` proposers: attempt 0, 1, .. of rank 0 .. n - 1, from 1 on; 0 is below all."""

    n: int

    def number(self, attempt: int, rank: int) -> int:
        """The ballot that only ``rank`` may use for its ``attempt``."""
        return attempt * self.n + rank + 1

    def attempt(self, ballot: int) -> int:
        """The inverse of number, first part."""
        return (ballot - 1) // self.n

    def rank(self, ballot: int) -> int:
        """The inverse of number, second part."""
        return (ballot - 1) % self.n
