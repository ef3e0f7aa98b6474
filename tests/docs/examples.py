"""What a page of documentation tells its reader to type, and what it says will come: read from plain Markdown.

A page is done from top to bottom in one empty folder, as a reader would do it:

- a block ``sh`` holds commands, one a line (``\\`` at a line's end joins the next to it). Each must end with 0, or with
  what its comment says: ``# exit code 2``.
- a block of any language whose first line is a comment that names a file (``# mine.yaml``, ``<!-- wan.graphml -->``) is
  that file, which the reader writes. ``# in mine.yaml`` stands for a change: the top-level keys below it take the place
  of those that the file has.
- a block ``python`` that names no file is typed into Python; all of them on a page go into one session.
- a block ``text`` is what the commands before it print, to the letter; ``…`` stands for the rest of a line that is
  different each time, and on a line of its own for any number of lines.

Comments of HTML before a block say what can't be read from it: ``<!-- needs: kernel -->`` what it needs of the machine
(words of needs.py), ``<!-- not run: why -->`` that it is for reading only, ``<!-- slow -->`` that its page takes long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?P<marks>(?:^[ ]*<!--.*?-->[ ]*\n\s*)*)^(?P<margin>[ ]*)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^[ ]*```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!--\s*(needs|not run|slow)\b:?\s*(.*?)\s*-->", re.DOTALL)
_NAMED = re.compile(r"(?:#|//|<!--)\s*(?P<change>in )?(?P<file>[\w./-]+\.\w+)\s*(?:-->)?$")
_EXIT = re.compile(r"#.*?\bexit code (\d+)")
ANY = "…"


class PageError(Exception):
    """A page that can't be read as its readers would: where, and what is the matter."""


@dataclass(frozen=True)
class Block:
    """One block of a page. line: of the page, from 1. file: which it is, or (change) changes. needs: words of needs.py.
    not_run: why it is for reading only, if it is."""

    line: int
    language: str
    text: str
    file: str | None = None
    change: bool = False
    needs: tuple[str, ...] = ()
    not_run: str | None = None
    slow: bool = False


@dataclass(frozen=True)
class Command:
    """One line of a block ``sh``, and the exit code that it is said to end with."""

    text: str
    code: int = 0


@dataclass(frozen=True)
class Step:
    """A block that does something, and the block ``text`` that says what comes of it, if there is one."""

    does: Block
    says: Block | None = None


def blocks(page: str) -> Iterator[Block]:
    """All blocks of a page, in order."""
    for found in _BLOCK.finditer(page):
        margin = len(found["margin"])
        text = "".join(line[margin:] for line in found["text"].splitlines(keepends=True))
        marks = dict(_MARK.findall(found["marks"]))
        named = _NAMED.match(text.partition("\n")[0])
        yield Block(
            line=page.count("\n", 0, found.end("marks")) + 1,
            language=found["language"],
            text=text,
            file=named["file"] if named else None,
            change=bool(named and named["change"]),
            needs=tuple(filter(None, re.split(r"[,\s]+", marks.get("needs", "")))),
            not_run=marks.get("not run"),
            slow="slow" in marks,
        )


def steps(page: str) -> list[Step]:
    """What a reader does, one thing after the other. Raises PageError for a block that nobody could do or check."""
    found: list[Step] = []
    for block in blocks(page):
        if block.not_run is not None:
            if not block.not_run:
                raise PageError(f"line {block.line}: 'not run' wants a reason: <!-- not run: why -->")
        elif block.file or block.language in ("sh", "python"):
            found.append(Step(block))
        elif block.language == "text":
            if not found or found[-1].says or found[-1].does.file:
                raise PageError(f"line {block.line}: nothing before this text prints anything that is not told yet")
            found[-1] = Step(found[-1].does, block)
        elif block.language != "mermaid":
            what = "begin it with '# name.yaml', or say <!-- not run: why --> before it"
            raise PageError(f"line {block.line}: nobody knows what to do with this {block.language or 'block'}: {what}")
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a block ``sh``."""
    joined = block.text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines()]
    told = [(line, _EXIT.search(line)) for line in lines if line and not line.startswith("#")]
    return [Command(line, int(code[1]) if code else 0) for line, code in told]


def tidy(output: str) -> str:
    """Output as it stands on a page: no blanks at the ends of lines, no empty lines around it."""
    lines = [line.rstrip() for line in output.splitlines()]
    return "\n".join(lines).strip("\n")


def agrees(told: str, came: str) -> bool:
    """Whether what came is what the page tells."""
    return re.fullmatch(_pattern(tidy(told).splitlines()), tidy(came) + "\n") is not None


def _pattern(lines: Sequence[str]) -> str:
    def of(line: str) -> str:
        if line.strip() == ANY:
            return r"(?:.*\n)*?"
        return ".*?".join(map(re.escape, line.split(ANY))) + r"\n"

    return "".join(map(of, lines))


def rewritten(path: Path, step: Step, came: str) -> None:
    """Puts what came into the page, in place of what its block ``text`` says."""
    assert step.says is not None
    page = path.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(page):
        if found["language"] == "text" and found["text"] == step.says.text:
            path.write_text(page[: found.start("text")] + tidy(came) + "\n" + page[found.end("text") :], "utf-8")
            return
    raise PageError(f"{path.name}: the block of line {step.says.line} is indented; write it anew by hand")
