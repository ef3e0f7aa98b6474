"""What a study found, as data; ``to_dict`` is what results.json holds and the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from testbed.study.evidence import Count, confidence_sequence
from testbed.study.losses import LossRow, LostUnder
from testbed.study.search import BreakPoint
from testbed.study.statistics import clopper_pearson
from testbed.study.trials import Trial, summed


@dataclass(frozen=True, slots=True)
class Row:
    """One point. x in base units; p: the share that broke (or disagreed) with its interval low .. high; totals: the
    sums of its trials (trials.summed); looked: whether the interval holds at any number of rounds, because a search
    chose when to stop. twin_broken, twin_same_rounds: ``sim`` on the same plan (vkernel only)."""

    x: float
    p: float
    low: float
    high: float
    looked: bool
    totals: Mapping[str, Any]
    twin_broken: int | None = None
    twin_same_rounds: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Flat: a row is a row of a table."""
        row = {"x": self.x, "p": self.p, "low": self.low, "high": self.high, "looked": self.looked, **self.totals}
        if self.twin_broken is not None:
            row |= {"twin_broken": self.twin_broken, "twin_same_rounds": self.twin_same_rounds}
        return row


@dataclass(frozen=True, slots=True)
class Specimen:
    """A run in which an instance disagrees."""

    x: float
    seed: int
    instance: int


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One variant at one value of a second parameter (see document.Arm for of, across, swept). closed_form: (x, p). A
    break point is None where none was asked for, or nothing confirmed it."""

    name: str
    set: Mapping[str, Any]
    sim: tuple[Row, ...] | tuple[LossRow, ...]
    vkernel: tuple[Row, ...] = ()
    closed_form: tuple[tuple[float, float], ...] = ()
    break_point: BreakPoint | None = None
    vkernel_break_point: BreakPoint | None = None
    window_ns: int = 0
    specimens: tuple[Specimen, ...] = ()
    lost: tuple[LostUnder, ...] = ()
    of: str = ""
    across: str = ""
    swept: str = ""

    def to_dict(self, measure: str) -> dict[str, Any]:
        """What belongs to ``measure``."""
        named = {name: getattr(self, name) for name in ("name", "of", "across", "swept")}
        common = {**named, "set": dict(self.set), "sim": [row.to_dict() for row in self.sim]}
        if measure == "disagreement":
            return {**common, "specimens": [asdict(item) for item in self.specimens]}
        if measure == "losses":
            return {**common, "lost": [item.to_dict() for item in self.lost]}
        return {
            **common,
            "vkernel": [row.to_dict() for row in self.vkernel],
            "closed_form": [{"x": x, "p": p} for x, p in self.closed_form],
            "break_point": asdict(self.break_point) if self.break_point else None,
            "vkernel_break_point": asdict(self.vkernel_break_point) if self.vkernel_break_point else None,
            "window_ns": self.window_ns,
        }


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something that the document expects. held: None when it could not be seen."""

    what: str
    held: bool | None
    seen: str


@dataclass(frozen=True, slots=True)
class Results:
    """All of it. grid: the values that were asked for. across: the second parameter's paths. missing: why an engine did
    not run. studied: see subject.subject. code: engine -> fingerprint. seed: the document's."""

    name: str
    about: str
    measure: str
    parameters: Sequence[str]
    kind: str
    scale: str
    grid: Sequence[float]
    across: Sequence[str]
    seed: int
    source: str
    confidence: float
    crashes: Mapping[str, Any]
    losses: Mapping[str, Any]
    variants: tuple[VariantResult, ...]
    expectations: tuple[Expectation, ...]
    missing: Sequence[str]
    notes: Sequence[str]
    studied: Mapping[str, Sequence[str]]
    code: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        plain = ("name", "about", "measure", "kind", "scale", "seed", "source", "confidence")
        return {
            **{name: getattr(self, name) for name in plain},
            "parameters": list(self.parameters),
            "grid": list(self.grid),
            "across": list(self.across),
            "crashes": dict(self.crashes),
            "losses": dict(self.losses),
            "variants": [variant.to_dict(self.measure) for variant in self.variants],
            "expectations": [asdict(item) for item in self.expectations],
            "missing": list(self.missing),
            "notes": list(self.notes),
            "studied": {name: list(words) for name, words in self.studied.items()},
            "code": dict(self.code),
        }


def broken_row(x: float, trials: Sequence[Trial], confidence: float, searched: float | None = None) -> Row:
    """How often a round broke at x. searched: the p that a search looked for when it chose how many rounds to run."""
    totals = summed(trials)
    low, high = rate_interval(Count(totals["broken"], totals["rounds"]), confidence, searched)
    return Row(x, totals["broken"] / max(1, totals["rounds"]), low, high, searched is not None, totals)


def disagreement_row(x: float, trials: Sequence[Trial], confidence: float) -> Row:
    """How often an instance disagreed at x."""
    totals = summed(trials)
    low, high = clopper_pearson(totals["disagreements"], totals["instances"], confidence)
    return Row(x, totals["disagreements"] / max(1, totals["instances"]), low, high, False, totals)


def rate_interval(count: Count, confidence: float, searched: float | None) -> tuple[float, float]:
    """Exact for rounds fixed beforehand; one that holds at any time where a search chose when to stop."""
    if searched is None:
        return clopper_pearson(*count, confidence)
    return confidence_sequence(count, confidence, searched)
