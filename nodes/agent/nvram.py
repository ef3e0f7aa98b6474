"""A node's disk in memory that outlives its process: an append-only log of what its machine has persisted.

A record is a key, its data (or that there is none any more) and a checksum; the latest whole one of a key counts. The
log stands behind a header that says how much of it is written and synced. SIGKILL at any point loses nothing but a
record that was not complete, and those that were to become durable with it. When the log is full, the latest records
are written anew into its other half, and one store changes halves: a disk in use for long needs twice the room of what
it holds, not of what it has ever held.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Mapping

NVRAM_BYTES = 64 << 20
"""Room for one node; pages that are never written take no memory."""

_HEADER_BYTES = 64
_HALF_BYTES = (NVRAM_BYTES - _HEADER_BYTES) // 2
# written << 1 | which half; native, so that it is one store: SIGKILL strikes between two
_STATE = struct.Struct("@Q")
_RECORD = struct.Struct("=III")  # CRC-32 of all that follows, length of the key, length of the data
_GONE = (1 << 32) - 1  # in place of a length: nothing is kept under the key any more


class DiskFullError(RuntimeError):
    """What the disk holds does not fit any more."""


class Nvram:
    """The disk of one node; a later life goes on where the one before ended."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, NVRAM_BYTES)
        written, self._half = divmod(_STATE.unpack_from(self._memory)[0], 2)
        self._end, self._held = self._read(written)
        self._synced_half = self._half

    def disk(self) -> Mapping[str, bytes]:
        """What it holds."""
        return dict(self._held)

    def persist(self, key: str, data: bytes | None, sync: bool = True) -> None:
        """Keeps ``data`` under ``key``; None: nothing. Raises DiskFullError, and then holds what it held. What is not
        synced is there for the next life when something after it is."""
        record = _record(key, data)
        if self._end + len(record) > _HALF_BYTES:
            self._compact(_after(dict(self._held), key, data))
        else:
            self._put(self._half, self._end, record)
            self._end += len(record)
            _after(self._held, key, data)
        if sync:
            self._commit()

    def erase(self) -> None:
        """Holds nothing any more."""
        self._end, self._held = 0, {}
        self._commit()

    def _compact(self, held: dict[str, bytes]) -> None:
        other = 1 - self._half
        records = b"".join(_record(key, data) for key, data in held.items())
        if len(records) > _HALF_BYTES or other == self._synced_half:  # what is synced is not written over
            raise DiskFullError(f"{len(records)} bytes are to be kept at once, and there is room for {_HALF_BYTES}")
        self._put(other, 0, records)
        self._half, self._end, self._held = other, len(records), held

    def _put(self, half: int, at: int, data: bytes) -> None:
        start = _HEADER_BYTES + half * _HALF_BYTES + at
        self._memory[start : start + len(data)] = data

    def _commit(self) -> None:
        _STATE.pack_into(self._memory, 0, self._end << 1 | self._half)
        self._synced_half = self._half

    def _read(self, written: int) -> tuple[int, dict[str, bytes]]:
        """Up to the first record that is torn: where it begins, and the latest whole record of each key before it."""
        held: dict[str, bytes] = {}
        start = _HEADER_BYTES + self._half * _HALF_BYTES
        at = 0
        while at + _RECORD.size <= written:
            check, key_bytes, length = _RECORD.unpack_from(self._memory, start + at)
            end = at + _RECORD.size + key_bytes + (0 if length == _GONE else length)
            if end > written or zlib.crc32(self._memory[start + at + 4 : start + end]) != check:
                break
            body = self._memory[start + at + _RECORD.size : start + end]
            _after(held, body[:key_bytes].decode(), None if length == _GONE else body[key_bytes:])
            at = end
        return at, held


def _after(held: dict[str, bytes], key: str, data: bytes | None) -> dict[str, bytes]:
    """``held`` when ``data`` has been kept under ``key``."""
    if data is None:
        held.pop(key, None)
    else:
        held[key] = data
    return held


def _record(key: str, data: bytes | None) -> bytes:
    name = key.encode()
    length = _GONE if data is None else len(data)
    body = struct.pack("=II", len(name), length) + name + (data or b"")
    return struct.pack("=I", zlib.crc32(body)) + body
