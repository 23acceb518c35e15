"""Comparisons of rate equations with stochastic paths, held against exact laws."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from laws import ALPHA, binomial_pvalue, normal_pvalue
from numpy.testing import assert_allclose

import gillespy_lite as gl
from gillespy_lite.errors import (
    IncompleteWarning,
    Interrupted,
    MethodError,
    NetworkError,
    SimulationError,
)
from gillespy_lite.ode_rnn.comparing import compare
from gillespy_lite.ode_rnn.comparison import Comparison
from gillespy_lite.ode_rnn.volume import scale_volume
from gillespy_lite.plotting.comparisons import COMPARISON_KINDS

THRESHOLD = ALPHA / 40

LINEAR = gl.Network.parse("""
    species M, P
    param k = 20, g = 1, d = 0.5
    observe total = M + P
    0 -> M @ k
    M -> P @ g
    P -> 0 @ d
""")
PAIRS = gl.Network.parse("species A = 10\nparam c = 0.1\n2 A -> 0 @ c")


@pytest.fixture(scope="module")
def linear() -> Comparison:
    return compare(LINEAR, np.linspace(0, 4, 9), 2_000, rng=1, volumes=(2, 4))


@pytest.fixture(scope="module")
def pairs() -> Comparison:
    return compare(PAIRS, np.linspace(0, 6, 13), 4_000, rng=3, volumes=(2, 4, 8))


@pytest.fixture(scope="module")
def bistable() -> Comparison:
    return compare(gl.models.schlogl(), [0, 1, 2, 3, 4], 2_000, rng=4)


# ---- Means --------------------------------------------------------------------------------------


@pytest.mark.statistical
def test_a_linear_network_has_no_bias_and_its_band_holds_zero(linear):
    # The rate equations of a linear network are the exact mean; M and P are Poisson, with
    # M(4) = 20 (1 - e^-4). A band of 95 % may fail for one seed in 20; this is seed 1.
    assert not linear.bias.is_plain.any()
    assert_allclose(linear["M"][-1], 20.0 * -math.expm1(-4.0), rtol=1e-4)
    z = linear.bias.difference[1:] / linear.bias.standard_error[1:]
    assert normal_pvalue(float(np.abs(z).max()), 0.0, 1.0) * z.size > THRESHOLD
    assert linear.cell_error < 1e-4


@pytest.mark.statistical
def test_bands_hold_zero_for_all_times_and_names_in_nineteen_of_twenty_comparisons():
    # Power: 160 comparisons reject a coverage of 75 %.
    held = 0
    for seed in range(160):
        result = compare(LINEAR, [0, 1, 2, 4], 100, rng=seed, cells=("rk4",), steps=8)
        held += not result.bias.is_plain.any()
    assert binomial_pvalue(held, 160, 0.95) > THRESHOLD
    assert binomial_pvalue(held, 160, 0.75) < THRESHOLD


@pytest.mark.statistical
def test_the_bias_of_annihilation_is_that_of_its_master_equation(pairs):
    # 2 A -> 0 from A = 10: the states 10, 8, ..., 0 are left at rates c A (A - 1) / 2.
    rates = {a: 0.05 * a * (a - 1) for a in range(10, -1, -2)}
    generator = np.zeros((6, 6))
    for i, a in enumerate(range(10, -1, -2)):
        generator[i, i] -= rates[a]
        if i < 5:
            generator[i, i + 1] += rates[a]
    from scipy.linalg import expm

    for k, t in enumerate(pairs.times):
        mean = expm(generator * t)[0] @ np.arange(10, -1, -2)
        # a' = -c a^2, so a(t) = 10 / (1 + t).
        deterministic = 10.0 / (1.0 + t)
        assert pairs["A"][k] == pytest.approx(deterministic, rel=1e-3)
        if k:
            found = pairs.bias.difference[k, 0]
            error = pairs.bias.standard_error[k, 0]
            assert normal_pvalue(found, mean - deterministic, error) > THRESHOLD
    # Power: the bias is plain. There is always a pair left over in the rate equations.
    assert pairs.bias.is_plain[2:, 0].any()


def test_early_times_without_an_event_are_not_called_biased():
    result = compare(PAIRS, [0, 1e-9, 1.0], 50, rng=1, cells=("rk4",))
    assert result.bias.standard_error[1, 0] == 0.0
    assert not result.bias.is_plain[1, 0]


# ---- Noise cells --------------------------------------------------------------------------------


@pytest.mark.statistical
def test_noise_cells_have_the_mean_and_variance_of_the_exact_law(linear):
    # M(4) is Poisson; Euler's steps inflate variances by at most 2.5 %. Power: 2,000 paths see
    # 15 % in a variance (3 %, with the inflation allowed for) and 2 % in a mean.
    mean = 20.0 * -math.expm1(-4.0)
    for cell in ("langevin", "leap"):
        last = linear.paths[cell][:, -1, 0]
        assert normal_pvalue(last.mean(), mean, math.sqrt(mean / 2_000)) > THRESHOLD
        error = mean * (math.sqrt(2.0 / 2_000) + 0.01)
        assert normal_pvalue(last.var(ddof=1), 1.0125 * mean, error) > THRESHOLD
        assert normal_pvalue(last.var(ddof=1), 1.25 * mean, error) < 1e-4
        ratio = linear.variance_ratios[cell]["M"]
        assert ratio.lower < 1.05
        assert ratio.upper > 0.95


def test_leaps_make_whole_counts_and_observables_follow(linear):
    leaps = linear.paths["leap"]
    assert (leaps == np.floor(leaps)).all()
    assert (leaps >= 0).all()
    for paths in linear.paths.values():
        assert_allclose(paths[:, :, 2], paths[:, :, 0] + paths[:, :, 1], rtol=1e-12)
    assert linear.names == ("M", "P", "total")


# ---- Modes, extinction, cycles, sizes -----------------------------------------------------------


@pytest.mark.statistical
def test_two_modes_are_seen_by_every_ensemble_where_the_rate_equations_have_one_value(bistable):
    law = gl.models.exact_law("schlogl", "X", 4.0)
    for source in ("exact", "langevin", "leap"):
        found = bistable.modes[source]["X"]
        assert found.p_value <= 0.002
        assert found.peaks[0] == pytest.approx(85, abs=25)
        assert found.peaks[1] == pytest.approx(565, abs=30)
    exact = bistable.modes["exact"]["X"]
    below = float(law(np.arange(int(np.ceil(exact.valley)))).sum())
    assert binomial_pvalue(round(exact.share_below * 2_000), 2_000, below) > THRESHOLD
    assert bistable.modes["exact"]["X"].p_value < 0.01 < 0.3
    assert "two modes" in str(bistable)


@pytest.mark.statistical
def test_extinction_is_counted_where_the_rate_equations_keep_a_remainder(pairs):
    # P(A(6) = 0), from the master equation above.
    rates = np.array([0.05 * a * (a - 1) for a in range(10, -1, -2)])
    generator = np.diag(-rates) + np.diag(rates[:-1], 1)
    from scipy.linalg import expm

    expected = float(expm(generator * 6.0)[0, -1])
    found = pairs.extinction["exact"]["A"]
    assert binomial_pvalue(round(found.share * 4_000), 4_000, expected) > THRESHOLD
    assert found.lower < expected < found.upper
    assert pairs["A"][-1] == pytest.approx(10.0 / 7.0, rel=1e-3)


@pytest.mark.statistical
def test_bias_and_variance_of_concentrations_fall_like_the_volume(pairs):
    scaling = pairs.scaling["A"]
    assert scaling.omegas == (1.0, 2.0, 4.0, 8.0)
    assert scaling.variance.exponent == pytest.approx(-1.0, abs=0.1)
    # Ten molecules are few: the next order of the expansion moves the exponent by some per cent.
    assert abs(scaling.bias.exponent + 1.0) < 4.0 * scaling.bias.error + 0.15
    assert scaling.bias.error < 0.3
    assert "Omega^" in str(pairs)


def test_cycles_of_a_clock_are_held_against_those_of_its_rate_equations():
    # Vilar's clock with a slow repressor: the rate equations rest after one pulse, noise goes on.
    network = gl.models.vilar(delta_R=0.05)
    result = compare(network, np.linspace(0, 300, 301), 30, rng=1, cells=("rodas4",), outputs=["R"])
    found = result.oscillations["R"]
    assert found.deterministic_period == 0.0
    assert 30 < found.paths.period < 120
    assert found.paths.n_cycles > 60
    assert "come to rest" in str(result)


# ---- The whole ----------------------------------------------------------------------------------


def test_a_comparison_repeats_and_does_not_depend_on_threads(linear):
    again = compare(
        LINEAR, np.linspace(0, 4, 9), 2_000, rng=linear.entropy, volumes=(4, 2), threads=1
    )
    for source in linear.paths:
        assert (again.paths[source] == linear.paths[source]).all()
    assert str(again) == str(linear)
    more = compare(LINEAR, np.linspace(0, 4, 9), 600, rng=1, steps=linear.noise_steps)
    for source in more.paths:
        assert (more.paths[source] == linear.paths[source][:600]).all()


def test_tables_hold_what_the_parts_say(linear):
    frame = linear.to_frame()
    assert len(frame) == 9 * 3
    last = frame[(frame["time"] == 4.0) & (frame["species"] == "P")].iloc[0]
    assert last["rk4"] == linear["P"][-1]
    assert last["exact_mean"] == linear.mean()[-1, 1]
    assert last["leap_std"] == linear.std("leap")[-1, 1]
    assert last["langevin_q0.95"] == linear.quantiles("langevin")[2, -1, 1]
    assert last["bias_half_width"] == linear.bias.half_width[-1, 1]


def test_the_report_answers_every_question(linear, pairs):
    for text, words in (
        (str(linear), ("not told from 0", "Fano", "one mode is enough", "Omega^")),
        (str(pairs), ("plain from t =", "None left", "Wilson", "entropy 3")),
    ):
        for word in words:
            assert word in text
    assert repr(linear).startswith("<Comparison: rk4 and exact and langevin and leap, 2000")


@pytest.mark.parametrize("kind", COMPARISON_KINDS)
def test_every_kind_of_plot_is_drawn(kind, pairs):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ax = pairs.plot(kind)
    ax.figure.canvas.draw()
    assert ax.get_legend() is not None
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    same = pairs.plot(kind, ax=pyplot.figure().add_subplot())
    assert same.figure is not ax.figure
    pyplot.close("all")


def test_plots_draw_several_names_and_refuse_what_is_not_there(linear):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ax = linear.plot("bands", names=["M", "total"])
    assert [text.get_text() for text in ax.get_legend().get_texts()][:1] == ["M (mean)"]
    linear.plot("final", name="total")
    with pytest.raises(ValueError, match="cannot plot kind='pie'"):
        linear.plot("pie")
    with pytest.raises(KeyError, match="no species or observable 'Q'"):
        linear.plot("bands", names="Q")
    with pytest.raises(ValueError, match="has no scaling"):
        linear.plot("scaling", name="total")
    alone = compare(LINEAR, [0, 1], 20, rng=1, cells=("rk4",))
    with pytest.raises(ValueError, match="volumes="):
        alone.plot("scaling")
    pyplot.close("all")


def test_progress_reaches_its_end_once(monkeypatch):
    calls = []
    compare(
        LINEAR,
        [0, 1],
        300,
        rng=1,
        volumes=(2,),
        progress=lambda done, total: calls.append((done, total)),
    )
    done, totals = zip(*calls, strict=True)
    assert set(totals) == {1200}
    assert list(done) == sorted(done)
    assert done[-1] == 1200


def test_a_timeout_gives_what_is_finished_and_says_so():
    with pytest.warns(IncompleteWarning, match="timeout"):
        result = compare(LINEAR, np.linspace(0, 40, 5), 200_000, rng=1, timeout=1.0)
    assert result.stopped == "timeout"
    assert 2 <= result.n <= 200_000
    assert "stopped by timeout" in str(result)


def test_an_interrupt_keeps_what_is_finished():
    def interrupt(done, total):
        if done > 300:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        compare(LINEAR, [0, 1, 2], 300, rng=1, progress=interrupt)
    result = caught.value.result
    assert result.stopped == "interrupt"
    assert list(result.paths) == ["exact"]
    assert result.n == 300
    assert "stopped by interrupt" in str(result)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 5}, ValueError, "20 or more"),
        ({"n": True}, ValueError, "20 or more"),
        ({"cells": ("langevin",)}, ValueError, "exactly one deterministic cell"),
        ({"cells": ("rk4", "euler")}, ValueError, "exactly one deterministic cell"),
        ({"cells": ("rk5",)}, MethodError, "no cell 'rk5'"),
        ({"quantiles": (0.9, 0.1)}, ValueError, "must increase"),
        ({"quantiles": (0.0, 0.5)}, ValueError, "between 0 and 1"),
        ({"level": 1.0}, ValueError, "level"),
        ({"outputs": ["X"]}, ValueError, "no species or observable 'X'"),
        ({"outputs": []}, ValueError, "nothing to compare"),
        ({"outputs": "M"}, TypeError, "list of names"),
        ({"volumes": (0,)}, ValueError, "above 0"),
        ({"t": [0, 2, 1]}, ValueError, "times must increase"),
        ({"t": [5]}, ValueError, r"at least two times, not t = \[5\.0\]"),
        ({"t": [0]}, ValueError, "at least two times"),
        ({"method": "ode"}, MethodError, "deterministic"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"progress": 3}, TypeError, "progress"),
        ({"rng": 1, "seed": 2}, ValueError, "not both"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=message):
            compare(**{"network": LINEAR, "t": [0, 1], "n": 20, **arguments})


def test_a_network_with_a_variable_is_refused_before_it_is_run():
    text = "param k = 0.5\nvariable X = 10\nX' = -k*X"
    for network in (text, "species A = 3\nA -> 0 @ 1\n" + text):
        with pytest.raises(NetworkError, match="needs reactions among species: the variable 'X'"):
            compare(gl.Network.parse(network), 10, 100)


def test_an_interrupt_before_anything_is_finished_says_so(monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gillespy_lite.ode_rnn.comparing.ensemble", interrupt)
    with pytest.raises(Interrupted, match=r"\.result is None") as caught:
        compare(LINEAR, [0, 1, 2], 300, rng=1, cells=("rk4",))
    assert caught.value.result is None


def test_networks_too_fast_for_the_steps_of_a_cell_are_refused_with_advice():
    network = gl.models.vilar()
    with pytest.raises(SimulationError, match=r"fastest changes .* give steps="):
        compare(network, [0, 50, 100], 20, rng=1, cells=("rodas4", "langevin"), outputs=["A"])
    # Steps that are given are taken. These are too long away from the fixed point where the rate
    # equations rest, so paths grow without end.
    network = gl.models.brusselator()
    with pytest.raises(SimulationError, match="paths of the cell 'langevin' stayed finite"):
        compare(network, [0, 1, 2, 4], 20, rng=1, cells=("rk4", "langevin"), steps=20)


def test_names_that_are_not_in_a_comparison_are_explained(linear):
    with pytest.raises(KeyError, match="no ensemble 'tau'"):
        linear.mean("tau")
    with pytest.raises(KeyError, match="'k' is a parameter"):
        linear["k"]
    scaled = scale_volume(LINEAR, 2)
    with pytest.raises(NetworkError, match="already"):
        compare(scaled, [0, 1], 20, volumes=(2,))
