"""The key-value store: what its commands do, and that its bytes tell all of it."""

from __future__ import annotations

import random

from testbed.nodes.registry import service_names, service_spec
from testbed.nodes.services.kv.load import KvLoad, Mix
from testbed.nodes.services.kv.store import Store, Went, call_text, cas, get, put, read_command, result, result_text
from testbed.nodes.services.spec import Asker


def test_what_is_put_is_got_and_an_exchange_needs_what_is_there() -> None:
    store = Store()
    assert store.apply(get(b"k")) == result(Went.ABSENT)
    assert store.apply(cas(b"k", b"new", b"old")) == result(Went.ABSENT)
    assert store.apply(cas(b"k", b"one", None)) == result(Went.OK, b"one")
    assert store.apply(cas(b"k", b"two", None)) == result(Went.DIFFERS, b"one")
    assert store.apply(cas(b"k", b"two", b"one")) == result(Went.OK, b"two")
    assert store.apply(put(b"k", b"")) == result(Went.OK, b"")
    assert store.apply(get(b"k")) == result(Went.OK, b"")
    assert store.apply(cas(b"k", b"three", b"")) == result(Went.OK, b"three"), "empty is not absent"


def test_what_is_no_command_is_refused_and_changes_nothing() -> None:
    rng, store = random.Random(7), Store()
    store.apply(put(b"k", b"v"))
    before = store.snapshot()
    whole = cas(b"key", b"new", b"old")
    for damaged in (b"", b"\x09", whole[:-1], whole + b"\0", put(b"k", b"v")[:3], *map(rng.randbytes, range(1, 200))):
        if read_command(damaged) is None:
            assert store.apply(damaged) == result(Went.REFUSED)
            assert store.snapshot() == before


def test_a_snapshot_is_the_whole_state_in_the_same_bytes_whatever_the_order() -> None:
    one, other = Store(), Store()
    for number in range(50):
        one.apply(put(b"k%d" % number, bytes([number])))
        other.apply(put(b"k%d" % (49 - number), bytes([49 - number])))
    assert one.snapshot() == other.snapshot()
    again = Store()
    again.apply(put(b"gone", b"x"))
    again.restore(one.snapshot())
    assert again.held == one.held
    assert again.snapshot() == one.snapshot()


def test_commands_and_results_in_words() -> None:
    assert call_text(cas(b"k1", b"new", b"old")) == "cas k1 new old"
    assert call_text(b"\xff") == "no command"
    assert result_text(result(Went.OK, b"new")) == "ok new"
    assert result_text(result(Went.ABSENT)) == "absent"


def test_a_load_is_drawn_from_its_seed_writes_each_value_once_and_expects_what_it_saw() -> None:
    mix = Mix(get=1, put=1, cas=2, keys=2)
    calls = [KvLoad(Asker(5, "host4.1"), mix).call(number, 0) for number in range(200)]
    assert calls == [KvLoad(Asker(5, "host4.1"), mix).call(number, 0) for number in range(200)]
    assert calls != [KvLoad(Asker(6, "host4.1"), mix).call(number, 0) for number in range(200)]
    told = [said for said in map(read_command, calls) if said is not None]
    assert len(told) == 200
    assert {said[0].name for said in told} == {"GET", "PUT", "CAS"}
    written = [fields[1] for do, fields in told if do.name != "GET"]
    assert len(set(written)) == len(written)
    load, store = KvLoad(Asker(5, "host4.1"), mix), Store()
    went = []
    for number in range(200):
        call = load.call(number, 0)
        outcome = store.apply(call)
        load.returned(call, outcome)
        if call[0] == 3:
            went.append(Went(outcome[0]))
    assert set(went[10:]) == {Went.OK}, "alone, a client always knows what is there"


def test_services_are_found_by_their_folders() -> None:
    for name in service_names():
        spec = service_spec(name)
        assert spec.name == name
        assert spec.title
        state = spec.build()
        fresh = state.snapshot()
        assert isinstance(state.apply(spec.load(Asker(1, "x"), spec.mix()).call(0, 0)), bytes)
        state.restore(fresh)
        assert state.snapshot() == fresh
