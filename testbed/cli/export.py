"""``testbed export``: a fabric written down for other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from testbed.cli.common import CustomOption, SetOption, named_fabric
from testbed.cli.output import JsonFlag, print_json, verb
from testbed.errors import UserError


@verb
def export(
    tool: Annotated[Literal["containerlab", "kathara", "mininet"], typer.Argument(help="For which tool.")],
    name: Annotated[
        str,
        typer.Argument(help="A kind of topology (see `testbed topo list`) or a scenario; with --custom a name in it."),
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A directory (default: named after both).")] = None,
    set_: SetOption = None,
    custom: CustomOption = None,
    json: JsonFlag = False,
) -> None:
    """Write a fabric for containerlab, Kathara or stock Mininet: nodes, links, forwarding, what links do.

    What the tool can't express is told on stderr and in comments. Files that are there already are not touched.
    """
    from testbed.export import TOOLS

    fabric = named_fabric(name, set_, custom)
    called = fabric.name if custom is not None else Path(name).stem
    exported = TOOLS[tool](fabric, called)
    folder = out if out is not None else Path(f"{called}-{tool}")
    there = [path for path in (folder / file for file in exported.files) if path.exists()]
    if there:
        raise UserError(f"{there[0]}: is there already; remove it, or name another directory with --out")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in exported.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    for remark in exported.remarks:
        print(f"testbed: {tool}: {remark}", file=sys.stderr)
    written = [str(folder / file) for file in exported.files]
    if json:
        print_json({"tool": tool, "files": written, "remarks": list(exported.remarks)})
    else:
        print(written[0] + (f" and {len(written) - 1} more files" if len(written) > 1 else ""))
