"""Scaling the volume: the same concentrations, other noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from laws import ALPHA, normal_pvalue
from numpy.testing import assert_allclose

import gillespy_lite as gl
from gillespy_lite.compilation import compile_rate_equations, propensity_expression
from gillespy_lite.errors import NetworkError
from gillespy_lite.kernels.rate_equations import fill_rates
from gillespy_lite.models import MODELS
from gillespy_lite.ode_rnn.volume import scale_volume

EVERY_FORM = gl.Network.parse("""
    species A = 10, B = 3, C
    param k = 2, K = 5, start = 4
    observe total = A + B
    observe crowded = total/(K + total)
    make: 0 -> A @ k
    decay: A -> 0 @ k
    pair: 2 A <-> B @ k, 1.5
    meet: A + B -> C @ k
    three: 3 A -> 0 @ k/(1 + crowded)
    mixed: 2 A + B -> C @ k
    law: A => B @ k*A/(K + total)
    source: 0 => C @ hill(A, K, 2) + if(B > K, 1, 0)
""")


def rates_of(network: gl.Network, amounts: np.ndarray) -> np.ndarray:
    """Return the rates of the rate equations at a state."""
    equations, depth = compile_rate_equations(network)
    rates = np.empty(network.n_reactions)
    fill_rates(equations, np.append(amounts, 1.0), 0.7, np.zeros(depth), rates)
    return rates


@pytest.mark.parametrize("name", [*sorted(MODELS), "every form"])
@pytest.mark.parametrize("omega", [0.5, 3.0, 1e4])
def test_rates_per_volume_do_not_depend_on_the_volume(name, omega):
    network = EVERY_FORM if name == "every form" else getattr(gl.models, name)()
    # Where half of a molecule would be left, the network is refused; the rates need no start.
    scaled = scale_volume(network, 4.0).with_parameters(Omega=omega)
    rng = np.random.default_rng(1)
    for _ in range(5):
        concentrations = rng.uniform(0.5, 40.0, network.n_species)
        expected = rates_of(network, concentrations)
        assert (expected > 0.0).any()
        found = rates_of(scaled, omega * concentrations) / omega
        assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


def test_concentrations_of_the_rate_equations_do_not_depend_on_the_volume():
    network = gl.models.michaelis_menten()
    times = np.linspace(0.0, 50.0, 11)
    options = {"method": "ode", "rtol": 1e-12, "atol": 1e-12}
    reference = gl.simulate(network, times, **options)
    scaled = gl.simulate(scale_volume(network, 64), times, **options)
    assert_allclose(scaled.counts / 64.0, reference.counts, rtol=1e-10, atol=1e-9)


def test_propensities_of_every_form_are_those_by_hand():
    scaled = scale_volume(EVERY_FORM, 2)
    assert scaled.initial_state.tolist() == [20, 6, 0]
    state = {"A": 20.0, "B": 6.0, "C": 0.0, "k": 2.0, "K": 5.0, "start": 4.0, "Omega": 2.0}
    found = {
        reaction.name: float(propensity_expression(scaled, index).evaluate(state))
        for index, reaction in enumerate(scaled.reactions)
    }
    # Concentrations are 10 and 3, their total is 13.
    expected = {
        "make": 2.0 * 2.0,
        "decay": 2.0 * 20.0,
        "pair": 2.0 / 2.0 * 20.0 * 19.0 / 2.0,
        "pair_reverse": 1.5 * 6.0,
        "meet": 2.0 / 2.0 * 20.0 * 6.0,
        "three": 2.0 / (1.0 + 13.0 / 18.0) / 4.0 * 20.0 * 19.0 * 18.0 / 6.0,
        "mixed": 2.0 / 4.0 * (20.0 * 19.0 / 2.0) * 6.0,
        "law": 2.0 * (2.0 * 10.0 / (5.0 + 13.0)),
        "source": 2.0 * (100.0 / (25.0 + 100.0)),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-14), name


def test_the_volume_is_a_parameter_that_scales_again():
    scaled = scale_volume(EVERY_FORM, 2)
    assert scaled.with_parameters(Omega=5) == scale_volume(EVERY_FORM, 5)
    assert scale_volume(EVERY_FORM, 2, name="V").parameter_names[0] == "V"
    # Observables read counts, and what the user reads says how it was scaled.
    assert scaled.observables == EVERY_FORM.observables
    text = str(scaled.explain())
    assert "k/Omega*A*(A - 1)/2" in text
    assert "Omega = 2" in text
    assert gl.Network.parse(str(scaled)) == scaled


def test_counts_at_the_start_are_rounded_to_whole_molecules():
    network = gl.Network.parse("""
        param n = 5
        species A = 3, B = 2*n, C
        A + B -> C @ 1
    """)
    assert scale_volume(network, 1.5).initial_state.tolist() == [5, 15, 0]  # 4.5 upwards
    assert scale_volume(network, 0.25).initial_state.tolist() == [1, 3, 0]  # .75, 2.5
    assert scale_volume(network, 2).with_parameters(n=1).initial_state.tolist() == [6, 4, 0]
    assert scale_volume(network, 1).initial_state.tolist() == network.initial_state.tolist()


@pytest.mark.parametrize("omega", [0, -1, math.nan, math.inf, True, "2", None])
def test_a_volume_that_is_no_positive_number_is_refused(omega):
    with pytest.raises(ValueError, match="omega must be a"):
        scale_volume(EVERY_FORM, omega)


def test_what_cannot_be_scaled_is_refused():
    with pytest.raises(NetworkError, match=r"'Omega' already.*with_parameters\(Omega="):
        scale_volume(scale_volume(EVERY_FORM, 2), 2)
    with pytest.raises(NetworkError, match="'B' already"):
        scale_volume(EVERY_FORM, 2, name="B")
    with pytest.raises(NetworkError, match=r"'B' starts with 3, of which none.*at least 0\.16"):
        scale_volume(EVERY_FORM, 0.1)
    rules = gl.Network.parse("species A = 1\nvariable X = 1.5\nX' = -X\nA -> 0 @ X")
    with pytest.raises(NetworkError, match="amount or a concentration is not known"):
        scale_volume(rules, 2)


@pytest.mark.statistical
def test_variances_of_concentrations_follow_the_linear_noise_approximation():
    # 0 -> A at k Omega, 2 A -> 0 at c / Omega. Stationary concentration a = sqrt(k / c); drift
    # k - c a^2 has slope -2 c a, noise k + 4 c a^2 / 2 = 3 k, so var = 3 k / (4 c a) / Omega =
    # .75 a / Omega, with corrections of relative order 1 / (a Omega) < .5 % here.
    # Power: 8,000 paths give the variance to 1.6 %, so a power of Omega wrong by .1 shows.
    network = gl.Network.parse("species A = 20\nparam k = 400, c = 1\n0 -> A @ k\n2 A -> 0 @ c")
    n = 8_000
    for omega in (16, 64):
        scaled = scale_volume(network, omega)
        runs = gl.ensemble(scaled, [0, 0.15], n, rng=omega)
        variance = runs.final("A").var(ddof=1) / omega**2
        expected = 0.75 * 20.0 / omega
        error = expected * (math.sqrt(2.0 / n) + 0.005)
        assert normal_pvalue(variance, expected, error) > ALPHA / 10
        assert normal_pvalue(variance, expected * 16**0.1, error) < ALPHA / 10
