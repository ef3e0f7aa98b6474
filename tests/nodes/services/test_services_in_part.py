"""A service on an engine whose order is partial: replicas apply what commutes in orders of their own, and clients see
one store all the same."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial

import pytest

from testbed.engines.sim import SimEngine
from testbed.history import Event, Events, History
from testbed.nodes.core import Apply
from testbed.nodes.core.commuting import Commuting, Touch
from testbed.nodes.registry import build_machine, service_spec
from testbed.nodes.services.kv.store import cas, get, put
from testbed.nodes.services.log import Operation, operation_number, pack_entry
from testbed.nodes.services.touching import CLASSES, Touching
from testbed.plan import Plan
from testbed.scenario import compile_plan, from_data
from testbed.verdicts import judge
from testbed.verdicts.model import Service, Verdicts
from testbed.verdicts.service import judge_service

NIC_CRASHES = [
    {"at": "6ms", "do": "nic_mute", "on": "host1", "for": "6ms"},
    {"at": "16ms", "do": "nic_down", "on": "host2", "for": "6ms"},
    {"at": "26ms", "do": "node_kill", "on": "host3", "for": "3ms", "state": "torn"},
]


@cache
def story(
    seed: int = 1, pitfalls: Collection[str] = (), keys: int = 3, timeout: str = "3ms"
) -> tuple[Plan, History, Verdicts]:
    """Three replicas (host1 to host3), of which one after another is away, and three clients of 60 operations each."""
    plan = compile_plan(
        from_data(
            {
                "name": "x",
                "topology": {"kind": "star", "hosts": 6},
                "links": {"default": {"delay": "20us", "jitter": "5us", "loss": 0.01}},
                "protocol": {"consensus": "epaxos", "f": 1, "window": "1ms", "instances": 250, "retry": "300us",
                             "participants": ["host[123]"]},
                "service": {"kind": "kv", "snapshot_every": 16},
                "clients": {"hosts": ["host[456]"], "operations": 60, "think": "100us", "timeout": timeout,
                            "mix": {"keys": keys}},
                "faults": NIC_CRASHES,
                "seed": seed,
            }
        )
    )  # fmt: skip
    history = SimEngine(build=partial(build_machine, pitfalls=pitfalls)).run(plan)
    return plan, history, judge(plan, history)


def orders(history: History) -> dict[str, tuple[bytes, ...]]:
    """What each node has applied, in all its lives."""
    found: dict[str, tuple[bytes, ...]] = {}
    for event in history.events.of_kind(Apply):
        assert isinstance(event.what, Apply)
        found[event.node] = (*found.get(event.node, ()), event.what.value)
    return found


def test_clients_see_one_store_whatever_orders_replicas_have() -> None:
    _, history, verdicts = story()
    service, consensus = verdicts.service, verdicts.consensus
    assert service is not None
    assert consensus is not None
    assert service.violations == ()
    assert (service.done, service.open, service.entries) == (180, 0, 180)
    assert service.consistency == {"linearizable": True}
    assert consensus.disagreements == consensus.invalid == consensus.repeated == consensus.disordered == ()
    assert (consensus.decided, consensus.undecided) == (consensus.instances, ())
    applied = orders(history)
    assert applied["host1"] != applied["host2"]
    assert sorted(applied["host1"]) == sorted(applied["host2"])
    assert len(applied["host3"]) > 180, "its second life carries out again what was committed"


def test_what_impatient_clients_ask_of_several_replicas_stands_in_several_entries_and_happens_once() -> None:
    _, _, verdicts = story(timeout="170us")
    service, consensus = verdicts.service, verdicts.consensus
    assert service is not None
    assert consensus is not None
    assert service.violations == ()
    assert service.done == 180
    assert service.entries > 200
    assert consensus.disagreements == consensus.repeated == ()


@pytest.mark.parametrize("pitfall", ["dependencies_not_merged", "hole_skipped", "cycle_executed_in_arrival_order"])
def test_replicas_that_part_are_seen(pitfall: str) -> None:
    """``keys``: one, so that everything conflicts. Whichever seed shows it first."""
    seen = (story(seed, (pitfall,), 1)[2] for seed in range(8))
    found = next(verdicts for verdicts in seen if verdicts.service is not None and not verdicts.service.holds)
    assert found.consensus is not None
    assert found.consensus.disagreements


# -- damage ------------------------------------------------------------------------------------------------------------


def judged(change: Callable[[Event], Event | None]) -> Service:
    """The verdict on the record with rows replaced, or left out."""
    plan, history, _ = story()
    events = [changed for event in history.events if (changed := change(event)) is not None]
    found = judge_service(plan, replace(history, events=Events.of(events, history.names)))
    assert found is not None
    return found


def test_two_that_conflict_and_change_places_at_one_replica_are_seen_and_two_that_commute_are_not() -> None:
    _, history, _ = story()
    rules = Commuting(CLASSES, Touching(service_spec("kv")))
    applied = orders(history)["host2"]
    for commute in (True, False):
        one = next(
            place
            for place in range(40, 100)
            if (rules.chain(applied[place + 1]) not in rules.conflicting(rules.chain(applied[place]))) == commute
        )
        swapped = {one: applied[one + 1], one + 1: applied[one]}

        def damage(event: Event, swapped: dict[int, bytes] = swapped) -> Event:
            if event.node != "host2" or not isinstance(event.what, Apply) or event.what.entry not in swapped:
                return event
            return event._replace(what=event.what._replace(value=swapped[event.what.entry]))

        assert judged(damage).holds == commute


def test_an_entry_that_nobody_decided_or_that_is_left_out_at_one_replica_is_seen() -> None:
    def forge(event: Event) -> Event:
        if event.node != "host1" or not isinstance(event.what, Apply) or event.what.entry != 50:
            return event
        return event._replace(what=event.what._replace(value=pack_entry([Operation(7, 0, put(b"k0", b"x"))])))

    assert any("nobody decided it" in told for told in judged(forge).violations)
    left_out = judged(lambda e: None if e.node == "host1" and isinstance(e.what, Apply) and e.what.entry == 50 else e)
    assert any("contradicts the others'" in told or "stands elsewhere" in told for told in left_out.violations)


# -- what commutes -----------------------------------------------------------------------------------------------------


def test_commands_conflict_by_their_keys_and_reads_with_none_of_their_like() -> None:
    touching = Touching(service_spec("kv"))

    def touch(*commands: bytes) -> Touch:
        return touching(
            pack_entry([Operation(operation_number(1, 1, place), 0, one) for place, one in enumerate(commands)])
        )

    assert touch(put(b"k", b"1")) == touch(cas(b"k", b"1", None)) == touch(get(b"k"))._replace(reads=False)
    assert touch(get(b"k")).reads
    assert touch(put(b"k", b"1")).part != touch(put(b"l", b"1")).part
    assert touch(put(b"k", b"1"), put(b"l", b"1")) == touch() == touching(b"no entry") == Touch(None)


def test_what_touches_more_than_one_part_conflicts_with_everything() -> None:
    rules = Commuting(2, lambda value: Touch(None if value == b"*" else value[0], value[1:] == b"r"))
    wide = rules.chain(b"*")
    chains = {rules.chain(value) for value in (b"\0", b"\0r", b"\1", b"\1r", b"*")}
    assert chains == set(rules.conflicting(wide)) == set(range(rules.chains))
    for one in chains:
        for other in chains:
            assert (one in rules.conflicting(other)) == (other in rules.conflicting(one))
    assert rules.chain(b"\0r") not in rules.conflicting(rules.chain(b"\0r"))
    assert rules.chain(b"\2") == rules.chain(b"\0")
