"""The disk: what was persisted is what a later life finds, less what befell the disk in between."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.nodes.core import Persist
from testbed.nodes.core.disk import DiskFullError, Log, State, Written

SMALL = 64 + 2 * 1000  # a header, and halves of 1000 bytes

Put = tuple[str, bytes | None]
puts = st.lists(st.tuples(st.text(max_size=2), st.none() | st.binary(max_size=40)), max_size=20)


def held(*lives: list[Put]) -> dict[str, bytes]:
    """What is on the disk after these."""
    latest = dict(itertools.chain(*lives))
    return {key: data for key, data in latest.items() if data is not None}


def new(size: int = 1 << 16) -> Log:
    """A new disk, in its first life."""
    log = Log(bytearray(size))
    assert log.recover(State.KEPT) == {}
    return log


def persist(log: Log, key: str, data: bytes | None, sync: bool = True, more: bool = False) -> None:
    log.append(key, data, more)
    if sync:
        log.sync()


@settings(max_examples=50)
@given(puts, puts, st.sampled_from([state for state in State if state is not State.LOST]))
def test_whatever_befalls_it_each_life_finds_the_latest_of_every_key_that_was_synced(
    first: list[Put], second: list[Put], state: State
) -> None:
    log = new()
    for life, before in ((first, []), (second, first)):
        assert log.recover(state) == held(before)
        for key, data in life:
            persist(log, key, data)
    assert log.recover(state) == held(first, second)
    assert log.recover(State.LOST) == {}


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (State.KEPT, {"a": b"synced", "b": b"not", "c": b"neither"}),
        (State.TORN, {"a": b"synced", "b": b"not"}),
        (State.UNSYNCED_LOST, {"a": b"synced"}),
        (State.LOST, {}),
    ],
)
def test_what_is_not_synced_outlives_the_process_and_not_the_power(state: State, found: dict[str, bytes]) -> None:
    """And what was not found never comes back."""
    log = new()
    persist(log, "a", b"synced")
    persist(log, "b", b"not", sync=False)
    persist(log, "c", b"neither", sync=False)
    assert log.recover(state) == found
    persist(log, "d", b"next life")
    for again in (State.KEPT, State.TORN, State.UNSYNCED_LOST):
        assert log.recover(again) == found | {"d": b"next life"}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_records_of_one_batch_are_found_together_or_not_at_all(state: State, written: int) -> None:
    log = new()
    disk = Written(keeps=True)
    for one in disk.news({"a": b"1", "b": b"1", "c": b"1"}):
        persist(log, *one)
    before = {} if state is State.LOST else {"a": b"1", "b": b"1", "c": b"1"}
    batch = disk.news({"a": b"2", "b": None, "c": b"2"})
    assert [(one.sync, one.more) for one in batch] == [(False, True), (False, True), (True, False)]
    for key, data, _, more in batch[:written]:
        log.append(key, data, more)  # the crash strikes before it is synced
    whole = written == 3 and state is State.KEPT
    assert log.recover(state) == ({"a": b"2", "c": b"2"} if whole else before)


def test_a_record_that_was_cut_is_no_record_and_the_log_goes_on_before_it() -> None:
    """Cut or garbled anywhere, by whatever means: the length or the checksum tells."""
    for at in range(1, 17):
        memory = bytearray(1 << 16)
        log = Log(memory)
        log.recover(State.KEPT)
        persist(log, "a", b"one")
        persist(log, "a", b"two")
        written = struct.unpack_from("@Q", memory)[0] >> 33
        memory[64 + written - at] ^= 0x10
        again = Log(memory)
        assert again.recover(State.KEPT) == {"a": b"one"}
        persist(again, "b", b"three")
        assert Log(memory).recover(State.KEPT) == {"a": b"one", "b": b"three"}


@pytest.mark.parametrize("state", [State.KEPT, State.TORN, State.UNSYNCED_LOST])
def test_the_log_is_written_anew_without_a_word_becoming_durable_or_lost(state: State) -> None:
    """When it has to be in between two records of a batch, the batch is still one."""
    log = new(SMALL)
    for _ in range(2):
        persist(log, "a", bytes(300))
    persist(log, "b", bytes(200))
    persist(log, "a", b"two", sync=False, more=True)
    persist(log, "b", bytes(250), sync=False, more=True)  # into the other half
    assert log.recover(state) == {"a": bytes(300), "b": bytes(200)}
    for _ in range(2):
        persist(log, "a", bytes(150), sync=False, more=True)
        persist(log, "b", bytes(100))
    assert log.recover(state) == {"a": bytes(150), "b": bytes(100)}


def test_what_was_overwritten_takes_no_room_for_good() -> None:
    log = new(SMALL)
    for number in range(500):
        persist(log, f"key {number % 3}", bytes([number % 256]) * 100)
    assert log.recover(State.KEPT) == {f"key {number % 3}": bytes([number % 256]) * 100 for number in range(497, 500)}


def test_a_disk_without_room_says_so_and_holds_what_it_held() -> None:
    log = new(SMALL)
    persist(log, "a", bytes(400))
    with pytest.raises(DiskFullError):
        log.append("b", bytes(700))
    persist(log, "b", b"fits")
    assert log.recover(State.KEPT) == {"a": bytes(400), "b": b"fits"}


def test_a_disk_that_is_full_takes_nothing_in_any_life_until_it_is_no_longer() -> None:
    log = new()
    persist(log, "a", b"1")
    log.append("a", b"2")
    log.set_full(True)
    with pytest.raises(DiskFullError):
        log.append("b", b"")
    log.sync()  # what was written needs no more room
    assert log.recover(State.UNSYNCED_LOST) == {"a": b"2"}
    assert log.recover(State.LOST) == {}
    with pytest.raises(DiskFullError):
        log.append("b", b"")
    log.set_full(False)
    persist(log, "b", b"")
    assert log.recover(State.KEPT) == {"b": b""}


def test_only_what_has_changed_is_written() -> None:
    disk = Written(keeps=True)
    assert disk.news({"a": b"1", "b": None}) == [Persist("a", b"1")]
    assert disk.news({"a": b"1"}) == []
