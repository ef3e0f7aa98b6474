"""The ports of a fabric's hosts and the ways that frames take between them, from its static forwarding.

Without heavy imports: engines derive every node's ports from the plan's fabric with this, in the guest as well.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from testbed.topologies.fabric import Fabric, LinkEnd


class Crossing(NamedTuple):
    """One link crossed in one direction: the link's index in the fabric, and ``ab`` or ``ba``."""

    link: int
    way: str


class Port(NamedTuple):
    """One attachment of a host to a peer: the host's NIC that leads there and the peer's address."""

    peer: str
    nic: str
    mac: str


class Routes:
    """Ports and paths between the hosts of one fabric; keeps what it has worked out."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self._places = {host: place for place, host in enumerate(fabric.hosts)}
        self._ends = _ends(fabric)
        self._nics: dict[str, list[LinkEnd]] = defaultdict(list)
        self._direct: dict[tuple[str, str], list[tuple[LinkEnd, LinkEnd]]] = defaultdict(list)
        for link in fabric.links:
            for end, far in ((link.a, link.b), (link.b, link.a)):
                if end.node in self._places:
                    self._nics[end.node].append(end)
                    self._direct[end.node, far.node].append((end, far))

    def nics(self, host: str) -> tuple[LinkEnd, ...]:
        """A host's own NICs, in order."""
        return tuple(self._nics[host])

    def port(self, host: str, peer: str) -> Port:
        """How ``host`` reaches ``peer``: over the pair of NICs with the shortest path, the same pair both ways."""
        swapped = self._places[host] > self._places[peer]
        low, high = (peer, host) if swapped else (host, peer)
        one, other = self._pair(low, high)
        return Port(peer, other.nic, one.mac) if swapped else Port(peer, one.nic, other.mac)

    def path(self, host: str, peer: str) -> tuple[Crossing, ...]:
        """The links crossed from ``host`` to ``peer``, in order."""
        port = self.port(host, peer)
        return self._follow(port.nic, port.mac)

    def _pair(self, low: str, high: str) -> tuple[LinkEnd, LinkEnd]:
        direct = self._direct.get((low, high))
        if direct:  # nothing is shorter; cells have so many NICs that to follow all would take long
            return direct[(self._places[low] + self._places[high]) % len(direct)]
        pairs = [(one, other) for one in self._nics[low] for other in self._nics[high]]
        if len(pairs) == 1:
            return pairs[0]
        lengths = [self._length(one.nic, other.mac) for one, other in pairs]
        least = min(lengths, default=_NOWHERE)
        if least == _NOWHERE:
            raise ValueError(f"{low} cannot reach {high}")
        nearest = [pair for pair, length in zip(pairs, lengths, strict=True) if length == least]
        return nearest[(self._places[low] + self._places[high]) % len(nearest)]

    def _length(self, nic: str, mac: str) -> int:
        try:
            return len(self._follow(nic, mac))
        except ValueError:
            return _NOWHERE

    def _follow(self, nic: str, mac: str) -> tuple[Crossing, ...]:
        taken: list[Crossing] = []
        for _ in range(len(self.fabric.forwarding) + 1):
            crossing, far = self._ends[nic]
            taken.append(crossing)
            if far.mac == mac:
                return tuple(taken)
            entry = self.fabric.forwarding.get(far.node, {}).get(mac)
            if entry is None:
                break
            nic = entry
        raise ValueError(f"no way from {nic} to {mac}: no entry at {far.node}, or round in a circle")


_NOWHERE = 1 << 30


def _ends(fabric: Fabric) -> dict[str, tuple[Crossing, LinkEnd]]:
    """Interface name -> the crossing that sending from it makes, and the NIC at the far end."""
    ends: dict[str, tuple[Crossing, LinkEnd]] = {}
    for index, link in enumerate(fabric.links):
        ends[link.a.nic] = (Crossing(index, "ab"), link.b)
        ends[link.b.nic] = (Crossing(index, "ba"), link.a)
    return ends
