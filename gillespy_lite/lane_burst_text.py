"""The text of a kernel for one network that runs many trajectories in lanes."""

from __future__ import annotations

from .kernels.arrays import ReactionArrays
from .kernels.programs import Programs
from .reaction_text import (
    NOTHING_VARIES,
    Reactions,
    Values,
    Varying,
    changed_species,
    program_steps,
    sum_lines,
    total_name,
)

__all__ = ["lane_burst_source"]

_LANE_HEADER = '''"""Events of one network, in lanes. Written by gillespy_lite, again if gone."""

import numpy as np

from gillespy_lite.kernels.jit import inlined, kernel
from gillespy_lite.kernels.lane_bursts import lane_power_{width} as lane_power
from gillespy_lite.kernels.lane_random import next_words, random_exponential, random_uniform
from gillespy_lite.kernels.lane_vectors import (
    LANES,
    absolute,
    align_stack,
    bits,
    lowest_bit,
    ones,
    select,
    square_root,
    store,
)
from gillespy_lite.kernels.lane_vectors import everywhere_{width} as everywhere
from gillespy_lite.kernels.lane_vectors import load_{width} as load
from gillespy_lite.kernels.special_functions import factorial, kummer_ratio, power

ZERO, ONE, INF, NAN = (np.float64(x) for x in (0.0, 1.0, "inf", "nan"))
NO_BITS, BIT = np.uint64(0), np.uint64(1)
'''

_LANE_SIGNATURE = "network, request, walker, alive, fresh, heeded, n_steps"
_LANE_ARRAYS = [
    "coefficient, factor, constant = network.coefficient, network.factor, network.laws.constant",
    "parameter, condition_constant = network.parameters, request.condition.constant",
    "own_coefficient, own_factor = walker.coefficient, walker.factor",
    "own_parameter = walker.parameters",
    "state, stream, stack, report = walker.state, walker.stream, walker.stack, walker.seed",
    "time, next_time, total = walker.time, walker.next_time, walker.total",
    "grid_time, n_events, max_events = walker.grid_time, walker.n_events, request.max_events",
    "n_lanes = walker.time.size",
]


