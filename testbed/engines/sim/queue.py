"""What is to happen, in order: by time, at one instant by class, and then by serial number.

Plain Python keeps the events in heapq's heap, behind tuples that it can compare in C. The compiled build compares
native integers in a heap of its own. No two events are equal, so that both give the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from typing import Any, Final

from mypy_extensions import i64

from testbed.engines.sim.prng import COMPILED

FAULT: Final = 0
FRAME: Final = 1
TIMER: Final = 2
MARK: Final = 3
"""Classes of events, in the order in which they happen at equal instants."""


class Event:
    """key: ``time << 2 | class``. target, item, extra: for a FRAME its Leg, the frame and its flags; for a TIMER its
    Node, its name and when it is due; for a MARK None, what is to be done, and which mark it is where that is None.

    A frame's event goes with it over all legs of its way.
    """

    __slots__ = ("extra", "item", "key", "serial", "target")

    def __init__(self, key: i64, serial: i64, target: Any, item: Any, extra: i64) -> None:
        self.key: i64 = key
        self.serial: i64 = serial
        self.target: Any = target
        self.item: Any = item
        self.extra: i64 = extra


class Queue:
    """The events to come; there is always one."""

    __slots__ = ("_heap", "_rows")

    def __init__(self) -> None:
        self._heap: list[Event] = []  # compiled
        self._rows: list[tuple[int, int, Event]] = []  # plain

    def push(self, event: Event) -> None:
        """One more."""
        if COMPILED:
            self._heap.append(event)
            self._rise(len(self._heap) - 1, event)
        else:
            heappush(self._rows, (event.key, event.serial, event))

    def first(self) -> Event:
        """What happens next. It stays in the queue until ``pop`` or ``moved``."""
        return self._heap[0] if COMPILED else self._rows[0][2]

    def pop(self) -> None:
        """The first one is done."""
        if not COMPILED:
            heappop(self._rows)
            return
        last = self._heap.pop()
        if self._heap:
            self._sink(last)

    def moved(self) -> None:
        """The first one has got another key and serial, and will happen then."""
        if COMPILED:
            self._sink(self._heap[0])
        else:
            event = self._rows[0][2]
            heapreplace(self._rows, (event.key, event.serial, event))

    def events(self) -> list[Event]:
        """All, in no order."""
        return list(self._heap) if COMPILED else [event for _, _, event in self._rows]

    def take_out(self, chosen: Callable[[Event], bool]) -> list[Event]:
        """Remove some; they are given back in the order in which they would have happened."""
        gone, left = Queue(), Queue()
        for event in self.events():
            (gone if chosen(event) else left).push(event)
        self._heap, self._rows = left._heap, left._rows
        return gone.drained()

    def drained(self) -> list[Event]:
        """All, in order; none is left."""
        found: list[Event] = []
        while self._heap or self._rows:
            found.append(self.first())
            self.pop()
        return found

    def _rise(self, place: i64, event: Event) -> None:
        """Put ``event`` into the hole at ``place`` or above it."""
        heap = self._heap
        while place > 0:
            parent = (place - 1) >> 1
            above = heap[parent]
            if above.key < event.key or (above.key == event.key and above.serial < event.serial):
                break
            heap[place] = above
            place = parent
        heap[place] = event

    def _sink(self, event: Event) -> None:
        """Put ``event`` into the hole at the top or below it."""
        heap = self._heap
        size: i64 = len(heap)
        place: i64 = 0
        child: i64 = 1
        while child < size:
            least = heap[child]
            if child + 1 < size:
                other = heap[child + 1]
                if other.key < least.key or (other.key == least.key and other.serial < least.serial):
                    least = other
                    child += 1
            if event.key < least.key or (event.key == least.key and event.serial < least.serial):
                break
            heap[place] = least
            place = child
            child = 2 * place + 1
        heap[place] = event
