"""The study document: what is swept, measured and compared, as a user writes it in YAML.

name: jitter-leaf-spine
scenario: ../scenarios/leaf-spine.yaml        # or the scenario itself, in place
sweep: {parameter: links.default.jitter, from: 1us, to: 100us, steps: 12, scale: linear}
across: {parameter: protocol.depth, values: [2, 4, 6]}   # all of it again at each of these: a map of two parameters
measure: broken_round
break_point: {probability: 0.01, confidence: 0.99, rounds: 60000}
sim: {batch: 500}
vkernel: {points: 6, rounds: 1000, around: break_point}
variants:
  - {name: oae, set: {protocol.consensus: oae}}
seed: 7
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.scenario.compile import compile_plan
from testbed.scenario.document import Document, read_document
from testbed.scenario.errors import FieldError, ScenarioError, shown
from testbed.scenario.errors import Path as KeyPath
from testbed.scenario.load import Scenario, from_document, load
from testbed.scenario.problems import problem_lines
from testbed.scenario.units import Time

UNITS = {
    "ns": ("time", 1.0),
    "us": ("time", 1e3),
    "µs": ("time", 1e3),
    "μs": ("time", 1e3),
    "ms": ("time", 1e6),
    "s": ("time", 1e9),
    "%": ("share", 0.01),
    "bit": ("rate", 1.0),
    "kbit": ("rate", 1e3),
    "mbit": ("rate", 1e6),
    "gbit": ("rate", 1e9),
    "tbit": ("rate", 1e12),
    "": ("number", 1.0),
}
_QUANTITY = re.compile(r"^\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([a-zµμ%]*)\s*$")
_NAME = re.compile(r"[A-Za-z_]")
_MAX_STEPS = 1000
_TOLD_APART = 12  # digits, so that different values have different names
_MOST_ARMS = 200


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)


class Sweep(_Part):
    """The swept parameter: a dotted path into the scenario (or several that get the same value), and its values:
    numbers with their units, or names (of engines, topologies, policies), which are compared side by side."""

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
        """time (x in ns), share, rate (bit/s), number or name."""
        return self.resolved()[1]

    @property
    def grid(self) -> tuple[float, ...]:
        """The swept values in base units. Names are no points on an axis but variants (Study.arms): one point is
        left."""
        return self.resolved()[0]

    @property
    def choices(self) -> list[tuple[str | float | int, str]]:
        """What the parameter is set to, one value after the other, and how people read that."""
        points, kind = self.resolved()
        if kind == "name":
            return [(str(name), str(name)) for name in self.values or ()]
        return [(spelled(x, kind), human(x, kind, _TOLD_APART)) for x in points]

    @property
    def integral(self) -> bool:
        """Whether the parameter takes whole numbers only: nanoseconds, bit/s, depths."""
        points, kind = self.resolved()
        return kind in ("time", "rate") or (kind == "number" and all(x == int(x) for x in points))

    def snapped(self, x: float) -> float:
        """The nearest value that the parameter can take, inside the sweep."""
        grid = self.grid
        return min(max(float(round(x)) if self.integral else x, grid[0]), grid[-1])

    def resolved(self) -> tuple[tuple[float, ...], str]:
        """The values in base units, and their kind."""
        if self.values and all(isinstance(value, str) and _NAME.match(value) for value in self.values):
            if len(set(self.values)) < len(self.values):
                raise ValueError("the swept names must differ")
            return (0.0,), "name"
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
    """The break point asked for: where P(broken round) crosses ``probability`` first, up or down, bracketed at this
    confidence. rounds: what the search may cost on ``sim``, all points together. resolution: it ends before that when
    the bracket is narrower than this fraction of its upper end."""

    probability: Annotated[float, Field(gt=0, lt=1)] = 0.01
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.99
    resolution: Annotated[float, Field(gt=0, le=1)] = 0.02
    rounds: Annotated[int, Field(ge=1)] = 60_000


class SimSpec(_Part):
    """What ``sim`` runs: rounds at each point (of a study without a break point), and rounds in one run (a batch)."""

    rounds: Annotated[int, Field(ge=1)] = 20_000
    batch: Annotated[int, Field(ge=1)] = 500


class VKernelSpec(_Part):
    """Confirmation on the virtual-time kernel: so many points of so many rounds, within ``span`` (a factor) around the
    break point and inside the sweep, or spread over it."""

    points: Annotated[int, Field(ge=1, le=100)] = 6
    rounds: Annotated[int, Field(ge=1)] = 1000
    around: Literal["break_point", "sweep"] = "break_point"
    span: Annotated[float, Field(gt=1, le=100)] = 1.25


class Expect(_Part):
    """What the study is expected to show; exit code 1 when it does not. disagreements: none or some. keeps: losses of
    which no run may suffer any; loses: those that must come somewhere in the sweep, at the latest with crashes."""

    disagreements: Literal["none", "some"] | None = None
    keeps: list[Literal["deadline", "availability", "agreement"]] = Field(default_factory=list)
    loses: list[Literal["deadline", "availability", "agreement"]] = Field(default_factory=list)


class Variant(_Part):
    """One of several scenarios compared: dotted paths and what they are set to."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._= -]+$")]
    set: dict[str, Any] = Field(default_factory=dict)
    expect: Expect = Expect()
    vkernel: bool = True


