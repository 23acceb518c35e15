"""Multilevel Monte Carlo: coupled paths have the laws that they should have, estimates no bias.

Run as a script, this file writes the paths of some kernels to an npz file; a test does so in a
process in which Numba compiles nothing.
"""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.compilation import compile_network
from gillespy_lite.errors import (
    BadPropensityError,
    IncompleteWarning,
    Interrupted,
    MethodError,
    NetworkError,
    SimulationError,
)
from gillespy_lite.kernels.exact_pairs import run_exact_pairs
from gillespy_lite.kernels.leap_pairs import run_leap_pairs
from gillespy_lite.kernels.walking import ALL_DONE, COMPLETE
from gillespy_lite.multilevel_estimation.allocation import Climb, numbers_of_paths
from gillespy_lite.multilevel_estimation.levels import (
    EXACT_PAIR,
    LEAP,
    LEAP_PAIR,
    Ladder,
    Rung,
)
from gillespy_lite.multilevel_estimation.outputs import check_outputs
from gillespy_lite.own_processes import OwnProcesses
from gillespy_lite.portion_tasks import PortionTask, run_portion
from gillespy_lite.workers import cores

sys.path.insert(0, str(Path(__file__).parent))

from laws import chi_square_pvalue

# The number of p-values below is less than 100.
ALPHA = 1e-4 / 100

DIMERS = "species P = 100, Q\n2 P -> Q @ 0.001\nQ -> 2 P @ 0.01"
# Leaps of a few steps take more than there is: every count of them falls below 0 often.
SCARCE = (
    "species A = 5, B = 3, C\nA -> B @ 1.3\nA + B -> C @ 0.7\n2 B -> C @ 0.9\nC => A @ 2*C/(1 + C)"
)
SWITCH = (
    "species X = 12, Y = 9, off = 1, on\nparam V = 30, K = 12\n0 => X @ V/(1 + (Y/K)^2)\n"
    "X => Y @ 2*X/(K + X)\nY -> 0 @ 0.5\noff <-> on @ if(X > 20, 1, 0.2), 0.5\non -> on + Y @ 4\n"
    "3 Y -> 2 Y @ 1e-4"
)
LINEAR = "species X = 40, Y\n0 -> X @ 9\nX <-> Y @ 0.8, 0.3\nY -> 0 @ 0.25"


def paths(network, times, rung, n, *, n_first=4, seed=1, change=None, kernel=None):
    """Return both paths of a level, arrays (n, n_times, n_species), and the output."""
    compiled = compile_network(network)
    ladder = Ladder(compiled, np.asarray(times, dtype=float), check_outputs(network, None), n_first)
    plan = ladder.plan(rung, seed)
    if change is not None:
        plan = change(plan)
    walker, output = ladder.walker(rung), ladder.output(n)
    kernel = kernel or (run_exact_pairs if rung.kind == EXACT_PAIR else run_leap_pairs)
    while kernel(ladder.lanes, plan, walker, output, 0, 10_000) != ALL_DONE:
        pass
    assert (output.outcome == COMPLETE).all()
    return output.finer, output.coarser, output


def two_sample_pvalue(first, second):
    """Return the chi-square p-value of two samples of whole numbers; small cells are pooled."""
    both, lowest = np.concatenate([first, second]), min(first.min(), second.min())
    edges = np.unique(np.quantile(both, np.linspace(0, 1, 25)))
    places = [np.searchsorted(edges, one, side="right") for one in (first, second)]
    table = np.array([np.bincount(one, minlength=edges.size + 1) for one in places])
    table = table[:, table.sum(axis=0) > 10]
    if table.shape[1] < 2:
        return 1.0 if lowest == both.max() or table.shape[1] == 1 else 0.0
    return stats.chi2_contingency(table).pvalue


# ---- The laws of coupled paths -------------------------------------------------------------------


