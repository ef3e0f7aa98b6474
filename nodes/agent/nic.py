"""A NIC as raw frames: one AF_PACKET socket that receives through shared memory and sends in batches.

Receiving takes no system call: the kernel writes frames and their arrival stamps into a ring
(testbed.nodes.agent.ring). Each system call saved matters in the virtual-time kernel, where it costs two ptrace
switches.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct
from contextlib import suppress
from typing import Generic, TypeVar

from testbed.nodes.agent.batch import Batch
from testbed.nodes.agent.ring import OVERHEAD, ring_in
from testbed.nodes.core.config import RING_FRAMES
from testbed.nodes.frames import ETHERTYPE, WIRE_BYTES

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_IGNORE_OUTGOING = 5, 6, 10, 23
_TPACKET_V2 = 1
_SO_TIMESTAMPNS = 35  # makes the kernel stamp frames where they come in, before any queue
_BLOCK = 4096

Tag = TypeVar("Tag")


class Nic(Generic[Tag]):
    """One NIC of this node, by name. Survives its carrier's going and coming back. Tag: what names a frame to send.

    frame_bytes: the longest frame that is taken in whole; a ring for long ones takes eight times the memory.
    """

    def __init__(self, name: str, ring_frames: int = RING_FRAMES, frame_bytes: int = WIRE_BYTES) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        with suppress(OSError):  # since Linux 4.20; sockets on one EtherType see no outgoing frames anyway
            self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        slot = 256 if frame_bytes + OVERHEAD <= 256 else 2048
        per_block = _BLOCK // slot
        blocks = -(-ring_frames // per_block)
        request = struct.pack("=IIII", _BLOCK, blocks, slot, blocks * per_block)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self.ring = ring_in(mmap.mmap(self._socket.fileno(), blocks * _BLOCK), slot)
        self._socket.bind((name, ETHERTYPE))
        self.mac: bytes = self._socket.getsockname()[4]
        self._waiting: list[tuple[bytes, Tag]] = []
        self._batch = Batch(64)

    def fileno(self) -> int:
        """For epoll."""
        return self._socket.fileno()

    # -- in ----------------------------------------------------------------------------------------------------------

    def clear_error(self) -> None:
        """Forgets ENETDOWN: the carrier went, and the socket hears again when it comes back."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def dropped(self) -> int:
        """Frames lost since the last call because the ring was full."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        return int(struct.unpack("=II", statistics)[1])

    # -- out ---------------------------------------------------------------------------------------------------------

    def queue(self, wire: bytes, tag: Tag) -> None:
        """Puts a frame into the batch that ``flush`` sends."""
        self._waiting.append((wire, tag))

    def flush(self) -> list[tuple[Tag, str]]:
        """Sends the batch in order; returns what the NIC refused, each with the error's name (``ENETDOWN``)."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) > 1:
            return self._send_many(waiting)
        refused: list[tuple[Tag, str]] = []
        for wire, tag in waiting:
            try:
                self._socket.send(wire)
            except OSError as error:
                refused.append((tag, _error_name(error.errno or 0)))
        return refused

    def _send_many(self, frames: list[tuple[bytes, Tag]]) -> list[tuple[Tag, str]]:
        batch = self._batch
        refused: list[tuple[Tag, str]] = []
        while frames:
            part, frames = frames[: batch.room], frames[batch.room :]
            batch.fill([wire for wire, _ in part])
            done = 0
            while done < len(part):
                sent = batch.send(self.fileno(), done, len(part) - done)
                if sent < 0:  # about the first frame that was not sent
                    code = ctypes.get_errno()
                    if code == errno.EINTR:
                        continue
                    refused.append((part[done][1], _error_name(code)))
                    sent = 1
                elif done + sent < len(part):
                    # The frame after those sent was refused too, by a full queue; sendmmsg(2) keeps its error to
                    # itself. Not again: the queue has drawn for it, and might take it now.
                    refused.append((part[done + sent][1], _error_name(errno.ENOBUFS)))
                    sent += 1
                done += sent
        return refused


def _error_name(code: int) -> str:
    return errno.errorcode.get(code, str(code))
