"""Snapshots of cells: likelihood, Fisher information, fits, intervals; closed forms and mutants."""

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2, poisson

import gillespy_lite as gl
from gillespy_lite.errors import (
    IdentifiabilityWarning,
    IncompleteWarning,
    Interrupted,
    MethodError,
    NetworkError,
)
from gillespy_lite.master_equation import sensitivity_run
from gillespy_lite.master_equation.slopes import slopes_on
from gillespy_lite.ode_rnn import Estimate

BIRTH_DEATH = gl.Network.parse("""
    species X = 0
    param k = 10, g = 0.5
    0 -> X @ k
    X -> 0 @ g
""")
TELEGRAPH = gl.Network.parse("""
    species Off = 1, On, M
    param on = 0.6, off = 0.9, s = 6, d = 1
    Off -> On @ on
    On -> Off @ off
    On -> On + M @ s
    M -> 0 @ d
""")


def mean_and_slopes(t, k=10.0, g=0.5):
    """The mean of X at time t, which is Poisson, and its derivatives to k and g."""
    m = k / g * (1.0 - math.exp(-g * t))
    return m, np.array([m / k, -m / g + k / g * t * math.exp(-g * t)])


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(5)
    return {t: rng.poisson(mean_and_slopes(t)[0], 400) for t in (1.0, 3.0)}


# ---- Likelihood and information -----------------------------------------------------------------


def test_the_likelihood_is_that_of_the_poisson_law(cells):
    found = gl.snapshot_likelihood(BIRTH_DEATH, cells, observed="X")
    exact, slope = 0.0, np.zeros(2)
    for t, x in cells.items():
        m, dm = mean_and_slopes(t)
        part = float(poisson(m).logpmf(x).sum())
        assert found.by_time[t] == pytest.approx(part, abs=1e-6)
        exact += part
        slope += float((x / m - 1.0).sum()) * dm
    # The exact one is no smaller, but for rounding, and no larger than the bound allows.
    assert -1e-9 <= exact - float(found) <= found.error_bound < 1e-5
    assert list(found.gradient.values()) == pytest.approx(slope.tolist(), abs=1e-5)
    assert found.parameters == ("k", "g")
    assert found.n_cells == 800
    assert "800 cells at 2 times" in repr(found)


def test_the_information_is_that_of_the_poisson_law():
    found = gl.fisher_information(BIRTH_DEATH, [1.0, 3.0], n=[5, 7])
    exact = sum(
        n * np.outer(dm, dm) / m
        for n, (m, dm) in ((5, mean_and_slopes(1.0)), (7, mean_and_slopes(3.0)))
    )
    assert found.matrix == pytest.approx(exact, rel=1e-7)
    assert found.covariance == pytest.approx(np.linalg.inv(exact), rel=1e-5)
    assert found.relative == pytest.approx(exact * np.outer([10, 0.5], [10, 0.5]), rel=1e-7)
    assert found.correlation[0, 0] == pytest.approx(1.0)
    assert "12 cells at 2 times" in found.summary()


def test_what_is_seen_less_of_says_less():
    names = ["on", "off", "s"]
    both = gl.fisher_information(TELEGRAPH, [1.0, 3.0], names, observed=["On", "M"])
    one = gl.fisher_information(TELEGRAPH, [1.0, 3.0], names, observed="M")
    with pytest.warns(IdentifiabilityWarning):  # two numbers for three parameters
        parity = gl.fisher_information(TELEGRAPH, [1.0, 3.0], names, observed=["M >= 3"])
    # The difference is positive semidefinite (information never grows by forgetting).
    assert np.linalg.eigvalsh(both.matrix - one.matrix).min() > 0.0
    assert np.linalg.eigvalsh(one.matrix - parity.matrix).min() > -1e-9
    # All of the species are On, M and what follows from On.
    everything = gl.fisher_information(TELEGRAPH, [1.0, 3.0], names)
    assert everything.matrix == pytest.approx(both.matrix, rel=1e-9)


def test_scores_have_the_covariance_of_the_information():
    # 20,000 cells: the squared length of the total score, in units of the information, is
    # chi-square, and the information agrees with the mean square of single scores.
    found = gl.master_equation_sensitivities(TELEGRAPH, [0.0, 2.0], ["on", "off", "s"])
    values, p, s = found.joint(["M"])
    draws = found.law.sample(20_000, rng=3)[:, 2]
    score = (s / p[:, None])[np.searchsorted(values[:, 0], draws)]
    information = found.fisher_information("M", 1).by_time[1]
    total = score.sum(axis=0)
    length = total @ np.linalg.solve(20_000 * information, total)
    assert chi2.sf(length, 3) > 1e-4
    scale = np.sqrt(np.diag(information))
    assert np.abs((score.T @ score / 20_000 - information) / np.outer(scale, scale)).max() < 0.06


