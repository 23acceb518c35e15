"""Fits find what made the data: optimisers, noise models, experiments, starts, interruptions."""

from __future__ import annotations

import math
import pickle
import time

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite.ode_rnn import Recurrence
from gillespy_lite.ode_rnn.estimates import Estimate
from gillespy_lite.ode_rnn.experiments import Experiment
from gillespy_lite.ode_rnn.fitting import IdentifiabilityWarning, fit
from gillespy_lite.ode_rnn.noise_models import Gaussian, LogNormal, Poisson
from gillespy_lite.ode_rnn.searching import SEARCHES, starting_points
from gillespy_lite.ode_rnn.trainers import Adam

# Two competing populations: x1' = r1 x1 (1 - n1 x1) - a1 x1 x2, and likewise x2.
COMPETITION = gl.Network.parse("""
species x1 = 100, x2 = 150
param r1 = 0.1, r2 = 0.3, a1 = 1e-4, a2 = 2e-4, n1 = 2e-3, n2 = 3e-3
x1 => 2 x1 @ r1*x1
x1 => 0 @ r1*n1*x1^2 + a1*x1*x2
x2 => 2 x2 @ r2*x2
x2 => 0 @ r2*n2*x2^2 + a2*x1*x2
""")
TRUE = dict(zip(COMPETITION.parameter_names, COMPETITION.parameter_values.tolist(), strict=True))
# Close together while x2 grows (rate .3), then further apart for x1 (.1), to the steady state.
TIMES = np.array([1.0, 2, 4, 7, 12, 20, 35, 60, 90, 120])

DECAY = gl.Network.parse("""
species X = 100, Y
param k = 0.5, g = 0.1
observe total = X + Y
X -> Y @ k
Y -> 0 @ g
""")
T = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0])


def decay(t, k=0.5, g=0.1, x0=100.0):
    x = x0 * np.exp(-k * t)
    return x, x0 * k / (g - k) * (np.exp(-k * t) - np.exp(-g * t))


def solved_competition(times=TIMES):
    from scipy.integrate import solve_ivp

    p = TRUE

    def slope(_, y):
        x1, x2 = y
        return [
            p["r1"] * x1 * (1 - p["n1"] * x1) - p["a1"] * x1 * x2,
            p["r2"] * x2 * (1 - p["n2"] * x2) - p["a2"] * x1 * x2,
        ]

    found = solve_ivp(
        slope, (0.0, times[-1]), [100.0, 150.0], "DOP853", times, rtol=1e-12, atol=1e-9
    )
    return {"time": times, "x1": found.y[0], "x2": found.y[1]}


# ---- Recovery -----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", SEARCHES)
def test_six_parameters_of_two_populations_are_recovered_without_noise(optimiser):
    # Every start is off by a factor of two to three.
    start = COMPETITION.with_parameters(r1=0.25, r2=0.12, a1=2.5e-4, a2=8e-5, n1=5e-3, n2=1.2e-3)
    result = fit(start, solved_competition(), list(TRUE), optimiser=optimiser)
    for name, value in TRUE.items():
        assert result[name] == pytest.approx(value, rel=1e-4)
    assert result.identifiability == ()


def test_parameters_shared_and_local_are_recovered_with_initial_values_and_drivers():
    network = gl.Network.parse("""
    species X = 100, Y
    param k = 0.2, g = 0.2, light = 1
    X -> Y @ k*light
    Y -> 0 @ g
    """)
    recurrence = Recurrence(network, inputs=("light",))
    tables = {}
    for name, light, x0, g in (("dim", 0.5, 100.0, 0.1), ("bright", 2.0, 60.0, 0.3)):
        x, y = decay(T, 0.5 * light, g, x0)
        tables[name] = Experiment({"time": T, "X": x, "Y": y}, inputs={"light": light})
    result = fit(
        recurrence, tables, ["k", Estimate("g", shared=False), Estimate("X(0)", shared=False)]
    )
    expected = {"k": 0.5, "g[dim]": 0.1, "g[bright]": 0.3, "X(0)[dim]": 100, "X(0)[bright]": 60}
    assert result.estimates == pytest.approx(expected, rel=1e-5)
    assert result.quantities["bright"] == pytest.approx({"k": 0.5, "g": 0.3, "X(0)": 60}, rel=1e-5)


