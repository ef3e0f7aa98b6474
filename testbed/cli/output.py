"""What the verbs share: where words go, how errors end, how JSON is printed.

Results go to stdout, progress and errors to stderr; the command line ends with one of EXIT_CODES.
"""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TextIO, TypeVar, cast

import typer

from testbed.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

P = ParamSpec("P")
R = TypeVar("R")

EXPECTATION_FAILED = 1
USER_ERROR = 2
DEFECT = 70  # EX_SOFTWARE of sysexits.h: never taken for an expectation that failed
INTERRUPTED = 130

EXIT_CODES = {
    0: "it worked, and what was expected held",
    EXPECTATION_FAILED: "an expectation that was stated failed",
    USER_ERROR: "something to mend: one line says what, where and how; or an engine that this host cannot run",
    DEFECT: "a defect of the testbed itself",
    INTERRUPTED: "interrupted",
}
"""What the command line ends with."""

_UNBROKEN = 100_000  # columns, more than any row takes
_FILLED = re.compile(r" +$", re.MULTILINE)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_ADVICE = {
    **dict.fromkeys(_NO_ROOM, "make room, or work in another directory"),
    errno.EROFS: "work in a directory that can be written to",
    errno.EACCES: "work in a directory that is yours",
    errno.EPERM: "work in a directory that is yours",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "is the name right?",
    errno.ENOTDIR: "a directory is wanted there",
    errno.EEXIST: "name another, or move what is there",
    errno.EISDIR: "a file is wanted there",
}

QUIET, VERBOSE = "quiet", "verbose"
_level = ""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Wraps a verb: errors that are the user's business become one clear line and exit code 2."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            try:
                return function(*args, **kwargs)
            finally:
                if sys.stdout is not None:  # whoever started us may have closed it
                    sys.stdout.flush()  # what is buffered would be written after the last word on the exit code
        except KeyboardInterrupt as stop:
            say(f"interrupted; {stop.args[0] if stop.args else 'to begin again'}: {_command_line()}")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _print_no_more()
            raise typer.Exit(128 + signal.SIGPIPE) from None
        except Exception as error:
            if not _is_users_business(error):
                raise
            if isinstance(error, OSError) and error.filename is None and error.errno in _NO_ROOM:
                _print_no_more()
            if _level == VERBOSE:
                traceback.print_exception(error)
            fail(_told(error))

    wrapped.__doc__ = _rewrapped(function.__doc__)
    return wrapped


def _command_line() -> str:
    """What was typed, for a shell."""
    return shlex.join(["testbed", *sys.argv[1:]])


