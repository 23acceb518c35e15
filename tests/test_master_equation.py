"""The master equation solved with a bound: against closed laws, dense exponentials and samples."""

from __future__ import annotations

import itertools
import math
import signal
import threading

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.master_equation import StateSearch, solving, state_space
from gillespy_lite.master_equation.poisson_weights import poisson_weights
from gillespy_lite.models import exact_laws

TOLERANCE = 1e-8
# Of sums over a law in a test itself, and of what the oracles round.
ROUNDING = 2e-13


def difference(law: gl.Distribution, t: float, states: np.ndarray, exact: np.ndarray) -> float:
    """Return the sum of absolute differences from an exact law on these (different) states."""
    known = {
        tuple(state): p
        for state, p in zip(law.states_at(t).tolist(), law.probabilities_at(t), strict=True)
    }
    total = math.fsum(
        abs(p - known.pop(tuple(state), 0.0))
        for state, p in zip(states.tolist(), exact.tolist(), strict=True)
    )
    return total + math.fsum(known.values()) + max(0.0, 1.0 - math.fsum(exact.tolist()))


def excess(law: gl.Distribution, t: float, states: np.ndarray, exact: np.ndarray) -> float:
    """Return by how much probabilities exceed the exact ones, all together."""
    known = {
        tuple(state): p
        for state, p in zip(law.states_at(t).tolist(), law.probabilities_at(t), strict=True)
    }
    return math.fsum(
        max(0.0, known.pop(tuple(state), 0.0) - p)
        for state, p in zip(states.tolist(), exact.tolist(), strict=True)
    ) + math.fsum(known.values())


def within_its_bound(law: gl.Distribution, t: float, states, exact) -> bool:
    row = int(np.flatnonzero(law.times == t)[0])
    return (
        difference(law, t, states, exact) <= law.error_bound[row] + ROUNDING
        and excess(law, t, states, exact) <= law.excess_bound[row] + ROUNDING
        and law.error_bound[row] <= law.tolerance
    )


def counts_to(n: int) -> np.ndarray:
    return np.arange(n + 1)[:, None]


METHODS = ["uniformisation", "krylov"]


