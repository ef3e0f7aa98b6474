"""What stands in a log: entries of operations; and who has been answered what, so that each happens once at most."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.services.spec import StateMachine

_COUNT = struct.Struct("!I")
_CALL = struct.Struct("!QII")  # operation, floor, length of the command
_EPOCH_BITS, _SEQUENCE_BITS = 15, 32

NOTHING = b""
"""An entry without operations."""


class Operation(NamedTuple):
    """One call of a client. number: unique over the run. floor: the client's operations below this one, by sequence,
    have all returned: what they came to need not be remembered."""

    number: int
    floor: int
    command: bytes


def operation_number(node: int, epoch: int, sequence: int) -> int:
    """The number of a client's operation ``sequence`` in its life ``epoch``; 63 bits."""
    if epoch >> _EPOCH_BITS or sequence >> _SEQUENCE_BITS:
        raise ValueError(f"operation {sequence} of life {epoch} has no number: too many")
    return session_of(node, epoch) << _SEQUENCE_BITS | sequence


def session_of(node: int, epoch: int) -> int:
    """A life of a client is a session: what the next one asks for is new."""
    return node << _EPOCH_BITS | epoch


def life_of(session: int) -> tuple[int, int]:
    """The inverse of session_of: the client's node and epoch."""
    return session >> _EPOCH_BITS, session & ((1 << _EPOCH_BITS) - 1)


def parts_of(number: int) -> tuple[int, int]:
    """An operation's session and its sequence in it."""
    return number >> _SEQUENCE_BITS, number & ((1 << _SEQUENCE_BITS) - 1)


def pack_entry(operations: Iterable[Operation]) -> bytes:
    """The bytes of an entry."""
    listed = list(operations)
    if not listed:
        return NOTHING
    return _COUNT.pack(len(listed)) + b"".join(
        _CALL.pack(one.number, one.floor, len(one.command)) + one.command for one in listed
    )


def read_entry(entry: bytes) -> list[Operation] | None:
    """The inverse; zeros behind it don't matter. None for bytes that are no entry."""
    if len(entry) < _COUNT.size:
        return None if entry.strip(b"\0") else []
    (count,), at = _COUNT.unpack_from(entry), _COUNT.size
    found: list[Operation] = []
    for _ in range(count):
        if at + _CALL.size > len(entry):
            return None
        number, floor, length = _CALL.unpack_from(entry, at)
        at += _CALL.size + length
        if at > len(entry):
            return None
        found.append(Operation(number, floor, entry[at - length : at]))
    return found if not entry[at:].strip(b"\0") else None


class Sessions:
    """Which operations have happened, and the results of those that clients may still ask about.

    Of each session all below a floor have happened, and some beyond it. What a client says that it knows is no sign
    that an operation has happened here: where entries that commute are applied in any order, a later one may come
    first. again: a bug, by which an operation happens as often as it stands in the log.
    """

    def __init__(self, again: bool = False) -> None:
        self.again = again
        self.floors: dict[int, int] = {}
        self.beyond: dict[int, set[int]] = {}
        self.results: dict[int, dict[int, bytes]] = {}

    def result(self, number: int) -> bytes | None:
        """What the operation came to; None: it has not happened, or its client knows."""
        session, sequence = parts_of(number)
        return self.results.get(session, {}).get(sequence)

    def happened(self, number: int) -> bool:
        """Whether it has been applied."""
        session, sequence = parts_of(number)
        return sequence < self.floors.get(session, 0) or sequence in self.beyond.get(session, ())

    def apply(self, operation: Operation, state: StateMachine) -> None:
        """Once, however often it stands in the log."""
        if self.happened(operation.number) and not self.again:
            return
        session, sequence = parts_of(operation.number)
        results = self.results.setdefault(session, {})
        results[sequence] = state.apply(operation.command)
        for old in [old for old in results if old < operation.floor]:
            del results[old]
        beyond = self.beyond.setdefault(session, set())
        beyond.add(sequence)
        floor = self.floors.get(session, 0)
        while floor in beyond:
            beyond.remove(floor)
            floor += 1
        self.floors[session] = floor

    def snapshot(self) -> bytes:
        """All of them."""
        return pack(
            [(session, floor, sorted(self.beyond[session])) for session, floor in sorted(self.floors.items())],
            [
                (session, [(sequence, result.hex()) for sequence, result in sorted(results.items())])
                for session, results in sorted(self.results.items())
            ],
        )

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        happened, sessions = unpack(snapshot)
        self.floors = {session: floor for session, floor, _ in happened}
        self.beyond = {session: set(beyond) for session, _, beyond in happened}
        self.results = {
            session: {sequence: bytes.fromhex(result) for sequence, result in results} for session, results in sessions
        }
