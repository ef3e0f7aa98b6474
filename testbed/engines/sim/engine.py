"""``sim`` behind the interface that all engines share (testbed.engines.base.Engine)."""

from __future__ import annotations

from pathlib import Path

from testbed.engines.base import Progress
from testbed.engines.sim.node import Build
from testbed.engines.sim.run import EVENTS, Run
from testbed.history import History
from testbed.nodes.registry import build_machine
from testbed.plan import VERBS, Fault, Plan
from testbed.topologies.netem import netem_params

__all__ = ["SimEngine"]


class SimEngine:
    """Exact discrete-event simulation on a virtual clock of integer nanoseconds; needs nothing of the host.

    events: ``all``; ``outcomes`` (start, round, resolve, propose, decide, fault, died and drop only: all that verdicts
    on rounds and consensus need, but not what caused a break); or ``none``. hops: None = as the plan's ``capture``
    says. build: makes a node's machine from its NodeConfig. memory_bytes: what a run and what is made of it may take;
    None = most of what is free. Equal plans give equal histories.
    """

    name = "sim"

    def __init__(
        self,
        events: str = "all",
        hops: bool | None = None,
        build: Build = build_machine,
        memory_bytes: int | None = None,
    ) -> None:
        if events not in EVENTS:
            raise ValueError(f"events {events!r} is none of {', '.join(EVENTS)}")
        self._events, self._hops, self._build, self._memory_bytes = events, hops, build, memory_bytes

    def check(self, plan: Plan) -> None:
        """Raises ValueError for a plan that no engine could run; every host can run ``sim``."""
        for link in plan.fabric.links:
            netem_params(link.ab)
            netem_params(link.ba)
        _check_faults(plan)

    def run(self, plan: Plan, directory: Path | None = None, progress: Progress | None = None) -> History:  # noqa: ARG002
        """Runs ``plan`` to its end. Machines of first lives are started at START_NS. Raises NoRoomError, soon, for a
        run that would take more memory than it may."""
        _check_faults(plan)  # the links are checked by being made
        hops = bool(plan.capture) if self._hops is None else self._hops
        return Run(plan, self._build, self._events, hops, self._memory_bytes).run(progress)


def _check_faults(plan: Plan) -> None:
    for index, fault in enumerate(plan.faults):
        _check_fault(plan, fault, f"fault {index} ({fault.verb})")


def _check_fault(plan: Plan, fault: Fault, what: str) -> None:
    if fault.verb not in VERBS:
        raise ValueError(f"{what}: no such verb; there are {', '.join(VERBS)}")
    if fault.follows >= len(plan.faults):
        raise ValueError(f"{what}: follows fault {fault.follows}, which does not exist")
    if fault.verb in ("impair", "unimpair", "link_down", "link_up", "reroute"):
        _check_links(plan, fault, what)
        return
    if fault.target not in plan.fabric.hosts and fault.target not in plan.fabric.switches:
        raise ValueError(f"{what}: there is no node {fault.target!r} in fabric {plan.fabric.name!r}")
    if fault.verb == "nic_half" and fault.direction not in ("tx", "rx"):
        raise ValueError(f"{what}: direction must be tx or rx, not {fault.direction!r}")
    ends = {(end.node, end.nic) for link in plan.fabric.links for end in (link.a, link.b)}
    for peer in fault.peers:
        if peer not in plan.fabric.hosts:
            raise ValueError(f"{what}: there is no host {peer!r} in fabric {plan.fabric.name!r}")
    if fault.verb.startswith("nic_") and fault.nic and (fault.target, fault.nic) not in ends:
        raise ValueError(f"{what}: {fault.target} has no interface {fault.nic!r}")


def _check_links(plan: Plan, fault: Fault, what: str) -> None:
    for link, way in fault.links:
        if not 0 <= link < len(plan.fabric.links) or way not in ("ab", "ba"):
            raise ValueError(f"{what}: there is no link direction {(link, way)}")
    if fault.verb == "impair":
        if fault.impairment is None:
            raise ValueError(f"{what}: needs an impairment")
        netem_params(fault.impairment)
