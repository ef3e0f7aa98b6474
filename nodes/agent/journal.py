"""The agent's record of what its node did: text lines in memory that outlives the process.

One line per row, its fields separated by tabs: when (ns on the run's clock), the kind's name, and the kind's columns
(testbed.nodes.core.record), bytes in hex, so that equal runs give equal bytes. The lines stand behind a header of 8
bytes, the length of what is complete, in a shared mapping that the supervisor made: SIGKILL at any point loses nothing
but a row that was not complete, and appending takes no system call.

The compiled build writes and reads lines in C (journal.c), several times as fast; what it can't make sense of it leaves
to the Python in here.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from testbed.nodes.core.record import KINDS, Schema, What, kind_named, schema

try:
    in_c: Any = import_module("oae_journal")  # found where the compiled build is used
except ImportError:
    in_c = None

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


def encode(rows: Sequence[tuple[int, What]]) -> bytes:
    """The lines of rows, each its time and what happened, as the journal holds them."""
    if in_c is not None:
        lines: bytes = in_c.encode(list(rows))
        return lines
    return "".join([_line(t_ns, what) for t_ns, what in rows]).encode("utf-8", "surrogatepass")


def _line(t_ns: int, what: What) -> str:
    form = _form(type(what))
    row = form.schema.flat(what)
    for place, write in form.writers:
        row[place] = write(row[place])
    return form.text % (t_ns, *row)


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
_IN_C = {int: 0, bool: 1, str: 2, bytes: 3}  # what journal.c calls them


def _form_in_c(kind: type[What]) -> tuple[bytes, tuple[tuple[int, int, int], ...]]:
    """A kind's name and, per column, its field, the place in there (-1: it is the field) and what it holds."""
    found = schema(kind)
    columns = zip(found.paths(), found.columns, strict=True)
    return found.name.encode(), tuple(
        (path[0], path[1] if len(path) > 1 else -1, _IN_C[column.holds]) for path, column in columns
    )


_FORMS_IN_C = {kind: _form_in_c(kind) for kind in KINDS} if in_c is not None else {}
if in_c is not None:
    in_c.learn(_FORMS_IN_C)
_HOLDS_IN_C = {name: tuple(holds for _, _, holds in columns) for name, columns in _FORMS_IN_C.values()}


# -- reading ---------------------------------------------------------------------------------------------------------


def decode_all(data: bytes) -> dict[type[What], Rows]:
    """The rows of whole lines, by kind. Raises JournalError."""
    found = None if in_c is None else in_c.decode(data, _HOLDS_IN_C)
    if found is None:
        return _decode_in_python(data)
    return {
        kind_named(name): Rows(_whole(places), _whole(t_ns), [_whole(column) for column in columns])
        for name, places, t_ns, columns in found
    }


def _whole(column: bytearray | list[Any]) -> Sequence[Any]:
    """Values as journal.c gives them: numbers as the bytes of 64-bit integers."""
    return memoryview(column).cast("q") if isinstance(column, bytearray) else column


def _decode_in_python(data: bytes) -> dict[type[What], Rows]:
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
        self._end: int = _HEADER.size + _HEADER.unpack_from(self._memory)[0]

    def append(self, rows: list[tuple[int, What]]) -> None:
        """Adds rows: all of them or, raising JournalFullError, none."""
        end: int = self._append(rows) if in_c is None else in_c.append(self._memory, self._end, rows)
        if end < 0:
            raise JournalFullError(f"the journal's {self._size} bytes are used up")
        self._end = end

    def _append(self, rows: Sequence[tuple[int, What]]) -> int:
        """Where the lines end then, -1 where there is no room."""
        lines = encode(rows)
        start = self._end
        end = start + len(lines)
        if end > self._size:
            return -1
        self._memory[start:end] = lines
        _HEADER.pack_into(self._memory, 0, end - _HEADER.size)
        return end


def read_journal(fd: int, size: int) -> bytes:
    """The complete lines in a journal's memory."""
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
        length = _HEADER.unpack_from(memory)[0]
        return memory[_HEADER.size : _HEADER.size + length]
