"""The captured frames as pcapng (IETF draft-ietf-opsawg-pcapng) with nanosecond stamps, one interface per NIC: all in
one file, or in files of a plan's links and nodes.

Written here because the libraries at hand write microseconds. Engines that capture real frames write those bytes
(write_packets). For ``sim`` the frames are encoded anew from the history, with the addresses of the plan: a hop record
keeps a frame's identity (sender, epoch, number, round, step), and the record of its sending its size, not its whole
content. The body, ``peer_epoch`` and flags are zero, and a frame that was corrupted on its way has its checksum
inverted, for which bit was flipped is not known.
Frames dropped at an interface never were on the wire there and are left out.

A capture names what is in it: nodes by the addresses of their NICs in a name resolution block (Wireshark reads those of
Ethernet from 4.4 on), each interface by its node and link in its description, all nodes by their numbers in a comment
on the first frame, and faults in comments on the first frame after each.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from testbed.history import History, Hops, Ints, Mask, Table, frame_ids
from testbed.nodes.core.record import Sent, Struck
from testbed.nodes.frames import BODY_BYTES, ETHERTYPE, HEAD_FIELDS, VERSION, WIRE_BYTES, Kind
from testbed.nodes.registry import engine_spec
from testbed.plan import Nic, Plan, interface_name
from testbed.topologies.fabric import Fabric

_NANOSECONDS = 9  # if_tsresol: stamps count 10^-9 s
_NS_PER_S = 1_000_000_000
_ETHERNET = 1
IF_NAME, IF_TSRESOL, IF_TSOFFSET, EPB_FLAGS = 2, 9, 14, 2
_COMMENT, _IF_DESCRIPTION = 1, 3
_NAMES, _MAC_RECORD = 4, 3  # a name resolution block, and what it says of an address of Ethernet
INBOUND, OUTBOUND = 1, 2
_SHB_USERAPPL = 4
_PACKETS_AT_ONCE = 1 << 15
_HEAD_WORDS, _TAIL_WORDS = 7, 4
_ELSEWHERE = -1

_COLUMN_OF = {"6s": ("u1", (6,)), "B": ("u1", ()), "x": ("u1", ()), "H": (">u2", ()), "I": (">u4", ())}
"""The forms of HEAD_FIELDS as numpy spells them."""

Bytes = NDArray[np.uint8]
Notes = Sequence[tuple[int, str]]
"""What is to be said of what happened when: ns, words."""


@dataclass(frozen=True, slots=True)
class About:
    """What a capture says of itself. nodes: names by number. addresses: of each NIC, and its node's name. links: names
    by interface. consensus: the engine whose messages the bodies are; empty: it is not known, or no bodies were kept.
    """

    nodes: tuple[str, ...] = ()
    addresses: tuple[tuple[bytes, str], ...] = ()
    links: dict[str, str] = field(default_factory=dict)
    consensus: str = ""

    @staticmethod
    def of(fabric: Fabric, consensus: str = "") -> About:
        """Of captures on this fabric."""
        ends = [(end, link.name) for link in fabric.links for end in (link.a, link.b)]
        return About(
            fabric.hosts,
            tuple((_mac(end.mac), end.node) for end, _ in ends),
            {interface_name(end.node, end.nic): f"{end.node} on {name}" for end, name in ends},
            consensus,
        )

    def description(self, interface: str) -> str:
        """``host1 on host1<->leaf1, consensus paxos``."""
        said = self.links.get(interface, "")
        return f"{said}, consensus {self.consensus}" if said and self.consensus else said

    def numbered(self) -> str:
        """``nodes 0 host1, 1 host2``."""
        return "nodes " + ", ".join(f"{number} {name}" for number, name in enumerate(self.nodes)) if self.nodes else ""


NOTHING_SAID = About()


@dataclass(frozen=True, slots=True)
class Wires:
    """Frames as bytes. lengths: of each. place: of each, its row among those of its length in ``matrices``, where they
    are padded to whole words."""

    lengths: Ints
    place: Ints
    matrices: dict[int, Bytes]

    @staticmethod
    def of(wires: Sequence[bytes]) -> Wires:
        """These frames."""
        lengths = np.array([len(wire) for wire in wires], dtype=np.int64)
        chosen = {length: np.flatnonzero(lengths == length).tolist() for length in set(lengths.tolist())}
        rows = {
            length: np.frombuffer(b"".join(wires[number] for number in numbers), dtype=np.uint8).reshape(-1, length)
            for length, numbers in chosen.items()
        }
        return Wires.put_together(lengths, rows.items())

    @staticmethod
    def put_together(lengths: Ints, rows: Iterable[tuple[int, Bytes]]) -> Wires:
        """Frames of these lengths, ``rows`` being the bytes of those of each length, in order."""
        place = np.empty(len(lengths), dtype=np.int64)
        matrices = {}
        for length, matrix in rows:
            place[lengths == length] = np.arange(len(matrix))
            matrices[length] = np.pad(matrix, ((0, 0), (0, -length % 4)))
        return Wires(lengths, place, matrices)


@dataclass(frozen=True, slots=True)
class Packets:
    """Frames at interfaces, in columns. interface: its place among the names. wire: a place in ``wires``, which holds
    each frame's bytes once, however often it was seen. outgoing: which way it went. comments: on some, by row."""

    interface: NDArray[np.int32]
    stamp_ns: Ints
    outgoing: Mask
    wire: Ints
    wires: Wires
    comments: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def renumbered(self, number: Ints) -> Packets:
        """With ``number[n]`` for interface n; without those at interfaces that have none (-1)."""
        own = number[self.interface].astype(np.int32)
        rows = np.flatnonzero(own != _ELSEWHERE)
        return Packets(own[rows], self.stamp_ns[rows], self.outgoing[rows], self.wire[rows], self.wires)

    def noted(self, first: str, notes: Notes) -> Packets:
        """With ``first`` as a comment on the first frame, and each note on the first at its time or later."""
        stamps = self.stamp_ns.tolist()
        said: dict[int, list[str]] = {0: [first]} if first and stamps else {}
        for at_ns, text in notes:
            row = bisect_left(stamps, at_ns)
            if row < len(stamps):
                said.setdefault(row, []).append(text)
        return replace(self, comments={row: "; ".join(texts) for row, texts in said.items()})