# Exact laws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_births_and_deaths_are_within_the_bound_of_their_poisson_law(method):
    # Law A: Poisson(20 (1 - exp(-t/2))), by 200 arrivals at most.
    law = gl.solve_master_equation(
        models.birth_death(), [0, 1, 3, 40], tolerance=TOLERANCE, method=method
    )
    for t in (1.0, 3.0, 40.0):
        exact = stats.poisson(20.0 * -math.expm1(-0.5 * t)).pmf(np.arange(201))
        assert within_its_bound(law, t, counts_to(200), exact)
    assert law.mean("X")[2] == pytest.approx(15.537396797, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_decay_is_within_the_bound_of_its_binomial_law(method):
    network = gl.Network.parse("species X = 40\nX -> 0 @ 0.7")
    law = gl.solve_master_equation(network, [0, 0.5, 2], tolerance=TOLERANCE, method=method)
    for t in (0.5, 2.0):
        exact = stats.binom(40, math.exp(-0.7 * t)).pmf(np.arange(41))
        assert within_its_bound(law, t, counts_to(40), exact)


@pytest.mark.parametrize("method", METHODS)
def test_isomers_are_within_the_bound_of_their_binomial_law(method):
    network = gl.Network.parse("species A = 60, B\nA <-> B @ 2, 3")
    law = gl.solve_master_equation(network, [0, 0.1, 5], tolerance=TOLERANCE, method=method)
    states = np.stack([np.arange(61), 60 - np.arange(61)], axis=-1)
    for t in (0.1, 5.0):
        share = 0.6 + 0.4 * math.exp(-5.0 * t)
        assert within_its_bound(law, t, states, stats.binom(60, share).pmf(np.arange(61)))
    assert law.n_states_at(5.0) <= 61


@pytest.mark.parametrize("method", METHODS)
def test_dimerisation_has_the_tabulated_digits(method):
    law = gl.solve_master_equation(
        models.dimerisation(), [0, 1, 10, 50], tolerance=TOLERANCE, method=method
    )
    for t, mean, std in (
        (1, 91.031766, 3.862504),
        (10, 52.214271, 5.511760),
        (50, 28.542298, 4.789331),
    ):
        row = int(np.flatnonzero(law.times == t)[0])
        assert law.mean("P")[row] == pytest.approx(mean, abs=2e-6)
        assert law.std("P")[row] == pytest.approx(std, abs=2e-6)


def test_telegraph_in_the_long_run_is_within_the_bound_of_beta_poisson():
    # Law E; at t = 120 what is left of the start is exp(-0.4*120) = 1e-21.
    law = gl.solve_master_equation(models.telegraph(), [0, 120], tolerance=TOLERANCE)
    assert law.mean("M")[-1] == pytest.approx(9.375, abs=1e-5)
    assert law.var("M")[-1] == pytest.approx(47.0424107, abs=2e-4)
    assert law.marginal("M")[0] == pytest.approx(0.1840027, abs=6e-8)


def test_reversible_binding_in_the_long_run_is_the_restricted_poisson_product():
    # Law F: A + C = 30, B + C = 20, weights (k/g)^C / (A! B! C!).
    network = gl.Network.parse("species A = 30, B = 20, C\nA + B -> C @ 0.01\nC -> A + B @ 0.1")
    law = gl.solve_master_equation(network, [0, 400], tolerance=TOLERANCE)
    c = np.arange(21)
    logarithm = c * math.log(0.1) - np.array(
        [math.lgamma(31 - k) + math.lgamma(21 - k) + math.lgamma(k + 1) for k in c]
    )
    exact = np.exp(logarithm - logarithm.max())
    states = np.stack([30 - c, 20 - c, c], axis=-1)
    assert difference(law, 400.0, states, exact / exact.sum()) < law.error_bound[-1] + 1e-12
    assert law.mean("C")[-1] == pytest.approx(12.786366608, abs=1e-7)
    assert law.var("C")[-1] == pytest.approx(3.690825436, abs=2e-7)


def test_schlogl_has_the_tabulated_digits():
    law = gl.solve_master_equation(models.schlogl(), [0, 4], tolerance=TOLERANCE)
    assert law.mean("X")[-1] == pytest.approx(309.8847, abs=6e-5)
    assert law.std("X")[-1] == pytest.approx(216.0086, abs=6e-5)
    assert law.probability("X < 300") == pytest.approx(0.531641, abs=6e-7)
    assert law.error_bound[-1] <= TOLERANCE


# The bound ---------------------------------------------------------------------------------------


def random_network(seed: int) -> gl.Network:
    """Return a small network whose counts stay below 7 molecules in all."""
    rng = np.random.default_rng([seed, 5])
    n = int(rng.integers(2, 4))
    names = "ABC"[:n]
    lines = ["species " + ", ".join(f"{x} = {rng.integers(0, 3)}" for x in names)]
    for _ in range(int(rng.integers(2, 7))):
        kind, (x, y) = int(rng.integers(0, 5)), rng.choice(list(names), 2, replace=False)
        c = float(np.exp(rng.uniform(-3.0, 3.0)))
        total = "+".join(names)
        lines.append(
            [
                f"{x} -> {y} @ {c}",
                f"0 => {x} @ if({total} < 6, {c}, 0)",
                f"{x} -> 0 @ {c}",
                f"2 {x} -> {y} @ {c}",
                f"{x} => {y} @ {c}*{x}/(1 + {y})",
            ][kind]
        )
    return gl.Network.parse("\n".join(lines))


def dense_law(network: gl.Network, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Return all states and the law at `t` by nothing of the package's kernels."""
    numbered = exact_laws._reachable_states(network, {})
    matrix = exact_laws._generator(network, numbered).toarray()
    return np.array(list(numbered)), expm(matrix * t)[:, 0]


def worst_ratio(method: str, seeds: range) -> float:
    """Return the largest error of random networks as a share of its bound."""
    worst = 0.0
    for seed in seeds:
        network, tolerance = random_network(seed), 10.0 ** -(4 + seed % 9)
        law = gl.solve_master_equation(network, [0, 0.3, 2], tolerance=tolerance, method=method)
        for t in (0.3, 2.0):
            states, exact = dense_law(network, t)
            bound = law.error_at(t) + ROUNDING
            worst = max(worst, difference(law, t, states, exact) / bound)
            worst = max(worst, excess(law, t, states, exact) / (law.excess_bound[-1] + ROUNDING))
            assert law.error_at(t) <= tolerance
    return worst


@pytest.mark.parametrize("method", METHODS)
def test_the_bound_holds_for_random_networks_against_dense_exponentials(method):
    assert 0.01 < worst_ratio(method, range(50)) <= 1.0


def test_a_bound_that_forgets_what_is_given_up_is_noticed(monkeypatch):
    # The mutant believes that all probability is still there.
    monkeypatch.setattr(solving._Run, "bound", lambda run: 2.0 * run.excess)
    assert worst_ratio("uniformisation", range(50)) > 10.0


def test_a_growth_that_forgets_the_sink_is_noticed(monkeypatch):
    # The mutant's states at the edge of the set keep what should flow out of it.
    real = state_space.gather_rates

    def closed(source, leaves, rates, rate, outflow, leak):
        real(source, leaves, rates, rate, outflow, leak)
        outflow -= leak

    monkeypatch.setattr(state_space, "gather_rates", closed)
    law = gl.solve_master_equation(models.birth_death(), [0, 3], tolerance=TOLERANCE)
    exact = stats.poisson(20.0 * -math.expm1(-1.5)).pmf(np.arange(201))
    assert excess(law, 3.0, counts_to(200), exact) > 100.0 * law.excess_bound[-1]


def test_a_series_that_ends_early_without_saying_so_is_noticed(monkeypatch):
    real = solving.poisson_weights

    def renormalised(mean, missing):
        weights = real(mean, 1e-3)
        return weights / weights.sum()

    monkeypatch.setattr(solving, "poisson_weights", renormalised)
    law = gl.solve_master_equation(models.birth_death(), [0, 3], tolerance=TOLERANCE)
    exact = stats.poisson(20.0 * -math.expm1(-1.5)).pmf(np.arange(201))
    assert difference(law, 3.0, counts_to(200), exact) > 100.0 * law.error_bound[-1]


@pytest.mark.parametrize("seed", range(0, 50, 10))
def test_the_generator_is_that_of_an_independent_program(seed):
    network = random_network(seed)
    space = StateSearch(network).reachable()
    numbered = exact_laws._reachable_states(network, {})
    place = space.index_of(list(numbered))
    assert sorted(place) == list(range(space.n_states))
    ours = space.generator().to_scipy().toarray()[np.ix_(place, place)]
    theirs = exact_laws._generator(network, numbered).toarray()
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)
    values = np.random.default_rng(seed).random(space.n_states)
    generator = space.generator()
    matrix = generator.to_scipy()
    np.testing.assert_allclose(generator.apply(values), matrix @ values, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        generator.apply_transposed(values), matrix.T @ values, rtol=1e-10, atol=1e-12
    )


def test_toggle_switch_agrees_with_a_stiff_solver_and_with_expm_multiply():
    network = models.toggle_switch(alpha=8.0)
    law = gl.solve_master_equation(network, [0, 2], tolerance=1e-8)
    space = StateSearch(network).space(
        np.stack(np.meshgrid(np.arange(60), np.arange(40), indexing="ij"), -1).reshape(-1, 2)
    )
    matrix = space.generator().to_scipy().tocsr()
    start = np.zeros(space.n_states)
    start[space.index_of(network.initial_state[None])] = 1.0
    exact = expm_multiply(matrix * 2.0, start)
    assert difference(law, 2.0, space.states, exact) <= law.error_bound[-1] + 1e-11
    done = integrate.solve_ivp(
        lambda t, p: matrix @ p, (0, 2), start, method="BDF", jac=matrix, rtol=1e-7, atol=1e-10
    )
    assert difference(law, 2.0, space.states, done.y[:, -1]) < 1e-5


def test_poisson_weights_leave_out_what_they_say():
    for mean in (1e-3, 0.7, 30.0, 5000.0):
        for missing in (1e-3, 1e-9, 1e-15):
            weights = poisson_weights(mean, missing)
            exact = stats.poisson(mean).pmf(np.arange(weights.size))
            assert (weights <= exact * (1.0 + 1e-10) + 1e-300).all()
            assert 1.0 - weights.sum() <= 1.5 * missing + 1e-14


# Rates that depend on t, events ------------------------------------------------------------------

SEASONS = """
species X
param k = 20, w = 1.3, g = 0.7
0 -> X @ k*(1 + sin(w*t))
X -> 0 @ g
"""


def test_arrivals_with_the_seasons_are_within_the_bound_of_their_poisson_law():
    # Law H.
    law = gl.solve_master_equation(gl.Network.parse(SEASONS), [0, 1, 5, 10], tolerance=TOLERANCE)
    for t, mean in ((1.0, 23.303489397), (5.0, 17.802927625), (10.0, 20.431811099)):
        exact = stats.poisson(mean).pmf(np.arange(301))
        # The mean is given to 1e-9 only.
        assert difference(law, t, counts_to(300), exact) <= law.error_at(t) + 1e-9
        assert law.error_at(t) <= TOLERANCE


def test_rates_that_jump_and_events_at_fixed_times_are_followed():
    network = gl.Network.parse(
        "species X\n0 -> X @ if(t < 2.5, 10, 0)\nX -> 0 @ 0.5\nat t >= 4: X = X + 5"
    )
    law = gl.solve_master_equation(network, [0, 2.5, 3.9999999, 4, 6], tolerance=TOLERANCE)
    mean = 20.0 * -math.expm1(-1.25)
    late = mean * math.exp(-0.75)
    expected = [0.0, mean, mean * math.exp(-0.5 * 1.4999999), late + 5.0]
    np.testing.assert_allclose(law.mean("X")[:4], expected, atol=2e-7)
    shifted = np.zeros(301)
    shifted[5:] = stats.poisson(late).pmf(np.arange(296))
    assert within_its_bound(law, 4.0, counts_to(300), shifted)
    survived = np.convolve(
        stats.poisson(late * math.exp(-1.0)).pmf(np.arange(200)),
        stats.binom(5, math.exp(-1.0)).pmf(np.arange(6)),
    )
    assert within_its_bound(law, 6.0, counts_to(204), survived)


def test_events_of_one_instant_go_in_every_order_or_by_priority():
    text = "species X = 3\nX -> 0 @ 0\nat t >= 1{}: X = 2*X\nat t >= 1{}: X = X + 1"
    law = gl.solve_master_equation(gl.Network.parse(text.format("", "")), [0, 1, 2])
    assert law.probability({"X": 7}) == pytest.approx(0.5)
    assert law.probability({"X": 8}) == pytest.approx(0.5)
    network = gl.Network.parse(text.format(", priority 1", ", priority 2"))
    assert gl.solve_master_equation(network, [0, 1, 2]).probability({"X": 8}) == pytest.approx(1)


def test_an_event_that_makes_a_fraction_is_refused_with_the_state():
    network = gl.Network.parse("species X = 3\nX -> 0 @ 0.1\nat t >= 1: X = X/2")
    with pytest.raises(gl.SimulationError, match=r"sets X to 0\.5 at t = 1 in the state X = 1"):
        gl.solve_master_equation(network, [0, 2])


# Where it starts ---------------------------------------------------------------------------------


def test_it_starts_from_counts_from_a_law_and_from_where_another_ended():
    network = models.birth_death()
    exact = stats.poisson(20.0 * -math.expm1(-1.5)).pmf(np.arange(201))
    first = gl.solve_master_equation(network, [0, 1], tolerance=1e-9)
    second = gl.solve_master_equation(network, [1, 3], tolerance=TOLERANCE, initial=first)
    assert difference(second, 3.0, counts_to(200), exact) <= second.error_bound[-1] <= TOLERANCE
    seven = gl.solve_master_equation(network, [0, 3], initial={"X": 7})
    same = gl.solve_master_equation(network.with_initial(X=7), [0, 3])
    assert np.array_equal(seven.probabilities, same.probabilities)
    mixed = gl.solve_master_equation(network, [0, 3], initial={(0,): 0.25, (7,): 0.75})
    zero = gl.solve_master_equation(network, [0, 3])
    mean = 0.25 * zero.mean("X")[-1] + 0.75 * seven.mean("X")[-1]
    assert mixed.mean("X")[-1] == pytest.approx(mean, abs=1e-4)
    # Two conservation classes at once.
    isomers = gl.Network.parse("species A = 2, B\nA <-> B @ 1, 1")
    classes = gl.solve_master_equation(isomers, [0, 1], initial={(2, 0): 0.5, (3, 0): 0.5})
    assert classes.n_states_at() == 7


@pytest.mark.parametrize(
    ("initial", "error", "message"),
    [
        (3, TypeError, "counts by name"),
        ({(1, 2): 1.0}, gl.NetworkError, "must be 1 counts"),
        ({(-1,): 1.0}, gl.NetworkError, "0 or more"),
        ({(1,): 0.4}, ValueError, "add up to 0.4"),
        ({(1,): -0.4}, ValueError, "is -0.4"),
        ({"Y": 3}, gl.NetworkError, "Y"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(initial, error, message):
    with pytest.raises(error, match=message):
        gl.solve_master_equation(models.birth_death(), 3, initial=initial)


# What is refused, and what ends early ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species X\nvariable V = 1\nV' = V\n0 -> X @ V", "'V' is a variable"),
        ("species X\n0 -> X @ 1, delay 3", "delay"),
        ("species X\n0 -> X @ 1\nwhen X > 5: X = 0", "reads 'X'"),
    ],
)
def test_networks_without_a_master_equation_are_refused(text, message):
    try:
        network = gl.Network.parse(text)
    except gl.ParseError:
        network = gl.Network.parse(text.replace("@ 1, delay 3", "@ 1 delay 3"))
    with pytest.raises(gl.MethodError, match=message):
        gl.solve_master_equation(network, 3)


@pytest.mark.parametrize("tolerance", [0, -1e-3, 1.0, math.nan])
def test_a_tolerance_that_cannot_be_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance must be more than 0 and less than 1"):
        gl.solve_master_equation(models.birth_death(), 3, tolerance=tolerance)


def test_unknown_options_and_methods_are_refused():
    with pytest.raises(gl.MethodError, match="uniformisation, krylov"):
        gl.solve_master_equation(models.birth_death(), 3, method="expm")
    with pytest.raises(TypeError, match="must be a Network"):
        gl.solve_master_equation("species X", 3)
    with pytest.raises(ValueError, match="max_states must be a whole number, 1 or more"):
        gl.solve_master_equation(models.birth_death(), 3, max_states=0)


def test_growth_without_end_stops_with_the_best_bound():
    network = gl.Network.parse("species X = 2\n2 X -> 3 X @ 1")
    with pytest.warns(gl.IncompleteWarning, match="max_states = 300"):
        law = gl.solve_master_equation(network, [0, 0.5, 3], max_states=300)
    assert law.stopped == "max_states"
    assert law.n_states_at() <= 300
    # P(no event by t) = exp(-t) is right all the same; X = 3 follows from X = 2: 3 per unit time.
    assert law.probability({"X": 2}) == pytest.approx(math.exp(-3.0), abs=1e-6)
    exact = (math.exp(-0.5) - math.exp(-1.5)) / 2.0
    assert law.probability({"X": 3}, 0.5) == pytest.approx(exact, abs=1e-6)
    assert law.error_bound[-1] > 1e-6
    assert law.probability("X > 0") + law.error_bound[-1] >= 1.0


def test_too_few_states_for_a_spreading_law_are_said_with_a_true_bound():
    with pytest.warns(gl.IncompleteWarning, match="max_states = 20"):
        law = gl.solve_master_equation(models.birth_death(), [0, 3], max_states=20)
    exact = stats.poisson(20.0 * -math.expm1(-1.5)).pmf(np.arange(201))
    assert 1e-3 < difference(law, 3.0, counts_to(200), exact) <= law.error_bound[-1]


def test_a_tolerance_below_rounding_is_said_with_a_true_bound():
    with pytest.warns(gl.IncompleteWarning, match="rounding"):
        law = gl.solve_master_equation(models.birth_death(), [0, 3], tolerance=1e-15)
    assert law.stopped == "rounding"
    assert law.error_bound[-1] < 1e-12


def test_a_negative_rate_names_reaction_and_state():
    network = gl.Network.parse("species X = 5\nX => 0 @ X - 3.5")
    with pytest.raises(
        gl.errors.BadPropensityError, match=r"'X - 3\.5' of reaction 1 .* X = 3"
    ) as it:
        gl.solve_master_equation(network, [0, 1])
    assert it.value.result is None or it.value.result.stopped == "error"


def test_time_limits_progress_and_ctrl_c_keep_what_there_is():
    seen: list[tuple[float, float]] = []
    gl.solve_master_equation(models.birth_death(), 3, progress=lambda *one: seen.append(one))
    assert seen[-1] == (3.0, 3.0)
    assert [one[0] for one in seen] == sorted(one[0] for one in seen)
    network = models.schlogl()
    with pytest.warns(gl.IncompleteWarning, match="time limit"):
        law = gl.solve_master_equation(network, np.linspace(0, 4, 41), timeout=0.02)
    assert 1 <= law.n_times < 41
    assert law.stopped == "timeout"

    def interrupt(done: float, total: float) -> None:
        if done > 0.5:
            signal.raise_signal(signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(gl.Interrupted) as caught:
        gl.solve_master_equation(network, np.linspace(0, 4, 41), progress=interrupt)
    assert 5 <= caught.value.result.n_times < 41
    assert caught.value.result.error_bound.max() <= 1e-6


# State spaces ------------------------------------------------------------------------------------


def test_keys_grow_with_the_counts_and_many_species_have_hashed_ones():
    network = gl.Network.parse("species X\n0 -> X @ 1000")
    law = gl.solve_master_equation(network, [0, 1])
    assert law.mean("X")[-1] == pytest.approx(1000.0, abs=1e-3)
    names = [f"S{i}" for i in range(24)]
    lines = [f"species {names[0]} = 2, " + ", ".join(names[1:])]
    lines += [f"{a} -> {b} @ 1" for a, b in itertools.pairwise(names)]
    lines += [f"0 -> {names[-1]} @ 0.01"]
    many = gl.solve_master_equation(gl.Network.parse("\n".join(lines)), [0, 0.5], tolerance=1e-3)
    assert not StateSearch(many.network).space(many.states_at()).is_exact
    assert many.mean("S0")[-1] == pytest.approx(2.0 * math.exp(-0.5), abs=2e-3)


def test_conservation_laws_reduce_the_keys():
    search = StateSearch(models.michaelis_menten())
    assert search._coordinates.size == 2
    assert search.n_channels == 3
    with pytest.raises(gl.MethodError, match="more than max_states = 100"):
        search.reachable(100)


# The result --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def joint() -> gl.Distribution:
    network = gl.Network.parse(
        "species A = 8, B, C = 2\nobserve S = A + 2*B\nA <-> B @ 2, 3\nC -> 0 @ 1"
    )
    return gl.solve_master_equation(network, [0, 0.2, 1], tolerance=1e-10)


def test_laws_and_numbers_of_a_distribution_follow_from_one_another(joint):
    a = stats.binom(8, 0.6 + 0.4 * math.exp(-5.0))
    c = stats.binom(2, math.exp(-1.0))
    np.testing.assert_allclose(joint.marginal("A"), a.pmf(np.arange(9)), atol=1e-10)
    table = joint.table(["A", "C"])
    np.testing.assert_allclose(table, np.outer(a.pmf(range(9)), c.pmf(range(3))), atol=1e-10)
    assert joint.mean("A")[-1] == pytest.approx(a.mean())
    assert joint.var("A")[-1] == pytest.approx(a.var())
    assert joint.moment("A", 3, central=True)[-1] == pytest.approx(a.stats("s") * a.std() ** 3)
    assert joint.mean("S")[-1] == pytest.approx(16.0 - a.mean())
    covariance = joint.covariance(["A", "B", "C"])
    assert covariance[0, 1] == pytest.approx(-a.var())
    assert covariance[0, 2] == pytest.approx(0.0, abs=1e-9)
    assert joint.quantile("A", 0.5) == a.ppf(0.5)
    assert joint.entropy(["A"]) == pytest.approx(a.entropy(), abs=1e-8)
    assert joint.mutual_information("A", "B") == pytest.approx(a.entropy(), abs=1e-8)
    assert joint.mutual_information("A", "C") == pytest.approx(0.0, abs=1e-8)
    assert joint.probability("A >= 5 and C == 0") == pytest.approx(a.sf(4) * c.pmf(0), abs=1e-9)
    given = joint.given("A >= 5")
    np.testing.assert_allclose(given.marginal("A")[5:], a.pmf(np.arange(5, 9)) / a.sf(4), atol=1e-8)
    assert given.error_bound[-1] >= joint.error_bound[-1]
    with pytest.raises(ValueError, match="has no probability at t = 0"):
        joint.given("A > 8")
    with pytest.raises(ValueError, match="no recorded time"):
        joint.marginal("A", 0.5)
    with pytest.raises(KeyError, match="there is no species"):
        joint.marginal("Q")
    with pytest.raises(ValueError, match="order must be"):
        joint.moment("A", -1)


def test_samples_of_a_distribution_have_its_law(joint):
    # Power: shifted by one count p < 1e-300.
    drawn = joint.sample(20_000, rng=3)
    observed = np.bincount(drawn[:, 0], minlength=9)
    expected = joint.marginal("A") / joint.marginal("A").sum() * drawn.shape[0]
    kept = expected > 5.0
    statistic = ((observed - expected)[kept] ** 2 / expected[kept]).sum()
    assert stats.chi2(int(kept.sum())).sf(statistic) > 1e-4
    assert np.array_equal(drawn, joint.sample(20_000, rng=3))
    assert (drawn[:, 0] + drawn[:, 1] == 8).all()


@pytest.mark.statistical
def test_ensembles_have_the_law_that_is_solved_for():
    # Power: with a decay rate 3 % too high p < 1e-6.
    network = models.toggle_switch(alpha=8.0)
    law = gl.solve_master_equation(network, [0, 2], tolerance=1e-8).marginal("U")
    counts = gl.ensemble(network, [0.0, 2.0], 20_000, rng=5).counts[:, -1, 0]
    observed = np.bincount(counts, minlength=law.size)[: law.size]
    expected = law / law.sum() * counts.size
    kept = expected >= 10.0
    statistic = ((observed - expected)[kept] ** 2 / expected[kept]).sum()
    assert stats.chi2(int(kept.sum())).sf(statistic) > 1e-4


def test_a_distribution_is_saved_shown_and_handed_on(joint, tmp_path):
    joint.save(tmp_path / "law.npz")
    again = gl.load(tmp_path / "law.npz")
    assert isinstance(again, gl.Distribution)
    assert np.array_equal(again.probabilities, joint.probabilities)
    assert np.array_equal(again.states_at(0.2), joint.states_at(0.2))
    assert again.provenance.method == joint.provenance.method
    assert "error at most" in repr(joint)
    assert "first mean" in joint.summary()
    data = joint.to_xarray()
    assert data["probability"].sum("state").values == pytest.approx(np.ones(3))
    row = data["probability"].sel(time=1.0)
    assert float((row * data["A"]).sum()) == pytest.approx(joint.mean("A")[-1])
    with pytest.raises(ValueError, match="read-only"):
        joint.probabilities[0] = 1.0


def test_plots_of_a_distribution_show_it(joint):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    runs = gl.ensemble(joint.network, joint.times, 200, rng=1)
    (line, *_) = joint.plot(name="A").lines
    np.testing.assert_allclose(line.get_ydata(), joint.marginal("A")[line.get_xdata()])
    assert joint.plot("law", name="A", t=0.2, samples=runs).get_xlabel().startswith("A at t = 0.2")
    assert joint.plot("heatmap", names=["A", "C"]).get_ylabel() == "C (molecules)"
    assert joint.plot("evolution", name="B").get_ylabel() == "B (molecules)"
    assert joint.plot("network") is not None
    with pytest.raises(ValueError, match="needs name="):
        joint.plot()
    with pytest.raises(ValueError, match="needs names="):
        joint.plot("heatmap", names=["A"])
    pyplot.close("all")


def test_more_than_rounding_allows_is_answered_soon_and_said():
    network = gl.Network.parse(
        "species X = 250\n2 X -> 3 X @ 0.03\n3 X -> 2 X @ 1e-4\n0 -> X @ 200\nX -> 0 @ 3.5"
    )
    with pytest.warns(gl.IncompleteWarning, match="rounding adds up"):
        law = gl.solve_master_equation(network, [0.0, 4.0], tolerance=1e-11)
    assert law.stopped == "rounding"
    assert 1e-11 < law.error_bound[-1] < 1e-9
    # The set did not grow in vain: at tolerance 1e-9 it has some 830 states.
    assert law.n_states_at() < 1_000
    assert law.mean("X")[-1] == pytest.approx(309.8847, abs=1e-4)


def test_a_law_that_spreads_over_too_many_states_is_given_up():
    network = gl.Network.parse("species X\n0 -> X @ 100")
    with pytest.warns(gl.IncompleteWarning, match=r"more than max_states = 200 states"):
        law = gl.solve_master_equation(network, 10.0, max_states=200, give_up_at=0.1)
    assert law.stopped == "max_states"
    # The times before are there: a bound of 0.1 is passed when the mean is near 200.
    assert 1.0 < law.times[-1] < 2.5
    assert law.error_bound[-1] <= 0.1
    with pytest.warns(gl.IncompleteWarning):
        whole = gl.solve_master_equation(network, 10.0, max_states=200)
    assert whole.n_times == 101
    assert whole.error_bound[-1] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="give_up_at must be an error bound"):
        gl.solve_master_equation(network, 10.0, give_up_at=0.0)


def test_a_law_says_that_it_took_no_random_numbers():
    law = gl.solve_master_equation(models.birth_death(), 1.0)
    assert law.provenance.entropy is None
    assert "no random numbers" in law.summary()
