"""Tau-leaping: what an approximation must show exactly, and that it converges to the truth."""

from __future__ import annotations

import functools
import math

import laws
import numpy as np
import pytest
from laws import (
    ALPHA,
    binomial_law,
    binomial_pvalue,
    chi_square_pvalue,
    means_pvalue,
    moments,
    normal_pvalue,
)
from numpy.testing import assert_allclose
from scipy import linalg, stats

import gillespy_lite as gl
from gillespy_lite.compilation import compile_network
from gillespy_lite.errors import CountOverflowError, EventLimitError, MethodError
from gillespy_lite.methods.tau_leaping import _order_bound

# At most this many p-values are asked for in this file.
THRESHOLD = ALPHA / 100

# Leap however little it pays, and make no more than one exact event when a leap is refused.
ALWAYS_LEAP = {"leap_worth": 1e-9, "single_steps": 1}


def leaped(network, t, n, rng=1, **options):
    return gl.ensemble(network, t, n, method="tau_leaping", rng=rng, **options)


def every_leap(text, t, rng=1, **options):
    network = gl.Network.parse(text)
    return gl.simulate(network, t, method="tau_leaping", rng=rng, every_event=True, **options)


# ---- Fixed steps: the laws of the leap itself ---------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("z", [0.125, 0.25, 0.5, 1.0, 1.5])
def test_fixed_steps_multiply_the_stationary_variance_by_2_over_2_minus_z(z):
    # A <-> B @ c1, c2 with N = 4000: true variance N c1 c2 / (c1 + c2)^2 = 960. Power: the standard
    # error is 0.7 %, so a factor 6.5 % off is rejected; z = .125 gives 1.067.
    c1, c2, n_molecules, n = 0.6, 0.4, 4_000, 40_000
    tau = z / (c1 + c2)
    n_leaps = math.ceil(20.0 / z) if z < 1.0 else 40
    network = gl.Network.parse(f"species A = 1600, B = 2400\nA <-> B @ {c1}, {c2}")
    result = leaped(network, [0.0, tau * n_leaps], n, tau=tau)
    a = result.counts[:, -1, 0]
    # Rounding of the sum of steps can leave a last leap of no length.
    assert (result.n_events - n_leaps <= 1).all()
    assert (result.n_events >= n_leaps).all()
    true = n_molecules * c1 * c2 / (c1 + c2) ** 2
    expected = true * 2.0 / (2.0 - z)
    error = math.sqrt(2.0 / n)
    assert normal_pvalue(a.var() / expected, 1.0, error) > THRESHOLD
    assert normal_pvalue(a.mean(), 1600.0, math.sqrt(expected / n)) > THRESHOLD
    for wrong in (true, true * 2.0 / (2.0 + z), 1.065 * expected):
        assert normal_pvalue(a.var() / wrong, 1.0, error) < THRESHOLD


# Linear rates: A' = 50 - A, B' = A - .8 B + .5 C, C' = .8 B - .8 C.
LINEAR = gl.Network.parse(
    "species A = 400, B, C = 100\n0 -> A @ 50\nA -> B @ 1\nB <-> C @ 0.8, 0.5\nC -> 0 @ 0.3"
)
LINEAR_MATRIX = np.array([[-1.0, 0.0, 0.0], [1.0, -0.8, 0.5], [0.0, 0.8, -0.8]])
LINEAR_SOURCE = np.array([50.0, 0.0, 0.0])


@pytest.mark.statistical
def test_fixed_steps_with_linear_rates_have_the_means_of_the_recursion():
    # E' = (I + tau A) E + tau b after every leap. Power: the means of the rate equations, which
    # differ by the error of Euler's method at tau = 1/4, are rejected at every time.
    tau, n_leaps = 0.25, 12
    result = leaped(LINEAR, np.arange(n_leaps + 1) * tau, 20_000, tau=tau)
    assert (result.n_events == n_leaps).all()
    mean = true = LINEAR.initial_state.astype(float)
    step = linalg.expm(
        np.block([[LINEAR_MATRIX, LINEAR_SOURCE[:, None]], [np.zeros((1, 4))]]) * tau
    )
    for k in range(1, n_leaps + 1):
        mean = mean + tau * (LINEAR_MATRIX @ mean + LINEAR_SOURCE)
        true = (step @ np.append(true, 1.0))[:3]
        counts = result.counts[:, k].astype(float)
        assert means_pvalue(counts, mean) > THRESHOLD
        assert means_pvalue(counts, true) < THRESHOLD


