"""Taking down what does not go down by itself: processes that SIGKILL does not end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from testbed.engines.live import wires


@pytest.fixture
def inhabitant(namespaces: None) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody's command in a network namespace of its own."""
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--net"]
    process = subprocess.Popen([*words, "sh", "-c", "echo there; exec sleep 600"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    yield process
    process.kill()
    process.communicate()


def test_what_was_left_running_in_a_namespace_ends(inhabitant: subprocess.Popen[bytes]) -> None:
    space = os.stat(f"/proc/{inhabitant.pid}/ns/net").st_ino
    wires.kill_inhabitants({space})
    assert inhabitant.wait(0) in (-signal.SIGKILL, 0)  # 0: the cleaner has collected its status


def test_a_process_that_sigkill_does_not_end_is_named_and_left(
    inhabitant: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that waits in the kernel for a disk or a server that is gone: here the signal is kept from it."""
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    monkeypatch.setattr(wires, "PATIENCE_S", 0.05)
    wires.kill_inhabitants({os.stat(f"/proc/{inhabitant.pid}/ns/net").st_ino})
    assert inhabitant.poll() is None
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"process {inhabitant.pid} (sleep) does not end on SIGKILL" in told
