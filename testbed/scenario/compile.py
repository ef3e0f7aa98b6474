"""Scenario -> Plan: every seed drawn, every name resolved, nothing left to choose for an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nodes.core.config import NodeConfig, Peer
from testbed.faults import compile_orders
from testbed.plan import Fault, Plan, derive_seed
from testbed.scenario.model import Scenario
from testbed.scenario.resolve import Resolved, resolve
from topologies.fabric import Fabric, Link


def compile_plan(scenario: Scenario, base_dir: str | Path | None = None) -> Plan:
    """The plan of a scenario; equal scenarios give equal plans. Raises ScenarioError.

    base_dir: from where paths in the scenario count, when it was not loaded from a file.
    """
    if base_dir is not None and Path(base_dir) != scenario.base_dir:
        scenario = scenario.model_copy()
        scenario._base_dir, scenario._resolved = Path(base_dir), None
    resolved = resolve(scenario)
    faults = compile_orders(resolved.orders)
    return Plan(
        name=scenario.name,
        seed=scenario.seed,
        fabric=seeded_fabric(resolved, scenario.seed),
        nodes=_nodes(scenario, resolved),
        faults=faults,
        duration_ns=_last_instant_ns(scenario, faults) + resolved.settle_ns,
        epsilon_ns=scenario.protocol.window if scenario.epsilon is None else scenario.epsilon,
        capture=scenario.capture,
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


def _nodes(scenario: Scenario, resolved: Resolved) -> tuple[NodeConfig, ...]:
    protocol = replace(resolved.protocol, seed=derive_seed(scenario.seed, "protocol"))
    numbers = {host: number for number, host in enumerate(resolved.fabric.hosts)}
    members = tuple(numbers[host] for host in resolved.participants)
    return tuple(
        NodeConfig(
            node=numbers[host],
            name=host,
            peers=tuple(
                Peer(numbers[peer], peer, port.nic, port.mac)
                for peer in resolved.participants
                if peer != host
                for port in (resolved.routes.port(host, peer),)
            ),
            nics={end.nic: end.mac for end in resolved.routes.nics(host)},
            members=members,
            protocol=protocol,
            seed=derive_seed(scenario.seed, "node", numbers[host]),
        )
        for host in resolved.participants
    )


def _last_instant_ns(scenario: Scenario, faults: tuple[Fault, ...]) -> int:
    """The end of the last round, or the last fault whose instant is known, whichever is later."""
    instants: list[int] = []
    for fault in faults:
        leader = instants[fault.follows] if fault.follows >= 0 else 0
        instants.append(max(0, fault.at_ns) + (leader + fault.after_ns if fault.moment is None else 0))
    return max([scenario.protocol.rounds * scenario.protocol.period_ns, *instants])
