"""netem in Python: what Linux 6.12's ``netem_enqueue`` does to frames, draw for draw (net/sched/sch_netem.c).

The order of draws per frame: duplicate, loss, corrupt, [the copy enters at the top: loss, corrupt, delay], delay. A
copy is never duplicated again and takes no duplicate draw. A draw is taken only when its probability is not 0.

The kernel of ``vkernel`` does the same to the nanosecond: a patch has it delay every frame by LEAST_DELAY_NS at least,
start correlated draws from CORRELATION_START, and corrupt the last byte of a frame. A stock netem (``live``) lets what
was drawn below zero pass at once, and takes the start and the corrupted bit from the host's entropy: there, 12 of a
frame's 60 bytes are addresses, so that a switch or a NIC may drop it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import chain, repeat
from operator import itemgetter
from typing import Final

import numpy as np
from mypy_extensions import i64

from testbed.engines.sim.prng import COMPILED, Prng
from testbed.engines.sim.random32 import blocks, draws
from testbed.topologies.impairment import Impairment
from testbed.topologies.netem import NetemParams, changed_params
from testbed.topologies.tables import LEAST_DELAY_NS, tabledist

if COMPILED:
    from testbed.engines.sim.native import Numbers

LOST: Final = -(1 << 62)
"""Instead of a departure time: netem's loss took the frame."""

FULL: Final = LOST + 1
"""Instead of a departure time: the queue held ``limit`` frames already."""

CORRUPT: Final = 1
"""Flag of a frame: one of its bits was flipped on the way."""

COPY: Final = 2
"""Flag of a frame on one hop: the network made it there."""

CLONED: Final = 4
"""Flag of a frame from the hop on where the network made it: no later hop makes a copy of a copy (skb->tc_depth)."""

CARRIED: Final = CORRUPT | CLONED
"""The flags that a frame keeps from hop to hop."""

CORRELATION_START = 1 << 31
_NEVER: Final = 1 << 62
_SOON: Final = 64  # frames: a delay line is looked through after so many, or later
NS_PER_S = 1_000_000_000

Passage = tuple[int, int]
"""When a frame leaves (ns, or LOST or FULL), and its flags."""

Chance = Callable[[], bool]
Draw = Callable[[], int]
Place = Callable[[int, int, int], int]


class Direction:
    """One link direction's netem qdisc.

    ``enqueue(now)`` takes a frame in and returns when it leaves (always after now), LOST or FULL; for directions
    that neither duplicate nor corrupt nor have a rate, at which the frame's size counts (``single``).
    ``enqueue_all(now, cloned, wire_bytes)`` serves every direction and gives a Passage for each frame that comes of
    the one, in the order in which they leave; a lost frame gives one (LOST, ..), and so does a lost copy. Times may not
    go back from call to call. Frames of several calls that leave at the same time leave in the order of the calls
    (tfifo).
    """

    __slots__ = (
        "_delay", "_delays", "_had_table", "_latest", "_line", "_multiple", "_simple", "_single", "params", "single",
    )  # fmt: skip

    _delay: Draw  # where nothing but delays is drawn; compiled, it is _delays
    _delays: Delays
    _single: Callable[[int], int]  # where anything else is, or there is a rate
    _multiple: Callable[[int, bool, int], list[Passage]]

    def __init__(self, impairment: Impairment) -> None:
        self._line = Line()
        self._latest = [LOST]  # the last departure of all that was queued: the reference of the rate
        self._had_table = False
        self.change(impairment)

    def change(self, impairment: Impairment) -> None:
        """``tc qdisc change``: new parameters and a new seed; frames in the delay line keep their times."""
        params = self.params = changed_params(impairment, self._had_table)
        self._had_table = self._had_table or params.table is not None
        self._latest[0] = self._line.latest()
        self._line.set_limit(params.limit)
        self.single = not (params.duplicate or params.corrupt or params.rate_bytes_per_s)
        alone = not (params.loss or params.duplicate or params.corrupt or params.delay_corr or params.gemodel)
        self._simple = self.single and alone
        if self._simple and COMPILED:
            self._delays = Delays(params)
        elif self._simple:
            self._delay = _delays_alone(params)
        else:
            draw: Draw = Prng(params.seed).u32 if COMPILED else draws(params.seed).__next__
            lose = _loss(params, draw)
            delay = _delays_alone(params) if alone else _delay(params, draw)
            place = _place(params, delay, self._line, self._latest)
            self._single = _single(lose, self._line, place)
            self._multiple = _multiple(params, draw, lose, self._line, place)

    def enqueue(self, now: i64) -> i64:
        """When a frame leaves that is handed over now."""
        if not self._simple:
            return self._single(now)
        # netem_enqueue of a direction that does nothing but delay: the usual one, written out for speed
        line = self._line
        if not line.room(now):
            return FULL
        leaves = now
        if COMPILED:
            leaves += self._delays.draw()
        else:
            leaves += self._delay()
        if leaves <= now:
            leaves = now + LEAST_DELAY_NS
        line.add(leaves)
        return leaves

    def enqueue_all(self, now: i64, cloned: bool, wire_bytes: int) -> list[Passage]:
        """When the frames leave that come of the one that is handed over now."""
        return [(self.enqueue(now), 0)] if self._simple else self._multiple(now, cloned, wire_bytes)

    def drop_all(self) -> None:
        """The carrier is gone and with it all that was queued."""
        self._line.clear()
        self._latest[0] = LOST


