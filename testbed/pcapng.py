"""The captured frames as pcapng (IETF draft-ietf-opsawg-pcapng) with nanosecond stamps, one interface per NIC.

Written here because the libraries at hand write microseconds. Engines that capture real frames write those bytes
(write_packets). For ``sim`` the frames are encoded anew from the history, with the addresses of the plan: a hop record
keeps a frame's identity (sender, epoch, number, round, step), not its whole content. The value is filled in where the
send event carries it, ``peer_epoch`` and flags are zero, and a frame that was corrupted on its way has its checksum
inverted, for which bit was flipped is not known. Frames dropped at an interface never were on the wire there and are
left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nodes.core.config import NodeConfig
from nodes.frames import Frame, FrameKey, Kind, Message, encode
from nodes.registry import engine_spec
from testbed.history import History, Hop
from testbed.plan import Plan

_NANOSECONDS = 9  # if_tsresol: stamps count 10^-9 s
_ETHERNET = 1
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET, _EPB_FLAGS, _SHB_USERAPPL = 2, 9, 14, 2, 4
_INBOUND, _OUTBOUND = 1, 2
_OUTGOING = {"in": False, "out": True, "dup": True}


class Packet(NamedTuple):
    """One frame at one interface: which (its place among the names), when, its bytes, and which way it went."""

    interface: int
    stamp_ns: int
    wire: bytes
    outgoing: bool


def write_packets(path: Path, interfaces: Sequence[str], packets: Iterable[Packet], offset_s: int = 0) -> int:
    """A capture of ``packets`` in the order given; returns how many. offset_s: whole seconds that every stamp is less
    than its time, for stamps are unsigned."""
    count = 0
    with path.open("wb") as file:
        _block(file, 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options((_SHB_USERAPPL, b"oae-testbed")))
        for name in interfaces:
            options = [(_IF_NAME, name.encode()), (_IF_TSRESOL, bytes([_NANOSECONDS]))]
            if offset_s:
                options.append((_IF_TSOFFSET, struct.pack("<q", offset_s)))
            _block(file, 1, struct.pack("<HHI", _ETHERNET, 0, 0) + _options(*options))
        for packet in packets:
            direction = _OUTBOUND if packet.outgoing else _INBOUND
            _packet(file, packet.interface, packet.stamp_ns - offset_s * 1_000_000_000, packet.wire, direction)
            count += 1
    return count


def interface_name(node: str, nic: str) -> str:
    """What an interface is called in a capture: its node is always part of it."""
    return nic if nic.startswith(f"{node}-") else f"{node}-{nic}"


def write_capture(path: Path, plan: Plan, history: History) -> None:
    """All frames that crossed an interface, in the order of the history's hops. Without hops: a capture of nothing."""
    nics = [(end.node, end.nic) for link in plan.fabric.links for end in (link.a, link.b)]
    place = {nic: index for index, nic in enumerate(nics)}
    offset_s = min(0, min((hop.t_ns for hop in history.hops), default=0) // 1_000_000_000)
    encoder = _Encoder(plan)
    packets = (
        Packet(place[hop.node, hop.nic], hop.t_ns, encoder.wire(hop), _OUTGOING[hop.what])
        for hop in history.hops
        if hop.what in _OUTGOING and (hop.node, hop.nic) in place
    )
    write_packets(path, [interface_name(*nic) for nic in nics], packets, offset_s)


def _packet(file: BinaryIO, interface: int, stamp_ns: int, wire: bytes, direction: int) -> None:
    """An enhanced packet block."""
    head = struct.pack("<IIIII", interface, stamp_ns >> 32, stamp_ns & 0xFFFFFFFF, len(wire), len(wire))
    _block(file, 6, head + _padded(wire) + _options((_EPB_FLAGS, struct.pack("<I", direction))))


def _block(file: BinaryIO, kind: int, body: bytes) -> None:
    length = struct.pack("<I", len(body) + 12)
    file.write(struct.pack("<I", kind) + length + body + length)


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class _Encoder:
    """From a hop record back to the bytes on the wire, as far as the history knows them."""

    def __init__(self, plan: Plan) -> None:
        self._nodes: dict[int, NodeConfig] = {node.node: node for node in plan.nodes}
        swaps = bool(plan.nodes) and engine_spec(plan.nodes[0].protocol.consensus).made_of_swaps
        self._kind = Kind.SWAP if swaps else Kind.DATA
        self._wires: dict[FrameKey, bytes] = {}

    def wire(self, hop: Hop) -> bytes:
        """The frame's 60 bytes."""
        wire = self._wires.get(hop.key)
        if wire is None:
            wire = self._wires[hop.key] = self._encode(hop)
        return wire[:-4] + bytes(byte ^ 0xFF for byte in wire[-4:]) if hop.corrupt else wire

    def _encode(self, hop: Hop) -> bytes:
        key = hop.key
        frame = Frame(key, max(0, hop.dst), 0, Message(self._kind, max(0, hop.round), max(0, hop.step)))
        sender = self._nodes.get(key.src)
        peer = next((peer for peer in sender.peers if peer.node == hop.dst), None) if sender is not None else None
        if sender is None or peer is None:
            return encode(frame, bytes(6), bytes(6))
        return encode(frame, _mac(peer.mac), _mac(sender.nics.get(peer.nic, "")))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if text else bytes(6)
