"""Coupled pairs: each network by itself is exact, and the difference has little noise."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest
from laws import chi_square_pvalue
from scipy import stats

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.errors import Interrupted, NetworkError
from gillespy_lite.kernels.coupled_pairs import run_pairs
from gillespy_lite.kernels.walking import ALL_DONE, BUDGET_SPENT
from gillespy_lite.precision.differences import _planned

BIRTH_DEATH = models.birth_death()  # k = 10, g = 0.5
FEW = gl.Network.parse("""
species P = 3, Q = 0
param k = 2, V = 3, K = 2
observe load = k*P
0 -> P @ k
P => Q @ V*P/(K + P)
2 Q -> P @ 0.4
Q -> 0 @ 0.5
""")


def with_values(network, changes):
    counts = {name: value for name, value in changes.items() if name in network.species_names}
    others = {name: value for name, value in changes.items() if name not in counts}
    return network.with_parameters(others).with_initial(counts)


def test_compiled_pairs_repeat_their_python_source_wherever_they_stop():
    plan = _planned(FEW, {"V": 2.5, "P": 5}, [0.0, 0.5, 1.5], 1, None, None)
    outputs = []
    for run, budget in ((run_pairs, 10**9), (run_pairs, 5), (run_pairs.py_func, 3)):
        output, walker, status = plan.output(5), plan.walker(), BUDGET_SPENT
        while status == BUDGET_SPENT:
            status = run(plan.arrays, plan.request, walker, output, 2, budget)
        assert status == ALL_DONE
        outputs.append(output)
    assert outputs[0].counts[:, 0].tolist() == [[3, 0, 5, 0]] * 5
    for other in outputs[1:]:
        assert np.array_equal(outputs[0].counts, other.counts)
        assert np.array_equal(outputs[0].n_events, other.n_events)


@pytest.mark.statistical
@pytest.mark.parametrize("changes", [{"V": 2.0}, {"k": 4.0, "P": 8}, {"K": 2.0}, {"k": 0.0}])
def test_each_of_two_coupled_networks_follows_its_own_law(changes):
    # Histograms of both species against the master equation.
    n, end = 20_000, 1.5
    plan = _planned(FEW, changes, [0.0, end], 1, None, None)
    output, walker = plan.output(n), plan.walker()
    assert run_pairs(plan.arrays, plan.request, walker, output, 0, 10**12) == ALL_DONE
    for side, network in enumerate((FEW, with_values(FEW, changes))):
        law = gl.solve_master_equation(network, [0.0, end])
        for i, name in enumerate(("P", "Q")):
            counts = output.counts[:, -1, 2 * side + i]
            assert chi_square_pvalue(counts, law.marginal(name)) > 1e-6


@pytest.mark.statistical
def test_a_difference_has_no_bias_and_the_error_that_it_says():
    # The mean of a birth-death process from 0 is k/g (1 - exp(-g t)).
    def mean(k, g, t):
        return k / g * (1.0 - math.exp(-g * t))

    z = []
    for seed in range(60):
        found = gl.difference(BIRTH_DEATH, {"g": 0.55}, [0, 2, 6], "X", 300, rng=seed)
        truth = [mean(10, 0.55, t) - mean(10, 0.5, t) for t in (2, 6)]
        z.append((found.difference[1:] - truth) / found.standard_error[1:])
        assert found.difference[0] == found.standard_error[0] == 0.0
        assert found.variance_ratio[0] == 1.0
    for column in np.array(z).T:
        assert 2.0 * stats.norm.sf(abs(column.sum()) / math.sqrt(60)) > 1e-4
        assert stats.chi2.sf(float(column @ column), 60) > 1e-5


def test_pairs_save_more_than_the_same_seed():
    changes, times = {"g": 0.525}, [0.0, 20.0]
    found = gl.difference(BIRTH_DEATH, changes, times, "X", 2000, rng=1)
    one = gl.ensemble(BIRTH_DEATH, times, 2000, rng=1)["X"][:, -1]
    two = gl.ensemble(with_values(BIRTH_DEATH, changes), times, 2000, rng=1)["X"][:, -1]
    same_seed = (one.var() + two.var()) / (two - one).var()
    assert found.variance_ratio[-1] > 100.0
    assert same_seed < 30.0
    assert "in place of" in repr(found)
    assert found.second[-1] - found.first[-1] == pytest.approx(found.difference[-1])


def test_what_differs_may_be_a_probability_an_observable_or_nothing():
    rare = gl.difference(BIRTH_DEATH, {"k": 11}, 10, "X > 25", 2000, rng=1)
    law = [stats.poisson(k / 0.5 * (1.0 - math.exp(-5.0))).sf(25) for k in (10, 11)]
    assert abs(rare.difference[-1] - (law[1] - law[0])) < 4.5 * rare.standard_error[-1]
    # The parameter stands in the observable as well.
    load = gl.difference(FEW, {"k": 4}, 1, "load", 500, rng=1)
    assert (load.first[0], load.second[0]) == (6.0, 12.0)
    same = gl.difference(FEW, {"k": 2}, 1, "P", 100, rng=1)
    assert not same.difference.any()
    assert not same.standard_error.any()


def test_threads_change_nothing_and_seeds_do():
    first, second = (gl.difference(FEW, {"k": 3}, 2, "P", 300, rng=1, threads=i) for i in (1, 2))
    assert np.array_equal(first.difference, second.difference)
    assert not np.array_equal(
        first.difference, gl.difference(FEW, {"k": 3}, 2, "P", 300, seed=2).difference
    )


def test_a_difference_that_makes_no_sense_is_refused():
    for text in ("0 -> P @ 1 + t", "0 -> P @ 1\nat P > 3: P = 0"):
        network = gl.Network.parse(f"species P = 0\n{text}")
        with pytest.raises(NetworkError, match="rates change with the counts alone"):
            gl.difference(network, {"P": 1}, 1, "P", 10)
    for changes in ({}, "k", None):
        with pytest.raises(TypeError, match="changes must name what differs"):
            gl.difference(FEW, changes, 1, "P", 10)
    with pytest.raises(NetworkError, match="'z'"):
        gl.difference(FEW, {"z": 1}, 1, "P", 10)
    with pytest.raises(TypeError, match="what must be an expression"):
        gl.difference(FEW, {"k": 1}, 1, 3, 10)
    with pytest.raises(ValueError, match="confidence"):
        gl.difference(FEW, {"k": 1}, 1, "P", 10, confidence=95)
    with pytest.raises(gl.SimulationError, match="max_events") as caught:
        gl.difference(FEW, {"k": 1}, 50, "P", 10, max_events=5, rng=1)
    assert caught.value.result.stopped == "error"


def test_ctrl_c_keeps_the_pairs_that_are_done():
    def pressed(done, total):
        if done > 60_000:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        gl.difference(BIRTH_DEATH, {"k": 11}, 5, "X", 10**7, rng=1, threads=1, progress=pressed)
    assert caught.value.result.stopped == "interrupt"
    assert 0 < caught.value.result.n < 10**7
