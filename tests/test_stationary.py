"""Stationary laws, their classes, quasi-stationary laws, switching times; what has no such law."""

import math

import laws
import numpy as np
import pytest
from scipy import linalg, stats

import gillespy_lite as gl
from gillespy_lite.errors import IncompleteWarning, MethodError

parse = gl.Network.parse

TELEGRAPH = (
    "species off = 1, on, M\noff -> on @ 0.25\non -> off @ 0.15\non -> on + M @ 15\nM -> 0 @ 1"
)
BINDING = "species A = 30, B = 20, C\nA + B -> C @ 0.01\nC -> A + B @ 0.1"
SCHLOGL = (
    "species X = 250\nparam N1 = 1e5, N2 = 2e5\n2 X -> 3 X @ 3e-7*N1\n3 X -> 2 X @ 1e-4\n"
    "0 -> X @ 1e-3*N2\nX -> 0 @ 3.5"
)
IMMIGRATION = "species X\n0 -> X @ 10\nX -> 0 @ 1"
SIS = "species S = 49, I = 1\nS + I -> 2 I @ 0.04\nI -> S @ 1"


def distance(law, exact):
    """Return the sum of absolute differences of two laws on 0, 1, 2, ..."""
    size = max(law.size, exact.size)
    return np.abs(np.pad(law, (0, size - law.size)) - np.pad(exact, (0, size - exact.size))).sum()


# ---- Against closed laws ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "elimination", "lu", "gmres"])
def test_law_e_is_beta_poisson(method):
    law = gl.stationary_distribution(parse(TELEGRAPH), method=method)
    marginal = law.marginal("M")
    exact = laws.beta_poisson_law(marginal.size, 0.25, 0.15, 15.0, 1.0)
    assert distance(marginal, exact) < 1e-8
    assert law.mean("M")[0] == pytest.approx(9.375, abs=1e-8)
    assert law.var("M")[0] == pytest.approx(47.0424107, abs=5e-8)
    assert law.error_bound[0] <= 1e-8
    assert not law.is_proven


@pytest.mark.parametrize("method", ["auto", "lu", "gmres"])
def test_law_f_is_product_poisson(method):
    law = gl.stationary_distribution(parse(BINDING), method=method)
    gap = distance(law.marginal("C"), laws.binding_stationary_law())
    assert gap < 1e-8
    assert gap <= law.error_bound[0]
    assert law.is_proven
    assert law.truncation_error == 0.0
    assert law.n_transient == 0
    assert law.mean("C")[0] == pytest.approx(12.786366608, abs=5e-9)


def test_law_g_is_that_of_the_birth_death_chain():
    law = gl.stationary_distribution(parse(SCHLOGL))
    assert distance(law.marginal("X"), laws.schlogl().stationary()) < 1e-8
    assert law.mean("X")[0] == pytest.approx(454.8613, abs=5e-5)
    assert law.probability("X < 300") == pytest.approx(0.220280, abs=5e-7)


def test_a_wrong_rate_would_be_noticed():
    law = gl.stationary_distribution(parse(BINDING.replace("0.01", "0.01000001")))
    assert distance(law.marginal("C"), laws.binding_stationary_law()) > 1e-8


@pytest.mark.parametrize("mean", [0.5, 40.0, 3000.0])
def test_an_endless_space_is_cut_where_nothing_is_left(mean):
    network = parse(f"species X\n0 -> X @ {mean}\nX -> 0 @ 1")
    law = gl.stationary_distribution(network)
    exact = stats.poisson(mean).pmf(np.arange(law.n_states_at()))
    gap = distance(law.marginal("X"), exact)
    assert gap < 1e-8
    assert gap <= law.error_bound[0]
    assert law.stopped is None


@pytest.mark.parametrize("seed", range(6))
def test_a_law_in_two_dimensions_agrees_with_dense_algebra(seed):
    a, b, c, d = np.random.default_rng(seed).uniform(0.2, 3.0, 4).tolist()
    network = parse(
        f"species A = 8, B, C\nA <-> B @ {a!r}, {b!r}\n2 B -> C @ {c!r}\nC -> 2 B @ {d!r}\n"
        "C + A -> 3 B @ 0.7"
    )
    law = gl.stationary_distribution(network)
    from gillespy_lite.master_equation import StateSearch

    space = StateSearch(network).reachable()
    matrix = space.generator().to_scipy().toarray()
    null = linalg.null_space(matrix)
    assert null.shape[1] == 1
    exact = null[:, 0] / null[:, 0].sum()
    assert law.probabilities_at() == pytest.approx(
        exact[space.index_of(law.states_at())], abs=1e-11
    )


