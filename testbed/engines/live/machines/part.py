"""What one of several machines runs of a plan: its nodes, the faults that are its business, the links that are cut."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from testbed.engines.live.netlink.requests import Carrier
from testbed.plan import Fault, Plan

FILE = "part.json"


@dataclass(frozen=True)
class Part:
    """nodes: hosts and switches that are here. faults: those that this machine records, and carries out where they
    strike a node. carriers: cut link -> how its end here is carried to the other machine. underlay: a descriptor of a
    netlink socket in the machine's own network. hear, tell: descriptors of pipes on which the run's zero is agreed on.
    """

    nodes: frozenset[str]
    faults: frozenset[int]
    carriers: dict[int, Carrier] = field(default_factory=dict)
    underlay: int = -1
    hear: int = -1
    tell: int = -1

    @classmethod
    def whole(cls, plan: Plan) -> Part:
        """All of it: there is one machine."""
        fabric = plan.fabric
        return cls(frozenset((*fabric.hosts, *fabric.switches)), frozenset(range(len(plan.faults))))

    @classmethod
    def read(cls, job: Path, plan: Plan) -> Part:
        """From a job's folder; the whole where it says nothing."""
        path = job / FILE
        return cls.from_json(path.read_text(encoding="utf-8")) if path.exists() else cls.whole(plan)

    def to_json(self) -> str:
        """As ``read`` wants it."""
        data = asdict(self) | {"nodes": sorted(self.nodes), "faults": sorted(self.faults)}
        return json.dumps(data | {"carriers": [[link, *carrier] for link, carrier in self.carriers.items()]})

    @classmethod
    def from_json(cls, text: str) -> Part:
        """The inverse of to_json."""
        data = json.loads(text)
        carriers = {link: Carrier(*rest) for link, *rest in data["carriers"]}
        return cls(
            **{**data, "nodes": frozenset(data["nodes"]), "faults": frozenset(data["faults"]), "carriers": carriers}
        )

    def agree(self, zero_ns: int) -> int:
        """The run's zero on this machine's clock, when ``zero_ns`` is the earliest that would do here."""
        if self.tell < 0:
            return zero_ns
        with open(self.tell, "w", encoding="ascii") as told, open(self.hear, encoding="ascii") as heard:
            print(zero_ns, file=told, flush=True)
            return int(heard.readline())


def kept_together(plan: Plan) -> list[set[str]]:
    """Nodes that must be on one machine: those of a moment and of what it triggers; both ends of a link whose NIC a
    fault strikes, for only a wire loses its carrier at both ends at once."""
    groups = []
    for fault in plan.faults:
        first = first_of(plan, fault)
        group = {fault.target} if fault.target else set()
        if first.moment is not None:
            group |= {first.node, *(_sender(plan, link, way) for link, way in fault.links)}
            if fault.verb.startswith(("link_", "switch_", "reroute")):
                group |= set(plan.fabric.switches)  # all of which may have to forward otherwise
        if fault.nic:
            ends = next(ends for ends in _ends(plan) if (fault.target, fault.nic) in ends)
            group |= {node for node, _ in ends}
        if len(group) > 1:
            groups.append(group)
    return groups


def first_of(plan: Plan, fault: Fault) -> Fault:
    """The fault that this one follows, over others maybe, or itself."""
    while fault.follows >= 0:
        fault = plan.faults[fault.follows]
    return fault


def _ends(plan: Plan) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    return [((link.a.node, link.a.nic), (link.b.node, link.b.nic)) for link in plan.fabric.links]


def _sender(plan: Plan, link: int, way: str) -> str:
    ends = plan.fabric.links[link]
    return ends.a.node if way == "ab" else ends.b.node
