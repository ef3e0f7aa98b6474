"""``testbed explore``: every order in which things can happen, and the shortest way to what is wrong."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed import compiled
from testbed.cli.output import (
    EXPECTATION_FAILED,
    INTERRUPTED,
    JsonFlag,
    console,
    existing,
    overrides,
    print_json,
    progress_bar,
    verb,
)
from testbed.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from testbed.explore.breadth import Found
    from testbed.explore.schedule import Asked
    from testbed.explore.worlds import Step, Worlds

ENGINE = typer.Argument(
    help="An engine, mine.py:Mine (one of your own), link (plain swaps between two nodes), or two_phase_commit."
)
Nodes = Annotated[int | None, typer.Option(min=1, help="How many nodes (default: 3; a link has 2).")]
Bears = Annotated[int | None, typer.Option("--f", min=0, help="Crashes the engine must bear (default: the most).")]
Crashes = Annotated[int, typer.Option(min=0, help="Nodes that may die, between events or in the middle of one.")]
Restarts = Annotated[int, typer.Option(min=0, help="Nodes that may come up again.")]
Disks = Annotated[
    list[str] | None,
    typer.Option("--disk", help="What they may find there: kept, unsynced_lost, torn, lost; repeatable."),
]
Drops = Annotated[int, typer.Option(min=0, help="Messages that may be lost.")]
Copies = Annotated[int, typer.Option(min=0, help="Messages that may come twice.")]
Omissions = Annotated[
    int, typer.Option(min=0, help="Messages of one node that may be lost in each round (--time timely).")
]
Timers = Annotated[int | None, typer.Option(min=0, help="Timers that may fire (rounds of swaps need no limit).")]
NetworkOption = Annotated[
    str | None, typer.Option("--network", help="any order, fifo for each pair, or set: nothing said is ever used up.")
]
TimeOption = Annotated[
    str | None, typer.Option("--time", help="still, own (clocks run as they like), timely (no message is late).")
]
Pitfalls = Annotated[list[str] | None, typer.Option("--pitfall", help="Plant a known bug; repeatable.")]
Picture = Annotated[Path | None, typer.Option(help="Where the schedule is drawn, as SVG.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="depth, handshake, horizon, inputs, seed, instances, rounds; repeatable."
    ),
]


@verb
def explore(
    engine: Annotated[str | None, ENGINE] = None,
    nodes: Nodes = None,
    f: Bears = None,
    crashes: Crashes = 0,
    restarts: Restarts = 0,
    disk: Disks = None,
    drops: Drops = 0,
    copies: Copies = 0,
    omissions: Omissions = 0,
    timers: Timers = None,
    network: NetworkOption = None,
    time: TimeOption = None,
    pitfall: Pitfalls = None,
    set_: Settings = None,
    symmetry: Annotated[
        bool,
        typer.Option(
            "--symmetry",
            help="Of worlds that differ in names of nodes only, look at one, where the engine allows it.",
        ),
    ] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps from the beginning.")] = None,
    states: Annotated[int | None, typer.Option(min=1, help="Stop after so many distinct states.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="What it may take, such as 4G (default: most of what is free).")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Keep the search in this file when it stops; go on with it. It runs what the file holds: trust it."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where a schedule that breaks something is written.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Run a schedule again and tell it, in place of a search.")] = None,
    picture: Picture = None,
    json: JsonFlag = False,
) -> None:
    """Look at every order of messages, timers, losses, crashes and restarts; tell the shortest way to what is wrong.

    Exit code 1 when something is. How many states there are, and how deep they lie, is told as well.
    """
    compiled.forgo()
    if replay is not None:
        _replay(replay, picture, json)
        return
    if engine is None:
        raise UserError("explore needs an engine, such as paxos, or --replay with a schedule")
    from testbed.explore.breadth import End, Search
    from testbed.explore.kept import keep, take_up
    from testbed.explore.schedule import schedule_of
    from testbed.study.fingerprint import code_fingerprint

    asked = asked_for(
        engine, nodes, f, crashes, restarts, disk, drops, copies, omissions, timers, network, time, pitfall, set_
    )
    worlds = asked.worlds()
    full = memory_limit(memory)
    going_on = resume is not None and resume.exists()
    code = code_fingerprint("sim") if resume is not None else ""
    if resume is not None and going_on:
        looking = take_up(resume, asked, code, symmetry)
    else:
        looking = Search(worlds, symmetric=symmetry)
    worlds = looking.worlds
    with progress_bar() as bar, interruptible() as interrupted:
        task = bar.add_task(f"exploring {engine}", total=None, state="")

        def report(level: int, seen: int, left: int) -> None:
            bar.update(task, state=f"level {level}, {seen:,} states, {left:,} to look at")

        def stop() -> End | None:
            return End.INTERRUPTED if interrupted() else End.MEMORY if full() else None

        found = looking.run(states or 1 << 62, depth or 1 << 62, stop, report)
    if resume is not None:
        keep(looking, asked, code, resume)
    kept = None
    if found.broken:
        kept = write_found(schedule_of(asked, worlds, found.path, found.broken), out or schedule_file(asked))
        draw(picture, worlds, found.path, f"{engine}: {found.broken}")
    show(found, asked, worlds, kept, json, looking.renamings if symmetry else None)
    if found.broken:
        raise typer.Exit(EXPECTATION_FAILED)
    if found.end is End.INTERRUPTED:
        raise typer.Exit(INTERRUPTED)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is remembered in place of ending us in the middle of something; a second one ends us."""
    asked: list[int] = []

    def remember(number: int, frame: object) -> None:  # noqa: ARG001
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def asked_for(
    engine: str,
    nodes: int | None,
    f: int | None,
    crashes: int,
    restarts: int,
    disk: list[str] | None,
    drops: int,
    copies: int,
    omissions: int,
    timers: int | None,
    network: str | None,
    time: str | None,
    pitfall: list[str] | None,
    set_: list[str] | None,
) -> Asked:
    """What the options ask for. Raises UserError."""
    from testbed.explore.model import TWO_PHASE_COMMIT, Time
    from testbed.explore.schedule import Asked
    from testbed.explore.worlds import UNBOUNDED, Network, Rules
    from testbed.nodes.core.disk import State
    from testbed.own_engines import Files, engine_called

    usual = Network.SET if engine == TWO_PHASE_COMMIT else Network.ANY
    rules = Rules(
        usual if network is None else _one_of(Network, "--network", network),
        crashes,
        restarts,
        drops,
        copies,
        UNBOUNDED if timers is None else timers,
        tuple(_one_of(State, "--disk", find) for find in disk or [State.KEPT]),
        omissions,
    )
    taken = None if time is None else _one_of(Time, "--time", time)
    return Asked(
        engine_called(engine, Files()) or engine, nodes, f, tuple(pitfall or ()), taken, _settings(set_), rules
    )


