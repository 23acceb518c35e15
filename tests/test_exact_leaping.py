"""Exact leaping keeps the law of single events: at small counts, where every leap can be wrong, and
at large ones, where it is for.

By default leaps begin at counts of some thousands. `EAGER` leaps at any count, so that the laws of
test_exact_laws.py judge leaps; with `margin=0` the box is left often, and all points of a leap are
gone through one by one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from laws import (
    ALPHA,
    binomial_pvalue,
    cells_pvalue,
    chi_square_pvalue,
    ks_pvalue,
    normal_pvalue,
    poisson_law,
    smallest,
)
from scipy import linalg, sparse, stats
from test_exact_laws import LAWS, law_pvalue

import gillespy_lite as gl
from gillespy_lite.errors import EventLimitError, MethodError
from gillespy_lite.kernels.walking import (
    ALL_DONE,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    IN_TROUBLE,
    N_EVENTS,
)
from gillespy_lite.run_plan import plan_run
from gillespy_lite.version import STREAM_VERSION

EAGER = {"leap_worth": 0.5, "single_steps": 1}
OPTIONS = {
    "eager": EAGER,
    "long": {**EAGER, "doubtful": 20.0, "margin": 3.0},
    "out of the box": {**EAGER, "doubtful": 5.0, "margin": 0.0},
}
# At most this many p-values are asked for in this file.
THRESHOLD = ALPHA / 150

LOTKA_VOLTERRA = "species R = {half}, F = {half}\nR -> 2 R @ 1\nR + F -> 2 F @ {pair!r}\nF -> 0 @ 1"


def lotka_volterra(n: int) -> gl.Network:
    return gl.Network.parse(LOTKA_VOLTERRA.format(half=n // 2, pair=1.0 / n))


def n_leaps(path: gl.Trajectory) -> int:
    return int((path.reactions[1:] == -1).sum())


# ---- Small counts --------------------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", LAWS)
def test_leaps_at_small_counts_keep_the_law(name, options):
    assert law_pvalue(LAWS[name], gl.ExactLeaping(**OPTIONS[options]), seed=7) > THRESHOLD


@pytest.mark.parametrize("name", LAWS)
def test_these_laws_are_those_of_leaps(name):
    # Otherwise the test above would say little: most events happen in leaps of several events.
    law = LAWS[name]
    rows = events = 0
    for seed in range(10):
        path = gl.simulate(
            gl.Network.parse(law.text), law.times, method="exact_leaping", rng=seed,
            every_event=True, **OPTIONS["long"],
        )  # fmt: skip
        single = (path.reactions[1:] >= 0).sum()
        rows += n_leaps(path)
        events += path.n_events - single
        assert single < 0.5 * path.n_events
    assert events > 1.5 * rows


# Each breaks one step of the proof; together with the sound method they run without compilation, in
# a process of their own.
MUTANTS = """
import json, sys
import numpy as np
import gillespy_lite as gl
from gillespy_lite.kernels import exact_leaps

sound = {name: getattr(exact_leaps, name) for name in dir(exact_leaps)}

def accept_all(network, walker, leap, time, n_doubtful):
    number = 0
    for j in range(leap.sure.size):
        leap.sure[j] += leap.doubtful[j]
        exact_leaps._add_events(network, walker.state, j, leap.sure[j])
        number += leap.sure[j]
    return number, -1

def reach_the_end(network, walker, leap, time, n_points, room):
    result, share, made = sound["_go_through_all"](network, walker, leap, time, n_points, room)
    return result, 1.0, made

