"""Locks and the resource that each guards, as a state machine.

acquire lock holder stamp lease -> granted token | held holder token. release lock token -> released | stale token.
write lock token value -> written | fenced token. read lock -> is value token.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from testbed.nodes.core.disk import pack, unpack
from testbed.nodes.services.facts import Facts, Granted, Holds, Wrote
from testbed.nodes.services.leases import Leases
from testbed.nodes.services.words import REFUSED, pack_words, read_words

CALLS = {"acquire": (str, str, int, int), "release": (str, int), "write": (str, int, str), "read": (str,)}
RESULTS = {"granted": (int,), "held": (str, int), "released": (), "stale": (int,), "written": (), "fenced": (int,),
           "is": (str, int)}  # fmt: skip


class Pitfall(StrEnum):
    """Known bugs that can be planted, besides those of leases."""

    NO_FENCING = "no_fencing"  # the resource takes whatever is written


class Locks:
    """The state (testbed.nodes.services.spec.StateMachine): leases, and of each resource what was written and the
    highest token that it has seen. A resource does not look into the leases: it might be anywhere."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:
        self.pitfalls = frozenset(pitfalls)
        self.leases = Leases(pitfalls)
        self.resources: dict[str, tuple[str, int]] = {}

    def apply(self, command: bytes) -> bytes:
        """Carry the command out."""
        match read_words(command, CALLS):
            case ["acquire", lock, holder, stamp, lease]:
                granted, held = self.leases.take(lock, holder, stamp, lease)
                return pack_words("granted", held.token) if granted else pack_words("held", held.holder, held.token)
            case ["release", lock, token]:
                released = self.leases.give_up(lock, token)
                return pack_words("released") if released else pack_words("stale", self.leases.of(lock).token)
            case ["write", lock, token, value]:
                return self._write(lock, token, value)
            case ["read", lock]:
                return pack_words("is", *self.resources.get(lock, ("", 0)))
        return REFUSED

    def _write(self, lock: str, token: int, value: str) -> bytes:
        _, highest = self.resources.get(lock, ("", 0))
        if token < highest and Pitfall.NO_FENCING not in self.pitfalls:
            return pack_words("fenced", highest)
        self.resources[lock] = value, max(token, highest)
        return pack_words("written")

    def snapshot(self) -> bytes:
        """All of it."""
        return pack(self.leases.packed(), sorted(self.resources.items()))

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        leases, resources = unpack(snapshot)
        self.leases.unpacked(leases)
        self.resources = {name: (value, token) for name, (value, token) in resources}


def lock_of(command: bytes) -> str:
    """The lock that a command is about; none where it is no command, which touches nothing."""
    said = read_words(command, CALLS)
    return "" if said is None else said[1]


def only_reads(command: bytes) -> bool:
    """Whether it changes nothing, whatever is there."""
    said = read_words(command, CALLS)
    return said is None or said[0] == "read"


def tells(call: bytes, result: bytes) -> Facts:
    """What became of a call."""
    match read_words(call, CALLS), read_words(result, RESULTS):
        case ["acquire", lock, holder, _, _], ["granted", token]:
            return (Granted(lock, token, holder),)
        case ["acquire", lock, _, _, _], ["held", holder, token]:
            return (Holds(lock, token, holder),)
        case ["write", lock, token, _], ["written"]:
            return (Wrote(lock, token),)
    return ()
