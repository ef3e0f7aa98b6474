"""The entry point: ``testbed``."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from typing import Annotated

import typer

from testbed.cli import (
    attach,
    cap,
    capture,
    check,
    clean,
    compare,
    doctor,
    down,
    explain,
    explore,
    export,
    fit,
    flp,
    image,
    kernel,
    listing,
    logs,
    play,
    ps,
    replay,
    report,
    run,
    schema,
    search,
    serve,
    show,
    study,
    topo,
    up,
)
from testbed.cli.exec import exec_
from testbed.cli.output import DEFECT, verb
from testbed.cli.usage import Verbs


def _print_version(wanted: bool) -> None:
    if wanted:
        from testbed.actions.origin import told_version

        print(f"testbed {told_version()}")
        raise typer.Exit


app = typer.Typer(
    name="testbed",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and end.", is_eager=True, callback=_print_version)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say more of what goes on, and where errors came from.")
    ] = False,
) -> None:
    """Find out where bisynchrony breaks: on which fabric, at which jitter, under which NIC crash.

    -q and -v go before or after the verb.
    """


app.command("doctor")(doctor.doctor)
app.command("list")(listing.list_)
app.command("show")(show.show)
app.command("scenarios")(listing.scenarios)
app.add_typer(topo.app, name="topo")
app.command("schema")(schema.schema)
app.command("explain")(explain.explain)
app.command("fit")(fit.fit)
app.command("export")(export.export)
app.command("up")(up.up)
app.command("ps")(ps.ps)
app.command("exec", context_settings={"allow_interspersed_args": False})(exec_)
app.command("attach")(attach.attach)
app.command("logs")(logs.logs)
app.command("capture")(capture.capture)
app.command("down")(down.down)
app.command("play")(play.play)
app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("study")(study.study)
app.command("check")(check.check)
app.command("explore")(explore.explore)
app.command("search")(search.search)
app.command("flp")(flp.flp)
app.command("cap")(cap.cap)
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.command("replay")(replay.replay)
app.add_typer(kernel.app, name="kernel")
app.add_typer(image.app, name="image")
app.command("clean")(clean.clean)


def _open_what_is_closed() -> None:
    """Standard streams that the caller closed lead to /dev/null: else the next file to be opened takes their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _build_only(typed: str) -> None:
    """Of all verbs the one that was typed, if it is one: building forty takes a fifth of a short command's time."""
    chosen = [command for command in app.registered_commands if command.name == typed]
    groups = [group for group in app.registered_groups if group.name == typed]
    if chosen or groups:
        app.registered_commands, app.registered_groups = chosen, groups


def main() -> None:
    """Run the command line and exit with its code."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows no µ gets \\xb5 instead of a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _build_only(next((word for word in sys.argv[1:] if not word.startswith("-")), ""))
    try:
        verb(app)()  # help is printed outside of all verbs
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich ends with 1, which here means a failed expectation
            sys.exit(128 + signal.SIGPIPE)
        raise
    except Exception:
        traceback.print_exc()
        print("testbed: this is a defect of the testbed, please report it with the lines above", file=sys.stderr)
        sys.exit(DEFECT)


if __name__ == "__main__":
    main()
