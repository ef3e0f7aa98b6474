"""``testbed ps``: the fabrics that this user has up."""

from __future__ import annotations

from testbed.cli.output import JsonFlag, console, print_json, verb


@verb
def ps(json: JsonFlag = False) -> None:
    """List this user's running fabrics (those of `testbed up`) and their nodes."""
    from dataclasses import asdict

    from rich.table import Table

    from testbed.cli import fabrics

    found = fabrics.running()
    if json:
        print_json({"fabrics": [asdict(entry) | {"nodes": entry.nodes} for entry in found]})
        return
    if not found:
        print("No fabric of yours is up.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("name", "topology", "process", "nodes"):
        table.add_column(heading, overflow="fold")
    for entry in found:
        table.add_row(entry.name, entry.fabric, str(entry.pid), ", ".join(entry.nodes) or "coming up")
    console().print(table)
