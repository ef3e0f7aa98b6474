"""Columns of numbers out of rows of nested tuples: what recording spends its time on.

The compiled build has the same in C (columns.c), which is several times as fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    in_c: Any = import_module("oae_columns")  # found where the compiled build is used (testbed.compiled)
except ImportError:
    in_c = None

Path = tuple[int, ...]
"""Where in a row: the place in it, the place in what is there, and so on."""

Pick = tuple[Path, dict[Any, int] | None]
"""A column: where its values are and, unless they are integers, their codes so far; new values get the next ones."""


def gather(rows: list[Any], picks: tuple[Pick, ...]) -> list[NDArray[np.int64]]:
    """The columns that are picked from ``rows``. A number that is None, or in a tuple that is None, is -1."""
    if in_c is not None:
        return [np.frombuffer(column, dtype=np.int64) for column in in_c.gather(rows, picks)]
    if not rows:
        return [np.empty(0, dtype=np.int64) for _ in picks]
    found: dict[Path, Sequence[Any]] = {(): rows}
    return [_numbers(_at(path, found), known) for path, known in picks]


def grouped(rows: list[Any], place: int) -> dict[Any, list[int]]:
    """Where in ``rows`` those are that hold the same at ``place``, by what they hold."""
    if in_c is not None:
        groups: dict[Any, list[int]] = in_c.grouped(rows, place)
        return groups
    groups = {}
    for number, row in enumerate(rows):
        kind = row[place]
        if kind in groups:
            groups[kind].append(number)
        else:
            groups[kind] = [number]
    return groups


def codes(values: Iterable[Any], known: dict[Any, int]) -> NDArray[np.int32]:
    """The places of ``values`` among those known; new ones join them in the order in which they first appear."""
    rows = list(values)
    for value in dict.fromkeys(rows):
        known.setdefault(value, len(known))
    return np.fromiter(map(known.__getitem__, rows), dtype=np.int32, count=len(rows))


def _at(path: Path, found: dict[Path, Sequence[Any]]) -> Sequence[Any]:
    """What the rows hold at ``path``. Its neighbours are made with it, which costs no more."""
    if path not in found:
        whole = _at(path[:-1], found)
        try:
            for place, column in enumerate(zip(*whole, strict=True)):
                found[*path[:-1], place] = column
        except TypeError:  # a None among them
            found[path] = [None if one is None else one[path[-1]] for one in whole]
    return found[path]


def _numbers(values: Sequence[Any], known: dict[Any, int] | None) -> NDArray[np.int64]:
    if known is not None:
        return codes(values, known).astype(np.int64)
    if None in values:
        values = [-1 if value is None else value for value in values]
    return np.fromiter(values, dtype=np.int64, count=len(values))
