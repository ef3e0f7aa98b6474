"""A running node as its users meet it, and as somebody inside it who wants out. All on one run, which goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from container_stories import inside, nodes_of
from needs import ROOT

from testbed.engines.live.containers.engine import ContainerEngine
from testbed.engines.live.containers.rights import CAPABILITIES

NET_RAW = 1 << 13


class Running(NamedTuple):
    """host1 of a run that goes on. secret: a file of the host's. neighbour: a process of another node, on the host."""

    engine: ContainerEngine
    container: str
    secret: Path
    neighbour: int

    def python(self, code: str) -> str:
        """What a program says in there: what it prints, or the name of the error that it got."""
        whole = (
            "import ctypes, errno, os, socket, sys\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "def checked(result):\n"
            "    if result < 0: raise OSError(ctypes.get_errno(), '')\n"
            "    return result\n"
            f"try:\n    exec({code!r})\n    print('REACHED')\n"
            "except OSError as error:\n    print(errno.errorcode[error.errno])\n"
        )
        told = inside(self.engine, self.container, "/usr/bin/python3", "-c", whole)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()


@pytest.fixture(scope="module")
def running(_engine_socket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("walls")
    (folder / "story.yaml").write_text(
        "name: story\ntopology: {kind: star, hosts: 3}\nprotocol: {rounds: 10000, window: 100ms}\n"
        "nodes: {kind: container, cpus: 0.25, memory: 64MiB}\nengine: live\ncapture: false\n"
    )
    (folder / "secret").write_text("of the host")
    environment = {**os.environ, "DOCKER_HOST": _engine_socket, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "testbed.cli.main", "run", "story.yaml", "--out", "run"]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=output, stderr=output)
    engine = ContainerEngine(_engine_socket)
    try:
        deadline = time.monotonic() + 60
        progress = folder / "run" / "live" / "progress"
        while not progress.exists() or "running" not in progress.read_text():
            assert process.poll() is None, (folder / "output").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (run,) = {container.run for container in engine.containers()}
        nodes = nodes_of(engine, run)
        pid = engine.api.inspect_container(nodes["host2"])["State"]["Pid"]
        yield Running(engine, nodes["host1"], folder / "secret", pid)
        assert process.poll() is None, (folder / "output").read_text()  # nothing that was tried has harmed it
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert engine.containers() == []


# -- for its users ---------------------------------------------------------------------------------------------------


def test_a_shell_in_a_node_sees_its_nics_and_nothing_else(running: Running) -> None:
    told = inside(running.engine, running.container, "sh", "-c", "ip -br link")
    assert [line.split("@")[0].split()[0] for line in told.stdout.splitlines()] == ["lo", "host1-eth0"]
    assert "UP" in told.stdout.splitlines()[1]


def test_a_terminal_can_be_had(running: Running) -> None:
    words = [
        *running.engine.command_line(),
        "exec",
        "-it",
        running.container,
        "sh",
        "-c",
        "tty=$(stty size); echo is $tty",
    ]
    command = ["script", "--quiet", "--return", "--command", " ".join(f"'{word}'" for word in words), "/dev/null"]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout
    assert "is " in told.stdout


def test_its_log_tells_what_it_does(running: Running) -> None:
    log = running.engine.api.logs(running.container).decode().splitlines()
    assert log[:2] == ["host1: here, waiting for the fabric", "host1: runs testbed.nodes.agent:run"]


