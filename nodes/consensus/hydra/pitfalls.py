"""Known bugs of an order across sites."""

from __future__ import annotations

from enum import StrEnum


class Pitfall(StrEnum):
    """Each can be planted, and is found by a test (notes.md says by which)."""

    SITE_LEADER_CHANGES_VOTE = "site_leader_changes_vote"  # other sites hear what a leader has not agreed on in its own
    MERGE_SKIPS_SILENT_SITE = "merge_skips_silent_site"  # who waits in vain for a site's turn goes on without it
    SKIP_NOT_AGREED = "skip_not_agreed"  # a leader says that its site gives up turns, which its site knows nothing of
    WAITING_FORGOTTEN = "waiting_forgotten"  # a log that is cut short loses what has not had its turn
