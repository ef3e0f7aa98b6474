"""Reads that are no entries of the log, by read index, by lease, and local ones: what each is safe from."""

from __future__ import annotations

from typing import Any

import pytest
from service_story import served

from testbed.history import History
from testbed.nodes.core import Apply, Invoke, Return
from testbed.nodes.core.inputs import draw
from testbed.nodes.registry import engine_specs, service_names, service_spec
from testbed.nodes.services.kv.store import Do
from testbed.nodes.services.log import read_entry
from testbed.nodes.services.spec import Asker
from testbed.scenario import ScenarioError
from testbed.verdicts.model import Service

OPEN = {
    "operations": 150,
    "think": None,
    "every": "150us",
    "timeout": "50ms",
    "mix": {"get": 30, "put": 1, "cas": 0, "keys": 4},
}
"""Clients that go on reading while what they write is not answered, and stay with their replicas."""

CLOSED = {"operations": 100, "mix": {"keys": 2, "get": 2}}


def story(
    reads: str, faults: list[Any], pitfalls: tuple[str, ...] = (), clients: dict[str, Any] = CLOSED, **settings: Any
) -> tuple[History, Service]:
    """Three replicas of a key-value store, and two clients."""
    return served({"kind": "kv", "reads": reads}, clients, faults, pitfalls, **settings)


def gets(history: History) -> tuple[int, int]:
    """How many gets returned, and how many of the log's operations are gets."""
    asked = {one.what.operation: one.what.call for one in history.events.of_kind(Invoke)}  # type: ignore[union-attr]
    returned = {one.what.operation for one in history.events.of_kind(Return)}  # type: ignore[union-attr]
    entries = {one.what.entry: one.what.value for one in history.events.of_kind(Apply)}  # type: ignore[union-attr]
    logged = [one.command for value in entries.values() for one in read_entry(value) or ()]
    return (
        sum(asked[number][0] == Do.GET for number in returned),
        sum(command[0] == Do.GET for command in logged),
    )


CONFIRMED = [(spec.name, mode) for spec in engine_specs() for mode in spec.reads if mode in ("index", "lease")]


@pytest.mark.parametrize(("consensus", "reads"), CONFIRMED)
def test_what_is_read_without_an_entry_is_linearizable_though_the_leaders_nic_dies(consensus: str, reads: str) -> None:
    """One replica after another loses its carrier for a while under load, the one that leads among them."""
    faults = [
        {"at": f"{4 + 10 * place}ms", "do": "nic_down", "on": f"host{1 + place}", "for": "6ms"} for place in (0, 1, 2)
    ]
    history, service = story(reads, faults, protocol={"consensus": consensus})
    assert service.violations == ()
    assert service.consistency == {"linearizable": True}
    assert (service.done, service.open) == (200, 0)
    read, logged = gets(history)
    assert read > 60
    assert logged == 0


PARTED = ["at 3ms partition host1 | host2,host3 for 30ms"]
"""host1, which leads, is parted from the other replicas, and hears its clients all the time."""


@pytest.mark.parametrize(
    ("bound", "pitfalls", "safe"),
    [(100_000, (), True), (100, (), False), (100_000, ("lease_ignores_drift",), False)],
    ids=["clocks keep their bound", "clocks drift past it", "planted: the bound is not kept"],
)
def test_a_lease_is_as_good_as_the_bound_on_clocks(bound: int, pitfalls: tuple[str, ...], safe: bool) -> None:
    """host1's clock is slow and that of host2 fast, so that host1 takes its lease to last when host2 leads already."""
    clocks = {"host1": {"drift": "-100000ppm"}, "host2": {"drift": "100000ppm"}}
    protocol = {"parameters": {"patience": 40, "drift_ppm": bound}}
    _, service = story("lease", PARTED, pitfalls, OPEN, clocks=clocks, protocol=protocol)
    assert service.consistency == {"linearizable": safe}
    if not safe:
        assert ("host4", "get") in {(one.client, one.call.split()[0]) for one in service.contradiction}


def test_local_reads_are_old_where_a_replica_is_cut_off_and_yet_sequentially_consistent() -> None:
    _, service = story("local", PARTED, clients=OPEN)
    assert service.consistency == {"sequentially consistent": True, "linearizable": False}
    assert service.holds, "nothing more was promised"
    assert ("host4", "get") in {(one.client, one.call.split()[0]) for one in service.contradiction}
    _, service = story("index", PARTED, clients=OPEN)
    assert service.consistency == {"linearizable": True}, "who asks whether it still leads is not answered"


@pytest.mark.parametrize("consensus", ["multi_paxos", "paxos"])
def test_a_client_never_sees_an_older_state_than_before_whichever_replica_it_asks(consensus: str) -> None:
    """host3 is cut off, and then host5 leaves host2, which is dead, for it."""
    faults = ["at 3ms partition host3 | host1,host2 for 25ms", "at 8ms nic_down host2 for 25ms"]
    protocol = {"consensus": consensus, "instances": 250}
    clients = {"operations": 150, "mix": {"get": 20, "cas": 0, "keys": 1}}
    _, sound = story("local", faults, (), clients, protocol=protocol)
    assert sound.consistency["sequentially consistent"]
    _, planted = story("local", faults, ("read_behind_client",), clients, protocol=protocol)
    assert not planted.consistency["sequentially consistent"]
    (told,) = planted.violations
    assert "not sequentially consistent: no order of them goes beyond" in told
    assert "host5 " in told


def test_ways_to_read_that_an_engine_has_not_are_refused_in_a_line_that_names_those_that_have() -> None:
    told = r"service\.reads: paxos reads by log or local; lease needs .*multi_paxos"
    with pytest.raises(ScenarioError, match=told):
        story("lease", [], protocol={"consensus": "paxos"})
    serving = " or ".join(spec.name for spec in engine_specs() if spec.can_serve and spec.name != "epaxos")
    with pytest.raises(ScenarioError, match=rf"service\.reads: epaxos reads by log; local needs {serving}$"):
        story("local", [], protocol={"consensus": "epaxos"})
    with pytest.raises(ScenarioError, match=r"service\.reads: 'leases' is not known here; did you mean 'lease'"):
        story("leases", [])


@pytest.mark.parametrize("name", service_names())
def test_what_a_service_says_only_reads_changes_nothing(name: str) -> None:
    spec = service_spec(name)
    state = spec.build()
    loads = [spec.load(Asker(3, f"host{4 + place}.1", place, 2), spec.mix()) for place in range(2)]
    read = 0
    for number in range(200):
        load = loads[draw("turn", number) % 2]
        call = load.call(number, 1000 * number)
        before = state.snapshot()
        load.returned(call, state.apply(call))
        if spec.only_reads(call):
            read += 1
            assert state.snapshot() == before
    assert read > 0
