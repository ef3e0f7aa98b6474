"""The project's own model of one link direction: what netem does, stated exactly.

``live`` and ``vkernel`` compile it to netem's netlink attributes, ``sim`` draws from it with netem's own generator
and arithmetic, and the closed forms convolve it. All three mean the same by every field.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

WIRE_OVERHEAD_BYTES = (
    24  # preamble and start 8, FCS 4, gap 12: what a frame takes on the wire beyond what software sees
)


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Bursty loss: p good->bad, r bad->good, loss probability in the bad and in the good state (fractions of 1)."""

    p: float
    r: float
    loss_bad: float = 1.0
    loss_good: float = 0.0


@dataclass(frozen=True, slots=True)
class Impairment:
    """One direction of a link. Times in nanoseconds, probabilities as fractions of 1, rate in bit/s (0 = unlimited).

    jitter_ns: half the width when ``distribution`` is uniform (delay +- jitter), the standard deviation otherwise.
    correlation: of successive delays (netem's rho; it narrows the jitter by sqrt((1-rho)/(1+rho))).
    table: for ``distribution: table``, the deviates in units of jitter_ns times 8192, sorted (netem's form).
    order: free lets jitter reorder frames, fifo keeps them in order (and so delays those that would overtake).
    limit: frames the direction can hold, delay line included; 0 = computed from rate, delay and jitter.
    seed: 64 bits; every direction of a run has its own.
    """

    delay_ns: int = 0
    jitter_ns: int = 0
    distribution: str = "uniform"
    table: tuple[int, ...] = ()
    correlation: float = 0.0
    loss: float = 0.0
    loss_correlation: float = 0.0
    burst_loss: GilbertElliott | None = None
    duplicate: float = 0.0
    corrupt: float = 0.0
    order: str = "free"
    rate_bps: int = 0
    limit: int = 0
    seed: int = 0

    @property
    def is_clean(self) -> bool:
        """True when the direction does nothing at all to frames, so that no qdisc is needed."""
        return replace(self, seed=0, limit=0, distribution="uniform", table=()) == Impairment()

    def with_seed(self, seed: int) -> Impairment:
        """The same direction under another seed."""
        return replace(self, seed=seed)


CLEAN = Impairment()
_NAMES = {
    "delay_ns": "delay",
    "jitter_ns": "jitter",
    "correlation": "correlation",
    "loss": "loss",
    "loss_correlation": "correlated loss",
    "burst_loss": "bursts of loss",
    "duplicate": "duplicates",
    "corrupt": "corruption",
    "order": "order",
    "rate_bps": "a rate",
}


def named(impairments: Iterable[Impairment]) -> str:
    """What these do to frames: ``delay, jitter and a rate``; empty where they do nothing."""
    asked = [one for one in impairments if not one.is_clean]
    differs = {field for field in _NAMES for one in asked if getattr(one, field) != getattr(CLEAN, field)}
    found = [name for field, name in _NAMES.items() if field in differs]
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))
