"""What an engine's record is worth: how far its stamps and timers may be off, and how much slower it may be.

``sim`` and ``vkernel`` keep virtual time: computing costs nothing, so that nothing may be late, and a frame takes what
was asked, up to the tolerance that the engine states. On a wall clock a frame also costs computing. That is accepted as
long as it hardly matters: over the longest chain of messages (a swap's steps, each over the longest path) it may take
up WINDOW_SHARE of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.history import History
from testbed.plan import Plan
from testbed.verdicts.columns import Columns
from testbed.verdicts.paths import NoPathError, Paths

WINDOW_SHARE = 0.05
LATE_ALLOWED = 0.001
"""On a wall clock: the share of timers, and of frames that wait for their node, that may be late."""

STAMPS_NS = {"sim": 0, "vkernel": 0, "live": 1_000}
"""How far stamps may be off where ``History.meta["stamp_tolerance_ns"]`` does not say it."""

VIRTUAL = ("sim", "vkernel")
_UNSEEN = 14 / 60
"""On a stock kernel: the share of bits of a slot that make it another network's when they flip (addresses, type)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Times in ns. stamp: how far two stamps may be off. timer: how late a timer may be. allowed: how much longer than
    asked a frame may take on one direction. links: directions in the longest chain of messages. late_allowed: the share
    of timers that may be late all the same. unseen: of frames that were hurt, how many may look lost.

    drops_told: whether each frame that is dropped on the way leaves a hop that says so. carried: links between
    machines, which another network carries.
    """

    stamp_ns: int
    timer_ns: int
    allowed_ns: int
    links: int
    late_allowed: float
    unseen: float
    drops_told: bool
    carried: frozenset[int] = frozenset()


def facts_of(plan: Plan, history: History, paths: Paths, columns: Columns) -> Facts:
    """The facts of one run."""
    engine, meta = history.engine, history.meta
    virtual = engine in VIRTUAL
    links = _longest_path(paths, columns) * plan.protocol.depth
    stamp_ns = int(meta.get("stamp_tolerance_ns", STAMPS_NS.get(engine, 0)))
    cost_ns = 0 if virtual else int(WINDOW_SHARE * plan.protocol.window_ns) // max(1, links)
    return Facts(
        stamp_ns=stamp_ns,
        timer_ns=timer_tolerance_ns(meta),
        allowed_ns=stamp_ns + cost_ns,
        links=links,
        late_allowed=0.0 if virtual else LATE_ALLOWED,
        unseen=0.0 if virtual else _UNSEEN,
        drops_told=engine == "sim",
        carried=frozenset(meta.get("carried_links", ())),
    )


def timer_tolerance_ns(meta: dict[str, object]) -> int:
    """How late a timer may be in this run's engine and still count as on time."""
    return int(str(meta.get("timer_tolerance_ns", 0)))


def _longest_path(paths: Paths, columns: Columns) -> int:
    longest = 1
    for pair in {*zip(columns.sends.node.tolist(), columns.sends.peer.tolist(), strict=True)}:
        try:
            longest = max(longest, len(paths.path(*pair)))
        except NoPathError:
            continue
    return longest
