"""Which links (and which of their directions) a name pattern means.

``leaf*<->spine*`` means both directions of every link between the two, whichever way round the link is written;
``leaf*->spine*`` means only what the first sends to the second. Patterns are shell patterns: ``*``, ``?``, ``[12]``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from topologies.fabric import Fabric, Link

_SELECTOR = re.compile(r"\s*([^\s<>]+)\s*(<->|->)\s*([^\s<>]+)\s*")


class Selector(NamedTuple):
    """A parsed selector."""

    first: str
    second: str
    both_ways: bool

    def ways(self, link: Link) -> tuple[str, ...]:
        """The directions of ``link`` that are meant: of "ab" and "ba", none, one or both."""
        forward = fnmatchcase(link.a.node, self.first) and fnmatchcase(link.b.node, self.second)
        backward = fnmatchcase(link.b.node, self.first) and fnmatchcase(link.a.node, self.second)
        if self.both_ways:
            return ("ab", "ba") if forward or backward else ()
        return ("ab",) * forward + ("ba",) * backward


def parse_selector(text: str) -> Selector:
    """Raises ValueError with advice when ``text`` is no selector."""
    match = _SELECTOR.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no link selector; write host1<->leaf1, leaf*<->spine* or, for one direction, leaf*->spine*"
        )
    return Selector(match.group(1), match.group(3), match.group(2) == "<->")


def selected(fabric: Fabric, selector: Selector) -> list[tuple[int, str]]:
    """(link index, direction) of everything meant. Raises ValueError when that is nothing."""
    found = [(index, way) for index, link in enumerate(fabric.links) for way in selector.ways(link)]
    if not found:
        arrow = "<->" if selector.both_ways else "->"
        raise ValueError(f"{selector.first}{arrow}{selector.second} matches no link; there are {_sample(fabric.links)}")
    return found


def _sample(links: Sequence[Link]) -> str:
    names = [link.name for link in links]
    return ", ".join(names[:4]) + (f", ... {names[-1]}" if len(names) > 4 else "")