mutants = {
    "none": {},
    "points in doubt are events": {"_look_at_doubtful": accept_all},
    "points in doubt see the state at the start": {"binomial": lambda stream, n, p: 0},
    "points in doubt see the state at the end": {"binomial": lambda stream, n, p: n},
    "time runs on after the box is left": {"_go_through_all": reach_the_end},
    "the box is never left": {"_stays_in_box": lambda walker, leap: True},
}
found = {}
network = gl.Network.parse(sys.argv[1])
for name, broken in mutants.items():
    for part, replacement in broken.items():
        setattr(exact_leaps, part, replacement)
    # Long leaps in a narrow box, where it is the box that matters.
    margin, doubtful = (0.0, 100.0) if "box" in name or name == "none" else (3.0, 10.0)
    method = gl.ExactLeaping(leap_worth=0.5, single_steps=1, doubtful=doubtful, margin=margin)
    try:
        runs = gl.ensemble(network, [0.0, 0.5, 1.0], 1000, method=method, rng=1, threads=1)
        found[name] = runs.counts[:, 1:, 0].tolist()
    except gl.SimulationError as error:
        found[name] = str(error)
    for part in broken:
        setattr(exact_leaps, part, sound[part])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def mutant_counts():
    # Growth, in which paths do leave a box that is narrow.
    done = subprocess.run(
        [sys.executable, "-c", MUTANTS, "species X = 60\nX -> 2 X @ 1"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def growth_pvalue(counts) -> float:
    # Yule's process: each of 60 founders has a geometric number of descendants.
    if isinstance(counts, str):  # caught on the way: a bound did not hold
        assert "outside the bounds" in counts
        return 0.0
    x, found = np.array(counts), []
    for i, time in enumerate((0.5, 1.0)):
        law = stats.nbinom(60, math.exp(-time))
        found.append(chi_square_pvalue(x[:, i] - 60, law.pmf(np.arange(400))))
        error = law.std() / math.sqrt(x.shape[0])
        found.append(normal_pvalue(x[:, i].mean() - 60.0, law.mean(), error))
    return smallest(found)


@pytest.mark.statistical
def test_the_sound_method_passes_where_mutants_run(mutant_counts):
    assert growth_pvalue(mutant_counts["none"]) > THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize(
    "mutant",
    [
        "points in doubt are events",
        "points in doubt see the state at the start",
        "points in doubt see the state at the end",
        "time runs on after the box is left",
        "the box is never left",
    ],
)
def test_a_broken_leap_is_rejected(mutant, mutant_counts):
    assert growth_pvalue(mutant_counts[mutant]) < THRESHOLD


# ---- Large counts --------------------------------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("n", "time"), [(10**4, 1.0), (10**6, 1.0), (10**9, 0.03), (10**12, 0.001)]
)
def test_isomerisation_of_many_molecules_is_binomial(n, time):
    # A <-> B @ 1, 0.5 from all A: A(t) ~ Binomial(n, p), p = (1 + 2 exp(-1.5 t)) / 3, and of those
    # in A at t/2 each is there at t with the same p. Power, measured: rates 3 standard errors off,
    # .05 standard deviations of A, are rejected.
    size = 4_000
    network = gl.Network.parse(f"species A = {n}, B\nA <-> B @ 1, 0.5")
    runs = gl.ensemble(network, [0.0, time / 2, time], size, method="exact_leaping", rng=3)
    assert (runs.counts.sum(axis=2) == n).all()
    a = runs.counts[:, :, 0].astype(np.float64)
    stay = (1.0 + 2.0 * math.exp(-0.75 * time)) / 3.0
    back = (1.0 - math.exp(-0.75 * time)) / 3.0
    z = []
    for i, share in ((1, stay), (2, (1.0 + 2.0 * math.exp(-1.5 * time)) / 3.0)):
        z.append((a[:, i] - n * share) / math.sqrt(n * share * (1.0 - share)))
        assert ks_pvalue(z[-1], stats.norm.cdf) > THRESHOLD
        assert normal_pvalue(z[-1].mean(), 0.0, size**-0.5) > THRESHOLD
        assert normal_pvalue(z[-1].var(), 1.0, math.sqrt(2.0 / size)) > THRESHOLD
    # Given A(t/2) the mean of A(t) is A stay + (n - A) back: what is left does not depend on it.
    middle = a[:, 1]
    rest = a[:, 2] - middle * stay - (n - middle) * back
    rest /= np.sqrt(middle * stay * (1.0 - stay) + (n - middle) * back * (1.0 - back))
    assert ks_pvalue(rest, stats.norm.cdf) > THRESHOLD
    assert normal_pvalue(np.corrcoef(rest, z[0])[0, 1], 0.0, size**-0.5) > THRESHOLD
    assert normal_pvalue(z[1].mean() + 0.1, 0.0, size**-0.5) < THRESHOLD


def binding_law(a: int, b: int, on: float, off: float, time: float) -> np.ndarray:
    """Return the law of C of A + B <-> C from none, by uniformisation of the master equation."""
    c = np.arange(min(a, b) + 1)
    up, down = on * (a - c) * (b - c), off * c
    rate = (up + down).max()
    step = sparse.diags(
        [up[:-1] / rate, 1.0 - (up + down) / rate, down[1:] / rate], [-1, 0, 1], format="csr"
    )
    mean = rate * time
    law, term = np.zeros(c.size), np.zeros(c.size)
    term[0] = 1.0
    for k in range(int(mean + 10.0 * math.sqrt(mean) + 20.0)):
        law += stats.poisson.pmf(k, mean) * term
        term = step @ term
    return law


@pytest.mark.statistical
@pytest.mark.parametrize(
    "options", [{"leap_worth": 30.0}, EAGER, {"leap_worth": 20.0, "margin": 1.0}]
)
def test_binding_of_thousands_has_the_law_of_its_master_equation(options):
    # Power: a rate 0.5 % higher is rejected.
    law = binding_law(6_000, 4_000, 1e-4, 0.3, 1.0)
    assert abs(law.sum() - 1.0) < 1e-9
    network = gl.Network.parse("species A = 6000, B = 4000, C\nA + B <-> C @ 1e-4, 0.3")
    runs = gl.ensemble(network, [0.0, 1.0], 20_000, method=gl.ExactLeaping(**options), rng=4)
    c = runs.counts[:, -1, 2]
    assert chi_square_pvalue(c, law) > THRESHOLD
    wrong = binding_law(6_000, 4_000, 1.005e-4, 0.3, 1.0)
    assert chi_square_pvalue(c, wrong) < THRESHOLD
    path = gl.simulate(
        network, [0.0, 1.0], method=gl.ExactLeaping(**options), rng=1, every_event=True
    )
    assert n_leaps(path) > 10


@pytest.mark.statistical
def test_lotka_volterra_has_the_moments_of_its_linear_noise_limit():
    # For n = 1e7 the next correction is 1e-7 relative. The means follow the rate equations, the
    # covariance S' = J S + S J^T + D. Power: 2,000 paths see means .1 standard deviations off and
    # variances 15 % off.
    n, size = 10**7, 2_000

    def change(_, y):
        r, f = y[:2]
        s = y[2:].reshape(2, 2)
        jacobian = np.array([[1.0 - f, -r], [f, r - 1.0]])
        noise = np.array([[r + r * f, -r * f], [-r * f, r * f + f]])
        return np.concatenate(
            [[r - r * f, r * f - f], (jacobian @ s + s @ jacobian.T + noise).ravel()]
        )

    from scipy.integrate import solve_ivp

    end = solve_ivp(change, (0.0, 1.0), [0.5, 0.5, 0, 0, 0, 0], rtol=1e-11, atol=1e-13).y[:, -1]
    runs = gl.ensemble(lotka_volterra(n), [0.0, 1.0], size, method="exact_leaping", rng=5)
    z = (runs.counts[:, -1].astype(np.float64) - n * end[:2]) / math.sqrt(n)
    root = linalg.cholesky(end[2:].reshape(2, 2), lower=True)
    white = linalg.solve_triangular(root, z.T, lower=True)
    for one in white:
        assert ks_pvalue(one, stats.norm.cdf) > THRESHOLD
        assert normal_pvalue(one.mean(), 0.0, size**-0.5) > THRESHOLD
        assert normal_pvalue(one.var(), 1.0, math.sqrt(2.0 / size)) > THRESHOLD
    assert normal_pvalue(np.corrcoef(white)[0, 1], 0.0, size**-0.5) > THRESHOLD


@pytest.mark.statistical
def test_a_gene_that_switches_beside_many_molecules_is_still_a_chain():
    # The gene is critical: it ends leaps. On at t = 2 with probability
    # .6 (1 - exp(-5 * 2)) started off; its products count in the ten thousands.
    network = gl.Network.parse(
        "species off = 1, on, M = 20000\noff <-> on @ 3, 2\non -> on + M @ 50000\nM -> 0 @ 1"
    )
    times = [0.0, 0.2, 2.0]
    runs = gl.ensemble(network, times, 4_000, method="exact_leaping", rng=6)
    for i in (1, 2):
        on = 0.6 * (1.0 - math.exp(-5.0 * times[i]))
        assert binomial_pvalue(runs.counts[:, i, 1].sum(), 4_000, on) > THRESHOLD
    # M' = 50000 P(on) - M, with P(on) as above.
    t = 2.0
    mean = 20_000 * math.exp(-t) + 30_000 * (
        1.0 - math.exp(-t) - (math.exp(-t) - math.exp(-5.0 * t)) / 4.0
    )
    m = runs.counts[:, 2, 2]
    assert normal_pvalue(m.mean(), mean, m.std() / math.sqrt(4_000)) > THRESHOLD
    path = gl.simulate(network, times, method="exact_leaping", rng=6, every_event=True)
    assert path.n_events > 20 * n_leaps(path) > 0


# ---- Stopping, limits and rows -------------------------------------------------------------------


@pytest.mark.statistical
def test_hitting_times_are_exact_though_paths_leap():
    # X -> 0 @ 1 from 40,000 to 30,000: the sum of independent exponentials of means 1/k.
    network = gl.Network.parse("species X = 40000\nX -> 0 @ 1")
    runs = gl.ensemble(
        network, [0.0, 5.0], 4_000, method="exact_leaping", rng=8, stop_when="X <= 30000"
    )
    assert (runs.final("X") == 30_000).all()
    assert (runs.n_events == 10_000).all()
    k = np.arange(30_001, 40_001, dtype=np.float64)
    z = (runs.hitting_times - (1.0 / k).sum()) / math.sqrt((1.0 / k**2).sum())
    assert ks_pvalue(z, stats.norm.cdf) > THRESHOLD
    # Power: seen one event in 10,000 late or early, the law would still fit; .1 sd would not.
    assert ks_pvalue(z + 0.12, stats.norm.cdf) < THRESHOLD
    path = gl.simulate(
        network, [0.0, 5.0], method="exact_leaping", rng=8, stop_when="X <= 30000", every_event=True
    )
    assert path.n_events > 3 * (path.times.size - 1)
    assert path.times[-1] == path.hitting_time


def outcomes_of(network, n: int, budget: int = 10**12, **changes):
    """Run the kernel by hand; return the output and the numbers of events of those in trouble."""
    arguments = {
        "method": "exact_leaping", "rng": 9, "seed": None, "outputs": None, "stop_when": None,
        "max_events": None, "every_event": False, "method_options": {},
    }  # fmt: skip
    plan = plan_run(network, np.linspace(0.0, 1.0, 5), **{**arguments, **changes})
    walker, output, status = plan.walker(), plan.output(n), BUDGET_SPENT
    limited, stops = [], 0
    while status != ALL_DONE:
        status = plan.kernel(plan.arrays, plan.request, walker, output, 0, budget)
        assert status in {ALL_DONE, BUDGET_SPENT, IN_TROUBLE}
        stops += status == BUDGET_SPENT
        if status == IN_TROUBLE:
            limited.append(int(walker.counter[N_EVENTS]))
    return output, limited, stops


@pytest.mark.statistical
def test_the_limit_of_events_is_met_to_the_event():
    # 0 -> X @ 1000 for one unit of time: more than 1,010 events with the probability of a
    # Poisson(1000), and then exactly 1,010 of them are made.
    network = gl.Network.parse("species X\n0 -> X @ 1000")
    output, limited, _ = outcomes_of(network, 4_000, max_events=1_010)
    is_limited = output.outcome == EVENT_LIMIT
    assert set(output.outcome.tolist()) == {COMPLETE, EVENT_LIMIT}
    assert set(limited) == {1_010}
    assert (output.n_events[is_limited] == 1_010).all()
    share = float(stats.poisson.sf(1_010, 1_000.0))
    assert binomial_pvalue(is_limited.sum(), 4_000, share) > THRESHOLD
    finished = output.n_events[~is_limited]
    law = poisson_law(1_000.0)[:1_011]
    observed = np.bincount(finished, minlength=1_011)
    assert cells_pvalue(observed, law / law.sum()) > THRESHOLD
    with pytest.raises(EventLimitError, match="needs more than max_events = 50000 events"):
        gl.simulate(lotka_volterra(10**6), 1, method="exact_leaping", max_events=50_000, rng=1)


def test_events_are_counted_as_reactions_that_happened():
    network = gl.Network.parse("species X, Y = 100000\n0 -> X @ 1e5\nY -> 0 @ 1")
    runs = gl.ensemble(network, [0.0, 1.0], 20, method="exact_leaping", rng=10)
    made = runs.counts[:, -1, 0] + 100_000 - runs.counts[:, -1, 1]
    assert np.array_equal(runs.n_events, made)


def test_rows_of_events_are_leaps_of_the_path_on_the_grid():
    network, times = lotka_volterra(10**6), np.linspace(0.0, 1.0, 11)
    grid = gl.simulate(network, times, method="exact_leaping", rng=11)
    path = gl.simulate(network, times, method="exact_leaping", rng=11, every_event=True)
    assert np.array_equal([path.at(t) for t in times], grid.counts)
    assert path.n_events == grid.n_events
    assert n_leaps(path) == path.times.size - 1 < path.n_events / 100
    assert (np.diff(path.times) > 0.0).all()
    runs = gl.ensemble(network, times, 3, method="exact_leaping", rng=11)
    assert np.array_equal(runs.replay(2).at(1.0), runs.counts[2, -1])


@pytest.mark.parametrize("changes", [{}, {"stop_when": "F < 45000"}, {"max_events": 100_000}])
def test_stopping_the_kernel_anywhere_never_changes_a_leaping_path(changes):
    network = lotka_volterra(10**5)
    usual, _, _ = outcomes_of(network, 3, **changes)
    for budget in (1, 7, 100):
        stopped, _, stops = outcomes_of(network, 3, budget, **changes)
        assert stops > 10
        is_complete = usual.outcome == COMPLETE
        assert np.array_equal(usual.outcome, stopped.outcome)
        assert np.array_equal(usual.n_events, stopped.n_events)
        assert np.array_equal(usual.counts[is_complete], stopped.counts[is_complete])
        assert np.array_equal(usual.hitting_time, stopped.hitting_time, equal_nan=True)


def test_threads_and_numbers_of_trajectories_do_not_change_a_leaping_path():
    network = lotka_volterra(10**5)
    runs = [
        gl.ensemble(network, 1, n, method="exact_leaping", rng=12, threads=threads).counts[:5]
        for n, threads in ((5, 1), (40, 1), (40, 2))
    ]
    assert runs[0].tobytes() == runs[1].tobytes() == runs[2].tobytes()


def test_leaps_of_these_streams_are_those_of_version_3():
    assert STREAM_VERSION == 3
    runs = gl.ensemble(
        lotka_volterra(10**6), np.linspace(0, 3, 7), 25, method="exact_leaping", rng=2024
    )
    digest = hashlib.sha256(runs.counts.astype("<i8").tobytes())
    digest.update(runs.n_events.astype("<i8").tobytes())
    assert digest.hexdigest()[:24] == "c56ae7fd8f6f88813c4b616d"


def test_a_leap_holds_about_the_square_root_of_the_counts():
    # Events per leap, times 10 for each factor 100 in the counts: a cost that does not depend on
    # a clock.
    length = {}
    for n in (10**6, 10**8, 10**10):
        path = gl.simulate(
            lotka_volterra(n), [0.0, 0.02], method="exact_leaping", rng=13, every_event=True
        )
        length[n] = path.n_events / n_leaps(path)
    assert 7.0 < length[10**8] / length[10**6] < 14.0
    assert 9.0 < length[10**10] / length[10**8] < 11.0
    assert length[10**10] > 40_000


def test_counts_of_1e12_run_to_their_end():
    n = 10**12
    path = gl.simulate(lotka_volterra(n), [0.0, 0.01], method="exact_leaping", rng=14)
    # R' = R - R F / n: half the prey's births are eaten.
    assert path.n_events == pytest.approx(0.01 * 1.25 * n, rel=0.01)
    assert path["R"][-1] == pytest.approx(n * (0.5 + 0.0025), rel=1e-4)


# ---- What it refuses, and what it does not -------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("species X\n0 -> X @ 1 + sin(t)", "depends explicitly on the time t"),
        ("species X\nvariable V = 1\nV' = -V\n0 -> X @ 2", "the variable 'V'"),
        ("species X\n0 -> X @ 1\nat t >= 2: X = 0", "the assignments of events"),
        ("species X = 9\nX -> 0 @ 1 delay 2", "has a delay"),
    ],
)
def test_what_moves_between_events_is_refused_with_the_methods_that_can(text, named):
    with pytest.raises(MethodError, match=r"methods that can: .*direct") as caught:
        gl.simulate(gl.Network.parse(text), 3, method="exact_leaping")
    assert named in str(caught.value)