class _LaneLaws:
    """Reactions that are not PAIR, as lanes have them."""

    def __init__(self, parts: Reactions) -> None:
        self.parts = parts
        laws = [j for j in range(parts.n) if not parts.is_pair(j)]
        self.number = {j: i for i, j in enumerate(laws)}
        # Those that are computed lane by lane, where an event has changed what they read. They are
        # kept in rows of the state.
        self.kept = [
            j for j in laws if j in parts.laws and not parts.values.fits_lanes(parts.laws[j])
        ]
        self.groups: dict[frozenset[int], list[int]] = {}
        for j in self.kept:
            self.groups.setdefault(parts.law_reads(j), []).append(j)

    def row(self, j: int) -> str:
        """Return where the row of a law begins."""
        return f"{self.parts.n_species + 1 + self.number[j]} * LANES"

    def functions(self) -> list[str]:
        """Return a function of one lane for each law that is kept."""
        lines: list[str] = []
        for j in self.kept:
            body = [*self.parts.values.lines_for([self.parts.laws[j]]), *self.parts.law_lines(j)]
            lines += ["", "", "@inlined", f"def law_{j}({', '.join(self._arguments(j))}):"]
            lines += [f"    {line}" for line in [*body, f"return a{j}"]]
        return lines

    def _arguments(self, j: int) -> list[str]:
        fixed = self.parts.values.fixed_arguments([self.parts.laws[j]])
        return [f"k{j}", *fixed, *(f"s{i}" for i in sorted(self.parts.law_reads(j)))]

    def update_lines(self, reads: frozenset[int], lanes: str) -> list[str]:
        """Return the loop that computes the laws of a group afresh in some lanes."""
        lines = [f"todo = {lanes}", "while todo != NO_BITS:", "    lane = lowest_bit(todo)"]
        lines += ["    todo &= todo - BIT"]
        for j in self.groups[reads]:
            given = [
                self.parts.place(one) if one.startswith("s") else one for one in self._arguments(j)
            ]
            if j in self.parts.varying.rates:
                given[0] = f"own_factor[{self.number[j]} * LANES + lane]"
            lines.append(f"    state[{self.row(j)} + lane] = law_{j}({', '.join(given)})")
        return lines

    def changed(self, reads: frozenset[int]) -> str:
        """Return the lanes, as bits, that fired a reaction which changes what a group reads."""
        n = self.parts.n
        does = [not reads.isdisjoint(self.parts.changes(j)) for j in range(n)]
        # m(r) holds the lanes that fired a reaction after r: a run of reactions is a difference.
        runs, j = [], 0
        while j < n:
            if not does[j]:
                j += 1
                continue
            last = j
            while last + 1 < n and does[last + 1]:
                last += 1
            begin = f"bits(m{j - 1})" if j else "went_here"
            runs.append(begin if last == n - 1 else f"({begin} & ~bits(m{last}))")
            j = last + 1
        return " | ".join(runs) or "NO_BITS"

    def lines(self) -> list[str]:
        """Return the assignments of the propensities a0, a1, ..."""
        parts = self.parts
        rest = [parts.laws[j] for j in parts.laws if j not in self.kept]
        lines = parts.values.lines_for(rest, lanes=True)
        for j in range(parts.n):
            if parts.is_pair(j):
                text = parts.pair(j)
                is_wide = parts.reads_species(j) or j in parts.varying.rates
                lines.append(f"a{j} = {text if is_wide else f'everywhere({text})'}")
            elif j in self.kept:
                lines.append(f"a{j} = load(state, {self.row(j)} + at)")
            else:
                lines += self._law_lines(j)
        return lines

    def _law_lines(self, j: int) -> list[str]:
        parts = self.parts
        is_custom = parts.is_custom(j)
        weight = f"k{j}" if j in parts.varying.rates else f"everywhere(k{j})"
        lines, needs = [f"w{j} = {weight}"], []
        for species, count in parts.reactants(j):
            if count:
                needs.append((species, count))
            if not is_custom:
                for taken in range(count):
                    of = f"(s{species} - {float(taken)!r})" if taken else f"s{species}"
                    lines.append(f"w{j} = w{j} * {of}")
        for species, count in needs:
            lines.append(f"w{j} = select(s{species} < {float(count)!r}, 0.0, w{j})")
        if j not in parts.laws:
            return [*lines, f"a{j} = w{j}"]
        value = parts.laws[j]
        value = value if parts.values.reads[value] else f"everywhere({value})"
        return [*lines, f"a{j} = select(w{j} == 0.0, w{j}, w{j} * {value})"]


