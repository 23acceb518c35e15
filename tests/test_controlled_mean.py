"""Control variates: martingales of mean 0, estimates without bias, and what they save."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest
from scipy import stats

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.errors import IncompleteWarning, Interrupted, NetworkError
from gillespy_lite.kernels.lane_martingales import run_martingale_lanes
from gillespy_lite.kernels.martingales import run_martingales
from gillespy_lite.kernels.walking import ALL_DONE, BUDGET_SPENT, COMPLETE
from gillespy_lite.precision import controls
from gillespy_lite.precision.adjoint import Weights
from gillespy_lite.run_plan import plan_run

DIMERS = models.dimerisation()
# Few molecules, saturation and a constant flux: the linear theory is bad here.
FEW = gl.Network.parse("""
species P = 3, Q = 0
param k = 2, V = 3, K = 2
0 -> P @ k
P => Q @ V*P/(K + P)
2 Q -> P @ 0.4
Q -> 0 @ 0.5
""")


def exact_mean(network, end, what):
    law = gl.solve_master_equation(network, [0.0, end], tolerance=1e-9)
    return float(law.mean(what)[-1])


def planned(network, end, weights):
    plan = plan_run(
        network,
        [0.0, end],
        method="direct",
        rng=1,
        seed=None,
        outputs=None,
        stop_when=None,
        max_events=None,
        every_event=False,
        method_options={},
    )
    parts = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    return controls._ControlledPlan(**parts, weights=weights)


def random_weights(network, end):
    rng = np.random.default_rng(5)
    edges = np.sort(np.concatenate([[0.0, end], rng.uniform(0.0, end, 9)]))
    return Weights(edges, rng.normal(size=(10, network.n_reactions)))


@pytest.mark.parametrize("network", [DIMERS, FEW])
def test_compiled_martingales_repeat_their_python_source_wherever_they_stop(network):
    plan = planned(network, 2.0, random_weights(network, 2.0))
    outputs = []
    for run, budget in (
        (run_martingales, 10**9),
        (run_martingales, 7),
        (run_martingales.py_func, 3),
    ):
        output, walker, status = plan.output(4), plan.walker(), BUDGET_SPENT
        while status == BUDGET_SPENT:
            status = run(plan.arrays, plan.request, walker, output, 5, budget)
        assert status == ALL_DONE
        outputs.append(output)
    for other in outputs[1:]:
        assert np.array_equal(outputs[0].counts, other.counts)
        assert np.array_equal(outputs[0].n_events, other.n_events)
        assert np.allclose(outputs[0].values, other.values, rtol=1e-12, atol=1e-12)


# With rate laws; with an end of all events; with sums over more than four reactions.
LANES_TOO = [
    (DIMERS, 2.0),
    (FEW, 3.0),
    (gl.Network.parse("species P = 9, Q = 0\nP -> Q @ 2\n2 P -> Q @ 0.1\nQ -> 0 @ 5"), 9.0),
    (models.toggle_switch(), 1.0),
    (models.goutsias(), 3.0),
]


@pytest.mark.parametrize(("network", "end"), LANES_TOO)
def test_lanes_give_the_sum_of_martingales_of_single_paths_wherever_they_stop(network, end):
    plan = planned(network, end, random_weights(network, end))
    coefficients = np.random.default_rng(6).normal(size=network.n_reactions)
    n, each, both = 50, plan.output(50), plan.summed(coefficients)
    walker = plan.walker()
    assert run_martingales(plan.arrays, plan.request, walker, each, 7, 10**9) == ALL_DONE
    summed, walker = both.output(n), both.walker()
    assert run_martingales(both.arrays, both.request, walker, summed, 7, 10**9) == ALL_DONE
    scale = np.abs(each.values).sum() / n
    assert np.allclose(each.values[:, 0] @ coefficients, summed.values[:, 0, 0], atol=1e-9 * scale)
    found = []
    for budget in (10**9, 100):
        output, lanes = both.output(n), both.lane_walker(np.zeros(1, dtype=np.int64))
        status = BUDGET_SPENT
        while status == BUDGET_SPENT:
            status = run_martingale_lanes(both.engine.lanes, both.request, lanes, output, 7, budget)
        assert status == ALL_DONE
        assert (output.outcome == COMPLETE).all()
        found.append(output)
    assert found[0].values.tobytes() == found[1].values.tobytes()
    # Sums of propensities are in fours in lanes, so a last digit may choose another reaction.
    same = (found[0].counts == summed.counts).all(axis=(1, 2))
    assert same.mean() > 0.9
    assert np.array_equal(found[0].n_events[same], summed.n_events[same])
    assert np.allclose(found[0].values[same], summed.values[same], atol=1e-9 * scale)


def test_rows_that_lanes_give_back_are_run_one_by_one():
    # Each path needs 40 events; lanes leave those that want more to the scalar kernel.
    network = gl.Network.parse("species P = 40, Q = 0\nP -> Q @ 1")
    with pytest.raises(gl.SimulationError, match="max_events = 39"):
        gl.controlled_mean(network, 100, "Q", 300, rng=1, max_events=39)
    assert gl.controlled_mean(network, 100, "Q", 300, rng=1, max_events=40).estimate == 40.0


def test_a_wrong_weight_in_lanes_is_noticed():
    # The mutant: the weight of what fires is that of its neighbour.
    plan = planned(DIMERS, 2.0, random_weights(DIMERS, 2.0))
    z = []
    for swapped in (False, True):
        both = plan.summed(np.array([1.0, 1.0]))
        if swapped:
            lanes = both.engine.lanes
            lanes.first[:] += lanes.falls[:, 0]
        output, walker = both.output(20_000), both.lane_walker(np.zeros(1, dtype=np.int64))
        run_martingale_lanes(both.engine.lanes, both.request, walker, output, 0, 10**12)
        found = output.values[:, 0, 0]
        z.append(abs(found.mean()) / (found.std() / math.sqrt(found.size)))
    assert 2.0 * stats.norm.sf(z[0]) > 1e-4
    assert 2.0 * stats.norm.sf(z[1]) < 1e-8


@pytest.mark.statistical
@pytest.mark.parametrize("network", [DIMERS, FEW])
def test_martingales_of_any_weights_have_mean_zero_and_the_paths_their_law(network):
    # Power, measured: propensities 2 % too large in the integral fail.
    plan = planned(network, 2.0, random_weights(network, 2.0))
    n = 20_000
    output, walker = plan.output(n), plan.walker()
    assert run_martingales(plan.arrays, plan.request, walker, output, 0, 10**12) == ALL_DONE
    martingales = output.values[:, 0]
    z = martingales.mean(axis=0) / (martingales.std(axis=0) / math.sqrt(n))
    assert stats.chi2.sf(float(z @ z), z.size) > 1e-5
    for i, name in enumerate(network.species_names):
        counts = output.counts[:, 0, i]
        error = counts.std() / math.sqrt(n)
        assert abs(counts.mean() - exact_mean(network, 2.0, name)) < 4.5 * error


def test_a_wrong_integral_is_noticed():
    # The mutant of the test above: with weights of 1 the martingale of a death is the number of
    # deaths less its integral, to which 2 % are added.
    network = gl.Network.parse("species P = 200, Q = 0\nP -> Q @ 0.3")
    plan = planned(network, 2.0, Weights(np.array([0.0, 1.0, 2.0]), np.ones((2, 1))))
    output, walker = plan.output(20_000), plan.walker()
    run_martingales(plan.arrays, plan.request, walker, output, 0, 10**12)
    martingale, deaths = output.values[:, 0, 0], output.counts[:, 0, 1]
    integral = deaths - martingale
    for wrong, is_noticed in ((integral, False), (1.02 * integral, True)):
        found = deaths - wrong
        z = found.mean() / (found.std() / math.sqrt(20_000))
        assert (2.0 * stats.norm.sf(abs(z)) < 1e-5) == is_noticed


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("network", "end", "what"),
    [
        (DIMERS, 50.0, "P"),
        (models.michaelis_menten(S=40, E=12), 30.0, "P"),
        (FEW, 4.0, "Q"),
        (models.telegraph(), 5.0, "M"),
    ],
)
def test_a_controlled_mean_has_no_bias_and_the_interval_that_it_says(network, end, what):
    # Twenty pilots, so that a bias of their coefficients would show. Power: a bias of a third of
    # the standard error of one run, in all of them, fails.
    truth = exact_mean(network, end, what)
    runs = [gl.controlled_mean(network, end, what, 400, rng=seed) for seed in range(40)]
    z = np.array([(one.estimate - truth) / one.standard_error for one in runs])
    assert 2.0 * stats.norm.sf(abs(z.sum()) / math.sqrt(z.size)) > 1e-4
    assert stats.chi2.sf(float(z @ z), z.size) > 1e-5
    assert all(one.lower <= one.estimate <= one.upper for one in runs)


def test_coefficients_from_the_trajectories_themselves_would_be_another_estimate(monkeypatch):
    # The pilot has streams of its own: its trajectories are not among those that count.
    seen = []
    values = controls._Sampler.values

    def watched(self, first, last, tell):
        for one, martingales in values(self, first, last, tell):
            seen.append(martingales)
            yield one, martingales

    monkeypatch.setattr(controls._Sampler, "values", watched)
    result = gl.controlled_mean(DIMERS, 50, "P", 600, rng=1)
    pilot, counted = seen
    assert (len(pilot), len(counted)) == (result.n_pilot, result.n)
    # Of the pilot one number a reaction, of the others their sum.
    assert (pilot.shape[1], counted.shape[1]) == (2, 1)
    assert not np.isin(pilot @ result.coefficients, counted[:, 0]).any()


def test_variances_fall_more_than_a_hundred_times_where_counts_are_large():
    for name, what in (("dimerisation", "P"), ("michaelis_menten", "P")):
        stock = models.MODELS[name]
        result = gl.controlled_mean(stock.build(), stock.t_end, what, 2000, rng=1)
        assert result.variance_ratio > 100.0
        assert result.standard_error < 0.1 * result.plain_standard_error
        assert abs(result.plain_estimate - result.estimate) < 5.0 * result.plain_standard_error


def test_the_linear_moments_of_a_network_of_first_order_are_among_the_controls():
    # Their means are exact, so nothing would be left to vary if the weights had no steps.
    for name, species, end in (("birth_death", "X", 20.0), ("telegraph", "M", 5.0)):
        found = gl.controlled_mean(models.MODELS[name].build(), end, species, 500, rng=1)
        assert found.variance_ratio > 1000.0
        exact = models.exact_law(name, species, end).mean
        assert abs(found.estimate - exact) < 4.5 * found.standard_error


def test_means_of_expressions_and_what_is_constant_or_never_fires():
    network = gl.Network.parse("""
        species P = 100, Q = 0, R = 7
        param c = 0.01
        observe units = P + 2*Q
        2 P -> Q @ c
        R -> 2 R @ 0
    """)
    square = gl.controlled_mean(network, 1, "P^2/100", 2000, rng=1)
    assert square.variance_ratio > 5.0
    units = gl.controlled_mean(network, 1, "units + R", 500, rng=1)
    assert (units.estimate, units.standard_error, units.variance_ratio) == (107.0, 0.0, 1.0)


def test_threads_change_nothing_and_seeds_do():
    first, second = (gl.controlled_mean(DIMERS, 50, "P", 700, rng=1, threads=i) for i in (1, 2))
    assert first.estimate == second.estimate
    assert np.array_equal(first.coefficients, second.coefficients)
    assert first.estimate != gl.controlled_mean(DIMERS, 50, "P", 700, rng=2).estimate
    assert gl.controlled_mean(DIMERS, 50, "P", 700, seed=1).estimate == first.estimate
    assert "in place of" in repr(first)


@pytest.mark.parametrize(("tolerance", "width"), [("0.1%", 0.0286), (0.02, 0.02)])
def test_a_tolerance_is_reached_with_few_trajectories(tolerance, width):
    result = gl.controlled_mean(DIMERS, 50, "P", tolerance=tolerance, rng=1)
    assert result.reached
    assert result.stopped is None
    assert max(result.upper - result.estimate, result.estimate - result.lower) <= width
    assert result.n < 10_000
    assert result.lower <= exact_mean(DIMERS, 50.0, "P") <= result.upper


def test_runs_that_are_cut_short_keep_what_is_known():
    with pytest.warns(IncompleteWarning, match="stopped by max_n with 300 trajectories"):
        result = gl.controlled_mean(DIMERS, 50, "P", tolerance=1e-6, max_n=300, rng=1)
    assert (result.n, result.stopped, result.reached) == (300, "max_n", False)
    with pytest.warns(IncompleteWarning, match="stopped by timeout"):
        result = gl.controlled_mean(DIMERS, 50, "P", tolerance=1e-6, max_time=0.0, rng=1)
    assert math.isnan(result.estimate)

    def pressed(done, total):
        if done > 2000:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        gl.controlled_mean(
            DIMERS, 50, "P", tolerance=1e-6, rng=1, threads=1, progress=pressed, max_n=10**9
        )
    assert caught.value.result.stopped == "interrupt"
    with pytest.raises(gl.SimulationError, match="max_events"):
        gl.controlled_mean(DIMERS, 50, "P", 100, rng=1, max_events=3)


def test_what_controls_cannot_follow_is_refused():
    for text in (
        "species P = 0\n0 -> P @ 1 + t",
        "species P = 0\nvariable A = 1\n0 -> P @ 1\nA' = -A",
        "species P = 0\n0 -> P @ 1\nat P > 3: P = 0",
    ):
        with pytest.raises(NetworkError, match="rates change with the counts alone"):
            gl.controlled_mean(gl.Network.parse(text), 1, "P", 10)
    for arguments, message in (
        ({}, "either n="),
        ({"n": 10, "tolerance": 1}, "either n="),
        ({"n": 10, "max_n": 5}, "max_n= goes with tolerance="),
        ({"tolerance": "x%"}, "a number above 0, or a percentage"),
        ({"tolerance": "200%"}, "a number above 0, or a percentage"),
        ({"tolerance": -1.0}, "a number above 0, or a percentage"),
        ({"n": 10, "confidence": 2}, "between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            gl.controlled_mean(DIMERS, 1, "P", **arguments)
    with pytest.raises(ValueError, match="is a condition"):
        gl.controlled_mean(DIMERS, 1, "P > 3", 10)
    with pytest.raises(TypeError, match="what must be an expression"):
        gl.controlled_mean(DIMERS, 1, 3, 10)
    with pytest.raises(NetworkError, match="unknown name"):
        gl.controlled_mean(DIMERS, 1, "Z", 10)
