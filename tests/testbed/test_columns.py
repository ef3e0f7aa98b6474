"""Columns out of rows: nothing is lost, whatever is missing, and texts keep their codes from piece to piece.

Held to what is picked by hand; test_sim_compiled.py runs the same stories on the form in C.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.columns import Path, gather, grouped

numbers = st.integers(-(1 << 63), (1 << 63) - 1)
keys = st.none() | st.tuples(numbers, st.tuples(st.booleans(), numbers))
rows = st.lists(st.tuples(numbers, st.sampled_from(["in", "out", b"lost"]), keys, st.none() | numbers), max_size=20)

NUMBERS: tuple[Path, ...] = ((0,), (2, 0), (2, 1, 0), (2, 1, 1), (3,))


def by_hand(row: Any, path: Path) -> int:
    for place in path:
        row = None if row is None else row[place]
    return -1 if row is None else int(row)


@given(rows)
def test_every_number_is_in_its_column_and_what_is_missing_is_minus_one(made: list[Any]) -> None:
    columns = gather(made, tuple((path, None) for path in NUMBERS))
    assert [column.tolist() for column in columns] == [[by_hand(row, path) for row in made] for path in NUMBERS]


@given(rows, rows)
def test_codes_go_on_from_one_piece_to_the_next(first: list[Any], then: list[Any]) -> None:
    known: dict[Any, int] = {}
    codes = [code for piece in (first, then) for code in gather(piece, (((1,), known),))[0].tolist()]
    words = [row[1] for row in first + then]
    assert list(known) == list(dict.fromkeys(words))  # in the order in which they first appear
    assert [list(known)[code] for code in codes] == words


@given(rows)
def test_groups_hold_every_row_once_in_order(made: list[Any]) -> None:
    groups = grouped(made, 1)
    assert list(groups) == list(dict.fromkeys(row[1] for row in made))
    for word, places in groups.items():
        assert places == [place for place, row in enumerate(made) if row[1] == word]


@pytest.mark.parametrize("wrong", [1 << 63, "text"])
def test_what_is_no_number_of_64_bits_is_refused(wrong: object) -> None:
    with pytest.raises((OverflowError, TypeError, ValueError)):
        gather([(wrong,)], (((0,), None),))
