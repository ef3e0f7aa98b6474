"""Markdown out of data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def code(value: Any) -> str:
    """A value as YAML in backticks; empty for None."""
    return "" if value is None else f"`{flow(value)}`"


def flow(value: Any) -> str:
    """YAML on one line."""
    text = yaml.dump(value, Dumper=_Plain, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return text.strip().removesuffix("...").strip()


def fenced(text: str, language: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def as_code(text: str) -> str:
    """Backticks for what a docstring has in double ones."""
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    told = as_code(text).strip()
    return told[:1].upper() + told[1:] + ("" if told.endswith((".", ":", "!")) else ".")


def anchor(heading: str) -> str:
    """Where a heading's link leads: what the site's Markdown makes of its text."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


class _Plain(yaml.SafeDumper):
    """Reads as people write it: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - whatever it is
        """Never."""
        return True
