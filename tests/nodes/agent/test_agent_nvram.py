"""NVRAM: what was persisted is what a restart finds, wherever the process was killed."""

from __future__ import annotations

import itertools
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.agent import nvram as module
from nodes.agent.nvram import NVRAM_BYTES, DiskFullError, Nvram

Put = tuple[str, bytes | None]
puts = st.tuples(st.text(max_size=2), st.none() | st.binary(max_size=40))


def held(*lives: list[Put]) -> dict[str, bytes]:
    """What is on the disk after these."""
    latest = dict(itertools.chain(*lives))
    return {key: data for key, data in latest.items() if data is not None}


def memory() -> int:
    fd = os.memfd_create("nvram")
    os.truncate(fd, NVRAM_BYTES)
    return fd


def test_a_new_disk_is_empty() -> None:
    assert Nvram(memory()).disk() == {}


@settings(max_examples=50)
@given(st.lists(puts, max_size=20), st.lists(puts, max_size=20))
def test_each_life_finds_the_latest_of_every_key(first: list[Put], second: list[Put]) -> None:
    fd = memory()
    for life, before in ((first, []), (second, first)):
        disk = Nvram(fd)
        assert disk.disk() == held(before)
        for key, data in life:
            disk.persist(key, data)
    assert Nvram(fd).disk() == held(first, second)
    os.close(fd)


def test_a_torn_last_record_is_no_record_and_the_log_goes_on_before_it() -> None:
    fd = memory()
    disk = Nvram(fd)
    disk.persist("a", b"one")
    disk.persist("a", b"two")
    written = struct.unpack("@Q", os.pread(fd, 8, 0))[0] >> 1
    os.pwrite(fd, b"?", 64 + written - 1)  # the last byte never came to the disk
    assert Nvram(fd).disk() == {"a": b"one"}
    Nvram(fd).persist("b", b"three")
    assert Nvram(fd).disk() == {"a": b"one", "b": b"three"}


def test_what_is_not_synced_is_there_when_something_after_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the log is written anew in between: records of one event are there together or not at all."""
    monkeypatch.setattr(module, "_HALF_BYTES", 1000)
    fd = memory()
    disk = Nvram(fd)
    disk.persist("a", bytes(400))
    for size in (300, 350):
        disk.persist("b", bytes(size), sync=False)
        assert Nvram(fd).disk() == {"a": bytes(400)}
    disk.persist("a", b"two")
    assert Nvram(fd).disk() == {"a": b"two", "b": bytes(350)}


def test_values_of_many_instances_fit_and_are_written_over_and_over() -> None:
    """1,600 of 4 KiB, each three times: 20 MB written, 6.5 MB held."""
    fd = memory()
    disk = Nvram(fd)
    for time in range(3):
        for instance in range(1600):
            disk.persist(f"instance {instance}", bytes([time]) * 4096)
    assert Nvram(fd).disk() == {f"instance {instance}": b"\2" * 4096 for instance in range(1600)}


def test_a_disk_that_is_erased_is_empty_for_good() -> None:
    fd = memory()
    disk = Nvram(fd)
    disk.persist("a", b"one")
    disk.erase()
    assert Nvram(fd).disk() == {}
    disk.persist("b", b"two")
    assert Nvram(fd).disk() == {"b": b"two"}


def test_what_was_overwritten_takes_no_room_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HALF_BYTES", 1000)
    fd = memory()
    disk = Nvram(fd)
    for number in range(500):
        disk.persist(f"key {number % 3}", bytes([number % 256]) * 100)
    assert Nvram(fd).disk() == {f"key {number % 3}": bytes([number % 256]) * 100 for number in range(497, 500)}


def test_a_full_disk_says_so_and_holds_what_it_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HALF_BYTES", 1000)
    fd = memory()
    disk = Nvram(fd)
    disk.persist("a", bytes(400))
    with pytest.raises(DiskFullError, match="room for 1000"):
        disk.persist("b", bytes(700))
    assert Nvram(fd).disk() == {"a": bytes(400)}
