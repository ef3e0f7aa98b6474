"""Captures of links and nodes: on request, the same in every engine, and read by Wireshark as by us."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from pcapng_files import IN, OUT, Seen, packets
from scapy.layers.l2 import Ether
from typer.testing import CliRunner
from wireshark import NUMBERS, dissected, numbers_of

from testbed.cli.main import app
from testbed.engines.registry import engine_by_name
from testbed.history import History
from testbed.nodes.frames import MAX_BODY, FrameError, decode
from testbed.nodes.frames.scapy_layer import messages
from testbed.plan import Captures, Plan
from testbed.runs import begin_run, write_run
from testbed.scenario import ScenarioError, compile_plan, explain, parse
from testbed.verdicts import judge

STORY = """
name: captured
topology: {kind: leaf_spine, spines: 1, leaves: 2, hosts_per_leaf: 2}
links:
  default: {delay: 5us, jitter: 2us}
  "leaf*<->spine*": {delay: 20us, corrupt: 5%}
protocol: {consensus: paxos, instances: 4, window: 2ms, f: 1, parameters: {value_bytes: 2000}}
seed: 5
"""
ASKED = 'capture: {links: ["leaf*<->spine*"], nodes: [host1, role:leaf]}\n'
FILES = {
    "frames/host1.pcapng": ["host1-eth0"],
    "frames/leaf1.pcapng": ["leaf1-eth1", "leaf1-eth2", "leaf1-eth3"],
    "frames/leaf2.pcapng": ["leaf2-eth1", "leaf2-eth2", "leaf2-eth3"],
    "frames/leaf1-eth3--spine1-eth1.pcapng": ["leaf1-eth3", "spine1-eth1"],
    "frames/leaf2-eth3--spine1-eth2.pcapng": ["leaf2-eth3", "spine1-eth2"],
}


def plan_of(text: str) -> Plan:
    return compile_plan(parse(text))


def ran(plan: Plan, engine: str, directory: Path) -> History:
    begin_run(directory, "", plan)
    history = engine_by_name(engine).run(plan, directory)
    write_run(directory, "", plan, history, judge(plan, history))
    return history


def captures(directory: Path) -> dict[str, list[Seen]]:
    found = [path for path in directory.rglob("*.pcapng") if directory / "vkernel" not in path.parents]
    return {path.relative_to(directory).as_posix(): packets(path) for path in found}


def names_and_times(seen: list[Seen]) -> list[tuple[str, int, int, int]]:
    return sorted((*one[:3], len(one.wire)) for one in seen)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[History, list[Seen]]:
    """A run on sim with one capture of everything."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    history = ran(plan_of(STORY), "sim", directory)
    ((name, seen),) = captures(directory).items()
    assert name == "frames.pcapng"
    return history, seen


@pytest.fixture(scope="module", params=["sim", pytest.param("vkernel", marks=pytest.mark.kernel)])
def chosen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, History, dict[str, list[Seen]]]:
    """A run with captures of some links and nodes."""
    if request.param == "vkernel":
        request.getfixturevalue("kernel")
    directory = tmp_path_factory.mktemp("chosen") / "run"
    history = ran(plan_of(STORY + ASKED), request.param, directory)
    return directory, history, captures(directory)


def test_files_hold_what_was_asked_for_the_same_in_every_engine(chosen, whole) -> None:
    _, history, files = chosen
    everything = whole[1]
    assert files.keys() == FILES.keys()
    assert list(history.hops) == list(whole[0].hops), "what is captured changes nothing of what is recorded"
    for name, seen in files.items():
        assert {one.interface for one in seen} == set(FILES[name])
        expected = [one for one in everything if one.interface in FILES[name]]
        assert names_and_times(seen) == names_and_times(expected)
        assert [one.at_ns for one in seen] == sorted(one.at_ns for one in seen)


def test_both_ends_of_a_link_see_a_frame_leave_and_arrive(chosen) -> None:
    for name, seen in chosen[2].items():
        if "--" in name:
            ends = FILES[name]
            left, came = ([one for one in seen if one.way == way] for way in (OUT, IN))
            assert {one.interface for one in left} == {one.interface for one in came} == set(ends)
            for here, there in (ends, reversed(ends)):
                sent = [(one.at_ns, one.wire) for one in left if one.interface == here]
                assert sent == [(one.at_ns, one.wire) for one in came if one.interface == there]


def told_by_us(wire: bytes) -> dict[str, object]:
    try:
        (src, epoch, seq), dst, peer_epoch, (kind, round_, step, body, flags) = decode(wire)
    except FrameError as error:
        return {"problem": error.reason}
    told = {"src": src, "epoch": epoch, "seq": seq, "dst": dst, "peer_epoch": peer_epoch, "kind": kind, "round": round_}
    return told | {"step": step, "body": body.hex(), "flags": flags, "length": len(body)}


def told_by_tshark(row: dict[str, str]) -> dict[str, object]:
    if "oae.problem" in row:
        return {"problem": row["oae.problem"]}
    told: dict[str, object] = {**numbers_of(row), "body": row["oae.body"]}
    return {name: value for name, value in told.items() if name not in ("version", "reserved")}