def test_a_combination_that_cannot_be_told_is_named():
    network = gl.Network.parse("species X\nparam a = 2, b = 3, g = 1\n0 -> X @ a*b\nX -> 0 @ g")
    with pytest.warns(IdentifiabilityWarning, match="a/b is not determined"):
        found = gl.fisher_information(network, [1.0, 2.0])
    assert found.standard_errors["a"] == math.inf
    assert found.standard_errors["g"] < 10.0
    with pytest.warns(IdentifiabilityWarning, match="a/b is not determined"):
        fit = gl.fit_snapshots(network, {1.0: [3, 4, 5, 4], 2.0: [5, 6, 4, 8]}, ["a", "b"])
    assert fit["a"] * fit["b"] > 0.0
    assert fit.standard_errors["a"] == math.inf
    low, high = fit.confidence_intervals()["a"]
    assert low == 0.0 or high == math.inf or high / low > 1e6


# ---- Fits ---------------------------------------------------------------------------------------


def test_the_fit_of_one_rate_and_its_interval_are_those_of_the_poisson_law():
    x = np.array([12, 17, 15, 20, 14, 16, 18, 11])
    fit = gl.fit_snapshots(BIRTH_DEATH.with_parameters(k=4), {3.0: x}, "k")
    per_k = mean_and_slopes(3.0)[1][0]
    best = x.mean() / per_k
    assert fit["k"] == pytest.approx(best, rel=1e-4)
    assert fit.standard_errors["k"] == pytest.approx(math.sqrt(best / per_k / 8), rel=1e-3)

    def fallen(k):
        return (poisson(best * per_k).logpmf(x) - poisson(k * per_k).logpmf(x)).sum()

    threshold = 0.5 * chi2.ppf(0.95, 1)
    exact = [
        brentq(lambda k: fallen(k) - threshold, low, high)
        for low, high in ((0.3 * best, best), (best, 3.0 * best))
    ]
    assert fit.confidence_intervals()["k"] == pytest.approx(tuple(exact), rel=1e-4)
    low, high = fit.confidence_intervals(kind="wald")["k"]
    assert low * high == pytest.approx(best**2, rel=1e-3)
    assert fit.confidence_intervals(0.5)["k"][0] > low


