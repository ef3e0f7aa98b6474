"""The wire format: one 64-byte slot (60 bytes and the FCS that the NIC adds).

The format is our own: no OAE specification is public. docs/wire-format.md describes it field by field.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import NamedTuple

ETHERTYPE = 0x88B5  # IEEE 802 local experimental EtherType 1
SLOT_BYTES = 64  # a minimum Ethernet frame, FCS included
WIRE_BYTES = 60  # what software sees of it: the NIC adds and strips the FCS
BODY_BYTES = 16  # what a slot carries
VERSION = 1

# dst mac, src mac, EtherType | version+kind, step, flags, reserved | src, dst | epoch, peer epoch | round | seq | body
_LAYOUT = struct.Struct("!6s6sHBBB3xHHIIII16s")
_CRC = struct.Struct("!I")
assert _LAYOUT.size + _CRC.size == WIRE_BYTES

EMPTY_BODY = bytes(BODY_BYTES)


class Kind(IntEnum):
    """What a slot is for."""

    SWAP = 1  # one message of a handshake
    DATA = 2  # a message of a protocol that is not made of swaps
    RESET = 3  # "I hold no state of that round": the answer of a restarted end


class FrameError(ValueError):
    """The bytes are not a slot of ours; ``reason`` is one of foreign, short, corrupt, version, kind."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FrameKey(NamedTuple):
    """Names one transmission for good: who sent it (node number, 16 bits), in which life (epoch), as its how-manieth
    frame (32 bits each)."""

    src: int
    epoch: int
    seq: int


class Message(NamedTuple):
    """What a machine says: kind and step tell what it is, round which swap or instance it is about.

    ``round`` has 32 bits, ``step`` (position in the handshake from 1, or message type) and ``flags`` 8 bits, unsigned.
    ``body`` is exactly 16 bytes.
    """

    kind: Kind
    round: int
    step: int
    body: bytes = EMPTY_BODY
    flags: int = 0


class Frame(NamedTuple):
    """A message under way, without the MAC addresses of the attachment that carries it.

    key: the identity of this transmission; a duplicate made by the network shares it. dst: the receiver's number (16
    bits). peer_epoch: the receiver's incarnation as the sender knows it, 0 = not known (32 bits).
    """

    key: FrameKey
    dst: int
    peer_epoch: int
    message: Message


def encode(frame: Frame, dst_mac: bytes, src_mac: bytes) -> bytes:
    """The 60 bytes handed to the NIC. The CRC-32 at the end covers all 56 bytes before it, addresses included.

    Raises struct.error for a number that does not fit its field.
    """
    (src, epoch, seq), dst, peer_epoch, (kind, round_, step, body, flags) = frame
    lead = VERSION << 4 | kind
    head = _LAYOUT.pack(dst_mac, src_mac, ETHERTYPE, lead, step, flags, src, dst, epoch, peer_epoch, round_, seq, body)
    return head + _CRC.pack(zlib.crc32(head))


_KINDS = {int(kind): kind for kind in Kind}


def decode(wire: bytes) -> Frame:
    """The slot in ``wire`` (60 bytes, or more when a NIC padded it). Raises FrameError for anything else."""
    if len(wire) < WIRE_BYTES:
        raise FrameError("short")
    fields = _LAYOUT.unpack_from(wire)
    if _CRC.unpack_from(wire, _LAYOUT.size)[0] != zlib.crc32(wire[: _LAYOUT.size]):
        raise FrameError("corrupt" if fields[2] == ETHERTYPE else "foreign")
    (_, _, ethertype, lead, step, flags, src, dst, epoch, peer_epoch, round_, seq, body) = fields
    if ethertype != ETHERTYPE:
        raise FrameError("foreign")
    if lead >> 4 != VERSION:
        raise FrameError("version")
    kind = _KINDS.get(lead & 0x0F)
    if kind is None:
        raise FrameError("kind")
    return Frame(FrameKey(src, epoch, seq), dst, peer_epoch, Message(kind, round_, step, body, flags))
