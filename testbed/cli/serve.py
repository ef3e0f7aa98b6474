"""``testbed serve``: runs and studies in a browser on this machine."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.output import JsonFlag, print_json, verb


@verb
def serve(
    folder: Annotated[Path, typer.Argument(help="The folder of runs and studies.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any that is free.")] = 8080,
    host: Annotated[str, typer.Option(help="127.0.0.1 or ::1; others can't reach either.")] = "127.0.0.1",
    json: JsonFlag = False,
) -> None:
    """Show runs and studies, with the progress of those that go on, in a browser on this machine. Ctrl-C ends it."""
    from testbed.serve.server import Server
    from testbed.serve.shelf import Shelf

    with Server(Shelf(folder), host, port) as server:
        if json:
            print_json({"url": server.url})
        else:
            print(f"{folder} at {server.url} (Ctrl-C ends it)")
        sys.stdout.flush()  # who reads it from a pipe waits for it
        with suppress(KeyboardInterrupt):
            server.serve_forever()
