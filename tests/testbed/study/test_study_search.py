"""The search for a break point, held against curves whose break point is known."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from testbed.study.search import BreakPoint, Count, SearchSpec, Side, break_point, classify, next_requests

WRONG = {True: Side.BELOW, False: Side.ABOVE}
GRID = tuple(float(x) for x in range(0, 20_001, 2_000))


def searched(spec: SearchSpec, curve: Callable[[float], float], seed: int) -> tuple[BreakPoint, dict[float, Count]]:
    """Runs a search to its end on coin tosses with the curve's probability."""
    draw = random.Random(seed)
    counts: dict[float, Count] = {}
    for _ in range(10_000):
        wanted = next_requests(spec, counts)
        if not wanted:
            return break_point(spec, counts), counts
        for x, rounds in wanted:
            have = counts.get(x, Count(0, 0))
            assert rounds > have.rounds, "a request must ask for something new"
            broken = sum(draw.random() < curve(x) for _ in range(rounds - have.rounds))
            counts[x] = Count(have.broken + broken, rounds)
    raise AssertionError("the search does not end")


def two_hops_past_the_window(jitter_ns: float) -> float:
    """P(S_2 > W) for two uniform delays of 50 us +- J and W = 110 us: a triangle's tail, (2J - 10 us)^2 / (8 J^2)."""
    beyond = 2 * jitter_ns - 10_000
    return 0.0 if beyond <= 0 else beyond**2 / (8 * jitter_ns**2)


def test_finds_the_break_point_of_a_known_curve() -> None:
    # (2J - 10000)^2 = 0.01 * 8 J^2  =>  J = 10000 / (2 - sqrt(0.08))
    truth = 10_000 / (2 - 0.08**0.5)
    spec = SearchSpec(0.01, 0.99, GRID, batch=500, max_rounds=16_000, resolution=0.02)
    found, counts = searched(spec, two_hops_past_the_window, seed=1)
    assert found.status == "bracketed"
    assert found.lo is not None
    assert found.hi is not None
    assert found.estimate is not None
    assert found.lo <= truth <= found.hi
    assert abs(found.estimate - truth) / truth < 0.05
    assert all(count.rounds <= spec.max_rounds for count in counts.values())
    assert len(counts) <= spec.max_points


@pytest.mark.slow
def test_the_stated_confidence_holds() -> None:
    """At 90 % confidence, more than 10 % wrong brackets in 200 searches (above 33) would come once in 1,000 tries."""
    truth = 10_000 / (2 - 0.4**0.5)  # of p = 0.05
    spec = SearchSpec(0.05, 0.90, GRID, batch=100, max_rounds=800, resolution=0.1, max_points=16)
    wrong = 0
    for seed in range(200):
        found, _ = searched(spec, two_hops_past_the_window, seed)
        if (found.lo is not None and found.lo > truth) or (found.hi is not None and found.hi < truth):
            wrong += 1
    assert wrong <= 33


@pytest.mark.parametrize("truth", [0.0499, 0.0501, 0.04, 0.06])
def test_a_points_error_over_all_its_looks_is_what_is_stated_exactly_computed(truth: float) -> None:
    """The whole walk over all looks by convolution: P(classified wrongly at any of them), against the point's share."""
    spec = SearchSpec(0.05, 0.90, GRID, batch=100, max_rounds=800, max_points=16)
    going_on, at, wrong = {0: 1.0}, 0, 0.0
    while going_on:
        rounds = spec.next_look(at)
        steps = stats.binom.pmf(range(rounds - at + 1), rounds - at, truth)
        counts: Counter[int] = Counter()
        for broken, weight in going_on.items():
            for k, p in enumerate(steps):
                if weight * p > 1e-13:
                    counts[broken + k] += weight * p
        sides = {broken: classify(spec, Count(broken, rounds)) for broken in counts}
        wrong += sum(counts[broken] for broken, side in sides.items() if side is WRONG[truth > spec.probability])
        going_on = {broken: counts[broken] for broken, side in sides.items() if side is Side.SAMPLING}
        at = rounds
    assert 0 <= wrong <= (1 - spec.confidence) / spec.max_points / 2  # a side has half of it
    assert wrong > 1e-4 or abs(truth - 0.05) > 0.001  # and it is not absurdly careful


def test_finds_the_least_crossing_of_a_curve_that_falls_again() -> None:
    """Splits vanish at extreme jitter, where everything aborts at both ends: the first rise is the break point."""

    def hump(x: float) -> float:
        return 0.2 if 7_000 <= x <= 11_000 else 0.0001

    found, _ = searched(SearchSpec(0.02, 0.99, GRID, 200, 6_400, 0.02), hump, seed=3)
    assert found.status == "bracketed"
    assert found.lo is not None
    assert found.hi is not None
    assert found.lo < 7_000 <= found.hi
    assert found.hi - found.lo <= 0.02 * found.hi + 1


