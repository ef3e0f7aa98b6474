"""The link's closed forms against exact rational arithmetic, against brute force, and against each other."""

import itertools
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction

import pytest
from builders import everyone
from elementary_forms import (
    alternating_split,
    discrete_irwin_hall_cdf,
    irwin_hall_cdf,
    least_skew_ns,
    miss_probability,
    simultaneous_split,
)
from needs import ROOT

from testbed.nodes.core.config import ProtocolConfig
from testbed.plan import Fault, Plan
from testbed.study.closed_forms import (
    NotClosedFormError,
    alternating,
    round_broken_probability,
    simultaneous,
    swap_forms,
)
from testbed.topologies.fabric import Fabric, Link, LinkEnd
from testbed.topologies.impairment import GilbertElliott, Impairment
from testbed.topologies.tables import table_of, tabledist

J = 1 << 10  # a power of two: netem's draws modulo 2 J are then exactly uniform
UNIFORM = Impairment(5_000, J)
BASE = 5_000 - J


def exact_split(depth: int, window: int, per_message: int = 1) -> Fraction:
    """P(S_(k-1) <= W) - P(S_k <= W) for sums of whole numbers, by inclusion and exclusion."""

    def in_time(messages: int) -> Fraction:
        n = messages * per_message
        return min(Fraction(1), discrete_irwin_hall_cdf(min(window - n * BASE, n * (2 * J - 1)), n, 2 * J))

    return in_time(depth - 1) - in_time(depth)


# -- Irwin-Hall ------------------------------------------------------------------------------------------------------


def test_irwin_hall_known_values() -> None:
    assert irwin_hall_cdf(1, 2) == Fraction(1, 2)
    assert irwin_hall_cdf(1, 3) == Fraction(1, 6)
    assert irwin_hall_cdf(Fraction(3, 2), 3) == Fraction(1, 2)
    assert irwin_hall_cdf(-1, 3) == 0
    assert irwin_hall_cdf(3, 3) == 1


def test_its_discrete_form_counts_dice() -> None:
    for n, sides, x in itertools.product((1, 2, 3), (2, 6), range(-1, 16)):
        rolls = [sum(roll) <= x for roll in itertools.product(range(sides), repeat=n)]
        assert discrete_irwin_hall_cdf(x, n, sides) == Fraction(sum(rolls), len(rolls))