# ---- Classes ------------------------------------------------------------------------------------


def test_absorbing_states_get_the_probability_of_ending_there():
    # Each of three molecules goes to C with probability 2/3.
    law = gl.stationary_distribution(parse("species A = 3, B, C\nA -> B @ 1\nA -> C @ 2"))
    assert law.n_classes == 4
    assert law.n_transient == 6
    assert law.marginal("C") == pytest.approx(stats.binom.pmf(np.arange(4), 3, 2 / 3), rel=1e-12)
    assert law.class_probabilities.sum() == pytest.approx(1.0, abs=1e-14)


def test_endless_classes_are_weighted_by_the_way_into_them():
    network = parse(
        "species G = 1, P, Q, X\nG -> P @ 1\nG -> Q @ 3\nP -> P + X @ 5\nQ -> Q + X @ 20\n"
        "X -> 0 @ 1"
    )
    law = gl.stationary_distribution(network)
    assert sorted(law.class_probabilities) == pytest.approx([0.25, 0.75], abs=1e-9)
    for number in range(2):
        states, p = law.class_states(number), law.class_law(number)
        mean = 5.0 if states[0, 1] else 20.0
        assert p @ states[:, 3] == pytest.approx(mean, rel=1e-8)
        assert p == pytest.approx(stats.poisson(mean).pmf(states[:, 3]), abs=1e-9)
    with pytest.raises(ValueError, match="there is no class 2"):
        law.class_law(2)


def test_an_initial_law_weights_the_classes_it_starts_in():
    network = parse("species A = 1, B\n2 A -> 2 B @ 1\n2 B -> 2 A @ 1")
    law = gl.stationary_distribution(network, initial={(2, 0): 0.4, (3, 0): 0.6})
    assert law.n_classes == 2
    assert law.class_probabilities == pytest.approx([0.4, 0.6], abs=1e-14)


def test_extinction_that_is_certain_is_all_that_is_left():
    law = gl.stationary_distribution(parse("species X = 1\nX -> 2 X @ 0.5\nX -> 0 @ 1"))
    assert law.states.tolist() == [[0]]
    assert law.probabilities[0] == 1.0


# ---- What has no law ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["species X\n0 -> X @ 1", "species X = 1\nX -> 2 X @ 1\nX -> 0 @ 0.5"]
)
def test_unbounded_growth_is_no_law(text):
    with pytest.raises(MethodError, match="grow without bound"):
        gl.stationary_distribution(parse(text), timeout=60)


def test_a_limit_of_states_is_an_error_that_is_said_or_none_at_all():
    with pytest.warns(IncompleteWarning, match="max_states = 25"):
        law = gl.stationary_distribution(parse(IMMIGRATION), max_states=25)
    gap = distance(law.marginal("X"), stats.poisson(10.0).pmf(np.arange(80)))
    assert 1e-8 < gap <= law.error_bound[0]
    assert law.stopped == "max_states"
    with pytest.raises(MethodError, match="max_states"):
        gl.stationary_distribution(parse(IMMIGRATION), max_states=5)


def test_options_that_make_no_sense_are_refused():
    for tolerance in (0, -1.0, 2.0):
        with pytest.raises(ValueError, match="tolerance must be more than 0"):
            gl.stationary_distribution(parse(IMMIGRATION), tolerance=tolerance)
    with pytest.raises(MethodError, match="unknown method"):
        gl.stationary_distribution(parse(IMMIGRATION), method="magic")
    with pytest.raises(MethodError, match="do not depend on the time"):
        gl.stationary_distribution(parse("species X\n0 => X @ 1 + sin(t)\nX -> 0 @ 1"))
    with pytest.raises(ValueError, match="start must be"):
        gl.switching_times(parse(SCHLOGL), "X < 1", "X > 2", start="anywhere")


# ---- Quasi-stationary laws and switching --------------------------------------------------------


def test_the_quasi_stationary_law_is_the_leading_eigenvector():
    law = gl.quasi_stationary_distribution(parse(SIS), "I == 0")
    i = np.arange(1, 51)
    up, down = 0.04 * (50 - i) * i, 1.0 * i
    matrix = np.diag(-(up + down)) + np.diag(up[:-1], -1) + np.diag(down[1:], 1)
    values, vectors = linalg.eig(matrix)
    leading = np.argmax(values.real)
    vector = np.abs(vectors[:, leading].real)
    assert law.marginal("I")[1:] == pytest.approx(vector / vector.sum(), abs=1e-9)
    assert law.decay_rate == pytest.approx(-values[leading].real, rel=1e-8)
    low, high = law.decay_rate_bounds
    assert low <= law.decay_rate <= high
    assert high - low < 1e-6 * low
    assert law.mean_time == 1.0 / law.decay_rate


