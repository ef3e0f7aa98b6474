"""The live fabric in namespaces of its own, as root and as an ordinary user; the stories are in fabric_stories.py."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import mininet
import pytest
from needs import ROOT, as_nobody, lacking, needs

from testbed.engines.live.isolation import isolated_popen, run_isolated
from testbed.engines.vkernel.boot import Guest, boot

STORIES = Path(__file__).with_name("fabric_stories.py")
MARK = "FABRIC_TEST_MARK"
MN = shutil.which(
    "mn", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
)  # the environment's own, or the system's
RUN_STORY = (
    "import sys; from testbed.engines.live.isolation import run_isolated; "
    "sys.exit(run_isolated([sys.executable, *sys.argv[1:]]))"
)
needs_ping = needs("tools", shutil.which("ping"), "ping is not installed (Debian: iputils-ping)")
pytestmark = pytest.mark.usefixtures("namespaces")


@pytest.fixture
def python(python: list[str]) -> list[str]:
    """As elsewhere (see tests/conftest.py), and that user can have namespaces."""
    probe = "from testbed.engines.live.isolation import check_isolation; check_isolation()"
    told = subprocess.run([*python, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        lacking("namespaces", told.stderr.strip().splitlines()[-1])
    return python


@pytest.fixture(autouse=True)
def _host_untouched() -> Iterator[None]:
    """Whatever a test does, the host's own network and mounts are as before."""
    before = host_network()
    yield
    assert host_network() == before


@pytest.mark.parametrize(
    "story",
    [
        pytest.param("everyone_reaches_everyone", marks=needs_ping),
        pytest.param("plain_mininet", marks=needs_ping),
        "too_few_open_files_are_refused_before_anything_is_up",
        "what_users_leave_running_ends",
        "what_the_kernel_refuses_is_named_and_the_rest_is_done",
        "muted_nics_are_silent",
        "deaf_nics_hear_the_others",
        pytest.param("downed_nics_lose_carrier", marks=[needs_ping, pytest.mark.slow]),
        "spawned_processes",
        "hosts_that_start_nothing_take_no_process",
        "a_holder_that_ends_with_an_order_unread_has_ended",
        "jitter_without_netem_is_refused",
    ],
)
def test_story(story: str, python: list[str]) -> None:
    tell(python, story)


def test_no_namespaces_to_be_had_is_said_with_advice() -> None:
    tell(as_nobody(), "no_namespaces_to_be_had")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_sigkill_of_the_caller_leaves_nothing(seed: int, python: list[str]) -> None:
    """At a random moment: while namespaces are made, a fabric comes up, is up, or goes down."""
    mark = str(uuid.uuid4())
    moment = random.Random(seed).uniform(0.02, 2.5)
    caller = subprocess.Popen(
        [*python, "-c", RUN_STORY, str(STORIES), "up_until_killed"],
        env=environment() | {MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(moment)
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 10
    while left := marked_processes(mark):
        assert time.monotonic() < deadline, f"killed after {moment:.3f} s, still there: {left}"
        time.sleep(0.01)


def test_the_commands_exit_code_comes_back_and_signals_reach_it() -> None:
    assert run_isolated(["sh", "-c", "exit 42"]) == 42
    assert run_isolated(["sh", "-c", "kill -9 $$"]) == 128 + signal.SIGKILL
    process = isolated_popen(["sh", "-c", "trap 'exit 7' TERM; echo ready; sleep 100 & wait"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait(10) == 7
    with pytest.raises(FileNotFoundError, match="no-such-command"):
        run_isolated(["no-such-command"])


def test_callers_without_standard_streams_may_isolate_too() -> None:
    """As cron jobs and services do: a pipe of ours must not take the place of the command's standard input."""
    command = ["sh", "-c", "(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2) > $0"]
    with tempfile.NamedTemporaryFile("r") as streams:
        caller = f"from testbed.engines.live.isolation import run_isolated as r; r({[*command, streams.name]!r})"
        bare = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", caller]
        subprocess.run(bare, cwd=ROOT, check=True)
        assert streams.read().split() == ["/dev/null"] * 3


def test_isolated_processes_see_a_world_of_their_own() -> None:
    script = "import os, socket; print(os.getpid() < 10, socket.if_nameindex(), os.listdir('/run/netns'))"
    process = isolated_popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.communicate()[0] == b"True [(1, 'lo')] []\n"


def test_inside_the_guest_no_namespaces_are_made() -> None:
    here = os.readlink("/proc/self/ns/net")
    process = isolated_popen(["readlink", "/proc/self/ns/net"], already_isolated=True, stdout=subprocess.PIPE)
    assert process.communicate()[0].decode().strip() == here


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "story",
    ["netem_holds_what_was_asked", "muted_nics_are_silent", "deaf_nics_hear_the_others", "downed_nics_lose_carrier"],
)
def test_story_in_the_guest(story: str, kernel: Path, tmp_path: Path) -> None:
    result = boot(Guest((sys.executable, str(STORIES), story), tmp_path, cwd=ROOT, limit_s=240, kernel=kernel))
    assert result.status == 0, result.console.read_text(errors="replace")


@needs_ping
@needs("tools", MN, "Mininet's own command is not installed (Debian: mininet)")
@pytest.mark.parametrize("topology", ["leaf_spine,2,2,1", "pair"])
def test_plain_mn_with_our_classes(topology: str) -> None:
    custom = ROOT / "testbed/engines/live/mn_custom.py"
    command = [sys.executable, str(MN), "--custom", str(custom), "--topo", topology, "--host", "held"]
    command += ["--switch", "static", "--link", "impaired", "--controller", "none", "--test", "pingall"]
    # When something goes wrong, mn deletes /tmp/*.log, ~/.ssh/mn and more: let it find folders of its own.
    apart = ["sh", "-c", 'mount -t tmpfs none /tmp && export HOME=/tmp && exec "$@"', "sh", *command]
    process = isolated_popen(apart, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0, output
    assert "0% dropped" in output


# --- helpers ---------------------------------------------


def tell(python: Sequence[str], story: str) -> None:
    told = subprocess.run(
        [*python, "-c", RUN_STORY, str(STORIES), story],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-6000:]


def environment() -> dict[str, str]:
    packages = str(Path(mininet.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), packages]), "PYTHONDONTWRITEBYTECODE": "1"}


def marked_processes(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
            except OSError:
                continue
    return found


def host_network() -> tuple[object, ...]:
    """What must not change. Other tests may run at the same time, but nothing of theirs shows here either."""
    settings = ("net/bridge/bridge-nf-call-iptables", "net/ipv6/conf/all/disable_ipv6", "fs/file-max")
    values = [path.read_text() if (path := Path("/proc/sys") / name).exists() else "" for name in settings]
    return socket.if_nameindex(), Path("/proc/self/mounts").read_text(), values
