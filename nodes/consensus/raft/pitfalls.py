"""Known bugs that a test puts in on purpose, to show that its checker finds them. See notes.md."""

from enum import StrEnum


class Pitfall(StrEnum):
    """What is wrong."""

    FIGURE_8 = "figure_8"  # counts the replicas of an older term's entry
    JOINT_COUNTS_UNION = "joint_counts_union"  # while members change, a majority of all together decides
    NO_PREVOTE = "no_prevote"  # campaigns without asking first
    PREVOTE_ONLY = "prevote_only"  # a leader stays, whether or not it hears a majority
    VOTE_NOT_KEPT = "vote_not_kept"  # says its vote before that is on the disk
    ANY_LOG = "any_log"  # votes for a candidate whose log is older than its own
    TRUNCATES_COMMITTED = "truncates_committed"  # an append takes away whatever stands behind it
    COMMITS_UNVERIFIED = "commits_unverified"  # takes for committed what the leader did not say that it has
    SNAPSHOT_LOSES_TAIL = "snapshot_loses_tail"  # a snapshot takes away what stands behind it
    READ_WITHOUT_QUORUM = "read_without_quorum"  # answers reads without asking whether it leads still
    READ_BEFORE_OWN_TERM = "read_before_own_term"  # answers reads before it knows what is committed
    FRESH_LIFE_VOTES = "fresh_life_votes"  # votes, and counts, without the disk of an earlier life
