"""Linearizable or not: against histories that others recorded and judged, and against trying every order."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jepsen import Appended, Register, key_of, read_register, read_store
from needs import MOOT, needs

from testbed.verdicts.linearizability import (
    Answer,
    Timed,
    least_contradiction,
    linearizable,
    sequentially_consistent,
)

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "linearizability"
needs_vectors = needs(MOOT, VECTORS.exists(), "the histories that others recorded are not here")


# -- what others recorded ------------------------------------------------------------------------------------------


@needs_vectors
def test_the_histories_of_a_real_etcd_are_judged_as_others_judged_them() -> None:
    verdicts = json.loads((VECTORS / "register" / "verdicts.json").read_text(encoding="utf-8"))
    found = {
        name: linearizable(read_register(VECTORS / "register" / name), Register()).answer is Answer.YES
        for name in verdicts
    }
    assert len(found) == 51
    assert found == verdicts


@needs_vectors
@pytest.mark.parametrize("name", ["c01-bad", "c01-ok", "c10-bad", "c10-ok"])
def test_the_histories_of_a_store_are_judged_key_by_key(name: str) -> None:
    history = read_store(VECTORS / "kv" / f"{name}.txt")
    answer = Answer.YES if name.endswith("ok") else Answer.NO
    assert linearizable(history, Appended(), key_of).answer is answer
    if name.startswith("c01"):  # whole the others take half a minute, and come to the same
        assert linearizable(history, Appended()).answer is answer


@needs_vectors
def test_what_is_drawn_of_a_bad_history_is_bad_by_itself_and_no_operation_of_it_is_idle() -> None:
    history = read_store(VECTORS / "kv" / "c01-bad.txt")
    found = linearizable(history, Appended(), key_of)
    least = least_contradiction(found.part, Appended())
    assert [one.call[0] for one in least] == ["append", "get"]
    assert linearizable(least, Appended()).answer is Answer.NO
    assert all(linearizable([one], Appended()).answer is Answer.YES for one in least[:1])


# -- against trying every order ------------------------------------------------------------------------------------


def orders(history: Sequence[Timed], real_time: bool) -> Iterator[tuple[Timed, ...]]:
    """Every order of every choice of what happened: all that returned, and any of the others."""
    returned = [one for one in history if one.returned is not None]
    others = [one for one in history if one.returned is None]
    for chosen in range(1 << len(others)):
        happened = [*returned, *(one for place, one in enumerate(others) if chosen >> place & 1)]
        for order in permutations(happened):
            if all(
                not _before(later, earlier, real_time)
                for place, earlier in enumerate(order)
                for later in order[place + 1 :]
            ):
                yield order


def _before(one: Timed, other: Timed, real_time: bool) -> bool:
    ordered = one.returned is not None and one.returned < other.called
    return ordered and (real_time or one.process == other.process)


def possible(history: Sequence[Timed], real_time: bool, begins: str = "nil") -> bool:
    for order in orders(history, real_time):
        state = begins
        for one in order:
            state, result = Register().apply(state, one.call)
            if one.returned is not None and result != one.result:
                break
        else:
            return True
    return False


@st.composite
def histories(draw: st.DrawFn) -> list[Timed]:
    """Up to six operations of three processes on a register of two values, some of which never return."""
    clock = draw(st.permutations(range(12)))
    found, free_at = [], dict.fromkeys("abc", -1)
    for number in range(draw(st.integers(1, 6))):
        process = draw(st.sampled_from("abc"))
        begin, end = sorted(clock[2 * number : 2 * number + 2])
        if begin <= free_at[process]:
            continue
        do = draw(st.sampled_from(["read", "write", "cas"]))
        words = draw(st.lists(st.sampled_from("12"), min_size=2, max_size=2))
        call = (do, *words[: {"read": 0, "write": 1, "cas": 2}[do]])
        result = draw(st.sampled_from({"read": ["nil", "1", "2"], "write": ["ok"], "cas": ["ok", "fail"]}[do]))
        if draw(st.integers(0, 4)):
            found.append(Timed(process, call, begin, result, end))
            free_at[process] = end
        else:
            found.append(Timed(process, call, begin))
            free_at[process] = 99
    return found


@settings(max_examples=250, deadline=None)
@given(histories())
def test_the_search_finds_an_order_exactly_when_there_is_one(history: list[Timed]) -> None:
    assert (linearizable(history, Register()).answer is Answer.YES) == possible(history, real_time=True)
    assert (sequentially_consistent(history, Register()).answer is Answer.YES) == possible(history, real_time=False)


@settings(max_examples=200, deadline=None)
@given(histories())
def test_the_least_contradiction_is_one_and_can_spare_no_operation(history: list[Timed]) -> None:
    if possible(history, real_time=True):
        return
    least = least_contradiction(history, Register())
    assert not possible(least, real_time=True)
    for spared in least:  # whenever it may have happened, the others are no contradiction any more
        begin = min(one.called for one in least)
        free = [one for one in least if one is not spared]
        free.append(spared._replace(called=begin, result=None, returned=None))
        assert any(possible(free, True, held) for held in ("nil", "1", "2"))


# -- stories ---------------------------------------------------------------------------------------------------------


def test_a_write_that_timed_out_may_be_seen_late_but_not_come_and_go() -> None:
    timed_out = Timed("a", ("write", "1"), 0)
    seen = Timed("b", ("read",), 10, "1", 11)
    assert linearizable([timed_out, Timed("b", ("read",), 5, "nil", 6), seen], Register()).answer is Answer.YES
    assert linearizable([timed_out, seen, Timed("b", ("read",), 15, "nil", 16)], Register()).answer is Answer.NO


def test_old_values_in_each_process_own_order_are_sequentially_consistent_and_not_linearizable() -> None:
    history = [Timed("a", ("write", "1"), 0, "ok", 1), Timed("b", ("read",), 2, "nil", 3)]
    assert linearizable(history, Register()).answer is Answer.NO
    assert sequentially_consistent(history, Register()).answer is Answer.YES
    assert sequentially_consistent([*history, Timed("a", ("read",), 4, "nil", 5)], Register()).answer is Answer.NO


def test_keys_that_are_sequentially_consistent_one_by_one_may_not_be_so_together() -> None:
    """Why sequential consistency is not judged key by key: each process misses the other's write (store buffers)."""
    history = [
        Timed("a", ("put", "x", "1"), 0, "ok", 1),
        Timed("b", ("put", "y", "1"), 0, "ok", 1),
        Timed("a", ("get", "y", ""), 2, "", 3),
        Timed("b", ("get", "x", ""), 2, "", 3),
    ]
    by_key = [[one for one in history if one.call[1] == key] for key in "xy"]
    assert all(sequentially_consistent(own, Appended()).answer is Answer.YES for own in by_key)
    assert sequentially_consistent(history, Appended()).answer is Answer.NO


