"""The kernel's seeded generator (Linux 6.12, lib/random32.c): a combined Tausworthe generator, bit for bit.

P. L'Ecuyer, "Tables of maximally equidistributed combined LFSR generators", Math. Comp. 68 (1999): LFSR113.

One draw at a time: the plain form, to which the one in blocks (random32) is held. Compiled, it is the faster one.
"""

from __future__ import annotations

from types import FunctionType
from typing import Final

from mypy_extensions import i64

MASK: Final = 0xFFFF_FFFF
REGISTERS: Final = (
    (6, 13, 0xFFFF_FFFE, 18, 2),
    (2, 27, 0xFFFF_FFF8, 2, 8),
    (13, 21, 0xFFFF_FFF0, 7, 16),
    (3, 12, 0xFFFF_FF80, 13, 128),
)
"""Per register: the shifts and the mask of TAUSWORTHE(s, a, b, c, d), and the least seed."""

Registers = tuple[int, int, int, int]


def seed_registers(seed: int) -> Registers:
    """prandom_seed_state: folds 64 bits to 32 and does not warm the generator up."""
    folded = ((seed >> 32) ^ (seed << 10) ^ seed) & MASK
    s1, s2, s3, s4 = (folded + least if folded < least else folded for *_, least in REGISTERS)
    return s1, s2, s3, s4


COMPILED: Final = not isinstance(seed_registers, FunctionType)
"""Whether this is the compiled build (testbed.compiled). What the simulator then does in native integers, plain Python
does with numpy and heapq, and the results are the same."""


class Prng:
    """One generator."""

    __slots__ = ("_s1", "_s2", "_s3", "_s4")

    _s1: i64
    _s2: i64
    _s3: i64
    _s4: i64

    def __init__(self, seed: int = 0) -> None:
        self.registers = seed_registers(seed)

    @property
    def registers(self) -> Registers:
        """The state."""
        return self._s1, self._s2, self._s3, self._s4

    @registers.setter
    def registers(self, state: Registers) -> None:
        self._s1, self._s2, self._s3, self._s4 = state

    def u32(self) -> i64:
        """prandom_u32_state: the next 32 bits."""
        s1, s2, s3, s4 = self._s1, self._s2, self._s3, self._s4
        s1 = ((s1 & 0xFFFF_FFFE) << 18 & 0xFFFF_FFFF) ^ ((s1 << 6 & 0xFFFF_FFFF) ^ s1) >> 13
        s2 = ((s2 & 0xFFFF_FFF8) << 2 & 0xFFFF_FFFF) ^ ((s2 << 2 & 0xFFFF_FFFF) ^ s2) >> 27
        s3 = ((s3 & 0xFFFF_FFF0) << 7 & 0xFFFF_FFFF) ^ ((s3 << 13 & 0xFFFF_FFFF) ^ s3) >> 21
        s4 = ((s4 & 0xFFFF_FF80) << 13 & 0xFFFF_FFFF) ^ ((s4 << 3 & 0xFFFF_FFFF) ^ s4) >> 12
        self._s1, self._s2, self._s3, self._s4 = s1, s2, s3, s4
        return s1 ^ s2 ^ s3 ^ s4
