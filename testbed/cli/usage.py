"""How a wrong command line is told: in one line, as every other mistake, and not as a page of help."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from testbed.cli.output import INTERRUPTED, QUIET, USER_ERROR, VERBOSE, say, set_level

_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong command line; the class has no public name."""

_LEVELS = {"-q": QUIET, "--quiet": QUIET, "-v": VERBOSE, "--verbose": VERBOSE}


class Verbs(TyperGroup):
    """The program's verbs. Help for a call without any argument stays help."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        """Run, and end the process with its exit code (unless ``standalone_mode`` is false)."""
        kept, said = split_level(sys.argv[1:] if args is None else args)
        set_level(said)
        if not options.get("standalone_mode", True):
            return super().main(kept, *others, **options)
        try:
            sys.exit(super().main(kept, *others, **{**options, "standalone_mode": False}) or 0)
        except _USAGE_ERROR as error:
            if told := _told(error):
                say(f"error: {told}")
            sys.exit(USER_ERROR)
        except typer.Abort:
            sys.exit(INTERRUPTED)


def split_level(words: Sequence[str]) -> tuple[list[str], str]:
    """A command line without -q and -v, which may stand before and after the verb, and the last of them. What a node is
    to run (exec), and what follows --, is somebody else's."""
    kept: list[str] = []
    said = ""
    verb = next((word for word in words if not word.startswith("-")), "")
    for place, word in enumerate(words):
        if word == "--" or (verb == "exec" and _is_node(words, place)):
            return kept + list(words[place:]), said
        if word in _LEVELS:
            said = _LEVELS[word]
        else:
            kept.append(word)
    return kept, said


def _is_node(words: Sequence[str], place: int) -> bool:
    """Of exec: whether the word is the node, behind which its command begins."""
    before = words[place - 1] if place else ""
    return not words[place].startswith("-") and words[place] != "exec" and before not in ("-f", "--fabric")


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
