"""The process of a container: waits at a socket for what it is to run, then becomes that, in the container.

    python3 -m testbed.nodes.agent /run/oae/agent.sock

The fabric listens there. It sends what to run ("module:function" and its payload) and the descriptors that go with it:
the journal's memory and the kept state, which outlive the container, and the agent's channel. The connection stays:
when the fabric goes, however that ends, the container goes.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading

from testbed.nodes.agent.channel import Channel

_FABRIC_GONE = 0


def main(path: str) -> int:
    """Runs what the fabric says; the function's own result, 0 when the fabric goes."""
    # The first process of a container ignores what it does not handle, and `docker stop` would have to wait.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    channel = Channel(connection)
    name = os.environ.get("OAE_NODE", "node")
    _say(f"{name}: here, waiting for the fabric")
    request = channel.receive()
    if request is None:
        _say(f"{name}: the fabric is gone")
        return _FABRIC_GONE
    order, fds = request
    threading.Thread(target=_end_with, args=(channel, name), daemon=True).start()
    _say(f"{name}: runs {order['target']}")
    module, _, function = order["target"].partition(":")
    return int(getattr(importlib.import_module(module), function)(order["payload"], fds) or 0)


def _end_with(channel: Channel, name: str) -> None:
    """Ends this process when the fabric is gone."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # signals are the main thread's
    while channel.receive() is not None:
        pass
    _say(f"{name}: the fabric is gone")
    os._exit(_FABRIC_GONE)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
