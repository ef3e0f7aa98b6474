"""Known bugs of Chandra and Toueg's consensus, which tests plant to show that they find them."""

from enum import StrEnum


class Pitfall(StrEnum):
    """Known bugs that a test puts in on purpose, to show that its checker finds them."""

    TIMEOUTS_DO_NOT_GROW = "timeouts_do_not_grow"  # who is suspected in vain is suspected as soon the next time
    MAJORITY_OF_F = "majority_of_f"  # decides on f + 1 acknowledgements, be they fewer than a majority
    ESTIMATE_NOT_LOCKED = "estimate_not_locked"  # proposes the estimate that came last, not the one adopted last
    NO_RELIABLE_BROADCAST = "no_reliable_broadcast"  # the decision is told once, by the coordinator, and never again