def covariance_pvalue(u, covariance):
    """The likelihood ratio test that the rows of u (n, d) have this covariance."""
    n, d = u.shape
    found = np.cov(u.T, bias=True) @ np.linalg.inv(covariance)
    ratio = n * (np.trace(found) - d - math.log(np.linalg.det(found)))
    return chi2.sf(ratio, d * (d + 1) // 2)


def test_fits_spread_as_the_information_says(monkeypatch):
    # 100 fits to 2 x 300 cells. Power: errors 1.4 times as large have p < 1e-8.
    names, times = ["k", "g"], [1.0, 3.0]
    rng = np.random.default_rng(11)
    u = []
    for _ in range(100):
        data = {t: rng.poisson(mean_and_slopes(t)[0], 300) for t in times}
        fit = gl.fit_snapshots(BIRTH_DEATH, data, names, intervals="wald")
        assert fit.converged
        u.append([math.log(fit["k"] / 10.0), math.log(fit["g"] / 0.5)])
    u = np.array(u)
    expected = np.linalg.inv(gl.fisher_information(BIRTH_DEATH, times, names, n=300).relative)
    assert covariance_pvalue(u, expected) > 1e-4
    mean = u.mean(axis=0)
    assert chi2.sf(100 * mean @ np.linalg.solve(expected, mean), 2) > 1e-4
    assert covariance_pvalue(u, expected / 2.0) < 1e-8

    def without_outflow(*arguments):
        slopes, steepest = slopes_on(*arguments)
        return slopes._replace(out=np.zeros_like(slopes.out)), steepest

    monkeypatch.setattr(sensitivity_run, "slopes_on", without_outflow)
    mutant = gl.fisher_information(BIRTH_DEATH, times, names, n=300)
    assert covariance_pvalue(u, np.linalg.inv(mutant.relative)) < 1e-8


def test_a_fit_from_far_away_gets_there(cells):
    near = gl.fit_snapshots(BIRTH_DEATH, cells, ["k", "g"], intervals="wald")
    for start in ({"k": 0.5, "g": 3.0}, {"k": 90.0, "g": 0.2}):
        far = gl.fit_snapshots(
            BIRTH_DEATH.with_parameters(start), cells, ["k", "g"], intervals="wald"
        )
        assert far.converged
        assert [far["k"], far["g"]] == pytest.approx([near["k"], near["g"]], rel=1e-3)
    several = gl.fit_snapshots(BIRTH_DEATH, cells, ["k", "g"], intervals="wald", starts=3, rng=1)
    assert len(several.starts) == 3
    assert several["k"] == pytest.approx(near["k"], rel=1e-3)
    assert "best of 3 searches" in several.summary()


def test_bounds_and_scales_are_kept(cells):
    low_k = BIRTH_DEATH.with_parameters(k=8)
    fit = gl.fit_snapshots(low_k, cells, {"k": (5, 9), "g": None}, intervals="wald")
    assert fit["k"] == pytest.approx(9.0)
    assert fit.at_bound == ("k",)
    assert math.isnan(fit.standard_errors["k"])
    assert "k ended at a bound" in fit.summary()
    assert fit.standard_errors["g"] < 0.05
    bounded = gl.fit_snapshots(BIRTH_DEATH.with_parameters(k=5), cells, {"k": (0.5, 8)})
    assert bounded["k"] == pytest.approx(8.0)
    assert bounded.at_bound == ("k",)
    linear = gl.fit_snapshots(BIRTH_DEATH, cells, Estimate("k", scale="linear"), intervals="wald")
    low, high = linear.confidence_intervals()["k"]
    assert 0.5 * (low + high) == pytest.approx(linear["k"])


def test_an_ensemble_is_looked_at_once_for_each_trajectory():
    runs = gl.ensemble(BIRTH_DEATH, [0.0, 1.0, 3.0], 600, rng=2)
    by_hand = {1.0: runs["X"][0::2, 1], 3.0: runs["X"][1::2, 2]}
    one = gl.fit_snapshots(BIRTH_DEATH, runs, "k", times=[1, 3], intervals="wald")
    other = gl.fit_snapshots(BIRTH_DEATH, by_hand, "k", intervals="wald")
    assert one["k"] == other["k"]
    assert one.n_cells == 600
    with pytest.raises(ValueError, match="no recorded time of the ensemble; the nearest one is 1"):
        gl.fit_snapshots(BIRTH_DEATH, runs, "k", times=[1.5])
    with pytest.raises(TypeError, match="times= chooses the times of an Ensemble"):
        gl.fit_snapshots(BIRTH_DEATH, by_hand, "k", times=[1.0])


# ---- Data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ({1.0: [3, -1]}, {}, ValueError, "cell 1 at t = 1 has X = -1; molecules are counted"),
        ({1.0: [3, 2.5]}, {}, ValueError, "cell 1 at t = 1 has X = 2.5"),
        ({1.0: [3, math.nan]}, {}, ValueError, "cell 1 at t = 1 has X = nan; drop cells"),
        ({1.0: [[3, 4]]}, {}, ValueError, "one column for each of X"),
        ({1.0: []}, {}, ValueError, "one row for each cell"),
        ({1.0: ["a"]}, {}, TypeError, "no table of numbers"),
        ({"x": [1]}, {}, TypeError, "which is no time"),
        ({}, {}, TypeError, "counts by time"),
        ([1, 2], {}, TypeError, "counts by time"),
        ({-1.0: [3]}, {}, ValueError, "before start = 0"),
        ({1.0: [3]}, {"observed": "Y"}, KeyError, "Y"),
        ({1.0: [3]}, {"observed": []}, ValueError, "observed is empty"),
        ({1.0: [[3, 3]]}, {"observed": ["X", "X"]}, ValueError, "something twice"),
        ({1.0: [3]}, {"observed": "k*X"}, NetworkError, "depends on 'k'"),
        ({1.0: [3]}, {"intervals": "bayes"}, ValueError, "'profile' or 'wald'"),
        ({1.0: [3]}, {"level": 1.0}, ValueError, "between 0 and 1"),
        ({1.0: [3]}, {"starts": 0}, ValueError, "starts must be a whole number"),
    ],
)
def test_data_that_make_no_sense_are_refused_by_name(data, options, error, message):
    with pytest.raises(error, match=message):
        gl.fit_snapshots(BIRTH_DEATH, data, "k", **options)


def test_improbable_cells_are_named_and_the_likelihood_is_an_upper_bound():
    with pytest.warns(IncompleteWarning, match="X = 90 in 2 cells at t = 1: probability 0"):
        found = gl.snapshot_likelihood(BIRTH_DEATH, {1.0: [8, 90, 90]})
    (one,) = found.improbable
    assert one.values == {"X": 90}
    assert one.n == 2
    assert one.probability < found.floor
    m = mean_and_slopes(1.0)[0]
    assert found.log_likelihood > poisson(m).logpmf([8, 90, 90]).sum()
    # A smaller tolerance reaches further out.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = gl.snapshot_likelihood(BIRTH_DEATH, {1.0: [8, 28]}, tolerance=1e-12)
    assert far.log_likelihood == pytest.approx(poisson(m).logpmf([8, 28]).sum(), abs=1e-3)
    # What no value of the parameters makes possible.
    decay = gl.Network.parse("species X = 5\nparam g = 1\nX -> 0 @ g")
    with pytest.warns(IncompleteWarning, match="X = 7 in 1 cell"):
        fit = gl.fit_snapshots(decay, {1.0: [2, 3, 7]}, "g", intervals="wald")
    assert fit.improbable
    assert "improbable: X = 7" in fit.summary()


