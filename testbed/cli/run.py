"""``testbed run``: a scenario from its document to verdicts, in a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.actions.find import find_document, named_engine
from testbed.actions.run import check_expectations, claimed, executed, keep, scenario_text
from testbed.cli import completion
from testbed.cli.common import CustomOption, SetOption, load_scenario
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, console, print_json, print_table, progress_bar, verb
from testbed.errors import UserError

if TYPE_CHECKING:
    from testbed.engines.base import Engine
    from testbed.history import History
    from testbed.plan import Plan
    from testbed.verdicts.model import Fidelity, Trust, Verdicts

_SHOWN_VIOLATIONS = 8


@verb
def run(
    scenario: Annotated[
        str,
        typer.Argument(help="A scenario's file, or the name of one that ships.", autocompletion=completion.scenarios),
    ],
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine", "-e", help="sim, vkernel or live (default: the scenario's).", autocompletion=completion.engines
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    set_: SetOption = None,
    custom: CustomOption = None,
    out: Annotated[Path | None, typer.Option(help="The run directory (default: runs/<name>).")] = None,
    memory: Annotated[
        str | None, typer.Option(help="What a run on sim may take, such as 4G (default: most of what is free).")
    ] = None,
    inventory: Annotated[
        str | None, typer.Option("--inventory", "-i", help="Divide the fabric over these machines (live only).")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Run a scenario and judge it. Exit code 1 when an expectation stated in the scenario fails."""
    from testbed.scenario import compile_plan

    loaded = load_scenario(scenario, set_, seed, custom)
    chosen = _over(_bounded(named_engine(engine or loaded.engine), memory), inventory)
    plan = compile_plan(loaded)
    chosen.check(plan)
    overridden = bool(set_) or seed is not None or custom is not None
    text = scenario_text(loaded, None if overridden else find_document(scenario, "scenarios"))
    with claimed(out, text, plan, chosen.name) as directory:
        history, verdicts = execute(chosen, plan, directory)
        keep(directory, text, plan, history, verdicts)
    expected = check_expectations(loaded, verdicts)
    if json:
        print_json(
            {
                "directory": str(directory),
                "verdicts": verdicts.to_dict(),
                "expectations": expected,
                "warnings": loaded.warnings,
            }
        )
    else:
        show(verdicts, expected, loaded.warnings)
        console().print(f"[dim]kept in {directory} (report: {directory / 'report.html'})[/]", soft_wrap=True)
    if expected["unmet"]:
        raise typer.Exit(EXPECTATION_FAILED)


def _bounded(engine: Engine, memory: str | None) -> Engine:
    """The engine with what it may take. Raises UserError."""
    if memory is None:
        return engine
    from testbed.engines.sim import SimEngine
    from testbed.memory import parse_size

    if not isinstance(engine, SimEngine):
        raise UserError(f"--memory bounds runs on sim only, and this one is on {engine.name}; leave it out")
    try:
        return SimEngine(memory_bytes=parse_size(memory))
    except ValueError as error:
        raise UserError(f"--memory: {error}") from None


def _over(engine: Engine, inventory: str | None) -> Engine:
    """The engine over several machines. Raises UserError."""
    if inventory is None:
        return engine
    if engine.name != "live":
        raise UserError(f"--inventory goes with --engine live only, and this run is on {engine.name}; leave it out")
    from testbed.cli.machines import read_machines
    from testbed.engines.live.engine import LiveEngine

    return LiveEngine(read_machines(inventory))


def execute(engine: Engine, plan: Plan, directory: Path) -> tuple[History, Verdicts]:
    """Run the plan with a progress bar, and judge what happened."""
    with progress_bar() as bar:
        task = bar.add_task(f"{plan.name} on {engine.name}", total=1.0, state="")
        return executed(engine, plan, directory, lambda phrase, share: bar.update(task, completed=share, state=phrase))


def _untaken(fidelity: Fidelity) -> list[tuple[str, str]]:
    """Of the frames that nodes did not take for what befell those: how many, and why."""
    counted = (
        ("left", fidelity.left_waiting, "waited at nodes that were killed before they handled them"),
        ("overrun", fidelity.overrun, "found no room at nodes that were paused or slow"),
    )
    return [(heading, f"{count} frames {what}") for heading, count, what in counted if count]


