"""Measured delays from a user's file, whose form is told by what stands in it: frames seen twice in captures, what
``ping``, OWAMP's ``owping`` and ``sockperf`` print, or a column of a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from testbed.scenario.model import MeasuredDelays
from testbed.topologies.tables import table_from_samples

Table = tuple[float, float, tuple[int, ...]]
"""Mean (ns), standard deviation (ns), netem's table."""

DELAY, ROUND_TRIP = "delay", "rtt"
"""What a value may be: of one way, or there and back again."""

_UNIT_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
_DEFAULT_UNIT = "us"
_UNIT_WORDS = {
    "ns": "ns", "nsec": "ns", "us": "us", "µs": "us", "μs": "us", "usec": "us", "ms": "ms", "msec": "ms", "s": "s",
    "sec": "s", "seconds": "s",
}  # fmt: skip
_ANY_UNIT = "|".join(_UNIT_WORDS)
_WITH_UNIT = re.compile(rf"([+-]?[\d.,]+(?:[eE][+-]?\d+)?)\s*({_ANY_UNIT})", re.IGNORECASE)
_BEFORE_UNIT = re.compile(rf"(?<=\d)\s+(?=(?:{_ANY_UNIT})\b)", re.IGNORECASE)
_NAMED_UNIT = re.compile(rf"(?:^|[\s_.(\[/-])({_ANY_UNIT})[)\]]?$", re.IGNORECASE)

_PING = re.compile(r"(?:icmp_)?seq[= ]\d+.*\btime[=<]([\d.]+) ?(ms|us|s)\b(.*)")
_OWPING_RAW = re.compile(r"(\d+)\s+(\d{15,20})\s+([01])\s+\S+\s+(\d{1,20})\s+([01])\s+\S+(?:\s+\d+)?")
_OWPING_TOLD = re.compile(r"seq_no=\d+\s+(?:delay=(-?[\d.eE+-]+)\s*(ns|us|ms|s)\b|\*LOST\*)")
_SOCKPERF = re.compile(r"packet,\s*txTime\(sec\),\s*rxTime\(sec\),\s*(\w+)\(usec\)")
_OWAMP_TICKS = 1 << 32  # a second, in its stamps

_NOTHING = {"", "-", "*", "?", "na", "n/a", "nan", "null", "none", "lost", "timeout"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d?:\d\d\b|\d\d?[./]\d\d?[./]\d{2,4}\b")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?=\D*$)")
_EPOCH_S = (1e9, 2.2e9)  # from 2001 to 2039
_EPOCH_SPREAD = 1e-3
_FEW = 8
"""Values of which nobody can tell whether they grow as a clock does."""
_SETBACKS = 0.05
"""The most steps of a clock that go back, for stamps may be written out of order; of delays about half do."""
_LOOKED_AT = 200
"""Lines by which a form is told."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Delays of one way (ns), in the file's order. origin: where they come from and what was made of them."""

    delays_ns: tuple[float, ...]
    origin: str

    def table(self) -> Table:
        """What they say to netem. Raises ValueError for fewer than two different ones."""
        return table_from_samples(self.delays_ns)


def load_samples(source: MeasuredDelays, base_dir: Path) -> Samples:
    """The delays that ``source`` names, from ``base_dir`` on. Raises ValueError, one line, when there are none."""
    file = base_dir / source.file
    received = base_dir / source.received if source.received else None
    stamps = tuple(_stamp(path) for path in (file, received) if path is not None)
    return _load(file, received, source, stamps)[0]


def load_table(source: MeasuredDelays, base_dir: Path) -> Table:
    """As load_samples: their table."""
    file = base_dir / source.file
    received = base_dir / source.received if source.received else None
    stamps = tuple(_stamp(path) for path in (file, received) if path is not None)
    return _load(file, received, source, stamps)[1]


