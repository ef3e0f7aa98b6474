"""Tables of results: Arrow inside, data frames of pandas or Polars by the user's choice."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from testbed.api.show import table_html
from testbed.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

_SHOWN = 10


class Table:
    """A table of results, in columns.

    Columns whose name ends in ``_ns`` are nanoseconds on the run's clock, those in ``_bps`` bit/s, those in ``_bytes``
    bytes; probabilities are shares of 1. Texts of which there are few different ones are dictionary-coded, which
    becomes a Categorical in pandas and in Polars.

    >>> import testbed
    >>> table = testbed.catalogue("engines")
    >>> table.columns
    ['name', 'story']
    >>> len(table), table["name"][0]
    (3, 'sim')
    >>> table.to_pandas().loc[0, "name"]
    'sim'
    >>> table.to_polars().height
    3
    """

    def __init__(self, arrow: pa.Table, name: str = "table") -> None:
        self._arrow, self._name = arrow, name

    def to_arrow(self) -> pa.Table:
        """The table as pyarrow has it, without a copy."""
        return self._arrow

    def to_pandas(self) -> pd.DataFrame:
        """The table as a pandas DataFrame. Whole numbers with gaps are of the type Int64, so that no nanosecond is lost
        to rounding. Raises testbed.Error when pandas is not installed."""
        pandas = _library("pandas")
        frame = self._arrow.to_pandas()
        for name in self._arrow.column_names:
            column = self._arrow.column(name)
            if column.null_count and pa.types.is_integer(column.type):
                frame[name] = pandas.array(column.to_pylist(), dtype="Int64")
        return frame

    def to_polars(self) -> pl.DataFrame:
        """The table as a Polars DataFrame. Raises testbed.Error when Polars is not installed."""
        return _library("polars").from_arrow(self._arrow)  # type: ignore[no-any-return]

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self._arrow.column_names)

    @property
    def about(self) -> dict[str, str]:
        """What each column holds, where that is written down."""
        told = {field.name: (field.metadata or {}).get(b"about", b"").decode() for field in self._arrow.schema}
        return {name: text for name, text in told.items() if text}

    def rows(self) -> list[dict[str, Any]]:
        """The rows as plain Python: a dictionary each."""
        return self._arrow.to_pylist()  # type: ignore[no-any-return]

    def __getitem__(self, column: str) -> NDArray[Any]:
        """One column as a NumPy array."""
        if column not in self._arrow.column_names:
            raise KeyError(f"{column!r}; there are {', '.join(self.columns)}")
        chosen = self._arrow.column(column)
        if pa.types.is_dictionary(chosen.type):
            chosen = chosen.cast(chosen.type.value_type)
        return chosen.to_numpy()  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return int(self._arrow.num_rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """For whatever else reads Arrow tables: ``polars.DataFrame(table)``, ``duckdb.arrow(table)``."""
        return self._arrow.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<{self._name}: {len(self)} rows; {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self._told())}</p>" + self._head()

    def _told(self) -> str:
        more = f", the first {_SHOWN}" if len(self) > _SHOWN else ""
        return f"{self._name}: {len(self):,} rows{more}"

    def _head(self) -> str:
        rows = self._arrow.slice(0, _SHOWN).to_pylist()
        return table_html(self.columns, [[row[name] for name in self.columns] for row in rows])


def texts(values: Sequence[str | None]) -> pa.Array:
    """A dictionary-coded column."""
    return pa.array(values, pa.string()).dictionary_encode()


def with_meanings(arrow: pa.Table, about: dict[str, str]) -> pa.Table:
    """The table with what its columns hold as metadata of the fields. Every column must be told of, in order."""
    fields = [
        field.with_metadata({"about": meaning}) for field, meaning in zip(arrow.schema, about.values(), strict=True)
    ]
    if arrow.column_names != list(about):
        raise ValueError(f"{arrow.column_names} is told as {list(about)}")
    return arrow.cast(pa.schema(fields))


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(f"{name} is not installed: pip install '{name}', or take to_arrow()") from None
