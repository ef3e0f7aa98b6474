"""``testbed compare``: plans on two engines, frame by frame and event row by event row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.actions.compare import compared
from testbed.cli import completion
from testbed.cli.common import SetOption, load_scenario
from testbed.cli.output import (
    EXPECTATION_FAILED,
    JsonFlag,
    console,
    print_json,
    progress_bar,
    verb,
)
from testbed.errors import UserError
from testbed.shipped import shipped

if TYPE_CHECKING:
    from rich.progress import Progress

    from testbed.plan import Plan
    from testbed.verdicts.comparison import Comparison

_HEADINGS = (
    "plan",
    "hosts",
    "frames",
    "the same",
    "event rows",
    "differing",
    "swap ends",
    "differing",
    "fixed cost ns",
)


@verb
def compare(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            help="Scenarios' files, or names of such that ship.",
            show_default=False,
            autocompletion=completion.scenarios,
        ),
    ] = None,
    reference: Annotated[str, typer.Option(help="The engine to hold the other against.")] = "sim",
    other: Annotated[str, typer.Option(help="The other engine.")] = "vkernel",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another seed; with --random the first plan's number (default 0).")
    ] = None,
    set_: SetOption = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every scenario that ships, and the plans of benchmarks/plans.")
    ] = False,
    random: Annotated[int, typer.Option(min=0, metavar="N", help="N plans drawn at random.")] = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
    json: JsonFlag = False,
) -> None:
    """Run plans on two engines and compare each frame's way, each event row and each swap's end.

    The engines share every draw. In virtual time they are one run: nothing may differ. On a wall clock what is left is
    the cost of a real kernel. Exit code 1 when an end of a swap differs; with --random, when anything does.
    """
    if sum((bool(scenarios), all_, bool(random))) != 1:
        raise UserError("compare what? Name scenarios, or give one of --all and --random N")
    names = _shipped() if all_ else scenarios or []
    plans = _random_plans(random, seed or 0) if random else _plans(names, set_, seed)
    found = []
    if markdown and json:
        raise UserError("--markdown and --json: one of the two")
    if markdown:
        _print_markdown(_HEADINGS, ("---", *("---:" for _ in _HEADINGS[1:])))
    for plan in plans:
        with progress_bar() as bar:
            found.append((plan, compared(plan, reference, other, partial(_progress_on, bar, plan.name))))
        if markdown:
            _print_markdown(_row(*found[-1]))
        elif random and not json:
            _show_row(*found[-1])
    if json:
        told = [{"plan": plan.name, "seed": plan.seed, **asdict(one)} for plan, one in found]
        print_json(told[0] if len(told) == 1 and not random else told)
    elif not markdown and not random and len(found) == 1:
        _show(*found[0])
    elif not markdown and not random:
        _show_table([_row(*one) for one in found])
    if any(one.resolutions_differ or (random and not one.equal) for _, one in found):
        raise typer.Exit(EXPECTATION_FAILED)


def _shipped() -> list[str]:
    return [str(path) for folder in ("scenarios", "plans") for path in sorted(shipped(folder).glob("*.yaml"))]


def _plans(names: list[str], set_: list[str] | None, seed: int | None) -> Iterator[Plan]:
    from testbed.scenario import compile_plan

    for name in names:
        yield compile_plan(load_scenario(name, set_, seed))


def _random_plans(count: int, first: int) -> Iterator[Plan]:
    from testbed.scenario import compile_plan, from_data
    from testbed.scenario.drawn import drawn_scenario

    for number in range(first, first + count):
        yield compile_plan(from_data(drawn_scenario(number)))


def _row(plan: Plan, found: Comparison) -> tuple[str, ...]:
    everywhere = found.frames + found.only_reference + found.only_other
    numbers = (len(plan.fabric.hosts), everywhere, found.frames_same, found.rows, found.rows_differ)
    ends = (found.resolutions, found.resolutions_differ)
    return (plan.name, *(f"{number:,}" for number in (*numbers, *ends)), f"{found.fixed_cost_ns:g}")


def _show_row(plan: Plan, found: Comparison) -> None:
    verdict = "the same" if found.equal else f"parts at {found.parts_ns} ns"
    kind = f"{len(plan.fabric.hosts)} hosts, {plan.protocol.consensus}, {len(plan.faults)} faults"
    screen = console()
    screen.print(f"{plan.name:>12}  {verdict}: {found.rows} event rows, {found.rows_differ} differ ({kind})")
    for row in found.parts_at:
        screen.print(f"{'':>12}  {row}", markup=False)


def _show_table(rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def _print_markdown(*rows: tuple[str, ...]) -> None:
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def _accounted(found: Comparison) -> list[tuple[int, str]]:
    """Every frame that was delivered in either: how many, and what became of them in the other."""
    return [
        (found.frames_same, "left and arrived at the same nanoseconds"),
        (found.frames - found.frames_same, "at others"),
        (found.only_reference, f"arrived on {found.reference} only"),
        (found.only_other, f"on {found.other} only"),
    ]


def _show(plan: Plan, found: Comparison) -> None:
    from rich.table import Table

    screen = console()
    reference, other = found.reference, found.other
    sent = f"of {found.frames + found.only_reference} on {reference} and {found.frames + found.only_other} on {other}"
    screen.print(f"[bold]{plan.name}[/], seed {plan.seed}: {found.frames} frames in both, {sent}")
    screen.print(
        f"fixed cost {found.fixed_cost_ns:g} ns; quantiles differ by at most {found.worst_quantile_ns:g} ns beyond it"
    )
    screen.print(f"frames     {', '.join(f'{count} {what}' for count, what in _accounted(found))}")
    screen.print(f"swap ends  {found.resolutions_differ} of {found.resolutions} differ")
    screen.print(f"event rows {found.rows_differ} of {found.rows} stand in one of the two only")
    if found.parts_at:
        screen.print(f"they part at {found.parts_ns} ns:")
        for row in found.parts_at:
            screen.print(f"  {row}", markup=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("quantile", f"{reference} ns", f"{other} ns", "difference ns"):
        table.add_column(heading, justify="right")
    for p, ours, theirs in found.quantiles:
        table.add_row(f"{p:g}", f"{ours:.0f}", f"{theirs:.0f}", f"{theirs - ours:.0f}")
    screen.print(table)


def _progress_on(bar: Progress, name: str, engine: str) -> Callable[[str, float], None]:
    task = bar.add_task(f"{name} on {engine}", total=1.0, state="")
    return lambda phrase, share: bar.update(task, completed=share, state=phrase)
