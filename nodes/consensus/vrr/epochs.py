"""Epochs, each with its own voters, and their views; a view of an epoch is one number (a term), which all that follow
are above."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from testbed.nodes.consensus.changes import Change
from testbed.nodes.consensus.logs import NOOP, own_entry

VIEWS = 1 << 20
"""So many views has an epoch, numbered from 1; its number 0 says that the epoch before is over."""

_EPOCH = struct.Struct("!I")


def epoch_of(term: int) -> int:
    """Epochs count from 0, and so do terms."""
    return term // VIEWS


def view_of(term: int) -> int:
    """The view within its epoch."""
    return term % VIEWS


def over(epoch: int) -> int:
    """The term that says that the epoch before ``epoch`` is over."""
    return epoch * VIEWS


def epoch_entry(epoch: int) -> bytes:
    """The last entry of the epoch before."""
    return own_entry(_EPOCH.pack(epoch))


def epoch_in(entry: bytes) -> int | None:
    """The epoch that begins behind ``entry``; None: it is another entry."""
    if not entry.startswith(NOOP) or len(entry) != len(NOOP) + _EPOCH.size:
        return None
    epoch: int = _EPOCH.unpack_from(entry, len(NOOP))[0]
    return epoch


def text(term: int) -> str:
    """In words."""
    epoch = epoch_of(term)
    return f"view {view_of(term)}{f' of epoch {epoch}' if epoch else ''}"


class Epochs:
    """Who votes: ``voters`` at first, and then as the changes say, one epoch each."""

    def __init__(self, voters: Sequence[int], changes: Sequence[Change] = ()) -> None:
        self.changes = tuple(changes)
        self.by_epoch = (tuple(voters), *(tuple(change.voters) for change in changes))

    def has(self, term: int) -> bool:
        """Whether there is such a term; with one to spare behind it."""
        return epoch_of(term) < len(self.by_epoch) and view_of(term) < VIEWS - 1

    def voters(self, term: int) -> tuple[int, ...]:
        """Who votes in ``term``."""
        return self.by_epoch[epoch_of(term)]

    def quorum(self, term: int) -> int:
        """How many of them must agree."""
        return len(self.voters(term)) // 2 + 1

    def primary(self, term: int) -> int | None:
        """Whose turn it is; nobody's between two epochs."""
        voters, view = self.voters(term), view_of(term)
        return voters[(view - 1) % len(voters)] if view else None

    def due(self, term: int, now_ns: int) -> bool:
        """Whether the epoch of ``term`` is to end."""
        following = self.changes[epoch_of(term) :][:1]
        return bool(following) and following[0].at_ns <= now_ns
