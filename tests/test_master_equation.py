"""The master equation solved with a bound: against closed laws, dense exponentials and samples."""

from __future__ import annotations

import math
import signal
import threading
import time

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.master_equation import StateSearch, solving
from gillespy_lite.master_equation.poisson_weights import poisson_weights

TOLERANCE = 1e-8
# Of sums over a law in a test itself, and of what the oracles round.
ROUNDING = 2e-13


def difference(law: gl.Distribution, t: float, states: np.ndarray, exact: np.ndarray) -> float:
    """Return the sum of absolute differences from an exact law on these (different) states."""
    known = {
        tuple(state): p
        for state, p in zip(law.states_at(t).tolist(), law.probabilities_at(t), strict=True)
    }
    total = math.fsum(
        abs(p - known.pop(tuple(state), 0.0))
        for state, p in zip(states.tolist(), exact.tolist(), strict=True)
    )
    return total + math.fsum(known.values()) + max(0.0, 1.0 - math.fsum(exact.tolist()))


def excess(law: gl.Distribution, t: float, states: np.ndarray, exact: np.ndarray) -> float:
    """Return by how much probabilities exceed the exact ones, all together."""
    known = {
        tuple(state): p
        for state, p in zip(law.states_at(t).tolist(), law.probabilities_at(t), strict=True)
    }
    return math.fsum(
        max(0.0, known.pop(tuple(state), 0.0) - p)
        for state, p in zip(states.tolist(), exact.tolist(), strict=True)
    ) + math.fsum(known.values())


def within_its_bound(law: gl.Distribution, t: float, states, exact) -> bool:
    row = int(np.flatnonzero(law.times == t)[0])
    return (
        difference(law, t, states, exact) <= law.error_bound[row] + ROUNDING
        and excess(law, t, states, exact) <= law.excess_bound[row] + ROUNDING
        and law.error_bound[row] <= law.tolerance
    )


def counts_to(n: int) -> np.ndarray:
    return np.arange(n + 1)[:, None]


METHODS = ["uniformisation", "krylov"]