@pytest.mark.parametrize(
    "rung", [Rung(LEAP_PAIR, 16, 4), Rung(EXACT_PAIR, 0, 4)], ids=["leaps", "exact"]
)
def test_what_laws_take_from_constants_alone_is_there_in_both_paths(rung):
    # 20*3 is worked out once for all lanes; 60 is a number.
    found = [
        paths(
            gl.Network.parse(f"species X = 9\n0 => X @ {rate}/(1 + X)\nX -> 0 @ 0.2"),
            [0.0, 2.0, 4.0], rung, 64,
        )
        for rate in ("(20*3)", "60")
    ]  # fmt: skip
    for one, other in zip(*(pair[:2] for pair in found), strict=True):
        assert np.array_equal(one, other)
        assert one.max() > 9


@pytest.mark.statistical
@pytest.mark.parametrize("text", [DIMERS, SCARCE, SWITCH], ids=["dimers", "scarce", "switch"])
@pytest.mark.parametrize("steps", [4, 16])
def test_the_coarser_leaps_of_a_level_have_the_law_of_the_finer_ones_of_the_level_below(
    text, steps
):
    # Power, measured: with the propensities of the coarser path 3 % larger, the smallest p-value
    # of "dimers" is below 1e-20 (the mutant below).
    network, times = gl.Network.parse(text), [0.0, 2.0, 4.0]
    alone, _, _ = paths(network, times, Rung(LEAP, steps, 0), 8192)
    finer, coarser, _ = paths(network, times, Rung(LEAP_PAIR, 4 * steps, steps), 8192)
    again, _, _ = paths(network, times, Rung(LEAP, 4 * steps, 0), 8192)
    exact, coarsest, _ = paths(network, times, Rung(EXACT_PAIR, 0, steps), 8192)
    for row, species in itertools.product(range(2), range(network.n_species)):
        place = (slice(None), row, species)
        assert two_sample_pvalue(coarser[place], alone[place]) > ALPHA
        assert two_sample_pvalue(finer[place], again[place]) > ALPHA
        assert two_sample_pvalue(coarsest[place], alone[place]) > ALPHA
    # The paths of a pair differ, and less than two that have nothing to do with each other.
    moving = alone.std(axis=0) > 0.0
    apart = (finer - coarser).var(axis=0)[moving]
    assert (apart > 0.0).all()
    assert (
        apart < (0.9 if steps > 4 else 1.0) * (finer.var(axis=0) + coarser.var(axis=0))[moving]
    ).all()
    assert exact.shape == coarsest.shape


def test_scarce_molecules_do_fall_below_zero_in_leaps_and_are_shown_as_zero():
    network = gl.Network.parse(SCARCE)
    finer, coarser, _ = paths(network, [0.0, 4.0], Rung(LEAP_PAIR, 16, 4), 2048)
    assert finer.min() == coarser.min() == 0.0
    # A + B + C gains no molecule, and C => A makes up for none: the cut-off shows as too many.
    assert coarser.sum(axis=2).max() > 8


@pytest.mark.statistical
@pytest.mark.parametrize("n_steps", [5, 80])
def test_the_exact_path_of_a_pair_has_the_exact_law(n_steps):
    network = gl.Network.parse(DIMERS)
    exact, _, output = paths(network, [0.0, 10.0, 50.0], Rung(EXACT_PAIR, 0, n_steps), 20_000 - 32)
    law = gl.solve_master_equation(network, [0.0, 10.0, 50.0])
    for row, t in enumerate((10.0, 50.0)):
        marginal = law.marginal("P", t)
        assert chi_square_pvalue(exact[:, row, 0].astype(int), marginal) > ALPHA
    assert (exact @ [1, 2] == 100).all()
    assert (output.n_events > 0).all()
    assert (output.n_points >= output.n_events).all()


@pytest.mark.statistical
def test_the_exact_path_follows_rate_laws():
    text = "species off = 1, on, M\noff <-> on @ .25, .15\non => on + M @ 15*on\nM -> 0 @ 1"
    network = gl.Network.parse(text)
    exact, _, _ = paths(network, [0.0, 3.0], Rung(EXACT_PAIR, 0, 16), 20_000 - 32)
    law = gl.solve_master_equation(network, [0.0, 3.0]).marginal("M", 3.0)
    assert chi_square_pvalue(exact[:, 0, 2].astype(int), law) > ALPHA