def test_a_held_driver_that_jumps_is_solved_to_the_jump():
    network = gl.Network.parse("species X = 100\nparam k = 0.2, light = 1\nX -> 0 @ k*light")
    # Light off from 3 to 5: the exposure until t is t, 3, then t - 2.
    exposure = np.where(T < 3, T, np.maximum(3.0, T - 2.0))
    table = {"time": T, "X": 100 * np.exp(-0.7 * exposure)}
    light = ([0.0, 3.0, 5.0], [1.0, 0.0, 1.0])
    result = fit(network, Experiment(table, inputs={"light": light}), ["k"])
    assert result["k"] == pytest.approx(0.7, rel=1e-5)


def test_a_tied_parameter_follows():
    x, y = decay(T, 0.5, 0.25)
    result = fit(DECAY, {"time": T, "X": x, "Y": y}, ["k"], ties={"g": "k/2"})
    assert result["k"] == pytest.approx(0.5, rel=1e-6)
    assert result.quantities["1"]["g"] == pytest.approx(0.25, rel=1e-6)
    assert dict(
        zip(result.network.parameter_names, result.network.parameter_values, strict=True)
    ) == pytest.approx({"k": 0.5, "g": 0.25}, rel=1e-6)


def test_a_driven_rule_is_fitted_as_well_as_reactions():
    network = gl.Network.parse("variable X = 1, Y = 0\nparam w = 1.5\nX' = -w*Y\nY' = w*X")
    t = np.linspace(0.2, 6.0, 30)
    result = fit(network, {"time": t, "X": np.cos(2.0 * t)}, ["w"])
    assert result["w"] == pytest.approx(2.0, rel=1e-6)


def test_a_stiff_network_is_solved_by_rosenbrock_cells():
    # Robertson's problem: rates from 0.04 to 3e7.
    network = gl.Network.parse("""
    variable A = 1, B = 0, C = 0
    param p = 0.02, q = 1e4, r = 3e7
    A' = -p*A + q*B*C
    B' = p*A - q*B*C - r*B^2
    C' = r*B^2
    """)
    from scipy.integrate import solve_ivp

    def slope(_, y):
        ab, bc, bb = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return [-ab + bc, ab - bc - bb, bb]

    t = np.geomspace(0.1, 1e3, 12)
    y = solve_ivp(slope, (0, 1e3), [1, 0, 0], "Radau", t, rtol=1e-10, atol=1e-14).y
    result = fit(network, {"time": t, "A": y[0], "C": y[2]}, ["p"], solver_tolerance=1e-4)
    assert result.objective.recurrence.cell.name == "rodas4_adaptive"
    assert result["p"] == pytest.approx(0.04, rel=1e-3)


# ---- Noise --------------------------------------------------------------------------------------

NOISES = {
    "gaussian": Gaussian(),
    "relative": Gaussian(relative=True),
    "lognormal": LogNormal(),
    "shared": LogNormal(shared=True),
    "poisson": Poisson(),
    "known": {"X": Gaussian(3.0), "Y": Gaussian(0.1, relative=True)},
    "mixed": {"X": Poisson(), "Y": Gaussian()},
}


def noisy_table(seed=2):
    rng = np.random.default_rng(seed)
    x, y = decay(T)
    return {"time": T, "X": rng.poisson(x) + 0.0, "Y": rng.poisson(y) + 1.0}


@pytest.mark.parametrize("name", NOISES)
def test_least_squares_and_lbfgs_find_the_same_maximum(name):
    table = noisy_table()
    if name in {"relative", "lognormal", "shared"}:
        table["X"] += 1.0
    fits = [
        fit(DECAY, table, ["k", "g", "X(0)"], noise=NOISES[name], optimiser=optimiser)
        for optimiser in SEARCHES
    ]
    first, second = fits
    assert first.converged
    assert second.converged
    assert first.log_likelihood == pytest.approx(second.log_likelihood, abs=1e-7)
    for one in first.names:
        assert first[one] == pytest.approx(second[one], rel=1e-4)
        assert first.standard_errors[one] == pytest.approx(second.standard_errors[one], rel=1e-3)
    # A maximum: no slope is left.
    _, gradient = first.objective.value_and_gradient(first.u)
    assert np.abs(gradient).max() < 1e-3


