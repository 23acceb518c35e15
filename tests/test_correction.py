"""Indirect inference: fits of rate equations to stochastic data, corrected by simulation."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from laws import ALPHA, binomial_pvalue, normal_pvalue
from numpy.testing import assert_allclose

import gillespy_lite as gl
from gillespy_lite.errors import IncompleteWarning, Interrupted, NetworkError, SimulationError
from gillespy_lite.ode_rnn import correction
from gillespy_lite.ode_rnn.batched_fits import fit_data_sets
from gillespy_lite.ode_rnn.correction import correct
from gillespy_lite.ode_rnn.estimates import Estimate
from gillespy_lite.ode_rnn.experiments import Experiment
from gillespy_lite.ode_rnn.fitting import fit
from gillespy_lite.ode_rnn.noise_models import Gaussian
from gillespy_lite.ode_rnn.recurrence import Recurrence

THRESHOLD = ALPHA / 10

PAIRS = gl.Network.parse("species A = 10\nparam c = 0.1\n2 A -> 0 @ c")
CHAIN = gl.Network.parse("""
    species A = 300, B
    param k = 0.5, g = 0.25
    A -> B @ k
    B -> 0 @ g
""")


def measured(network: gl.Network, times, n_replicates: int, seed: int) -> Experiment:
    """Return trajectories as replicates, without what is known at the start."""
    runs = gl.ensemble(network, times, n_replicates, rng=seed)
    return Experiment(
        [
            {"time": runs.times[1:], **{name: runs[name][i, 1:] for name in runs.species}}
            for i in range(n_replicates)
        ]
    )


def fit_pairs(seed: int, n_replicates: int = 10):
    return fit(PAIRS, measured(PAIRS, np.linspace(0, 6, 9), n_replicates, seed), ["c"])


# ---- Many fits at once --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise", [None, Gaussian(shared=True), {"A": Gaussian(sigma=10.0)}], ids=["own", "shared", "A"]
)
def test_fits_in_batches_are_those_of_fit(noise):
    times = np.linspace(0, 6, 7)
    sets = [measured(CHAIN, times, 2, seed) for seed in range(4)]
    fits = [fit(CHAIN, one, ["k", "g"], noise=noise) for one in sets]
    objective = fits[0].objective
    columns = [[one.objective.experiments[0].columns[k].values for one in fits] for k in (0, 1)]
    found, converged = fit_data_sets(objective, [[np.array(c) for c in columns]], objective.start)
    assert converged.all()
    for row, one in zip(found, fits, strict=True):
        error = np.sqrt(np.diag(one.uncertainty.covariance))
        assert (np.abs(row - one.u) < 1e-3 * error).all()


def test_a_batch_stays_within_bounds_and_says_what_did_not_converge():
    data = measured(CHAIN, np.linspace(0, 6, 7), 1, 1)
    chosen = [Estimate("k"), Estimate("g", lower=0.4, upper=2.0, scale="linear")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(CHAIN, data, [Estimate("k"), Estimate("g", start=0.5, **_bounds(chosen[1]))])
    values = [column.values for column in result.objective.experiments[0].columns]
    sets = [np.array([one, np.full(one.size, np.nan)]) for one in values]
    found, converged = fit_data_sets(result.objective, [sets], result.objective.start)
    assert converged.tolist() == [True, False]
    # The data want g = .25, below the bound; k is then at its best for g = .4.
    assert found[0, 1] == 0.4
    assert found[0, 0] == pytest.approx(result.u[0], abs=1e-4)


def _bounds(estimate: Estimate) -> dict[str, object]:
    return {"lower": estimate.lower, "upper": estimate.upper, "scale": estimate.scale}


# ---- Corrections --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    """Return the naive and the corrected fit of 30 data sets of 10 trajectories."""
    # 2 A -> 0 from ten molecules: the mean decays more slowly than the rate equations say, and a
    # trajectory remembers its fluctuations.
    fits = [fit_pairs(seed) for seed in range(30)]
    return fits, [correct(one, n_simulations=40, rng=seed) for seed, one in enumerate(fits)]


@pytest.mark.statistical
def test_corrected_intervals_cover_where_naive_ones_do_not(many):
    # Power: 95 % coverage against 65 % is told apart (p = 1e-6).
    covered = []
    for results in many:
        intervals = [one.confidence_intervals()["c"] for one in results]
        covered.append(sum(low <= 0.1 <= high for low, high in intervals))
    naive, corrected = covered
    assert binomial_pvalue(corrected, 30, 0.95) > THRESHOLD
    assert binomial_pvalue(naive, 30, 0.95) < THRESHOLD
    assert all(one.converged for one in many[1])


@pytest.mark.statistical
def test_the_bias_goes_and_standard_errors_are_the_spread_of_estimates(many):
    naive, corrected = (np.log([one["c"] / 0.1 for one in results]) for results in many)
    # Thirty data sets give a mean to .03 and a spread to 13 %; errors have 11 % of their own.
    spread = corrected.std(ddof=1)
    assert normal_pvalue(corrected.mean(), 0.0, spread / math.sqrt(30)) > THRESHOLD
    assert naive.mean() < corrected.mean()
    errors = [math.sqrt(one.covariance[0, 0]) for one in many[1]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.3)


def test_at_the_corrected_estimate_the_simulations_give_the_naive_fit():
    naive = fit_pairs(1)
    result = correct(naive, n_simulations=40, rng=5, tolerance=0.05)
    assert result.converged
    assert result.steps[-1].misfit <= 0.05 or min(s.misfit for s in result.steps) <= 0.05
    spread = np.sqrt(np.diag(result.naive_covariance))
    assert (np.abs(result.mean_naive - naive.u) <= 0.051 * spread).all()
    bias = math.exp(result.mean_naive[0]) - result["c"]
    assert result.bias["c"] == pytest.approx(bias)


def test_a_correction_repeats_and_does_not_depend_on_threads():
    naive = fit_pairs(2)
    first = correct(naive, n_simulations=20, rng=7, threads=1)
    again = correct(naive, n_simulations=20, seed=first.entropy, threads=2)
    assert (first.u == again.u).all()
    assert (first.covariance == again.covariance).all()
    other = correct(naive, n_simulations=20, rng=8)
    assert (first.u != other.u).any()


def test_several_experiments_and_known_errors_of_measurement():
    times = np.linspace(0, 6, 7)
    few = CHAIN.with_initial(A=20)
    random = np.random.default_rng(1)
    tables = []
    for network, seed in ((CHAIN, 1), (few, 2)):
        runs = gl.ensemble(network, times, 3, rng=seed)
        tables.append(
            [
                {"time": times[1:], "A": runs["A"][i, 1:] + 30.0 * random.standard_normal(6)}
                for i in range(3)
            ]
        )
    data = [Experiment(tables[0]), Experiment(tables[1], initial={"A": 20}, name="few")]
    naive = fit(CHAIN, data, ["k"])
    with_errors = correct(naive, n_simulations=100, rng=1, measurement_sd={"A": 30.0})
    without = correct(naive, n_simulations=100, rng=1)
    assert with_errors.converged
    assert with_errors.standard_errors["k"] > 1.5 * without.standard_errors["k"]
    assert abs(with_errors["k"] - 0.5) < 4.0 * with_errors.standard_errors["k"]


def test_noise_whose_width_follows_the_prediction_is_fitted_one_by_one():
    data = measured(CHAIN, np.linspace(0, 3, 5), 2, 3)
    naive = fit(CHAIN, data, ["k"], noise=Gaussian(relative=True))
    result = correct(naive, n_simulations=10, rng=1)
    assert result.converged
    assert abs(result["k"] - 0.5) < 5.0 * result.standard_errors["k"]


def test_a_correction_prints_and_tabulates_itself():
    naive = fit_pairs(1)
    result = correct(naive, n_simulations=20, rng=1)
    text = str(result)
    assert "converged: the mean naive estimate" in text
    assert "of 20 simulated data sets" in text
    assert f"{result['c']:.4g}" in text
    frame = result.to_frame()
    assert frame.loc["c", "corrected"] == result["c"]
    assert frame.loc["c", "naive_error"] == naive.standard_errors["c"]
    low, high = result.confidence_intervals(0.95)["c"]
    assert_allclose(frame.loc["c", ["lower", "upper"]].astype(float), [low, high])
    assert low < result["c"] < high
    assert "converged in" in repr(result)
    with pytest.raises(KeyError, match="'k' was not estimated"):
        result["k"]
    with pytest.raises(ValueError, match="level"):
        result.confidence_intervals(1.0)


# ---- Ends and refusals --------------------------------------------------------------------------


def test_a_correction_that_does_not_converge_says_so():
    with pytest.warns(UserWarning, match="did not converge: after 1 iterations"):
        result = correct(fit_pairs(1), n_simulations=20, rng=1, max_iterations=1, tolerance=1e-9)
    assert not result.converged
    assert "NOT converged" in str(result)
    assert len(result.steps) == 1


def test_a_timeout_keeps_the_best_so_far():
    naive = fit_pairs(1)
    with pytest.raises(SimulationError, match="not one round"):
        correct(naive, n_simulations=20, rng=1, timeout=0.0)
    calls = []

    def slow(done, total):
        import time

        calls.append((done, total))
        time.sleep(0.4)

    with pytest.warns(IncompleteWarning, match="stopped by timeout"):
        result = correct(naive, n_simulations=10, rng=1, timeout=0.6, progress=slow)
    assert result.stopped == "timeout"
    assert not result.converged
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))


def test_a_timeout_before_the_slopes_are_measured_leaves_no_standard_errors(monkeypatch):
    def out_of_time(search, here, spread):
        raise correction._OutOfTimeError

    monkeypatch.setattr(correction._Search, "_measured_slopes", out_of_time)
    with pytest.warns(IncompleteWarning, match="there are no standard errors"):
        result = correct(fit_pairs(1), n_simulations=10, rng=1)
    assert result.estimates == pytest.approx(result.naive.estimates, rel=1e-4)
    assert math.isnan(result.standard_errors["c"])
    assert np.isnan(result.confidence_intervals()["c"]).all()
    assert "nan" in str(result)
    assert len(result.to_frame()) == 1


def test_fits_in_batches_end_at_the_deadline(monkeypatch):
    naive = fit_pairs(1)
    objective = naive.objective
    data = [[c.values[None] for c in one.columns] for one in objective.experiments]
    with pytest.raises(TimeoutError, match="not finished"):
        fit_data_sets(objective, data, objective.space.start, deadline=-math.inf)

    def late(objective, data, start, deadline):
        return fit_data_sets(objective, data, start, -math.inf if deadline < math.inf else deadline)

    monkeypatch.setattr(correction, "fit_data_sets", late)
    with pytest.raises(SimulationError, match="timeout: not one round"):
        correct(naive, n_simulations=10, rng=1, timeout=1000.0)


def test_an_interrupt_before_the_first_round_says_that_there_is_no_result(monkeypatch):
    def interrupt(simulator, u):
        raise KeyboardInterrupt

    monkeypatch.setattr(correction._Simulator, "fits_at", interrupt)
    with pytest.raises(Interrupted, match=r"\.result is None") as caught:
        correct(fit_pairs(1), n_simulations=10, rng=1)
    assert caught.value.result is None


def test_an_interrupt_keeps_the_best_so_far():
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="best correction so far is in") as caught:
        correct(fit_pairs(1), n_simulations=10, rng=1, progress=interrupt)
    assert caught.value.result.stopped == "interrupt"
    assert len(caught.value.result.steps) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_simulations": 5}, ValueError, "10 or more"),
        ({"max_iterations": 0}, ValueError, "1 or more"),
        ({"tolerance": 0.0}, ValueError, "above 0"),
        ({"measurement_sd": {"B": 1.0}}, NetworkError, "'B', which was not measured"),
        ({"measurement_sd": {"A": -1.0}}, ValueError, "0 or more"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"rng": 1, "seed": 1}, ValueError, "not both"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        correct(fit_pairs(1, 2), **arguments)


def test_fits_that_no_trajectory_can_follow_are_refused():
    with pytest.raises(TypeError, match=r"result of fit\(...\), not a Network"):
        correct(PAIRS)
    times = np.linspace(0, 6, 7)
    start = fit(CHAIN, measured(CHAIN, times, 2, 1), ["k", "A(0)"])
    with pytest.raises(NetworkError, match=r"'A\(0\)' was estimated"):
        correct(start)
    driven = Recurrence(CHAIN, inputs=("g",))
    runs = gl.ensemble(CHAIN, times, 1, rng=1)
    table = Experiment({"time": times[1:], "A": runs["A"][0, 1:]}, inputs={"g": 0.25})
    with pytest.raises(NetworkError, match="input 'g'"):
        correct(fit(driven, table, ["k"]))
    half = Experiment({"time": times[1:], "A": runs["A"][0, 1:]}, initial={"A": 299.5})
    with pytest.raises(NetworkError, match=r"A = 299\.5"):
        correct(fit(CHAIN, half, ["k"]))
    rules = gl.Network.parse("param k = 0.5\nvariable X = 10\nX' = -k*X")
    path = {"time": times[1:], "X": 10.0 * np.exp(-0.5 * times[1:]) + 0.1 * np.sin(9 * times[1:])}
    with pytest.raises(NetworkError, match="variable 'X'"):
        correct(fit(rules, path, ["k"]))


def test_data_that_can_hardly_be_fitted_are_refused():
    # One trajectory of two molecules: most simulated data sets have no best k or no best g.
    network = CHAIN.with_initial(A=2)
    data = measured(network, [0, 1, 2, 3], 1, 11)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        naive = fit(network, data, ["k", "g"])
    with pytest.raises(SimulationError, match="could be fitted"):
        correct(naive, n_simulations=20, rng=1)