@lru_cache(maxsize=64)
def _load(
    file: Path, received: Path | None, source: MeasuredDelays, _stamps: tuple[tuple[int, int], ...]
) -> tuple[Samples, Table]:
    samples = _read(file, received, source)
    try:
        return samples, samples.table()
    except ValueError as error:
        raise ValueError(f"{file.name} ({samples.origin}): {error}; found {len(samples.delays_ns)}") from None


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does, so that what was read from it is not used again."""
    try:
        facts = path.stat()
    except OSError as error:
        raise ValueError(f"{path.name} can't be read: {error.strerror}; is the name right?") from None
    return facts.st_mtime_ns, facts.st_size


def _read(file: Path, received: Path | None, source: MeasuredDelays) -> Samples:
    from testbed.scenario.sightings import MOST_SAMPLES, PCAP, PCAPNG, delays_between  # numpy: most have no samples

    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise ValueError(f"{file.name} can't be read: {error.strerror}; is the name right?") from None
    if magic == PCAPNG or magic in PCAP:
        _refuse(file, source, "a capture", ("column", "unit"))
        delays, where = delays_between(file, received, source.between)
        return _of_ways(delays, source.of or DELAY, f"a capture: {_counted(delays, 'frame')} seen at {where}")
    lines = _text(file, magic).splitlines()
    if len(lines) > MOST_SAMPLES:
        raise ValueError(f"{file.name}: more than {MOST_SAMPLES} lines")
    for name, recognised, read in _FORMS:
        if any(recognised(line) for line in lines[:_LOOKED_AT]):
            _refuse(file, source, name, ("column", "unit", "received", "between"))
            return read(file, lines, source)
    _refuse(file, source, "a table", ("received", "between"))
    return _of_table(file, lines, source)


def _text(file: Path, magic: bytes) -> str:
    if magic[:2] == b"\x1f\x8b":
        raise ValueError(f"{file.name} is compressed; unpack it first (gunzip)")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file.name} is neither a capture nor text in UTF-8; convert it (iconv -t utf-8)") from None
    if "\0" in text:
        raise ValueError(f"{file.name} is neither a capture nor text: it holds zero bytes")
    if not text.strip():
        raise ValueError(f"{file.name} is empty")
    return text


def _refuse(file: Path, source: MeasuredDelays, form: str, keys: Sequence[str]) -> None:
    """Keys that mean nothing for this form are not passed over in silence."""
    for key in keys:
        if getattr(source, key) is not None:
            raise ValueError(f"{file.name} is {form}, which has no {key!r}; leave that key out")


def _of_ways(values_ns: Sequence[float], of: str, origin: str) -> Samples:
    """Of round trips the halves, as if both ways had taken the same, which is said."""
    if of == DELAY:
        return Samples(tuple(values_ns), origin)
    return Samples(tuple(value / 2 for value in values_ns), f"{origin}; halved, as if both ways took the same")


def _counted(values: Sequence[object], what: str) -> str:
    return f"{len(values):,} {what}{'' if len(values) == 1 else 's'}"


# -- what programs print ---------------------------------------------------------------------------------------------


def _of_ping(_file: Path, lines: Sequence[str], source: MeasuredDelays) -> Samples:
    """Answers that came twice count once: the second copy is no journey of its own."""
    found = [match for match in map(_PING.search, lines) if match and "DUP" not in match[3]]
    values = [float(match[1]) * _UNIT_NS[match[2]] for match in found]
    return _of_ways(values, source.of or ROUND_TRIP, f"{_counted(values, 'round trip')} of ping")


def _of_owping_raw(file: Path, lines: Sequence[str], source: MeasuredDelays) -> Samples:
    """``SEQNO STIME SS SERR RTIME RS RERR TTL``: stamps in units of 2^-32 s; of what was lost the second one is 0."""
    found = [match for match in map(_OWPING_RAW.fullmatch, map(str.strip, lines)) if match]
    arrived = [match for match in found if int(match[4])]
    values = [(int(match[4]) - int(match[2])) * 1e9 / _OWAMP_TICKS for match in arrived]
    unset = sum("0" in (match[3], match[5]) for match in arrived)
    clocks = f", {unset:,} by clocks that nothing set" if unset else ""
    return _one_way(file, values, source, f"{_counted(values, 'record')} of owping -R{clocks}", len(found))


def _of_owping_told(file: Path, lines: Sequence[str], source: MeasuredDelays) -> Samples:
    found = [match for match in map(_OWPING_TOLD.search, lines) if match]
    values = [float(match[1]) * _UNIT_NS[match[2]] for match in found if match[1]]
    return _one_way(file, values, source, f"{_counted(values, 'record')} of owping -v", len(found))


def _one_way(file: Path, values: list[float], source: MeasuredDelays, origin: str, sent: int) -> Samples:
    if any(value < 0 for value in values):
        raise ValueError(f"{file.name}: some packets arrive before they leave; set the clocks of both ends (NTP, PTP)")
    lost = sent - len(values)
    return _of_ways(values, source.of or DELAY, origin + (f", {lost:,} lost" if lost else ""))


def _of_sockperf(file: Path, lines: Sequence[str], source: MeasuredDelays) -> Samples:
    """``--full-log``: behind its heading a row for each message; ``latency`` there is half of a round trip already."""
    at, heading = next((at, match) for at, match in enumerate(map(_SOCKPERF.search, lines)) if match)
    values = []
    for number, line in enumerate(lines[at + 1 :], start=at + 2):
        cells = line.split(",")
        if len(cells) != 4:
            break
        try:
            values.append(float(cells[3]) * _UNIT_NS["us"])
        except ValueError:
            raise ValueError(f"{file.name}: line {number} of sockperf's log holds no delay") from None
    whole = heading[1] == ROUND_TRIP
    told = f"{_counted(values, 'round trip' if whole else 'latency' if len(values) == 1 else 'latencie')} of sockperf"
    return _of_ways(values, source.of or (ROUND_TRIP if whole else DELAY), told)


_FORMS: tuple[tuple[str, Callable[[str], object], Callable[[Path, Sequence[str], MeasuredDelays], Samples]], ...] = (
    ("what ping prints", _PING.search, _of_ping),
    ("a log of sockperf", _SOCKPERF.search, _of_sockperf),
    ("what owping -R prints", lambda line: _OWPING_RAW.fullmatch(line.strip()), _of_owping_raw),
    ("what owping -v prints", _OWPING_TOLD.search, _of_owping_told),
)
"""What each is, whether a line is of it, and how it is read."""


# -- tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """values: None where nothing stands; an index of ``cells`` in place of all when one is no number."""

    number: int
    name: str
    cells: tuple[str, ...]
    values: tuple[float | None, ...] | int

    @property
    def called(self) -> str:
        """``2 (rtt_ms)``."""
        return f"{self.number} ({self.name})" if self.name else str(self.number)

    @property
    def key(self) -> str:
        """As ``column:`` takes it."""
        return self.name or str(self.number)

    @property
    def delays(self) -> list[float]:
        """What stands there."""
        return [] if isinstance(self.values, int) else [value for value in self.values if value is not None]

    @property
    def why_times(self) -> str:
        """By what one sees that these are times, not delays; empty: they may be delays."""
        if isinstance(self.values, int):
            return "holds dates or times of day" if _DATE.search(self.cells[self.values]) else ""
        values = self.delays
        if len(values) < 2 or min(values) == max(values):
            return ""
        low, high = min(values), max(values)
        if any(
            _EPOCH_S[0] * unit <= low <= _EPOCH_S[1] * unit and high - low < low * _EPOCH_SPREAD
            for unit in (1, 1e3, 1e6, 1e9)
        ):
            return "holds times since 1970"
        back = sum(after < before for before, after in pairwise(values))
        return (
            "grows from row to row, as a clock does" if len(values) >= _FEW and back <= _SETBACKS * len(values) else ""
        )

    @property
    def may_be_delays(self) -> bool:
        """Whether its numbers look like some."""
        return len(set(self.delays)) > 1 and not self.why_times and min(self.delays) >= 0


def _of_table(file: Path, lines: Sequence[str], source: MeasuredDelays) -> Samples:
    rows, separator = _rows(file, lines)
    names = _names(rows[0])
    columns = _columns(rows, names, separator)
    if source.column is None and not any(map(_is_number, (cell for column in columns for cell in column.cells))):
        raise ValueError(
            f"{file.name} holds no delays: it is no capture, no table with numbers, and not what ping, owping or "
            "sockperf prints"
        )
    column = _chosen(file, columns, names, source)
    if why := column.why_times:
        raise ValueError(f"{file.name}: column {column.called} {why}: these are no delays; {_others(columns, column)}")
    if isinstance(column.values, int):
        row = column.values + 1 + bool(names)
        raise ValueError(f"{file.name}: row {row} holds no delay in column {column.key}")
    match = _NAMED_UNIT.search(column.name)
    unit = source.unit or (_UNIT_WORDS[match[1].lower()] if match else _DEFAULT_UNIT)
    values = [value * (1 if _has_unit(cell) else _UNIT_NS[unit]) for cell, value in _filled(column)]
    for row, value in enumerate(values, start=1 + bool(names)):
        if not 0 <= value < 1e15:
            raise ValueError(f"{file.name}: row {row} holds no delay in column {column.key}")
    left_out = len(column.cells) - len(values)
    missing = f", {left_out:,} rows without one" if left_out else ""
    in_unit = "with units of their own" if any(map(_has_unit, column.cells)) else f"in {unit}"
    told = f"{_counted(values, 'delay')} {in_unit} in column {column.called} of a table{missing}"
    return _of_ways(values, source.of or DELAY, told)


def _filled(column: _Column) -> list[tuple[str, float]]:
    assert not isinstance(column.values, int)
    return [(cell, value) for cell, value in zip(column.cells, column.values, strict=True) if value is not None]


def _rows(file: Path, lines: Sequence[str]) -> tuple[list[list[str]], str]:
    """The rows, without comments, and what separates their cells."""
    written = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not written:
        raise ValueError(f"{file.name} is empty")
    separator = next((mark for mark in (";", "\t", ",") if mark in written[0] and mark in written[-1]), "")
    if not separator:
        return _separated_by_blanks(written), separator
    try:
        return [[cell.strip() for cell in row] for row in csv.reader(written, delimiter=separator)], separator
    except csv.Error as error:
        raise ValueError(f"{file.name} can't be read as CSV: {error}") from None


def _separated_by_blanks(written: list[str]) -> list[list[str]]:
    """A name may have blanks where there is one column."""
    first, *body = map(_words, written)
    one_column = body and all(len(row) == 1 for row in body)
    return [[written[0].strip()] if one_column and len(first) > 1 else first, *body]


def _words(line: str) -> list[str]:
    """What blanks separate, but not a number from its unit."""
    return _BEFORE_UNIT.sub("", line).split()


def _names(first: list[str]) -> list[str]:
    """The names of the columns when the first row has them: when none of its cells is a number, nor a date."""
    named = not any(_is_number(cell) or _DATE.search(cell) for cell in first)
    return first if named and any(first) else []


def _is_number(cell: str) -> bool:
    return cell.lower() not in _NOTHING and (_number(cell, decimal_commas=True) is not None)


def _columns(rows: list[list[str]], names: list[str], separator: str) -> list[_Column]:
    body = rows[bool(names) :]
    found = []
    for place in range(max(map(len, rows))):
        cells = tuple(row[place] if place < len(row) else "" for row in body)
        name = names[place] if place < len(names) else ""
        found.append(_Column(place + 1, name, cells, _numbers(cells, separator != ",")))
    return found


def _numbers(cells: tuple[str, ...], decimal_commas: bool) -> tuple[float | None, ...] | int:
    """The numbers (ns where a cell has a unit of its own), or which cell is none."""
    values: list[float | None] = []
    for at, cell in enumerate(cells):
        value = None if cell.lower() in _NOTHING else _number(cell, decimal_commas)
        if value is None and cell.lower() not in _NOTHING:
            return at
        values.append(value)
    return tuple(values)


def _number(cell: str, decimal_commas: bool) -> float | None:
    text = cell.replace(",", ".") if decimal_commas and _DECIMAL_COMMA.match(cell) else cell
    match = _WITH_UNIT.fullmatch(text)
    try:
        return float(match[1]) * _UNIT_NS[_UNIT_WORDS[match[2].lower()]] if match else float(text)
    except ValueError:
        return None


def _has_unit(cell: str) -> bool:
    return _WITH_UNIT.fullmatch(cell) is not None


def _chosen(file: Path, columns: list[_Column], names: list[str], source: MeasuredDelays) -> _Column:
    """The column that was named; else the only one that looks like delays."""
    wanted = source.column
    if isinstance(wanted, str):
        for column in columns:
            if column.name == wanted:
                return column
        there = ", ".join(name for name in names if name)[:200] or "none that have names: give its number"
        raise ValueError(f"{file.name} has no column {wanted!r}; there are {there}")
    if wanted is not None:
        if wanted > len(columns):
            raise ValueError(f"{file.name} has no column {wanted}; it has {len(columns)}")
        return columns[wanted - 1]
    likely = [column for column in columns if column.may_be_delays]
    if len(columns) == 2 and not names and all(cell.isdigit() for column in columns for cell in column.cells):
        raise ValueError(
            f"{file.name}: two whole numbers a row may be two columns, or one number with a comma; "
            "say which column, or write numbers with a point"
        )
    if len(likely) > 1:
        called = ", ".join(column.called for column in likely)
        raise ValueError(f"{file.name}: columns {called} look like delays; say which, as column: {likely[0].key}")
    return likely[0] if likely else columns[0]


def _others(columns: list[_Column], but: _Column) -> str:
    likely = [column for column in columns if column.may_be_delays and column is not but]
    if likely:
        called = ", ".join(column.called for column in likely)
        return f"column {called} may be: say column: {likely[0].key}"
    return "no other column looks like some; if they are, and somebody sorted them, shuffle the rows (shuf)"
