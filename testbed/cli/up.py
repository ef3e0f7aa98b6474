"""``testbed up``: a fabric brought up in namespaces of its own, with Mininet's command line on it."""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from testbed.cli import completion, fabrics
from testbed.cli.common import CustomOption, SetOption, named_ground, path_with_system_folders, unknown_node
from testbed.cli.output import DEFECT, JsonFlag, note, print_json, verb
from testbed.engines.base import SCRATCH
from testbed.engines.live.isolation import isolated_popen
from testbed.errors import UserError
from testbed.plan import Container

if TYPE_CHECKING:
    from testbed.engines.live.containers.settings import Settings
    from testbed.topologies.fabric import Fabric


class Kernel(StrEnum):
    """Whose kernel the fabric is in."""

    LIVE = "live"
    VKERNEL = "vkernel"


class Nodes(StrEnum):
    """What a host is."""

    NAMESPACE = "namespace"
    CONTAINER = "container"


@verb
def up(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A scenario, a kind of topology (see `testbed topo list`; default: leaf_spine), or a file of one: "
            "lab.clab.yml of containerlab's, .graphml, .adj; with --custom a name in the file, with arguments as "
            "Mininet takes them: mytopo,3.",
            autocompletion=completion.grounds,
        ),
    ] = None,
    set_: SetOption = None,
    custom: CustomOption = None,
    exec_: Annotated[
        list[str] | None,
        typer.Option("--exec", "-x", metavar="COMMAND", help="Run this in Mininet's command line and end; repeatable."),
    ] = None,
    nodes: Annotated[
        Nodes | None, typer.Option(help="What hosts are (default: what the scenario says, else namespaces).")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it up in the background; `testbed down` ends it.")
    ] = False,
    called: Annotated[
        str | None, typer.Option("--name", help="What it is called in ps, exec and down (default: as its topology).")
    ] = None,
    engine: Annotated[
        Kernel, typer.Option("--engine", "-e", help="This host's kernel, or one in virtual time (with -x only).")
    ] = Kernel.LIVE,
    json: JsonFlag = False,
) -> None:
    """Bring a fabric up, isolated from the host's network, and open Mininet's command line on it.

    The fabric lives as long as this command: leave with `exit`, or end it from elsewhere with `testbed down`. With
    --detach it stays up when the command has returned; `testbed attach` opens a prompt on it. Links are impaired by
    --set links.default.delay=10ms, for a kind of topology, too.

    With -e vkernel the commands of -x run on a kernel in virtual time, in which delays are exact, without root.
    """
    if engine is Kernel.VKERNEL:
        _check_virtual(exec_, detach, nodes)
    if detach and exec_:
        raise UserError("--exec does not go with --detach; run commands in it with: testbed exec host1 ip addr")
    if json and not exec_ and not detach:
        raise UserError("--json goes with --exec or --detach: without commands to run there is nothing to report")
    fabric, container = named_ground("leaf_spine" if name is None and not custom else name or "", set_, custom)
    name = name or fabric.name
    if nodes is not None:
        container = (container or Container()) if nodes is Nodes.CONTAINER else None
    for command in exec_ or []:
        check_command(command, fabric)
    if not json:
        note(f"{fabric.name}: {len(fabric.hosts)} hosts, {len(fabric.switches)} switches")
    os.environ["PATH"] = path_with_system_folders()
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    if engine is Kernel.VKERNEL:
        _in_virtual_time(fabric, container, exec_ or [], json)
        return
    job = {"fabric": asdict(fabric), "exec": exec_ or [], "json": json, "detached": detach}
    if detach:
        entry = in_background(
            lambda told: _hold(fabric, container, (Path(name).stem.removesuffix(".clab"), called), job, told)
        )
        if json:
            print_json(asdict(entry))
        else:
            print(f"{entry.name} is up; testbed down {entry.name} ends it")
        return
    code = _hold(fabric, container, (Path(name).stem.removesuffix(".clab"), called), job, lambda _: None)
    if code != 0:
        raise typer.Exit(code)


def _check_virtual(commands: list[str] | None, detach: bool, nodes: Nodes | None) -> None:
    """Raises UserError for what a fabric in virtual time can't be asked for."""
    if nodes is Nodes.CONTAINER:
        raise UserError("-e vkernel: up has no containers in virtual time; testbed run -e vkernel has")
    if detach or not commands:
        wish = "--detach" if detach else "a prompt"
        raise UserError(
            f"-e vkernel does not go with {wish}: its clock stands still while it waits for somebody; give commands, "
            "as in: testbed up leaf_spine -e vkernel -x pingall"
        )