class Crashes(_Part):
    """Random crashes put into every run, at uniformly random instants: so many different members are killed; of so many
    others every NIC goes down for good, while they live on. within: how long after the start it may happen (the length
    of all rounds or instances, if it is left out)."""

    nodes: Annotated[int, Field(ge=0)] = 0
    nics: Annotated[int, Field(ge=0)] = 0
    within: Annotated[Time, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _some(self) -> Crashes:
        if not self.nodes + self.nics:
            raise ValueError("crashes of nobody: say how many nodes: or nics:")
        return self


class Losses(_Part):
    """What counts as lost to clients: an answer later than ``deadline``; an ``outage`` in which somebody waits and
    nobody is answered. probability: a loss is told of where more than this share of runs suffers it."""

    deadline: Annotated[Time, Field(gt=0)]
    outage: Annotated[Time, Field(gt=0)]
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.5


class StudyDocument(_Part):
    """A study as written. across: a second parameter; the whole sweep, its search for a break point with it, is done at
    each of its values. measure: broken_round (sweeps P(broken round)), disagreement (counts instances that disagree,
    one instance a run, over ``runs`` runs at each swept value) or losses (what the clients of a service lose first:
    ``runs`` runs of the whole scenario at each swept value without ``crashes`` and, if there are any, as many with).
    causes: tell what broke each swap on ``sim`` too, for which every message must be recorded (on ``vkernel`` it is
    always told). paths_from: the directory from which paths in here count, itself counted from this document's."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
    about: str = ""
    scenario: str | dict[str, Any]
    paths_from: str = "."
    sweep: Sweep
    across: Sweep | None = None
    measure: Literal["broken_round", "disagreement", "losses"] = "broken_round"
    break_point: BreakPointSpec | None = None
    sim: SimSpec = SimSpec()
    vkernel: VKernelSpec | None = None
    variants: list[Variant] = Field(default_factory=lambda: [Variant(name="as given")], min_length=1)
    crashes: Crashes | None = None
    losses: Losses | None = None
    runs: Annotated[int, Field(ge=1)] = 1000
    causes: bool = False
    expect_closed_form: bool = False
    expect_engines_agree: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 1

    @field_validator("sweep", "across", mode="before")
    @classmethod
    def _one_sweep(cls, value: Any) -> Any:
        if isinstance(value, list):
            raise ValueError("one parameter is swept here; the second one of two goes under across:")
        return value

    @model_validator(mode="after")
    def _sound(self) -> StudyDocument:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have the same name")
        if self.across is not None and set(self.across.parameters) & set(self.sweep.parameters):
            raise ValueError("sweep and across must name different parameters")
        if self.break_point is not None:
            self._sound_search(self.break_point)
        elif self.sim.batch > self.sim.rounds:
            raise ValueError("sim.batch must not exceed sim.rounds")
        if self.measure != "broken_round" and (self.break_point or self.vkernel):
            raise ValueError("break_point and vkernel go with measure: broken_round only")
        if self.crashes and self.measure == "broken_round":
            raise ValueError("crashes go with measure: disagreement and measure: losses only")
        if self.measure != "losses" and any(one.expect.keeps or one.expect.loses for one in self.variants):
            raise ValueError("expect.keeps and expect.loses go with measure: losses only")
        if (self.losses is None) == (self.measure == "losses"):
            raise ValueError("losses: {deadline: …, outage: …} and measure: losses go together")
        return self

    def _sound_search(self, wanted: BreakPointSpec) -> None:
        if self.sweep.kind == "name":
            raise ValueError("a break point lies between two numbers, and names are swept; put the names under across:")
        if "rounds" in self.sim.model_fields_set:
            raise ValueError(
                "a search has no sim.rounds at each point; say in break_point.rounds what all of it may cost"
            )
        least = 2 * self.sim.batch * len(self.sweep.grid)
        if wanted.rounds < least:
            raise ValueError(
                f"break_point.rounds must be at least {least}: two batches at each of {len(self.sweep.grid)} values"
            )


@dataclass(frozen=True)
class Arm:
    """One of the things that a study compares: a variant, with what else is the same along its sweep set in it.

    of: the variant's name in the document; place: its place there. across: the value of the second parameter, swept: of
    the first where that takes names; as people read them, empty where there is none.
    """

    variant: Variant
    of: str
    place: int
    across: str = ""
    swept: str = ""


@dataclass(frozen=True)
class Study:
    """A study ready to run: the document and its base scenario, already validated. source: where it came from."""

    document: StudyDocument
    scenario: Scenario
    source: str

    def scenario_at(self, variant: Variant, x: float) -> Scenario:
        """The scenario of one arm's variant at one swept value. Raises ScenarioError when that makes no sense."""
        scenario = self.scenario
        for path, value in variant.set.items():
            scenario = scenario.with_override(path, value)
        if self.document.sweep.kind == "name":  # set in the variant
            return scenario
        for path in self.document.sweep.parameters:
            scenario = scenario.with_override(path, spelled(x, self.document.sweep.kind))
        return scenario

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All that is compared: each variant, at each value of the second parameter, with each name that is swept."""
        document = self.document
        swept = document.sweep if document.sweep.kind == "name" else None
        alone = "variants" not in document.model_fields_set
        return tuple(
            _arm(Arm(variant, variant.name, place), alone, (document.across, second), (swept, first))
            for place, variant in enumerate(document.variants)
            for second in (document.across.choices if document.across else _NO_CHOICE)
            for first in (swept.choices if swept else _NO_CHOICE)
        )

    def arm(self, name: str) -> Variant:
        """The variant of the arm that results call so."""
        return next(arm.variant for arm in self.arms if arm.variant.name == name)


_Choice = tuple[str | float | int, str]
_NO_CHOICE: list[_Choice] = [("", "")]


def _arm(arm: Arm, alone: bool, across: tuple[Sweep | None, _Choice], swept: tuple[Sweep | None, _Choice]) -> Arm:
    """The arm with these values set. alone: its variant is the only one, and nobody has named it."""
    names, set_ = [] if alone else [arm.of], dict(arm.variant.set)
    for sweep, (value, told) in (across, swept):
        if sweep is not None:
            set_ |= dict.fromkeys(sweep.parameters, value)
            names.append(told if sweep.kind == "name" else f"{parameter_name(sweep.parameters)} {told}")
    if names == [arm.of] or not names:
        return arm
    variant = arm.variant.model_copy(update={"name": ", ".join(names), "set": set_})
    return replace(arm, variant=variant, across=across[1][1], swept=swept[1][1])


def parameter_name(parameters: Sequence[str]) -> str:
    """``[links.default.jitter]`` -> jitter."""
    return " and ".join(dict.fromkeys(path.split(".")[-1].replace("_", " ") for path in parameters))


def quantity(value: str | float) -> tuple[float, str]:
    """A written value in base units, and its kind: ``50us`` -> (50000, time). Raises ValueError."""
    number, unit = value, ""
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None or match.group(2) not in UNITS:
            units = ", ".join(unit for unit in UNITS if unit)
            raise ValueError(f"{value!r} is no number with a unit; units are {units}")
        number, unit = match.groups()
    kind, factor = UNITS[unit]
    try:
        base = float(number) * factor
    except ValueError:
        raise ValueError(f"{number!r} is no number") from None
    if not math.isfinite(base):
        raise ValueError(f"{value!r} is too large to count with")
    return base, kind


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
    if kind == "name":
        return "–"
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
        raise ScenarioError(problem_lines(error, document, _keys)) from None
    base = folder / written.paths_from
    if isinstance(written.scenario, str):
        scenario = load(base / written.scenario)
    else:
        scenario = from_document(document.below("scenario"), base)
    study = Study(written, scenario, document.source)
    _check_points(study, document)
    return study


def study_schema() -> dict[str, Any]:
    """The JSON Schema of study documents."""
    return StudyDocument.model_json_schema(by_alias=True)


def _check_points(study: Study, document: Document) -> None:
    """Every point of the sweep, for every variant: what makes no sense is told before anything runs."""
    sweep, across = study.document.sweep, study.document.across
    if len(study.arms) > _MOST_ARMS:
        what = f"{len(study.arms)} things to compare; a study takes at most {_MOST_ARMS}: fewer values, or variants"
        raise ScenarioError(document.problem(("across",) if across else ("sweep",), what))
    for arm in study.arms:
        where: KeyPath = ("variants", arm.place) if "variants" in document.data else ("sweep",)
        for x in sweep.grid:
            try:
                _check_scenario(study, study.scenario_at(arm.variant, x))
            except ScenarioError as error:
                told = f"{parameter_name(across.parameters)} {arm.across}" if across else ""
                at = ", ".join(filter(None, (told, arm.swept or human(x, sweep.kind))))
                raise ScenarioError(document.problem(where, f"at {at}: {error.problems[0]}")) from None
            except FieldError as error:
                raise ScenarioError(document.problem(error.path, f"{arm.variant.name}: {error}")) from None
    for place, variant in enumerate(study.document.variants):
        arms = [arm.variant for arm in study.arms if arm.place == place]
        names = len(sweep.choices) if sweep.kind == "name" else 1
        first, last = sweep.grid[0], sweep.grid[-1]
        if len(sweep.choices) > 1 and _same(study, (arms[0], first), (arms[names - 1], last)):
            raise ScenarioError(document.problem(("sweep", "parameter"), _no_effect(sweep, variant.name)))
        if across and len(across.choices) > 1 and _same(study, (arms[0], first), (arms[-names], first)):
            raise ScenarioError(document.problem(("across", "parameter"), _no_effect(across, variant.name)))


def _same(study: Study, one: tuple[Variant, float], other: tuple[Variant, float]) -> bool:
    """Whether both come to the same plan, but for what the study sets itself."""
    return _bare_plan(study, *one) == _bare_plan(study, *other)


def _no_effect(sweep: Sweep, name: str) -> str:
    return (
        f"{', '.join(sweep.parameters)} changes nothing for {name!r}: seed, rounds and "
        "capture are the study's own, and a later selector overrides an earlier one; sweep what matters"
    )


def _check_scenario(study: Study, scenario: Scenario) -> None:
    """Raises FieldError when nothing of what the study measures would happen."""
    protocol, crashes = scenario.protocol, study.document.crashes
    engine = engine_spec(protocol.engine)
    crashed = crashes.nodes + crashes.nics if crashes else 0
    if protocol.f < crashed:
        raise FieldError("crashes", f"{crashed} nodes crash, but protocol.f is {protocol.f}; raise f")
    if study.document.measure == "broken_round" and not engine.made_of_swaps:
        raise FieldError("measure", f"{protocol.engine} is not made of swaps: no round can break; take another")
    if study.document.measure == "disagreement" and not engine.decides:
        raise FieldError("measure", "nobody decides anything, so nobody can disagree; set protocol.consensus")
    if study.document.measure == "losses" and scenario.written.service is None:
        raise FieldError("measure", "losses are those of clients, and there is no service; add service: and clients:")


def _bare_plan(study: Study, variant: Variant, x: float) -> Plan:
    """The plan at ``x`` without what the study sets itself."""
    scenario = study.scenario_at(variant, x).with_override("seed", 0).with_count(1)
    return replace(compile_plan(scenario), capture=False)


def _keys(path: KeyPath, _data: Any) -> list[str]:
    """The keys that may stand at ``path`` of a study."""
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
