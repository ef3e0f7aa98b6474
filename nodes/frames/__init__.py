"""The wire format: a swap is one 64-byte slot (60 bytes and the FCS that the NIC adds), other messages as they are.

The format is our own: no OAE specification is public. docs/wire-format.md describes it field by field.

The compiled build writes and reads slots in C (frames.c), several times as fast; all else it leaves to the Python in
here.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from importlib import import_module
from typing import Any, NamedTuple

try:
    in_c: Any = import_module("oae_frames")  # found where the compiled build is used
except ImportError:
    in_c = None

ETHERTYPE = 0x88B5  # IEEE 802 local experimental EtherType 1
SLOT_BYTES = 64  # a minimum Ethernet frame, FCS included
WIRE_BYTES = 60  # what software sees of it: the NIC adds and strips the FCS
BODY_BYTES = 16  # what a slot carries
MTU = 1500  # the bytes after Ethernet's own header that every link carries
VERSION = 2

HEAD_FIELDS = (
    ("dst_mac", "6s"), ("src_mac", "6s"), ("ethertype", "H"), ("lead", "B"), ("step", "B"), ("flags", "B"),
    ("reserved", "x"), ("length", "H"), ("src", "H"), ("dst", "H"), ("epoch", "I"), ("peer_epoch", "I"), ("round", "I"),
    ("seq", "I"),
)  # fmt: skip
"""What stands before the body, each field with its form as the struct module spells it, big endian throughout. lead:
the version in the upper four bits, the kind in the lower ones."""

PART_HEAD = struct.Struct("!IHH")
"""What the body of a PART begins with: the number of the message among those that its sender has cut in this life, the
part's place from 0, and how many parts there are."""

_HEAD = struct.Struct("!" + "".join(form for _, form in HEAD_FIELDS))
_CRC = struct.Struct("!I")
_ETHERNET_BYTES = 14
assert _HEAD.size + BODY_BYTES + _CRC.size == WIRE_BYTES

MAX_BODY = _ETHERNET_BYTES + MTU - _HEAD.size - _CRC.size
"""The longest body of one frame; what is longer is cut and joined (testbed.nodes.core.segmented)."""

MAX_WIRE_BYTES = _ETHERNET_BYTES + MTU
"""The longest frame, as software sees it."""

EMPTY_BODY = bytes(BODY_BYTES)


class Kind(IntEnum):
    """What a message is."""

    SWAP = 1  # one message of a handshake
    DATA = 2  # a message of a protocol that is not made of swaps
    RESET = 3  # "I hold no state of that round": the answer of a restarted end
    PART = 4  # a part of a DATA message that is too long for one frame
    CARRIED = 5  # a SWAP or RESET on its way between two ends that are not neighbours: see Carried


SLOTS = (Kind.SWAP, Kind.RESET)
"""What travels in a slot, with a body of exactly BODY_BYTES."""


class FrameError(ValueError):
    """The bytes are not a slot of ours; ``reason`` is one of foreign, short, corrupt, version, kind, length."""

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
    ``body`` is exactly 16 bytes where ``kind`` is one of SLOTS, else as long as it is.
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

    @property
    def wire_bytes(self) -> int:
        """How long it is where software sees it: what counts at a rate, and in a capture."""
        return WIRE_BYTES + max(0, len(self.message.body) - BODY_BYTES)


class Carried(NamedTuple):
    """What the body of a CARRIED message holds; its round, step and flags are those of what it carries.

    kind: of what is carried (one of SLOTS). src, dst: the numbers of its two ends, whoever sends it on. epoch, answers:
    the sending end's life, and which life of the other end it knows. body: of what is carried.
    """

    kind: Kind
    src: int
    dst: int
    epoch: int
    answers: int
    body: bytes = EMPTY_BODY


_CARRIED = struct.Struct(f"!BxHHII{BODY_BYTES}s")
CARRIED_BODY_BYTES = _CARRIED.size
CARRIED_BYTES = WIRE_BYTES + CARRIED_BODY_BYTES - BODY_BYTES
"""A frame with a carried slot, as software sees it."""

