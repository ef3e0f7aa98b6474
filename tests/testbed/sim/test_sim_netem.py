"""A link direction, held to netem_enqueue written out plainly, and to what probability theory says of it."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from testbed.engines.sim.netem import CLONED, COPY, CORRELATION_START, CORRUPT, FULL, LOST, Direction
from testbed.engines.sim.prng import Prng
from testbed.topologies.impairment import CLEAN, GilbertElliott, Impairment
from testbed.topologies.netem import netem_params

US = 1_000
CONFIDENCE = 0.999  # of each statistical test below; the seeds are fixed, so that none is flaky


class PlainNetem:
    """netem_enqueue and tfifo as the kernel's source reads, one statement for each of its, with a real queue."""

    def __init__(self, impairment: Impairment) -> None:
        self.q = netem_params(impairment)
        self.prng = Prng(self.q.seed)
        self.last = dict.fromkeys(("delay", "loss", "dup", "corrupt"), CORRELATION_START)
        self.bad = False
        self.queue: list[int] = []  # time_to_send of what waits

    def crandom(self, which: str, rho: int) -> int:
        value = self.prng.u32()
        if rho == 0:
            return value
        rho += 1
        self.last[which] = (value * (2**32 - rho) + self.last[which] * rho) >> 32
        return self.last[which]

    def loss_event(self) -> bool:
        if self.q.gemodel is None:
            return self.q.loss != 0 and self.q.loss >= self.crandom("loss", self.q.loss_corr)
        a1, a2, a3, a4 = self.q.gemodel
        if not self.bad:
            if self.prng.u32() < a1:
                self.bad = True
            return self.prng.u32() < a4
        if self.prng.u32() < a2:
            self.bad = False
        return self.prng.u32() > a3

    def tabledist(self) -> int:
        mu, sigma = self.q.latency_ns, self.q.jitter_ns
        if sigma == 0:
            return mu
        rnd = self.crandom("delay", self.q.delay_corr)
        if self.q.table is None:
            return rnd % (2 * sigma) + mu - sigma
        t = self.q.table[rnd % len(self.q.table)]
        x = (sigma % 8192) * t
        x = x + 4096 if x >= 0 else x - 4096
        return int(math.copysign(abs(x) // 8192, x)) + sigma // 8192 * t + mu

    def enqueue(self, now: int) -> list[tuple[int, int]]:
        self.queue = [time_to_send for time_to_send in self.queue if time_to_send > now]  # the others have left
        fates = self.netem_enqueue(now, 0)
        gone = [fate for fate in fates if fate[0] in (LOST, FULL)]
        queued = sorted((fate for fate in fates if fate not in gone), key=lambda fate: fate[0])  # tfifo; stable
        return gone + queued

    def netem_enqueue(self, now: int, tc_depth: int) -> list[tuple[int, int]]:
        q, count = self.q, 1
        if q.duplicate and tc_depth == 0 and q.duplicate >= self.crandom("dup", q.dup_corr):
            count += 1
        if self.loss_event():
            count -= 1
        flags = COPY | CLONED if tc_depth else 0
        if count == 0:
            return [(LOST, flags)]
        if q.corrupt and q.corrupt >= self.crandom("corrupt", q.corrupt_corr):
            flags |= CORRUPT
        if len(self.queue) >= q.limit:
            return [(FULL, flags)]
        out = self.netem_enqueue(now, tc_depth + 1) if count > 1 else []
        delay, reference = self.tabledist(), now
        if q.rate_bytes_per_s:
            if self.queue:
                last = max(self.queue)
                delay = max(0, delay - (last - now))
                reference = last
            delay += (60 + q.packet_overhead) * 10**9 // q.rate_bytes_per_s
        time_to_send = max(reference + delay, now + 1)  # patches/0010
        self.queue.append(time_to_send)
        return [*out, (time_to_send, flags)]


probabilities = st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0])
impairments = st.builds(
    Impairment,
    delay_ns=st.integers(0, 50_000),
    jitter_ns=st.sampled_from([0, 1, 700, 30_000]),
    distribution=st.sampled_from(["uniform", "normal", "pareto"]),
    correlation=st.sampled_from([0.0, 0.0, 0.25]),
    loss=probabilities,
    loss_correlation=st.sampled_from([0.0, 0.5]),
    burst_loss=st.sampled_from([None, None, GilbertElliott(0.1, 0.4), GilbertElliott(0.2, 0.2, 0.7, 0.05)]),
    duplicate=probabilities,
    corrupt=probabilities,
    order=st.sampled_from(["free", "fifo"]),
    rate_bps=st.sampled_from([0, 0, 10_000_000, 10_000_000_000]),
    limit=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 2**64 - 1),
)
gaps = st.lists(st.integers(0, 20_000), min_size=1, max_size=80)


