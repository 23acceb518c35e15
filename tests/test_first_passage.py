"""First-passage times: probabilities, laws of the time, means, splitting; what has no answer."""

import contextlib
import math
import warnings

import numpy as np
import pytest
from laws import ALPHA, ks_pvalue
from scipy import linalg, stats

import gillespy_lite as gl
from gillespy_lite.errors import IncompleteWarning, MethodError, NetworkError
from gillespy_lite.master_equation.absorption import absorption
from gillespy_lite.master_equation.conditions import as_condition, ended_by
from gillespy_lite.master_equation.state_space import StateSearch
from gillespy_lite.master_equation.transitions import transitions_of
from gillespy_lite.master_equation.uniformised_jumps import poisson_window

parse = gl.Network.parse


def production():
    """K1: an immigration-death process from its mean."""
    return parse("species S1 = 1, S2 = 40\nS1 -> S1 + S2 @ 1\nS2 -> 0 @ 0.025")


def futile_cycle():
    """K3."""
    return parse(
        "species S1 = 1, S2 = 50, S3, S4 = 1, S5 = 50, S6\nS1 + S2 <-> S3 @ 1, 1\n"
        "S3 -> S1 + S5 @ 0.1\nS4 + S5 <-> S6 @ 1, 1\nS6 -> S4 + S2 @ 0.1"
    )


def branching(birth, death, start=10):
    """Each molecule doubles or dies."""
    return parse(f"species X = {start}\nX -> 2 X @ {birth}\nX -> 0 @ {death}")


def immigration(rate=10.0):
    return parse(f"species X\n0 -> X @ {rate}\nX -> 0 @ 1")


def hitting_chain(up, down, start):
    """Return the generator of a birth-death chain on 0 ... n - 1 that ends when it gets to n."""
    n = len(up)
    generator = np.diag(-(np.array(up) + np.array(down)))
    generator += np.diag(up[:-1], 1) + np.diag(down[1:], -1)
    return generator, np.eye(n)[start]


# ---- The numbers of the literature --------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "value"), [(65, 2.290662e-03), (70, 1.676211e-04), (75, 8.417058e-06), (80, 2.985961e-07)]
)
def test_k1_has_its_six_digits(n, value):
    result = gl.first_passage(production(), f"S2 >= {n}", 100.0)
    assert result.probability == pytest.approx(value, rel=5e-7)
    assert result.relative_error < 1e-6
    assert result.stopped is None


def test_k2_has_its_six_digits():
    network = parse("species A = 100, B\nA <-> B @ 0.12, 1")
    result = gl.first_passage(network, "B >= 30", 10.0)
    assert result.probability == pytest.approx(1.191148e-05, rel=5e-7)


@pytest.mark.parametrize(("n", "value"), [(40, 4.217990e-02), (25, 1.738153e-07)])
def test_k3_has_its_six_digits(n, value):
    result = gl.first_passage(futile_cycle(), f"S5 <= {n}", 100.0)
    assert result.probability == pytest.approx(value, rel=5e-7)
    assert result.n_states <= 298


def test_a_wrong_rate_would_be_noticed():
    network = parse("species A = 100, B\nA <-> B @ 0.1201, 1")
    result = gl.first_passage(network, "B >= 30", 10.0)
    assert result.probability != pytest.approx(1.191148e-05, rel=1e-3)


# ---- Laws of the time ---------------------------------------------------------------------------


def test_extinction_of_a_branching_process_follows_its_closed_law():
    # P(X(t) = 0) = ((d - d e)/(d - b e))^n with e = exp((b - d) t); Bailey (1964), eq. 8.46.
    times = np.linspace(0.0, 10.0, 11)
    result = gl.first_passage(branching(0.5, 1.0), "X == 0", times)
    e = np.exp(-0.5 * times)
    exact = ((1.0 - e) / (1.0 - 0.5 * e)) ** 10
    assert (result.cdf <= exact + 1e-12).all()
    assert (exact <= result.cdf + result.cdf_error + 1e-12).all()
    assert result.cdf == pytest.approx(exact, rel=1e-6)
    # The law's derivative: d/dt log P = 10 (e'/(...)), by differences of the exact law.
    e_up, e_down = np.exp(-0.5 * (times[1:] + 1e-5)), np.exp(-0.5 * (times[1:] - 1e-5))
    slope = ((1 - e_up) / (1 - 0.5 * e_up)) ** 10 - ((1 - e_down) / (1 - 0.5 * e_down)) ** 10
    assert result.pdf[1:] == pytest.approx(slope / 2e-5, rel=1e-5)


