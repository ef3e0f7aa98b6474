"""The names of commands, and what a command depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class Name(NamedTuple):
    """A command's identifier: the chain that it stands in (testbed.nodes.core.commuting), the rank of the member that
    brought it in (its coordinator), and how many that one had brought into the chain before."""

    chain: int
    rank: int
    place: int


Source = tuple[int, int]
"""A chain and a rank: what names are counted in."""

Needs = tuple[Name, ...]
"""What a command depends on, as counts: of each source that is named all commands below ``place``; sorted, none zero.

A coordinator counts without holes, so that a set that holds a command holds those before it as well. Each of them was
begun (or will be found never to have been, and put down as nothing), and to depend on more than on what conflicts is
always safe.
"""


def needs_of(counts: Mapping[Source, int]) -> Needs:
    """Those counts as needs."""
    return tuple(sorted(Name(*source, count) for source, count in counts.items() if count))


def union(all_needs: Iterable[Needs]) -> Needs:
    """What any of them depends on."""
    counts: dict[Source, int] = {}
    for needs in all_needs:
        for chain, rank, count in needs:
            counts[chain, rank] = max(counts.get((chain, rank), 0), count)
    return needs_of(counts)


def covers(needs: Needs, name: Name) -> bool:
    """Whether what depends on ``needs`` depends on that command."""
    return any(name[:2] == bound[:2] and name.place < bound.place for bound in needs)


def names(needs: Needs, since: Mapping[Source, int]) -> Iterator[Name]:
    """The commands in ``needs``, of each source from a place on."""
    for chain, rank, count in needs:
        for place in range(since.get((chain, rank), 0), count):
            yield Name(chain, rank, place)
