"""The rejection-based method: its bounds, its law, and mutants of both."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import chisquare
from uncompiled import found_without_compiling

import gillespy_lite as gl
from gillespy_lite.kernels.count_intervals import BoundedNetwork, _width, intervals_at
from gillespy_lite.kernels.event_loop import event_kernel
from gillespy_lite.kernels.jit import inlined
from gillespy_lite.kernels.propensity_groups import N_ACTIVE, groups_of
from gillespy_lite.kernels.walking import BUDGET_SPENT, FIRED
from gillespy_lite.methods import rejection
from gillespy_lite.run_plan import RunPlan, plan_run


def planned(network: gl.Network, t: float = 1e9, **options: float) -> RunPlan:
    """Return a plan of one long run."""
    return plan_run(
        network, [0.0, t], method="rejection", rng=4, seed=None, outputs=None, stop_when=None,
        max_events=None, every_event=False, method_options=options,
    )  # fmt: skip


# Laws of which some have no bound in a wide interval, or no value of their own at 0.
LAWS = [
    "0.3*{a}/(1 + {b})", "hill({a}, 7, 3)*4", "if({a} > {b}, {a} - {b}, 0.5)",
    "2/(0.5 + abs({a} - {b}))", "exp(-{a}/9)*sqrt({b} + 1)", "9/{a}",
    "max({a} - 3, 0)", "log(1 + {a})*({b} < 20)",
]  # fmt: skip


def random_network(seed: int, n_species: int, n_reactions: int) -> gl.Network:
    """Return a network of every form; whatever is taken comes back, so that events go on."""
    rng = np.random.default_rng(seed)
    names = [f"S{i}" for i in range(n_species)]
    lines = ["species " + ", ".join(f"{one} = {rng.integers(0, 60)}" for one in names)]
    for _ in range(n_reactions):
        a, b, d = (names[k] for k in rng.integers(0, n_species, 3))
        rate = round(float(rng.lognormal(0.0, 1.0)), 3) + 0.001
        law = LAWS[rng.integers(len(LAWS))].format(a=a, b=b)
        lines.append(
            [
                f"{a} -> {d} @ {rate!r}",
                f"{a} + {b} -> {b} + {d} @ {rate!r}",
                f"2 {a} -> 2 {d} @ {rate / 10!r}",
                f"3 {a} -> 3 {d} @ {rate / 100!r}",
                f"{a} => {d} @ {law}",
                f"{a} -> {d} @ {law}",
            ][rng.choice(6, p=[0.3, 0.2, 0.1, 0.1, 0.2, 0.1])]
        )
    return gl.Network.parse("\n".join(lines))


def propensities(network: gl.Network, state: np.ndarray) -> np.ndarray:
    """Return the propensities from the expressions of the rates, not from the kernel's arrays."""
    values = dict(zip(network.species_names, map(float, state), strict=True))
    counts = dict(zip(network.species_names, map(int, state), strict=True))
    found = np.zeros(network.n_reactions)
    for j, one in enumerate(network.reactions):
        taken = dict(one.reactants)
        ways = math.prod(math.comb(counts[name], n) for name, n in taken.items())
        if ways > 0:
            rate = float(network.expanded_rate(j).evaluate(values))
            found[j] = rate if one.kind == "propensity" else rate * ways
    return found


def assert_bounds_hold(plan: RunPlan, walker, *, width: float) -> None:
    # The last event has changed the state; bounds were made for the state before.
    network, n = plan.network, plan.network.n_reactions
    state = walker.state[:-1] - network.stoichiometry_matrix[:, walker.counter[FIRED]]
    intervals = intervals_at.py_func(walker.reals, walker.state.size)
    assert (intervals.low[:-1] <= state).all()
    assert (state <= intervals.high[:-1]).all()
    if width == 0.0:
        assert np.array_equal(intervals.low, intervals.high)
    assert not intervals.moved.any()
    groups = groups_of.py_func(walker, n)
    most, least = groups.cell[::4], groups.cell[1::4]
    values = propensities(network, state)
    # The expressions round in another order.
    assert (least * (1.0 - 1e-14) <= values).all()
    assert (values <= most * (1.0 + 1e-14)).all()
    if width == 0.0:
        assert most == pytest.approx(values, rel=1e-14)
    # Each reaction that may happen is a member of the group of its upper bound.
    codes, places = groups.entry[4::8], groups.entry[5::8]
    alive = most > 0.0
    assert (codes[~alive] == -1).all()
    assert np.array_equal(codes[alive], 1022 + np.frexp(most[alive])[1])
    n_active = groups.tally[N_ACTIVE]
    assert groups.size[:n_active].sum() == alive.sum()
    owner = groups.number[codes[alive]]
    assert np.array_equal(groups.member[groups.start[owner] + places[alive]], alive.nonzero()[0])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    n_species=st.integers(2, 12),
    n_reactions=st.integers(1, 60),
    width=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
)
def test_bounds_hold_at_every_state_and_groups_are_those_of_upper_bounds(
    seed, n_species, n_reactions, width
):
    plan = planned(random_network(seed, n_species, n_reactions), width=width)
    walker, output = plan.walker(), plan.output(1)
    for budget in (3, 1, 1, 57, 301):
        status = plan.kernel(plan.arrays, plan.request, walker, output, 0, budget)
        if status != BUDGET_SPENT:  # nothing can happen any more
            break
        assert (walker.state >= 0).all()
        assert_bounds_hold(plan, walker, width=width)


