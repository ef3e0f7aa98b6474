"""Changes of who votes in an engine that keeps a log, as its parameters plan them: data at birth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from testbed.nodes.consensus.spec import minority

OUT_OF_ORDER = "changes, and transfers, stand in the order of their times"


class Change(NamedTuple):
    """From ``at_ns`` on these nodes are to be the voters."""

    at_ns: int
    voters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """From some time on these are the voters."""

    at_ns: int = field(default=0, metadata={"about": "When, on the run's clock.", "time": True})
    members: list[int] = field(
        default_factory=list,
        metadata={
            "about": "The voters: their places among the members, from 0.",
            "example": [0, 1, 2],
            "min_length": 1,
        },
    )

    def among(self, members: Sequence[int]) -> Change:
        """The same with the members' numbers."""
        return Change(self.at_ns, tuple(members[place] for place in self.members))


_Kind = TypeVar("_Kind")


def planned(kind: type[_Kind], listed: Iterable[Any]) -> list[_Kind]:
    """Parameters, which may have crossed a border as JSON."""
    return [kind(**one) if isinstance(one, dict) else one for one in listed]


def out_of_order(planned_ns: Sequence[int]) -> bool:
    """Whether one of these times stands behind a later one."""
    return any(one > other for one, other in pairwise(planned_ns))


def wrong_voters(voters: int, changes: Sequence[PlannedChange], n: int, f: int, named: Iterable[int] = ()) -> str:
    """What is wrong with the first so many of n members as voters (0: all), and then with these: members that there are
    not (nor may be among those ``named`` elsewhere), or named twice, times out of order, voters that bear fewer crashes
    than are to be borne. Empty: nothing."""
    places = [*range(voters), *(place for one in changes for place in one.members), *named]
    strange = next((place for place in places if not 0 <= place < n), None)
    if strange is not None:
        return f"there is no member {strange}; {n} hosts take part, counted from 0"
    if any(len(set(one.members)) < len(one.members) for one in changes):
        return "a member votes once; name it once"
    if out_of_order([one.at_ns for one in changes]):
        return OUT_OF_ORDER
    fewest = min([voters or n, *(len(one.members) for one in changes)])
    if f > minority(fewest):
        return f"{fewest} voters bear fewer than f = {f} crashes; name more voters, or lower f"
    return ""
