"""The acceptor and the leader of Multi-Paxos as plain data; the learner is the machine's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from testbed.nodes.consensus.logs import NOOP


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    ACCEPT_KEEPS_PROMISE = "accept_keeps_promise"  # accepting does not raise the promise: an older ballot gets through
    ANY_VOTE = "any_vote"  # a new leader takes the oldest vote reported for a slot, not that of the highest ballot
    HOLE_LEFT_OPEN = "hole_left_open"  # a new leader leaves slots without a vote as they are: the log ends there
    COMMIT_PAST_HOLE = "commit_past_hole"  # all slots below the highest that was chosen are said to be chosen
    CLAIM_FITS_ANY_VOTE = "claim_fits_any_vote"  # takes an old vote for what the leader says was chosen in that slot
    LEARNED_BINDS_NOT = "learned_binds_not"  # what is known to be chosen gives way to an older vote that is asked for
    BASE_SAYS_NOTHING = "base_says_nothing"  # a new leader takes slots that others have forgotten for free ones
    ANSWER_NOT_KEPT = "answer_not_kept"  # says what it promises and votes before that is on the disk
    LEASE_IGNORES_DRIFT = "lease_ignores_drift"  # the leader trusts a promise for as long as its own clock says
    LEASE_FROM_ANSWER = "lease_from_answer"  # .. from when it heard the answer on, not from when it asked
    LEASE_NOT_KEPT = "lease_not_kept"  # an acceptor promises another ballot before the time that it gave has passed
    READ_UNCONFIRMED = "read_unconfirmed"  # who leads answers reads without asking whether it still does
    READ_BEFORE_FIRST = "read_before_first"  # a new leader answers reads before it knows what was chosen before it


class Vote(NamedTuple):
    """``entry``, for which an acceptor voted in ``ballot``, or which it knows to be chosen since then."""

    ballot: int
    entry: bytes


@dataclass(slots=True)
class Acceptor:
    """promised: the highest ballot that it has answered, in all slots. votes: its latest in each slot."""

    pitfalls: Collection[Pitfall] = ()
    promised: int = 0
    votes: dict[int, Vote] = field(default_factory=dict)

    def prepare(self, ballot: int) -> bool:
        """Phase 1b: promise to take no part in lower ballots. A repeated prepare gets the same answer again."""
        if ballot < self.promised:
            return False
        self.promised = ballot
        return True

    def accept(self, ballot: int, slot: int, entry: bytes) -> bool:
        """Phase 2b: vote, unless a higher ballot has been promised. A vote is a promise too."""
        if ballot < self.promised:
            return False
        if Pitfall.ACCEPT_KEEPS_PROMISE not in self.pitfalls:
            self.promised = ballot
        self.votes[slot] = Vote(ballot, entry)
        return True


class Read(NamedTuple):
    """A read that waits for a quorum to answer heartbeat ``number`` or a later one: the log below ``slot`` is enough
    for it."""

    reader: int
    ticket: bytes
    slot: int
    number: int


class Promise(NamedTuple):
    """Phase 1b: what an acceptor has voted for, from slot ``base`` on; below that it knows a state in place of slots,
    which says nothing of what was chosen in each."""

    base: int
    votes: dict[int, Vote]


@dataclass(slots=True)
class Open:
    """A slot in phase 2. since: how many times the leader had beaten when it began."""

    entry: bytes
    since: int
    voters: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Leader:
    """One ballot of this node, over all slots from ``start`` on.

    recovery: so many promises end phase 1. quorum: so many votes choose an entry, and answers show that nobody leads
    after this node; it has a node in common with any set of ``recovery`` nodes.
    leads: phase 1 is over; of what was chosen in earlier ballots, all lies below ``first``. next: the first slot
    without an entry. open: slots in phase 2; chosen: those behind it that wait for a slot before them. beats: how many
    intervals it has led for; heard: in which of them each member was heard last. number: how many heartbeats it has
    sent; asked_ns: when the latest ones were sent, from the last that a quorum has answered on; answered: the latest
    that each member has answered. reads: those that wait for answers.
    """

    ballot: int
    quorum: int
    recovery: int
    start: int
    pitfalls: Collection[Pitfall] = ()
    promises: dict[int, Promise] = field(default_factory=dict)
    leads: bool = False
    next: int = 0
    open: dict[int, Open] = field(default_factory=dict)
    chosen: set[int] = field(default_factory=set)
    first: int = 0
    beats: int = 0
    heard: dict[int, int] = field(default_factory=dict)
    number: int = 0
    asked_ns: dict[int, int] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)

    def may_lead(self, slot: int) -> bool:
        """Whether phase 1 can end for a node that knows what was chosen below ``slot``: a quorum has promised, and none
        of it knows more than its votes tell."""
        bases = [promise.base for promise in self.promises.values()]
        return not self.leads and len(bases) >= self.recovery and max(bases) <= slot

    def inherited(self, slot: int) -> dict[int, bytes]:
        """P2c for all slots from ``slot`` on up to the last that anybody has voted in: the entry of the highest ballot;
        where there is none, nothing can have been chosen, and nothing shall be."""
        found: dict[int, Vote] = {}
        choose = min if Pitfall.ANY_VOTE in self.pitfalls else max
        for promise in self.promises.values():
            for place, vote in promise.votes.items():
                found[place] = choose(found.get(place, vote), vote)
        last = max(found, default=slot - 1)
        nothing = Vote(0, NOOP)
        return {
            place: found.get(place, nothing).entry
            for place in range(slot, last + 1)
            if place in found or Pitfall.HOLE_LEFT_OPEN not in self.pitfalls
        }

    def accepted(self, acceptor: int, slot: int) -> bool:
        """Phase 2b came in. True when a quorum has voted: the slot's entry is chosen."""
        if slot not in self.open:
            return False
        voters = self.open[slot].voters
        voters.add(acceptor)
        if len(voters) < self.quorum:
            return False
        del self.open[slot]
        self.chosen.add(slot)
        return True

    def hear(self, member: int, number: int, now_ns: int) -> None:
        """Another member has answered heartbeat ``number``."""
        self.heard[member] = self.beats
        self.answered[member] = max(self.answered.get(member, 0), number)
        if Pitfall.LEASE_FROM_ANSWER in self.pitfalls and self.proven:
            self.asked_ns[self.proven] = now_ns

    def alive(self, within: int) -> bool:
        """Whether a quorum, this node among it, was heard in the last ``within`` intervals."""
        return 1 + sum(beat >= self.beats - within for beat in self.heard.values()) >= self.quorum

    def beat(self, now_ns: int) -> int:
        """The number of the heartbeat that is sent now."""
        self.number += 1
        self.asked_ns[self.number] = now_ns
        return self.number

    @property
    def proven(self) -> int:
        """The latest heartbeat that a quorum, this node among it, has answered; 0: none."""
        latest = sorted([*self.answered.values(), self.number], reverse=True)
        return latest[self.quorum - 1] if len(latest) >= self.quorum else 0

    def proven_ns(self) -> int | None:
        """When it was sent: a quorum has followed nobody else since, at the least."""
        proven = self.proven
        for number in [number for number in self.asked_ns if number < proven]:
            del self.asked_ns[number]
        return self.asked_ns.get(proven)

    def confirmed(self) -> list[Read]:
        """Reads of which a quorum has said since they came that nobody leads after this one; they wait no more."""
        proven = self.proven
        ready = [read for read in self.reads if read.number <= proven]
        self.reads = [read for read in self.reads if read.number > proven]
        return ready
