"""What `auto` chooses depends on the network alone, and its pilot touches no stream of a run."""

from __future__ import annotations

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite import method_choice
from gillespy_lite.compilation import compile_network
from gillespy_lite.method_choice import work_of_methods
from gillespy_lite.method_pilot import activity_of


def ring(size: int) -> gl.Network:
    """Return a ring of first-order reactions."""
    head = "species " + ", ".join(f"S{i} = 10" for i in range(size))
    lines = [f"S{i} -> S{(i + 1) % size} @ {1 + i / size!r}" for i in range(size)]
    return gl.Network.parse("\n".join([head, *lines]))


def meetings(n_species: int) -> gl.Network:
    """Return species of which each meets every other, at rate constants of their own."""
    names = [f"S{i}" for i in range(n_species)]
    lines = ["species " + ", ".join(f"{one} = 100" for one in names)]
    pairs = [(a, b) for a in names for b in names if a != b]
    lines += [f"{a} + {b} -> 2 {b} @ {0.01 + k * 1e-5!r}" for k, (a, b) in enumerate(pairs)]
    return gl.Network.parse("\n".join(lines))


def enzymes(n_steps: int) -> gl.Network:
    """Return reversible steps by laws that share a carrier."""
    lines = ["species C = 900", *(f"species S{i} = 200" for i in range(n_steps))]
    for i in range(n_steps):
        a, b = f"S{i}", f"S{(i + 7) % n_steps}"
        lines.append(f"{a} + C => {b} + C @ 9*{a}/(50 + {a} + {b})*C/(500 + C)")
    return gl.Network.parse("\n".join(lines))


@pytest.mark.parametrize(
    ("network", "chosen"),
    [
        # next_reaction is faster for one path, and direct for many.
        (ring(90), "direct"),
        (ring(300), "next_reaction"),
        (ring(4000), "composition_rejection"),
        (meetings(20), "rejection"),
        (enzymes(80), "rejection"),
        (ring(64), "direct"),
    ],
    ids=["small ring", "ring", "large ring", "dense", "laws", "64 reactions"],
)
def test_auto_chooses_by_what_events_do_and_draws_as_the_method_does(network, chosen):
    auto = gl.simulate(network, [0.0, 0.05, 0.1], rng=3)
    assert auto.provenance.method == chosen
    # The pilot took nothing from the streams of the run.
    asked = gl.simulate(network, [0.0, 0.05, 0.1], rng=3, method=chosen)
    assert auto.counts.tobytes() == asked.counts.tobytes()
    assert auto.n_events == asked.n_events
    # Nor does the choice depend on what the run is asked for.
    runs = gl.ensemble(network, [0.0, 1e-6], 3, rng=8, outputs=network.species_names[:1])
    assert runs.provenance.method == chosen
    assert runs.provenance.method_reason == auto.provenance.method_reason


def test_work_is_counted_and_not_timed():
    found = []
    for _ in range(2):
        compiled = compile_network(meetings(12))
        activity = activity_of(compiled)
        assert activity.n_events == 20_000
        assert activity.fired.sum() == pytest.approx(1.0)
        found.append(work_of_methods(compiled, activity))
    assert found[0] == found[1]
    assert min(found[0].values()) > 10.0


def test_the_pilot_runs_once_for_the_same_numbers_and_anew_for_others(monkeypatch):
    pilots = []
    monkeypatch.setattr(
        method_choice, "activity_of", lambda compiled: pilots.append(1) or activity_of(compiled)
    )
    network = ring(90)
    for _ in range(3):
        gl.simulate(network, 1e-3, rng=1)
    assert len(pilots) == 1
    gl.simulate(network.with_initial(S0=500), 1e-3, rng=1)
    assert len(pilots) == 2


def test_a_network_in_which_nothing_happens_has_a_choice():
    lines = ["species X = 3, Y", *(f"Y -> X @ {k}" for k in range(1, 90))]
    path = gl.simulate(gl.Network.parse("\n".join(lines)), 5, rng=1)
    assert (path["X"] == 3).all()


def test_trouble_in_the_pilot_is_told_by_the_run():
    lines = ["species X = 3, Y", *["X -> Y @ 1"] * 90, "Y => X @ 1/(2 - Y)"]
    network = gl.Network.parse("\n".join(lines))
    with pytest.raises(gl.errors.BadPropensityError, match="reaction 91"):
        gl.simulate(network, 5, rng=1)


@pytest.mark.parametrize("n_reactions", [70, 2000])
def test_spread_and_activity_weigh_reactions_by_how_often_they_happen(n_reactions):
    # One reaction makes all events, though each of the others would change many propensities.
    lines = ["species A = 5, B, C = 0", "A -> A + B @ 100"]
    lines += [f"B + C -> C @ {k}" for k in range(1, n_reactions)]
    compiled = compile_network(gl.Network.parse("\n".join(lines)))
    activity = activity_of(compiled)
    assert np.array_equal(np.flatnonzero(activity.fired), [0])
    assert activity.n_events == 20_000
