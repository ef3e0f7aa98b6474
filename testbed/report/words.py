"""Figures in words, as pages, plots and terminals show them."""

from __future__ import annotations


def probability(value: float) -> str:
    """A probability for people: 0, 0.00031, 0.25."""
    return "0" if value == 0 else f"{value:.3g}" if value >= 1e-4 else f"{value:.2e}"
