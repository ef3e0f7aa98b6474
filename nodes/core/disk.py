"""What a machine keeps on its node's disk: plain data under keys, written when it has changed and only then.

The disk itself is here as well, over any memory: every engine has this one, so that a disk fault means the same in all.
It is an append-only log of records, each a key, its data (or that there is none any more) and a checksum; the latest
whole one of a key counts. Records of one batch (``Persist.more``) count once the last of them is there. Behind a header
that says how much is written and how much of that is synced, the log fills one half of the memory; when that is full,
the latest records are written anew into the other half, and one store changes halves: a disk in use for long needs
twice the room of what it holds, not of what it has ever held. A crash at any point loses nothing but a record that was
not complete, and its batch.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from testbed.nodes.core import Persist

DISK_BYTES = 64 << 20
"""Room for one node; pages that are never written take no memory."""

FULL_AT = 8
"""The byte of a disk's memory that says, when it is not zero, that nothing more can be written."""

_HEADER_BYTES = 64
# written << 33 | synced << 1 | which half; native, so that it is one store: a crash strikes between two
_MARK = struct.Struct("@Q")
_SYNCED = (1 << 32) - 1
_RECORD = struct.Struct("=I?II")  # CRC-32 of all that follows, whether more belongs to it, lengths of key and data
_GONE = (1 << 32) - 1  # in place of a length: nothing is kept under the key any more


class State(StrEnum):
    """What a life that begins after another finds on its node's disk."""

    KEPT = "kept"  # the process died: all that was written, synced or not
    UNSYNCED_LOST = "unsynced_lost"  # the power failed: what was synced
    TORN = (
        "torn"  # the power failed in a write: all that was written, but of what was not synced the last record is cut
    )
    LOST = "lost"  # the disk is a new one: nothing


class DiskFullError(Exception):
    """There is no room for another record."""


class Record(NamedTuple):
    """What one Persist writes."""

    key: str
    data: bytes | None
    more: bool


class Log:
    """A node's disk, in memory that outlives its lives (all zero when new): an mmap or a bytearray. Each life calls
    ``recover`` before all else."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self._half_bytes = (len(memory) - _HEADER_BYTES) // 2
        self._half = self._written = self._synced = 0
        self._held: dict[str, bytes] = {}  # what whole batches that are synced say
        self._tail: list[Record] = []  # what was written since

    def recover(self, state: State) -> Mapping[str, bytes]:
        """What is found; the log goes on behind it, and forgets what was not found for good."""
        mark = _MARK.unpack_from(self._memory)[0]
        self._half, self._synced, self._written = mark & 1, mark >> 1 & _SYNCED, mark >> 33
        if state is State.LOST:
            self._written = 0
        elif state is State.UNSYNCED_LOST:
            self._written = self._synced
        elif state is State.TORN:
            self._tear()
        self._held, self._tail = {}, []
        at = 0
        for record, end in self._read():
            self._tail.append(record)
            if not record.more:
                at = end
                self._settle()
        self._tail.clear()
        self._mark(at, at)
        return dict(self._held)

    def append(self, key: str, data: bytes | None, more: bool = False) -> None:
        """Writes a record. Raises DiskFullError, and then nothing has changed."""
        record = Record(key, data, more)
        encoded = _encoded(record)
        if self._memory[FULL_AT]:
            raise DiskFullError
        if self._written + len(encoded) > self._half_bytes:
            self._rewrite(len(encoded))
        self._put(self._half, self._written, encoded)
        self._tail.append(record)
        self._mark(self._written + len(encoded), self._synced)

    def sync(self) -> None:
        """What was written is durable from now on."""
        self._settle()
        self._mark(self._written, self._written)

    def set_full(self, full: bool) -> None:
        """Nothing more can be written, or no longer so."""
        self._memory[FULL_AT] = int(full)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """What whole batches of the tail say is held."""
        count = whole(self._tail)
        for key, data, _ in self._tail[:count]:
            if data is None:
                self._held.pop(key, None)
            else:
                self._held[key] = data
        del self._tail[:count]

    def _rewrite(self, room: int) -> None:
        """Into the other half: what is held, then what was written since, with ``room`` bytes to spare."""
        held = b"".join(_encoded(Record(key, data, False)) for key, data in self._held.items())
        tail = b"".join(map(_encoded, self._tail))
        if len(held) + len(tail) + room > self._half_bytes:
            raise DiskFullError
        self._put(1 - self._half, 0, held + tail)
        self._half = 1 - self._half
        self._mark(len(held) + len(tail), len(held))

    def _tear(self) -> None:
        """Of the last record, if it is not synced, only the first half came to the disk."""
        last = end = self._synced
        for _, after in self._read(self._synced):
            last, end = end, after
        self._written = last + (end - last) // 2

    def _read(self, at: int = 0) -> list[tuple[Record, int]]:
        """The records from ``at`` up to the first that is not whole, each with where it ends."""
        found = []
        start, written = _HEADER_BYTES + self._half * self._half_bytes, self._written
        while at + _RECORD.size <= written:
            check, more, key_bytes, length = _RECORD.unpack_from(self._memory, start + at)
            end = at + _RECORD.size + key_bytes + (0 if length == _GONE else length)
            if end > written or zlib.crc32(self._memory[start + at + 4 : start + end]) != check:
                break
            body = bytes(self._memory[start + at + _RECORD.size : start + end])
            record = Record(body[:key_bytes].decode(), None if length == _GONE else body[key_bytes:], more)
            found.append((record, end))
            at = end
        return found

    def _put(self, half: int, at: int, data: bytes) -> None:
        start = _HEADER_BYTES + half * self._half_bytes + at
        self._memory[start : start + len(data)] = data

    def _mark(self, written: int, synced: int) -> None:
        self._written, self._synced = written, synced
        _MARK.pack_into(self._memory, 0, written << 33 | synced << 1 | self._half)


def whole(records: Sequence[Record]) -> int:
    """How many of them stand in batches that are complete."""
    count = len(records)
    while count and records[count - 1].more:
        count -= 1
    return count


def _encoded(record: Record) -> bytes:
    name, data = record.key.encode(), record.data
    head = _RECORD.pack(0, record.more, len(name), _GONE if data is None else len(data))
    body = head[4:] + name + (data or b"")
    return struct.pack("=I", zlib.crc32(body)) + body


_json = json.JSONEncoder(separators=(",", ":")).encode  # made once: every event of a log packs what it vows


def pack(*data: Any) -> bytes:
    """Numbers, texts, None, and lists and tuples of them, as bytes; bytes go in as ``hex()``."""
    return _json(data).encode()


def unpack(data: bytes) -> list[Any]:
    """What was packed, tuples as lists."""
    found: list[Any] = json.loads(data)
    return found


class Written:
    """What is on the disk, as its machine knows it: of what is to be kept it tells what is news."""

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self.held: dict[str, bytes] = {}

    def read(self, disk: Mapping[str, bytes]) -> None:
        """The disk as a life finds it."""
        self.held = dict(disk)

    def news(self, wanted: Mapping[str, bytes | None]) -> list[Persist]:
        """What must be written so that the disk holds ``wanted`` (None: nothing under that key), as one batch: a crash
        among them leaves none, records of one event never part."""
        changed = [Persist(key, data) for key, data in wanted.items() if self.held.get(key) != data]
        for key, data, *_ in changed:
            if data is None:
                del self.held[key]
            else:
                self.held[key] = data
        return [*(one._replace(sync=False, more=True) for one in changed[:-1]), *changed[-1:]]
