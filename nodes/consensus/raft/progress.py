"""What a leader knows of one other node, and what it sends it next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """PROBING: one message at a time, until the spot is found where both logs are the same. STREAMING: each entry as
    it comes. LACKING: what it lacks is there no more, a snapshot is on its way."""

    PROBING = "probing"
    STREAMING = "streaming"
    LACKING = "lacking"


@dataclass(slots=True)
class Progress:
    """next: the first entry that it is not known, or not hoped, to have. match: its log is the leader's up to there.
    heard_ns: when it last said something in this term. probe: the latest one that it has answered. learns: its word
    does not count, for it has forgotten what its earlier life said. beaten: what had been sent at the last heartbeat.
    """

    next: int
    heard_ns: int
    match: int = 0
    probe: int = 0
    mode: Mode = Mode.PROBING
    learns: bool = False
    beaten: int = 0

    def sent(self, last: int) -> None:
        """Entries up to ``last`` have been sent; those that stream are hoped to arrive."""
        if self.mode is Mode.STREAMING:
            self.next = last + 1

    def has(self, at: int) -> None:
        """It says that its log is the leader's up to ``at``."""
        self.match = max(self.match, at)
        if self.mode is Mode.LACKING and at < self.next - 1:
            return  # said before the snapshot arrived
        self.mode = Mode.STREAMING
        self.next = max(self.next, self.match + 1)

    def refuses(self, at: int, hint: int) -> bool:
        """It says that it does not hold the leader's spot ``at``, but perhaps ``hint``. Whether that is news: what was
        asked before the last answer is not. One that only learns may have had it in an earlier life."""
        if self.learns:
            self.match = min(self.match, hint)
        expected = at == self.next - 1 if self.mode is Mode.PROBING else at > self.match
        if not expected or self.mode is Mode.LACKING:
            return False
        self.mode = Mode.PROBING
        self.next = max(self.match, min(hint, at - 1)) + 1
        return True

    def lacks(self, base: int) -> None:
        """A snapshot up to ``base`` is sent."""
        self.mode, self.next = Mode.LACKING, base + 1

    def beat(self) -> None:
        """A heartbeat is due: what was under way at the last one and is not acknowledged is taken for lost."""
        if self.mode is Mode.STREAMING and self.match < self.beaten:
            self.mode, self.next = Mode.PROBING, self.match + 1
        self.beaten = self.next - 1