@pytest.mark.statistical
def test_one_fixed_step_adds_independent_poisson_numbers():
    # A after one leap: 400 + Poisson(50 tau) - Poisson(400 tau), and so on. Power: other means and
    # variances are rejected below.
    tau, n = 0.25, 40_000
    result = leaped(LINEAR, [0.0, tau], n, tau=tau)
    a, b, c = result.counts[:, 1].T
    k = np.arange(700)
    assert chi_square_pvalue(a, stats.skellam.pmf(k - 400, 12.5, 100.0)) > THRESHOLD
    assert chi_square_pvalue(a, stats.skellam.pmf(k - 400, 12.5, 101.0)) < THRESHOLD
    assert chi_square_pvalue(a, stats.skellam.pmf(k - 400, 17.5, 105.0)) < THRESHOLD
    assert chi_square_pvalue(b, stats.poisson.pmf(k, 112.5)) > THRESHOLD
    assert chi_square_pvalue(c, stats.poisson.pmf(100 - k, 20.0)) > THRESHOLD
    # What A loses B gains: Cov(A, B) = -100, Cov(B, C) = -12.5, Cov(A, C) = 0.
    for x, y, expected in ((a, b, -100.0), (b, c, -12.5), (a, c, 0.0)):
        products = (x - x.mean()) * (y - y.mean())
        error = products.std() / math.sqrt(n)
        assert normal_pvalue(products.mean(), expected, error) > THRESHOLD


def test_fixed_steps_end_on_the_grid_times():
    path = every_leap("species X = 1000\nX -> 0 @ 0.1", [0.0, 0.5, 1.0, 1.125], tau=0.2)
    assert_allclose(path.times, [0.0, 0.2, 0.4, 0.5, 0.7, 0.9, 1.0, 1.125], rtol=1e-14)
    assert (path.reactions == -1).all()
    assert path.n_events == 7


# ---- Step-size control: Cao, Gillespie and Petzold (2006) ---------------------------------------

INF = math.inf


@pytest.mark.parametrize(
    ("count", "order", "own", "expected"),
    [
        # Section III of the paper. First order: 1.
        (1, 1, 1, 1.0),
        (1_000, 1, 1, 1.0),
        # Second order: 2; with two of the species 2 + 1/(x - 1).
        (1, 2, 1, 2.0),
        (2, 2, 2, 3.0),
        (11, 2, 2, 2.1),
        (101, 2, 2, 2.01),
        # Third order: 3; with two of it 3/2 (2 + 1/(x - 1)); with three 3 + 1/(x - 1) + 2/(x - 2).
        (5, 3, 1, 3.0),
        (2, 3, 2, 4.5),
        (11, 3, 2, 3.15),
        (3, 3, 3, 5.5),
        (12, 3, 3, 3.0 + 1.0 / 11.0 + 0.2),
        # Too few to react: one more molecule changes everything.
        (1, 2, 2, INF),
        (2, 3, 3, INF),
    ],
)
def test_order_bounds_have_the_values_of_the_paper(count, order, own, expected):
    assert_allclose(_order_bound(float(count), float(order), own), expected, rtol=1e-14)


def test_each_species_takes_the_bound_of_its_highest_reaction():
    network = gl.Network.parse(
        "species A, B, C, D, E, F, G\n"
        "A -> 0 @ 1\nA + B -> 0 @ 1\n2 B -> 0 @ 1\n2 C + D -> 0 @ 1\nC -> D @ 1\n3 E -> D @ 1\n"
        "E + C -> 0 @ 1\n0 -> F @ 1\nG => 0 @ G^2\n"
    )
    arrays = compile_network(network).arrays
    order = dict(zip(network.species_names, arrays.highest_order.tolist(), strict=True))
    own = dict(zip(network.species_names, arrays.highest_count.tolist(), strict=True))
    assert [order[name] for name in "ABCDEF"] == [2, 2, 3, 3, 3, 0]
    assert [own[name] for name in "ABCDEF"] == [1, 2, 2, 1, 3, 0]


