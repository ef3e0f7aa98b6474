"""A node's own clock: what it shows at a true time, and when it shows a time first. Exact: integers only.

True time is the run's clock; a node's clock is ahead of it by ``offset_ns`` at ``since_ns`` and gains ``drift_ppb``
nanoseconds per second from then on. A clock that is synchronised is set at every multiple of ``every_ns`` on the run's
clock, to ``bias_ns`` ahead of true time give or take ``within_ns``, which is drawn from ``seed``. It goes on drifting.

So a clock is linear between the instants at which it is set. It never shows less than before: after it was set back it
stands still until it has caught up. Its timers need not know: a time is shown first when the clock that was set back
shows it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

PPB = 1_000_000_000
"""Parts per billion: a drift of 1 gains a nanosecond per second."""

_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Clock:
    """One node's clock from ``since_ns`` (true time) on. floor_ns: what it has shown by then; it shows no less.

    Raises ValueError for a clock that would run backwards between two settings, or whose settings overlap.
    """

    offset_ns: int = 0
    drift_ppb: int = 0
    every_ns: int = 0
    within_ns: int = 0
    bias_ns: int = 0
    seed: int = 0
    since_ns: int = 0
    floor_ns: int = -_NEVER

    def __post_init__(self) -> None:
        if self.drift_ppb <= -PPB:
            raise ValueError(f"a drift of {self.drift_ppb} ppb makes a clock run backwards")
        if self.every_ns and 2 * self.within_ns + abs(self.drift_ppb) * self.every_ns // PPB + 1 >= self.every_ns:
            raise ValueError(
                f"a clock set every {self.every_ns} ns to within {self.within_ns} ns drifting {self.drift_ppb} ppb may "
                "be set back by more than it has gone on since it was set last"
            )

    @staticmethod
    def from_json(data: dict[str, Any]) -> Clock:
        """The inverse of ``dataclasses.asdict``."""
        return Clock(**data)

    # -- what it shows -----------------------------------------------------------------------------------------------

    def local_ns(self, true_ns: int) -> int:
        """What the clock shows at ``true_ns`` (at or after ``since_ns``)."""
        set_ns = self._set_ns(true_ns)
        shown = max(self._linear(set_ns, true_ns), self.floor_ns)
        if set_ns == self.since_ns:
            return shown
        first_end_ns, last_end_ns = self._next_ns(self.since_ns) - 1, set_ns - 1
        return max(shown, *(self._linear(self._set_ns(end_ns), end_ns) for end_ns in (first_end_ns, last_end_ns)))

    def true_ns(self, local_ns: int, now_ns: int) -> int:
        """The first true time, of those since the clock was set last before ``now_ns``, at which it shows ``local_ns``
        or more; what it shows at ``now_ns`` already it shows by then."""
        set_ns = self._set_ns(now_ns)
        due_ns = self._reaches(set_ns, local_ns)
        if due_ns > now_ns and local_ns <= self.local_ns(now_ns):
            return now_ns  # it stands still, and has shown this before it was set back
        while True:
            next_ns = self._next_ns(set_ns)
            if due_ns < next_ns:
                return due_ns
            # no clock that was set is ahead by more than this: before that instant there is no need to look
            early_ns = local_ns - self.bias_ns - self.within_ns - abs(self.drift_ppb) * self.every_ns // PPB - 1
            set_ns = max(next_ns, early_ns - early_ns % self.every_ns)
            due_ns = self._reaches(set_ns, local_ns)

    def error_ns(self, from_ns: int, to_ns: int) -> tuple[int, int]:
        """Bounds on how far it is ahead of true time (negative: behind) from one true time to another, both at or after
        ``since_ns``."""
        gained = [0, (min(self._next_ns(self.since_ns), to_ns) - self.since_ns) * self.drift_ppb // PPB]
        least, most = self.offset_ns + min(gained) - 1, self.offset_ns + max(gained) + 1
        if to_ns >= self._next_ns(self.since_ns):
            drifted = self.drift_ppb * self.every_ns // PPB
            least = min(least, self.bias_ns - self.within_ns + min(drifted, 0) - 1)
            most = max(most, self.bias_ns + self.within_ns + max(drifted, 0) + 1)
        return least, max(most, self.floor_ns - from_ns)

    # -- what befalls it ---------------------------------------------------------------------------------------------

    def stepped(self, now_ns: int, by_ns: int) -> Clock:
        """The same clock, set forward by ``by_ns`` (back if negative) at ``now_ns``."""
        return self._from(now_ns, by_ns, self.drift_ppb)

    def drifting(self, now_ns: int, more_ppb: int) -> Clock:
        """The same clock, gaining ``more_ppb`` more from ``now_ns`` on."""
        return self._from(now_ns, 0, self.drift_ppb + more_ppb)

    def struck(self, verb: str, now_ns: int, amount: int) -> Clock:
        """The same clock after a fault of the plan: clock_step by so many ns, or clock_drift by so many ppb."""
        return self.stepped(now_ns, amount) if verb == "clock_step" else self.drifting(now_ns, amount)

    def _from(self, now_ns: int, by_ns: int, drift_ppb: int) -> Clock:
        return replace(
            self,
            offset_ns=self._linear(self._set_ns(now_ns), now_ns) - now_ns + by_ns,
            drift_ppb=drift_ppb,
            since_ns=now_ns,
            floor_ns=self.local_ns(now_ns),
        )

    # -- its settings ------------------------------------------------------------------------------------------------

    def residual_ns(self, number: int) -> int:
        """How far ahead of true time the clock is after it has been set for the ``number``-th time."""
        if not self.within_ns:
            return self.bias_ns
        name = f"{self.seed}\x1fset\x1f{number}"
        bits = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        return self.bias_ns + bits % (2 * self.within_ns + 1) - self.within_ns

    def _set_ns(self, true_ns: int) -> int:
        """When the clock was set last, by ``true_ns``."""
        if not self.every_ns:
            return self.since_ns
        return max(self.since_ns, true_ns - true_ns % self.every_ns)

    def _next_ns(self, true_ns: int) -> int:
        """When it is set next, after ``true_ns``; _NEVER where it is not."""
        return (true_ns // self.every_ns + 1) * self.every_ns if self.every_ns else _NEVER

    def _error_at(self, set_ns: int) -> int:
        """How far it is ahead when it has been set at ``set_ns``."""
        return self.offset_ns if set_ns == self.since_ns else self.residual_ns(set_ns // self.every_ns)

    def _linear(self, set_ns: int, true_ns: int) -> int:
        """What a clock that was set at ``set_ns`` would show, were it not for what it has shown before."""
        return set_ns + self._error_at(set_ns) + (true_ns - set_ns) * (PPB + self.drift_ppb) // PPB

    def _reaches(self, set_ns: int, local_ns: int) -> int:
        """When it shows ``local_ns``, at ``set_ns`` at the earliest."""
        left = local_ns - set_ns - self._error_at(set_ns)
        return set_ns + max(0, -(-left * PPB // (PPB + self.drift_ppb)))