@pytest.mark.parametrize("name", ["frames/leaf1.pcapng", "frames/leaf2.pcapng"])
def test_tshark_reads_every_frame_of_a_run_as_our_decoder_does(name: str, chosen) -> None:
    directory, history, files = chosen
    fields = [
        *(f"oae.{field}" for field in NUMBERS),
        "oae.problem",
        "oae.body",
        "oae.message",
        "oae.says",
        "oae.misfit",
    ]
    rows = dissected(directory / name, fields)
    wires = [one.wire for one in files[name]]
    assert [told_by_tshark(row) for row in rows] == [told_by_us(wire) for wire in wires]
    assert any(row.get("oae.problem") == "corrupt" for row in rows), "the scenario corrupts some"
    joined = [row["oae.message"] for row in rows if "oae.message" in row]
    long = [frame.message.body.hex() for _, frame in messages(map(Ether, wires)) if len(frame.message.body) > MAX_BODY]
    assert joined == long
    assert bool(long) == (history.engine == "vkernel"), "sim keeps no bytes, and writes parts as long zeros"
    assert not any("oae.misfit" in row for row in rows)
    said = {row["oae.says"] for row in rows if "oae.says" in row}
    assert said >= {"accept", "decide"} if long else not said


def test_a_run_with_captures_of_its_own_is_replayed_byte_for_byte(tmp_path: Path) -> None:
    ran(plan_of(STORY + ASKED), "sim", tmp_path / "run")
    again = CliRunner().invoke(app, ["replay", str(tmp_path / "run")])
    assert (again.exit_code, again.stdout.partition(":")[0]) == (0, "the same, byte for byte")
    victim = tmp_path / "run" / "frames" / "host1.pcapng"
    victim.write_bytes(victim.read_bytes()[:-4] + b"oops")
    again = CliRunner().invoke(app, ["replay", str(tmp_path / "run")])
    assert (again.exit_code, again.stdout) == (1, "frames/host1.pcapng differ: events and hops are the same\n")
    victim.unlink()
    again = CliRunner().invoke(app, ["replay", str(tmp_path / "run")])
    assert again.exit_code == 2
    assert "frames/host1.pcapng is missing" in again.stderr


def test_another_run_in_the_same_directory_leaves_no_capture_of_the_one_before(tmp_path: Path) -> None:
    ran(plan_of(STORY + ASKED), "sim", tmp_path)
    plan = plan_of(STORY)
    history = engine_by_name("sim").run(plan)
    write_run(tmp_path, "", plan, history, judge(plan, history), replace=True)
    assert sorted(path.name for path in tmp_path.rglob("*.pcapng")) == ["frames.pcapng"]


def test_the_plan_keeps_what_was_asked_and_explain_names_the_files() -> None:
    scenario = parse(STORY + ASKED)
    plan = compile_plan(scenario)
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.capture == Captures(links=(4, 5), nodes=("host1", "leaf1", "leaf2"))
    assert ", ".join(FILES) in explain(scenario)
    assert compile_plan(scenario.with_override("capture", "false")).capture is False


@pytest.mark.parametrize(
    ("capture", "told"),
    [
        ("{}", "capture: names nothing; write links: [leaf*<->spine*], nodes: [host1], or capture: true"),
        ("{nodes: hots1}", "'hots1' matches no node; did you mean 'host1'?"),
        ("{nodes: [role:core]}", "no role 'core' in this fabric"),
        ("{links: [host1->leaf1]}", "the capture of a link holds both directions; write <-> in place of ->"),
        ("{links: host1<->spine1}", "host1<->spine1 matches no link"),
        ("{node: host1}", "node"),
        ("sometimes", "capture"),
    ],
)
def test_what_can_not_be_captured_is_told(capture: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_of(f"{STORY}capture: {capture}\n")
    assert told in str(caught.value)


NAMED = """
name: named
topology: {kind: star, hosts: 3}
links: {default: {delay: 20us}}
protocol: {consensus: none, depth: 2, window: 200us, rounds: 9}
faults: [{at: 1ms, do: nic_mute, on: host2}, {at: 1.2ms, do: nic_down, on: host3}]
"""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("named") / "run"
    ran(plan_of(NAMED), "sim", directory)
    return directory / "frames.pcapng"


def test_a_capture_names_its_nodes_and_says_when_faults_struck(named: Path) -> None:
    seen = packets(named)
    fields = ["oae.src", "oae.dst", "oae.src.name", "oae.dst.name", "frame.comment", "frame.interface_description"]
    rows = dissected(named, fields)
    hosts = ["host1", "host2", "host3"]
    for one, row in zip(seen, rows, strict=True):
        assert (row["oae.src.name"], row["oae.dst.name"]) == tuple(
            hosts[int(row[f"oae.{way}"])] for way in ("src", "dst")
        )
        node, _, link = row["frame.interface_description"].partition(" on ")
        assert one.interface.startswith(f"{node}-")
        assert node in link.split("<->")
    said = {number: row["frame.comment"] for number, row in enumerate(rows) if "frame.comment" in row}
    after = [next(number for number, one in enumerate(seen) if one.at_ns >= at_ns) for at_ns in (1_000_000, 1_200_000)]
    told = ["nodes 0 host1, 1 host2, 2 host3", "fault 0: nic_mute host2", "fault 1: nic_down host3"]
    assert said == dict(zip([0, *after], told, strict=True))


def test_a_block_of_names_resolves_the_addresses_of_all_nics(named: Path) -> None:
    """As draft-ietf-opsawg-pcapng has it, for versions of Wireshark that read names of Ethernet's addresses."""
    data, blocks, at = named.read_bytes(), [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == 4:
            blocks.append(data[at + 8 : at + size - 4])
        at += size
    (block,) = blocks
    names, at = {}, 0
    while True:
        kind, size = struct.unpack_from("<HH", block, at)
        if kind == 0:
            break
        assert kind == 3
        record = block[at + 4 : at + 4 + size]
        assert record.endswith(b"\0")
        names[record[:6].hex(":")] = record[6:-1].decode()
        at += 4 + size + -size % 4
    fabric = plan_of(NAMED).fabric
    assert names == {end.mac: end.node for link in fabric.links for end in (link.a, link.b)}
