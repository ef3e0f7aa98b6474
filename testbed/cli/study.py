"""``testbed study``: sweeps, break points, confirmation on the virtual-time kernel; resumes where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    print_table,
    progress_bar,
    verb,
)
from testbed.errors import UserError

_TOLD = 4
_NOT_RUN = "not run"


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


def _show_counts(results: dict[str, Any]) -> None:
    """A row a variant: where its rounds break, or how many of its instances disagree."""
    from testbed.report.pages import bracket, estimate

    kind, rows = results["kind"], []
    broken_round = results["measure"] == "broken_round"
    for variant in results["variants"]:
        total = {
            name: sum(row[name] for row in variant["sim"])
            for name in ("runs", "rounds", "disagreements", "instances", "decided")
        }
        if broken_round:
            found, real = variant["break_point"], variant["vkernel_break_point"]
            alone = bracket(real, kind) if variant["vkernel"] else _NOT_RUN
            rows.append((variant["name"], str(total["rounds"]), estimate(found, kind), bracket(found, kind), alone))
        else:
            counts = (f"{total[name]} of {total['instances']}" for name in ("disagreements", "decided"))
            rows.append((variant["name"], str(total["runs"]), *counts))
    print_table(
        ("variant", "rounds", "break point (sim)", "bracket", "vkernel alone")
        if broken_round
        else ("variant", "runs", "instances that disagree", "decided"),
        rows,
        [_NOT_RUN],
    )


def _show_points(results: dict[str, Any]) -> None:
    """A row for each value of a sweep in which no break point was looked for."""
    from testbed.report.words import NONE_SEEN
    from testbed.study.document import human

    rows = []
    for variant in results["variants"]:
        for engine in ("sim", "vkernel"):
            for row in variant[engine]:
                p, low, high = (f"{100 * row[name]:.4g} %" for name in ("p", "low", "high"))
                swept = "" if variant["swept"] == variant["name"] else variant["swept"]
                x = human(row["x"], results["kind"]) if results["kind"] != "name" else swept
                where = variant["name"] + (" (vkernel)" if engine == "vkernel" else "")
                share = p if row["broken"] else NONE_SEEN
                rows.append((where, x, str(row["rounds"]), str(row["broken"]), share, f"{low} – {high}"))
    print_table(("variant", " and ".join(results["parameters"]), "rounds", "broken", "share", "certain to be in"), rows)


def _show_losses(results: dict[str, Any]) -> None:
    """A row for each variant and condition: what is lost first, and where everything is lost."""
    from testbed.report.pages import loss_lines
    from testbed.report.plots import condition

    rows = [
        (line.variant, condition(results, line.crashes), f"[bold]{line.first}[/]", *line.where.values())
        for line in loss_lines(results)
    ]
    print_table(("variant", "", "lost first", "deadline", "availability", "agreement"), rows)


def show(results: dict[str, Any], directory: Path) -> None:
    """Break points, disagreements and expectations for people."""
    from rich.markup import escape

    from testbed.cli.run import coloured
    from testbed.report.pages import distrusted, judged_in_full, not_checked
    from testbed.study.subject import in_words
    from testbed.verdicts.model import answer

    screen = console()
    screen.print(f"[bold]{results['name']}[/]")
    for heading, words in zip(("fabric", "protocol"), in_words(results["studied"]), strict=True):
        screen.print(f"{heading:<10} {escape(words)}")
    if results["measure"] == "losses":
        _show_losses(results)
    elif results["measure"] == "broken_round" and not any(variant["break_point"] for variant in results["variants"]):
        _show_points(results)
    else:
        _show_counts(results)
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
