"""``testbed up``: a fabric brought up in namespaces of its own, with Mininet's command line on it."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.common import SetOption, named_fabric, path_with_system_folders
from testbed.cli.output import JsonFlag, verb
from testbed.errors import UserError

if TYPE_CHECKING:
    from topologies.fabric import Fabric


@verb
def up(
    name: Annotated[
        str, typer.Argument(help="A scenario, or a kind of topology (see `testbed topo list`).")
    ] = "leaf_spine",
    set_: SetOption = None,
    exec_: Annotated[
        list[str] | None,
        typer.Option("--exec", "-x", metavar="COMMAND", help="Run this in Mininet's command line and end; repeatable."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Bring a fabric up, isolated from the host's network, and open Mininet's command line on it.

    The fabric lives as long as this command: leave with `exit`, or end it from elsewhere with `testbed down`.
    """
    import json as json_module
    import os
    from dataclasses import asdict

    from testbed.cli import fabrics
    from testbed.engines.live.isolation import run_isolated

    if json and not exec_:
        raise UserError("--json goes with --exec: without commands to run there is nothing to report")
    fabric = named_fabric(name, set_)
    for command in exec_ or []:
        check_command(command, fabric)
    document = json_module.dumps({"fabric": asdict(fabric), "exec": exec_ or [], "json": json})
    descriptor = os.memfd_create("fabric")
    os.write(descriptor, document.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    if not json:
        print(f"{fabric.name}: {len(fabric.hosts)} hosts, {len(fabric.switches)} switches", file=sys.stderr)
    os.environ["PATH"] = path_with_system_folders()
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    inside = [sys.executable, "-m", "testbed.cli.inside", str(descriptor)]
    with fabrics.announced(fabric.name):
        # Ctrl-C at Mininet's prompt belongs to the command that runs there, not to the fabric.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if not exec_ else None
        try:
            code = run_isolated(inside, pass_fds=(descriptor,))
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
    if code != 0:
        raise typer.Exit(code)


def check_command(command: str, fabric: Fabric) -> None:
    """Mininet only grumbles at what it does not know, and goes on. Raises UserError."""
    from cmd import Cmd

    from mininet.cli import CLI

    words = command.split(maxsplit=1)
    if words and words[0] in (*fabric.hosts, *fabric.switches):
        if len(words) == 1:
            raise UserError(f"--exec {command!r}: say what {words[0]} is to run, for example '{words[0]} ip addr'")
        return
    name, _, _ = Cmd().parseline(command)
    if not name or not hasattr(CLI, f"do_{name}"):
        raise UserError(
            f"--exec {command!r}: begin with a node of {fabric.name} ({', '.join(fabric.hosts[:3])}, ...) or with a "
            f"command of Mininet's (pingall, net, links, ...)"
        )


def _as_interrupt(number: int, frame: Any) -> None:  # noqa: ARG001
    raise KeyboardInterrupt
