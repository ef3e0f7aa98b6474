"""The Python interface, from its docstrings: every name of ``import testbed``, and the columns of its tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import testbed
from testbed.api.tables import MEANINGS
from testbed.reference.markdown import as_code, fenced, sentence, table

_HEAD = """# Python interface

`import testbed` gives all of it; nothing is loaded before it is asked for. Nothing here prints or ends the program:
what makes no sense, or what this machine can't do, raises `testbed.Error`, a line for each problem. Data frames need
the extra `pandas` or `polars`. What is not named here is no part of the interface and may change.
"""
_TABLES = """## Columns of tables

Those of the tables that are made of a run's record. `Run.hops` and `Run.events_of` are the files of its directory, and
`StudyResult.trials` is that of a study: [tables](tables.md).
"""
_PREFIXES: Mapping[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def api_page() -> str:
    """reference/api.md."""
    functions = [name for name in testbed.__all__ if inspect.isfunction(getattr(testbed, name))]
    classes = [name for name in testbed.__all__ if name not in functions]
    return "\n".join(
        [
            _HEAD,
            *(_function(f"testbed.{name}", getattr(testbed, name), "##") for name in functions),
            *map(_class, classes),
            _TABLES,
            *(_columns(name, meanings) for name, meanings in MEANINGS.items()),
        ]
    )


def own(thing: type) -> dict[str, Any]:
    """What is public of a class itself: its methods and what it tells, by name, in the order in which it is written."""
    kinds = (property, cached_property, classmethod)
    return {
        name: member
        for name, member in vars(thing).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, kinds))
    }


def docstring(text: str) -> str:
    """A docstring as Markdown: its paragraphs, and examples as they are typed."""
    told = []
    for paragraph in text.split("\n\n"):
        example = paragraph.lstrip().startswith(">>>")
        told.append(fenced(paragraph, "pycon") if example else as_code(paragraph) + "\n")
    return "\n".join(told)


def _class(name: str) -> str:
    thing = getattr(testbed, name)
    members = own(thing) if thing.__module__.startswith("testbed.api") else {}
    methods = {key: getattr(member, "__func__", member) for key, member in members.items()}
    methods = {key: member for key, member in methods.items() if inspect.isfunction(member)}
    told = [(f"`{key}`", as_code(_doc(member))) for key, member in members.items() if key not in methods]
    return "\n".join(
        [
            f"## `testbed.{name}`\n\n{docstring(_doc(thing))}",
            *([table(("it tells", "which is"), told)] if told else ()),
            *(_function(f"{name}.{key}", method, "###") for key, method in methods.items()),
        ]
    )


def _function(name: str, function: Callable[..., Any], level: str) -> str:
    """A name with how it is called, and what its docstring says."""
    return f"{level} `{name}`\n\n{fenced(name + _called(function), 'python')}\n{docstring(_doc(function))}"


def _called(function: Callable[..., Any]) -> str:
    """The signature as it is written, a line each; what a method is called on is left out."""
    signature = inspect.signature(function)
    chosen = [_parameter(one) for one in signature.parameters.values() if one.name not in ("self", "cls")]
    inside = "".join(f"\n    {one}," for one in chosen) + "\n" if len(chosen) > 1 else "".join(chosen)
    return f"({inside}) -> {signature.return_annotation}"


def _parameter(one: inspect.Parameter) -> str:
    default = "" if one.default is inspect.Parameter.empty else f" = {one.default!r}"
    return f"{_PREFIXES.get(one.kind, '')}{one.name}: {one.annotation}{default}"


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _columns(name: str, meanings: Mapping[str, str]) -> str:
    rows = [(f"`{column}`", sentence(meaning)) for column, meaning in meanings.items()]
    return f"### `Run.{name}` and its columns\n\n{table(('column', 'meaning'), rows)}"
