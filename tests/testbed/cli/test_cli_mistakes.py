"""Some hundreds of mistakes, each told in one line: what is wrong, where, what to do; with exit code 2, nothing on
stdout and nothing left behind.

Here are the mistakes of a command line and of the files that it names (mistakes.py). Those of a scenario's document
are in tests/testbed/scenario/test_scenario_errors.py, those of a study's in tests/testbed/study/test_study_document.py;
what a host lacks (parts, room on a disk, rights) in test_cli_missing.py and test_cli_verbs.py.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mistakes import FILES, MISTAKES
from typer.testing import CliRunner

from testbed.cli.main import app

Left = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as users have them: good files, wrong ones, and some that are something else."""
    directory = tmp_path_factory.mktemp("desk")
    for name, content in FILES.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return directory


@pytest.fixture
def here(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Where one works, and where scratch files go."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(desk)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    yield desk, scratch
    assert list(scratch.iterdir()) == []


def contents(directory: Path) -> Left:
    """Every file's size and when it was written; of directories only that they are there."""
    files = sorted(path for path in directory.rglob("*"))
    told = [(path, path.stat()) for path in files]
    return [(str(path), fact.st_size, fact.st_mtime_ns) if path.is_file() else (str(path), 0, 0) for path, fact in told]


def children() -> set[str]:
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


def namespace() -> list[str]:
    return [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "user", "pid")]


@pytest.mark.parametrize(("typed", "told"), MISTAKES, ids=[typed[:60] or "nothing" for typed, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(here: tuple[Path, Path], typed: str, told: str) -> None:
    before = contents(here[0]), children(), namespace()
    said = CliRunner().invoke(app, shlex.split(typed))
    assert isinstance(said.exception, SystemExit), said.exception
    assert said.exit_code == 2
    assert said.stdout == ""
    assert said.stderr.startswith("testbed: error: ")
    assert said.stderr.count("\n") == 1, said.stderr
    assert told in said.stderr
    assert (contents(here[0]), children(), namespace()) == before


def test_there_are_as_many_mistakes_as_promised_and_no_two_alike() -> None:
    assert len({typed for typed, _ in MISTAKES}) == len(MISTAKES) >= 150


VERBS = [[command.name] for command in app.registered_commands] + [
    [group.name, command.name]
    for group in app.registered_groups
    for command in group.typer_instance.registered_commands
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_knows_its_options(here: tuple[Path, Path], verb: list[str]) -> None:
    said = CliRunner().invoke(app, [*verb, "--frobnicate"])
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.startswith(f"testbed: error: {' '.join(verb)}: no such option: --frobnicate")
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["topo"], ["kernel"], ["image"]])
def test_whoever_types_nothing_is_helped(words: list[str]) -> None:
    said = CliRunner().invoke(app, words)
    assert (said.exit_code, said.stderr) == (2, "")
    assert "Usage: testbed" in said.stdout