def test_ten_thousand_operations_of_ten_clients_are_judged_and_one_stale_read_among_them_is_found() -> None:
    history = _recorded(10_000, seed=4)
    assert linearizable(history, Appended(), key_of).answer is Answer.YES
    place = max(place for place, one in enumerate(history) if one.call[0] == "get" and one.result)
    history[place] = history[place]._replace(result="never written")
    found = linearizable(history, Appended(), key_of)
    assert found.answer is Answer.NO
    assert [one.result for one in least_contradiction(found.part, Appended())] == ["never written"]


def _recorded(count: int, seed: int) -> list[Timed]:
    """A store of eight keys in which each operation happens at a random moment between its call and its return."""
    drawn, state, free_at = random.Random(seed), Appended().initial(), [0] * 10
    begun = []
    for number in range(count):
        process = drawn.randrange(10)
        called = free_at[process] + drawn.randrange(1, 20)
        happened = called + drawn.randrange(1, 20)
        free_at[process] = happened + drawn.randrange(1, 20)
        key = str(drawn.randrange(8))
        call = ("get", key, "") if drawn.random() < 0.5 else ("put", key, str(number))
        begun.append((happened, number, str(process), call, called, free_at[process]))
    found = []
    for _, _, process, call, called, returned in sorted(begun):
        state, result = Appended().apply(state, call)
        found.append(Timed(process, call, called, result, returned))
    return found


def test_a_search_that_takes_too_long_is_given_up_and_says_so() -> None:
    """Writes that never returned can stand in any order; no read tells which."""
    history = [Timed(str(number), ("write", str(number)), 0) for number in range(30)]
    history += [Timed("r", ("read",), 10, "nil", 11), Timed("s", ("cas", "x", "y"), 12, "ok", 13)]
    found = linearizable(history, Register(), steps=10_000)
    assert found.answer is Answer.OPEN
    assert found.steps > 10_000