@pytest.mark.statistical
def test_a_leap_path_of_a_linear_network_has_the_mean_of_eulers_rule():
    network = gl.Network.parse(LINEAR)
    finer, _, _ = paths(network, [0.0, 4.0], Rung(LEAP, 8, 0), 20_000 - 32)
    drift = np.array([[-0.8, 0.3], [0.8, -0.3 - 0.25]])
    mean = np.array([40.0, 0.0])
    for _ in range(8):
        mean = mean + 0.5 * (drift @ mean + [9.0, 0.0])
    # In these steps no count comes near 0, so that cutting off plays no part.
    assert finer.min() > 0.0
    errors = finer[:, 0].std(axis=0) / np.sqrt(len(finer))
    z = (finer[:, 0].mean(axis=0) - mean) / errors
    assert (2.0 * stats.norm.sf(np.abs(z)) > ALPHA).all()


@pytest.mark.statistical
def test_a_coarser_path_that_runs_faster_is_noticed():
    network = gl.Network.parse(DIMERS)

    def three_per_cent_faster(plan):
        return plan._replace(step=plan.step * 1.03)

    alone, _, _ = paths(network, [0.0, 10.0], Rung(LEAP, 4, 0), 8192)
    _, coarser, _ = paths(
        network, [0.0, 10.0], Rung(LEAP_PAIR, 16, 4), 8192, change=three_per_cent_faster
    )
    assert two_sample_pvalue(coarser[:, 0, 0], alone[:, 0, 0]) < ALPHA


def test_differences_fall_as_leaps_become_shorter():
    network = models.dimerisation(P=10_000, k_bind=1e-5)
    apart = []
    for n_steps in (16, 64, 256):
        finer, coarser, _ = paths(network, [0.0, 50.0], Rung(LEAP_PAIR, 4 * n_steps, n_steps), 2048)
        apart.append(float((finer - coarser)[:, 0, 0].var()))
    # Proportional to the step: a factor of 4, Anderson and Higham (2012), theorem 1.
    ratios = np.array(apart[:-1]) / apart[1:]
    assert (ratios > 2.5).all()
    assert (ratios < 8.0).all()
    exact, coarser, _ = paths(network, [0.0, 50.0], Rung(EXACT_PAIR, 0, 64), 512)
    assert 0.7 * apart[1] < (exact - coarser)[:, 0, 0].var() < 2.5 * apart[1]


def test_where_a_kernel_stops_changes_no_path():
    network = gl.Network.parse(SWITCH)
    compiled = compile_network(network)
    ladder = Ladder(compiled, np.array([0.0, 1.0, 3.0]), check_outputs(network, None))
    base = ladder.n_steps(0)
    for rung, kernel in (
        (Rung(LEAP_PAIR, 4 * base, base), run_leap_pairs),
        (Rung(EXACT_PAIR, 0, base), run_exact_pairs),
    ):
        found = []
        for budget in (1, 7, 10**9):
            walker, output = ladder.walker(rung), ladder.output(64)
            plan = ladder.plan(rung, 5)
            while kernel(ladder.lanes, plan, walker, output, 0, budget) != ALL_DONE:
                pass
            found.append(output)
        for one in found[1:]:
            for first, second in zip(found[0][:5], one[:5], strict=True):
                assert np.array_equal(first, second)


def test_a_path_depends_on_its_number_alone():
    network = gl.Network.parse(DIMERS)
    ladder = Ladder(compile_network(network), np.array([0.0, 9.0]), check_outputs(network, None))
    for rung, kernel in (
        (Rung(LEAP_PAIR, 16, 4), run_leap_pairs),
        (Rung(EXACT_PAIR, 0, 4), run_exact_pairs),
    ):
        whole, part = ladder.output(96), ladder.output(32)
        for output, first in ((whole, 0), (part, 64)):
            kernel(ladder.lanes, ladder.plan(rung, 3), ladder.walker(rung), output, first, 10**9)
        assert np.array_equal(whole.finer[64:], part.finer)
        assert np.array_equal(whole.coarser[64:], part.coarser)
        assert len(np.unique(whole.finer)) > 5