def write_packets(
    path: Path, interfaces: Sequence[str], packets: Packets, offset_s: int = 0, about: About = NOTHING_SAID
) -> None:
    """A capture of ``packets`` in the order given. offset_s: whole seconds that every stamp is less than its time, for
    stamps are unsigned."""
    with path.open("wb") as file:
        write_head(file, interfaces, offset_s, about)
        for first in range(0, len(packets), _PACKETS_AT_ONCE):
            file.write(packet_blocks(packets, slice(first, first + _PACKETS_AT_ONCE), offset_s))


def write_head(file: BinaryIO, interfaces: Sequence[str], offset_s: int = 0, about: About = NOTHING_SAID) -> None:
    """What a capture begins with; blocks of packets follow (packet_blocks)."""
    _block(file, 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options((_SHB_USERAPPL, b"oae-testbed")))
    for name in interfaces:
        options = [(IF_NAME, name.encode()), (IF_TSRESOL, bytes([_NANOSECONDS]))]
        if offset_s:
            options.append((IF_TSOFFSET, struct.pack("<q", offset_s)))
        if said := about.description(name):
            options.insert(1, (_IF_DESCRIPTION, said.encode()))
        _block(file, 1, struct.pack("<HHI", _ETHERNET, 0, 0) + _options(*options))
    if about.addresses:
        records = [(_MAC_RECORD, mac + name.encode() + b"\0") for mac, name in about.addresses]
        _block(file, _NAMES, _options(*records))


