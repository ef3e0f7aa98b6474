"""`testbed capture`: what goes over a running fabric, as lines and as pcapng, with a clear end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pcapng_files import OUT, packets
from typer.testing import CliRunner

from testbed.cli.capture import chosen_nics
from testbed.cli.main import app
from testbed.cli.tapping import frame_text
from testbed.errors import UserError
from testbed.nodes.frames import Carried, Frame, FrameKey, Kind, Message, carry, encode
from testbed.topologies.build import make_fabric

BIN = Path(sys.executable).parent
HOSTS = ("host1", "host2", "host3")
SWAP = Frame(FrameKey(0, 3, 99), 1, 0, Message(Kind.SWAP, 17, 3, bytes(15) + b"\x07", 1))
MACS = bytes.fromhex("020000000002"), bytes.fromhex("020000000001")
WIRES = [encode(SWAP._replace(key=FrameKey(0, 3, seq)), *MACS) for seq in (1, 2, 3)]
ARP = bytes.fromhex("ffffffffffff0200000000010806 0001080006040001 0200000000010a000001 0000000000000a000002")
SENDER = """\
import socket, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("host1-eth0", 0))
for wire in sys.argv[1:]:
    out.send(bytes.fromhex(wire))
"""
LINE = re.compile(r"(\d\d:\d\d:\d\d)\.(\d{9}) (\S+) (in|out) (.*)")


@pytest.fixture(scope="module")
def running(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in which two fabrics are up: ``wired`` without a switch, ``switched`` with one."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("state"))}
    for name, asked in (("wired", ["pair"]), ("switched", ["star", "--set", "hosts=3"])):
        subprocess.run([BIN / "testbed", "up", "-d", *asked, "--name", name], env=environment, check=True, timeout=120)
    yield environment
    subprocess.run([BIN / "testbed", "down"], env=environment, check=True, timeout=120)


def capturing(environment: dict[str, str], *argv: str) -> subprocess.Popen[str]:
    """A capture that has begun."""
    command = [str(BIN / "testbed"), "capture", *argv]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert process.stderr is not None
    said = process.stderr.readline()
    assert said.startswith("testbed: capturing at "), said
    return process


def send(environment: dict[str, str], fabric: str, wires: Sequence[bytes] = WIRES) -> None:
    command = [BIN / "testbed", "exec", "-f", fabric, "host1", sys.executable, "-c", SENDER]
    subprocess.run([*command, *(wire.hex() for wire in wires)], env=environment, check=True, timeout=120)


def lines_of(output: str) -> list[tuple[str, str, str]]:
    """Interface, way and text of each line."""
    found = [LINE.fullmatch(line) for line in output.splitlines()]
    assert all(found), output
    return [(line[3], line[4], line[5]) for line in found if line]


def test_every_frame_is_a_line_and_a_packet_at_each_interface_until_there_were_so_many(running, tmp_path) -> None:
    process = capturing(running, "switched", "host1", "host2-eth0", "--count", "6", "-o", str(tmp_path / "a.pcapng"))
    send(running, "switched")
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, f"testbed: 6 frames, in {tmp_path}/a.pcapng; 0 lost for want of room\n")
    text = "host1 > host2: SWAP 3 of round 17 flags 1: 00000000000000000000000000000007 (life 3 to ?, frame {})"
    seen = packets(tmp_path / "a.pcapng")
    assert [one.at_ns for one in seen] == sorted(one.at_ns for one in seen)
    for number, wire in enumerate(WIRES, 1):
        own = [line for line in lines_of(output) if line[2] == text.format(number)]
        assert own == [("host1-eth0", "out", own[0][2]), ("host2-eth0", "in", own[0][2])]
        assert [(one.interface, one.way == OUT) for one in seen if one.wire == wire] == [
            ("host1-eth0", True),
            ("host2-eth0", False),
        ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_capture_ends_when_it_is_told_to_with_all_that_came_before(running, tmp_path, number) -> None:
    """Ctrl-C at a terminal reaches all its processes; `kill` the one that was started."""
    process = capturing(running, "wired", "host1<->host2", "-o", str(tmp_path / "a.pcapng"))
    send(running, "wired")
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len(lines_of(output)) == len(packets(tmp_path / "a.pcapng")) == 2 * len(WIRES)


def test_a_capture_goes_into_a_pipe_with_frames_of_others_as_well(running) -> None:
    process = capturing(running, "wired", "host2", "-c", "1", "-o", "-")
    send(running, "wired", [ARP])
    assert process.stdout is not None
    written = process.stdout.buffer.read()
    assert written[:4] == b"\x0a\x0d\x0d\x0a"
    assert ARP in written
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_what_came_of_it_is_told_as_json_after_so_many_seconds(running) -> None:
    process = capturing(running, "switched", "role:switch", "--seconds", "0.2", "--json")
    output, _ = process.communicate(timeout=120)
    told = json.loads(output)
    assert told == {
        "fabric": "switched",
        "file": None,
        "frames": 0,
        "interfaces": ["switch1-eth1", "switch1-eth2", "switch1-eth3"],
        "lost": 0,
    }


def test_what_can_not_be_captured_is_told_in_one_line(running, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", running["XDG_RUNTIME_DIR"])
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for argv, words in (
        (["nothing"], "nothing: no fabric of yours is called so; up: "),
        (["wired", "host7"], "host7: wired has no such node or NIC; did you mean 'host"),
        (["wired", "-o", str(taken)], "taken: is there already; remove it, or name another file with --out"),
        (["wired", "-o", "-", "--json"], "--json does not go with --out -"),
        (["wired", "-o", str(tmp_path / "no" / "a")], "No such file or directory; is the name right?"),
    ):
        told = CliRunner().invoke(app, ["capture", *argv])
        assert (told.exit_code, told.stderr.count("\n")) == (2, 1), told.stderr
        assert words in told.stderr
    assert taken.read_text() == "mine"


def test_words_mean_nodes_nics_and_links() -> None:
    fabric = make_fabric("leaf_spine", {"spines": 1, "leaves": 2, "hosts_per_leaf": 1})
    assert len(chosen_nics(fabric, [])) == 8
    assert chosen_nics(fabric, ["host1"]) == [("host1", "host1-eth0")]
    assert chosen_nics(fabric, ["leaf1-eth2"]) == [("leaf1", "leaf1-eth2")]
    assert {node for node, _ in chosen_nics(fabric, ["role:leaf"])} == {"leaf1", "leaf2"}
    between = {("leaf1", "leaf1-eth2"), ("spine1", "spine1-eth1"), ("leaf2", "leaf2-eth2"), ("spine1", "spine1-eth2")}
    for word in ("leaf*<->spine1", "tier:spine-leaf", "spine1<->leaf?"):
        assert set(chosen_nics(fabric, [word])) == between
    for word in ("host1<->host2", "leaf1->spine1", "role:core", "nothing"):
        with pytest.raises(UserError, match=word.partition(":")[2] or word):
            chosen_nics(fabric, [word])


def test_frames_are_told_by_our_decoder_damaged_ones_with_what_they_were_others_by_scapy() -> None:
    assert frame_text(ARP, HOSTS) == "Ether / ARP who has 10.0.0.2 says 10.0.0.1"
    wire = bytearray(WIRES[0])
    wire[30] ^= 4
    assert frame_text(bytes(wire), HOSTS) == f"{frame_text(WIRES[0], HOSTS)} [wrong CRC]"
    inside = carry(Carried(Kind.SWAP, 0, 2, 1, 2, bytes(15) + b"\x01"), 4, 2, 0)
    assert frame_text(encode(Frame(FrameKey(1, 1, 8), 2, 1, inside), *MACS), HOSTS) == (
        "host2 > host3: CARRIED 2 of round 4: SWAP host1 > host3 00000000000000000000000000000001 (life 1 to 2) "
        "(life 1 to 1, frame 8)"
    )
    long = Frame(FrameKey(9, 1, 1), 2, 4, Message(Kind.DATA, 5, 2, b"\xff" * 900))
    assert frame_text(encode(long, *MACS), HOSTS) == (
        "node 9 > host3: DATA 2 of round 5: ffffffffffffffffffffffffffffffff... 900 bytes (life 1 to 4, frame 1)"
    )
