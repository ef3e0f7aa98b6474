"""What a capture left (testbed.engines.live.capture), read after the run: which frame was seen where and when.

In columns, and each frame's bytes once: a frame is seen at every interface on its way.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nodes.frames import Frame, FrameError, decode
from testbed.columns import codes
from testbed.engines.live.capture import BLOCK
from testbed.plan import Nic
from topologies.fabric import Fabric

_NEXT = struct.Struct("=I")  # begins a packet's header: how far it is to the next one
_SNAPLEN_AT, _MAC_AT = 12, 24
_OUTGOING = 4
_PACKET = np.dtype(
    {  # struct tpacket3_hdr, and behind it struct sockaddr_ll
        "names": ["s", "ns", "snaplen", "mac", "ifindex", "kind"],
        "formats": ["u4", "u4", "u4", "u2", "i4", "u1"],
        "offsets": [4, 8, _SNAPLEN_AT, _MAC_AT, 52, 58],
        "itemsize": 60,
    }
)
_NOWHERE = -1
_NONE = np.empty(0, dtype=np.int64)


class Sightings(NamedTuple):
    """Frames seen at interfaces, one a row, in the order in which the kernel showed them.

    at_ns: since the epoch. place: the interface, by its ifindex or by a number that whoever reads gives it. outgoing:
    it left there, or it came in. wire: its bytes, a place in ``wires``.
    """

    at_ns: NDArray[np.int64]
    place: NDArray[np.int64]
    outgoing: NDArray[np.bool_]
    wire: NDArray[np.int64]
    wires: list[bytes]

    def take(self, rows: NDArray[np.intp]) -> Sightings:
        """Some of them."""
        return Sightings(self.at_ns[rows], self.place[rows], self.outgoing[rows], self.wire[rows], self.wires)


def read_sightings(path: Path) -> Sightings:
    """The frames in a file of blocks, their interfaces by ifindex. A block cut off ends the file."""
    return sightings_in(path.read_bytes())


def sightings_in(data: bytes) -> Sightings:
    """The frames in blocks that stand one behind the other, as in read_sightings."""
    starts = np.concatenate([_NONE, *_packets(data)])
    found = _cut(data, starts, _PACKET.itemsize).view(_PACKET)[:, 0]
    places: dict[bytes, int] = {}
    wire = codes(_wires(data, starts + found["mac"], found["snaplen"]), places)
    return Sightings(
        found["s"].astype(np.int64) * 1_000_000_000 + found["ns"],
        found["ifindex"].astype(np.int64),
        found["kind"] == _OUTGOING,
        wire.astype(np.int64),
        list(places),
    )


def _cut(data: bytes, begins: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """So many bytes from each of these places on, one row each."""
    if not len(begins):
        return np.empty((0, size), dtype=np.uint8)
    return sliding_window_view(np.frombuffer(data, dtype=np.uint8), size)[begins]


def _wires(data: bytes, begins: NDArray[np.int64], sizes: NDArray[np.uint32]) -> list[bytes]:
    """The frames' bytes. Those of one size are the usual thing, and are cut at once."""
    if len(sizes) and (sizes == sizes[0]).all():
        wires: list[bytes] = _cut(data, begins, int(sizes[0])).view(f"V{sizes[0]}")[:, 0].tolist()
        return wires
    return [data[begin : begin + size] for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True)]


def _packets(data: bytes) -> Iterator[NDArray[np.int64]]:
    """Where the packets of whole blocks begin, block by block."""
    begin = 0
    while begin + BLOCK.size <= len(data):
        _, _, _, packets, first, length = BLOCK.unpack_from(data, begin)
        if begin + length > len(data):
            break
        if packets:
            yield _packets_of_block(data, begin + first, packets, begin + length)
        begin += length


def _packets_of_block(data: bytes, first: int, packets: int, end: int) -> NDArray[np.int64]:
    """Where these packets begin. Where all frames are of one size they stand at one distance, which needs no walk."""
    step = _NEXT.unpack_from(data, first)[0]
    if first + packets * step <= end:
        even: NDArray[np.int64] = first + step * np.arange(packets, dtype=np.int64)
        if (_cut(data, even[:-1], _NEXT.size).view(np.uint32) == step).all():
            return even
    starts = [first]
    for _ in range(packets - 1):
        starts.append(starts[-1] + _NEXT.unpack_from(data, starts[-1])[0])
    return np.array(starts, dtype=np.int64)


