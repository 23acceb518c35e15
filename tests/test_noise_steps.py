"""The random part of the noise cells: which stream a path draws from, and how leaps are limited."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from laws import ALPHA, chi_square_pvalue, normal_pvalue
from scipy import stats

import gillespy_lite as gl
from gillespy_lite.compilation import compile_network
from gillespy_lite.kernels import noise_steps
from gillespy_lite.kernels.noise_steps import fill_normals
from gillespy_lite.kernels.random import seed_stream
from gillespy_lite.randomness import stream_key

THRESHOLD = ALPHA / 20


@numba.njit
def fill_many_firings(arrays, propensities, step, state, left, stream, firings):
    for row in range(firings.shape[0]):
        noise_steps.draw_firings(arrays, propensities, step, state, left, stream, firings[row])


@numba.njit
def fill_propensities(arrays, state, stack, propensities):
    noise_steps.fill_leap_propensities(arrays, state, 0.0, stack, propensities)


def new_stream(seed: int) -> np.ndarray:
    stream = np.zeros(4, dtype=np.uint64)
    seed_stream(stream_key(seed, "leap"), 0, stream)
    return stream


def firings_of(text: str, counts: list[float], means: list[float], n: int, seed: int = 1):
    """Return n leaps, (n, n_reactions), from `counts` with these mean firings."""
    arrays = compile_network(gl.Network.parse(text)).arrays
    state = np.array([*counts, 1.0])
    firings = np.empty((n, len(means)))
    fill_many_firings(
        arrays, np.array(means) / 0.5, 0.5, state, np.empty_like(state), new_stream(seed), firings
    )
    return firings


def propensities_of(text: str, counts: list[float]) -> list[float]:
    compiled = compile_network(gl.Network.parse(text))
    found = np.empty(compiled.network.n_reactions)
    stack = np.zeros(compiled.stack_depth)
    fill_propensities(compiled.arrays, np.array([*counts, 1.0]), stack, found)
    return found.tolist()


# ---- Normal draws of paths ----------------------------------------------------------------------


def test_the_noise_of_a_path_depends_on_its_number_alone():
    key = stream_key(3, "langevin")
    whole = np.empty((8, 5, 3))
    fill_normals(key, 0, whole)
    pieces = np.empty((8, 5, 3))
    for first, last in ((0, 3), (3, 4), (4, 8)):
        fill_normals(key, first, pieces[first:last])
    assert (whole == pieces).all()
    longer = np.empty((8, 9, 3))
    fill_normals(key, 0, longer)
    assert (longer[:, :5] == whole).all()
    assert np.unique(whole).size == whole.size


@pytest.mark.statistical
def test_the_noise_of_many_short_paths_is_standard_normal():
    # Power: 2e5 draws see a mean or standard deviation off by .03.
    noise = np.empty((50_000, 2, 2))
    fill_normals(stream_key(4, "langevin"), 0, noise)
    assert stats.kstest(noise.ravel(), "norm").pvalue > THRESHOLD
    assert stats.kstest(noise.ravel() + 0.03, "norm").pvalue < THRESHOLD
    correlation = np.corrcoef(noise.reshape(-1, 4), rowvar=False)
    error = noise.shape[0] ** -0.5
    for i in range(4):
        for j in range(i):
            assert normal_pvalue(correlation[i, j], 0.0, error) > THRESHOLD


# ---- Firings of a leap --------------------------------------------------------------------------

DECAY = "species A = 5\nA -> 0 @ 1"
SHARED = "species A = 6, B, C\nA -> B @ 1\n2 A -> C @ 1\nB -> A @ 1"


@pytest.mark.statistical
@pytest.mark.parametrize("mean", [0.3, 4.0, 40.0])
def test_firings_with_plenty_of_molecules_are_poisson(mean):
    # Power: 200,000 draws reject a mean .05 standard deviations higher.
    (found,) = firings_of(DECAY, [1e9], [mean], 200_000).T.astype(np.int64)
    upto = np.arange(int(stats.poisson.isf(1e-14, mean)) + 2)
    assert chi_square_pvalue(found, stats.poisson.pmf(upto, mean)) > THRESHOLD
    wrong = stats.poisson.pmf(upto, mean + 0.05 * mean**0.5)
    assert chi_square_pvalue(found, wrong) < THRESHOLD


@pytest.mark.statistical
def test_firings_with_few_molecules_are_poisson_cut_at_what_is_there():
    # min(Poisson(4), 5): what lies above 5 is put on 5. Without the cut there would be more.
    (found,) = firings_of(DECAY, [5.0], [4.0], 200_000).T.astype(np.int64)
    law = stats.poisson.pmf(np.arange(6), 4.0)
    law[5] = stats.poisson.sf(4, 4.0)
    assert chi_square_pvalue(found, law) > THRESHOLD


def test_a_leap_takes_no_more_than_there_is_whatever_the_step():
    for mean in (0.5, 5.0, 500.0):
        found = firings_of(SHARED, [6.0, 3.0, 0.0], [mean, mean, mean], 5_000)
        first, second, third = found.T
        assert (found >= 0.0).all()
        assert (found == np.floor(found)).all()
        # What B -> A makes within the leap is not there to be taken yet.
        assert (first + 2.0 * second <= 6.0).all()
        assert (third <= 3.0).all()
    # With huge means the first reaction takes all: the favour that the docstring admits.
    assert (first == 6.0).all()
    assert (third == 3.0).all()


def test_a_mean_that_is_not_a_number_or_too_large_gives_nan():
    found = firings_of(SHARED, [6.0, 3.0, 0.0], [np.nan, -1.0, 1e16], 3)
    assert np.isnan(found).all()


def test_propensities_of_a_leap_are_those_of_the_master_equation():
    text = """species A = 0, B = 0
        param c = 3
        0 -> A @ c
        A -> 0 @ c
        2 A -> B @ c
        A + B -> 0 @ c
        3 A -> 0 @ c
        A => B @ c*A/(2 + A)
        B => A @ B - 3
        2 A -> A @ c*B"""
    assert propensities_of(text, [4.0, 2.0])[:6] == [3.0, 12.0, 18.0, 24.0, 12.0, 2.0]
    assert np.isnan(propensities_of(text, [4.0, 2.0])[6])
    assert propensities_of(text, [4.0, 2.0])[7] == 36.0
    # One molecule is not enough for a pair or three, and B => A needs a B.
    assert propensities_of(text, [1.0, 0.0]) == [3.0, 3.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    assert propensities_of(text, [2.0, 0.0])[4] == 0.0
