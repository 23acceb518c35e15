"""The loops for small networks give what the general loop gives, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite.kernels.lane_programs import CHAINED, SQUARE, SQUARE_LAST
from gillespy_lite.kernels.programs import ADD, EXP, NEGATE, POWER, SQRT
from gillespy_lite.kernels.propensities import is_rate
from gillespy_lite.kernels.scalar_tapes import STEP
from gillespy_lite.kernels.small_loop import (
    MOST_SPECIES,
    run_direct_laws,
    run_direct_pairs,
    run_direct_triples,
)
from gillespy_lite.kernels.sum_tree import DENSE_LIMIT
from gillespy_lite.kernels.walking import (
    ALL_DONE,
    BAD_PROPENSITY,
    BUDGET_SPENT,
    EVENT_LIMIT,
    EVENTS_FULL,
    IN_TROUBLE,
    N_BUFFERED,
    N_EVENTS,
    N_RECORDED,
    OVERFLOW,
    TIME,
    TROUBLE,
)
from gillespy_lite.methods.direct import run_direct
from gillespy_lite.run_plan import RunPlan, plan_run

ALL_AT_ONCE = 10**12
KERNELS = {"pairs": run_direct_pairs, "triples": run_direct_triples, "laws": run_direct_laws}

# Of two species x and y and the parameters k and K: all operations that small steps have, what they
# give taken as the first argument of the next and as the second, parts that no count changes, and
# parts that two laws share. None grows with the counts.
LAWS = [
    "0 => {x} @ 3*K^2/(K^2 + {y}^2)",
    "0 => {x} @ k*{y}/(K + {y})",
    "{x} => 0 @ k*{x}/(K + {x})",
    "{x} => {y} @ (k - 0.1)*{x}*{x}/(1 + {x}*{x}/(2*K))/({x} + 1)",
    "0 => {x} @ exp(-{y}/K) + sqrt({y} + 1)/10",
    "{x} -> {y} @ 0.1 + 1/(1 + {y})",
    "{x} + {y} -> {x} @ k*hill({x}, K, 2)/20",
    "0 => {x} @ hillr({x}, K, 3) + hill({y}, K, 1.5)",
    "0 => {x} @ if({x} > 10 and not ({y} <= 2), 0.2, 1 - 0.05*min({x}, 8))",
    "2 {x} => {y} @ abs({y} - {x})/90 + max(0.01, -({x} - 3)/100)",
    "{x} => 0 @ {x}*(1 - 1/(1 + {x}))^2.5 + 0.1*({x} - {x}/2)^3/(100 + ({x} - {x}/2)^3)",
    "0 => {x} @ log(2 + {x})/(K/k - 1)",
    "{x} => 0 @ {x}",
    "0 => {x} @ sqrt(k*K)/2",
    "4 {x} -> {y} @ 0.0001",
    "0 => {x} @ floor({y}/5)/(3 - (2 - ({y} + 1)^4))",
]


def random_network(seed: int, n_species: int, n_reactions: int, kind: str = "pairs") -> gl.Network:
    """Return a network of every kind of mass action with at most two molecules, three, or laws."""
    triples = kind == "triples"
    rng = np.random.default_rng(seed)
    names = [f"S{i}" for i in range(n_species)]

    def side(at_most: int) -> str:
        one, other = rng.choice(names, size=2)
        return ["0", one, f"{one} + {other}", f"2 {one}"][rng.integers(0, at_most + 2)]

    lines = [f"species {', '.join(f'{name} = {rng.integers(0, 40)}' for name in names)}"]
    # Nothing grows without end: what makes two of one is slow, and everything decays.
    lines += [f"{side(2)} -> {side(1)} @ {rng.uniform(0.01, 0.2):.3f}" for _ in range(n_reactions)]
    for i in range(max(1, n_reactions // 4) if triples else 0):
        one, other, third = rng.choice(names, size=3)
        taken = [f"3 {one}", f"2 {one} + {other}", f"{one} + 2 {other}"][i % 3]
        if n_species > 2 and i % 2:
            taken = f"{one} + {other} + {third}"
        lines.append(f"{taken} -> {side(1)} @ {rng.uniform(0.001, 0.02):.4f}")
    for i in range(max(1, n_reactions // 2) if kind == "laws" else 0):
        x, y = rng.choice(names, size=2)
        law = LAWS[(seed + 5 * i) % len(LAWS)]
        lines.insert(int(rng.integers(1, len(lines) + 1)), law.format(x=x, y=y))
    if kind == "laws":
        lines.append("param k = 1.7, K = 12.5, unused = 3")
    lines += [f"observe total = {' + '.join(names)}"]
    return gl.Network.parse("\n".join(lines))


def plan(network: gl.Network, t: Any = (0.0, 0.5, 2.0, 5.0), **options: Any) -> RunPlan:
    arguments: dict[str, Any] = {
        "method": "direct", "rng": 3, "seed": None, "outputs": None, "stop_when": None,
        "max_events": None, "every_event": False, "method_options": {},
    }  # fmt: skip
    return plan_run(network, t, **{**arguments, **options})


def drive(kernel: Any, plan: RunPlan, n_rows: int = 5, budget: int = ALL_AT_ONCE) -> dict[str, Any]:
    """Run a kernel to its end, however often it stops; return all that it wrote."""
    walker = plan.walker()
    output = plan.output(n_rows, 64 if plan.request.every_event else 0)
    arrays = plan.compiled.arrays if kernel is run_direct else plan.arrays
    statuses, events, streams = [], [], []
    while True:
        status = int(kernel(arrays, plan.request, walker, output, 2, budget))
        statuses.append(status)
        n = int(walker.counter[N_BUFFERED])
        events += list(
            zip(
                output.event_time[:n].tolist(),
                output.event_counts[:n].tolist(),
                output.event_values[:n].tolist(),
                output.event_reaction[:n].tolist(),
                strict=True,
            )
        )
        walker.counter[N_BUFFERED] = 0
        if status == IN_TROUBLE:
            counter = walker.counter[[TROUBLE, N_EVENTS, N_RECORDED]].tolist()
            events.append((*counter, float(walker.clock[TIME]), walker.state.tolist()))
        if status == ALL_DONE:
            break
        # From where the path goes on.
        streams.append(walker.stream.tolist())
    return {
        "statuses": statuses,
        "events": events,
        "recorded": [row.tolist() for row in output.counts[output.outcome == 1]],
        "values": [row.tolist() for row in output.values[output.outcome == 1]],
        "outcome": output.outcome.tolist(),
        "hit": str(output.hitting_time.tolist()),
        "n_events": output.n_events.tolist(),
        "streams": streams,
        "state": walker.state.tolist(),
        "time": float(walker.clock[TIME]),
    }


# Sizes on both sides of what changes the shape of the loop: blocks of four reactions, rows of four
# counts (the state has one more entry than there are species).
SIZES = [(1, 1), (1, 2), (2, 3), (3, 4), (4, 5), (7, 8), (8, 9), (9, 31), (20, 63), (64, 64)]
RUNS: dict[str, dict[str, Any]] = {
    "grid": {},
    "one time": {"t": [4.0], "stop_when": "total > 1000"},
    "observables": {"outputs": ["S0", "total"]},
    "every event": {"every_event": True, "n_rows": 1, "outputs": ["total", "S0"]},
    "condition": {"stop_when": "total - S0 == 3 or total < 8"},
    "condition and every event": {"stop_when": "S0 == 1", "every_event": True, "n_rows": 1},
    "limit": {"max_events": 40, "t": [0.0, 200.0]},
    "small budget": {"budget": 7},
    "budget of one": {"budget": 1, "t": [0.0, 0.4, 1.0], "n_rows": 2},
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KERNELS)
def test_the_loop_for_small_networks_repeats_the_general_one(kind, size, run):
    options, kernel = dict(RUNS[run]), KERNELS[kind]
    driving = {key: options.pop(key) for key in ("n_rows", "budget") if key in options}
    # Reactions of three molecules, and rate laws, come on top.
    n_reactions = size[1] * {"pairs": 5, "triples": 4, "laws": 3}[kind] // 5
    size = size[0], max(1, n_reactions)
    one = plan(random_network(sum(size), *size, kind), **options)
    assert one.kernel is kernel
    expected = drive(run_direct, one, **driving)
    assert drive(kernel, one, **driving) == expected
    if size[1] > 4 and not {"stop_when", "n_rows"} & RUNS[run].keys():
        assert max(expected["n_events"]) > 20
    if run == "condition" and size[1] > 4:
        assert "nan" not in expected["hit"] or max(expected["n_events"]) > 20
    if run == "limit" and size[1] > 8:
        assert EVENT_LIMIT in expected["outcome"]
    if run == "small budget" and size[1] > 4:
        assert BUDGET_SPENT in expected["statuses"]
    if run == "every event" and size[1] > 8:
        assert EVENTS_FULL in expected["statuses"]


@pytest.mark.parametrize("run", ["grid", "every event", "condition"])
@pytest.mark.parametrize("size", [(3, 4), (9, 31)], ids=str)
@pytest.mark.parametrize("kind", KERNELS)
def test_the_compiled_loop_repeats_its_python_source(kind, size, run):
    options, kernel = dict(RUNS[run]), KERNELS[kind]
    driving = {key: options.pop(key) for key in ("n_rows", "budget") if key in options}
    one = plan(
        random_network(7, *size, kind), t=[0.0, 0.2, 0.6], **{**options, "outputs": ["total"]}
    )
    assert drive(kernel.py_func, one, **driving) == drive(kernel, one, **driving)


def test_counts_at_the_largest_are_reached_and_not_passed():
    # 2**53 - 3 and gains of 2: an overflow after two events, whichever loop runs.
    network = gl.Network.parse(f"species A = {2**53 - 3}, B\n0 -> 2 A @ 1\nB -> 0 @ 1")
    one = plan(network, t=[0.0, 50.0])
    expected = drive(run_direct, one)
    assert set(expected["outcome"]) == {OVERFLOW}
    assert expected["n_events"] == [2] * 5
    assert drive(run_direct_pairs, one) == expected
    # Far below, nothing is looked at for many events; this one passes the limit on its way.
    network = gl.Network.parse(f"species A = {2**53 - 4001}, B\n0 -> 2 A @ 100\nA -> A + B @ 1e-16")
    one = plan(network, t=[0.0, 50.0])
    expected = drive(run_direct, one)
    assert set(expected["outcome"]) == {OVERFLOW}
    assert drive(run_direct_pairs, one) == expected


def test_a_sum_of_propensities_that_is_infinite_is_told_with_its_reaction():
    text = (
        "species A = 100000, B = 100000\nA -> 0 @ 1\nA + B -> 0 @ 1e300\nB -> 0 @ 1\n2 B -> 0 @ 1"
    )
    one = plan(gl.Network.parse(text), t=[0.0, 1.0])
    expected = drive(run_direct, one)
    assert expected["events"][0][0] == 1
    assert drive(run_direct_pairs, one) == expected
    with pytest.raises(gl.errors.BadPropensityError, match=r"A \+ B"):
        gl.simulate(gl.Network.parse(text), 1, method="direct", rng=1)


@pytest.mark.parametrize(
    ("text", "reaction"),
    [
        ("species A = 100000\nA -> 0 @ 1\n3 A -> 0 @ 1e300\n2 A -> 0 @ 1", 1),
        # A propensity of three molecules is looked at before the sum of all.
        ("species A = 100000\n2 A -> 0 @ 1e300\n3 A -> 0 @ 1e300", 1),
        ("species A = 100000\n3 A -> 0 @ 1e292\nA -> 0 @ 1\n2 A -> 0 @ 3.58e298", 2),
    ],
)
def test_a_faulty_propensity_is_found_among_three_molecules(text, reaction):
    one = plan(gl.Network.parse(text), t=[0.0, 1.0])
    expected = drive(run_direct, one)
    assert expected["events"][0][0] == reaction
    assert drive(run_direct_triples, one) == expected


@pytest.mark.parametrize("start", [3, 20])
@pytest.mark.parametrize(
    ("laws", "reaction"),
    [
        (["0 => A @ 5", "0 => A @ 30 - A", "A => 0 @ 1"], 1),  # negative in the end
        (["A => 0 @ 1", "0 => A @ 1 + 1/(40 - A)", "0 => A @ 9"], 1),  # infinite in the end
        (["A -> 0 @ 0.1", "0 => A @ 5 + 0*sqrt(30 - A)"], 1),  # not a number in the end
        (["0 => A @ 9", "A => 0 @ 1/(40 - A)", "0 => A @ 39.5 - A"], 1),  # two at once
        (["0 => A @ 9", "0 => A @ 39.5 - A", "A => 0 @ 1/(40 - A)"], 1),
        (["0 => A @ 1e307*A", "A -> 0 @ 1e307", "2 A -> 0 @ 1e300"], None),  # the sum alone
        (["2 A -> 0 @ 1e306", "0 => A @ 1e306*A", "0 => A @ 1e306*A^2"], None),
        (["0 -> A @ 9", "5 A -> 6 A @ 1e304"], 1),
    ],
)  # fmt: skip
def test_a_faulty_rate_law_is_told_as_by_the_general_loop(laws, reaction, start):
    one = plan(gl.Network.parse("\n".join([f"species A = {start}", *laws])), t=[0.0, 1e3])
    assert one.kernel is run_direct_laws
    expected = drive(run_direct, one)
    assert drive(run_direct_laws, one) == expected
    assert set(expected["outcome"]) == {BAD_PROPENSITY} or reaction is None
    assert {event[0] for event in expected["events"]} == {reaction} or reaction is None


@pytest.mark.parametrize("function", [is_rate, is_rate.py_func], ids=["compiled", "python"])
def test_what_is_a_rate(function):
    good = [0.0, -0.0, 5e-324, 1.0, np.finfo(float).max]
    bad = [-5e-324, -1.0, np.inf, -np.inf, np.nan, -np.nan]
    asked = np.array(good + bad)
    assert [bool(function(x)) for x in asked] == [True] * len(good) + [False] * len(bad)


def test_the_laws_that_are_run_have_every_kind_of_step():
    rates = "\n".join(law.format(x="A", y="B") for law in LAWS)
    one = plan(gl.Network.parse(f"species A = 3, B = 4\nparam k = 1.7, K = 12.5\n{rates}"))
    kinds = {*CHAINED.values(), SQUARE_LAST, SQUARE, *range(ADD, NEGATE + 1), EXP, SQRT}
    assert kinds - {POWER} <= set(one.arrays.steps[::STEP].tolist())
    assert POWER in one.compiled.arrays.laws.operation


def test_relatives_of_a_network_have_their_own_numbers():
    network = gl.Network.parse("species A = 3\nparam k = 9, K = 4\n0 => A @ k/(K + A)\nA -> 0 @ 1")
    for relative in (network, network.with_parameters(k=90), network.with_parameters(K=0.5)):
        one = plan(relative)
        assert drive(run_direct_laws, one) == drive(run_direct, one)


def test_no_draw_is_made_in_an_absorbing_state():
    one = plan(gl.Network.parse("species A = 5, B\nA -> B @ 1"), t=[0.0, 1e6, 2e6])
    expected = drive(run_direct, one)
    assert drive(run_direct_pairs, one) == expected
    assert expected["n_events"] == [5] * 5


def test_which_networks_the_loops_run_for():
    def kernel(text: str, **options: Any) -> Any:
        return plan(gl.Network.parse(text), **options).kernel

    def chain(n_species: int, n_reactions: int) -> str:
        names = [f"S{i}" for i in range(n_species)]
        return f"species {', '.join(names)}\n" + "0 -> S0 @ 1\n" * n_reactions

    assert kernel("species A\n0 -> A @ 1\n2 A -> 0 @ 1") is run_direct_pairs
    assert kernel("species A\n0 -> A @ 1\n2 A -> 0 @ 1", stop_when="A > 3") is run_direct_pairs
    assert kernel("species A\n0 -> A @ 1\n3 A -> 0 @ 1") is run_direct_triples
    assert kernel("species A, B\n0 -> A @ 1\nA + 2 B -> 0 @ 1") is run_direct_triples
    assert kernel("species A\n0 -> A @ 1\n4 A -> 0 @ 1") is run_direct_laws
    assert kernel("species A\n3 A -> 0 @ 1\n4 A -> 0 @ 1") is run_direct_laws
    assert kernel("species A\n3 A -> 0 @ 1\nA -> 0 @ 1 + A") is run_direct_laws
    assert kernel("species A\n0 => A @ 1/(1 + A)\nA -> 0 @ 1") is run_direct_laws
    assert kernel("species A\n0 -> A @ 1 + t") is not run_direct_pairs
    assert kernel(chain(MOST_SPECIES, DENSE_LIMIT)) is run_direct_pairs
    assert kernel(chain(MOST_SPECIES + 1, DENSE_LIMIT)) is run_direct
    assert kernel(chain(MOST_SPECIES, DENSE_LIMIT + 1)) is run_direct
    law = "\n0 => S0 @ 1/(1 + S0)"
    assert kernel(chain(MOST_SPECIES, DENSE_LIMIT - 1) + law) is run_direct_laws
    assert kernel(chain(MOST_SPECIES, DENSE_LIMIT) + law) is run_direct
    assert kernel(chain(MOST_SPECIES + 1, 1) + law) is run_direct
