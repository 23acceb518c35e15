"""The lists of what steps take, make, change and touch, against loops over reactions."""

from __future__ import annotations

import gc
import random
import time

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite import step_lists
from gillespy_lite.compilation import compile_network, compile_steps
from gillespy_lite.garbage import collection_paused
from gillespy_lite.kernels.arrays import PAIR
from gillespy_lite.kernels.sum_tree import ARITY, first_leaf


def random_network(seed: int) -> gl.Network:
    """A network with every form of propensity, catalysts, delays and variables among them."""
    draw = random.Random(seed)
    names = [f"S{i}" for i in range(draw.randint(1, 90))]

    def side() -> str:
        terms = [draw.choice(names) for _ in range(draw.randint(0, 3))]
        return " + ".join(f"{draw.choice(('', '', '2 ', '3 '))}{term}" for term in terms) or "0"

    lines = ["species " + ", ".join(f"{name} = 5" for name in names), "param k = 2, c = .5"]
    lines += ["variable X = 1.5", "X' = -X"] if draw.random() < 0.5 else []
    rates = ["k", "k*c", "1.5", "k*(2 + sin(t))", *(f"k*{one}/({one} + 1)" for one in names)]
    for _ in range(draw.randint(0, 150)):
        a, b = side(), side()
        if a != "0" or b != "0":
            late = draw.choice(["", "", " delay 1.5", " delay k consuming on completion"])
            lines.append(f"{a} {draw.choice(('->', '->', '=>'))} {b} @ {draw.choice(rates)}{late}")
    return gl.Network.parse("\n".join(lines))


def changes_by_hand(network: gl.Network) -> list[dict[int, int]]:
    """Net changes of every step: initiations, two empty ones, completions, an empty one."""
    index = {name: i for i, name in enumerate(network.state_names)}
    initiations: list[dict[int, int]] = []
    completions: list[dict[int, int]] = []
    for reaction in network.reactions:
        both: tuple[dict[int, int], dict[int, int]] = ({}, {})
        late = reaction.delay is not None
        for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
            with_products = sign == 1 or (late and reaction.delay.consuming == "completion")
            change = both[late and with_products]
            for name, count in side:
                change[index[name]] = change.get(index[name], 0) + sign * count
        for change, found in zip(both, (initiations, completions), strict=True):
            found.append({species: by for species, by in change.items() if by})
    return [*initiations, {}, {}, *completions, {}]


def entries(arrays, name: str, step: int) -> list[int]:
    start = getattr(arrays, f"{name}_start")
    field = "change_species" if name == "change" else name
    return getattr(arrays, field)[start[step] : start[step + 1]].tolist()


def check(network: gl.Network) -> None:
    compiled = compile_network(network)
    steps = compile_steps(compiled)
    arrays, n, none = steps.arrays, network.n_reactions, len(network.state_names)
    changes = changes_by_hand(network)
    readers: list[set[int]] = [set() for _ in range(none)]
    for j in range(n):
        law = entries(arrays, "law_species", j)
        names = network.expanded_rate(j).symbols()
        assert law == [i for i, one in enumerate(network.state_names) if one in names]
        for i in (
            *law,
            *(network.state_names.index(name) for name, _ in network.reactions[j].reactants),
        ):
            readers[i].add(j)
    moving = np.flatnonzero(arrays.moves).tolist()
    offset = first_leaf(n)
    for step, change in enumerate(changes):
        assert steps.changed[step] == change.keys()
        start = arrays.change_start[step]
        listed = entries(arrays, "change", step)
        by = arrays.change[start : start + len(listed)].tolist()
        assert [(i, one) for i, one in zip(listed, by, strict=True) if one] == [*change.items()]
        assert set(listed[len(change) :]) <= {none}
        expected = set().union(*(readers[i] for i in change))
        expected = {n: set(range(n)), n + 1: set(moving)}.get(step, expected)
        parts = entries(arrays, "part", step)
        found = [entries(arrays, "dependent", part) for part in parts]
        assert set().union(*map(set, found)) == expected
        for part, dependents in zip(parts, found, strict=True):
            assert dependents == sorted(set(dependents))
            assert entries(arrays, "law_dependent", part) == [
                j for j in dependents if arrays.form[j] != PAIR
            ]
            above: set[int] = set()
            for j in dependents:
                node = offset + j
                while node > 0:
                    node = (node - 1) // ARITY
                    above.add(node)
            assert entries(arrays, "node", part) == sorted(above, reverse=True)


@pytest.mark.parametrize("most_entries", [2_000_000, 0])
def test_lists_are_those_of_loops_over_reactions(monkeypatch, most_entries):
    monkeypatch.setattr(step_lists, "_MOST_ENTRIES", most_entries)
    for seed in range(60):
        check(random_network(seed))


def test_values_are_sorted_where_marking_them_would_take_too_much_room():
    values = np.random.default_rng(5).integers(0, 10**9, 500)
    values[200:300] = values[:100]
    many = step_lists._distinct(values, 10**9)
    assert np.array_equal(many, sorted(set(values.tolist())))
    assert np.array_equal(
        step_lists._distinct(values % 100, 100), sorted(set((values % 100).tolist()))
    )
    assert step_lists._distinct(values[:0], 10**9).size == 0


def test_an_own_product_is_no_change():
    arrays = compile_network(
        gl.Network.parse("species A = 1, B = 2\nA + 2 B -> 2 B + A @ 1")
    ).arrays
    assert arrays.change_species.size == 0
    assert arrays.reactant_count.tolist() == [1, 2]


def test_the_search_for_garbage_goes_on_after_a_pause_even_when_that_fails():
    assert gc.isenabled()
    with pytest.raises(gl.ParseError):
        gl.Network.parse("species A = ")
    assert gc.isenabled()
    with collection_paused():
        assert not gc.isenabled()
        gl.Network.parse("species A = 1\nA -> 0 @ 1")
        assert not gc.isenabled()  # left to the one who paused it
    assert gc.isenabled()


def test_building_takes_time_in_proportion_to_the_network():
    def seconds(size: int) -> float:
        lines = [f"species S{i} = 1" for i in range(size)]
        lines += [f"S{i} -> S{(i + 1) % size} @ 1" for i in range(size)]
        found = []
        for _ in range(3):
            network = gl.Network.parse("\n".join(lines))
            before = time.process_time()
            compile_network(network)
            found.append(time.process_time() - before)
        return min(found)

    # 8 in proportion, 64 where each reaction goes through all species, which once took 357 s for
    # 100,000 reactions. Processor time, so that what else runs has little part in it.
    assert seconds(16_000) < 24 * seconds(2_000)
