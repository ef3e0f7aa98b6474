"""Studies: sweeps with break points, confirmed on the virtual-time kernel; kept in a directory, where they resume."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from testbed.actions.find import find_document
from testbed.actions.study import claim, read_results, write_report
from testbed.api.scenarios import Scenario
from testbed.api.show import Diagram, badge, table_html
from testbed.api.table import Table
from testbed.scenario.document import Document
from testbed.study.document import Study, load_study, study_from
from testbed.study.runner import run_study as run_missing
from testbed.study.sample import Report


class StudyResult:
    """What a study found. A notebook shows its curve and where each variant breaks.

    >>> import testbed
    >>> pair = testbed.Scenario(
    ...     name="pair",
    ...     topology={"kind": "pair"},
    ...     links={"default": {"delay": "10us", "jitter": "2us"}},
    ...     protocol={"window": "60us"},
    ... )
    >>> found = testbed.run_study(
    ...     {
    ...         "name": "how-much-jitter",
    ...         "scenario": pair,
    ...         "sweep": {"parameter": "links.default.jitter", "values": ["2us", "9us"]},
    ...         "sim": {"rounds": 200, "batch": 100},
    ...     },
    ...     jobs=0,
    ... )
    >>> found
    <StudyResult how-much-jitter: links.default.jitter, 1 variant, 2 points>
    >>> found.points.columns[:6]
    ['variant', 'engine', 'x', 'p', 'low', 'high']
    """

    def __init__(self, results: Mapping[str, Any], trials: pa.Table, directory: Path | None = None) -> None:
        self._results, self._trials = results, trials
        self.directory = directory
        """Where it is kept; None: nowhere."""

    @property
    def name(self) -> str:
        """What the study is called."""
        return str(self._results["name"])

    @property
    def points(self) -> Table:
        """A row for each variant, engine and swept value.

        of, across, swept (where names or a second parameter are swept): the variant's name in the document, the value
        of the second parameter, the name that is swept. x: the swept value in base units (ns, bit/s, shares of 1). p:
        the share that broke, with its interval low .. high. Then the sums of its trials."""
        rows = [
            {"variant": variant["name"], **_second(variant), "engine": engine, **_flat(row)}
            for variant in self._results["variants"]
            for engine in ("sim", "vkernel")
            for row in variant.get(engine, ())
        ]
        return Table(_from_rows(rows, ("variant", "engine", "trust")), "points")

    @property
    def break_points(self) -> Table:
        """A row for each variant whose break point was asked for, and for each engine: between which values (lo, hi) it
        certainly lies, and where it is estimated to be, with an interval (estimate, low, high); in base units."""
        rows = [
            {"variant": variant["name"], **_second(variant), "engine": engine, **_flat(variant[key])}
            for variant in self._results["variants"]
            for engine, key in (("sim", "break_point"), ("vkernel", "vkernel_break_point"))
            if variant.get(key)
        ]
        return Table(_from_rows(rows, ("variant", "engine", "status")), "break points")

    @property
    def trials(self) -> Table:
        """The trials that the results are made of (``trials.parquet``)."""
        return Table(self._trials, "trials")

    @property
    def expectations(self) -> Table:
        """What the study expects, whether it held (null: it was not seen), and what was seen."""
        return Table(_from_rows(self._results["expectations"], ()), "expectations")

    def curve(self) -> Diagram:
        """What was measured against the swept value, with closed form and break points."""
        from testbed.report import plots

        return Diagram(plots.svg_of(plots.study_plot(self._results)), f"{self.name}: curve")

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data: what ``results.json`` of a study's directory holds."""
        return json.loads(json.dumps(self._results))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        variants = self._results["variants"]
        counted = f"{len(variants)} variant{'s' * (len(variants) != 1)}, {len(self.points)} points"
        return f"<StudyResult {self.name}: {', '.join(self._results['parameters'])}, {counted}>"

    def _repr_html_(self) -> str:
        about = f"<p>{escape(self._results['about'])}</p>" if self._results["about"] else ""
        return f"<h4>{escape(self.name)}</h4>{about}{self.curve()._repr_svg_()}{self._broken()}{self._expected()}"

    def _broken(self) -> str:
        from testbed.report.pages import bracket, estimate

        if not len(self.break_points):
            return ""
        kind = self._results["kind"]
        rows = [
            (variant["name"], estimate(variant["break_point"], kind), bracket(variant["break_point"], kind))
            for variant in self._results["variants"]
        ]
        return table_html(("variant", "break point (sim)", "bracket"), rows)

    def _expected(self) -> str:
        words = {True: "held", False: "failed", None: "not seen"}
        return "".join(
            f"<p>expected {escape(item['what'])}: {badge(words[item['held']], item['held'])} {escape(item['seen'])}</p>"
            for item in self._results["expectations"]
        )


