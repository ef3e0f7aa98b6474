"""Entries of a log, and sessions: an operation happens once, however often it stands there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.nodes.services.log import NOTHING, Operation, Sessions, operation_number, pack_entry, parts_of, read_entry

operations = st.builds(Operation, st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=80))


class Counting:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.applied: list[bytes] = []

    def apply(self, command: bytes) -> bytes:
        self.applied.append(command)
        return b"%d" % len(self.applied)

    def snapshot(self) -> bytes:
        return b""

    def restore(self, snapshot: bytes) -> None:
        raise NotImplementedError


@given(st.lists(operations, max_size=5), st.integers(0, 40))
def test_an_entry_comes_back_also_with_zeros_behind_it(listed: list[Operation], zeros: int) -> None:
    assert read_entry(pack_entry(listed) + bytes(zeros)) == listed
    assert (pack_entry(listed) == NOTHING) == (not listed)


@given(st.binary(max_size=100))
def test_bytes_of_any_kind_are_an_entry_or_none(data: bytes) -> None:
    found = read_entry(data)
    assert (
        found is None or pack_entry(found).ljust(len(data), b"\0") == data.ljust(4 if found else 0, b"\0") or not found
    )


def test_numbers_differ_between_clients_lives_and_operations_and_say_whose_they_are() -> None:
    made = {operation_number(node, epoch, seq) for node in (0, 1, 65535) for epoch in (1, 2) for seq in (0, 2**32 - 1)}
    assert len(made) == 12
    assert max(made) < 2**63
    assert parts_of(operation_number(3, 2, 7)) == (3 << 15 | 2, 7)
    with pytest.raises(ValueError, match="too many"):
        operation_number(1, 1 << 15, 0)


def test_an_operation_happens_once_and_its_result_is_there_until_its_client_says_it_knows() -> None:
    sessions, state = Sessions(), Counting()
    first, second = Operation(operation_number(4, 1, 0), 0, b"a"), Operation(operation_number(4, 1, 1), 0, b"b")
    for operation in (second, first, second, first):  # an open loop's may come in any order
        sessions.apply(operation, state)
    assert state.applied == [b"b", b"a"]
    assert sessions.result(first.number) == b"2"
    sessions.apply(Operation(operation_number(4, 1, 2), 2, b"c"), state)
    assert sessions.result(first.number) is None
    assert sessions.happened(first.number)
    sessions.apply(first, state)
    assert state.applied == [b"b", b"a", b"c"]
    sessions.apply(Operation(operation_number(4, 2, 0), 0, b"d"), state)
    assert state.applied[-1] == b"d", "a new life of the client is a new session"


def test_an_operation_that_is_applied_after_a_later_one_that_knows_its_result_happens_all_the_same() -> None:
    """Where entries that commute come in any order: at this replica the first comes last."""
    sessions, state = Sessions(), Counting()
    first, third = Operation(operation_number(4, 1, 0), 0, b"a"), Operation(operation_number(4, 1, 2), 2, b"c")
    for operation in (third, first, third, first):
        sessions.apply(operation, state)
    assert state.applied == [b"c", b"a"]
    again = Sessions()
    again.restore(sessions.snapshot())
    assert again.happened(first.number)
    assert again.happened(third.number)
    assert not again.happened(operation_number(4, 1, 1))


def test_sessions_survive_a_snapshot() -> None:
    sessions, state = Sessions(), Counting()
    for seq in range(5):
        sessions.apply(Operation(operation_number(1 + seq % 2, 1, seq), seq // 2, b"x"), state)
    again = Sessions()
    again.restore(sessions.snapshot())
    assert again.snapshot() == sessions.snapshot()
    assert all(again.happened(operation_number(1 + seq % 2, 1, seq)) for seq in range(5))
