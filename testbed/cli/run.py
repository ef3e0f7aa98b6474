"""``testbed run``: a scenario from its document to verdicts, in a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.common import SetOption, as_rows, find_document, load_scenario, named_engine
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, console, print_json, progress_bar, verb

if TYPE_CHECKING:
    from testbed.engines.base import Engine
    from testbed.history import History
    from testbed.plan import Plan
    from testbed.scenario import Scenario
    from testbed.verdicts.model import Verdicts

_SHOWN_BREAKS = 8


@verb
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that ships.")],
    engine: Annotated[
        str | None, typer.Option("--engine", "-e", help="sim, vkernel or live (default: the scenario's).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    set_: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="The run directory (default: runs/<name>).")] = None,
    json: JsonFlag = False,
) -> None:
    """Run a scenario and judge it. Exit code 1 when an expectation stated in the scenario fails."""
    from testbed.scenario import compile_plan

    loaded = load_scenario(scenario, set_, seed)
    chosen = named_engine(engine or loaded.engine)
    plan = compile_plan(loaded)
    chosen.check(plan)
    text = scenario_text(scenario, loaded, overridden=bool(set_) or seed is not None)
    directory = claim(out, text, plan)
    history, verdicts = execute(chosen, plan, directory)
    keep(directory, text, plan, history, verdicts)
    expected = check_expectations(loaded, verdicts)
    if json:
        print_json({"directory": str(directory), "verdicts": verdicts.to_dict(), "expectations": expected})
    else:
        show(verdicts, expected)
        console().print(f"[dim]kept in {directory} (report: {directory / 'report.html'})[/]", soft_wrap=True)
    if expected["unmet"]:
        raise typer.Exit(EXPECTATION_FAILED)


def execute(engine: Engine, plan: Plan, directory: Path) -> tuple[History, Verdicts]:
    """Run the plan with a progress bar, and judge what happened."""
    from testbed.verdicts import judge

    with progress_bar() as bar:
        task = bar.add_task(f"{plan.name} on {engine.name}", total=1.0, state="")
        history = engine.run(plan, directory, lambda phrase, share: bar.update(task, completed=share, state=phrase))
        bar.update(task, completed=1.0, state="judging")
        return history, judge(plan, history)


def scenario_text(name: str, scenario: Scenario, overridden: bool) -> str:
    """What goes into the run directory: the file as it is, or what overrides made of it."""
    if not overridden:
        return find_document(name, "scenarios").read_text(encoding="utf-8-sig")
    import yaml

    from testbed.scenario import as_written

    return yaml.safe_dump(as_written(scenario), sort_keys=False, allow_unicode=True)


def claim(out: Path | None, text: str, plan: Plan) -> Path:
    """Where the run goes: as asked, else runs/<name>, numbered when another plan's run is there."""
    from testbed.runs import RunDirectoryError, begin_run

    if out is not None:
        begin_run(out, text, plan)
        return out
    number = 1
    while True:
        directory = Path("runs") / (plan.name if number == 1 else f"{plan.name}-{number}")
        try:
            begin_run(directory, text, plan)
        except RunDirectoryError:
            number += 1
        else:
            return directory


def keep(directory: Path, text: str, plan: Plan, history: History, verdicts: Verdicts) -> None:
    """The run directory with its report."""
    from testbed.report.pages import run_page
    from testbed.runs import write_run

    write_run(directory, text, plan, history, verdicts)
    page = run_page(plan, history, verdicts, commands_for(directory, history.engine))
    (directory / "report.html").write_text(page, encoding="utf-8")


def commands_for(directory: Path, engine: str) -> list[str]:
    """How to run it again."""
    return [f"testbed replay {directory}", f"testbed run {directory / 'scenario.yaml'} --engine {engine}"]


def check_expectations(scenario: Scenario, verdicts: Verdicts) -> dict[str, Any]:
    """What the scenario's ``expect`` states, and a sentence on each part of it that did not hold."""
    from testbed.scenario import unmet

    return {
        "stated": scenario.expect.model_dump(mode="json", exclude_none=True),
        "unmet": unmet(scenario.expect, verdicts.to_dict()),
    }


def show(verdicts: Verdicts, expected: dict[str, Any]) -> None:
    """A short summary for people."""
    from rich.markup import escape

    screen = console()
    if not verdicts.fidelity.trusted or not verdicts.complete:
        screen.print("[bold red]This measurement cannot be trusted:[/]")
        for reason in verdicts.fidelity.reasons or ("the run was cut short",):
            screen.print(f"  {escape(reason)}")
    bisynchrony = verdicts.bisynchrony
    broken = len(bisynchrony.broken_rounds)
    colour = "green" if bisynchrony.holds else "red"
    screen.print(f"[bold]{verdicts.name}[/] on {verdicts.engine}, seed {verdicts.seed}")
    screen.print(f"rounds     {bisynchrony.rounds}, [{colour}]{broken} broken[/]")
    screen.print(f"swaps      {as_rows(bisynchrony.swaps)}")
    if bisynchrony.breaks:
        _show_breaks(screen, bisynchrony)
    if verdicts.consensus is not None:
        _show_consensus(screen, verdicts.consensus)
    trusted = "[green]trusted[/]" if verdicts.fidelity.trusted else "[red]not trusted[/]"
    screen.print(f"fidelity   {trusted}, latest timer {verdicts.fidelity.timer_lag_max_ns} ns late")
    for note in verdicts.notes:
        screen.print(f"note       {escape(note)}")
    if expected["stated"] and not expected["unmet"]:
        screen.print(f"expected   {as_rows(expected['stated'])}: [green]held[/]")
    for sentence in expected["unmet"]:
        screen.print(f"[bold red]failed[/]     {escape(sentence)}")


def _show_breaks(screen: Any, bisynchrony: Any) -> None:
    from collections import Counter

    from rich.table import Table

    for heading, name in (("kinds", "kind"), ("causes", "cause")):
        rounds = Counter(value for _, value in {(item.round, getattr(item, name)) for item in bisynchrony.breaks})
        screen.print(f"{heading:<10} {as_rows(rounds)} (rounds)")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("round", "link", "kind", "cause", "frame", "hop"):
        table.add_column(heading)
    for item in bisynchrony.breaks[:_SHOWN_BREAKS]:
        table.add_row(str(item.round), item.link, item.kind, item.cause, item.frame, item.hop)
    screen.print(table)
    more = len(bisynchrony.breaks) - _SHOWN_BREAKS
    if more > 0:
        screen.print(f"[dim]and {more} more in the report[/]")


def _show_consensus(screen: Any, consensus: Any) -> None:
    disagree = len(consensus.disagreements)
    colour = "red" if disagree else "green"
    screen.print(
        f"consensus  {consensus.decided} of {consensus.instances} instances decided everywhere, "
        f"[{colour}]{disagree} disagree[/], {len(consensus.invalid)} invalid"
    )
