"""The contract of a consensus algorithm made of rounds of swaps (the Heard-Of model of Charron-Bost and Schiper).

One object is one instance at one node; its values are small integers (testbed.nodes.core.values), for a register has 16
bytes. In each round it offers one register value to all neighbours; at the horizon it is handed what it heard: the
values of those whose swap committed at this end, its own always among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class RoundAlgorithm(Protocol):
    """One instance at one node. Plain state; no clock: rounds are counted from 0 within the instance."""

    def message(self, round_: int) -> bytes:
        """The 16-byte register offered in ``round_``."""

    def deliver(self, round_: int, heard: Mapping[int, bytes]) -> int | None:
        """The round is over: ``heard`` maps node -> register (own included). Returns a value in the round in which
        this node decides, None in all others (also in those after the decision)."""

    def snapshot(self) -> bytes:
        """All that has come of the rounds so far, and the input."""

    def restore(self, snapshot: bytes) -> None:
        """Go on from there; called of a fresh instance."""


class AlgorithmFactory(Protocol):
    """Makes an instance: ``me`` and ``members`` are node numbers, ``f`` the crashes to bear, ``value`` the input."""

    def __call__(self, me: int, members: tuple[int, ...], f: int, value: int) -> RoundAlgorithm:
        """A fresh instance."""
