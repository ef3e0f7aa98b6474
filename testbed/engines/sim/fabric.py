"""The fabric in motion: interfaces, wires (link directions) and, for every port of a node, the legs a frame travels.

Switches store and forward: a frame is whole at an interface before it is queued at the next. A switch itself costs no
time; all delay, rate and loss sit in the netem qdisc of the interface that sends (as in ``live`` and ``vkernel``).
Forwarding is static, so that the way of every frame is known before the run.
"""

from __future__ import annotations

from typing import Any

from mypy_extensions import i64

from testbed.engines.sim.netem import Direction
from testbed.nodes.core.config import NodeConfig, Peer
from testbed.nodes.frames import Frame
from testbed.topologies.fabric import Fabric, LinkEnd
from testbed.topologies.impairment import Impairment

RANK_SHIFT = 36
"""Serial numbers of a run stay below 2^36; above them stands a wire's rank."""


class Interface:
    """A NIC of a host or an interface of a switch, and what faults have done to it."""

    __slots__ = ("deaf_to", "down", "mac", "mute_in", "mute_out", "nic", "node", "out")

    def __init__(self, end: LinkEnd) -> None:
        self.node, self.nic, self.mac = end.node, end.nic, end.mac
        self.down = self.mute_in = self.mute_out = False
        self.deaf_to: frozenset[int] = frozenset()  # numbers of hosts
        self.out: Wire

    def update(self) -> None:
        """Carry the state over to the wires of both directions, which the event loop looks at."""
        self.out.update()
        self.out.sink.out.update()


class Wire:
    """One direction of a link.

    blocked: why nothing may be sent now (``cut``, ``mute``), or empty. deaf: what arrives may be dropped (by a NIC that
    is muted, or deaf to some hosts): ``drops`` tells. direct: may be sent with ``qdisc.enqueue`` (not blocked, and the
    direction is ``single``). number: its place in ``Network.wires``. rank: added to the serial of what is on it, so
    that frames that are due at one instant arrive in the order of the fabric's links (a to b first), as the kernel runs
    the queues of its interfaces; those of one wire keep the order in which they were queued.
    """

    __slots__ = ("base", "blocked", "deaf", "direct", "number", "qdisc", "rank", "sink", "source")

    def __init__(self, source: Interface, sink: Interface, impairment: Impairment, place: int) -> None:
        self.source, self.sink, self.base = source, sink, impairment
        self.number = place
        self.rank: i64 = place << RANK_SHIFT
        self.qdisc = Direction(impairment)
        self.blocked = ""
        self.deaf = False

    def block(self, why: str) -> None:
        """Nothing may be sent from now on; until the next ``update``."""
        self.blocked = self.blocked or why
        self.direct = False

    def impair(self, impairment: Impairment) -> None:
        """Another impairment from now on; what is on the way keeps its times."""
        self.qdisc.change(impairment)
        self.update()

    def drops(self, frame: Frame) -> bool:
        """Of a wire that is deaf: whether this frame is dropped as it arrives."""
        return self.sink.mute_in or frame.key.src in self.sink.deaf_to

    def update(self) -> None:
        """Work out what the loop looks at."""
        source, sink = self.source, self.sink
        self.blocked = "cut" if source.down or sink.down else "mute" if source.mute_out else ""
        self.deaf = sink.mute_in or len(sink.deaf_to) > 0
        self.direct = self.qdisc.single and not self.blocked


class Leg:
    """One wire of one port's way, what follows it, and at the end the receiver and its port (-1: no peer of its).

    way: the host that sends on it, and its port there. receiver: the simulated node at the end; None on the way, at a
    host that runs none, and where the way is lost. unknown: the way ends here because nobody forwards or takes this
    address.
    """

    __slots__ = ("next", "port", "receiver", "unknown", "way", "wire")

    def __init__(self, wire: Wire, way: tuple[str, int]) -> None:
        self.wire = wire
        self.way = way
        self.next: Leg | None = None
        self.receiver: Any = None
        self.port = -1
        self.unknown = False


