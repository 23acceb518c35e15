"""From a compiled network to what lanes read, and the arrays in which they work."""

from __future__ import annotations

from typing import Any

import numpy as np

from .compilation import CompiledNetwork
from .kernels.arrays import CUSTOM, PAIR, ReactionArrays, Request, cache_aligned
from .kernels.lane_leaps import LeapNetwork, LeapWalker
from .kernels.lane_martingales import MartingaleLanes, MartingaleWalker
from .kernels.lane_tapes import write_tape
from .kernels.lane_vectors import LANES
from .kernels.lanes import (
    LARGEST_LANE_CHANGE,
    LARGEST_LANE_COUNT,
    N_LANE_COUNTERS,
    LaneNetwork,
    LaneWalker,
)
from .kernels.programs import Programs
from .kernels.sum_tree import ARITY, DENSE_LIMIT, tree_size

__all__ = [
    "compile_lanes",
    "compile_leap_lanes",
    "compile_martingale_lanes",
    "lane_state",
    "lane_walker",
    "leap_walker",
    "martingale_walker",
    "n_places",
    "why_no_lanes",
]

# Rows of a set where there is one set: more than any run has.
ONE_SET = 2**62

# Up to this many entries of the stoichiometry matrix they are gone through for all lanes at once;
# above, each lane goes through those of its own reaction. See benchmarks/lanes.py.
_MOST_CHANGES = 48


def why_no_lanes(compiled: CompiledNetwork, most_reactions: int = DENSE_LIMIT) -> str | None:
    """Return why a network cannot run in lanes of some kind, or None if it can."""
    n = compiled.arrays.form.size
    if compiled.moves:
        return (
            "it has rates, variables, delays or events that need more than the jumps of reactions"
        )
    if n > most_reactions:
        return f"it has {n} reactions, and lanes take at most {most_reactions}"
    if n == 0:
        return "it has no reaction"
    if np.abs(compiled.arrays.change).max(initial=0) > LARGEST_LANE_CHANGE:
        return "one event changes a count by more than 2**40"
    if compiled.initial_state.max(initial=0) > LARGEST_LANE_COUNT:
        return "a count starts above 2**52"
    return None


