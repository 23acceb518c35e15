"""Poisson numbers by inversion: exact for every uniform number, and the same bits in lanes."""

from __future__ import annotations

import importlib.util
import math
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from laws import ALPHA, binomial_pvalue, chi_square_pvalue, ks_pvalue, normal_pvalue
from numpy.testing import assert_allclose
from scipy import special, stats

from gillespy_lite.kernels import inversion
from gillespy_lite.kernels.inversion import (
    FAR_TAIL,
    INVERSES,
    LARGE_MEAN,
    SMALLEST,
    exponential_of_negative,
    normal_quantile,
    poisson_by_inversion,
    poisson_expansion,
    settle,
    uniform_inside,
)
from gillespy_lite.kernels.jit import _OPTIONS
from gillespy_lite.kernels.lane_leaps import fill_poisson
from gillespy_lite.kernels.lane_random import exponentials_of_negatives, floored
from gillespy_lite.kernels.lane_vectors import LANES, load, store
from gillespy_lite.kernels.random import seed_stream

# At most this many p-values are asked for in this file.
THRESHOLD = ALPHA / 300
HALF_STEP = 2.0**-53


@numba.njit(**_OPTIONS)
def invert(u, mean, k):
    for i in range(u.size):
        k[i] = poisson_by_inversion(u[i], mean[i])


@numba.njit(**_OPTIONS)
def invert_in_lanes(u, mean, k, draws):
    for place in range(0, u.size, LANES):
        fill_poisson(load(u, place), load(mean, place), k, place, draws)


@numba.njit(**_OPTIONS)
def settle_all(u, mean, guess, k):
    for i in range(u.size):
        k[i] = settle(u[i], mean[i], guess[i])


@numba.njit(**_OPTIONS)
def fill_uniforms(stream, u):
    for i in range(u.size):
        u[i] = uniform_inside(stream)


@numba.njit(**_OPTIONS)
def fill_quantiles(u, w):
    for i in range(u.size):
        w[i] = normal_quantile(u[i])


@numba.njit(**_OPTIONS)
def fill_exponentials(y, e):
    for i in range(y.size):
        e[i] = exponential_of_negative(y[i])


@numba.njit(**_OPTIONS)
def fill_in_lanes(x, whole, e):
    for place in range(0, x.size, LANES):
        store(whole, place, floored(load(x, place)))
        store(e, place, exponentials_of_negatives(load(x, place)))


def uniforms(n: int, seed: int = 1) -> np.ndarray:
    stream, u = np.zeros(4, dtype=np.uint64), np.empty(n)
    seed_stream(np.arange(4, dtype=np.uint64), seed, stream)
    fill_uniforms(stream, u)
    return u


def edges() -> np.ndarray:
    """Return uniform numbers near 0, 1/2, 1 and Wichura's boundaries, the outermost included."""
    powers = 2.0 ** -np.arange(2, 53) + HALF_STEP
    u = np.concatenate([powers, 1.0 - powers, [HALF_STEP, 1.0 - HALF_STEP, 0.5 + HALF_STEP]])
    near = 0.075 + (np.arange(-8, 9)) * 2.0**-52
    near = np.floor(near * 2.0**52) / 2.0**52 + HALF_STEP
    return np.concatenate([u, near, 1.0 - near])


def numbers_of(u: np.ndarray, mean: Any) -> np.ndarray:
    k = np.empty(u.size)
    invert(u, np.broadcast_to(np.float64(mean), u.shape).copy(), k)
    return k


# ---- The parts -----------------------------------------------------------------------------------


def test_uniform_numbers_are_odd_multiples_and_never_0_or_1():
    u = uniforms(100_000)
    assert (u * 2.0**53 % 2.0 == 1.0).all()
    assert 0.0 < u.min() < 1e-4
    assert 1.0 - 1e-4 < u.max() < 1.0
    assert ks_pvalue(u, lambda x: x) > THRESHOLD


def test_the_exponential_function_has_its_digits():
    y = np.concatenate([np.linspace(0.0, 700.0, 30_000), np.linspace(0.0, 1.0, 5_000), [1e-300]])
    e = np.empty_like(y)
    fill_exponentials(y, e)
    assert_allclose(e, np.exp(-y), rtol=3e-16)
    assert e[0] == 1.0


