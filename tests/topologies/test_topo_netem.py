"""What goes to netem, and the probabilities that its integer arithmetic makes of it."""

from __future__ import annotations

import math
import random
from dataclasses import fields
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.topologies.impairment import CLEAN, GilbertElliott, Impairment, named
from testbed.topologies.netem import (
    GREATEST_LIMIT,
    U32_MAX,
    NetemParams,
    correlation_remark,
    netem_params,
    probability_u32,
    tc_command,
)
from testbed.topologies.tables import (
    CLIP,
    SCALE,
    delay_pmf,
    delay_values,
    deviates,
    greatest_delay_ns,
    least_delay_ns,
    packet_time_ns,
    table_from_samples,
    tabledist,
)


def test_probabilities_are_scaled_as_tc_scales_them():
    assert probability_u32(0) == 0
    assert probability_u32(1) == U32_MAX
    assert probability_u32(0.01) == 42949673  # what `tc -d qdisc show` reads back as 1%
    with pytest.raises(ValueError, match="between 0 and 1"):
        probability_u32(1.5)


def test_a_direction_becomes_these_integers():
    params = netem_params(
        Impairment(
            delay_ns=20_000,
            jitter_ns=2_000,
            loss=0.01,
            burst_loss=None,
            duplicate=0.5,
            corrupt=0.25,
            correlation=0.25,
            rate_bps=10_000_000_000,
            seed=7,
        )
    )
    assert params == NetemParams(
        latency_ns=20_000,
        jitter_ns=2_000,
        loss=42949673,
        duplicate=2147483648,
        corrupt=1073741824,
        delay_corr=1073741824,
        rate_bytes_per_s=1_250_000_000,
        packet_overhead=24,
        limit=2 * (21_999 + 67) // 67 + 1000,
        table=None,
        seed=7,
    )


def test_bursty_loss_is_handed_over_as_tc_does_with_h_turned_round():
    params = netem_params(Impairment(burst_loss=GilbertElliott(0.01, 0.5, loss_bad=1.0, loss_good=0.0), loss=0.3))
    assert params.gemodel == (42949673, 2147483648, 0, 0)
    assert params.loss == 0


def test_fifo_is_a_rate_so_high_that_no_frame_takes_time():
    params = netem_params(Impairment(delay_ns=1000, jitter_ns=500, order="fifo"))
    assert (65_535 + 24) * 1_000_000_000 // params.rate_bytes_per_s == 0
    assert params.packet_overhead == 0
    # A rate keeps the order by itself.
    assert netem_params(Impairment(rate_bps=8_000_000_000, order="fifo")).rate_bytes_per_s == 1_000_000_000


def test_without_a_rate_the_limit_leaves_room_for_a_whole_fabric_at_once():
    assert netem_params(Impairment(delay_ns=10)).limit == GREATEST_LIMIT
    assert netem_params(Impairment(delay_ns=10, limit=7)).limit == 7


def test_what_netem_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="jitter"):
        netem_params(Impairment(jitter_ns=2**31))
    with pytest.raises(ValueError, match="negative"):
        netem_params(Impairment(delay_ns=-1))
    with pytest.raises(ValueError, match="without a table"):
        netem_params(Impairment(jitter_ns=5, distribution="table"))
    with pytest.raises(ValueError, match="no table for the distribution 'cauchy'"):
        deviates("cauchy")


def test_the_tc_line_for_people():
    assert tc_command(CLEAN, "h1-eth0").startswith("tc qdisc del dev h1-eth0 root")
    line = tc_command(
        Impairment(delay_ns=20_000, jitter_ns=2_000, distribution="normal", loss=0.01, order="fifo", seed=5), "e0"
    )
    assert line == (
        "tc qdisc replace dev e0 root netem limit 100000 delay 20000ns 2000ns distribution normal loss 1% "
        "rate 8000000000000000bit seed 5"
    )
    burst = tc_command(Impairment(burst_loss=GilbertElliott(0.01, 0.5)), "e0")
    assert "loss gemodel 1% 50% 100% 0%" in burst


