"""Binomial draws against their law, from one trial to 1e15."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from laws import ALPHA, binomial_pvalue, chi_square_pvalue, ks_pvalue, normal_pvalue
from laws import randomised_pvalue as randomised
from numpy.testing import assert_allclose
from scipy import stats

from gillespy_lite.kernels import binomial as sampler
from gillespy_lite.kernels import random as streams
from gillespy_lite.randomness import stream_key

# At most this many p-values are asked for in this file.
THRESHOLD = ALPHA / 200


@numba.njit
def fill_binomial(stream, n, p, out):
    for i in range(out.size):
        out[i] = sampler.binomial(stream, n, p)


@numba.njit
def log_probability(k, n, p):
    return sampler._log_probability(k, n, p)


def draws(size: int, n: int, p: float, seed: int) -> np.ndarray:
    stream, out = np.zeros(4, dtype=np.uint64), np.empty(size, dtype=np.int64)
    streams.seed_stream(stream_key(seed, "direct"), 0, stream)
    fill_binomial(stream, np.int64(n), p, out)
    return out


# On both sides of where inversion hands over to rejection, n min(p, 1 - p) = 10, and of p = 1/2.
SMALL = [
    (1, 0.3), (2, 0.5), (7, 0.9), (20, 0.49), (20, 0.5), (20, 0.51), (25, 0.5), (99, 0.1),
    (101, 0.1), (101, 0.9), (1000, 0.00999), (1000, 0.011), (1000, 0.5), (10**6, 1e-6),
    (10**6, 1.2e-5), (10**9, 3e-8), (10**12, 5e-12), (10**12, 4e-11),
]  # fmt: skip


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "p"), SMALL)
def test_binomial_draws_follow_their_law(n, p):
    # Power: `shifted`, a mean off by .02 standard deviations, is rejected.
    size = 400_000
    k = draws(size, n, p, seed=1)
    assert k.min() >= 0
    assert k.max() <= n
    mean, sd = n * p, math.sqrt(n * p * (1.0 - p))
    upto = int(min(n, stats.binom.isf(1e-14, n, p) + 2))
    law = stats.binom.pmf(np.arange(upto + 1), n, p)
    assert chi_square_pvalue(k, law) > THRESHOLD
    assert normal_pvalue(k.mean(), mean, sd / math.sqrt(size)) > THRESHOLD
    shifted = stats.binom.pmf(np.arange(upto + 1), n, (mean + 0.02 * sd) / n)
    assert chi_square_pvalue(k, shifted) < THRESHOLD
    # Far tails, where rejection samplers go wrong first.
    for probability in (1e-3, 1e-5):
        high, low = (int(f(probability, n, p)) for f in (stats.binom.isf, stats.binom.ppf))
        above, below = stats.binom.sf(high, n, p), stats.binom.cdf(low, n, p)
        assert binomial_pvalue(int((k > high).sum()), size, above) > THRESHOLD
        assert binomial_pvalue(int((k <= low).sum()), size, below) > THRESHOLD


LARGE = [(10**6, 0.3), (10**8, 1e-3), (10**10, 0.7), (10**12, 0.5), (10**12, 1e-6), (10**15, 0.9)]


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "p"), LARGE)
def test_binomial_draws_of_many_trials_follow_their_law(n, p):
    # Power: 300,000 draws see a mean off by .02 standard deviations or a variance off by 2 %.
    size = 300_000
    k = draws(size, n, p, seed=2)
    variance = n * p * (1.0 - p)
    z = (k - n * p) / math.sqrt(variance)
    skewness, excess = (1.0 - 2.0 * p) / math.sqrt(variance), (1.0 - 6.0 * p * (1.0 - p)) / variance
    assert normal_pvalue(z.mean(), 0.0, 1.0 / math.sqrt(size)) > THRESHOLD
    assert normal_pvalue(z.var(), 1.0, math.sqrt(2.0 / size)) > THRESHOLD
    assert normal_pvalue((z**3).mean(), skewness, math.sqrt(15.0 / size)) > THRESHOLD
    assert normal_pvalue((z**4).mean(), 3.0 + excess, math.sqrt(96.0 / size)) > THRESHOLD
    if n <= 10**8:
        assert randomised(k, lambda j: stats.binom.cdf(j, n, p)) > THRESHOLD
        wrong = p + 0.05 * math.sqrt(variance) / n
        assert randomised(k, lambda j: stats.binom.cdf(j, n, wrong)) < THRESHOLD
    elif variance > 1e8:
        # The normal law is off by 1 / (6 sqrt(2 pi variance)), below what 300,000 draws resolve.
        assert ks_pvalue(z, stats.norm.cdf) > THRESHOLD
        assert ks_pvalue(z + 0.02, stats.norm.cdf) < THRESHOLD


def test_certain_outcomes_are_certain():
    for n in (0, 1, 10**12, 2**53):
        assert (draws(100, n, 0.0, seed=3) == 0).all()
        assert (draws(100, n, 1.0, seed=3) == n).all()
    assert (draws(100, 2**53, 5e-324, seed=3) == 0).all()
    assert (draws(100, 2**53, 1.0 - 2.0**-53, seed=3) >= 2**53 - 20).all()


def test_probabilities_have_their_digits():
    # SciPy's log P(k) loses digits where n is large; there the reference is the recurrence
    # log P(k + 1) - log P(k) = log((n - k) p / ((k + 1) (1 - p))).
    for n, p in ((30, 0.4), (1000, 0.02), (10**6, 0.3)):
        for k in {0, 1, round(n * p), round(n * p * 1.1), n - 1, n}:
            expected = stats.binom.logpmf(k, n, p)
            assert_allclose(log_probability(float(k), float(n), p), expected, rtol=1e-9, atol=1e-9)
    for n, p in ((10**9, 0.5), (10**12, 0.25), (10**12, 1e-6), (10**15, 0.5)):
        sd = math.sqrt(n * p * (1.0 - p))
        for k in (math.floor(n * p), math.floor(n * p - 3.0 * sd), math.floor(n * p + 5.0 * sd)):
            step = log_probability(k + 1.0, float(n), p) - log_probability(float(k), float(n), p)
            # (n - k) p - (k + 1) (1 - p) = n p - k - (1 - p)
            expected = math.log1p((n * p - k - (1.0 - p)) / ((k + 1.0) * (1.0 - p)))
            assert_allclose(step, expected, atol=1e-13 + 2e-16 * abs(k - n * p))


@pytest.mark.statistical
@pytest.mark.parametrize("n", [10**3, 10**6])
def test_a_sampler_that_accepts_every_proposal_is_rejected(n):
    # The mutant: the first proposal of BTRS is kept without its test.
    p, size = 0.3, 400_000
    spread = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    u = np.random.default_rng(1).uniform(-0.5, 0.5, size)
    proposed = np.floor((2.0 * a / (0.5 - np.abs(u)) + b) * u + n * p + 0.5)
    proposed = proposed[(proposed >= 0) & (proposed <= n)]
    assert randomised(proposed, lambda j: stats.binom.cdf(j, n, p)) < THRESHOLD


@pytest.mark.statistical
def test_the_rounded_normal_law_is_rejected():
    rounded = np.rint(np.random.default_rng(2).normal(30.0, math.sqrt(21.0), 400_000))
    law = stats.binom.pmf(np.arange(101), 100, 0.3)
    assert chi_square_pvalue(rounded.astype(np.int64), law) < THRESHOLD
