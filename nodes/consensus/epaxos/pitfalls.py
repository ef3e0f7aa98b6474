"""Known bugs of EPaxos that can be planted."""

from enum import StrEnum


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    ONE_BALLOT_VARIABLE = "one_ballot_variable"  # tells the ballot that it has promised as the one that it has voted in
    SMALL_FAST_QUORUM = "small_fast_quorum"  # one node fewer than e allows is enough for the fast path
    RECOVERY_IGNORES_CONFLICTS = "recovery_ignores_conflicts"  # takes for committed what may have been
    RECOVERY_WAITS_FOR_NOBODY = "recovery_waits_for_nobody"  # .. and without waiting for conflicts that are undecided
    WAITING_UNHEARD = "waiting_unheard"  # two recoveries that wait for each other go on waiting
    DEPENDENCIES_NOT_MERGED = "dependencies_not_merged"  # the slow path takes the coordinator's dependencies alone
    CYCLE_IN_ARRIVAL_ORDER = "cycle_executed_in_arrival_order"  # .. and not in the order of the commands' names
    HOLE_SKIPPED = "hole_skipped"  # executes what it knows, without what that depends on
    NOP_FORGOTTEN = "nop_forgotten"  # whose command was given up for dead believes that it was carried out