@pytest.mark.parametrize("distribution", ["normal", "pareto", "paretonormal"])
def test_our_tables_have_mean_zero_and_deviation_one(distribution):
    table = deviates(distribution)
    mean, deviation = np.mean(table) / SCALE, np.std(table) / SCALE
    assert abs(mean) < 1e-5
    assert abs(deviation - 1) < 1e-5
    assert list(table) == sorted(table)
    assert max(map(abs, table)) <= CLIP
    # No piling up at the end: the tail is cut, not clipped.
    assert sum(entry == CLIP for entry in table) <= 2


def test_uniform_needs_no_table():
    assert deviates("uniform") is None


def test_the_normal_table_is_the_normal_distribution():
    table = deviates("normal")
    for index in (40, 409, 2048, 3686, 4055):
        assert table[index] / SCALE == pytest.approx(NormalDist().inv_cdf((index + 0.5) / 4096), abs=1e-2)


def test_the_pareto_table_is_a_bounded_pareto_of_index_three():
    """In a Pareto of index 3, P(X > x) = x^-3: log survival against log x is a line of slope -3 below the cut."""
    table = [entry / SCALE for entry in deviates("pareto")]
    # Undo the standardisation with the lowest value, which is x = 1, and any other quantile of the kept share.
    share = 0.9618539870716631
    at = [0.25, 0.5, 0.75, 0.9]
    x = [(1 - share * p) ** (-1 / 3) for p in at]
    y = [table[int(p * 4096)] for p in at]
    slopes = [(y[i + 1] - y[i]) / (x[i + 1] - x[i]) for i in range(3)]
    assert max(slopes) / min(slopes) < 1.01


def in_c(mu: int, sigma: int, rnd: int, table: tuple[int, ...] | None) -> int:
    """tabledist of sch_netem.c, with C's division and remainder written out."""
    if sigma == 0:
        return mu
    if table is None:
        return int(math.fmod(rnd, 2 * sigma)) + mu - sigma
    t = table[rnd % len(table)]
    x = (sigma % 8192) * t
    x = x + 4096 if x >= 0 else x - 4096
    return int(x / 8192) + (sigma // 8192) * t + mu


@given(st.integers(0, 10**9), st.integers(0, 10**8), st.integers(0, U32_MAX), st.sampled_from([None, "normal"]))
def test_tabledist_is_netems(mu, sigma, rnd, distribution):
    table = deviates(distribution) if distribution else None
    assert tabledist(mu, sigma, rnd, table) == in_c(mu, sigma, rnd, table)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 3000),
    st.integers(0, 2000),
    st.sampled_from(["uniform", "normal", "pareto", "paretonormal"]),
    st.sampled_from([0, 1_000_000_000]),
)
def test_the_probabilities_add_up_and_stay_inside_the_range(delay, jitter, distribution, rate):
    impairment = Impairment(delay_ns=delay, jitter_ns=jitter, distribution=distribution, rate_bps=rate)
    offset, pmf = delay_pmf(impairment)
    assert pmf.sum() == pytest.approx(1, abs=1e-12)
    assert offset == least_delay_ns(impairment)
    assert offset + len(pmf) - 1 == greatest_delay_ns(impairment)
    values, weights = delay_values(impairment)
    assert np.array_equal(pmf[values - offset], weights)


def test_uniform_probabilities_are_those_of_a_32_bit_remainder():
    """2^32 is no multiple of 6: the first four remainders come once more often."""
    offset, pmf = delay_pmf(Impairment(delay_ns=10, jitter_ns=3))
    assert offset == 7
    assert list(pmf * 2**32) == [715827883, 715827883, 715827883, 715827883, 715827882, 715827882]


def test_delays_below_a_nanosecond_count_as_one_and_pile_up_there():
    offset, pmf = delay_pmf(Impairment(delay_ns=2, jitter_ns=4))
    assert offset == 1
    # -2, -1, 0 fall on 1: four of eight with what is drawn as 1.
    assert pmf[0] == pytest.approx(4 / 8)
    assert delay_pmf(CLEAN)[0] == least_delay_ns(CLEAN) == greatest_delay_ns(CLEAN) == 1
    assert least_delay_ns(Impairment(delay_ns=2, jitter_ns=4), clip=False) == -2


