"""The law of a frame's delay on an idle direction, exactly as netem's integers give it, and sums of such delays.

At a rate a frame takes the longer the larger it is, on top of what is drawn; sums are those of slots. They are
convolved on a lattice of ``step_ns``. On a lattice of 1 ns they are exact up to rounding errors of about
1e-15; on a coarser one every delay is split between its two neighbouring points so that its mean stays, which moves
each by less than one step: P(S <= x - n step) <= P(S' <= x) <= P(S <= x + n step) for a sum of n delays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from testbed.topologies.impairment import Impairment
from testbed.topologies.tables import (
    LEAST_DELAY_NS,
    delay_values,
    drawn_values,
    greatest_delay_ns,
    packet_time_ns,
    table_of,
)

_DRAWS = 1 << 32  # netem draws 32 bits and takes them modulo the number of cells
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def packet_ns(impairment: Impairment, sizes: Ints) -> Ints:
    """What the rate makes frames of so many bytes take."""
    kinds, kind = np.unique(sizes, return_inverse=True)
    return np.array([packet_time_ns(impairment, size) for size in kinds.tolist()], dtype=np.int64)[kind]


class Lattice(NamedTuple):
    """A distribution on multiples of ``step_ns``: p[i] is the probability of (offset + i) * step_ns."""

    offset: int
    step_ns: int
    p: Floats

    @property
    def end(self) -> int:
        """The index of the last point, counted from zero delay."""
        return self.offset + len(self.p) - 1

    def cut(self, last: int) -> Lattice:
        """Without what lies beyond index ``last``: the probabilities then sum to less than 1."""
        return self._replace(p=self.p[: max(1, last - self.offset + 1)]) if last < self.end else self

    def cdf_at(self, index: int) -> float:
        """P(at most ``index`` steps)."""
        return float(self.p[: max(0, index - self.offset + 1)].sum())


class Law:
    """The delay of one frame on one idle direction (loss apart): of a slot, or of a frame that the rate makes take
    ``took_ns``. slot_ns: what it makes a slot take. least_ns, greatest_ns: of slots."""

    def __init__(self, impairment: Impairment) -> None:
        self.impairment = impairment
        self.slot_ns = packet_time_ns(impairment)
        self.greatest_ns = greatest_delay_ns(impairment)
        self._uniform = bool(impairment.jitter_ns) and table_of(impairment) is None
        self._first = impairment.delay_ns - impairment.jitter_ns
        self._cells = 2 * impairment.jitter_ns
        if not self._uniform:
            self._drawn, weights = drawn_values(impairment)
            self._first = int(self._drawn[0])
            self._cumulated = np.cumsum(weights)
        self.least_ns = max(LEAST_DELAY_NS, self._first + self.slot_ns)

    def least_of(self, took_ns: Ints) -> Ints:
        """The shortest that such frames can take."""
        return np.maximum(self._first + took_ns, LEAST_DELAY_NS)

    def greatest_of(self, took_ns: Ints) -> Ints:
        """The longest that such frames can take."""
        greatest = int(self._drawn[-1]) if not self._uniform else self._first + self._cells - 1
        return np.maximum(greatest + took_ns, LEAST_DELAY_NS)

    def cdf(self, x_ns: Ints, took_ns: Ints | None = None) -> Floats:
        """P(delay <= x), exact."""
        drawn = x_ns - (self.slot_ns if took_ns is None else took_ns)
        if self._uniform:
            below = np.clip(drawn - self._first + 1, 0, self._cells)
            share, rest = divmod(_DRAWS, self._cells)
            result = (below * float(share) + np.minimum(below, rest)) / _DRAWS
        else:
            place = np.searchsorted(self._drawn, drawn, side="right")
            result = np.where(place > 0, self._cumulated[np.maximum(place, 1) - 1], 0.0)
        return np.where(x_ns < LEAST_DELAY_NS, 0.0, result)

    def quantile(self, p: float, took_ns: int | None = None) -> int:
        """The least x with P(delay <= x) >= p."""
        took = self.slot_ns if took_ns is None else took_ns
        if not self._uniform:
            place = min(int(np.searchsorted(self._cumulated, p - 1e-15)), len(self._drawn) - 1)
            return max(LEAST_DELAY_NS, int(self._drawn[place]) + took)
        share, rest = divmod(_DRAWS, self._cells)  # the first ``rest`` cells have one draw more than the others
        draws = math.ceil(p * _DRAWS)
        cells = -(-draws // (share + 1))
        if cells > rest:
            cells = rest - (rest * (share + 1) - draws) // share
        return max(LEAST_DELAY_NS, self._first + took + min(max(1, cells), self._cells) - 1)

    def lattice(self, step_ns: int) -> Lattice:
        """The law on multiples of ``step_ns``."""
        if not self._uniform:
            return _split(*delay_values(self.impairment), step_ns)
        share, rest = divmod(_DRAWS, self._cells)
        first = self._first + self.slot_ns
        under = min(max(0, LEAST_DELAY_NS - first), self._cells)  # draws that count as the least delay
        parts = [(share, first + under, self._cells - under), (1, first + under, rest - under)]
        start, stop = self.least_ns // step_ns, -(-self.greatest_ns // step_ns)
        p = np.zeros(stop - start + 1)
        for weight, begin, count in parts:
            if count > 0:
                block = _block(begin, count, step_ns)
                p[block.offset - start : block.offset - start + len(block.p)] += weight / _DRAWS * block.p
        if under:
            least = _split(np.array([LEAST_DELAY_NS]), np.array([under * share + min(under, rest)]) / _DRAWS, step_ns)
            p[least.offset - start : least.offset - start + len(least.p)] += least.p
        return Lattice(start, step_ns, p)


@lru_cache(maxsize=512)
def _law(impairment: Impairment) -> Law:
    return Law(impairment)


def law_of(impairment: Impairment) -> Law:
    """The law of this direction, whatever its seed; computed once."""
    return _law(impairment.with_seed(0))


@lru_cache(maxsize=64)
def _lattice(impairment: Impairment, step_ns: int) -> Lattice:
    return law_of(impairment).lattice(step_ns)


def lattice_of(impairment: Impairment, step_ns: int) -> Lattice:
    """This direction's law on multiples of ``step_ns``, whatever its seed; computed once. Not to be written to."""
    return _lattice(impairment.with_seed(0), step_ns)


