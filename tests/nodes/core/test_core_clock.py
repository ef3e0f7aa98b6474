"""A node's own clock: exact, never backwards, and its inverse is the first time at which it shows a time."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.nodes.core.clock import PPB, Clock

CLOCKS = st.builds(
    Clock,
    offset_ns=st.integers(-300, 300),
    drift_ppb=st.integers(-PPB // 4, PPB // 4),
    every_ns=st.sampled_from([0, 200, 333]),
    within_ns=st.integers(0, 40),
    bias_ns=st.integers(-50, 50),
    seed=st.integers(0, 5),
    since_ns=st.integers(-100, 100),
)


def test_a_plain_clock_shows_true_time() -> None:
    clock = Clock()
    assert [clock.local_ns(t) for t in (0, 1, 10**15)] == [0, 1, 10**15]
    assert clock.true_ns(7, now_ns=3) == 7


def test_a_clock_gains_what_it_drifts_by_to_the_nanosecond() -> None:
    clock = Clock(offset_ns=5, drift_ppb=20_000)
    assert clock.local_ns(10**9) == 10**9 + 5 + 20_000
    assert Clock(drift_ppb=-1).local_ns(10**9 - 1) == 10**9 - 2  # floor: what it has not shown in full it does not show


def test_a_synchronised_clock_is_off_by_its_residual_and_what_it_drifted_since() -> None:
    clock = Clock(drift_ppb=100_000, every_ns=1_000_000, within_ns=50, bias_ns=7, seed=3)
    for number in (1, 2, 50):
        residual_ns = clock.residual_ns(number)
        assert 7 - 50 <= residual_ns <= 7 + 50
        assert clock.local_ns(number * 1_000_000 + 400_000) == number * 1_000_000 + 400_000 + residual_ns + 40
    assert len({clock.residual_ns(number) for number in range(100)}) > 50


@settings(max_examples=60, deadline=None)
@given(CLOCKS, st.lists(st.tuples(st.integers(1, 400), st.integers(-400, 400), st.booleans()), max_size=2))
def test_no_clock_shows_less_than_before_and_its_inverse_is_the_first_time(
    clock: Clock, befalls: list[tuple[int, int, bool]]
) -> None:
    """Against every nanosecond, one by one, also where it was set or began to drift otherwise on the way."""
    for after_ns, amount, steps in befalls:
        now_ns = clock.since_ns + after_ns
        before = clock.local_ns(now_ns)
        clock = clock.stepped(now_ns, amount) if steps else clock.drifting(now_ns, amount * 300_000)
        assert clock.local_ns(now_ns) >= before
    begin = clock.since_ns
    shown = [clock.local_ns(t) for t in range(begin, begin + 1500)]
    assert shown == sorted(shown)
    for now in (0, 150, 700):
        for wanted in range(shown[now] + 1, shown[-1], 37):
            first = begin + next(place for place, local in enumerate(shown) if local >= wanted)
            assert clock.true_ns(wanted, begin + now) == first
        assert clock.true_ns(shown[now], begin + now) <= begin + now
    least, most = clock.error_ns(begin, begin + 1500)
    assert all(least <= local - (begin + place) <= most for place, local in enumerate(shown))


def test_a_step_back_makes_a_clock_stand_still() -> None:
    clock = Clock().stepped(1000, -300)
    assert [clock.local_ns(t) for t in (1000, 1150, 1300, 1301)] == [1000, 1000, 1000, 1001]
    assert clock.true_ns(1000, now_ns=1200) == 1200
    assert clock.true_ns(1001, now_ns=1000) == 1301


def test_a_step_is_gone_with_the_next_setting() -> None:
    clock = Clock(every_ns=10_000).stepped(2_000, 4_000)
    assert clock.local_ns(9_999) == 13_999
    assert clock.local_ns(10_000) == clock.local_ns(13_999) == 13_999
    assert clock.local_ns(14_000) == 14_000


def test_a_far_timer_takes_few_steps_however_often_the_clock_is_set() -> None:
    clock = Clock(drift_ppb=50_000, every_ns=1_000, within_ns=20, seed=1)
    due = clock.true_ns(10**15 + 500, now_ns=17)
    assert clock.local_ns(due - 1) < 10**15 + 500 <= clock.local_ns(due)


def test_two_clocks_that_drift_apart_are_2_rho_t_apart_before_they_are_set() -> None:
    rho, every_ns = 50_000, 10_000_000
    fast, slow = Clock(drift_ppb=rho, every_ns=every_ns), Clock(drift_ppb=-rho, every_ns=every_ns)
    apart = [fast.local_ns(t) - slow.local_ns(t) for t in range(0, 3 * every_ns, 9_999)]
    assert max(apart) <= 2 * Fraction(rho, PPB) * every_ns + 1
    assert max(apart) >= 2 * Fraction(rho, PPB) * (every_ns - 9_999) - 1


@pytest.mark.parametrize(
    ("settings_", "word"),
    [({"drift_ppb": -PPB}, "backwards"), ({"every_ns": 100, "within_ns": 50}, "set back by more")],
)
def test_a_clock_that_can_not_be_is_refused(settings_: dict[str, int], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Clock(**settings_)


def test_a_clock_crosses_a_process_as_plain_data() -> None:
    clock = Clock(3, 4, 500, 6, 7, 8).stepped(100, 50)
    assert Clock.from_json(asdict(clock)) == clock
