"""``testbed check``: whether an engine of consensus keeps the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from testbed import compiled
from testbed.cli.explore import schedule_file, write_found
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, console, print_json, progress_bar, verb

if TYPE_CHECKING:
    from testbed.actions.check import Check


@verb
def check(
    engine: Annotated[str, typer.Argument(help="mine.py:Mine, one of your own, or an engine that ships.")],
    nodes: Annotated[int, typer.Option("--nodes", "-n", min=2, max=9, help="Among how many nodes.")] = 3,
    schedules: Annotated[int, typer.Option(min=1, help="How many schedules are drawn at random.")] = 200,
    json: JsonFlag = False,
) -> None:
    """Check that an engine of consensus keeps the contract, and what it promises.

    It decides with nothing in its way; it bears the crashes that it claims to; agreement and validity hold where frames
    are lost and lives begin anew, and in schedules drawn at random; it says the same twice; its planted bugs are found.
    Exit code 1 when something does not hold; a schedule that leads there is written down.
    """
    compiled.forgo()
    from testbed.actions.check import checks

    found: list[Check] = []
    with progress_bar() as bar:
        task = bar.add_task(f"checking {engine}", total=None, state="")
        for one in checks(engine, nodes, schedules):
            found.append(one)
            bar.update(task, state=f"{one.name}: {_answer(one)}")
    broken = next((one.schedule for one in found if one.held is False and one.schedule is not None), None)
    kept = None if broken is None else write_found(broken, schedule_file(broken.asked))
    if json:
        rows = [{"check": one.name, "held": one.held, "told": one.told} for one in found]
        print_json({"engine": engine, "nodes": nodes, "checks": rows, "schedule": None if kept is None else str(kept)})
    else:
        _show(found)
        if kept is not None:
            console().print(f"[dim]schedule: {kept}; told again by: testbed explore --replay {kept}[/]", soft_wrap=True)
    if any(one.held is False for one in found):
        raise typer.Exit(EXPECTATION_FAILED)


def _answer(one: Check) -> str:
    return {True: "held", False: "broken", None: "-"}[one.held]


def _show(found: list[Check]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("check", "", "what was seen"):
        table.add_column(heading, overflow="fold")
    colours = {True: "green", False: "bold red", None: "dim"}
    for one in found:
        table.add_row(one.name, f"[{colours[one.held]}]{_answer(one)}[/]", escape(one.told))
    console().print(table)
