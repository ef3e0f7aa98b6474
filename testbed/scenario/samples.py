"""Measured delays from a user's file: a CSV column, or frames seen twice in captures."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

from testbed.scenario.units import parse_time
from topologies.tables import table_from_samples

Table = tuple[float, float, tuple[int, ...]]
"""Mean (ns), standard deviation (ns), netem's table."""

_Stamps = tuple[tuple[int, int], ...]
_UNITS_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
_CAPTURES = (".pcap", ".pcapng", ".cap")
_ETHERNET_HEADER = 14
_MOST_SAMPLES = 10_000_000


def load_table(file: Path, column: str | int, unit: str, received: Path | None) -> Table:
    """Mean, deviation and table of the delays in ``file``. Raises ValueError, one line, when there are none.

    CSV: the values of ``column`` (a name from the header line, or a number counted from 1), in ``unit`` or with units
    of their own. Captures: how much later each frame (told by its bytes behind the Ethernet header) is seen in
    ``received``, or for the second time in the one file.
    """
    stamps = tuple(_stamp(path) for path in (file, received) if path is not None)
    return _load(file, column, unit, received, stamps)


@lru_cache(maxsize=64)
def _load(file: Path, column: str | int, unit: str, received: Path | None, _stamps: _Stamps) -> Table:
    captured = file.suffix.lower() in _CAPTURES
    delays = capture_delays(file, received) if captured else csv_delays(file, column, unit)
    try:
        return table_from_samples(delays)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}; found {len(delays)}") from None


def csv_delays(file: Path, column: str | int, unit: str) -> list[float]:
    """The delays (ns) in a column of a CSV file."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file.name} can't be read as CSV: {error}") from None
    place, skip = _place(file, rows, column)
    delays = []
    for number, row in enumerate(rows[skip:], start=skip + 1):
        try:
            delays.append(_value_ns(row[place], unit))
        except (IndexError, ValueError):
            raise ValueError(f"{file.name}: row {number} holds no delay in column {column}") from None
    return delays


def capture_delays(file: Path, received: Path | None = None) -> list[float]:
    """The delays (ns) between a frame's first sighting and its second (in ``received`` when given)."""
    sent: dict[bytes, int] = {}
    delays: list[float] = []
    for payload, at_ns in _frames(file):
        if payload not in sent:
            sent[payload] = at_ns
        elif received is None:
            delays.append(float(at_ns - sent.pop(payload)))
    if received is not None:
        delays = [float(at_ns - sent.pop(payload)) for payload, at_ns in _frames(received) if payload in sent]
    if any(delay < 0 for delay in delays):
        raise ValueError(f"{file.name}: some frames arrive before they leave; were the captures' clocks the same?")
    return delays


def _frames(file: Path) -> list[tuple[bytes, int]]:
    from scapy.error import Scapy_Exception
    from scapy.utils import PcapReader

    try:
        with PcapReader(str(file)) as reader:
            found = []
            for packet in reader:
                found.append((bytes(packet.original)[_ETHERNET_HEADER:], round(packet.time * 10**9)))
                if len(found) > _MOST_SAMPLES:
                    raise ValueError(f"{file.name}: more than {_MOST_SAMPLES} frames")
            return found
    except (OSError, Scapy_Exception, EOFError) as error:
        raise ValueError(f"{file.name} can't be read as a capture: {error}") from None


def _place(file: Path, rows: list[list[str]], column: str | int) -> tuple[int, int]:
    """(index of the column, header lines)."""
    if not rows:
        raise ValueError(f"{file.name} is empty")
    if isinstance(column, str):
        header = [cell.strip() for cell in rows[0]]
        if column not in header:
            raise ValueError(f"{file.name} has no column {column!r}; there are {', '.join(header)[:200]}")
        return header.index(column), 1
    try:
        _value_ns(rows[0][column - 1], "ns")
    except (ValueError, IndexError):
        return column - 1, 1
    return column - 1, 0


def _value_ns(cell: str, unit: str) -> float:
    text = cell.strip()
    value = float(parse_time(text)) if text[-1:].isalpha() and text[:1].isdigit() else float(text) * _UNITS_NS[unit]
    if not 0 <= value < 1e15:
        raise ValueError("out of range")
    return value


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does, so that what was read from it is not used again."""
    try:
        facts = path.stat()
    except OSError as error:
        raise ValueError(f"{path.name} can't be read: {error.strerror}") from None
    return facts.st_mtime_ns, facts.st_size