def test_says_never_when_nothing_breaks() -> None:
    found, _ = searched(SearchSpec(0.05, 0.99, GRID, 500, 2_000), lambda x: 0.0, seed=1)
    assert (found.status, found.lo, found.hi, found.estimate) == ("never", GRID[-1], None, None)


def test_says_always_when_the_least_value_breaks_already() -> None:
    found, counts = searched(SearchSpec(0.05, 0.99, GRID, 500, 2_000), lambda x: 0.5, seed=1)
    assert (found.status, found.lo, found.hi) == ("always", None, GRID[0])
    assert len(counts) == len(GRID)


def test_says_open_when_the_budget_is_too_small() -> None:
    found, _ = searched(SearchSpec(0.05, 0.999, GRID, 50, 50), lambda x: 0.05, seed=1)
    assert found.status == "open"


def test_a_point_right_on_p_does_not_hang_the_search() -> None:
    """The probability sits on p over a plateau: those points stay undecided, the bracket closes around the plateau."""

    def plateau(x: float) -> float:
        return 0.0 if x < 6_000 else 0.05 if x <= 10_000 else 0.5

    found, counts = searched(SearchSpec(0.05, 0.99, GRID, 100, 400, 0.05), plateau, seed=5)
    assert found.lo is not None
    assert found.hi is not None
    assert found.lo < 6_000
    assert found.hi > 10_000
    assert any(classify(SearchSpec(0.05, 0.99, GRID, 100, 400), count) is Side.UNDECIDED for count in counts.values())


@given(
    edge=st.integers(min_value=100, max_value=19_900),
    low=st.floats(min_value=0, max_value=0.005),
    high=st.floats(min_value=0.2, max_value=1.0),
    seed=st.integers(min_value=0, max_value=2**32),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_brackets_any_step(edge: int, low: float, high: float, seed: int) -> None:
    """A step from far below p to far above is bracketed to the asked resolution (or to 1 ns)."""
    spec = SearchSpec(0.05, 0.999, GRID, batch=200, max_rounds=1_600, resolution=0.05, max_points=60)
    found, counts = searched(spec, lambda x: high if x >= edge else low, seed)
    assert found.status == "bracketed"
    assert found.lo is not None
    assert found.hi is not None
    assert found.estimate is not None
    assert found.lo < edge <= found.hi
    assert found.hi - found.lo <= max(1.0, spec.resolution * found.hi)
    assert found.lo <= found.estimate <= found.hi
    assert all(x == int(x) for x in counts)


@given(seed=st.integers(min_value=0, max_value=2**32), cut=st.integers(min_value=1, max_value=12))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_an_interrupted_search_ends_like_an_uninterrupted_one(seed: int, cut: int) -> None:
    """The search is a function of the counts alone: stopping anywhere and going on changes nothing."""
    spec = SearchSpec(0.05, 0.99, GRID, 100, 800, 0.05)

    def toss(x: float, index: int) -> bool:  # what the index-th round at x does, whenever it is run
        return random.Random(f"{seed} {x} {index}").random() < two_hops_past_the_window(x)

    def run(counts: dict[float, Count], steps: int) -> dict[float, Count]:
        for _ in range(steps):
            for x, rounds in next_requests(spec, counts):
                have = counts.get(x, Count(0, 0))
                broken = sum(toss(x, index) for index in range(have.rounds, rounds))
                counts[x] = Count(have.broken + broken, rounds)
        return counts

    assert run(run({}, cut), 100) == run({}, 100)


def test_a_point_that_stays_undecided_before_others_that_are_below_leaves_the_search_open() -> None:
    """The curve may have crossed p there already: what lies behind is no certain bracket of the least crossing."""

    def hump(x: float) -> float:
        return 0.05 if x == 4_000 else 0.0 if x <= 10_000 else 0.5

    spec = SearchSpec(0.05, 0.99, GRID, 100, 400, 0.05)
    found, _ = searched(spec, hump, seed=5)
    assert found.status == "bracketed"
    assert found.lo is not None
    assert found.lo < 4_000
    assert found.hi is not None
    assert found.hi > 10_000


def test_a_parameter_between_0_and_1_is_bisected_too() -> None:
    spec = SearchSpec(0.05, 0.99, (0.0, 0.05, 0.1), 500, 8_000, 0.1, integral=False)
    found, counts = searched(spec, lambda x: x, seed=1)
    assert found.status == "bracketed"
    assert len(counts) > 3
