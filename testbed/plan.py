"""The plan: everything an engine needs to run once, with every seed in it. Made from a scenario, read by engines.

Plain frozen data without heavy imports, so that the guest of the virtual-time kernel starts quickly.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from nodes.core.config import NodeConfig, node_config_from_json
from nodes.core.driver import Moment
from topologies.fabric import Fabric, fabric_from_json, impairment_from_json
from topologies.impairment import Impairment

VERBS = (
    "nic_down",  # carrier lost: frames on the wire in both directions are lost
    "nic_up",
    "nic_mute",  # the NIC neither sends nor receives, carrier stays; frames already on the wire go on
    "nic_half",  # one direction only, see Fault.direction
    "nic_unmute",  # ends nic_mute and nic_half
    "node_kill",
    "node_pause",
    "node_resume",
    "node_restart",  # kills if alive, then starts anew with the next epoch, with or without kept state
    "impair",  # gives link directions new impairments (a jitter burst)
    "unimpair",  # gives them back those of the fabric
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One atomic fault. Either timed (``at_ns`` >= 0 on the run's clock) or triggered (``moment``, at ``node``).

    verb: one of VERBS. target: the host it strikes (node verbs), or nic as ``(host, nic)`` names (nic verbs).
    direction: for nic_half, tx or rx as seen from the NIC. keep_state: for node_restart. links: for (un)impair, pairs
    of (link index, "ab" or "ba"). after_ns: for triggered faults, how long after the moment it strikes (0 = at once).
    follows: index of a fault whose striking starts this one ``after_ns`` later (the end of a ``for:``), else -1.
    """

    verb: str
    at_ns: int = -1
    node: str = ""
    moment: Moment | None = None
    target: str = ""
    nic: str = ""
    direction: str = ""
    keep_state: bool = False
    links: tuple[tuple[int, str], ...] = ()
    impairment: Impairment | None = None
    follows: int = -1
    after_ns: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Times in nanoseconds on the run's clock, whose zero is the start of round 0.

    duration_ns: when the run ends. epsilon_ns: the greatest skew between the ends of a swap. capture: whether hop
    records (and a pcapng) are wanted. nvram: whether some fault restarts a node with its state kept.
    """

    name: str
    seed: int
    fabric: Fabric
    nodes: tuple[NodeConfig, ...]
    faults: tuple[Fault, ...]
    duration_ns: int
    epsilon_ns: int
    capture: bool = True

    @property
    def nvram(self) -> bool:
        """True when machines must keep their state outside themselves after each event."""
        return any(fault.verb == "node_restart" and fault.keep_state for fault in self.faults)

    def moments(self, node: str) -> list[Moment]:
        """The protocol moments that strike at ``node``; Moment.index is the fault's index in this plan."""
        return [fault.moment for fault in self.faults if fault.moment is not None and fault.node == node]

    def to_json(self) -> str:
        """A stable text: equal plans give equal bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Plan:
        """The inverse of to_json."""
        data = json.loads(text)
        return Plan(
            **{
                **data,
                "fabric": fabric_from_json(data["fabric"]),
                "nodes": tuple(node_config_from_json(node) for node in data["nodes"]),
                "faults": tuple(_fault_from_json(fault) for fault in data["faults"]),
            }
        )


def _fault_from_json(data: dict[str, Any]) -> Fault:
    return Fault(
        **{
            **data,
            "moment": Moment.from_json(data["moment"]) if data["moment"] else None,
            "links": tuple((index, way) for index, way in data["links"]),
            "impairment": impairment_from_json(data["impairment"]) if data["impairment"] else None,
        }
    )


def derive_seed(*parts: object) -> int:
    """A 64-bit seed named by ``parts``: the one way in which seeds are made, in every engine.

    netem folds a seed to 32 bits and does not warm its generator up, so neighbouring seeds must differ everywhere;
    a hash sees to that.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