@pytest.mark.statistical
def test_leaps_that_run_away_cost_exact_paths_no_more_and_keep_both_laws():
    # B lives for 1/200 and leaps last 1/2: they make many times as many A as there should be.
    text = "species B, A\n0 -> B @ 200\nB -> 0 @ 200\nB -> B + A @ 50\nA -> 0 @ 1"
    network = gl.Network.parse(text)
    alone, _, _ = paths(network, [0.0, 2.0], Rung(LEAP, 4, 0), 8192)
    exact, coarser, output = paths(network, [0.0, 2.0], Rung(EXACT_PAIR, 0, 4), 8192)
    assert alone[:, 0, 1].mean() > 10.0 * exact[:, 0, 1].mean()
    assert output.n_points.mean() < 3.0 * output.n_events.mean()
    assert two_sample_pvalue(coarser[:, 0, 1], alone[:, 0, 1]) > ALPHA
    runs = gl.ensemble(network, [0.0, 2.0], 8192, rng=5)
    for species in range(2):
        assert two_sample_pvalue(exact[:, 0, species], runs.counts[:, 1, species]) > ALPHA


def _twins():
    found = {}
    for name, text in (("dimers", DIMERS), ("scarce", SCARCE)):
        network = gl.Network.parse(text)
        for rung in (Rung(LEAP, 4, 0), Rung(LEAP_PAIR, 8, 4), Rung(EXACT_PAIR, 0, 4)):
            finer, coarser, output = paths(network, [0.0, 2.0], rung, 32)
            found[f"{name} {rung.kind} finer"] = finer
            if rung.kind != LEAP:
                found[f"{name} {rung.kind} coarser"] = coarser
            found[f"{name} {rung.kind} events"] = output.n_events
    return found


def test_compiled_kernels_repeat_their_python_source(tmp_path):
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    file = tmp_path / "twins.npz"
    subprocess.run([sys.executable, __file__, str(file)], env=environment, check=True, timeout=300)
    with np.load(file) as python:
        compiled = _twins()
        assert set(python) == set(compiled)
        for name, values in compiled.items():
            assert np.array_equal(values, python[name]), name


# ---- Estimates -----------------------------------------------------------------------------------


def z_scores(result, truth):
    return (result.estimates - truth) / result.standard_errors


@pytest.mark.statistical
@pytest.mark.parametrize("levels", [[4], [4, 8, 32]])
def test_the_estimate_of_a_linear_network_has_no_bias_however_coarse_its_leaps(levels):
    network, times = gl.Network.parse(LINEAR), [0.0, 1.0, 4.0]
    result = gl.multilevel(network, times, levels=levels, relative_tolerance=0.002, rng=2)
    truth = gl.solve_moments(network, times).means[1:]
    assert result.is_reached
    p = 2.0 * stats.norm.sf(np.abs(z_scores(result, truth)))
    assert (p > ALPHA).all()
    # Power: the leaps by themselves are off by many standard errors.
    leaps = result.levels[0]
    errors = np.sqrt(leaps.variances / leaps.n)
    assert (np.abs(leaps.means - truth) > 20.0 * errors).any()


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["dimerisation", "schlogl", "telegraph"])
def test_estimates_have_no_bias_against_the_master_equation(name):
    network, t, outputs = {
        "dimerisation": (models.dimerisation(), 10.0, ["P", "Q^2", "P > 55"]),
        "schlogl": (models.schlogl(), 2.0, ["X", "X < 300"]),
        "telegraph": (models.telegraph(), 3.0, ["M", "M == 0"]),
    }[name]
    result = gl.multilevel(network, t, outputs, levels=[8, 32], relative_tolerance=0.01, rng=3)
    law = gl.solve_master_equation(network, [0.0, t])
    for output in outputs:
        species = output[0]
        p = law.marginal(species, t)
        values = np.arange(len(p))
        value = {"Q^2": values**2, "P > 55": values > 55, "X < 300": values < 300}.get(
            output, values == 0 if "==" in output else values
        )
        z = (result.estimate(output) - (p * value).sum()) / result.standard_error(output)
        assert 2.0 * stats.norm.sf(abs(z)) > ALPHA


