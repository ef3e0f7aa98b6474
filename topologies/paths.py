"""Static forwarding on shortest paths, and the spread over equal ones.

A switch forwards by destination address only. For one destination every switch's entry leads to a neighbour that is
one hop nearer, so that no frame can come twice to the same switch, whatever the number of spines: there are no loops
to flood into.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import networkx as nx

from topologies.fabric import Fabric, Link, LinkEnd


def forwarding(hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link]) -> dict[str, dict[str, str]]:
    """For every switch: destination address -> interface. Raises ValueError when some hosts can't reach each other.

    Among equally near neighbours the destination's number chooses: hosts of one rack are spread over the spines, and
    in a fat tree successive layers use different digits of the number, so that all cores are used.
    """
    graph = _switch_graph(switches, links)
    nics = _nics_between(switches, links)
    places = {host: place for place, host in enumerate(hosts)}
    entries: dict[str, dict[str, str]] = {switch: {} for switch in switches}
    distances: dict[str, dict[str, int]] = {}
    for end, access in _attachments(hosts, switches, links):
        if access.node not in distances:
            distances[access.node] = nx.single_source_shortest_path_length(graph, access.node)
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
    graph = _switch_graph(fabric.switches, fabric.links)
    access = {far.node for _, far in _attachments(fabric.hosts, fabric.switches, fabric.links)}
    return 2 + max(max(nx.single_source_shortest_path_length(graph, switch).values()) for switch in access)


def _spread(place: int, distance: int, ways: int) -> int:
    """Which of ``ways`` equal neighbours leads to the host at ``place``; layers take turns with the digits."""
    return (place if distance % 2 == 0 else place // ways) % ways


def _switch_graph(switches: Sequence[str], links: Sequence[Link]) -> nx.Graph[str]:
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(switches)
    graph.add_edges_from((link.a.node, link.b.node) for link in links if _between_switches(graph, link))
    return graph


def _between_switches(graph: nx.Graph[str], link: Link) -> bool:
    return link.a.node in graph and link.b.node in graph


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
    graph: nx.Graph[object] = nx.Graph()
    for index, link in enumerate(links):
        # A host's NIC is a vertex of its own: what one NIC reaches, the host's other NICs need not.
        one: object = ("nic", index, link.a.nic) if link.a.node in known else link.a.node
        other: object = ("nic", index, link.b.nic) if link.b.node in known else link.b.node
        graph.add_edge(one, other)
    names = {end.nic: end.node for link in links for end in (link.a, link.b)}
    return [
        {names[vertex[2]] for vertex in members if isinstance(vertex, tuple)}
        for members in nx.connected_components(graph)
    ]
