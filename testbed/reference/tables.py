"""Every column of every table that runs and studies write."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from testbed.history import Events, Hop, Hops
from testbed.nodes.core.meanings import EVENTS, FIRST, HOPS, Meaning
from testbed.nodes.core.record import KINDS, What, schema
from testbed.reference.markdown import sentence, table
from testbed.runs import FILES, events_table, hops_table
from testbed.study.runner import FILES as STUDY_FILES
from testbed.study.table import SCHEMA

_HEAD = """# Tables and files

What a run and a study leave behind. Parquet is read by pandas (`pandas.read_parquet`), Polars, DuckDB and others. Times
are nanoseconds on the run's clock, whose zero is the start of round 0; nodes have numbers in the order of the fabric's
hosts, from 0.
"""
_HEADINGS = ("column", "type", "unit", "meaning")
_TYPES = {"string": "text", "binary": "bytes", "bool": "true or false", "double": "number"}


def tables_page() -> str:
    """reference/tables.md."""
    hops, events = hops_table(Hops()).schema, events_of(KINDS[0])
    return "\n".join(
        [
            _HEAD,
            "## The directory of a run\n",
            _files(FILES),
            "## The directory of a study\n",
            _files(STUDY_FILES),
            "## `hops.parquet`\n",
            sentence(Hop.__doc__ or "") + "\n",
            _columns(hops, HOPS),
            "## `events/`\n",
            "A file for each kind of event that there was; all begin with these columns.\n",
            _columns(pa.schema([events.field(name) for name in FIRST]), FIRST),
            *map(_kind, KINDS),
            "## `trials.parquet`\n",
            "The trials that a study's results are made of, a row each; the file's own schema says the same.\n",
            table(("column", "type", "meaning"), [_trial(field) for field in SCHEMA]),
        ]
    )


def events_of(kind: type[What]) -> pa.Schema:
    """The columns of ``events/<kind>.parquet``."""
    return events_table(Events((), {}).table(kind)).schema


def _files(files: Mapping[str, str]) -> str:
    return table(("file", "what is in it"), [(f"`{name}`", meaning) for name, meaning in files.items()])


def _kind(kind: type[What]) -> str:
    name = schema(kind).name
    told, columns = EVENTS[name]
    own = pa.schema([field for field in events_of(kind) if field.name not in FIRST])
    return f"### `events/{name}.parquet`\n\n{sentence(told)}\n\n{_columns(own, columns)}"


def _columns(found: pa.Schema, meanings: Mapping[str, Meaning]) -> str:
    rows = [(f"`{one.name}`", type_of(one.type), meanings[one.name].unit, meanings[one.name].meaning) for one in found]
    return table(_HEADINGS, rows)


def _trial(field: pa.Field) -> tuple[str, str, str]:
    return f"`{field.name}`", type_of(field.type), field.metadata[b"about"].decode()


def type_of(held: pa.DataType) -> str:
    """What it is called here: Arrow's own names mean little to most readers."""
    if pa.types.is_dictionary(held):
        return type_of(held.value_type)
    if pa.types.is_list(held):
        return f"list of {type_of(held.value_type)}"
    if pa.types.is_map(held):
        return f"mapping of {type_of(held.key_type)} to {type_of(held.item_type)}"
    if pa.types.is_struct(held):
        return ", ".join(f"{one.name}: {type_of(one.type)}" for one in held)
    return _TYPES.get(str(held), "whole number" if pa.types.is_integer(held) else str(held))
