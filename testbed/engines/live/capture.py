"""Frames at the fabric's interfaces: taken in blocks through shared memory, parsed after the run (sightings.py).

Switch ports lie in the fabric's own network namespace, where one AF_PACKET socket sees them all, both directions: a
frame that a port received ("in"), and one that it sends, which the kernel shows after the port's queueing discipline,
so when it leaves after its delay ("out"). Links without a switch are captured in the namespaces of both hosts. What
hosts' other NICs see follows from that (sightings.at_all_nics).

The kernel fills blocks (PACKET_RX_RING, TPACKET_V3; packet_mmap.rst of the kernel's documentation) and wakes the
capturing process once per block, not per frame; the process copies whole blocks to a file. What the ring had to drop is
counted and reported.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from testbed.engines.live import syscalls
from testbed.nodes.frames import ETHERTYPE
from testbed.topologies.fabric import Fabric

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _TPACKET_V3 = 5, 6, 10, 2
_SO_TIMESTAMPNS, _SO_ATTACH_FILTER = 35, 26
_ETH_P_ALL = 0x0003
_BLOCK_BYTES, RETIRE_MS = 1 << 18, 50
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
BLOCK = struct.Struct("=IIIIII")  # version, private, status, packets, first, length
_STATUS_AT, _STATUS_USER = 8, 1
_FILTER = (  # ldh [12]; jeq #ETHERTYPE; ret all of it; ret 0
    (0x28, 0, 0, 12),
    (0x15, 0, 1, ETHERTYPE),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class CaptureError(RuntimeError):
    """Capturing could not be set up, or its process ended."""


class Tapped(NamedTuple):
    """An interface to be captured: where it is (path of its network namespace), its number, what to call it."""

    netns: str
    ifindex: int
    node: str
    nic: str


def tapped_nics(fabric: Fabric) -> frozenset[tuple[str, str]]:
    """The NICs, (node, nic), at which all there is to see is seen: switches' ports, and those of links without any."""
    switches = set(fabric.switches)
    return frozenset(
        (end.node, end.nic)
        for link in fabric.links
        for end in (link.a, link.b)
        if end.node in switches or not switches & {link.a.node, link.b.node}
    )


@dataclass(slots=True)
class Tap:
    """One socket with its ring. take: what gets every block, which is gone when it returns."""

    socket: socket.socket
    ring: mmap.mmap
    blocks: int
    take: Callable[[memoryview], None]
    at: int = 0

    @staticmethod
    def open(take: Callable[[memoryview], None], ring_bytes: int, ours_only: bool) -> Tap:
        """In the network namespace that this process is in. ours_only: without frames of other EtherTypes."""
        blocks = max(4, ring_bytes // _BLOCK_BYTES)
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))  # sees every interface
        tap.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if ours_only:
            _attach_filter(tap)
        request = struct.pack("=7I", _BLOCK_BYTES, blocks, 2048, _BLOCK_BYTES // 2048 * blocks, RETIRE_MS, 0, 0)
        tap.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        ring = mmap.mmap(tap.fileno(), blocks * _BLOCK_BYTES)
        return Tap(tap, ring, blocks, take)

    def drain(self) -> None:
        """Hands every finished block on and gives it back to the kernel."""
        while True:
            start = self.at * _BLOCK_BYTES
            _, _, status, packets, _, length = BLOCK.unpack_from(self.ring, start)
            if not status & _STATUS_USER:
                return
            if packets:
                with memoryview(self.ring) as view, view[start : start + length] as used:
                    self.take(used)
            struct.pack_into("=I", self.ring, start + _STATUS_AT, 0)
            self.at = (self.at + 1) % self.blocks

    def dropped(self) -> int:
        """Frames lost because all blocks were full."""
        return int(struct.unpack("=III", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12))[1])


class Capture:
    """A capture that runs in a process of its own from ``start`` to ``stop``."""

    def __init__(self, tapped: Sequence[Tapped], directory: Path, ring_bytes: int = 32 << 20) -> None:
        self._tapped = tuple(tapped)
        self._directory = directory
        self._ring_bytes = ring_bytes
        self._pid = 0
        self._channel: socket.socket | None = None

    def start(self) -> None:
        """Returns when frames are being captured."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                syscalls.die_with_parent()
                syscalls.close_all_but(theirs.fileno())
                self._run(theirs)
                status = 0
            except BaseException as error:
                theirs.send(f"failed {type(error).__name__}: {error}".encode())
            finally:
                os._exit(status)
        theirs.close()
        self._channel = ours
        answer = ours.recv(4096).decode()
        if answer != "ready":
            os.waitpid(self._pid, 0)
            self._pid = 0
            raise CaptureError(f"capture: {answer or 'its process was killed'}")

    def stop(self) -> int:
        """Ends the capture when all frames so far are on file; how many were lost for want of room."""
        if self._channel is None or not self._pid:
            return 0
        try:
            self._channel.send(b"stop")
            answer = self._channel.recv(4096).decode()
        except OSError:
            answer = ""
        os.waitpid(self._pid, 0)
        self._pid = 0
        if not answer.startswith("done "):
            raise CaptureError(f"capture: {answer or 'its process was killed'}")
        return int(answer.split()[1])

    def _run(self, channel: socket.socket) -> None:
        taps, files = self._open()
        poll = select.epoll()
        poll.register(channel.fileno(), select.EPOLLIN)
        for tap in taps:
            poll.register(tap.socket.fileno(), select.EPOLLIN)
        channel.send(b"ready")
        while not any(fd == channel.fileno() for fd, _ in poll.poll()):
            for tap in taps:
                tap.drain()
        channel.recv(4096)  # read, or our end would reset the connection before our answer is heard
        poll.unregister(channel.fileno())
        for tap in taps:
            tap.drain()
        poll.close()
        select.select([], [], [], 3 * RETIRE_MS / 1000)  # the kernel hands a half-full block over after RETIRE_MS
        for tap in taps:
            tap.drain()
        for file in files:
            os.close(file)
        channel.send(f"done {sum(tap.dropped() for tap in taps)}".encode())

    def _open(self) -> tuple[list[Tap], list[int]]:
        namespaces: dict[str, list[Tapped]] = {}
        for item in self._tapped:
            namespaces.setdefault(item.netns, []).append(item)
        taps, files, names = [], [], []
        for number, (netns, items) in enumerate(namespaces.items()):
            name = f"capture-{number}.blocks"
            names.append({"file": name, "interfaces": {str(item.ifindex): [item.node, item.nic] for item in items}})
            files.append(os.open(self._directory / name, _NEW_FILE, 0o644))
            enter(netns)
            taps.append(Tap.open(partial(_write_all, files[-1]), self._ring_bytes // len(namespaces), ours_only=True))
        (self._directory / "capture.json").write_text(json.dumps(names, indent=1), encoding="utf-8")
        return taps, files


def enter(netns: str) -> None:
    """Joins the network namespace at this path."""
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(fd, syscalls.CLONE_NEWNET)
    os.close(fd)


def _attach_filter(tap: socket.socket) -> None:
    code = b"".join(struct.pack("=HBBI", *line) for line in _FILTER)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_FILTER), ctypes.addressof(buffer))
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _write_all(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
