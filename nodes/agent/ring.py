"""Frames as the kernel hands them over through shared memory: PACKET_RX_RING, TPACKET_V2 (packet_mmap.rst of the
kernel's documentation). Taking one out takes no system call.

The compiled build has the same in C (ring.c).
"""

from __future__ import annotations

import mmap
import struct
from importlib import import_module
from typing import Any, Protocol

try:
    in_c: Any = import_module("oae_ring")  # found where the compiled build is used
except ImportError:
    in_c = None

OVERHEAD = 80
"""What stands before a frame in its slot, at most: header 32, sockaddr_ll 20, alignment."""

_STATUS_KERNEL, _STATUS_USER, _STATUS_LOSING = 0, 1, 4
_HEADER = struct.Struct("=IIIHHII")  # status, len, snaplen, mac, net, s, ns
_STATUS = struct.Struct("=I")


class Ring(Protocol):
    """Slots of a fixed size, filled one after the other by the kernel and given back in that order.

    lost_some: whether frames had been lost for want of room when the frame taken last came in.
    How many, the socket tells.
    """

    lost_some: bool

    def head_ns(self) -> int:
        """The stamp of the oldest frame that waits, -1 when none does."""

    def take(self) -> bytes:
        """The oldest frame that waits, out of the ring. Only after ``head_ns`` said that there is one."""


class PlainRing:
    """A Ring, in Python."""

    def __init__(self, memory: mmap.mmap, slot: int) -> None:
        if not _HEADER.size <= slot <= len(memory):
            raise ValueError(f"slots of {slot} bytes in a ring of {len(memory)}")
        self._memory = memory
        self._slot = slot
        self._at = 0
        self.lost_some = False

    def head_ns(self) -> int:
        """See Ring."""
        status, _, _, _, _, seconds, ns = _HEADER.unpack_from(self._memory, self._at)
        return seconds * 1_000_000_000 + ns if status & _STATUS_USER else -1

    def take(self) -> bytes:
        """See Ring."""
        at = self._at
        status, _, length, mac, _, _, _ = _HEADER.unpack_from(self._memory, at)
        self.lost_some = bool(status & _STATUS_LOSING)
        wire = self._memory[at + mac : at + mac + length]
        _STATUS.pack_into(self._memory, at, _STATUS_KERNEL)
        self._at = at + self._slot if at + self._slot < len(self._memory) else 0
        return wire


def ring_in(memory: mmap.mmap, slot: int) -> Ring:
    """The ring in this memory, of slots of so many bytes."""
    if in_c is None:
        return PlainRing(memory, slot)
    ring: Ring = in_c.Ring(memory, slot)
    return ring
