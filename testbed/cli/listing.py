"""``testbed list``, ``testbed scenarios``: what there is, a line each: scenarios with their stories, studies, runs."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.common import SHIPPED
from testbed.cli.output import JsonFlag, console, print_json, verb


class Kind(StrEnum):
    """What can be listed."""

    SCENARIOS = "scenarios"
    STUDIES = "studies"
    TOPOLOGIES = "topologies"
    FAULTS = "faults"
    ENGINES = "engines"
    CONSENSUS = "consensus"
    RUNS = "runs"


@verb
def list_(
    what: Annotated[Kind, typer.Argument(help="What is wanted.")] = Kind.SCENARIOS,
    json: JsonFlag = False,
) -> None:
    """List the scenarios that ship with their stories; or studies, topologies, the verbs of faults, the engines that
    run a plan, those that find consensus, or the runs in ./runs."""
    _list(what, json)


@verb
def scenarios(json: JsonFlag = False) -> None:
    """List the scenarios that ship, each with its story (testbed list scenarios)."""
    _list(Kind.SCENARIOS, json)


def _list(what: Kind, json: bool) -> None:
    rows = _ROWS[what]()
    if json:
        print_json([{"name": name, "story": story} for name, story in rows])
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, story in rows:
        table.add_row(name, story)
    console().print(table)


def _documents(folder: str) -> list[tuple[str, str]]:
    from testbed.scenario.document import read_document, story

    files = sorted((SHIPPED / folder).glob("*.yaml"))
    return [(file.stem, story(read_document(file.read_text(encoding="utf-8"), file.name))) for file in files]


def _topologies() -> list[tuple[str, str]]:
    from topologies.build import KINDS

    return [(kind.name, kind.description) for kind in KINDS.values()]


def _faults() -> list[tuple[str, str]]:
    from testbed.faults import VERBS

    return [(known.name, known.meaning) for known in VERBS.values()]


def _engines() -> list[tuple[str, str]]:
    from testbed.engines.registry import ENGINES

    return list(ENGINES.items())


def _consensus() -> list[tuple[str, str]]:
    from nodes.registry import engine_specs

    return [(spec.name, spec.title) for spec in engine_specs()]


def _runs() -> list[tuple[str, str]]:
    from testbed.runs import told_runs

    return told_runs(Path("runs"))


_ROWS: dict[Kind, Callable[[], list[tuple[str, str]]]] = {
    Kind.SCENARIOS: lambda: _documents("scenarios"),
    Kind.STUDIES: lambda: _documents("studies"),
    Kind.TOPOLOGIES: _topologies,
    Kind.FAULTS: _faults,
    Kind.ENGINES: _engines,
    Kind.CONSENSUS: _consensus,
    Kind.RUNS: _runs,
}