def schedule_file(asked: Asked, what: str = "") -> Path:
    """Where a schedule goes unless another file is named."""
    engine = asked.engine if isinstance(asked.engine, str) else asked.engine.object
    return Path(f"{engine}{what}.schedule.yaml")


def _one_of(kind: Any, option: str, word: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise UserError(f"{option} {word}: there are {', '.join(kind)}") from None


_NUMBERS = ("depth", "seed", "instances", "rounds")
_WORDS = ("handshake", "horizon", "inputs")


def _settings(pairs: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in overrides(pairs, example="depth=3"):
        if key not in (*_NUMBERS, *_WORDS):
            raise UserError(f"--set {key}: there are {', '.join((*_NUMBERS, *_WORDS))}")
        if key in _NUMBERS and not value.isdigit():
            raise UserError(f"--set {key}={value}: {key} must be a whole number")
        found[key] = int(value) if key in _NUMBERS else value
    return found


def memory_limit(memory: str | None) -> Callable[[], bool]:
    """Tells whether all memory is taken that may be: what was asked for, or nine tenths of what is free now."""
    from testbed.memory import available_bytes, parse_size

    free = available_bytes()
    try:
        most = parse_size(memory) if memory is not None else 9 * free // 10
    except ValueError as error:
        raise UserError(f"--memory: {error}") from None
    begun = resident_bytes()
    return lambda: resident_bytes() - begun > most


def resident_bytes() -> int:
    """What this process takes."""
    import os

    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def write_found(schedule: Any, path: Path) -> Path:
    """The schedule in a file."""
    from testbed.explore.schedule import write_schedule

    path.write_text(write_schedule(schedule, str(path)), encoding="utf-8")
    return path


def draw(
    picture: Path | None, worlds: Worlds, steps: list[Step], title: str, ways: dict[bytes, list[Step]] | None = None
) -> None:
    """The schedule as a picture, where one is asked for; ways: how it may go on."""
    if picture is not None:
        from testbed.report.schedule_diagram import schedule_diagram

        picture.write_text(schedule_diagram(worlds, steps, title, ways), encoding="utf-8")


_COVERED = {
    "all": "all of them",
    "broken": "up to the first that is wrong",
    "states": "as many as were asked for; what lies beyond is not known",
    "memory": "as many as memory allows (--memory); what lies beyond is not known",
    "interrupted": "until it was interrupted (--resume FILE keeps a search); what lies beyond is not known",
    "depth": "as many steps as were asked for; what lies beyond is not known",
}


def show(
    found: Found, asked: Asked, worlds: Worlds, kept: Path | None, json: bool, renamings: int | None = None
) -> None:
    """What a search has seen, and the shortest way to what is wrong. renamings: how many worlds one stands for."""
    from testbed.explore.schedule import step_data, story

    if json:
        steps = [step_data(worlds, step) for step in found.path]
        data = {"engine": str(asked.engine), "end": str(found.end), "distinct_states": found.states}
        data |= {"generated_states": found.made, "depth": found.levels, "broken": found.broken or None}
        data |= {} if renamings is None else {"renamings": renamings}
        print_json({**data, "steps": steps, "schedule": None if kept is None else str(kept)})
        return
    screen = console()
    for line in story(worlds, found.path) if found.broken else ():
        screen.print(line, markup=False, soft_wrap=True)
    screen.print(f"states     {found.states:,} distinct, {found.made + 1:,} generated; depth {found.levels}")
    screen.print(f"covered    {_COVERED[found.end]}")
    if renamings is not None:
        alike = f"names change in {renamings} ways" if renamings > 1 else "none: this engine tells its nodes apart"
        screen.print(f"symmetry   {alike}")
    if found.broken:
        screen.print(f"invariants [bold red]broken[/] after {len(found.path)} steps")
    else:
        show_held(screen, worlds)
    if kept is not None:
        screen.print(f"[dim]schedule: {kept}; told again by: testbed explore --replay {kept}[/]", soft_wrap=True)


def show_held(screen: Console, worlds: Worlds) -> None:
    """All invariants held: which, and what each says."""
    screen.print(f"invariants [green]held[/]: {', '.join(one.name for one in worlds.model.invariants)}")
    for one in worlds.model.invariants:
        screen.print(f"{'':<10} {one.name}: {one.means}", soft_wrap=True)


def _replay(path: Path, picture: Path | None, json: bool) -> None:
    from testbed.explore.schedule import read_schedule, replay, step_data, story

    schedule = read_schedule(existing(path, "schedule").read_text(encoding="utf-8"), str(path))
    worlds = schedule.asked.worlds()
    steps = replay(worlds, schedule.steps)
    world = worlds.begin()
    for step in steps:
        world = worlds.after(world, step)
    broken = worlds.broken(world)
    draw(picture, worlds, steps, f"{schedule.asked.engine}: {broken or 'every invariant holds'}")
    if json:
        print_json({"steps": [step_data(worlds, step) for step in steps], "broken": broken or None})
    else:
        for line in story(worlds, steps):
            console().print(line, markup=False, soft_wrap=True)
        if not broken:
            print("every invariant holds")
    if broken:
        raise typer.Exit(EXPECTATION_FAILED)
