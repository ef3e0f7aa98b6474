"""Registers with versions, as a state machine.

read name -> is value version. write name value -> is value version. cas name version value -> is value version |
differs value version. A version counts the writes; 0: none yet.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.services.words import REFUSED, pack_words, read_words

CALLS = {"read": (str,), "write": (str, str), "cas": (str, int, str)}
RESULTS = {"is": (str, int), "differs": (str, int)}


class Pitfall(StrEnum):
    """Known bugs that can be planted."""

    CAS_IGNORES_VERSION = "cas_ignores_version"  # exchanges whatever is there


class Registers:
    """The state (testbed.nodes.services.spec.StateMachine): values and their versions, by name."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.pitfalls = frozenset(pitfalls)
        self.held: dict[str, tuple[str, int]] = {}

    def apply(self, command: bytes) -> bytes:
        """Carry the command out."""
        match read_words(command, CALLS):
            case ["read", name]:
                return pack_words("is", *self._of(name))
            case ["write", name, value]:
                return self._write(name, value)
            case ["cas", name, version, value]:
                if version != self._of(name)[1] and Pitfall.CAS_IGNORES_VERSION not in self.pitfalls:
                    return pack_words("differs", *self._of(name))
                return self._write(name, value)
        return REFUSED

    def _of(self, name: str) -> tuple[str, int]:
        return self.held.get(name, ("", 0))

    def _write(self, name: str, value: str) -> bytes:
        self.held[name] = value, self._of(name)[1] + 1
        return pack_words("is", *self.held[name])

    def snapshot(self) -> bytes:
        """All of it."""
        return pack(sorted(self.held.items()))

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        (held,) = unpack(snapshot)
        self.held = {name: (value, version) for name, (value, version) in held}


def name_of(command: bytes) -> str:
    """The register that a command is about; none where it is no command, which touches nothing."""
    said = read_words(command, CALLS)
    return "" if said is None else said[1]


def only_reads(command: bytes) -> bool:
    """Whether it changes nothing, whatever is there."""
    said = read_words(command, CALLS)
    return said is None or said[0] == "read"
