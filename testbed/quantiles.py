"""The one convention of quantiles: whatever is told of a distribution, on any page, is told by this function."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TypeVar

T = TypeVar("T")

_ROUNDING = 1e-9
"""Of a sample: 0.07 * 100 is a little more than 7 in floating point, and the 7th of 100 is meant."""


def quantile(ordered: Sequence[T], p: float) -> T:
    """The least sample with at least the share ``p`` of all samples at or below it; ``ordered`` is sorted, not empty.

    No interpolation: what is told was really measured, and it is the inverse of the distribution function as the laws
    of delays have it (testbed.verdicts.delays).

    >>> quantile([10, 20, 30, 40], 0.5), quantile([10, 20, 30, 40], 0.51), quantile([10], 0.999)
    (20, 30, 10)
    """
    if not 0 <= p <= 1:
        raise ValueError(f"a share lies between 0 and 1, not {p}")
    return ordered[min(len(ordered), max(1, ceil(p * len(ordered) - _ROUNDING))) - 1]
