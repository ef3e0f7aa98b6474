"""A fabric in the background: prompts that come and go, what it said; and one in virtual time, for commands alone."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed.cli.doctor import examine
from testbed.cli.main import app

TESTBED = [sys.executable, "-m", "testbed.cli.main"]
PING = "host1 ping -c 1 -W 1 host2"


def call(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TESTBED, *words], input=typed, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of state that lies deeper than an address of a socket is long."""
    folder = tmp_path_factory.mktemp(
        "a-folder-of-state-whose-name-is-longer-than-what-fits-into-an-address-of-a-socket"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def fabric(state: Path, namespaces: None) -> Iterator[str]:
    up = call("up", "pair", "--detach", "--name", "lab")
    assert up.returncode == 0, up.stderr
    yield "lab"
    call("down")
    assert not list(state.glob("*/fabric-*"))


def test_a_link_cut_by_hand_stays_cut_when_the_prompt_has_gone(fabric: str) -> None:
    cut = call("attach", fabric, "-x", "link host1 host2 down", "-x", PING, "--json")
    assert [each["exit_code"] for each in json.loads(cut.stdout)] == [0, 2], cut.stderr
    assert cut.returncode == 1
    assert call("attach", "-x", PING).returncode == 1
    mended = call("attach", "-x", "link host1 host2 up", "-x", PING)
    assert (mended.returncode, "1 received" in mended.stdout) == (0, True), mended.stderr


def test_links_that_are_down_are_told_so(fabric: str) -> None:
    cut = call(
        "attach", fabric, "-x", "link host1 host2 down", "-x", "links", "-x", "link host1 host2 up", "-x", "links"
    )
    told = [line for line in cut.stdout.splitlines() if "<->" in line]
    assert told == ["host1-eth0<->host2-eth0 (DOWN DOWN)", "host1-eth0<->host2-eth0 (OK OK)"], cut.stderr


def test_two_dashes_before_a_command_are_no_part_of_it(fabric: str) -> None:
    told = call("exec", "-f", fabric, "host1", "--", "ip", "-br", "link")
    assert (told.returncode, "eth0" in told.stdout) == (0, True), told.stderr


def test_commands_know_hosts_by_name_and_nobody_else_does(fabric: str) -> None:
    """Only Mininet's prompt did, which puts the address in place of the name."""

    def of_this_machine() -> tuple[str, list[str]]:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return Path("/etc/hosts").read_text(), [mount for mount in mounts if "hosts" in mount]

    before = of_this_machine()
    pinged = call("exec", "-f", fabric, "host1", "--", "ping", "-c", "1", "-W", "1", "host2")
    assert "1 received" in pinged.stdout, pinged.stdout + pinged.stderr
    told = call("attach", fabric, "-x", "host1 getent hosts host2", "-x", "sh getent hosts host2").stdout.split()
    assert told == ["10.0.0.2", "host2"] * 2
    whole = call("exec", "-f", fabric, "host2", "--", "cat", "/etc/hosts").stdout
    assert whole == f"10.0.0.1\thost1\n10.0.0.2\thost2\n{before[0]}"
    assert of_this_machine() == before


def test_a_host_has_the_address_that_a_mininet_class_asks_for(state: Path, namespaces: None, tmp_path: Path) -> None:
    """ip= was refused."""
    (tmp_path / "mine.py").write_text(
        "from mininet.topo import Topo\n"
        "class Mine(Topo):\n"
        "    def build(self):\n"
        "        self.addLink(self.addHost('a', ip='192.168.1.5/24'), self.addHost('b', ip='192.168.1.6/24'))\n"
    )
    words = ("up", "--custom", f"{tmp_path / 'mine.py'}:Mine", "-x", "b ping -c 1 -W 1 a", "-x", "b ip -br -4 addr")
    told = call(*words)
    assert "1 received" in told.stdout, told.stdout + told.stderr
    assert "192.168.1.6/24" in told.stdout


def test_a_switch_stopped_at_one_prompt_is_started_at_another(state: Path, namespaces: None) -> None:
    up = call("up", "star", "--set", "hosts=2", "--detach", "--name", "switched")
    assert up.returncode == 0, up.stderr
    try:
        stopped = call("attach", "switched", "-x", "switch switch1 stop", "-x", PING, "--json")
        assert [each["exit_code"] for each in json.loads(stopped.stdout)] == [0, 1], stopped.stderr
        assert call("attach", "switched", "-x", PING).returncode == 1
        started = call("attach", "switched", "-x", "switch switch1 start", "-x", "switch switch1 start", "-x", PING)
        assert (started.returncode, "1 received" in started.stdout) == (0, True), started.stdout + started.stderr
    finally:
        call("down", "switched")


def test_lines_that_nobody_types_work_as_well_and_logs_tell_them(fabric: str) -> None:
    done = call("attach", typed="py 6 * 7\nfrobnicate\npx import os; os._exit(9)\n")
    assert (done.returncode, "42" in done.stdout + done.stderr) == (137, True)
    said = call("logs", fabric).stdout
    assert [line for line in said.splitlines() if line.startswith("  ")][-3:] == [
        "  py 6 * 7",
        "  frobnicate",
        "  px import os; os._exit(9)",
    ]
    assert said.splitlines()[-1].endswith("the prompt that was attached has ended")
    assert call("attach", "-x", "nodes").stdout == "available nodes are: \nhost1 host2\n"


def test_at_a_terminal_ctrl_c_is_for_what_runs_and_one_prompt_is_enough(fabric: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*TESTBED, "attach", fabric], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        _until(ours, "mininet> ")
        second = call("attach", fabric)
        assert (second.returncode, "a prompt is attached already" in second.stderr) == (2, True)
        os.write(ours, b"host1 sleep 600\n")
        _until(ours, "sleep 600")
        process.send_signal(signal.SIGINT)  # until it arrives at the command, and not before
        _until(ours, "mininet> ", again=lambda: process.send_signal(signal.SIGINT))
        os.write(ours, b"py 6 * 7\nexit\n")
        _until(ours, "42")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert call("attach", "-x", "nodes").returncode == 0


def _until(terminal: int, wanted: str, again: object = None) -> None:
    """Reads what is shown until it has come."""
    shown, deadline = "", time.monotonic() + 60
    while wanted not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096).decode(errors="replace")
        elif callable(again):
            again()


