"""The slot as a Scapy layer, for reading captures and for crafting slots, longer messages and parts by hand.

Importing this module registers the layer for EtherType 0x88B5. The CRC is filled in when it is left out, and covers
the Ethernet addresses, so build a whole packet: ``Ether(dst=..., src=...) / Slot(kind="SWAP", src=1, dst=2)``. A slot
that was read keeps the CRC it came with: ``del packet[Slot].crc`` after changing a field, or keep it for a bad one.
``messages`` tells what was said in a capture, with the parts of long messages joined.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from scapy.fields import (
    BitEnumField,
    BitField,
    ByteEnumField,
    ByteField,
    ConditionalField,
    FieldLenField,
    IntField,
    ShortField,
    XByteField,
    XIntField,
    XStrLenField,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, bind_layers

from testbed.nodes.frames import (
    BODY_BYTES,
    CARRIED_BODY_BYTES,
    ETHERTYPE,
    PART_HEAD,
    VERSION,
    WIRE_BYTES,
    Frame,
    FrameError,
    FrameKey,
    Kind,
    decode,
)

_KINDS = {int(kind): kind.name for kind in Kind}
_HEADER_BYTES = 14  # Ethernet's own
_CRC_BYTES = 4
_LEAST_BYTES = WIRE_BYTES - _HEADER_BYTES - _CRC_BYTES  # what the CRC covers of the shortest, besides Ethernet's header


def _has_part_head(slot: Packet) -> bool:
    """Whether a PART's own header is there: not in other kinds, nor where the body is too short for it."""
    return bool(slot.kind == Kind.PART and (slot.length is None or slot.length >= PART_HEAD.size))


def _carries(slot: Packet) -> bool:
    """Whether there is a slot inside, with its ends before it."""
    return bool(slot.kind == Kind.CARRIED and (slot.length is None or slot.length == CARRIED_BODY_BYTES))


def _inner_head_bytes(slot: Packet) -> int:
    """What stands in the body before what is shown as such."""
    return PART_HEAD.size if _has_part_head(slot) else CARRIED_BODY_BYTES - BODY_BYTES if _carries(slot) else 0


class Slot(Packet):
    """One slot, a longer message or a part of one; field names and order are those of docs/wire-format.md.

    A PART's body is what it carries of the message; ``number``, ``place`` and ``parts`` stand before it. So do, in a
    CARRIED frame, the fields of the slot that is carried.
    """

    name = "OAE slot"
    fields_desc = [  # noqa: RUF012 - Scapy reads a plain class attribute
        BitField("version", VERSION, 4),
        BitEnumField("kind", Kind.SWAP, 4, _KINDS),
        ByteField("step", 1),
        XByteField("flags", 0),
        ByteField("reserved", 0),
        FieldLenField(
            "length", None, length_of="body", fmt="H", adjust=lambda slot, size: size + _inner_head_bytes(slot)
        ),
        ShortField("src", 0),
        ShortField("dst", 0),
        IntField("epoch", 1),
        IntField("peer_epoch", 0),
        IntField("round", 0),
        IntField("seq", 1),
        ConditionalField(IntField("number", 1), _has_part_head),
        ConditionalField(ShortField("place", 0), _has_part_head),
        ConditionalField(ShortField("parts", 1), _has_part_head),
        ConditionalField(ByteEnumField("carried_kind", Kind.SWAP, _KINDS), _carries),
        ConditionalField(ByteField("carried_reserved", 0), _carries),
        ConditionalField(ShortField("carried_src", 0), _carries),
        ConditionalField(ShortField("carried_dst", 0), _carries),
        ConditionalField(IntField("carried_epoch", 1), _carries),
        ConditionalField(IntField("carried_peer_epoch", 0), _carries),
        XStrLenField("body", bytes(BODY_BYTES), length_from=lambda slot: slot.length - _inner_head_bytes(slot)),
        XStrLenField("fill", b"", length_from=lambda slot: max(0, BODY_BYTES - slot.length)),
        XIntField("crc", None),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fills the CRC in over the Ethernet header and the fields before it."""
        if self.crc is None and self.underlayer is not None:
            header = bytes(Ether(dst=self.underlayer.dst, src=self.underlayer.src, type=self.underlayer.type))
            covered = pkt[:-_CRC_BYTES].ljust(_LEAST_BYTES, b"\0")
            pkt = covered + struct.pack("!I", zlib.crc32(header[:_HEADER_BYTES] + covered))
        return pkt + pay

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """What follows a slot is the NIC's padding."""
        return b"", s

    def mysummary(self) -> Any:
        """``SWAP 1>2 round 17 step 3``, and whether the CRC that came with it is wrong."""
        part = f" part {self.place + 1} of {self.parts} of message {self.number}" if _has_part_head(self) else ""
        if _carries(self):
            part = self.sprintf(" carrying %Slot.carried_kind% %Slot.carried_src%>%Slot.carried_dst%")
        damage = " (wrong CRC)" if self._damaged() else ""
        return self.sprintf("%Slot.kind% %Slot.src%>%Slot.dst% round %Slot.round% step %Slot.step%") + part + damage

    def _damaged(self) -> bool:
        """Of a slot that was read with its Ethernet header."""
        if not isinstance(self.underlayer, Ether) or not self.original:
            return False
        end = _LEAST_BYTES + max(0, self.length - BODY_BYTES)
        covered = self.underlayer.original[:_HEADER_BYTES] + self.original[:end]
        return bool(self.original[end : end + _CRC_BYTES] != struct.pack("!I", zlib.crc32(covered)))


assert len(Slot(crc=0)) == WIRE_BYTES - _HEADER_BYTES
bind_layers(Ether, Slot, type=ETHERTYPE)


def messages(packets: Iterable[Packet]) -> Iterator[tuple[Packet, Frame]]:
    """What was said, in the order in which it was first seen whole: the packet with all of a message or the last of its
    parts, and its frame with the whole message. What is seen at several interfaces is said once; what a receiver would
    drop at its edge says nothing."""
    seen: set[FrameKey] = set()
    joining: dict[tuple[int, int, int, int], dict[int, bytes]] = {}
    for packet in packets:
        try:
            frame = decode(bytes(packet))
        except FrameError:
            continue
        message = frame.message
        if frame.key in seen:
            continue
        seen.add(frame.key)
        if message.kind is not Kind.PART:
            yield packet, frame
        elif len(message.body) >= PART_HEAD.size:
            number, place, count = PART_HEAD.unpack_from(message.body)
            name = (frame.key.src, frame.key.epoch, frame.dst, number)
            parts = joining.setdefault(name, {})
            parts[place] = message.body[PART_HEAD.size :]
            if len(parts) == count:
                body = b"".join(part for _, part in sorted(joining.pop(name).items()))
                yield packet, frame._replace(message=message._replace(kind=Kind.DATA, body=body))
