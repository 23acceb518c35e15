"""What a run is asked for, what it refuses, and how it ends: `simulate` and `ensemble`."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from laws import ALPHA, chi_square_pvalue, ks_pvalue, normal_pvalue, poisson_law
from scipy import stats

import gillespy_lite as gl
from gillespy_lite import workers
from gillespy_lite.errors import (
    BadPropensityError,
    CountOverflowError,
    EventLimitError,
    IncompleteWarning,
    Interrupted,
    MethodError,
    NetworkError,
    NotEnoughMemoryError,
    ParseError,
)
from gillespy_lite.interruption import interrupts_kept
from gillespy_lite.kernels.jit import signatures
from gillespy_lite.workers import cores, lent_threads

STOCHASTIC = [name for name, method in gl.METHODS.items() if method.is_stochastic]
EXACT = [name for name in STOCHASTIC if gl.METHODS[name].is_exact]
SMALLEST = ALPHA / 50

BIRTH_DEATH = gl.Network.parse("""
species X, Y = 4
param k = 10, g = 0.5
observe double = 2*X
observe ratio = X/(X + Y)
0 -> X @ k
X -> 0 @ g
""")
BIRTH = gl.Network.parse("species X\nparam k = 2\n0 -> X @ k")
# Hours of work for every stochastic method, and for the rate equations.
ENDLESS = gl.Network.parse("species X\n0 -> X @ 100\nX -> 0 @ 1")
OSCILLATOR = gl.Network.parse(
    "species A = 500, B = 1000\nA -> 2 A @ 10\nA + B -> 2 B @ 0.01\nB -> 0 @ 10"
)


# ---- Times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", gl.METHODS)
def test_end_time_stands_for_101_times_from_zero(method):
    path = gl.simulate(BIRTH_DEATH, 5, method=method, rng=1)
    assert np.array_equal(path.times, np.linspace(0.0, 5.0, 101))
    assert path.counts.shape == (101, 2)


@pytest.mark.parametrize(
    "t", [[0, 1, 2], (0, 1, 2), range(3), np.arange(3), np.arange(3, dtype=np.float32)]
)
def test_times_may_be_any_sequence(t):
    path = gl.simulate(BIRTH_DEATH, t, rng=1)
    assert path.times.dtype == np.float64
    assert path.times.tolist() == [0.0, 1.0, 2.0]
    usual = gl.simulate(BIRTH_DEATH, [0.0, 1.0, 2.0], rng=1)
    assert np.array_equal(path.counts, usual.counts)


def test_times_are_copied_and_need_not_be_contiguous():
    grid = np.linspace(0, 4, 9)
    runs = gl.ensemble(BIRTH_DEATH, grid[::2], 3, rng=1)
    kept = runs.times.copy()
    grid[:] = 7.0
    assert np.array_equal(runs.times, kept)
    frozen = np.linspace(0, 4, 5)
    frozen.setflags(write=False)
    assert np.array_equal(gl.ensemble(BIRTH_DEATH, frozen, 3, rng=1).counts, runs.counts)


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (0, "t = 0 is not an end time above 0"),
        (-1.5, "t = -1.5 is not an end time above 0"),
        ([], "t is empty"),
        ([0, 1, 1], r"times\[2\] = 1 follows times\[1\] = 1"),
        ([0, 2, 1], r"times must increase, but times\[2\] = 1"),
        (math.nan, "infinite or not a number"),
        (math.inf, "infinite or not a number"),
        ([0, math.inf], "infinite or not a number"),
        ([[0, 1], [2, 3]], r"shape \(2, 2\)"),
        (None, "t "),
        ("soon", "not 'soon'"),
        ("3", "not '3'"),
        (3j, "not 3j"),
        ({"end": 3}, "end time or a list of times"),
    ],
)
def test_times_that_make_no_sense_are_refused(t, message):
    for run in (
        lambda: gl.simulate(BIRTH_DEATH, t, rng=1),
        lambda: gl.simulate(BIRTH_DEATH, t, rng=1, method="ode"),
        lambda: gl.ensemble(BIRTH_DEATH, t, 3, rng=1),
    ):
        with pytest.raises(ValueError, match=message):
            run()


@pytest.mark.parametrize("method", gl.METHODS)
def test_single_time_is_the_initial_state(method):
    path = gl.simulate(BIRTH_DEATH.with_initial(X=7), [3.5], method=method, rng=1)
    assert path.times.tolist() == [3.5]
    assert path.counts.tolist() == [[7, 4]]
    assert path.n_events == 0
    assert path.end_time == 3.5


@pytest.mark.statistical
@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("start", [5.0, -20.0, 1e6])
def test_initial_state_holds_at_the_first_time(method, start):
    # Poisson(k/g (1 - exp(-g 3))) three units of time after the start, whenever that is.
    runs = gl.ensemble(BIRTH_DEATH, [start, start + 1, start + 3], 5000, method=method, rng=2)
    assert (runs["X"][:, 0] == 0).all()
    law = poisson_law(20.0 * (1.0 - math.exp(-1.5)))
    assert chi_square_pvalue(runs.final("X"), law) > SMALLEST


@pytest.mark.statistical
@pytest.mark.parametrize("method", STOCHASTIC)
def test_slow_rates_over_a_large_time_follow_the_law(method):
    network = BIRTH_DEATH.with_parameters(k=1e-8, g=5e-10)
    runs = gl.ensemble(network, [0, 1e9, 1e11], 5000, method=method, rng=3)
    law = poisson_law(20.0 * (1.0 - math.exp(-0.5)))
    assert chi_square_pvalue(runs.at(1e9, "X"), law) > SMALLEST
    assert chi_square_pvalue(runs.final("X"), poisson_law(20.0)) > SMALLEST


@pytest.mark.parametrize("method", EXACT)
def test_count_at_a_time_includes_the_event_at_that_time(method):
    path = gl.simulate(BIRTH, 5, method=method, rng=4, every_event=True)
    at = float(path.times[3])
    grid = [0.0, np.nextafter(at, 0.0), at, np.nextafter(at, 9.0)]
    on_grid = gl.simulate(BIRTH, grid, method=method, rng=4)
    assert on_grid["X"].tolist() == [0, 2, 3, 3]


# ---- Other arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -3, 2.0, 2.5, True, "3", [3], np.float64(3)])
def test_number_of_trajectories_must_be_a_whole_number(n):
    with pytest.raises(ValueError, match="n must be a whole number, 1 or more, not"):
        gl.ensemble(BIRTH_DEATH, 1, n, rng=1)


def test_a_number_of_trajectories_or_a_precision_must_be_given():
    with pytest.raises(ValueError, match=r"how many trajectories\? Give n=, or until="):
        gl.ensemble(BIRTH_DEATH, 1, rng=1)


@pytest.mark.parametrize("argument", ["threads", "chunk_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_threads_and_chunks_must_be_whole_numbers(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be a whole number, 1 or more"):
        gl.ensemble(BIRTH_DEATH, 1, 3, rng=1, **{argument: value})


@pytest.mark.parametrize("value", [0, 1, 3, -2, 2.0, None])
def test_histogram_bins_must_be_an_even_number(value):
    with pytest.raises(ValueError, match="histogram_bins must be"):
        gl.ensemble(BIRTH_DEATH, 1, 3, rng=1, statistics=True, histogram_bins=value)


@pytest.mark.parametrize("value", [-1, 1.5, "3", True, math.nan, math.inf])
def test_max_events_must_be_a_whole_number(value):
    with pytest.raises(ValueError, match="max_events must be"):
        gl.simulate(BIRTH_DEATH, 1, rng=1, max_events=value)


@pytest.mark.parametrize("every_event", [False, True])
def test_times_too_large_to_add_a_waiting_time_to_are_refused(every_event):
    # At 1e17 neighbouring doubles lie 16 apart, and waiting times are about 0.1.
    with pytest.raises(gl.SimulationError, match=r"clock stands still .* at t = 1e\+17, where X"):
        gl.simulate(BIRTH_DEATH, [1e17, 2e17], rng=1, every_event=every_event)
    with pytest.raises(gl.SimulationError, match="clock stands still") as caught:
        gl.ensemble(BIRTH_DEATH, [1e17, 2e17], 3, rng=1)
    assert caught.value.result.n_trajectories == 0


@pytest.mark.parametrize("value", [-1, math.nan, "3", True])
def test_timeout_must_be_a_number_of_seconds(value):
    for run in (
        lambda: gl.simulate(BIRTH_DEATH, 1, rng=1, timeout=value),
        lambda: gl.ensemble(BIRTH_DEATH, 1, 3, rng=1, timeout=value),
    ):
        with pytest.raises(ValueError, match="timeout must be a number of seconds"):
            run()


@pytest.mark.parametrize("network", ["species X", None, 3, gl.Network])
def test_first_argument_must_be_a_network(network):
    for run in (
        lambda: gl.simulate(network, 1),
        lambda: gl.ensemble(network, 1, 3),
    ):
        with pytest.raises(TypeError, match=r"must be a Network.*Network\.parse"):
            run()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("dirct", "unknown method 'dirct'; .*auto, direct, first_reaction.*did you mean 'direct'"),
        ("Direct", "did you mean 'direct'?"),
        ("tau-leaping", "did you mean 'tau_leaping'?"),
        ("ssa", "unknown method 'ssa'.*ode"),
        (None, "unknown method None"),
        (3, "unknown method 3"),
    ],
)
def test_unknown_method_is_refused_with_a_hint(method, message):
    with pytest.raises(MethodError, match=message):
        gl.simulate(BIRTH_DEATH, 1, rng=1, method=method)
    with pytest.raises(MethodError, match=message):
        gl.ensemble(BIRTH_DEATH, 1, 2, rng=1, method=method)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.1}, "method 'direct' has no option 'epsilon'; its options are look_ahead"),
        ({"method": "tau_leaping", "eps": 0.1}, "no option 'eps'; its options are epsilon, crit"),
        ({"method": "tau_leaping", "epsilon": 1.0}, "epsilon .*between 0 and 1, not 1"),
        ({"method": "tau_leaping", "epsilon": math.nan}, "epsilon .*between 0 and 1, not nan"),
        ({"method": "tau_leaping", "tau": -1}, "option tau .*not -1"),
        ({"method": "tau_leaping", "tau": math.inf}, "option tau .*not inf"),
        ({"method": "tau_leaping", "critical_count": -1}, "critical_count .*0 or more"),
        ({"method": "tau_leaping", "single_steps": 0}, "single_steps .*1 or more"),
        ({"method": "tau_leaping", "leap_worth": 0}, "leap_worth .*above 0"),
        ({"method": "ode", "solver": "Euler"}, "solver .*LSODA, BDF, Radau, not 'Euler'"),
        ({"method": "ode", "rtol": 0}, "rtol .*between 0 and 1"),
        ({"method": "ode", "max_step": -1}, "max_step .*a positive time"),
        ({"rgn": 1}, "no option 'rgn'"),
    ],
)
def test_unknown_and_impossible_options_are_refused(options, message):
    with pytest.raises(MethodError, match=message):
        gl.simulate(BIRTH_DEATH, 1, **options)


def test_method_may_be_an_instance_and_options_go_into_the_result():
    chosen = gl.TauLeaping(epsilon=0.1)
    path = gl.simulate(BIRTH_DEATH, 1, rng=1, method=chosen, critical_count=5)
    assert path.provenance.method == "tau_leaping"
    assert path.provenance.options["epsilon"] == 0.1
    assert path.provenance.options["critical_count"] == 5
    assert chosen.critical_count == 10
    by_name = gl.simulate(
        BIRTH_DEATH, 1, rng=1, method="tau_leaping", epsilon=0.1, critical_count=5
    )
    assert np.array_equal(path.counts, by_name.counts)


def test_auto_is_exact_and_says_why():
    for run in (gl.simulate(BIRTH_DEATH, 1, rng=1), gl.ensemble(BIRTH_DEATH, 1, 2, rng=1)):
        assert gl.METHODS[run.provenance.method].is_exact
        assert "exact" in run.provenance.method_reason
        assert run.provenance.method_reason in str(run.provenance)


def test_ensemble_of_a_deterministic_method_is_refused():
    with pytest.raises(MethodError, match=r"deterministic.*simulate\(network, t, method='ode'\)"):
        gl.ensemble(BIRTH_DEATH, 1, 3, method="ode")


@pytest.mark.parametrize("asked", [{"every_event": True}, {"max_events": 10}])
def test_rate_equations_refuse_what_needs_events(asked):
    with pytest.raises(MethodError, match=next(iter(asked))):
        gl.simulate(BIRTH_DEATH, 1, method="ode", **asked)


def test_negative_rate_constant_is_refused_before_running():
    for method in gl.METHODS:
        with pytest.raises(NetworkError, match=r"rate constant of reaction 1 \(0 -> X\) is -3"):
            gl.simulate(BIRTH_DEATH.with_parameters(k=-3), 1, method=method)


# ---- Outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", gl.METHODS)
def test_outputs_are_the_species_and_observables_asked_for(method):
    everything = gl.simulate(BIRTH_DEATH, 5, method=method, rng=5)
    path = gl.simulate(BIRTH_DEATH, 5, method=method, rng=5, outputs=["ratio", "X", "double"])
    assert path.species == ("X",)
    assert path.observables == ("ratio", "double")
    assert path.columns == ("X", "ratio", "double")
    assert path.counts.shape == (101, 1)
    assert path.values.shape == (101, 2)
    x = everything["X"]
    assert np.array_equal(path["X"], x)
    assert path["double"] == pytest.approx(2 * x)
    assert path["ratio"] == pytest.approx(x / (x + 4.0))


def test_outputs_may_be_one_name_or_an_object():
    assert gl.simulate(BIRTH_DEATH, 1, rng=1, outputs="Y").columns == ("Y",)
    assert gl.simulate(BIRTH_DEATH, 1, rng=1, outputs=[gl.Species("Y")]).columns == ("Y",)
    only = gl.ensemble(BIRTH_DEATH, 1, 5, rng=1, outputs=["double"])
    assert only.counts.shape == (5, 101, 0)
    assert only["double"].shape == (5, 101)


@pytest.mark.parametrize("statistics", [False, True])
def test_ensemble_outputs_are_columns_of_the_full_one(statistics):
    def mean(**asked: Any) -> np.ndarray:
        runs = gl.ensemble(BIRTH_DEATH, 3, 50, rng=6, statistics=statistics, **asked)
        return runs.mean("X")

    assert np.array_equal(mean(), mean(outputs=["X"]))
    assert mean(outputs=["X", "double"]) == pytest.approx(mean())


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (["doubel"], NetworkError, "'doubel'.*did you mean 'double'?"),
        (["x"], NetworkError, "'x'.*did you mean 'X'?"),
        (["X", "k"], NetworkError, "'k', which is neither a species nor an observable"),
        ("t", NetworkError, "'t'"),
        ([], ValueError, "outputs is empty"),
        (3, TypeError, "must be a list of names, not 3"),
        (["X", "Y", "X"], ValueError, "'X' twice"),
    ],
)
def test_unknown_outputs_are_refused_with_a_hint(outputs, error, message):
    for run in (
        lambda: gl.simulate(BIRTH_DEATH, 1, rng=1, outputs=outputs),
        lambda: gl.simulate(BIRTH_DEATH, 1, method="ode", outputs=outputs),
        lambda: gl.ensemble(BIRTH_DEATH, 1, 3, rng=1, outputs=outputs),
        lambda: gl.ensemble(BIRTH_DEATH, 1, 3, rng=1, outputs=outputs, statistics=True),
    ):
        with pytest.raises(error, match=message):
            run()


# ---- Stopping on a condition ---------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_hitting_times_of_a_pure_birth_are_gamma_distributed(method):
    # The time of the fifth of events at rate 2. Power: times 5 % too long give p = 1e-8 on average.
    runs = gl.ensemble(BIRTH, [0, 50], 10_000, method=method, rng=7, stop_when="X >= 5")
    assert np.isfinite(runs.hitting_times).all()
    assert ks_pvalue(runs.hitting_times, stats.gamma(5, scale=0.5).cdf) > SMALLEST
    assert ks_pvalue(1.05 * runs.hitting_times, stats.gamma(5, scale=0.5).cdf) < SMALLEST
    assert (runs.final("X") == 5).all()
    assert (runs.n_events == 5).all()


@pytest.mark.statistical
@pytest.mark.parametrize("method", STOCHASTIC)
def test_hitting_times_of_an_extinction_follow_their_law(method):
    # X -> 0 @ 1 from 20 is extinct by t with probability (1 - exp(-t))^20; leaping does single
    # events at such counts.
    network = gl.Network.parse("species X = 20\nX -> 0 @ 1")
    runs = gl.ensemble(network, [0, 1, 1e3], 5000, method=method, rng=8, stop_when="X == 0")
    assert ks_pvalue(runs.hitting_times, lambda t: (1.0 - np.exp(-t)) ** 20) > SMALLEST


@pytest.mark.parametrize("method", STOCHASTIC)
def test_state_is_held_from_the_event_that_meets_the_condition(method):
    # A leap may pass the condition by several events; there are none where X is critical.
    network = gl.Network.parse("species X\n0 -> X @ 2\nX => 0 @ 0.01*X")
    times = np.linspace(0, 20, 201)
    runs = gl.ensemble(network, times, 50, method=method, rng=9, stop_when="X >= 5")
    free = gl.ensemble(network, times, 50, method=method, rng=9)
    for i in range(50):
        before = times < runs.hitting_times[i]
        assert 0 < before.sum() < 201
        assert np.array_equal(runs["X"][i, before], free["X"][i, before])
        assert (runs["X"][i, before] < 5).all()
        held = runs["X"][i, ~before]
        assert (held == held[:1]).all()
        assert (held == 5).all() if method in EXACT else (held >= 5).all()
    assert runs.counts.shape == free.counts.shape


@pytest.mark.parametrize("method", STOCHASTIC)
def test_condition_true_from_the_start_takes_no_event(method):
    runs = gl.ensemble(BIRTH_DEATH, [2, 3, 4], 3, method=method, rng=1, stop_when="Y == 4")
    assert runs.hitting_times.tolist() == [2.0] * 3
    assert (runs.n_events == 0).all()
    assert (runs["X"] == 0).all()


@pytest.mark.parametrize("method", STOCHASTIC)
def test_condition_that_is_never_met_gives_nan(method):
    runs = gl.ensemble(BIRTH_DEATH, 3, 20, method=method, rng=1, stop_when="Y > 4")
    assert np.isnan(runs.hitting_times).all()
    assert runs.hit_fraction == 0.0
    free = gl.ensemble(BIRTH_DEATH, 3, 20, method=method, rng=1)
    assert np.array_equal(runs.counts, free.counts)


@pytest.mark.parametrize("method", EXACT)
def test_every_event_ends_with_the_one_that_meets_the_condition(method):
    path = gl.simulate(BIRTH, 100, method=method, rng=10, stop_when="X >= 5", every_event=True)
    assert path["X"].tolist() == [0, 1, 2, 3, 4, 5]
    assert path.hitting_time == path.times[-1]
    assert path.stopped is None


def test_condition_may_use_observables_parameters_logic_and_objects():
    x, k = gl.Species("X"), gl.Parameter("k", 2)
    usual = gl.simulate(BIRTH, 10, rng=11, stop_when="X >= 5").hitting_time
    for condition in ("X > 2*k", "not X < 5", "X >= 5 and k == 2", x >= 5, (x > 4) & (k < 3)):
        assert gl.simulate(BIRTH, 10, rng=11, stop_when=condition).hitting_time == usual
    runs = gl.ensemble(BIRTH_DEATH, 10, 20, rng=1, stop_when="double >= 8 or ratio > 0.9")
    assert (runs.final("X") == 4).all()


def test_condition_is_looked_at_after_events_of_any_reaction():
    # Y jumps past the value, and is not what the condition names first.
    network = gl.Network.parse("species X, Y\n0 -> X @ 1\n0 -> 3 Y @ 5")
    for method in EXACT:
        path = gl.simulate(network, 10, method=method, rng=1, stop_when="X > 99 or Y >= 4")
        assert path.final("Y") == 6


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        ("X", NetworkError, "must be a condition such as 'X >= 80', not 'X'"),
        ("X + 1", NetworkError, "must be a condition"),
        ("1", NetworkError, "must be a condition"),
        (5, NetworkError, "must be a condition"),
        (True, NetworkError, "must be a condition"),
        (lambda state: True, NetworkError, "must be a condition"),
        (gl.Species("X"), NetworkError, "must be a condition"),
        ("Z > 3", NetworkError, "in stop_when: 'Z > 3' uses the unknown name 'Z'"),
        ("X = 3", ParseError, "to compare, write =="),
        ("X >", ParseError, "missing"),
        ("0 < X < 5", ParseError, "do not chain"),
        ("X > 3 && X < 5", ParseError, "and"),
        ("", ParseError, "missing"),
        ("__import__('os')", ParseError, "<expression>:1:"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(condition, error, message):
    network = gl.Network.parse("species X\nobserve clock = t\n0 -> X @ 1")
    for run in (
        lambda: gl.simulate(network, 1, rng=1, stop_when=condition),
        lambda: gl.ensemble(network, 1, 3, rng=1, stop_when=condition),
    ):
        with pytest.raises(error, match=message):
            run()


@pytest.mark.parametrize("condition", ["t > 3", "X > 3 and t > 3", "clock > 3"])
def test_leaping_refuses_to_stop_at_a_time(condition):
    network = gl.Network.parse("species X\nobserve clock = t\n0 -> X @ 1")
    with pytest.raises(MethodError, match=r"depends on the time t.*a time would be missed"):
        gl.simulate(network, 1, rng=1, method="tau_leaping", stop_when=condition)


# ---- Limits of events, of time, of memory --------------------------------------------------------


@pytest.mark.parametrize("method", STOCHASTIC)
def test_event_limit_keeps_what_was_reached(method):
    message = r"trajectory 0 needs more than max_events = 10 events; it had reached t = \d"
    with pytest.raises(EventLimitError, match=message) as caught:
        gl.simulate(BIRTH, 100, method=method, rng=12, max_events=10)
    path = caught.value.result
    assert path.stopped == "error"
    assert path.n_events == 10
    assert 0 < path.end_time < 100
    free = gl.simulate(BIRTH, 100, method=method, rng=12)
    assert np.array_equal(path.counts, free.counts[: path.times.size])
    with pytest.raises(EventLimitError) as caught:
        gl.simulate(BIRTH, 100, method=method, rng=12, max_events=10, every_event=True)
    path = caught.value.result
    assert path.times.size == 11
    assert path.end_time == path.times[-1]
    if method in EXACT:
        assert path["X"].tolist() == list(range(11))


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("threads", [1, 2])
def test_event_limit_keeps_the_finished_trajectories(method, threads):
    network = gl.Network.parse("species X = 12\nX -> 0 @ 0.6\n0 -> X @ 0.5")
    free = gl.ensemble(network, 1, 400, method=method, rng=13)
    limit = int(free.n_events.max()) - 1  # few trajectories need more
    with pytest.raises(EventLimitError) as caught:
        gl.ensemble(
            network, 1, 400, method=method, rng=13, max_events=limit, threads=threads, chunk_size=1
        )
    runs = caught.value.result
    assert runs.stopped == "error"
    assert runs.n_requested == 400
    assert 0 < runs.n_trajectories < 400
    assert (runs.n_events <= limit).all()
    assert np.array_equal(runs.counts, free.counts[runs.indices])
    i, reached = re.search(r"trajectory (\d+) .* t = ([\d.]+) of 1", str(caught.value)).groups()
    assert free.n_events[int(i)] == limit + 1
    # The time is that of the trajectory which it names, at the last event allowed.
    assert float(reached) == pytest.approx(free.replay(int(i)).times[limit], rel=1e-4)


@pytest.mark.parametrize("method", STOCHASTIC)
def test_event_limit_that_suffices_changes_nothing(method):
    free = gl.simulate(BIRTH, 10, method=method, rng=12)
    limited = gl.simulate(BIRTH, 10, method=method, rng=12, max_events=free.n_events)
    assert np.array_equal(free.counts, limited.counts)
    with pytest.raises(EventLimitError):
        gl.simulate(BIRTH, 10, method=method, rng=12, max_events=free.n_events - 1)
    resting = gl.Network.parse("species X = 3\nX -> 0 @ 0")
    assert gl.simulate(resting, 10, method=method, rng=1, max_events=0).final("X") == 3


@pytest.mark.parametrize("method", STOCHASTIC)
def test_timeout_returns_the_trajectory_so_far(method):
    times = np.array([0, 0.5, 1, 1e10])
    with pytest.warns(IncompleteWarning, match="timeout: the trajectory ends at t = "):
        path = gl.simulate(ENDLESS, times, method=method, rng=14, timeout=0.1)
    assert path.stopped == "timeout"
    assert path.times.tolist() == [0, 0.5, 1]
    assert path.counts.shape == (3, 1)
    assert 1 < path.end_time < 1e10
    with pytest.warns(IncompleteWarning):
        rows = gl.simulate(ENDLESS, 1e10, method=method, rng=14, timeout=0.1, every_event=True)
    assert rows.times.size == rows.n_events + 1
    assert rows.end_time == rows.times[-1]


@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_timeout_returns_the_finished_trajectories(statistics, threads):
    started = time.perf_counter()
    with pytest.warns(IncompleteWarning, match="of 300000 trajectories are finished"):
        runs = gl.ensemble(
            ENDLESS, 200, 300_000, rng=15, timeout=0.3, threads=threads, statistics=statistics
        )
    assert time.perf_counter() - started < 10.0
    assert runs.stopped == "timeout"
    assert 0 < runs.n_trajectories < runs.n_requested == 300_000
    assert runs.mean("X")[-1] == pytest.approx(100, rel=0.1)
    if statistics:
        assert (runs.bin_counts.sum(axis=-1) == runs.n_trajectories).all()


def test_timeout_before_any_trajectory_is_finished_gives_an_empty_result():
    for statistics in (False, True):
        with pytest.warns(IncompleteWarning, match="0 of 3 trajectories"):
            runs = gl.ensemble(ENDLESS, 1e9, 3, rng=1, timeout=0.05, statistics=statistics)
        assert runs.n_trajectories == 0


def test_timeout_of_the_rate_equations_returns_the_times_done():
    with pytest.warns(IncompleteWarning):
        path = gl.simulate(OSCILLATOR, np.linspace(0, 1e8, 10**5), method="ode", timeout=0.2)
    assert path.stopped == "timeout"
    assert 0 < path.times.size < 10**5
    assert path.counts.shape[0] == path.times.size


def test_timeout_that_suffices_changes_nothing_and_warns_of_nothing():
    assert gl.simulate(BIRTH_DEATH, 5, rng=1, timeout=60).stopped is None
    assert gl.ensemble(BIRTH_DEATH, 5, 10, rng=1, timeout=math.inf).stopped is None


def test_result_that_cannot_fit_is_refused_before_it_runs():
    endless = [0.0, 1e12]
    for asked, advice in (
        ({"n": 10**14}, "statistics=True"),
        ({"n": 10, "statistics": True, "histogram_bins": 10**14}, "fewer histogram_bins="),
        ({"n": 10**14, "statistics": True, "stop_when": "X < 0"}, "fewer trajectories"),
    ):
        started = time.perf_counter()
        with pytest.raises(NotEnoughMemoryError, match=f"would need .*TiB.*{advice}"):
            gl.ensemble(ENDLESS, endless, rng=1, **asked)
        assert time.perf_counter() - started < 10.0
    assert issubclass(NotEnoughMemoryError, MemoryError)


def test_memory_of_statistics_does_not_depend_on_the_number_of_trajectories():
    # Refused or not, before anything runs: 1e14 trajectories are as good as 10.
    with pytest.warns(IncompleteWarning):
        gl.ensemble(ENDLESS, 1e9, 10**14, rng=1, statistics=True, timeout=0.0)


# ---- Errors in the middle of a run ---------------------------------------------------------------


@pytest.mark.parametrize("method", STOCHASTIC)
def test_bad_propensity_names_reaction_time_and_state(method):
    network = gl.Network.parse("species X = 5, Y = 2\nX -> 0 @ 1\nleak: 0 => Y @ (X - 3)/1000")
    with pytest.raises(BadPropensityError) as caught:
        gl.simulate(network, 100, method=method, rng=16, every_event=True)
    path = caught.value.result
    message = str(caught.value)
    assert "'(X - 3)/1000' of reaction 2 'leak' (0 => Y) is -0.001" in message
    assert f"at t = {path.end_time:g}, where X = 2, Y = 2" in message
    assert path.stopped == "error"
    # A leap may hold no event.
    assert sorted(set(path["X"].tolist())) == [2, 3, 4, 5]
    assert path.counts[-1].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("law", "value"),
    [("1/(X - 3)", "inf"), ("log(X - 4)", "-inf"), ("sqrt(X - 4)", "nan"), ("2 - X^2", "-14")],
)
@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("arrow", ["->", "=>"])
def test_no_bad_propensity_goes_unnoticed(law, value, method, arrow):
    start = 3 if value == "nan" else 4
    network = gl.Network.parse(f"species X = {start}, Y\nX -> 0 @ 1\n0 {arrow} Y @ {law}")
    with pytest.raises(BadPropensityError, match=rf" is {value} in trajectory 0 at t = "):
        gl.simulate(network, 100, method=method, rng=16)


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("every_event", [False, True])
def test_trouble_at_the_start_leaves_the_initial_state(method, every_event):
    network = gl.Network.parse("species X = 5, Y = 2\nobserve sum = X + Y + t\nX -> Y @ 3 - X")
    with pytest.raises(BadPropensityError, match=r"at t = 1\.5, where X = 5, Y = 2") as caught:
        gl.simulate(
            network,
            [1.5, 2, 3],
            method=method,
            rng=1,
            outputs=["Y", "sum"],
            every_event=every_event,
        )
    path = caught.value.result
    assert path.times.tolist() == [1.5]
    assert path.counts.tolist() == [[2]]
    assert path["sum"].tolist() == [8.5]
    assert path.end_time == 1.5
    assert path.n_events == 0
    assert "from 1.5 to 1.5" in repr(path)
    assert "stopped by error" in path.summary()


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("threads", [1, 2])
def test_bad_propensity_in_an_ensemble_keeps_what_is_finished(method, threads):
    network = gl.Network.parse("species X, Y\n0 -> X @ 1\n0 => Y @ (5 - X)/10^9")
    # Whatever ran on beside it, the message tells of the trajectory at fault.
    message = r"is -1e-09 in trajectory \d+ at t = [\d.]+, where X = 6, Y = 0"
    with pytest.raises(BadPropensityError, match=message) as caught:
        gl.ensemble(network, 2, 2000, method=method, rng=17, threads=threads)
    runs = caught.value.result
    assert runs.stopped == "error"
    assert runs.n_trajectories < 2000
    assert runs["X"].max(initial=0) <= 5
    with pytest.raises(BadPropensityError, match=message) as caught:
        gl.ensemble(network, 2, 2000, method=method, rng=17, threads=threads, statistics=True)
    assert caught.value.result.n_trajectories < 2000


@pytest.mark.parametrize("method", STOCHASTIC)
def test_count_overflow_is_an_error_and_never_a_wrapped_number(method):
    limit = 2**53
    network = gl.Network.parse(f"species X = {limit - 3}, Y\n0 -> 2 X @ 1\n0 -> Y @ 1")
    with pytest.raises(CountOverflowError, match=r"above 2\*\*53 = 9007199254740992") as caught:
        gl.simulate(network, 100, method=method, rng=18)
    path = caught.value.result
    assert path.stopped == "error"
    assert path.counts.min() >= 0
    assert path["X"].max() <= limit
    with pytest.raises(CountOverflowError):
        gl.ensemble(network, 100, 5, method=method, rng=18)
    explosive = gl.Network.parse("species X = 10\n2 X -> 3 X @ 1e3")
    with pytest.raises((CountOverflowError, BadPropensityError, EventLimitError)):
        gl.simulate(explosive, 100, method=method, rng=18, max_events=10**6)


def test_largest_count_itself_is_allowed():
    network = gl.Network.parse(f"species X = {2**53 - 1}\n0 -> X @ 1")
    for method in EXACT:
        runs = gl.ensemble(network, [0, 1e3], 3, method=method, rng=1, stop_when=f"X == {2**53}")
        assert (runs.final("X") == 2**53).all()


# ---- Ctrl-C --------------------------------------------------------------------------------------

INTERRUPTED = """
import json, signal, sys, time
import numpy as np
import gillespy_lite as gl
from gillespy_lite.errors import Interrupted

