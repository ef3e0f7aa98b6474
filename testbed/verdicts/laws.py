"""What was asked of a way: the law of its delay, how often frames vanish, come twice, are hurt; and what can't be said.

Exact for one direction; the delays of several in a row are summed on a lattice of ``grain_ns``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from testbed.verdicts.delays import Law, convolve, lattice_of, law_of
from testbed.verdicts.flights import queued
from topologies.impairment import Impairment
from topologies.netem import correlation_scrambled
from topologies.tables import packet_time_ns

_LATTICE_CELLS = 1 << 14

Asked = tuple[Impairment, ...]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class DelayLaw:
    """The law of a way's delay while nothing waits for a frame before it."""

    def __init__(self, asked: Asked) -> None:
        laws = [law_of(impairment) for impairment in asked]
        self.least_ns = sum(law.least_ns for law in laws)
        self.greatest_ns = sum(law.greatest_ns for law in laws)
        self.law: Law | None = laws[0] if len(laws) == 1 else None
        self.grain_ns = 0
        if self.law is None:
            step_ns = max(1, (self.greatest_ns - self.least_ns) // _LATTICE_CELLS)
            total = convolve([lattice_of(impairment, step_ns) for impairment in asked])
            self.grain_ns = len(laws) * step_ns if step_ns > 1 else 0
            self._values = (np.arange(len(total.p)) + total.offset) * step_ns
            self._cumulated = np.minimum(np.cumsum(total.p), 1.0)

    def cdf(self, x_ns: Ints) -> Floats:
        """P(delay <= x)."""
        if self.law is not None:
            return self.law.cdf(x_ns)
        place = np.searchsorted(self._values, x_ns, side="right")
        return np.where(place > 0, self._cumulated[np.maximum(place, 1) - 1], 0.0)

    def quantile(self, p: float) -> int:
        """The least x with P(delay <= x) >= p."""
        if self.law is not None:
            return self.law.quantile(p)
        place = int(np.searchsorted(self._cumulated, p - 1e-12))
        return int(self._values[min(place, len(self._values) - 1)])


@lru_cache(maxsize=256)
def _delay_law(asked: Asked) -> DelayLaw:
    return DelayLaw(asked)


def delay_law(asked: Asked) -> DelayLaw:
    """Computed once per kind of way: many directions of a fabric are alike but for their seeds."""
    return _delay_law(tuple(impairment.with_seed(0) for impairment in asked))


def packet_ns(asked: Asked) -> int:
    """What the rate makes a frame take, of a single direction."""
    return packet_time_ns(asked[0])


def loss(impairment: Impairment) -> float:
    """The share of frames that vanish; a duplicated frame that is lost leaves its copy (netem_enqueue)."""
    lost, burst = impairment.loss, impairment.burst_loss
    if burst is not None:
        bad = burst.p / (burst.p + burst.r) if burst.p + burst.r else 0.0
        lost = bad * burst.loss_bad + (1 - bad) * burst.loss_good
    return lost * (1 - impairment.duplicate)


def lost_or_hurt(asked: Asked) -> float:
    """The share of frames that vanish on the way or come out unreadable."""
    passed = 1.0
    for impairment in asked:
        passed *= (1 - loss(impairment)) * (1 - impairment.corrupt)
    return 1 - passed


def twice(impairment: Impairment) -> float:
    """The share of frames of which both the original and the copy come out."""
    return impairment.duplicate * (1 - impairment.loss) ** 2


def unchecked_delays(asked: Asked, slots: bool) -> str:
    """Why the delays of this way cannot be held against a law, or empty. slots: whether all frames are slots."""
    if not slots and any(impairment.rate_bps for impairment in asked):
        return "a rate makes frames of several sizes take several times, and the record does not say their sizes"
    if any(impairment.correlation and not correlation_scrambled(impairment) for impairment in asked):
        return "netem's correlated draws reach the delay, and their law is not worked out"
    if len(asked) > 1 and any(queued(impairment) for impairment in asked):
        return "frames wait for each other (rate or FIFO order) on the way, and no hops were captured"
    return ""


def unchecked_losses(asked: Asked) -> str:
    """Why the losses of this way cannot be held against what was asked, or empty."""
    if any(impairment.loss and impairment.loss_correlation for impairment in asked):
        return "correlated loss: its law is not worked out"
    bursts = [impairment.burst_loss for impairment in asked if impairment.burst_loss]
    if bursts and len(asked) > 1:
        return "bursts of loss on several directions in a row, and no hops were captured"
    if bursts and asked[0].duplicate:
        return "bursts of loss with duplicates: a frame that is doubled is lost in the middle of both"
    if bursts and (bursts[0].loss_bad < 1 or bursts[0].loss_good > 0):
        return "bursts in which only some frames are lost: when they begin and end cannot be seen"
    if len(asked) > 1 and any(impairment.duplicate for impairment in asked):
        return "duplicates on several directions in a row, and no hops were captured"
    return ""
