"""Rates that depend on the time, exactly: the laws, any look-ahead, and what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import numpy as np
import pytest
from laws import ALPHA, chi_square_pvalue, poisson_law
from uncompiled import found_without_compiling

import gillespy_lite as gl
from gillespy_lite.errors import BadPropensityError, MethodError, SimulationError
from gillespy_lite.kernels import jump_loop
from gillespy_lite.kernels.walking import (
    ALL_DONE,
    COMPLETIONS_FULL,
    EVENTS_FULL,
    EXECUTIONS_FULL,
    N_BUFFERED,
)
from gillespy_lite.run_plan import RunPlan, plan_run

EXACT = sorted(
    name
    for name, method in gl.METHODS.items()
    if method.is_exact and method.supports_time_dependence
)
N_PVALUES = 60
SMALLEST = ALPHA / N_PVALUES

# Exact law H: X(t) ~ Poisson(m(t)), m' = k (1 + sin w t) - g m.
WAVE = "species X\nparam k = {k}, w = 1.3, g = 0.7\nmake: 0 -> X @ k*(1 + sin(w*t))\nX -> 0 @ g"
WAVE_MEANS = {1.0: 23.303489397, 5.0: 17.802927625, 10.0: 20.431811099}
N = 4000


def wave_pvalues(network: gl.Network, method: str, look_ahead: float, rng: int) -> list[float]:
    runs = gl.ensemble(network, [0, *WAVE_MEANS], N, method=method, rng=rng, look_ahead=look_ahead)
    return [chi_square_pvalue(runs.at(t, "X"), poisson_law(mean)) for t, mean in WAVE_MEANS.items()]


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("look_ahead", [0.0, 0.03, 50.0])
def test_wave_of_births_follows_its_law_for_any_look_ahead(method, look_ahead):
    assert min(wave_pvalues(gl.Network.parse(WAVE.format(k=20)), method, look_ahead, 1)) > SMALLEST


@pytest.mark.statistical
def test_wave_that_is_5_percent_higher_is_told_apart():
    # What the test above can see, with its 4000 trajectories.
    assert min(wave_pvalues(gl.Network.parse(WAVE.format(k=21)), "direct", 0.0, 1)) < 1e-8


def drive(plan: RunPlan, n_rows: int, budget: int) -> list[np.ndarray]:
    """Run `n_rows` trajectories `budget` steps at a time; return all that they wrote."""
    walker, output, events = plan.walker(), plan.output(n_rows, 7), []
    while True:
        status = plan.kernel(plan.arrays, plan.request, walker, output, 5, budget)
        walker = plan.with_room(walker, status)
        n = int(walker.counter[N_BUFFERED])
        events.append([c[:n].copy() for c in (output.event_time, output.event_reaction)])
        walker.counter[N_BUFFERED] = 0
        if status == ALL_DONE:
            break
        assert status in {1, EVENTS_FULL, COMPLETIONS_FULL, EXECUTIONS_FULL}
    grid = [output.counts, output.values, output.hitting_time, output.n_events, output.outcome]
    if plan.request.every_event:
        return [np.concatenate(pieces) for pieces in zip(*events, strict=True)]
    return grid


def plan_for(network: gl.Network, method: str, times: Any, **changes: Any) -> RunPlan:
    arguments: dict[str, Any] = {
        "method": method,
        "rng": 29,
        "seed": None,
        "outputs": None,
        "stop_when": None,
        "max_events": None,
        "every_event": False,
        "method_options": {},
    }
    return plan_run(network, times, **{**arguments, **changes})


def few_waves() -> list[int]:
    """Return the counts of 150 trajectories at t = 1, whose one look ahead is as long."""
    network = gl.Network.parse(WAVE.format(k=20))
    plan = plan_for(network, "direct", [0.0, 1.0], method_options={"look_ahead": 1.0})
    counts: list[int] = drive(plan, 150, 10**9)[0][:, -1, 0].tolist()
    return counts


def digests(method: str) -> list[str]:
    """Return a digest of each array that two trajectories of `EVERYTHING` write."""
    written = drive(plan_for(EVERYTHING, method, TIMES), 2, 10**12)
    return [hashlib.sha256(one.tobytes()).hexdigest() for one in written]


@pytest.fixture(scope="module")
def uncompiled() -> dict[str, Any]:
    """Return what the kernels' own source gives, in a process in which nothing is compiled.

    Here its parts would be compiled one by one, to be called from Python: 60 s.
    """
    return found_without_compiling(__file__)


@pytest.mark.statistical
def test_bound_taken_for_the_rate_is_told_apart(uncompiled):
    # The kernel's own source with a rejection that never rejects: p = 2e-46 against .8.
    law = poisson_law(WAVE_MEANS[1.0])
    assert chi_square_pvalue(np.array(uncompiled["sound"]), law) > 1e-4
    assert chi_square_pvalue(np.array(uncompiled["never rejects"]), law) < 1e-8


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_short_pulse_far_ahead_is_never_missed(method):
    # 0.001 long, after 99 units in which nothing happens: 10 births on average.
    network = gl.Network.parse("species X\n0 -> X @ if(t > 99 and t < 99.001, 1e4, 0)")
    runs = gl.ensemble(network, [0, 99, 100], 2000, method=method, rng=2)
    assert (runs.at(99, "X") == 0).all()
    assert chi_square_pvalue(runs.final("X"), poisson_law(10.0)) > SMALLEST


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_birth_rate_that_starts_at_zero_is_not_frozen(method):
    network = gl.Network.parse("species X\n0 -> X @ 5*t")
    runs = gl.ensemble(network, [0, 2], 2000, method=method, rng=3)
    assert chi_square_pvalue(runs.final("X"), poisson_law(10.0)) > SMALLEST


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_rate_that_jumps_a_millionfold_follows_its_law(method):
    # One birth a unit of time up to 5, then a million for 1e-5 of it.
    network = gl.Network.parse("species X\n0 -> X @ if(t < 5, 1, if(t < 5.00001, 1e6, 0))")
    runs = gl.ensemble(network, [0, 5, 6], 2000, method=method, rng=4)
    assert chi_square_pvalue(runs.at(5, "X"), poisson_law(5.0)) > SMALLEST
    assert chi_square_pvalue(runs.final("X"), poisson_law(15.0)) > SMALLEST


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_many_reactions_of_which_some_move_follow_their_laws(method):
    # More than the direct method adds up afresh; each X decays, each Y is born at (1 + cos t).
    text = "\n".join(f"X{i} -> 0 @ 0.5\n0 -> Y{i} @ 0.5*(1 + cos(t))" for i in range(20))
    names = [f"X{i} = 4, Y{i}" for i in range(20)]
    network = gl.Network.parse(f"species {', '.join(names)}\n{text}")
    runs = gl.ensemble(network, [0, 3], 300, method=method, rng=5)
    births = np.concatenate([runs.final(f"Y{i}") for i in range(20)])
    assert chi_square_pvalue(births, poisson_law(0.5 * (3 + np.sin(3.0)))) > SMALLEST
    left = np.concatenate([runs.final(f"X{i}") for i in range(20)])
    share = np.exp(-1.5)
    law = np.array([1, 4, 6, 4, 1]) * share ** np.arange(5) * (1 - share) ** np.arange(4, -1, -1)
    assert chi_square_pvalue(left, law) > SMALLEST


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    ("rate", "match"),
    [
        ("1/(t - 3)", "is -0.333333"),
        ("1/(3 - t)", "no bound near t = 3:"),
        ("1/(t - 3)^2", "no bound near t = 3:"),
        ("if(t < 3, 1/(t - 3)^2, 0)", "no bound near t = 3:"),
        ("if(t > 3 and t < 3.001, -1, 1)", "is -1 in .* at t = 3.000"),
        ("5 - t", "finite number, 0 or more"),
        ("sqrt(4 - t)", "finite number, 0 or more|no bound"),
    ],
)
def test_rate_without_a_meaning_is_an_error_that_names_it(method, rate, match):
    network = gl.Network.parse(f"species X\nmake: 0 -> X @ {rate}")
    with pytest.raises(BadPropensityError, match=match) as caught:
        gl.simulate(network, 10, method=method, rng=1)
    assert "'make'" in str(caught.value)
    assert "X = " in str(caught.value)
    assert caught.value.result.stopped == "error"


@pytest.mark.parametrize("method", EXACT)
def test_pole_ends_the_run_for_any_look_ahead(method):
    network = gl.Network.parse("species X\nmake: 0 -> X @ 1/(t - 3)^2")
    for look_ahead in (0.01, 50.0):
        with pytest.raises(BadPropensityError, match=r"'make' .* no bound near t = 3:"):
            gl.simulate(network, 5, method=method, rng=1, look_ahead=look_ahead)


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_high_and_narrow_peak_is_no_pole(method):
    # Its area is 100 (atan(2e4) + atan(3e4)), close to 100 pi; written so that bounds are loose.
    network = gl.Network.parse("species X\n0 -> X @ 0.01/((t - 3)*(t - 3) + 1e-8)")
    runs = gl.ensemble(network, [0, 5], 500, method=method, rng=10)
    mean = 100.0 * (np.arctan(2e4) + np.arctan(3e4))
    assert chi_square_pvalue(runs.final("X"), poisson_law(mean)) > SMALLEST


@pytest.mark.parametrize("method", EXACT)
def test_dip_below_zero_between_proposals_is_an_error_only_if_it_is_reached(method):
    # Negative from the third molecule on, for a hundredth of the run; without it, never.
    rate = "if(X < {}, 1, if(t > 3 and t < 3.1, -1e-6, 0))"
    for limit, is_reached in ((2, True), (1000, False)):
        network = gl.Network.parse(f"species X\n0 -> X @ {rate.format(limit)}")
        if is_reached:
            with pytest.raises(BadPropensityError, match=r"is -1e-06 .* at t = 3\.0"):
                gl.ensemble(network, [0, 10], 20, method=method, rng=11)
        else:
            gl.ensemble(network, [0, 10], 20, method=method, rng=11)


@pytest.mark.parametrize("method", EXACT)
def test_loose_bounds_below_zero_are_no_error(method):
    for rate in ("t*t - 6*t + 9", "1.0001 - 2*sin(t)*cos(t)", "1 + sin(t)", "X*(2 - X) + X^2"):
        network = gl.Network.parse(f"species X\n0 -> X @ {rate}")
        gl.ensemble(network, [0, 10], 20, method=method, rng=12)


@pytest.mark.parametrize("method", EXACT)
def test_stop_at_a_time_is_exact_between_jumps(method):
    for text in ("species X = 3\nX -> 0 @ 0.1", WAVE.format(k=20)):
        network = gl.Network.parse(text)
        runs = gl.ensemble(network, [0, 10], 20, method=method, rng=6, stop_when="t >= 3.25")
        assert (runs.hitting_times == 3.25).all()
        runs = gl.ensemble(network, [0, 10], 20, method=method, rng=6, stop_when="t > 3.25")
        assert (runs.hitting_times == np.nextafter(3.25, 4)).all()


def test_tau_leaping_refuses_what_moves_by_name():
    for text, named in (
        (WAVE.format(k=20), "'make'"),
        ("species X\nvariable V = 1\nV' = -V\n0 -> X @ V", "'V'"),
        ("species X\nlate: 0 -> X @ 1 delay 2", "'late'"),
        ("species X\n0 -> X @ 1\nkick: at t >= 2: X = 5", "'kick'"),
    ):
        with pytest.raises(MethodError, match=named) as caught:
            gl.simulate(gl.Network.parse(text), 1, method="tau_leaping", rng=1)
        assert "direct, first_reaction, next_reaction" in str(caught.value)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("option", [{"look_ahead": -1}, {"rtol": 0}, {"atol": 0}])
def test_options_out_of_range_are_refused(method, option):
    with pytest.raises(MethodError, match=next(iter(option))):
        gl.simulate(gl.Network.parse("species X\n0 -> X @ t"), 1, method=method, **option)


# A network in which everything moves at once.
EVERYTHING = gl.Network.parse("""
species A = 20, B, C
variable V = 1, W = 0
V' = 0.3*A - V
W' = sin(t)
A -> B @ 0.5 delay gamma(2, 0.5)
B -> C @ 0.4*(1 + sin(3*t)) delay 0.7
0 -> A @ V + 2
C -> 0 @ 1
0 -> B @ 3 delay uniform(0.1, 0.4) consuming on completion
kick: at t >= 1.5: A = A + 10, V = V/2
when B > 12, after 0.3, not persistent: B = 0
when V > 4: W = 0
""")
TIMES = np.linspace(0.0, 3.0, 13)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    "changes",
    [{}, {"stop_when": "V > 5 or C > 6"}, {"method_options": {"look_ahead": 0.2}}],
    ids=["plain", "stopped", "look_ahead"],
)
def test_stopping_a_kernel_anywhere_never_changes_a_path(method, changes):
    plan = plan_for(EVERYTHING, method, TIMES, **changes)
    usual = drive(plan, 4, 10**12)
    for budget in (1, 7, 100):
        for one, other in zip(usual, drive(plan, 4, budget), strict=True):
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("method", EXACT)
def test_draining_the_buffer_of_events_anywhere_never_changes_a_path(method):
    plan = plan_for(EVERYTHING, method, TIMES, every_event=True)
    usual = drive(plan, 1, 10**12)
    assert usual[0].size > 50
    for one, other in zip(usual, drive(plan, 1, 3), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("method", EXACT)
def test_threads_and_chunks_give_identical_arrays(method):
    def run(**how: Any) -> Any:
        return gl.ensemble(EVERYTHING, TIMES, 40, method=method, rng=7, **how)

    usual = run()
    for threads, chunk_size in itertools.product((1, 2), (1, 7)):
        other = run(threads=threads, chunk_size=chunk_size)
        assert usual.counts.tobytes() == other.counts.tobytes()
        assert usual.values.tobytes() == other.values.tobytes()
    assert len({path.tobytes() for path in usual.counts}) == 40
    summed = run(statistics=True)
    assert np.allclose(summed.mean()[:, 0], usual.counts.mean(axis=0)[:, 0])


@pytest.mark.parametrize("method", EXACT)
def test_replay_passes_through_the_row_that_it_repeats(method):
    runs = gl.ensemble(EVERYTHING, TIMES, 4, method=method, rng=8, look_ahead=0.5)
    for i in range(4):
        path = runs.replay(i)
        # Beside the events there are the start and, because variables move, the end.
        assert path.n_events == runs.n_events[i] == path.times.size - 2
        assert np.array_equal([path.at(t, "A") for t in TIMES], runs["A"][i])
        assert {-1, 0, 1, 2, 3, 4} >= set(path.reactions.tolist())


@pytest.mark.parametrize("method", EXACT)
def test_compiled_kernel_repeats_its_python_source(method, uncompiled):
    assert digests(method) == uncompiled[method]


def test_event_limit_counts_delayed_completions_and_events():
    path = gl.simulate(EVERYTHING, TIMES, rng=9)
    with pytest.raises(SimulationError, match=f"max_events = {path.n_events - 1}"):
        gl.simulate(EVERYTHING, TIMES, rng=9, max_events=path.n_events - 1)
    again = gl.simulate(EVERYTHING, TIMES, rng=9, max_events=path.n_events)
    assert np.array_equal(again.counts, path.counts)


@pytest.mark.parametrize("method", EXACT)
def test_dependents_kept_by_species_give_the_same_sample(method, monkeypatch):
    # What networks of tens of thousands of reactions do. A chain of 40 species, driven by a wave.
    names = [f"S{i}" for i in range(40)]
    lines = [f"species {', '.join(f'{name} = 5' for name in names)}", "0 -> S0 @ 9*(1 + sin(t))"]
    lines += [f"{a} -> {b} @ 1 + 0.1*i{i}" for i, (a, b) in enumerate(itertools.pairwise(names))]
    lines += [f"param i{i} = {i}" for i in range(39)]
    lines += ["S39 -> 0 @ 1 delay 0.5", "at t >= 1: S3 = 20, S20 = 0"]

    def counts(n: int) -> np.ndarray:
        network = gl.Network.parse("\n".join(lines))  # a fresh one: relatives share their lists
        return gl.ensemble(network, [0, 1, 2, 3], n, method=method, rng=5).counts

    usual = counts(300)
    monkeypatch.setattr("gillespy_lite.step_lists._MOST_ENTRIES", 0)
    by_species = counts(300)
    if method != "next_reaction":  # which moves its heap in another order, where ties do not exist
        assert np.array_equal(usual, by_species)
    # Means of sums of some 60 Poisson-like counts: a chain that stalls differs by many of these.
    error = np.sqrt(usual.sum(axis=2).var(axis=0) * 2 / 300) + 1e-9
    gap = usual.sum(axis=2).mean(axis=0) - by_species.sum(axis=2).mean(axis=0)
    assert (np.abs(gap) < 5 * error).all()
    for species in (0, 3, 4, 20, 21, 39):
        a, b = usual[:, 1:, species], by_species[:, 1:, species]
        spread = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 300) + 1e-9
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 5 * spread).all()


# What the process without compilation runs.
if __name__ == "__main__":
    answers: dict[str, Any] = {"sound": few_waves(), **{one: digests(one) for one in EXACT}}
    jump_loop.uniform = lambda stream: 0.0
    print(json.dumps({**answers, "never rejects": few_waves()}))