def test_the_time_of_a_fixed_number_of_arrivals_is_erlang():
    network = parse("species X\n0 -> X @ 2")
    times = [0.0, 0.1, 1.0, 5.0, 12.0]
    result = gl.first_passage(network, "X >= 10", times)
    law = stats.gamma(10, scale=0.5)
    assert result.cdf == pytest.approx(law.cdf(times), rel=1e-12, abs=0)
    assert result.pdf == pytest.approx(law.pdf(times), rel=1e-11, abs=1e-300)
    # Given that it is there by 12, by quadrature of the law.
    at = np.linspace(0.0, 12.0, 200_001)
    mean = np.trapezoid(at * law.pdf(at), at) / law.cdf(12.0)
    assert result.conditional_mean == pytest.approx(mean, rel=1e-8)
    ever = gl.first_passage(network, "X >= 10")
    assert ever.probability == pytest.approx(1.0, abs=1e-12)
    assert (ever.mean, ever.conditional_variance) == pytest.approx((5.0, 2.5), rel=1e-10)
    assert result.cdf_at(5.0) == result.cdf[3]
    with pytest.raises(ValueError, match="not one of the times"):
        result.cdf_at(4.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_law_agrees_with_a_dense_exponential(seed):
    rng = np.random.default_rng(seed)
    up, down = rng.uniform(0.1, 3.0, 8), rng.uniform(0.1, 3.0, 8)
    down[0] = 0.0
    law = " + ".join(f"{u!r}*(X == {i})" for i, u in enumerate(up.tolist()))
    fall = " + ".join(f"{d!r}*(X == {i})" for i, d in enumerate(down.tolist()))
    network = parse(f"species X = 2\n0 => X @ {law}\nX => 0 @ {fall}")
    generator, start = hitting_chain(up, down, 2)
    result = gl.first_passage(network, "X >= 8", [0.0, 0.5, 4.0])
    exact = [1.0 - (start @ linalg.expm(generator * t)).sum() for t in (0.5, 4.0)]
    assert result.cdf[1:] == pytest.approx(exact, rel=1e-7, abs=1e-13)
    ever = gl.first_passage(network, "X >= 8")
    times = linalg.solve(-generator, np.ones(8))
    assert ever.mean == pytest.approx(times[2], rel=1e-11)
    second = 2.0 * linalg.solve(-generator, times)[2]
    assert ever.conditional_variance == pytest.approx(second - times[2] ** 2, rel=1e-9)


def test_a_slow_decay_is_followed_to_times_that_no_jumps_reach():
    # From then on the time is exponential; its mean is 3e5, and 1e7 takes 4e8 jumps.
    ever = gl.first_passage(immigration(), "X >= 30")
    result = gl.first_passage(immigration(), "X >= 30", [0.0, 1e6, 1e7], tolerance=1e-5)
    assert result.cdf[1] == pytest.approx(1.0 - math.exp(-1e6 / ever.mean), rel=1e-5)
    assert result.cdf[2] == pytest.approx(1.0, rel=1e-5)


@pytest.mark.statistical
def test_hitting_times_of_samples_follow_the_law():
    # Power, measured with the law of X -> 0 @ 1.1 in place of 1: p = 7e-56; of the right one .44.
    network = branching(0.5, 1.0)
    runs = gl.ensemble(network, 40.0, 4000, stop_when="X == 0", rng=3)
    times = np.linspace(0.0, 40.0, 401)
    for death, passes in ((1.0, True), (1.1, False)):
        law = gl.first_passage(branching(0.5, death), "X == 0", times)
        pvalue = ks_pvalue(runs.hitting_times, lambda t, law=law: np.interp(t, law.times, law.cdf))
        assert (pvalue > ALPHA) == passes


# ---- Rare and certain ---------------------------------------------------------------------------


def test_rare_values_keep_their_digits_in_endless_networks():
    # 6.54e-27, against the recursion written down for this chain alone.
    result = gl.first_passage(immigration(), "X >= 60", 3.0)
    rate = 75.0
    p, hit, total, weights = np.eye(60)[0], 0.0, 0.0, poisson_window(rate * 3.0)
    k = np.arange(60)
    for jump in range(weights.first + weights.weights.size):
        if jump >= weights.first:
            total += weights.weights[jump - weights.first] * hit
        hit += p[59] * 10.0 / rate
        following = p * (1.0 - (10.0 + k) / rate)
        following[1:] += p[:-1] * 10.0 / rate
        following[:-1] += p[1:] * k[1:] / rate
        p = following
    assert result.probability == pytest.approx(total, rel=1e-9)
    assert 1e-27 < total < 1e-26
    assert result.relative_error < 1e-6


def test_gamblers_ruin_is_exact_to_nearly_all_digits():
    # From 30, up with rate 1 and down with 2: P(60 before 0) = (2^30 - 1)/(2^60 - 1) = 9.3e-10.
    network = parse("species X = 30\n0 => X @ 1\nX => 0 @ 2")
    exact = (2.0**30 - 1.0) / (2.0**60 - 1.0)
    for method in ("auto", "lu", "gmres"):
        # The others bound the absolute error, which is little help with 1e-9, and say so.
        with contextlib.nullcontext() if method == "auto" else pytest.warns(IncompleteWarning):
            result = gl.splitting_probabilities(network, "X >= 60", "X == 0", method=method)
        assert result.probability_a == pytest.approx(exact, rel=1e-10 if method == "auto" else 1e-5)
        assert result.probability_b == pytest.approx(1.0 - exact, abs=1e-12)
        assert abs(result.probability_a - exact) <= result.rounding
        # Wald's identity: mean time = (E[X at the end] - 30)/(1 - 2).
        assert result.mean_time == pytest.approx(30.0 - 60.0 * exact, rel=1e-9)


def test_elimination_of_a_nearly_closed_chain_is_exact():
    # The mean time is 7e54; LU with subtractions has no digit of it.
    network = immigration(1.0)
    end = as_condition(network, "X >= 45", "condition")
    chain = transitions_of(StateSearch(ended_by(end)).reachable(), end)
    # Mean first-passage time of a birth-death chain from k to k + 1 in closed form.
    step, total = 1.0, 0.0
    for k in range(45):
        step = 1.0 if k == 0 else 1.0 + k * step
        total += step
    values = absorption(chain, "elimination").values(np.ones(45))
    assert total > 1e54
    assert values.solution[0] == pytest.approx(total, rel=1e-12)
    assert values.error[0] < 1e-10 * total


@pytest.mark.parametrize("method", ["elimination", "lu", "gmres"])
def test_bounds_of_the_solvers_hold(method):
    network = futile_cycle()
    end = as_condition(network, "S5 <= 25", "condition")
    chain = transitions_of(StateSearch(ended_by(end)).reachable(), end)
    dense = np.diag(chain.outflow) - chain.rates.toarray()
    start = np.random.default_rng(1).uniform(size=chain.n_states)
    solver = absorption(chain, method)
    values, flows = solver.values(start), solver.flows(start)
    exact = absorption(chain, "elimination")
    own = 1e-11 * np.abs(values.solution)
    assert (np.abs(values.solution - exact.values(start).solution) <= values.error + own).all()
    gap = np.abs(flows.solution - exact.flows(start).solution).sum()
    assert gap <= flows.error.sum() + 1e-11 * flows.solution.sum()
    assert linalg.solve(dense, start) == pytest.approx(values.solution, rel=1e-6)
    assert linalg.solve(dense.T, start) == pytest.approx(flows.solution, rel=1e-6)


# ---- What may never be --------------------------------------------------------------------------


def test_a_condition_that_cannot_come_true_has_probability_0():
    network = parse("species A = 10, B\nA <-> B @ 1, 1")
    for t in (None, 5.0):
        result = gl.first_passage(network, "B >= 11", t)
        assert (result.probability, result.error_bound, result.never) == (0.0, 0.0, 1.0)
        assert result.mean == math.inf
        assert math.isnan(result.conditional_mean)
        assert result.stopped is None


def test_a_condition_that_may_become_impossible_is_met_with_part_of_the_probability():
    # One molecule: to B or C at equal rates, B is waited for.
    network = parse("species A = 1, B, C\nA -> B @ 1\nA -> C @ 1")
    result = gl.first_passage(network, "B == 1")
    assert (result.probability, result.never) == pytest.approx((0.5, 0.5), rel=1e-12)
    assert result.mean == math.inf
    assert result.conditional_mean == pytest.approx(0.5, rel=1e-12)


def test_a_condition_that_is_true_at_once_takes_no_time():
    result = gl.first_passage(immigration(), "X < 1", 3.0)
    assert result.probability == 1.0
    assert (result.cdf == 1.0).all()
    assert result.n_states == 0
    mixed = gl.first_passage(immigration(), "X >= 3", 2.0, initial={(3,): 0.25, (0,): 0.75})
    later = gl.first_passage(immigration(), "X >= 3", 2.0)
    assert mixed.probability == pytest.approx(0.25 + 0.75 * later.probability, rel=1e-9)


def test_unbounded_growth_ends_with_an_interval_that_holds_the_probability():
    # Extinct with (d/b)^n = 2^-10; the rest grows for ever.
    with pytest.warns(IncompleteWarning, match="without bound"):
        result = gl.first_passage(branching(1.0, 0.5), "X == 0")
    assert result.stopped == "escape"
    assert result.probability == pytest.approx(2.0**-10, rel=1e-10)
    assert result.probability + result.error_bound >= 0.999
    assert math.isnan(result.mean)
    certain = gl.first_passage(branching(1.0, 0.5), "X >= 100")
    assert certain.never == pytest.approx(2.0**-10, rel=1e-6)
    assert certain.mean == math.inf


def test_a_condition_that_no_state_meets_says_so():
    network = parse("species X = 1\n0 -> 2 X @ 1\n2 X -> 0 @ 0.1")
    result = gl.first_passage(network, "X == 4", 5.0)
    assert result.probability == 0.0
    assert result.error_bound < 1e-20
    with pytest.warns(IncompleteWarning, match="no state in which it is true was found"):
        result = gl.first_passage(network, "X == 4")
    assert result.stopped == "not found"
    assert result.error_bound == 1.0


def test_a_space_beyond_the_limit_gives_an_interval():
    with pytest.warns(IncompleteWarning, match="max_states = 20"):
        result = gl.first_passage(immigration(), "X >= 40", 5.0, max_states=20)
    whole = gl.first_passage(immigration(), "X >= 40", 5.0)
    assert result.stopped == "max_states"
    assert result.probability <= whole.probability <= result.probability + result.error_bound


def test_a_mean_time_beyond_all_numbers_is_refused():
    with pytest.raises(MethodError, match="1e308"):
        gl.first_passage(immigration(), "X >= 1000")


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        ("X", NetworkError, "must be a condition"),
        ("X + 1", NetworkError, "must be a condition"),
        (3, TypeError, "must be a condition"),
        ("t > 3", MethodError, "depends on the time t"),
        ("Y > 1", NetworkError, "unknown name 'Y'"),
    ],
)
def test_what_is_no_condition_is_refused(condition, error, message):
    with pytest.raises(error, match=message):
        gl.first_passage(immigration(), condition)


