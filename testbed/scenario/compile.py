"""Scenario -> Plan: every seed drawn, every name resolved, nothing left to choose for an engine."""

from __future__ import annotations

from dataclasses import asdict, replace

from testbed.faults import compile_orders
from testbed.nodes.core.clock import PPB, Clock
from testbed.nodes.core.config import CLIENT, MEMBER, RELAY, Program, ProtocolConfig
from testbed.nodes.services.client import ClientParameters
from testbed.plan import Container, Fault, Plan, PlannedNode, derive_seed
from testbed.scenario.load import Scenario
from testbed.scenario.model import ContainerNodes, Written
from testbed.scenario.resolve import Resolved
from testbed.topologies.fabric import Fabric, Link


def compile_plan(scenario: Scenario) -> Plan:
    """The plan of a scenario; equal scenarios give equal plans."""
    written, resolved = scenario.written, scenario.resolved
    faults = compile_orders(resolved.orders, written.seed)
    return Plan(
        name=written.name,
        seed=written.seed,
        fabric=seeded_fabric(resolved, written.seed),
        protocol=replace(resolved.protocol, seed=derive_seed(written.seed, "protocol")),
        nodes=_nodes(written, resolved),
        faults=faults,
        duration_ns=_last_instant_ns(resolved.protocol, faults) + resolved.settle_ns + _lag_ns(resolved, faults),
        epsilon_ns=written.protocol.window if written.epsilon is None else written.epsilon,
        capture=resolved.capture,
        container=_container(written.nodes),
    )


def _container(nodes: str | ContainerNodes) -> Container | None:
    if isinstance(nodes, ContainerNodes):
        return Container(nodes.cpus or 0.0, nodes.memory or 0)
    return Container() if nodes == "container" else None


def seeded_fabric(resolved: Resolved, seed: int) -> Fabric:
    """The fabric with its impairments; every direction has a seed of its own."""
    return replace(
        resolved.fabric,
        links=tuple(_seeded(resolved, index, link, seed) for index, link in enumerate(resolved.fabric.links)),
    )


def _seeded(resolved: Resolved, index: int, link: Link, seed: int) -> Link:
    ab, ba = (resolved.impairments[index, way].with_seed(derive_seed(seed, "link", index, way)) for way in ("ab", "ba"))
    return Link(link.a, link.b, ab, ba)


def _nodes(written: Written, resolved: Resolved) -> tuple[PlannedNode, ...]:
    numbers = {host: number for number, host in enumerate(resolved.fabric.hosts)}
    members = tuple(numbers[host] for host in resolved.participants)
    clients = tuple(numbers[host] for host in resolved.clients)
    cells = tuple(numbers[cell] for cell in resolved.cells)
    programs = {
        **dict.fromkeys(members, _member(written)),
        **{client: _client(written, resolved, place) for place, client in enumerate(clients)},
        **dict.fromkeys(cells, Program(RELAY)),
    }

    def peers(node: int) -> tuple[int, ...] | None:
        if node in cells:
            return ()
        if clients:
            others = tuple(member for member in members if member != node)
            return others if node in clients else others + clients
        return None if resolved.peers is None else resolved.peers[node]

    def clock(node: int) -> Clock | None:
        own = resolved.clocks.get(resolved.fabric.hosts[node])
        return own and replace(own, seed=derive_seed(written.seed, "clock", node))

    return tuple(
        PlannedNode(
            node,
            derive_seed(written.seed, "node", node),
            peers(node),
            programs[node],
            resolved.lies.get(node, ()),
            clock(node),
        )
        for node in sorted(programs)
    )


def _member(written: Written) -> Program:
    service = written.service
    if service is None:
        return Program()
    return Program(MEMBER, service.kind, service.model_dump(exclude={"kind"}))


def _client(written: Written, resolved: Resolved, place: int) -> Program:
    service, clients = written.service, written.clients
    if service is None or clients is None:
        return Program()
    parameters = ClientParameters(
        operations=clients.operations,
        think_ns=clients.think or 0,
        every_ns=clients.every or 0,
        timeout_ns=clients.timeout or 10 * written.protocol.window,
        place=place,
        of=len(resolved.clients),
        mix=resolved.mix,
    )
    return Program(CLIENT, service.kind, asdict(parameters))


def _lag_ns(resolved: Resolved, faults: tuple[Fault, ...]) -> int:
    """How much longer the last round may last where clocks are behind: a bound."""
    length_ns, lag_ns = resolved.protocol.length_ns, 0
    for host in {*resolved.clocks, *(fault.target for fault in faults if fault.verb.startswith("clock_"))}:
        clock = resolved.clocks.get(host, Clock())
        struck = [fault for fault in faults if fault.target == host and fault.amount < 0]
        behind_ns = max(0, -clock.error_ns(0, length_ns)[0] - 1)
        behind_ns -= sum(fault.amount for fault in struck if fault.verb == "clock_step")
        behind_ns -= sum(fault.amount * length_ns // PPB for fault in struck if fault.verb == "clock_drift")
        lag_ns = max(lag_ns, behind_ns)
    return lag_ns + lag_ns // 8  # while it is behind it goes on losing, at most a tenth


def _last_instant_ns(protocol: ProtocolConfig, faults: tuple[Fault, ...]) -> int:
    """The end of the last round, or the last fault whose instant is known, whichever is later."""
    instants: list[int] = []
    for fault in faults:
        leader = instants[fault.follows] if fault.follows >= 0 else 0
        instants.append(max(0, fault.at_ns) + (leader + fault.after_ns if fault.moment is None else 0))
    return max([protocol.length_ns, *instants])
