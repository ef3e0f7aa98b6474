"""``testbed flp``: what can still be decided, and a schedule along which nothing ever is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed import compiled
from testbed.cli.explore import (
    Bears,
    Crashes,
    Nodes,
    Omissions,
    Picture,
    Pitfalls,
    Settings,
    TimeOption,
    asked_for,
    draw,
    schedule_file,
    write_found,
)
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, console, print_json, progress_bar, verb

if TYPE_CHECKING:
    from rich.console import Console

    from testbed.explore.flp import Ever, Initial, Successor
    from testbed.explore.worlds import Worlds


@verb
def flp(
    engine: Annotated[str, typer.Argument(help="An engine of consensus, or mine.py:Mine, one of your own.")],
    nodes: Nodes = None,
    f: Bears = None,
    steps: Annotated[int, typer.Option(min=1, help="How long the schedule is that decides nothing.")] = 40,
    time: TimeOption = None,
    crashes: Crashes = 0,
    omissions: Omissions = 0,
    timers: Annotated[int | None, typer.Option(min=0, help="Timers that may fire (default: any number).")] = None,
    pitfall: Pitfalls = None,
    set_: Settings = None,
    states: Annotated[int, typer.Option(min=1, help="Configurations to look at for each of the inputs.")] = 20_000,
    out: Annotated[Path | None, typer.Option(help="Where the schedule is written.")] = None,
    picture: Picture = None,
    json: JsonFlag = False,
) -> None:
    """Tell which decisions can be come to from where, and keep an engine from deciding for as long as asked for.

    After Fischer, Lynch and Paterson: which of all inputs leave the decision open (Lemma 2), for each event a way on
    that leaves it open (Lemma 3), and a schedule made of such ways in which every event happens. What was not looked at
    as a whole is never called univalent. Exit code 1 when something is broken, such as agreement.
    """
    compiled.forgo()
    from testbed.explore.flp import Stays, initials, long_enough
    from testbed.explore.schedule import schedule_of, step_data
    from testbed.explore.worlds import Network

    asked = asked_for(
        engine, nodes, f, crashes, 0, None, 0, 0, omissions, timers, str(Network.ANY), time, pitfall, set_
    )
    screen = console()
    found: list[Initial] = []
    with progress_bar() as bar:
        task = bar.add_task(f"{engine}, inputs", total=None, state="")
        for one in initials(asked, states):
            found.append(one)
            bar.update(task, state=f"{len(found)}: {one.valence}")
    broken = next((one.reach.broken for one in found if one.reach is not None and one.reach.broken), "")
    data: dict[str, Any] = {"engine": engine, "broken": broken or None}
    data["initial"] = [_initial_data(one) for one in found]
    if not json:
        for one in found:
            screen.print(_initial_text(one), markup=False, soft_wrap=True)
        screen.print(_lemma_2(found), markup=False, soft_wrap=True)
    start = next((one for one in found if len(one.ways) > 1), None)
    if start is not None and not broken:
        longer = long_enough(start.asked, steps)
        worlds = longer.worlds()
        stays = Stays(worlds)
        successors = [stays.successor(worlds.begin(), event) for event in stays.events(worlds.begin())]
        with progress_bar() as bar:
            task = bar.add_task(f"{engine}, undecided", total=steps, state="")
            ever = stays.ever(steps, lambda done: bar.update(task, completed=done, state=f"{done:,} steps"))
        kept = write_found(schedule_of(longer, worlds, ever.steps, ""), out or schedule_file(asked, ".flp"))
        data["lemma_3"] = [_successor_data(worlds, one) for one in successors]
        data["ever"] = _ever_data(worlds, ever) | {"schedule": str(kept)}
        data["steps"] = [step_data(worlds, step) for step in ever.steps]
        title = f"{engine}, inputs {_inputs_text(start)}: {len(ever.steps)} steps, and nothing is decided"
        draw(picture, worlds, ever.steps, title, ever.ways)
        if not json:
            _show_successors(screen, worlds, successors)
            _show_ever(screen, worlds, ever, kept)
    if json:
        print_json(data)
    elif broken:
        screen.print(f"broken     {broken}: valence says nothing of such an engine", markup=False, soft_wrap=True)
    if broken:
        raise typer.Exit(EXPECTATION_FAILED)


# -- initial configurations --------------------------------------------------------------------------------------------


def _inputs_text(one: Initial) -> str:
    return "each its own" if one.inputs is None else " ".join(map(str, one.inputs))


def _initial_text(one: Initial) -> str:
    from testbed.nodes.core.values import text

    ways = ", ".join(
        f"{text(value)} in {one.ways[value]} steps" if value in one.ways else text(value) for value in one.values
    )
    seen = f"all {one.states:,} configurations" if one.complete else f"{one.states:,} configurations, not all"
    seen = "" if not one.states else f" ({seen})"
    return f"inputs {_inputs_text(one)}  {one.valence}: {ways or 'nothing is decided'}{seen}{_last_bivalent(one)}"


def _last_bivalent(one: Initial) -> str:
    if one.reach is None or one.reach.last_ns is None:
        return ""
    return f"; {one.reach.bivalent:,} bivalent, {_round_text(one)}"


def _round_text(one: Initial) -> str:
    assert one.reach is not None
    assert one.reach.last_ns is not None
    protocol = one.reach.worlds.model.configs[0].protocol
    return f"the last of them in round {max(0, one.reach.last_ns // protocol.period_ns)}"


def _lemma_2(found: list[Initial]) -> str:
    from testbed.explore.flp import Valence

    if any(one.valence is Valence.BIVALENT for one in found):
        start = next((one for one in found if len(one.ways) > 1), None)
        if start is not None:
            return f"Lemma 2    inputs {_inputs_text(start)} leave the decision open"
        return "Lemma 2    it takes a crash, or a loss, to leave the decision open"
    unknown = sum(one.valence is Valence.OPEN for one in found)
    if unknown:
        return f"Lemma 2    no bivalent inputs were found; of {unknown} of {len(found)} it is not known (--states)"
    return "Lemma 2    does not hold here: whatever the inputs are, they settle the decision"


def _initial_data(one: Initial) -> dict[str, Any]:
    from testbed.nodes.core.values import text

    data: dict[str, Any] = {
        "inputs": one.inputs,
        "valence": str(one.valence),
        "values": [text(value) for value in one.values],
        "steps_to": {text(value): length for value, length in one.ways.items()},
        "configurations": one.states,
        "all": one.complete,
    }
    if one.reach is not None:
        data |= {"bivalent": one.reach.bivalent, "last_bivalent_ns": one.reach.last_ns}
    return data


# -- staying undecided -------------------------------------------------------------------------------------------------


def _successor_data(worlds: Worlds, one: Successor) -> dict[str, Any]:
    from testbed.explore.schedule import step_data

    length = None if one.steps is None else len(one.steps)
    return {"event": step_data(worlds, one.due), "bivalent_after": length, "tried": one.tried}


def _ever_data(worlds: Worlds, ever: Ever) -> dict[str, Any]:
    from testbed.nodes.core.values import text

    stuck = None if ever.stuck is None else _successor_data(worlds, ever.stuck)
    ways = {text(value): len(steps) for value, steps in ever.ways.items()}
    return {"length": len(ever.steps), "longest_wait": ever.longest_wait, "steps_to": ways, "stuck": stuck}


def _show_successors(screen: Console, worlds: Worlds, successors: list[Successor]) -> None:
    from testbed.explore.schedule import step_text

    for one in successors:
        length = "none found" if one.steps is None else f"bivalent after {len(one.steps)}"
        screen.print(f"Lemma 3    {length}: {step_text(worlds, one.due)}", markup=False, soft_wrap=True)


def _show_ever(screen: Console, worlds: Worlds, ever: Ever, kept: Path) -> None:
    from testbed.explore.schedule import step_text
    from testbed.nodes.core.values import text

    ways = " and ".join(f"{text(value)} in {len(steps)}" for value, steps in sorted(ever.ways.items()))
    told = f"undecided  {len(ever.steps):,} steps, each to a bivalent configuration; from the last one to {ways}"
    screen.print(told, markup=False, soft_wrap=True)
    screen.print(f"fair       no message and no timer waits for more than {ever.longest_wait} steps")
    if ever.stuck is not None:
        told = f"stuck      no bivalent successor found among {ever.stuck.tried:,}: {step_text(worlds, ever.stuck.due)}"
        screen.print(told, markup=False, soft_wrap=True)
    screen.print(f"[dim]schedule: {kept}; told again by: testbed explore --replay {kept}[/]", soft_wrap=True)