def test_intervals_move_seldom_where_many_reactions_read_a_species():
    # Twelve species of 100 molecules, each read by 22 reactions: 4 W x = 880, so +-8 molecules.
    names = [f"S{i}" for i in range(12)]
    lines = ["species " + ", ".join(f"{name} = 100" for name in names)]
    lines += [f"{a} + {b} -> 2 {b} @ 0.01" for a in names for b in names if a != b]
    plan = planned(gl.Network.parse("\n".join(lines)))
    walker, output = plan.walker(), plan.output(1)
    plan.kernel(plan.arrays, plan.request, walker, output, 0, 20_001)
    intervals = intervals_at.py_func(walker.reals, walker.state.size)
    n_proposals, n_moves = gl.Rejection.counted(walker)
    assert 0.0 < n_moves.sum() < 0.1 * 20_000
    assert 1.0 < n_proposals / 20_000 < 2.5
    assert (intervals.high - intervals.low).max() >= 10.0


@settings(deadline=None, max_examples=200)
@given(cube=st.one_of(st.floats(0.0, 1e21), st.integers(1, 10**6).map(lambda n: float(n**3))))
def test_widths_are_whole_cube_roots_on_any_machine(cube):
    root = int(_width(cube)) + 1
    # Products as doubles make them, in the order of the kernel.
    assert root == 1 or float(root) * root * root <= cube
    assert (root + 1.0) * (root + 1.0) * (root + 1.0) > cube


# ---- Laws and mutants ----------------------------------------------------------------------------


def jumping(n_reactions: int) -> tuple[gl.Network, np.ndarray]:
    """Return molecules that jump among six places by many reactions, and the rates between them."""
    rng = np.random.default_rng(7)
    rates, lines = np.zeros((6, 6)), ["species A = 60, B, C, D, E, F"]
    for _ in range(n_reactions):
        one, other = rng.choice(6, 2, replace=False)
        constant = round(float(rng.lognormal(0.0, 0.5)), 6) * 30 / n_reactions
        lines.append(f"{'ABCDEF'[one]} -> {'ABCDEF'[other]} @ {constant!r}")
        rates[one, other] += constant
        rates[one, one] -= constant
    return gl.Network.parse("\n".join(lines)), rates


def places(n: int, **options: float) -> np.ndarray:
    """Return how many molecules of `n` paths are in each place."""
    runs = gl.ensemble(jumping(300)[0], [0.0, 0.12], n, method="rejection", rng=5, **options)
    return np.asarray(runs.counts[:, -1].sum(axis=0))


def place_pvalue(counts: np.ndarray) -> float:
    # Every molecule jumps for itself, so at time t each is in place i with the probability that
    # expm(rates t) gives, and 60 molecules of n paths are 60 n draws from that law.
    law = expm(0.12 * jumping(300)[1])[0]
    return float(chisquare(counts, counts.sum() * law).pvalue)


@pytest.mark.statistical
@pytest.mark.parametrize("width", [0.0, 1.0, 3.0])
def test_places_of_independent_molecules_follow_the_law_of_one(width):
    assert place_pvalue(places(500, width=width)) > 1e-4


@pytest.mark.statistical
@pytest.mark.parametrize("width", [0.3, 1.0, 6.0])
def test_a_gene_that_represses_itself_follows_its_master_equation(width):
    # 0 => X @ 40/(1 + (X/15)^2) and X -> 0 @ 1 from 30: the birth rate is bounded by intervals.
    network = gl.Network.parse("species X = 30\n0 => X @ 40/(1 + (X/15)^2)\nX -> 0 @ 1")
    n = 121
    birth, death = 40.0 / (1.0 + (np.arange(n) / 15.0) ** 2), np.arange(n, dtype=float)
    generator = np.diag(birth[:-1], 1) + np.diag(death[1:], -1)
    generator -= np.diag(generator.sum(axis=1))
    law = expm(1.5 * generator)[30]
    runs = gl.ensemble(network, [0.0, 1.5], 10_000, method="rejection", rng=6, width=width)
    observed = np.bincount(runs.counts[:, -1, 0], minlength=n)
    cells = law > 1e-3
    seen = np.append(observed[cells], observed[~cells].sum())
    expected = 10_000 * np.append(law[cells], law[~cells].sum())
    assert chisquare(seen, expected).pvalue > 1e-4


