"""What was asked of a way: the law of its delay, how often frames vanish, come twice, are hurt; and what can't be said.

At a rate a frame's delay depends on its size: what the rate makes it take (delays.packet_ns) is given with it.

Exact for one direction; the delays of several in a row are summed on a lattice of ``grain_ns``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from testbed.plan import Plan
from testbed.topologies.impairment import Impairment
from testbed.topologies.netem import correlation_scrambled
from testbed.verdicts.delays import Law, convolve, dot, lattice_of, law_of
from testbed.verdicts.flights import queued

_LATTICE_CELLS = 1 << 14

Asked = tuple[Impairment, ...]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class DelayLaw:
    """The law of a way's delay while nothing waits for a frame before it. took_ns: what the rate makes each frame take;
    of several directions in a row, whose sum is that of slots, it says nothing."""

    def __init__(self, asked: Asked) -> None:
        laws = [law_of(impairment) for impairment in asked]
        self._least_ns = sum(law.least_ns for law in laws)
        self._greatest_ns = sum(law.greatest_ns for law in laws)
        self.law: Law | None = laws[0] if len(laws) == 1 else None
        self.grain_ns = 0
        if self.law is None:
            step_ns = max(1, (self._greatest_ns - self._least_ns) // _LATTICE_CELLS)
            total = convolve([lattice_of(impairment, step_ns) for impairment in asked])
            self.grain_ns = len(laws) * step_ns if step_ns > 1 else 0
            self._values = (np.arange(len(total.p)) + total.offset) * step_ns
            self._cumulated = np.minimum(np.cumsum(total.p), 1.0)

    def least_of(self, took_ns: Ints) -> Ints:
        """The shortest that such frames can take."""
        return self.law.least_of(took_ns) if self.law is not None else np.full(len(took_ns), self._least_ns)

    def greatest_of(self, took_ns: Ints) -> Ints:
        """The longest that such frames can take."""
        return self.law.greatest_of(took_ns) if self.law is not None else np.full(len(took_ns), self._greatest_ns)

    def cdf(self, x_ns: Ints, took_ns: Ints) -> Floats:
        """P(delay <= x)."""
        if self.law is not None:
            return self.law.cdf(x_ns, took_ns)
        place = np.searchsorted(self._values, x_ns, side="right")
        return np.where(place > 0, self._cumulated[np.maximum(place, 1) - 1], 0.0)

    def quantile(self, p: float, took_ns: Ints) -> int:
        """The least x with P(delay <= x) >= p, for a frame drawn from these (none: a slot)."""
        if self.law is not None:
            if len(took_ns) < 2 or (took_ns == took_ns[0]).all():
                return self.law.quantile(p, int(took_ns[0]) if len(took_ns) else None)
            return _mixed_quantile(self.law, p, *np.unique(took_ns, return_counts=True))
        place = int(np.searchsorted(self._cumulated, p - 1e-12))
        return int(self._values[min(place, len(self._values) - 1)])


def _mixed_quantile(law: Law, p: float, took_ns: Ints, counts: Ints) -> int:
    below, above = law.quantile(p, int(took_ns[0])) - 1, law.quantile(p, int(took_ns[-1]))
    while above - below > 1:
        middle = (below + above) // 2
        if dot(law.cdf(np.full(len(took_ns), middle), took_ns), counts) >= p * counts.sum():
            above = middle
        else:
            below = middle
    return above


@lru_cache(maxsize=256)
def _delay_law(asked: Asked) -> DelayLaw:
    return DelayLaw(asked)


def delay_law(asked: Asked) -> DelayLaw:
    """Computed once per kind of way: many directions of a fabric are alike but for their seeds."""
    return _delay_law(tuple(impairment.with_seed(0) for impairment in asked))


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


def hops_needed(plan: Plan) -> bool:
    """Whether something is asked of the links that cannot be held against a run without hops."""
    asked = [way for link in plan.fabric.links for way in (link.ab, link.ba)]
    asked += [fault.impairment for fault in plan.faults if fault.impairment is not None]
    return any(queued(one) or one.duplicate or one.burst_loss is not None for one in asked)


def unchecked_delays(asked: Asked, captured: bool) -> str:
    """Why the delays of this way cannot be held against a law, or empty. captured: whether there are hops."""
    if any(impairment.correlation and not correlation_scrambled(impairment) for impairment in asked):
        return "netem's correlated draws reach the delay, and their law is not worked out"
    if not captured and any(queued(impairment) for impairment in asked):
        return "frames wait for each other (rate or FIFO order) on the way, and no hops were captured"
    return ""


def unchecked_losses(asked: Asked) -> str:
    """Why the losses of this way cannot be held against what was asked, or empty."""
    if any(impairment.loss and impairment.loss_correlation for impairment in asked):
        return "correlated loss: its law is not worked out"
    if len(asked) > 1 and any(impairment.rate_bps for impairment in asked):
        return "frames wait for each other at a rate on the way, and no hops were captured"
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
