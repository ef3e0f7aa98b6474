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

from testbed.columns import codes
from testbed.engines.live.capture import BLOCK
from testbed.nodes.frames import (
    BODY_BYTES,
    ETHERTYPE,
    HEAD_FIELDS,
    VERSION,
    WIRE_BYTES,
    Frame,
    FrameError,
    Kind,
    decode,
)
from testbed.plan import Nic
from testbed.topologies.fabric import Fabric

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
_FORMS = {"6s": "V6", "x": "V1", "B": "u1", "H": ">u2", "I": ">u4"}
_SLOT = np.dtype([*((name, _FORMS[form]) for name, form in HEAD_FIELDS), ("body", f"V{BODY_BYTES}"), ("crc", ">u4")])
assert _SLOT.itemsize == WIRE_BYTES
_NOWHERE = -1
_NUMBER = np.dtype(np.uint64)
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
    wire, wires = _wires(data, starts + found["mac"], found["snaplen"])
    return Sightings(
        found["s"].astype(np.int64) * 1_000_000_000 + found["ns"],
        found["ifindex"].astype(np.int64),
        found["kind"] == _OUTGOING,
        wire,
        wires,
    )


def _cut(data: bytes, begins: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """So many bytes from each of these places on, one row each."""
    if not len(begins):
        return np.empty((0, size), dtype=np.uint8)
    return sliding_window_view(np.frombuffer(data, dtype=np.uint8), size)[begins]


def _wires(data: bytes, begins: NDArray[np.int64], sizes: NDArray[np.uint32]) -> tuple[NDArray[np.int64], list[bytes]]:
    """Which of the frames' bytes begin at each place, and those, in the order in which they come. Those of one size are
    the usual thing, and are told apart at once."""
    size = int(sizes[0]) if len(sizes) and (sizes == sizes[0]).all() else 0
    if size >= _NUMBER.itemsize:
        rows = _cut(data, begins, size)
        found = _alike(rows)
        if found is not None:
            which, first = found
            return which, [wire.tobytes() for wire in rows[first]]
    places: dict[bytes, int] = {}
    cut = [data[begin : begin + size] for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True)]
    return codes(cut, places).astype(np.int64), list(places)


def _alike(rows: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.intp]] | None:
    """Which of the different rows each one is, and where each of those comes first; None where a sum over a row's bytes
    does not tell them apart."""
    whole = np.zeros((len(rows), -(-rows.shape[1] // _NUMBER.itemsize) * _NUMBER.itemsize), dtype=np.uint8)
    whole[:, : rows.shape[1]] = rows
    numbers = whole.view(_NUMBER)
    sums = numbers @ _weights(numbers.shape[1])
    _, first, which = np.unique(sums, return_index=True, return_inverse=True)
    if (numbers != numbers[first[which]]).any():
        return None
    by_first = np.argsort(first)
    return np.argsort(by_first)[which], first[by_first]


@cache
def _weights(count: int) -> NDArray[np.uint64]:
    """Odd numbers without a pattern, the same in each run."""
    return np.random.default_rng(count).integers(0, 1 << 64, count, dtype=np.uint64) | np.uint64(1)


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


FRAME_COLUMNS = ("key_src", "key_epoch", "key_seq", "dst", "round", "step", "corrupt")
"""What a history's hops tell of a frame."""


def identify_all(wires: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of these frames can be told, and the FRAME_COLUMNS of all, a row each; zeros for those that can't be.

    Slots that nothing is wrong with are the usual thing, and are read at once.
    """
    known, columns = np.zeros(len(wires), dtype=np.bool_), np.zeros((len(wires), len(FRAME_COLUMNS)), dtype=np.int64)
    slots = np.array([place for place, wire in enumerate(wires) if len(wire) == WIRE_BYTES], dtype=np.intp)
    found = np.frombuffer(b"".join([wires[place] for place in slots.tolist()]), dtype=_SLOT)
    crc = np.array([zlib.crc32(wires[place][: -_NEXT.size]) for place in slots.tolist()], dtype=np.uint32)
    whole = (found["crc"] == crc) & (found["ethertype"] == ETHERTYPE) & (found["length"] == BODY_BYTES)
    whole &= (found["lead"] >> 4 == VERSION) & np.isin(found["lead"] & 0x0F, list(Kind))
    known[slots[whole]] = True
    for column, name in enumerate(("src", "epoch", "seq", "dst", "round", "step")):
        columns[slots[whole], column] = found[name][whole]
    for place in np.flatnonzero(~known).tolist():
        told = identify(wires[place])
        if told is not None:
            frame, corrupt = told
            known[place] = True
            columns[place] = (*frame.key, frame.dst, frame.message.round, frame.message.step, corrupt)
    return known, columns


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