class Line:
    """The delay line of one direction: when what is in it leaves, and whether there is room for more.

    Times are only gathered until there are ``_look`` of them; then those past are thrown out. While more than half of
    the line is really in use that would be done too often, so that then the times are a heap.
    """

    __slots__ = ("_count", "_crowded", "_limit", "_look", "_numbers", "_times")

    _numbers: Numbers  # compiled, the times are in here while the line is not crowded

    def __init__(self) -> None:
        self._limit: i64 = 0
        self._look: i64 = 0
        self._count: i64 = 0
        self._times: list[int] = []
        self._crowded = False
        if COMPILED:
            self._numbers = Numbers()

    def set_limit(self, limit: int) -> None:
        """It holds so many frames from now on."""
        self._limit, self._look = limit, 0

    def room(self, now: i64) -> bool:
        """Whether fewer than its limit are queued; what leaves at this very instant has left."""
        if self._count < self._look:
            return True
        self._forget(now)
        return self._count < self._limit

    def add(self, leaves: i64) -> None:
        """One more."""
        self._count += 1
        if self._crowded:
            heappush(self._times, leaves)
        elif COMPILED:
            self._numbers.add(leaves)
        else:
            self._times.append(leaves)

    def latest(self) -> int:
        """When the last one leaves, or LOST."""
        return max(self._listed(), default=LOST)

    def clear(self) -> None:
        """All are gone."""
        self._forget(_NEVER)

    def _listed(self) -> list[int]:
        if COMPILED and not self._crowded:
            return self._numbers.listed()
        return self._times

    def _forget(self, now: i64) -> None:
        """Throw out those past, and keep the others as suits their number."""
        if self._crowded:
            while self._times and self._times[0] <= now:
                heappop(self._times)
            self._count = len(self._times)
        elif COMPILED:
            self._count = self._numbers.keep_above(now)
        else:
            self._times = [leaves for leaves in self._times if leaves > now]
            self._count = len(self._times)
        crowded = 2 * self._count > self._limit
        if crowded != self._crowded:
            self._change(crowded)
        if crowded:
            self._look = self._limit
        else:
            self._look = min(self._limit, max(_SOON, 2 * self._count))

    def _change(self, crowded: bool) -> None:
        """From gathering to a heap, or back."""
        times = self._listed()
        self._crowded = crowded
        if crowded:
            heapify(times)
        if not COMPILED:
            return
        if crowded:
            self._times = times
        else:
            self._numbers.clear()
            for leaves in times:
                self._numbers.add(leaves)


class Delays:
    """tabledist where nothing else draws, one delay at a time: what the compiled build has in place of blocks."""

    __slots__ = ("_least", "_prng", "_share", "_table", "_width")

    def __init__(self, params: NetemParams) -> None:
        mu, sigma = params.latency_ns, params.jitter_ns
        self._prng = Prng(params.seed)
        self._table = _listed_delays(mu, sigma, params.table) if sigma and params.table is not None else None
        self._width: i64 = len(self._table) if self._table is not None else 2 * sigma
        self._share: i64 = (1 << 32) // max(1, self._width)
        self._least: i64 = self._table[0] if self._table is not None else mu - sigma

    def draw(self) -> i64:
        """The next one (ns)."""
        if self._width <= 1:  # nothing to choose from
            return self._least
        drawn = self._prng.u32()
        # drawn % width without a division, which would take as long as the draw: drawn * share >> 32 is the quotient,
        # or one less, for drawn < 2^32 and width * share > 2^32 - width
        place = drawn - (drawn * self._share >> 32) * self._width
        if place >= self._width:
            place -= self._width
        table = self._table
        if table is not None:
            return table[place]
        return self._least + place


# -- netem_enqueue -------------------------------------------------------------------------------------------------


def _single(lose: Chance | None, line: Line, place: Place) -> Callable[[int], int]:
    """netem_enqueue without duplication, corruption and rate."""

    def enqueue(now: int) -> int:
        if lose is not None and lose():
            return LOST
        if not line.room(now):
            return FULL
        return place(now, LOST, 0)

    return enqueue


