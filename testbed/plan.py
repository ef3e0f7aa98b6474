"""The plan: everything an engine needs to run once, with every seed in it. Made from a scenario, read by engines.

Plain frozen data without heavy imports, so that the guest of the virtual-time kernel starts quickly.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from testbed.nodes.core.clock import Clock
from testbed.nodes.core.config import (
    CLIENT,
    MEMBER,
    NOWHERE,
    RELAY,
    START_NS,
    NodeConfig,
    Peer,
    Program,
    ProtocolConfig,
    Way,
)
from testbed.nodes.core.disk import State
from testbed.nodes.core.lies import Lie
from testbed.nodes.core.moments import Moment
from testbed.topologies.fabric import Fabric, fabric_from_json, impairment_from_json
from testbed.topologies.impairment import Impairment
from testbed.topologies.routes import Routes

VERBS = (
    "nic_down",  # carrier lost: frames on the wire in both directions are lost
    "nic_up",
    "nic_mute",  # the NIC neither sends nor receives, carrier stays; frames already on the wire go on
    "nic_half",  # one direction only, see Fault.direction
    "nic_unmute",  # ends nic_mute and nic_half
    "nic_deaf",  # drops, on arrival, what comes from the hosts in Fault.peers, whenever that was sent (a partition)
    "nic_hear",  # ends nic_deaf to the hosts in Fault.peers, or (none named) to all
    "node_kill",
    "node_pause",
    "node_resume",
    "node_slow",  # handling what comes to it takes the node Fault.amount ns longer from now on
    "node_quick",  # ends node_slow
    "node_restart",  # kills if alive, then starts anew with the next epoch, see Fault.state
    "disk_full",  # what the node persists from now on ends its life
    "disk_free",  # ends disk_full
    "clock_step",  # sets the node's clock forward by Fault.amount ns (back if negative)
    "clock_drift",  # has it gain Fault.amount parts per billion more from now on
    "link_down",  # the links of Fault.links lose their carrier at both ends, and with it the frames on them
    "link_up",
    "switch_kill",  # all links of a switch do
    "switch_restart",
    "reroute",  # switches forward around all that is down at this instant
    "impair",  # gives link directions new impairments (a jitter burst)
    "unimpair",  # gives them back those of the fabric
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One atomic fault. Either timed (``at_ns`` >= 0 on the run's clock) or triggered (``moment``, at ``node``).

    verb: one of VERBS. target: the host it strikes (node verbs) or the switch, or nic as ``(host, nic)`` names (nic
    verbs). direction: for nic_half, tx or rx as seen from the NIC. peers: for nic_deaf and nic_hear, hosts (none: all).
    state: for node_restart, what the new life finds on its disk. links: for links and (un)impair, pairs of (link index,
    "ab" or "ba"). after_ns: for triggered faults, how long after the moment it strikes (0 = at once). follows: index of
    a fault whose striking starts this one ``after_ns`` later (the end of a ``for:``, or forwarding around what is
    down), else -1. amount: for clock_step and node_slow ns, for clock_drift parts per billion; may be negative.
    """

    verb: str
    at_ns: int = -1
    node: str = ""
    moment: Moment | None = None
    target: str = ""
    nic: str = ""
    direction: str = ""
    peers: tuple[str, ...] = ()
    state: State = State.LOST
    links: tuple[tuple[int, str], ...] = ()
    impairment: Impairment | None = None
    follows: int = -1
    after_ns: int = 0
    amount: int = 0


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """What runs on a host. node: the host's number in the fabric. seed: of its machine's draws.

    peers: the nodes that it speaks with, in order; None: all others of the plan but cells, in its order. Where there
    are no cells, these are its ports.
    lies: what it says that its machine does not.
    clock: its own; None: it tells true time.
    """

    node: int
    seed: int = 0
    peers: tuple[int, ...] | None = None
    program: Program = field(default_factory=Program)
    lies: tuple[Lie, ...] = ()
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """What every node's container may take. cpus: processors' worth of time, memory_bytes; 0: no limit of its own."""

    cpus: float = 0.0
    memory_bytes: int = 0


FRAMES, FRAMES_FOLDER = "frames.pcapng", "frames"
"""What captures are called in a run's directory: the one of everything, and where those of links and nodes are."""

Nic = tuple[str, str]
"""A node, and the name of one of its NICs."""


def interface_name(node: str, nic: str) -> str:
    """What an interface is called in a capture: its node is always part of it."""
    return nic if nic.startswith(f"{node}-") else f"{node}-{nic}"


