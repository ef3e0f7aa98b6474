"""The dissector for Wireshark says of every frame what our decoder says."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from wireshark import DISSECTOR, NUMBERS, dissected, is_true, numbers_of

from testbed.nodes.core import Send
from testbed.nodes.core.segmented import PART_BYTES, Segmented
from testbed.nodes.frames import (
    BODY_BYTES,
    HEAD_FIELDS,
    MAX_BODY,
    PART_HEAD,
    SLOTS,
    VERSION,
    Carried,
    Frame,
    FrameError,
    FrameKey,
    Kind,
    Message,
    carried,
    carry,
    decode,
    encode,
)
from testbed.nodes.frames.scapy_layer import Slot, messages
from testbed.nodes.services import messages as service
from testbed.nodes.services import spread
from testbed.pcapng import Packets, Wires, write_packets

_ERROR = 0x800000  # epan's PI_ERROR
TO, FROM = bytes.fromhex("020000000002"), bytes.fromhex("020000000001")
CARRIED_FIELDS = ("kind", "src", "dst", "epoch", "peer_epoch", "body")
FIELDS = (
    *(f"oae.{name}" for name in NUMBERS),
    "oae.body",
    "oae.crc",
    "oae.crc.good",
    "oae.problem",
    "oae.swap",
    "oae.frame",
    "oae.flags.current",
    "oae.flags.settled",
    "oae.flags.repeat",
    "oae.service",
    "oae.part.message",
    "oae.part.place",
    "oae.part.parts",
    "oae.message",
    *(f"oae.carried.{name}" for name in CARRIED_FIELDS),
)

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
slots = st.builds(Message, st.sampled_from(SLOTS), u32, u8, st.binary(min_size=BODY_BYTES, max_size=BODY_BYTES), u8)
bodies = st.binary(max_size=64) | st.integers(0, MAX_BODY).map(bytes)
data = st.builds(Message, st.just(Kind.DATA), u32, u8, bodies, u8)
heads = st.builds(PART_HEAD.pack, u32, u16, u16)
part_bodies = st.builds(bytes.__add__, heads, st.binary(max_size=64)) | bodies
parts = st.builds(Message, st.just(Kind.PART), u32, u8, part_bodies, u8)
whole = st.builds(Carried, st.sampled_from(SLOTS), u16, u16, u32, u32, st.binary(min_size=16, max_size=16))
carrying = st.builds(carry, whole, u32, u8, u8) | st.builds(Message, st.just(Kind.CARRIED), u32, u8, bodies, u8)
frames = st.builds(Frame, st.builds(FrameKey, u16, u32, u32), u16, u32, slots | data | parts | carrying)
macs = st.binary(min_size=6, max_size=6)
sound = st.builds(encode, frames, macs, macs)


def with_right_crc(wire: bytes) -> bytes:
    return wire[:-4] + zlib.crc32(wire[:-4]).to_bytes(4, "big")


@st.composite
def hurt(draw: st.DrawFn) -> bytes:
    """A bit flipped behind the EtherType, the end cut off, something behind it, or another header under a right CRC."""
    wire = bytearray(draw(sound))
    how = draw(st.sampled_from(["flip", "cut", "longer", "header", "noise"]))
    if how == "flip":
        bit = draw(st.integers(8 * 14, 8 * len(wire) - 1))
        wire[bit // 8] ^= 1 << bit % 8
    elif how == "cut":
        del wire[draw(st.integers(15, len(wire) - 1)) :]
    elif how == "longer":
        wire += draw(st.binary(min_size=1, max_size=9))
    elif how == "header":
        wire[draw(st.sampled_from([14, 18, 19]))] = draw(u8)
        wire = bytearray(with_right_crc(bytes(wire)))
    else:
        wire[14:] = draw(st.binary(min_size=1, max_size=200))
    return bytes(wire)


def capture_of(wires: Sequence[bytes], path: Path) -> Path:
    count = len(wires)
    packets = Packets(
        np.zeros(count, np.int32), np.arange(count), np.ones(count, bool), np.arange(count), Wires.of(wires)
    )
    write_packets(path, ["host1-eth0"], packets)
    return path


def told_by_us(wire: bytes) -> dict[str, object]:
    """What our decoder says of a frame, and where it refuses, what stands in the header's bytes."""
    try:
        frame = decode(wire)
    except FrameError as error:
        if error.reason == "short":
            return {"problem": "short"}
        forms = "!" + "".join("B" if name == "reserved" else form for name, form in HEAD_FIELDS)
        head = dict(zip((name for name, _ in HEAD_FIELDS), struct.unpack_from(forms, wire), strict=True))
        told = {name: head[name] for name in NUMBERS if name in head}
        return {"problem": error.reason, **told, "version": head["lead"] >> 4, "kind": head["lead"] & 15}
    (src, epoch, seq), dst, peer_epoch, (kind, round_, step, body, flags) = frame
    told = {"problem": None, "body": body.hex() or None, "version": VERSION, "kind": kind, "step": step, "flags": flags}
    told |= {"length": len(body), "src": src, "dst": dst, "epoch": epoch, "peer_epoch": peer_epoch}
    return {**told, "round": round_, "seq": seq, "carried": carried(frame.message)}