def lane_burst_source(
    network: ReactionArrays,
    condition: Programs | None = None,
    width: int = 8,
    varying: Varying = NOTHING_VARIES,
) -> str:
    """Return the text of a module with the function ``burst`` of one network's lanes.

    Parameters and limits are those of `burst_source`, and `width` is how many lanes go through a
    step together, 8 or 16; `run_lane_bursts` calls the function. What varies is read for each lane,
    all other numbers once, those of the first set. Laws of operations that lanes have
    are computed at every step, the others only where they have changed. Which is which depends on
    the exponents that are 2, 3 or 4 now; the numbers do not.
    """
    parts = Reactions(network, varying)
    laws = _LaneLaws(parts)
    fixed = [
        f"k{j} = coefficient[{j}]" if parts.is_pair(j) else f"k{j} = factor[{laws.number[j]}]"
        for j in range(parts.n)
        if j not in varying.rates
    ]
    own = [
        f"k{j} = load(own_coefficient, {j} * LANES + at)"
        if parts.is_pair(j)
        else f"k{j} = load(own_factor, {laws.number[j]} * LANES + at)"
        for j in sorted(varying.rates)
        if j not in laws.kept
    ]
    own += [
        f"s{parts.n_species + 1 + i} = load(own_parameter, {i} * LANES + at)"
        for i in sorted(varying.parameters)
    ]
    fixed += parts.values.fixed_lines()
    n, total = parts.n, total_name(parts.n)
    step = [
        *(f"s{i} = load(state, {i} * LANES + at)" for i in range(parts.n_species)),
        *own,
        *laws.lines(),
        *sum_lines(n),
        "ra, rb = load(stream, at), load(stream, LANES + at)",
        "rc, rd = load(stream, 2 * LANES + at), load(stream, 3 * LANES + at)",
        "word, na, nb, nc, nd = next_words(ra, rb, rc, rd)",
        "waiting = random_exponential(word)",
        "word, na, nb, nc, nd = next_words(na, nb, nc, nd)",
        "now, events = load(time, at), load(n_events, at)",
        f"then = now + waiting / {total}",
        "goes = (then <= load(grid_time, at)) & (events != max_events)",
        f"target = select(goes, random_uniform(word) * {total}, -1.0)",
        *(f"m{r} = q{r} <= target" for r in range(n - 1)),
        "store(time, at, select(goes, then, now))",
        "store(n_events, at, events + ones(goes))",
        "store(stream, at, select(goes, na, ra))",
        "store(stream, LANES + at, select(goes, nb, rb))",
        "store(stream, 2 * LANES + at, select(goes, nc, rc))",
        "store(stream, 3 * LANES + at, select(goes, nd, rd))",
        "store(next_time, at, then)",
        f"store(total, at, {total})",
        "went_here = bits(goes)",
        "went |= went_here << np.uint64(at)",
    ]
    for i in changed_species(parts):
        before = 0
        for j in range(n):
            by = parts.changes(j).get(i, 0)
            if by != before:
                mask = f"m{j - 1}" if j else "goes"
                step.append(f"s{i} = select({mask}, s{i} + {float(by - before)!r}, s{i})")
            before = by
        step.append(f"store(state, {i} * LANES + at, s{i})")
    for reads in laws.groups:
        step += laws.update_lines(reads, f"({laws.changed(reads)}) << np.uint64(at)")
    good = [*(f"(a{j} >= 0.0)" for j in laws.number), f"({total} < INF)"]
    step += [f"fault |= bits(~({' & '.join(good)})) << np.uint64(at)"]
    found = _lane_condition(parts, network, condition)
    condition_lines, condition_functions, condition_fixed = found
    step += condition_lines
    loop = [
        "n_done += 1",
        "went, hits, fault = NO_BITS, NO_BITS, NO_BITS",
        # In pieces, so that what a piece has to remember stays in registers.
        f"for at in range(0, n_lanes, {width}):",
        *(f"    {line}" for line in step),
        "if ((~went & heeded) | ((hits | fault) & alive)) != NO_BITS or n_done == n_steps:",
        "    break",
    ]
    start = [*_LANE_ARRAYS, *fixed, *condition_fixed]
    for reads in laws.groups:
        start += laws.update_lines(reads, "fresh")
    start += ["n_done = np.int64(0)"]
    end = [
        "report[0], report[1], report[2] = went, hits, fault",
        "return n_done",
    ]
    body = ["align_stack()", *start, "while True:", *(f"    {line}" for line in loop), *end]
    functions = [*laws.functions(), *condition_functions]
    text = [
        _LANE_HEADER.format(width=width).rstrip(),
        *functions,
        "",
        "",
        f"def burst({_LANE_SIGNATURE}):",
    ]
    text += [f"    {line}" for line in body]
    return "\n".join(text) + "\n\n\nburst = kernel(burst)\n"


def _lane_condition(
    parts: Reactions, network: ReactionArrays, condition: Programs | None
) -> tuple[list[str], list[str], list[str]]:
    """Return the lines that find where the condition holds, functions and fixed values for them."""
    if condition is None or condition.start.size < 2:
        return [], [], []
    values = Values(
        "h",
        "condition_constant",
        network.parameters,
        condition.constant,
        parts.varying.parameters,
        parts.n_species + 1,
    )
    name = values.add(program_steps(condition, 0))
    fixed = values.fixed_lines()
    if not values.reads[name]:
        # It does not depend on the state: it held at the start, or never will.
        return [f"if {name} != ZERO:", "    hits |= went_here << np.uint64(at)"], [], fixed
    if values.fits_lanes(name):
        lines = values.lines_for([name], lanes=True)
        return [*lines, f"hits |= (bits({name} != 0.0) & went_here) << np.uint64(at)"], [], fixed
    arguments = values.fixed_arguments([name])
    species = sorted(values.reads[name])
    given = [*arguments, *(parts.place(f"s{i}") for i in species)]
    function = ["", "", "@inlined"]
    function += [f"def holds({', '.join([*arguments, *(f's{i}' for i in species)])}):"]
    function += [f"    {line}" for line in [*values.lines_for([name]), f"return {name} != ZERO"]]
    lines = [
        "todo = (went_here << np.uint64(at)) & alive",
        "while todo != NO_BITS:",
        "    lane = lowest_bit(todo)",
        "    todo &= todo - BIT",
        f"    if holds({', '.join(given)}):",
        "        hits |= BIT << np.uint64(lane)",
    ]
    return lines, function, fixed