def show(verdicts: Verdicts, expected: dict[str, Any], warnings: Sequence[str] = ()) -> None:
    """A short summary for people."""
    from rich.markup import escape

    from testbed.report.spacetime import nanoseconds
    from testbed.verdicts.model import power_words
    from testbed.verdicts.words import demanded, summary

    screen = console()
    fidelity = verdicts.fidelity
    if fidelity.reasons:
        screen.print("[bold red]This measurement is not trusted:[/]")
        for reason in fidelity.reasons:
            screen.print(f"  {escape(reason)}")
    screen.print(f"[bold]{verdicts.name}[/] on {verdicts.engine}, seed {verdicts.seed}")
    colours = _colours(verdicts)
    for heading, text in summary(verdicts):
        screen.print(f"{heading:<10} [{colours.get(heading, 'default')}]{escape(text)}[/]")
        if heading == "causes":
            _show_breaks(screen, verdicts.bisynchrony)
    _show_log_violations(screen, verdicts)
    if verdicts.service is not None:
        _show_service(screen, verdicts.service)
    screen.print(f"fidelity   {coloured(fidelity.answer)}, latest timer {nanoseconds(fidelity.timer_lag_max_ns)} late")
    for heading, text in _untaken(fidelity):
        screen.print(f"{heading:<10} {text}")
    for what in fidelity.unchecked:
        screen.print(f"[yellow]unchecked[/]  {escape(what)}")
    if fidelity.power is not None:
        screen.print(f"power      {escape(power_words(fidelity.power))}")
    for warning in warnings:
        screen.print(f"[yellow]warning[/]    {escape(warning)}")
    for note in verdicts.notes:
        screen.print(f"note       {escape(note)}")
    if expected["stated"] and not expected["unmet"]:
        screen.print(f"expected   {demanded(expected['stated'])}: [green]held[/]")
    for sentence in expected["unmet"]:
        screen.print(f"[bold red]failed[/]     {escape(sentence)}")


def _show_log_violations(screen: Any, verdicts: Verdicts) -> None:
    from rich.markup import escape

    from testbed.verdicts.words import log_violations

    for sentence in log_violations(verdicts.consensus) if verdicts.consensus is not None else ():
        screen.print(f"           [red]{escape(sentence)}[/]")


def coloured(answer: Trust) -> str:
    """One of the three answers, for a terminal."""
    colour = {"trusted": "green", "not_checked": "yellow", "not_trusted": "red"}[answer.value]
    return f"[{colour}]{answer.words}[/]"


def _show_breaks(screen: Any, bisynchrony: Any) -> None:
    from rich.markup import escape

    from testbed.verdicts.words import breaks

    told = [(*row, item.hop) for row, item in zip(breaks(bisynchrony), bisynchrony.breaks, strict=False)]
    print_table(("round", "link", "kind", "cause", "frame", "hop"), [[escape(cell) for cell in row] for row in told])
    more = len(bisynchrony.breaks) - len(told)
    if more > 0:
        screen.print(f"[dim]and {more} more in verdicts.json[/]")


def _colours(verdicts: Verdicts) -> dict[str, str]:
    """Of the lines that say whether something held."""
    from testbed.verdicts.words import nothing_done

    well = "yellow" if nothing_done(verdicts) else "green"
    colours = {"nothing": "yellow", "rounds": well if verdicts.bisynchrony.holds else "red"}
    if verdicts.consensus is not None:
        found = verdicts.consensus
        colours["consensus"] = "red" if found.disagreements or found.repeated or found.disordered else well
    return colours


def _show_service(screen: Any, service: Any) -> None:
    from rich.markup import escape

    from testbed.report.operations import drawn
    from testbed.report.spacetime import nanoseconds
    from testbed.verdicts.words import promises

    latencies = ", ".join(
        f"{'greatest' if at == 1 else f'p{100 * at:g}'} {nanoseconds(ns)}"
        for at, ns in zip(service.at, service.latency_ns, strict=True)
    )
    colour, words = ("green", "follows from it") if service.holds else ("red", "does not follow from it")
    seen = "".join(f"; {sentence}" for sentence in promises(service))
    screen.print(
        f"{service.name:<10} {service.done} operations done, {service.open} open"
        + (f"; latency {latencies}" if latencies else "")
    )
    screen.print(f"log        {service.entries} entries; [{colour}]what clients were told {words}{seen}[/]")
    if service.unchecked:
        screen.print(f"[yellow]not checked: {', '.join(service.unchecked)}[/]")
    for violation in service.violations[:_SHOWN_VIOLATIONS]:
        screen.print(f"  [red]{escape(violation)}[/]")
    more = len(service.violations) - _SHOWN_VIOLATIONS
    if more > 0:
        screen.print(f"[dim]  and {more} more in verdicts.json[/]")
    if service.contradiction:
        screen.print("contradict each other, whatever happened before:")
    for line in drawn(service.contradiction):
        screen.print(f"  {escape(line)}", soft_wrap=True)
