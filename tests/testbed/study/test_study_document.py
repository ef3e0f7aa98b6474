"""Study documents: what is accepted, and what a user reads when something is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.scenario import ScenarioError
from testbed.study.document import Study, human, load_study, quantity, spelled

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
    assert scenario.links["default"].jitter == 5750


def test_a_logarithmic_sweep_grows_by_a_factor(tmp_path: Path) -> None:
    sweep = {"parameter": "links.default.jitter", "from": "1us", "to": "16us", "steps": 5, "scale": "log"}
    assert loaded(tmp_path, document(sweep=sweep)).document.sweep.grid == (1000.0, 2000.0, 4000.0, 8000.0, 16000.0)


def test_several_parameters_get_the_same_value(tmp_path: Path) -> None:
    sweep = {"parameter": ["links.default.jitter", "links.default.delay"], "values": ["10us", "20us"]}
    study = loaded(tmp_path, document(sweep=sweep))
    settings_ = study.scenario_at(study.document.variants[0], 20_000.0).links["default"]
    assert (settings_.jitter, settings_.delay) == (20_000, 20_000)


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"swep": 1}, "swep", "did you mean 'sweep'?"),
        ({"sweep": {"parameter": "links.default.jitter"}}, "sweep", "give either values"),
        ({"sweep": {"parameter": "a", "values": ["5us", "1us"]}}, "sweep", "must ascend"),
        ({"sweep": {"parameter": "a", "values": ["5us", "1%"]}}, "sweep", "mix units"),
        ({"sweep": {"parameter": "a", "values": ["5 parsecs"]}}, "sweep", "no number with a unit"),
        ({"sweep": {"parameter": "links.default.jiter", "values": ["5us"]}}, "variants", "jiter"),
        ({"sweep": {"parameter": "protocol.rounds.x", "values": [5]}}, "variants", "protocol.rounds"),
        ({"break_point": {"probability": 2}}, "break_point.probability", "less than 1"),
        ({"sim": {"batch": 10, "rounds": 5}}, "", "sim.batch must not exceed sim.rounds"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "", "two variants have the same name"),
        ({"variants": [{"name": "a", "set": {"protocol.depth": 0}}]}, "variants", "depth"),
        ({"crashes": {"nodes": 1}}, "", "measure: disagreement"),
        ({"measure": "disagreement", "crashes": {"nodes": 1}}, "crashes", "raise f"),
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


def test_a_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    text = "name: x\nscenario: {name: x, topology: {kind: pair}}\nsweep:\n  parameter: a\n  stepz: 3\n  values: [1us]\n"
    assert f"{tmp_path / 'study.yaml'}:5: sweep.stepz: unknown key" in problems(tmp_path, text)


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
