"""The agent's record of what its node did: text lines in memory that outlives the process.

One line per row, its fields separated by tabs: when (ns on the run's clock), the kind's name, and the kind's columns
(nodes.core.record), bytes in hex, so that equal runs give equal bytes. The lines stand behind a header of 8 bytes, the
length of what is complete, in a shared mapping that the supervisor made: SIGKILL at any point loses nothing but a row
that was not complete, and appending takes no system call.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from nodes.core.record import Schema, What, kind_named, schema

_HEADER = struct.Struct("@Q")  # native, so that it is written with one store: no half-written length
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n"}
_UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n"}


class Row(NamedTuple):
    """One thing that a node did, ``t_ns`` on the run's clock."""

    t_ns: int
    what: What


class Rows(NamedTuple):
    """All rows of one kind: each one's place among all lines, its time, and its values column by column."""

    places: Sequence[int]
    t_ns: Sequence[int]
    columns: Sequence[Sequence[Any]]


class JournalFullError(Exception):
    """No room for another row: the run must end here rather than go on unrecorded."""


class JournalError(ValueError):
    """A line that is no row."""


# -- writing ---------------------------------------------------------------------------------------------------------


def line(t_ns: int, what: What) -> str:
    """The line of one row."""
    form = _form(type(what))
    row = form.schema.flat(what)
    for place, write in form.writers:
        row[place] = write(row[place])
    return form.text % (t_ns, *row)


def to_bytes(lines: str) -> bytes:
    """Lines as the journal holds them."""
    return lines.encode("utf-8", "surrogatepass")


class _Form(NamedTuple):
    """How a kind's columns are written and read. text: the line, to be filled in. writers: of the columns that are
    not whole numbers, by their places."""

    schema: Schema
    text: str
    writers: tuple[tuple[int, Callable[[Any], object]], ...]
    readers: tuple[Callable[[str], Any], ...]


_known: dict[type[Any], _Form] = {}


def _form(kind: type[What]) -> _Form:
    known = _known.get(kind)
    if known is None:
        found = schema(kind)
        holds = [column.holds for column in found.columns]
        known = _known[kind] = _Form(
            found,
            "\t".join(["%d", found.name, *("%d" if what in _NUMBERS else "%s" for what in holds)]) + "\n",
            tuple((place, _WRITERS[what]) for place, what in enumerate(holds) if what in _WRITERS),
            tuple(_READERS[what] for what in holds),
        )
    return known


@lru_cache  # most are names, which come again and again
def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text)


_NUMBERS = (int, bool)
_WRITERS: dict[type, Callable[[Any], str]] = {str: _escaped, bytes: bytes.hex}


# -- reading ---------------------------------------------------------------------------------------------------------


def decode_all(data: bytes) -> dict[type[What], Rows]:
    """The rows of whole lines, by kind. Raises JournalError."""
    chosen: dict[str, tuple[list[int], list[str], list[str]]] = {}
    text = data.decode("utf-8", "surrogatepass")
    for place, whole in enumerate(text.split("\n")[:-1] if text else ()):
        parts = whole.split("\t", 2)
        t_ns, name, values = parts if len(parts) == 3 else (*parts, "", "")[:3]
        if name not in chosen:
            chosen[name] = ([], [], [])
        places, times, lines = chosen[name]
        places.append(place)
        times.append(t_ns)
        lines.append(values)
    return dict(_decoded(name, *found) for name, found in chosen.items())


def _decoded(name: str, places: list[int], times: list[str], lines: list[str]) -> tuple[type[What], Rows]:
    try:
        kind = kind_named(name)
        readers = _form(kind).readers
        if readers and any(values.count("\t") != len(readers) - 1 for values in lines):
            raise ValueError(f"not all have {len(readers)} columns")
        cells = "\t".join(lines).split("\t")
        columns = [list(map(read, cells[place :: len(readers)])) for place, read in enumerate(readers)]
        return kind, Rows(places, list(map(int, times)), columns)
    except (KeyError, ValueError) as error:
        raise JournalError(f"rows of {name!r} can't be read: {error}") from None


def decode_rows(data: bytes) -> list[Row]:
    """The rows of whole lines, in order. Raises JournalError."""
    found: dict[int, Row] = {}
    for kind, rows in decode_all(data).items():
        whats = schema(kind).whats(rows.columns, len(rows.places))
        for place, t_ns, what in zip(rows.places, rows.t_ns, whats, strict=True):
            found[place] = Row(t_ns, what)
    return [found[place] for place in sorted(found)]


def _read_flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is no flag")
    return text == "1"


@lru_cache
def _unescaped(text: str) -> str:
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


_READERS: dict[type, Callable[[str], Any]] = {int: int, bool: _read_flag, str: _unescaped, bytes: bytes.fromhex}


# -- the memory ------------------------------------------------------------------------------------------------------


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
