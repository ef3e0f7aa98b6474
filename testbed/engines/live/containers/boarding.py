"""Where a container's agent meets its fabric: a socket in a folder that is all of the host that the container sees.

Over it the agent is told what to run and given its memory and its channel, as a spawned process is by a holder. It
stays open for as long as the container lives, so that its end tells each side that the other is gone.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from testbed.engines.live.owner import OwnerError
from testbed.nodes.agent.channel import MOST_FDS, Channel

_SOCKET = "agent.sock"


class Boarding:
    """One node's. folder: made here, for the fabric's user alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        try:  # by way of the descriptor: a socket's path may have no more than 107 bytes
            self._listening.bind(f"/proc/self/fd/{directory}/{_SOCKET}")
        finally:
            os.close(directory)
        self._listening.listen()

    def fileno(self) -> int:
        """Polls readable when an agent is there."""
        return self._listening.fileno()

    def meet(self, timeout_s: float, other: int) -> Channel | None:
        """Waits for an agent; None when there is none in time, or ``other`` became readable first."""
        ready, _, _ = select.select([self.fileno(), other], [], [], timeout_s)
        if self.fileno() not in ready:
            return None
        return Channel(self._listening.accept()[0])

    def close(self) -> None:
        """Removes the folder. An agent that comes later finds nobody, and ends."""
        self._listening.close()
        with suppress(OSError):
            (self.folder / _SOCKET).unlink()
            self.folder.rmdir()


def tell(channel: Channel, target: str, payload: dict[str, Any], fds: Sequence[int]) -> None:
    """What the agent at the other end is to run. Raises OwnerError."""
    if len(fds) > MOST_FDS:
        raise OwnerError(f"{len(fds)} descriptors to pass; at most {MOST_FDS} go over a socket")
    try:
        channel.send({"target": target, "payload": payload}, fds)
    except OSError as error:
        raise OwnerError(f"its container is gone: {error.strerror}") from error
