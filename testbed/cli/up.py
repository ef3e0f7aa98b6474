"""``testbed up``: a fabric brought up in namespaces of its own, with Mininet's command line on it."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.common import SetOption, named_ground, path_with_system_folders
from testbed.cli.output import JsonFlag, verb
from testbed.engines.base import SCRATCH
from testbed.errors import UserError
from testbed.plan import Container

if TYPE_CHECKING:
    from testbed.engines.live.containers.settings import Settings
    from topologies.fabric import Fabric


class Nodes(StrEnum):
    """What a host is."""

    NAMESPACE = "namespace"
    CONTAINER = "container"


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
    nodes: Annotated[
        Nodes | None, typer.Option(help="What hosts are (default: what the scenario says, else namespaces).")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Bring a fabric up, isolated from the host's network, and open Mininet's command line on it.

    The fabric lives as long as this command: leave with `exit`, or end it from elsewhere with `testbed down`.
    """
    import json as json_module
    import os

    from testbed.cli import fabrics
    from testbed.engines.live.isolation import run_isolated

    if json and not exec_:
        raise UserError("--json goes with --exec: without commands to run there is nothing to report")
    fabric, container = named_ground(name, set_)
    if nodes is not None:
        container = (container or Container()) if nodes is Nodes.CONTAINER else None
    for command in exec_ or []:
        check_command(command, fabric)
    if not json:
        print(f"{fabric.name}: {len(fabric.hosts)} hosts, {len(fabric.switches)} switches", file=sys.stderr)
    os.environ["PATH"] = path_with_system_folders()
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    with fabrics.announced(fabric.name), _hosted(container) as settings:
        described: dict[str, Any] = {"fabric": asdict(fabric), "exec": exec_ or [], "json": json}
        if settings is not None:
            described |= {"settings": asdict(settings), "container": asdict(container or Container())}
        descriptor = os.memfd_create("fabric")
        os.write(descriptor, json_module.dumps(described).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        inside = [sys.executable, "-m", "testbed.cli.inside", str(descriptor)]
        passed = (descriptor,) if settings is None else (descriptor, settings.host_proc)
        # Ctrl-C at Mininet's prompt belongs to the command that runs there, not to the fabric.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if not exec_ else None
        try:
            code = run_isolated(inside, pass_fds=passed)
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
    if code != 0:
        raise typer.Exit(code)


@contextmanager
def _hosted(container: Container | None) -> Iterator[Settings | None]:
    """How containers are made, where hosts are containers; none is left afterwards."""
    if container is None:
        yield None
        return
    from testbed.engines.live.containers.hosting import hosted

    with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}up-") as scratch, hosted(Path(scratch)) as settings:
        print(
            f"containers: oae-{settings.run}-<host>, as in: docker exec -it oae-{settings.run}-host1 sh",
            file=sys.stderr,
        )
        yield settings


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