@settings(max_examples=150, deadline=None)
@given(impairments, gaps)
def test_every_frame_fares_as_in_the_kernels_source(impairment: Impairment, gaps: list[int]) -> None:
    direction, plain, now = Direction(impairment), PlainNetem(impairment), -1_000_000
    for gap in gaps:
        now += gap
        fate = [(direction.enqueue(now), 0)] if direction.single else direction.enqueue_all(now, False, 60)
        assert fate == plain.enqueue(now)


@pytest.mark.parametrize(
    "jitter",
    [
        {"jitter_ns": 1},
        {"jitter_ns": 3},
        {"jitter_ns": 2**30},
        {"jitter_ns": 2**31 - 1},
        {"jitter_ns": 700, "distribution": "table", "table": (-5,)},
        {"jitter_ns": 700, "distribution": "table", "table": (-8192, 5, 9000)},
    ],
)
def test_delays_are_netems_to_the_ends_of_what_it_holds(jitter: dict[str, Any]) -> None:
    """The remainder of a draw by the width of the range is exact from the narrowest to the widest."""
    impairment = Impairment(delay_ns=2**31, seed=11, **jitter)
    direction, plain = Direction(impairment), PlainNetem(impairment)
    for now in range(0, 2_000 * 2**33, 2**33):
        assert [(direction.enqueue(now), 0)] == plain.enqueue(now)


@settings(max_examples=50, deadline=None)
@given(impairments, gaps)
def test_both_ways_in_make_the_same_draws(impairment: Impairment, gaps: list[int]) -> None:
    impairment = replace(impairment, duplicate=0.0, corrupt=0.0, rate_bps=0)
    one, other, now = Direction(impairment), Direction(impairment), 0
    for gap in gaps:
        now += gap
        assert [(one.enqueue(now), 0)] == other.enqueue_all(now, False, 60)


@pytest.mark.parametrize("limit", [65, 200, 600])
def test_a_line_that_fills_and_empties_holds_its_limit_and_no_more(limit: int) -> None:
    """It is looked through now and then only, and kept in another way while it is crowded; neither shows."""
    dice = random.Random(limit)
    impairment = Impairment(delay_ns=50 * US, jitter_ns=30 * US, limit=limit, seed=limit)
    direction, plain, now, full, fates = Direction(impairment), PlainNetem(impairment), 0, 0, 0
    for pace_ns in (2_000, 100, 1_000, 20, 5_000, 200) * 2:  # from 10 frames at once to 2,500, if there were room
        for _ in range(800):
            now += dice.randrange(2 * pace_ns)
            fate = direction.enqueue(now)
            assert [(fate, 0)] == plain.enqueue(now)
            full, fates = full + (fate == FULL), fates + 1
        if pace_ns == 200:
            direction.drop_all()
            plain.queue.clear()
    assert 100 < full < fates - 2_000


def delays(impairment: Impairment, n: int) -> list[int]:
    """Delays of frames sent so far apart that none meets another."""
    direction = Direction(impairment)
    step = 10_000 * US
    return [direction.enqueue(i * step) - i * step for i in range(n)]


def test_uniform_delays_fill_their_range_and_keep_their_mean() -> None:
    n = 20_000
    seen = delays(Impairment(delay_ns=50 * US, jitter_ns=5 * US, seed=7), n)
    assert 45 * US <= min(seen) < 45 * US + 10
    assert 55 * US - 10 < max(seen) < 55 * US  # netem's uniform never reaches its upper end
    sd = 5 * US / math.sqrt(3)
    assert abs(sum(seen) / n - 50 * US) < 3.29 * sd / math.sqrt(n)


def test_normal_delays_have_the_jitter_as_their_standard_deviation() -> None:
    n = 20_000
    seen = delays(Impairment(delay_ns=50 * US, jitter_ns=5 * US, distribution="normal", seed=7), n)
    mean = sum(seen) / n
    sd = math.sqrt(sum((delay - mean) ** 2 for delay in seen) / n)
    assert abs(mean - 50 * US) < 3.29 * 5 * US / math.sqrt(n)
    assert sd == pytest.approx(5 * US, rel=3.29 / math.sqrt(2 * n))


def test_a_sample_below_a_nanosecond_takes_a_nanosecond() -> None:
    seen = delays(Impairment(delay_ns=0, jitter_ns=5 * US, seed=3), 2_000)
    assert min(seen) == 1
    low, high = binom.interval(CONFIDENCE, 2_000, 0.5)
    assert low <= seen.count(1) <= high


def test_a_clean_direction_takes_a_nanosecond_as_well() -> None:
    """Nothing arrives at the instant at which it left: what happens within an instant has no order to depend on."""
    direction = Direction(CLEAN)
    assert [direction.enqueue(now) for now in (0, 0, 7)] == [1, 1, 8]


@pytest.mark.parametrize("loss", [0.001, 0.1, 0.5])
def test_losses_are_as_frequent_as_asked(loss: float) -> None:
    n = 20_000
    direction = Direction(Impairment(delay_ns=US, jitter_ns=100, loss=loss, seed=11))
    lost = sum(direction.enqueue(i * 10 * US) == LOST for i in range(n))
    low, high = binom.interval(CONFIDENCE, n, loss)
    assert low <= lost <= high