def n_places(n_reactions: int) -> int:
    """Return how many places lanes have for propensities: whole blocks of what is added up."""
    block = 4 if n_reactions <= DENSE_LIMIT else ARITY
    return block * -(-n_reactions // block)


def compile_lanes(compiled: CompiledNetwork) -> LaneNetwork:
    """Return the arrays of a network for which `why_no_lanes` knows no reason."""
    network, arrays = compiled.network, compiled.arrays
    lanes = network.memo.get("lanes")
    if lanes is None:
        lanes = network.memo["lanes"] = _build(arrays, network.n_species)
    # Relatives share the structure and have rate constants and parameters of their own.
    laws = np.flatnonzero(arrays.form != PAIR)
    coefficient = lanes.coefficient.copy()
    coefficient[: arrays.form.size] = arrays.coefficient
    coefficient[laws] = 1.0
    return lanes._replace(
        coefficient=coefficient, factor=arrays.law_factor[laws], parameters=arrays.parameters
    )


def _build(arrays: ReactionArrays, n_species: int) -> LaneNetwork:
    n = arrays.form.size
    laws = np.flatnonzero(arrays.form != PAIR)
    n_padded = n_places(n)
    first, second = np.full(n_padded, n_species), np.full(n_padded, n_species)
    shift = np.zeros(n_padded)
    first[:n], second[:n], shift[:n] = arrays.first, arrays.second, arrays.shift
    first[laws], second[laws] = n_species + 1 + np.arange(laws.size), n_species
    changes = np.zeros((n_species, n))
    for j in range(n):
        for k in range(arrays.change_start[j], arrays.change_start[j + 1]):
            if arrays.change[k] != 0:
                changes[arrays.change_species[k], j] += arrays.change[k]
    of_species, reactions = np.nonzero(changes)
    width = int((changes != 0).sum(axis=0).max()) if reactions.size > _MOST_CHANGES else 0
    row_species = np.full((n + 1, width), n_species * LANES)
    row_change = np.zeros((n + 1, width))
    for j in range(n if width else 0):
        changed = np.flatnonzero(changes[:, j])
        row_species[j, : changed.size] = changed * LANES
        row_change[j, : changed.size] = changes[changed, j]
    programs = _chosen_programs(arrays.laws, laws)
    n_parameters = arrays.parameters.size
    first_parameter = n_species + 1 + laws.size
    tape, constants, n_scratch = write_tape(
        programs, first_parameter, first_parameter + n_parameters
    )
    reactants = [slice(arrays.reactant_start[j], arrays.reactant_start[j + 1]) for j in laws]
    return LaneNetwork(
        coefficient=np.zeros(n_padded),
        first=first * LANES,
        second=second * LANES,
        shift=shift,
        factor=np.zeros(laws.size),
        scaled=(arrays.form[laws] != CUSTOM).astype(np.int64),
        reactant_start=_starts([one.stop - one.start for one in reactants]),
        reactant=_joined([arrays.reactant[one] for one in reactants]),
        reactant_count=_joined([arrays.reactant_count[one] for one in reactants]),
        laws=programs,
        tape=tape,
        constants=constants,
        n_scratch=n_scratch,
        parameters=arrays.parameters,
        change_start=np.searchsorted(of_species, np.arange(n_species + 1)).astype(np.int64),
        change_reaction=reactions.astype(np.int64),
        change=changes[of_species, reactions],
        row_width=width,
        row_species=row_species.ravel(),
        row_change=row_change.ravel(),
        n_species=n_species,
        n_reactions=n,
        n_parameters=n_parameters,
        rows_per_set=ONE_SET,
    )


def compile_leap_lanes(compiled: CompiledNetwork) -> LeapNetwork:
    """Return the arrays by which a network leaps in lanes; `why_no_lanes` knows no reason."""
    network, arrays = compiled.network, compiled.arrays
    leaps = network.memo.get("leap lanes")
    if leaps is None:
        leaps = network.memo["leap lanes"] = _build_leaps(arrays, compile_lanes(compiled))
    return leaps._replace(lanes=compile_lanes(compiled))


def _build_leaps(arrays: ReactionArrays, lanes: LaneNetwork) -> LeapNetwork:
    takes = arrays.change < 0
    of_reaction = np.repeat(np.arange(arrays.form.size), np.diff(arrays.change_start))
    laws = np.flatnonzero(arrays.form != PAIR)
    named = [
        arrays.law_species[arrays.law_species_start[j] : arrays.law_species_start[j + 1]]
        for j in laws
    ]
    bounded = (arrays.highest_order > 0).astype(np.int64)
    bounded[_joined(named)] = 1
    n_taken = np.bincount(of_reaction[takes], minlength=arrays.form.size)
    return LeapNetwork(
        lanes=lanes,
        taken_start=_starts(n_taken.tolist()),
        taken_place=arrays.change_species[takes] * LANES,
        taken=-arrays.change[takes].astype(np.float64),
        bounded=bounded,
        highest_order=arrays.highest_order,
        highest_count=arrays.highest_count,
        law_reaction=laws,
        law_species_start=_starts([one.size for one in named]),
        law_species=_joined(named),
        largest_change=float(np.abs(arrays.change).max(initial=1)),
    )


def compile_martingale_lanes(
    compiled: CompiledNetwork, edges: np.ndarray, weights: np.ndarray
) -> MartingaleLanes:
    """Return the arrays by which a network runs in lanes with a sum of weighted martingales.

    Parameters
    ----------
    compiled : CompiledNetwork
        For which `why_no_lanes` knows no reason.
    edges : ndarray, shape (n_intervals + 1,), float64
    weights : ndarray, shape (n_intervals, n_reactions), float64
    """
    falls = weights.copy()
    falls[:, :-1] -= weights[:, 1:]
    return MartingaleLanes(
        lanes=compile_lanes(compiled),
        edges=np.ascontiguousarray(edges),
        first=np.ascontiguousarray(weights[:, 0]),
        falls=np.ascontiguousarray(falls),
    )


def _starts(sizes: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *pieces])


def _chosen_programs(programs: Programs, which: np.ndarray) -> Programs:
    pieces = [slice(programs.start[p], programs.start[p + 1]) for p in which]
    return Programs(
        _starts([one.stop - one.start for one in pieces]),
        _joined([programs.operation[one] for one in pieces]),
        _joined([programs.argument[one] for one in pieces]),
        programs.constant,
    )


class _Vectors:
    """Zeros for vectors of lanes, each of which begins with a cache line.

    A vector of a processor with AVX-512 is as wide as a line. One that stands in two lines is read
    twice and, worse, can't be read back before it has left the processor's queue of writes.
    """

    def __init__(self, n_vectors: int) -> None:
        self._memory, self._next = cache_aligned(n_vectors * LANES), 0

    def take(self, n_vectors: int = 1, value: float = 0.0, dtype: Any = np.float64) -> np.ndarray:
        """Return the next of them, (n_vectors * LANES,)."""
        # A third of what two slices and a view take.
        taken = np.ndarray(n_vectors * LANES, dtype, self._memory, self._next)
        self._next += taken.nbytes
        if value != 0.0:
            taken[:] = value
        return taken


