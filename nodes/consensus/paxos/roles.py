"""The two roles of "Paxos Made Simple" (Lamport 2001, section 2.2) as plain data; the learner is a single value."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    ACCEPT_KEEPS_PROMISE = "accept_keeps_promise"  # accepting does not raise the promise: an older ballot gets through
    ANSWER_NOT_KEPT = "answer_not_kept"  # says what it promises and votes before that is on the disk
    ANSWER_NOT_SYNCED = "answer_not_synced"  # says what it promises and votes when that is written, but not yet synced
    ANY_VOTE = "any_vote"  # the proposer takes the oldest vote reported instead of that of the highest ballot


@dataclass(slots=True)
class Acceptor:
    """promised: the highest ballot it has answered. voted, value: its latest vote (voted = 0: none)."""

    pitfalls: Collection[Pitfall] = ()
    promised: int = 0
    voted: int = 0
    value: bytes = b""

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
        self.voted, self.value = ballot, value
        return True


@dataclass(slots=True)
class Proposer:
    """One ballot of this node. value is None during phase 1. promises: acceptor -> (voted, value)."""

    ballot: int
    quorum: int
    pitfalls: Collection[Pitfall] = ()
    promises: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    value: bytes | None = None
    votes: set[int] = field(default_factory=set)

    def promise(self, acceptor: int, voted: int, value: bytes, own_value: bytes) -> bool:
        """Phase 1b came in. True when it completes the quorum: then ``value`` is what must be proposed."""
        if self.value is not None:
            return False
        self.promises[acceptor] = voted, value
        if len(self.promises) < self.quorum:
            return False
        votes = [vote for vote in self.promises.values() if vote[0] > 0]
        choose = min if Pitfall.ANY_VOTE in self.pitfalls else max
        self.value = choose(votes)[1] if votes else own_value
        return True

    def accepted(self, acceptor: int) -> bool:
        """Phase 2b came in. True when a quorum has voted: ``value`` is chosen."""
        self.votes.add(acceptor)
        return len(self.votes) >= self.quorum

    def has_answered(self, acceptor: int) -> bool:
        """Whether ``acceptor`` has answered in the current phase."""
        return acceptor in (self.promises if self.value is None else self.votes)
