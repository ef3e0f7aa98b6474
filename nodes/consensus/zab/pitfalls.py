"""Known bugs that a test puts in on purpose, to show that its checker finds them. See notes.md."""

from enum import StrEnum


class Pitfall(StrEnum):
    """What is wrong."""

    COMMITS_OLD_EPOCH_WITHOUT_SYNC = "commits_old_epoch_without_sync"  # takes what a leader committed for its own log's
    EPOCH_PROMISE_NOT_KEPT = "epoch_promise_not_kept"  # the epoch that was promised does not get to the disk
    ONE_EPOCH_FOR_BOTH = "one_epoch_for_both"  # says that it took part in an epoch that it has only promised
    HISTORY_BY_LENGTH_ONLY = "history_by_length_only"  # the longest history is taken for the newest
    HISTORY_BY_ZXID_ONLY = "history_by_zxid_only"  # .. or the one whose last entry is, whatever epochs came after
    PROPOSES_BEFORE_QUORUM_SYNCED = "proposes_before_quorum_synced"  # a leader begins when its epoch is promised
    COMMITS_BEFORE_QUORUM_SYNCED = "commits_before_quorum_synced"  # .. and takes all that it has for committed
    ACKNOWLEDGES_BEFORE_PERSISTED = "acknowledges_before_persisted"  # says what is not on the disk yet
    SYNC_NOT_ATOMIC = "sync_not_atomic"  # the epoch is on the disk before the history that belongs to it
    TAIL_NOT_CUT = "tail_not_cut"  # what stands behind the leader's history stays
    BEHIND_AND_LEADS = "behind_and_leads"  # a leader goes on when one of its quorum knows more than it does
    ACCEPTS_PAST_GAP = "accepts_past_gap"  # takes a proposal though one before it did not come
    READ_UNCONFIRMED = "read_unconfirmed"  # whoever leads answers reads without asking whether it still does
    FRESH_LIFE_VOTES = "fresh_life_votes"  # votes, and counts, without the disk of an earlier life
