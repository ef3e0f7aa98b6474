"""Study documents: what is accepted, and what a user reads when something is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.scenario import ScenarioError
from testbed.scenario.document import read_document
from testbed.study.document import Study, Sweep, human, load_study, quantity, spelled, study_from

SHIPPED = Path(__file__).resolve().parents[3] / "studies"


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "scenario": {
            "name": "small",
            "topology": {"kind": "pair"},
            "links": {"default": {"delay": "50us", "jitter": "5us"}},
            "protocol": {"consensus": "none", "depth": 2, "window": "110us"},
        },
        "sweep": {"parameter": "links.default.jitter", "from": "1us", "to": "20us", "steps": 5},
        "seed": 1,
        **changes,
    }


def loaded(tmp_path: Path, text: str | dict[str, Any]) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
    return load_study(path)


def problems(tmp_path: Path, text: str | dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as caught:
        loaded(tmp_path, text)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_ships_is_sound(path: Path) -> None:
    assert load_study(path).document.name == path.stem


def test_a_sweep_in_steps_has_both_ends_and_whole_nanoseconds(tmp_path: Path) -> None:
    study = loaded(tmp_path, document())
    assert study.document.sweep.grid == (1000.0, 5750.0, 10500.0, 15250.0, 20000.0)
    scenario = study.scenario_at(study.document.variants[0], 5750.0)
    assert scenario.written.links["default"].jitter == 5750


def test_a_logarithmic_sweep_grows_by_a_factor(tmp_path: Path) -> None:
    sweep = {"parameter": "links.default.jitter", "from": "1us", "to": "16us", "steps": 5, "scale": "log"}
    assert loaded(tmp_path, document(sweep=sweep)).document.sweep.grid == (1000.0, 2000.0, 4000.0, 8000.0, 16000.0)


def test_several_parameters_get_the_same_value(tmp_path: Path) -> None:
    sweep = {"parameter": ["links.default.jitter", "links.default.delay"], "values": ["10us", "20us"]}
    study = loaded(tmp_path, document(sweep=sweep))
    settings_ = study.scenario_at(study.document.variants[0], 20_000.0).written.links["default"]
    assert (settings_.jitter, settings_.delay) == (20_000, 20_000)


WINDOWS = {"parameter": "protocol.window", "values": ["105us", "110us"]}
ENGINES = {"parameter": "protocol.consensus", "values": ["oae", "floodset"]}


def test_a_second_parameter_makes_each_variant_one_for_each_of_its_values(tmp_path: Path) -> None:
    variants = [{"name": "shallow"}, {"name": "deep", "set": {"protocol.depth": 4}}]
    study = loaded(tmp_path, document(across=WINDOWS, variants=variants))
    assert [(arm.variant.name, arm.of, arm.across) for arm in study.arms] == [
        ("shallow, window 105 µs", "shallow", "105 µs"),
        ("shallow, window 110 µs", "shallow", "110 µs"),
        ("deep, window 105 µs", "deep", "105 µs"),
        ("deep, window 110 µs", "deep", "110 µs"),
    ]
    last = study.scenario_at(study.arm("deep, window 105 µs"), 20_000.0).written
    assert (last.protocol.window, last.protocol.depth, last.links["default"].jitter) == (105_000, 4, 20_000)


def test_swept_names_are_compared_side_by_side(tmp_path: Path) -> None:
    study = loaded(tmp_path, document(sweep=ENGINES, across=WINDOWS))
    assert study.document.sweep.grid == (0.0,)
    assert [(arm.variant.name, arm.across, arm.swept) for arm in study.arms] == [
        ("window 105 µs, oae", "105 µs", "oae"),
        ("window 105 µs, floodset", "105 µs", "floodset"),
        ("window 110 µs, oae", "110 µs", "oae"),
        ("window 110 µs, floodset", "110 µs", "floodset"),
    ]
    assert study.scenario_at(study.arms[1].variant, 0.0).protocol.consensus == "floodset"


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"across": {**WINDOWS, "values": ["5us", "1us"]}}, "across", "must ascend"),
        ({"across": [WINDOWS]}, "across", "the second one of two goes under across:"),
        ({"sweep": [WINDOWS, WINDOWS]}, "sweep", "the second one of two goes under across:"),
        ({"sweep": WINDOWS, "across": WINDOWS}, "", "must name different parameters"),
        ({"across": {"parameter": "seed", "values": [1, 2]}}, "across.parameter", "seed changes nothing"),
        ({"across": {"parameter": "protocol.depth", "values": [1, 2]}}, "sweep", "at depth 1, 1 µs: "),
        ({"across": {"parameter": "protocol.depth", "from": 2, "to": 800, "steps": 799}}, "across", "at most 200"),
        ({"sweep": {**ENGINES, "values": ["oae", "oae"]}}, "sweep", "names must differ"),
        ({"sweep": {**ENGINES, "values": ["oae", "5us"]}}, "sweep", "no number with a unit"),
        ({"sweep": {**ENGINES, "values": ["oae", "oat"]}}, "sweep", "did you mean 'oae'?"),
        ({"sweep": ENGINES, "break_point": {"probability": 0.1}}, "", "put the names under across:"),
        ({"swep": 1}, "swep", "did you mean 'sweep'?"),
        ({"sweep": {"parameter": "links.default.jitter"}}, "sweep", "give either values"),
        ({"sweep": {"parameter": "a", "values": ["5us", "1us"]}}, "sweep", "must ascend"),
        ({"sweep": {"parameter": "a", "values": ["5us", "1%"]}}, "sweep", "mix units"),
        ({"sweep": {"parameter": "a", "values": ["5 parsecs"]}}, "sweep", "no number with a unit"),
        ({"sweep": {"parameter": "a", "values": ["1e400us"]}}, "sweep", "too large"),
        ({"sweep": {"parameter": "a", "values": [True]}}, "sweep.values.0", "must be a number, not True"),
        ({"sweep": {"parameter": "a", "from": 1, "to": 2, "steps": 1}}, "sweep.steps", "must be at least 2, not 1"),
        ({"sweep": {"parameter": "a", "from": "2us", "to": "1us"}}, "sweep", "must ascend"),
        ({"sweep": {"parameter": "links.default.jiter", "values": ["5us"]}}, "sweep", "jiter"),
        ({"sweep": {"parameter": "protocol.rounds.x", "values": [5]}}, "sweep", "protocol.rounds"),
        ({"sweep": {"parameter": "protocol.depth", "from": 2, "to": 8, "steps": 5}}, "sweep: at 3.5", "whole number"),
        ({"sweep": {"parameter": "seed", "values": [1, 2]}}, "sweep.parameter", "seed changes nothing"),
        ({"sweep": {"parameter": "protocol.rounds", "values": [1, 2]}}, "sweep.parameter", "rounds changes nothing"),
        ({"sweep": {"parameter": "expect.splits", "values": [1, 2]}}, "sweep.parameter", "changes nothing"),
        ({"break_point": {"probability": 2}}, "break_point.probability", "less than 1"),
        ({"sim": {"batch": 10, "rounds": 5}}, "", "sim.batch must not exceed sim.rounds"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "", "two variants have the same name"),
        ({"variants": [{"name": "a", "set": {"protocol.depth": 0}}]}, "variants", "depth"),
        ({"crashes": {"nodes": 1}}, "", "measure: disagreement"),
        ({"measure": "disagreement", "crashes": {"nodes": 1}}, "crashes", "raise f"),
        ({"measure": "disagreement", "crashes": {}}, "crashes", "crashes of nobody"),
        ({"losses": {"deadline": "1ms", "outage": "1ms"}}, "", "measure: losses go together"),
        ({"measure": "losses"}, "", "measure: losses go together"),
        ({"measure": "losses", "losses": {"deadline": 5, "outage": "1ms"}}, "losses.deadline", "has no unit"),
        ({"measure": "losses", "losses": {"deadline": "1ms", "outage": "1ms"}}, "measure", "there is no service"),
        ({"variants": [{"name": "a", "expect": {"keeps": ["agreement"]}}]}, "", "go with measure: losses only"),
        ({"measure": "disagreement"}, "measure", "nobody decides anything"),
        (
            {"variants": [{"name": "a", "set": {"protocol.consensus": "paxos"}}]},
            "measure",
            "paxos is not made of swaps",
        ),
        ({"scenario": "nowhere.yaml"}, "nowhere.yaml", "can't be read"),
    ],
)
def test_mistakes_are_told_with_place_and_advice(
    tmp_path: Path, changes: dict[str, Any], where: str, what: str
) -> None:
    told = problems(tmp_path, document(**changes))
    assert where in told
    assert what in told
    assert "study.yaml" in told or where == "nowhere.yaml"


def test_a_value_in_the_middle_of_the_sweep_is_checked_before_anything_runs(tmp_path: Path) -> None:
    scenario = document()["scenario"] | {"topology": {"kind": "fat_tree", "k": 2}}
    told = problems(tmp_path, document(scenario=scenario, sweep={"parameter": "topology.k", "values": [2, 3, 4]}))
    assert "sweep: at 3: " in told
    assert "k must be even" in told


def test_a_parameter_that_other_selectors_override_is_told_to_change_nothing(tmp_path: Path) -> None:
    scenario = document()["scenario"] | {"links": {"*<->*": {"delay": "50us", "jitter": "5us"}}}
    assert "links.default.jitter changes nothing" in problems(tmp_path, document(scenario=scenario))


@pytest.mark.parametrize(
    ("values", "integral", "x", "snapped"),
    [
        (["1us", "3us"], True, 1500.4, 1500.0),
        ([2, 8], True, 3.4, 3.0),
        ([0.01, 0.05], False, 0.033, 0.033),
        (["1%", "5%"], False, 0.033, 0.033),
        (["1%", "5%"], False, 0.07, 0.05),
        ([2, 8], True, 1.2, 2.0),
    ],
)
def test_values_in_between_are_such_as_the_parameter_can_take(
    values: list[Any], integral: bool, x: float, snapped: float
) -> None:
    sweep = Sweep(parameter="a", values=values)
    assert sweep.integral is integral
    assert sweep.snapped(x) == snapped


def test_a_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    text = "name: x\nscenario: {name: x, topology: {kind: pair}}\nsweep:\n  parameter: a\n  stepz: 3\n  values: [1us]\n"
    assert f"{tmp_path / 'study.yaml'}:5: sweep.stepz: unknown key" in problems(tmp_path, text)


def test_a_mistake_in_the_scenario_in_place_is_told_with_its_line(tmp_path: Path) -> None:
    text = (
        "name: x\nscenario:\n  name: x\n  topology: {kind: pair}\n  protocol:\n    windw: 3us\n"
        "sweep: {parameter: links.default.jitter, values: [1us]}\n"
    )
    assert f"{tmp_path / 'study.yaml'}:6: protocol.windw: unknown key 'windw'; did" in problems(tmp_path, text)


SHIPPED_TEXTS = [path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*.yaml"))]
SPLINTERS = [
    "",
    "{",
    "}",
    "[",
    ":",
    ": ",
    "- ",
    "0",
    "-1",
    "1e400",
    "us",
    "null",
    "true",
    '"',
    "&a ",
    "\n",
    "  ",
    "9" * 20,
]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_mutated_studies_are_read_or_refused_line_by_line(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SHIPPED_TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + data.draw(st.sampled_from(SPLINTERS)) + text[start + data.draw(st.integers(0, 12)) :]
    refused: tuple[str, ...] = ()
    try:
        study_from(read_document(text, "f.yaml"), Path())
    except ScenarioError as error:
        refused = error.problems
    assert all(re.fullmatch(r"f\.yaml:\d+: .+", line) for line in refused), refused


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [unclosed", "just text", "name: \x00"])
def test_what_is_no_study_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text).count("\n") == 0


@given(value=st.integers(min_value=0, max_value=10**12), kind=st.sampled_from(["time", "rate", "number"]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_quantities_survive_being_written(value: int, kind: str) -> None:
    assert quantity(spelled(float(value), kind)) == (float(value), kind)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [(12_500.0, "time", "12.5 µs"), (1e10, "rate", "10 Gbit/s"), (0.01, "share", "1 %"), (4.0, "number", "4")],
)
def test_values_for_people(value: float, kind: str, text: str) -> None:
    assert human(value, kind) == text
