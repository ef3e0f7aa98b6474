"""``testbed attach``: Mininet's command line on a fabric that runs in the background."""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from testbed.cli import completion
from testbed.cli.output import JsonFlag, verb
from testbed.errors import UserError

_OF_TERMINALS = ("TERM", "DISPLAY", "COLUMNS", "LINES")


@verb
def attach(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The fabric, as `testbed ps` calls it (default: the only one that is up).",
            autocompletion=completion.fabrics,
        ),
    ] = None,
    exec_: Annotated[
        list[str] | None,
        typer.Option("--exec", "-x", metavar="COMMAND", help="Run this in Mininet's command line and end; repeatable."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Open Mininet's command line on a fabric of `testbed up --detach`, or run commands in it.

    Leave with `exit` or Ctrl-D: the fabric stays up, as it is then (`link host1 leaf1 down` lasts). What was started at
    the prompt ends with it. One prompt at a time.
    """
    from testbed.cli import fabrics
    from testbed.cli.up import check_command

    if json and not exec_:
        raise UserError("--json goes with --exec: without commands to run there is nothing to report")
    entry = fabrics.find(name)
    if exec_:
        shape = fabrics.shape_of(entry)
        for command in exec_:
            check_command(command, shape)
    wanted = {
        "exec": exec_ or [],
        "json": json,
        "environment": {name: os.environ[name] for name in _OF_TERMINALS if name in os.environ},
    }
    sys.stdout.flush()
    ours, theirs = fabrics.reporting()
    with ours, fabrics.document(wanted) as told:
        fabrics.come_in(entry, [0, 1, 2, theirs.fileno(), told])
        theirs.close()
        report = fabrics.heard(ours)
        if report is None:
            raise UserError(f"{entry.name}: its prompt ended before it began; testbed logs {entry.name} may tell why")
        with _handing_on(report[0]), _terminal_as_it_was():
            said = ours.recv(1 << 10)
    code = json_module.loads(said)["code"] if said else 128 + signal.SIGKILL
    if code:
        raise typer.Exit(code)


@contextmanager
def _handing_on(pid: int) -> Iterator[None]:
    """Ctrl-C is for what runs at the prompt. Ctrl-Z rests: nothing else may read from its terminal meanwhile."""
    handle = os.pidfd_open(pid)

    def interrupt(*_: object) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGINT)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTSTP: signal.signal(signal.SIGTSTP, signal.SIG_IGN),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(handle)


@contextmanager
def _terminal_as_it_was() -> Iterator[None]:
    before = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        yield
    finally:
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)
