"""Merged link settings as an impairment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from testbed.scenario.errors import FieldError
from testbed.scenario.model import BurstLoss, MeasuredDelays
from testbed.scenario.samples import load_table
from testbed.topologies.impairment import CLEAN, GilbertElliott, Impairment


def make_impairment(settings: Mapping[str, Any], base_dir: Path) -> Impairment:
    """Merged settings as an impairment, without a seed. Raises ValueError (FieldError with the key) for bad files."""
    distribution = settings.get("distribution", "uniform")
    table: tuple[int, ...] = settings.get("table", ()) if distribution == "table" else ()
    measured: dict[str, int] = {}
    if isinstance(distribution, MeasuredDelays):
        mean, deviation, table = _measured(distribution, base_dir)
        measured = {"delay": round(mean), "jitter": round(deviation)}
        distribution = "table"
    burst = settings.get("burst_loss")
    return Impairment(
        delay_ns=settings.get("delay", measured.get("delay", 0)),
        jitter_ns=settings.get("jitter", measured.get("jitter", 0)),
        distribution=distribution,
        table=table,
        correlation=settings.get("correlation", 0.0),
        loss=0.0 if burst else settings.get("loss", 0.0),
        loss_correlation=0.0 if burst else settings.get("loss_correlation", 0.0),
        burst_loss=_burst(burst) if burst else None,
        duplicate=settings.get("duplicate", 0.0),
        corrupt=settings.get("corrupt", 0.0),
        order=settings.get("order", "free"),
        rate_bps=settings.get("rate", 0),
        limit=settings.get("limit", 0),
    )


def settings_of(impairment: Impairment) -> dict[str, Any]:
    """The settings that make_impairment makes ``impairment`` of: what a user's class says of a link."""
    names = {"delay_ns": "delay", "jitter_ns": "jitter", "rate_bps": "rate"}
    said = {field.name: getattr(impairment, field.name) for field in fields(impairment) if field.name != "seed"}
    return {names.get(name, name): value for name, value in said.items() if value != getattr(CLEAN, name)}


def _measured(source: MeasuredDelays, base_dir: Path) -> tuple[float, float, tuple[int, ...]]:
    try:
        return load_table(source, base_dir)
    except ValueError as error:
        raise FieldError(("distribution",), str(error)) from None


def _burst(burst: BurstLoss) -> GilbertElliott:
    return GilbertElliott(burst.p, burst.r, burst.loss_bad, burst.loss_good)