def test_draws_follow_the_probabilities():
    """200,000 draws through tabledist against delay_pmf: chi-square, p > 0.001 with this seed."""
    from scipy.stats import chisquare

    impairment = Impairment(delay_ns=300, jitter_ns=50, distribution="paretonormal")
    offset, pmf = delay_pmf(impairment)
    rng, table = random.Random(5), deviates("paretonormal")
    draws = np.array([tabledist(300, 50, rng.getrandbits(32), table) for _ in range(200_000)])
    seen = np.bincount(draws - offset, minlength=len(pmf))
    kept = pmf > 0
    assert seen[~kept].sum() == 0
    expected = pmf[kept] * len(draws)
    assert chisquare(seen[kept], expected * seen.sum() / expected.sum()).pvalue > 0.001


def test_a_rate_adds_the_time_on_the_wire_to_every_delay():
    # 60 bytes and 24 of preamble, FCS and gap at 1 Gbit/s
    assert packet_time_ns(Impairment(rate_bps=1_000_000_000)) == 672
    assert delay_pmf(Impairment(delay_ns=100, rate_bps=1_000_000_000))[0] == 772


def test_too_wide_a_grid_is_refused_and_the_compact_form_still_works():
    wide = Impairment(delay_ns=10**9, jitter_ns=10**8, distribution="normal")
    with pytest.raises(ValueError, match="too wide"):
        delay_pmf(wide)
    values, weights = delay_values(wide)
    assert len(values) <= 4096
    assert weights.sum() == pytest.approx(1)


def test_samples_come_back_as_mean_deviation_and_table():
    rng = random.Random(3)
    samples = [rng.expovariate(1 / 5000) + 20_000 for _ in range(20_000)]
    mean, deviation, table = table_from_samples(samples)
    assert mean == pytest.approx(np.mean(samples))
    assert deviation == pytest.approx(np.std(samples))
    again = sorted(mean + deviation * entry / SCALE for entry in table)
    for quantile in (0.05, 0.5, 0.95):
        assert again[int(quantile * 4096)] == pytest.approx(np.quantile(samples, quantile), rel=0.002)
    with pytest.raises(ValueError, match="two different"):
        table_from_samples([5, 5, 5])


def correlated(rho: float, sigma: int, n: int) -> np.ndarray:
    """netem's get_crandom and the uniform branch of tabledist, n delays."""
    rng = random.Random(1)
    share, last, found = probability_u32(rho) + 1, rng.getrandbits(32), []
    for _ in range(n):
        last = (rng.getrandbits(32) * (2**32 - share) + last * share) >> 32
        found.append(last % (2 * sigma) - sigma)
    return np.array(found[100:], dtype=float)


def test_netems_correlation_is_scrambled_by_its_modulo_and_the_remark_says_so():
    """The books have rho = 25 % cost 22 % of the jitter. In nanoseconds it costs and correlates nothing."""
    short = correlated(0.25, 10_000, 100_000)
    assert short.std() / (10_000 / 3**0.5) == pytest.approx(1, abs=0.01)
    assert abs(np.corrcoef(short[:-1], short[1:])[0, 1]) < 0.015
    assert "scrambles" in correlation_remark(Impairment(jitter_ns=10_000, correlation=0.25))
    # Only a jitter of seconds, which fills the 32 bits, is narrowed as the books say.
    long = correlated(0.25, 2**31 - 1, 100_000)
    assert long.std() / ((2**31 - 1) / 3**0.5) == pytest.approx((0.75 / 1.25) ** 0.5, abs=0.01)
    assert "narrows the jitter to about 77%" in correlation_remark(Impairment(jitter_ns=2**31 - 1, correlation=0.25))
    assert correlation_remark(Impairment(jitter_ns=10_000)) == ""


def test_what_is_asked_of_netem_is_named():
    """A kernel without netem was said to lack it for "jitter, delay or loss" where only a rate had been asked for."""
    assert named([Impairment(rate_bps=10**7), CLEAN]) == "a rate"
    assert named([Impairment(loss=0.1), Impairment(delay_ns=5, rate_bps=1)]) == "delay, loss and a rate"
    assert named([CLEAN, Impairment(seed=3, limit=5)]) == ""
    changed = {"distribution": "normal", "table": (1,), "seed": 1, "limit": 1}
    told = {"burst_loss": GilbertElliott(0.1, 0.2), "order": "fifo"}
    for field in fields(Impairment):
        one = Impairment(**{field.name: changed.get(field.name, told.get(field.name, 1))})
        assert bool(named([one])) is (not one.is_clean), field.name