def test_bursts_last_as_long_as_the_chain_says() -> None:
    """p = 1 %, r = 25 %: the share of bad time is p / (p + r), a burst lasts 1 / r frames on average."""
    n = 100_000
    direction = Direction(Impairment(burst_loss=GilbertElliott(0.01, 0.25), seed=5))
    fates = [direction.enqueue(i * US) == LOST for i in range(n)]
    bursts = sum(now and not before for before, now in zip([False, *fates], fates, strict=False))
    assert sum(fates) / n == pytest.approx(0.01 / 0.26, rel=0.1)
    assert sum(fates) / bursts == pytest.approx(4.0, rel=0.1)


def test_nothing_and_everything_are_exact() -> None:
    assert all(Direction(Impairment(loss=1.0, seed=s)).enqueue(0) == LOST for s in range(50))
    assert all(Direction(Impairment(loss=0.0, seed=s)).enqueue(0) == 1 for s in range(50))


def test_fifo_keeps_the_order_and_free_does_not() -> None:
    for order, kept in (("fifo", True), ("free", False)):
        direction = Direction(Impairment(delay_ns=20 * US, jitter_ns=10 * US, order=order, seed=9))
        leaves = [fate for i in range(500) for fate, _ in direction.enqueue_all(i * US, False, 60)]
        assert (leaves == sorted(leaves)) is kept


def test_a_rate_spaces_frames_by_their_time_on_the_wire() -> None:
    """84 bytes at 10 Gbit/s take 67.2 ns; netem cuts to whole nanoseconds."""
    direction = Direction(Impairment(rate_bps=10_000_000_000))
    assert [direction.enqueue_all(0, False, 60) for _ in range(4)] == [[(at, 0)] for at in (67, 134, 201, 268)]
    # 1,538 bytes: the longest frame with its FCS, preamble and gap
    assert direction.enqueue_all(1_000, False, 1_514) == [(1_000 + 1_230, 0)]


def test_a_full_queue_drops_until_something_leaves() -> None:
    direction = Direction(Impairment(delay_ns=10 * US, limit=2))
    assert [direction.enqueue(t) for t in (0, 1, 2)] == [10 * US, 10 * US + 1, FULL]
    assert direction.enqueue(10 * US - 1) == FULL
    assert direction.enqueue(10 * US) == 20 * US  # what leaves at this instant has left


def test_a_change_keeps_what_is_queued_and_draws_anew() -> None:
    """Frames in the delay line hold back those of a rate that comes later, and count against the new limit."""
    direction = Direction(Impairment(delay_ns=100 * US))
    assert direction.enqueue(0) == 100 * US
    direction.change(Impairment(rate_bps=10_000_000_000, limit=2))
    assert direction.enqueue_all(1, False, 60) == [(100 * US + 67, 0)]
    assert direction.enqueue_all(2, False, 60) == [(FULL, 0)]
    direction.drop_all()
    assert direction.enqueue_all(3, False, 60) == [(3 + 67, 0)]


def test_a_copy_is_queued_before_its_original_and_never_copied_again() -> None:
    direction = Direction(Impairment(delay_ns=5 * US, jitter_ns=US, duplicate=1.0, seed=2))
    prng = Prng(2)
    for i in range(50):
        now = i * 100 * US
        prng.u32()  # the duplicate draw; none for the copy
        copy, original = (now + prng.u32() % (2 * US) + 4 * US for _ in range(2))
        assert direction.enqueue_all(now, False, 60) == sorted([(copy, COPY | CLONED), (original, 0)])


def test_a_copy_made_at_an_earlier_hop_draws_nothing_for_duplication() -> None:
    """skb->tc_depth goes along with the frame: found when sim and vkernel parted after the first copy on two hops."""
    direction = Direction(Impairment(delay_ns=5 * US, jitter_ns=US, duplicate=1.0, seed=2))
    prng = Prng(2)
    assert direction.enqueue_all(0, True, 60) == [(prng.u32() % (2 * US) + 4 * US, 0)]


def test_of_a_copy_and_its_original_that_both_take_the_least_time_the_copy_leaves_first() -> None:
    """It was queued first, and what leaves at one time leaves in that order, whatever was drawn below zero."""
    direction = Direction(Impairment(jitter_ns=US, duplicate=1.0, seed=6))
    prng, seen = Prng(6), 0
    for now in range(0, 2000 * US, 100 * US):
        prng.u32()
        copy, original = (prng.u32() % (2 * US) - US for _ in range(2))
        passages = direction.enqueue_all(now, False, 60)
        if copy <= 0 and original <= 0:
            assert passages == [(now + 1, COPY | CLONED), (now + 1, 0)]
            seen += 1
    assert seen > 0
