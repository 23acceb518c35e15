"""Runs that go on until their estimates are precise enough: targets, intervals, looks, endings."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest
from scipy import stats

import gillespy_lite as gl
from gillespy_lite.errors import IncompleteWarning, Interrupted, ParseError
from gillespy_lite.precision import parse_targets
from gillespy_lite.precision.reporting import forecast
from gillespy_lite.precision.schedule import LEAST, looks
from gillespy_lite.precision.supply import KeptSupply
from gillespy_lite.precision.tallies import (
    LEAST_UNVARIED,
    MeanTally,
    QuantileTally,
    SpreadTally,
    binomial_interval,
    tally_for,
)

BIRTH_DEATH = gl.Network.parse("""
species P = 0, Q = 5, at = 1
param k = 10, g = 0.5
observe twice = 2*P
observe both = P + Q
0 -> P @ k
P -> 0 @ g
""")
TIMES = [0.0, 5.0, 10.0]
MEAN = 20.0 * (1.0 - math.exp(-5.0))  # of P, a Poisson count, at t = 10


def run(until, **options):
    return gl.ensemble(BIRTH_DEATH, TIMES, until=until, **{"rng": 1, "threads": 1, **options})


# ---- The language of targets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("mean(P) +/- 1%", ["mean(P) +/- 1%"]),
        ("mean(P at 10) ± 0.5", ["mean(P at 10) +/- 0.5"]),
        (
            "prob(P > 50 and P < 70) +/- 5% and std(twice everywhere)+/-.1",
            ["prob(P > 50 and P < 70) +/- 5%", "std(twice everywhere) +/- 0.1"],
        ),
        ("quantile(P + Q, 0.9 at 5) +/- 1", ["quantile(P + Q, 0.9 at 5) +/- 1"]),
        ("var(at at 5) +/- 2.5%  # of a species", ["var(at at 5) +/- 2.5%"]),
        ("mean(P) +/- 1%\n\n  and var(P) +/- 3%\n", ["mean(P) +/- 1%", "var(P) +/- 3%"]),
        ("mean(P) +/- 1%\nvar(P) +/- 3%", ["mean(P) +/- 1%", "var(P) +/- 3%"]),
        ("mean(max(P, Q)/k) +/- 1%", ["mean(max(P, Q)/k) +/- 1%"]),
    ],
)
def test_targets_are_read_and_shown_as_they_could_have_been_written(text, read):
    targets = parse_targets(text, BIRTH_DEATH)
    assert [str(one) for one in targets] == read
    assert parse_targets(" and ".join(read), BIRTH_DEATH) == targets


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "a target is missing here"),
        ("mean(P)", 8, "a tolerance is missing"),
        ("mean(P, t=10) +/- 1%", 7, "a time is written mean(P at 10)"),
        ("mean(R) +/- 1%", 6, "the network declares no 'R'"),
        ("mean(Twice) +/- 1%", 6, "did you mean 'twice'? (capitals matter)"),
        ("mean(P > 3) +/- 1%", 6, "write prob(P > 3)"),
        ("prob(P) +/- 1%", 6, "the probability of a condition is asked for"),
        ("median(P) +/- 1", 1, "write quantile(..., 0.5)"),
        ("P +/- 1%", 1, "stands where one of mean, prob, std, var, quantile should"),
        ("mean(P +/- 1%", 8, "add a ) before"),
        ("mean(P", 7, "a bracket is still open here"),
        ("mean(P) +/- 0%", 13, "above 0"),
        ("mean(P) +/- -1%", 13, "above 0"),
        ("mean(P) +/- 100%", 13, "leaves not even the sign"),
        ("mean(P) +/- 1e999", 13, "too large for a double"),
        ("mean(P) +/-", 12, "the tolerance is missing"),
        ("mean(P) +/- 1%, mean(Q) +/- 1%", 15, "joined with and"),
        ("mean(P) +/- 1% or mean(Q) +/- 1%", 16, "all targets must be reached"),
        ("mean(P) +/- 1% and", 19, "a target is missing here"),
        ("mean(P % 2) +/- 1%", 8, "the remainder of a/b"),
        ("quantile(P) +/- 1", 11, "the probability of the quantile is missing"),
        ("quantile(P, 1.5) +/- 1", 13, "between 0 and 1"),
        ("quantile(P, 0.5, 3) +/- 1", 16, "quantile(P, 0.9 at 10)"),
        ("mean(P at x) +/- 1", 11, "the time is missing"),
        ("mean(P at 3 4) +/- 1", 13, "should close"),
        ("mean(P) & mean(Q)", 9, "write and"),
        ("mean(P) +/- 1%\nmean(P", 7, "a bracket is still open here"),
    ],
)
def test_a_mistake_in_targets_is_pointed_at(text, column, message):
    with pytest.raises(ParseError) as caught:
        parse_targets(text, BIRTH_DEATH)
    assert (caught.value.source, caught.value.column) == ("<until>", column)
    assert message in str(caught.value)
    assert caught.value.line == text.count("\n") + 1


def test_arguments_that_make_no_sense_are_refused():
    goal = "mean(P) +/- 1%"
    for options, message in (
        ({"n": 10}, "give max_n= instead of n="),
        ({"first": 5}, "leave first= out"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1"),
        ({"max_n": 0}, "max_n must be a whole number, 1 or more"),
        ({"max_time": -1}, "max_time must be a number of seconds"),
        ({"outputs": ["Q"]}, "until= needs 'P' for 'P', and outputs= leaves it out"),
        ({"until": "mean(P at 6) +/- 1%"}, "t = 6 is no sampling time; the nearest is 5"),
    ):
        with pytest.raises(ValueError, match=message.replace("(", r"\(")):
            run(**{"until": goal, **options})
    with pytest.raises(TypeError, match="until must be text"):
        run(0.01)
    with pytest.raises(ValueError, match="how many trajectories"):
        gl.ensemble(BIRTH_DEATH, TIMES)
    for name in ("confidence", "max_n", "max_time"):
        with pytest.raises(ValueError, match=f"{name}= goes with until="):
            gl.ensemble(BIRTH_DEATH, TIMES, 10, **{name: 1})


# ---- Intervals -----------------------------------------------------------------------------------


def chance_of(hits, n, p):
    """Return the probability of so many hits or fewer."""
    return stats.binom.cdf(hits, n, p)


def test_binomial_intervals_are_those_of_clopper_and_pearson():
    for hits, n in ((0, 10), (3, 10), (10, 10), (17, 1000)):
        known = stats.binomtest(hits, n).proportion_ci(0.99, method="exact")
        assert binomial_interval(hits, n, 0.01) == pytest.approx((known.low, known.high), rel=1e-9)
    # The rule of three: no hit in n is at most about 3/n.
    assert binomial_interval(0, 1000, 0.1)[1] == pytest.approx(3.0 / 1000, rel=0.01)


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("until", "truth"),
    [
        ("mean(P) +/- 1%", 0.5),
        ("std(P) +/- 1%", math.sqrt(0.5)),
        ("var(P) +/- 1%", 0.5),
        ("quantile(P, 0.7) +/- 1%", -0.5 * math.log(0.3)),
        ("prob(P > 1) +/- 1%", math.exp(-2.0)),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(until, truth):
    # Squares, or lifetimes, of skewed laws: gamma of shape 1/2 for moments, else exponential.
    # Power: intervals of 87 % in place of 90 % fail.
    (target,) = parse_targets(until, BIRTH_DEATH)
    rng, n, held, repetitions = np.random.default_rng(1), 2000, 0, 2000
    for _ in range(repetitions):
        is_moment = target.kind in ("mean", "std", "var")
        values = rng.gamma(0.5, 1.0, 2 * n) if is_moment else rng.exponential(0.5, 2 * n)
        if target.kind == "prob":
            values = (values > 1.0).astype(float)
        pilot = tally_for(target)
        pilot.add(values[:n])
        tally = pilot.fresh()
        tally.add(values[n : n + 700])
        tally.add(values[n + 700 :])
        interval = tally.interval(0.1)
        held += interval.lower <= truth <= interval.upper
    # The third and sixth moments cost the approximate ones a little.
    assert (
        chance_of(held, repetitions, 0.90 if target.kind in ("prob", "quantile") else 0.89) > 1e-5
    )


@pytest.mark.statistical
def test_an_interval_of_a_quantile_of_counts_is_made_of_counts():
    rng, (target,) = np.random.default_rng(2), parse_targets("quantile(P, 0.9) +/- 1", BIRTH_DEATH)
    truth, held = stats.poisson.ppf(0.9, 20), 0
    for _ in range(1000):
        pilot = QuantileTally(0.9)
        pilot.add(rng.poisson(20, 100).astype(float))
        tally = pilot.fresh()
        tally.add(rng.poisson(20, 300).astype(float))
        lower, upper = tally.interval(0.1)[1:]
        assert lower == int(lower)
        assert upper == int(upper)
        held += lower <= truth <= upper
    assert chance_of(held, 1000, 0.9) > 1e-5
    many = QuantileTally(0.9, np.arange(0.0, 60.0))
    many.add(rng.poisson(20, 200_000).astype(float))
    assert many.interval(1e-6) == (truth, truth, truth)
    assert pilot.needed(0.05, target).n < 1000


def test_moments_keep_their_digits_far_from_zero():
    values = np.random.default_rng(3).gamma(2.0, 1.0, 10_000)
    for shift in (0.0, 1e9):
        mean, spread = MeanTally(), SpreadTally(1.0)
        for tally in (mean, spread):
            tally.add(values[:100] + shift)
            tally.add(values[100:] + shift)
        shifted = values + shift
        assert mean.interval(0.1).estimate == pytest.approx(shifted.mean(), rel=1e-14)
        assert spread.interval(0.1).estimate == pytest.approx(shifted.var(ddof=1), rel=1e-6)


def test_a_few_large_values_and_values_that_are_all_equal_are_not_trusted():
    tally = MeanTally()
    values = np.zeros(1000)
    tally.add(values)
    assert "all 1000 values are equal" in tally.doubt(0.05)
    values[7] = 50.0
    tally.add(values)
    assert "too few for the normal approximation" in tally.doubt(0.05)
    tally.add(np.tile(values, 200))
    assert tally.doubt(0.05) == "" or tally.n < 25 * 1000
    constant = SpreadTally(0.5)
    constant.add(np.full(LEAST_UNVARIED, 3.0))
    assert constant.doubt(0.05) == ""
    assert constant.interval(0.05) == (0.0, 0.0, 0.0)


# ---- Looks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("planned", [None, 1.0, 700.0, 1e5, 1e30])
@pytest.mark.parametrize("most", [1, 300, 50_000, 10_000_000])
def test_looks_grow_to_the_last_one_and_their_shares_make_one_at_most(planned, most):
    found = list(looks(planned, most))
    sizes = [one.n for one in found]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == most
    assert all(n % LEAST == 0 for n in sizes[:-1])
    assert 0.0 < sum(one.share for one in found) <= 1.0
    assert all(one.share > 0.0 for one in found)


def test_targets_are_reached_in_one_go_and_hold_in_the_result():
    goal = "mean(P) +/- 1% and prob(P > 30) +/- 20% and quantile(both, 0.9) +/- 1"
    runs = run(goal)
    report = runs.precision
    assert report.reached
    assert len(runs) == report.n == runs.n_requested
    assert runs.stopped is None
    assert report["mean(P)"].estimate == pytest.approx(runs.mean("P")[-1], rel=1e-12)
    assert report["prob(P > 30)"].estimate == np.mean(runs["P"][:, -1] > 30)
    assert all(one.half_width <= one.tolerance for one in report.targets)
    assert report["mean(P)"].lower <= MEAN <= report["mean(P)"].upper
    widths = [one.upper[0] - one.lower[0] for one in report.steps]
    assert widths[-1] < 0.2 * widths[0]
    assert "precision reached" in runs.summary()
    assert "mean(P) = " in runs.summary()
    with pytest.raises(KeyError, match=r"there are mean\(P\)"):
        report["mean(Q)"]
    # The trajectories are those of any other run with the seed, and none is of the pilot.
    plain = gl.ensemble(BIRTH_DEATH, TIMES, report.n, rng=1)
    assert np.array_equal(runs.counts, plain.counts)
    assert np.array_equal(runs.indices, plain.indices)


def test_statistics_threads_and_chunks_find_the_same_end_and_the_same_bits():
    goal = "mean(P everywhere) +/- 1% and std(twice) +/- 4%"
    kept = run(goal)
    others = ({"threads": 2}, {"chunk_size": 13}, {"engine": "table"})
    reports = [kept.precision, *(run(goal, **options).precision for options in others)]
    for threads in (1, 2):
        few = run(goal, statistics=True, threads=threads)
        reports.append(few.precision)
        plain = gl.ensemble(BIRTH_DEATH, TIMES, few.precision.n, rng=1, statistics=True)
        assert np.array_equal(few.means, plain.means)
        assert np.array_equal(few.comoments, plain.comoments)
        assert np.array_equal(few.bin_counts, plain.bin_counts)
    assert all(one == reports[0] for one in reports)
    assert [one.quantity for one in kept.precision.targets] == [
        *("mean(P at 5)", "mean(P at 10)", "std(twice)"),
    ]
    assert run(goal, rng=2).precision != reports[0]


def test_hitting_times_of_portions_are_put_together():
    goal = "mean(P) +/- 1%"
    few = run(goal, statistics=True, stop_when="P >= 25")
    kept = run(goal, stop_when="P >= 25")
    assert few.precision == kept.precision
    assert np.array_equal(few.hitting_times, kept.hitting_times, equal_nan=True)


def test_what_is_estimated_may_be_a_variable_or_depend_on_the_time():
    network = gl.Network.parse("""
        species P = 0
        variable A = 1
        param k = 10
        observe rate = k*t
        0 -> P @ k
        A' = -A
    """)
    until = "mean(A) +/- 1e-3 and mean(P - rate at 1) +/- 0.2 and mean(rate at 2) +/- 1"
    report = gl.ensemble(network, [0.0, 1.0, 2.0], until=until, rng=1, statistics=True).precision
    assert report["mean(A)"].estimate == pytest.approx(math.exp(-2.0), rel=1e-4)
    assert abs(report["mean(P - rate at 1)"].estimate) < 0.2
    assert report["mean(rate at 2)"].estimate == 20.0


# ---- How often the truth is held -----------------------------------------------------------------


@pytest.mark.statistical
def test_repeated_runs_hold_the_truth_at_the_stated_confidence():
    # The same with 1000 repetitions and more cases: benchmarks/coverage.py. Power: a joint
    # coverage of 70 % in place of 80 % fails.
    goal = "mean(P) +/- 2% and prob(P > 27) +/- 15% and prob(P > 20) +/- 0.05"
    law = stats.poisson(MEAN)
    truths = {"mean(P)": MEAN, "prob(P > 27)": law.sf(27), "prob(P > 20)": law.sf(20)}
    held = 0
    for seed in range(200):
        report = run(goal, rng=seed, statistics=True, confidence=0.8, outputs=["P"]).precision
        assert report.reached
        held += all(one.lower <= truths[one.quantity] <= one.upper for one in report.targets)
    assert chance_of(held, 200, 0.8) > 1e-4


@pytest.mark.statistical
def test_intervals_that_forget_that_they_are_looked_at_often_miss_more():
    # The mutant: each look spends the whole error. An interval that goes with the first look at
    # which it excludes a value excludes a true one more often than it says.
    rng, missed, spent = np.random.default_rng(4), 0, 0
    sizes = [(one.n, one.share) for one in looks(None, 40_000)]
    for _ in range(1000):
        hits = np.cumsum(rng.random(40_000) < 0.01)
        truth_out = [
            (not low <= 0.01 <= high, not slow <= 0.01 <= shigh)
            for n, share in sizes
            for low, high in [binomial_interval(hits[n - 1], n, 0.1)]
            for slow, shigh in [binomial_interval(hits[n - 1], n, 0.1 * share)]
        ]
        missed += any(out for out, _ in truth_out)
        spent += any(out for _, out in truth_out)
    assert chance_of(1000 - missed, 1000, 0.9) < 1e-6
    assert chance_of(1000 - spent, 1000, 0.9) > 1e-4


def test_what_never_happens_is_never_precise_to_a_percentage():
    with pytest.warns(IncompleteWarning, match="max_n = 3000 trajectories are done"):
        runs = run("prob(P > 1000) +/- 50%", max_n=3000, statistics=True)
    target = runs.precision["prob(P > 1000)"]
    assert (target.estimate, target.lower, target.is_reached) == (0.0, 0.0, False)
    assert target.upper >= 3.0 / 3000
    assert runs.stopped == "max_n"
    assert len(runs) == 3000
    assert not runs.precision.reached
    assert "not reached" in runs.summary()
    # An absolute tolerance can be reached: the rule of three says by how many.
    target = run("prob(P > 1000) +/- 0.01", statistics=True).precision.targets[0]
    assert target.is_reached
    assert 0.0 < target.upper <= 0.01


def test_what_never_varies_is_believed_after_ten_thousand_trajectories():
    runs = run("mean(Q) +/- 1%", statistics=True)
    assert runs.precision["mean(Q)"].estimate == 5.0
    assert LEAST_UNVARIED <= len(runs) < 1.1 * LEAST_UNVARIED
    with pytest.warns(IncompleteWarning, match="all 1000 values are equal"):
        run("mean(Q) +/- 1%", max_n=1000, statistics=True)


# ---- Endings -------------------------------------------------------------------------------------


def test_the_time_limit_keeps_what_is_done_and_says_so():
    for options in ({"max_time": 0.3}, {"timeout": 0.3}, {"max_time": 0.3, "statistics": True}):
        with pytest.warns(IncompleteWarning, match="the time is up, and not all targets"):
            runs = run("mean(P) +/- 0.0001%", max_n=10**12, **options)
        assert runs.stopped == "timeout"
        assert 0 < runs.precision.n <= len(runs) < runs.n_requested
        assert runs.precision["mean(P)"].lower <= MEAN <= runs.precision["mean(P)"].upper
    # No path is through after one call of a kernel.
    slow = gl.Network.parse("species P\n0 -> P @ 1e4\nP -> 0 @ 1")
    with pytest.warns(IncompleteWarning, match="before the first look"):
        runs = gl.ensemble(slow, 50, until="mean(P) +/- 1%", max_time=0, rng=1)
    assert runs.precision.n == 0
    assert len(runs) < runs.n_requested
    assert math.isnan(runs.precision["mean(P)"].estimate)


@pytest.mark.parametrize("statistics", [False, True])
def test_ctrl_c_keeps_all_and_the_report(statistics):
    def pressed(done, total):
        if done > 30_000:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="what is known from them") as caught:
        run("mean(P) +/- 0.0001%", max_n=10**6, progress=pressed, statistics=statistics)
    runs = caught.value.result
    assert runs.stopped == "interrupt"
    assert len(runs) >= runs.precision.n > 0
    assert math.isfinite(runs.precision["mean(P)"].upper)


def test_a_trajectory_in_trouble_raises_with_what_is_done():
    with pytest.raises(gl.SimulationError, match="max_events") as caught:
        run("mean(P) +/- 0.1%", max_events=150, rng=3)
    assert caught.value.result.stopped == "error"
    assert caught.value.result.precision is not None


def test_what_is_not_a_number_in_some_trajectory_is_named():
    for goal in ("mean(1/(P - 20)) +/- 1", "std(log(P - 12)) +/- 1"):
        with pytest.raises(gl.SimulationError, match="always a number") as caught:
            run(goal)
        assert f"until= asks for {goal.split(' +/-')[0]}" in str(caught.value)
    for call in (
        lambda: gl.controlled_mean(BIRTH_DEATH, 10, "1/(P - 20)", 500, rng=1),
        lambda: gl.difference(BIRTH_DEATH, {"k": 11}, 10, "1/(P - 20)", 500, rng=1),
    ):
        with pytest.raises(gl.SimulationError, match="always a number"):
            call()


def test_kept_trajectories_end_where_memory_does(monkeypatch):
    usual = KeptSupply._paths

    def limited(self, first, last):
        if first >= 1000:
            raise gl.errors.NotEnoughMemoryError("none left")
        return usual(self, first, last)

    monkeypatch.setattr(KeptSupply, "_paths", limited)
    with pytest.warns(IncompleteWarning, match="no memory for more trajectories"):
        runs = run("mean(P) +/- 0.2%")
    assert runs.stopped == "memory"
    assert 0 < runs.precision.n == len(runs) < runs.n_requested


def test_methods_that_leap_and_networks_with_events_and_delays_go_on_as_well():
    network = gl.Network.parse("""
        species P = 0
        0 -> P @ 10
        P -> 0 @ 0.5
        at t > 3: P = 0
    """)
    report = gl.ensemble(network, 4, until="mean(P) +/- 3%", rng=1, statistics=True).precision
    assert report["mean(P)"].estimate == pytest.approx(20.0 * (1.0 - math.exp(-0.5)), rel=0.04)
    leaps = run("mean(P) +/- 2%", method="tau_leaping").precision
    assert leaps["mean(P)"].estimate == pytest.approx(MEAN, rel=0.04)
    assert leaps.n_pilot > 0


def test_progress_tells_how_far_it_is_and_how_long_it_takes(capsys):
    told: list[tuple[float, float]] = []
    report = run("mean(P) +/- 1%", progress=lambda *one: told.append(one)).precision
    assert told[-1][0] == report.n
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    run("mean(P) +/- 1%", progress=True)
    line = capsys.readouterr().err
    assert "mean(P) = " in line
    assert "s left" in line
    # The forecast comes from the squared ratio of the widths.
    step = report.steps[len(report.steps) // 2]
    assert step.n < report.n
    with pytest.raises(TypeError, match="progress must be"):
        run("mean(P) +/- 1%", progress="yes")


def test_the_time_left_follows_from_the_squared_ratio_of_widths():
    with pytest.warns(IncompleteWarning):
        report = run("mean(P) +/- 0.1%", max_n=10_000, statistics=True).precision
    target = report.targets[0]
    expected = report.n * (target.half_width / target.tolerance) ** 2
    assert forecast(report, report.steps[-1].alpha) == pytest.approx(expected)
    assert 1e5 < expected < 1e6


def test_a_report_is_saved_with_its_result(tmp_path):
    for statistics in (False, True):
        runs = run("mean(P) +/- 2% and prob(P > 30) +/- 50%", statistics=statistics)
        runs.save(tmp_path / "runs.npz")
        assert gl.load(tmp_path / "runs.npz").precision == runs.precision
    plain = gl.ensemble(BIRTH_DEATH, TIMES, 10, rng=1)
    assert plain.precision is None
    plain.save(tmp_path / "plain.npz")
    assert gl.load(tmp_path / "plain.npz").precision is None