def step_by_hand(epsilon, allowed, *moments_of_species):
    """Return min over species of allowed / |mean| and allowed^2 / variance (eq. 32 and 33)."""
    assert len(allowed) == len(moments_of_species)
    step = math.inf
    for (count, bound), (mean, variance) in zip(allowed, moments_of_species, strict=True):
        change = max(epsilon * count / bound, 1.0)
        step = min(step, change / abs(mean) if mean else math.inf, change**2 / variance)
    return step


X, Y, Z = 10_000.0, 6_000.0, 5_000.0
PAIRS, TRIPLES = X * (X - 1.0) / 2.0, X * (X - 1.0) * (X - 2.0) / 6.0
FIRST_STEPS = {
    # rates, the species' (count, g) and their (mean, variance) of change per unit time, by hand
    "X -> 0 @ 1": ([(X, 1.0)], [(-X, X)]),
    "2 X -> 0 @ 1e-4": (
        [(X, 2.0 + 1.0 / (X - 1.0))],
        [(-2e-4 * PAIRS, 4e-4 * PAIRS)],
    ),
    "3 X -> 0 @ 1e-8": (
        [(X, 3.0 + 1.0 / (X - 1.0) + 2.0 / (X - 2.0))],
        [(-3e-8 * TRIPLES, 9e-8 * TRIPLES)],
    ),
    "X + Y -> 0 @ 1e-4": (
        [(X, 2.0), (Y, 2.0)],
        [(-1e-4 * X * Y, 1e-4 * X * Y)] * 2,
    ),
    "2 X + Y -> 0 @ 1e-8": (
        [(X, 1.5 * (2.0 + 1.0 / (X - 1.0))), (Y, 3.0)],
        [(-2e-8 * PAIRS * Y, 4e-8 * PAIRS * Y), (-1e-8 * PAIRS * Y, 1e-8 * PAIRS * Y)],
    ),
    "X + Y + Z -> 0 @ 1e-8": (
        [(X, 3.0), (Y, 3.0), (Z, 3.0)],
        [(-1e-8 * X * Y * Z, 1e-8 * X * Y * Z)] * 3,
    ),
    # In balance: only the variance limits the step.
    "X -> 0 @ 1\n0 -> X @ 10000": ([(X, 1.0)], [(0.0, 2.0 * X)]),
    # The bound is that of the highest order, though the other reaction is the faster.
    "X -> 0 @ 1\n2 X -> 0 @ 1e-9": (
        [(X, 2.0 + 1.0 / (X - 1.0))],
        [(-X - 2e-9 * PAIRS, X + 4e-9 * PAIRS)],
    ),
    # A rate law: (1.03^2 - 1)/.03 = 2.03, its steepness over the change allowed.
    "X => 0 @ 1e-4*X^2": ([(X, 2.03)], [(-1e-4 * X * X, 1e-4 * X * X)]),
    "X -> 0 @ 1e-4*X": ([(X, 2.03)], [(-1e-4 * X * X, 1e-4 * X * X)]),
    # A law that saturates is less steep than first order; then the bound is 1.
    "X => 0 @ 10000*X/(100 + X)": (
        [(X, 1.0)],
        [(-1e4 * X / (100.0 + X), 1e4 * X / (100.0 + X))],
    ),
}


@pytest.mark.parametrize("reactions", FIRST_STEPS)
@pytest.mark.parametrize("epsilon", [0.03])
def test_first_step_has_the_length_worked_out_by_hand(reactions, epsilon):
    expected = step_by_hand(epsilon, FIRST_STEPS[reactions][0], *FIRST_STEPS[reactions][1])
    path = every_leap(
        f"species X = 10000, Y = 6000, Z = 5000\n{reactions}",
        [0.0, 1.5 * expected],
        epsilon=epsilon,
        **ALWAYS_LEAP,
    )
    assert_allclose(path.times[1], expected, rtol=1e-12)


def test_a_species_that_nothing_depends_on_does_not_limit_the_step():
    # X decays slowly; its product and an unread source do not matter. One leap reaches the end.
    path = every_leap("species X = 1000000, P, W\nX -> P @ 1e-6\n0 -> W @ 100", [0.0, 10.0])
    assert path.n_events == 1
    path = every_leap("species W\n0 -> W @ 100", [0.0, 10.0])
    assert path.n_events == 1


