"""A container engine of the tests' own: dockerd with its own socket and folders, which changes nothing of the host's
network and knows nothing of an engine that runs there already. What it mounts, it mounts for itself alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from needs import lacking

from testbed.engines.base import EngineUnavailable
from testbed.engines.live.containers.engine import ContainerEngine

_PATIENCE_S = 60.0
# No bridge, no rule, no forwarding: a node's only network is its fabric's.
_APART = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")


@contextmanager
def started_engine() -> Iterator[str]:
    """Yields the address of its socket; the engine and all that it has are gone afterwards."""
    dockerd = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if os.geteuid() != 0 or dockerd is None:
        lacking("engine", "not root" if dockerd else "there is no dockerd (apt-get install docker.io)")
    home = Path(tempfile.mkdtemp(prefix="oae-engine-"))  # short: a socket's path may have 107 bytes
    folders = [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"]
    address = f"unix://{home}/docker.sock"
    # mounts end with who is in there, whatever ends them; and the engine ends with the tests, whatever ends these
    apart = ["setpriv", "--pdeathsig", "TERM", "--", "unshare", "--mount", "--"]
    command = [*apart, dockerd, "--host", address, *folders, *_APART, "--userland-proxy=false"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(address, process, home / "log")
        yield address
    finally:
        process.terminate()
        process.wait(_PATIENCE_S)
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            ContainerEngine(address).api.ping()
            return
        except EngineUnavailable:
            if process.poll() is not None or time.monotonic() > deadline:
                lacking("engine", f"dockerd does not start here: {log.read_text()[-300:]}")
            time.sleep(0.1)