def lane_state(lanes: LaneNetwork) -> np.ndarray:
    """Return a state of lanes, flat, with the parameters of the first set and the constants."""
    state = np.zeros(_n_rows(lanes) * LANES)
    _fill_rows(lanes, state)
    return state


def _n_rows(lanes: LaneNetwork) -> int:
    n_numbers = lanes.n_parameters + lanes.constants.size
    return lanes.n_species + 1 + lanes.scaled.size + n_numbers + lanes.n_scratch


def _fill_rows(lanes: LaneNetwork, state: np.ndarray) -> None:
    numbers = np.concatenate([lanes.parameters[: lanes.n_parameters], lanes.constants])
    first = (lanes.n_species + 1 + lanes.scaled.size) * LANES
    state[first:][: numbers.size * LANES] = numbers.repeat(LANES)


def lane_walker(
    lanes: LaneNetwork, request: Request, stack_depth: int, queue: np.ndarray
) -> LaneWalker:
    """Return a thread's own working arrays; `queue` is the counter of rows that threads share."""
    n_laws, n_padded = lanes.scaled.size, lanes.first.size
    first_parameter = lanes.n_species + 1 + n_laws
    n_rows = _n_rows(lanes)
    condition, constants, n_more = write_tape(request.condition, first_parameter, n_rows)
    n_more += constants.size
    n_sums = n_padded if lanes.n_reactions <= DENSE_LIMIT else tree_size(lanes.n_reactions)
    take = _Vectors(n_rows + n_more + 4 + n_sums + n_padded + n_laws + 11).take
    state = take(n_rows + n_more)
    _fill_rows(lanes, state)
    state[n_rows * LANES :][: constants.size * LANES] = constants.repeat(LANES)
    return LaneWalker(
        queue=queue,
        counter=np.zeros(N_LANE_COUNTERS, dtype=np.int64),
        clock=np.zeros(2),
        state=state,
        stream=take(4, dtype=np.uint64),
        cumulative=take(n_sums),
        time=take(),
        next_time=take(),
        total=take(),
        grid_time=take(value=-np.inf),
        look_time=take(),
        n_events=take(dtype=np.int64),
        chosen=take(dtype=np.int64),
        target=take(),
        n_recorded=take(dtype=np.int64),
        row=take(dtype=np.int64),
        set=np.full(LANES, -1),
        coefficient=take(n_padded),
        factor=take(n_laws),
        parameters=state[first_parameter * LANES :][: lanes.n_parameters * LANES],
        condition=condition,
        stack=take(),
        lane_state=np.ones(lanes.n_species + 1),
        lane_stack=np.zeros(max(stack_depth, 3)),
        seed=np.zeros(4, dtype=np.uint64),
    )


def leap_walker(
    leaps: LeapNetwork, request: Request, stack_depth: int, queue: np.ndarray
) -> LeapWalker:
    """Return a thread's own working arrays for lanes that leap; see `lane_walker`."""
    inner = lane_walker(leaps.lanes, request, stack_depth, queue)
    n_reactions, n_species = leaps.lanes.n_reactions, leaps.lanes.n_species
    take = _Vectors(6 + 2 * n_reactions + 2 * n_species).take
    return LeapWalker(
        counter=inner.counter,
        clock=inner.clock,
        lanes=inner,
        burst=take(),
        limit=take(value=np.inf),
        calm=take(n_reactions),
        firings=take(n_reactions),
        trial=take(n_species),
        bounds=take(n_species),
        draws=take(3),
        look_events=take(dtype=np.int64),
    )


def martingale_walker(
    lanes: MartingaleLanes, request: Request, stack_depth: int, queue: np.ndarray
) -> MartingaleWalker:
    """Return a thread's own working arrays for lanes with martingales; see `lane_walker`."""
    inner = lane_walker(lanes.lanes, request, stack_depth, queue)
    return MartingaleWalker(
        counter=inner.counter,
        clock=inner.clock,
        lanes=inner,
        interval=np.zeros(LANES, dtype=np.int64),
        first=np.zeros(LANES),
        falls=np.zeros(lanes.falls.shape[1] * LANES),
        martingale=np.zeros(LANES),
        since=np.zeros(LANES),
        slope=np.zeros(LANES),
    )
