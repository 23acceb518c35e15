"""Kernels that are generated for one network: the same paths as the table-driven kernel's, bit by
bit, whatever is asked for and wherever they are stopped; nothing that a user typed in their text;
and files that can never be the reason why a run fails.
"""

from __future__ import annotations

import ast
import copy
import itertools
import json
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

import gillespy_lite as gl
from gillespy_lite.burst_text import burst_source
from gillespy_lite.compilation import compile_network
from gillespy_lite.kernels import random
from gillespy_lite.kernels.draw_ring import RING, RING_SIZE, fill_ring, pass_event, return_draws
from gillespy_lite.kernels.generated import load_module, module_path
from gillespy_lite.kernels.lanes import LEFT_OVER
from gillespy_lite.kernels.walking import (
    ALL_DONE,
    BAD_PROPENSITY,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    EVENTS_FULL,
    IN_TROUBLE,
    LARGEST_COUNT,
    N_BUFFERED,
    N_EVENTS,
    N_RECORDED,
    OVERFLOW,
    TIME,
    TROUBLE,
)
from gillespy_lite.lane_burst_text import lane_burst_source
from gillespy_lite.lane_compilation import compile_lanes, lane_walker, why_no_lanes
from gillespy_lite.methods import METHODS
from gillespy_lite.models import MODELS
from gillespy_lite.rate_laws import OPERATIONS, Call, Number, Symbol
from gillespy_lite.reaction_text import MAX_OPERATIONS
from gillespy_lite.run_plan import RunPlan, plan_run
from gillespy_lite.specialisation import (
    SpecialisedKernel,
    SpecialisedLanes,
    can_specialise,
    compile_seconds_estimate,
    specialised_kernel,
    specialised_lanes,
)

MIXED = """
species S = 301, E = 120, ES, P, G = 1
param kf = 0.00166, kr = 1e-4, kcat = 0.1, Vmax = 2, K = 40
observe total = S + ES + P
observe share = P/(1 + total)
S + E <-> ES @ kf, kr
ES -> E + P @ kcat
0 -> S @ 20
2 P -> 0 @ 1e-3
P + 2 S -> P @ 1e-7
G -> 0 @ 0.05*(1 + P)
0 -> G @ 0.1
P => S @ Vmax*P/(K + P)
"""


def ring(size: int) -> str:
    names = [f"S{i}" for i in range(size)]
    lines = ["species " + ", ".join(f"{name} = {i % 7}" for i, name in enumerate(names))]
    lines += [f"{names[i]} -> {names[(i + 1) % size]} @ {0.2 + i % 5}" for i in range(size)]
    lines.append(f"0 => S0 @ hill(S1, 3, 2)\nS{size - 1} -> 0 @ 1")
    return "\n".join(lines)


# Every operation of the language, in laws that are cheap and laws that are dear, of parameters
# alone and of counts, shared by reactions and not.
ALL_OPERATIONS = [
    """
    species X = 9, Y = 4, Z = 2
    param a = 1.5, b = 0.25, n = 2.5
    0 => X @ 3*exp(-X/10) + log(1 + Y) + log10(2 + Z)*b
    X => Y @ X^n/(1 + X^n) + sqrt(X*a) + abs(Y - Z)/7
    Y => Z @ min(X, Y, a) + max(Z, b)*sin(X)^2
    Z => 0 @ 1 + cos(Y)*cos(Y) + tan(b) + tanh(X/(1 + Z))
    X -> 0 @ floor(Y/3) + ceil(Z/4) + hill(X, 5, n)
    Y -> 0 @ hillr(Y, 3, 2) + b^2 + X^3/(1000 + X^3) + (X/20)^4
    0 -> Z @ if(X > Y and not (Z == 3), a, b)
    2 X -> Y @ 0.01*((X >= 5) + (Y <= 4)*(X < 9) + (X != Y))
    3 X -> 0 @ 1e-4*(1 + (Z < 1 or Y > 6))
    """,
    """
    species U = 6, V = 5
    param c = 0.3, d = 2
    0 => U @ 2 + asin(c*tanh(U)) + acos(c) + atan(V - U)/4
    U => V @ sinh(U/20) + cosh(c) - 1 + asinh(U)
    V => 0 @ acosh(1 + V) + atanh(c*c) + factorial(c*d)/3
    V => U @ mratio(c, d, U/9)/9 + -(-c)
    U -> 0 @ factorial(if(U < 4, U, 3))/8
    0 -> V @ exp(c) + d^-2 + hill(c, d, 1.7)
    """,
]
NETWORKS = {
    **{name: model.build() for name, model in MODELS.items()},
    "mixed": gl.Network.parse(MIXED),
    "ring of 24": gl.Network.parse(ring(24)),
    "ring of 45": gl.Network.parse(ring(45)),
    "ring of 62": gl.Network.parse(ring(62)),
    **{f"operations {i}": gl.Network.parse(text) for i, text in enumerate(ALL_OPERATIONS)},
    "one source": gl.Network.parse("species X\n0 -> X @ 3"),
    "comes to rest": gl.Network.parse("species X = 40, Y\nX -> Y @ 1\nY -> X @ 0"),
    "changes nothing": gl.Network.parse("species X = 40, Y\nX -> X @ 1\nX -> Y @ 0.1"),
}
SPANS = {name: model.t_end / 20 for name, model in MODELS.items()}


