"""Two swept parameters as a map: what is in its cells, and where its break points lie, for plots and for tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from testbed.report.words import probability, share
from testbed.study.document import human


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of values: p, its interval, and how many of how many. share: p in words; title: all of it."""

    p: float
    low: float
    high: float
    counted: str
    share: str
    title: str

    @property
    def interval(self) -> str:
        """``0.01 – 0.02``, short."""
        return " – ".join(
            "0" if end < 1e-5 else f"{end:.2g}" if end >= 1e-4 else "< 0.0001" for end in (self.low, self.high)
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """A break point in one row: its estimate and the bracket that surely holds one, in columns (0.5: between the first
    two of them)."""

    row: int
    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Map:
    """One variant's. columns, rows: the values, as people read them; rows from the bottom up. cells: by row, then by
    column; None where nothing was counted."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    breaks: tuple[Mark, ...]

    @property
    def contours(self) -> list[list[Mark]]:
        """The break points of rows that follow one another: a line goes through each of these."""
        runs = groupby(enumerate(self.breaks), key=lambda entry: entry[1].row - entry[0])
        return [[mark for _, mark in run] for _, run in runs]


def maps(results: Mapping[str, Any]) -> list[Map]:
    """The map of each variant of a study that sweeps two parameters."""
    found = {name: list(arms) for name, arms in groupby(results["variants"], key=lambda variant: variant["of"])}
    return [_map(name, arms, results) for name, arms in found.items()]


def _map(name: str, arms: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Map:
    rows = tuple(dict.fromkeys(arm["across"] for arm in arms))
    grid, kind = results["grid"], results["kind"]
    if kind == "name":
        places: Sequence[Any] = list(dict.fromkeys(arm["swept"] for arm in arms))
        columns = tuple(places)
        found = {(arm["across"], arm["swept"]): arm["sim"][0] for arm in arms}
    else:
        places, columns = grid, tuple(human(x, kind, 3) for x in grid)
        found = {(arm["across"], row["x"]): row for arm in arms for row in arm["sim"]}
    cells = tuple(tuple(_cell(found.get((row, place)), results) for place in places) for row in rows)
    marks = tuple(
        Mark(
            rows.index(arm["across"]), *np.interp([point["estimate"], point["lo"], point["hi"]], grid, range(len(grid)))
        )
        for arm in arms
        for point in [arm.get("break_point")]
        if point and point["status"] == "bracketed" and point["estimate"] is not None
    )
    return Map(name, columns, rows, cells, marks)


def _cell(row: Mapping[str, Any] | None, results: Mapping[str, Any]) -> Cell | None:
    if row is None:
        return None
    count, total, what = row["broken"], row["rounds"], "rounds broke"
    if results["measure"] != "broken_round":
        count, total, what = row["disagreements"], row["instances"], "instances disagree"
    counted = f"{count} of {total} {what}"
    interval = f"{100 * results['confidence']:g} % interval {probability(row['low'])} – {probability(row['high'])}"
    shown = share(row["p"], count)
    return Cell(row["p"], row["low"], row["high"], counted, shown, f"{shown}, {interval}: {counted}")