NO_ENDS = -1
"""In place of the ends of what is carried: nothing is."""


def carry(carried: Carried, round_: int, step: int, flags: int) -> Message:
    """The message that carries it."""
    return Message(Kind.CARRIED, round_, step, _CARRIED.pack(*carried), flags)


def carried(message: Message) -> Carried | None:
    """What ``message`` carries; None: nothing that can be read."""
    if message.kind is not Kind.CARRIED or len(message.body) != _CARRIED.size:
        return None
    kind, *rest = _CARRIED.unpack(message.body)
    return Carried(_KINDS[kind], *rest) if kind in SLOTS else None


def ends_of(message: Message) -> int:
    """The ends of the swap that a CARRIED message is about, as one number: the lower's << 16 | the higher's. NO_ENDS
    for any other message: its ends are who sends it and whom it is for."""
    known = carried(message)
    if known is None:
        return NO_ENDS
    return min(known.src, known.dst) << 16 | max(known.src, known.dst)


def check_body(message: Message) -> None:
    """Raises ValueError for a body that no frame can carry: nothing is cut or padded in silence."""
    size = len(message.body)
    if message.kind in SLOTS and size != BODY_BYTES:
        raise ValueError(f"the body of a {message.kind.name} has exactly {BODY_BYTES} bytes, not {size}")
    if size > MAX_BODY:
        raise ValueError(f"a body of {size} bytes fits into no frame: {MAX_BODY} at most, or in parts")


def encode(frame: Frame, dst_mac: bytes, src_mac: bytes) -> bytes:
    """The bytes handed to the NIC, at least 60. The CRC-32 at the end covers all before it, addresses included.

    Raises ValueError for a body that does not fit (check_body), struct.error for a number that does not fit its field.
    """
    if in_c is not None:
        wire: bytes | None = in_c.encode(frame, dst_mac, src_mac)
        if wire is not None:
            return wire
    (src, epoch, seq), dst, peer_epoch, message = frame
    kind, round_, step, body, flags = message
    size = len(body)
    if size != BODY_BYTES:
        check_body(message)
    lead = VERSION << 4 | kind
    head = _HEAD.pack(dst_mac, src_mac, ETHERTYPE, lead, step, flags, size, src, dst, epoch, peer_epoch, round_, seq)
    covered = head + body if size >= BODY_BYTES else head + body + bytes(BODY_BYTES - size)
    return covered + _CRC.pack(zlib.crc32(covered))


_KINDS = {int(kind): kind for kind in Kind}
if in_c is not None:
    in_c.learn(Frame, FrameKey, Message, _KINDS)


def decode(wire: bytes) -> Frame:
    """The frame in ``wire`` (a slot may have been padded by a NIC). Raises FrameError for anything else."""
    if in_c is not None:
        frame: Frame | None = in_c.decode(wire)
        if frame is not None:
            return frame
    if len(wire) < WIRE_BYTES:
        raise FrameError("short")
    (_, _, ethertype, lead, step, flags, size, src, dst, epoch, peer_epoch, round_, seq) = _HEAD.unpack_from(wire)
    if ethertype != ETHERTYPE:
        raise FrameError("foreign")
    end = _HEAD.size + max(size, BODY_BYTES)
    if size > BODY_BYTES and len(wire) != end + _CRC.size:
        raise FrameError("corrupt")  # the length, or what it counts, is not what was sent
    if _CRC.unpack_from(wire, end)[0] != zlib.crc32(wire[:end]):
        raise FrameError("corrupt")
    if lead >> 4 != VERSION:
        raise FrameError("version")
    kind = _KINDS.get(lead & 0x0F)
    if kind is None:
        raise FrameError("kind")
    if kind in SLOTS and size != BODY_BYTES:
        raise FrameError("length")
    body = wire[_HEAD.size : _HEAD.size + size]
    return Frame(FrameKey(src, epoch, seq), dst, peer_epoch, Message(kind, round_, step, body, flags))
