"""Evidence that may be looked at after every round: its error is computed exactly, not sampled."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from testbed.study.evidence import (
    Count,
    Side,
    confidence_sequence,
    divergence,
    expecting,
    log_evidence,
    wide_law,
)
from testbed.study.statistics import clopper_pearson


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("side", list(Side))
def test_a_bet_is_fair_where_its_claim_just_fails(side: Side, p: float) -> None:
    """At p itself the expected stake is 1 after any number of rounds."""
    for rounds in (1, 7, 60):
        worth = [math.exp(log_evidence(side, Count(broken, rounds), p)) for broken in range(rounds + 1)]
        assert float(stats.binom.pmf(range(rounds + 1), rounds, p) @ worth) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(("side", "truth"), [(Side.BELOW, 0.013), (Side.ABOVE, 0.007)])
def test_a_bet_on_what_is_not_so_is_worth_less_and_less(side: Side, truth: float) -> None:
    worth = []
    for rounds in (10, 100, 400):
        bets = np.exp([min(700.0, log_evidence(side, Count(k, rounds), 0.01)) for k in range(rounds + 1)])
        worth.append(float(stats.binom.pmf(range(rounds + 1), rounds, truth) @ bets))
    assert 1 > worth[0] > worth[1] > worth[2]


def ever(rounds: int, truth: float, alarm: list[list[bool]]) -> float:
    """P(alarm[n][broken] at any n up to ``rounds``), by going through all ways at once."""
    alive, alarmed = np.array([1.0]), 0.0
    for n in range(1, rounds + 1):
        alive = np.append(alive * (1 - truth), 0) + np.append(0, alive * truth)
        hit = np.array(alarm[n])
        alarmed += float(alive[hit].sum())
        alive[hit] = 0
    return alarmed


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(("p", "error"), [(0.05, 0.1), (0.3, 0.02)])
def test_looking_after_every_round_costs_nothing(side: Side, p: float, error: float) -> None:
    """P(the claim is ever made although the truth is p) over 400 looks, exactly: at most the error, and not idly so."""
    alarm = [
        [log_evidence(side, Count(broken, n), p) >= -math.log(error) for broken in range(n + 1)] for n in range(401)
    ]
    wrong = ever(400, p, alarm)
    assert error / 20 < wrong <= error


@pytest.mark.parametrize(
    ("side", "idea"), [(Side.BELOW, 0.02), (Side.BELOW, 0.045), (Side.ABOVE, 0.06), (Side.ABOVE, 0.4)]
)
def test_an_idea_of_the_probability_costs_no_truth_and_saves_rounds(side: Side, idea: float) -> None:
    """A bet spread around an idea is as fair and errs as seldom, over 400 looks; a right idea grows faster."""
    p, error = 0.05, 0.1
    law = expecting(idea, abs(idea - p) / 2, p)
    worth = [math.exp(log_evidence(side, Count(k, 60), p, law)) for k in range(61)]
    assert float(stats.binom.pmf(range(61), 60, p) @ worth) == pytest.approx(1, rel=1e-9)
    alarm = [
        [log_evidence(side, Count(broken, n), p, law) >= -math.log(error) for broken in range(n + 1)]
        for n in range(401)
    ]
    assert ever(400, p, alarm) <= error
    as_expected = Count(round(idea * 6_000), 6_000)
    assert log_evidence(side, as_expected, p, law) > log_evidence(side, as_expected, p)


def test_an_idea_near_0_or_1_is_the_wide_law() -> None:
    assert expecting(1e-6, 0.005, 0.01) == wide_law(0.01)
    assert expecting(1 - 1e-6, 0.005, 0.99) == wide_law(0.99)


@pytest.mark.parametrize("truth", [0.02, 0.05, 0.2, 0.6])
def test_a_confidence_sequence_holds_the_truth_at_all_times(truth: float) -> None:
    """Exactly, over 80 looks; the exact interval for one look does not."""
    outside, plain = (
        [[not made(Count(broken, n)).holds(truth) for broken in range(n + 1)] for n in range(81)]
        for made in (lambda count: confidence_sequence(count, 0.8, 0.05), lambda count: clopper_pearson(*count, 0.8))
    )
    assert 0.001 < ever(80, truth, outside) <= 0.2 < ever(80, truth, plain)


def test_a_confidence_sequence_closes_in() -> None:
    widths = []
    for rounds in (0, 100, 1_000, 10_000):
        low, high = confidence_sequence(Count(rounds // 100, rounds), 0.99, 0.01)
        assert low <= 0.01 <= high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == 1
    assert widths[-1] < 0.008


def test_nothing_seen_and_everything_seen() -> None:
    assert log_evidence(Side.BELOW, Count(0, 0), 0.01) == 0
    assert log_evidence(Side.BELOW, Count(0, 2_000), 0.01) > 10
    assert log_evidence(Side.ABOVE, Count(0, 2_000), 0.01) < -3
    assert log_evidence(Side.ABOVE, Count(2_000, 2_000), 0.01) > 1_000
    assert log_evidence(Side.BELOW, Count(2_000, 2_000), 0.01) < -1_000
    assert confidence_sequence(Count(50, 50), 0.99, 0.01).high == 1


def test_divergence_is_how_fast_the_best_bet_grows() -> None:
    assert divergence(0.01, 0.01) == 0
    assert divergence(0, 0.01) == pytest.approx(-math.log(0.99))
    assert divergence(1, 0.01) == pytest.approx(-math.log(0.01))
    slow, fast = (divergence(q, 0.01) for q in (0.009, 0.005))
    assert 0 < slow < fast
