"""``testbed list``, ``testbed scenarios``: what there is, a line each: scenarios with their stories, studies, runs."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.actions.catalogue import ROWS, Kind
from testbed.cli.output import JsonFlag, console, print_json, verb

_MEANINGS = {
    Kind.SCENARIOS: "what ships to be run, each with its story",
    Kind.STUDIES: "what ships to be swept: where something breaks",
    Kind.TOPOLOGIES: "kinds of fabric",
    Kind.FAULTS: "what can befall one",
    Kind.ENGINES: "what a scenario can be run on",
    Kind.CONSENSUS: "protocols that swap, decide or keep a log",
    Kind.RUNS: "what was run here, in ./runs",
}


@verb
def list_(
    what: Annotated[Kind | None, typer.Argument(help="What is wanted (default: how many there are of each).")] = None,
    json: JsonFlag = False,
) -> None:
    """List what there is, each with its story: scenarios, studies, topologies, the verbs of faults, the engines that
    run a plan, those that find consensus, the runs in ./runs. `testbed show NAME` tells more of each."""
    if what is not None:
        _list(what, json)
        return
    counts = [(kind.value, len(ROWS[kind]()), _MEANINGS[kind]) for kind in Kind]
    if json:
        print_json([{"name": name, "count": count, "story": meaning} for name, count, meaning in counts])
        return
    width = max(len(name) for name, _, _ in counts)
    for name, count, meaning in counts:
        print(f"{name:<{width}} {count:>4}  {meaning}")
    print("testbed list scenarios (or another of these) names them; testbed show NAME tells more of one")


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