class Network:
    """All interfaces and wires of a fabric. Raises ValueError for a fabric that cannot be."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.forwarding = fabric.forwarding
        self._switches = frozenset(fabric.switches)
        self.interfaces: dict[tuple[str, str], Interface] = {}
        self.wires: dict[tuple[int, str], Wire] = {}
        for index, link in enumerate(fabric.links):
            a, b = self._interface(link.a), self._interface(link.b)
            a.out = self.wires[index, "ab"] = Wire(a, b, link.ab, 2 * index)
            b.out = self.wires[index, "ba"] = Wire(b, a, link.ba, 2 * index + 1)
            a.update()

    def _interface(self, end: LinkEnd) -> Interface:
        where = (end.node, end.nic)
        if where in self.interfaces:
            raise ValueError(f"interface {end.nic} of {end.node} is an end of two links")
        interface = self.interfaces[where] = Interface(end)
        return interface

    def interface(self, node: str, nic: str) -> Interface:
        """Raises ValueError when it does not exist or leads nowhere."""
        found = self.interfaces.get((node, nic))
        if found is None:
            raise ValueError(f"{node} has no interface {nic!r} on a link of fabric {self.fabric.name!r}")
        return found

    def nics(self, node: str, nic: str) -> list[Interface]:
        """The one NIC of that name, or all of the node's when the name is empty."""
        if nic:
            return [self.interface(node, nic)]
        return [interface for (owner, _), interface in self.interfaces.items() if owner == node]

    def legs(self, wire: Wire, peer: Peer, way: tuple[str, int]) -> Leg:
        """The legs to ``peer`` from ``wire`` on; the last one is without receiver and port yet."""
        first = leg = Leg(wire, way)
        for _ in range(len(self.fabric.switches) + 1):
            sink = leg.wire.sink
            if sink.node not in self._switches:
                leg.unknown = sink.mac != peer.mac
                return first
            nic = self.forwarding.get(sink.node, {}).get(peer.mac)
            if nic is None or nic == sink.nic:  # a bridge does not send back where it came from
                leg.unknown = True
                return first
            following = Leg(self.interface(sink.node, nic).out, way)
            leg.next = following
            leg = following
        raise ValueError(f"forwarding to {peer.mac} from {way[0]} runs in a loop in fabric {self.fabric.name!r}")


def ways(network: Network, nodes: dict[str, Any]) -> dict[str, list[Leg]]:
    """For every node the first leg of each of its ports. nodes: host name -> the simulated node there."""
    ports = {name: _ports(node.config) for name, node in nodes.items()}
    found: dict[str, list[Leg]] = {}
    for name, sender in nodes.items():
        node: NodeConfig = sender.config
        found[name] = [
            _joined(network.legs(network.interface(name, peer.nic).out, peer, (name, port)), nodes, ports)
            for port, peer in enumerate(node.peers)
        ]
    return found


def onward(network: Network, nodes: dict[str, Any], leg: Leg) -> Leg:
    """This leg, followed by those that it leads to now."""
    name, port = leg.way
    peer = nodes[name].config.peers[port]
    first = network.legs(leg.wire, peer, leg.way)
    receiver = nodes.get(leg_end(first).wire.sink.node)
    return _joined(first, nodes, {receiver.name: _ports(receiver.config)} if receiver is not None else {})


def leg_end(leg: Leg) -> Leg:
    """The last leg of a way."""
    while leg.next is not None:
        leg = leg.next
    return leg


def _joined(first: Leg, nodes: dict[str, Any], ports: dict[str, dict[tuple[str, str], int]]) -> Leg:
    """With the receiver at its end, and the port there of the peer that sends."""
    last, (name, port) = leg_end(first), first.way
    sender: NodeConfig = nodes[name].config
    end = last.wire.sink
    if not last.unknown:
        nic = sender.peers[port].nic
        last.receiver = nodes.get(end.node)
        last.port = ports.get(end.node, {}).get((end.nic, sender.nics[nic]), -1)
    return first


def _ports(node: NodeConfig) -> dict[tuple[str, str], int]:
    return {(peer.nic, peer.mac): port for port, peer in enumerate(node.peers)}
