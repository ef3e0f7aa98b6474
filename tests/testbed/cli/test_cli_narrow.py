"""Terminals of sixty columns: nothing that is told in a table is cut, and progress stays on its line."""

from __future__ import annotations

import re

import pytest

from testbed.cli.output import print_table, progress_bar

HEADINGS = ("round", "link", "kind", "cause", "frame", "hop")
ROW = ("33", "host3<->host5", "split", "[red]crashed[/]", "host5>host3 round 33 step 4 (#441)", "host3-eth0")


def shown(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *rows: tuple[str, ...]
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(HEADINGS, rows, pale=["not run"])
    return capsys.readouterr().out


def test_a_table_stands_as_one_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads, row = shown(100, monkeypatch, capsys, ROW).splitlines()
    assert heads.split() == list(HEADINGS)
    assert [row.index(cell) for cell in ("33", "split", "crashed")] == [
        heads.index(name) for name in ("round", "kind", "cause")
    ]


def test_where_there_is_none_each_cell_stands_whole_behind_its_heading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cells were cut ("host3<->ho…") or broken over four lines."""
    assert shown(60, monkeypatch, capsys, ROW).splitlines() == [
        "round 33  link host3<->host5  kind split  cause crashed",
        "  frame host5>host3 round 33 step 4 (#441)  hop host3-eth0",
    ]


def test_what_is_empty_everywhere_is_no_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = ("1", "a", "", "–", "not run", "x"), ("2", "b", "–", "–", "not run", "")
    assert shown(60, monkeypatch, capsys, first, second).split() == ["round", "link", "hop", "1", "a", "x", "2", "b"]
    assert "frame" in shown(60, monkeypatch, capsys, first, (*second[:4], "host1>host2", ""))


def test_progress_stays_on_its_line_and_tells_its_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was told "0:0…", and cut off at what is left."""
    for name, value in (("COLUMNS", "60"), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    with progress_bar() as bar:
        task = bar.add_task("nic-crash-mid-swap on vkernel", total=1.0, state="")
        bar.update(task, completed=0.5, state="simulating")
        bar.refresh()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    lines = [line for line in re.split(r"[\r\n]+", drawn) if "simulating" in line]
    assert lines
    for line in lines:
        assert re.search(r"^nic-crash-.*… ━+.* simulating \d:\d\d:\d\d left: [-\d]:[-\d]{2}:[-\d]{2}$", line), line
        assert len(line) <= 60
