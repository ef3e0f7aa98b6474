"""Who must agree: majorities, and while the members change the majorities of both memberships (thesis, section 4.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

EVERYTHING = 1 << 62
"""What nobody has to agree to is agreed to whatever it is: so much is acknowledged by the majority of no voters."""


class Poll(StrEnum):
    """How a vote stands."""

    PENDING = "pending"
    LOST = "lost"
    WON = "won"


def majority(voters: Collection[int]) -> int:
    """The fewest of them of which any two such sets share one."""
    return len(voters) // 2 + 1


def acknowledged(voters: Collection[int], acked: Mapping[int, int]) -> int:
    """The most that a majority has acknowledged; who is not in ``acked`` has acknowledged nothing, 0."""
    if not voters:
        return EVERYTHING
    return sorted((acked.get(voter, 0) for voter in voters), reverse=True)[majority(voters) - 1]


def poll(voters: Collection[int], votes: Mapping[int, bool]) -> Poll:
    """How the vote stands; who is not in ``votes`` may vote yet. The vote of no voters is won."""
    if not voters:
        return Poll.WON
    needed = majority(voters)
    yes = sum(votes.get(voter, False) for voter in voters)
    missing = sum(voter not in votes for voter in voters)
    if yes >= needed:
        return Poll.WON
    return Poll.PENDING if yes + missing >= needed else Poll.LOST


class Membership(NamedTuple):
    """Who votes, by rank. number: how many changes led to it. before: the voters that these replace, while both must
    agree (joint consensus); none: it is simple.
    """

    number: int
    voters: tuple[int, ...]
    before: tuple[int, ...] = ()

    @property
    def is_joint(self) -> bool:
        """Whether a change is under way."""
        return bool(self.before)

    @property
    def everyone(self) -> tuple[int, ...]:
        """Whoever has a vote in it."""
        return tuple(sorted({*self.voters, *self.before}))

    def joint(self, voters: Collection[int]) -> Membership:
        """The first half of a change to ``voters``."""
        return Membership(self.number, tuple(sorted(voters)), self.voters)

    def settled(self) -> Membership:
        """The second half: the new voters alone."""
        return Membership(self.number + 1, self.voters)

    def united(self) -> Membership:
        """What it must not be taken for: a majority of all voters together."""
        return Membership(self.number, self.everyone)

    def acknowledged(self, acked: Mapping[int, int]) -> int:
        """The most that the majority of each half has acknowledged."""
        return min(acknowledged(self.voters, acked), acknowledged(self.before, acked))

    def poll(self, votes: Mapping[int, bool]) -> Poll:
        """How the vote stands: both halves must be won."""
        polls = {poll(self.voters, votes), poll(self.before, votes)}
        if Poll.LOST in polls:
            return Poll.LOST
        return Poll.PENDING if Poll.PENDING in polls else Poll.WON
