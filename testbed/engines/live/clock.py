"""The run's clock: nanoseconds of CLOCK_REALTIME since the run's zero, which is the start of round 0.

Real time and not monotonic time, because the kernel stamps arriving frames with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ClockPolicy:
    """How agents tell the time (see testbed.nodes.agent.loop), and where a run's zero is put.

    lead_ns: how long before zero everything stands ready. grid_ns: zero is a multiple of it, 0 = no matter.
    """

    agent: str
    lead_ns: int
    grid_ns: int

    @property
    def virtual(self) -> bool:
        """Whether computing takes no time, so that an instant can be over."""
        return self.agent == "stamp"

    def zero_ns(self, now_ns: int) -> int:
        """The run's zero in ns since the epoch, when everything is ready at ``now_ns``."""
        earliest_ns = now_ns + self.lead_ns
        return -(-earliest_ns // self.grid_ns) * self.grid_ns if self.grid_ns else earliest_ns


LIVE = ClockPolicy(agent="read", lead_ns=200_000_000, grid_ns=0)
"""Wall clock: reading it is cheap, and computing takes time that must show."""

VIRTUAL = ClockPolicy(agent="stamp", lead_ns=SECOND_NS, grid_ns=10 * SECOND_NS)
"""Virtual time: zero at the same instant in every boot, however many nanoseconds setting up took."""

POLICIES = {"live": LIVE, "virtual": VIRTUAL}


def now_ns() -> int:
    """CLOCK_REALTIME."""
    return time.time_ns()


def offset_ns() -> int:
    """Real time minus monotonic time: its change over a run is how far the real-time clock was stepped or slewed."""
    return time.time_ns() - time.monotonic_ns()
