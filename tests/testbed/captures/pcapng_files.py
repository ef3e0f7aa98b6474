"""Captures read back by Scapy, with interfaces, directions and nanoseconds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from scapy.utils import RawPcapNgReader

IN, OUT = 1, 2


class Seen(NamedTuple):
    interface: str
    way: int
    at_ns: int
    wire: bytes


def packets(path: Path) -> list[Seen]:
    with RawPcapNgReader(str(path)) as reader:
        return [Seen(text(meta.ifname), meta.direction, stamp(meta), wire) for wire, meta in reader]


def text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def stamp(meta: RawPcapNgReader.PacketMetadata) -> int:
    return meta.tshigh << 32 | meta.tslow
