"""The captured frames as pcapng (IETF draft-ietf-opsawg-pcapng) with nanosecond stamps, one interface per NIC.

Written here because the libraries at hand write microseconds. Engines that capture real frames write those bytes
(write_packets). For ``sim`` the frames are encoded anew from the history, with the addresses of the plan: a hop record
keeps a frame's identity (sender, epoch, number, round, step), and the record of its sending its size, not its whole
content. The body, ``peer_epoch`` and flags are zero, and a frame that was corrupted on its way has its checksum
inverted, for which bit was flipped is not known.
Frames dropped at an interface never were on the wire there and are left out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nodes.core.record import Sent
from nodes.frames import BODY_BYTES, WIRE_BYTES, Frame, FrameKey, Kind, Message, encode
from nodes.registry import engine_spec
from testbed.history import History, Hops, Ints, Mask, frame_ids
from testbed.plan import Plan

_NANOSECONDS = 9  # if_tsresol: stamps count 10^-9 s
_NS_PER_S = 1_000_000_000
_ETHERNET = 1
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET, _EPB_FLAGS, _SHB_USERAPPL = 2, 9, 14, 2, 4
_INBOUND, _OUTBOUND = 1, 2
_PACKETS_AT_ONCE = 1 << 15
_HEAD_WORDS, _TAIL_WORDS = 7, 4


@dataclass(frozen=True, slots=True)
class Packets:
    """Frames at interfaces, in columns. interface: its place among the names. wire: a place in ``wires``, which holds
    each frame's bytes once, however often it was seen. outgoing: which way it went."""

    interface: NDArray[np.int32]
    stamp_ns: Ints
    outgoing: Mask
    wire: Ints
    wires: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.stamp_ns)


def write_packets(path: Path, interfaces: Sequence[str], packets: Packets, offset_s: int = 0) -> None:
    """A capture of ``packets`` in the order given. offset_s: whole seconds that every stamp is less than its time, for
    stamps are unsigned."""
    with path.open("wb") as file:
        _block(file, 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options((_SHB_USERAPPL, b"oae-testbed")))
        for name in interfaces:
            options = [(_IF_NAME, name.encode()), (_IF_TSRESOL, bytes([_NANOSECONDS]))]
            if offset_s:
                options.append((_IF_TSOFFSET, struct.pack("<q", offset_s)))
            _block(file, 1, struct.pack("<HHI", _ETHERNET, 0, 0) + _options(*options))
        lengths = np.array([len(wire) for wire in packets.wires], dtype=np.int64)
        matrices = {length: _matrix(packets.wires, lengths, length) for length in set(lengths.tolist())}
        place = np.empty(len(lengths), dtype=np.int64)  # of a frame among those of its length
        for length in matrices:
            place[lengths == length] = np.arange(np.count_nonzero(lengths == length))
        for first in range(0, len(packets), _PACKETS_AT_ONCE):
            chunk = slice(first, first + _PACKETS_AT_ONCE)
            file.write(_packet_blocks(packets, chunk, offset_s, lengths, place, matrices))


