"""Figures in words, as pages, plots and terminals show them."""

from __future__ import annotations

from typing import Any

from testbed.study.document import human, quantity

NONE_SEEN = "none seen"


def probability(value: float) -> str:
    """A probability for people: 0, 0.00031, 0.25."""
    return "0" if value == 0 else f"{value:.3g}" if value >= 1e-4 else f"{value:.2e}"


def share(value: float, seen: int) -> str:
    """A share that was counted: where nothing was seen, it is not known to be 0."""
    return probability(value) if seen else NONE_SEEN


def setting(value: Any) -> str:
    """What a document sets something to: ``105000ns`` -> 105 µs; names and numbers as they are."""
    try:
        base, kind = quantity(value) if isinstance(value, str) else (0.0, "number")
    except ValueError:
        return str(value)
    return str(value) if kind == "number" else human(base, kind, 12)
