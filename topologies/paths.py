"""Static forwarding on shortest paths, and the spread over equal ones.

A switch forwards by destination address only. For one destination every switch's entry leads to a neighbour that is
one hop nearer, so that no frame can come twice to the same switch, whatever the number of spines: there are no loops
to flood into.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from topologies.fabric import Fabric, Link, LinkEnd

Vertex = TypeVar("Vertex", bound=Hashable)


def forwarding(hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link]) -> dict[str, dict[str, str]]:
    """For every switch: destination address -> interface. Raises ValueError when some hosts can't reach each other.

    Among equally near neighbours the destination's number chooses: hosts of one rack are spread over the spines, and
    in a fat tree successive layers use different digits of the number, so that all cores are used.
    """
    nics = _nics_between(switches, links)
    places = {host: place for place, host in enumerate(hosts)}
    entries: dict[str, dict[str, str]] = {switch: {} for switch in switches}
    distances: dict[str, dict[str, int]] = {}
    for end, access in _attachments(hosts, switches, links):
        if access.node not in distances:
            distances[access.node] = _distances(nics, access.node)
        near = distances[access.node]
        for switch, distance in near.items():
            if distance == 0:
                entries[switch][end.mac] = access.nic
            else:
                candidates = [nic for peer in nics[switch] if near[peer] == distance - 1 for nic in nics[switch][peer]]
                entries[switch][end.mac] = candidates[_spread(places[end.node], distance, len(candidates))]
    _check_reachable(hosts, links)
    return entries


def hop_bound(fabric: Fabric) -> int:
    """No path between two hosts crosses more links than this."""
    if not fabric.switches:
        return 1
    nics = _nics_between(fabric.switches, fabric.links)
    access = {far.node for _, far in _attachments(fabric.hosts, fabric.switches, fabric.links)}
    return 2 + max(max(_distances(nics, switch).values()) for switch in access)


def _spread(place: int, distance: int, ways: int) -> int:
    """Which of ``ways`` equal neighbours leads to the host at ``place``; layers take turns with the digits."""
    return (place if distance % 2 == 0 else place // ways) % ways


def _distances(neighbours: Mapping[Vertex, Iterable[Vertex]], start: Vertex) -> dict[Vertex, int]:
    """How many links each vertex that can be reached is away from ``start``."""
    found = {start: 0}
    edge = [start]
    while edge:
        beyond = []
        for node in edge:
            for peer in neighbours[node]:
                if peer not in found:
                    found[peer] = found[node] + 1
                    beyond.append(peer)
        edge = beyond
    return found


def _nics_between(switches: Sequence[str], links: Sequence[Link]) -> dict[str, dict[str, list[str]]]:
    """switch -> neighbouring switch -> the first one's interfaces towards it, in the links' order."""
    known = set(switches)
    nics: dict[str, dict[str, list[str]]] = {switch: {} for switch in switches}
    for link in links:
        if link.a.node in known and link.b.node in known:
            nics[link.a.node].setdefault(link.b.node, []).append(link.a.nic)
            nics[link.b.node].setdefault(link.a.node, []).append(link.b.nic)
    return nics


def _attachments(hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link]) -> list[tuple[LinkEnd, LinkEnd]]:
    """(host's NIC, switch's NIC) of every link between a host and a switch."""
    known_hosts, known_switches = set(hosts), set(switches)
    found = []
    for link in links:
        for end, far in ((link.a, link.b), (link.b, link.a)):
            if end.node in known_hosts and far.node in known_switches:
                found.append((end, far))
    return found


def _check_reachable(hosts: Sequence[str], links: Sequence[Link]) -> None:
    """Hosts do not forward, so two hosts meet when they share a link or an island of switches."""
    islands = _islands(hosts, links)
    by_host: dict[str, set[int]] = defaultdict(set)
    for island, members in enumerate(islands):
        for host in members:
            by_host[host].add(island)
    if len(hosts) > 1 and not all(by_host[host] for host in hosts):
        lonely = next(host for host in hosts if not by_host[host])
        raise ValueError(f"{lonely} has no link")
    if any(len(members) == len(hosts) for members in islands):
        return
    together: Mapping[str, set[str]] = {host: set().union(*(islands[i] for i in by_host[host])) for host in hosts}
    for host in hosts:
        missing = next((other for other in hosts if other not in together[host] and other != host), None)
        if missing:
            raise ValueError(f"{host} cannot reach {missing}: no path of switches joins them")


def _islands(hosts: Sequence[str], links: Sequence[Link]) -> list[set[str]]:
    """Sets of hosts that reach each other over one island of switches, or over one direct link."""
    known = set(hosts)
    joined: dict[str | tuple[str, int, str], list[str | tuple[str, int, str]]] = defaultdict(list)
    for index, link in enumerate(links):
        # A host's NIC is a vertex of its own: what one NIC reaches, the host's other NICs need not.
        one = ("nic", index, link.a.nic) if link.a.node in known else link.a.node
        other = ("nic", index, link.b.nic) if link.b.node in known else link.b.node
        joined[one].append(other)
        joined[other].append(one)
    names = {end.nic: end.node for link in links for end in (link.a, link.b)}
    islands: list[set[str]] = []
    seen: set[str | tuple[str, int, str]] = set()
    for vertex in joined:
        if vertex not in seen:
            members = _distances(joined, vertex).keys()
            seen |= members
            islands.append({names[member[2]] for member in members if isinstance(member, tuple)})
    return islands