def test_poisson_estimate_of_a_decay_is_that_of_its_exact_likelihood():
    # X(t) = 100 exp(-k t): minimise sum(m - y log m).
    from scipy.optimize import minimize_scalar

    table = noisy_table()
    values = table["X"]
    exact = minimize_scalar(
        lambda k: np.sum(100 * np.exp(-k * T) + values * k * T), (0.1, 1.0), tol=1e-12
    ).x
    result = fit(DECAY, {"time": T, "X": values}, ["k"], noise="poisson")
    assert result["k"] == pytest.approx(exact, rel=1e-6)


def test_known_sigmas_weigh_the_columns():
    # Two measurements of one constant: the weighted mean.
    network = gl.Network.parse("species X = 5\nparam k = 0\nX -> 0 @ k")
    table = {"time": [1.0, 2.0], "X": [4.0, 7.0], "sd": [1.0, 3.0]}
    result = fit(network, table, ["X(0)"], noise={"X": Gaussian("sd")})
    weights = np.array([1.0, 1 / 9])
    assert result["X(0)"] == pytest.approx(weights @ [4.0, 7.0] / weights.sum(), rel=1e-8)
    assert result.standard_errors["X(0)"] == pytest.approx(weights.sum() ** -0.5, rel=1e-6)
    assert result.scales == {}


# ---- Trials that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", SEARCHES)
def test_a_diverging_trial_is_stepped_back(optimiser):
    # X = 1/(1 - k t) is infinite at t = 1/k; the data are from k = 0.124, and end at t = 8.
    network = gl.Network.parse("species X = 1\nparam k = 0.05\nX => 2 X @ k*X^2")
    t = np.array([1.0, 2.0, 4.0, 6.0, 8.0])
    table = {"time": t, "X": 1 / (1 - 0.124 * t)}
    result = fit(network, table, ["k"], optimiser=optimiser, noise=Gaussian(0.01))
    assert np.isposinf(result.loss_history).any()
    assert not np.isnan(result.loss_history).any()
    assert result["k"] == pytest.approx(0.124, rel=1e-5)


def test_a_model_that_diverges_at_the_start_is_refused_with_advice():
    network = gl.Network.parse("species X = 1\nparam k = 2\nX => 2 X @ k*X^2")
    with pytest.raises(gl.SimulationError, match=r"could not be solved.*at the start"):
        fit(network, {"time": [1.0, 2.0], "X": [2.0, 3.0]}, ["k"])


def test_positive_parameters_stay_positive_when_the_data_want_them_negative():
    # The data grow; a decay can only stop decaying.
    table = {"time": T, "X": 100 + 2 * T + np.sin(5 * T)}
    with pytest.warns(IdentifiabilityWarning, match="k is not determined"):
        result = fit(DECAY, table, ["k"])
    assert 0.0 <= result["k"] < 1e-3
    low, high = result.confidence_intervals()["k"]
    assert 0.0 <= low <= result["k"] <= high


def test_an_estimate_ends_at_its_bound_and_says_so():
    x, _ = decay(T)
    rng = np.random.default_rng(1)
    table = {"time": T, "X": x + rng.normal(size=T.size)}
    network = DECAY.with_parameters(k=0.7)
    for optimiser in SEARCHES:
        result = fit(network, table, {"k": (0.6, 2.0), "X(0)": None}, optimiser=optimiser)
        assert result["k"] == pytest.approx(0.6, rel=1e-4)
        assert np.isnan(result.standard_errors["k"])
        assert np.isfinite(result.standard_errors["X(0)"])
        assert "k ended at a bound" in str(result)


# ---- Starts -------------------------------------------------------------------------------------

WAVE = gl.Network.parse("variable X = 1, Y = 0\nparam w = 0.4\nX' = -w*Y\nY' = w*X")
WAVE_TABLE = {"time": np.linspace(0.3, 12.0, 40), "X": np.cos(3.0 * np.linspace(0.3, 12.0, 40))}


def test_one_of_many_starts_finds_the_frequency_that_one_start_misses():
    table = {**WAVE_TABLE, "X": WAVE_TABLE["X"] + np.random.default_rng(0).normal(0, 0.05, 40)}
    alone = fit(WAVE, table, {"w": (0.1, 10.0)})
    assert abs(alone["w"] - 3.0) > 0.5
    result = fit(WAVE, table, {"w": (0.1, 10.0)}, starts=20, rng=3)
    assert result["w"] == pytest.approx(3.0, abs=0.01)
    assert len(result.starts) == 20
    assert result.starts[0].estimates == result.estimates
    losses = [one.loss for one in result.starts]
    assert losses == sorted(losses)


