"""When the faults of a plan strike: one order, kept here and used by every engine.

* A fault with a time, or one that comes some time after a moment or another fault, strikes **before all else** of its
  instant; several of one instant in the order of their places in the plan. But who is woken up (``node_resume``) wakes
  at his instant, after the others have struck.
* A fault that waits for a protocol moment strikes **at once** whatever belongs to the node that reached the moment:
  what stands before the moment in the machine's answer has happened, what stands after it never does. All else that the
  moment triggers strikes **when the instant is over**: what other nodes do at that instant they have done, whichever
  of them an engine happens to run first.
* What follows another fault without delay strikes with it. So an order with several targets strikes all of them at its
  moment, the node that reached it included, wherever that stands in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from heapq import heappop, heappush

from testbed.nodes.core.moments import Moment
from testbed.plan import Fault


class Phase(IntEnum):
    """The part of an instant at which a fault strikes."""

    FIRST = 0  # before all else
    WAKING = 1  # at its beginning
    LAST = 2  # when all else has been done


class Schedule:
    """The faults of one run. The engine carries out whatever ``take`` and ``at_moment`` hand out, in that order.

    planned: told the time and phase of each fault that is put on the agenda.
    """

    def __init__(self, faults: Sequence[Fault], planned: Callable[[int, Phase], None] | None = None) -> None:
        self._faults = tuple(faults)
        self._planned = planned
        self._agenda: list[tuple[int, Phase, int]] = []
        self._come: set[int] = set()  # moments that have come
        self._begun: set[int] = set()  # followers that were struck, or put on the agenda, with their moment
        self._followers: dict[int, list[int]] = {}
        for index, fault in enumerate(self._faults):
            if fault.follows >= 0:
                self._followers.setdefault(fault.follows, []).append(index)
            elif fault.moment is None and fault.at_ns >= 0:
                self._plan(index, fault.at_ns)

    def moments(self, node: str) -> list[Moment]:
        """The protocol moments of ``node`` that have not come yet; Moment.index is the fault's index in the plan."""
        return [
            fault.moment
            for index, fault in enumerate(self._faults)
            if fault.moment is not None and fault.node == node and index not in self._come
        ]

    def next(self) -> tuple[int, Phase] | None:
        """When the next fault strikes; None when nothing is on the agenda."""
        return self._agenda[0][:2] if self._agenda else None

    def take(self) -> int:
        """Takes the next fault off the agenda: it strikes now. Its index in the plan."""
        at_ns, phase, index = heappop(self._agenda)
        for follower in self._followers.get(index, ()):
            if follower not in self._begun:
                after_ns = self._faults[follower].after_ns
                self._plan(follower, at_ns + after_ns, Phase.FIRST if after_ns else phase)
        return index

    def at_moment(self, index: int, now_ns: int) -> list[int]:
        """The moment of fault ``index`` has come: what strikes at once. The rest is put on the agenda."""
        fault = self._faults[index]
        self._come.add(index)
        if fault.after_ns > 0:
            self._plan(index, now_ns + fault.after_ns)
            return []
        return self._with_moment(index, fault.node, now_ns)

    def _with_moment(self, index: int, node: str, now_ns: int) -> list[int]:
        own = self._faults[index].target == node
        if not own:
            self._plan(index, now_ns, Phase.LAST)
        at_once = [index] if own else []
        for follower in self._followers.get(index, ()):
            after_ns = self._faults[follower].after_ns
            if not after_ns:
                self._begun.add(follower)
                at_once += self._with_moment(follower, node, now_ns)
            elif own:
                self._plan(follower, now_ns + after_ns)
        return at_once

    def _plan(self, index: int, at_ns: int, phase: Phase = Phase.FIRST) -> None:
        if phase is Phase.FIRST and self._faults[index].verb == "node_resume":
            phase = Phase.WAKING
        heappush(self._agenda, (at_ns, phase, index))
        if self._planned is not None:
            self._planned(at_ns, phase)
