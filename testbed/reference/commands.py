"""Every verb of the command line, out of the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from testbed.cli.main import app
from testbed.cli.output import EXIT_CODES
from testbed.reference.markdown import as_code, fenced, table

_HEAD = """# Command line

`testbed VERB --help` says the same. With `--json`, which nearly every verb takes, stdout holds one JSON document and
nothing else. Results go to stdout, progress and errors to stderr.
"""
_CLONE = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_PHRASE = re.compile(r"`([^`\n]+)`")
_EXAMPLES = {
    "testbed list": "testbed list scenarios",
    "testbed schema": "testbed schema study",
    "testbed attach": "testbed attach leaf_spine",
    "testbed logs": "testbed logs leaf_spine",
    "testbed report": "testbed report runs/nic-crash-mid-swap",
    "testbed replay": "testbed replay runs/nic-crash-mid-swap",
}
"""Calls of verbs that no other page shows on a line of its own."""


def commands_page() -> str:
    """reference/commands.md."""
    verbs = list(_verbs(typer.main.get_command(app), "testbed"))
    shown = examples()
    rows = [(f"[`{name}`](#{_anchor(name)})", as_code(_told(verb).split(". ")[0])) for name, verb in verbs]
    return "\n".join(
        [
            _HEAD,
            table(("verb", "what it does"), rows),
            "## Exit codes\n",
            table(("code", "meaning"), [(f"`{code}`", meaning) for code, meaning in EXIT_CODES.items()]),
            *(_verb(name, verb, shown.get(name)) for name, verb in verbs),
        ]
    )


def names() -> list[str]:
    """``testbed run``, ``testbed topo draw``, and so on."""
    return [name for name, _ in _verbs(typer.main.get_command(app), "testbed")]


def examples() -> Mapping[str, str]:
    """Of each verb a call: the first in README and docs/ that stands alone on a line, one of _EXAMPLES, the first in
    the midst of a text, or the verb alone, where it needs no more."""
    texts = [page.read_text(encoding="utf-8") for page in _pages()]
    lines = [line.strip() for text in texts for block in _BLOCK.findall(text) for line in block.splitlines()]
    phrases = [phrase for text in texts for phrase in _PHRASE.findall(_BLOCK.sub("", text))]
    found: dict[str, str] = {}
    for name, verb in _verbs(typer.main.get_command(app), "testbed"):
        alone = [] if any(one.required for one in verb.params) else [name]
        calls = [*_calls(name, lines), *filter(None, [_EXAMPLES.get(name)]), *_calls(name, phrases), *alone]
        if calls:
            found[name] = calls[0]
    return found


def _pages() -> list[Path]:
    docs = _CLONE / "docs"
    return [_CLONE / "README.md", *sorted(docs.glob("*.md")), *sorted(docs.glob("*/*.md"))]


def _calls(name: str, lines: Iterable[str]) -> list[str]:
    return [line.partition(" #")[0].strip() for line in lines if f"{line} ".startswith(f"{name} ") and line[-1] != "\\"]


def _verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inside = getattr(command, "commands", None)
    if not inside:
        yield name, command
    for word, below in (inside or {}).items():
        if not below.hidden:
            yield from _verbs(below, f"{name} {word}")


def _verb(name: str, verb: Any, example: str | None) -> str:
    context = verb.context_class(verb, info_name=name)
    usage = re.sub(r"\s+", " ", verb.get_usage(context)).removeprefix("Usage: ")
    rows = [_parameter(one, context) for one in verb.params if not one.hidden]
    parts = [f"## `{name}`\n", fenced(usage, "text"), as_code(_told(verb)) + "\n"]
    if rows:
        parts.append(table(("argument or option", "value", "default", "meaning"), rows))
    if example is not None:
        parts.append(fenced(example, "sh"))
    return "\n".join(parts)


def _parameter(one: Any, context: Any) -> tuple[str, str, str, str]:
    written = ", ".join(f"`{word}`" for word in (*one.opts, *one.secondary_opts))
    value = "" if getattr(one, "is_flag", False) else f"`{one.metavar or one.display_type(context)}`"
    value += ", repeatable" if one.multiple else ""
    plain = one.default not in (None, False, [], ()) and not callable(one.default)
    default = "must be given" if one.required else f"`{one.default}`" if plain else ""
    return written, value, default, as_code(one.help or "")


def _told(verb: Any) -> str:
    return " ".join((verb.help or "").split())


def _anchor(name: str) -> str:
    return name.replace(" ", "-")