@pytest.mark.statistical
def test_a_biased_coupling_is_found_out(monkeypatch):
    # The coarser leaps of a pair have steps that are 2 % longer than those of the level below.
    usual = Ladder.plan

    def plan(self, rung, entropy):
        made = usual(self, rung, entropy)
        return made._replace(step=made.step * 1.02) if rung.kind == LEAP_PAIR else made

    network, times = gl.Network.parse(LINEAR), [0.0, 1.0, 4.0]
    truth = gl.solve_moments(network, times).means[1:]
    monkeypatch.setattr(Ladder, "plan", plan)
    result = gl.multilevel(network, times, levels=[4, 8, 32], relative_tolerance=0.002, rng=2)
    assert (2.0 * stats.norm.sf(np.abs(z_scores(result, truth))) < ALPHA).any()


@pytest.mark.statistical
def test_intervals_hold_the_truth_as_often_as_they_say():
    # 300 runs at 90 %: a rate below 0.828 or above 0.957 has a probability of 1e-4 at most.
    network = gl.Network.parse("species X\n0 -> X @ 10\nX -> 0 @ 0.5")
    truth = 20.0 * (1.0 - np.exp(-1.5))
    held = 0
    for seed in range(300):
        result = gl.multilevel(
            network, 3.0, levels=[4, 16], tolerance=0.25, confidence=0.9, rng=seed, threads=1
        )
        low, high = result.interval("X")
        held += low <= truth <= high
        assert result.half_widths[0, 0] <= 0.25
    assert stats.binom.ppf(1e-4, 300, 0.9) <= held <= stats.binom.ppf(1.0 - 1e-4, 300, 0.9)


def test_estimates_are_the_same_on_any_number_of_threads_and_again():
    network = models.sir(N=20_000, I0=200)
    results = [
        gl.multilevel(
            network,
            50.0,
            ["I", "I > 1700"],
            relative_tolerance={"I": 1e-3},
            rng=7,
            threads=k,
            method="multilevel",
        )
        for k in (1, 2, 3)
    ]
    assert len(results[0].levels) > 2
    for other in results[1:]:
        assert np.array_equal(results[0].estimates, other.estimates)
        assert np.array_equal(results[0].standard_errors, other.standard_errors)
        assert [one.n for one in results[0].levels] == [one.n for one in other.levels]
        assert results[0].work == other.work
    another = gl.multilevel(network, 50.0, ["I"], relative_tolerance=0.004, rng=8)
    assert another.estimate("I") != results[0].estimate("I")


class Here(Executor):
    """Does each task at once, as if it had gone to a process and come back."""

    def __init__(self) -> None:
        self.tasks: list[PortionTask] = []

    def submit(self, work, /, *arguments, **named):
        future: Future = Future()
        try:
            if work is run_portion:
                arguments = (pickle.loads(pickle.dumps(arguments[0])),)
                self.tasks.append(arguments[0])
            future.set_result(work(*arguments, **named))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize(
    ("network", "outputs", "how"),
    [
        (
            models.sir(N=20_000, I0=200),
            ["I", "I > 1700"],
            {"relative_tolerance": {"I": 1e-3}, "method": "multilevel"},
        ),
        (
            gl.Network.parse(SWITCH),
            ["Y^2", "Y > 9"],
            {"tolerance": {"Y^2": 9.0}, "levels": [8, 32]},
        ),
        (gl.Network.parse(LINEAR), None, {"relative_tolerance": 0.02, "method": "exact"}),
    ],
    ids=["chosen", "given", "exact"],
)
def test_estimates_are_the_same_on_workers(network, outputs, how):
    here = Here()
    t = [0.0, 1.5, 4.0]
    usual = gl.multilevel(network, t, outputs, rng=17, **how)
    with ThreadPoolExecutor(2) as pool:
        others = [
            gl.multilevel(network, t, outputs, rng=17, executor=here, **how),
            gl.multilevel(network, t, outputs, rng=17, executor=pool, threads=2, **how),
        ]
    assert here.tasks
    for other in others:
        assert np.array_equal(usual.estimates, other.estimates)
        assert np.array_equal(usual.standard_errors, other.standard_errors)
        assert [one.n for one in usual.levels] == [one.n for one in other.levels]
        assert other.work == pytest.approx(usual.work, rel=1e-12)


