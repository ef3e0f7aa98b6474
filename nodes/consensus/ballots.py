"""Ballot numbers, as all engines of the Paxos family count them."""

from __future__ import annotations

from typing import NamedTuple

from testbed.nodes.consensus.spec import RETRIES
from testbed.nodes.core.config import ProtocolConfig

MAX_BALLOT = (1 << 31) - 1
"""A greater number in a frame is no ballot, so that a ballot above all that are heard of always fits its 32 bits."""


_MOST_DOUBLINGS = 16


class Ballots(NamedTuple):
    """Ballot numbers of ``n`` proposers: attempt 0, 1, .. of rank 0 .. n - 1, from 1 on; 0 is below all."""

    n: int

    def number(self, attempt: int, rank: int) -> int:
        """The ballot that only ``rank`` may use for its ``attempt``."""
        return attempt * self.n + rank + 1

    def attempt(self, ballot: int) -> int:
        """The inverse of number, first part."""
        return (ballot - 1) // self.n

    def rank(self, ballot: int) -> int:
        """The inverse of number, second part."""
        return (ballot - 1) % self.n

    def wait_ns(self, rank: int, highest: int, patience_ns: int) -> int:
        """How long ``rank`` waits, from when it heard of ballot ``highest``, before it takes over.

        Its turn comes after those of all ranks between that ballot's owner and itself, and waits double with the
        attempts, so that at some time a ballot is left alone for long enough.
        """
        distance = (rank - self.rank(highest)) % self.n or self.n
        return distance * (patience_ns << min(self.attempt(highest), _MOST_DOUBLINGS))


class Takeovers(NamedTuple):
    """What it takes at the most, where ranks wait as Ballots.wait_ns says, until a ballot has been left alone and done.

    waits_ns: of all waits for a rank that is next in line; last_ns: of the last of them; ballot_ns: of that ballot.
    """

    waits_ns: int
    last_ns: int
    ballot_ns: int


def takeovers(protocol: ProtocolConfig, longest_ns: int, patience: int) -> Takeovers:
    """Each of f owners may die on the way, and each takeover doubles the next one's wait; it doubles also until it is
    longer than two phases take, after which nobody interferes any more."""
    wait_ns = patience * protocol.retry_ns
    phases_ns = 4 * longest_ns
    count = protocol.f
    while wait_ns << count < phases_ns:
        count += 1
    waits_ns = wait_ns * ((1 << count) - 1 + protocol.f)
    return Takeovers(waits_ns, wait_ns << count, phases_ns + 2 * RETRIES * protocol.retry_ns)


def decided_ns(protocol: ProtocolConfig, n: int, longest_ns: int, patience: int) -> int:
    """Of one instance: takeovers, and the last in line has asked for the decision that it missed."""
    until = takeovers(protocol, longest_ns, patience)
    asking_ns = n * until.last_ns + 2 * longest_ns + RETRIES * protocol.retry_ns
    return until.waits_ns + until.ballot_ns + asking_ns