def run_study(
    study: str | Path | Mapping[str, Any],
    directory: str | Path | None = None,
    jobs: int | None = None,
    vkernel: bool = True,
    progress: Report | None = None,
) -> StudyResult:
    """Run a study, or what is missing of it.

    study: its file, the name of one that ships (``testbed.catalogue("studies")``), or plain data, with a Scenario under
    ``scenario`` if you like. directory: where
    trials and report are kept, and from where it goes on when it was interrupted; None: nothing is kept. jobs: worker
    processes (None: one a core; 0: none). vkernel: whether points are confirmed on the virtual-time kernel. progress:
    called with a phase, the trials done and those known to be needed.

    Raises testbed.Error, a line for each problem, for what makes no sense.

    >>> import testbed
    >>> found = testbed.run_study(
    ...     {
    ...         "name": "three-depths",
    ...         "scenario": testbed.load("clean-live").with_(engine="sim", faults=[]),
    ...         "sweep": {"parameter": "protocol.depth", "values": [2, 4, 6]},
    ...         "sim": {"rounds": 10, "batch": 10},
    ...     },
    ...     jobs=0,
    ... )
    >>> [(row["x"], row["p"]) for row in found.points.rows()]
    [(2.0, 0.0), (4.0, 0.0), (6.0, 0.0)]
    """
    loaded = _loaded(study)
    if directory is not None:
        return _run_in(loaded, claim(Path(directory)), jobs, vkernel, progress, kept=True)
    with tempfile.TemporaryDirectory() as scratch:
        return _run_in(loaded, Path(scratch), jobs, vkernel, progress, kept=False)


def open_study(directory: str | Path) -> StudyResult:
    """A study that was kept, as ``testbed study`` leaves it. Raises testbed.Error when it has not ended, or is damaged.

    >>> import testbed
    >>> testbed.open_study("nowhere")
    Traceback (most recent call last):
        ...
    testbed.errors.UserError: nowhere: this study has not ended; go on with: testbed study nowhere/study.yaml ...
    """
    where = Path(directory)
    return StudyResult(read_results(where), pq.read_table(where / "trials.parquet"), where)


def _loaded(study: str | Path | Mapping[str, Any]) -> Study:
    if isinstance(study, Mapping):
        written = {key: one.to_dict() if isinstance(one, Scenario) else one for key, one in study.items()}
        return study_from(Document(written, "study", {}), Path())
    return load_study(find_document(str(study), "studies"))


def _run_in(
    loaded: Study, directory: Path, jobs: int | None, vkernel: bool, progress: Report | None, kept: bool
) -> StudyResult:
    results = run_missing(loaded, directory, jobs, progress, vkernel).to_dict()
    trials = pq.read_table(directory / "trials.parquet", memory_map=False)
    if kept:
        write_report(loaded, results, directory)
    return StudyResult(results, trials, directory if kept else None)


def _second(variant: Mapping[str, Any]) -> dict[str, Any]:
    """What tells variants apart where two parameters are swept, or names."""
    return {name: variant[name] for name in ("of", "across", "swept") if variant.get("across") or variant.get("swept")}


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values only; counts by name become columns (``swaps_split``)."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{inner}": one for inner, one in value.items() if not isinstance(one, Mapping | list)}
        elif not isinstance(value, Sequence) or isinstance(value, str):
            found[name] = value
    return found


def _from_rows(rows: Sequence[Mapping[str, Any]], coded: Sequence[str]) -> pa.Table:
    """A table of rows that need not all have the same columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    arrow = pa.table({name: [row.get(name) for row in rows] for name in names})
    for name in coded:
        if name in names:
            arrow = arrow.set_column(names.index(name), name, arrow.column(name).dictionary_encode())
    return arrow
