"""Rings of received frames: memory that the kernel fills slot by slot, here filled as the kernel does."""

from __future__ import annotations

import mmap
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.nodes.agent.ring import Ring, ring_in

SLOT, SLOTS = 256, 16
HEADER = struct.Struct("=IIIHHII")  # tpacket2_hdr: status, len, snaplen, mac, net, s, ns
AT_USER, LOSING = 1, 4
MAC = 82  # where frames begin that the kernel puts behind header and address

wires = st.binary(min_size=14, max_size=SLOT - MAC)
bursts = st.lists(st.lists(st.tuples(wires, st.integers(0, 1 << 60), st.booleans()), max_size=SLOTS), max_size=6)


class Kernel:
    """The other end of a ring."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, SLOT * SLOTS)
        self._next = 0

    def put(self, wire: bytes, stamp_ns: int, losing: bool = False) -> bool:
        """Hands a frame over; False when there is no room."""
        at = self._next * SLOT
        if HEADER.unpack_from(self.memory, at)[0]:
            return False
        self.memory[at + MAC : at + MAC + len(wire)] = wire
        seconds, ns = divmod(stamp_ns, 1_000_000_000)
        status = AT_USER | LOSING * losing
        HEADER.pack_into(self.memory, at, status, len(wire), len(wire), MAC, MAC + 14, seconds, ns)
        self._next = (self._next + 1) % SLOTS
        return True


def taken(ring: Ring) -> list[tuple[bytes, int, bool]]:
    """All that waits, with stamps and whether some had been lost before."""
    found = []
    while (stamp_ns := ring.head_ns()) >= 0:
        found.append((ring.take(), stamp_ns, ring.lost_some))
    return found


@settings(max_examples=50)
@given(bursts)
def test_what_the_kernel_put_in_comes_out_in_order_with_its_stamps(
    many: list[list[tuple[bytes, int, bool]]],
) -> None:
    kernel = Kernel()
    ring = ring_in(kernel.memory, SLOT)
    for burst in many:
        assert all(kernel.put(*frame) for frame in burst)
        assert taken(ring) == burst
    assert ring.head_ns() == -1


def test_a_frame_that_is_taken_makes_room_for_another_one() -> None:
    kernel = Kernel()
    ring = ring_in(kernel.memory, SLOT)
    assert [kernel.put(bytes([number]) * 60, number) for number in range(SLOTS + 1)] == [True] * SLOTS + [False]
    assert ring.take() == bytes(60)
    assert kernel.put(b"\xff" * 60, 99, losing=True)
    assert taken(ring)[-1] == (b"\xff" * 60, 99, True)


@pytest.mark.parametrize("slot", [0, 16, SLOT * SLOTS + 1])
def test_slots_that_no_frame_fits_in_are_refused(slot: int) -> None:
    with pytest.raises(ValueError, match=f"slots of {slot} bytes in a ring of {SLOT * SLOTS}"):
        ring_in(Kernel().memory, slot)
