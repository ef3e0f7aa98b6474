"""Delays out of captures: how much later a frame is seen at a second place, or for the second time.

A frame is told by its bytes behind the Ethernet header. What a link does to it happens in the queue of the NIC by which
it leaves, before that NIC sees it go: a link's delay lies between what saw the frame before that and what sees it next.
Captures of this testbed say of each sighting at which interface it was and which way the frame went, so that one file
of a run is enough; so do others in pcapng, as far as they go.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from testbed.pcapng import EPB_FLAGS, IF_NAME, IF_TSOFFSET, IF_TSRESOL, INBOUND, OUTBOUND

PCAPNG = bytes.fromhex("0a0d0d0a")
PCAP = tuple(bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1"))
MOST_SAMPLES = 10_000_000

_ETHERNET_HEADER = 14
_NS_PER_S = 1_000_000_000
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_LITTLE_ENDIAN = bytes.fromhex("4d3c2b1a")
_MICROSECONDS = 6  # the resolution of an interface that does not say any
_WAYS = 3  # the lowest two bits of a packet's flags


class Sighting(NamedTuple):
    """A frame at an interface ("": unknown). way: INBOUND, OUTBOUND or 0, which is unknown too."""

    frame: bytes
    at_ns: int
    interface: str
    way: int


def delays_between(file: Path, received: Path | None, between: tuple[str, str] | None) -> tuple[list[float], str]:
    """The delays (ns) of frames, and where they were found. Raises ValueError, one line, when that can't be said.

    From ``file`` to ``received`` when that is given, else from a frame's first sighting in ``file`` to its second.
    between: only from the one interface to the other.
    """
    sent = sightings(file)
    if received is None:
        if between is None:
            _one_crossing(file, sent)
            delays = _successive(sent)
            where = "a first time and a second"
        else:
            _known(file, sent, between)
            starts, ends = _at(sent, between[0], INBOUND), _at(sent, between[1], OUTBOUND)
            delays, where = _paired(starts, ends), f"{between[0]} and {between[1]}"
    else:
        arrived = sightings(received)
        if between is not None:
            _known(file, sent, between[:1])
            _known(received, arrived, between[1:])
        first, second = between or ("", "")
        delays = _paired(_at(sent, first, INBOUND), _at(arrived, second, OUTBOUND))
        where = f"{file.name} and {received.name}"
    if not delays:
        raise ValueError(f"{file.name}: no frame is seen at {where}")
    if not any(delays):
        raise ValueError(
            f"{file.name}: both ends of a wire see a frame at the same time, for a link's queue comes before either; "
            "take interfaces between which a frame is queued, such as those of two hosts"
        )
    if any(delay < 0 for delay in delays):
        raise ValueError(f"{file.name}: some frames arrive before they leave; were the captures' clocks the same?")
    return delays, where


def sightings(file: Path) -> list[Sighting]:
    """All that a capture, pcapng or pcap, has seen."""
    try:
        data = file.read_bytes()
        reader = _of_pcapng(data) if data.startswith(PCAPNG) else _of_pcap(file)
        found = list(islice(reader, MOST_SAMPLES + 1))
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise ValueError(f"{file.name} can't be read as a capture: {error or 'it ends early'}") from None
    if len(found) > MOST_SAMPLES:
        raise ValueError(f"{file.name}: more than {MOST_SAMPLES} frames")
    return found


# -- inside ----------------------------------------------------------------------------------------------------------


def _at(found: list[Sighting], interface: str, but: int) -> list[Sighting]:
    """What was seen there ("": anywhere), but for what went the way ``but``."""
    return [one for one in found if one.way != but and interface in ("", one.interface)]


def _paired(starts: list[Sighting], ends: list[Sighting]) -> list[float]:
    left: dict[bytes, int] = {}
    for one in starts:
        left.setdefault(one.frame, one.at_ns)
    return [float(one.at_ns - left.pop(one.frame)) for one in ends if one.frame in left]


def _successive(found: list[Sighting]) -> list[float]:
    left: dict[bytes, int] = {}
    delays = []
    for frame, at_ns, _, _ in found:
        if frame in left:
            delays.append(float(at_ns - left.pop(frame)))
        else:
            left[frame] = at_ns
    return delays


def _known(file: Path, found: list[Sighting], interfaces: tuple[str, ...]) -> None:
    there = sorted({one.interface for one in found})
    for name in interfaces:
        if name not in there:
            named = ", ".join(filter(None, there)) or "none that is named"
            raise ValueError(f"{file.name} has no frames of the interface {name!r}; there are {named[:200]}")


def _one_crossing(file: Path, found: list[Sighting]) -> None:
    """Raises ValueError where the sightings are at more than two interfaces: which crossing is meant?"""
    there = {one.interface for one in found}
    if len(there) <= 2:
        return
    first: dict[bytes, str] = {}
    last: dict[bytes, str] = {}
    for one in found:
        last[one.frame] = one.interface
        first.setdefault(one.frame, one.interface)
    crossings = Counter((first[frame], last[frame]) for frame in first)
    ((start, end), _) = crossings.most_common(1)[0]
    raise ValueError(
        f"{file.name} has frames of {len(there)} interfaces; say from which to which, as between: [{start}, {end}]"
    )


class _Interface(NamedTuple):
    name: str
    ticks: int  # a second
    offset_ns: int


def _of_pcapng(data: bytes) -> Iterator[Sighting]:
    at, order, known = 0, "<", list[_Interface]()
    while at < len(data):
        if data[at : at + 4] == PCAPNG:
            order, known = "<" if data[at + 8 : at + 12] == _LITTLE_ENDIAN else ">", []
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if size < 12 or size % 4 or at + size > len(data):
            raise ValueError("a block is damaged, or the file ends early")
        body = data[at + 8 : at + size - 4]
        at += size
        if kind == _INTERFACE:
            known.append(_interface(body, order))
        elif kind == _SIMPLE:
            raise ValueError("its packets carry no time")
        elif kind == _ENHANCED:
            number, high, low, captured, _ = struct.unpack_from(f"{order}IIIII", body)
            if number >= len(known):
                raise ValueError("a packet's interface is not described")
            interface, wire = known[number], body[20 : 20 + captured]
            stamp_ns = (high << 32 | low) * _NS_PER_S // interface.ticks + interface.offset_ns
            flags = _options(body[20 + captured + -captured % 4 :], order).get(EPB_FLAGS, bytes(4))
            way = struct.unpack(f"{order}I", flags)[0] & _WAYS
            yield Sighting(wire[_ETHERNET_HEADER:], stamp_ns, interface.name, way)


def _interface(body: bytes, order: str) -> _Interface:
    told = _options(body[8:], order)
    resolution = told.get(IF_TSRESOL, bytes([_MICROSECONDS]))[0]
    ticks = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    (offset_s,) = struct.unpack(f"{order}q", told.get(IF_TSOFFSET, bytes(8)))
    return _Interface(told.get(IF_NAME, b"").decode(errors="replace"), ticks, offset_s * _NS_PER_S)


def _options(data: bytes, order: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(f"{order}HH", data, at)
        if code == 0:
            break
        found[code] = data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4
    return found


def _of_pcap(file: Path) -> Iterator[Sighting]:
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    try:
        with RawPcapReader(str(file)) as reader:
            scale = 1 if reader.nano else 1000
            for wire, seen in reader:
                yield Sighting(wire[_ETHERNET_HEADER:], seen.sec * _NS_PER_S + seen.usec * scale, "", 0)
    except Scapy_Exception as error:
        raise ValueError(str(error)) from None
