"""What is to happen, in order: by time, at one instant by class, and then by serial number.

Plain Python keeps the events in heapq's heap, behind tuples that it can compare in C. The compiled build has a heap of
native integers (native.py). No two events are equal, so that both give the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from typing import Any, Final

from mypy_extensions import i64, mypyc_attr

from testbed.engines.sim.prng import COMPILED

if COMPILED:
    from testbed.engines.sim.native import Heap, Numbers

FAULT: Final = 0
FRAME: Final = 1
TIMER: Final = 2
MARK: Final = 3
"""Classes of events, in the order in which they happen at equal instants."""


@mypyc_attr(free_list_len=1)  # as one ends at its receiver, the next one begins there
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

    __slots__ = ("_events", "_free", "_heap", "_rows")

    _heap: Heap  # compiled; whose an entry is, is a place in _events
    _events: list[Event]
    _free: Numbers  # places in _events; the events that are there still have happened

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, Event]] = []  # plain
        if COMPILED:
            self._heap, self._events, self._free = Heap(), [], Numbers()

    def push(self, event: Event) -> None:
        """One more."""
        if not COMPILED:
            heappush(self._rows, (event.key, event.serial, event))
            return
        place = self._free.take()
        if place < 0:
            place = len(self._events)
            self._events.append(event)
        else:
            self._events[place] = event
        self._heap.push(event.key, event.serial, place)

    def first(self) -> Event:
        """What happens next. It stays in the queue until ``pop`` or ``moved``."""
        return self._events[self._heap.top()] if COMPILED else self._rows[0][2]

    def pop(self) -> None:
        """The first one is done."""
        if COMPILED:
            self._free.add(self._heap.top())
            self._heap.pop()
        else:
            heappop(self._rows)

    def moved(self, event: Event) -> None:
        """The first one, ``event``, has got another key and serial, and will happen then."""
        if COMPILED:
            self._heap.replace(event.key, event.serial, self._heap.top())
        else:
            heapreplace(self._rows, (event.key, event.serial, event))

    def events(self) -> list[Event]:
        """All, in no order."""
        if COMPILED:
            return [self._events[place] for place in self._heap.owners()]
        return [event for _, _, event in self._rows]

    def take_out(self, chosen: Callable[[Event], bool]) -> list[Event]:
        """Remove some; they are given back in the order in which they would have happened."""
        gone: list[Event] = []
        for event in self.drained():
            if chosen(event):
                gone.append(event)
            else:
                self.push(event)
        return gone

    def drained(self) -> list[Event]:
        """All, in order; none is left."""
        found: list[Event] = []
        while not self._heap.empty() if COMPILED else self._rows:
            found.append(self.first())
            self.pop()
        return found
