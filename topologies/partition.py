"""A fabric divided over machines so that few links are cut: a local search over units that stay together.

A unit is a switch with the hosts that hang on it alone, or a lone switch or host, or what the caller wants kept
together. Units are moved and exchanged between parts while that lessens first the overload (hosts beyond an even share)
and then the number of cut links; the best of several starts wins. Nothing is drawn: equal fabrics give equal parts.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from math import ceil

from testbed.topologies.fabric import Fabric

_STARTS = 8
_MOST_EXCHANGED = 150  # units up to which exchanges of two are tried as well


def partition(fabric: Fabric, parts: int, together: Iterable[Iterable[str]] = ()) -> dict[str, int]:
    """Node -> part. Raises ValueError when there are fewer units than parts."""
    units = _units(fabric, together)
    if len([unit for unit in units if _weight(fabric, unit)]) < parts:
        raise ValueError(
            f"{fabric.name} can't be divided over {parts} machines: only {len(units)} groups of nodes can be apart"
        )
    graph = _Graph(fabric, units)
    best = min((_improved(graph, start, parts) for start in _starts(graph, parts)), key=lambda found: found[0])
    return {node: best[1][place] for place, unit in enumerate(units) for node in unit}


def cut_links(fabric: Fabric, parts: dict[str, int]) -> list[int]:
    """The links whose ends are in different parts."""
    return [index for index, link in enumerate(fabric.links) if parts[link.a.node] != parts[link.b.node]]


class _Graph:
    """Units as numbers: weights (hosts) and how many links lead from one to another."""

    def __init__(self, fabric: Fabric, units: Sequence[Sequence[str]]) -> None:
        place = {node: number for number, unit in enumerate(units) for node in unit}
        self.weights = [_weight(fabric, unit) for unit in units]
        self.links: list[dict[int, int]] = [defaultdict(int) for _ in units]
        for link in fabric.links:
            one, other = place[link.a.node], place[link.b.node]
            if one != other:
                self.links[one][other] += 1
                self.links[other][one] += 1


def _weight(fabric: Fabric, unit: Iterable[str]) -> int:
    hosts = set(fabric.hosts)
    return sum(node in hosts for node in unit)


def _units(fabric: Fabric, together: Iterable[Iterable[str]]) -> list[list[str]]:
    """Who stays together, in the order of the fabric."""
    nodes = (*fabric.hosts, *fabric.switches)
    leader = {node: node for node in nodes}

    def find(node: str) -> str:
        while leader[node] != node:
            node = leader[node]
        return node

    neighbours: dict[str, set[str]] = defaultdict(set)
    for link in fabric.links:
        neighbours[link.a.node].add(link.b.node)
        neighbours[link.b.node].add(link.a.node)
    switches = set(fabric.switches)
    pairs = [(host, *neighbours[host]) for host in fabric.hosts if len(neighbours[host]) == 1]
    pairs = [pair for pair in pairs if pair[1] in switches]
    for group in (*pairs, *map(tuple, together)):
        for node in group[1:]:
            leader[find(node)] = find(group[0])
    units: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        units[find(node)].append(node)
    return list(units.values())


def _starts(graph: _Graph, parts: int) -> Iterable[list[int]]:
    """Even shares of the units in the order in which a search from some unit comes by them."""
    total, count = max(1, sum(graph.weights)), len(graph.weights)
    for first in range(0, count, max(1, count // _STARTS)):
        order: list[int] = []
        seen = {first}
        queue = deque([first])
        while len(order) < count:
            if not queue:
                rest = next(unit for unit in range(count) if unit not in seen)
                seen.add(rest)
                queue.append(rest)
            unit = queue.popleft()
            order.append(unit)
            for other in graph.links[unit]:
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        where, filled = [0] * count, 0
        for unit in order:
            where[unit] = min(parts - 1, filled * parts // total)
            filled += graph.weights[unit]
        yield where


def _improved(graph: _Graph, where: list[int], parts: int) -> tuple[tuple[int, int], list[int]]:
    """The local optimum that a start leads to, and its cost: overload, cut links."""
    units, share = range(len(where)), ceil(sum(graph.weights) / parts)
    loads = [0] * parts
    for unit in units:
        loads[where[unit]] += graph.weights[unit]

    def over(*changes: tuple[int, int]) -> int:
        """How much the overload grows when these parts' loads change so."""
        return sum(_overload(loads[part] + change, share) - _overload(loads[part], share) for part, change in changes)

    def cut(unit: int, to: int) -> int:
        """How many more links are cut when a unit goes there."""
        links, here = graph.links[unit], where[unit]
        return sum(count * ((where[other] == here) - (where[other] == to)) for other, count in links.items())

    def move(unit: int, to: int) -> None:
        loads[where[unit]] -= graph.weights[unit]
        loads[to] += graph.weights[unit]
        where[unit] = to

    better = True
    while better:
        better = False
        for unit in units:
            weight, here = graph.weights[unit], where[unit]
            gains = [((over((here, -weight), (to, weight)), cut(unit, to)), to) for to in range(parts) if to != here]
            cost, to = min(gains)
            if cost < (0, 0):
                move(unit, to)
                better = True
        if not better and len(where) <= _MOST_EXCHANGED:
            better = _exchange(graph, where, over, cut, move)
    crossing = sum(count for unit in units for other, count in graph.links[unit].items() if where[other] != where[unit])
    return (sum(_overload(load, share) for load in loads), crossing // 2), where


def _exchange(
    graph: _Graph,
    where: list[int],
    over: Callable[..., int],
    cut: Callable[[int, int], int],
    move: Callable[[int, int], None],
) -> bool:
    """The first exchange of two units that makes it better."""
    for one in range(len(where)):
        for other in range(one + 1, len(where)):
            here, there = where[one], where[other]
            if here == there:
                continue
            more = graph.weights[other] - graph.weights[one]
            links = cut(one, there) + cut(other, here) + 2 * graph.links[one].get(other, 0)
            if (over((here, more), (there, -more)), links) < (0, 0):
                move(one, there)
                move(other, here)
                return True
    return False


def _overload(load: int, share: int) -> int:
    """Hosts beyond an even share; a part without any host is as bad as can be."""
    return max(0, load - share) if load else share
