"""Continuous variables beside counts: closed forms of what they follow and of what they drive."""

from __future__ import annotations

import numpy as np
import pytest
from laws import ALPHA, chi_square_pvalue, normal_pvalue, poisson_law
from scipy import integrate

import gillespy_lite as gl
from gillespy_lite.errors import SimulationError

EXACT = sorted(
    name for name, method in gl.METHODS.items() if method.is_exact and method.supports_events
)
SMALLEST = ALPHA / 60
N = 4000


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("look_ahead", [0.0, 0.1, 50.0])
def test_births_driven_by_a_decaying_variable_follow_their_law(method, look_ahead):
    # X' = -X from 5, births at 3 X: A(t) ~ Poisson(15 (1 - exp(-t))).
    network = gl.Network.parse("species A\nvariable X = 5\nX' = -X\n0 -> A @ 3*X")
    times = [0, 0.5, 2, 8]
    runs = gl.ensemble(network, times, N, method=method, rng=1, look_ahead=look_ahead)
    for t in times[1:]:
        law = poisson_law(15.0 * (1.0 - np.exp(-t)))
        assert chi_square_pvalue(runs.at(t, "A"), law) > SMALLEST
    assert runs["X"] == pytest.approx(np.tile(5.0 * np.exp(-np.array(times)), (N, 1)), abs=1e-7)


@pytest.mark.statistical
def test_rule_that_is_5_percent_off_is_told_apart():
    network = gl.Network.parse("species A\nvariable X = 5.25\nX' = -X\n0 -> A @ 6*X")
    runs = gl.ensemble(network, [0, 8], N, rng=1)
    assert chi_square_pvalue(runs.final("A"), poisson_law(30.0)) < 1e-8


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_variable_fed_by_a_count_has_the_moments_of_its_equations(method):
    # 0 -> A @ k, A -> 0 @ g; X' = a A - b X. The moment equations are linear and closed.
    k, g, a, b = 6.0, 1.0, 2.0, 0.5
    network = gl.Network.parse(
        f"species A\nvariable X = 0\nX' = {a}*A - {b}*X\n0 -> A @ {k}\nA -> 0 @ {g}"
    )

    def slopes(_: float, y: np.ndarray) -> list[float]:
        mean_a, mean_x, var_a, cov, var_x = y
        return [
            k - g * mean_a,
            a * mean_a - b * mean_x,
            k + g * mean_a - 2 * g * var_a,
            a * var_a - (g + b) * cov,
            2 * a * cov - 2 * b * var_x,
        ]

    times = [0.0, 1.0, 4.0]
    exact = integrate.solve_ivp(slopes, (0, 4), np.zeros(5), t_eval=times, rtol=1e-10).y
    runs = gl.ensemble(network, times, N, method=method, rng=2)
    for i in (1, 2):
        x = runs["X"][:, i]
        mean, variance = exact[1, i], exact[4, i]
        assert normal_pvalue(x.mean(), mean, np.sqrt(variance / N)) > SMALLEST
        fourth = ((x - x.mean()) ** 4).mean()
        error = np.sqrt((fourth - variance**2) / N)
        assert normal_pvalue(x.var(), variance, error) > SMALLEST
        covariance = np.mean((x - x.mean()) * (runs["A"][:, i] - runs["A"][:, i].mean()))
        assert covariance == pytest.approx(exact[3, i], rel=0.15)


def test_variable_between_jumps_is_as_exact_as_asked():
    network = gl.Network.parse("species A = 1\nvariable X = 0.1\nX' = X*(1 - X)\nA -> A @ 3")
    times = np.linspace(0, 12, 50)
    exact = 1.0 / (1.0 + 9.0 * np.exp(-times))
    for rtol, allowed in ((1e-4, 1e-3), (1e-8, 1e-7), (1e-11, 1e-9)):
        path = gl.simulate(network, times, rng=1, rtol=rtol, atol=rtol)
        assert np.abs(path["X"] - exact).max() < allowed


@pytest.mark.parametrize("method", EXACT)
def test_variables_follow_their_rules_where_no_reaction_ever_fires(method):
    network = gl.Network.parse(
        "species A\nvariable P = 1, Q = 0\nP' = Q\nQ' = -P\nA -> 0 @ P^2\n0 -> A @ 0"
    )
    path = gl.simulate(network, 20, method=method, rng=1)
    assert path["P"] == pytest.approx(np.cos(path.times), abs=1e-6)
    assert path["Q"] == pytest.approx(-np.sin(path.times), abs=1e-6)