def test_result_does_not_depend_on_threads():
    found = [
        fit(DECAY, noisy_table(), ["k", "g"], starts=5, rng=4, threads=threads)
        for threads in (1, 3)
    ]
    assert found[0].estimates == found[1].estimates
    assert found[0].starts == found[1].starts


def test_starts_fill_every_layer_of_the_latin_hypercube():
    result = fit(DECAY, noisy_table(), {"k": (0.01, 1.0), "g": None})
    space = result.objective.space
    points = starting_points(space, 11, np.random.default_rng(1))
    assert points[0].tolist() == space.start.tolist()
    share = (points[1:, 0] - math.log(0.01)) / math.log(100.0)
    assert sorted(np.floor(10 * share).astype(int)) == list(range(10))
    assert (np.abs(points[1:, 1] - space.start[1]) <= math.log(10.0)).all()


def test_starts_at_which_the_model_diverges_are_reported_and_passed_over():
    network = gl.Network.parse("species X = 1\nparam k = 0.05\nX => 2 X @ k*X^2")
    t = np.array([1.0, 2.0, 4.0, 8.0])
    table = {"time": t, "X": 1 / (1 - 0.1 * t) + [0.01, -0.01, 0.01, 0.0]}
    result = fit(network, table, {"k": (0.01, 10.0)}, starts=8, rng=1)
    assert result["k"] == pytest.approx(0.1, rel=1e-2)
    failed = [one for one in result.starts if one.loss == np.inf]
    assert failed
    assert all(one.message == "the model diverges at the start" for one in failed)


def test_other_starts_are_tried_if_the_first_explodes():
    network = gl.Network.parse("species X = 1\nparam k = 5\nX => 2 X @ k*X^2")
    t = np.array([1.0, 2.0, 4.0, 8.0])
    table = {"time": t, "X": 1 / (1 - 0.1 * t) + [0.01, -0.01, 0.01, 0.0]}
    result = fit(network, table, {"k": (0.01, 10.0)}, starts=8, rng=1)
    assert result["k"] == pytest.approx(0.1, rel=1e-2)


@pytest.mark.parametrize("optimiser", SEARCHES)
@pytest.mark.parametrize("noise", [LogNormal(), Poisson()])
def test_a_prediction_that_the_noise_makes_impossible_is_named(noise, optimiser):
    # Y is surely 0 at time 0, and 1 was measured.
    table = {"time": [0.0, *T], "Y": [1.0, *np.round(decay(T)[1])]}
    with pytest.raises(gl.SimulationError) as caught:
        fit(DECAY, table, ["k", "g"], noise=noise, optimiser=optimiser)
    message = str(caught.value)
    for part in ("column 'Y', time 0:", "predicts 0 and 1 was", type(noise).__name__, "impossible"):
        assert part in message
    assert "diverge" not in message


# ---- Time, progress, interruption ---------------------------------------------------------------


@pytest.mark.parametrize("starts", [1, 4])
def test_ctrl_c_leaves_the_best_so_far(starts):
    calls = []

    def press(done, total):
        calls.append((done, total))
        if len(calls) == 9:
            raise KeyboardInterrupt

    with pytest.raises(
        gl.errors.Interrupted, match=r"best fit so far is in the error's .result"
    ) as caught:
        fit(DECAY, noisy_table(), ["k", "g"], starts=starts, rng=1, progress=press, threads=2)
    result = caught.value.result
    assert result.stopped == "interrupt"
    assert not result.converged
    assert np.isfinite(result.log_likelihood)
    assert result.log_likelihood == -np.nanmin(result.loss_history)


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_leaves_the_starts_that_wait(threads):
    calls = []

    def press(done, total):
        calls.append(done)
        if len(calls) == 300:
            raise KeyboardInterrupt

    with pytest.raises(gl.errors.Interrupted) as caught:
        fit(DECAY, noisy_table(), ["k", "g"], starts=500, rng=1, progress=press, threads=threads)
    result = caught.value.result
    ended = [one for one in result.starts if not one.message.startswith("stopped by")]
    assert 0 < len(ended) <= 300
    assert len(result.starts) <= len(ended) + threads
    assert f"{len(ended)} of 500 starts ended before the interrupt" in str(result)
    assert "best of" not in str(result)
    assert len(calls) < 300 + threads