@pytest.mark.statistical
def test_critical_reactions_fire_one_at_a_time_and_exactly():
    # Nine molecules are fewer than critical_count = 10, so leaping is exact here: Binomial.
    network = gl.Network.parse("species X = 9\nX -> 0 @ 1")
    result = leaped(network, [0.0, 0.3, 1.0], 40_000, **ALWAYS_LEAP)
    for i, t in ((1, 0.3), (2, 1.0)):
        law = binomial_law(9, math.exp(-t))
        assert chi_square_pvalue(result.counts[:, i, 0], law) > THRESHOLD
        wrong = binomial_law(9, math.exp(-1.03 * t))
        assert chi_square_pvalue(result.counts[:, i, 0], wrong) < THRESHOLD
    for seed in range(50):
        path = every_leap("species X = 9\nX -> 0 @ 1", [0.0, 9.0, 99.0], rng=seed, **ALWAYS_LEAP)
        assert set(np.diff(path.counts[:, 0]).tolist()) <= {0, -1}
    # A critical reaction beside one that leaps. X + Y -> Y is critical while Y is plenty; the death
    # of X is exact although Y changes by thousands in a leap.
    both = gl.Network.parse("species X = 9, Y = 100000\nX -> 0 @ 1\nY -> 0 @ 1\n0 -> Y @ 100000")
    result = leaped(both, [0.0, 1.0], 20_000, **ALWAYS_LEAP)
    assert chi_square_pvalue(result.counts[:, 1, 0], binomial_law(9, math.exp(-1.0))) > THRESHOLD
    assert result.n_events.max() < 1_000
    # Which of two critical reactions fires is chosen by their propensities.
    two = gl.Network.parse("species X = 9, P, Q\nX -> P @ 1\nX -> Q @ 3")
    result = leaped(two, [0.0, 100.0], 10_000, **ALWAYS_LEAP)
    assert chi_square_pvalue(result.counts[:, 1, 1], binomial_law(9, 0.25)) > THRESHOLD
    assert chi_square_pvalue(result.counts[:, 1, 1], binomial_law(9, 0.27)) < THRESHOLD


# ---- Convergence to the exact laws --------------------------------------------------------------