def packet_blocks(packets: Packets, chunk: slice = slice(None), offset_s: int = 0) -> bytes | memoryview:
    """Enhanced packet blocks, one behind the other, of at least one packet."""
    start, stop, _ = chunk.indices(len(packets))
    said = sorted(row for row in packets.comments if start <= row < stop)
    if not said:
        return _blocks(packets, chunk, offset_s)
    parts: list[bytes | memoryview] = []
    for row in said:
        if start < row:
            parts.append(_blocks(packets, slice(start, row), offset_s))
        parts.append(_commented(bytes(_blocks(packets, slice(row, row + 1), offset_s)), packets.comments[row]))
        start = row + 1
    if start < stop:
        parts.append(_blocks(packets, slice(start, stop), offset_s))
    return b"".join(parts)


def _commented(block: bytes, text: str) -> bytes:
    """A packet's block with a comment before its last options."""
    at = len(block) - 4 * _TAIL_WORDS
    comment = _options((_COMMENT, text.encode()))[:-4]
    length = struct.pack("<I", len(block) + len(comment))
    return block[:4] + length + block[8:at] + comment + block[at:-4] + length


def _blocks(packets: Packets, chunk: slice, offset_s: int) -> memoryview:
    wire = packets.wire[chunk]
    lengths = packets.wires.lengths
    sizes = 4 * (_HEAD_WORDS + _TAIL_WORDS) + -(-lengths[wire] // 4) * 4
    ends = np.cumsum(sizes)
    out = np.empty(int(ends[-1]), dtype=np.uint8)
    stamp = packets.stamp_ns[chunk] - offset_s * _NS_PER_S
    direction = np.where(packets.outgoing[chunk], OUTBOUND, INBOUND)
    for length in np.unique(lengths[wire]).tolist():
        rows = np.flatnonzero(lengths[wire] == length)
        matrix = packets.wires.matrices[length]
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
        block["wire"] = matrix[packets.wires.place[wire[rows]]]
        for word, value in enumerate([4 << 16 | EPB_FLAGS, direction[rows], 0, size]):
            block["tail"][:, word] = value
        raw = block.view(np.uint8).reshape(len(rows), size)
        if len(rows) == len(wire):
            return raw.data
        out[(ends - sizes)[rows][:, None] + np.arange(size)] = raw
    return out.data


def write_captures(
    directory: Path, plan: Plan, places: Sequence[Nic], packets: Packets, notes: Notes, has_bodies: bool = True
) -> None:
    """The plan's capture files below a directory. places: the interfaces of ``packets``. has_bodies: whether these say
    what was sent."""
    about = About.of(plan.fabric, engine_spec(plan.protocol.consensus).name if has_bodies else "")
    offset_s = min(0, int(packets.stamp_ns.min(initial=0)) // _NS_PER_S)
    for name, nics in plan.capture_files.items():
        place = {nic: number for number, nic in enumerate(nics)}
        number = np.array([place.get(nic, _ELSEWHERE) for nic in places], dtype=np.int64)
        (directory / name).parent.mkdir(exist_ok=True)
        seen = packets.renumbered(number).noted(about.numbered(), notes)
        write_packets(directory / name, [interface_name(*nic) for nic in nics], seen, offset_s, about)


def fault_notes(plan: Plan, history: History, ahead_ns: int = 0) -> Notes:
    """When which fault struck; ahead_ns: by how much the capture's stamps are ahead of the history's."""
    return [
        (
            event.t_ns + ahead_ns,
            f"fault {event.what.fault}: {event.what.verb} {plan.faults[event.what.fault].target}".rstrip(),
        )
        for event in history.events.of_kind(Struck)
        if isinstance(event.what, Struck)
    ]


def write_simulated(directory: Path, plan: Plan, history: History) -> None:
    """As write_captures: the frames that crossed an interface, in the order of the history's hops. Without hops:
    captures of nothing."""
    hops = history.hops.take(history.hops.where("in", "out", "dup"))
    (ids,) = frame_ids(hops)
    first, wire = _first_of_each(2 * ids + hops.corrupt)  # as it was sent, and as it is once it was corrupted
    wires = _wires(plan, hops.take(first), _long_ones(history))
    packets = Packets(hops.place, hops.t_ns, hops.where("out", "dup"), wire, wires)
    write_captures(directory, plan, hops.places, packets, fault_notes(plan, history), has_bodies=False)


def _block(file: BinaryIO, kind: int, body: bytes) -> None:
    length = struct.pack("<I", len(body) + 12)
    file.write(struct.pack("<I", kind) + length + body + length)


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _first_of_each(numbers: Ints) -> tuple[Ints, Ints]:
    """Where each of these small numbers, from 0 on, stands first, and for every place which of those it repeats."""
    count = int(numbers.max(initial=-1)) + 1
    first = np.full(count, -1, dtype=np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    met = first >= 0
    return first[met], (np.cumsum(met) - 1)[numbers]


def _long_ones(history: History) -> Table:
    """The frames that are longer than a slot, as they were sent."""
    sent = history.events.table(Sent)
    return sent.take(np.flatnonzero(sent["size"] > WIRE_BYTES))


def _wires(plan: Plan, frames: Hops, long_ones: Table) -> Wires:
    """From hop records, one of each frame, back to the bytes on the wire, as far as the history knows them."""
    sizes = np.full(len(frames), WIRE_BYTES, dtype=np.int64)
    if len(long_ones):
        seen, sent = frame_ids(frames, long_ones)
        size_of = np.full(int(max(seen.max(), sent.max())) + 1, WIRE_BYTES, dtype=np.int64)
        size_of[sent] = long_ones["size"]
        sizes = size_of[seen]
    return Wires.put_together(
        sizes, [(size, _encoded(plan, frames.take(sizes == size), size)) for size in np.unique(sizes).tolist()]
    )


def _encoded(plan: Plan, frames: Hops, size: int) -> Bytes:
    """What testbed.nodes.frames.encode makes of frames with bodies of zeros, of ``size`` bytes in all, a row each."""
    body_bytes = size - WIRE_BYTES + BODY_BYTES
    head = [(name, *_COLUMN_OF[form]) for name, form in HEAD_FIELDS]
    out = np.zeros(len(frames), dtype=[*head, ("body", "u1", (body_bytes,)), ("crc", ">u4")])
    kind = Kind.SWAP if engine_spec(plan.protocol.consensus).made_of_swaps else Kind.DATA
    kind = Kind.CARRIED if plan.cells else kind
    out["dst_mac"], out["src_mac"] = _addresses_of_all(plan, frames.key_src, frames.dst)
    out["ethertype"], out["lead"], out["length"] = ETHERTYPE, VERSION << 4 | kind, body_bytes
    out["src"], out["epoch"], out["seq"] = frames.key_src, frames.key_epoch, frames.key_seq
    for name in ("dst", "round", "step"):
        out[name] = np.maximum(getattr(frames, name), 0)
    wires = out.view(np.uint8).reshape(len(frames), size)
    raw, covered = memoryview(wires.tobytes()), size - out.dtype["crc"].itemsize
    crc = np.array([zlib.crc32(raw[at : at + covered]) for at in range(0, len(raw), size)], dtype=np.uint32)
    out["crc"] = np.where(frames.corrupt, ~crc, crc)
    return wires


def _addresses_of_all(plan: Plan, src: NDArray[np.int32], dst: NDArray[np.int32]) -> tuple[Bytes, Bytes]:
    """For frames between these nodes: where they go, and where they come from."""
    pairs, pair = np.unique(src.astype(np.int64) << 32 | dst.astype(np.uint32), return_inverse=True)
    known = [_addresses(plan, pair >> 32, pair & 0xFFFFFFFF) for pair in pairs.tolist()]
    there, back = (np.frombuffer(b"".join(macs), dtype=np.uint8).reshape(-1, 6) for macs in zip(*known, strict=True))
    return there[pair], back[pair]


def _addresses(plan: Plan, src: int, dst: int) -> tuple[bytes, bytes]:
    """Where frames of node ``src`` to ``dst`` go, and where they come from; zeros when they are no peers."""
    if not plan.has_port(src, dst):
        return bytes(6), bytes(6)
    there, back = (
        plan.routes.port(plan.fabric.hosts[one], plan.fabric.hosts[two]) for one, two in ((src, dst), (dst, src))
    )
    return _mac(there.mac), _mac(back.mac)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
