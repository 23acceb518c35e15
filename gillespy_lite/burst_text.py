"""The text of a kernel for one network that runs one trajectory after the other.

An event waits for the one before it: counts, propensities, their sums, the choice, the counts
again. Counts t0, t1, ... and all that is made of them are pairs of equal numbers in vector
registers, for the sake of the comparisons: those of vectors give masks, which can be used several
times and choose between counts in one step. A comparison of two single numbers gives a bit in a
register of another kind, and it takes as long as two additions until a count knows of it. Rate laws
take single numbers, s0, s1, ..., which are the first of each pair.
"""

from __future__ import annotations

import itertools
import struct
from typing import NamedTuple

from .kernels.arrays import ReactionArrays
from .kernels.programs import Programs
from .reaction_text import Reactions, Values, changed_species, program_steps, sum_lines, total_name

__all__ = ["burst_source"]

# An event changes counts by steps between reactions if these are no more than so many in all, else
# by a row of a table. Measured, ns per event, table and steps: SIR (3 steps) 8.3 and 6.5, Vilar's
# oscillator (36) 21 and 18, the repressilator (55) 33 and 27, a cascade of kinases (99) 35 and 33,
# a ring of 62 reactions (about 180) 70 and 76.
MOST_STEPS = 128

# With so few steps a count is chosen from among its values after each reaction; with more, its
# change is put together from bits. Measured, ns per event, choices and bits: Michaelis-Menten (6
# steps) 7.1 and 7.7, Schlogl's (3) 8.8 and 9.5, Vilar's oscillator 16.6 to 17.8 and 16.5, a cascade
# of kinases 32.7 and 30.2; quick masks instead of comparisons take Michaelis-Menten to 6.6 and
# Schlogl's to 8.6, the cascade to 32.6.
_MOST_CHOICES = 8

_HEADER = '''"""Events of one network. Written by gillespy_lite; it is written again if gone."""

import numpy as np

from gillespy_lite.kernels.bursts import ALLOWANCE_SPENT, AT_FAULT, CROSSING, HOLDS
from gillespy_lite.kernels.bits import as_float
from gillespy_lite.kernels.draw_ring import RING, RING_SIZE, next_place
from gillespy_lite.kernels.jit import kernel
from gillespy_lite.kernels.lane_vectors import (
    absolute,
    as_double,
    as_words,
    everywhere_2,
    first_lane,
    masks,
    quick_masks,
    select,
)
from gillespy_lite.kernels.special_functions import factorial, kummer_ratio, power
from gillespy_lite.kernels.walking import FIRED, SPARE, SPARE_TIME, TIME, TROUBLE

ZERO, ONE, INF, NAN = (np.float64(x) for x in (0.0, 1.0, "inf", "nan"))
ALL, BIT = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(1)
N_PLACES = np.uint64(RING)
U17, U19, U23, U41, U45 = (np.uint64(k) for k in (17, 19, 23, 41, 45))
'''

_SIGNATURE = "network, request, walker, horizon, allowance, place"
_ARRAYS = [
    "coefficient, factor, constant = network.coefficient, network.law_factor, "
    "network.laws.constant",
    "parameter, condition_constant = network.parameters, request.condition.constant",
    "state, stream, clock, counter = walker.state, walker.stream, walker.clock, walker.counter",
]


