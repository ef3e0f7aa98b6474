"""The shipped scenarios: their plans and explanations byte by byte, and their expectations when ``sim`` runs them.

GOLDEN_UPDATE=1 writes the golden files anew; read the difference before keeping it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shipped import known_on_sim

from testbed.scenario import compile_plan, explain, load, unmet
from testbed.scenario.document import story
from testbed.verdicts.words import in_words

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
SHIPPED = sorted(file.stem for file in (ROOT / "scenarios").glob("*.yaml"))


def scenario(name: str):
    return load(Path(os.path.relpath(ROOT / "scenarios" / f"{name}.yaml")))


def golden(file: Path, text: str) -> None:
    if os.environ.get("GOLDEN_UPDATE"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"differs from {file.name}; if meant: GOLDEN_UPDATE=1"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_plan_is_the_golden_one(name):
    golden(GOLDEN / f"{name}.plan.json", compile_plan(scenario(name)).to_json() + "\n")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_explanation_is_the_golden_one(name):
    golden(GOLDEN / f"{name}.explain.txt", explain(scenario(name)))


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_scenario_warns(name):
    assert scenario(name).warnings == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_scenario_has_a_story_of_one_line(name):
    told = story(scenario(name).document)
    assert 20 <= len(told) <= 200, told


def test_there_are_twenty_shipped_scenarios_at_least():
    assert len(SHIPPED) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_scenario_gives_its_golden_verdict_under_sim_and_what_it_expects(name):
    verdicts, _ = known_on_sim(ROOT / "scenarios" / f"{name}.yaml")
    golden(GOLDEN / f"{name}.verdict.txt", in_words(verdicts))
    assert unmet(scenario(name).expect, verdicts.to_dict()) == []
