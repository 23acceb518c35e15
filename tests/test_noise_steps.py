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
from gillespy_lite.ode_rnn.recurrence import Recurrence
from gillespy_lite.randomness import stream_key

THRESHOLD = ALPHA / 20


@numba.njit
def fill_many_firings(arrays, propensities, step, state, left, stream, firings):
    for row in range(firings.shape[0]):
        noise_steps.draw_firings(arrays, propensities, step, state, left, stream, firings[row])


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


def test_compiled_noise_repeats_its_python_source():
    key, scratch = stream_key(9, "langevin"), np.zeros(4, dtype=np.uint64)
    both = []
    for fill in (noise_steps.fill_normal_rows, noise_steps.fill_normal_rows.py_func):
        noise = np.empty((3, 40, 2))
        with np.errstate(over="ignore"):  # uint64 wraps around on purpose
            fill(key, 5, scratch, noise)
        both.append(noise)
    assert (both[0] == both[1]).all()


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


def test_reactions_without_their_reactants_do_not_fire_in_leaps():
    # The propensities are those of the master equation: one A makes no pair, and E => E + P at a
    # constant rate needs an E although it uses none up.
    network = gl.Network.parse("""
        species E, P, A = 1, Q, B = 3, C
        E => E + P @ 5
        2 A -> 2 A + Q @ 3
        A + 2 B -> A + C @ 50
    """)
    path = Recurrence(network, "leap").unroll([0, 1, 2], steps=10, rng=1, n=5)
    # Three B make one pair, and the B that is left none.
    assert (path.states[:, -1] == [0, 0, 1, 0, 1, 1]).all()
