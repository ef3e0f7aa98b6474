"""Times, rates and shares: exact, with units, and refused with advice when they have none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.nodes.core.text import time_text
from testbed.scenario.units import (
    parse_rate,
    parse_share,
    parse_time,
    spell_exact_rate,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [("50us", 50_000), ("1.5ms", 1_500_000), ("7 ns", 7), ("2s", 2 * 10**9), ("3µs", 3000), ("0.001us", 1), (0, 0)],
)
def test_times_are_whole_nanoseconds(text, ns):
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (300, "has no unit; write 300us"),
        ("300", "has no unit; write 300us"),
        ("5 minutes", "is no time"),
        ("-5us", "is no time"),
        ("1.5ns", "not a whole number of nanoseconds"),
        ("9999999999s", "longer than the longest"),
        (True, "must be a time"),
        (None, "must be a time"),
        ("", "is no time"),
    ],
)
def test_what_is_no_time_is_refused_with_advice(text, says):
    with pytest.raises(ValueError, match=says):
        parse_time(text)


@given(st.integers(0, 10**15))
def test_a_spelled_time_reads_back_the_same(ns):
    assert parse_time(time_text(ns)) == ns


@given(st.one_of(st.just(0), st.integers(8, 10**15)))
def test_a_spelled_rate_reads_back_the_same(bps):
    assert parse_rate(spell_exact_rate(bps)) == bps


def test_rates():
    assert parse_rate("10gbit") == 10**10
    assert parse_rate("2.5Gbit/s") == 2_500_000_000
    for bad in (10, "10", "10gb", "7bit", "1.5bit", True):
        with pytest.raises(ValueError, match=r"rate|unit|whole"):
            parse_rate(bad)


def test_shares():
    assert parse_share("1%") == 0.01
    assert parse_share(0.01) == parse_share("0.01") == 0.01
    assert parse_share(1) == 1.0
    for bad in ("110%", 2, "-1%", "few", True, float("nan")):
        with pytest.raises(ValueError, match=r"share|between"):
            parse_share(bad)
