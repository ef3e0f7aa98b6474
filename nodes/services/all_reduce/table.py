"""All-reduce as a state machine: sums of what all workers contribute, behind a gate.

contribute round worker of values -> sum round values | waiting round workers | past round. poll round -> the same.
``past``: with the round that is summed up now, for a sum that is kept no more.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.services.facts import Contributed, Entered, Facts, Left, Reduced
from testbed.nodes.services.gate import Gate
from testbed.nodes.services.words import REFUSED, pack_words, read_words

CALLS = {"contribute": (int, int, int, list), "poll": (int,)}
RESULTS = {"sum": (int, list), "waiting": (int, list), "past": (int,)}


class Pitfall(StrEnum):
    """Known bugs that can be planted, besides those of a gate."""

    ADDS_AGAIN = "adds_again"  # what a worker contributes again, in its next life, is added again


class Reduction:
    """The state (testbed.nodes.services.spec.StateMachine): the round that is summed up, and the sum of the one before,
    which is kept until the next is there: who contributes to a round has seen the sum of the last."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.pitfalls = frozenset(pitfalls)
        self.gate = Gate(pitfalls)
        self.adding: list[int] = []
        self.last: list[int] = []

    def apply(self, command: bytes) -> bytes:
        """Carry the command out."""
        match read_words(command, CALLS):
            case ["contribute", round_, worker, of, values]:
                if round_ == self.gate.round:
                    self._contribute(worker, of, values)
                return self._now(round_)
            case ["poll", round_]:
                return self._now(round_)
        return REFUSED

    def _contribute(self, worker: int, of: int, values: list[int]) -> None:
        known = worker in self.gate.inside
        if not known or Pitfall.ADDS_AGAIN in self.pitfalls:
            self.adding = added(self.adding, values)
        if self.gate.enter(self.gate.round, worker, of):
            self.last, self.adding = self.adding, []

    def _now(self, round_: int) -> bytes:
        if round_ < self.gate.round - 1:
            return pack_words("past", self.gate.round)
        if round_ < self.gate.round:
            return pack_words("sum", round_, self.last)
        return pack_words("waiting", round_, self.gate.inside if round_ == self.gate.round else [])

    def snapshot(self) -> bytes:
        """All of it."""
        return pack(self.gate.round, self.gate.inside, self.adding, self.last)

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        self.gate.round, self.gate.inside, self.adding, self.last = unpack(snapshot)


def added(one: list[int], other: list[int]) -> list[int]:
    """Element by element; the shorter is filled up with zeros."""
    length = max(len(one), len(other))
    return [sum(pair) for pair in zip(_filled(one, length), _filled(other, length), strict=True)]


def _filled(values: list[int], length: int) -> list[int]:
    return values + [0] * (length - len(values))


def only_reads(command: bytes) -> bool:
    """Whether it changes nothing, whatever is there."""
    said = read_words(command, CALLS)
    return said is None or said[0] == "poll"


def asks(call: bytes) -> Facts:
    """What a call says by itself."""
    match read_words(call, CALLS):
        case ["contribute", round_, worker, of, values]:
            return Entered(round_, worker, of), Contributed(round_, worker, tuple(values))
    return ()


def tells(call: bytes, result: bytes) -> Facts:  # noqa: ARG001 - the result says it all
    """What became of a call."""
    match read_words(result, RESULTS):
        case ["sum", round_, values]:
            return Left(round_), Reduced(round_, tuple(values))
    return ()
