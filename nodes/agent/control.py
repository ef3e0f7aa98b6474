"""What agent and supervisor say to each other, over a socket pair of packets: one short ASCII message each.

agent -> supervisor    ready · strike <index> <t_ns> · full <text> · crash <text>
supervisor -> agent    go <zero_ns> · alive
"""

from __future__ import annotations

import socket

MAX_BYTES = 4096


def tell(channel: socket.socket, *words: object) -> None:
    """Sends one message."""
    channel.send(" ".join(str(word) for word in words).encode("utf-8", "replace")[:MAX_BYTES])


def hear(channel: socket.socket) -> list[str]:
    """Waits for one message; empty when the other side is gone."""
    return channel.recv(MAX_BYTES).decode("utf-8", "replace").split(" ", 2)
