"""The plan of a run is kept with its network: no run gets that of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from identical import arrays_of, assert_identical

import gillespy_lite as gl
from gillespy_lite import run_plan
from gillespy_lite.errors import NetworkError

TEXT = """
species A = 30, B
param k = 0.5
observe both = A + B
A -> B @ k
B -> A @ 0.2
0 -> A @ 3
"""
TIMES = np.linspace(0.0, 2.0, 5)
Run = Callable[[gl.Network], Any]
# Each differs from its neighbours in one thing that a plan depends on.
RUNS: list[Run] = [
    lambda one: gl.ensemble(one, TIMES, 20, rng=1),
    lambda one: gl.ensemble(one, TIMES, 20, rng=2),
    lambda one: gl.ensemble(one, TIMES, 3, rng=2),
    lambda one: gl.ensemble(one, 2 * TIMES, 3, rng=2),
    lambda one: gl.ensemble(one, 2 * TIMES[1:], 3, rng=2),
    lambda one: gl.ensemble(one, (2 * TIMES[1:]).astype(np.float32), 3, rng=2),
    lambda one: gl.ensemble(one, np.array([0, 1]), 3, rng=2),
    lambda one: gl.ensemble(one, np.array([0, 1]).view(np.float64), 3, rng=2),
    lambda one: gl.ensemble(one, 2.0, 3, rng=2),
    lambda one: gl.ensemble(one, 2, 3, rng=2),
    lambda one: gl.ensemble(one, 2, 3, rng=2, outputs=["B"]),
    lambda one: gl.ensemble(one, 2, 3, rng=2, outputs=["both", "B"]),
    lambda one: gl.ensemble(one, 2, 3, rng=2, outputs=("B", "both")),
    lambda one: gl.ensemble(one, 2, 3, rng=2, stop_when="B >= 5"),
    lambda one: gl.ensemble(one, 2, 3, rng=2, stop_when="B >= 6"),
    lambda one: gl.ensemble(one, 2, 3, rng=2, max_events=10_000),
    lambda one: gl.ensemble(one, 2, 3, rng=2, method="first_reaction"),
    lambda one: gl.ensemble(one, 2, 3, rng=2, method="tau_leaping"),
    lambda one: gl.ensemble(one, 2, 3, rng=2, method="tau_leaping", epsilon=0.1),
    lambda one: gl.ensemble(one, 2, 3, rng=2, engine="specialised", method="direct"),
    lambda one: gl.ensemble(one, 2, 3, rng=2, engine="table", method="direct"),
    lambda one: gl.simulate(one, 2, rng=2),
    lambda one: gl.simulate(one, 2, rng=2, every_event=True),
    lambda one: gl.simulate(one, 2, method="ode", rng=2),
    lambda one: gl.simulate(one, 2, method="ode", rng=2, rtol=1e-3),
    lambda one: gl.ensemble(one.with_parameters(k=2.0), 2, 3, rng=2),
    lambda one: gl.ensemble(one.with_initial(A=7), 2, 3, rng=2),
    lambda one: gl.ensemble(one, 2, 3, rng=2),
]


def test_every_run_is_that_of_a_network_that_was_never_run():
    network = gl.Network.parse(TEXT)
    # There and back, so that each comes after two others.
    for run in [*RUNS, *reversed(RUNS)]:
        found, fresh = run(network), run(gl.Network.parse(TEXT))
        arrays, others = arrays_of(found), arrays_of(fresh)
        assert arrays.keys() == others.keys()
        assert arrays["times"].size > 0
        for name, values in arrays.items():
            assert values.tobytes() == others[name].tobytes(), name
        for name in ("method", "options", "entropy", "engine", "engine_reason", "method_reason"):
            assert getattr(found.provenance, name) == getattr(fresh.provenance, name), name


def test_times_that_are_changed_in_their_place_are_other_times():
    network, times = gl.Network.parse(TEXT), TIMES.copy()
    before = gl.ensemble(network, times, 3, rng=1)
    times *= 2.0
    after = gl.ensemble(network, times, 3, rng=1)
    assert_identical(after, gl.ensemble(gl.Network.parse(TEXT), 2 * TIMES, 3, rng=1))
    assert (before.times == TIMES).all()


def test_runs_without_a_seed_and_with_a_generator_stay_different():
    network, generator = gl.Network.parse(TEXT), np.random.default_rng(5)
    seeds = [gl.simulate(network, 2).provenance.entropy for _ in range(3)]
    seeds += [gl.simulate(network, 2, rng=generator).provenance.entropy for _ in range(3)]
    assert len(set(seeds)) == 6


def test_what_is_refused_is_refused_again():
    network = gl.Network.parse(TEXT)
    gl.simulate(network, 2, rng=1)
    for _ in range(2):
        with pytest.raises(NetworkError, match="outputs names 'C'"):
            gl.simulate(network, 2, rng=1, outputs=["C"])
        # True is 1 for Python, and no number of events.
        gl.simulate(network, 0.001, rng=1, max_events=1)
        with pytest.raises(ValueError, match="max_events must be a whole number"):
            gl.simulate(network, 0.001, rng=1, max_events=True)
        with pytest.raises(TypeError):
            gl.simulate(network, 2, rng="1")


def test_options_of_one_result_are_not_those_of_the_next():
    network = gl.Network.parse(TEXT)
    first = gl.simulate(network, 2, rng=1, method="tau_leaping")
    second = gl.simulate(network, 2, rng=1, method="tau_leaping")
    first.provenance.options["epsilon"] = 0.5
    assert second.provenance.options["epsilon"] != 0.5
    assert gl.simulate(network, 2, method="tau_leaping").provenance.options["epsilon"] != 0.5


def test_a_plan_is_made_once_for_all_seeds(monkeypatch):
    made = []
    plain = run_plan._make_plan

    def make(*arguments: Any, **named: Any) -> Any:
        made.append(named)
        return plain(*arguments, **named)

    monkeypatch.setattr(run_plan, "_make_plan", make)
    network = gl.Network.parse(TEXT)
    for seed in range(5):
        gl.ensemble(network, TIMES, 5, rng=seed, outputs=["B"])
    assert len(made) == 1
