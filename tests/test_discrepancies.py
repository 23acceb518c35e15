"""Statistics of discrepancies: each against its own law or an independent computation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from laws import ALPHA, binomial_pvalue, normal_pvalue
from numpy.testing import assert_allclose
from scipy import optimize, stats

import gillespy_lite as gl
from gillespy_lite.kernels.dip import find_dip
from gillespy_lite.ode_rnn.discrepancies import (
    cycles_of,
    dip_test,
    fit_power_law,
    period_of,
    proportion,
    simultaneous_factor,
    variance_ratio,
)

THRESHOLD = ALPHA / 20


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- One mode or two ----------------------------------------------------------------------------


def dip_by_linear_programme(x: np.ndarray) -> float:
    """Return the smallest distance to a function with its mode at one of the points of `x`.

    Unknowns: the values at the points (their left limits up to the mode), the right limit at the
    mode, and the distance.
    """
    n = x.size
    best = 1.0
    for mode in range(n):
        rows, limits = [], []

        def demand(limit, *terms, rows=rows, limits=limits):
            row = np.zeros(n + 2)
            for place, weight in terms:
                row[place] += weight
            rows.append(row)
            limits.append(limit)

        def right(i, mode=mode):
            return n if i == mode else i

        for i in range(n):
            for place, step in ((i, i / n), (right(i), (i + 1) / n)):
                demand(step, (place, 1.0), (n + 1, -1.0))
                demand(-step, (place, -1.0), (n + 1, -1.0))
        demand(0.0, (mode, 1.0), (n, -1.0))
        pairs = [(i, right(i - 1) if i > mode else i - 1) for i in range(1, n)]
        for i, before in pairs:
            demand(0.0, (before, 1.0), (i, -1.0))
        for (i, before), (after, at) in itertools.pairwise(pairs):
            if i == mode:
                continue
            sign = 1.0 if i < mode else -1.0
            first, second = sign / (x[i] - x[i - 1]), sign / (x[i + 1] - x[i])
            demand(0.0, (i, first), (before, -first), (after, -second), (at, second))
        cost = np.zeros(n + 2)
        cost[-1] = 1.0
        found = optimize.linprog(cost, np.array(rows), limits, bounds=(0.0, 1.0))
        best = min(best, found.fun)
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_dip_is_the_distance_that_a_linear_programme_finds(seed):
    random = rng(seed)
    n = int(random.integers(4, 13))
    x = random.normal(size=n) + (5.0 * (random.random(n) < 0.5) if seed % 2 else 0.0)
    found = dip_test(x, random)
    assert found.dip == pytest.approx(dip_by_linear_programme(np.sort(x)), abs=1e-9)


def test_the_compiled_dip_is_that_of_its_python_source():
    for seed in range(20):
        x = np.sort(rng(seed).normal(size=40) + 3.0 * (rng(seed).random(40) < 0.5))
        scratch = np.empty((2, 40), dtype=np.int64)
        assert find_dip(x, *scratch) == find_dip.py_func(x, *scratch)


@pytest.mark.statistical
def test_laws_with_one_mode_are_not_taken_for_two():
    # P(p <= .05) must not exceed .05; for laws other than the uniform one it is far below.
    laws = {
        "uniform": lambda r: r.random(400),
        "normal": lambda r: r.normal(size=400),
        "few counts": lambda r: r.poisson(2.0, 400).astype(float),
        "many counts": lambda r: r.poisson(300.0, 400).astype(float),
        "geometric": lambda r: r.geometric(0.2, 400).astype(float),
        "even counts": lambda r: 2.0 * r.poisson(20.0, 400),
    }
    for name, law in laws.items():
        wrong = sum(dip_test(law(rng(seed)), rng(seed)).p_value <= 0.05 for seed in range(200))
        assert stats.binom.sf(wrong - 1, 200, 0.05) > THRESHOLD, name


@pytest.mark.statistical
def test_two_modes_are_found_where_they_are():
    # 1,000 draws show two normal laws 5 standard deviations apart, but not 2 apart: their sum has
    # one mode then.
    random = rng(3)
    together = random.normal(size=1_000) + 2.0 * (random.random(1_000) < 0.5)
    assert dip_test(together, random).p_value > 0.05
    sample = random.normal(size=1_000) + 5.0 * (random.random(1_000) < 0.3)
    found = dip_test(sample, random)
    assert found.p_value == pytest.approx(1e-3)
    low, high = found.peaks
    assert low == pytest.approx(0.0, abs=0.5)
    assert high == pytest.approx(5.0, abs=0.5)
    assert low < found.valley < high
    # 70 % stand at 0, give or take 1.5 %; half a per cent of either strays beyond the valley.
    assert found.share_below == pytest.approx(0.7, abs=0.06)
    # Counts, too, and only even ones.
    counts = 2.0 * random.poisson(np.where(random.random(500) < 0.5, 5.0, 40.0))
    assert dip_test(counts, random).p_value == pytest.approx(1e-3)


def test_a_sample_without_spread_has_one_mode():
    found = dip_test(np.full(50, 7.0), rng(1))
    assert (found.p_value, found.peaks) == (1.0, (7.0,))


# ---- Intervals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("successes", [0, 1, 17, 49, 50])
def test_the_interval_of_a_share_is_wilsons(successes):
    found = proportion(successes, 50, 0.95)
    interval = stats.binomtest(successes, 50).proportion_ci(0.95, method="wilson")
    assert_allclose((found.lower, found.upper), interval, atol=1e-12)
    assert found.share == successes / 50


def test_the_joint_factor_is_the_quantile_of_the_largest_deviation():
    random = rng(1)
    one = random.normal(size=(3_000, 1))
    # One mean, or many that are the same: the usual 1.96. Draws: 4,000, so 2 % at best.
    assert simultaneous_factor(one, 0.95, rng(2)) == pytest.approx(1.96, abs=0.08)
    assert simultaneous_factor(one * np.arange(1, 9), 0.95, rng(2)) == pytest.approx(1.96, abs=0.08)
    # 50 independent ones: P(all |z| < factor) = .95. Fewer paths than means take the other way.
    expected = stats.norm.ppf(0.5 + 0.95 ** (1 / 50) / 2)
    many = random.normal(size=(3_000, 50))
    assert simultaneous_factor(many, 0.95, rng(2)) == pytest.approx(expected, abs=0.08)
    wide = np.repeat(random.normal(size=(40, 100)), 2, axis=1)
    narrow = simultaneous_factor(wide[:, ::2], 0.95, rng(3))
    assert simultaneous_factor(wide, 0.95, rng(3)) == pytest.approx(narrow, abs=0.08)
    # Columns that do not vary count for nothing.
    still = np.hstack([one, np.ones((3_000, 3))])
    assert simultaneous_factor(still, 0.95, rng(2)) == simultaneous_factor(one, 0.95, rng(2))


@pytest.mark.statistical
def test_the_joint_band_covers_all_means_together():
    # 400 data sets of 15 correlated means, 100 rows each; power: 85 % coverage is rejected.
    covered = 0
    for seed in range(400):
        random = rng(seed)
        sample = np.cumsum(random.normal(size=(100, 15)), axis=1)
        error = sample.std(axis=0, ddof=1) / 10.0
        factor = simultaneous_factor(sample, 0.95, random)
        covered += bool((np.abs(sample.mean(axis=0)) < factor * error).all())
    assert binomial_pvalue(covered, 400, 0.94) > THRESHOLD
    assert binomial_pvalue(covered, 400, 0.85) < THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_intervals_of_variance_ratios_cover(law):
    # 95 % of 400 intervals; heavy tails of 500 draws cost a per cent. Power: 85 % is rejected.
    covered = 0
    for seed in range(400):
        first, second = getattr(rng(seed), f"standard_{law}")((2, 500))
        found = variance_ratio(2.0 * first, second, 0.95)
        covered += found.lower < 4.0 < found.upper
    assert binomial_pvalue(covered, 400, 0.945) > THRESHOLD
    assert binomial_pvalue(covered, 400, 0.85) < THRESHOLD
    assert math.isnan(variance_ratio(np.ones(5), np.arange(5.0), 0.95).value)


# ---- Cycles -------------------------------------------------------------------------------------


def wandering_cycles(n: int, times: np.ndarray, period: float, spread: float, seed: int):
    """Return paths whose phase does a random walk: `spread` (std) per cycle, in time."""
    steps = np.diff(times, prepend=times[0])
    noise = rng(seed).normal(size=(n, times.size)) * np.sqrt(steps / period) * spread
    return 10.0 + 5.0 * np.sin(2.0 * np.pi / period * (times + np.cumsum(noise, axis=1)))


@pytest.mark.statistical
def test_period_and_phase_spread_of_wandering_cycles_are_found():
    # Power: 200 paths of 18 cycles give the period to .1 % and the spread to 6 %.
    times = np.linspace(0.0, 200.0, 2_001)
    found = cycles_of(times, wandering_cycles(200, times, 8.0, 0.5, seed=1))
    assert normal_pvalue(found.period, 8.0, found.period_error) > THRESHOLD
    assert found.period_error == pytest.approx(0.5 / math.sqrt(200 * 18), rel=0.3)
    assert found.cycle_std == pytest.approx(0.5, rel=0.2)
    assert found.coherence == pytest.approx(1.0 / (2.0 * math.pi**2 * (0.5 / 8.0) ** 2), rel=0.4)
    # The autocorrelation of a phase that diffuses falls as exp(-cycles / coherence).
    assert found.correlation == pytest.approx(math.exp(-1.0 / 13.0), abs=0.06)
    assert found.n_cycles == pytest.approx(200 * 17.5, rel=0.1)


def test_noise_around_a_resting_point_is_no_oscillation():
    times = np.linspace(0.0, 60.0, 601)
    runs = gl.ensemble(gl.models.birth_death(), times, 100, rng=1)
    assert cycles_of(times, runs["X"].astype(float)) is None
    assert cycles_of(times, np.ones((50, 601))) is None
    uneven = np.geomspace(1.0, 60.0, 601)
    assert cycles_of(uneven, wandering_cycles(50, uneven, 5.0, 0.1, seed=1)) is None


def test_period_of_a_smooth_path_or_that_it_rests():
    times = np.linspace(0.0, 100.0, 1_001)
    wave = 3.0 + np.sin(2.0 * np.pi * times / 7.3)
    assert period_of(times, wave) == pytest.approx(7.3, rel=1e-3)
    assert period_of(times, 3.0 + np.exp(-times / 20.0) * (wave - 3.0)) == 0.0
    assert period_of(times, np.full(1_001, 2.0)) == 0.0
    assert math.isnan(period_of(times, 3.0 + np.sin(2.0 * np.pi * times / 70.0)))


# ---- How a difference shrinks -------------------------------------------------------------------


def test_a_power_law_without_noise_is_found():
    omegas = [1.0, 2.0, 4.0, 8.0]
    for sign in (1.0, -1.0):
        values = [sign * 3.0 * omega**-1.2 for omega in omegas]
        law = fit_power_law(omegas, values, [0.01] * 4)
        assert law.exponent == pytest.approx(-1.2, abs=1e-6)
        assert law.prefactor == pytest.approx(sign * 3.0, rel=1e-6)
        assert law.p_value == pytest.approx(1.0)


@pytest.mark.statistical
def test_exponents_lie_within_their_errors():
    # Power: an error off by 20 % is seen in 400 fits.
    omegas, pulls = np.array([1.0, 2.0, 4.0, 8.0]), []
    for seed in range(400):
        error = np.array([0.1, 0.08, 0.05, 0.04])
        values = 2.0 / omegas + rng(seed).normal(size=4) * error
        law = fit_power_law(omegas, values, error)
        pulls.append((law.exponent + 1.0) / law.error)
    assert normal_pvalue(np.mean(pulls), 0.0, 1.5 / math.sqrt(400)) > THRESHOLD
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)


def test_values_lost_in_their_errors_give_no_exponent():
    assert math.isnan(fit_power_law([1, 2, 4], [0.1, -0.1, 0.05], [0.2, 0.2, 0.2]).exponent)
    assert math.isnan(fit_power_law([1], [5.0], [0.1]).exponent)
    # A law that is no power law has a bad p-value.
    assert fit_power_law([1, 2, 4], [5.0, 1.0, 5.0], [0.1] * 3).p_value < 1e-6
