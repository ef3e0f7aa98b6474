"""What agent and supervisor say to each other, over a socket pair of packets: one short message each.

agent -> supervisor    ready · strike <index> <t_ns> · died <t_ns> <why> · full <text> · crash <traceback>
                       wrong <text> (in the user's own engine)
supervisor -> agent    go <zero_ns> <begins_ns> · alive · clock <Clock as JSON> · slow <by_ns> <t_ns>
"""

from __future__ import annotations

import socket
from contextlib import suppress

MAX_BYTES = 16_384  # a traceback, or the end of one


def tell(channel: socket.socket, *words: object) -> None:
    """Sends one message; it is lost when the other side is gone, which ``hear`` tells."""
    with suppress(BrokenPipeError, ConnectionResetError):
        channel.send(" ".join(str(word) for word in words).encode("utf-8", "replace")[:MAX_BYTES])


def hear(channel: socket.socket) -> list[str]:
    """Waits for one message; empty when the other side is gone."""
    try:
        message = channel.recv(MAX_BYTES)
    except ConnectionResetError:  # it left a message of ours unread; told once, before what it had said
        message = channel.recv(MAX_BYTES)
    return message.decode("utf-8", "replace").split(" ", 2)
