"""Events, switching laws, variables in reactions and small amounts under the rate equations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

import gillespy_lite as gl
from gillespy_lite.events import Event
from gillespy_lite.rate_laws import Symbol, ceil, floor, if_, sin, sqrt, t

A, B, X, Y, V = (Symbol(name) for name in "ABXYV")


def solve(network, times, **options):
    if isinstance(network, str):
        network = gl.Network.parse(network)
    return gl.simulate(network, times, method="ode", **options)


def decaying(*events, rate=0.5, start=100):
    """`A` decays; `X` and `Y` are for events to write to."""
    return gl.Network(
        species=[gl.Species("A", start), gl.Species("B", 0)],
        variables=[gl.Variable("X", 0.0, 0), gl.Variable("Y", 0.0, 0)],
        reactions=[gl.Reaction({"A": 1}, {}, rate)],
        events=events,
    )


# ---- When ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["LSODA", "BDF", "Radau"])
def test_a_threshold_is_crossed_at_its_exact_time(solver):
    network = decaying(Event(A < 50, {"X": t}))
    found = solve(network, [0.0, 5.0], solver=solver, rtol=1e-11)["X"][-1]
    assert found == pytest.approx(2.0 * np.log(2.0), abs=1e-8)


def test_a_threshold_is_crossed_at_its_time_to_the_default_tolerance():
    assert solve(decaying(Event(A < 50, {"X": t})), 5.0)["X"][-1] == pytest.approx(
        2.0 * np.log(2.0), abs=1e-7
    )


def test_repeated_doses_follow_the_closed_form():
    # A dose of 50 every 4 time units, decay between them.
    events = [Event(t >= 4.0 * k, {"A": A + 50}) for k in range(1, 6)]
    times = np.linspace(0.0, 25.0, 101)
    expected = 100.0 * np.exp(-0.5 * times)
    for k in range(1, 6):
        at = 4.0 * k
        expected += np.where(times >= at, 50.0 * np.exp(-0.5 * (times - at)), 0.0)
    assert solve(decaying(*events), times)["A"] == pytest.approx(expected, rel=1e-6)


def test_a_row_at_the_time_of_an_event_shows_the_state_after_it():
    found = solve(decaying(Event(t >= 2, {"A": 50})), [0, 1, 2, 3])["A"]
    assert found[2] == 50.0
    assert found[1] == pytest.approx(100.0 * np.exp(-0.5), rel=1e-7)


@pytest.mark.parametrize(("initially", "first"), [(False, 7.0), (True, 100.0)])
def test_an_event_that_holds_at_the_start_is_in_the_first_row(initially, first):
    network = decaying(Event(t >= 0, {"A": 7}, initially=initially))
    assert solve(network, [0.0, 1.0])["A"][0] == first


def test_an_event_at_the_end_is_in_the_last_row():
    assert solve(decaying(Event(t >= 3, {"A": 50})), [0, 3])["A"][-1] == 50.0


def test_a_pulse_of_the_trigger_narrower_than_a_step_is_found():
    network = decaying(Event((t > 700.0) & (t < 700.0001), {"X": X + 1}), rate=1e-9)
    assert solve(network, [0.0, 1000.0])["X"][-1] == 1.0


def test_a_dip_below_a_threshold_between_two_steps_is_found():
    # Y = sin(t), by its equations; it passes 0.99999 for 0.0089 time units in each turn.
    network = gl.Network(
        variables=[gl.Variable("X", 1.0, -Y), gl.Variable("Y", 0.0, X), gl.Variable("V", 0.0)],
        events=[Event(Y > 0.99999, {"V": V + 1})],
    )
    assert solve(network, [0.0, 20.0 * np.pi])["V"][-1] == 10.0


def test_a_bouncing_ball_follows_its_arcs():
    # From height 1 under g = 2: down at t = 1 with speed 2, then arcs of 2, 1, 1/2, ... each with
    # half the speed.
    network = gl.Network(
        variables=[gl.Variable("X", 1.0, Y), gl.Variable("Y", 0.0, -2)],
        events=[Event((X <= 0) & (Y < 0), {"Y": -0.5 * Y})],
    )
    found = solve(network, [0.0, 1.0, 1.5, 2.0, 2.25, 2.5])
    assert found["X"] == pytest.approx([1.0, 0.0, 0.25, 0.0, 0.0625, 0.0], abs=1e-7)
    assert found["Y"][[1, 3]] == pytest.approx([1.0, 0.5], abs=1e-6)


def test_a_network_without_any_motion_runs_and_its_events_fire():
    network = gl.Network(
        variables=[gl.Variable("X", 1.0)],
        observables=[gl.Observable("S", sin(t) + X)],
        events=[Event(sin(t) > 0.5, {"X": X + 1}, delay=0.5)],
    )
    times = np.array([0.0, 1.0, 1.1, 7.4, 7.5])
    result = solve(network, times, outputs=["X", "S"])
    assert result["X"].tolist() == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert result["S"] == pytest.approx(np.sin(times) + result["X"], rel=1e-14)


def test_a_network_without_state_changes_or_events_runs():
    network = gl.Network(species=[gl.Species("A", 3)], observables=[gl.Observable("S", A * t)])
    assert solve(network, [0.0, 2.0], outputs=["S"])["S"].tolist() == [0.0, 6.0]


# ---- What ---------------------------------------------------------------------------------------


def test_a_delayed_event_is_executed_later_with_values_of_either_time():
    at_trigger = decaying(Event(A < 50, {"X": A}, delay=1.0, values="trigger"))
    at_execution = decaying(Event(A < 50, {"X": A}, delay=1.0))
    assert solve(at_trigger, 5.0)["X"][-1] == pytest.approx(50.0, rel=1e-7)
    assert solve(at_execution, 5.0)["X"][-1] == pytest.approx(50.0 * np.exp(-0.5), rel=1e-7)
    late = solve(at_trigger, [0.0, 2.3, 2.5])["X"]
    assert late[1] == 0.0
    assert late[2] > 0.0


@pytest.mark.parametrize(("persistent", "fired"), [(True, 1.0), (False, 0.0)])
def test_a_waiting_event_that_does_not_persist_is_cancelled(persistent, fired):
    network = decaying(
        Event(A < 50, {"X": X + 1}, delay=1.0, persistent=persistent), Event(t >= 2, {"A": 200})
    )
    assert solve(network, 4.0)["X"][-1] == fired


def test_ties_are_broken_in_random_order_and_by_rng_alone():
    # Each order with probability 1/2: of 400 runs, a coin of 0.6 would give p < 1e-4.
    network = decaying(Event(t >= 1, {"X": 10 * X + 1}), Event(t >= 1, {"X": 10 * X + 2}))
    found = [solve(network, [0.0, 1.0], rng=k)["X"][-1] for k in range(400)]
    assert set(found) == {12.0, 21.0}
    assert binomtest(found.count(12.0), 400, 0.5).pvalue > 1e-3
    assert found[:20] == [solve(network, [0.0, 1.0], rng=k)["X"][-1] for k in range(20)]


def test_an_amount_may_be_set_to_what_is_no_whole_number():
    assert solve(decaying(Event(t >= 1, {"A": A / 3})), [0.0, 1.0])["A"][-1] == pytest.approx(
        100.0 / 3.0 * np.exp(-0.5), rel=1e-7
    )


def test_a_variable_that_does_not_move_may_be_infinite_and_one_that_moves_may_not():
    network = decaying(Event(t >= 1, {"Y": 1 / X}))
    assert solve(network, [0.0, 2.0])["Y"][-1] == np.inf
    network = gl.Network(
        variables=[gl.Variable("X", 1.0, -X), gl.Variable("Y", 0.0, 0)],
        events=[Event(t >= 1, {"X": 1 / Y})],
    )
    with pytest.raises(gl.SimulationError, match=r"event 1 .* sets X to inf at t = 1"):
        solve(network, [0.0, 2.0])


def test_executions_are_counted():
    events = [Event(t >= k, {"X": X + 1}) for k in (1, 2, 3)]
    assert solve(decaying(*events), 2.5).n_events == 2


# ---- Switching laws -----------------------------------------------------------------------------


def test_a_pulse_in_a_rate_narrower_than_a_step_is_integrated():
    network = gl.Network(variables=[gl.Variable("X", 0.0, if_((t >= 70) & (t < 70.001), 1e3, 0))])
    found = solve(network, [0.0, 70.0, 70.0005, 100.0])["X"]
    assert found == pytest.approx([0.0, 0.0, 0.5, 1.0], abs=1e-7)


def test_a_law_that_switches_on_the_state_changes_at_its_exact_time():
    # X grows by 1 to 1/2, then by 1/10.
    network = gl.Network(variables=[gl.Variable("X", 0.0, if_(X < 0.5, 1, 0.1))])
    assert solve(network, [0.0, 0.4, 0.5, 1.5])["X"] == pytest.approx(
        [0.0, 0.4, 0.5, 0.6], abs=1e-10
    )


def test_stairs_in_time_are_integrated_exactly():
    network = gl.Network(variables=[gl.Variable("X", 0.0, floor(t) + ceil(t))])
    assert solve(network, [0.0, 1.0, 2.0, 2.5, 10.0])["X"] == pytest.approx(
        [0.0, 1.0, 4.0, 6.5, 100.0], rel=1e-9
    )


def test_a_branch_is_not_asked_where_it_is_not_defined():
    # sqrt of a negative number, were the branch taken a step too far: X = (1 - t/2)^2, then 0.
    network = gl.Network(variables=[gl.Variable("X", 1.0, if_(X > 1e-9, -sqrt(X), 0))])
    found = solve(network, [0.0, 1.0, 3.0])["X"]
    assert found == pytest.approx([1.0, 0.25, 0.0], abs=1e-7)


def test_a_law_that_undoes_itself_at_once_is_an_error_and_no_hang():
    network = gl.Network(variables=[gl.Variable("X", 0.0, if_(X > 0.5, -1, 1))])
    with pytest.raises(gl.SimulationError, match=r"'X > 0.5' in a rate .* at t = 0.5"):
        solve(network, 2.0)


# ---- Variables in reactions, unlimited laws -----------------------------------------------------


def test_variables_in_reactions_change_by_real_and_computed_coefficients():
    # X' = -X, Y' = X/2, V' = 2 t X - X/4.
    network = gl.Network(
        variables=[gl.Variable("X", 2.5), gl.Variable("Y", 0.0), gl.Variable("V", 0.0)],
        reactions=[
            gl.Reaction([("X", 1), ("V", 0.25)], [("Y", 0.5), ("V", 2 * t)], X, kind="propensity")
        ],
    )
    times = np.linspace(0.0, 3.0, 7)
    result = solve(network, times)
    decay = 2.5 * np.exp(-times)
    assert result["X"] == pytest.approx(decay, rel=1e-7)
    assert result["Y"] == pytest.approx(0.5 * (2.5 - decay), rel=1e-7, abs=1e-9)
    integral = 2.0 * (2.5 - decay * (1.0 + times))
    assert result["V"] == pytest.approx(integral - 0.25 * (2.5 - decay), rel=1e-7, abs=1e-8)


def test_a_variable_as_a_reactant_may_go_below_zero():
    network = gl.Network(
        variables=[gl.Variable("X", 1.0)],
        reactions=[gl.Reaction([("X", 1)], [], 2.0, kind="propensity")],
    )
    assert solve(network, [0.0, 2.0])["X"][-1] == pytest.approx(-3.0)


@pytest.mark.parametrize(("limited", "last"), [(True, 0.0), (False, -5.0)])
def test_an_unlimited_law_does_not_fade_where_its_reactant_runs_out(limited, last):
    network = gl.Network(
        species=[gl.Species("A", 5)],
        reactions=[gl.Reaction({"A": 1}, {}, 1.0, kind="propensity", limited=limited)],
    )
    assert solve(network, [0.0, 10.0])["A"][-1] == pytest.approx(last, abs=1e-5)


# ---- Small amounts ------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-15, 1e-20])
def test_amounts_in_moles_are_as_exact_as_any(scale):
    # X -> Y -> V with rates 1 and 3: three exponentials, whatever the unit.
    network = gl.Network(
        variables=[
            gl.Variable("X", scale, -X),
            gl.Variable("Y", 0.0, X - 3 * Y),
            gl.Variable("V", 0.0, 3 * Y),
        ]
    )
    times = np.array([0.0, 0.5, 2.0, 10.0])
    result = solve(network, times)
    x = np.exp(-times)
    y = 0.5 * (np.exp(-times) - np.exp(-3.0 * times))
    assert result["X"] / scale == pytest.approx(x, rel=1e-5)
    assert result["Y"] / scale == pytest.approx(y, rel=1e-5)
    assert result["V"] / scale == pytest.approx(1.0 - x - y, rel=1e-5)


def test_what_starts_from_nothing_has_the_scale_of_its_source():
    network = gl.Network(variables=[gl.Variable("X", 0.0, 1e-18 * sin(t))])
    found = solve(network, [0.0, 1.0, 2.0])["X"]
    assert found == pytest.approx(1e-18 * (1.0 - np.cos([0.0, 1.0, 2.0])), rel=1e-4, abs=1e-27)


# ---- Trouble ------------------------------------------------------------------------------------


def test_a_rate_that_is_no_number_is_named_with_its_time():
    network = gl.Network(
        species=[gl.Species("A", 5)],
        reactions=[gl.Reaction({"A": 1}, {}, A / (A - 5), kind="propensity", name="odd")],
    )
    with pytest.raises(gl.SimulationError, match=r"rate of reaction 1 'odd' .* is inf at t = 0"):
        solve(network, 1.0)
    network = gl.Network(variables=[gl.Variable("X", 1.0, -1 / sqrt(0.25 - t))])
    with pytest.raises(gl.SimulationError, match=r"of variable 'X' is nan at"):
        solve(network, 1.0)


def test_a_rate_that_is_no_number_and_changes_nothing_does_no_harm():
    network = gl.Network(
        species=[gl.Species("A", 5), gl.Species("B", 1)],
        reactions=[
            gl.Reaction({"B": 1}, {"B": 1}, 0 * A / (A - A), kind="propensity"),
            gl.Reaction({"A": 1}, {}, 1.0),
        ],
    )
    assert solve(network, [0.0, 1.0])["A"][-1] == pytest.approx(5.0 * np.exp(-1.0))


def test_reaction_delays_are_refused_by_name():
    network = gl.Network(
        species=[gl.Species("A", 5)], reactions=[gl.Reaction({"A": 1}, {}, 1.0, delay=2.0)]
    )
    with pytest.raises(gl.MethodError, match="delay"):
        solve(network, 1.0)


# ---- stop_when ----------------------------------------------------------------------------------


def test_a_solution_stops_where_its_condition_becomes_true():
    result = solve(decaying(), np.linspace(0.0, 5.0, 11), stop_when="A <= 50", rtol=1e-10)
    assert result.hitting_time == pytest.approx(2.0 * np.log(2.0), abs=1e-7)
    assert result["A"][3:] == pytest.approx(np.full(8, 50.0), rel=1e-9)


def test_a_condition_met_by_an_event_or_at_the_start_stops_there():
    network = decaying(Event(t >= 2, {"A": 7}))
    result = solve(network, [0.0, 1.0, 2.0, 3.0], stop_when="A <= 10")
    assert result.hitting_time == 2.0
    assert result["A"][2:].tolist() == [7.0, 7.0]
    assert solve(network, [0.0, 1.0], stop_when="A > 10").hitting_time == 0.0
    assert np.isnan(solve(network, [0.0, 1.0], stop_when="A > 100").hitting_time)


# ---- Recurrences, fits, comparisons --------------------------------------------------------------

EVENTFUL = decaying(Event(A < 50, {"X": 1}, name="dose"))
LATE = gl.Network(
    species=[gl.Species("A", 5)], reactions=[gl.Reaction({"A": 1}, {}, 1.0, delay=2.0)]
)


@pytest.mark.parametrize("network", [EVENTFUL, LATE], ids=["event", "delay"])
@pytest.mark.parametrize(
    "use",
    [
        gl.Recurrence,
        lambda network: gl.fit(network, {"t": [0.0, 1.0], "A": [5.0, 2.0]}, []),
        lambda network: gl.compare(network, 2.0, 20),
        lambda network: gl.scale_volume(network, 10.0),
    ],
    ids=["recurrence", "fit", "compare", "scale_volume"],
)
def test_recurrences_fits_and_comparisons_refuse_events_and_delays(network, use):
    expected = r"event 1 'dose'|reaction 1 .* delay|the variable 'X'"
    with pytest.raises(gl.NetworkError, match=expected):
        use(network)


def test_a_recurrence_follows_computed_coefficients_and_unlimited_laws():
    network = gl.Network(
        species=[gl.Species("A", 1)],
        variables=[gl.Variable("X", 2.5), gl.Variable("Y", 0.0)],
        reactions=[
            gl.Reaction([("X", 1)], [("Y", 2 * t)], X, kind="propensity"),
            gl.Reaction({"A": 1}, {}, 1.0, kind="propensity", limited=False),
        ],
    )
    times = np.linspace(0.0, 3.0, 7)
    found = gl.Recurrence(network).unroll(times, steps=200)
    expected = solve(network, times)
    for name in ("A", "X", "Y"):
        assert np.asarray(found[name]) == pytest.approx(expected[name], rel=1e-6, abs=1e-7)


def test_a_cell_that_counts_refuses_variables_in_reactions():
    network = gl.Network(
        variables=[gl.Variable("X", 2.5)],
        reactions=[gl.Reaction([("X", 1)], [], X, kind="propensity")],
    )
    with pytest.raises(gl.NetworkError, match="variable 'X' on a side"):
        gl.Recurrence(network, "langevin")


def test_a_scaled_network_keeps_its_unlimited_laws():
    network = gl.Network(
        species=[gl.Species("A", 5)],
        reactions=[gl.Reaction({"A": 1}, {}, 1.0, kind="propensity", limited=False)],
    )
    assert not gl.scale_volume(network, 2.0).reactions[0].limited


# ---- Another simulator --------------------------------------------------------------------------

# The same model in Antimony and in the language of networks.
TWINS = {
    "dosing with a delay": (
        """
        species A = 100, B = 0;
        J1: A -> B; 0.3*A;
        J2: B -> ; 0.1*B;
        E1: at A < 40: A = A + 60;
        E2: at 1.5 after B > 50: B = B/2;
        """,
        gl.Network(
            species=[gl.Species("A", 100), gl.Species("B", 0)],
            reactions=[gl.Reaction({"A": 1}, {"B": 1}, 0.3), gl.Reaction({"B": 1}, {}, 0.1)],
            events=[
                Event(A < 40, {"A": A + 60}, initially=True),
                Event(B > 50, {"B": B / 2}, delay=1.5, values="trigger", initially=True),
            ],
        ),
    ),
    "rate rules and a switch in time": (
        """
        X = 1; Y = 0; V = 0;
        X' = -0.5*X + piecewise(2, time > 3.3, 0.25);
        Y' = X - Y;
        E1: at Y > 1.5: V = V + Y, Y = 0.5;
        """,
        gl.Network(
            variables=[
                gl.Variable("X", 1.0, -0.5 * X + if_(t > 3.3, 2, 0.25)),
                gl.Variable("Y", 0.0, X - Y),
                gl.Variable("V", 0.0),
            ],
            events=[Event(Y > 1.5, {"V": V + Y, "Y": 0.5}, initially=True)],
        ),
    ),
    "priorities, cancelling and values of the trigger": (
        """
        species A = 10, B = 0;
        X = 0; Y = 0;
        J1: -> A; 7;
        J2: A -> B; 0.2*A;
        E1: at A > 20, priority = 2: A = A - 10, X = X + 1;
        E2: at 0.5 after A > 19.9, priority = 1, persistent = false: Y = Y + 1;
        E3: at 2 after time > 4, fromTrigger = true: B = B + A;
        E4: at 2 after time > 4.5, fromTrigger = false: B = B + A;
        """,
        gl.Network(
            species=[gl.Species("A", 10), gl.Species("B", 0)],
            variables=[gl.Variable("X", 0.0), gl.Variable("Y", 0.0)],
            reactions=[gl.Reaction({}, {"A": 1}, 7.0), gl.Reaction({"A": 1}, {"B": 1}, 0.2)],
            events=[
                Event(A > 20, {"A": A - 10, "X": X + 1}, priority=2, initially=True),
                Event(
                    A > 19.9, {"Y": Y + 1}, delay=0.5, priority=1, persistent=False, initially=True
                ),
                Event(t > 4, {"B": B + A}, delay=2, values="trigger", initially=True),
                Event(t > 4.5, {"B": B + A}, delay=2, initially=True),
            ],
        ),
    ),
}


@pytest.mark.parametrize("model", TWINS)
def test_libroadrunner_agrees(model):
    antimony = pytest.importorskip("antimony", reason="antimony is not installed")
    roadrunner = pytest.importorskip("roadrunner", reason="libroadrunner is not installed")
    text, network = TWINS[model]
    antimony.clearPreviousLoads()
    assert antimony.loadAntimonyString(f"model twin\n{text}\nend") >= 0, antimony.getLastError()
    other = roadrunner.RoadRunner(antimony.getSBMLString("twin"))
    other.integrator.absolute_tolerance, other.integrator.relative_tolerance = 1e-12, 1e-10
    names = network.state_names
    species = set(network.species_names)
    other.timeCourseSelections = [f"[{name}]" if name in species else name for name in names]
    # Between events: at the time of one, the two may be on its two sides by a rounding error.
    times = np.linspace(0.0, 12.0, 98)
    expected = np.array(other.simulate(times=times.tolist()))
    found = solve(network, times, rtol=1e-9)
    for column, name in enumerate(names):
        assert found[name] == pytest.approx(expected[:, column], rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("method", ["ode", "direct"])
def test_a_concentration_kept_from_the_trigger_meets_the_size_at_the_execution(method):
    # V = 1 + t. At t = 1 the concentration to be set is A/V + 1 = 10/2 + 1 = 6; at t = 3, V = 4.
    network = gl.Network.parse(
        "species A = 10\nvariable V = 1\nV' = 1\ncompartment V: [A]\n"
        "at t >= 1, after 2, values at trigger: [A] = A/V + 1"
    )
    path = gl.simulate(network, [0, 2, 3, 7], method=method, rng=1)
    np.testing.assert_allclose(path.amount("A"), [10, 10, 24, 24], rtol=1e-9)
    np.testing.assert_allclose(path["A"], [10, 10 / 3, 6, 3], rtol=1e-9)


def test_a_concentration_set_together_with_its_size_holds_in_the_new_size():
    network = gl.Network.parse(
        "species A = 10\nvariable V = 2\ncompartment V: [A]\nat t >= 1: [A] = A/V, V = 4"
    )
    path = gl.simulate(network, [0, 1, 2], method="ode")
    np.testing.assert_allclose(path["A"], 5)
    np.testing.assert_allclose(path.amount("A"), [10, 20, 20])
