"""The delays that verdicts and closed forms reckon with are netem's own integers."""

import numpy as np
import pytest

from testbed.topologies.impairment import Impairment
from testbed.topologies.tables import delay_pmf
from testbed.verdicts.delays import Law, convolve, lattice_of

KINDS = [
    Impairment(20_000, 2_000),
    Impairment(1_000, 3_001),  # reaches below zero: piles up there
    Impairment(20_000, 2_000, "normal"),
    Impairment(500, 2_000, "pareto"),
    Impairment(5, 0),
    Impairment(100, 100),
    Impairment(5_000, 777, rate_bps=10**9),
]


@pytest.mark.parametrize("impairment", KINDS, ids=repr)
def test_the_law_is_the_exact_probability_mass_function(impairment: Impairment) -> None:
    offset, pmf = delay_pmf(impairment)
    law = Law(impairment)
    lattice = law.lattice(1)
    assert (lattice.offset, len(lattice.p)) == (offset, len(pmf))
    assert np.abs(lattice.p - pmf).max() < 1e-16
    x = np.arange(offset - 5, offset + len(pmf) + 5)
    cumulated = np.concatenate([np.zeros(5), np.cumsum(pmf), np.ones(5)])
    assert np.abs(law.cdf(x) - cumulated).max() < 1e-12
    for p in (0.001, 0.5, 0.999):
        assert law.quantile(p) == offset + int(np.searchsorted(np.cumsum(pmf), p - 1e-13))


@pytest.mark.parametrize("jitter_ns", [1, 3, 2_000, 777_777])
@pytest.mark.parametrize("delay_ns", [0, 1, 5_000])
def test_a_quantile_of_even_delays_is_the_least_that_reaches_its_share(jitter_ns: int, delay_ns: int) -> None:
    """Not all cells hold equally many of the 2^32 draws; where that changes a closed form could slip."""
    law = Law(Impairment(delay_ns, jitter_ns))
    rest = (1 << 32) % (2 * jitter_ns)
    cells = {1, 2, rest - 1, rest, rest + 1, jitter_ns, 2 * jitter_ns - 1}
    edges = law.cdf(np.array([delay_ns - jitter_ns + cell for cell in cells]))
    for edge in edges.tolist():
        for p in (edge - 2**-32, edge, edge + 2**-33):
            if 0 < p <= 1:
                found = law.quantile(p)
                assert law.cdf(np.array([found]))[0] >= p
                assert found == law.least_ns or law.cdf(np.array([found - 1]))[0] < p


@pytest.mark.parametrize("impairment", KINDS, ids=repr)
@pytest.mark.parametrize("step_ns", [3, 10, 64, 1_000])
def test_a_coarser_lattice_keeps_all_probability_and_the_mean(impairment: Impairment, step_ns: int) -> None:
    offset, pmf = delay_pmf(impairment)
    coarse = lattice_of(impairment, step_ns)
    assert coarse.p.sum() == pytest.approx(1, abs=1e-12)
    assert coarse.p.min() >= 0
    mean = (np.arange(len(pmf)) + offset) @ pmf
    assert (np.arange(len(coarse.p)) + coarse.offset) @ coarse.p * step_ns == pytest.approx(mean, abs=1e-6)


def test_sums_by_fourier_are_sums_by_hand() -> None:
    parts = [lattice_of(impairment, 1) for impairment in (Impairment(50, 9), Impairment(5, 0), Impairment(30, 4))]
    total = convolve(parts)
    direct = np.convolve(np.convolve(parts[0].p, parts[1].p), parts[2].p)
    assert total.offset == 41 + 5 + 26
    assert np.abs(total.p - direct).max() < 1e-15
    assert len(convolve(parts, last=80).p) == 80 - total.offset + 1
