"""``testbed logs``: what a fabric in the background has said."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from testbed.cli import completion
from testbed.cli.output import verb

_POLL_S = 0.2


@verb
def logs(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The fabric, as `testbed ps` calls it (default: the only one that is up).",
            autocompletion=completion.fabrics,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the fabric ends, or Ctrl-C.")] = False,
) -> None:
    """Print what a fabric of `testbed up --detach` has said: how it came up, prompts that were attached and what was
    typed there, what went wrong. It is kept in memory, as long as the fabric is up.
    """
    from testbed.cli import fabrics

    entry = fabrics.find(name)
    with fabrics.said_by(entry) as said:
        while True:
            sys.stdout.write(said.read())
            sys.stdout.flush()
            if not follow or not fabrics.is_up(entry):
                break
            time.sleep(_POLL_S)
