"""Reactions whose products come later: the laws of the delays, and of what is under way."""

from __future__ import annotations

import numpy as np
import pytest
from laws import ALPHA, chi_square_pvalue, poisson_law
from scipy import integrate, stats

import gillespy_lite as gl
from gillespy_lite.errors import SimulationError
from gillespy_lite.kernels.delays import DELAY_CODES
from gillespy_lite.reactions import DELAY_LAWS

EXACT = sorted(
    name for name, method in gl.METHODS.items() if method.is_exact and method.supports_events
)
SMALLEST = ALPHA / 150
T_ENDS = (1.0, 2.5, 6.0)
K = 8.0
# P(D > s) of each law.
DELAYS = {
    "2": lambda s: np.where(s < 2.0, 1.0, 0.0),
    "uniform(1, 3)": stats.uniform(1, 2).sf,
    "normal(1, 1.5)": stats.truncnorm(-1 / 1.5, np.inf, 1, 1.5).sf,
    "gamma(2.5, 0.8)": stats.gamma(2.5, scale=0.8).sf,
    "gamma(0.4, 3)": stats.gamma(0.4, scale=3).sf,
    "exponential(2)": stats.expon(scale=2).sf,
}


def under_way(delay: str, t: float) -> float:
    """Return k times the integral of P(D > s) from 0 to t: exact law I."""
    value, _ = integrate.quad(DELAYS[delay], 0.0, t, points=[min(t, p) for p in (1.0, 2.0, 3.0)])
    return K * value


def test_laws_of_delays_are_those_of_the_language():
    assert DELAY_CODES.keys() == DELAY_LAWS.keys()


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("delay", DELAYS)
def test_arrivals_that_take_their_time_follow_their_law(method, delay):
    # Started and not yet done by t: Poisson(k * integral of P(D > s)); done: Poisson of the rest.
    text = "species S = 10000, Y\nS => Y @ 8 delay {}{}"
    for mode in ("", " consuming on completion"):
        network = gl.Network.parse(text.format(delay, mode))
        runs = gl.ensemble(network, [0, *T_ENDS], 2000, method=method, rng=1)
        taken, made = 10_000 - runs["S"], runs["Y"]
        if mode:
            assert (taken == made).all()
        for i, t in enumerate(T_ENDS, 1):
            waiting = under_way(delay, t)
            if not mode:
                assert chi_square_pvalue((taken - made)[:, i], poisson_law(waiting)) > SMALLEST
            done = K * t - waiting
            law = poisson_law(done) if done > 1e-9 else np.array([1.0])
            assert chi_square_pvalue(made[:, i], law) > SMALLEST


@pytest.mark.statistical
def test_delay_that_is_10_percent_longer_is_told_apart():
    network = gl.Network.parse("species S = 10000, Y\nS => Y @ 8 delay 2.2")
    runs = gl.ensemble(network, [0, *T_ENDS], 2000, rng=1)
    waiting = 10_000 - runs.at(6.0, "S") - runs.at(6.0, "Y")
    assert chi_square_pvalue(waiting, poisson_law(8.0 * 2.0)) < 1e-8


@pytest.mark.parametrize("method", EXACT)
def test_fixed_delay_is_exact_to_the_last_bit(method):
    network = gl.Network.parse("species S = 40, Y\nS -> Y @ 1 delay 0.75")
    path = gl.simulate(network, 50, method=method, rng=2, every_event=True)
    starts = path.times[path.reactions == 0]
    ends = path.times[(path.reactions == -1)][1:]
    assert starts.size == ends.size == 40
    assert np.array_equal(starts + 0.75, ends)
    assert path.final("Y") == 40


@pytest.mark.parametrize("method", EXACT)
def test_delay_of_zero_completes_at_once(method):
    network = gl.Network.parse("species S = 40, Y\nS -> Y @ 1 delay 0")
    runs = gl.ensemble(network, [0, 0.5, 1], 20, method=method, rng=2)
    assert (runs["S"] + runs["Y"] == 40).all()


@pytest.mark.parametrize("method", EXACT)
def test_thousands_may_be_under_way(method):
    network = gl.Network.parse("species X\n0 -> X @ 1000 delay uniform(9, 10)")
    runs = gl.ensemble(network, [0, 9, 20], 3, method=method, rng=3)
    assert (runs.at(9, "X") == 0).all()
    assert abs(runs.final("X") - 10_500).max() < 600


@pytest.mark.parametrize("method", EXACT)
def test_completion_that_takes_what_is_gone_is_an_error(method):
    network = gl.Network.parse(
        "species S = 1, Y, Z\nslow: S -> Y @ 5 delay 2 consuming on completion\nS -> Z @ 1"
    )
    with pytest.raises(SimulationError, match=r"'slow'.*takes more molecules than there were"):
        gl.simulate(network, 10, method=method, rng=4)


def test_delay_that_is_no_time_is_an_error_that_names_it():
    network = gl.Network.parse("species S = 5, Y\nslow: S -> Y @ 5 delay S - 3")
    with pytest.raises(SimulationError, match=r"delay 'S - 3' of reaction 1 'slow'.*S = 2"):
        gl.simulate(network, 10, rng=4)


def test_delay_may_depend_on_state_and_time_at_the_initiation():
    network = gl.Network.parse("species S = 3, Y\nS -> Y @ 5 delay S + t")
    path = gl.simulate(network, 50, rng=5, every_event=True)
    starts = path.times[path.reactions == 0]
    ends = path.times[path.reactions == -1][1:]
    assert np.array_equal(np.sort(starts + (np.array([3.0, 2.0, 1.0]) + starts)), ends)


def test_rate_equations_refuse_delays_by_name():
    network = gl.Network.parse("species S = 5, Y\nslow: S -> Y @ 5 delay 2")
    with pytest.raises(gl.MethodError, match="slow"):
        gl.simulate(network, 10, method="ode")
