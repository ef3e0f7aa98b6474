"""The journal: what a node did survives as text, whole or not at all."""

from __future__ import annotations

import os
import signal
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.nodes.agent.journal import (
    Journal,
    JournalError,
    JournalFullError,
    Row,
    Rows,
    decode_all,
    decode_rows,
    encode,
    read_journal,
)
from testbed.nodes.core import LinkState, Outcome, Resolve, RoundStart, SwapId, Transition
from testbed.nodes.core.record import KINDS, Died, Dropped, Noted, Received, Sent, Started, TimerFired, schema
from testbed.nodes.frames import FrameKey

SIZE = 1 << 16
numbers = st.integers(-(1 << 62), 1 << 62)
texts = st.text(st.characters(codec="utf-8"), max_size=30)
keys = st.builds(FrameKey, st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
swaps = st.builds(SwapId, numbers, numbers, numbers)
whats = st.one_of(
    st.builds(Started, st.booleans(), numbers),
    st.just(Died()),
    st.builds(Sent, keys, numbers, numbers, numbers),
    st.builds(Received, keys, numbers, numbers, numbers),
    st.builds(Dropped, texts, st.none() | keys, numbers, numbers, numbers),
    st.builds(TimerFired, texts, numbers),
    st.builds(Noted, texts, numbers, texts, st.none() | keys, numbers),
    st.builds(Transition, swaps, st.sampled_from(LinkState), st.sampled_from(LinkState)),
    st.builds(Resolve, swaps, st.sampled_from(Outcome), st.binary(max_size=20)),
    st.builds(RoundStart, numbers),
)
rows = st.builds(Row, numbers, whats)


def as_lists(found: Rows) -> tuple[list[int], list[int], list[list[Any]]]:
    return list(found.places), list(found.t_ns), [list(column) for column in found.columns]


def memory() -> int:
    fd = os.memfd_create("journal")
    os.truncate(fd, SIZE)
    return fd


@given(rows)
def test_a_row_comes_back_from_its_line(row: Row) -> None:
    text = encode([row])
    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    assert decode_rows(text) == [row]
    assert [type(field) for field in decode_rows(text)[0].what] == [type(field) for field in row.what]


@given(st.lists(rows, max_size=8))
def test_many_rows_come_back_in_order(many: list[Row]) -> None:
    assert decode_rows(encode(many)) == many


@given(st.text(max_size=60), st.sampled_from(["", *(schema(kind).name for kind in KINDS)]))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str, kind: str) -> None:
    for told in (text, f"17\t{kind}\t{text}"):
        try:
            found = decode_rows(f"{told}\n".encode())
        except JournalError:
            continue
        assert all(type(row.what) in KINDS for row in found)


def test_a_kinds_rows_come_as_columns_with_their_places() -> None:
    found = decode_all(encode([Row(5, RoundStart(0, b"a")), Row(6, Died()), Row(7, RoundStart(1))]))
    assert as_lists(found[RoundStart]) == ([0, 2], [5, 7], [[0, 1], [b"a", b""]])
    assert as_lists(found[Died]) == ([1], [6], [["killed"]])


@settings(max_examples=20)
@given(st.lists(rows, max_size=20), st.lists(rows, max_size=20))
def test_a_second_life_writes_on_where_the_first_one_ended(first: list[Row], second: list[Row]) -> None:
    fd = memory()
    for life in (first, second):
        journal = Journal(fd, SIZE)
        for row in life:
            journal.append([row])
    assert decode_rows(read_journal(fd, SIZE)) == first + second
    os.close(fd)


def test_a_full_journal_says_so_and_keeps_what_it_has() -> None:
    fd = memory()
    journal = Journal(fd, SIZE)
    whole = [Row(1, Noted("x" * 100, 0, "", None, -1))]
    written = (SIZE - 8) // len(encode(whole))
    for _ in range(written):
        journal.append(whole)
    with pytest.raises(JournalFullError, match="65536 bytes"):
        journal.append(whole)
    assert decode_rows(read_journal(fd, SIZE)) == whole * written


def test_what_a_killed_process_wrote_is_there() -> None:
    fd = memory()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        journal = Journal(fd, SIZE)
        for t_ns in range(100):
            journal.append([Row(t_ns, RoundStart(t_ns))])
        os.write(write_end, b"x")
        signal.pause()
    os.read(read_end, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert [row.t_ns for row in decode_rows(read_journal(fd, SIZE))] == list(range(100))


def test_a_row_that_was_not_complete_does_not_exist() -> None:
    fd = memory()
    Journal(fd, SIZE).append([Row(1, RoundStart(1))])
    length = struct.unpack("@Q", os.pread(fd, 8, 0))[0]
    os.pwrite(fd, b"2\tround_start\t2", 8 + length)  # killed before the length was raised
    assert decode_rows(read_journal(fd, SIZE)) == [Row(1, RoundStart(1))]
    Journal(fd, SIZE).append([Row(3, RoundStart(3))])
    assert [row.t_ns for row in decode_rows(read_journal(fd, SIZE))] == [1, 3]
