"""``testbed compare``: one scenario on two engines, frame by frame."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.common import SetOption, load_scenario, named_engine
from testbed.cli.output import JsonFlag, console, print_json, progress_bar, verb
from testbed.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@verb
def compare(
    scenario: Annotated[str, typer.Argument(help="A scenario's file, or the name of one that ships.")],
    reference: Annotated[str, typer.Option(help="The engine to hold the other against.")] = "sim",
    other: Annotated[str, typer.Option(help="The other engine.")] = "vkernel",
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    set_: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Run one plan on two engines and compare each frame's delay and each swap's end.

    The engines share every draw, so what is left is the fixed cost of a real kernel.
    """
    from testbed.scenario import compile_plan
    from testbed.verdicts.comparison import compare as compare_histories

    plan = compile_plan(load_scenario(scenario, set_, seed))
    histories = []
    for name in (reference, other):
        engine = named_engine(name)
        engine.check(plan)
        with progress_bar() as bar:
            task = bar.add_task(f"{plan.name} on {name}", total=1.0, state="")
            report = partial(_show_progress, bar, task)
            histories.append(engine.run(plan, None, report))
    try:
        found = compare_histories(*histories)
    except ValueError as error:
        raise UserError(str(error)) from None
    if json:
        print_json(asdict(found))
        return
    from rich.table import Table

    screen = console()
    sent = f"of {found.frames + found.only_reference} on {reference} and {found.frames + found.only_other} on {other}"
    screen.print(f"[bold]{plan.name}[/], seed {plan.seed}: {found.frames} frames in both, {sent}")
    screen.print(
        f"fixed cost {found.fixed_cost_ns:g} ns; quantiles differ by at most {found.worst_quantile_ns:g} ns beyond it"
    )
    screen.print(f"swap ends  {found.resolutions_differ} of {found.resolutions} differ")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("quantile", f"{reference} ns", f"{other} ns", "difference ns"):
        table.add_column(heading, justify="right")
    for p, ours, theirs in found.quantiles:
        table.add_row(f"{p:g}", f"{ours:.0f}", f"{theirs:.0f}", f"{theirs - ours:.0f}")
    screen.print(table)


def _show_progress(bar: Progress, task: TaskID, phrase: str, share: float) -> None:
    bar.update(task, completed=share, state=phrase)