def test_a_stopping_time_is_refused_by_name():
    with pytest.raises(MethodError, match="depends on the time t; method 'exact_leaping'"):
        gl.simulate(lotka_volterra(1000), 3, method="exact_leaping", stop_when="t > 1 or R < 3")


@pytest.mark.parametrize(
    "options", [{"doubtful": 0}, {"margin": -1}, {"leap_worth": 0}, {"single_steps": 0.5}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        gl.ExactLeaping(**options)


@pytest.mark.statistical
def test_rate_laws_leap_within_bounds_of_their_expression():
    # X => Y @ X/(1 + X/50000) and its mean against the direct method. Power: 1 % is 20 standard
    # errors.
    network = gl.Network.parse("species X = 20000, Y\nX => Y @ X/(1 + X/50000)\nY -> X @ 0.3")
    counts = {
        method: gl.ensemble(network, [0.0, 1.0], 500, method=method, rng=15).counts[:, -1, 1]
        for method in ("direct", "exact_leaping")
    }
    assert stats.ks_2samp(*counts.values()).pvalue > THRESHOLD
    path = gl.simulate(network, [0.0, 1.0], method="exact_leaping", rng=15, every_event=True)
    assert n_leaps(path) > 50


def test_counts_near_the_largest_that_are_told_apart_end_in_an_error():
    network = gl.Network.parse(f"species X = {2**53 - 10**6}\nX -> 2 X @ 1e-9")
    with pytest.raises(gl.SimulationError, match="above 2\\*\\*53"):
        gl.simulate(network, 1.0, method="exact_leaping", rng=1)