def told_by_tshark(row: dict[str, str]) -> dict[str, object]:
    problem = row.get("oae.problem")
    if problem == "short":
        return {"problem": "short"}
    numbers = numbers_of(row)
    told: dict[str, object] = {"problem": problem, **numbers}
    if problem is None:
        del told["reserved"]  # our decoder ignores it
        told |= {"body": row.get("oae.body", "").replace(":", "") or None, "carried": carried_by_tshark(row)}
    return told


def carried_by_tshark(row: dict[str, str]) -> Carried | None:
    told = [row.get(f"oae.carried.{name}") for name in CARRIED_FIELDS]
    if None in told or int(told[0]) not in SLOTS:
        return None
    return Carried(Kind(int(told[0])), *map(int, told[1:-1]), bytes.fromhex(told[-1].replace(":", "")))


@settings(  # a run of tshark for each example: shrinking one that fails would take minutes, and the frame is named
    max_examples=5, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(wires=st.lists(sound | hurt(), min_size=50, max_size=90))
def test_every_field_of_every_frame_is_what_our_decoder_reads(
    wires: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = dissected(capture_of(wires, tmp_path_factory.mktemp("wires") / "frames.pcapng"), FIELDS)
    for wire, row in zip(wires, rows, strict=True):
        told = told_by_tshark(row)
        assert told == told_by_us(wire), wire.hex()
        if told["problem"] != "short":
            assert is_true(row["oae.crc.good"]) or told["problem"] == "corrupt"


def test_swaps_flags_lives_and_steps_of_services_are_named(tmp_path: Path) -> None:
    told = [
        (Message(Kind.SWAP, 17, 3, flags=3), {"swap": "2-9 round 17", "flags.current": True, "flags.settled": True}),
        (Message(Kind.RESET, 17, 3), {"swap": "2-9 round 17"}),
        (
            carry(Carried(Kind.SWAP, 7, 3, 1, 0), 17, 3, 1),
            {"swap": "3-7 round 17", "flags.current": True, "flags.settled": False},
        ),
        (Message(Kind.DATA, 4, 130, b"put x", 1), {"service": "request", "flags.repeat": True}),
        (Message(Kind.DATA, 4, 1, b"put x"), {"flags.repeat": False}),
    ]
    wires = [encode(Frame(FrameKey(9, 3, 5), 2, 4, message), TO, FROM) for message, _ in told]
    rows = dissected(capture_of(wires, tmp_path / "frames.pcapng"), FIELDS)
    for (_, wanted), row in zip(told, rows, strict=True):
        named = {name: row[f"oae.{name}"] for name in ("swap", "service") if f"oae.{name}" in row}
        bits = {name for name in ("flags.current", "flags.settled", "flags.repeat") if f"oae.{name}" in row}
        assert {**named, **{name: is_true(row[f"oae.{name}"]) for name in bits}} == wanted
        assert (row["oae.frame"], row["oae.epoch"], row["oae.peer_epoch"]) == ("9.3.5", "3", "4")


def test_what_a_receiver_records_are_expert_information(tmp_path: Path) -> None:
    whole = encode(Frame(FrameKey(9, 3, 5), 2, 4, Message(Kind.SWAP, 17, 3)), TO, FROM)
    headers = {"version": (14, 0x11), "kind": (14, 0x2F), "length": (19, 15)}
    wires = {"": whole, "short": whole[:50], "corrupt": whole[:50] + b"\xff" + whole[51:]}
    wires |= {
        reason: with_right_crc(whole[:at] + bytes([byte]) + whole[at + 1 :]) for reason, (at, byte) in headers.items()
    }
    asked = ("oae.problem", "_ws.expert.message", "_ws.expert.severity")
    rows = dissected(capture_of(list(wires.values()), tmp_path / "frames.pcapng"), asked)
    assert [row.get("oae.problem", "") for row in rows] == list(wires)
    assert rows[0] == {}
    assert all(int(row["_ws.expert.severity"], 0) == _ERROR and row["_ws.expert.message"] for row in rows[1:])


class Says:
    """A machine that says these messages."""

    def __init__(self, told: Sequence[Message]) -> None:
        self.told = told

    def on_start(self, now_ns: int, disk: object) -> list[Send]:
        return [Send(0, message) for message in self.told]


def test_the_parts_of_messages_are_joined_by_tshark_and_by_scapy(tmp_path: Path) -> None:
    """In any order, seen at two interfaces each, beside another message of which a part is missing."""
    sizes = (MAX_BODY + 1, 2 * PART_BYTES, 5000)
    bodies = [bytes(number * 7 % 251 for number in range(size)) for size in sizes]
    told = [Message(Kind.DATA, 5, 2, body, 1) for body in bodies]
    cut = [effect.message for effect in Segmented(Says(told)).on_start(0, {})]
    lost = Message(Kind.PART, 5, 2, PART_HEAD.pack(4, 0, 2) + b"never whole")
    frames = [Frame(FrameKey(9, 1, seq), 2, 0, message) for seq, message in enumerate([*cut[::-1], lost], 1)]
    wires = [encode(frame, TO, FROM) for frame in frames for _ in range(2)]
    rows = dissected(capture_of(wires, tmp_path / "frames.pcapng"), FIELDS)
    numbered = [tuple(int(row[f"oae.part.{name}"]) for name in ("message", "place", "parts")) for row in rows[::2]]
    assert numbered == [PART_HEAD.unpack_from(frame.message.body) for frame in frames]
    joined = [(number, row["oae.message"].replace(":", "")) for number, row in enumerate(rows) if "oae.message" in row]
    firsts = [2 * number for number, (_, place, _) in enumerate(numbered[:-1]) if place == 0]
    assert joined == list(zip(firsts, (body.hex() for body in bodies[::-1]), strict=True))
    said = list(messages(map(Ether, wires)))
    assert [frame.message for _, frame in said] == told[::-1]
    assert [(packet[Slot].number, packet[Slot].place) for packet, _ in said] == [(3, 0), (2, 0), (1, 0)]


def test_the_script_knows_the_steps_that_services_use() -> None:
    script = DISSECTOR.read_text(encoding="utf-8")
    known = {int(number): name for number, name in re.findall(r"\[(1\d\d)\] = \"(\w+)\"", script)}
    assert known == {int(step): step.name.lower() for step in (*service.Step, *spread.Step)}