@dataclass(frozen=True, slots=True)
class Captures:
    """A capture file for each of these links (their places in the fabric; both ends) and nodes (all NICs)."""

    links: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One run. Times in nanoseconds on the run's clock, whose zero is the start of round 0.

    Each thing stands once: what all nodes share in ``protocol``, names and addresses in ``fabric``. What one node is
    told at birth is put together from them when it is started (``node_config``).
    duration_ns: when the run ends. epsilon_ns: the greatest skew between the ends of a swap. capture: whether hop
    records are wanted, and with them a capture file of everything, or those of Captures. container: nodes are
    containers with these limits, where nodes are processes; None: they are plain namespaces.
    """

    name: str
    seed: int
    fabric: Fabric
    protocol: ProtocolConfig
    nodes: tuple[PlannedNode, ...]
    faults: tuple[Fault, ...]
    duration_ns: int
    epsilon_ns: int
    capture: bool | Captures = True
    container: Container | None = None

    @cached_property
    def keepers(self) -> frozenset[str]:
        """The hosts whose machines persist what must survive: those of which a life may find something on the disk of
        the one before, and those whose disks are to be full, or written to so many times."""
        found = {fault.target for fault in self.faults if fault.verb == "node_restart" and fault.state != State.LOST}
        found |= {fault.target for fault in self.faults if fault.verb == "disk_full"}
        return frozenset(
            found | {one.node for one in self.faults if one.moment is not None and one.moment.after_writes}
        )

    @cached_property
    def clocks(self) -> dict[str, Clock]:
        """The clocks that the hosts begin with which have their own: those planned, and those that faults strike."""
        struck = {fault.target for fault in self.faults if fault.verb.startswith("clock_")}
        named = zip(self.names, self.nodes, strict=True)
        return {name: node.clock or Clock(since_ns=START_NS) for name, node in named if node.clock or name in struck}

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The numbers of the nodes that take part in the protocol, in order."""
        return tuple(node.node for node in self.nodes if node.program.role == MEMBER)

    @cached_property
    def service(self) -> str:
        """The service that the members replicate, or nothing."""
        return next((node.program.name for node in self.nodes if node.program.role == MEMBER), "")

    @cached_property
    def clients(self) -> tuple[int, ...]:
        """The numbers of the nodes that ask for the service."""
        return tuple(node.node for node in self.nodes if node.program.role == CLIENT)

    @cached_property
    def cells(self) -> tuple[int, ...]:
        """The numbers of the nodes that carry the members' swaps hop by hop: switches that speak OAE."""
        return tuple(node.node for node in self.nodes if node.program.role == RELAY)

    @cached_property
    def liars(self) -> frozenset[int]:
        """The numbers of the nodes that lie, whether or not they ever do; what is promised binds the others only."""
        return frozenset(node.node for node in self.nodes if node.lies)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The hosts on which something runs, in order."""
        return tuple(self.fabric.hosts[node.node] for node in self.nodes)

    @cached_property
    def routes(self) -> Routes:
        """Ports and paths between the hosts."""
        return Routes(self.fabric)

    @cached_property
    def _nodes(self) -> dict[int, PlannedNode]:
        return {node.node: node for node in self.nodes}

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        return tuple(number for number, node in self._nodes.items() if node.program.role != RELAY)

    def peers(self, node: int) -> tuple[int, ...]:
        """The nodes that ``node`` speaks with, in order; nobody does with a host without a node, or with a cell."""
        planned = self._nodes.get(node)
        if planned is None:
            return ()
        if planned.peers is None:
            return tuple(number for number in self._numbers if number != node)
        return planned.peers

    @cached_property
    def _neighbours(self) -> dict[int, tuple[int, ...]]:
        """Where there are cells: whom each node has a link to."""
        number = {name: place for place, name in enumerate(self.fabric.hosts)}
        found: dict[int, set[int]] = {node: set() for node in self._nodes}
        for link in self.fabric.links:
            one, other = number[link.a.node], number[link.b.node]
            if one in found and other in found:
                found[one].add(other)
                found[other].add(one)
        return {node: tuple(sorted(its)) for node, its in found.items()}

    def ports(self, node: int) -> tuple[int, ...]:
        """The nodes that ``node`` has ports to, in the order of its ports: those that it speaks with, or where cells
        carry what is said, its neighbours."""
        return self._neighbours.get(node, ()) if self.cells else self.peers(node)

    def has_port(self, one: int, other: int) -> bool:
        """Whether ``one`` has a port to ``other``."""
        if self.cells:
            return other in self._neighbours.get(one, ())
        planned = self._nodes.get(one)
        if planned is None or one == other:
            return False
        return other in (self._nodes if planned.peers is None else planned.peers)

    def way(self, low: int, high: int) -> tuple[int, ...]:
        """The nodes that handle what two ends say to each other, from the lower to the higher number, both included:
        with cells, those on the branch between them of the tree of shortest ways to the higher one."""
        known = self._ways.get((low, high))
        if known is None:
            known = self._ways[low, high] = (low, *self._between(low, high), high)
        return known

    @cached_property
    def _ways(self) -> dict[tuple[int, int], tuple[int, ...]]:
        return {}

    def _between(self, low: int, high: int) -> tuple[int, ...]:
        if not self.cells:
            return ()
        number = {name: place for place, name in enumerate(self.fabric.hosts)}
        crossed = self.routes.path(self.fabric.hosts[low], self.fabric.hosts[high])
        links = [(self.fabric.links[crossing.link], crossing.way) for crossing in crossed[:-1]]
        return tuple(number[(link.b if way == "ab" else link.a).node] for link, way in links)

    @cached_property
    def _passing(self) -> dict[int, list[Way]]:
        """The ways of every node on them, in order of their ends."""
        found: dict[int, list[Way]] = {node: [] for node in self._nodes}
        places = {node: {peer: port for port, peer in enumerate(its)} for node, its in self._neighbours.items()}
        members = set(self.members)
        for low in self.members:
            for high in self.peers(low):
                if high < low or high not in members:
                    continue
                way = (NOWHERE, *self.way(low, high), NOWHERE)
                for before, node, after in zip(way, way[1:], way[2:], strict=False):
                    ports = places[node]
                    found[node].append(Way(low, high, ports.get(before, NOWHERE), ports.get(after, NOWHERE)))
        return found

    def node_config(self, name: str, epoch: int = 1) -> NodeConfig:
        """What the node on host ``name`` is told at the birth of its life ``epoch``."""
        planned = self._nodes[self.fabric.hosts.index(name)]
        return NodeConfig(
            node=planned.node,
            name=name,
            peers=tuple(self._port(name, peer) for peer in self.ports(planned.node)),
            nics={end.nic: end.mac for end in self.routes.nics(name)},
            members=self.members,
            protocol=self.protocol,
            seed=planned.seed,
            epoch=epoch,
            program=planned.program,
            keeps=name in self.keepers,
            lies=planned.lies,
            clock=self.clocks.get(name),
            ways=tuple(self._passing[planned.node]) if self.cells else (),
        )

    def _port(self, name: str, peer: int) -> Peer:
        port = self.routes.port(name, self.fabric.hosts[peer])
        return Peer(peer, port.peer, port.nic, port.mac)

    @cached_property
    def capture_files(self) -> dict[str, tuple[Nic, ...]]:
        """The capture files of a run, below its directory, and the interfaces in each."""
        ends = [tuple((end.node, end.nic) for end in (link.a, link.b)) for link in self.fabric.links]
        nics = [nic for of_link in ends for nic in of_link]
        if not isinstance(self.capture, Captures):
            return {FRAMES: tuple(nics)}
        found = {node: tuple(nic for nic in nics if nic[0] == node) for node in self.capture.nodes}
        found |= {"--".join(interface_name(*nic) for nic in ends[link]): ends[link] for link in self.capture.links}
        return {f"{FRAMES_FOLDER}/{name}.pcapng": nics for name, nics in found.items()}

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
                "protocol": ProtocolConfig.from_json(data["protocol"]),
                "nodes": tuple(_node_from_json(node) for node in data["nodes"]),
                "faults": tuple(_fault_from_json(fault) for fault in data["faults"]),
                "capture": _capture_from_json(data["capture"]),
                "container": Container(**data["container"]) if data["container"] else None,
            }
        )


def _node_from_json(data: dict[str, Any]) -> PlannedNode:
    peers = None if data["peers"] is None else tuple(data["peers"])
    lies = tuple(map(Lie.from_json, data["lies"]))
    clock = Clock.from_json(data["clock"]) if data["clock"] else None
    return PlannedNode(data["node"], data["seed"], peers, Program(**data["program"]), lies, clock)


def _capture_from_json(data: bool | dict[str, Any]) -> bool | Captures:
    return Captures(tuple(data["links"]), tuple(data["nodes"])) if isinstance(data, dict) else data


def _fault_from_json(data: dict[str, Any]) -> Fault:
    return Fault(
        **{
            **data,
            "moment": Moment.from_json(data["moment"]) if data["moment"] else None,
            "state": State(data["state"]),
            "peers": tuple(data["peers"]),
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