def test_extinction_from_the_quasi_stationary_law_is_exponential():
    law = gl.quasi_stationary_distribution(parse(SIS), "I == 0")
    times = np.array([0.0, 100.0, 20_000.0])
    initial = {
        tuple(state): p
        for state, p in zip(law.states.tolist(), law.probabilities.tolist(), strict=True)
    }
    passage = gl.first_passage(parse(SIS), "I == 0", times, initial=initial)
    assert passage.cdf == pytest.approx(-np.expm1(-law.decay_rate * times), rel=1e-6)


def test_a_law_that_is_never_left_is_refused():
    with pytest.raises(MethodError, match="true at the start"):
        gl.quasi_stationary_distribution(parse(SIS), "I == 1")
    network = parse("species A = 2, B, C\nA -> B @ 1\nA -> C @ 1")
    with pytest.raises(MethodError, match="never comes true from"):
        gl.quasi_stationary_distribution(network, "B == 2")


def test_switching_times_of_two_states_are_their_rates():
    times = gl.switching_times(parse("species A = 1, B\nA <-> B @ 0.2, 5"), "A == 1", "B == 1")
    assert (times.a_to_b, times.b_to_a) == pytest.approx((5.0, 0.2), rel=1e-12)
    assert (times.probability_a, times.probability_b) == pytest.approx((25 / 26, 1 / 26), rel=1e-12)


@pytest.mark.parametrize("start", ["stationary", "quasi-stationary"])
def test_switching_of_schlogl_agrees_with_the_closed_form(start):
    times = gl.switching_times(parse(SCHLOGL), "X < 150", "X > 450", start=start)
    # Birth-death chain: the mean time from k to k + 1 is sum(pi_0..k)/(pi_k up_k).
    x, law = np.arange(1001), laws.schlogl().stationary()
    up = 3e-7 / 2.0 * 1e5 * x * (x - 1) + 200.0
    step = np.cumsum(law) / (law * up)
    mean = np.array([step[k:451].sum() for k in range(150)])
    down = 1e-4 / 6.0 * x * (x - 1) * (x - 2) + 3.5 * x
    back = np.cumsum(law[::-1])[::-1][1:] / (law[1:] * down[1:])  # from k + 1 to k
    mean_back = np.array([back[149:k].sum() for k in range(451, 1001)])
    exact = law[:150] @ mean / law[:150].sum(), law[451:] @ mean_back / law[451:].sum()
    # The two starts differ by a few units of time, relaxation inside the well.
    accuracy = 1e-7 if start == "stationary" else 2e-4
    assert (times.a_to_b, times.b_to_a) == pytest.approx(exact, rel=accuracy)


def test_sets_that_overlap_or_are_empty_are_refused():
    with pytest.raises(ValueError, match="both true"):
        gl.switching_times(parse(BINDING), "C < 10", "C > 5")
    with pytest.raises(ValueError, match="no stationary probability"):
        gl.switching_times(parse(BINDING), "C < 10", "C > 25")


# ---- The result ---------------------------------------------------------------------------------


def test_a_stationary_law_is_a_distribution_at_infinity(tmp_path):
    law = gl.stationary_distribution(parse(IMMIGRATION))
    assert law.times.tolist() == [math.inf]
    assert isinstance(law, gl.Distribution)
    assert law.probability("X >= 5", math.inf) == pytest.approx(stats.poisson(10).sf(4), abs=1e-8)
    given = law.given("X >= 5")
    assert given.probability("X >= 5") == pytest.approx(1.0)
    assert "StationaryD" not in repr(given)
    assert "X" in law.summary()
    assert "StationaryDistribution of X" in repr(law)
    assert law.sample(5, rng=1).shape == (5, 1)
    law.save(tmp_path / "law.npz")
    again = gl.load(tmp_path / "law.npz")
    assert np.array_equal(again.probabilities, law.probabilities)
    assert np.array_equal(again.class_of, law.class_of)
    import matplotlib

    matplotlib.use("Agg")
    assert law.plot("law").get_xlabel()


@pytest.mark.filterwarnings("error")
def test_times_beyond_all_numbers_are_no_warning_of_numpy():
    network = parse("species X = 5\n0 -> X @ 3\nX -> 2 X @ 1.2\nX -> 0 @ 1")
    with pytest.raises(gl.MethodError, match="Counts may grow without bound"):
        gl.stationary_distribution(network, max_states=3000)
