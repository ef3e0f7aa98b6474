"""Mininet's command line on our fabrics: whatever is typed, it answers in a line or works, and the fabric goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mininet.cli import CLI

pytestmark = pytest.mark.usefixtures("namespaces")

FABRIC = ("leaf_spine", "--set", "spines=1", "--set", "leaves=2", "--set", "hosts_per_leaf=1")
PING = "host1 ping -c 1 -W 1 host2"

TYPED: list[tuple[str, int, str]] = [
    # command, whether it fails, what it says
    ("nodes", 0, "host1 host2 leaf1 leaf2 spine1"),
    ("net", 0, "host1 host1-eth0:leaf1-eth1"),
    ("intfs", 0, "host1: host1-eth0"),
    ("links", 0, "host1-eth0<->leaf1-eth1 (OK OK)"),
    ("ports", 0, "leaf1-eth1:1"),
    ("dump", 0, "<HeldHost host1: host1-eth0:10.0.0.1"),
    ("help", 0, "mininet> host27 ifconfig" if "h27" in CLI.helpStr else "mininet> host1 ifconfig"),
    ("help iperf", 0, "TCP between two hosts"),
    ("py 6 * 7", 0, "42\n"),
    ("py 1 / 0", 1, "*** py: division by zero\n"),
    ("px number = 8", 0, ""),
    ("py number", 0, "8\n"),  # what was said before is known
    ("px raise ValueError", 1, "*** px: ValueError\n"),
    ("sh echo to the switches", 0, "to the switches\n"),
    ("sh exit 3", 1, "*** sh: exit code 3\n"),
    ("noecho host1 echo quietly", 0, "quietly"),
    ("noecho h1 ls", 1, "*** h1: hosts are called host1, not h1, here; did you mean 'host1'? (commands: help)\n"),
    ("time host1 true", 0, "*** Elapsed time: 0."),
    ("pingpair", 0, "0% dropped (2/2 received)"),
    ("pingpairfull", 0, "host1->host2: 1/1"),
    ("pingall", 0, "0% dropped (2/2 received)"),
    ("pingallfull", 0, "host1->host2: 1/1"),
    ("link host1 leaf1 down", 0, ""),
    (PING, 2, "unreachable"),
    ("link host1 leaf1 up", 0, ""),
    (PING, 0, "1 received"),
    ("link h1 leaf1 down", 1, "did you mean 'host1'?"),
    ("link host1 leaf2 down", 1, "not connected"),
    ("link host1", 1, "usage: link node1 node2 up|down\n"),
    ("switch leaf1 stop", 0, ""),
    (PING, 1, "0 received"),
    ("switch leaf1 start", 0, ""),
    (PING, 0, "1 received"),
    ("switch s1 stop", 1, "*** s1: there is no such node; switches here: leaf1, leaf2, spine1\n"),
    ("switch host1 stop", 1, "*** switch: host1 is a host\n"),
    ("switch leaf1", 1, "usage: switch <switch name> stop|start\n"),
    ("source commands", 1, "one\n*** py: division by zero\ntwo\n"),
    ("source nowhere", 1, "*** source: nowhere: No such file or directory\n"),
    ("source itself", 1, "recursion depth"),
    ("source", 1, "usage: source <file>\n"),
    ("dpctl dump-flows", 1, "Linux bridges without OpenFlow; their entries: leaf1 bridge fdb show\n"),
    ("iperf", 1, "*** iperf: iperf and telnet not installed here (apt-get install iperf telnet)\n"),
    ("iperf host1 h2", 1, "did you mean 'host2'?"),
    ("iperf host1 host1", 1, "two hosts are wanted"),
    ("iperfudp", 1, "*** iperfudp: iperf not installed here (apt-get install iperf)\n"),
    ("xterm host1", 1, "no display here (DISPLAY is not set); in another terminal: testbed exec -f first host1 bash\n"),
    ("gterm host1", 1, "no display here"),
    ("x host1 xclock", 1, "no display here"),
    ("x host9 xclock", 1, "*** host9: there is no such node"),
    ("host1 ping -c 1 h2", 2, "hosts are called host1, not h1, here; did you mean 'host2'?"),
    ("host1 echo 'two  blanks'", 0, "two  blanks\n"),
    ("host1 exit 7", 7, ""),
    ("EOF", 0, "\n"),
    ("quit", 0, ""),
    ("exit", 0, ""),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, and a machine on which Mininet's helpers are not installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DISPLAY", raising=False)
    for program in ("iperf", "telnet"):  # the same answer where they are installed
        monkeypatch.setenv("PATH", _without(program, os.environ["PATH"], tmp_path))
    (tmp_path / "commands").write_text("host1 echo one # with a comment\npy 1 / 0\nhost1 echo two\n")
    (tmp_path / "itself").write_text("source itself\n")
    return tmp_path


def _without(program: str, path: str, scratch: Path) -> str:
    """PATH whose folders lack a program: those that have it are stood for by links to all else in them."""
    folders = [Path(folder) for folder in (*path.split(os.pathsep), "/usr/sbin", "/sbin")]
    for place, folder in enumerate(folders):
        if (folder / program).exists():
            folders[place] = stand_in = scratch / f"{program}-{place}"
            stand_in.mkdir()
            for file in folder.iterdir():
                if file.name != program:
                    (stand_in / file.name).symlink_to(file)
    return os.pathsep.join(map(str, folders))


def up(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "testbed.cli.main", "up", *FABRIC, *words]
    return subprocess.run(command, input=typed, capture_output=True, text=True, timeout=120, check=False)


def test_every_command_of_mininets_works_or_says_why_not(here: Path) -> None:
    """All on one fabric, one after the other: none of them ends it."""
    tried = {command.split()[0] for command, _, _ in TYPED}
    assert {name.removeprefix("do_") for name in dir(CLI) if name.startswith("do_")} <= tried
    done = up("--name", "first", "--json", *(word for command, _, _ in TYPED for word in ("-x", command)))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    found = [(result["command"], result["exit_code"]) for result in results]
    assert found == [(command, code) for command, code, _ in TYPED]
    for result, (command, _, told) in zip(results, TYPED, strict=True):
        assert told in result["output"], command
        assert "Traceback" not in result["output"]


def test_at_the_prompt_nothing_that_is_typed_ends_the_fabric(here: Path) -> None:
    lines = ["h1 ls", "frobnicate", "iperf", "source nowhere", "px raise ValueError", "switch leaf1 stop", "py 6 * 7"]
    done = up(typed="".join(f"{line}\n" for line in lines))
    assert (done.returncode, "Traceback" in done.stdout + done.stderr) == (0, False)
    assert "*** h1: hosts are called host1, not h1, here; did you mean 'host1'?" in done.stderr + done.stdout
    assert "42" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("h1 ls", "net, links, ...); h1: hosts are called host1, not h1, here; did you mean 'host1'?\n"),
        ("s1 ls", "net, links, ...); s1: there is no such node; switches here: leaf1, leaf2, spine1\n"),
        ("frobnicate", "frobnicate: there is no such node; there are host1, host2,"),
    ],
)
def test_a_wrong_command_is_told_before_anything_is_brought_up(here: Path, command: str, told: str) -> None:
    done = up("-x", command)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr
