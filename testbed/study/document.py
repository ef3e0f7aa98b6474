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
from testbed.scenario.model import shown_as
from testbed.scenario.problems import problem_lines
from testbed.scenario.schema import DIALECT
from testbed.scenario.units import AsWritten, Time

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

    model_config = shown_as(
        {"parameter": "links.default.jitter", "from": "1us", "to": "100us", "steps": 12},
        {"parameter": "links.default.jitter", "values": ["1us", "10us", "100us"]},
    )

    parameter: str | list[str] = Field(
        description="The dotted path, or several: as --set takes them.", examples=["links.default.jitter"]
    )
    values: list[str | float] | None = Field(
        default=None,
        description="The values, in place of from, to and steps: numbers with their units, ascending, or names.",
        examples=[["1us", "10us", "100us"]],
    )
    from_: str | float | None = Field(
        default=None, alias="from", description="The first value, with its unit.", examples=["1us"]
    )
    to: str | float | None = Field(default=None, description="The last value, with its unit.", examples=["100us"])
    steps: Annotated[int, Field(ge=2, le=_MAX_STEPS)] = Field(
        default=10, description="How many values, both ends included.", examples=[12]
    )
    scale: Literal["linear", "log"] = Field(
        default="linear",
        description="How they are spread between the two: evenly, or by equal factors.",
        examples=["log"],
    )

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
    """The break point asked for: where P(broken round) crosses a probability first, up or down."""

    model_config = shown_as({"probability": 0.01, "confidence": 0.99})

    probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.01, description="The share of broken rounds that is to be crossed.", examples=[0.01]
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.99, description="That the bracket holds the break point.", examples=[0.99]
    )
    resolution: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.02,
        description="The search ends early when the bracket is narrower than this fraction of its upper end.",
        examples=[0.02],
    )
    rounds: Annotated[int, Field(ge=1)] = Field(
        default=60_000, description="What the search may cost on sim, all points together.", examples=[60000]
    )


class SimSpec(_Part):
    """What ``sim`` runs."""

    model_config = shown_as({"rounds": 2000, "batch": 500})

    rounds: Annotated[int, Field(ge=1)] = Field(
        default=20_000, description="Rounds at each point, of a study without a break point.", examples=[20000]
    )
    batch: Annotated[int, Field(ge=1)] = Field(default=500, description="Rounds in one run.", examples=[500])


class VKernelSpec(_Part):
    """Confirmation on the virtual-time kernel."""

    model_config = shown_as({"points": 6, "rounds": 1000})

    points: Annotated[int, Field(ge=1, le=100)] = Field(
        default=6, description="So many points are confirmed.", examples=[6]
    )
    rounds: Annotated[int, Field(ge=1)] = Field(default=1000, description="Rounds at each of them.", examples=[1000])
    around: Literal["break_point", "sweep"] = Field(
        default="break_point",
        description="Whether they lie around the break point, inside the sweep, or spread over it.",
        examples=["sweep"],
    )
    span: Annotated[float, Field(gt=1, le=100)] = Field(
        default=1.25, description="The factor around the break point within which they lie.", examples=[1.5]
    )


class Expect(_Part):
    """What a variant is expected to show; exit code 1 when it does not."""

    model_config = shown_as({"disagreements": "none"})

    disagreements: Literal["none", "some"] | None = Field(
        default=None, description="Whether any instance is decided in more than one way.", examples=["none"]
    )
    keeps: list[Literal["deadline", "availability", "agreement"]] = Field(
        default_factory=list, description="Losses of which no run may suffer any.", examples=[["agreement"]]
    )
    loses: list[Literal["deadline", "availability", "agreement"]] = Field(
        default_factory=list,
        description="Losses that must come somewhere in the sweep, at the latest with crashes.",
        examples=[["deadline"]],
    )


class Variant(_Part):
    """One of several scenarios compared."""

    model_config = shown_as({"name": "deeper", "set": {"protocol.depth": 6}})

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._= -]+$")] = Field(
        description="What it is called in tables and plots.", examples=["deeper"]
    )
    set: dict[str, Any] = Field(
        default_factory=dict,
        description="Dotted paths into the scenario, and what they are set to.",
        examples=[{"protocol.depth": 6}],
    )
    expect: Expect = Field(
        default=Expect(), description="What it is expected to show.", examples=[{"disagreements": "none"}]
    )
    vkernel: bool = Field(
        default=True, description="Whether it is confirmed on the virtual-time kernel, too.", examples=[False]
    )


class Crashes(_Part):
    """Random crashes put into every run, at uniformly random instants."""

    model_config = shown_as({"nodes": 1, "within": "5ms"}, {"nics": 1, "within": "5ms"})

    nodes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="So many different members are killed.", examples=[1]
    )
    nics: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Of so many others every NIC goes down for good, while they live on.", examples=[1]
    )
    within: Annotated[Time, Field(gt=0)] | None = Field(
        default=None,
        description="How long after the start it may happen (default: the length of all rounds or instances).",
        examples=["5ms"],
    )

    @model_validator(mode="after")
    def _some(self) -> Crashes:
        if not self.nodes + self.nics:
            raise ValueError("crashes of nobody: say how many nodes: or nics:")
        return self


class Losses(_Part):
    """What counts as lost to clients."""

    model_config = shown_as({"deadline": "100ms", "outage": "250ms"})

    deadline: Annotated[Time, Field(gt=0)] = Field(
        description="An answer later than this is a lost deadline.", examples=["100ms"]
    )
    outage: Annotated[Time, Field(gt=0)] = Field(
        description="Availability is lost when for so long somebody waits and nobody is answered.", examples=["250ms"]
    )
    probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="A loss is told of where more than this share of runs suffers it.", examples=[0.5]
    )


class StudyDocument(_Part):
    """A study as written."""

    model_config = shown_as(
        {
            "name": "example",
            "scenario": "base.yaml",
            "sweep": {"parameter": "links.default.jitter", "from": "1us", "to": "100us"},
        },
        {
            "name": "example",
            "scenario": "base.yaml",
            "sweep": {"parameter": "links.default.jitter", "from": "1us", "to": "100us"},
            "break_point": {"probability": 0.01},
            "vkernel": {"points": 6},
        },
        {
            "name": "example",
            "scenario": "base.yaml",
            "sweep": {"parameter": "links.default.jitter", "from": "1us", "to": "100us"},
            "measure": "disagreement",
            "runs": 500,
            "crashes": {"nodes": 1},
        },
        {
            "name": "example",
            "scenario": "base.yaml",
            "sweep": {"parameter": "links.default.jitter", "from": "1us", "to": "100us"},
            "measure": "losses",
            "losses": {"deadline": "100ms", "outage": "250ms"},
            "variants": [{"name": "deeper", "set": {"protocol.depth": 6}}],
            "runs": 500,
        },
    )

    schema_: str | None = Field(
        default=None,
        alias="$schema",
        description="Where this document's JSON Schema is, for editors; it changes nothing.",
        examples=["../docs/study.schema.json"],
    )
    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")] = Field(
        description="What it is called; of letters, digits, '.', '_' and '-'.", examples=["example"]
    )
    about: str = Field(
        default="",
        description="What it is about; the first sentence is its story in lists.",
        examples=["Where does a deeper handshake break?"],
    )
    scenario: str | dict[str, Any] = Field(
        description="The scenario: a file, from paths_from, or the scenario itself, in place.", examples=["base.yaml"]
    )
    paths_from: str = Field(
        default=".",
        description="The directory from which paths in here count, itself counted from this document's.",
        examples=["../scenarios"],
    )
    sweep: Sweep = Field(
        description="What is swept.", examples=[{"parameter": "links.default.jitter", "from": "1us", "to": "100us"}]
    )
    across: Sweep | None = Field(
        default=None,
        description="A second parameter; the whole sweep, its search for a break point with it, is done at each of its "
        "values.",
        examples=[{"parameter": "protocol.depth", "values": [2, 4, 6]}],
    )
    measure: Literal["broken_round", "disagreement", "losses"] = Field(
        default="broken_round",
        description="What is counted at each value: broken_round (the share of rounds in which bisynchrony breaks), "
        "disagreement (instances that disagree, one instance a run), or losses (what the clients of a "
        "service lose first; as many runs without crashes and, if there are any, as many with).",
        examples=["disagreement"],
    )
    break_point: BreakPointSpec | None = Field(
        default=None,
        description="The break point that is searched for, with measure: broken_round.",
        examples=[{"probability": 0.01, "confidence": 0.99}],
    )
    sim: SimSpec = Field(default=SimSpec(), description="What sim runs.", examples=[{"batch": 500}])
    vkernel: VKernelSpec | None = Field(
        default=None,
        description="Points that are confirmed on the virtual-time kernel (default: none).",
        examples=[{"points": 6, "rounds": 1000}],
    )
    variants: list[Variant] = Field(
        default_factory=lambda: [Variant(name="as given")],
        min_length=1,
        description="The scenarios that are compared (default: the one as given).",
        examples=[[{"name": "shallow", "set": {"protocol.depth": 2}}, {"name": "deep", "set": {"protocol.depth": 6}}]],
    )
    crashes: Crashes | None = Field(
        default=None,
        description="Random crashes in every run, with measure: disagreement and measure: losses.",
        examples=[{"nodes": 1}],
    )
    losses: Losses | None = Field(
        default=None,
        description="What counts as lost, with measure: losses.",
        examples=[{"deadline": "100ms", "outage": "250ms"}],
    )
    runs: Annotated[int, Field(ge=1)] = Field(
        default=1000, description="Runs at each value, with measure: disagreement and measure: losses.", examples=[500]
    )
    causes: bool = Field(
        default=False,
        description="Whether it is told what broke each swap on sim too, for which every message must be recorded; on "
        "vkernel it always is.",
        examples=[True],
    )
    expect_closed_form: bool = Field(
        default=False,
        description="Whether the closed forms must agree with what was counted, where there is one; exit code 1 when "
        "they do not.",
        examples=[True],
    )
    expect_engines_agree: bool = Field(
        default=False,
        description="Whether vkernel must agree with sim at the points that both measured; exit code 1 when it does "
        "not.",
        examples=[True],
    )
    seed: Annotated[int, Field(ge=0, lt=2**64)] = Field(
        default=1, description="All that is drawn in a study comes of it.", examples=[7]
    )

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
    """The JSON Schema of study documents; a scenario that stands in one is as free there as it can be."""
    schema = StudyDocument.model_json_schema(by_alias=True, schema_generator=AsWritten)
    return {"$schema": DIALECT, **schema, "title": "OAE testbed study"}


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
