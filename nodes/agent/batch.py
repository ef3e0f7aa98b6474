"""Frames handed over with one system call: sendmmsg(2), which Python has not."""

from __future__ import annotations

import ctypes

from testbed.nodes.frames import MAX_WIRE_BYTES, WIRE_BYTES


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("hdr", _Msghdr), ("len", ctypes.c_uint))


class Batch:
    """Frames of one event on one NIC, handed over with one sendmmsg(2)."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.buffer = ctypes.create_string_buffer(room * MAX_WIRE_BYTES)
        self.base = ctypes.addressof(self.buffer)
        self.sizes = [WIRE_BYTES] * room
        self.iovecs = (_Iovec * room)(*[_Iovec(self.base + i * WIRE_BYTES, WIRE_BYTES) for i in range(room)])
        self.messages = (_Mmsghdr * room)()
        for message, iovec in zip(self.messages, self.iovecs, strict=True):
            message.hdr.iov = ctypes.pointer(iovec)
            message.hdr.iovlen = 1
        self.call = ctypes.CDLL(None, use_errno=True).sendmmsg

    def fill(self, wires: list[bytes]) -> None:
        """The frames, one behind the other. Those of one size are the usual thing, and cost one copy."""
        joined = b"".join(wires)
        ctypes.memmove(self.buffer, joined, len(joined))
        sizes = list(map(len, wires))
        if sizes == self.sizes[: len(sizes)]:
            return
        self.sizes[: len(sizes)] = sizes
        at = self.base
        for iovec, size in zip(self.iovecs, self.sizes, strict=True):
            iovec.base, iovec.len = at, size
            at += size

    def send(self, fd: int, first: int, count: int) -> int:
        """Sends so many of the frames; how many were sent, or -1 with the error in ctypes.get_errno()."""
        return int(self.call(fd, ctypes.byref(self.messages[first]), count, 0))