network = gl.Network.parse("species X\\n0 -> X @ 100\\nX -> 0 @ 1")
oscillator = gl.Network.parse(
    "species A = 500, B = 1000\\nA -> 2 A @ 10\\nA + B -> 2 B @ 0.01\\nB -> 0 @ 10")
usual = gl.ensemble(network, 10, 50, rng=1)
gl.simulate(oscillator, 1, method="ode")
cases = {
    "ensemble, 1 thread": lambda: gl.ensemble(network, 10, 200_000, rng=1, threads=1),
    "ensemble, 2 threads": lambda: gl.ensemble(network, 10, 200_000, rng=1, threads=2),
    "statistics, 1 thread": lambda: gl.ensemble(
        network, 10, 10**9, rng=1, threads=1, statistics=True, engine="lanes"),
    "statistics, 2 threads": lambda: gl.ensemble(
        network, 10, 10**9, rng=1, threads=2, statistics=True, engine="lanes"),
    "simulate": lambda: gl.simulate(network, [0, 1, 1e10], rng=1),
    "every event": lambda: gl.simulate(network, [0, 1, 1e10], rng=1, every_event=True),
    "ode": lambda: gl.simulate(oscillator, [0, 0.5, 1, 1e9], method="ode"),
}
for method in gl.METHODS:
    if gl.METHODS[method].is_stochastic:
        gl.simulate(network, 1, method=method, rng=1)
        cases[method] = lambda method=method: gl.ensemble(network, 1e9, 8, rng=1, method=method)
