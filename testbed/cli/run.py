"""``testbed run``: a scenario from its document to verdicts, in a run directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.common import SetOption, find_document, load_scenario, named_engine
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, console, print_json, progress_bar, verb
from testbed.errors import UserError

if TYPE_CHECKING:
    from testbed.engines.base import Engine
    from testbed.history import History
    from testbed.plan import Plan
    from testbed.report.pages import Story
    from testbed.scenario import Scenario
    from testbed.verdicts.model import Fidelity, Trust, Verdicts

_SHOWN_VIOLATIONS = 8


@verb
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that ships.")],
    engine: Annotated[
        str | None, typer.Option("--engine", "-e", help="sim, vkernel or live (default: the scenario's).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    set_: SetOption = None,
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

    loaded = load_scenario(scenario, set_, seed)
    chosen = _over(_bounded(named_engine(engine or loaded.engine), memory), inventory)
    plan = compile_plan(loaded)
    chosen.check(plan)
    text = scenario_text(scenario, loaded, overridden=bool(set_) or seed is not None)
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


@contextmanager
def claimed(out: Path | None, text: str, plan: Plan, engine: str) -> Iterator[Path]:
    """Where the run goes: as asked, else runs/<name>, numbered when there is another plan's or engine's run, or a run
    that goes on.

    Locked while inside: runs that are started side by side must not write into each other's directory.
    """
    directory, lock = (out, _begin(out, text, plan)) if out is not None else _claim(text, plan, engine)
    try:
        yield directory
    finally:
        os.close(lock)


def _claim(text: str, plan: Plan, engine: str) -> tuple[Path, int]:
    from testbed.runs import RunDirectoryError, engine_of

    number = 1
    while True:
        directory = Path("runs") / (plan.name if number == 1 else f"{plan.name}-{number}")
        if engine_of(directory) in (None, engine):
            with suppress(RunDirectoryError):
                return directory, _begin(directory, text, plan)
        number += 1


def _begin(directory: Path, text: str, plan: Plan) -> int:
    """Begins the run in ``directory`` and returns the descriptor that holds its lock. Raises RunDirectoryError."""
    from testbed.runs import RunDirectoryError, begin_run

    if not directory.exists():
        directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        begin_run(directory, text, plan)
    except BlockingIOError:
        os.close(lock)
        raise RunDirectoryError(f"{directory}: another run goes on there; name another directory") from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def keep(directory: Path, text: str, plan: Plan, history: History, verdicts: Verdicts) -> None:
    """The run directory with its report."""
    from testbed.runs import write_run

    write_run(directory, text, plan, history, verdicts)
    write_page(directory, text, plan, history, verdicts)


def write_page(directory: Path, text: str, plan: Plan, history: History, verdicts: Verdicts) -> Path:
    """The report of a run, ``text`` being its scenario; where it is."""
    from testbed.report.pages import run_page

    target = directory / "report.html"
    commands = commands_for(directory, history.engine, text)
    target.write_text(run_page(plan, history, verdicts, commands, _story(text, verdicts)), encoding="utf-8")
    return target


def _story(text: str, verdicts: Verdicts) -> Story:
    """What the scenario says of its run. Runs of earlier versions may state what nobody can read any more."""
    from pydantic import ValidationError

    from testbed.report.pages import Story
    from testbed.scenario import Expectation, ScenarioError, unmet
    from testbed.scenario.document import read_document
    from testbed.verdicts.words import counted

    try:
        data = read_document(text, "scenario").data
        expect = Expectation.model_validate(data.get("expect") or {})
    except (ScenarioError, ValidationError):
        return Story()
    stated = expect.model_dump(mode="json", exclude_none=True)
    failed = unmet(expect, verdicts.to_dict())
    return Story(str(data.get("description", "")), counted(stated) if stated else "", failed)


def commands_for(directory: Path, engine: str, text: str) -> list[str]:
    """How to run it again, ``text`` being its scenario. A replay needs nothing but the directory; files that a scenario
    names are found only from where it was written."""
    replay = f"testbed replay {quote(str(directory))}"
    if _names_files(text):
        return [replay]
    return [replay, f"testbed run {quote(str(directory / 'scenario.yaml'))} --engine {engine}"]


def _names_files(text: str) -> bool:
    from testbed.scenario import ScenarioError
    from testbed.scenario.document import read_document

    def leads_out(data: Any) -> bool:
        inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
        return (isinstance(data, dict) and "file" in data) or any(map(leads_out, inside))

    try:
        return leads_out(read_document(text, "scenario").data)
    except ScenarioError:
        return True


def check_expectations(scenario: Scenario, verdicts: Verdicts) -> dict[str, Any]:
    """What the scenario's ``expect`` states, and a sentence on each part of it that did not hold."""
    from testbed.scenario import unmet

    return {
        "stated": scenario.expect.model_dump(mode="json", exclude_none=True),
        "unmet": unmet(scenario.expect, verdicts.to_dict()),
    }


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

    from testbed.verdicts.model import power_words
    from testbed.verdicts.words import counted, summary

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
    screen.print(f"fidelity   {coloured(fidelity.answer)}, latest timer {fidelity.timer_lag_max_ns} ns late")
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
        screen.print(f"expected   {counted(expected['stated'])}: [green]held[/]")
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
    from rich.table import Table

    from testbed.verdicts.words import breaks

    rows = breaks(bisynchrony)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("round", "link", "kind", "cause", "frame", "hop"):
        table.add_column(heading)
    for row, item in zip(rows, bisynchrony.breaks, strict=False):
        table.add_row(*row, item.hop)
    screen.print(table)
    more = len(bisynchrony.breaks) - len(rows)
    if more > 0:
        screen.print(f"[dim]and {more} more in the report[/]")


def _colours(verdicts: Verdicts) -> dict[str, str]:
    """Of the lines that say whether something held."""
    colours = {"rounds": "green" if verdicts.bisynchrony.holds else "red"}
    if verdicts.consensus is not None:
        found = verdicts.consensus
        colours["consensus"] = "red" if found.disagreements or found.repeated or found.disordered else "green"
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
