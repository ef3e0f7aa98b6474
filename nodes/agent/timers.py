"""Named timers on one timerfd, armed for the earliest of them on the real-time clock (the clock of receive stamps)."""

from __future__ import annotations

import ctypes
import os
from heapq import heappop, heappush

NEVER = 1 << 62
"""Later than any due time, in ns."""

_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = os.O_NONBLOCK, os.O_CLOEXEC, 1
_CLOCK_REALTIME = 0
_PR_SET_TIMERSLACK = 29
_libc = ctypes.CDLL(None, use_errno=True)
_Itimerspec = ctypes.c_long * 4  # interval s, interval ns, value s, value ns


class TimerFd:
    """One timer of the kernel, absolute on CLOCK_REALTIME (Python has os.timerfd_create from 3.13 on only)."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec(0, 0, 0, 0)
        self._settime = _libc.timerfd_settime

    def arm(self, at_ns: int) -> None:
        """Readable from ``at_ns`` (ns since the epoch) on, at once when that is past; NEVER disarms.

        Arming also clears an expiry that was not read, so there is no need to read it.
        """
        spec = self._spec
        spec[2], spec[3] = (0, 0) if at_ns >= NEVER else divmod(max(at_ns, 1), 1_000_000_000)
        if self._settime(self.fd, _TFD_TIMER_ABSTIME, spec, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")


def no_timer_slack() -> None:
    """This process's timers fire on their nanosecond (the default lets them slip by 50 us, prctl(2))."""
    _libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


class Timers:
    """The named timers of one machine. At equal times they fire in the order in which they were set.

    A timer has the time it was set to and the time at which its turn comes, which may be later.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, int]] = []  # turn, serial number, name, time
        self._set: dict[str, int] = {}
        self._serial = 0

    def set(self, name: str, at_ns: int, least_ns: int = -NEVER) -> None:
        """Arms or moves ``name``; its turn does not come before ``least_ns``."""
        self._serial += 1
        self._set[name] = self._serial
        heappush(self._heap, (max(at_ns, least_ns), self._serial, name, at_ns))

    def cancel(self, name: str) -> None:
        """Disarms ``name``; unknown names are no error."""
        self._set.pop(name, None)

    def due_ns(self) -> int:
        """When the earliest one's turn comes; NEVER when none is set."""
        heap = self._heap
        while heap:
            at_ns, serial, name, _ = heap[0]
            if self._set.get(name) == serial:
                return at_ns
            heappop(heap)
        return NEVER

    def pop(self) -> tuple[int, int, str]:
        """Takes the earliest out: its turn, its time and its name. Only after ``due_ns`` said that there is one."""
        turn_ns, _, name, at_ns = heappop(self._heap)
        del self._set[name]
        return turn_ns, at_ns, name
