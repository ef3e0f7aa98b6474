"""``testbed exec``: a command in a node of a running fabric."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from testbed.cli import completion
from testbed.cli.output import verb
from testbed.errors import UserError


@verb
def exec_(
    node: Annotated[str, typer.Argument(help="A host or a switch of the fabric.", autocompletion=completion.nodes)],
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    fabric: Annotated[
        str | None,
        typer.Option(
            "--fabric", "-f", help="Which fabric (default: the only one that is up).", autocompletion=completion.fabrics
        ),
    ] = None,
) -> None:
    """Run a command in a node of a running fabric; its exit code is the command's.

    The node has network interfaces, processes and a /sys of its own; a host that is a container has files of its own
    as well, others share this machine's; switches share their interfaces. Hosts are known by name, as in ping host2.
    Options stand before the node.
    """
    from testbed.cli import fabrics
    from testbed.cli.common import path_with_system_folders, unknown_node

    entry = fabrics.find(fabric)
    if not entry.inside:
        raise UserError(f"{entry.name} is still coming up")
    if node not in entry.nodes:
        raise UserError(f"{entry.name}: {unknown_node(node, tuple(entry.hosts), entry.switches)}")
    os.environ["PATH"] = path_with_system_folders()
    command = command[1:] if command[0] == "--" and command[1:] else command  # as kubectl and docker users write it
    if node in entry.commands:
        in_container = [*entry.commands[node], *command]
        os.execvp(in_container[0], in_container)
    from testbed.engines.live.enter import run_in_node

    code = run_in_node(entry.inside, entry.hosts.get(node, ""), command)
    if code:
        raise typer.Exit(code)
