"""docs/engines.md: the engine that a reader makes there, and what its commands show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

# As `testbed`, in a clone that has the reader's folder as well.
TESTBED = (
    "import testbed.nodes.consensus, sys; testbed.nodes.consensus.__path__.append(sys.argv.pop(1)); "
    "from testbed.cli.main import main; main()"
)

SHOWN = {
    "run": (0, "5 of 20 instances decided everywhere, 0 disagree"),
    "explore dictator --crashes": (0, "569 distinct"),
    "explore dictator --pitfall": (1, "broken after 1 steps"),
    "cap": (0, "0 of 30; later 30"),
}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's engine in it."""
    folder = tmp_path_factory.mktemp("engines")
    (folder / "dictator").mkdir()
    (folder / "dictator" / "spec.py").write_text(EXAMPLE, encoding="utf-8")
    return folder


def test_the_example_is_as_short_as_the_page_says() -> None:
    lines = len(EXAMPLE.splitlines())
    assert lines < 100
    assert f"a file of {lines} lines" in PAGE


@pytest.mark.parametrize("line", [line for line in COMMANDS.splitlines() if "vkernel" not in line])
def test_an_engine_of_ones_own_runs_as_the_page_says(engines: Path, tmp_path: Path, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    code, told = next(found for start, found in SHOWN.items() if shlex.join(words).startswith(start))
    command = [sys.executable, "-c", TESTBED, str(engines), *words]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # else tables are narrow
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert told in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == code


def test_all_that_the_page_shows_is_tried() -> None:
    tried = [line for line in COMMANDS.splitlines() if "vkernel" not in line]
    assert len(tried) == len(SHOWN) == len(COMMANDS.splitlines()) - 1
