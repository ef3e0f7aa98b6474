"""NVRAM: a node's disk outlives its process, and takes memory only for what is written."""

from __future__ import annotations

import os

import pytest

from testbed.nodes.agent.nvram import nvram, set_full
from testbed.nodes.core.disk import DISK_BYTES, DiskFullError, State


def memory() -> int:
    fd = os.memfd_create("nvram")
    os.truncate(fd, DISK_BYTES)
    return fd


def test_what_one_process_writes_the_next_one_finds() -> None:
    fd = memory()
    child = os.fork()
    if child == 0:
        log = nvram(fd)
        log.recover(State.LOST)
        log.append("a", b"synced")
        log.sync()
        log.append("b", b"not")
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert nvram(fd).recover(State.KEPT) == {"a": b"synced", "b": b"not"}
    os.close(fd)


def test_a_disk_becomes_full_under_its_process_and_free_again() -> None:
    fd = memory()
    log = nvram(fd)
    log.recover(State.LOST)
    set_full(fd, True)
    with pytest.raises(DiskFullError):
        log.append("a", b"")
    set_full(fd, False)
    log.append("a", b"")
    os.close(fd)


def test_values_of_many_instances_fit_and_are_written_over_and_over() -> None:
    """1,600 of 4 KiB, each three times: 20 MB written, 6.5 MB held."""
    fd = memory()
    log = nvram(fd)
    log.recover(State.LOST)
    for time in range(3):
        for instance in range(1600):
            log.append(f"instance {instance}", bytes([time]) * 4096)
            log.sync()
    assert log.recover(State.KEPT) == {f"instance {instance}": b"\2" * 4096 for instance in range(1600)}
    os.close(fd)
