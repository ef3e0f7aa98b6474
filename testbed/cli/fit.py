"""``testbed fit``: how well measured delays are met."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from testbed.actions.find import named_engine
from testbed.cli.output import JsonFlag, console, print_json, verb
from testbed.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from testbed.scenario.model import MeasuredDelays
    from testbed.study.fit import Fit

_BARS, _WIDTH = 16, 30


@verb
def fit(
    file: Annotated[Path, typer.Argument(help="A capture, a table, or what ping, owping or sockperf printed.")],
    column: Annotated[str | None, typer.Option(help="Of a table: a name, or a number from 1.")] = None,
    unit: Annotated[Literal["ns", "us", "ms", "s"] | None, typer.Option(help="Of values that carry none.")] = None,
    of: Annotated[Literal["delay", "rtt"] | None, typer.Option(help="What a value is: half of an rtt counts.")] = None,
    received: Annotated[Path | None, typer.Option(help="A second capture, in which frames arrive.")] = None,
    between: Annotated[str | None, typer.Option(metavar="NIC,NIC", help="Of a capture: from where to where.")] = None,
    engine: Annotated[list[str] | None, typer.Option("--engine", "-e", help="Who draws (default: sim).")] = None,
    frames: Annotated[int, typer.Option(min=2, max=10_000_000, help="How many are drawn.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="What is drawn depends on it.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where a picture is written, as SVG.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show how well measured delays are met: by the table that netem gets, and by what an engine draws from it.

    With the samples' own uncertainty, what is lost in the tails, and the lines of a scenario that ask for them.
    """
    from testbed.study.fit import fit as fitted_to

    engines = [named_engine(name) for name in engine or ["sim"]]
    source = _source(file, column, unit, of, received, between)
    try:
        fitted = fitted_to(source, Path(), engines, frames, seed)
    except ValueError as error:
        raise UserError(str(error)) from None
    if out is not None:
        from testbed.report.plots import fit_plot, svg_of

        out.write_text(svg_of(fit_plot(fitted)), encoding="utf-8")
    if json:
        print_json(_data(fitted))
    else:
        _print(console(), fitted)


def _source(
    file: Path, column: str | None, unit: str | None, of: str | None, received: Path | None, between: str | None
) -> MeasuredDelays:
    from pydantic import ValidationError

    from testbed.scenario.model import MeasuredDelays

    ends = between.split(",") if between is not None else None
    if ends is not None and (len(ends) != 2 or not all(ends)):
        raise UserError(f"--between {between}: write it as two interfaces, for example host1-eth0,host2-eth0")
    numbered = int(column) if column is not None and column.isascii() and column.isdigit() else column
    given = {"file": str(file), "column": numbered, "unit": unit, "of": of, "between": ends}
    try:
        return MeasuredDelays.model_validate({**given, "received": None if received is None else str(received)})
    except ValidationError:  # all else is a choice, which typer checks
        raise UserError(f"--column {column}: columns count from 1") from None


def _data(fitted: Fit) -> dict[str, Any]:
    from dataclasses import asdict

    from testbed.study.fit import SHARES

    told = {key: value for key, value in asdict(fitted).items() if key != "curves"}
    return {**told, "shares": SHARES, "is_met": fitted.is_met, "simpler": fitted.simpler}


def _print(screen: Console, fitted: Fit) -> None:
    from testbed.study.fit import CONFIDENCE, named_settings

    screen.print(f"{fitted.origin}\n", markup=False)
    _print_table(screen, fitted)
    _print_bars(screen, fitted)
    sure = f"{CONFIDENCE:.0%}"
    verdict = "nearer than" if fitted.is_met else "further than"
    screen.print(
        f"table: at most {fitted.ks:.2%} from the samples' distribution function, {verdict} what was measured is known "
        f"({fitted.band:.2%}, with {sure}); delays less than {fitted.grain_ns:.0f} ns apart count as the same"
    )
    for drawn in fitted.drawn:
        within = "as chance may have it" if drawn.ks <= drawn.band else "more than chance would have it"
        screen.print(
            f"{drawn.engine}: {drawn.frames:,} frames drawn, at most {drawn.ks:.2%} from the table's, {within} "
            f"({drawn.band:.2%}, with {sure})"
        )
    screen.print(_tails(fitted))
    screen.print(f"\n{fitted.suggestion}", markup=False)
    if fitted.simpler:
        told = f"{fitted.named[fitted.simpler]:.2%} from the samples, which can't tell it from what was measured"
        screen.print(f"# or, {told}:\n#   {named_settings(fitted.simpler, fitted)}", markup=False)


def _tails(fitted: Fit) -> str:
    if not fitted.beyond:
        return "tails: no sample lies outside what can be drawn"
    below = fitted.beyond - fitted.beyond_above
    return (
        f"tails: {fitted.beyond_above:.3%} of the samples are longer than the longest that can be drawn, {below:.3%} "
        "shorter than the shortest, and are drawn as that: a table has 4096 entries, up to 4 deviations from the mean"
    )


def _print_table(screen: Console, fitted: Fit) -> None:
    from rich.table import Table

    from testbed.study.fit import SHARES

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("us", "samples", "table", *(drawn.engine for drawn in fitted.drawn)):
        table.add_column(heading, justify="left" if heading == "us" else "right")
    rest = [""] * len(fitted.drawn)
    table.add_row("mean", _us(fitted.mean_ns), _us(fitted.law_mean_ns), *rest)
    table.add_row("deviation", _us(fitted.deviation_ns), _us(fitted.law_deviation_ns), *rest)
    table.add_row("least", _us(fitted.least_ns), _us(fitted.law_least_ns), *rest)
    for place, share in enumerate(SHARES):
        told = (drawn.quantiles_ns[place] for drawn in fitted.drawn)
        row = (fitted.quantiles_ns[place], fitted.law_quantiles_ns[place], *told)
        table.add_row(f"{share:.1%}", *map(_us, row))
    table.add_row("greatest", _us(fitted.greatest_ns), _us(fitted.law_greatest_ns), *rest)
    screen.print(table)


def _print_bars(screen: Console, fitted: Fit) -> None:
    """Shares of samples (bars) and of the table (a mark on each) between delays."""
    import numpy as np

    edges = np.linspace(fitted.least_ns, fitted.greatest_ns, _BARS + 1)
    ours, theirs = (np.diff(fitted.curves[name].share(edges), prepend=0.0) for name in ("samples", "table"))
    ours[1], theirs[1] = ours[0] + ours[1], theirs[0] + theirs[1]  # the least itself belongs to the first bar
    most = float(max(ours[1:].max(), theirs[1:].max()))
    screen.print("\n[dim]from us   █ share of the samples, │ of what is drawn[/]")
    for edge, share, drawn in zip(edges[:-1], ours[1:], theirs[1:], strict=True):
        cells = list("█" * round(_WIDTH * share / most)) + [" "] * (_WIDTH + 1)
        cells[round(_WIDTH * drawn / most)] = "│"
        screen.print(f"{_us(edge):>8}  {''.join(cells[: _WIDTH + 1])}  {share:7.2%} {drawn:7.2%}", markup=False)
    screen.print()


def _us(ns: float) -> str:
    return f"{ns / 1000:,.3f}"