def _in_virtual_time(fabric: Fabric, container: Container | None, commands: list[str], json: bool) -> None:
    from testbed.cli.prompt import exit_code, print_said
    from testbed.cli.virtual import in_virtual_time

    if container is not None:
        print("testbed: hosts are plain namespaces here: up has no containers in virtual time", file=sys.stderr)
    results = in_virtual_time(fabric, commands)
    if json:
        print_json(results)
    else:
        for result in results:
            print_said(result["output"])
    if code := exit_code(results):
        raise typer.Exit(code)


def _hold(
    fabric: Fabric,
    container: Container | None,
    called: tuple[str, str | None],
    job: dict[str, Any],
    told: Callable[[fabrics.Running], None],
) -> int:
    """Brings the fabric up and stays with it; the exit code of what ran inside. called: as what the user asked for, and
    how it is to be called. ``told`` once it is up."""
    announced = fabrics.announced(fabric, *called, detached=job["detached"])
    with announced as (name, tell), _hosted(container) as settings, ExitStack() as kept:
        if settings is not None:
            job |= {"settings": asdict(settings), "container": asdict(container or Container())}
        ours, theirs = fabrics.reporting()
        passed = [theirs.fileno(), *(() if settings is None else (settings.host_proc,))]
        if job["detached"]:
            door = kept.enter_context(fabrics.opened_door())
            job |= {"door": door.fileno()}
            passed.append(door.fileno())
        descriptor = kept.enter_context(fabrics.document(job | {"called": name, "report": theirs.fileno()}))
        passed.append(descriptor)
        # Ctrl-C at Mininet's prompt belongs to the command that runs there, not to the fabric.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if not job["exec"] else None
        process = None
        try:
            process = isolated_popen([sys.executable, "-m", "testbed.cli.inside", str(descriptor)], pass_fds=passed)
            theirs.close()
            report = fabrics.heard(ours)
            if report is not None:
                told(tell(report))
            return process.wait()
        except BaseException:
            if process is not None:
                process.kill()
                process.wait()
            raise
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)


def in_background(hold: Callable[[Callable[[fabrics.Running], None]], int]) -> fabrics.Running:
    """Has a process in the background ``hold`` a fabric; returns when it is up. Raises Exit when it can't be."""
    read, write = os.pipe()
    log = os.memfd_create("log")  # the disk may be what is full
    child = os.fork()
    if child == 0:
        os.close(read)
        _be_in_background(hold, write, log)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as told, os.fdopen(log, encoding="utf-8", errors="replace") as said:
        text = told.read()
        if text:
            return fabrics.Running(**json_module.loads(text))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        print(said.read(), end="", file=sys.stderr)
    raise typer.Exit(code if code > 0 else DEFECT)


def _be_in_background(hold: Callable[[Callable[[fabrics.Running], None]], int], write: int, log: int) -> NoReturn:
    """A session of its own, without a terminal. log: what it prints goes there, and is read if it does not come up."""
    code = DEFECT

    def told(entry: fabrics.Running) -> None:
        os.write(write, json_module.dumps(asdict(entry)).encode())
        os.close(write)

    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for stream, leads_to in enumerate((nowhere, log, log)):
            os.dup2(leads_to, stream)
        code = verb(hold)(told)
    except typer.Exit as end:
        code = end.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


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
    from testbed.cli.prompt import Prompt

    words = command.split(maxsplit=1)
    if words and words[0] in (*fabric.hosts, *fabric.switches):
        if len(words) == 1:
            raise UserError(f"--exec {command!r}: say what {words[0]} is to run, for example '{words[0]} ip addr'")
        return
    if not words or not Prompt.has(command):
        told = f"; {unknown_node(words[0], fabric.hosts, fabric.switches)}" if words else ""
        raise UserError(
            f"--exec {command!r}: begin with a node of {fabric.name} or with a command of Mininet's "
            f"(pingall, net, links, ...){told}"
        )


def _as_interrupt(number: int, frame: Any) -> None:  # noqa: ARG001
    raise KeyboardInterrupt