def plan_for(network: gl.Network, t: Any, **changes: Any) -> RunPlan:
    arguments: dict[str, Any] = {
        "method": "direct",
        "rng": 29,
        "seed": None,
        "outputs": None,
        "stop_when": None,
        "max_events": None,
        "every_event": False,
        "method_options": {},
    }
    return plan_run(network, t, **{**arguments, **changes})


def drive(
    plan: RunPlan, kernel: Any, n_rows: int, budget: int, capacity: int = 0
) -> tuple[dict[str, np.ndarray], int]:
    """Run `n_rows` trajectories `budget` events at a time; return all that can be seen of them."""
    walker, output, events, n_stops = plan.walker(), plan.output(n_rows, capacity), [], 0
    output.counts[:], output.values[:] = -1, -1.0
    troubles = []
    while True:
        status = kernel(plan.compiled.arrays, plan.request, walker, output, 5, budget)
        n = int(walker.counter[N_BUFFERED])
        columns = output.event_time, output.event_counts, output.event_values, output.event_reaction
        events.append([column[:n].copy() for column in columns])
        walker.counter[N_BUFFERED] = 0
        if status == ALL_DONE:
            break
        assert status in {BUDGET_SPENT, EVENTS_FULL, IN_TROUBLE}
        n_stops += status != IN_TROUBLE
        if status == IN_TROUBLE:
            troubles += [
                *walker.state.tolist(),
                *walker.counter[[N_RECORDED, N_EVENTS]].tolist(),
                walker.clock[TIME],
            ]
            if (output.outcome == EVENT_LIMIT).sum() == 0:
                troubles.append(walker.counter[TROUBLE])
    joined = [np.concatenate(pieces) for pieces in zip(*events, strict=True)]
    named = dict(zip(("time", "counts", "values", "reaction"), joined, strict=True))
    seen = {f"event {name}": column for name, column in named.items()}
    seen |= {
        name: getattr(output, name)
        for name in ("counts", "values", "hitting_time", "n_events", "outcome")
    }
    return {**seen, "troubles": np.array(troubles)}, n_stops


def assert_same(plan: RunPlan, n_rows: int = 4, capacity: int = 0) -> dict[str, np.ndarray]:
    """Compare the two kernels bit by bit, whatever budget they are given."""
    table = METHODS["direct"].kernel
    assert can_specialise(plan.compiled) is None
    special = specialised_kernel(plan.compiled, plan.request.condition)
    usual, _ = drive(plan, table, n_rows, 10**12, capacity)
    for budget in (10**12, 1000, 7, 1):
        found, n_stops = drive(plan, special, n_rows, budget, capacity)
        assert found.keys() == usual.keys()
        for name in found:
            assert found[name].tobytes() == usual[name].tobytes(), (name, budget)
        if budget == 1:
            assert n_stops >= min(50, usual["n_events"].sum() - n_rows)
    return usual


# ---- The same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_specialised_paths_are_those_of_the_table_bit_by_bit(name):
    times = np.linspace(0.0, SPANS.get(name, 3.0), 13)
    seen = assert_same(plan_for(NETWORKS[name], times))
    assert (seen["outcome"] == COMPLETE).all()
    assert seen["n_events"].sum() > 5


def test_the_networks_reach_every_operation():
    used = set()
    for name, network in NETWORKS.items():
        if name.startswith("operations"):
            for j in range(network.n_reactions):
                nodes = network.expanded_rate(j).postorder()
                used |= {node.operation for node in nodes if isinstance(node, Call)}
    assert used == OPERATIONS.keys()


