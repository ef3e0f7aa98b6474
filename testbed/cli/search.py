"""``testbed search``: schedules at random until one breaks something, and the least of that one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed import compiled
from testbed.cli.explore import (
    ENGINE,
    Bears,
    Copies,
    Crashes,
    Disks,
    NetworkOption,
    Nodes,
    Omissions,
    Picture,
    Pitfalls,
    Restarts,
    Settings,
    TimeOption,
    asked_for,
    draw,
    schedule_file,
    show_held,
    write_found,
)
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, console, print_json, progress_bar, verb

if TYPE_CHECKING:
    from testbed.explore.random_walks import Hunt
    from testbed.explore.schedule import Asked


def may_be_lost(asked: Asked) -> bool:
    """Whether losing messages adds nothing to their being late, and so goes without saying."""
    from testbed.explore.model import Time
    from testbed.explore.worlds import Network

    return asked.model().time is not Time.TIMELY and asked.rules.network is not Network.SET


@verb
def search(
    engine: Annotated[str, ENGINE],
    schedules: Annotated[int, typer.Option(min=1, help="How many to draw.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="They depend on it and on nothing else.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="How long one may get.")] = 1000,
    nodes: Nodes = None,
    f: Bears = None,
    crashes: Crashes = 0,
    restarts: Restarts = 0,
    disk: Disks = None,
    drops: Annotated[
        int | None, typer.Option(min=0, help="Messages that may be lost (default: any number, of timely ones none).")
    ] = None,
    copies: Copies = 0,
    omissions: Omissions = 0,
    timers: Annotated[int | None, typer.Option(min=0, help="Timers that may fire (default: any number).")] = None,
    network: NetworkOption = None,
    time: TimeOption = None,
    pitfall: Pitfalls = None,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Where a schedule that breaks something is written.")] = None,
    picture: Picture = None,
    json: JsonFlag = False,
) -> None:
    """Draw schedules at random and judge each; shrink the first that breaks something until no step can be spared.

    Exit code 1 when one does.
    """
    compiled.forgo()
    from testbed.explore.random_walks import hunt
    from testbed.explore.schedule import schedule_of, step_data, story
    from testbed.explore.worlds import UNBOUNDED

    lost = drops or 0
    asked = asked_for(
        engine, nodes, f, crashes, restarts, disk, lost, copies, omissions, timers, network, time, pitfall, set_
    )
    if drops is None and may_be_lost(asked):
        asked = replace(asked, rules=replace(asked.rules, drops=UNBOUNDED))
    worlds = asked.worlds()
    with progress_bar() as bar:
        task = bar.add_task(f"searching {engine}", total=schedules, state="")

        def report(found: Hunt) -> None:
            bar.update(task, completed=found.schedules, state=f"{found.schedules:,} schedules, {found.steps:,} steps")

        found = hunt(worlds, schedules, seed, steps, report)
    kept = None
    if found.broken:
        path = out or schedule_file(asked)
        kept = write_found(schedule_of(asked, worlds, found.shrunk, found.broken), path)
        draw(picture, worlds, found.shrunk, f"{engine}: {found.broken}")
    if json:
        data = {"engine": engine, "schedules": found.schedules, "drawn_steps": found.steps}
        data |= {"broken": found.broken or None, "drawn": len(found.path)}
        shrunk = [step_data(worlds, step) for step in found.shrunk]
        print_json({**data, "steps": shrunk, "schedule": None if kept is None else str(kept)})
    else:
        screen = console()
        for line in story(worlds, found.shrunk) if found.broken else ():
            screen.print(line, markup=False, soft_wrap=True)
        screen.print(f"schedules  {found.schedules:,}, of {found.steps:,} steps in all")
        if kept is None:
            show_held(screen, worlds)
        else:
            screen.print(
                f"invariants [bold red]broken[/] after {len(found.path)} steps, of which {len(found.shrunk)} are needed"
            )
            screen.print(f"[dim]schedule: {kept}; told again by: testbed explore --replay {kept}[/]", soft_wrap=True)
    if found.broken:
        raise typer.Exit(EXPECTATION_FAILED)
