"""Static forwarding on shortest paths, and the spread over equal ones.

A switch forwards by destination address only. For one destination every switch's entry leads to a neighbour that is
one hop nearer, so that no frame can come twice to the same switch, whatever the number of spines: there are no loops
to flood into.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from typing import TypeVar

from testbed.topologies.fabric import Fabric, Link, LinkEnd

Vertex = TypeVar("Vertex", bound=Hashable)


def forwarding(
    hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link], everybody: bool = True
) -> dict[str, dict[str, str]]:
    """For every switch: destination address -> interface. Raises ValueError when a host has no link, or some can't
    reach each other though ``everybody`` is to.

    Among equally near neighbours the destination's number chooses: hosts of one rack are spread over the spines, and
    in a fat tree successive layers use different digits of the number, so that all cores are used.
    """
    tables = _shortest(hosts, switches, links)
    _check_linked(hosts, links)
    apart = next(iter(strangers(hosts, links)), None) if everybody else None
    if apart:
        raise ValueError(f"{apart[0]} cannot reach {apart[1]}: no path of switches joins them")
    return tables


def forwarding_around(fabric: Fabric, links_down: Set[int], switches_down: Set[str]) -> dict[str, dict[str, str]]:
    """The tables without these links and switches, for the addresses that the fabric forwards to. An address that
    can't be reached any more keeps the fabric's own entries, which end where something is down."""
    links = [
        link
        for index, link in enumerate(fabric.links)
        if index not in links_down and not {link.a.node, link.b.node} & switches_down
    ]
    up = [switch for switch in fabric.switches if switch not in switches_down]
    around = _shortest(fabric.hosts, up, links)
    known = {mac for entries in fabric.forwarding.values() for mac in entries}
    return {
        switch: entries | {mac: nic for mac, nic in around.get(switch, {}).items() if mac in known}
        for switch, entries in fabric.forwarding.items()
    }


def _shortest(hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link]) -> dict[str, dict[str, str]]:
    """For every switch: the address of whoever it reaches -> interface."""
    attached = _attachments(hosts, switches, links)
    places = {host: place for place, host in enumerate(hosts)}
    addresses, where = [end.mac for end, _ in attached], [places[end.node] for end, _ in attached]
    rows: list[list[str | None]] = [[None] * len(attached) for _ in switches]
    numbers = {switch: number for number, switch in enumerate(switches)}
    for index, (_, access) in enumerate(attached):
        rows[numbers[access.node]][index] = access.nic
    for switch, hops, nics, ends in _ways(_ports(switches, links), _at_switches(switches, attached)):
        row = rows[switch]
        for index in _members(ends):
            row[index] = nics[_spread(where[index], hops, len(nics))]
    return {
        switch: {mac: nic for mac, nic in zip(addresses, row, strict=True) if nic is not None}
        for switch, row in zip(switches, rows, strict=True)
    }


def hop_bound(fabric: Fabric) -> int:
    """No path between two hosts crosses more links than this."""
    if not fabric.switches:
        return 1
    attached = _attachments(fabric.hosts, fabric.switches, fabric.links)
    near = _at_switches(fabric.switches, attached)
    everywhere = _ways(_ports(fabric.switches, fabric.links), near)
    return 2 + max((hops for switch, hops, _, _ in everywhere if near[switch]), default=0)


def _at_switches(switches: Sequence[str], attached: Sequence[tuple[LinkEnd, LinkEnd]]) -> list[int]:
    """By a switch's number: those that are attached to it, as the bits of a number."""
    near = dict.fromkeys(switches, 0)
    for index, (_, access) in enumerate(attached):
        near[access.node] |= 1 << index
    return list(near.values())


