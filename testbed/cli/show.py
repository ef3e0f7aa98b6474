"""``testbed show``: all there is to say of one thing that `testbed list` names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.actions.catalogue import Kind
from testbed.cli import completion
from testbed.cli.output import JsonFlag, print_json, verb
from testbed.errors import UserError


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing. story: what it is, in a line. facts: (heading, text). text: its document or its picture, as it is.
    commands: what one may do with it."""

    kind: Kind
    name: str
    story: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    commands: list[str] = field(default_factory=list)


@verb
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A scenario, study, topology, fault, engine, a file or a run (latest: the last one).",
            autocompletion=completion.names,
        ),
    ],
    kind: Annotated[Kind | None, typer.Option(help="Of which kind it is, where several have the name.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show one thing that `testbed list` names: its story, what it consists of, and the commands that use it."""
    found = [shown for each in ([kind] if kind else Kind) if (shown := _FINDERS[each](name)) is not None]
    if not found:
        raise UserError(_unknown(name, kind))
    if json:
        print_json([{**_plain(shown)} for shown in found])
        return
    for place, shown in enumerate(found):
        if place:
            print()
        _print(shown)


def _plain(shown: Shown) -> dict[str, Any]:
    return {
        "kind": shown.kind.value,
        "name": shown.name,
        "story": shown.story,
        "facts": dict(shown.facts),
        "text": shown.text,
        "commands": shown.commands,
    }


def _print(shown: Shown) -> None:
    print(f"{shown.kind.one} {shown.name}: {shown.story}" if shown.story else f"{shown.kind.one} {shown.name}")
    width = max((len(heading) for heading, _ in shown.facts), default=0)
    for heading, text in shown.facts:
        print(f"  {heading:<{width}}  {text}")
    if shown.text:
        print(f"\n{shown.text.rstrip()}\n")
    for command in shown.commands:
        print(f"  {command}")


def _unknown(name: str, kind: Kind | None) -> str:
    from testbed.actions.catalogue import ROWS
    from testbed.scenario.errors import suggestion

    known = [row for each in ([kind] if kind else Kind) for row, _ in ROWS[each]()]
    what = f"no {kind.one}" if kind else "nothing"
    close = suggestion(name, known)
    advice = close if close.startswith("did you mean") else "testbed list tells what there is"
    return f"{name or repr(name)}: {what} of that name; {advice}"


def _document(kind: Kind, name: str) -> Shown | None:
    from testbed.actions.find import check_kind, find_document
    from testbed.scenario.document import read_document, story

    try:
        path = check_kind(find_document(name, kind.value), kind.value)
        text = path.read_text(encoding="utf-8-sig")
        told = story(read_document(text, str(path)))
    except (UserError, OSError, UnicodeDecodeError):
        return None
    verbs = ("run", "explain", "compare") if kind is Kind.SCENARIOS else ("study",)
    return Shown(kind, path.stem, told, text=text, commands=[f"testbed {verb} {name}" for verb in verbs])


def _topology(name: str) -> Shown | None:
    from testbed.topologies.build import KINDS, make_fabric
    from testbed.topologies.draw import draw_text

    if name not in KINDS:
        return None
    found, fabric = KINDS[name], make_fabric(name, {})
    facts = [(f"{key}={value}", found.meanings[key]) for key, value in found.parameters.items()]
    size = f"{len(fabric.hosts)} hosts, {len(fabric.switches)} switches, {len(fabric.links)} links"
    one = next(iter(found.parameters.items()), None)
    setting = f" --set {one[0]}={one[1]}" if one else ""
    commands = [f"testbed up {name}{setting}", f"testbed topo draw {name} -f svg -o {name}.svg"]
    return Shown(Kind.TOPOLOGIES, name, found.description, [*facts, ("so", size)], draw_text(fabric), commands)


def _fault(name: str) -> Shown | None:
    from testbed.faults import VERBS

    if name not in VERBS:
        return None
    found = VERBS[name]
    facts = [("strikes", found.strikes), ("needs", ", ".join(found.needs)), ("is undone by", found.undo)]
    told = [(heading, text) for heading, text in facts if text]
    return Shown(Kind.FAULTS, name, found.meaning, [*told, ("for example", found.example)])


def _engine(name: str) -> Shown | None:
    from testbed.engines.registry import ENGINES

    if name not in ENGINES:
        return None
    command = f"testbed run nic-crash-mid-swap --engine {name}"
    return Shown(Kind.ENGINES, name, ENGINES[name], [], "", [command, "testbed doctor"])


def _consensus(name: str) -> Shown | None:
    from testbed.nodes.registry import engine_names, engine_spec

    if name not in engine_names():
        return None
    spec = engine_spec(name)
    facts = [
        ("bears", spec.rule),
        ("promises", ", ".join(spec.properties) or "nothing: nobody decides"),
        ("made of", "swaps in rounds" if spec.made_of_swaps else "messages"),
        ("keeps", {"instances": "instance by instance", "log": "one log"}.get(spec.order, "a log in a partial order")),
        ("pitfalls", ", ".join(spec.pitfalls)),
    ]
    told = [(heading, text) for heading, text in facts if text]
    runs = [f"testbed run nic-crash-mid-swap --set protocol.consensus={name}"] if spec.made_of_swaps else []
    decides = [f"testbed {'flp' if spec.made_of_swaps else 'search'} {name}"] if spec.decides else []
    return Shown(Kind.CONSENSUS, name, spec.title, told, _settings(name), runs + decides)


def _settings(name: str) -> str:
    """An engine's own settings as a scenario has them: their defaults, or examples where these tell more."""
    from textwrap import wrap

    from testbed.scenario.document import flow
    from testbed.scenario.keys import keys, places
    from testbed.scenario.parameters import parameters_model

    whole, *inner = places(parameters_model(name))
    lines = []
    for key in keys(whole.part):
        default = "" if key.example == key.default else f" (Default: {flow(key.default)})"
        parts = [place.part for place in inner if place.steps[0].key == key.name]
        about = [key.meaning + default, *(f"- {one.name}: {one.meaning}" for part in parts for one in keys(part))]
        lines += [f"# {line}" for text in about for line in wrap(text, 90)]
        lines.append(f"{key.name}: {flow(key.example)}")
    head = [f"protocol:\n  consensus: {name}\n  parameters:"] if lines else []
    return "\n".join(head + [f"    {line}" for line in lines])


def _run(name: str) -> Shown | None:
    from testbed.actions.find import run_directory
    from testbed.runs import RUNS, told_run

    for path in (Path(name), Path(RUNS) / name):
        directory = run_directory(path)
        told = told_run(directory) if directory.is_dir() else None
        if told is not None:
            files = ", ".join(sorted(each.name for each in directory.iterdir() if not each.name.startswith(".")))
            commands = [f"testbed {verb} {directory}" for verb in ("report", "replay")]
            return Shown(Kind.RUNS, str(directory), told, [("holds", files)], commands=commands)
    return None


_FINDERS: dict[Kind, Callable[[str], Shown | None]] = {
    Kind.SCENARIOS: lambda name: _document(Kind.SCENARIOS, name),
    Kind.STUDIES: lambda name: _document(Kind.STUDIES, name),
    Kind.TOPOLOGIES: _topology,
    Kind.FAULTS: _fault,
    Kind.ENGINES: _engine,
    Kind.CONSENSUS: _consensus,
    Kind.RUNS: _run,
}
