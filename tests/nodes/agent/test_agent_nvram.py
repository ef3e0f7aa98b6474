"""NVRAM: the last state that was stored whole is what a restart finds, wherever the process was killed."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.agent import nvram as module
from nodes.agent.nvram import NVRAM_BYTES, SLOT_BYTES, Nvram, NvramError


def memory() -> int:
    fd = os.memfd_create("nvram")
    os.truncate(fd, NVRAM_BYTES)
    return fd


def test_before_the_first_store_there_is_no_state() -> None:
    with pytest.raises(NvramError, match="no state"):
        Nvram(memory()).load()


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers()), min_size=1, max_size=6))
def test_another_process_finds_the_last_state(states: list[dict[str, int]]) -> None:
    fd = memory()
    writer = Nvram(fd)
    for state in states:
        writer.store(state)
    assert Nvram(fd).load() == states[-1]
    os.close(fd)


def test_killed_while_it_writes_the_next_state_the_one_before_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(Exception):
        pass

    class Flip:  # the power goes after the state's bytes are written and before the index flips
        size = module._FLIP.size
        unpack_from = staticmethod(module._FLIP.unpack_from)

        @staticmethod
        def pack_into(*_: object) -> None:
            raise KilledError

    fd = memory()
    store = Nvram(fd)
    for number in range(5):
        store.store({"number": number})
        with monkeypatch.context() as patch:
            patch.setattr(module, "_FLIP", Flip)
            with pytest.raises(KilledError):
                store.store({"half": "written" * 100})
        assert Nvram(fd).load() == {"number": number}


def test_a_state_that_does_not_fit_is_refused_and_the_old_one_stays() -> None:
    store = Nvram(memory())
    store.store("small")
    with pytest.raises(NvramError, match="does not fit"):
        store.store(bytes(SLOT_BYTES + 1))
    assert store.load() == "small"
