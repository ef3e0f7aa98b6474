"""The journal: what a node did survives as text, whole or not at all."""

from __future__ import annotations

import os
import signal
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.agent.journal import (
    Journal,
    JournalError,
    JournalFullError,
    Row,
    decode,
    decode_all,
    encode,
    read_journal,
)
from nodes.frames import FrameKey

SIZE = 1 << 16
numbers = st.integers(-(1 << 62), 1 << 62)
texts = st.text(st.characters(codec="utf-8"), max_size=30)
keys = st.builds(FrameKey, st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
rows = st.builds(Row, numbers, texts, numbers, texts, numbers, st.none() | keys, texts, texts, numbers)


def memory() -> int:
    fd = os.memfd_create("journal")
    os.truncate(fd, SIZE)
    return fd


@given(rows)
def test_a_row_comes_back_from_its_line(row: Row) -> None:
    line = encode(row)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line[:-1].decode()) == row


@given(st.lists(rows, max_size=8))
def test_many_rows_come_back_in_order(many: list[Row]) -> None:
    assert list(decode_all(b"".join(map(encode, many)))) == many


@given(st.text(max_size=60))
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    try:
        row = decode(text)
    except JournalError:
        return
    assert isinstance(row, Row)


@settings(max_examples=20)
@given(st.lists(rows, max_size=20), st.lists(rows, max_size=20))
def test_a_second_life_writes_on_where_the_first_one_ended(first: list[Row], second: list[Row]) -> None:
    fd = memory()
    for life in (first, second):
        journal = Journal(fd, SIZE)
        for row in life:
            journal.append(encode(row))
    assert list(decode_all(read_journal(fd, SIZE))) == first + second
    os.close(fd)


def test_a_full_journal_says_so_and_keeps_what_it_has() -> None:
    fd = memory()
    journal = Journal(fd, SIZE)
    line = encode(Row(1, "note", info="x" * 100))
    written = (SIZE - 8) // len(line)
    for _ in range(written):
        journal.append(line)
    with pytest.raises(JournalFullError, match="65536 bytes"):
        journal.append(line)
    assert list(decode_all(read_journal(fd, SIZE))) == [Row(1, "note", info="x" * 100)] * written


def test_what_a_killed_process_wrote_is_there() -> None:
    fd = memory()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        journal = Journal(fd, SIZE)
        for t_ns in range(100):
            journal.append(encode(Row(t_ns, "round", t_ns)))
        os.write(write_end, b"x")
        signal.pause()
    os.read(read_end, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert [row.t_ns for row in decode_all(read_journal(fd, SIZE))] == list(range(100))


def test_a_row_that_was_not_complete_does_not_exist() -> None:
    fd = memory()
    Journal(fd, SIZE).append(encode(Row(1, "round", 1)))
    length = struct.unpack("@Q", os.pread(fd, 8, 0))[0]
    os.pwrite(fd, b"2\tround\t2\t", 8 + length)  # killed before the length was raised
    assert list(decode_all(read_journal(fd, SIZE))) == [Row(1, "round", 1)]
    Journal(fd, SIZE).append(encode(Row(3, "round", 3)))
    assert [row.t_ns for row in decode_all(read_journal(fd, SIZE))] == [1, 3]
