"""What a captured frame is, also when the network damaged it."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.engines.live.capture import Capture
from testbed.engines.live.sightings import _alike, _weights, identify, identify_all, read_sightings
from testbed.nodes.frames import MAX_BODY, SLOTS, Frame, FrameKey, Kind, Message, encode

MACS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
u16, u32, u8 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255)
slots = st.builds(Message, st.sampled_from(SLOTS), u32, u8, st.binary(min_size=16, max_size=16), u8)
sizes = st.sampled_from([0, 8, 16, 17, 300, MAX_BODY])  # a table of syndromes is made for each
long = st.builds(Message, st.sampled_from((Kind.DATA, Kind.PART)), u32, u8, sizes.map(bytes), u8)
messages = slots | long
keys = st.builds(FrameKey, u16, u32, u32)
frames = st.builds(Frame, keys, u16, u32, messages)


@given(frames)
def test_a_whole_frame_is_itself(frame: Frame) -> None:
    assert identify(encode(frame, *MACS)) == (frame, False)


@given(frames, st.integers(0, (1 << 14) - 1))
def test_one_wrong_bit_anywhere_is_found_and_the_frame_is_known_all_the_same(frame: Frame, place: int) -> None:
    wire = bytearray(encode(frame, *MACS))
    bit = place % (8 * len(wire))
    wire[bit // 8] ^= 1 << bit % 8
    found = identify(bytes(wire))
    if bit // 8 in (12, 13):
        assert found is None  # another EtherType: no frame of ours
    else:
        assert found == (frame, True)


@given(frames, st.integers(1, 255))
def test_a_last_byte_that_was_counted_up_on_several_links_is_known_as_well(frame: Frame, links: int) -> None:
    """What netem's corruption is in the virtual-time kernel (patches/0010)."""
    wire = bytearray(encode(frame, *MACS))
    wire[-1] = (wire[-1] + links) % 256
    assert identify(bytes(wire)) == (frame, True)


@given(st.builds(Frame, keys, u16, u32, slots), st.sets(st.integers(8 * 14, 8 * 56 - 1), min_size=2, max_size=2))
def test_two_wrong_bits_are_found_as_when_two_links_of_a_way_corrupt(frame: Frame, bits: set[int]) -> None:
    wire = bytearray(encode(frame, *MACS))
    for bit in bits:
        wire[bit // 8] ^= 1 << bit % 8
    assert identify(bytes(wire)) == (frame, True)


@given(st.binary(max_size=80))
def test_other_bytes_are_nothing_and_raise_nothing(wire: bytes) -> None:
    assert identify(wire) is None


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A frame that something may have happened to."""
    wire = bytearray(encode(draw(frames), *MACS))
    for place in draw(st.lists(st.integers(0, len(wire) - 1), max_size=2)):
        wire[place] ^= draw(st.integers(0, 255))
    return bytes(wire[: draw(st.sampled_from([len(wire), len(wire), 30]))])


@settings(max_examples=50)
@given(st.lists(damaged() | frames.map(lambda frame: encode(frame, *MACS)), max_size=12))
def test_many_at_once_are_what_each_of_them_is(wires: list[bytes]) -> None:
    known, columns = identify_all(wires)
    assert known.dtype == np.bool_
    for wire, is_known, row in zip(wires, known.tolist(), columns.tolist(), strict=True):
        told = identify(wire)
        assert is_known == (told is not None)
        if told is None:
            assert not any(row)
        else:
            frame, corrupt = told
            assert row == [*frame.key, frame.dst, frame.message.round, frame.message.step, corrupt]


@given(st.lists(st.binary(min_size=60, max_size=60), min_size=1, max_size=8), st.data())
def test_rows_that_are_alike_are_counted_once_in_the_order_in_which_they_come(
    some: list[bytes], data: st.DataObject
) -> None:
    wires = data.draw(st.lists(st.sampled_from(some), min_size=1, max_size=20))
    found = _alike(np.frombuffer(b"".join(wires), dtype=np.uint8).reshape(-1, 60))
    assert found is not None
    which, first = found
    assert [wires[place] for place in first.tolist()] == list(dict.fromkeys(wires))
    assert [wires[first[number]] for number in which.tolist()] == wires


def test_rows_that_a_sum_does_not_tell_apart_are_not_taken_for_alike() -> None:
    one, other = (int(weight) for weight in _weights(2))
    same_sum = other * pow(one, -1, 1 << 64) % (1 << 64)
    rows = np.array([[same_sum, 0], [0, 1]], dtype=np.uint64).view(np.uint8)
    assert _alike(rows) is None


def test_what_a_capture_counted_is_heard_also_by_who_listens_after_it_has_ended(tmp_path: Path) -> None:
    """An end that leaves a message unread resets the connection, and that is told before what it had said."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        Capture((), tmp_path)._run(theirs)
        os._exit(0)
    theirs.close()
    assert ours.recv(100) == b"ready"
    ours.send(b"stop")
    assert os.waitpid(pid, 0)[1] == 0
    assert ours.recv(100) == b"done 0"


def test_a_block_that_was_cut_off_ends_the_file(tmp_path: Path) -> None:
    """The capture's process was killed, or the disk was full, in the middle of a block (struct tpacket_hdr_v1)."""
    path = tmp_path / "capture-0.blocks"
    for size in (10, 24, 4095):
        path.write_bytes(struct.pack("=IIIIII", 3, 0, 1, 1, 48, 4096).ljust(4096, b"\0")[:size])
        assert len(read_sightings(path).at_ns) == 0


def octets(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def block_of(wires: list[bytes], slot: int) -> bytes:
    """A block as the kernel fills it (struct tpacket3_hdr, aligned): frame n came in at n ns at interface n."""
    packets = b""
    for number, wire in enumerate(wires):
        step = slot * -(-(96 + len(wire)) // slot)
        last = number == len(wires) - 1
        header = struct.pack("=IIIIIIHH", 0 if last else step, 7, number, len(wire), len(wire), 1, 96, 110)
        packets += (header.ljust(52, b"\0") + struct.pack("=i", number)).ljust(96, b"\0") + wire.ljust(step - 96, b"\0")
    return struct.pack("=IIIIII", 3, 0, 1, len(wires), 48, 48 + len(packets)).ljust(48, b"\0") + packets


@given(st.lists(st.lists(st.sampled_from((60, 60, 60, 61, 80)).flatmap(octets), max_size=6)))
def test_frames_of_one_size_and_of_many_are_found_in_their_blocks(blocks: list[list[bytes]]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"".join(block_of(wires, 8) for wires in blocks))
        found = read_sightings(Path(file.name))
    assert [found.wires[number] for number in found.wire] == [wire for wires in blocks for wire in wires]
    assert found.at_ns.tolist() == [7_000_000_000 + number for wires in blocks for number in range(len(wires))]
    assert found.place.tolist() == [number for wires in blocks for number in range(len(wires))]
    assert len(set(found.wires)) == len(found.wires)
