"""Who is to lead: fast leader election, by whose history is the newest. Whoever leads, nothing is lost by it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from testbed.nodes.consensus.zab.history import Zxid
from testbed.nodes.consensus.zab.pitfalls import Pitfall


class Standing(NamedTuple):
    """How far a node is. current: the last epoch in which it took over a leader's history (currentEpoch); last: the
    zxid with which its history ends, and ``end``, the slot behind that."""

    current: int
    last: Zxid
    end: int

    def key(self, pitfalls: Collection[Pitfall]) -> Any:
        """The greater, the newer."""
        if Pitfall.HISTORY_BY_LENGTH_ONLY in pitfalls:
            return self.end
        if Pitfall.HISTORY_BY_ZXID_ONLY in pitfalls:
            return self.last
        return self.current, self.last


class Choice(NamedTuple):
    """A vote: for the member with this rank, which stands there."""

    standing: Standing
    rank: int

    def key(self, pitfalls: Collection[Pitfall]) -> Any:
        """Of those that stand alike the first member is chosen."""
        return self.standing.key(pitfalls), -self.rank


@dataclass(slots=True)
class Election:
    """One node's part in elections. clock: which one it is in, or was in last. votes: who votes for whom in it.
    settling: a quorum votes as this node does, and a better candidate is waited for."""

    pitfalls: Collection[Pitfall] = ()
    clock: int = 0
    votes: dict[int, Choice] = field(default_factory=dict)
    settling: bool = False

    def begin(self, clock: int, me: int, own: Choice) -> None:
        """This one's votes are forgotten; this node begins with itself."""
        self.clock = clock
        self.votes = {me: own}
        self.settling = False

    def adopts(self, me: int, heard: Choice) -> bool:
        """Whether ``heard`` is better than what this node votes for; if so, it votes for that."""
        if heard.key(self.pitfalls) <= self.votes[me].key(self.pitfalls):
            return False
        self.votes[me] = heard
        self.settling = False
        return True

    def alike(self, me: int) -> int:
        """How many vote as this node does."""
        return sum(vote == self.votes[me] for vote in self.votes.values())
