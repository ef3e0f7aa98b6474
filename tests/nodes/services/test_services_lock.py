"""The lock: leases and tokens by themselves, and under load while those who hold it are cut off or held up."""

from __future__ import annotations

import pytest
from service_story import served

from testbed.history import History
from testbed.nodes.core import Return
from testbed.nodes.registry import engine_specs
from testbed.nodes.services.lock.load import LockLoad, Mix
from testbed.nodes.services.lock.table import Locks, lock_of
from testbed.nodes.services.spec import Asker
from testbed.nodes.services.words import pack_words, words_text


def ask(locks: Locks, *words: str | int) -> str:
    return words_text(locks.apply(pack_words(*words)))


def test_a_lock_is_held_until_it_is_released_or_its_lease_has_run_out_by_the_stamps_of_others() -> None:
    locks = Locks()
    assert ask(locks, "acquire", "a", "me", 100, 50) == "granted 1"
    assert ask(locks, "acquire", "a", "you", 149, 50) == "held me 1"
    assert ask(locks, "acquire", "b", "you", 9000, 50) == "granted 1", "each has a time of its own"
    assert ask(locks, "acquire", "a", "you", 150, 50) == "granted 2"
    assert ask(locks, "release", "a", 1) == "stale 2", "who lost it can't release it for another"
    assert ask(locks, "acquire", "a", "me", 160, 50) == "held you 2"
    assert ask(locks, "release", "a", 2) == "released"
    assert ask(locks, "release", "a", 2) == "stale 2"
    assert ask(locks, "acquire", "a", "me", 20, 50) == "granted 3", "an old stamp sets no time back"
    assert ask(locks, "acquire", "a", "you", 209, 50) == "held me 3", "it lasts from 160 on"


def test_what_it_guards_refuses_a_token_that_is_older_than_one_it_has_seen() -> None:
    locks = Locks()
    ask(locks, "acquire", "a", "me", 0, 10)
    ask(locks, "acquire", "a", "you", 10, 10)
    assert ask(locks, "write", "a", 1, "late") == "written", "nobody has written under another"
    assert ask(locks, "write", "a", 2, "new") == "written"
    assert ask(locks, "write", "a", 1, "later") == "fenced 2"
    assert ask(locks, "read", "a") == "is new 2"
    planted = Locks(["no_fencing"])
    ask(planted, "write", "a", 2, "new")
    assert ask(planted, "write", "a", 1, "later") == "written"


@pytest.mark.parametrize(
    "said",
    [b"", b"\xff", b"[" * 100_000, b"{}", b"[]", b'["acquire"]', b'["acquire",1,2,3,4]', b'["read","a",1]',
     b'["write","a",true,"x"]', b'["write","a",1.0,"x"]', b"[[]]"],
)  # fmt: skip
def test_what_is_no_command_is_refused_and_changes_nothing(said: bytes) -> None:
    locks = Locks()
    ask(locks, "acquire", "a", "me", 0, 10)
    before = locks.snapshot()
    assert words_text(locks.apply(said)) == "refused"
    assert locks.snapshot() == before
    assert lock_of(said) == ""


def test_a_snapshot_is_the_whole_state() -> None:
    locks, again = Locks(), Locks()
    for number in range(20):
        ask(locks, "acquire", f"a{number % 3}", "me", 10 * number, 15)
        ask(locks, "write", f"a{number % 3}", number, "x")
    ask(again, "acquire", "gone", "me", 0, 10)
    again.restore(locks.snapshot())
    assert again.snapshot() == locks.snapshot()
    assert ask(again, "acquire", "a0", "you", 185, 10) == ask(locks, "acquire", "a0", "you", 185, 10)


def test_a_client_writes_under_the_token_that_it_was_given_and_notices_when_it_is_fenced_off() -> None:
    load, locks, said = LockLoad(Asker(3, "host4.1"), Mix(writes=2, reads=0)), Locks(), []
    for number in range(8):
        call = load.call(number, number)
        if number == 5:
            ask(locks, "write", "lock0", 9, "from elsewhere")
        result = locks.apply(call)
        load.returned(call, result)
        said.append((words_text(call).split()[0], words_text(result)))
    assert said == [
        ("acquire", "granted 1"), ("write", "written"), ("write", "written"), ("release", "released"),
        ("acquire", "granted 2"), ("write", "fenced 9"), ("acquire", "held host4.1 2"), ("acquire", "held host4.1 2"),
    ]  # fmt: skip


CUT_OFF = ["at 5ms nic_down host4 for 6ms", "at 15ms nic_down host5 for 6ms"]
HELD_UP = ["at 4ms node_pause host4 for 6ms", "at 14ms node_pause host5 for 6ms"]
LOAD = {"mix": {"lease_ns": "2ms", "writes": 3}, "operations": 80, "timeout": "1ms"}


def fenced(history: History) -> int:
    returned = [one.what for one in history.events.of_kind(Return)]
    return sum(b"fenced" in what.result for what in returned if isinstance(what, Return))


@pytest.mark.parametrize("consensus", [spec.name for spec in engine_specs() if spec.can_serve])
def test_who_is_cut_off_with_a_write_on_its_way_is_fenced_off_on_every_engine(consensus: str) -> None:
    """The holder's NIC dies, its lease runs out, another takes over and writes; then the old write comes after all."""
    few = {"operations": 40}
    protocol = {"consensus": consensus, "instances": 400}
    _, service = served({"kind": "lock"}, {**LOAD, **few}, CUT_OFF, protocol=protocol)
    assert service.violations == ()
    assert service.consistency == {"linearizable": True}
    assert service.properties == {"durability": True, "exclusion": True}
    assert (service.done, service.open) == (80, 0)


def test_fencing_is_what_keeps_an_old_holder_out() -> None:
    history, sound = served({"kind": "lock"}, LOAD, CUT_OFF)
    assert sound.holds
    assert fenced(history) == 2
    history, planted = served({"kind": "lock"}, LOAD, CUT_OFF, ("no_fencing",))
    assert fenced(history) == 0
    assert planted.properties["exclusion"] is False
    assert any("wrote to lock0 under token" in told and "after operation host5" in told for told in planted.violations)


def test_a_client_that_is_held_up_past_its_lease_is_fenced_off_as_well() -> None:
    found = [served({"kind": "lock"}, LOAD, HELD_UP, seed=seed) for seed in range(2)]
    assert all(service.holds for _, service in found)
    assert sum(fenced(history) for history, _ in found) >= 1


def test_a_token_given_twice_is_seen() -> None:
    _, planted = served({"kind": "lock"}, LOAD, CUT_OFF, ("token_again",))
    assert planted.properties["exclusion"] is False
    assert any("by two: host" in told for told in planted.violations)