def test_processes_are_started_once_for_all_rounds(monkeypatch):
    network, made = gl.Network.parse(LINEAR), []
    usual = gl.multilevel(network, 4.0, relative_tolerance=0.01, levels=[4], rng=18)
    plain = OwnProcesses.submit

    def submit(self, task):
        future = plain(self, task)
        made.append({one.process.pid for one in self._workers})
        return future

    monkeypatch.setattr(OwnProcesses, "submit", submit)
    other = gl.multilevel(
        network, 4.0, relative_tolerance=0.01, levels=[4], rng=18, executor="processes"
    )
    assert np.array_equal(usual.estimates, other.estimates)
    assert len(made) > 2
    assert len(set.union(*made)) <= cores()


def test_what_goes_wrong_on_workers_comes_back_with_the_estimate_so_far():
    network = gl.Network.parse("species X = 5\n0 => X @ 40 - X\nX => 0 @ 30 - X")
    with pytest.raises(
        BadPropensityError, match=r"rate '30 - X' of reaction 2 .* is -\d in exact path"
    ):
        gl.multilevel(network, 50.0, levels=[16], rng=1, executor=Here())
    slow, started = models.sir(N=200_000, I0=200), time.monotonic()
    how = {"relative_tolerance": 1e-6, "rng": 2, "levels": [64, 256]}
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.warns(IncompleteWarning, match="max_time: the run was stopped"),
    ):
        part = gl.multilevel(slow, 50.0, ["I"], max_time=2.0, executor=pool, **how)
    assert part.stopped == "timeout"
    assert len(part.levels) == 3
    assert time.monotonic() - started < 60

    def press(done, total):
        if done:
            raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool, pytest.raises(Interrupted):
        gl.multilevel(slow, 50.0, ["I"], max_time=60.0, executor=pool, progress=press, **how)
    with pytest.raises(ValueError, match="executor must be 'threads', 'processes'"):
        gl.multilevel(slow, 50.0, executor="magic")


def test_what_is_chosen_is_what_takes_less_work():
    few = gl.multilevel(models.dimerisation(), 50.0, relative_tolerance=0.01, rng=1)
    assert [one.kind for one in few.levels] == ["exact path"]
    assert "exact paths alone" in few.provenance.method_reason
    many = gl.multilevel(
        models.dimerisation(P=30_000, k_bind=1e-3 / 300), 50.0, "P", relative_tolerance=1e-4, rng=1
    )
    assert [one.kind for one in many.levels][-1] == "exact path and leaps"
    assert many.gain > 5.0
    assert many.is_reached
    exact = gl.multilevel(
        models.dimerisation(P=30_000, k_bind=1e-3 / 300),
        50.0,
        "P",
        relative_tolerance=1e-3,
        method="exact",
        rng=1,
    )
    # Exact paths alone are those of `ensemble`, and have what `gain` is worked out from.
    runs = gl.ensemble(exact.network, [0.0, 50.0], exact.levels[0].n, rng=1)
    assert exact.estimate() == pytest.approx(runs.mean("P")[-1], rel=1e-12)
    assert many.exact_work == pytest.approx(exact.exact_work, rel=0.02)
    assert many.exact_variances == pytest.approx(exact.exact_variances, rel=0.5)


def test_the_climb_prefers_what_takes_less_work():
    # Differences of 1/4 from rung to rung; an exact path costs as much as 1,000 leaps.
    climb = Climb([4, 16, 64, 256], [1.0] * 4, [0.1, 0.025, 0.00625])
    assert climb.to_exact(0) == pytest.approx(0.1 / (1.0 - 0.25))
    assert climb.to_exact(2) == pytest.approx(0.00625 / (1.0 - 0.25))

    def price(rung):
        return float(max(rung.finer, 1000.0 if rung.kind == EXACT_PAIR else 0.0))

    chain = climb.best_chain(price)
    assert [rung.kind for rung, _ in chain][-1] == EXACT_PAIR
    assert chain[0][0].finer in (4, 16)
    # With leaps as dear as exact paths, no level between is worth it.
    dear = climb.best_chain(lambda rung: 1000.0)
    assert len(dear) == 2


