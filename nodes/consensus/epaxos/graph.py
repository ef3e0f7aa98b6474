"""In which order commands are carried out that depend on each other, also in circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from testbed.nodes.consensus.epaxos.needs import Name

Successors = Callable[[Name], Iterator[Name]]
"""The commands that one depends on and that have not been carried out; itself does not count."""


class Blocked(NamedTuple):
    """Nothing can be carried out before this command is committed."""

    by: Name


def components(root: Name, successors: Successors, committed: Callable[[Name], bool]) -> list[list[Name]] | Blocked:
    """The strongly connected components that ``root`` depends on and its own, each behind those that it depends on
    (Tarjan 1972, without recursion)."""
    index: dict[Name, int] = {}
    low: dict[Name, int] = {}
    stack: list[Name] = []
    on_stack: set[Name] = set()
    found: list[list[Name]] = []
    path: list[tuple[Name, Iterator[Name]]] = []

    def enter(name: Name) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        on_stack.add(name)
        path.append((name, successors(name)))

    enter(root)
    while path:
        name, rest = path[-1]
        following = next(rest, None)
        if following is None:
            path.pop()
            if path:
                above = path[-1][0]
                low[above] = min(low[above], low[name])
            if low[name] == index[name]:
                at = stack.index(name)
                found.append(stack[at:])
                on_stack.difference_update(stack[at:])
                del stack[at:]
        elif not committed(following):
            return Blocked(following)
        elif following not in index:
            enter(following)
        elif following in on_stack:
            low[name] = min(low[name], index[following])
    return found
