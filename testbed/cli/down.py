"""``testbed down``: end the fabrics that this user has up."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli import completion
from testbed.cli.output import JsonFlag, print_json, verb


@verb
def down(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The one to end, as `testbed ps` calls it (default: all).", autocompletion=completion.fabrics
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """End this user's running fabrics (those of `testbed up`), and nothing else."""
    from dataclasses import asdict

    from testbed.cli import fabrics

    found = fabrics.running() if name is None else [fabrics.find(name)]
    for entry in found:
        fabrics.end(entry)
    fabrics.running()
    if json:
        print_json({"ended": [asdict(entry) for entry in found]})
    elif not found:
        print("No fabric of yours is up.")
    else:
        for entry in found:
            print(f"{entry.name} (process {entry.pid}) is down.")