def convolve(parts: Sequence[Lattice], last: int | None = None) -> Lattice:
    """The law of the sum of independent parts on one lattice; beyond index ``last`` it may be cut off."""
    if len(parts) == 1:
        return parts[0] if last is None else parts[0].cut(last)
    step_ns, offset = parts[0].step_ns, sum(part.offset for part in parts)
    moving = [part for part in parts if len(part.p) > 1]
    scale = float(np.prod([part.p[0] for part in parts if len(part.p) == 1]))
    if len(moving) <= 1:
        p = moving[0].p * scale if moving else np.array([scale])
    else:
        from scipy import fft  # takes a while to import, and most runs need it not: those in which hops are captured

        size = sum(len(part.p) - 1 for part in moving) + 1
        length = fft.next_fast_len(size, real=True)
        spectra: dict[int, NDArray[np.complex128]] = {}
        product: NDArray[np.complex128] | None = None
        for part in moving:
            spectrum = spectra.get(id(part.p))
            if spectrum is None:
                spectrum = spectra[id(part.p)] = fft.rfft(part.p, length)
            product = spectrum if product is None else product * spectrum
        p = np.maximum(fft.irfft(product, length)[:size], 0.0) * scale
    whole = Lattice(offset, step_ns, p)
    return whole if last is None else whole.cut(last)


def dot(one: Floats, other: Floats | Ints) -> float:
    """The sum of the products, not by numpy's ``@``: that starts a thread per core for what takes microseconds, and
    the last bits of its result depend on how many cores there are."""
    return float((one * other).sum())


def _split(values: NDArray[np.int64], weights: Floats, step_ns: int) -> Lattice:
    """Each value between its two neighbouring points, so that the mean stays."""
    index, rest = np.divmod(values, step_ns)
    start = int(index[0])
    upper = rest / step_ns
    size = int(index[-1]) - start + 2
    p: Floats = np.bincount(index - start, weights * (1 - upper), size).astype(np.float64)
    p += np.bincount(index - start + 1, weights * upper, size)
    return Lattice(start, step_ns, p[:-1] if p[-1] == 0 else p)


def _block(first: int, count: int, step_ns: int) -> Lattice:
    """``count`` successive values from ``first`` on, each of weight 1: whole cells at once, then the edges off."""
    start, stop = first // step_ns, -(-(first + count) // step_ns)
    p = np.zeros(stop - start + 1)
    p[:-1] += (step_ns + 1) / 2
    p[1:] += (step_ns - 1) / 2
    for edge in (range(start * step_ns, first), range(first + count, stop * step_ns)):
        if len(edge):
            values = np.arange(edge.start, edge.stop, dtype=np.int64)
            part = _split(values, np.ones(len(values)), step_ns)
            p[part.offset - start : part.offset - start + len(part.p)] -= part.p
    p[np.abs(p) < 1e-9] = 0.0  # what is left of rounding at the edges
    return Lattice(start, step_ns, p[:-1] if p[-1] == 0 else p)
