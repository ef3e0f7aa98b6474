"""Messages between processes of one fabric: JSON, and descriptors beside it, over a stream socket."""

from __future__ import annotations

import array
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

MOST_FDS = 250  # SCM_MAX_FD is 253
_HEAD = struct.Struct("!I")
_PEER = struct.Struct("=iII")  # process, user, group


class Channel:
    """One end. It reads no further than one message, so that polling its descriptor tells the truth."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """Polls readable when ``receive`` has something to read, the end of the other side included."""
        return self._sock.fileno()

    def peer(self) -> int:
        """The process at the other side that connected; 0 when it can't be seen from here."""
        return int(_PEER.unpack(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0])

    def close(self) -> None:
        """The other side then receives None."""
        self._sock.close()

    def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Raises OSError when the other side is gone."""
        data = json.dumps(message).encode()
        head = _HEAD.pack(len(data))
        if fds:
            socket.send_fds(self._sock, [head], list(fds))
            self._sock.sendall(data)
        else:
            self._sock.sendall(head + data)

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Waits for the next message and what descriptors came with it; None when the other side is gone."""
        with suppress(ConnectionResetError, EOFError):  # reset: it ended with a message of ours unread
            fds = array.array("i")
            head, control, _flags, _address = self._sock.recvmsg(
                _HEAD.size, socket.CMSG_SPACE(MOST_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
            )
            for level, kind, data in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            head += self._exactly(_HEAD.size - len(head))
            message: dict[str, Any] = json.loads(self._exactly(_HEAD.unpack(head)[0]))
            return message, list(fds)
        return None

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            more = self._sock.recv(size)
            if not more:
                raise EOFError
            parts.append(more)
            size -= len(more)
        return b"".join(parts)
