"""Whatever we start can be killed at any moment and leaves nothing behind, and the host's network is never touched."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from needs import ROOT

MARK = "OAE_KILL_TEST"
KILLS = 20
COMMANDS = {
    "up": ["up", "leaf_spine", "--exec", "py __import__('time').sleep(30)"],
    "run": ["run", "clean-live", "--set", "protocol.rounds=400", "--out", "run"],
    "run-vkernel": ["run", "reconcile-restart", "--engine", "vkernel", "--out", "run-vkernel"],
    "study": ["study", "jitter-leaf-spine", "--out", "study"],
}


def processes(mark: str) -> list[str]:
    """Processes that inherited our mark, and guests, which inherit nothing but our working directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            folder = os.readlink(entry / "cwd")
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in environment or mark in folder:
            found.append(f"{entry.name} {words[:120]!r}")
    return found


def namespaces(kind: str) -> int:
    """How many namespaces of a kind are in use by any process."""
    seen = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                seen.add(os.readlink(entry / "ns" / kind))
            except OSError:
                continue
    return len(seen)


def gone(mark: str, seconds: float = 15.0) -> list[str]:
    """What of it is still there when it has had time to end."""
    deadline = time.monotonic() + seconds
    while (left := processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_sigkill_at_random_moments_leaves_nothing(command: str, tmp_path: Path, request) -> None:
    if command == "run-vkernel":
        request.getfixturevalue("kernel")
    interfaces = socket.if_nameindex()
    chance = random.Random(command)
    halves = command.startswith("run")  # two kinds of runs, which make twenty kills between them
    spread_s = 0.4 if halves else 0.25
    for attempt in range(KILLS // 2 if halves else KILLS):
        mark = f"{command}-{os.getpid()}-{attempt}"
        folder = tmp_path / mark
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-m", "testbed.cli.main", *COMMANDS[command]],
            cwd=folder,
            env={**os.environ, MARK: mark, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(0.3 + chance.random() * spread_s * (1 + attempt))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert gone(mark) == [], f"after the kill number {attempt} of testbed {command}"
    assert socket.if_nameindex() == interfaces


@pytest.mark.slow
@pytest.mark.usefixtures("namespaces")
def test_after_a_fabric_the_host_has_the_namespaces_it_had() -> None:
    """The host: a process namespace of the test's own, where all that the fabric leaves would be seen, and nobody else
    starts or ends anything meanwhile."""
    apart = ["unshare", *(["--user", "--map-root-user"] if os.geteuid() else []), "--pid", "--fork", "--mount-proc"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    command = [*apart, "--kill-child", sys.executable, __file__]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def main() -> None:
    """Whoever starts this is the first process of its namespace, so what loses its parent stays in sight."""
    before = {kind: namespaces(kind) for kind in ("net", "pid", "mnt")}
    assert set(before.values()) == {1}, before
    command = [sys.executable, "-m", "testbed.cli.main", "up", "leaf_spine", "--exec", "pingall"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    deadline = time.monotonic() + 15
    while {kind: namespaces(kind) for kind in before} != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {kind: namespaces(kind) for kind in before} == before


if __name__ == "__main__":
    main()
