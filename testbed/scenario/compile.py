"""Scenario -> Plan: every seed drawn, every name resolved, nothing left to choose for an engine."""

from __future__ import annotations

from dataclasses import replace

from nodes.core.config import ProtocolConfig
from testbed.faults import compile_orders
from testbed.plan import Fault, Plan, PlannedNode, derive_seed
from testbed.scenario.load import Scenario
from testbed.scenario.resolve import Resolved
from topologies.fabric import Fabric, Link


def compile_plan(scenario: Scenario) -> Plan:
    """The plan of a scenario; equal scenarios give equal plans."""
    written, resolved = scenario.written, scenario.resolved
    faults = compile_orders(resolved.orders)
    return Plan(
        name=written.name,
        seed=written.seed,
        fabric=seeded_fabric(resolved, written.seed),
        protocol=replace(resolved.protocol, seed=derive_seed(written.seed, "protocol")),
        nodes=_nodes(resolved, written.seed),
        faults=faults,
        duration_ns=_last_instant_ns(resolved.protocol, faults) + resolved.settle_ns,
        epsilon_ns=written.protocol.window if written.epsilon is None else written.epsilon,
        capture=written.capture,
    )


def seeded_fabric(resolved: Resolved, seed: int) -> Fabric:
    """The fabric with its impairments; every direction has a seed of its own."""
    return replace(
        resolved.fabric,
        links=tuple(_seeded(resolved, index, link, seed) for index, link in enumerate(resolved.fabric.links)),
    )


def _seeded(resolved: Resolved, index: int, link: Link, seed: int) -> Link:
    ab, ba = (resolved.impairments[index, way].with_seed(derive_seed(seed, "link", index, way)) for way in ("ab", "ba"))
    return Link(link.a, link.b, ab, ba)


def _nodes(resolved: Resolved, seed: int) -> tuple[PlannedNode, ...]:
    numbers = {host: number for number, host in enumerate(resolved.fabric.hosts)}
    return tuple(
        PlannedNode(
            node=numbers[host],
            seed=derive_seed(seed, "node", numbers[host]),
            peers=None if resolved.peers is None else resolved.peers[numbers[host]],
        )
        for host in resolved.participants
    )


def _last_instant_ns(protocol: ProtocolConfig, faults: tuple[Fault, ...]) -> int:
    """The end of the last round, or the last fault whose instant is known, whichever is later."""
    instants: list[int] = []
    for fault in faults:
        leader = instants[fault.follows] if fault.follows >= 0 else 0
        instants.append(max(0, fault.at_ns) + (leader + fault.after_ns if fault.moment is None else 0))
    return max([protocol.length_ns, *instants])