def _matrix(wires: Sequence[bytes], lengths: Ints, length: int) -> NDArray[np.uint8]:
    """All frames of one length, padded to whole words, a row each."""
    padded = -(-length // 4) * 4
    chosen = [wires[number].ljust(padded, b"\0") for number in np.flatnonzero(lengths == length).tolist()]
    return np.frombuffer(b"".join(chosen), dtype=np.uint8).reshape(len(chosen), padded)


def _packet_blocks(
    packets: Packets, chunk: slice, offset_s: int, lengths: Ints, place: Ints, matrices: dict[int, NDArray[np.uint8]]
) -> bytes:
    """Enhanced packet blocks, one behind the other."""
    wire = packets.wire[chunk]
    sizes = 4 * (_HEAD_WORDS + _TAIL_WORDS) + -(-lengths[wire] // 4) * 4
    ends = np.cumsum(sizes)
    out = np.empty(int(ends[-1]), dtype=np.uint8)
    stamp = packets.stamp_ns[chunk] - offset_s * _NS_PER_S
    direction = np.where(packets.outgoing[chunk], _OUTBOUND, _INBOUND)
    for length in np.unique(lengths[wire]).tolist():
        rows = np.flatnonzero(lengths[wire] == length)
        matrix = matrices[length]
        block = np.empty(
            len(rows),
            dtype=[
                ("head", "<u4", (_HEAD_WORDS,)),
                ("wire", "u1", (matrix.shape[1],)),
                ("tail", "<u4", (_TAIL_WORDS,)),
            ],
        )
        size = block.dtype.itemsize
        head: list[Any] = [6, size, packets.interface[chunk][rows], stamp[rows] >> 32, stamp[rows] & 0xFFFFFFFF]
        for word, value in enumerate([*head, length, length]):
            block["head"][:, word] = value
        block["wire"] = matrix[place[wire[rows]]]
        for word, value in enumerate([4 << 16 | _EPB_FLAGS, direction[rows], 0, size]):
            block["tail"][:, word] = value
        raw = block.view(np.uint8).reshape(len(rows), size)
        if len(rows) == len(wire):
            return raw.tobytes()
        out[(ends - sizes)[rows][:, None] + np.arange(size)] = raw
    return out.tobytes()


def interface_name(node: str, nic: str) -> str:
    """What an interface is called in a capture: its node is always part of it."""
    return nic if nic.startswith(f"{node}-") else f"{node}-{nic}"


def write_capture(path: Path, plan: Plan, history: History) -> None:
    """All frames that crossed an interface, in the order of the history's hops. Without hops: a capture of nothing."""
    nics = [(end.node, end.nic) for link in plan.fabric.links for end in (link.a, link.b)]
    number = {nic: index for index, nic in enumerate(nics)}
    offset_s = min(0, int(history.hops.t_ns.min(initial=0)) // _NS_PER_S)
    interface = np.array([number.get(where, -1) for where in history.hops.places], dtype=np.int32)
    shown = history.hops.where("in", "out", "dup")
    shown[shown] = interface[history.hops.place[shown]] >= 0
    hops = history.hops.take(shown)
    (ids,) = frame_ids(hops)
    wire = 2 * ids + hops.corrupt  # as it was sent, and as it is once it was corrupted
    _, first, wire = np.unique(wire, return_index=True, return_inverse=True)
    wires = _wires(plan, hops, first, _long_ones(history))
    packets = Packets(interface[hops.place], hops.t_ns, hops.where("out", "dup"), wire, wires)
    write_packets(path, [interface_name(*nic) for nic in nics], packets, offset_s)


def _block(file: BinaryIO, kind: int, body: bytes) -> None:
    length = struct.pack("<I", len(body) + 12)
    file.write(struct.pack("<I", kind) + length + body + length)


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _long_ones(history: History) -> dict[FrameKey, int]:
    """The sizes of the frames that are longer than a slot."""
    sent = history.events.table(Sent)
    rows = np.flatnonzero(sent["size"] > WIRE_BYTES)
    columns = (sent[name][rows].tolist() for name in ("key_src", "key_epoch", "key_seq", "size"))
    return {FrameKey(src, epoch, seq): size for src, epoch, seq, size in zip(*columns, strict=True)}


def _wires(plan: Plan, hops: Hops, rows: Ints, sizes: dict[FrameKey, int]) -> list[bytes]:
    """From hop records back to the bytes on the wire, as far as the history knows them."""
    swaps = engine_spec(plan.protocol.consensus).made_of_swaps
    kind = Kind.SWAP if swaps else Kind.DATA
    addresses: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    wires = []
    for hop in hops.take(rows).rows():
        key = hop.key
        ends = (key.src, hop.dst)
        if ends not in addresses:
            addresses[ends] = _addresses(plan, *ends)
        body = bytes(sizes.get(key, WIRE_BYTES) - WIRE_BYTES + BODY_BYTES)
        frame = Frame(key, max(0, hop.dst), 0, Message(kind, max(0, hop.round), max(0, hop.step), body))
        wire = encode(frame, *addresses[ends])
        wires.append(wire[:-4] + bytes(byte ^ 0xFF for byte in wire[-4:]) if hop.corrupt else wire)
    return wires


def _addresses(plan: Plan, src: int, dst: int) -> tuple[bytes, bytes]:
    """Where frames of node ``src`` to ``dst`` go, and where they come from; zeros when they are no peers."""
    if not plan.are_peers(src, dst):
        return bytes(6), bytes(6)
    there, back = (
        plan.routes.port(plan.fabric.hosts[one], plan.fabric.hosts[two]) for one, two in ((src, dst), (dst, src))
    )
    return _mac(there.mac), _mac(back.mac)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
