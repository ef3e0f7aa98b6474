"""Known bugs of delegation."""

from __future__ import annotations

from enum import StrEnum


class Pitfall(StrEnum):
    """Each can be planted, and is found by a test (notes.md says by which)."""

    COORDINATOR_FAILURE_IGNORED = "coordinator_failure_ignored"  # an order that comes to nothing is not given again
    DISJOINT_QUORUMS = "disjoint_quorums"  # a new leader asks one node too few to meet every replication quorum
    TWO_COORDINATORS_ONE_SLOT = "two_coordinators_one_slot"  # an order that is late is void: its slot gets a no-op
    STALE_DELEGATION = "stale_delegation"  # a coordinator replicates an order in the ballot that it is in by now
    ORDER_WITHOUT_VOTE = "order_without_vote"  # the coordinator counts a vote that the leader has not cast
    VOTE_COUNTED_TWICE = "vote_counted_twice"  # the coordinator counts answers, not who gave them
    DONE_FITS_ANY_VOTE = "done_fits_any_vote"  # takes an old vote for what the coordinator says was chosen there
    READ_BEHIND_ORDERS = "read_behind_orders"  # reads miss what was ordered, and is chosen, but not reported yet
