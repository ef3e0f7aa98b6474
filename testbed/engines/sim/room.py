"""Whether a run's record will have room: reckoned from its first part, long before memory runs out."""

from __future__ import annotations

from testbed.errors import UserError
from testbed.memory import available_bytes, spell_size

EVENT_BYTES, HOP_BYTES = 250, 500
"""What each takes at the worst moment between recording and report, which is while the run is judged. Measured as peaks
of resident memory: 20,000 and 60,000 rounds on a pair, 1,000 and 3,000 on a leaf-spine of 8 hosts give 221 and 480."""

SHARE = 0.9  # of what is free; the rest is for what is not counted
LEAST_ROWS = 20_000  # that a forecast is made of
LEAST_TAKEN = 0.01
"""Of what a run may take: below it nothing is at stake, and how a run begins, all nodes at once, is no measure."""


class NoRoomError(UserError):
    """The run would record more than fits into memory; the text says how much, and what to do."""


class Room:
    """The memory that a run may take. memory_bytes: None = most of what is free when that is first asked."""

    def __init__(self, memory_bytes: int | None = None) -> None:
        self._allowed = memory_bytes

    def check(self, share: float, events: int, hops: int) -> None:
        """Raises NoRoomError when the record, growing on as so far, would not fit. share: of the run that is over."""
        if events + hops < LEAST_ROWS:
            return
        if self._allowed is None:  # not before: it takes as long as a short run's first thousand frames
            self._allowed = int(available_bytes() * SHARE)
        taken = events * EVENT_BYTES + hops * HOP_BYTES
        wanted = taken / share
        if wanted <= self._allowed or taken < LEAST_TAKEN * self._allowed:
            return
        raise NoRoomError(
            f"this run would record some {events / share:,.0f} events and {hops / share:,.0f} hops, which take "
            f"{spell_size(wanted)} of memory, and it may take {spell_size(self._allowed)}. Run fewer rounds at a time "
            f"(about {100 * self._allowed / wanted:.2g} % of these), set capture: false, or allow more with --memory"
        )