def test_options_that_make_no_sense_are_refused():
    for tolerance in (0, 0.0, -1e-3, 1.0, math.nan):
        with pytest.raises(ValueError, match="tolerance must be more than 0"):
            gl.first_passage(immigration(), "X >= 3", tolerance=tolerance)
    with pytest.raises(MethodError, match="unknown method"):
        gl.first_passage(immigration(), "X >= 3", method="magic")
    with pytest.raises(MethodError, match="with times in t"):
        gl.first_passage(immigration(), "X >= 3", 1.0, method="lu")
    with pytest.raises(MethodError, match="do not depend on the time"):
        gl.first_passage(parse("species X\n0 => X @ 1 + sin(t)"), "X >= 3")
    with pytest.raises(MethodError, match="without events"):
        gl.first_passage(parse("species X\n0 -> X @ 1\nat t >= 1: X = 0"), "X >= 3")
    with pytest.raises(TypeError, match="must be a Network"):
        gl.first_passage("species X", "X >= 3")


def test_a_result_says_what_it_is_and_draws_itself():
    import matplotlib

    matplotlib.use("Agg")
    result = gl.first_passage(branching(0.5, 1.0), "X == 0", 20.0)
    assert "'X == 0' by t = 20" in repr(result)
    assert "mean time" in result.summary()
    runs = gl.ensemble(branching(0.5, 1.0), 20.0, 2000, stop_when="X == 0", rng=1)
    axes = result.plot(samples=runs)
    assert len(axes.lines) == 2
    with pytest.raises(ValueError, match="stop_when"):
        result.plot(samples=gl.ensemble(branching(0.5, 1.0), 20.0, 2000, rng=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ever = gl.first_passage(branching(0.5, 1.0), "X == 0")
    with pytest.raises(ValueError, match="no times to draw"):
        ever.plot()
    # Extinction of n independent molecules: E T = integral of 1 - P(T <= t).
    at = np.linspace(0.0, 120.0, 400_001)
    e = np.exp(-0.5 * at)
    exact = np.trapezoid(1.0 - ((1.0 - e) / (1.0 - 0.5 * e)) ** 10, at)
    assert ever.mean == pytest.approx(exact, rel=1e-6)
    assert not ever.mean_is_proven