def test_a_fabric_that_has_a_prompt_already_is_not_attached_to(state: Path, fabric: str) -> None:
    """As `up` without --detach: its words, too, are on the terminal that it was started from."""
    process = subprocess.Popen([*TESTBED, "up", "pair", "--name", "seen", "-x", "host1 sleep 600"])
    try:
        deadline = time.monotonic() + 60
        while "seen" not in call("ps").stdout or "coming up" in call("ps").stdout:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        told = {verb: call(verb, "seen").stderr for verb in ("attach", "logs")}
        assert "seen has its prompt in the terminal that it was brought up from" in told["attach"]
        assert "seen speaks on the terminal that it was brought up from" in told["logs"]
    finally:
        call("down", "seen")
        process.wait(60)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("attach", "nowhere"), "nowhere: no fabric of yours is called so; up: lab"),
        (("logs", "nowhere"), "nowhere: no fabric of yours is called so; up: lab"),
        (("attach", "--json"), "--json goes with --exec"),
        (("attach", "-x", "h1 ls"), "did you mean 'host1'?"),
        (("exec", "h1", "ls"), "lab: h1: hosts are called host1, not h1, here; did you mean 'host1'?"),
        (("up", "pair", "-e", "vkernel"), "-e vkernel does not go with a prompt: its clock stands still"),
        (("up", "pair", "-e", "vkernel", "-d"), "-e vkernel does not go with --detach"),
        (("up", "pair", "-e", "vkernel", "--nodes", "container", "-x", "nodes"), "no containers in virtual time"),
        (("up", "pair", "-x", "nodes", "--set", "links.default.dely=1ms"), "unknown key 'dely'; did you mean 'delay'?"),
        (("up", "pair", "-x", "nodes", "--set", "delay=1ms"), "what links do is set as in links.default.delay=10ms"),
    ],
)
def test_what_can_not_be_is_told_in_a_line(fabric: str, words: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(app, list(words))
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert told in done.stderr


def test_links_of_a_bare_topology_are_impaired_where_the_kernel_has_netem(state: Path, namespaces: None) -> None:
    done = call("up", "pair", "--set", "links.default.delay=10ms", "-x", PING)
    if next(check.state for check in examine() if check.name == "netem") == "ok":
        assert float(done.stdout.partition("time=")[2].split()[0]) >= 20
    else:
        assert (done.returncode, done.stdout) == (2, "")
        assert "this kernel has no netem" in done.stderr
        assert "-e vkernel -x" in done.stderr


@pytest.mark.kernel
def test_in_virtual_time_delays_are_exact_and_seconds_take_none(state: Path, kernel: Path) -> None:
    """Ten milliseconds each way, four links there and back; an hour of sleep besides."""
    small = ("--set", "spines=1", "--set", "leaves=2", "--set", "hosts_per_leaf=1")
    commands = ("host1 ping -c 2 host2", "host2 sleep 3600", "link host1 leaf1 down", "host1 ping -c 1 -W 1 host2")
    words = [word for command in commands for word in ("-x", command)]
    done = call("up", "leaf_spine", *small, "--set", "links.default.delay=10ms", "-e", "vkernel", "--json", *words)
    assert done.returncode == 1, done.stderr
    pinged, slept, cut, refused = json.loads(done.stdout)
    assert "2 received" in pinged["output"]
    assert "time=80.0 ms" in pinged["output"]
    assert "time 1001ms" in pinged["output"]  # a second between two, as ping rounds it
    assert [each["exit_code"] for each in (pinged, slept, cut, refused)] == [0, 0, 0, 2]
