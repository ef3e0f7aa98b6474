"""Known bugs that a test puts in on purpose, to show that its checker finds them. See notes.md."""

from enum import StrEnum


class Pitfall(StrEnum):
    """What is wrong."""

    RECOVERY_WITHOUT_NONCE = "recovery_without_nonce"  # takes answers that were meant for an earlier life
    RECOVERY_FROM_MINORITY = "recovery_from_minority"  # is content with f answers
    RECOVERS_FROM_OLD_PRIMARY = "recovers_from_old_primary"  # .. with the log of whoever says that it is the primary
    RECOVERY_AS_PUBLISHED = "recovery_as_published"  # votes of lives that ended meanwhile count on
    VOTES_WHILE_RECOVERING = "votes_while_recovering"  # takes part in view changes before it knows anything
    LONGEST_LOG = "longest_log"  # a view begins with the longest log, however old the view is that it is of
    ACTS_IN_OLD_VIEW = "acts_in_old_view"  # accepts entries of a view that it has vowed to leave
    TRANSFER_AS_PUBLISHED = "transfer_as_published"  # gives up its log for one that is still to come
    TRANSFER_KEEPS_TAIL = "transfer_keeps_tail"  # keeps what was never decided when it enters a later view
    READ_UNCONFIRMED = "read_unconfirmed"  # a primary answers reads without asking whether it still is one
    READ_BEFORE_FIRST = "read_before_first"  # .. before it knows which of the entries that it began with are decided
    EPOCH_FROM_ONE = "epoch_from_one"  # takes one voter's word that the epoch before is over
    EPOCH_WITHOUT_LOG = "epoch_without_log"  # takes part in an epoch before it has what came before that
    VIEW_BEFORE_EPOCH = "view_before_epoch"  # begins a view with logs of members that had no part in its epoch yet