CONDITIONS = {
    "mixed": "P > 20 or G > 1",
    "ring of 24": "S6 < 3 or S0 > 4",
    "operations 0": "exp(X/9) > 5*a + Y^2.5 or hill(Z, 2, b) > 0.5 and log(X + 1) > 2.05",
    "comes to rest": "X < 7",
    "one source": "X == 0",
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_end_paths_at_the_same_instant(name):
    network = NETWORKS[name]
    plan = plan_for(network, np.linspace(0, 3, 13), stop_when=CONDITIONS[name])
    seen = assert_same(plan, 6)
    assert np.isfinite(seen["hitting_time"]).any()
    assert_same(plan_for(network, [0, 1], stop_when=f"{network.species_names[0]} < 0"), 2)


def test_conditions_with_other_numbers_share_a_kernel():
    network = NETWORKS["mixed"]
    kernels = []
    for limit in (20, 30):
        plan = plan_for(network, [0, 3], stop_when=f"P > {limit}")
        kernels.append(specialised_kernel(plan.compiled, plan.request.condition))
        assert_same(plan)
    assert kernels[0] is kernels[1]
    plan = plan_for(network, [0, 3], stop_when="P >= 20")
    assert specialised_kernel(plan.compiled, plan.request.condition) is not kernels[0]
    assert specialised_kernel(plan.compiled) is not kernels[0]


@pytest.mark.parametrize("name", ["mixed", "ring of 24", "operations 0", "comes to rest"])
def test_every_event_observables_and_limits_are_the_same(name):
    network, times = NETWORKS[name], np.linspace(0, 3, 7)
    outputs = [network.species_names[-1], *network.observable_names]
    for changes in (
        {"outputs": outputs},
        {"max_events": 17, "stop_when": f"{network.species_names[1]} > 3"},
        {"max_events": 0},
        {"max_events": 17},
    ):
        seen = assert_same(plan_for(network, times, **changes), 5)
    assert EVENT_LIMIT in seen["outcome"]
    for capacity in (100_000, 3):
        seen = assert_same(plan_for(network, times, every_event=True), 1, capacity)
        assert seen["event time"].size == seen["n_events"][0] + 1
    assert_same(plan_for(network, times, every_event=True, max_events=9), 1, 50)


TROUBLES = {
    "nan": ("species X = 5\n0 -> X @ 5\nX => 0 @ log(12 - X)/log(12 - X)", BAD_PROPENSITY),
    "negative": ("species X = 5\n0 -> X @ 5\n0 => X @ 2\nX => 0 @ 12 - X", BAD_PROPENSITY),
    "infinite": ("species X = 5\n0 -> X @ 5\nX => 0 @ 1/(12 - X)", BAD_PROPENSITY),
    "at the start": ("species X = 5\nX -> 0 @ 1\n0 => X @ -1 + 0*X", BAD_PROPENSITY),
    "two at once": (
        "species X = 5\n0 -> X @ 5\nX => 0 @ 12 - X\nX => 0 @ exp(2000*(X - 12))",
        BAD_PROPENSITY,
    ),
    "sum": ("species X = 6\n0 -> X @ 1\n2 X -> 3 X @ 1e306\n2 X -> 3 X @ 2e306", BAD_PROPENSITY),
    "sum of laws": (
        "species X = 6\n0 -> X @ 1e3\n0 => X @ 2e306*X\n0 => X @ 3e306*X",
        BAD_PROPENSITY,
    ),
    "three molecules": ("species X = 210000\n3 X -> 4 X @ 1e293\n0 -> X @ 1", BAD_PROPENSITY),
    "count": (f"species X = {LARGEST_COUNT - 40}, Y = 3\n0 -> X @ 10\nY -> X @ 1", OVERFLOW),
    "count by threes": (f"species X = {LARGEST_COUNT - 43}\n0 -> 3 X @ 10\n0 -> X @ 3", OVERFLOW),
    "count by a law": (f"species X = {LARGEST_COUNT - 43}\n0 => 2 X @ 1e-10*X", OVERFLOW),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_strikes_at_the_same_event_with_the_same_words(name):
    text, outcome = TROUBLES[name]
    seen = assert_same(plan_for(gl.Network.parse(text), np.linspace(0, 300, 5)), 3)
    assert (seen["outcome"] == outcome).all()
    assert_same(plan_for(gl.Network.parse(text), [0, 300], every_event=True), 1, 5_000)


def test_counts_at_their_limit_that_fall_go_on():
    text = f"species X = {LARGEST_COUNT}, Y\nX -> Y @ 1e-15\nY -> 0 @ 1\nX -> 0 @ 2e-15"
    seen = assert_same(plan_for(gl.Network.parse(text), np.linspace(0, 9, 4)))
    assert (seen["outcome"] == COMPLETE).all()
    assert seen["counts"].max() == LARGEST_COUNT


@st.composite
def networks(draw: Any) -> gl.Network:
    """Return a network of up to 12 reactions with any operations in its laws and its condition."""
    species = [f"S{i}" for i in range(draw(st.integers(1, 4)))]
    numbers = st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 4.0, 10.0])
    leaves = st.one_of(st.sampled_from([*species, "p", "q"]).map(Symbol), numbers.map(Number))

    def calls(children: Any) -> Any:
        return st.sampled_from(sorted(OPERATIONS)).flatmap(
            lambda name: st.tuples(*[children] * OPERATIONS[name].arity).map(
                lambda arguments: Call(name, arguments)
            )
        )

    trees = st.recursive(leaves, calls, max_leaves=8)
    lines = [f"species {', '.join(f'{s} = {draw(st.integers(0, 30))}' for s in species)}"]
    lines.append(f"param p = {draw(numbers)!r}, q = {draw(numbers)!r}")
    for _ in range(draw(st.integers(1, 12))):
        sides = []
        for most in (3, 2):
            chosen = draw(st.lists(st.sampled_from(species), max_size=most))
            sides.append(" + ".join(chosen) or "0")
        kind = draw(st.sampled_from(["constant", "constant", "scaled", "law"]))
        if kind == "constant":
            rate, arrow = f"{draw(st.sampled_from([0.01, 0.1, 1.0, 3.0]))!r}", "->"
        else:
            # Kept within bounds, so that most of these networks run for a while.
            rate = f"min(5, abs({draw(trees)}))"
            rate = f"if({rate} >= 0, {rate}, 1)" if draw(st.booleans()) else rate
            arrow = "=>" if kind == "law" else "->"
        lines.append(f"{sides[0]} {arrow} {sides[1]} @ {rate}")
    try:
        return gl.Network.parse("\n".join(lines))
    except gl.NetworkError:  # a part without species that is no finite number
        reject()


