"""Columns of Arrow made without pandas: they hold what those hold that pyarrow makes, and are read as it reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import arrow

whole = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=20).map(lambda held: np.array(held, dtype=np.int64))
truths = st.lists(st.booleans(), max_size=20).map(lambda held: np.array(held, dtype=np.bool_))


@given(whole | truths, st.data())
def test_numbers_are_those_that_pyarrow_makes_and_come_back(column: np.ndarray[Any, Any], data: st.DataObject) -> None:
    absent = np.array(data.draw(st.lists(st.booleans(), min_size=len(column), max_size=len(column))), dtype=np.bool_)
    made = arrow.numbers(column, absent)
    made.validate(full=True)
    assert made.equals(pa.array(column, mask=absent))
    assert arrow.numbers(column).equals(pa.array(column))
    pieces = pa.chunked_array([made[:3], made[3:], made[:0]])
    back = arrow.from_arrow(pieces, gap=0)
    assert back.dtype == column.dtype
    assert back.tolist() == np.where(absent, 0, column).tolist()


@given(st.lists(st.text("aé€", max_size=5), max_size=9), st.lists(st.binary(max_size=5), max_size=9))
def test_texts_are_those_that_pyarrow_makes(words: list[str], bodies: list[bytes]) -> None:
    for values, kind in ((words, pa.string()), (bodies, pa.binary())):
        made = arrow.texts(values, kind)
        made.validate(full=True)
        assert made.equals(pa.array(values, kind))


def test_a_gap_that_nothing_stands_for_is_told() -> None:
    with pytest.raises(ValueError, match="gaps"):
        arrow.from_arrow(pa.chunked_array([pa.array([1, None])]))


def test_a_run_is_written_and_read_again_without_pandas(tmp_path: Path) -> None:
    """Told by what is imported, which is half of what a small run takes: pandas is there, and nobody asks for it."""
    code = (
        "import sys; from pathlib import Path; from testbed.cli.main import app; import testbed.runs;"
        "app(['run', 'crash-after-k-sends', '--out', 'run'], standalone_mode=False);"
        "testbed.runs.read_run(Path('run')); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "False"