def burst_source(network: ReactionArrays, condition: Programs | None = None) -> str:
    """Return the text of a module with the function ``burst`` for one network.

    Parameters
    ----------
    network : ReactionArrays
        Of at most `DENSE_LIMIT` reactions, none of which moves between events.
    condition : Programs, optional
        One program that ends a trajectory where it is not zero; or none.

    Returns
    -------
    str
        Python. `run_bursts` calls the function.
    """
    parts = Reactions(network)
    condition_part = _condition_lines(network, condition)
    laws = [j for j in range(parts.n) if not parts.is_pair(j)]
    changes, changed = _change_lines(parts), changed_species(parts)
    total = total_name(parts.n)
    fixed = [
        f"k{j} = {'coefficient' if parts.is_pair(j) else 'factor'}[{j}]" for j in range(parts.n)
    ]
    fixed += parts.values.fixed_lines() + (condition_part.fixed if condition_part else [])
    read = {i for j in parts.laws for i in parts.law_reads(j)}
    read |= condition_part.reads if condition_part else set()
    loop = [f"s{i} = first_lane(t{i})" for i in sorted(read)]
    loop += condition_part.lines if condition_part else []
    loop += _propensity_lines(parts)
    loop += sum_lines(parts.n, frozenset(j for j in range(parts.n) if _is_number(parts, j)))
    good = [*(f"(a{j} >= ZERO)" for j in parts.laws), "(total < INF)"]
    loop += [
        f"total = first_lane({total})",
        f"if not ({' & '.join(good)}):",
        "    reason = AT_FAULT",
        "    break",
        "next_time = time + ring[place] / total",
        # Also where the sum is 0, and the next event never comes.
        "if not next_time <= horizon:",
        "    if total <= ZERO:",
        "        next_time = INF",
        "    reason = CROSSING",
        "    break",
        f"target = ring[N_PLACES + place] * {total}",
        "if n_fired == allowance:",
        f"    fired, reason = {_choice(parts.n)}, ALLOWANCE_SPENT",
        "    break",
        "time = next_time",
        "n_fired += 1",
        # What was drawn leaves its place to an event to come.
        *_word_lines("ring[place]"),
        *_word_lines("ring[N_PLACES + place]"),
        "place = next_place(ring, place)",
        *changes.lines,
    ]
    start = [
        *_ARRAYS,
        *(f"t{i} = everywhere_2(np.float64(state[{i}]))" for i in range(parts.n_species)),
        "ra, rb, rc, rd = stream[0], stream[1], stream[2], stream[3]",
        "ring = walker.reals[walker.reals.size - RING_SIZE :]",
        *fixed,
        *(f"a{j} = ZERO" for j in _kept(parts)),
        "time, next_time, fired, n_fired = clock[TIME], INF, np.int64(0), np.int64(0)",
    ]
    if _kept(parts):
        start += ["changed = ALL"]
    end = [
        *(f"state[{i}] = np.int64(first_lane(t{i}))" for i in changed),
        "stream[0], stream[1], stream[2], stream[3] = ra, rb, rc, rd",
        "clock[TIME], clock[SPARE_TIME] = time, next_time",
        "counter[FIRED], counter[SPARE] = fired, n_fired",
        "if reason == AT_FAULT:",
        *(f"    {line}" for line in _fault_lines(parts, laws)),
        "return reason",
    ]
    text = [_HEADER, *changes.table, "", "", f"def burst({_SIGNATURE}):"]
    text += [f"    {line}" for line in [*start, "while True:", *(f"    {x}" for x in loop), *end]]
    return "\n".join(text) + "\n\n\nburst = kernel(burst)\n"


def _word_lines(target: str) -> list[str]:
    """Return how one word is drawn.

    The steps of `random.next_bits` on variables, which a processor keeps in registers.
    """
    return [
        "word = ra + rd",
        "word = ((word << U23) | (word >> U41)) + ra",
        f"{target} = as_float(word)",
        "shifted = rb << U17",
        "rc, rd = rc ^ ra, rd ^ rb",
        "rb, ra = rb ^ rc, ra ^ rd",
        "rc, rd = rc ^ shifted, (rd << U45) | (rd >> U19)",
    ]


class _Condition:
    def __init__(self, values: Values, name: str) -> None:
        self.fixed = [line for line in values.fixed_lines() if not line.startswith("p")]
        self.parameters = [line for line in values.fixed_lines() if line.startswith("p")]
        self.reads = values.reads[name]
        self.lines = [
            *values.lines_for([name]),
            f"if {name} != ZERO:",
            "    reason = HOLDS",
            "    break",
        ]


