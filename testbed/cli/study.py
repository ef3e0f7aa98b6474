"""``testbed study``: sweeps, break points, confirmation on the virtual-time kernel; resumes where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.actions.find import check_kind, find_document
from testbed.actions.study import claim, own_directory, write_report
from testbed.cli import completion
from testbed.cli.output import (
    EXPECTATION_FAILED,
    JsonFlag,
    Milestones,
    console,
    print_json,
    progress_bar,
    verb,
)
from testbed.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

_TOLD = 4


@verb
def study(
    document: Annotated[
        str, typer.Argument(help="A study's file, or the name of one that ships.", autocompletion=completion.studies)
    ] = "jitter-leaf-spine",
    out: Annotated[
        Path | None, typer.Option(help="The study's directory (default: runs/study-<name>, numbered).")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=0, help="Worker processes (default: one a core; 0: none).")] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="dask://HOST:PORT", help="A Dask cluster's scheduler: its workers do what sim is to do."),
    ] = None,
    vkernel: Annotated[bool, typer.Option(help="Confirm points on the virtual-time kernel.")] = True,
    json: JsonFlag = False,
) -> None:
    """Run a study, or what is missing of it, and write its report. Exit code 1 when an expectation fails."""
    from testbed.study.document import load_study
    from testbed.study.runner import run_study

    if workers is not None and jobs is not None:
        raise UserError("--jobs does not go with --workers: a cluster has as many workers as were started there")
    loaded = load_study(check_kind(find_document(document, "studies"), "studies"))
    directory = claim(out or own_directory(loaded))
    with progress_bar() as bar:
        tasks: dict[str, Any] = {}
        milestones: dict[str, Milestones] = {}

        def report(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=None, state="")
                milestones[phase] = Milestones(phase, quiet=not bar.disable)
            state = f"{done} of {total}"
            bar.update(tasks[phase], completed=done, total=total or 1, state=state)
            milestones[phase](f"({state})", done / (total or 1))

        try:
            results = run_study(loaded, directory, jobs, report, vkernel, workers).to_dict()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"what is measured is kept in {directory}, and this goes on from there") from None
    write_report(loaded, results, directory)
    if json:
        print_json({"directory": str(directory), **results})
    else:
        show(results, directory)
    if any(item["held"] is False for item in results["expectations"]):
        raise typer.Exit(EXPECTATION_FAILED)


def _counts(results: dict[str, Any]) -> Table:
    """A row a variant: where its rounds break, or how many of its instances disagree."""
    from rich.table import Table

    from testbed.report.pages import bracket, estimate

    table = Table(box=None, pad_edge=False, header_style="dim")
    broken_round = results["measure"] == "broken_round"
    for heading in (
        ("variant", "rounds", "break point (sim)", "bracket", "vkernel alone")
        if broken_round
        else ("variant", "runs", "instances that disagree", "decided")
    ):
        table.add_column(heading)
    for variant in results["variants"]:
        total = {
            name: sum(row[name] for row in variant["sim"])
            for name in ("runs", "rounds", "disagreements", "instances", "decided")
        }
        if broken_round:
            kind, found, real = results["kind"], variant["break_point"], variant["vkernel_break_point"]
            alone = bracket(real, kind) if variant["vkernel"] else "not run"
            table.add_row(variant["name"], str(total["rounds"]), estimate(found, kind), bracket(found, kind), alone)
        else:
            table.add_row(
                variant["name"],
                str(total["runs"]),
                f"{total['disagreements']} of {total['instances']}",
                f"{total['decided']} of {total['instances']}",
            )
    return table


def _points(results: dict[str, Any]) -> Table:
    """A row for each value of a sweep in which no break point was looked for."""
    from rich.table import Table

    from testbed.study.document import human

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("variant", " and ".join(results["parameters"]), "rounds", "broken", "share", "certain to be in"):
        table.add_column(heading)
    for variant in results["variants"]:
        for engine in ("sim", "vkernel"):
            for row in variant[engine]:
                shares = (f"{100 * row[name]:.4g} %" for name in ("p", "low", "high"))
                p, low, high = shares
                x = variant["swept"] or human(row["x"], results["kind"])
                where = variant["name"] + (" (vkernel)" if engine == "vkernel" else "")
                table.add_row(where, x, str(row["rounds"]), str(row["broken"]), p, f"{low} – {high}")
    return table


def _losses(results: dict[str, Any]) -> Table:
    """A row for each variant and condition: what is lost first, and where everything is lost."""
    from rich.table import Table

    from testbed.report.pages import loss_lines
    from testbed.report.plots import condition

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("variant", "", "lost first", "deadline", "availability", "agreement"):
        table.add_column(heading)
    for line in loss_lines(results):
        table.add_row(line.variant, condition(results, line.crashes), f"[bold]{line.first}[/]", *line.where.values())
    return table


def show(results: dict[str, Any], directory: Path) -> None:
    """Break points, disagreements and expectations for people."""
    from rich.markup import escape

    from testbed.cli.run import coloured
    from testbed.report.pages import distrusted, judged_in_full, not_checked
    from testbed.verdicts.model import answer

    screen = console()
    screen.print(f"[bold]{results['name']}[/]")
    if results["measure"] == "losses":
        screen.print(_losses(results))
    elif results["measure"] == "broken_round" and not any(variant["break_point"] for variant in results["variants"]):
        screen.print(_points(results))
    else:
        screen.print(_counts(results))
    fidelity = coloured(answer(distrusted(results), not_checked(results)))
    screen.print(f"fidelity   {fidelity}, delays and losses judged in {judged_in_full(results)}")
    for reason in distrusted(results):
        screen.print(f"[red]not trusted:[/] {escape(reason)}", soft_wrap=True)
    unchecked = not_checked(results)
    for what in unchecked[:_TOLD]:
        screen.print(f"[yellow]not checked:[/] {escape(what)}", soft_wrap=True)
    if len(unchecked) > _TOLD:
        screen.print(f"[yellow]not checked:[/] and {len(unchecked) - _TOLD} more, see the report")
    for text in results["missing"]:
        screen.print(f"[yellow]vkernel did not run:[/] {escape(text)}", soft_wrap=True)
    for item in results["expectations"]:
        mark = {True: "[green]held[/]", False: "[bold red]failed[/]", None: "[dim]not seen[/]"}[item["held"]]
        screen.print(f"expected   {escape(item['what'])}: {mark}, {escape(item['seen'])}", soft_wrap=True)
    screen.print(f"[dim]report: {directory / 'report.html'}; data: results.json, trials.parquet[/]", soft_wrap=True)
