"""Who is whose peer. A member has ports to its neighbours only, so that many hosts need not know all the others.

all      everyone, everyone else
tree     the parent and the children: member i's parent is member (i - 1) // width (width: children of each, 2)
groups   all of its own group, members in a row; the first ones of all groups are peers as well (width: members of a
         group, the root of their number)
lattice  up to four on a grid filled row by row, with open borders (width: columns, the root of their number)
links    whoever is at the other end of one of its own links, without a switch between
reach    whoever frames get to without a host between, which would have to forward: over a link, or over switches

The default is ``all`` where all participants reach each other, else ``reach`` (a lattice of hosts, a BCube).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import isqrt

from testbed.topologies.fabric import Fabric
from testbed.topologies.paths import islands, strangers

Pair = tuple[int, int]


def pairs(kind: str, members: Sequence[int], fabric: Fabric, width: int = 0) -> list[Pair]:
    """All pairs of neighbours among ``members`` (node numbers), the lower first, in order. width: 0 = the default."""
    if kind in _OF_THE_FABRIC:
        return _OF_THE_FABRIC[kind](members, fabric)
    n = len(members)
    places = _PLACES[kind](n, width or _DEFAULT_WIDTH[kind](n))
    return sorted((min(members[a], members[b]), max(members[a], members[b])) for a, b in places)


def neighbours(members: Sequence[int], found: Sequence[Pair]) -> dict[int, tuple[int, ...]]:
    """Member -> its peers, in order."""
    peers: dict[int, list[int]] = {member: [] for member in members}
    for low, high in found:
        peers[low].append(high)
        peers[high].append(low)
    return {member: tuple(sorted(its)) for member, its in peers.items()}


def _tree(n: int, width: int) -> list[Pair]:
    return [((place - 1) // width, place) for place in range(1, n)]


def _groups(n: int, width: int) -> list[Pair]:
    inside = [(first, second) for second in range(n) for first in range(second - second % width, second)]
    heads = range(0, n, width)
    return inside + [(first, second) for second in heads for first in range(0, second, width)]


def _lattice(n: int, width: int) -> list[Pair]:
    right = [(place, place + 1) for place in range(n - 1) if (place + 1) % width]
    return right + [(place, place + width) for place in range(n - width)]


def _linked(members: Sequence[int], fabric: Fabric) -> list[Pair]:
    taking_part = {fabric.hosts[member]: member for member in members}
    found = {
        (min(one, other), max(one, other))
        for link in fabric.links
        if (one := taking_part.get(link.a.node)) is not None and (other := taking_part.get(link.b.node)) is not None
    }
    return sorted(found)


def _reached(members: Sequence[int], fabric: Fabric) -> list[Pair]:
    taking_part = {fabric.hosts[member]: member for member in members}
    found: set[Pair] = set()
    for island in islands(fabric.hosts, fabric.links):
        found.update(combinations(sorted(taking_part[host] for host in island if host in taking_part), 2))
    return sorted(found)


def strangers_among(members: Sequence[int], fabric: Fabric) -> frozenset[Pair]:
    """The pairs of members that frames do not get between; almost always there are none."""
    if next(strangers(fabric.hosts, fabric.links), None) is None:
        return frozenset()
    return frozenset(combinations(members, 2)).difference(_reached(members, fabric))


def _root(n: int) -> int:
    """The square root, rounded up."""
    return isqrt(n - 1) + 1


_PLACES: dict[str, Callable[[int, int], list[Pair]]] = {"tree": _tree, "groups": _groups, "lattice": _lattice}
_DEFAULT_WIDTH: dict[str, Callable[[int], int]] = {"tree": lambda _: 2, "groups": _root, "lattice": _root}

ALL, LINKS, REACH = "all", "links", "reach"
_OF_THE_FABRIC: dict[str, Callable[[Sequence[int], Fabric], list[Pair]]] = {
    ALL: lambda members, _: list(combinations(members, 2)),
    LINKS: _linked,
    REACH: _reached,
}
OF_SOME_WIDTH = tuple(_PLACES)
KINDS = (ALL, *OF_SOME_WIDTH, LINKS, REACH)
