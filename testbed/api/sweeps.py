"""Sweeps: a scenario at every combination of some values, many runs of each, counted with exact intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

from testbed.api.scenarios import Scenario, scenario_of
from testbed.api.show import Diagram
from testbed.api.table import Table, texts
from testbed.errors import UserError
from testbed.plan import derive_seed
from testbed.quantiles import quantile
from testbed.study.confirm import usable_cores
from testbed.study.document import quantity
from testbed.study.measure import Task, do_task
from testbed.study.results import Results, Row, VariantResult, broken_row, disagreement_row
from testbed.study.statistics import clopper_pearson
from testbed.study.trials import Trial, summed
from testbed.study.workers import Workers

_RUNS_PER_TASK = 25
_SUFFIX = {"time": "_ns", "rate": "_bps"}
_OUTCOMES = ("committed", "aborted", "split", "blocked", "excluded")

Counted = Callable[[int, int], None]
"""Called with the runs that are done and those that there are in all."""


class Sweep(Table):
    """The table of a sweep, a row for each combination of values; a notebook shows its curve as well.

    The swept values come first: times as ``<path>_ns``, rates as ``<path>_bps``, other numbers and texts as they are.
    Then, with ``p_*`` for shares and ``*_low``, ``*_high`` for the exact (Clopper-Pearson) interval at ``confidence``:

    runs, broken_runs, p_run: runs in which some round broke. Runs are independent: each has a seed of its own.
    rounds, broken_rounds, p_round: rounds that broke. The interval takes rounds of one run to be independent, which
    they are not where a fault or a correlated delay reaches over several; p_run's needs no such thing.
    committed, aborted, split, blocked, excluded: swaps.
    instances, decided, disagreements, p_disagree: of consensus; the interval likewise.
    operations, answered, latency_p50_ns, latency_p99_ns, slowest_ns, contradicted_runs: of services.
    trust: of those of its runs whose delays were judged too, the first ones.

    >>> import testbed
    >>> scenario = testbed.load("last-message-lost")
    >>> found = testbed.sweep(scenario, {"protocol.depth": [2, 4]}, runs=2, jobs=0)
    >>> found.to_pandas()[["protocol.depth", "runs", "broken_runs"]].values.tolist()
    [[2, 2, 0], [4, 2, 2]]
    """

    def __init__(self, name: str, axes: Sequence[_Axis], trials: Sequence[Sequence[Trial]], confidence: float) -> None:
        super().__init__(_table(axes, trials, confidence), name)
        self._axes, self._trials, self.confidence = axes, trials, confidence

    def curve(self, measure: str = "round") -> Diagram:
        """The share that broke against the first of the swept numbers, a series for each combination of the others.

        measure: ``"round"`` or ``"disagree"``. Raises testbed.Error when no number is swept, or nothing of that was
        counted.
        """
        from testbed.report import plots

        results = self._as_study(measure).to_dict()
        return Diagram(plots.svg_of(plots.study_plot(results)), f"{self._name}: p_{measure}")

    def _as_study(self, measure: str) -> Results:
        """As plots take what a study found: one series is one variant."""
        if measure not in _MEASURES:
            raise UserError(f"there is no curve of p_{measure}; measure is one of {', '.join(_MEASURES)}")
        drawn = next((axis for axis in self._axes if axis.kind and len(axis.values) > 1), None)
        if drawn is None:
            raise UserError("no number is swept, so there is no curve; look at the table")
        as_row = broken_row if measure == "round" else disagreement_row
        series: dict[str, list[Row]] = {}
        for row, trials in zip(self.rows(), self._trials, strict=True):
            if row[f"p_{measure}"] is None:
                continue
            others = [f"{axis.short}={axis.spelled(row[axis.column])}" for axis in self._axes if axis is not drawn]
            name = ", ".join(others) or self._name
            series.setdefault(name, []).append(as_row(float(row[drawn.column]), trials, self.confidence))
        if not series:
            raise UserError(f"nothing was counted that p_{measure} could be a share of")
        variants = (
            VariantResult(name, {}, tuple(sorted(rows, key=lambda row: row.x))) for name, rows in series.items()
        )
        return Results(
            name=self._name,
            about="",
            measure=_MEASURES[measure],
            parameters=[drawn.path],
            kind=drawn.kind,
            scale="linear",
            grid=sorted(float(base) for base in drawn.base),
            across=(),
            seed=0,
            source="",
            confidence=self.confidence,
            crashes={},
            losses={},
            variants=tuple(variants),
            expectations=(),
            missing=(),
            notes=(),
            studied={},
            code={},
        )

    def _repr_html_(self) -> str:
        measure = "disagree" if not any(self["rounds"]) or any(self["disagreements"]) else "round"
        try:
            return self.curve(measure)._repr_svg_() + super()._repr_html_()
        except UserError:
            return super()._repr_html_()


_MEASURES = {"round": "broken_round", "disagree": "disagreement"}


@dataclass(frozen=True, slots=True)
class _Axis:
    """A swept parameter. values: as they were given; base: in base units; kind: as testbed.study.document.quantity
    tells it, "" for texts."""

    path: str
    values: tuple[Any, ...]
    base: tuple[Any, ...]
    kind: str

    @property
    def column(self) -> str:
        return self.path + _SUFFIX.get(self.kind, "")

    @property
    def short(self) -> str:
        return self.path.rpartition(".")[2]

    def spelled(self, base: Any) -> str:
        """As it was given."""
        return str(self.values[self.base.index(base)])


def sweep(
    scenario: Scenario | str | Path | Mapping[str, Any],
    values: Mapping[str, Sequence[Any]],
    runs: int = 100,
    jobs: int | None = None,
    confidence: float = 0.99,
    progress: Counted | None = None,
) -> Sweep:
    """Run a scenario on ``sim`` at every combination of some values, under ``runs`` seeds each, and count what broke.

    values: dotted paths with the values that they take: ``{"links.default.jitter": ["10us", "20us"]}``. Seeds derive
    from the scenario's own and are the same at every combination. jobs: worker processes (None: one a core; 0: none,
    all in this process); the table is the same for any number of them. confidence: of the intervals.

    Raises testbed.Error, before anything is run, for a combination that makes no sense. For break points, and for
    vkernel beside sim, write a study: ``run_study``.

    >>> import testbed
    >>> scenario = testbed.load("last-message-lost")
    >>> testbed.sweep(scenario, {"links.default.delay": ["5us", "10us"]}, runs=1, jobs=0)["links.default.delay_ns"]
    array([ 5000, 10000])
    """
    base = scenario_of(scenario)
    if runs < 1:
        raise UserError(f"runs: {runs} are none; say how many there are to be at each combination")
    if not 0 < confidence < 1:
        raise UserError(f"confidence lies between 0 and 1, not {confidence}")
    axes = [_axis(path, given) for path, given in values.items()]
    points = [
        base.with_(dict(zip(values, chosen, strict=True)))._inner for chosen in product(*(axis.values for axis in axes))
    ]
    seeds = [derive_seed(base.seed, "run", index) for index in range(runs)]
    chunks = [tuple(seeds[at : at + _RUNS_PER_TASK]) for at in range(0, runs, _RUNS_PER_TASK)]
    tasks = [
        Task(f"{place}.{part}", "", place, point, chunk, full=part == 0, load=point.written.service is not None)
        for place, point in enumerate(points)
        for part, chunk in enumerate(chunks)
    ]
    done: dict[str, Trial] = {}
    finished = 0
    with Workers(do_task, usable_cores() if jobs is None else jobs) as pool:
        for task, trial in pool.map(tasks):
            done[task.key] = trial
            finished += len(task.seeds)
            if progress is not None:
                progress(finished, runs * len(points))
    trials = [[done[f"{place}.{part}"] for part in range(len(chunks))] for place in range(len(points))]
    return Sweep(base.name, axes, trials, confidence)


def _axis(path: str, given: Sequence[Any]) -> _Axis:
    if isinstance(given, str) or not list(given):
        raise UserError(f"{path}: a list of values is wanted, not {given!r}")
    values = tuple(_plain(value) for value in given)
    if len(set(map(str, values))) < len(values):
        raise UserError(f"{path}: each value once")
    try:
        pairs = [quantity(value) for value in values if not isinstance(value, bool)]
    except (ValueError, TypeError):
        pairs = []
    kinds = {kind for base, kind in pairs if base != 0 or kind != "number"} or {"number"}
    if len(pairs) < len(values) or len(kinds) > 1:
        return _Axis(path, values, tuple(map(str, values)), "")
    kind = kinds.pop()
    whole = kind in _SUFFIX or all(base == int(base) for base, _ in pairs)
    return _Axis(path, values, tuple(round(base) if whole else base for base, _ in pairs), kind)


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _table(axes: Sequence[_Axis], trials: Sequence[Sequence[Trial]], confidence: float) -> pa.Table:
    columns: dict[str, Any] = {}
    bases = list(product(*(axis.base for axis in axes)))
    for place, axis in enumerate(axes):
        values = [base[place] for base in bases]
        columns[axis.column] = pa.array(values) if axis.kind else texts(values)
    rows = [_counts(point, confidence) for point in trials]
    for name, kind in _COLUMNS.items():
        column = pa.array([row[name] for row in rows], kind)
        columns[name] = column.dictionary_encode() if name == "trust" else column
    return pa.table(columns)


_SHARES = {"p_run": pa.float64(), "p_run_low": pa.float64(), "p_run_high": pa.float64()}
_COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(("runs", "broken_runs"), pa.int64()),
    **_SHARES,
    **dict.fromkeys(("rounds", "broken_rounds"), pa.int64()),
    **{name.replace("run", "round"): kind for name, kind in _SHARES.items()},
    **dict.fromkeys(_OUTCOMES, pa.int64()),
    **dict.fromkeys(("instances", "decided", "disagreements"), pa.int64()),
    **{name.replace("run", "disagree"): kind for name, kind in _SHARES.items()},
    **dict.fromkeys(("operations", "answered", "latency_p50_ns", "latency_p99_ns", "slowest_ns"), pa.int64()),
    "contradicted_runs": pa.int64(),
    "trust": pa.string(),
    "seconds": pa.float64(),
}


def _counts(trials: Sequence[Trial], confidence: float) -> dict[str, Any]:
    totals = summed(trials)
    broken_runs = sum(bool(broken) for trial in trials for broken in trial.broken_by_run)
    loads = [load for trial in trials for load in trial.loads]
    latencies = sorted(ns for load in loads for ns in load.latencies_ns)
    operations = sum(load.operations for load in loads)
    return {
        "runs": totals["runs"],
        "broken_runs": broken_runs,
        **_share("p_run", broken_runs, totals["runs"] if totals["rounds"] else 0, confidence),
        "rounds": totals["rounds"],
        "broken_rounds": totals["broken"],
        **_share("p_round", totals["broken"], totals["rounds"], confidence),
        **{name: totals["swaps"].get(name, 0) for name in _OUTCOMES},
        "instances": totals["instances"],
        "decided": totals["decided"],
        "disagreements": totals["disagreements"],
        **_share("p_disagree", totals["disagreements"], totals["instances"], confidence),
        "operations": operations,
        "answered": len(latencies),
        "latency_p50_ns": quantile(latencies, 0.5) if latencies else None,
        "latency_p99_ns": quantile(latencies, 0.99) if latencies else None,
        "slowest_ns": max(load.slowest_ns for load in loads) if operations else None,
        "contradicted_runs": sum(len(trial.contradicted) for trial in trials),
        "trust": totals["trust"],
        "seconds": totals["seconds"],
    }


def _share(name: str, count: int, of: int, confidence: float) -> dict[str, float | None]:
    if not of:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    low, high = clopper_pearson(count, of, confidence)
    return {name: count / of, f"{name}_low": low, f"{name}_high": high}