def test_several_species_and_observables_are_seen_jointly():
    network = gl.Network.parse(
        "species A = 4, B\nparam c = 0.5, d = 0.2\nobserve all = A + 3*B\nA -> B @ c\nB -> A @ d"
    )
    joint = {1.0: [[4, 0], [3, 1], [2, 2], [3, 1]]}
    law = gl.solve_master_equation(network, [0.0, 1.0], tolerance=1e-12)
    exact = sum(math.log(law.probability({"A": a, "B": b})) for a, b in joint[1.0])
    assert float(gl.snapshot_likelihood(network, joint)) == pytest.approx(exact, abs=1e-8)
    swapped = {1.0: [[b, a] for a, b in joint[1.0]]}
    found = gl.snapshot_likelihood(network, swapped, observed=["B", "A"])
    assert float(found) == pytest.approx(exact, abs=1e-8)
    weighted = {1.0: [a + 3 * b for a, b in joint[1.0]]}
    found = gl.snapshot_likelihood(network, weighted, observed="all")
    assert float(found) == pytest.approx(exact, abs=1e-8)


# ---- Limits and looks ---------------------------------------------------------------------------


def test_limits_are_kept(cells):
    with pytest.raises(ValueError, match="no search ended within timeout"):
        gl.fit_snapshots(BIRTH_DEATH, cells, ["k", "g"], timeout=0.0)
    with pytest.raises(ValueError, match="was not there within timeout"):
        gl.snapshot_likelihood(BIRTH_DEATH, cells, timeout=0.0)
    with pytest.raises(ValueError, match="there is no Fisher information: the time limit"):
        gl.fisher_information(BIRTH_DEATH, 3.0, timeout=0.0)
    network = gl.Network.parse("species X\nparam k = 1\n0 -> X @ k\nat t >= 1: X = 0")
    with pytest.raises(MethodError, match="has events"):
        gl.fit_snapshots(network, cells, "k")
    with pytest.raises(ValueError, match="n has 3 entries, and there are 2 times"):
        gl.fisher_information(BIRTH_DEATH, [1.0, 2.0], n=[1, 2, 3])


def test_ctrl_c_gives_the_fit_so_far(cells):
    def press(done, total):
        if done > 8:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        gl.fit_snapshots(BIRTH_DEATH, cells, ["k", "g"], progress=press)
    fit = caught.value.result
    assert fit.stopped == "interrupt"
    assert 9.0 < fit["k"] < 11.0
    assert "(wald)" in str(fit)  # the profiles are not there

    def press_at_once(done, total):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="no search had ended"):
        gl.fit_snapshots(BIRTH_DEATH, cells, ["k", "g"], progress=press_at_once)


def test_fits_show_themselves(cells):
    fit = gl.fit_snapshots(BIRTH_DEATH, cells, ["k", "g"])
    text = str(fit)
    assert "Fit of k, g to 800 cells at 2 times, seen X" in text
    assert "95 % interval (profile)" in text
    assert "converged: the top" in text
    assert "<table>" in fit._repr_html_()
    assert repr(fit).startswith("<SnapshotFit: k=")
    assert fit.aic == pytest.approx(4.0 - 2.0 * fit.log_likelihood)
    assert fit.bic == pytest.approx(2.0 * math.log(800) - 2.0 * fit.log_likelihood)
    assert np.abs(fit.gradient * list(fit.standard_errors.values())).max() < 0.01
    assert fit.law.times.tolist() == [0.0, 1.0, 3.0]
    assert fit.network.parameter_values.tolist() == [fit["k"], fit["g"]]
    values, counts, probabilities = fit.observed_law(1.0)
    assert counts.sum() == 400
    assert probabilities.sum() == pytest.approx(1.0)
    assert values.shape == (counts.size, 1)
    assert fit.plot(t=1.0).get_xlabel() == "X at t = 1"
    assert "held there" in fit.plot("profile", name="g").get_xlabel()
    for bad, error in (
        (lambda: fit.plot("nothing"), ValueError),
        (lambda: fit.plot(name="Y"), ValueError),
        (lambda: fit.observed_law(2.0), ValueError),
        (lambda: fit["kk"], KeyError),
        (lambda: fit.confidence_intervals(kind="bayes"), ValueError),
    ):
        with pytest.raises(error):
            bad()