def join(parts: Sequence[Sightings]) -> Sightings:
    """One behind the other."""
    if not parts:
        return Sightings(_NONE, _NONE, _NONE.astype(np.bool_), _NONE, [])
    ends = list(accumulate(len(part.wires) for part in parts))
    return Sightings(
        np.concatenate([part.at_ns for part in parts]),
        np.concatenate([part.place for part in parts]),
        np.concatenate([part.outgoing for part in parts]),
        np.concatenate([part.wire + before for part, before in zip(parts, [0, *ends], strict=False)]),
        [wire for part in parts for wire in part.wires],
    )


def at_all_nics(fabric: Fabric, places: Sequence[Nic], seen: Sightings) -> tuple[list[Nic], Sightings]:
    """At captured interfaces as seen, at hosts' own NICs derived from their neighbours.

    A veth passes a frame on in no time: what came into a switch's port left the host's NIC at that instant, and what
    left the port arrived at the host. So where a port leads to a host, a sighting is two: out at one end, in at the
    other.
    """
    found, far_ends = list(places), _host_ends(fabric)
    far = np.full(len(found), _NOWHERE)
    for number, nic in enumerate(places):
        if nic in far_ends:
            far[number] = len(found)
            found.append(far_ends[nic])
    paired = far[seen.place] != _NOWHERE
    row = np.repeat(np.arange(len(paired)), 1 + paired)
    second = np.append(False, row[1:] == row[:-1]) if len(row) else row.astype(np.bool_)
    out = np.where(paired[row], ~second, seen.outgoing[row])
    here = seen.place[row]
    place = np.where(out == seen.outgoing[row], here, far[here])
    return found, Sightings(seen.at_ns[row], place, out, seen.wire[row], seen.wires)


def _host_ends(fabric: Fabric) -> dict[Nic, Nic]:
    """A switch's port that leads to a host -> that host's NIC."""
    switches = set(fabric.switches)
    ends = {}
    for link in fabric.links:
        for one, other in ((link.a, link.b), (link.b, link.a)):
            if one.node in switches and other.node not in switches:
                ends[one.node, one.nic] = (other.node, other.nic)
    return ends


def identify(wire: bytes) -> tuple[Frame, bool] | None:
    """The frame that ``wire`` carries and whether it is corrupt; None when it cannot be told.

    netem corrupts the last byte in the virtual-time kernel, as often as it likes, and one bit each time in a stock one.
    The CRC is linear, so the difference between the sum and what it should be names the last byte's change, or one or
    two wrong bits anywhere, and the frame is known exactly all the same.
    """
    try:
        return decode(wire), False
    except FrameError as error:
        if error.reason != "corrupt":
            return None
    covered, crc = wire[:-4], int.from_bytes(wire[-4:], "big")
    repaired = bytearray(wire)
    difference = zlib.crc32(covered) ^ crc
    if difference <= 0xFF:
        repaired[-1] ^= difference
    else:
        wrong = _wrong_bits(difference, len(covered))
        if wrong is None:
            return None
        for bit in wrong:
            repaired[bit // 8] ^= 1 << bit % 8
    try:
        return decode(bytes(repaired)), True
    except FrameError:
        return None


def _wrong_bits(difference: int, size: int) -> tuple[int, ...] | None:
    """The one or two bits (8 * byte + place in it) whose flipping makes this difference, if there are such."""
    table = _syndromes(size)
    if difference in table:
        return (table[difference],)
    for syndrome, bit in table.items():
        other = table.get(syndrome ^ difference)
        if other is not None:
            return bit, other
    return None


@cache
def _syndromes(size: int) -> dict[int, int]:
    """What a single wrong bit in ``size`` bytes, or in the CRC behind them, does to its check -> which bit it is (8 *
    byte + place in it)."""
    right = zlib.crc32(bytes(size))
    table = {1 << 8 * (3 - byte) + place: 8 * (size + byte) + place for byte in range(4) for place in range(8)}
    for bit in range(8 * size):
        body = bytearray(size)
        body[bit // 8] = 1 << bit % 8
        table[zlib.crc32(body) ^ right] = bit
    return table
