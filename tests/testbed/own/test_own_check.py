"""``testbed check``: what is asked of anybody's engine is held, or broken, as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed.cli.main import app

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "own_protocol" / "mine.py"
DICTATOR = EXAMPLE.read_text(encoding="utf-8")
Checked = Callable[..., tuple[int, dict[str, bool | None], str]]


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Checks the example with some text in another's place: the exit code, what held, and all that was told."""
    monkeypatch.chdir(tmp_path)

    def check(before: str = "", after: str = "", schedules: int = 20) -> tuple[int, dict[str, bool | None], str]:
        assert before in DICTATOR
        (tmp_path / "mine.py").write_text(DICTATOR.replace(before, after, 1), encoding="utf-8")
        ran = CliRunner().invoke(app, ["check", "mine.py:Dictator", "--schedules", str(schedules), "--json"])
        found = json.loads(ran.stdout)
        told = " ".join(row["told"] for row in found["checks"])
        return ran.exit_code, {row["check"]: row["held"] for row in found["checks"]}, told

    return check


def test_the_example_keeps_the_contract(checked: Checked) -> None:
    code, held, told = checked()
    assert code == 0
    assert held == {
        "decides": True,
        "crashes": None,  # it claims to bear none
        "loss": True,
        "repeatable": True,
        "schedules": True,
        "pitfall impatient": True,  # it is found
    }
    assert "agreement, validity held in 20 drawn at random" in told


def test_who_claims_to_bear_a_crash_must_and_what_comes_back_contradicts_nobody(checked: Checked) -> None:
    claims = DICTATOR.replace('{"most_f": lambda n: 0, "rule": "f = 0", ', "{")
    _, back = claims.split("        return [self._again(instance, now_ns) for instance in self.own")
    hasty = claims.replace(
        "        return [self._again(instance, now_ns) for instance in self.own" + back.partition("\n")[0],
        "        return [self.decide(instance, self.own[instance], 1) for instance in self.own]",
    )
    code, held, told = checked(DICTATOR, hasty)
    assert code == 1
    assert (held["decides"], held["crashes"], held["schedules"]) == (True, False, False)
    assert "with host1 dead since the third; broken: termination" in told
    assert "agreement: in instance 0" in told
    assert (
        "agreement: in instance 0" in CliRunner().invoke(app, ["explore", "--replay", "Dictator.schedule.yaml"]).stdout
    )


def test_the_order_of_a_set_is_seen(checked: Checked) -> None:
    """Of texts it differs from process to process."""
    code, held, told = checked(
        "*self._tell(instance, *self.ports)",
        "*self._tell(instance, *[int(one) for one in {str(port) for port in self.ports}])",
    )
    assert (code, held["repeatable"]) == (1, False)
    assert "two processes differ" in told


def test_a_bug_is_told_with_its_line_and_no_pitfall_is_looked_for(checked: Checked) -> None:
    code, held, told = checked("return self._learn(instance, message.body)", "return [1 / 0]")
    assert (code, held) == (
        1,
        {"decides": False, "crashes": None, "loss": False, "repeatable": False, "schedules": False},
    )
    assert told.count("mine.py:41: as ") == 4


def test_what_decides_nothing_is_not_checked() -> None:
    for name, told in (("none", "nothing is decided in it"), ("paxoss", "there is no such engine")):
        ran = CliRunner().invoke(app, ["check", name])
        assert ran.exit_code == 2
        assert told in ran.stderr