def test_its_figures_are_those_of_its_limits(running: Running) -> None:
    stats = running.engine.api.stats(running.container, stream=False)
    assert stats["memory_stats"]["limit"] == 64 << 20
    assert stats["pids_stats"]["current"] >= 1
    shown = subprocess.run(
        [*running.engine.command_line(), "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert f"{running.container} " in shown
    assert "/ 64MiB" in shown
    config = running.engine.api.inspect_container(running.container)["HostConfig"]
    assert config["NanoCpus"] == 250_000_000


def test_its_labels_name_its_run_and_its_node(running: Running) -> None:
    found = running.engine.api.inspect_container(running.container)
    labels = found["Config"]["Labels"]
    assert labels["oae-testbed.node"] == "host1"
    assert running.container == f"oae-{labels['oae-testbed.run']}-host1"
    assert (found["HostConfig"]["Privileged"], found["HostConfig"]["NetworkMode"]) == (False, "none")


# -- for somebody who wants out --------------------------------------------------------------------------------------

WAYS_OUT = {
    "another node's namespace, by its process": ("open('/proc/NEIGHBOUR/ns/net')", "ENOENT"),
    "another namespace, by joining": ("checked(libc.setns(os.open('/proc/self/ns/net', 0), 0))", "EPERM"),
    "a namespace of its own, with all rights in it": ("checked(libc.unshare(0x10000000))", "EPERM"),
    "the same, by clone": ("checked(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))", "EPERM"),
    "a process of another node's": ("os.kill(NEIGHBOUR, 9)", "ESRCH"),
    "a file of the host's": ("open('SECRET')", "ENOENT"),
    "the host's files, by the first process": ("open('/proc/1/root' + 'SECRET')", "ENOENT"),
    "the host's files, by a handle": (
        "checked(libc.open_by_handle_at(0, ctypes.create_string_buffer(64), 0))",
        "EPERM",
    ),
    "its own programs, changed": ("open('/opt/oae/testbed/nodes/agent/loop.py', 'a')", "EROFS"),
    "a mount": ("checked(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))", "EPERM"),
    "its root, made writable": ("checked(libc.mount(b'none', b'/', None, 4096 | 32, None))", "EPERM"),
    "a disk, by a device file": ("os.mknod('/dev/shm/disk', 0o60600, os.makedev(254, 0))", "EPERM"),
    "the machine's memory": ("open('/dev/mem')", "ENOENT"),
    "the kernel's log": ("open('/dev/kmsg')", "ENOENT"),
    "the kernel's settings": ("open('/proc/sys/kernel/core_pattern', 'w')", "EROFS"),
    "the machine, by its emergency key": ("open('/proc/sysrq-trigger', 'w')", "EROFS or ENOENT"),
    "the engine": ("socket.socket(socket.AF_UNIX).connect('ENGINE')", "ENOENT"),
    "the folder of its socket": ("open('/run/oae/more', 'w')", "EROFS"),
    "its NIC, taken down by an ioctl": (
        "import fcntl, struct\nfcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'host1-eth0', 0))",
        "EPERM",
    ),
    "another node's NIC": ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).bind(('host2-eth0', 3))", "ENODEV"),
    "a program in the kernel": ("checked(libc.syscall(321, 0, ctypes.create_string_buffer(120), 120))", "EPERM"),
    "the machine's clock": ("import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)", "EPERM"),
    "the rights of its owner in the engine's groups": (
        "open('/sys/fs/cgroup/memory/release_agent', 'w')",
        "EROFS or ENOENT",
    ),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_there_is_no_way_out(running: Running, way: str) -> None:
    code, refusal = WAYS_OUT[way]
    address = running.engine.address.removeprefix("unix://")
    for word, meaning in (("NEIGHBOUR", running.neighbour), ("SECRET", running.secret), ("ENGINE", address)):
        code = code.replace(word, str(meaning))
    assert running.python(code) in refusal.split(" or ")


def test_no_right_but_the_named_one_can_be_had(running: Running) -> None:
    """Not in any set, nor by a program with more: there is none, and it would get none."""
    assert list(CAPABILITIES) == ["NET_RAW"]
    status = inside(running.engine, running.container, "cat", "/proc/1/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {int(facts[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {NET_RAW}
    assert {int(facts[name], 16) for name in ("CapInh", "CapAmb")} == {0}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert running.python("checked(libc.prctl(47, 2, 12, 0, 0))") == "EPERM"  # NET_ADMIN into the ambient set
    processes = running.python("print(sum(name.isdigit() for name in os.listdir('/proc')))")
    assert processes == "2\nREACHED"  # the agent, and who asks
    assert inside(running.engine, running.container, "ip", "link", "set", "host1-eth0", "down").returncode != 0
