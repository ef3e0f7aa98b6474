"""docs/engines.md: the engine that a reader makes there, and what its commands show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from calling import call

from testbed.nodes.consensus.spec import LOCAL
from testbed.nodes.registry import engine_specs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

ROW = re.compile(r"^\| ([^|]+) \|(?:[^|]*\|)? `(testbed [^`]+)` \| (exit code 1: )?`([^`]+)`[^|]*\|$", re.MULTILINE)
SHOWS = [(what, line, int(bool(failed)), told) for what, line, failed, told in ROW.findall(PAGE)]
"""Rows of tables that show something: of what, the command, its exit code, some of what it prints."""

(SCENARIO,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
OWN = ROOT / "examples" / "own_protocol"

SHOWN = {
    "run": (0, "5 of 20 instances decided everywhere, 0 disagree"),
    "explore mine.py:Dictator --crashes": (0, "569 distinct"),
    "explore mine.py:Dictator --pitfall": (1, "broken after 1 steps"),
    "cap": (0, "0 of 30; later 30"),
    "check": (0, "agreement, validity held in 50 drawn at random"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and as wide a terminal as a pipe has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


def test_the_example_is_the_file_and_as_short_as_the_page_says() -> None:
    lines = len(EXAMPLE.splitlines())
    assert lines < 100
    assert f"a whole one, in {lines} lines" in PAGE
    assert (OWN / "mine.py").read_text(encoding="utf-8") == EXAMPLE
    assert SCENARIO in (OWN / "scenario.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", [line for line in COMMANDS.splitlines() if "vkernel" not in line])
def test_an_engine_of_ones_own_runs_as_the_page_says(here: Path, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    code, told = next(found for start, found in SHOWN.items() if shlex.join(words).startswith(start))
    (here / "mine.py").write_text(EXAMPLE, encoding="utf-8")
    ran = call(*words)
    assert told in ran.stdout, ran.stdout + ran.stderr
    assert ran.exit_code == code


def test_all_that_the_page_shows_is_tried() -> None:
    tried = [line for line in COMMANDS.splitlines() if "vkernel" not in line]
    assert len(tried) == len(SHOWN) == len(COMMANDS.splitlines()) - 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("line", "code", "told"), [row[1:] for row in SHOWS], ids=[row[0] for row in SHOWS])
def test_a_command_shows_what_the_page_says(line: str, code: int, told: str) -> None:
    came = call(*shlex.split(line)[1:])
    assert told in came.stdout, came.stdout + came.stderr
    assert came.exit_code == code


def test_of_every_engine_something_is_shown_that_it_fails_on() -> None:
    lines = {what: line for what, line, *_ in SHOWS}
    assert {spec.name for spec in engine_specs() if spec.decides} < set(lines)
    assert lines["– raft"].replace("--set protocol.consensus=raft ", "") == lines["vrr"]


def test_who_can_not_serve_and_whose_replicas_can_not_be_read_as_they_are_is_told() -> None:
    page = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
    (silent,) = [spec.name for spec in engine_specs() if spec.decides and not spec.can_serve]
    (apart,) = [spec.name for spec in engine_specs() if spec.can_serve and LOCAL not in spec.read_modes]
    assert f"All run on every engine but `{silent}`" in page
    assert re.search(rf"^\| `local` \|.*\| all that can serve but `{apart}`,", page, re.MULTILINE)


def test_ten_thousand_operations_are_told_of_every_engine_that_should_bear_them_and_who_is_left_out() -> None:
    section = PAGE.partition("python benchmarks/operations.py")[2].partition("\n## ")[0]
    told = re.findall(r"^\| (\w+) \| 10,000 \|.*\| 0 \|$", section, re.MULTILINE)
    deciding = [spec for spec in engine_specs() if spec.decides]
    assert sorted(told) == [spec.name for spec in deciding if spec.can_serve and spec.indulgent]
    without = [spec.name for spec in deciding if not (spec.can_serve and spec.indulgent)]
    assert re.findall(r"`(\w+)` (?:can't serve|may disagree)", section) == without
