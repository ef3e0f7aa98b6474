"""Which nodes a pattern means, and which links (and which of their directions) a selector does.

A node's pattern is a name in the shell's way (``host*``, ``host?``, ``host[12]``), or ``role:spine``, ``group:pod1``:
all nodes of that role or group of the fabric, which must be there.

``leaf*<->spine*`` means both directions of every link between the two, whichever way round the link is written;
``leaf*->spine*`` means only what the first sends to the second. ``role:spine`` by itself means every link at a spine,
``tier:core-aggregation`` (or, by number, ``tier:3-2``; hosts are 0) every link between these tiers, both both ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from testbed.topologies.fabric import Fabric, Link, Place

_SELECTOR = re.compile(r"\s*([^\s<>]+)\s*(<->|->)\s*([^\s<>]+)\s*")
_TIERS = re.compile(r"\s*tier:([A-Za-z0-9_]+)-([A-Za-z0-9_]+)\s*")
_OF_A_PLACE: dict[str, Callable[[Place], str]] = {"role": lambda place: place.role, "group": lambda place: place.group}

Matches = Callable[[str], bool]


class Selector(NamedTuple):
    """A parsed selector: patterns of nodes at its ends."""

    text: str
    first: str
    second: str
    both_ways: bool


def parse_selector(text: str) -> Selector:
    """Raises ValueError with advice when ``text`` is no selector."""
    tiers = _TIERS.fullmatch(text)
    if tiers is not None:
        return Selector(text.strip(), f"tier:{tiers.group(1)}", f"tier:{tiers.group(2)}", True)
    ends = _SELECTOR.fullmatch(text)
    if ends is not None:
        return Selector("".join(ends.groups()), ends.group(1), ends.group(3), ends.group(2) == "<->")
    kind, _, name = text.strip().partition(":")
    if kind in _OF_A_PLACE and re.fullmatch(r"[^\s<>]+", name):
        return Selector(text.strip(), text.strip(), "*", True)
    raise ValueError(
        f"{text!r} is no link selector; write host1<->leaf1, leaf*<->spine*, role:spine, tier:leaf-spine or, for one "
        "direction, leaf*->spine*"
    )


def selected(fabric: Fabric, selector: Selector) -> list[tuple[int, str]]:
    """(link index, direction) of everything meant. Raises ValueError when that is nothing, or a role, group or tier is
    not there."""
    first, second = matcher(fabric, selector.first), matcher(fabric, selector.second)
    found = []
    for index, link in enumerate(fabric.links):
        forward = first(link.a.node) and second(link.b.node)
        backward = first(link.b.node) and second(link.a.node)
        if forward or (backward and selector.both_ways):
            found.append((index, "ab"))
        if backward or (forward and selector.both_ways):
            found.append((index, "ba"))
    if not found:
        there = _tiers(fabric) if selector.first.startswith("tier:") else _sample(fabric.links)
        raise ValueError(f"{selector.text} matches no link; there are {there}")
    return found


def matcher(fabric: Fabric, pattern: str) -> Matches:
    """Whether a node of ``fabric`` is meant by ``pattern``. Raises ValueError for a role, group or tier that no node
    has, with those that there are."""
    kind, colon, name = pattern.partition(":")
    if not colon:
        return lambda node: fnmatchcase(node, pattern)
    if kind == "tier":
        return _of_tier(fabric, name)
    if kind not in _OF_A_PLACE:
        raise ValueError(f"{pattern!r}: nodes are told apart by name, role: and group:, not by {kind}:")
    value_of = _OF_A_PLACE[kind]
    known = _known(value_of(fabric.place(node)) for node in (*fabric.hosts, *fabric.switches))
    if name not in known:
        there = f"there are {', '.join(known)}" if known else f"{fabric.name} has none"
        raise ValueError(f"no {kind} {name!r} in this fabric; {there}")
    return lambda node: value_of(fabric.place(node)) == name


def is_of_a_place(pattern: str) -> bool:
    """Whether a selector or pattern names a role, group or tier."""
    return re.search(r"\b(role|group|tier):", pattern) is not None


def _of_tier(fabric: Fabric, name: str) -> Matches:
    """By the number of a tier, or by the role of its switches."""
    if not name.isdecimal():
        return matcher(fabric, f"role:{name}")
    known = _known(str(fabric.place(node).tier) for node in (*fabric.hosts, *fabric.switches))
    if name not in known:
        raise ValueError(f"no tier {name} in this fabric; there are {', '.join(known)}")
    return lambda node: fabric.place(node).tier == int(name)


def _known(values: Iterable[str]) -> list[str]:
    return sorted({value for value in values if value}, key=lambda value: (len(value), value))


def _tiers(fabric: Fabric) -> str:
    pairs = {
        tuple(sorted((fabric.place(end.node) for end in (link.a, link.b)), key=lambda place: (-place.tier, place.role)))
        for link in fabric.links
    }
    return ", ".join(sorted({f"tier:{upper.role}-{lower.role}" for upper, lower in pairs}))


def _sample(links: Sequence[Link]) -> str:
    names = [link.name for link in links]
    return ", ".join(names[:4]) + (f", ... {names[-1]}" if len(names) > 4 else "")