def squared_distance(samples: np.ndarray, law: np.ndarray, width: int = 1) -> tuple[float, float]:
    """Return an estimate of sum (q - p)^2 over cells, without bias, and its error where q = p."""
    law = np.add.reduceat(law, np.arange(0, law.size, width))
    n = samples.size
    seen = np.bincount(samples // width, minlength=law.size) / n
    assert seen.size == law.size
    distance = ((seen - law) ** 2).sum() - (seen * (1.0 - seen)).sum() / (n - 1)
    return float(distance), float(math.sqrt(2.0 * (law**2).sum()) / n)


@functools.cache
def large_dimerisation() -> np.ndarray:
    """Law of Q at t = 10 for law D with 2000 in place of 100 molecules, at the same density."""
    chain = laws.MasterEquation(
        [(q,) for q in range(1_001)],
        [
            (lambda q: 5e-5 * (2_000 - 2 * q) * (1_999 - 2 * q) / 2.0, (1,)),
            (lambda q: 0.01 * q, (-1,)),
        ],
    )
    return chain.law((0,), 10.0)


@pytest.mark.statistical
def test_leaping_of_the_dimerisation_converges_as_epsilon_falls():
    # Law D, where no leap of 100 molecules pays below epsilon = .1: from there on it is exact.
    network = gl.Network.parse("species P = 100, Q\n2 P -> Q @ 0.001\nQ -> 2 P @ 0.01")
    law = laws.dimerisation().law((100, 0), 10.0)
    distances = []
    for epsilon in (0.3, 0.1, 0.03, 0.01):
        q = leaped(
            network, [0.0, 10.0], 20_000, epsilon=epsilon, leap_worth=1.0, single_steps=1
        ).counts[:, -1, 1]
        distances.append(squared_distance(q, law))
    (coarse, error), (middle, _), (fine, _), (finest, _) = distances
    assert coarse > 3.0 * middle > 60.0 * error
    assert abs(fine) < 4.0 * error
    assert abs(finest) < 4.0 * error


@pytest.mark.statistical
def test_leaping_of_a_larger_dimerisation_converges_to_first_order():
    # With 2000 molecules it leaps at every epsilon. Measured for .1, .03, .01: distances 6.1e-3,
    # 6.0e-4, 7e-5 (error 2e-5), and the mean of Q too large by 9.7, 2.9, .85 (error .13), which is
    # proportional to epsilon.
    network = gl.Network.parse("species P = 2000, Q\n2 P -> Q @ 5e-5\nQ -> 2 P @ 0.01")
    law = large_dimerisation()
    mean, _ = moments(law)
    distances, biases = [], []
    for epsilon in (0.1, 0.03, 0.01):
        result = leaped(
            network, [0.0, 10.0], 10_000, epsilon=epsilon, leap_worth=2.0, single_steps=1
        )
        q = result.counts[:, -1, 1]
        distances.append(squared_distance(q, law))
        biases.append((q.mean() - mean) / epsilon)
    (coarse, error), (middle, _), (fine, _) = distances
    assert coarse > 5.0 * middle > 25.0 * fine - 25.0 * error
    assert fine < 0.02 * coarse
    assert_allclose(biases, 95.0, rtol=0.25)


@pytest.mark.statistical
def test_leaping_of_the_schlogl_network_converges_as_epsilon_falls():
    # Law G at t = 4. Measured, epsilon .3, .1, .03, .01: largest gap between the distribution
    # functions .037, .0085, then below the error of sampling; standard deviation inside the lower
    # peak 5.5, 1.0, 0 too large. The share in the lower peak is right throughout.
    network = gl.Network.parse(
        "species X = 250\n2 X -> 3 X @ 0.03\n3 X -> 2 X @ 1e-4\n0 -> X @ 200\nX -> 0 @ 3.5"
    )
    law = laws.schlogl_law(4.0)
    below = law[:300] / law[:300].sum()
    gaps, spreads, pvalues = {}, {}, {}
    for epsilon, n in ((0.3, 20_000), (0.1, 20_000), (0.03, 4_000), (0.01, 2_000)):
        x = leaped(network, [0.0, 4.0], n, epsilon=epsilon).counts[:, -1, 0]
        seen = np.bincount(x, minlength=law.size)[: law.size] / n
        gaps[epsilon] = np.abs(np.cumsum(seen - law)).max()
        spreads[epsilon] = x[x < 300].std() - math.sqrt(moments(below)[1])
        pvalues[epsilon] = chi_square_pvalue(x, law)
        assert binomial_pvalue((x < 300).sum(), n, law[:300].sum()) > THRESHOLD
    assert gaps[0.3] > 3.0 * gaps[0.1] > 0.006
    assert spreads[0.3] > 3.0 * spreads[0.1] > 0.0
    assert pvalues[0.3] < THRESHOLD
    for epsilon in (0.03, 0.01):
        assert pvalues[epsilon] > THRESHOLD
        assert abs(spreads[epsilon]) < 0.4 * spreads[0.3]


# ---- Extinction ---------------------------------------------------------------------------------


@pytest.mark.statistical
def test_extinction_probability_of_a_birth_death_process():
    # X -> 2 X @ 1, X -> 0 @ 2 from 500: every molecule's descendants are gone by t with probability
    # d (e - 1)/(b e - d), e = exp((b - d) t) (Kendall 1948). Leaps first, single events at the end.
    network = gl.Network.parse("species X = 500\nX -> 2 X @ 1\nX -> 0 @ 2")
    times = np.array([0.0, 4.0, 6.0, 8.0])
    decay = np.exp(-times[1:])
    exact = (2.0 * (decay - 1.0) / (decay - 2.0)) ** 500
    n = 20_000
    extinct = (leaped(network, times, n).counts[:, 1:, 0] == 0).sum(axis=0)
    for seen, probability in zip(extinct, exact, strict=True):
        assert binomial_pvalue(seen, n, probability) > THRESHOLD
    # Power: the probabilities of a death rate 2 % higher are rejected at one time at least.
    decay = np.exp(-1.04 * times[1:])
    wrong = (2.04 * (decay - 1.0) / (decay - 2.04)) ** 500
    assert min(binomial_pvalue(s, n, p) for s, p in zip(extinct, wrong, strict=True)) < THRESHOLD


@pytest.mark.statistical
def test_extinction_probability_of_an_epidemic():
    # S + I -> 2 I @ 1.5/N, I -> 0 @ 1 with N = 60 and two infected: master equation on (S, I).
    n_people, n = 60, 40_000
    chain = laws.MasterEquation(
        [(s, i) for s in range(59) for i in range(n_people - s + 1)],
        [
            (lambda s, i: 1.5 / n_people * s * i, (-1, 1)),
            (lambda s, i: 1.0 * i, (0, -1)),
        ],
    )
    law = chain.law((58, 2), 4.0)
    gone = sum(p for (_, i), p in zip(chain.states, law, strict=True) if i == 0)
    network = gl.Network.parse("species S = 58, I = 2\nS + I -> 2 I @ 1.5/60\nI -> 0 @ 1")

    def infected(**options):
        return leaped(network, [0.0, 4.0], n, **options).counts[:, -1, 1]

    # Exact, by single events because leaps do not pay, or because every reaction is critical: then
    # the whole law of I holds. Power: with an infection rate of 1.6 for 1.5 both tests reject.
    for options in ({}, {**ALWAYS_LEAP, "critical_count": 100}):
        i = infected(**options)
        assert binomial_pvalue((i == 0).sum(), n, gone) > THRESHOLD
        assert chi_square_pvalue(i, chain.marginal(law, 1)) > THRESHOLD
    # Leaping from two infected is rough, whatever epsilon: a leap may always change a count by one.
    # Measured .447 for .470.
    i = infected(**ALWAYS_LEAP)
    assert abs((i == 0).mean() - gone) < 0.03
    more = gl.Network.parse("species S = 58, I = 2\nS + I -> 2 I @ 1.6/60\nI -> 0 @ 1")
    i = leaped(more, [0.0, 4.0], n).counts[:, -1, 1]
    assert binomial_pvalue((i == 0).sum(), n, gone) < THRESHOLD
    assert chi_square_pvalue(i, chain.marginal(law, 1)) < THRESHOLD


# ---- Counts never turn negative, runs always end ------------------------------------------------

EDGES = {
    "births and deaths": "species X = 2\n0 -> X @ 2\nX -> 0 @ 1",
    "pairs": "species X = 7, Y\n0 -> X @ 3\n2 X -> Y @ 0.5\nY -> 0 @ 1",
    "triples": "species X = 2\n0 -> X @ 4\n3 X -> X @ 0.3\n2 X -> 0 @ 0.1",
    "constant flux": "species X = 1\n0 -> X @ 2\nX => 0 @ 3",
    "square law": "species X = 2\n0 -> X @ 5\nX => 0 @ 0.2*X^2",
    "shared reactant": "species A, B = 1, C\n0 -> A @ 4\n0 -> B @ 4\nA + B -> C @ 1\n"
    "A + 2 B -> 0 @ 0.5\nC -> A + B @ 0.5\nA -> 0 @ 0.5\nB -> 0 @ 0.5\nC => 0 @ 1",
    "four at once": "species X = 3, Y\n0 -> X @ 9\n4 X -> Y @ 0.1\nY -> 3 X @ 1\nX -> 0 @ 0.3",
}
EDGE_OPTIONS = [
    {"epsilon": 0.03},
    {"epsilon": 0.5, "critical_count": 0},
    {"epsilon": 0.9, "critical_count": 2},
    {"tau": 0.25},
    {"tau": 3.0},
]
LEAPS_PER_EDGE_RUN = 30_000  # 7 networks, 5 sets of options: 1,050,000 leaps in all


@pytest.mark.parametrize("options", EDGE_OPTIONS, ids=str)
@pytest.mark.parametrize("name", EDGES)
def test_counts_of_every_leap_are_never_negative(name, options):
    network = gl.Network.parse(EDGES[name])
    path = None
    with pytest.raises(EventLimitError) as caught:
        gl.simulate(
            network,
            [0.0, 1e9],
            method="tau_leaping",
            rng=1,
            every_event=True,
            max_events=LEAPS_PER_EDGE_RUN,
            **ALWAYS_LEAP | options,
        )
    path = caught.value.result
    assert path.counts.shape[0] == LEAPS_PER_EDGE_RUN + 1
    assert path.counts.min() == 0  # the edge was reached
    assert (np.diff(path.times) > 0.0).all()
    assert (path.reactions == -1).mean() > 0.4  # and it was leaped, not stepped


@pytest.mark.parametrize("options", [{}, ALWAYS_LEAP, {"tau": 0.7}], ids=str)
@pytest.mark.parametrize("start", [0, 1, 2, 3, 10, 51])
@pytest.mark.parametrize(
    ("reaction", "last"),
    [
        ("X -> 0 @ 1", lambda x: 0),
        ("X => 0 @ 20", lambda x: 0),
        ("X => 0 @ 0.7*X^2", lambda x: 0),
        ("2 X -> Y @ 0.5", lambda x: x % 2),
        ("3 X -> Y @ 0.5", lambda x: x % 3),
        ("2 X => Y @ 5", lambda x: x % 2),
    ],
)
def test_a_species_that_is_only_used_up_is_used_up_and_the_grid_is_filled(
    reaction, last, start, options
):
    network = gl.Network.parse(f"species X = {start}, Y\n{reaction}")
    times = np.array([0.0, 0.5, 1.0, 5.0, 500.0, 1e6])
    result = leaped(network, times, 200, **options)
    x = result.counts[:, :, 0]
    assert (x[:, 0] == start).all()
    assert (x >= 0).all()
    assert (np.diff(x, axis=1) <= 0).all()
    assert (x[:, -1] == last(start)).all()
    assert result.stopped is None
    # A fixed step of .7 goes on leaping while something is possible, but not after.
    assert result.n_events.max() < 2_000


def test_a_network_without_reactions_or_with_impossible_ones_ends_at_once():
    for text in ("species X = 5", "species X = 5, Y\nY -> X @ 3", "species X = 5\nX -> 0 @ 0"):
        path = gl.simulate(gl.Network.parse(text), [0.0, 1.0, 1e300], method="tau_leaping", rng=1)
        assert (path.counts[:, 0] == 5).all()
        assert path.counts.shape[0] == 3


def test_a_reaction_that_turns_possible_again_goes_on():
    # X runs out again and again; what comes anew must be able to leave.
    network = gl.Network.parse("species X\n0 -> X @ 0.05\nX => 0 @ 50")
    counts = leaped(network, np.linspace(0.0, 2_000.0, 500), 40).counts[:, :, 0]
    assert counts.max() <= 2
    assert counts.max() >= 1


def test_conservation_laws_hold_in_every_leap():
    path = every_leap(
        "species A = 3000, B = 2000, C, D = 5\nA + B <-> C @ 1e-4, 0.1\nC -> 2 D @ 0.2\n"
        "2 D -> C @ 1e-4",
        50.0,
    )
    a, b, c, d = path.counts.T
    assert (a - b == 1000).all()
    assert (2 * a + 2 * c + d == 6005).all()
    assert (path.counts >= 0).all()
    assert (path.reactions == -1).sum() > 50


# ---- It leaps -----------------------------------------------------------------------------------


def test_large_counts_take_far_fewer_leaps_than_events():
    # 1e6 molecules decaying to 1e6 exp(-3) are 950,000 events; a leap of epsilon = .03 takes .03.
    network = gl.Network.parse("species X = 1000000\nX -> 0 @ 1")
    result = leaped(network, [0.0, 3.0], 20)
    # Rounding of the sum of steps can leave a last leap of no length.
    assert set(result.n_events.tolist()) <= {100, 101}
    mean = 1e6 * (1.0 - 0.03) ** 100
    sd = math.sqrt(1e6 * math.exp(-3.0))
    assert (np.abs(result.counts[:, 1, 0] - mean) < 6.0 * sd).all()
    # A smaller epsilon takes more leaps, in proportion.
    finer = leaped(network, [0.0, 3.0], 2, epsilon=0.01)
    assert set(finer.n_events.tolist()) <= {300, 301}


def test_where_leaps_do_not_pay_single_events_are_made():
    network = gl.Network.parse("species X = 40\n0 -> X @ 40\nX -> 0 @ 1")
    path = gl.simulate(network, [0.0, 50.0], method="tau_leaping", rng=1, every_event=True)
    assert (path.reactions[1:] >= 0).all()
    assert (np.abs(np.diff(path.counts[:, 0])) == 1).all()


# ---- Stop conditions, limits, options -----------------------------------------------------------


def test_a_stop_condition_is_looked_at_after_each_leap():
    network = gl.Network.parse("species X\n0 -> X @ 1000")
    times = np.linspace(0.0, 2.0, 21)
    result = leaped(network, times, 200, tau=0.01, stop_when="X >= 500")
    hit, x = result.hitting_times, result.counts[:, :, 0]
    # Leaps of .01, counted in hundredths, end on the first multiple of .01 at which it holds.
    assert_allclose(hit, np.round(hit * 100.0) / 100.0, atol=1e-9)
    assert (np.abs(hit - 0.505) < 6.0 * math.sqrt(500.0) / 1000.0 + 0.01).all()
    held = times >= hit[:, None]
    assert (x[held] >= 500).all()
    assert (x[held] < 560).all()
    assert (x[~held] < 500).all()
    for row, is_held in zip(x, held, strict=True):
        assert np.unique(row[is_held]).size == 1
    # Never met, and met at the start.
    result = leaped(network, times, 5, stop_when="X < 0")
    assert np.isnan(result.hitting_times).all()
    result = leaped(network, times, 5, stop_when="X == 0")
    assert (result.hitting_times == 0.0).all()
    assert (result.counts == 0).all()
    assert (result.n_events == 0).all()


@pytest.mark.statistical
def test_hitting_times_where_single_events_are_made_are_exact():
    network = gl.Network.parse("species X = 9\nX -> 0 @ 1")
    hit = leaped(network, [0.0, 100.0], 20_000, stop_when="X == 0").hitting_times
    # The largest of nine exponential lifetimes.
    assert laws.ks_pvalue(hit, lambda t: (1.0 - np.exp(-t)) ** 9) > THRESHOLD
    assert laws.ks_pvalue(hit, lambda t: (1.0 - np.exp(-1.04 * t)) ** 9) < THRESHOLD


def test_max_events_counts_leaps():
    network = gl.Network.parse("species X = 1000000\nX -> 0 @ 1")
    assert gl.simulate(network, 3.0, method="tau_leaping", rng=1, max_events=400).n_events <= 400
    with pytest.raises(EventLimitError):
        gl.simulate(network, 3.0, method="tau_leaping", rng=1, max_events=50)


def test_a_count_that_grows_beyond_the_doubles_is_an_error():
    network = gl.Network.parse("species X = 1000\nX -> 2 X @ 1")
    with pytest.raises(CountOverflowError, match=r"2\*\*53"):
        gl.simulate(network, [0.0, 100.0], method="tau_leaping", rng=1)
    network = gl.Network.parse("species X\n0 -> X @ 1e300")
    with pytest.raises(CountOverflowError, match=r"2\*\*53"):
        gl.simulate(network, [0.0, 100.0], method="tau_leaping", rng=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("epsilon", 0.0),
        ("epsilon", 1.0),
        ("epsilon", -0.03),
        ("epsilon", math.nan),
        ("critical_count", -1),
        ("tau", -1.0),
        ("tau", math.inf),
        ("tau", math.nan),
        ("single_steps", 0),
        ("leap_worth", 0.0),
        ("leap_worth", math.inf),
        ("leap_worth", math.nan),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(option, value):
    network = gl.Network.parse("species X = 10\nX -> 0 @ 1")
    with pytest.raises(MethodError, match=option):
        gl.simulate(network, 1.0, method="tau_leaping", **{option: value})
    with pytest.raises(MethodError, match=option):
        gl.TauLeaping(**{option: value})


def test_an_unknown_option_is_refused_with_the_known_ones():
    network = gl.Network.parse("species X = 10\nX -> 0 @ 1")
    with pytest.raises(MethodError, match=r"no option 'eps'.*epsilon, critical_count"):
        gl.simulate(network, 1.0, method="tau_leaping", eps=0.1)


def test_options_are_recorded():
    network = gl.Network.parse("species X = 10\nX -> 0 @ 1")
    result = gl.simulate(network, 1.0, method=gl.TauLeaping(epsilon=0.1), tau=0.5, rng=1)
    assert result.provenance.options["epsilon"] == 0.1
    assert result.provenance.options["tau"] == 0.5
    assert result.provenance.options["critical_count"] == 10


def test_rates_that_depend_on_time_are_refused_by_name():
    network = gl.Network.parse("species X\nseason: 0 -> X @ 1 + sin(t)")
    with pytest.raises(MethodError, match="season"):
        gl.simulate(network, 1.0, method="tau_leaping")
