"""The agent's record of what its node did: text lines in memory that outlives the process.

A row has the columns of the history's events, without the node (a journal belongs to one node). One line per row, the
fields separated by tabs, what does not apply left empty, so that equal runs give equal bytes. The lines stand behind a
header of 8 bytes, the length of what is complete, in a shared mapping that the supervisor made: SIGKILL at any point
loses nothing but a row that was not complete, and appending takes no system call.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from nodes.frames import FrameKey

_HEADER = struct.Struct("@Q")  # native, so that it is written with one store: no half-written length
_COLUMNS = 9
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n"}
_UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n"}


class Row(NamedTuple):
    """One thing that a node did, see testbed.history.Event. Times in ns on the run's clock."""

    t_ns: int
    kind: str
    round: int = -1
    peer: str = ""
    step: int = -1
    key: FrameKey | None = None
    info: str = ""
    value: str = ""
    at_ns: int = -1


class JournalFullError(Exception):
    """No room for another row: the run must end here rather than go on unrecorded."""


class JournalError(ValueError):
    """A line that is no row."""


def line(
    t_ns: int,
    kind: str,
    round_: int = -1,
    peer: str = "",
    step: int = -1,
    key: str = "",
    info: str = "",
    value: str = "",
    at_ns: int = -1,
) -> str:
    """The line of one row whose texts are free of tabs, line ends and backslashes (``escaped`` sees to that).

    ``key`` is as ``named`` writes it.
    """
    return f"{t_ns}\t{kind}\t{round_}\t{peer}\t{step}\t{key}\t{info}\t{value}\t{at_ns}\n"


def named(key: FrameKey) -> str:
    """A frame's identity as a row holds it: ``src.epoch.seq``."""
    return f"{key.src}.{key.epoch}.{key.seq}"


def to_bytes(lines: str) -> bytes:
    """Lines as the journal holds them."""
    return lines.encode("utf-8", "surrogatepass")


def encode(row: Row) -> bytes:
    """The line of ``row``, whatever its texts hold."""
    key = named(row.key) if row.key is not None else ""
    kind, peer, info, value = map(escaped, (row.kind, row.peer, row.info, row.value))
    return to_bytes(line(row.t_ns, kind, row.round, peer, row.step, key, info, value, row.at_ns))


def decode(text: str) -> Row:
    """The inverse of ``encode``; ``text`` is one line without its end. Raises JournalError."""
    fields = text.split("\t")
    if len(fields) != _COLUMNS:
        raise JournalError(f"{len(fields)} columns instead of {_COLUMNS}: {text!r}")
    t_ns, kind, round_, peer, step, name, info, value, at_ns = fields
    if "\\" in text:
        kind, peer, info, value = _unescape(kind), _unescape(peer), _unescape(info), _unescape(value)
    try:
        key = FrameKey(*map(int, name.split("."))) if name else None
        return Row(int(t_ns), kind, int(round_), peer, int(step), key, info, value, int(at_ns))
    except (TypeError, ValueError) as error:
        raise JournalError(f"{error}: {text!r}") from None


def decode_all(data: bytes) -> Iterator[Row]:
    """The rows of whole lines, in order."""
    for text in data.decode("utf-8", "surrogatepass").split("\n"):
        if text:
            yield decode(text)


class Journal:
    """The end that appends. ``fd``: memory of ``size`` bytes, zero when new; a later life goes on where it ends."""

    def __init__(self, fd: int, size: int) -> None:
        self._memory = mmap.mmap(fd, size)
        self._size = size
        self._end = _HEADER.size + _HEADER.unpack_from(self._memory)[0]

    def append(self, lines: bytes) -> None:
        """Adds whole encoded rows: all of them or, raising JournalFullError, none."""
        start, end = self._end, self._end + len(lines)
        if end > self._size:
            raise JournalFullError(f"the journal's {self._size} bytes are used up")
        self._memory[start:end] = lines
        self._end = end
        _HEADER.pack_into(self._memory, 0, end - _HEADER.size)


def read_journal(fd: int, size: int) -> bytes:
    """The complete lines in a journal's memory."""
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
        length = _HEADER.unpack_from(memory)[0]
        return memory[_HEADER.size : _HEADER.size + length]


def escaped(text: str) -> str:
    """``text`` without what has a meaning in a line."""
    if "\\" in text or "\t" in text or "\n" in text:
        return "".join(_ESCAPES.get(char, char) for char in text)
    return text


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    parts: list[str] = []
    chars = iter(text)
    for char in chars:
        if char != "\\":
            parts.append(char)
            continue
        escaped = _UNESCAPES.get(next(chars, ""))
        if escaped is None:
            raise JournalError(f"an escape that is none: {text!r}")
        parts.append(escaped)
    return "".join(parts)
