"""The study document: what is swept, measured and compared, as a user writes it in YAML.

name: jitter-leaf-spine
scenario: ../scenarios/leaf-spine.yaml        # or the scenario itself, in place
sweep: {parameter: links.default.jitter, from: 1us, to: 100us, steps: 12, scale: linear}
measure: broken_round
break_point: {probability: 0.01, confidence: 0.99}
sim: {batch: 500, rounds: 20000}
vkernel: {points: 6, rounds: 1000, around: break_point}
variants:
  - {name: oae, set: {protocol.consensus: oae}}
seed: 7
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from testbed.scenario.document import Document, read_document
from testbed.scenario.errors import ScenarioError, shown, suggestion
from testbed.scenario.load import from_data, load
from testbed.scenario.model import Scenario

UNITS = {
    "ns": ("time", 1.0),
    "us": ("time", 1e3),
    "µs": ("time", 1e3),
    "ms": ("time", 1e6),
    "s": ("time", 1e9),
    "%": ("share", 0.01),
    "bit": ("rate", 1.0),
    "kbit": ("rate", 1e3),
    "mbit": ("rate", 1e6),
    "gbit": ("rate", 1e9),
    "": ("number", 1.0),
}
_QUANTITY = re.compile(r"^\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([a-zµ%]*)\s*$")
_MAX_STEPS = 1000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Sweep(_Part):
    """The swept parameter: a dotted path into the scenario (or several that get the same value), and its values."""

    parameter: str | list[str]
    values: list[str | float] | None = None
    from_: str | float | None = Field(None, alias="from")
    to: str | float | None = None
    steps: Annotated[int, Field(ge=2, le=_MAX_STEPS)] = 10
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _one_way(self) -> Sweep:
        if (self.values is None) == (self.from_ is None or self.to is None):
            raise ValueError("give either values: [...] or from:, to: and steps:")
        if self.values is not None and not self.values:
            raise ValueError("values: must name at least one value")
        points, kind = self.resolved()
        if any(low >= high for low, high in pairwise(points)):
            raise ValueError("the swept values must ascend and differ" + (" by 1 ns" if kind == "time" else ""))
        return self

    @property
    def parameters(self) -> list[str]:
        """The dotted paths."""
        return [self.parameter] if isinstance(self.parameter, str) else list(self.parameter)

    @property
    def kind(self) -> str:
        """time (x in ns), share, rate (bit/s) or number."""
        return self.resolved()[1]

    @property
    def grid(self) -> tuple[float, ...]:
        """The swept values in base units."""
        return self.resolved()[0]

    def resolved(self) -> tuple[tuple[float, ...], str]:
        """The values in base units, and their kind."""
        if self.values is not None:
            pairs = [quantity(value) for value in self.values]
            points = [value for value, _ in pairs]
        else:
            pairs = [quantity(value) for value in (self.from_, self.to) if value is not None]
            points = _steps(pairs[0][0], pairs[1][0], self.steps, self.scale)
        kinds = {kind for value, kind in pairs if value != 0 or kind != "number"}
        if len(kinds) > 1:
            raise ValueError(f"the swept values mix units: {', '.join(sorted(kinds))}")
        kind = kinds.pop() if kinds else "number"
        if kind in ("time", "rate"):
            points = [float(round(point)) for point in points]
        return tuple(points), kind


def _steps(low: float, high: float, steps: int, scale: str) -> list[float]:
    if scale == "log":
        if low <= 0:
            raise ValueError("a logarithmic sweep must start above 0")
        ratio = (high / low) ** (1 / (steps - 1))
        return [low * ratio**index for index in range(steps - 1)] + [high]
    return [low + (high - low) * index / (steps - 1) for index in range(steps)]


class BreakPointSpec(_Part):
    """The break point asked for: the least x with P(broken round) > probability, bracketed at this confidence."""

    probability: Annotated[float, Field(gt=0, lt=1)] = 0.01
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.99
    resolution: Annotated[float, Field(gt=0, le=1)] = 0.02
    max_points: Annotated[int, Field(ge=2, le=_MAX_STEPS)] = 40


class SimSpec(_Part):
    """What ``sim`` may spend: rounds at one point at the most, and rounds in one run (a batch)."""

    rounds: Annotated[int, Field(ge=1)] = 20_000
    batch: Annotated[int, Field(ge=1)] = 500


class VKernelSpec(_Part):
    """Confirmation on the virtual-time kernel: so many points of so many rounds, within ``span`` (a factor) around the
    break point, or spread over the sweep."""

    points: Annotated[int, Field(ge=1, le=100)] = 6
    rounds: Annotated[int, Field(ge=1)] = 1000
    around: Literal["break_point", "sweep"] = "break_point"
    span: Annotated[float, Field(gt=1, le=100)] = 1.25


class Expect(_Part):
    """What the study is expected to show; exit code 1 when it does not. disagreements: none or some."""

    disagreements: Literal["none", "some"] | None = None


class Variant(_Part):
    """One of several scenarios compared: dotted paths and what they are set to."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._= -]+$")]
    set: dict[str, Any] = Field(default_factory=dict)
    expect: Expect = Expect()
    vkernel: bool = True