def test_the_normal_quantile_has_its_digits_and_its_symmetry():
    u = np.concatenate([uniforms(20_000), edges()])
    w, mirrored = np.empty_like(u), np.empty_like(u)
    fill_quantiles(u, w)
    fill_quantiles(1.0 - u, mirrored)
    assert (w == -mirrored).all()
    # The standard library has Wichura's algorithm, too, with another logarithm.
    usual = np.array([statistics.NormalDist().inv_cdf(x) for x in u])
    assert_allclose(w, usual, rtol=2e-15, atol=1e-16)
    lower = u < 0.5
    assert_allclose(w[lower], special.ndtri(u[lower]), rtol=1e-14, atol=1e-15)
    assert np.sqrt(-np.log(u.min())) > FAR_TAIL  # the last of the three formulas was used
    assert (np.diff(w[np.argsort(u)]) >= 0.0).all()


def test_whole_parts_and_exponentials_of_lanes_are_those_of_single_numbers():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(0, 700, 60 * LANES), np.arange(4.0 * LANES)])
    whole, e, single = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    fill_in_lanes(x, whole, e)
    fill_exponentials(x, single)
    assert (whole == np.floor(x)).all()
    assert e.tobytes() == single.tobytes()
    x = rng.normal(size=64 * LANES) * 2.0 ** rng.integers(-5, 48, 64 * LANES)
    x[:6] = [-1.0, -0.5, 0.5, 1.5, 2.5, -1e-30]
    fill_in_lanes(x, whole, e)
    assert (whole == np.floor(x)).all()