def _spread(place: int, distance: int, ways: int) -> int:
    """Which of ``ways`` equal neighbours leads to the host at ``place``; layers take turns with the digits."""
    return (place if distance % 2 == 0 else place // ways) % ways


def _ways(ports: Sequence[Sequence[tuple[int, str]]], near: Sequence[int]) -> Iterator[tuple[int, int, list[str], int]]:
    """Of every switch's ways, the shortest first: its number, hops to go, its interfaces that lead one hop nearer, in
    the links' order, and to whom. near: who is attached to each switch, as the bits of a number; ``whom`` likewise.

    Breadth first for all of them at once: a torus of a thousand switches has a million of pairs, and whom a switch
    reaches within so many hops is one number, made of its neighbours' by an operation each.
    """
    within = list(near)
    hops, on = 0, True
    while on:
        hops, on = hops + 1, False
        before = within.copy()
        for switch, around in enumerate(ports):
            found = 0
            for peer, _ in around:
                found |= before[peer]
            found &= ~before[switch]
            if found:
                within[switch] |= found
                on = True
                for whom, nics in _by_interfaces(found, [(before[peer], nic) for peer, nic in around]):
                    yield switch, hops, nics, whom


def _by_interfaces(found: int, towards: Sequence[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """Those who were found, parted by the interfaces that lead to them. towards: whom each interface leads to."""
    parts: list[tuple[int, list[str]]] = [(found, [])]
    for there, nic in towards:
        if there & found:
            parts = [
                part
                for whom, nics in parts
                for part in ((whom & there, [*nics, nic]), (whom & ~there, nics))
                if part[0]
            ]
    return parts


def _members(bits: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while bits:
        last = bits & -bits
        yield last.bit_length() - 1
        bits ^= last


def _ports(switches: Sequence[str], links: Sequence[Link]) -> list[list[tuple[int, str]]]:
    """By a switch's number: (neighbouring switch's number, interface towards it), links to one neighbour together."""
    numbers = {switch: number for number, switch in enumerate(switches)}
    towards: list[dict[int, list[str]]] = [{} for _ in switches]
    for link in links:
        one, other = numbers.get(link.a.node), numbers.get(link.b.node)
        if one is not None and other is not None:
            towards[one].setdefault(other, []).append(link.a.nic)
            towards[other].setdefault(one, []).append(link.b.nic)
    return [[(peer, nic) for peer, nics in found.items() for nic in nics] for found in towards]


def _attachments(hosts: Sequence[str], switches: Sequence[str], links: Sequence[Link]) -> list[tuple[LinkEnd, LinkEnd]]:
    """(host's NIC, switch's NIC) of every link between a host and a switch."""
    known_hosts, known_switches = set(hosts), set(switches)
    found = []
    for link in links:
        for end, far in ((link.a, link.b), (link.b, link.a)):
            if end.node in known_hosts and far.node in known_switches:
                found.append((end, far))
    return found


def _check_linked(hosts: Sequence[str], links: Sequence[Link]) -> None:
    linked = {end.node for link in links for end in (link.a, link.b)}
    lonely = next((host for host in hosts if host not in linked), None) if len(hosts) > 1 else None
    if lonely:
        raise ValueError(f"{lonely} has no link")


def strangers(hosts: Sequence[str], links: Sequence[Link]) -> Iterator[tuple[str, str]]:
    """Pairs of hosts that cannot reach each other, one per host that has some. Hosts do not forward, so two hosts meet
    when they share a link or an island of switches."""
    found = islands(hosts, links)
    if any(len(members) == len(hosts) for members in found):
        return
    together: dict[str, set[str]] = {host: {host} for host in hosts}
    for members in found:
        for host in members:
            together[host] |= members
    for host in hosts:
        missing = next((other for other in hosts if other not in together[host]), None)
        if missing:
            yield host, missing


def islands(hosts: Sequence[str], links: Sequence[Link]) -> list[set[str]]:
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
    return [{names[member[2]] for member in members if isinstance(member, tuple)} for members in components(joined)]


def components(neighbours: Mapping[Vertex, Iterable[Vertex]]) -> list[list[Vertex]]:
    """The connected parts of a graph; parts and their vertices in the order in which they are come by."""
    found: list[list[Vertex]] = []
    seen: set[Vertex] = set()
    for start in neighbours:
        if start in seen:
            continue
        seen.add(start)
        part = [start]
        for vertex in part:
            for peer in neighbours[vertex]:
                if peer not in seen:
                    seen.add(peer)
                    part.append(peer)
        found.append(part)
    return found
