"""Markdown out of data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from testbed.scenario.document import flow


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def code(value: Any) -> str:
    """A value as YAML in backticks; empty for None."""
    return "" if value is None else f"`{flow(value)}`"


def fenced(text: str, language: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def as_code(text: str) -> str:
    """Plain text, as docstrings have it, as Markdown: what is in backticks is code, and nothing else means anything."""
    parts = re.split(r"(``.+?``|`.+?`)", " ".join(text.split()))
    return "".join(f"`{part.strip('`')}`" if place % 2 else _plain(part) for place, part in enumerate(parts))


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    told = as_code(text).strip()
    return told[:1].upper() + told[1:] + ("" if told.endswith((".", ":", "!")) else ".")


def anchor(heading: str) -> str:
    """Where a heading's link leads: what the site's Markdown makes of its text."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _plain(text: str) -> str:
    return re.sub(r"([*_\[\]])", r"\\\1", text).replace("<", "&lt;")


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