print(json.dumps(list(cases)), flush=True)
for name, run in cases.items():
    print("started", flush=True)
    try:
        run()
        answer = {"kind": "finished"}
    except KeyboardInterrupt as error:
        answer = {"kind": type(error).__name__, "time": time.time()}
        result = error.result
        answer["stopped"] = result.stopped
        answer["message"] = str(error)
        if hasattr(result, "n_trajectories"):
            answer["n"] = result.n_trajectories
        if hasattr(result, "indices"):
            known = result.indices < 50 if result.n_times == 101 else slice(0)
            answer["right"] = bool(
                (result.counts[known] == usual.counts[result.indices[known]]).all())
        if hasattr(result, "bin_counts"):
            answer["right"] = bool((result.bin_counts.sum(axis=-1) == result.n_trajectories).all())
        if hasattr(result, "end_time"):
            answer["n_times"] = result.times.size
            answer["end_time"] = result.end_time
    print(json.dumps(answer), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_ends_every_kind_of_run_within_a_second_and_keeps_what_is_done():
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", INTERRUPTED],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    answers = {}
    # A run that does not end must not keep all other tests waiting.
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    try:
        for name in json.loads(process.stdout.readline()):
            assert process.stdout.readline() == "started\n"
            time.sleep(0.4)
            sent = time.time()
            process.send_signal(signal.SIGINT)
            answers[name] = json.loads(process.stdout.readline())
            answers[name]["after"] = answers[name].get("time", math.inf) - sent
    finally:
        watchdog.cancel()
        process.kill()
        errors = process.communicate()[1]
    assert len(answers) == 7 + len(STOCHASTIC), errors
    for name, answer in answers.items():
        assert answer["kind"] == "Interrupted", name
        assert answer["after"] < 1.0, name
        assert answer["stopped"] == "interrupt", name
        assert ".result" in answer["message"], name
        assert answer.get("right", True), name
        if "thread" in name:
            assert 0 < answer["n"] < 10**9, name
        elif name not in STOCHASTIC:
            assert answer["n_times"] >= 2, name
            assert 1 <= answer["end_time"] < 1e9, name


def test_ctrl_c_that_a_compiler_swallows_is_not_lost():
    # LLVM's calls back into Python print an exception and go on.
    with pytest.raises(KeyboardInterrupt), interrupts_kept(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interrupts_kept():
        pass
    seen = []
    try:
        with interrupts_kept():
            signal.raise_signal(signal.SIGINT)
            seen.append("went on")
    except KeyboardInterrupt:
        seen.append("stopped")
    assert seen == ["stopped"]


def test_ctrl_c_between_the_start_of_two_threads_stops_all(monkeypatch):
    submit, calls = ThreadPoolExecutor.submit, []

    def interrupted_submit(self: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return submit(self, *arguments, **named)

    gl.ensemble(ENDLESS, 1, 2, rng=1)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted_submit)
    started = time.perf_counter()
    with pytest.raises(Interrupted) as caught:
        gl.ensemble(ENDLESS, 20, 200_000, rng=1, threads=3)
    assert time.perf_counter() - started < 10.0
    assert caught.value.result.stopped == "interrupt"


def names_of_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("gillespy_lite")]


def test_threads_are_lent_again_and_waited_for():
    asked, done = threading.Event(), []

    def work(number: int) -> None:
        asked.wait(10.0)
        done.append(number)

    with lent_threads() as submit:
        first = [submit(work, 1), submit(work, 2)]
        assert not any(one.done() for one in first)
        asked.set()
    assert sorted(done) == [1, 2]  # leaving waits
    before = names_of_threads()
    with lent_threads() as submit:
        submit(work, 3)
    assert names_of_threads() == before  # none was started
    assert done[2] == 3
    with pytest.raises(ZeroDivisionError), lent_threads() as submit:  # noqa: PT012
        again = submit(work, 4)
        raise ZeroDivisionError
    assert again.done()


def test_no_more_threads_wait_than_there_are_cores():
    with lent_threads() as submit:
        for number in range(3 * cores()):
            submit(time.sleep, 0.001 * number)
    assert len(workers._IDLE) <= cores()
    assert len({id(pool) for _, pool in workers._IDLE}) == len(workers._IDLE)


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or cores() < 2, reason="needs two cores to choose from"
)
def test_a_lent_thread_may_use_the_cores_of_who_asks_for_it():
    every, seen = os.sched_getaffinity(0), []

    def look() -> None:
        seen.append(os.sched_getaffinity(0))

    try:
        for own in (every, {min(every)}, every, {max(every)}, every):
            os.sched_setaffinity(0, own)
            with lent_threads() as submit:
                submit(look)
            assert seen[-1] == own
    finally:
        os.sched_setaffinity(0, every)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_runs_ensembles_with_threads_of_its_own():
    usual = gl.ensemble(ENDLESS, 20, 400, rng=1, threads=2)
    code = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(Path(gl.__file__).parent.parent)!r})
        import gillespy_lite as gl
        from gillespy_lite.workers import _IDLE
        network = gl.Network.parse({str(ENDLESS)!r})
        usual = gl.ensemble(network, 20, 400, rng=1, threads=2, chunk_size=8)
        assert _IDLE
        child = os.fork()
        if child == 0:
            assert not _IDLE
            again = gl.ensemble(network, 20, 400, rng=1, threads=2, chunk_size=8)
            os._exit(0 if (again.counts == usual.counts).all() and _IDLE else 1)
        status = os.waitpid(child, 0)[1]
        print(int(usual.n_events.sum()), status)
    """)
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.stdout.split() == [str(int(usual.n_events.sum())), "0"], answer.stderr


# ---- Progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("statistics", [False, True])
def test_progress_is_told_to_a_callable_and_never_falls(threads, statistics):
    told: list[tuple[float, float]] = []
    gl.ensemble(
        ENDLESS,
        10,
        4000,
        rng=1,
        threads=threads,
        statistics=statistics,
        chunk_size=100,
        progress=lambda done, total: told.append((done, total)),
    )
    done = [one for one, _ in told]
    assert {total for _, total in told} == {4000}
    assert len(done) >= 2
    assert done == sorted(done)
    assert done[0] >= 0
    assert done[-1] == 4000


@pytest.mark.parametrize("method", gl.METHODS)
def test_progress_of_one_trajectory_is_told_in_units_of_time(method):
    told: list[tuple[float, float]] = []
    duration = 3000 if method != "ode" else 30
    gl.simulate(
        ENDLESS,
        np.linspace(5, 5 + duration, 50),
        method=method,
        rng=1,
        progress=lambda done, total: told.append((done, total)),
    )
    done = [one for one, _ in told]
    assert {total for _, total in told} == {duration}
    assert len(done) >= 2
    assert done == sorted(done)
    assert done[-1] == duration


@pytest.mark.parametrize("threads", [1, 2])
def test_error_in_the_progress_function_stops_the_run(threads):
    def fail(done: float, total: float) -> None:
        raise ZeroDivisionError("mine")

    started = time.perf_counter()
    with pytest.raises(ZeroDivisionError, match="mine"):
        gl.ensemble(ENDLESS, 20, 200_000, rng=1, threads=threads, progress=fail, chunk_size=50)
    assert time.perf_counter() - started < 10.0


def test_progress_does_not_change_the_result(capsys):
    usual = gl.ensemble(BIRTH_DEATH, 5, 100, rng=1)
    watched = gl.ensemble(BIRTH_DEATH, 5, 100, rng=1, progress=True)
    assert np.array_equal(usual.counts, watched.counts)
    assert "100" in capsys.readouterr().err


def test_progress_without_tqdm_is_a_line_of_text(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    gl.ensemble(BIRTH_DEATH, 5, 100, rng=1, progress=True)
    gl.simulate(BIRTH_DEATH, 5, rng=1, progress=True)
    gl.simulate(BIRTH_DEATH, 5, method="ode", progress=True)
    written = capsys.readouterr()
    assert "ensemble: 100 of 100" in written.err
    assert "simulate: 5 of 5" in written.err
    assert written.err.endswith("\n")
    assert written.out == ""


@pytest.mark.parametrize("progress", [1, "yes", 0.5])
def test_progress_must_be_true_false_or_callable(progress):
    with pytest.raises(TypeError, match="progress must be True, False or a function"):
        gl.ensemble(BIRTH_DEATH, 1, 3, rng=1, progress=progress)


# ---- Statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("n", [1, 2, 300, 1000])
def test_statistics_are_those_of_the_stored_paths(method, n):
    outputs = ["X", "Y", "ratio"]
    asked = {"method": method, "rng": 19, "outputs": outputs}
    paths = gl.ensemble(BIRTH_DEATH, np.linspace(0, 6, 13), n, **asked)
    kept = gl.ensemble(
        BIRTH_DEATH, np.linspace(0, 6, 13), n, statistics=True, histogram_bins=8, **asked
    )
    assert kept.columns == paths.columns
    assert kept.n_trajectories == n
    assert kept.mean() == pytest.approx(paths.mean(), rel=1e-13, abs=1e-13)
    assert np.array_equal(kept.minimum(), paths.minimum())
    assert np.array_equal(kept.maximum(), paths.maximum())
    if n > 1:
        assert kept.var() == pytest.approx(paths.var(), rel=1e-11, abs=1e-13)
        assert kept.std() == pytest.approx(paths.std(), rel=1e-11, abs=1e-7)
        for t in (0.5, 6.0):
            assert kept.cov(t) == pytest.approx(paths.cov(t), rel=1e-10, abs=1e-12)
    for t in kept.times:
        for name in ("X", "Y"):
            edges, counts = kept.histogram(name, t)
            assert counts.sum() == n
            values = paths.at(t, name)
            assert np.array_equal(counts, np.histogram(values, edges)[0])
            width = edges[1] - edges[0]
            # Bins double only as often as the largest count asks for.
            assert width == 1 or values.max() >= 8 * width // 2
            assert values.max() < 8 * width


def test_statistics_keep_their_digits_at_large_counts():
    # 1e12 plus a Poisson number of mean 10: a sum of squares would lose the variance altogether.
    network = gl.Network.parse("species X = 1000000000000\n0 -> X @ 10")
    paths = gl.ensemble(network, [0, 1], 2000, rng=20)
    kept = gl.ensemble(network, [0, 1], 2000, rng=20, statistics=True)
    # The mean itself is known to an ulp of 1e12, which is 1e-4.
    assert kept.var("X")[-1] == pytest.approx((paths.final("X") - 10**12).var(ddof=1), rel=1e-6)
    assert normal_pvalue(kept.var("X")[-1], 10.0, math.sqrt(210.0 / 2000)) > SMALLEST
    edges, counts = kept.histogram("X", 1)
    assert counts.sum() == 2000
    assert edges[0] <= 10**12 < edges[-1]


def test_statistics_keep_hitting_times():
    asked = {"rng": 21, "stop_when": "X >= 12"}
    paths = gl.ensemble(BIRTH_DEATH, 3, 600, **asked)
    kept = gl.ensemble(BIRTH_DEATH, 3, 600, statistics=True, **asked)
    assert np.array_equal(paths.hitting_times, kept.hitting_times, equal_nan=True)
    assert 0 < np.isnan(kept.hitting_times).sum() < 600
    assert kept.hit_fraction == paths.hit_fraction
    plain = gl.ensemble(BIRTH_DEATH, 3, 600, rng=21, statistics=True)
    assert plain.hitting_times.size == 0


# ---- Networks in which little happens ------------------------------------------------------------

RESTING = {
    "no reactions": "species X = 3, Y = 1",
    "no species changes": "species X = 3, Y = 1\nX -> X @ 2\nX + Y -> Y + X @ 1\n0 -> 0 @ 1",
    "rates of zero": "species X = 3, Y = 1\nparam k = 0\nX -> Y @ k\n0 -> X @ 0\nY => 0 @ 0*X",
    "no reactants": "species X = 3, Y = 1, Z\nZ -> X @ 5\n4 X -> Y @ 1\n2 Y -> X @ 3",
}


@pytest.mark.parametrize("case", RESTING)
@pytest.mark.parametrize("method", gl.METHODS)
def test_network_in_which_nothing_changes_stays_as_it_is(case, method):
    network = gl.Network.parse(RESTING[case])
    start = network.initial_state
    if case == "no reactants" and method == "ode":
        return  # the rate of 4 X -> Y is X^4/24, above zero for X = 3
    path = gl.simulate(network, 20, method=method, rng=1)
    assert path.counts == pytest.approx(np.tile(start, (101, 1)))
    if method == "ode":
        return
    runs = gl.ensemble(network, 20, 5, method=method, rng=1)
    assert (runs.counts == start).all()
    kept = gl.ensemble(network, 20, 5, method=method, rng=1, statistics=True)
    assert (kept.means == start).all()
    assert (kept.comoments == 0).all()
    rows = gl.simulate(network, 20, method=method, rng=1, every_event=True)
    assert rows.times.size == rows.n_events + 1
    assert (rows.counts == start).all()
    if case != "no species changes":
        assert rows.n_events == 0
    never = gl.simulate(network, 20, method=method, rng=1, stop_when="X > 3")
    assert math.isnan(never.hitting_time)


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_events_that_change_nothing_are_events_all_the_same(method):
    # X -> X @ 2 with X = 3: Poisson(6 * 5) events by t = 5.
    network = gl.Network.parse("species X = 3\nX -> X @ 2")
    runs = gl.ensemble(network, 5, 5000, method=method, rng=22)
    assert chi_square_pvalue(runs.n_events, poisson_law(30.0)) > SMALLEST


# ---- Scans ---------------------------------------------------------------------------------------


def test_scan_of_parameters_and_initial_counts_stays_cheap_and_compiles_nothing():
    network = gl.models.vilar()
    times = [0.0, 1e-6]
    gl.simulate(network, times, rng=1)
    before = signatures()
    names = network.parameter_names[:10]
    started = time.perf_counter()
    for i in range(1000):
        changed = network.with_parameters(dict.fromkeys(names, 1.0 + i))
        gl.simulate(changed.with_initial(A=i), times, rng=1)
    spent = time.perf_counter() - started
    assert signatures() == before
    assert changed.memo is network.memo
    # Measured .4 ms each; parsing alone would take some 3 ms.
    assert spent < 15.0


@pytest.mark.statistical
def test_changed_parameters_and_counts_are_what_runs():
    for k, x in ((10, 0), (40, 3), (0, 9)):
        network = BIRTH_DEATH.with_parameters(k=k, g=2).with_initial(X=x)
        runs = gl.ensemble(network, [0, 1], 4000, rng=23)
        mean = x * math.exp(-2) + k / 2 * (1 - math.exp(-2))
        error = runs.final("X").std() / math.sqrt(4000)
        assert normal_pvalue(runs.final("X").mean(), mean, error) > SMALLEST
        assert (runs["X"][:, 0] == x).all()


def test_new_network_of_fifty_reactions_runs_within_fifty_milliseconds():
    gl.simulate(BIRTH_DEATH, 1, rng=1)
    spent = []
    for i in range(7):
        lines = ["species " + ", ".join(f"S{j} = {j}" for j in range(25)), f"param k = {i + 1}"]
        lines += [f"S{j} -> S{(j + 1) % 25} @ k*{j + 1}" for j in range(25)]
        lines += [f"S{j} + S{(j + 3) % 25} => 0 @ {i + 1}e-3*S{j}^2" for j in range(25)]
        text = "\n".join(lines)
        started = time.perf_counter()
        gl.simulate(gl.Network.parse(text), 0.01, rng=1)
        spent.append(time.perf_counter() - started)
    assert min(spent) < 0.5


@pytest.mark.parametrize("n_reactions", [20, 40])  # dense sums, and the tree of sums
def test_a_sum_of_propensities_beyond_doubles_is_refused(n_reactions):
    network = gl.Network.parse("species Y\n" + "0 -> Y @ 1e307\n" * n_reactions)
    with pytest.raises(BadPropensityError, match="more than a double can hold"):
        gl.simulate(network, [0.0, 1e-300], method="direct", rng=1, timeout=5)
