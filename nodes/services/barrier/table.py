"""A barrier as a state machine.

enter round worker of -> open round | waiting round workers. poll round -> the same.
"""

from __future__ import annotations

from collections.abc import Collection

from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.services.facts import Entered, Facts, Left
from testbed.nodes.services.gate import Gate
from testbed.nodes.services.words import REFUSED, pack_words, read_words

CALLS = {"enter": (int, int, int), "poll": (int,)}
RESULTS = {"open": (int,), "waiting": (int, list)}


class Barrier:
    """The state (testbed.nodes.services.spec.StateMachine)."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.gate = Gate(pitfalls)

    def apply(self, command: bytes) -> bytes:
        """Carry the command out."""
        match read_words(command, CALLS):
            case ["enter", round_, worker, of]:
                self.gate.enter(round_, worker, of)
                return self._now(round_)
            case ["poll", round_]:
                return self._now(round_)
        return REFUSED

    def _now(self, round_: int) -> bytes:
        if round_ < self.gate.round:
            return pack_words("open", round_)
        return pack_words("waiting", round_, self.gate.inside if round_ == self.gate.round else [])

    def snapshot(self) -> bytes:
        """All of it."""
        return pack(self.gate.round, self.gate.inside)

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        self.gate.round, self.gate.inside = unpack(snapshot)


def only_reads(command: bytes) -> bool:
    """Whether it changes nothing, whatever is there."""
    said = read_words(command, CALLS)
    return said is None or said[0] == "poll"


def asks(call: bytes) -> Facts:
    """What a call says by itself."""
    match read_words(call, CALLS):
        case ["enter", round_, worker, of]:
            return (Entered(round_, worker, of),)
    return ()


def tells(call: bytes, result: bytes) -> Facts:  # noqa: ARG001 - the result says it all
    """What became of a call."""
    match read_words(result, RESULTS):
        case ["open", round_]:
            return (Left(round_),)
    return ()
