"""Tables become experiments: what is read, and what is refused with a clear message."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite.ode_rnn import Recurrence
from gillespy_lite.ode_rnn.estimates import Estimate, free_space
from gillespy_lite.ode_rnn.experiments import Experiment, prepare_experiments
from gillespy_lite.ode_rnn.fitting import IdentifiabilityWarning, fit, objective_of
from gillespy_lite.ode_rnn.noise_models import NOISE_MODELS, Gaussian, LogNormal, Poisson

NETWORK = gl.Network.parse("""
species X = 100, Y
param k = 0.5, g = 0.1, double = 2*k, light = 1
observe total = X + Y
X -> Y @ k*light
Y -> 0 @ g
""")
RECURRENCE = Recurrence(NETWORK)
T = np.array([1.0, 2.0, 4.0, 8.0])
X = np.array([60.0, 37.0, 14.0, 2.0])
TABLE = {"time": T, "X": X}


def prepared(data, noise=None, recurrence=RECURRENCE):
    return prepare_experiments(data, recurrence, noise).experiments


# ---- What is read -------------------------------------------------------------------------------


def test_a_table_is_the_same_as_mapping_frame_structured_array_and_trajectory():
    import pandas

    structured = np.zeros(4, dtype=[("time", float), ("X", float)])
    structured["time"], structured["X"] = T, X
    for table in (TABLE, pandas.DataFrame(TABLE), structured):
        (one,) = prepared(table)
        assert one.times.tolist() == [0.0, 1.0, 2.0, 4.0, 8.0]
        assert one.outputs == ("X",)
        assert one.columns[0].values.tolist() == X.tolist()
    path = gl.simulate(NETWORK, [0.0, 1.0, 2.0], rng=1, outputs=["X"])
    (one,) = prepared(path)
    assert one.columns[0].values.tolist() == path["X"].tolist()


def test_a_missing_value_is_left_out_and_its_row_kept():
    import pandas

    for missing in (
        {**TABLE, "Y": [1.0, np.nan, 3.0, 4.0]},
        pandas.DataFrame({**TABLE, "Y": [1.0, None, 3.0, 4.0]}),
        pandas.DataFrame({**TABLE, "Y": pandas.array([1, None, 3, 4], "Int64")}),
    ):
        (one,) = prepared(missing)
        assert one.n_data == 7
        assert one.mask[0].tolist() == [
            [False, False], [True, True], [True, False], [True, True], [True, True]
        ]  # fmt: skip


def test_one_long_table_splits_into_experiments_and_replicates():
    table = {
        "experiment": ["a", "a", "a", "a", "b", "b"],
        "replicate": [1, 1, 2, 2, 1, 1],
        "time": [1.0, 2.0, 1.0, 3.0, 5.0, 6.0],
        "X": [60.0, 37.0, 61.0, 22.0, 8.0, 5.0],
    }
    first, second = prepared(table)
    assert (first.name, second.name) == ("a", "b")
    assert first.times.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert first.observed[:, 1:, 0].tolist()[0][:2] == [60.0, 37.0]
    assert first.observed[1, 3, 0] == 22.0
    assert np.isnan(first.observed[1, 2, 0])
    assert first.replicates == ("1", "2")
    assert second.times.tolist() == [0.0, 5.0, 6.0]


def test_a_list_of_tables_under_one_experiment_holds_replicates():
    (one,) = prepared(Experiment([TABLE, {"time": [3.0], "X": [22.0]}], name="pair"))
    assert one.observed.shape == (2, 6, 1)
    assert one.n_data == 5


def test_a_list_or_mapping_of_tables_holds_experiments():
    assert [one.name for one in prepared([TABLE, TABLE])] == ["1", "2"]
    given = {"cold": TABLE, "warm": Experiment(TABLE, parameters={"k": 1.0}, initial={"X": 50})}
    cold, warm = prepared(given)
    assert (cold.name, warm.name) == ("cold", "warm")
    assert (cold.parameters, warm.parameters, warm.initial) == ({}, {"k": 1.0}, {"X": 50.0})


def test_columns_are_matched_with_observables_by_name_or_as_said():
    table = {"hours": T, "optical density": X, "X": X}
    (one,) = prepared(Experiment(table, time="hours", columns={"optical density": "total"}))
    assert one.outputs == ("total",)


def test_weights_divide_the_variance_and_zero_leaves_a_value_out():
    table = {**TABLE, "w": [4.0, 1.0, 0.0, 1.0]}
    (one,) = prepared(Experiment(table, weights={"X": "w"}), Gaussian(3.0))
    assert one.columns[0].values.tolist() == [60.0, 37.0, 2.0]
    assert one.columns[0].width.tolist() == [1.5, 3.0, 3.0]


def test_sigma_may_be_a_column_of_the_table():
    (one,) = prepared({**TABLE, "X_sd": [1.0, 2.0, 3.0, 4.0]}, {"X": Gaussian("X_sd")})
    assert one.outputs == ("X",)
    assert one.columns[0].width.tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("light", "expected"),
    [
        (2.0, [2.0, 2.0, 2.0, 2.0, 2.0]),
        ([5.0, 4.0, 3.0, 2.0, 1.0], [5.0, 4.0, 3.0, 2.0, 1.0]),
        (lambda t: 10.0 * t, [0.0, 10.0, 20.0, 40.0, 80.0]),
        (lambda t: 1 if t < 2 else 0, [1.0, 1.0, 0.0, 0.0, 0.0]),
        (lambda t: 3, [3.0, 3.0, 3.0, 3.0, 3.0]),
        (math.sqrt, [0.0, 1.0, 2.0**0.5, 2.0, 8.0**0.5]),
        ("lamp", [6.0, 7.0, 8.0, 9.0, 9.5]),
    ],
)
def test_an_input_is_a_number_an_array_a_function_or_a_column(light, expected):
    recurrence = Recurrence(NETWORK, inputs=("light",))
    table = {"time": [0.0, *T], "X": [np.nan, *X], "lamp": [6.0, 7.0, 8.0, 9.0, 9.5]}
    experiment = Experiment(table, inputs={"light": light}, columns={"X": "X"})
    (one,) = prepared(experiment, None, recurrence)
    assert one.inputs["light"].tolist() == expected


def test_an_input_with_times_of_its_own_adds_them_to_the_grid():
    recurrence = Recurrence(NETWORK, inputs=("light",))
    pair = ([0.0, 3.0, 20.0], [1.0, 5.0, 9.0])
    (one,) = prepared(Experiment(TABLE, inputs={"light": pair}), None, recurrence)
    assert one.times.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 8.0]
    assert one.inputs["light"].tolist() == [1.0, 1.0, 1.0, 5.0, 5.0, 5.0]


def driven(light, interpolation="previous", table=TABLE, **setting):
    """Return the input on the grid."""
    recurrence = Recurrence(NETWORK, inputs=("light",), interpolation=interpolation)
    experiment = Experiment(table, inputs={"light": light}, columns={"X": "X"}, **setting)
    (one,) = prepared(experiment, None, recurrence)
    return one.inputs["light"].tolist()


def test_an_input_that_starts_after_the_initial_state_is_refused():
    message = (
        r"the input 'light' of experiment 'a' covers t = 3 to 4, but is needed for t = 0 to 8; "
        r"give its values from t = 0 on, .*start=3"
    )
    for interpolation in ("previous", "linear"):
        with pytest.raises(ValueError, match=message):
            driven(([3, 4], [1, 1]), interpolation, name="a")
    table = {**TABLE, "lamp": [7.0, 8.0, 9.0, 9.5]}
    with pytest.raises(ValueError, match="covers t = 1 to 8, but is needed for t = 0 to 8"):
        driven("lamp", table=table)
    assert driven("lamp", table=table, start=1.0) == [7.0, 8.0, 9.0, 9.5]


def test_an_input_is_held_after_its_last_time_but_no_line_is_drawn_there():
    early = ([0, 4], [1, 5])
    assert driven(early) == [1.0, 1.0, 1.0, 5.0, 5.0]
    with pytest.raises(ValueError, match=r"covers t = 0 to 4, but .* 0 to 8; .*up to t = 8"):
        driven(early, "linear")
    assert driven(([0, 10], [0, 10]), "linear") == [0.0, 1.0, 2.0, 4.0, 8.0]


def test_a_gap_in_the_column_of_an_input_is_refused_with_its_row():
    table = {"time": [0.0, *T], "X": [np.nan, *X], "lamp": [6.0, 7.0, np.nan, 9.0, 9.5]}
    with pytest.raises(
        ValueError, match="the input 'light' of experiment '1' is nan in row 2 of its column 'lamp'"
    ):
        driven("lamp", table=table)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: "bright", "returns 'bright' at t = 0"),
        (lambda t: None, "returns None at t = 0"),
        (lambda t: [1.0, 2.0], r"returns \[1\.0, 2\.0\] at t = 0"),
        (lambda t: 1j, "returns 1j at t = 0"),
        (lambda t: np.where(t < 4, 1.0, np.inf), "returns inf at t = 4"),
        (math.log, "fails at t = 0 with ValueError"),
    ],
)
def test_an_input_function_that_gives_no_number_is_refused(function, message):
    with pytest.raises(
        ValueError, match=f"function that gives the input 'light' of experiment '1' {message}"
    ):
        driven(function)


def test_the_initial_state_holds_at_the_start():
    (one,) = prepared(Experiment({"time": [-1.0, 0.0, 2.0], "X": X[:3]}, start=-1.0))
    assert one.times[0] == -1.0


# ---- What is refused ----------------------------------------------------------------------------

BAD_DATA = {
    "unknown column": ({"time": T, "Xx": X}, r"column 'Xx' of experiment '1'.*did you mean 'X'"),
    "no time": ({"X": X}, "no column of times"),
    "unknown time": (Experiment(TABLE, time="tiem"), "no column 'tiem' of times.*did you mean"),
    "times not increasing": (
        {"time": [1.0, 4.0, 2.0, 8.0], "X": X},
        r"row 2 of experiment '1' has time = 2 after 4; sort the rows.*'replicate'",
    ),
    "time is nan": ({"time": [1.0, np.nan, 2.0, 3.0], "X": X}, "the time in row 1"),
    "before the start": ({"time": [-1.0, 1.0, 2.0, 3.0], "X": X}, "start=-1"),
    "only at the start": ({"time": [0.0], "X": [100.0]}, "nothing to be learnt"),
    "no rows": ({"time": [], "X": []}, "no data for experiment '1'"),
    "no columns": ({"time": T}, "no data for experiment '1'"),
    "no experiments": ([], "no data: the list of experiments is empty"),
    "no tables": (Experiment([]), "no data for experiment '1'"),
    "nan everywhere": ({"time": T, "X": np.full(4, np.nan)}, "every value is nan"),
    "infinite": ({"time": T, "X": [1.0, np.inf, 2.0, 3.0]}, "row 1 of experiment '1' has X = inf"),
    "lengths": ({"time": T, "X": X[:3]}, "of one length"),
    "text": (
        {"time": T, "X": [60.0, 37.0, "n.d.", 2.0]},
        r"column 'X' of experiment '1' holds 'n\.d\.' in row 2, which is no number",
    ),
    "text among objects": (
        {"time": T, "X": np.array([60.0, None, "n.d.", 2.0], dtype=object)},
        r"column 'X' of experiment '1' holds 'n\.d\.' in row 2, which is no number",
    ),
    "column of a parameter": (
        {**TABLE, "light": np.ones(4)},
        r"'light' .* called after the parameter 'light'.*inputs=\{'light': 'light'\}",
    ),
    "dates": ({"time": np.arange(4).astype("datetime64[D]"), "X": X}, "holds dates"),
    "state": (Experiment(TABLE, initial={"Z": 1}), "initial value of 'Z'.*no such state"),
    "parameter": (Experiment(TABLE, parameters={"kk": 1}), "value of 'kk'.*no such parameter"),
    "derived": (Experiment(TABLE, parameters={"double": 1}), "'double'.*did you|derived"),
    "not finite": (Experiment(TABLE, parameters={"k": np.nan}), "must be finite"),
    "input": (Experiment(TABLE, inputs={"lihgt": 1.0}), "'lihgt'.*did you mean 'light'"),
    "same name": ([Experiment(TABLE, name="a"), Experiment(TABLE, name="a")], "two experiments"),
    "weight column": (Experiment(TABLE, weights={"X": "w"}), "no column 'w' with the weights"),
    "weight of nothing": (Experiment(TABLE, weights={"Y": [1, 1, 1, 1]}), "measures nothing"),
    "negative weight": (Experiment(TABLE, weights={"X": [1, -1, 1, 1]}), "weight of 'X' in row 1"),
    "weights too short": (Experiment(TABLE, weights={"X": [1.0]}), "4 rows"),
    "replicate column": (Experiment(TABLE, replicate="r"), "no column 'r' of replicates"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_are_refused_with_what_and_where(case):
    data, message = BAD_DATA[case]
    with pytest.raises((ValueError, TypeError), match=message):
        fit(NETWORK, data, ["k"])


def test_data_of_an_unknown_kind_are_refused():
    for data in (3.0, "table.csv", [3.0]):
        with pytest.raises(TypeError, match=r"data must be|is a float"):
            fit(NETWORK, data, ["k"])


def test_a_column_that_is_nan_everywhere_is_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="column 'Y' of experiment '1' is empty"):
        (one,) = prepared({**TABLE, "Y": np.full(4, np.nan)})
    assert one.outputs == ("X",)


def test_an_input_that_is_not_given_is_refused():
    with pytest.raises(ValueError, match="does not say what the input 'light' was"):
        prepared(TABLE, None, Recurrence(NETWORK, inputs=("light",)))
    for light in ([1.0, 2.0], ([0.0, 1.0], [1.0]), [1.0, np.nan, 1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="the input 'light' of experiment '1'"):
            prepared(
                Experiment(TABLE, inputs={"light": light}),
                None,
                Recurrence(NETWORK, inputs=("light",)),
            )


@pytest.mark.parametrize(
    ("noise", "value", "message"),
    [
        (LogNormal(), 0.0, "LogNormal noise needs values above 0"),
        (LogNormal(), -1.0, "LogNormal noise needs values above 0"),
        (Poisson(), -1.0, "Poisson noise needs whole numbers"),
        (Poisson(), 1.5, "Poisson noise needs whole numbers"),
        (Gaussian(relative=True), 0.0, "Gaussian noise needs finite values other than 0"),
    ],
)
def test_values_that_a_noise_model_cannot_give_are_refused(noise, value, message):
    with pytest.raises(ValueError, match=f"row 2 of experiment '1' has X = .*{message}"):
        prepared({"time": T, "X": [60.0, 37.0, value, 2.0]}, noise)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("gauss", "noise must be a noise model"),
        ({"Y": Poisson()}, "noise names the column 'Y', which measures nothing"),
        ({"X": Gaussian("sd")}, "no column 'sd' with the sigma of 'X'"),
    ],
)
def test_bad_noise_is_refused(noise, message):
    with pytest.raises((ValueError, TypeError), match=message):
        prepared(TABLE, noise)


def test_a_sigma_that_is_none_is_refused():
    for wrong in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="finite number above 0"):
            Gaussian(wrong)
    with pytest.raises(TypeError, match="sigma of LogNormal"):
        LogNormal("column")
    with pytest.raises(ValueError, match="sigma of 'X' in row 1"):
        prepared({**TABLE, "sd": [1.0, 0.0, 1.0, 1.0]}, {"X": Gaussian("sd")})


# ---- What is estimated --------------------------------------------------------------------------

BAD_ESTIMATES = {
    "unknown": (["kk"], None, "'kk', which the network does not have; did you mean 'k'"),
    "state": (["X"], None, r"its initial value is written 'X\(0\)'"),
    "unknown state": (["Z(0)"], None, "no state 'Z'"),
    "derived": (["double"], None, r"derived \(double = 2\*k\)"),
    "twice": (["k", "k"], None, "'k' twice"),
    "nothing": ([], None, "nothing is to be estimated"),
    "start outside": ({"k": (1.0, 2.0)}, None, r"start of 'k', 0.5, is outside its bounds"),
    "bounds": ({"k": (2.0, 1.0)}, None, "lower one must be below"),
    "no bounds": ({"k": 3.0}, None, "bounds"),
    "log of zero": ([Estimate("Y(0)", scale="log")], None, "log scale"),
    "circle": (["k"], {"g": "light", "light": "g"}, "ties go in a circle: g = light; light = g"),
    "itself": (["k"], {"g": "2*g"}, "circle"),
    "tied and estimated": (["k"], {"k": "2*g"}, "both estimated and tied"),
    "tie to a state": (["k"], {"g": "2*X"}, "uses 'X', which is no parameter"),
    "unknown tie": (["k"], {"h": "2*k"}, "ties names 'h'"),
    "tie of a wrong kind": (["k"], {"g": [1]}, "must be an expression"),
    "no estimate": ([3.0], None, "estimate holds 3.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ESTIMATES)
def test_bad_estimates_are_refused_with_advice(case):
    estimate, ties, message = BAD_ESTIMATES[case]
    with pytest.raises((ValueError, TypeError), match=message):
        fit(NETWORK, TABLE, estimate, ties=ties)


def test_an_input_cannot_be_estimated():
    recurrence = Recurrence(NETWORK, inputs=("light",))
    with pytest.raises(gl.NetworkError, match="'light', which is an input"):
        fit(recurrence, Experiment(TABLE, inputs={"light": 1.0}), ["light"])


def test_what_an_experiment_fixes_cannot_be_estimated():
    with pytest.raises(ValueError, match="experiment '1' fixes 'k'"):
        fit(NETWORK, Experiment(TABLE, parameters={"k": 1.0}), ["k"])
    with pytest.raises(ValueError, match=r"experiment '1' fixes 'X\(0\)'"):
        fit(NETWORK, Experiment(TABLE, initial={"X": 1.0}), ["X(0)"])


def test_more_parameters_than_values_are_refused():
    with pytest.raises(ValueError, match="2 parameters cannot be estimated from 1 measured values"):
        fit(NETWORK, {"time": [1.0], "X": [60.0]}, ["k", "X(0)"])


def test_as_many_parameters_as_values_have_no_standard_errors_and_say_so():
    with pytest.warns(IdentifiabilityWarning, match="leave nothing to tell the noise by"):
        result = fit(NETWORK, {"time": [1.0], "X": [60.0]}, ["k"])
    assert result["k"] == pytest.approx(-np.log(0.6), rel=1e-6)
    assert np.isnan(result.standard_errors["k"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimiser": "lbgfs"}, "unknown optimiser 'lbgfs'; did you mean 'lbfgs'"),
        ({"optimiser": 3}, "unknown optimiser 3"),
        ({"starts": 0}, "starts must be a whole number"),
        ({"max_evaluations": 1.5}, "max_evaluations must be a whole number"),
        ({"timeout": -1.0}, "timeout"),
        ({"training": {"epochs": 3}}, "training= is for trainers"),
        ({"rng": 1, "seed": 2}, "not both"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(NETWORK, TABLE, ["k"], **options)


def test_a_model_that_is_none_is_refused():
    with pytest.raises(TypeError, match="must be a Network or a Recurrence"):
        fit("X -> 0", TABLE, ["k"])


def test_an_adaptive_cell_takes_no_steps():
    with pytest.raises(ValueError, match="adaptive cell chooses its own steps"):
        fit(Recurrence(NETWORK, "dopri5"), TABLE, ["k"], steps=4)


# ---- Free coordinates ---------------------------------------------------------------------------


def space_of(estimate, ties=None, experiments=(("a", {}, {}), ("b", {"g": 0.3}, {}))):
    return free_space(RECURRENCE, estimate, ties, experiments)


def test_positive_parameters_are_estimated_on_a_log_scale_by_default():
    space = space_of(["k", "Y(0)", Estimate("g", lower=-1.0), Estimate("light", scale="linear")],
                     experiments=(("a", {}, {}),))  # fmt: skip
    assert space.is_log.tolist() == [True, False, False, False]
    assert space.natural(space.start) == pytest.approx({"k": 0.5, "Y(0)": 0, "g": 0.1, "light": 1})
    assert space.lower.tolist() == [-np.inf, -np.inf, -1.0, -np.inf]


def test_local_estimates_have_a_coordinate_for_each_experiment():
    space = space_of([Estimate("k", shared=False), "X(0)"])
    assert space.names == ("k[a]", "k[b]", "X(0)")
    u = np.log([1.0, 2.0, 90.0])
    assert space.quantities(u, 0) == pytest.approx({"k": 1.0, "X(0)": 90.0})
    assert space.quantities(u, 1) == pytest.approx({"k": 2.0, "X(0)": 90.0})


def test_ties_follow_estimates_through_other_ties_and_derived_parameters():
    # light = 3 g with g = k^2/4 + double/100, double = 2 k; the slope by log k is k dg/dk.
    space = space_of(
        ["k"], {"light": "3*g", "g": "k^2/4 + double/100"}, experiments=(("a", {}, {}),)
    )
    u = np.log([0.8])
    g = 0.16 + 0.016
    assert space.quantities(u, 0) == pytest.approx({"k": 0.8, "g": g, "light": 3 * g})
    slope = 0.8 * (0.4 + 0.02)
    rows = dict(zip(space.moving, space.slopes(u, 0)[:, 0], strict=True))
    assert rows == pytest.approx({"k": 0.8, "g": slope, "light": 3 * slope})


def test_a_tie_sees_what_each_experiment_fixes():
    space = space_of(["k"], {"light": "k + g"})
    u = np.log([0.5])
    assert space.quantities(u, 0)["light"] == pytest.approx(0.6)
    assert space.quantities(u, 1)["light"] == pytest.approx(0.8)


# ---- Likelihood ---------------------------------------------------------------------------------

NOISES = {
    **{name: model() for name, model in NOISE_MODELS.items()},
    "relative": Gaussian(relative=True),
    "known": Gaussian(3.0),
    "known relative": Gaussian(0.1, relative=True),
    "known lognormal": LogNormal(0.1),
    "shared": LogNormal(shared=True),
}


def rough_objective(noise):
    rng = np.random.default_rng(5)
    tables = []
    for _ in range(2):
        x, y = rng.poisson(100 * np.exp(-0.5 * T)) + 1.0, rng.poisson(50 * np.exp(-0.1 * T)) + 1.0
        x[1] = np.nan
        tables.append({"time": T, "X": x, "total": np.where(np.isnan(x), 40.0, x) + y})
    first = Experiment(tables[0], weights={"X": [1.0, 2.0, 0.0, 3.0]})
    second = Experiment(tables[1], initial={"Y": 10.0}, parameters={"light": 1.2})
    return objective_of(
        NETWORK, [first, second], [Estimate("k", shared=False), "X(0)"],
        ties={"g": "k/5 + 0.01*light"}, noise=noise, steps=20,
    )  # fmt: skip


@pytest.mark.parametrize("name", NOISES)
def test_gradient_of_the_likelihood_is_its_slope_and_that_of_the_residuals(name):
    objective = rough_objective(NOISES[name])
    u = objective.start + 0.1
    value, gradient = objective.value_and_gradient(u)
    assert value == pytest.approx(objective.value(u), rel=1e-14)
    for k in range(objective.n_free):
        # Fourth-order differences.
        at = [objective.value(u + h * np.eye(objective.n_free)[k]) for h in
              (2e-3, 1e-3, -1e-3, -2e-3)]  # fmt: skip
        slope = (-at[0] + 8 * at[1] - 8 * at[2] + at[3]) / 12e-3
        assert gradient[k] == pytest.approx(slope, rel=1e-6, abs=1e-6)
    residuals, jacobian = objective.residuals_and_jacobian(u)
    np.testing.assert_allclose(jacobian.T @ residuals, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NOISES)
def test_value_is_the_negative_log_density_of_the_data(name):
    from scipy import stats

    objective = rough_objective(NOISES[name])
    u = objective.start - 0.05
    scales = objective.scales(u)
    expected = 0.0
    for e, experiment in enumerate(objective.experiments):
        outputs = objective.outputs(e, u)
        for column in experiment.columns:
            means = outputs[column.rows, column.output]
            width = column.width * (scales[column.group] if column.group >= 0 else 1.0)
            noise = column.noise
            if isinstance(noise, Poisson):
                weight = column.width**-2
                logs = weight * stats.poisson.logpmf(column.values, means)
            elif isinstance(noise, LogNormal):
                logs = stats.lognorm.logpdf(column.values, width, scale=means)
            else:
                size = means if noise.relative else 1.0
                logs = stats.norm.logpdf(column.values, means, width * size)
            expected -= logs.sum()
    assert objective.value(u) == pytest.approx(expected, rel=1e-9)


def test_likelihood_of_a_diverging_model_is_infinite_and_never_nan():
    network = gl.Network.parse("species X = 1\nparam k = 1\nX => 2 X @ k*X^2")
    # X' = k X^2 from 1 is infinite at t = 1/k.
    objective = objective_of(
        network, {"time": [0.2, 0.5], "X": [1.25, 2.0]}, ["k"], noise=Gaussian(0.1)
    )
    u = np.log([50.0])
    assert objective.value(u) == np.inf
    value, gradient = objective.value_and_gradient(u)
    assert value == np.inf
    assert gradient.tolist() == [0.0]
    residuals, _ = objective.residuals_and_jacobian(u)
    assert np.isposinf(residuals).all()
    assert objective.value(np.array([1e6])) == np.inf


def test_windows_cover_the_time_axis_and_meet_at_their_ends():
    objective = rough_objective(Gaussian(1.0))
    windows = [w for w in objective.windows(3) if w.experiment == 0]
    assert windows[0].first == 0
    assert windows[-1].last == objective.experiments[0].times.size - 1
    assert all(a.last == b.first for a, b in pairwise(windows))
    with pytest.raises(ValueError, match="at least one interval"):
        objective.windows(0)


def test_losses_of_pieces_add_up_to_the_whole():
    objective = rough_objective(Gaussian(relative=True))
    u = objective.start
    scales = objective.scales(u)
    for e, experiment in enumerate(objective.experiments):
        outputs = objective.outputs(e, u)
        whole, slopes = objective.loss_of_outputs(e, outputs, scales)
        first, first_slopes = objective.loss_of_outputs(e, outputs[:2], scales, 0)
        second, second_slopes = objective.loss_of_outputs(e, outputs[2:], scales, 2)
        assert first + second == pytest.approx(whole)
        np.testing.assert_allclose(np.vstack([first_slopes, second_slopes]), slopes)
        assert experiment.times.size == len(outputs)
