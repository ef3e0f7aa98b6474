"""How a wrong command line is told: in one line, as every other mistake, and not as a page of help."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from testbed.cli.output import INTERRUPTED, USER_ERROR, say

_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong command line; the class has no public name."""


class Verbs(TyperGroup):
    """The program's verbs. Help for a call without any argument stays help."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run, and end the process with its exit code (unless ``standalone_mode`` is false)."""
        if not options.get("standalone_mode", True):
            return super().main(*args, **options)
        try:
            sys.exit(super().main(*args, **{**options, "standalone_mode": False}) or 0)
        except _USAGE_ERROR as error:
            if told := _told(error):
                say(f"error: {told}")
            sys.exit(USER_ERROR)
        except typer.Abort:
            sys.exit(INTERRUPTED)


def _told(error: Any) -> str:
    """``run: missing argument 'scenario'; testbed run --help tells what it takes``; nothing where help was printed."""
    what = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    if not what:
        return ""
    if error.ctx is None:
        return f"{what[:1].lower()}{what[1:]}; --help tells what it takes"
    program, *verb = error.ctx.command_path.split()
    where = f"{' '.join(verb)}: " if verb else ""
    advice = f"{' '.join([program, *verb])} --help tells what it takes"
    return f"{where}{what[:1].lower()}{what[1:]}{'' if what.endswith('?') else ';'} {advice}"