@given(network=networks(), seed=st.integers(0, 2**32))
@settings(
    max_examples=25,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
def test_random_networks_have_the_same_paths(network, seed):
    plan = plan_for(network, np.linspace(0, 2, 9), rng=seed, max_events=2_000)
    table = METHODS["direct"].kernel
    special = specialised_kernel(plan.compiled)
    usual, _ = drive(plan, table, 3, 10**12)
    for budget in (10**12, 13):
        found, _ = drive(plan, special, 3, budget)
        for name in found:
            assert found[name].tobytes() == usual[name].tobytes(), name


# ---- Lanes --------------------------------------------------------------------------------------


def lane_rows(plan: RunPlan, kernel: Any, n_rows: int, budget: int) -> dict[str, np.ndarray]:
    """Run rows in lanes; return what is known of those that were not given back."""
    lanes = compile_lanes(plan.compiled)
    queue, output = np.zeros(1, dtype=np.int64), plan.output(n_rows)
    walker = lane_walker(lanes, plan.request, plan.stack_depth, queue)
    n_calls = 0
    while kernel(lanes, plan.request, walker, output, 5, budget) != ALL_DONE:
        n_calls += 1
        assert n_calls < 10**6
    kept = output.outcome != LEFT_OVER
    assert set(output.outcome[kept].tolist()) <= {COMPLETE}
    names = ("counts", "values", "hitting_time", "n_events")
    return {"kept": kept, **{name: getattr(output, name)[kept] for name in names}}


def assert_lanes_same(plan: RunPlan, n_rows: int = 70) -> np.ndarray:
    """Compare lanes of the network's own with the table's paths; return the rows given back."""
    special = specialised_lanes(plan.compiled, plan.request.condition)
    usual, _ = drive(plan, METHODS["direct"].kernel, n_rows, 10**12)
    for budget in (10**12, 1):
        found = lane_rows(plan, special, n_rows, budget)
        for name in found.keys() - {"kept"}:
            assert found[name].tobytes() == usual[name][found["kept"]].tobytes(), (name, budget)
    return ~found["kept"]


@pytest.mark.parametrize("name", NETWORKS)
def test_specialised_lanes_go_the_paths_of_the_table_bit_by_bit(name):
    times = np.linspace(0.0, SPANS.get(name, 3.0) / 3.0, 7)
    network = NETWORKS[name]
    plan = plan_for(network, times, outputs=[*network.species_names, *network.observable_names])
    assert not assert_lanes_same(plan).any()


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_end_paths_in_lanes_at_the_same_instant(name):
    plan = plan_for(NETWORKS[name], np.linspace(0, 2, 7), stop_when=CONDITIONS[name])
    assert not assert_lanes_same(plan).any()
    assert_lanes_same(plan_for(NETWORKS[name], [0, 1], stop_when="1 > 2"), 33)


@pytest.mark.parametrize("name", TROUBLES)
def test_lanes_give_back_every_row_that_is_in_trouble(name):
    text, outcome = TROUBLES[name]
    network = gl.Network.parse(text)
    if why_no_lanes(compile_network(network)) is not None:
        assert outcome == OVERFLOW
        return
    assert assert_lanes_same(plan_for(network, [0, 300]), 40).all()


def test_lanes_give_back_rows_with_too_many_events_and_keep_the_others():
    plan = plan_for(NETWORKS["mixed"], [0.0, 0.1, 0.2], max_events=12)
    back = assert_lanes_same(plan, 200)
    assert 10 < back.sum() < 190


def test_mutant_lanes_are_rejected():
    # Power: a held lane whose stream goes on, or whose state changes; a law that is not brought up
    # to date where a lane starts anew, or after an event.
    plan = plan_for(NETWORKS["toggle_switch"], np.linspace(0, 2, 5))
    text = lane_burst_source(plan.compiled.arrays)
    usual, _ = drive(plan, METHODS["direct"].kernel, 70, 10**12)
    for old, new, is_same in (
        ("now + waiting", "now + 1.0 * waiting", True),
        ("select(goes, na, ra)", "na", False),
        ("select(goes, s0 +", "select(goes | ~goes, s0 +", False),
        ("todo = fresh", "todo = fresh & BIT", False),
        ("went_here & ~bits(m0)", "NO_BITS", False),
    ):
        assert old in text, old
        found = lane_rows(plan, SpecialisedLanes(text.replace(old, new)), 70, 10**12)
        kept = found["kept"]
        names = found.keys() - {"kept"}
        same = kept.all() and all(found[k].tobytes() == usual[k].tobytes() for k in names)
        assert same == is_same, new


@given(network=networks(), seed=st.integers(0, 2**32))
@settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
def test_random_networks_have_the_same_paths_in_lanes(network, seed):
    assert_lanes_same(plan_for(network, [0.0, 0.3, 1.0], rng=seed, max_events=500), 40)


# ---- One text for one structure -----------------------------------------------------------------


def test_relatives_share_one_kernel_and_are_not_each_others_paths():
    network = gl.Network.parse(MIXED)
    kernel = specialised_kernel(compile_network(network))
    usual = assert_same(plan_for(network, [0, 3]))
    for relative in (
        network.with_parameters(kf=0.01, Vmax=7, K=3),
        network.with_initial(S=99, G=0),
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
        gl.Network.parse(MIXED.replace("0.00166", "0.01").replace("1e-7", "2e-7")),
    ):
        plan = plan_for(relative, [0, 3])
        assert specialised_kernel(plan.compiled) is kernel
        seen = assert_same(plan)
        assert seen["counts"].tobytes() != usual["counts"].tobytes() or relative == network


def test_text_holds_nothing_that_a_user_typed():
    names = {
        "species": ["import_os", "__class__", "exec_", "lambda_x", "αβγ", "burst", "ZERO"],
        "param": ["p0_", "kernel", "evaluate", "np_", "s0"],
    }
    text = (
        f"species {', '.join(f'{name} = 3' for name in names['species'])}\n"
        f"param {', '.join(f'{name} = 1.2345678' for name in names['param'])}\n"
        "observe secret = import_os + αβγ\n"
        "label_of_it: import_os => exec_ @ kernel*exp(secret)*7.6543217/(s0 + exp(secret))\n"
        "exec_ + burst -> αβγ @ 0.12345678*np_\nlambda_x -> __class__ @ evaluate*ZERO*p0_\n"
    )
    network = gl.Network.parse(text)
    compiled = compile_network(network)
    source = burst_source(compiled.arrays)
    own = burst_source(compile_network(gl.Network.parse("species A\n0 -> A @ 1")).arrays)
    words = set(re.findall(r"[^\W\d]\w*", source)) - set(re.findall(r"[^\W\d]\w*", own))
    # Species, parameters, constants, values, weights, propensities, sums, steps: a letter or two
    # and a number.
    plain = re.compile(r"(?:[spckvwabqtm]|hc|hv)\d+|changed|ZERO_BITS|x[0-9a-f]+|exp|if|else|and")
    assert not {word for word in words if not plain.fullmatch(word)}
    assert source.isascii()
    for number in ("1.2345678", "7.6543217", "0.12345678"):
        assert number not in source
    assert_same(plan_for(network, [0, 1]))
    # Beside the header there are one function, one table, and the kernel made of them.
    tree = ast.parse(source)
    imports = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert all(one.startswith("gillespy_lite.kernels.") for one in imports)
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert calls <= {
        *("np.array", "np.float64", "np.int64", "np.uint64", "np.exp", "kernel"),
        *("everywhere_2", "first_lane", "as_words", "as_double", "masks", "quick_masks"),
        *("as_float", "next_place"),
    }


def test_networks_that_cannot_be_specialised_say_why():
    def reason(text: str) -> str:
        found = can_specialise(compile_network(gl.Network.parse(text)))
        assert found is not None
        return found

    assert "no reactions" in reason("species X")
    assert "65 reactions, more than 64" in reason(ring(63))
    for text in (
        "species X\n0 -> X @ 1 + sin(t)",
        "species X = 1\nX -> 0 @ 1, delay = 2",
        "species X\n0 -> X @ 1\nat X > 3: X = 0",
    ):
        try:
            network = gl.Network.parse(text)
        except gl.GillespyLiteError:
            continue
        assert "more than jumps" in str(can_specialise(compile_network(network)))
    long = " + ".join(f"X^{1 + k % 7}.5" for k in range(MAX_OPERATIONS // 2))
    assert "operations, more than" in reason(f"species X = 1\nX => 0 @ {long}")
    assert can_specialise(compile_network(gl.Network.parse(ring(62)))) is None


def test_deep_and_long_laws_are_written_as_lines_and_run():
    rate = "X"
    for k in range(80):
        rate = f"(1 + {rate}/(2 + Y)){'^2' if k % 9 == 0 else ''}"
        rate = f"min(9, {rate})" if k % 7 == 0 else rate
    text = (
        f"species X = 4, Y = 3\nX => Y @ {rate}\nY -> X @ 1\n0 => X @ {'+'.join(['Y/900'] * 700)}"
    )
    assert_same(plan_for(gl.Network.parse(text), [0, 1, 2]))


def test_the_estimate_of_compilation_grows_with_the_network_and_is_the_same_for_relatives():
    def estimates(text: str) -> tuple[float, float]:
        compiled = compile_network(gl.Network.parse(text))
        return tuple(compile_seconds_estimate(compiled, lanes=lanes) for lanes in (False, True))

    small, large = estimates("species X\n0 -> X @ 1"), estimates(ring(62))
    assert 0.2 < small[1] <= small[0] < 0.5
    assert 1.5 < large[1] < large[0] < 5.0
    assert estimates(MIXED) == estimates(MIXED.replace("Vmax = 2", "Vmax = 9"))


# ---- Files --------------------------------------------------------------------------------------

RUN = """
import json, sys, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import gillespy_lite as gl
    from gillespy_lite.compilation import compile_network
    from gillespy_lite.kernels.bursts import run_bursts
    from gillespy_lite.kernels.generated import module_path
    from gillespy_lite.run_plan import plan_run
    from gillespy_lite.specialisation import specialised_kernel
    network = gl.Network.parse("species X = 3\\n0 -> X @ 10\\nX => 0 @ 2*X/(1 + X)")
    plan = plan_run(network, [0.0, 1.0, 5.0], method="direct", rng=1, seed=None, outputs=None,
                    stop_when=None, max_events=None, every_event=False, method_options={})
    kernel = specialised_kernel(plan.compiled)
    was_on_disk = kernel.is_on_disk
    walker, output = plan.walker(), plan.output(2)
    status = kernel(plan.compiled.arrays, plan.request, walker, output, 0, 10**9)
    function = kernel.function
    print(json.dumps({
        "status": status,
        "counts": output.counts.tolist(),
        "was_on_disk": was_on_disk,
        "is_on_disk": kernel.is_on_disk,
        "hits": sum(function.stats.cache_hits.values()),
        "misses": sum(function.stats.cache_misses.values()),
        "module": function.py_func.__module__,
        "warnings": [f"{w.category.__name__}: {w.message}" for w in caught],
    }))
"""


def run_python(**environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a cache filled by a first process, and what that process said."""
    folder = tmp_path_factory.mktemp("filled")
    answer = run_python(GILLESPY_LITE_CACHE_DIR=str(folder))
    assert answer["warnings"] == []
    assert (answer["hits"], answer["misses"]) == (0, 1)
    assert not answer["was_on_disk"]
    assert answer["is_on_disk"]
    return folder, answer


@pytest.fixture
def copied(filled, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled[0], tmp_path / "cache"))


def module_file(folder: Path) -> Path:
    (found,) = folder.rglob("networks/*.py")
    return found


def test_second_process_loads_and_does_not_compile(copied, filled):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*.*")}
    answer = run_python(GILLESPY_LITE_CACHE_DIR=str(copied))
    assert answer["was_on_disk"]
    assert (answer["hits"], answer["misses"]) == (1, 0)
    assert answer["warnings"] == []
    assert answer["counts"] == filled[1]["counts"]
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*.*")} == before


def test_file_has_the_name_of_its_content_and_no_bytecode_beside_it(copied):
    path = module_file(copied)
    own = module_path(path.read_text(encoding="utf-8"))
    assert own.name == path.name
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("damage", ["foreign", "cut", "missing", "folder"])
def test_damaged_file_is_written_again_and_runs_nothing(copied, filled, damage):
    path = module_file(copied)
    whole = path.read_bytes()
    trap = copied / "it ran"
    if damage == "foreign":
        path.write_text(f"open({str(trap)!r}, 'w')\n" + whole.decode(), encoding="utf-8")
    elif damage == "cut":
        path.write_bytes(whole[:100])
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    answer = run_python(GILLESPY_LITE_CACHE_DIR=str(copied))
    assert answer["counts"] == filled[1]["counts"]
    assert not trap.exists()
    assert (answer["hits"], answer["misses"]) == (1, 0)
    if damage == "folder":
        assert len(answer["warnings"]) == 1
    else:
        assert path.read_bytes() == whole
        assert answer["warnings"] == []


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_machine_code_is_compiled_again(copied, filled, suffix):
    (path,) = copied.rglob(f"gillespy_lite_network_*.{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    answer = run_python(GILLESPY_LITE_CACHE_DIR=str(copied))
    assert answer["counts"] == filled[1]["counts"]
    assert answer["misses"] == 1
    assert len(answer["warnings"]) == 1
    again = run_python(GILLESPY_LITE_CACHE_DIR=str(copied))
    assert (again["hits"], again["misses"], again["warnings"]) == (1, 0, [])


def test_folder_that_cannot_be_made_costs_one_warning(tmp_path, filled):
    # A file where the folder should be: nobody can write there, not even root.
    (tmp_path / "cache").write_text("")
    answer = run_python(GILLESPY_LITE_CACHE_DIR=str(tmp_path / "cache"))
    assert answer["counts"] == filled[1]["counts"]
    assert len(answer["warnings"]) == 1
    assert "cannot be kept on disk" in answer["warnings"][0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_is_read_only_costs_one_warning(copied, filled):
    for path in [copied, *copied.rglob("*")]:
        if path.is_dir():
            path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    answer = run_python(GILLESPY_LITE_CACHE_DIR=str(copied))
    assert answer["counts"] == filled[1]["counts"]


def test_a_module_is_made_once_for_all_threads():
    text = burst_source(compile_network(NETWORKS["mixed"]).arrays)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_module(text), range(64)))
    assert len({id(one) for one in found}) == 1


# ---- The ring of draws ---------------------------------------------------------------------------


def test_ring_holds_the_draws_of_the_stream_in_their_order():
    stream, usual, ring = np.zeros(4, np.uint64), np.zeros(4, np.uint64), np.zeros(RING_SIZE)
    for one in (stream, usual):
        random.seed_stream(np.arange(4, dtype=np.uint64), 3, one)
    fill_ring(stream, ring)
    place = np.uint64(0)
    for _ in range(5 * RING):
        drawn = ring[place], ring[place + np.uint64(RING)]
        # What a kernel without a ring draws, and where it would leave the stream.
        back = stream.copy()
        return_draws(back)
        assert back.tobytes() == usual.tobytes()
        assert drawn == (random.exponential_by_log(usual), random.uniform_52(usual))
        place = np.uint64(pass_event(stream, ring, place))


def in_turns(*kernels: Any) -> Any:
    """Return a kernel that is another one at each call."""
    turns = itertools.cycle(kernels)

    def run(*arguments: Any) -> int:
        return next(turns)(*arguments)

    return run


@pytest.mark.parametrize("name", ["mixed", "operations 0", "ring of 24"])
def test_kernels_can_take_turns_on_one_path(name):
    plan = plan_for(NETWORKS[name], np.linspace(0.0, 2.0, 9))
    table = METHODS["direct"].kernel
    special = specialised_kernel(plan.compiled)
    usual, _ = drive(plan, table, 3, 10**12)
    for budget in (1, 5, 40):
        found, n_stops = drive(plan, in_turns(special, table), 3, budget)
        assert n_stops >= 3
        for key in found:
            assert found[key].tobytes() == usual[key].tobytes(), key


# ---- Plain Python -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixed", "operations 0", "comes to rest"])
def test_kernel_repeats_its_python_source(name):
    # Whole powers and the like are rounded alike; exp and log need not be, so those laws are left
    # to the compiled twins above.
    network = NETWORKS[name]
    if name == "operations 0":
        network = gl.Network.parse(
            "species X = 9, Y = 4\nparam a = 1.5\n0 => X @ 3 + min(X, Y, a)\n"
            "X => Y @ X^2/(9 + X^2) + sqrt(X) + hill(Y, 3, 2)\nY => 0 @ Y*if(X > 4 or Y == 2, a, 1)"
        )
    first = network.species_names[0]
    for changes in ({}, {"stop_when": f"{first} < 4"}, {"max_events": 7}):
        plan = plan_for(network, [0.0, 0.2, 0.5], **changes)
        special = specialised_kernel(plan.compiled, plan.request.condition)
        usual, _ = drive(plan, special, 2, 10**12)
        with np.errstate(over="ignore"):
            found, _ = drive(plan, special.py_func, 2, 50)
        for key in found:
            assert found[key].tobytes() == usual[key].tobytes(), key


def test_a_mutant_text_is_rejected():
    # Power of the comparison: another choice, another order of the sums, draws in another order.
    plans = [
        plan_for(NETWORKS["mixed"], [0.0, 9.0], every_event=every_event, max_events=2_000)
        for every_event in (False, True)
    ]
    text = burst_source(plans[0].compiled.arrays)
    usual = [drive(plan, METHODS["direct"].kernel, 1, 10**12, 3_000)[0] for plan in plans]
    for old, new, is_same in (
        ("time + ring", "time + ONE * ring", True),
        ("m3 = masks(target < q3)", "m3 = masks(q3 < target)", False),
        ("q7 = q3 + b7", "q7 = q6 + a7", False),
        ("target = ring[N_PLACES + place]", "target = ring[place]", False),
        ("time + ring[place]", "time + ring[N_PLACES + place]", False),
        ("        ring[place] = as", "        ring[N_PLACES + place] = as", False),
        ("next_place(ring, place)", "next_place(ring, next_place(ring, place))", False),
        ("x0 = np.uint64(0x8", "x0 = np.uint64(0x4", False),
    ):
        assert old in text
        kernel = SpecialisedKernel(text.replace(old, new))
        found = [drive(plan, kernel, 1, 10**12, 3_000)[0] for plan in plans]
        same = all(
            one[key].tobytes() == other[key].tobytes()
            for one, other in zip(found, usual, strict=True)
            for key in one
        )
        assert same == is_same, new


def test_a_sum_of_minus_zero_is_no_share():
    # 0 * (0 - 1) is -0, whose bits are those of a large number.
    network = gl.Network.parse("species X, Y = 1\n2 X -> 0 @ 1\n0 -> X @ 2\nY -> Y + Y @ .1")
    # The mutant would go on for ever: its X falls below 0, faster and faster.
    plan = plan_for(network, [0.0, 20.0], max_events=3_000)
    assert_same(plan)
    text = burst_source(plan.compiled.arrays)
    assert "quick_masks(absolute(q0), target)" in text
    usual = drive(plan, METHODS["direct"].kernel, 1, 10**12)[0]
    found = drive(plan, SpecialisedKernel(text.replace("absolute(q0)", "q0")), 1, 10**12)[0]
    assert (usual["outcome"] == COMPLETE).all()
    assert (found["outcome"] == EVENT_LIMIT).all()


def test_relatives_share_a_kernel_unless_another_exponent_is_small():
    network = gl.Network.parse("param k = 2.5, n = 2\nspecies A = 30\nA => 0 @ k * A^n / (40 + A)")
    same = specialised_kernel(compile_network(network.with_parameters(k=3.0)))
    assert specialised_kernel(compile_network(network)) is same
    other = network.with_parameters(n=2.5)
    assert specialised_kernel(compile_network(other)) is not same
    for one in (network, other):
        table = gl.simulate(one, 5.0, rng=3, engine="table")
        assert np.array_equal(
            gl.simulate(one, 5.0, rng=3, engine="specialised").counts, table.counts
        )