def _print_no_more() -> None:
    """What could not be written is still in the stream's buffer, and would be tried again when the program ends."""
    with suppress(io.UnsupportedOperation):  # not a file: nothing is tried again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _rewrapped(text: str | None) -> str | None:
    """A verb's help for any width: typer joins the lines of the first paragraph only."""
    return text and "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _is_users_business(error: Exception) -> bool:
    from testbed.nodes.core.own import OwnEngineError

    if isinstance(
        error, (UserError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
    ):
        return True
    return (type(error) is OSError and error.errno in _ADVICE) or isinstance(error, OwnEngineError)


def _told(error: Exception) -> str:
    """What went wrong; of files and directories also where and what to do, in place of the error's number."""
    if not isinstance(error, OSError) or error.errno not in _ADVICE:
        return str(error)
    if error.filename is None and error.errno not in _NO_ROOM:
        return str(error)
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{os.strerror(error.errno)}; {_ADVICE[error.errno]}"


def fail(text: str, code: int = USER_ERROR) -> NoReturn:
    """End with one clear line on stderr."""
    say(f"error: {text}")
    raise typer.Exit(code)


def set_level(level: str) -> None:
    """QUIET, VERBOSE, or what is usual."""
    global _level
    _level = level


def note(text: str) -> None:
    """What those who asked for quiet do not want to hear, on stderr."""
    if _level != QUIET:
        print(text, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """A line about the work itself."""
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def print_json(data: Any) -> None:
    """One JSON document on stdout, readable there whatever its encoding."""
    ascii_only = "utf" not in (sys.stdout.encoding or "").lower()
    print(json.dumps(data, indent=2, sort_keys=True, default=str, ensure_ascii=ascii_only))


def console() -> Console:
    """Where results for people go: as wide as the terminal; where there is none, each row on a line of its own, unless
    COLUMNS says otherwise."""
    from rich.console import Console

    class Screen(Console):
        """rich would end the program with 1 when its reader goes away, which here means a failed expectation."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Screen(highlight=False)
    return Screen(highlight=False, width=_UNBROKEN, file=cast("TextIO", _Trimmed()))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], pale: Sequence[str] = ()) -> None:
    """Rows below their headings, without the columns that hold nothing anywhere ("", "–", or one of ``pale``). Where
    the terminal is too narrow for them, each cell behind its heading, as many to a line as there is room for: nothing
    is cut, and no cell is broken before it must be. Cells are rich's markup."""
    from rich.table import Table
    from rich.text import Text

    nothing = {"", "–", *pale}
    kept = [place for place in range(len(headings)) if any(row[place] not in nothing for row in rows)]
    cells = [[Text.from_markup(row[place]) for place in kept] for row in rows]
    names = [headings[place] for place in kept]
    screen = console()
    widths = [max([len(name), *(row[at].cell_len for row in cells)]) for at, name in enumerate(names)]
    if sum(widths) + 2 * (len(widths) - 1) <= screen.width:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in names:
            table.add_column(name, no_wrap=True)
        for row in cells:
            table.add_row(*row)
        screen.print(table)
        return
    for row in cells:
        for line in _packed(
            [
                Text.assemble((f"{name} " if name else "", "dim"), cell)
                for name, cell in zip(names, row, strict=True)
                if cell
            ],
            screen.width,
        ):
            screen.print(line)


def _packed(cells: Sequence[Text], width: int) -> list[Text]:
    """The cells side by side, in as many lines as they take; all but the first are indented."""
    from rich.text import Text

    lines: list[Text] = []
    for cell in cells:
        if lines and lines[-1].cell_len + 2 + cell.cell_len <= width:
            lines[-1] = Text("  ").join([lines[-1], cell])
        else:
            lines.append(Text("  ").join([Text(""), cell]) if lines else cell)
    return lines


class _Trimmed:
    """Stdout without the blanks by which rich fills up the lines of tables."""

    def write(self, text: str) -> int:
        return sys.stdout.write(_FILLED.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress display on stderr, of one line; silent when that is no terminal. Where it is narrow, the description
    and the bar give way."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.table import Column

    class Description(TextColumn):
        """Of one line in a column that may shrink: those that may not break their lines don't."""

        def render(self, task: Task) -> Text:
            text = super().render(task)
            text.no_wrap = True
            return text

    screen = Console(stderr=True)
    what = Description("{task.description}", table_column=Column(overflow="ellipsis"))
    state = TextColumn("{task.fields[state]}")
    columns = (what, BarColumn(), state, TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    silent = _level == QUIET or not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=silent) as progress:
        yield progress


class Milestones:
    """Progress of long work for logs: a line on stderr at every tenth (at every hundredth with -v), where no display
    can be drawn, with the time that is left if it goes on so."""

    def __init__(self, what: str, quiet: bool) -> None:
        self._what, self._quiet, self._next = what, quiet or _level == QUIET, 0.0
        self._lines = 100 if _level == VERBOSE else 10
        self._begun = time.monotonic()

    def __call__(self, stage: str, share: float) -> None:
        """``share`` of the work is done, now comes ``stage``."""
        if not self._quiet and share >= self._next:
            left = (time.monotonic() - self._begun) * (1 - share) / share if share else 0.0
            say(f"{self._what}: {share:.0%} {stage}{f', some {_duration(left)} left' if left >= 1 else ''}")
            self._next = (int(share * self._lines) + 1) / self._lines


def _duration(seconds: float) -> str:
    """Some of it: 12 s, 3 min, 2 h."""
    for unit, least in (("h", 3600), ("min", 60)):
        if seconds >= 2 * least:
            return f"{seconds / least:.0f} {unit}"
    return f"{seconds:.0f} s"


def overrides(
    pairs: list[str] | None, option: str = "--set", example: str = "protocol.window=200us"
) -> list[tuple[str, str]]:
    """``--set key=value`` options; the scenario reads the values as its document would."""
    found = []
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UserError(f"{option} {pair}: write it as key=value, for example {option} {example}")
        found.append((key.strip(), value.strip()))
    return found


def existing(path: Path, what: str) -> Path:
    """``path`` when it is there, else a clear error."""
    if not path.exists():
        raise UserError(f"{path}: there is no such {what}")
    return path
