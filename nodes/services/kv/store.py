"""A key-value store as a state machine, with the bytes of its commands and results.

A command is one byte for what is to be done, and then fields, each behind its length (16 bits): GET key; PUT key value;
CAS key new expected (without ``expected``: the key must not be there). A result is one byte for how it went, and then
the value that there is now.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from enum import IntEnum

from testbed.nodes.core import values

_LENGTH = struct.Struct("!H")
_LONG = struct.Struct("!I")


class Do(IntEnum):
    """What a command asks for."""

    GET = 1
    PUT = 2
    CAS = 3


class Went(IntEnum):
    """How a command went."""

    OK = 0  # got, put or exchanged; of get and put with the value that is there now
    ABSENT = 1  # there is no such key
    DIFFERS = 2  # cas: something else is there
    REFUSED = 3  # not a command


_FIELDS = {Do.GET: (1,), Do.PUT: (2,), Do.CAS: (2, 3)}


def key_of(command: bytes) -> bytes:
    """The key that a command is about; none where it is no command, which touches nothing."""
    said = read_command(command)
    return b"" if said is None else said[1][0]


def only_gets(command: bytes) -> bool:
    """Whether it changes nothing, whatever is there."""
    return command[:1] == bytes([Do.GET])


def get(key: bytes) -> bytes:
    """What is under the key?"""
    return _command(Do.GET, key)


def put(key: bytes, value: bytes) -> bytes:
    """Let ``value`` be under the key."""
    return _command(Do.PUT, key, value)


def cas(key: bytes, new: bytes, expected: bytes | None) -> bytes:
    """Let ``new`` be under the key if ``expected`` is there; None: if nothing is."""
    return _command(Do.CAS, key, new) if expected is None else _command(Do.CAS, key, new, expected)


def _command(do: Do, *fields: bytes) -> bytes:
    return bytes([do]) + b"".join(_LENGTH.pack(len(field)) + field for field in fields)


def read_command(command: bytes) -> tuple[Do, list[bytes]] | None:
    """What it asks for, and the fields; None for bytes that are no command."""
    if not command or command[0] not in tuple(Do):
        return None
    do, fields, at = Do(command[0]), [], 1
    while at + _LENGTH.size <= len(command):
        (length,) = _LENGTH.unpack_from(command, at)
        at += _LENGTH.size + length
        fields.append(command[at - length : at])
    return (do, fields) if at == len(command) and len(fields) in _FIELDS[do] else None


def result(went: Went, value: bytes = b"") -> bytes:
    """How it went, and what is there now."""
    return bytes([went]) + value


class Store:
    """The state: keys and their values (testbed.nodes.services.spec.StateMachine)."""

    def __init__(self, pitfalls: Collection[str] = ()) -> None:  # noqa: ARG002 - none is known
        self.held: dict[bytes, bytes] = {}

    def apply(self, command: bytes) -> bytes:
        """Carry the command out."""
        said = read_command(command)
        if said is None:
            return result(Went.REFUSED)
        do, (key, *rest) = said
        held = self.held.get(key)
        if do is Do.GET:
            return result(Went.ABSENT) if held is None else result(Went.OK, held)
        if do is Do.CAS and held != (rest[1] if len(rest) > 1 else None):
            return result(Went.ABSENT) if held is None else result(Went.DIFFERS, held)
        self.held[key] = rest[0]
        return result(Went.OK, rest[0])

    def snapshot(self) -> bytes:
        """Keys and values behind their lengths, by key."""
        return b"".join(_long(part) for item in sorted(self.held.items()) for part in item)

    def restore(self, snapshot: bytes) -> None:
        """The inverse of snapshot."""
        parts, at = [], 0
        while at < len(snapshot):
            (length,) = _LONG.unpack_from(snapshot, at)
            at += _LONG.size + length
            parts.append(snapshot[at - length : at])
        self.held = dict(zip(parts[::2], parts[1::2], strict=True))


def _long(part: bytes) -> bytes:
    return _LONG.pack(len(part)) + part


def call_text(call: bytes) -> str:
    """A command in words."""
    said = read_command(call)
    return "no command" if said is None else f"{said[0].name.lower()} {_words(said[1])}"


def result_text(outcome: bytes) -> str:
    """A result in words."""
    went = Went(outcome[0]).name.lower() if outcome and outcome[0] in tuple(Went) else "no result"
    return f"{went} {_words([outcome[1:]])}".strip()


def _words(fields: Sequence[bytes]) -> str:
    return " ".join(field.decode() if field.isascii() else values.text(field) for field in fields)