# Exact laws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_births_and_deaths_are_within_the_bound_of_their_poisson_law(method):
    # Law A: Poisson(20 (1 - exp(-t/2))), by 200 arrivals at most.
    law = gl.solve_master_equation(
        models.birth_death(), [0, 1, 3, 40], tolerance=TOLERANCE, method=method
    )
    for t in (1.0, 3.0, 40.0):
        exact = stats.poisson(20.0 * -math.expm1(-0.5 * t)).pmf(np.arange(201))
        assert within_its_bound(law, t, counts_to(200), exact)
    assert law.mean("X")[2] == pytest.approx(15.537396797, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_decay_is_within_the_bound_of_its_binomial_law(method):
    network = gl.Network.parse("species X = 40\nX -> 0 @ 0.7")
    law = gl.solve_master_equation(network, [0, 0.5, 2], tolerance=TOLERANCE, method=method)
    for t in (0.5, 2.0):
        exact = stats.binom(40, math.exp(-0.7 * t)).pmf(np.arange(41))
        assert within_its_bound(law, t, counts_to(40), exact)


@pytest.mark.parametrize("method", METHODS)
def test_isomers_are_within_the_bound_of_their_binomial_law(method):
    network = gl.Network.parse("species A = 60, B\nA <-> B @ 2, 3")
    law = gl.solve_master_equation(network, [0, 0.1, 5], tolerance=TOLERANCE, method=method)
    states = np.stack([np.arange(61), 60 - np.arange(61)], axis=-1)
    for t in (0.1, 5.0):
        share = 0.6 + 0.4 * math.exp(-5.0 * t)
        assert within_its_bound(law, t, states, stats.binom(60, share).pmf(np.arange(61)))
    assert law.n_states_at(5.0) <= 61


@pytest.mark.parametrize("method", METHODS)
def test_dimerisation_has_the_tabulated_digits(method):
    law = gl.solve_master_equation(
        models.dimerisation(), [0, 1, 10, 50], tolerance=TOLERANCE, method=method
    )
    for t, mean, std in (
        (1, 91.031766, 3.862504),
        (10, 52.214271, 5.511760),
        (50, 28.542298, 4.789331),
    ):
        row = int(np.flatnonzero(law.times == t)[0])
        assert law.mean("P")[row] == pytest.approx(mean, abs=2e-6)
        assert law.std("P")[row] == pytest.approx(std, abs=2e-6)


def test_telegraph_in_the_long_run_is_within_the_bound_of_beta_poisson():
    # Law E; at t = 120 what is left of the start is exp(-0.4*120) = 1e-21.
    law = gl.solve_master_equation(models.telegraph(), [0, 120], tolerance=TOLERANCE)
    exact = models.exact_law(models.telegraph(), "M", math.inf) if False else None
    del exact
    assert law.mean("M")[-1] == pytest.approx(9.375, abs=1e-5)
    assert law.var("M")[-1] == pytest.approx(47.0424107, abs=2e-4)
    assert law.marginal("M")[0] == pytest.approx(0.1840027, abs=6e-8)


def test_reversible_binding_in_the_long_run_is_the_restricted_poisson_product():
    # Law F: A + C = 30, B + C = 20, weights (k/g)^C / (A! B! C!).
    network = gl.Network.parse("species A = 30, B = 20, C\nA + B -> C @ 0.01\nC -> A + B @ 0.1")
    law = gl.solve_master_equation(network, [0, 400], tolerance=TOLERANCE)
    c = np.arange(21)
    logarithm = c * math.log(0.1) - np.array(
        [math.lgamma(31 - k) + math.lgamma(21 - k) + math.lgamma(k + 1) for k in c]
    )
    exact = np.exp(logarithm - logarithm.max())
    states = np.stack([30 - c, 20 - c, c], axis=-1)
    assert difference(law, 400.0, states, exact / exact.sum()) < law.error_bound[-1] + 1e-12
    assert law.mean("C")[-1] == pytest.approx(12.786366608, abs=1e-7)
    assert law.var("C")[-1] == pytest.approx(3.690825436, abs=2e-7)


@pytest.mark.parametrize("method", METHODS)
def test_schlogl_has_the_tabulated_digits(method):
    law = gl.solve_master_equation(models.schlogl(), [0, 4], tolerance=TOLERANCE, method=method)
    assert law.mean("X")[-1] == pytest.approx(309.8847, abs=6e-5)
    assert law.std("X")[-1] == pytest.approx(216.0086, abs=6e-5)
    assert law.probability("X < 300") == pytest.approx(0.531641, abs=6e-7)
    assert law.error_bound[-1] <= TOLERANCE


# The bound ---------------------------------------------------------------------------------------


def random_network(seed: int) -> gl.Network:
    """Return a small network whose counts stay below 7 molecules in all."""
    rng = np.random.default_rng([seed, 5])
    n = int(rng.integers(2, 4))
    names = "ABC"[:n]
    lines = ["species " + ", ".join(f"{x} = {rng.integers(0, 3)}" for x in names)]
    for _ in range(int(rng.integers(2, 7))):
        kind, (x, y) = int(rng.integers(0, 5)), rng.choice(list(names), 2, replace=False)
        c = float(np.exp(rng.uniform(-3.0, 3.0)))
        total = "+".join(names)
        lines.append(
            [
                f"{x} -> {y} @ {c}",
                f"0 => {x} @ if({total} < 6, {c}, 0)",
                f"{x} -> 0 @ {c}",
                f"2 {x} -> {y} @ {c}",
                f"{x} => {y} @ {c}*{x}/(1 + {y})",
            ][kind]
        )
    return gl.Network.parse("\n".join(lines))


@pytest.mark.parametrize("method", METHODS)
def test_the_bound_holds_for_random_networks_against_dense_exponentials(method):
    worst = 0.0
    for seed in range(50):
        network, tolerance = random_network(seed), 10.0 ** -(4 + seed % 9)
        times = np.array([0.0, 0.3, 2.0])
        law = gl.solve_master_equation(network, times, tolerance=tolerance, method=method)
        space = StateSearch(network).reachable(2000)
        matrix = space.generator().to_scipy().toarray()
        start = np.zeros(space.n_states)
        start[space.index_of(network.initial_state[None])] = 1.0
        for t in times[1:]:
            exact = expm(matrix * t) @ start
            assert within_its_bound(law, float(t), space.states, exact), (seed, t, str(network))
            worst = max(worst, difference(law, float(t), space.states, exact) / tolerance)
    # Neither is it a bound of no use.
    assert worst > 1e-4