def whole_numbers(mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers m within 8.3 deviations, and the normal quantiles of P(X <= m)."""
    reach = 10.0 * math.sqrt(mean) + 60.0
    first = max(0.0, math.floor(mean - reach))
    m = np.arange(first, mean + reach)
    if m.size > 100_000:
        m = np.unique(np.floor(np.linspace(m[0], m[-1], 100_000)))
    # P(X <= m) is a regularised gamma function, each tail with its own digits.
    lower, upper = special.gammaincc(m + 1.0, mean), special.gammainc(m + 1.0, mean)
    w = np.where(lower < 0.5, special.ndtri(lower), -special.ndtri(upper))
    near = np.abs(w) < 8.3
    return m[near], w[near]


@pytest.mark.parametrize(
    "mean", [LARGE_MEAN, 10.7, 12.0, 15.5, 20.0, 27.1, 33.3, 40.0, 50.0, 77.7, 1e2, 3e2, 1e3, 1e4]
)  # fmt: skip
def test_the_expansion_is_within_its_bound_at_every_whole_number(mean):
    # The continuous quantile passes m + 1 where P(X <= m) is u. SciPy's tails limit the digits.
    m, w = whole_numbers(mean)
    above, bound = poisson_expansion.py_func(w, np.abs(w), mean, math.sqrt(mean))
    error = np.abs(above + mean - (m + 1.0))
    assert (error < bound + 1e-11).all()
    # And the bound is not so wide that the sums are often needed.
    assert (2.0 * bound * stats.poisson.pmf(m, mean)).sum() < 0.11 / mean**1.5 + 1e-12
    # Power: half the bound would be broken somewhere, for the smallest means.
    assert mean > LARGE_MEAN or (error > 0.5 * bound).any()


@pytest.mark.parametrize("mean", [10.0, 10.9, 16.0, 40.0, 333.3, 1e4, 1e7])
def test_sums_of_probabilities_find_the_number_from_any_guess(mean):
    u = np.concatenate([uniforms(2_000, seed=2), edges()])
    spread = math.sqrt(mean)
    usual, found = numbers_of(u, mean), np.empty(u.size)
    for off in (0.0, 1.0, -2.0, np.floor(spread), -np.floor(2.0 * spread)):
        settle_all(u, np.full(u.size, mean), usual + off, found)
        assert (found == usual).all()


# ---- The law -------------------------------------------------------------------------------------

MEANS = [0.0, 1e-9, 1e-3, 0.3, 1.0, 3.7, 9.0, 9.999, 10.0, 10.001, 12.0, 20.0, 33.3, 1e2, 1e3, 1e5]


@pytest.mark.parametrize("mean", MEANS)
def test_every_uniform_number_gives_the_smallest_k_that_the_law_says(mean):
    u = np.concatenate([uniforms(100_000, seed=5), edges()])
    k = numbers_of(u, mean)
    assert (k == np.floor(k)).all()
    assert k.min() >= 0.0
    # Up to the rounding of sums, a few 2**-53, and SciPy's own digits: 1e-11 of the smaller tail.
    lower = u < 0.5
    one = u[lower] * (1.0 + 1e-11), u[lower] * (1.0 - 1e-11)
    assert (stats.poisson.cdf(k[lower] - 1.0, mean) <= one[0]).all()
    assert (stats.poisson.cdf(k[lower], mean) > one[1]).all()
    v, digits = 1.0 - u[~lower], 1e-15
    assert (stats.poisson.sf(k[~lower] - 1.0, mean) >= v * (1.0 - 1e-9) - digits).all()
    assert (stats.poisson.sf(k[~lower], mean) <= v * (1.0 + 1e-9) + digits).all()


def poisson_pvalues(k: np.ndarray, mean: float) -> list[float]:
    """Return p-values of draws of one mean against the Poisson law."""
    n = k.size
    if mean <= 1e4:
        upto = int(stats.poisson.isf(1e-14, mean)) + 2
        found = [chi_square_pvalue(k.astype(np.int64), stats.poisson.pmf(np.arange(upto), mean))]
        for probability in (1e-3, 1e-5):
            high = int(stats.poisson.isf(probability, mean))
            found.append(binomial_pvalue(int((k > high).sum()), n, stats.poisson.sf(high, mean)))
            low = int(stats.poisson.ppf(probability, mean))
            found.append(binomial_pvalue(int((k <= low).sum()), n, stats.poisson.cdf(low, mean)))
        return found
    z = (k - mean) / math.sqrt(mean)
    return [
        normal_pvalue(z.mean(), 0.0, 1.0 / math.sqrt(n)),
        normal_pvalue(z.var(), 1.0, math.sqrt(2.0 / n)),
        normal_pvalue((z**3).mean(), mean**-0.5, math.sqrt(15.0 / n)),
        normal_pvalue((z**4).mean(), 3.0 + 1.0 / mean, math.sqrt(96.0 / n)),
        ks_pvalue(z - (1.0 - z * z) / 6.0 / math.sqrt(mean), stats.norm.cdf),
    ]


@pytest.mark.statistical
@pytest.mark.parametrize("mean", [1e-9, 1e-2, 0.7, 5.0, 9.99, 10.0, 10.01, 14.0, 50.0, 1e3, 1e4])
def test_draws_follow_their_law(mean):
    # Power: a mean off by .02 standard deviations is rejected, where there is something to see.
    n = 1_000_000
    u = uniforms(n, seed=7)
    assert min(poisson_pvalues(numbers_of(u, mean), mean)) > THRESHOLD
    wrong = mean + 0.02 * math.sqrt(mean)
    assert mean < 1e-3 or min(poisson_pvalues(numbers_of(u, wrong), mean)) < THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize("mean", [1e5, 1e7, 1e10, 1e12, 2.0**53 - 1.0])
def test_draws_of_large_mean_follow_their_law(mean):
    # Power: 300,000 draws see a mean off by .02 standard deviations.
    u = uniforms(300_000, seed=8)
    k = numbers_of(u, mean)
    assert (k >= 0.0).all()
    assert (k == np.floor(k)).all()
    assert (np.abs(k - mean) < 9.0 * math.sqrt(mean)).all()
    if mean < 2.0**52:  # above, differences of counts are rounded
        assert min(poisson_pvalues(k, mean)) > THRESHOLD
    wrong = numbers_of(u, mean + 0.02 * math.sqrt(mean))
    assert min(poisson_pvalues(wrong, mean)) < THRESHOLD


@pytest.mark.statistical
def test_words_in_a_row_give_independent_numbers():
    k = numbers_of(uniforms(400_000, seed=9), 20.0)
    for lag in (1, 2, 3, 7):
        products = (k[lag:] - 20.0) * (k[:-lag] - 20.0) / 20.0
        assert normal_pvalue(products.mean(), 0.0, 1.0 / math.sqrt(products.size)) > THRESHOLD


def test_draws_of_rare_events_have_their_probability():
    # P(X >= 1) = 1 - exp(-mean), to a multiple of 2**-52, and X = 1 just where it begins.
    for mean in (1e-14, 1e-9, 1e-5):
        k = numbers_of(np.array([1.0 - HALF_STEP]), mean)
        assert k[0] >= (mean > 1e-13)
        below = 1.0 - math.ceil(-math.expm1(-mean) * 2.0**52 + 1.0) * 2.0**-52 - HALF_STEP
        assert numbers_of(np.array([below]), mean)[0] == 0.0
    assert (numbers_of(edges(), 5e-324) == 0.0).all()
    # The table of 1 / k reaches further than any search.
    assert numbers_of(np.array([1.0 - HALF_STEP]), np.nextafter(LARGE_MEAN, 0.0))[0] < 60.0
    assert stats.poisson.pmf(INVERSES.size - 40, LARGE_MEAN) < SMALLEST


# ---- Lanes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("highest", [1e-3, 5.0, 15.0, 100.0, 1e6, 2.0**45])
def test_lanes_draw_the_bits_of_single_numbers(highest):
    n = 2_000 * LANES
    rng = np.random.default_rng(int(highest))
    u = uniforms(n, seed=11)
    u[: edges().size] = edges()
    mean = highest * rng.uniform(size=n) ** rng.integers(1, 5, n)
    mean[:: LANES + 1] = 0.0
    single, together = np.empty(n), np.full(n, -1.0)
    invert(u, mean, single)
    invert_in_lanes(u, mean, together, np.zeros(3 * LANES))
    assert (single == together).all()


def test_numbers_compiled_or_not_are_the_same():
    u = np.concatenate([uniforms(200, seed=12), edges()])
    for mean in (1e-3, 4.0, 9.99, 10.0, 25.0, 1e4, 1e9):
        plain = [float(_plain(x, mean)) for x in u]
        assert (numbers_of(u, mean) == plain).all()


def _plain(u: float, mean: float) -> float:
    """Invert by the source as Python runs it."""
    return float(poisson_by_inversion.py_func(np.float64(u), np.float64(mean)))


# ---- Mutants -------------------------------------------------------------------------------------

MUTANTS = {
    "the second term of the expansion is missing": (
        "(1.0 / 3.0 + square * (1.0 / 6.0))",
        "1.0 / 3.0",
    ),
    "numbers within the bound are taken as they come": (
        "    return settle(u, mean, whole + np.floor(above))",
        "    return whole + k",
    ),
    "the bound is a tenth": ("size * fourth * 0.005) / (", "size * fourth * 0.005) / (10.0 * "),
    "the expansion is used from a mean of 1": ("LARGE_MEAN = 10.0", "LARGE_MEAN = 1.0"),
    "the search ends one too early": ("probability > SMALLEST", "probability > 1e-3"),
    "the tails are those of the centre": ("CENTRE, FAR_TAIL = 0.425", "CENTRE, FAR_TAIL = 0.499"),
    "the sums from above begin one too low": (
        "term, j = here * (mean / (k + 1.0)), k + 1.0",
        "term, j = here, k",
    ),
}  # fmt: skip


def mutant_of(name: str, folder: Path) -> ModuleType:
    source = Path(inversion.__file__).read_text()
    before, after = MUTANTS[name]
    assert source.count(before) == 1, before
    file = folder / "mutant_inversion.py"
    text = source.replace(before, after).replace("from .", "from gillespy_lite.kernels.")
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("mutant_inversion", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_inversion_is_rejected(name, tmp_path):
    # By the test above that says what every uniform number must give.
    mutant = mutant_of(name, tmp_path).poisson_by_inversion

    @numba.njit(**_OPTIONS)
    def run(u, mean, k):
        for i in range(u.size):
            k[i] = mutant(u[i], mean[i])

    u = np.concatenate([uniforms(100_000, seed=5), edges()])
    n_wrong = 0
    for mean in (1.5, 9.0, 10.0, 20.0):
        k = np.empty(u.size)
        run(u, np.full(u.size, mean), k)
        n_wrong += int((k != numbers_of(u, mean)).sum())
    assert n_wrong > 0
