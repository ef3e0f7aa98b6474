"""``testbed topo list|show|draw``: what fabrics there are and what they look like."""

from __future__ import annotations

from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from testbed.cli.common import CustomOption, SetOption, named_fabric
from testbed.cli.output import JsonFlag, console, print_json, verb

if TYPE_CHECKING:
    from testbed.scenario.model import Part

app = typer.Typer(help="Topologies: list them, show one, draw one.", no_args_is_help=True)
Name = Annotated[
    str,
    typer.Argument(
        help="A kind of topology (see `topo list`), a file of one (lab.clab.yml) or a scenario; with --custom a name "
        "in the file."
    ),
]


@app.command("list")
@verb
def list_(json: JsonFlag = False) -> None:
    """List the kinds of topology and their parameters."""
    from testbed import plugins
    from testbed.scenario.model import TOPOLOGY_MODELS

    found = [_kind(name, model) for name, model in TOPOLOGY_MODELS.items() if name != "custom"]
    for name in plugins.names(plugins.TOPOLOGIES, TOPOLOGY_MODELS):
        found.append(
            {"kind": name, "parameters": {}, "description": f"of {plugins.brought_by(plugins.TOPOLOGIES, name)}"}
        )
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("kind", "parameters", "what it is"):
        table.add_column(heading)
    for kind in found:
        chosen = ", ".join(f"{key}={value}" for key, value in kind["parameters"].items())
        table.add_row(kind["kind"], chosen, kind["description"])
    console().print(table)


def _kind(name: str, model: type[Part]) -> dict[str, Any]:
    """What may be chosen of a kind, with the defaults; ``...`` stands for what has none."""
    parameters = {
        field.alias or key: "..." if field.is_required() else field.default
        for key, field in model.model_fields.items()
        if key != "kind"
    }
    return {"kind": name, "parameters": parameters, "description": (getdoc(model) or "").split("\n")[0]}


@app.command("show")
@verb
def show(name: Name = "", set_: SetOption = None, custom: CustomOption = None, json: JsonFlag = False) -> None:
    """Show hosts, switches, links with what each direction does, and forwarding."""
    from dataclasses import asdict

    from testbed.topologies.draw import describe

    fabric = named_fabric(name, set_, custom)
    if json:
        print_json(asdict(fabric))
        return
    from rich.table import Table

    screen = console()
    counts = f"{len(fabric.hosts)} hosts, {len(fabric.switches)} switches, {len(fabric.links)} links"
    screen.print(f"[bold]{fabric.name}[/]: {counts}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("link", "NICs", "there", "back"):
        table.add_column(heading)
    for link in fabric.links:
        table.add_row(link.name, f"{link.a.nic} {link.b.nic}", describe(link.ab), describe(link.ba))
    screen.print(table)
    entries = sum(len(table) for table in fabric.forwarding.values())
    screen.print(f"[dim]forwarding: {entries} static entries, no flooding[/]")


@app.command("draw")
@verb
def draw(
    name: Name = "",
    format_: Annotated[
        Literal["text", "svg", "mermaid", "dot"], typer.Option("--format", "-f", help="Which language.")
    ] = "text",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it to this file.")] = None,
    set_: SetOption = None,
    custom: CustomOption = None,
    json: JsonFlag = False,
) -> None:
    """Draw a fabric as text, a picture (SVG), Mermaid or Graphviz. All but Graphviz draw large ones as groups."""
    from testbed.topologies.draw import draw_dot, draw_mermaid, draw_text
    from testbed.topologies.svg import draw_svg

    painters = {"text": draw_text, "svg": draw_svg, "mermaid": draw_mermaid, "dot": draw_dot}
    drawn = painters[format_](named_fabric(name, set_, custom))
    if out is not None:
        out.write_text(drawn, encoding="utf-8")
    elif json:
        print_json({"format": format_, "drawing": drawn})
    else:
        print(drawn, end="" if drawn.endswith("\n") else "\n")
