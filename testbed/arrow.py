"""Arrow's columns out of numpy's, and back. pyarrow does the same by ``array`` and ``to_numpy``, but imports pandas on
the way wherever that is installed, which takes as long as many a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(column: NDArray[Any], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of numbers or truths; null where they are ``absent``."""
    kind = pa.from_numpy_dtype(column.dtype)
    held = _bits(column) if pa.types.is_boolean(kind) else pa.py_buffer(np.ascontiguousarray(column))
    known = _bits(~absent) if absent is not None and absent.any() else None
    return pa.Array.from_buffers(kind, len(column), [known, held])


def texts(values: Sequence[str | bytes], kind: pa.DataType) -> pa.Array:
    """A column of texts or bytes, none of them null."""
    whole = [value.encode() if isinstance(value, str) else value for value in values]
    ends = np.cumsum([0, *map(len, whole)], dtype=np.int64)
    if ends[-1] > np.iinfo(np.int32).max:
        raise ValueError("a column of texts holds more than 2 GiB")
    found = [pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(whole))]
    return pa.Array.from_buffers(kind, len(whole), [None, *found])


def from_arrow(column: pa.ChunkedArray, gap: int | None = None) -> NDArray[Any]:
    """The numbers or truths of a column, ``gap`` where one is null. Raises ValueError for a null without a ``gap``."""
    if column.null_count and gap is None:
        raise ValueError("a column of numbers has gaps")
    kind = np.dtype(column.type.to_pandas_dtype())
    return np.concatenate([np.empty(0, kind), *(_chunk(chunk, kind, gap) for chunk in column.chunks)])


def _chunk(chunk: pa.Array, kind: np.dtype[Any], gap: int | None) -> NDArray[Any]:
    known, held = chunk.buffers()
    begin, end = chunk.offset, chunk.offset + len(chunk)
    found = _truths(held, end) if kind == np.bool_ else np.frombuffer(held, kind, end)
    if chunk.null_count:
        found = np.where(_truths(known, end), found, kind.type(gap))
    return found[begin:]


def _bits(truths: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(truths, bitorder="little"))


def _truths(bits: pa.Buffer, end: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=end, bitorder="little").astype(np.bool_)
