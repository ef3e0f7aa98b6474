"""Services on every engine that can serve, around the NIC of a replica that is mute for a while; and on the two that
can't keep what services promise: one whose log parts, one that has none."""

from __future__ import annotations

from collections import Counter

import pytest
from service_story import served

from testbed.history import History
from testbed.nodes.consensus.spec import EngineSpec
from testbed.nodes.core import Return
from testbed.nodes.core.record import Struck
from testbed.nodes.registry import engine_spec, engine_specs, service_names
from testbed.scenario import ScenarioError
from testbed.verdicts.model import Service

SERVICES = service_names()
HOLDING = [spec for spec in engine_specs() if spec.can_serve and spec.indulgent]
SQUARE = [(spec, SERVICES[(place + shift) % len(SERVICES)]) for place, spec in enumerate(HOLDING) for shift in (0, 4)]
"""Each engine with two services; shifted so that each service comes with as many engines as can be."""

MUTE = ["at 1ms nic_mute host1 for 5ms"]
"""host1 is a replica, the first that host4 asks, and leads where there is a leader."""


def story(consensus: str, service: str, faults: list[str]) -> tuple[History, Service]:
    """As many replicas as it takes to bear one crash, and two clients beside them, of 8 operations each."""
    n = next(n for n in range(3, 10) if engine_spec(consensus).most_f(n) >= 1)
    hosts = [f"host{number}" for number in range(1, n + 3)]
    clients = {"hosts": hosts[n:], "operations": 8, "think": "200us", "timeout": "2ms"}
    protocol = {"consensus": consensus, "f": 1, "participants": hosts[:n], "instances": 150}
    return served({"kind": service}, clients, faults, protocol=protocol, topology={"kind": "star", "hosts": n + 2})


def test_each_engine_has_two_services_and_each_service_three_engines() -> None:
    """All others that decide stand below."""
    deciding = {spec.name for spec in engine_specs() if spec.decides}
    assert deciding - {spec.name for spec in HOLDING} == {"ben_or", "floodset"}
    assert set(Counter(spec.name for spec, _ in SQUARE).values()) == {2}
    found = Counter(service for _, service in SQUARE)
    assert set(found) == set(SERVICES)
    assert min(found.values()) >= 3


@pytest.mark.parametrize(("spec", "service"), SQUARE, ids=[f"{service}-on-{spec.name}" for spec, service in SQUARE])
def test_every_operation_returns_and_all_that_is_promised_holds(spec: EngineSpec, service: str) -> None:
    """Clients that host1 does not answer ask others, and are answered while it is mute."""
    history, found = story(spec.name, service, MUTE)
    assert found.violations == found.unchecked == ()
    assert (found.done, found.open) == (16, 0)
    assert set(found.consistency.values()) | set(found.properties.values()) == {True}
    mute_ns, heard_ns = (event.t_ns for event in history.events.of_kind(Struck))
    assert any(mute_ns < event.t_ns < heard_ns for event in history.events.of_kind(Return))


def test_floodset_takes_a_mute_replica_for_a_dead_one_and_its_log_parts() -> None:
    """host1 decides on what it alone has heard of, the others without it: what clients were told is in no log that all
    replicas have. Where every window is met, it serves as well as others."""
    _, found = story("floodset", "all_reduce", [])
    assert found.holds
    assert (found.done, found.open) == (16, 0)
    _, found = story("floodset", "all_reduce", MUTE)
    assert not found.holds
    assert found.properties == {"durability": False, "barrier": True, "sums": True}
    first = found.violations[0]
    assert first.startswith("entry 2 of the log is [host4.1.0 contribute 0 0 2 ")
    assert " at host1 and [host5.1.0 contribute 0 1 2 " in first
    assert first.endswith(" at host2")


@pytest.mark.parametrize("service", SERVICES)
def test_ben_or_decides_bits_and_is_refused_with_those_that_can_serve_named(service: str) -> None:
    serving = " or ".join(spec.name for spec in engine_specs() if spec.can_serve)
    why = f"service: needs a log of bytes, and ben_or decides a bit at a time; take {serving}"
    with pytest.raises(ScenarioError, match=why):
        story("ben_or", service, [])
