"""Composition and rejection: its groups, its law, and mutants of both."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import chisquare

import gillespy_lite as gl
from gillespy_lite.compilation import compile_network
from gillespy_lite.kernels.event_loop import event_kernel
from gillespy_lite.kernels.jit import inlined
from gillespy_lite.kernels.propensity_groups import N_ACTIVE, N_MEMBERS, groups_of
from gillespy_lite.kernels.walking import BUDGET_SPENT, FIRED
from gillespy_lite.methods import composition_rejection
from gillespy_lite.run_plan import RunPlan, plan_run


def jumping(n_reactions: int, spread: float) -> tuple[gl.Network, np.ndarray]:
    """Return molecules that jump among six places by many reactions, and the rates between them."""
    rng = np.random.default_rng(7)
    rates, lines = np.zeros((6, 6)), ["species A = 60, B, C, D, E, F"]
    for _ in range(n_reactions):
        one, other = rng.choice(6, 2, replace=False)
        constant = round(float(rng.lognormal(0.0, spread)), 6) * 30 / n_reactions
        lines.append(f"{'ABCDEF'[one]} -> {'ABCDEF'[other]} @ {constant!r}")
        rates[one, other] += constant
        rates[one, one] -= constant
    return gl.Network.parse("\n".join(lines)), rates


def place_pvalue(network: gl.Network, rates: np.ndarray) -> float:
    # Every molecule jumps for itself, so at time t each is in place i with the probability that
    # expm(rates t) gives, and 60 molecules of 500 paths are 30,000 draws from that law.
    runs = gl.ensemble(network, [0.0, 0.12], 500, method="composition_rejection", rng=5)
    counts = runs.counts[:, -1].sum(axis=0)
    return float(chisquare(counts, 30_000 * expm(0.12 * rates)[0]).pvalue)


def planned(network: gl.Network, t: float) -> RunPlan:
    """Return a plan of one long run."""
    return plan_run(
        network, [0.0, t], method="composition_rejection", rng=4, seed=None, outputs=None,
        stop_when=None, max_events=None, every_event=False, method_options={},
    )  # fmt: skip


def ring(size: int, spread: float) -> gl.Network:
    """Return a ring of first-order reactions whose groups come and go."""
    rates = np.random.default_rng(3).lognormal(0.0, spread, size)
    head = "species " + ", ".join(f"S{i} = {i % 40}" for i in range(size))
    lines = [f"S{i} -> S{(i + 1) % size} @ {float(rates[i])!r}" for i in range(size)]
    return gl.Network.parse("\n".join([head, *lines]))


@pytest.mark.parametrize(("size", "spread"), [(90, 6.0), (700, 1.0), (4200, 2.0)])
def test_groups_after_many_events_are_those_of_the_present_propensities(size, spread):
    # From 4,000 reactions on members are fetched ahead. Groups outgrow their room on the way.
    network = ring(size, spread)
    plan = planned(network, 1e9)
    walker, output = plan.walker(), plan.output(1)
    arrays = compile_network(network).arrays
    for _ in range(4):
        assert plan.kernel(plan.arrays, plan.request, walker, output, 0, 5_001) == BUDGET_SPENT
        # The last event has changed the state; the groups were made for the state before.
        state = walker.state.astype(float)
        state[:size] -= network.stoichiometry_matrix[:, walker.counter[FIRED]]
        values = arrays.coefficient * state[arrays.first]
        # From 512 reactions on a reaction of a ring has a record of two cells.
        stride = 1 if size < 512 else 2
        groups = groups_of.py_func(walker, stride * size)
        assert np.array_equal(groups.cell[:: 4 * stride], values)
        codes, places = groups.entry[4 :: 8 * stride], groups.entry[5 :: 8 * stride]
        alive = values > 0.0
        assert np.array_equal(codes[~alive], np.full((~alive).sum(), -1))
        assert np.array_equal(codes[alive], 1022 + np.frexp(values[alive])[1])
        n_active = groups.tally[N_ACTIVE]
        assert groups.size[:n_active].sum() == groups.tally[N_MEMBERS] == alive.sum()
        assert (groups.size[:n_active] <= groups.room[:n_active]).all()
        owner = groups.number[codes[alive]]
        found = groups.member[groups.start[owner] + places[alive]]
        assert np.array_equal(found, stride * np.flatnonzero(alive))
        bounds = 2.0 ** np.frexp(values[alive])[1]
        assert 2.0 * groups.level[n_active - 1] == pytest.approx(bounds.sum(), rel=1e-14)


def meeting(n_species: int, n_reactions: int) -> gl.Network:
    """Return sources, decays, dimers and pairs of species, with events that change one to four."""
    rng, lines = np.random.default_rng(11), []
    for j in range(n_reactions):
        a, b, c, d = (f"S{i}" for i in rng.choice(n_species, 4, replace=False))
        sides = [f"0 -> {a}", f"2 {a} -> {b}", f"{a} + {b} -> {c} + {d}", f"{a} -> {b} + {c}"]
        lines.append(f"{sides[j % 4]} @ {[0.5, 0.002, 0.001, 0.05][j % 4]!r}")
    head = "species " + ", ".join(f"S{i} = {i % 30}" for i in range(n_species))
    return gl.Network.parse("\n".join([head, *lines]))


@pytest.mark.parametrize(
    ("network", "width"), [(ring(600, 1.0), 16), (meeting(1500, 4400), 48)], ids=["ring", "meeting"]
)
def test_records_of_a_large_network_give_the_paths_of_its_lists(network, width):
    # More than 4,000 of the second can happen, so that they are fetched ahead.
    plan = planned(network, 4.0)
    assert plan.arrays.records.shape == (network.n_reactions, width)
    paths = []
    for records in (plan.arrays.records, np.zeros((0, 8), dtype=np.int32)):
        walker, output = plan.walker(), plan.output(1)
        arrays = plan.arrays._replace(records=records)
        plan.kernel(arrays, plan.request, walker, output, 0, 2**40)
        paths.append((walker.state, output.n_events[0], walker.stream))
    assert paths[0][1] > 5000
    for one, other in zip(*paths, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.statistical
@pytest.mark.parametrize(("n_reactions", "spread"), [(90, 0.5), (1500, 3.0)])
def test_places_of_independent_molecules_follow_the_law_of_one(n_reactions, spread):
    assert place_pvalue(*jumping(n_reactions, spread)) > 1e-4


@inlined
def _accepts_all(network, walker, groups, cell, height, time):
    return True


@inlined
def _accepts_below_the_whole_bound(network, walker, groups, cell, height, time):
    # As if the bound were half of what it is.
    return 0.5 * height < groups.cell[np.uint64(4) * np.uint64(cell)]


@inlined
def _updates_first_events_only(network, walker, fired, time):
    # Stale bounds: after an event only the reaction that fired has its propensity worked out.
    if fired == network.form.size:
        return composition_rejection.update(network, walker, fired, time)
    groups = composition_rejection.cells_of(network, walker)
    value = composition_rejection.value_of(network, walker, groups, fired, time)
    if composition_rejection.put(groups, fired, value):
        composition_rejection.update_levels(groups)
    return np.int64(-1)


MUTANTS = {
    "accepts all": (
        composition_rejection.update,
        composition_rejection.proposer(_accepts_all),
    ),
    "wrong bound": (
        composition_rejection.update,
        composition_rejection.proposer(_accepts_below_the_whole_bound),
    ),
    "stale bounds": (_updates_first_events_only, composition_rejection.propose),
}  # fmt: skip


@pytest.mark.statistical
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_kernel_does_not_follow_the_law(mutant, monkeypatch):
    # The disk cache knows a kernel by its name: the name must change with the source.
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    name = f"mutant_{mutant.replace(' ', '_')}_{digest}"
    broken = event_kernel(name, *MUTANTS[mutant])
    monkeypatch.setattr(gl.CompositionRejection, "kernel", staticmethod(broken))
    assert place_pvalue(*jumping(90, 0.5)) < 1e-9


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
    with pytest.raises(gl.MethodError, match=r"composition_rejection.*direct"):
        gl.simulate(gl.Network.parse(text), 5, method="composition_rejection")


@pytest.mark.parametrize("text", ["species X = 3", "species X = 3\nX -> 0 @ 0"])
def test_a_network_in_which_nothing_happens_keeps_its_state(text):
    path = gl.simulate(gl.Network.parse(text), 5, method="composition_rejection", rng=1)
    assert (path.counts == 3).all()