def _multiple(
    params: NetemParams, draw: Draw, lose: Chance | None, line: Line, place: Place
) -> Callable[[int, bool, int], list[Passage]]:
    """netem_enqueue, whole."""
    duplicate = _chance(params.duplicate, params.dup_corr, draw)
    corrupt = _chance(params.corrupt, params.corrupt_corr, draw)

    def queue(now: int, cloned: bool, wire_bytes: int, is_copy: bool = False) -> list[Passage]:
        flags = COPY | CLONED if is_copy else 0
        count = 1
        if duplicate is not None and not cloned and duplicate():
            count = 2
        if lose is not None and lose():
            count -= 1  # the original of a duplicated pair goes on, its copy does not come to be
        if count == 0:
            return [(LOST, flags)]
        if corrupt is not None and corrupt():
            flags |= CORRUPT
        if not line.room(now):
            return [(FULL, flags)]  # and the copy with it
        passages = queue(now, True, wire_bytes, is_copy=True) if count == 2 else []
        passages.append((place(now, passages[0][0] if passages else LOST, wire_bytes), flags))
        return passages

    def enqueue(now: int, cloned: bool, wire_bytes: int) -> list[Passage]:
        passages = queue(now, cloned, wire_bytes)
        if len(passages) == 2:
            passages.sort(key=itemgetter(0))  # tfifo
        return passages

    return enqueue


def _place(params: NetemParams, delay: Draw, line: Line, latest: list[int]) -> Place:
    """Draw the delay, count the rate from the last frame in the queue, and queue the frame by its time (tfifo).

    copy: the time of a copy that was queued just now, and so has not left, else LOST.
    """
    rate = params.rate_bytes_per_s
    overhead = params.packet_overhead

    def place(now: int, copy: int, wire_bytes: int) -> int:
        leaves = now + delay()
        if rate:
            last = latest[0]
            if last > now or last == copy:  # still queued
                leaves = max(leaves, last)
            leaves += (wire_bytes + overhead) * NS_PER_S // rate
        if leaves <= now:
            leaves = now + LEAST_DELAY_NS
        if rate:
            latest[0] = leaves
        line.add(leaves)
        return leaves

    return place


# -- the draws -----------------------------------------------------------------------------------------------------


def _crandom(correlation: int, draw: Draw) -> Draw:
    """get_crandom: the next draw, mixed with the last one. Without correlation it is the draw itself."""
    if correlation == 0:
        return draw
    last = CORRELATION_START
    rho = correlation + 1

    def crandom() -> int:
        nonlocal last
        last = (draw() * ((1 << 32) - rho) + last * rho) >> 32
        return last

    return crandom


def _chance(probability: int, correlation: int, draw: Draw) -> Chance | None:
    """An event of a u32 probability; None when it never happens (then it takes no draw)."""
    if probability == 0:
        return None
    crandom = _crandom(correlation, draw)
    return lambda: probability >= crandom()


def _loss(params: NetemParams, draw: Draw) -> Chance | None:
    """loss_event."""
    if params.gemodel is None:
        return _chance(params.loss, params.loss_corr, draw)
    to_bad, to_good, keep_bad, lose_good = params.gemodel
    bad = False

    def gilbert_elliott() -> bool:
        """loss_gilb_ell: the first draw may change the state, the second is judged in the state before."""
        nonlocal bad
        if bad:
            bad = draw() >= to_good
            return draw() > keep_bad
        bad = draw() < to_bad
        return draw() < lose_good

    return gilbert_elliott


def _delay(params: NetemParams, draw: Draw) -> Draw:
    """tabledist."""
    mu, sigma = params.latency_ns, params.jitter_ns
    if sigma == 0:
        return repeat(mu).__next__
    crandom = _crandom(params.delay_corr, draw)
    if params.table is None:
        width, least = 2 * sigma, mu - sigma
        return lambda: crandom() % width + least
    delays = _table_delays(mu, sigma, params.table).tolist()
    size = len(delays)
    return lambda: delays[crandom() % size]


def _delays_alone(params: NetemParams) -> Draw:
    """tabledist where nothing else is drawn: delays can be computed in blocks."""
    if COMPILED:
        return Delays(params).draw
    if params.jitter_ns == 0:
        return repeat(params.latency_ns).__next__
    return chain.from_iterable(_delay_blocks(params)).__next__


def _delay_blocks(params: NetemParams) -> Iterator[list[int]]:
    mu, sigma = params.latency_ns, params.jitter_ns
    if params.table is None:
        for block in blocks(params.seed):
            yield ((block % np.uint32(2 * sigma)).astype(np.int64) + (mu - sigma)).tolist()
    else:
        delays = _table_delays(mu, sigma, params.table)
        size = np.uint32(len(delays))
        for block in blocks(params.seed):
            yield delays[block % size].tolist()


@lru_cache(maxsize=64)
def _listed_delays(mu: int, sigma: int, table: tuple[int, ...]) -> list[int]:
    return _table_delays(mu, sigma, table).tolist()


@lru_cache(maxsize=64)
def _table_delays(mu: int, sigma: int, table: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """tabledist's result for each entry of the table."""
    return np.array([tabledist(mu, sigma, index, table) for index in range(len(table))], dtype=np.int64)