def test_numbers_of_paths_keep_every_variance_within_what_is_allowed():
    first, second = Rung(LEAP, 4, 0), Rung(EXACT_PAIR, 0, 4)
    variances = {first: np.array([[9.0, 1.0, 0.0]]), second: np.array([[0.5, 2.0, 0.0]])}
    works = {first: 1.0, second: 100.0}
    allowed = np.array([[0.01, 0.02, 0.0]])
    numbers = numbers_of_paths(variances, works, allowed)
    reached = sum(variances[rung] / numbers[rung] for rung in numbers)
    assert (reached[:, :2] <= allowed[:, :2] * (1 + 1e-12)).all()
    assert (reached[:, :2] > 0.9 * allowed[:, :2]).any()
    assert numbers[first] > numbers[second]
    # Nothing is wanted of the last output; alone, it needs the fewest paths there can be.
    numbers = numbers_of_paths(variances, works, np.array([[np.inf, np.inf, np.inf]]))
    assert set(numbers.values()) == {2}


# ---- Stopping ------------------------------------------------------------------------------------


def test_what_is_finished_survives_the_time_limit():
    network = models.sir(N=20_000, I0=200)
    with pytest.warns(IncompleteWarning, match="max_time"):
        result = gl.multilevel(
            network, 50.0, "I", relative_tolerance=1e-6, rng=1, max_time=0.7, threads=1
        )
    assert result.stopped == "timeout"
    assert not result.is_reached
    assert 0.0 < result.half_widths[0, 0] < 40.0
    assert "timeout" in repr(result)
    with pytest.raises(SimulationError, match="no estimate; give more time"):
        gl.multilevel(network, 50.0, "I", relative_tolerance=1e-3, rng=1, max_time=0.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_finished_survives_ctrl_c(threads):
    network, seen = models.sir(N=20_000, I0=200), []

    def progress(done, total):
        seen.append(done)
        if done > 2.0:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="estimate so far") as caught:
        gl.multilevel(
            network, 50.0, "I", relative_tolerance=1e-4, rng=1, threads=threads, progress=progress
        )
    result = caught.value.result
    assert result.stopped == "interrupt"
    assert not result.is_reached
    assert np.isfinite(result.half_widths).all()
    assert total_is_in_per_cent(seen)


def total_is_in_per_cent(seen):
    return all(0.0 <= one <= 100.0 for one in seen)


def test_hours_are_refused_without_a_time_limit():
    with pytest.raises(ValueError, match=r"about .* hours.*'I'.*max_time="):
        gl.multilevel(models.sir(N=20_000, I0=200), 50.0, "I", relative_tolerance=1e-9, rng=1)


@pytest.mark.parametrize("method", ["auto", "multilevel", "exact"])
def test_a_share_of_what_is_about_zero_is_refused_without_a_time_limit(method):
    with pytest.raises(ValueError, match=r"hours.*'P < 3'.*no meaning for what is about 0"):
        gl.multilevel(
            models.dimerisation(), 5.0, "P < 3", relative_tolerance=0.01, rng=1, method=method
        )


