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


_BOOL = "tag:yaml.org,2002:bool"


class _Plain(yaml.SafeDumper):
    """Reads as people write it here: no anchors, and `on` is no truth value (testbed.scenario.document)."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in its parent
        first: [(tag, form) for tag, form in forms if tag != _BOOL]
        for first, forms in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - whatever it is
        """Never."""
        return True


_Plain.add_implicit_resolver(_BOOL, re.compile(r"true|false"), list("tf"))