def _condition_lines(network: ReactionArrays, condition: Programs | None) -> _Condition | None:
    if condition is None or condition.start.size < 2:
        return None
    values = Values("h", "condition_constant", network.parameters, condition.constant)
    found = _Condition(values, values.add(program_steps(condition, 0)))
    found.fixed = found.parameters + found.fixed
    return found


def _kept(parts: Reactions) -> list[int]:
    """Return the reactions whose propensity is kept from event to event."""
    dear = parts.values.is_dear
    return [j for j, law in parts.laws.items() if dear[law] and parts.values.reads[law]]


def _propensity_lines(parts: Reactions) -> list[str]:
    kept = _kept(parts)
    changed = [parts.changes(j).keys() for j in range(parts.n)]
    # Laws that read the same are computed together.
    groups: dict[frozenset[int], list[int]] = {}
    for j in kept:
        groups.setdefault(parts.law_reads(j), []).append(j)
    lines = []
    for reads, reactions in groups.items():
        mask = sum(1 << j for j, one in enumerate(changed) if not reads.isdisjoint(one))
        lines += [
            f"if changed & np.uint64({mask:#x}) != ZERO_BITS:",
            *(f"    {x}" for x in parts.values.lines_for([parts.laws[j] for j in reactions])),
            *(f"    {line}" for j in reactions for line in parts.law_lines(j)),
        ]
    rest = [j for j in range(parts.n) if j not in kept]
    lines += parts.values.lines_for([parts.laws[j] for j in rest if j in parts.laws])
    for j in rest:
        if parts.is_pair(j):
            lines.append(f"a{j} = {parts.pair(j, 't')}")
        else:
            lines += parts.law_lines(j) if j in parts.laws else _product_lines(parts, j)
    return lines


def _product_lines(parts: Reactions, j: int) -> list[str]:
    """Return the propensity of mass action of three molecules or more."""
    factors, needs = [f"k{j}"], []
    for species, count in parts.reactants(j):
        factors += [
            f"(t{species} - {float(taken)!r})" if taken else f"t{species}" for taken in range(count)
        ]
        needs.append(f"(t{species} >= {float(count)!r})")
    return [f"a{j} = select({' & '.join(needs)}, {' * '.join(factors)}, ZERO)"]


def _is_number(parts: Reactions, j: int) -> bool:
    """Return whether a propensity is a single number, not a pair."""
    return j in parts.laws or (parts.is_pair(j) and not parts.reads_species(j))


def _choice(n: int) -> str:
    """Return the number of the chosen reaction: how many sums the target has passed."""
    passed = [f"np.int64(first_lane(q{r}) <= first_lane(target))" for r in range(n - 1)]
    return _tree(passed or ["np.int64(0)"], "+")


def _tree(terms: list[str], operator: str) -> str:
    """Return what an operator makes of terms, as a tree: shorter to wait for than a chain."""
    while len(terms) > 1:
        pairs = [f" {operator} ".join(terms[i : i + 2]) for i in range(0, len(terms), 2)]
        terms = [f"({one})" if len(pairs) > 1 and f" {operator} " in one else one for one in pairs]
    return terms[0]


class _Changes(NamedTuple):
    """What an event does to counts: a table that it needs, or none, and lines."""

    table: list[str]
    lines: list[str]


