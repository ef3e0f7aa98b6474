"""A scenario with every value resolved, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.faults import describe as describe_fault
from testbed.faults import describe_lie
from testbed.nodes.consensus.spec import INSTANCES, LOCAL, LOG, EngineSpec
from testbed.nodes.core import INDEX, LEASE
from testbed.nodes.core.clock import Clock
from testbed.nodes.core.config import ProtocolConfig
from testbed.nodes.core.text import drift_text
from testbed.nodes.registry import engine_spec, service_spec
from testbed.plan import Captures, Container, Plan
from testbed.scenario.compile import compile_plan
from testbed.scenario.load import Scenario
from testbed.scenario.model import MeasuredDelays
from testbed.scenario.neighbourhoods import ALL
from testbed.scenario.parameters import parameters_text
from testbed.scenario.samples import load_samples
from testbed.scenario.selectors import is_of_a_place, parse_selector, selected
from testbed.scenario.units import spell_signed_time, spell_size
from testbed.topologies.draw import describe as describe_impairment
from testbed.topologies.draw import spell_time
from testbed.topologies.fabric import Fabric
from testbed.topologies.netem import tc_command


def explain(scenario: Scenario) -> str:
    """Protocol, times, participants, each link direction with its impairment and ``tc`` line, faults, lies."""
    plan = compile_plan(scenario)
    parts = [_head(scenario, plan), _protocol(scenario, plan)]
    if plan.service:
        parts.append(_service(scenario, plan))
    if any(is_of_a_place(text) for text in scenario.written.links):
        parts.append(_selectors(scenario))
    if measured := _measured(scenario):
        parts.append(measured)
    parts.append(_links(plan.fabric))
    if plan.clocks:
        parts.append("\n".join(["clocks", *(f"  {name}: {_clock(clock)}" for name, clock in plan.clocks.items())]))
    if scenario.resolved.drawn:
        parts.append("\n".join(["orders, drawn at random", *(f"  - {line}" for line in scenario.resolved.drawn)]))
    if plan.faults:
        told = (describe_fault(plan.faults, number, plan.fabric) for number in range(len(plan.faults)))
        listed = (f"  {number:>3}  {line}" for number, line in enumerate(told))
        parts.append("\n".join(["faults", *listed]))
    lies = [(plan.fabric.hosts[node.node], lie) for node in plan.nodes for lie in node.lies]
    if lies:
        parts.append("\n".join(["lies", *(f"  {host} {describe_lie(lie, plan.fabric.hosts)}" for host, lie in lies)]))
    expected = scenario.expect.model_dump(exclude_none=True)
    if expected:
        parts.append("\n".join(["expected", *(f"  {key}: {value}" for key, value in expected.items())]))
    if scenario.warnings:
        parts.append("\n".join(["warnings", *(f"  {warning}" for warning in scenario.warnings)]))
    return "\n\n".join(parts) + "\n"


def _head(scenario: Scenario, plan: Plan) -> str:
    fabric = plan.fabric
    switches = _count(len(plan.cells), "cell") if plan.cells else _count(len(fabric.switches), "switch", "switches")
    size = f"{_count(len(fabric.hosts) - len(plan.cells), 'host')}, {switches}, {_count(len(fabric.links), 'link')}"
    rows = [
        ("scenario", plan.name),
        ("engine", scenario.engine),
        ("seed", str(plan.seed)),
        ("fabric", f"{fabric.name}: {size}"),
        ("runs for", f"{spell_time(plan.duration_ns)} (virtual time, from the start of round 0)"),
        ("epsilon", spell_time(plan.epsilon_ns)),
        ("capture", _capture(plan)),
    ]
    if plan.container is not None:
        rows.append(("nodes", _containers(plan.container)))
    if plan.cells:
        rows.append(("switches", "cells: nodes that carry swaps hop by hop"))
    if scenario.written.description:
        rows.insert(1, ("about", " ".join(scenario.written.description.split())))
    return _table(rows)


def _capture(plan: Plan) -> str:
    """``yes``, or the files: ``frames/host1.pcapng, frames/host2.pcapng``."""
    return ", ".join(plan.capture_files) if isinstance(plan.capture, Captures) else "yes" if plan.capture else "no"


def _containers(limits: Container) -> str:
    """``containers: 0.5 processors and 64MiB of memory each``."""
    bounds = [f"{limits.cpus:g} processors"] if limits.cpus else []
    bounds += [f"{spell_size(limits.memory_bytes)} of memory"] if limits.memory_bytes else []
    return f"containers: {' and '.join(bounds)} each" if bounds else "containers, without limits of their own"


def _protocol(scenario: Scenario, plan: Plan) -> str:
    protocol = plan.protocol
    engine = engine_spec(protocol.consensus)
    participants = scenario.resolved.participants
    rows = [("consensus", engine.name + (f", f = {protocol.f}" if engine.decides else ""))]
    if protocol.parameters:
        rows.append(("parameters", parameters_text(engine, protocol.parameters)))
    if engine.made_of_swaps:
        rows.append(("swaps", f"{protocol.handshake}, depth {protocol.depth}, horizon {protocol.horizon}"))
        rows.append(("window", f"{spell_time(protocol.window_ns)} of a period of {spell_time(protocol.period_ns)}"))
    else:
        rows.append(("period", spell_time(protocol.period_ns)))
    rows += [_length(engine, protocol, judged=not plan.service), ("retry", spell_time(protocol.retry_ns))]
    if engine.decides and engine.order == INSTANCES and not plan.service:
        rows.append(("inputs", protocol.inputs))
    rows.append(("hosts", f"{len(participants)}: {' '.join(participants)}"))
    neighbourhood = scenario.resolved.neighbourhood
    if neighbourhood != ALL:
        links = sum(len(plan.peers(member)) for member in plan.members) // 2
        rows.append(("peers", f"{neighbourhood}: {links} pairs of neighbours"))
    return "protocol\n" + _table(rows, "  ")


_READS = {
    INDEX: "by read index: no entry, but the leader asks a quorum whether it still leads",
    LEASE: "by the leader's lease: no entry, and nobody is asked",
    LOCAL: "local: by what is there, which need not be linearizable",
}


def _service(scenario: Scenario, plan: Plan) -> str:
    client = next(node.program.parameters for node in plan.nodes if node.node in plan.clients)
    member = next(node.program.parameters for node in plan.nodes if node.node in plan.members)
    loop = f"{spell_time(client['think_ns'])} after an answer the next call"
    if client["every_ns"]:
        loop = f"a call every {spell_time(client['every_ns'])}, answered or not"
    hosts = scenario.resolved.clients
    rows = [
        ("kind", f"{plan.service}: {service_spec(plan.service).title}"),
        ("log", f"up to {member['batch']} operations an entry, a snapshot every {member['snapshot_every']} entries"),
        ("clients", f"{len(hosts)}: {' '.join(hosts)}"),
        ("load", f"{client['operations']} operations each; {loop}"),
        ("mix", ", ".join(f"{key} {value}" for key, value in client["mix"].items())),
        ("timeout", f"{spell_time(client['timeout_ns'])}, then the next replica is asked"),
    ]
    spec = engine_spec(plan.protocol.consensus)
    if member["reads"] != LOG:
        rows.insert(2, ("reads", _READS[member["reads"]]))
    if spec.order == INSTANCES and not spec.made_of_swaps:
        rows.insert(2, ("entries", f"at most {plan.protocol.instances}, begun when there is something to propose"))
    return "service\n" + _table(rows, "  ")


def _clock(clock: Clock) -> str:
    drift = f"drifts by {drift_text(clock.drift_ppb)}"
    if not clock.every_ns:
        return f"{spell_signed_time(clock.local_ns(0))} ahead when round 0 begins, {drift}"
    ahead = f"{spell_signed_time(clock.bias_ns)} ahead, give or take {spell_time(clock.within_ns)}"
    return f"{drift}, set every {spell_time(clock.every_ns)} to {ahead}"


def _length(engine: EngineSpec, protocol: ProtocolConfig, *, judged: bool) -> tuple[str, str]:
    """judged: each instance is, by whether it is decided in its time."""
    if not engine.made_of_swaps:
        in_time = f", each in time when decided within {spell_time(protocol.settle_ns)}"
        return "instances", f"{protocol.instances}{in_time if judged and engine.order == INSTANCES else ''}"
    rest = protocol.rounds - protocol.instances * protocol.instance_rounds
    begun = f"{protocol.instances + (rest > 0)} instances of {protocol.instance_rounds}"
    cut_off = f", the last one cut off after {rest}" if rest else ""
    return "rounds", f"{protocol.rounds} ({begun}{cut_off})" if engine.decides else str(protocol.rounds)


def _selectors(scenario: Scenario) -> str:
    """What is meant by selectors that name roles and tiers, beside the others."""
    fabric, links = scenario.resolved.fabric, scenario.written.links
    rows = []
    for text in links:
        meant: Sequence[int] = range(len(fabric.links))
        if text != "default":
            meant = sorted({index for index, _ in selected(fabric, parse_selector(text))})
        names = [fabric.links[index].name for index in meant]
        listed = ", ".join(names[:3]) + (f", ... {names[-1]}" if len(names) > 3 else "")
        rows.append((text, f"{len(names)} links: {listed}"))
    return "selectors\n" + _table(rows, "  ")


def _measured(scenario: Scenario) -> str:
    """Where measured delays come from, and what was made of them."""
    rows = []
    for text, settings in scenario.written.links.items():
        if isinstance(source := settings.distribution, MeasuredDelays):
            samples = load_samples(source, scenario.base_dir)
            rows.append((text, f"{source.file}: {samples.origin}"))
    return "measured delays\n" + _table(rows, "  ") if rows else ""


def _links(fabric: Fabric) -> str:
    lines = ["links"]
    for link in fabric.links:
        for sender, receiver, impairment in ((link.a, link.b, link.ab), (link.b, link.a, link.ba)):
            lines.append(f"  {sender.node}->{receiver.node}  {describe_impairment(impairment)}")
            lines.append(f"      {tc_command(impairment, sender.nic)}")
    return "\n".join(lines)


def _count(number: int, one: str, many: str = "") -> str:
    """``1 link``, ``2 links``, ``0 switches``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _table(rows: list[tuple[str, str]], indent: str = "") -> str:
    width = max(len(key) for key, _ in rows)
    return "\n".join(f"{indent}{key:<{width}}  {value}" for key, value in rows)