def test_its_discrete_form_tends_to_the_continuous_one() -> None:
    cells = 10**6
    exact = irwin_hall_cdf(Fraction(5, 4), 3)
    assert abs(discrete_irwin_hall_cdf(cells * 5 // 4, 3, cells) - exact) < Fraction(3, cells)


# -- one window over an alternating exchange -----------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 3, 4, 6])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_split_is_the_exact_rational_number(depth: int, share: float) -> None:
    window = depth * BASE + int(share * depth * 2 * J)
    exact = exact_split(depth, window)
    assert alternating((UNIFORM,), (UNIFORM,), depth, window).split == pytest.approx(float(exact), rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("room", [200, 100, 60, 30, 20])
def test_rare_splits_keep_their_digits(room: int) -> None:
    """Down to 1e-9 and below: W lies ``room`` ns below the longest possible exchange."""
    window = 4 * (BASE + 2 * J - 1) - room
    exact = float(exact_split(4, window))
    outcomes = alternating((UNIFORM,), (UNIFORM,), 4, window)
    assert outcomes.split == pytest.approx(exact, rel=1e-9)
    assert outcomes.error == 0
    if room == 20:
        assert exact < 1e-9


def test_several_hops_are_convolved() -> None:
    window = 8 * 5_000 + 3 * J
    outcomes = alternating((UNIFORM, UNIFORM), (UNIFORM, UNIFORM), 4, window)
    assert outcomes.split == pytest.approx(float(exact_split(4, window, per_message=2)), rel=1e-10)


def test_a_coarse_lattice_stays_within_its_stated_error() -> None:
    far, near = Impairment(20_000, 20_000), Impairment(5_000, 1_000, "normal")
    way = (near, far, far, near)
    for window in (220_000, 260_000, 300_000):
        fine = alternating(way, way, 4, window, cells=1 << 22, epsilon_ns=60_000)
        assert fine.error == 0
        for cells in (1 << 12, 1 << 14, 1 << 16):
            coarse = alternating(way, way, 4, window, cells=cells, epsilon_ns=60_000)
            assert 0 < coarse.error < 1e-4
            for name in ("committed", "split", "skew"):
                assert abs(getattr(coarse, name) - getattr(fine, name)) <= coarse.error


def test_a_leaf_spine_swap_is_quickly_computed() -> None:
    """Some 25 ms of processor time; the bound leaves room for busy machines."""
    far, near = Impairment(20_000, 9_000), Impairment(5_000, 1_000)
    best = []
    for jitter in range(5):  # nothing is in a cache
        way = (near, replace(far, jitter_ns=9_001 + jitter), replace(far, jitter_ns=8_001 + jitter), near)
        begin = time.thread_time()
        alternating(way, way, 4, 220_000, epsilon_ns=60_000)
        best.append(time.thread_time() - begin)
    assert min(best) < 0.25


@pytest.mark.parametrize("window", [0, 100, BASE - 1])
def test_a_window_that_no_message_can_meet_aborts_everything(window: int) -> None:
    outcomes = alternating((UNIFORM,), (UNIFORM,), 4, window)
    assert (outcomes.committed, outcomes.split, outcomes.aborted) == (0, 0, 1)


def test_constant_delays_are_all_or_nothing() -> None:
    constant = (Impairment(10_000),)
    assert alternating(constant, constant, 3, 30_000).committed == 1  # at exactly W counts
    assert alternating(constant, constant, 3, 29_999).split == 1
    assert alternating(constant, constant, 3, 19_999).aborted == 1
    assert alternating(constant, constant, 3, 30_002, fixed_ns=1).split == 1


def test_hold_and_reconcile_never_split_and_block_instead() -> None:
    window = 4 * 5_000
    outcomes = alternating((UNIFORM,), (UNIFORM,), 4, window)
    for horizon in ("hold", "reconcile"):
        held = alternating((UNIFORM,), (UNIFORM,), 4, window, horizon)
        assert (held.split, held.aborted) == (0, 0)
        assert held.blocked == pytest.approx(1 - outcomes.committed)
        assert held.committed == outcomes.committed


# -- loss ----------------------------------------------------------------------------------------------------------


def test_miss_probability() -> None:
    assert miss_probability(0.1, 0.5) == pytest.approx(0.55)


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
@pytest.mark.parametrize("loss", [1e-9, 0.01, 0.5])
def test_loss_alone_gives_q_times_what_came_before(depth: int, loss: float) -> None:
    lossy = (Impairment(1_000, loss=loss),)
    outcomes = alternating(lossy, lossy, depth, 100_000)
    assert outcomes.split == pytest.approx(alternating_split(loss, depth), rel=1e-12)
    assert outcomes.committed == pytest.approx((1 - loss) ** depth, rel=1e-12)


def test_corruption_is_loss_by_another_name() -> None:
    lossy, corrupt = (Impairment(1_000, loss=0.2),), (Impairment(1_000, corrupt=0.2),)
    assert alternating(lossy, lossy, 3, 9_000) == alternating(corrupt, corrupt, 3, 9_000)


# -- simultaneous ----------------------------------------------------------------------------------------------------


def test_simultaneous_splits_with_two_q_times_one_minus_q() -> None:
    lossy = replace(UNIFORM, loss=0.125)
    window = 5_000 - 1 + J // 2  # three quarters of the delays are within
    q = miss_probability(0.125, 0.25)
    outcomes = simultaneous((lossy,), (lossy,), window)
    assert outcomes.split == pytest.approx(2 * q * (1 - q), rel=1e-12)
    assert outcomes.split == pytest.approx(simultaneous_split(q))
    assert outcomes.aborted == pytest.approx(q * q)
    assert simultaneous((lossy,), (lossy,), window, "hold").blocked == pytest.approx(1 - (1 - q) ** 2)


def test_simultaneous_skew_is_a_difference_of_delays() -> None:
    epsilon = J
    outcomes = simultaneous((UNIFORM,), (UNIFORM,), 10_000, epsilon_ns=epsilon)
    n = 2 * J
    assert outcomes.skew == pytest.approx((n - epsilon - 1) * (n - epsilon) / n**2, rel=1e-12)


def test_least_skew_of_lundelius_and_lynch() -> None:
    assert least_skew_ns(10_000) == 5_000
    assert least_skew_ns(10_000, 4) == 7_500


# -- brute force ---------------------------------------------------------------------------------------------------


def draw(rng: random.Random, way: tuple[Impairment, ...]) -> float:
    """One message's flight by netem's own arithmetic; infinite when lost."""
    total = 0
    for hop in way:
        if rng.random() < hop.loss:
            return float("inf")
        total += max(0, tabledist(hop.delay_ns, hop.jitter_ns, rng.getrandbits(32), table_of(hop)))
    return total


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_monte_carlo_of_the_handshake_itself(depth: int) -> None:
    """20,000 swaps, seed 5; each frequency within 4.5 standard errors: a false alarm once in 10,000 tests."""
    there = (Impairment(3_000, 2_000, "normal", loss=0.02), Impairment(1_000, 900))
    back = (Impairment(2_000, 4_000, "pareto"), Impairment(500, 700, loss=0.05))
    window, epsilon, runs = 2_700 * (depth + 1), 5_000, 20_000
    rng = random.Random(5)
    counts = dict.fromkeys(("committed", "aborted", "split", "skew"), 0)
    for _ in range(runs):
        at = [0.0]
        for step in range(1, depth + 1):
            at.append(at[-1] + draw(rng, there if step % 2 else back))
        ends = [at[depth] <= window, at[depth - 1] <= window]
        counts["committed" if all(ends) else "split" if any(ends) else "aborted"] += 1
        counts["skew"] += all(ends) and at[depth] - at[depth - 1] > epsilon
    theory = alternating(there, back, depth, window, epsilon_ns=epsilon)
    for name, count in counts.items():
        p = getattr(theory, name)
        assert 0.001 < p < 0.999
        assert abs(count / runs - p) < 4.5 * (p * (1 - p) / runs) ** 0.5, name


# -- plans -----------------------------------------------------------------------------------------------------------


def plan(way: Impairment = UNIFORM, hosts: int = 3, faults: tuple[Fault, ...] = (), **settings: object) -> Plan:
    """Hosts at one switch, every two of them swapping."""
    protocol = ProtocolConfig(window_ns=8 * 5_000, period_ns=8 * 5_000, rounds=4)
    names = tuple(f"host{i + 1}" for i in range(hosts))
    macs = [f"02:00:00:00:00:{i + 1:02x}" for i in range(hosts)]
    links = tuple(
        Link(LinkEnd(name, f"{name}-eth0", macs[i]), LinkEnd("s1", f"s1-eth{i}", f"02:00:00:01:00:{i:02x}"), way, way)
        for i, name in enumerate(names)
    )
    fabric = Fabric("star", names, ("s1",), links, {"s1": {address: f"s1-eth{i}" for i, address in enumerate(macs)}})
    return Plan("closed", 1, fabric, replace(protocol, **settings), everyone(fabric), faults, 10**6, 2 * (5_000 + J))


def test_the_swaps_of_a_plan() -> None:
    outcomes = swap_forms(plan(), (1, 0))
    assert outcomes.committed + outcomes.aborted + outcomes.split + outcomes.blocked == pytest.approx(1)
    assert outcomes.split == pytest.approx(float(exact_split(4, 40_000, per_message=2)), rel=1e-10)


def test_a_round_holds_only_when_all_its_swaps_do() -> None:
    for settings in ({}, {"horizon": "hold"}, {"handshake": "simultaneous", "window_ns": 10_500}):
        made = plan(**settings)
        broken = swap_forms(made, (0, 1)).broken
        assert 0 < broken < 1
        assert round_broken_probability(made) == pytest.approx(1 - (1 - broken) ** 3)


def test_a_round_that_cannot_break_breaks_with_probability_zero_without_a_sign() -> None:
    """Results are read by people and held against each other as text: -0.0 has no place in them."""
    roomy = plan(window_ns=10**6, period_ns=10**6)
    assert str(round_broken_probability(roomy)) == "0.0"


def test_a_tiny_probability_survives_the_product() -> None:
    lossy = Impairment(1_000, loss=1e-12)
    assert round_broken_probability(plan(lossy, window_ns=10**5, period_ns=10**5)) == pytest.approx(6e-12, rel=1e-6)


@pytest.mark.parametrize(
    ("way", "settings", "why"),
    [
        (replace(UNIFORM, correlation=0.25), {}, "correlated"),
        (replace(UNIFORM, burst_loss=GilbertElliott(0.1, 0.5)), {}, "bursts"),
        (replace(UNIFORM, loss=0.1, loss_correlation=0.5), {}, "bursts"),
        (replace(UNIFORM, duplicate=0.1), {}, "copies"),
        (replace(UNIFORM, rate_bps=10**9), {}, "rate"),
        (replace(UNIFORM, order="fifo"), {}, "FIFO"),
        (UNIFORM, {"window_ns": 50_000}, "longer than the period"),
        (UNIFORM, {"consensus": "paxos"}, "not made of swaps"),
        (UNIFORM, {"faults": (Fault("node_kill", at_ns=1, target="host1"),)}, "faults"),
    ],
)
def test_where_no_closed_form_holds_the_reason_is_given(way: Impairment, settings: dict, why: str) -> None:
    with pytest.raises(NotClosedFormError, match=why):
        swap_forms(plan(way, **settings), (0, 1))


def test_fifo_order_without_jitter_changes_nothing() -> None:
    constant = Impairment(5_000, order="fifo")
    assert swap_forms(plan(constant), (0, 1)).committed == 1


FINE = """
from testbed.study.closed_forms import alternating
from testbed.topologies.impairment import Impairment
way = (Impairment(50_000, 20_000),)
print([alternating(way, way, 2, 110_000, epsilon_ns=60_000)])
"""


def test_it_is_the_same_to_the_last_bit_on_however_many_processors() -> None:
    """numpy shares long sums of products out among processors, which rounds them differently."""

    def told(processors: int) -> str:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(processors)}
        command = [sys.executable, "-c", FINE]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert told(1) == told(2)