@pytest.mark.parametrize("method", EXACT)
def test_stop_condition_on_a_variable_is_met_at_its_crossing(method):
    network = gl.Network.parse("species A\nvariable X = 5\nX' = -X\n0 -> A @ 3*X")
    runs = gl.ensemble(network, [0, 10], 30, method=method, rng=3, stop_when="X <= 1")
    assert runs.hitting_times == pytest.approx(np.full(30, np.log(5.0)), abs=1e-7)
    assert runs.final("X") == pytest.approx(np.ones(30), abs=1e-9)


@pytest.mark.parametrize("method", EXACT)
def test_rate_of_a_variable_that_has_decayed_is_zero_and_no_error(method):
    # Integration leaves X within its tolerance of 0, on either side.
    network = gl.Network.parse(
        "species A\nvariable X = 5, Y = 1\nX' = -20*X\nY' = -Y*Y*Y\n0 -> A @ 30*X"
    )
    runs = gl.ensemble(network, [0, 300], 20, method=method, rng=4, rtol=1e-4, atol=1e-4)
    assert (runs.final("A") < 40).all()


@pytest.mark.parametrize("method", EXACT)
def test_pulse_in_a_rule_is_never_stepped_over(method):
    for text in ("X' = if(t > 3 and t < 3.001, 1000, 0)", "X' = if(C > 3 and C < 3.001, 1000, 0)"):
        network = gl.Network.parse(f"species A\nvariable X = 0, C = 0\nC' = 1\n{text}\nA -> 0 @ X")
        path = gl.simulate(network, [0, 2.9, 10], method=method, rng=1)
        assert path["X"] == pytest.approx([0.0, 0.0, 1.0], abs=1e-4)


@pytest.mark.parametrize("method", EXACT)
def test_rule_that_switches_back_and_forth_goes_on(method):
    network = gl.Network.parse("species A\nvariable X = 0\nX' = if(X > 1, -1, 1)\nA -> 0 @ X")
    path = gl.simulate(network, [0, 0.5, 1.2], method=method, rng=1)
    assert path["X"] == pytest.approx([0.0, 0.5, 1.0], abs=1e-4)


@pytest.mark.parametrize("method", [*EXACT, "ode"])
def test_recorded_concentration_brings_the_size_it_is_divided_by(method):
    network = gl.Network.parse(
        "species A = 6\nparam W = 3\nvariable V = 2\nobserve U = 2*V\nV' = 1\nA -> 0 @ 0\n"
        "species B = 6, C = 6\nB -> C @ 0\n"
        "compartment V: [A]\ncompartment W: [B]\ncompartment U: [C]"
    )
    path = gl.simulate(network, [0, 4], method=method, rng=1, outputs=["A"])
    assert path["A"] == pytest.approx([3, 1])
    assert set(path.columns) == {"A", "V"}
    assert "A" in path.summary()
    path = gl.simulate(network, [0, 4], method=method, rng=1, outputs=["B"])
    assert path["B"] == pytest.approx([2, 2])
    assert path.columns == ("B",)
    path = gl.simulate(network, [0, 4], method=method, rng=1, outputs=["C"])
    assert path["C"] == pytest.approx([1.5, 0.5])


def test_variable_that_escapes_to_infinity_is_an_error_that_names_it():
    network = gl.Network.parse("species A\nvariable X = 1\nX' = X^2\n0 -> A @ 1")
    with pytest.raises(SimulationError, match="variable 'X' cannot be integrated further"):
        gl.simulate(network, 2, rng=1)


def test_reaction_of_a_variable_is_refused_by_name():
    network = gl.Network.parse("species A\nvariable X = 1\nodd: X => A @ X")
    for method in EXACT:
        with pytest.raises(gl.MethodError, match="'odd'"):
            gl.simulate(network, 2, method=method, rng=1)


def test_variables_stand_beside_the_observables():
    network = gl.Network.parse("species A = 2\nvariable X = 1\nobserve sum = A + X\nX' = 1")
    path = gl.simulate(network, [0, 1, 2], rng=1, outputs=["sum", "X", "A"])
    assert path.species == ("A",)
    assert path.observables == ("sum", "X")
    assert path["sum"] == pytest.approx([3, 4, 5])
    assert path.counts.dtype == np.int64
