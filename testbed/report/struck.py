"""The fabric of a run with what strikes it drawn on it: each fault by its number, where it strikes."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.faults import describe
from testbed.plan import Plan
from testbed.topologies.svg import Mark, draw_svg

_MOST_LABELS = 3  # of links; more would lie over the marks

_Place = tuple[tuple[str, ...], bool]
"""The nodes, and whether it is a NIC: see Mark."""


def fabric_picture(plan: Plan) -> str:
    """As SVG. A fault that strikes all links is at none of them."""
    told = [describe(plan.faults, index, plan.fabric) for index in range(len(plan.faults))]
    at: dict[_Place, list[int]] = {}
    for index in range(len(plan.faults)):
        for place in _places(plan, index):
            at.setdefault(place, []).append(index)
    marks = [
        Mark(nodes, nic, _numbers(found), "; ".join(f"fault {index}: {told[index]}" for index in found))
        for (nodes, nic), found in at.items()
    ]
    return draw_svg(plan.fabric, marks, _MOST_LABELS)


def _places(plan: Plan, index: int) -> Iterator[_Place]:
    fault, fabric = plan.faults[index], plan.fabric
    if fault.links:
        struck = dict.fromkeys(number for number, _ in fault.links)
        if len(struck) < len(fabric.links) or len(struck) == 1:
            yield from (((fabric.links[number].a.node, fabric.links[number].b.node), False) for number in struck)
    elif fault.nic:
        for link in fabric.links:
            for end, far in ((link.a, link.b), (link.b, link.a)):
                if (end.node, end.nic) == (fault.target, fault.nic):
                    yield (end.node, far.node), True
    elif fault.target:
        yield (fault.target,), False


def _numbers(found: list[int]) -> str:
    """``0, 2``; of many the first few."""
    return ", ".join(map(str, found[:3])) + (" …" if len(found) > 3 else "")