class Crashes(_Part):
    """Random crashes put into every run: so many different hosts are killed at uniformly random instants."""

    nodes: Annotated[int, Field(ge=1)]


class StudyDocument(_Part):
    """A study as written. measure: broken_round (sweeps P(broken round)) or disagreement (counts instances that
    disagree, one instance a run, over ``runs`` runs at each swept value). paths_from: the directory from which paths
    in here count, itself counted from this document's."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
    about: str = ""
    scenario: str | dict[str, Any]
    paths_from: str = "."
    sweep: Sweep
    measure: Literal["broken_round", "disagreement"] = "broken_round"
    break_point: BreakPointSpec | None = None
    sim: SimSpec = SimSpec()
    vkernel: VKernelSpec | None = None
    variants: list[Variant] = Field(default_factory=lambda: [Variant(name="as given")], min_length=1)
    crashes: Crashes | None = None
    runs: Annotated[int, Field(ge=1)] = 1000
    expect_closed_form: bool = False
    expect_engines_agree: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 1

    @model_validator(mode="after")
    def _sound(self) -> StudyDocument:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have the same name")
        if self.sim.batch > self.sim.rounds:
            raise ValueError("sim.batch must not exceed sim.rounds")
        if self.measure == "disagreement" and (self.break_point or self.vkernel):
            raise ValueError("break_point and vkernel go with measure: broken_round only")
        if self.crashes and self.measure != "disagreement":
            raise ValueError("crashes go with measure: disagreement only")
        return self


@dataclass(frozen=True)
class Study:
    """A study ready to run: the document and its base scenario, already validated. source: where it came from."""

    document: StudyDocument
    scenario: Scenario
    source: str

    def scenario_at(self, variant: Variant, x: float) -> Scenario:
        """The scenario of one variant at one swept value. Raises ScenarioError when that makes no sense."""
        scenario = self.scenario
        for path, value in variant.set.items():
            scenario = scenario.with_override(path, value)
        for path in self.document.sweep.parameters:
            scenario = scenario.with_override(path, spelled(x, self.document.sweep.kind))
        return scenario


def quantity(value: str | float) -> tuple[float, str]:
    """A written value in base units, and its kind: ``50us`` -> (50000, time). Raises ValueError."""
    if isinstance(value, (int, float)):
        return float(value), "number"
    match = _QUANTITY.match(value)
    unit = UNITS.get(match.group(2)) if match else None
    if match is None or unit is None:
        raise ValueError(f"{value!r} is no number with a unit; units are {', '.join(unit for unit in UNITS if unit)}")
    try:
        number = float(match.group(1))
    except ValueError:
        raise ValueError(f"{match.group(1)!r} is no number") from None
    return number * unit[1], unit[0]


def spelled(x: float, kind: str) -> str | float | int:
    """The inverse of quantity, as a scenario takes it."""
    if kind == "time":
        return f"{round(x)}ns"
    if kind == "rate":
        return f"{round(x)}bit"
    return int(x) if x == int(x) and kind == "number" else x


def human(x: float, kind: str, digits: int = 5) -> str:
    """x for people: 12.5 µs, 1 %, 10 Gbit/s."""
    if kind == "time":
        return _scaled(x, ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")), digits)
    if kind == "rate":
        return _scaled(x, ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1, "bit/s")), digits)
    return f"{100 * x:.4g} %" if kind == "share" else f"{x:.6g}"


def _scaled(x: float, units: tuple[tuple[float, str], ...], digits: int) -> str:
    for factor, unit in units:
        if abs(x) >= factor:
            return f"{x / factor:.{digits}g} {unit}"
    return f"{x:g} {units[-1][1]}"


def load_study(path: Path) -> Study:
    """Read and validate a study's file and its scenario. Raises ScenarioError, one line per problem."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ScenarioError(f"{path}: can't be read: {error.strerror or error}; is the name right?") from None
    return study_from(read_document(text, str(path)), path.parent)


