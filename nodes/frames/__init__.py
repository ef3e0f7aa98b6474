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
VALUE_BYTES = 16  # the register that a slot carries
VERSION = 1

# dst mac, src mac, EtherType | version+kind, step, flags, reserved | src, dst | epoch, peer epoch | round | seq | value
_LAYOUT = struct.Struct("!6s6sHBBB3xHHIIII16s")
_CRC = struct.Struct("!I")
assert _LAYOUT.size + _CRC.size == WIRE_BYTES

EMPTY_VALUE = bytes(VALUE_BYTES)


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
    """Names one transmission for good: who sent it, in which life (epoch), as its how-manieth frame."""

    src: int
    epoch: int
    seq: int


class Frame(NamedTuple):
    """The content of a slot, without the MAC addresses of the attachment that carries it.

    Numbers are unsigned: ``src``, ``dst`` 16 bits (node numbers); ``epoch`` (the sender's incarnation),
    ``peer_epoch`` (the receiver's incarnation as the sender knows it, 0 = not known), ``round`` and ``seq`` 32 bits;
    ``step`` (position in the handshake from 1, or message type) and ``flags`` 8 bits. ``value`` is exactly 16 bytes.
    """

    kind: Kind
    src: int
    dst: int
    epoch: int
    peer_epoch: int
    round: int
    step: int
    seq: int
    value: bytes = EMPTY_VALUE
    flags: int = 0

    @property
    def key(self) -> FrameKey:
        """The identity of this transmission; a duplicate made by the network shares it."""
        return FrameKey(self.src, self.epoch, self.seq)


def encode(frame: Frame, dst_mac: bytes, src_mac: bytes) -> bytes:
    """The 60 bytes handed to the NIC. The CRC-32 at the end covers all 56 bytes before it, addresses included.

    Raises struct.error for a number that does not fit its field.
    """
    head = _LAYOUT.pack(
        dst_mac,
        src_mac,
        ETHERTYPE,
        VERSION << 4 | frame.kind,
        frame.step,
        frame.flags,
        frame.src,
        frame.dst,
        frame.epoch,
        frame.peer_epoch,
        frame.round,
        frame.seq,
        frame.value,
    )
    return head + _CRC.pack(zlib.crc32(head))


_KINDS = {int(kind): kind for kind in Kind}


def decode(wire: bytes) -> Frame:
    """The slot in ``wire`` (60 bytes, or more when a NIC padded it). Raises FrameError for anything else."""
    if len(wire) < WIRE_BYTES:
        raise FrameError("short")
    fields = _LAYOUT.unpack_from(wire)
    if _CRC.unpack_from(wire, _LAYOUT.size)[0] != zlib.crc32(wire[: _LAYOUT.size]):
        raise FrameError("corrupt" if fields[2] == ETHERTYPE else "foreign")
    (_, _, ethertype, lead, step, flags, src, dst, epoch, peer_epoch, round_, seq, value) = fields
    if ethertype != ETHERTYPE:
        raise FrameError("foreign")
    if lead >> 4 != VERSION:
        raise FrameError("version")
    kind = _KINDS.get(lead & 0x0F)
    if kind is None:
        raise FrameError("kind")
    return Frame(kind, src, dst, epoch, peer_epoch, round_, step, seq, value, flags)