@pytest.mark.parametrize("optimiser", SEARCHES)
def test_a_timeout_returns_the_best_so_far_with_a_warning(optimiser):
    def slow(done, total):
        time.sleep(0.1)

    with pytest.warns(gl.IncompleteWarning, match="best so far"):
        result = fit(
            DECAY, noisy_table(), ["k", "g"], progress=slow, timeout=0.25, optimiser=optimiser
        )
    assert result.stopped == "timeout"
    assert "stopped by timeout" in result.message


def test_progress_counts_trials_to_the_total():
    seen = []
    result = fit(
        DECAY, noisy_table(), ["k"], progress=lambda done, total: seen.append((done, total)),
        max_evaluations=60,
    )  # fmt: skip
    assert [done for done, _ in seen[:-1]] == list(range(1, result.loss_history.size + 1))
    assert seen[-1] == (60.0, 60.0)


def test_few_evaluations_end_without_convergence():
    with pytest.warns(gl.IncompleteWarning, match="did not converge: stopped after 3 evaluations"):
        result = fit(DECAY.with_parameters(k=5.0), noisy_table(), ["k", "g"], max_evaluations=3)
    assert not result.converged
    assert "stopped after 3 evaluations" in str(result)
    assert result.loss_history.size <= 4


# ---- Other cells, trainers, refits --------------------------------------------------------------


@pytest.mark.parametrize("cell", ["heun", "rk4", "dopri5", "implicit_euler", "rodas4"])
def test_every_cell_can_be_fitted(cell):
    x, y = decay(T)
    steps = {"heun": 100, "implicit_euler": 400}.get(cell)
    result = fit(
        Recurrence(DECAY.with_parameters(k=1.0), cell), {"time": T, "X": x, "Y": y}, ["k", "g"],
        steps=steps,
    )  # fmt: skip
    # The errors of the two low-order cells at these steps, measured: 2e-6 and 3e-3.
    tolerance = {"heun": 1e-4, "implicit_euler": 1e-2}.get(cell, 1e-5)
    assert result.estimates == pytest.approx({"k": 0.5, "g": 0.1}, rel=tolerance)


def test_a_trainer_comes_near_what_least_squares_find():
    table = noisy_table()
    best = fit(DECAY, table, ["k", "g"], noise="poisson")
    result = fit(
        DECAY.with_parameters(k=0.8), table, ["k", "g"], noise="poisson", optimiser=Adam(),
        training={"epochs": 300}, rng=1,
    )  # fmt: skip
    assert result.log_likelihood == pytest.approx(best.log_likelihood, abs=0.1)
    assert result.training is not None
    assert result.loss_history[0] > result.loss_history.min()


def test_a_refit_starts_where_the_fit_ended():
    table = noisy_table()
    first = fit(DECAY, table, ["k", "g"], noise="poisson")
    again = first.refit(table)
    assert again.estimates == pytest.approx(first.estimates, rel=1e-6)
    assert again.starts[0].start == pytest.approx(first.estimates)
    assert first.refit(noisy_table(3))["k"] != first["k"]


def test_a_result_survives_pickling_and_can_still_be_refitted():
    table = noisy_table()
    first = fit(DECAY, table, ["k", "g"], noise="poisson")
    back = pickle.loads(pickle.dumps(first))
    assert back.estimates == first.estimates
    assert back.standard_errors == first.standard_errors
    assert str(back) == str(first)
    assert back.refit(table).estimates == first.refit(table).estimates


def test_shorter_steps_are_taken_where_the_fit_ends():
    # At the start hardly anything happens, so that a few long cells are enough there.
    slow = DECAY.with_parameters(k=1e-3, g=1e-3)
    x, y = decay(T, 6.0, 4.0)
    result = fit(slow, {"time": T, "X": x, "Y": y}, ["k", "g"])
    assert result["k"] == pytest.approx(6.0, rel=1e-4)
    assert result["g"] == pytest.approx(4.0, rel=1e-4)
