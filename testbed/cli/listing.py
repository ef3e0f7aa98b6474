"""``testbed list``, ``testbed scenarios``: what there is, a line each: scenarios with their stories, studies, runs."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.actions.catalogue import ROWS, Kind
from testbed.cli.output import JsonFlag, console, print_json, verb


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
    rows = ROWS[what]()
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
