"""Events in stochastic runs: exactly when they should, in the right order, never forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from laws import ALPHA, binomial_pvalue, chi_square_pvalue, poisson_law

import gillespy_lite as gl
from gillespy_lite.errors import SimulationError

EXACT = sorted(
    name for name, method in gl.METHODS.items() if method.is_exact and method.supports_events
)
SMALLEST = ALPHA / 30


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(("trigger", "time"), [("t >= 25", 25.0), ("t > 25", np.nextafter(25, 26))])
def test_event_at_a_time_fires_just_then_also_when_all_is_dead(method, trigger, time):
    # All A are gone by t = 10 or so, and nothing else ever happens.
    network = gl.Network.parse(f"species A = 5\nA -> 0 @ 2\nat {trigger}: A = 50")
    path = gl.simulate(network, 60, method=method, rng=1, every_event=True)
    kicks = (path.reactions == -1) & (path["A"] == 50)
    assert path.times[kicks].tolist() == [time]
    grid = gl.simulate(network, [0, 20, 25, 60], method=method, rng=1)
    assert grid["A"].tolist() == [5, 0, 50 if time == 25.0 else 0, 0]
    alone = gl.Network.parse(f"species A = 5\nat {trigger}: A = 50")
    assert gl.simulate(alone, [0, 20, 60], method=method, rng=1)["A"].tolist() == [5, 5, 50]


@pytest.mark.parametrize("method", EXACT)
def test_event_at_the_end_of_the_run_is_seen_there(method):
    network = gl.Network.parse(
        "species A = 5\nvariable X = 1\nX' = 1\nA -> 0 @ 0.01*X\nat t >= 10: A = 50, X = 7"
    )
    path = gl.simulate(network, [0, 10], method=method, rng=1)
    assert path["A"][-1] == 50
    assert path["X"][-1] == 7.0


@pytest.mark.parametrize("method", EXACT)
def test_pulses_narrower_than_the_grid_are_all_seen(method):
    network = gl.Network.parse(
        "species A, B\n0 -> A @ 0.1\n"
        "when (t > 5 and t < 5.0001) or (t > 7 and t < 7.0001): B = B + 1\n"
        "when sin(t) > 0.99999: B = B + 100"
    )
    path = gl.simulate(network, [0, 40], method=method, rng=1)
    assert path["B"].tolist() == [0, 702]


@pytest.mark.parametrize("method", EXACT)
def test_variable_triggers_at_its_crossing(method):
    network = gl.Network.parse(
        "species A, B\nvariable X = 5\nX' = -X\n0 -> A @ 3*X\nwhen X < 1: X = 5, B = B + 1"
    )
    path = gl.simulate(network, 10, method=method, rng=1, every_event=True)
    hits = path.times[np.flatnonzero(np.diff(path["B"]) > 0) + 1]
    assert hits == pytest.approx(np.log(5.0) * np.arange(1, 7), abs=1e-6)


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_births_after_an_event_changed_their_rate_follow_their_law(method):
    # A(10) ~ Poisson(3 * 2 + 7 * 5): X changes by an event alone.
    network = gl.Network.parse("species A\nvariable X = 2\n0 -> A @ X\nat t >= 3: X = 5")
    runs = gl.ensemble(network, [0, 3, 10], 3000, method=method, rng=2)
    assert chi_square_pvalue(runs.at(3, "A"), poisson_law(6.0)) > SMALLEST
    assert chi_square_pvalue(runs.final("A"), poisson_law(41.0)) > SMALLEST


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_division_at_a_threshold_follows_its_law(method):
    # 0 -> A @ 4; at 10 A is set to 0: A + 10 B is the Poisson number of births.
    network = gl.Network.parse("species A, B\n0 -> A @ 4\nwhen A >= 10: A = 0, B = B + 1")
    runs = gl.ensemble(network, [0, 8], 3000, method=method, rng=3)
    assert runs["A"].max() < 10
    births = runs.final("A") + 10 * runs.final("B")
    assert chi_square_pvalue(births, poisson_law(32.0)) > SMALLEST


@pytest.mark.parametrize("method", EXACT)
def test_priorities_delays_and_persistence_are_kept(method):
    network = gl.Network.parse("""
    species A, B, C, D = 1, E
    0 -> A @ 0.01
    at t >= 1, priority 1: B = 10*B + 1
    at t >= 1, priority 2: B = 10*B + 2
    at t >= 1, priority 3: B = 10*B + 3
    when t >= 2 and t < 3, after 2: C = C + 1
    when t >= 2 and t < 3, after 2, not persistent: C = C + 10
    when t >= 2 and t < 5, after 2, not persistent: C = C + 100
    at t >= 2, after 1, values at trigger: E = 7*D
    at t >= 2.5: D = 100
    when t >= 0: E = 1
    when t >= 0, initially true: E = 1000
    """)
    path = gl.simulate(network, [0, 1, 3.9, 4, 8], method=method, rng=1)
    assert path["B"].tolist() == [0, 321, 321, 321, 321]
    assert path["C"].tolist() == [0, 0, 0, 101, 101]
    assert path["E"].tolist() == [1, 1, 7, 7, 7]


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_equals_come_in_random_order(method):
    network = gl.Network.parse(
        "species A\nat t >= 1: A = 10*A + 1\nat t >= 1: A = 10*A + 2\n0 -> A @ 0"
    )
    runs = gl.ensemble(network, [0, 2], 2000, method=method, rng=4)
    last = runs.final("A")
    assert np.isin(last, (12, 21)).all()
    assert binomial_pvalue((last == 12).sum(), 2000, 0.5) > SMALLEST


@pytest.mark.parametrize("method", EXACT)
def test_many_executions_may_wait(method):
    network = gl.Network.parse(
        "species A, B\n0 -> A @ 50\nwhen A > B and sin(200*t) > 0, after 5: B = B + 1"
    )
    path = gl.simulate(network, [0, 5, 10], method=method, rng=1)
    assert path["B"][0] == path["B"][1] == 0
    assert path["B"][2] > 100


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    ("event", "match"),
    [
        ("at t >= 1: A = 2.5", "sets A to 2.5 at t = 1"),
        ("at t >= 1: A = -3", "sets A to -3"),
        ("at t >= 1: X = 1/(A - 5)", "sets X to inf"),
        ("at t >= 1, after A - 6: A = 1", "the delay of event 1"),
        ("when A > 3: A = 1\nwhen A < 3: A = 5", "without end"),
    ],
)
def test_event_without_a_meaning_is_an_error_that_names_it(method, event, match):
    network = gl.Network.parse(f"species A = 5\nvariable X = 1\nX' = 0\n0 -> A @ 0\n{event}")
    with pytest.raises(SimulationError, match=match) as caught:
        gl.simulate(network, 10, method=method, rng=1)
    assert "event" in str(caught.value)


def test_stop_condition_is_looked_at_after_events():
    network = gl.Network.parse("species A\n0 -> A @ 0.001\nat t >= 4: A = 80")
    runs = gl.ensemble(network, [0, 10], 5, rng=1, stop_when="A >= 70")
    assert (runs.hitting_times == 4.0).all()
    assert (runs.final("A") == 80).all()
