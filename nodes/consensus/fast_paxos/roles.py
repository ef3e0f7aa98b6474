"""What Fast Paxos (Lamport 2005) is made of, as plain data: quorums with the rule that picks a value, the two roles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from testbed.nodes.consensus.ballots import Ballots

FAST = 1
"""The one fast ballot. The first member owns it and the one after it, that of its recovery; all but it are classic."""


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    MAJORITY_FAST_QUORUM = "majority_fast_quorum"  # a majority's votes decide in the fast ballot, too
    RECOVERY_PICKS_ANY = (
        "recovery_picks_any"  # after a collision some value that was voted for, not the one by the rule
    )
    VOTES_AGAIN = "votes_again"  # an acceptor votes for each value that it is offered in the fast ballot
    ACCEPT_KEEPS_PROMISE = "accept_keeps_promise"  # accepting does not raise the promise: an older ballot gets through


class Vote(NamedTuple):
    """An acceptor's, for ``value`` in ``ballot``; 0: it has not voted."""

    ballot: int = 0
    value: bytes = b""


NOTHING = Vote()


class Numbers(NamedTuple):
    """The ballots of n members: FAST, and above it those that Ballots count."""

    ballots: Ballots

    def number(self, attempt: int, rank: int) -> int:
        """The classic ballot that only ``rank`` may use for its ``attempt``."""
        return FAST + self.ballots.number(attempt, rank)

    def attempt(self, ballot: int) -> int:
        """The inverse of number, first part; of FAST that of its recovery."""
        return self.ballots.attempt(max(1, ballot - FAST))

    def wait_ns(self, rank: int, highest: int, patience_ns: int) -> int:
        """Ballots.wait_ns: FAST counts as its recovery does."""
        return self.ballots.wait_ns(rank, max(1, highest - FAST), patience_ns)


class Quorums(NamedTuple):
    """n acceptors. A value is chosen when all but ``e`` have voted for it in the fast ballot, or all but ``f`` in a
    classic one. Safe when n > 2f and n > 2e + f."""

    n: int
    f: int
    e: int
    pitfalls: Collection[Pitfall] = ()

    def needed(self, ballot: int) -> int:
        """Votes that choose a value; in a classic ballot so many promises are needed, too."""
        if ballot != FAST:
            return self.n - self.f
        return self.n // 2 + 1 if Pitfall.MAJORITY_FAST_QUORUM in self.pitfalls else self.n - self.e

    def collided(self, votes: Collection[bytes]) -> bool:
        """Whether, when these have been voted for in the fast ballot, no value can be chosen in it any more."""
        most = max(Counter(votes).values(), default=0)
        return most + self.n - len(votes) < self.needed(FAST)

    def pick(self, votes: Collection[Vote], own: bytes) -> bytes:
        """What must be proposed when a quorum has reported ``votes``, one each; ``own`` if nobody has voted.

        Of those in the highest ballot, the value that may have been chosen in it for all that is known: of a fast one,
        if all but e of these are for it. There is one such value at most; if there is none, any would do.
        """
        highest = max(vote.ballot for vote in votes)
        counted = Counter(vote.value for vote in votes if vote.ballot == highest)
        if highest == 0:
            return own
        if Pitfall.RECOVERY_PICKS_ANY in self.pitfalls:
            return max(counted)
        chosen = [value for value, count in counted.items() if count >= len(votes) - self.e]
        return chosen[0] if chosen else min(counted, key=lambda value: (-counted[value], value))


@dataclass(slots=True)
class Acceptor:
    """promised: the highest ballot it has answered. vote: its latest. In the fast ballot it votes for the first value
    that it is offered, once that ballot's owner has said that it may be any."""

    pitfalls: Collection[Pitfall] = ()
    promised: int = 0
    vote: Vote = NOTHING
    any: bool = False
    offered: bytes | None = None

    def may_be_any(self) -> bool:
        """Phase 2a of the fast ballot. True when it leads to a vote."""
        self.any = True
        return self._vote_fast()

    def offer(self, value: bytes) -> bool:
        """A proposer offers ``value``. True when it leads to a vote."""
        if self.offered is None or Pitfall.VOTES_AGAIN in self.pitfalls:
            self.offered = value
        return self._vote_fast()

    def _vote_fast(self) -> bool:
        voted = self.vote.ballot > (0 if Pitfall.VOTES_AGAIN not in self.pitfalls else FAST)
        return self.any and self.offered is not None and not voted and self.accept(FAST, self.offered)

    def prepare(self, ballot: int) -> bool:
        """Phase 1b: promise to take no part in lower ballots. A repeated prepare gets the same answer again."""
        if ballot < self.promised:
            return False
        self.promised = ballot
        return True

    def accept(self, ballot: int, value: bytes) -> bool:
        """Phase 2b: vote, unless a higher ballot has been promised. A vote is a promise too."""
        if ballot < self.promised:
            return False
        if Pitfall.ACCEPT_KEEPS_PROMISE not in self.pitfalls:
            self.promised = ballot
        self.vote = Vote(ballot, value)
        return True


@dataclass(slots=True)
class Proposer:
    """A classic ballot of this node. value is None during phase 1. promises: what each acceptor had voted for."""

    ballot: int
    quorums: Quorums
    promises: dict[int, Vote] = field(default_factory=dict)
    value: bytes | None = None

    def promise(self, acceptor: int, vote: Vote, own: bytes) -> bool:
        """Phase 1b came in. True when it completes the quorum: then ``value`` is what must be proposed."""
        if self.value is not None:
            return False
        self.promises[acceptor] = vote
        if len(self.promises) < self.quorums.needed(self.ballot):
            return False
        self.value = self.quorums.pick(tuple(self.promises.values()), own)
        return True