def study_from(document: Document, folder: Path) -> Study:
    """A study from a document that was read; every point of its sweep must make a sound scenario."""
    if not isinstance(document.data, dict):
        raise ScenarioError(document.problem((), f"a study is a mapping (key: value), not {shown(document.data)}"))
    try:
        written = StudyDocument.model_validate(document.data)
    except ValidationError as error:
        raise ScenarioError(_problems(error, document)) from None
    base = folder / written.paths_from
    if isinstance(written.scenario, str):
        scenario = load(base / written.scenario)
    else:
        scenario = from_data(written.scenario, f"{document.source}, scenario", base)
    study = Study(written, scenario, document.source)
    _check_points(study, document)
    return study


def study_schema() -> dict[str, Any]:
    """The JSON Schema of study documents."""
    return StudyDocument.model_json_schema(by_alias=True)


def _check_points(study: Study, document: Document) -> None:
    """The ends of the sweep, for every variant: an override that leads nowhere is told before anything runs."""
    grid = study.document.sweep.grid
    for place, variant in enumerate(study.document.variants):
        for x in (grid[0], grid[-1]):
            try:
                scenario = study.scenario_at(variant, x)
            except ScenarioError as error:
                what = f"at {human(x, study.document.sweep.kind)}: {error.problems[0]}"
                raise ScenarioError(document.problem(("variants", place), what)) from None
        crashes = study.document.crashes
        if crashes and scenario.protocol.f < crashes.nodes:
            what = f"{crashes.nodes} nodes crash, but protocol.f of {variant.name!r} is {scenario.protocol.f}; raise f"
            raise ScenarioError(document.problem(("crashes",), what))


def _problems(error: ValidationError, document: Document) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        path = _place(document.data, item["loc"])
        if item["type"] == "extra_forbidden":
            what = f"unknown key {shown(item['loc'][-1])}; {suggestion(str(item['loc'][-1]), _keys(path[:-1]))}"
        elif item["type"] == "missing":
            path, what = (*path, item["loc"][-1]), "is missing; add it"
        else:
            what = str(item.get("ctx", {}).get("error") or item["msg"])
            what += "" if isinstance(item.get("input"), dict) else f" (here: {shown(item.get('input'))})"
        lines.append(document.problem(path, what))
    return list(dict.fromkeys(lines))


def _place(data: Any, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """``loc`` as far as it leads into the document: parts that name alternatives of a union are left out."""
    path: list[str | int] = []
    for part in loc:
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            path.append(part)
    return tuple(path)


def _keys(path: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = StudyDocument
    for part in path:
        if isinstance(part, int):
            continue
        inner = _models(model.model_fields[part].annotation) if part in model.model_fields else []
        if not inner:
            return []
        model = inner[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]
