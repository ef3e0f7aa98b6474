"""``testbed replay``: a run again from its own directory, held against what happened then, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.actions.find import named_engine, run_directory
from testbed.cli import completion
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, existing, print_json, progress_bar, verb
from testbed.errors import UserError


@verb
def replay(
    directory: Annotated[
        Path, typer.Argument(help="A run directory; latest: the last one in ./runs.", autocompletion=completion.runs)
    ],
    engine: Annotated[str | None, typer.Option("--engine", "-e", help="Another engine (default: the same).")] = None,
    json: JsonFlag = False,
) -> None:
    """Run a run directory's plan again and compare events, hops and captures. Exit code 1 when they differ."""
    import tempfile

    from testbed.engines.base import SCRATCH
    from testbed.runs import begin_run, read_run, record_files, write_run
    from testbed.verdicts import judge

    directory = run_directory(directory)
    text, plan, history, _ = read_run(existing(directory, "run directory"))
    for name in plan.capture_files:
        if not (directory / name).is_file():
            raise UserError(f"{directory / name} is missing: there is nothing to hold the frames against")
    chosen = named_engine(engine or history.engine)
    chosen.check(plan)
    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}replay-") as scratch, progress_bar() as bar:
        task = bar.add_task(f"{plan.name} on {chosen.name}", total=1.0, state="")
        anew = Path(scratch) / "run"
        begin_run(anew, text, plan)
        again = chosen.run(plan, anew, lambda phrase, share: bar.update(task, completed=share, state=phrase))
        write_run(anew, text, plan, again, judge(plan, again))
        names = sorted({*record_files(anew), *record_files(directory)})
        differing = [name for name in names if _content(anew / name) != _content(directory / name)]
    difference = None
    if differing:
        difference = first_difference(history.events, again.events) or first_difference(history.hops, again.hops)
    result: dict[str, Any] = {"same": not differing, "differing_files": differing, "difference": difference}
    if json:
        print_json({**result, "events": len(again.events), "hops": len(again.hops)})
    elif not differing:
        print(f"the same, byte for byte: {len(again.events)} events, {len(again.hops)} hops")
    else:
        print(f"{', '.join(differing)} differ: {difference or 'events and hops are the same'}")
    if differing:
        raise typer.Exit(EXPECTATION_FAILED)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def first_difference(before: Sequence[object], now: Sequence[object]) -> str | None:
    """Where two lists of records part, in words; None when they are the same."""
    for index, (old, new) in enumerate(zip(before, now, strict=False)):
        if old != new:
            return f"record {index} was {old}, is now {new}"
    if len(before) != len(now):
        return f"there were {len(before)} records, now there are {len(now)}"
    return None
