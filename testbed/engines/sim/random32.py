"""The kernel's seeded generator (prng.py) in blocks, which numpy computes.

Each of the four registers is linear over GF(2), so that n steps at once are one matrix; ``draws`` uses this to compute
whole blocks. Both ways give the same numbers (tests/testbed/sim/test_sim_random32.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from testbed.engines.sim.prng import MASK, REGISTERS, Prng

_FIRST_BLOCK = 16
_LARGEST_BLOCK = 4096
_OFFSETS = 256 * np.arange(16).reshape(4, 1, 4)  # where the table of [register, byte position] begins

_Words = NDArray[np.uint32]


def blocks(seed: int) -> Iterator[_Words]:
    """The draws after prandom_seed_state(seed), in blocks that grow: short runs pay for few, long ones little each."""
    prng = Prng(seed)
    states: _Words = np.empty((4, _FIRST_BLOCK), dtype=np.uint32)
    for step in range(_FIRST_BLOCK):
        prng.u32()
        states[:, step] = prng.registers
    while True:
        yield np.bitwise_xor.reduce(states, axis=0)
        size = states.shape[1]
        following = _advance(states, size)
        # doubling: the next block is as long as all before it, until blocks are large enough
        states = following if size == _LARGEST_BLOCK else np.concatenate((following, _advance(following, size)), axis=1)


def draws(seed: int) -> Iterator[int]:
    """The same, one plain int after another."""
    return chain.from_iterable(block.tolist() for block in blocks(seed))


def _advance(states: _Words, steps: int) -> _Words:
    """Every column of ``states`` (4 registers x n) moved on by ``steps`` (a power of two)."""
    return _apply(_jump(steps), states)


def _apply(jump: NDArray[np.uint32], states: _Words) -> _Words:
    """A linear map is the XOR of what it makes of each byte: look the four bytes up and combine them."""
    low_first = np.ascontiguousarray(states).astype("<u4", copy=False).view(np.uint8).reshape(4, -1, 4)
    parts = jump.ravel().take(low_first + _OFFSETS)
    combined: _Words = parts[..., 0] ^ parts[..., 1] ^ parts[..., 2] ^ parts[..., 3]
    return combined


@cache
def _jump(steps: int) -> NDArray[np.uint32]:
    """[register, byte position, byte] -> what ``steps`` steps make of a register that holds only that byte."""
    if steps == 1:
        table = np.empty((4, 4, 256), dtype=np.uint32)
        for register, (a, b, c, d, _) in enumerate(REGISTERS):
            for position in range(4):
                for value in range(256):
                    s = value << 8 * position
                    table[register, position, value] = ((s & c) << d & MASK) ^ ((s << a & MASK) ^ s) >> b
        return table
    half = _jump(steps // 2)
    return _apply(half, half.reshape(4, -1)).reshape(4, 4, 256)
