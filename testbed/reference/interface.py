"""The Python interface: what ``import testbed`` gives, and the columns of its tables."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

import testbed
from testbed.api import Run, Table
from testbed.reference.markdown import fenced, sentence, table
from testbed.reference.tables import type_of

_HEAD = """# Python

`import testbed`; [pandas](../how-to/pandas.md) and [notebooks](../how-to/notebook.md) have pages of their own. What is
not named here is no part of the interface and may change.
"""


def python_page() -> str:
    """reference/python.md."""
    return "\n".join([_HEAD, *(_named(name, getattr(testbed, name)) for name in testbed.__all__), _run_tables()])


def tables_of_runs() -> list[str]:
    """``rounds``, ``swaps``, and so on: what of a run is a table."""
    return [
        name
        for name, member in vars(Run).items()
        if isinstance(member, cached_property) and inspect.get_annotations(member.func).get("return") == Table.__name__
    ]


def _named(name: str, thing: Any) -> str:
    told = sentence(_first(thing))
    if not inspect.isclass(thing):
        return f"## `testbed.{name}`\n\n{fenced(f'{name}{inspect.signature(thing)}', 'python')}\n{told}\n"
    members = [(member, one) for member, one in vars(thing).items() if not member.startswith("_") and _is_shown(one)]
    rows = [(f"`{member}{_called(one)}`", sentence(_first(one))) for member, one in members]
    return f"## `testbed.{name}`\n\n{told}\n\n" + (table(("member", "what it is"), rows) if rows else "")


def _is_shown(member: Any) -> bool:
    return isinstance(member, property | cached_property) or inspect.isfunction(member)


def _called(member: Any) -> str:
    """How a method is called, less its ``self`` and its types."""
    if not inspect.isfunction(member):
        return ""
    return "(" + ", ".join(name for name in inspect.signature(member).parameters if name != "self") + ")"


def _first(thing: Any) -> str:
    """The first paragraph of what its docstring says."""
    return (inspect.getdoc(thing) or "").partition("\n\n")[0]


def _run_tables() -> str:
    """The columns as a run has them."""
    run = testbed.run({"name": "small", "topology": {"kind": "pair"}, "protocol": {"rounds": 2}})
    told = []
    for name in tables_of_runs():
        found: Table = getattr(run, name)
        rows = [(f"`{one.name}`", type_of(one.type), found.about.get(one.name, "")) for one in found.to_arrow().schema]
        told.append(f"### `run.{name}`\n\n{table(('column', 'type', 'meaning'), rows)}")
    files = "`run.events_of(kind)` has the columns of the run's [files](tables.md).\n"
    return "\n".join(["## Tables of a run\n", files, *told])