# ---- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("species X\n0 -> X @ 1 + t", "depends on the time t"),
        ("species X\nvariable v = 1\nv' = -v\n0 -> X @ 1", "the variable 'v'"),
        ("species X = 9\nX -> 0 @ 1\nat t == 2: X = 5", "event 1"),
        ("species X\n0 -> X @ 1 delay 2.0", "delay of reaction 1"),
        ("species X\n" + "0 -> X @ 1\n" * 65, "65 reactions"),
    ],
)
def test_networks_that_leaps_cannot_follow_are_refused_by_name(text, named):
    network = gl.Network.parse(text)
    with pytest.raises(MethodError, match=named):
        gl.multilevel(network, 3.0, rng=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"t": [0.0]}, ValueError, "one time"),
        ({"t": -1.0}, ValueError, "not an end time"),
        ({"outputs": []}, ValueError, "outputs is empty"),
        ({"outputs": ["P", "P"]}, ValueError, "twice"),
        ({"outputs": ["Pq"]}, NetworkError, "unknown name 'Pq'"),
        ({"outputs": ["1 + 1"]}, ValueError, "depend on no species"),
        ({"outputs": 3}, TypeError, "must be a list"),
        ({"outputs": [3]}, TypeError, "outputs are text"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be a number above 0"),
        ({"tolerance": {"X": 1.0}}, ValueError, "names 'X', which is none of the outputs: P, Q"),
        ({"tolerance": {}}, ValueError, "tolerance is empty"),
        ({"relative_tolerance": {"P": "x"}}, ValueError, "relative_tolerance of 'P'"),
        ({"confidence": 95}, ValueError, "confidence"),
        ({"method": "mlmc"}, MethodError, "auto, multilevel, exact"),
        ({"levels": [4, 6]}, ValueError, "multiple of the one before"),
        ({"levels": []}, ValueError, "levels is empty"),
        ({"levels": "4"}, TypeError, "list of numbers"),
        ({"levels": [2**27]}, ValueError, "at most"),
        ({"levels": [4], "method": "exact"}, ValueError, "has none"),
        ({"threads": 0}, ValueError, "threads"),
        ({"max_time": -1}, ValueError, "max_time"),
        ({"rng": 1, "seed": 2}, ValueError, "not both"),
        ({"progress": 3}, TypeError, "progress"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        gl.multilevel(**{"network": models.dimerisation(), "t": 5.0, **arguments})


def test_only_networks_are_taken():
    with pytest.raises(TypeError, match="must be a Network"):
        gl.multilevel("species X", 1.0)


def test_a_propensity_that_turns_negative_is_an_error_of_the_exact_path():
    network = gl.Network.parse("species X = 5\n0 => X @ 40 - X\nX => 0 @ 30 - X")
    with pytest.raises(
        BadPropensityError, match=r"rate '30 - X' of reaction 2 .* is -\d in exact path"
    ):
        gl.multilevel(network, 50.0, levels=[16], rng=1)


def test_an_output_without_a_value_is_an_error_that_says_where():
    network = gl.Network.parse("species X = 3\nX -> 0 @ 1")
    with pytest.raises(SimulationError, match=r"output '1/X' is inf at t = 2, where X = 0"):
        gl.multilevel(network, 2.0, "1/X", levels=[4], rng=1)


# ---- What the result shows -----------------------------------------------------------------------


def test_a_result_says_what_it_holds():
    network = gl.Network.parse(f"{DIMERS}\nobserve all = P + 2*Q")
    result = gl.multilevel(
        network, [0.0, 5.0, 10.0], ["P", "all", "P > 60"], tolerance={"P": 0.5}, rng=4,
        levels=[4, 16],
    )  # fmt: skip
    assert result.outputs == ("P", "all", "P > 60")
    assert result.times.tolist() == [5.0, 10.0]
    assert result["P"].shape == (2,)
    assert result.estimate("all", 5.0) == 100.0
    assert result.standard_error("all") == 0.0
    low, high = result.interval("P", 5.0)
    assert low < result.estimate("P", 5.0) < high
    assert high - low <= 1.0
    assert np.isinf(result.wanted_half_widths[:, 1:]).all()
    assert sum(one.means for one in result.levels) == pytest.approx(result.estimates)
    assert [one.name for one in result.levels] == ["4 leaps", "16 - 4 leaps", "exact - 16 leaps"]
    text = result.summary()
    for part in ("P > 60", "exact - 16 leaps", "levels as asked for", "0.95 confidence"):
        assert part in text
    assert "<table>" in result._repr_html_()
    assert "P &gt; 60" in result._repr_html_()
    table = result.to_pandas()
    assert list(table.columns) == ["time", "output", "estimate", "standard_error", "half_width"]
    assert len(table) == 6
    ax = result.plot("P > 60", 5.0)
    assert len(ax.lines) == 4
    with pytest.raises(KeyError, match="there is no output 'p'"):
        result.estimate("p")
    with pytest.raises(KeyError, match="name one of the outputs"):
        result.interval()
    with pytest.raises(ValueError, match="none of the times"):
        result.estimate("P", 6.0)
    with pytest.raises(ValueError, match="read-only"):
        result.estimates[0, 0] = 1.0


def test_a_probability_that_was_never_seen_has_an_error():
    result = gl.multilevel(
        models.dimerisation(), 5.0, "P < 3", tolerance=0.05, levels=[4], rng=1, threads=1
    )
    assert result.estimate() == 0.0
    assert result.standard_error() > 0.0


if __name__ == "__main__":
    np.savez(sys.argv[1], **_twins())
