"""The slot as a Scapy layer, for reading captures and for crafting slots by hand.

Importing this module registers the layer for EtherType 0x88B5. The CRC is filled in when it is left out, and covers
the Ethernet addresses, so build a whole packet: ``Ether(dst=..., src=...) / Slot(kind="SWAP", src=1, dst=2)``. A slot
that was read keeps the CRC it came with: ``del packet[Slot].crc`` after changing a field, or keep it for a bad one.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from scapy.fields import (
    BitEnumField,
    BitField,
    ByteField,
    IntField,
    ShortField,
    X3BytesField,
    XByteField,
    XIntField,
    XStrFixedLenField,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, bind_layers

from nodes.frames import BODY_BYTES, ETHERTYPE, VERSION, WIRE_BYTES, Kind

_HEADER_BYTES = 14  # Ethernet's own
_CRC_AT = WIRE_BYTES - _HEADER_BYTES - 4


class Slot(Packet):
    """One slot; field names and order are those of docs/wire-format.md."""

    name = "OAE slot"
    fields_desc = [  # noqa: RUF012 - Scapy reads a plain class attribute
        BitField("version", VERSION, 4),
        BitEnumField("kind", Kind.SWAP, 4, {int(kind): kind.name for kind in Kind}),
        ByteField("step", 1),
        XByteField("flags", 0),
        X3BytesField("reserved", 0),
        ShortField("src", 0),
        ShortField("dst", 0),
        IntField("epoch", 1),
        IntField("peer_epoch", 0),
        IntField("round", 0),
        IntField("seq", 1),
        XStrFixedLenField("body", bytes(BODY_BYTES), BODY_BYTES),
        XIntField("crc", None),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fills the CRC in over the Ethernet header and the fields before it."""
        if self.crc is None and self.underlayer is not None:
            header = bytes(Ether(dst=self.underlayer.dst, src=self.underlayer.src, type=self.underlayer.type))
            pkt = pkt[:_CRC_AT] + struct.pack("!I", zlib.crc32(header[:_HEADER_BYTES] + pkt[:_CRC_AT]))
        return pkt + pay

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """What follows a slot is the NIC's padding."""
        return b"", s

    def mysummary(self) -> Any:
        """``SWAP 1>2 round 17 step 3``, and whether the CRC that came with it is wrong."""
        damage = " (wrong CRC)" if self._damaged() else ""
        return self.sprintf("%Slot.kind% %Slot.src%>%Slot.dst% round %Slot.round% step %Slot.step%" + damage)

    def _damaged(self) -> bool:
        """Of a slot that was read with its Ethernet header."""
        if not isinstance(self.underlayer, Ether) or not self.original:
            return False
        covered = self.underlayer.original[:_HEADER_BYTES] + self.original[:_CRC_AT]
        return bool(self.original[_CRC_AT : _CRC_AT + 4] != struct.pack("!I", zlib.crc32(covered)))


assert len(Slot(crc=0)) == _CRC_AT + 4
bind_layers(Ether, Slot, type=ETHERTYPE)
