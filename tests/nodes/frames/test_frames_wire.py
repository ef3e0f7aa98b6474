"""The wire format: what is written is read back, and nothing else is taken for a slot."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Ether

from testbed.nodes.consensus.paxos import messages as paxos
from testbed.nodes.core.values import of_int
from testbed.nodes.frames import (
    BODY_BYTES,
    CARRIED_BODY_BYTES,
    ETHERTYPE,
    MAX_BODY,
    PART_HEAD,
    SLOTS,
    WIRE_BYTES,
    Frame,
    FrameError,
    FrameKey,
    Kind,
    Message,
    carried,
    decode,
    encode,
)
from testbed.nodes.frames.scapy_layer import Slot

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
macs = st.binary(min_size=6, max_size=6)
slots = st.builds(Message, st.sampled_from(SLOTS), u32, u8, st.binary(min_size=BODY_BYTES, max_size=BODY_BYTES), u8)
bodies = st.binary(max_size=64) | st.integers(0, MAX_BODY).map(bytes)
long = st.builds(Message, st.sampled_from((Kind.DATA, Kind.PART)), u32, u8, bodies, u8)
carrying = st.builds(
    Message, st.just(Kind.CARRIED), u32, u8, st.binary(min_size=CARRIED_BODY_BYTES, max_size=CARRIED_BODY_BYTES), u8
)
messages = slots | long | carrying
frames = st.builds(Frame, st.builds(FrameKey, u16, u32, u32), u16, u32, messages)
DST, SRC = bytes.fromhex("020000000002"), bytes.fromhex("020000000001")
FRAME = Frame(FrameKey(1, 3, 99), 2, 4, Message(Kind.SWAP, 17, 2, bytes(range(16)), 1))


@given(frames, macs, macs)
def test_what_is_encoded_is_decoded(frame: Frame, dst: bytes, src: bytes) -> None:
    wire = encode(frame, dst, src)
    assert len(wire) == frame.wire_bytes >= WIRE_BYTES
    assert decode(wire) == frame
    if frame.message.kind in SLOTS:
        assert len(wire) == WIRE_BYTES


@given(st.binary(max_size=200))
def test_random_bytes_are_never_a_slot_and_never_crash(wire: bytes) -> None:
    with pytest.raises(FrameError):
        decode(wire)


@given(frames, st.integers(0, (1 << 14) - 1))
def test_any_single_flipped_bit_is_noticed(frame: Frame, place: int) -> None:
    wire = bytearray(encode(frame, DST, SRC))
    bit = place % (8 * len(wire))
    wire[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameError) as caught:
        decode(bytes(wire))
    assert caught.value.reason in ("corrupt", "foreign")


def test_padding_after_the_slot_is_ignored() -> None:
    assert decode(encode(FRAME, DST, SRC) + bytes(4)) == FRAME


@pytest.mark.parametrize("bit", range(16))
@pytest.mark.parametrize("size", [16, 17, 200, MAX_BODY])
def test_a_wrong_length_is_noticed(size: int, bit: int) -> None:
    wire = bytearray(encode(FRAME._replace(message=Message(Kind.DATA, 1, 1, bytes(size))), DST, SRC))
    wire[18 + bit // 8] ^= 1 << bit % 8
    for arrived in (bytes(wire), bytes(wire) + bytes(size == 16)):
        with pytest.raises(FrameError, match="corrupt"):
            decode(arrived)


@pytest.mark.parametrize(
    ("kind", "size"), [(Kind.SWAP, 15), (Kind.SWAP, 17), (Kind.RESET, 0), (Kind.DATA, MAX_BODY + 1)]
)
def test_a_body_that_does_not_fit_is_refused_and_not_cut_or_padded(kind: Kind, size: int) -> None:
    with pytest.raises(ValueError, match=f"{size}"):
        encode(FRAME._replace(message=Message(kind, 17, 2, bytes(size))), DST, SRC)


def test_a_slot_that_claims_another_length_is_none() -> None:
    wire = bytearray(encode(FRAME, DST, SRC)[:-4])
    wire[19] = 15
    with pytest.raises(FrameError, match="length"):
        decode(bytes(wire) + zlib.crc32(wire).to_bytes(4, "big"))


def _with_lead_byte(lead: int) -> bytes:
    head = bytearray(encode(FRAME, DST, SRC)[:-4])
    head[14] = lead
    return bytes(head) + zlib.crc32(head).to_bytes(4, "big")


def test_other_versions_kinds_and_ethertypes_are_named() -> None:
    for lead, reason in ((0x11, "version"), (0x2F, "kind")):
        with pytest.raises(FrameError) as caught:
            decode(_with_lead_byte(lead))
        assert caught.value.reason == reason
    head = bytearray(encode(FRAME, DST, SRC)[:-4])
    head[12:14] = b"\x08\x00"
    with pytest.raises(FrameError) as caught:
        decode(bytes(head) + zlib.crc32(head).to_bytes(4, "big"))
    assert caught.value.reason == "foreign"


def numbers(frame: Frame) -> dict[str, int]:
    """Every field by its name in the document, but for the body."""
    (src, epoch, seq), dst, peer_epoch, (kind, round_, step, _, flags) = frame
    told = {"kind": kind, "step": step, "flags": flags, "src": src, "dst": dst, "epoch": epoch}
    return told | {"peer_epoch": peer_epoch, "round": round_, "seq": seq}


@given(frames)
def test_scapy_reads_what_we_write(frame: Frame) -> None:
    slot = Ether(encode(frame, DST, SRC))[Slot]
    assert {name: getattr(slot, name) for name in numbers(frame)} == numbers(frame)
    message = frame.message
    if message.kind is Kind.PART and len(message.body) >= PART_HEAD.size:
        assert (slot.number, slot.place, slot.parts) == PART_HEAD.unpack_from(message.body)
        assert bytes(slot.body) == message.body[PART_HEAD.size :]
    elif (known := carried(message)) is not None:
        ends = (slot.carried_src, slot.carried_dst, slot.carried_epoch, slot.carried_peer_epoch)
        assert (slot.carried_kind, *ends, bytes(slot.body)) == known
    elif message.kind is not Kind.CARRIED:
        assert bytes(slot.body) == message.body


@given(frames)
def test_scapy_builds_every_frame_from_its_fields(frame: Frame) -> None:
    wire = encode(frame, DST, SRC)
    read = Ether(wire)[Slot]
    told = {field.name: read.getfieldval(field.name) for field in read.fields_desc if field.name not in ("crc", "fill")}
    fields = {name: value for name, value in told.items() if value is not None}
    assert bytes(Ether(dst=DST, src=SRC) / Slot(**fields, fill=bytes(read.fill))) == wire


def test_we_read_what_scapy_writes() -> None:
    packet = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01", type=ETHERTYPE) / Slot(
        kind="SWAP", src=1, dst=2, epoch=3, peer_epoch=4, round=17, step=2, seq=99, body=bytes(range(16)), flags=1
    )
    assert decode(bytes(packet)) == FRAME
    assert "SWAP 1>2 round 17 step 2" in packet.summary()


def test_a_slot_that_scapy_changed_shows_its_old_crc_until_that_is_dropped() -> None:
    packet = Ether(encode(FRAME, DST, SRC))
    packet[Slot].round = 18
    with pytest.raises(FrameError, match="corrupt"):
        decode(bytes(packet))
    del packet[Slot].crc
    assert decode(bytes(packet)) == FRAME._replace(message=FRAME.message._replace(round=18))


def test_a_summary_tells_a_wrong_crc() -> None:
    whole = encode(FRAME, DST, SRC)
    for padding in (b"", bytes(4)):
        assert Ether(whole + padding).summary() == "Ether / SWAP 1>2 round 17 step 2" + " / Padding" * bool(padding)
        bad = whole[:50] + b"\xff" + whole[51:] + padding
        assert "SWAP 1>2 round 17 step 2 (wrong CRC)" in Ether(bad).summary()
    assert "wrong" not in Slot(whole[14:]).summary()  # what it covers is not there


def test_a_body_is_shown_as_the_16_bytes_that_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Ether(encode(FRAME._replace(message=Message(Kind.SWAP, 17, 2)), DST, SRC)).show()
    assert f"body      = {'00' * 16}\n" in capsys.readouterr().out


# -- the document -----------------------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "wire-format.md"


def by_the_document(dst_mac: bytes, src_mac: bytes, version: int, **fields: int | bytes) -> bytes:
    """The slot as the table of offsets describes it; shares no code with ``encode``."""
    body = bytes(fields["body"])
    wire = bytearray(40 + max(16, len(body)))
    wire[0:6], wire[6:12], wire[12:14] = dst_mac, src_mac, b"\x88\xb5"
    wire[14] = version << 4 | int(fields["kind"])
    offsets = {"step": (15, 1), "flags": (16, 1), "src": (20, 2), "dst": (22, 2), "epoch": (24, 4)}
    offsets |= {"peer_epoch": (28, 4), "round": (32, 4), "seq": (36, 4)}
    for name, (offset, size) in offsets.items():
        wire[offset : offset + size] = int(fields[name]).to_bytes(size, "big")
    wire[18:20] = len(body).to_bytes(2, "big")
    wire[40 : 40 + len(body)] = body
    register = 0xFFFFFFFF
    for byte in wire:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return bytes(wire) + (register ^ 0xFFFFFFFF).to_bytes(4, "big")


@given(frames, macs, macs)
def test_the_document_describes_what_is_encoded(frame: Frame, dst: bytes, src: bytes) -> None:
    assert by_the_document(dst, src, 2, body=frame.message.body, **numbers(frame)) == encode(frame, dst, src)


def test_the_documents_three_slots() -> None:
    lines = [line.strip() for line in DOCUMENT.read_text().splitlines() if line.startswith("    ")]
    one, two = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
    accept = paxos.Message(paxos.Step.ACCEPT, 4, value=of_int(7))
    swap, data = Message(Kind.SWAP, 17, 3, bytes(range(16)), 1), Message(Kind.DATA, 5, accept.step, accept.body())
    told = [
        encode(Frame(FrameKey(0, 1, 99), 1, 2, swap), two, one),
        encode(Frame(FrameKey(1, 1, 6), 0, 0, data), one, two),
        encode(Frame(FrameKey(1, 3, 1), 0, 1, Message(Kind.RESET, 17, 3)), one, two),
    ]
    assert [bytes.fromhex("".join(lines[at : at + 3])) for at in (0, 3, 6)] == told