@inlined
def _accepts_upper_bounds(network, walker, time):
    # As if every propensity were its upper bound.
    groups = rejection.groups_of(walker, network.form.size)
    while not rejection.is_empty(groups):
        time, reaction, height = rejection._draw(network, walker, groups, time)
        if height < groups.cell[4 * reaction]:
            return time, reaction
    return np.inf, np.int64(-1)


@inlined
def _updates_changed_bounds_only(network, walker, fired, time):
    # Intervals follow the counts, and bounds do not.
    if fired == network.form.size:
        return rejection.update(network, walker, fired, time)
    return np.int64(-1)


MUTANTS = {
    "accepts upper bounds": (rejection.update, _accepts_upper_bounds),
    "never moves": (_updates_changed_bounds_only, _accepts_upper_bounds),
}


@pytest.fixture(scope="module")
def places_of_mutants() -> dict[str, list[int]]:
    # Without compilation, in a process of their own: compiling one of them takes 16 s.
    return found_without_compiling(__file__)


@pytest.mark.statistical
def test_the_sound_kernel_follows_the_law_where_mutants_run(places_of_mutants):
    assert place_pvalue(np.array(places_of_mutants["none"])) > 1e-4


@pytest.mark.statistical
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_kernel_does_not_follow_the_law(mutant, places_of_mutants):
    # From 7,200 draws: 4e-18 and 4e-184.
    assert place_pvalue(np.array(places_of_mutants[mutant])) < 1e-9


def test_a_propensity_outside_its_bounds_is_an_error_and_never_a_sample(monkeypatch):
    # Nothing reads any species, so that bounds stay what they were at the start.
    true_arrays = gl.Rejection.arrays

    def broken(self: gl.Rejection, compiled: object) -> BoundedNetwork:
        arrays = true_arrays(self, compiled)
        return arrays._replace(reader_start=np.zeros_like(arrays.reader_start))

    monkeypatch.setattr(gl.Rejection, "arrays", broken)
    with pytest.raises(gl.SimulationError, match=r"outside the bounds.*please report"):
        gl.ensemble(jumping(300)[0], [0.0, 0.5], 20, method="rejection", rng=5)


# ---- States in which nothing can happen, and what is refused -------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "species X = 3",
        "species X = 3\nX -> 0 @ 0",
        # Bounds are above 0 here, and the propensities are not.
        "species A = 1, B = 40\n2 A + B -> B @ 9",
        "species A = 1\n" + "\n".join(f"2 A -> 0 @ {k}" for k in range(1, 300)),
        "species X = 100\nX => 0 @ X > 200",
        "species X = 100\n" + "\n".join(f"X => 0 @ {k}*max(0, X - {k})" for k in range(100, 190)),
    ],
)
@pytest.mark.parametrize("width", [1.0, 30.0])
def test_a_state_in_which_nothing_can_happen_lasts(text, width):
    network = gl.Network.parse(text)
    path = gl.simulate(network, 1e9, method="rejection", rng=1, width=width)
    assert (path.counts == network.initial_state).all()
    assert path.n_events == 0


def test_a_law_without_a_value_at_a_state_is_an_error_there():
    # 1/(X - 5) has no bound around 5, which the death of X leads to.
    network = gl.Network.parse("species X = 30, Y = 9\nX -> 0 @ 1\nY => Y @ 1 + 1/(X - 5)^2")
    with pytest.raises(gl.errors.BadPropensityError, match=r"reaction 2.*is inf.*X = 5"):
        gl.simulate(network, 50, method="rejection", rng=1)


def test_propensities_whose_bounds_have_an_infinite_sum_are_followed_all_the_same():
    # Twice as many molecules would be an infinite propensity; there are never so many.
    lines = ["species X = 8, Y", *(["X => Y @ 2e306*X"] * 10)]
    network = gl.Network.parse("\n".join(lines))
    path = gl.simulate(network, [0.0, 1.0], method="rejection", rng=1, width=30)
    assert path["Y"][-1] == 8


@pytest.mark.parametrize("width", [-1, 101, float("nan"), "wide", True])
def test_a_width_out_of_range_is_refused(width):
    with pytest.raises(gl.MethodError, match="width of method 'rejection' must be a number from"):
        gl.Rejection(width=width)


@pytest.mark.parametrize(
    "text",
    [
        "species X\n0 -> X @ 1 + sin(t)",
        "species X = 3\nvariable V = 1\nV' = -V\nX -> 0 @ V",
        "species X = 3\nX -> 0 @ 1\nat t >= 1: X = 9",
        "species X = 3\nX -> 0 @ 1 delay 2",
    ],
)
def test_what_moves_between_jumps_is_refused_with_methods_that_can(text):
    with pytest.raises(gl.MethodError, match=r"rejection.*direct"):
        gl.simulate(gl.Network.parse(text), 5, method="rejection")


# What the process of the mutants runs.
if __name__ == "__main__":
    found = {"none": places(120).tolist()}
    for name, parts in MUTANTS.items():
        gl.Rejection.kernel = staticmethod(event_kernel("mutant", *parts))
        found[name] = places(120).tolist()
    print(json.dumps(found))