def _change_lines(parts: Reactions) -> _Changes:
    rows = [parts.changes(j) for j in range(parts.n)]
    columns = {i: [row.get(i, 0) for row in rows] for i in changed_species(parts)}
    n_steps = sum(a != b for one in columns.values() for a, b in itertools.pairwise(one))
    table, lines = [], []
    if _kept(parts) or n_steps > MOST_STEPS:
        lines.append(f"fired = {_choice(parts.n)}")
    if _kept(parts):
        table.append("ZERO_BITS = np.uint64(0)")
        lines.append("changed = BIT << np.uint64(fired)")
    if n_steps <= _MOST_CHOICES:
        return _Changes(table, lines + _choice_lines(parts, columns))
    if n_steps <= MOST_STEPS:
        words, step_lines = _bit_lines(parts.n, columns)
        return _Changes(table + words, lines + step_lines)
    table += ["CHANGE = np.array(", "    ["]
    table += [
        f"        [{', '.join(repr(float(one[j])) for one in columns.values())}],"
        for j in range(parts.n)
    ]
    table += ["    ]", ")"]
    lines += [f"t{i} = t{i} + CHANGE[fired, {column}]" for column, i in enumerate(columns)]
    return _Changes(table, lines)


def _choice_lines(parts: Reactions, columns: dict[int, list[int]]) -> list[str]:
    """Return the changes as choices between counts: m(r) is set if the target is below sum q(r)."""
    lines, may_be_minus_0 = [], True
    for r in range(parts.n - 1):
        may_be_minus_0 = may_be_minus_0 and (r in parts.laws or parts.is_of_a_pair(r))
        if any(one[r] != one[r + 1] for one in columns.values()):
            level = f"absolute(q{r})" if may_be_minus_0 else f"q{r}"
            lines.append(f"m{r} = quick_masks({level}, target)")
    new = {}
    for i, one in columns.items():
        text, is_choice = _count_after(i, one[0]), False
        for r in range(parts.n - 1):
            if one[r] != one[r + 1]:
                before = f"({text})" if is_choice else text
                text = f"(~m{r} & {_count_after(i, one[r + 1])}) | (m{r} & {before})"
                is_choice = True
        new[i] = f"as_double({text})"
    return lines + [f"t{i} = {text}" for i, text in new.items()]


def _count_after(i: int, change: int) -> str:
    return f"as_words(t{i} + {change}.0)" if change else f"as_words(t{i})"


def _bit_lines(n: int, columns: dict[int, list[int]]) -> tuple[list[str], list[str]]:
    """Return the changes put together from bits, as words and lines that use them.

    From the last reaction's change on, each sum that the target is below turns the bits of one
    reaction's change into those of the one before.
    """
    words: dict[int, str] = {}

    def word(bits: int) -> str:
        return words.setdefault(bits, f"x{len(words)}")

    lines = [
        f"m{r} = masks(target < q{r})"
        for r in range(n - 1)
        if any(one[r] != one[r + 1] for one in columns.values())
    ]
    for i, one in columns.items():
        bits = [_bits_of(number) for number in one]
        terms = [
            f"(m{r} & {word(bits[r] ^ bits[r + 1])})" for r in range(n - 1) if one[r] != one[r + 1]
        ]
        if not terms:
            lines.append(f"t{i} = t{i} + {float(one[-1])!r}")
            continue
        terms += [word(bits[-1])] if one[-1] else []
        lines.append(f"t{i} = t{i} + as_double({_tree(terms, '^')})")
    return [f"{name} = np.uint64({bits:#x})" for bits, name in words.items()], lines


def _bits_of(number: int) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])


def _fault_lines(parts: Reactions, laws: list[int]) -> list[str]:
    """Return how the reaction at fault is found: as `update_direct` does."""
    lines = [f"trouble = np.int64({parts.n - 1})"]
    for j in range(parts.n - 1, -1, -1):
        lines += [f"if not first_lane(q{j}) < INF:", f"    trouble = np.int64({j})"]
    for j in reversed(laws):
        value = f"a{j}" if _is_number(parts, j) else f"first_lane(a{j})"
        lines += [
            f"if not ({value} >= ZERO and {value} < INF):",
            f"    trouble = np.int64({j})",
        ]
    return [*lines, "counter[TROUBLE] = trouble"]
