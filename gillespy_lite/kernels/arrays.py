"""The groups of arrays that kernels read and write: what a network and a run look like to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .delays import Delays
from .event_handling import Events, EventStore
from .paths import Path
from .programs import Programs

__all__ = [
    "CUSTOM",
    "GENERAL",
    "LONGEST_ROW",
    "PAIR",
    "ROW_CHANGES",
    "ROW_DEPENDENTS",
    "ROW_HEAD",
    "SCALED",
    "Box",
    "JumpNetwork",
    "JumpWalker",
    "Output",
    "ReactionArrays",
    "Request",
    "Walker",
    "cache_aligned",
]

# How a propensity is computed.
PAIR = 0  # mass action of at most two molecules, without a branch
GENERAL = 1  # mass action of three molecules or more
SCALED = 2  # mass action times a program (a rate that depends on the state)
CUSTOM = 3  # the program alone (`=>`), zero while a reactant is missing

# Places in `ReactionArrays.rows`: the numbers of dependents and of changes; the first dependent.
ROW_DEPENDENTS, ROW_CHANGES, ROW_HEAD = 3, 4, 5
LONGEST_ROW = 64

# What a processor loads from memory at once, in doubles.
_CACHE_LINE = 8


class ReactionArrays(NamedTuple):
    """A network as its propensity arrays; all arrays C-contiguous and writable.

    A state has one more entry than there are species: the last is always 1 and stands for the
    missing partner of sources and of first-order reactions.
    """

    form: np.ndarray  # (n_reactions,) int64
    # Propensity of PAIR j: coefficient[j] * x[first[j]] * (x[second[j]] - shift[j]). The other
    # forms have coefficient 0 here, so that the formula may be applied to all.
    coefficient: np.ndarray  # (n_reactions,) float64: rate constant over the factorials, per time
    first: np.ndarray  # (n_reactions,) int64
    second: np.ndarray  # (n_reactions,) int64
    shift: np.ndarray  # (n_reactions,) float64: 1 when both molecules are of one species
    # The other forms: this factor (GENERAL: rate constant over the factorials; SCALED: one over
    # the factorials; CUSTOM: 1) times what the form says.
    law_factor: np.ndarray  # (n_reactions,) float64
    # Reaction j owns start[j]:start[j + 1] of the next lists.
    reactant_start: np.ndarray  # (n_reactions + 1,) int64
    reactant: np.ndarray  # (n_entries,) int64, index into the state
    reactant_count: np.ndarray  # (n_entries,) int64, molecules that one event needs
    change_start: np.ndarray  # (n_reactions + 1,) int64
    change_species: np.ndarray  # (n_entries,) int64
    change: np.ndarray  # (n_entries,) int64, net molecules made by one event; 0 in padding
    # Reactions whose propensity one event of j changes: those of the lists
    # part[part_start[j]:part_start[j + 1]] below; for j = n_reactions, all. A reaction may stand in
    # several parts of j. In networks of at most DENSE_LIMIT reactions j is its own only part.
    part_start: np.ndarray  # (n_reactions + 2,) int64
    part: np.ndarray  # (n_parts,) int64
    dependent_start: np.ndarray  # (n_lists + 1,) int64
    dependent: np.ndarray  # (n_entries,) int64
    # Those of them that are not PAIR.
    law_dependent_start: np.ndarray  # (n_lists + 1,) int64
    law_dependent: np.ndarray  # (n_entries,) int64
    # Inner nodes of the sum tree above all of them, children before parents (see sum_tree.py).
    node_start: np.ndarray  # (n_lists + 1,) int64
    node: np.ndarray  # (n_entries,) int64
    # In large networks of PAIR reactions with few dependents all that an event of j reads, in
    # neighbouring places: first, second, shift, number of dependents, number of changes,
    # dependents in order, then species and change in turn. Otherwise without rows.
    rows: np.ndarray  # (n_reactions or 0, a multiple of 16) int32
    # Species that the law of reaction j names.
    law_species_start: np.ndarray  # (n_reactions + 1,) int64
    law_species: np.ndarray  # (n_entries,) int64
    # For leaping: the most molecules in a mass-action reaction that takes this species (0: none),
    # and the most molecules of the species itself in one of that many.
    highest_order: np.ndarray  # (n_species,) int64
    highest_count: np.ndarray  # (n_species,) int64
    # Whether the propensity moves between events: it depends on t or on what moves. Then what the
    # methods see is a bound of it.
    moves: np.ndarray  # (n_reactions,) int64
    laws: Programs  # one program a reaction; empty for PAIR and GENERAL
    parameters: np.ndarray  # (n_parameters,) float64


class JumpNetwork(NamedTuple):
    """A network with rates or variables that move between events, with delays, or with events.

    A step is what changes the state at once: 0 ... n - 1 an event of a reaction (with a delay, its
    initiation); n everything; n + 1 a new window, which changes the bounds of what moves; n + 2 + j
    the completion of reaction j; 2 n + 2 nothing. The lists of changes and dependents below have an
    entry for each step.
    """

    reactions: ReactionArrays
    moving_reactions: np.ndarray  # (n_moving_reactions,) int64: those that move
    rates: Programs  # one for each moving variable, in the order of `Path.moving`
    switches: Programs  # the parts of `rates` that jump: comparisons, floor, ceil
    restarts: np.ndarray  # (n_steps,) int64: whether a step changes what `rates` read
    delays: Delays
    events: Events
    n_species: int
    condition_moves: bool  # whether `Request.condition` can change between jumps


class Request(NamedTuple):
    """What a run is asked for; the same for all its trajectories."""

    times: np.ndarray  # (n_times,) float64, increasing; the run goes from the first to the last
    # (n_species + 1,) int64, the last entry 1; for a `JumpNetwork` (n_states + 1,) float64.
    initial_state: np.ndarray
    key: np.ndarray  # (4,) uint64, key of the random streams
    columns: np.ndarray  # (n_columns,) int64, species that are recorded
    observed: Programs  # observables that are recorded
    condition: Programs  # one program that ends a trajectory when not zero, or none
    options: np.ndarray  # (n_options,) float64, of the method
    max_events: int  # of one trajectory
    every_event: bool  # record each event instead of the grid


class Walker(NamedTuple):
    """One thread's place in its work: all that a kernel needs to go on where it stopped."""

    state: np.ndarray  # (n_species + 1,) int64
    stream: np.ndarray  # (4,) uint64
    clock: np.ndarray  # (N_CLOCKS,) float64, see walking.py
    counter: np.ndarray  # (N_COUNTERS,) int64, see walking.py
    stack: np.ndarray  # (depth,) float64, scratch of `evaluate_program`
    reals: np.ndarray  # (size chosen by the method,) float64
    integers: np.ndarray  # (size chosen by the method,) int64


class Box(NamedTuple):
    """Where the state is from the start of a window to its end, and scratch of `program_range`."""

    low: np.ndarray  # (n_states + 1,) float64
    high: np.ndarray  # (n_states + 1,) float64
    low_stack: np.ndarray  # (depth,) float64
    high_stack: np.ndarray  # (depth,) float64


class JumpWalker(NamedTuple):
    """A walker through a `JumpNetwork`; the first fields mean the same as those of `Walker`."""

    state: np.ndarray  # (n_states + 1,) float64: counts, variables, 1
    stream: np.ndarray  # (4,) uint64
    clock: np.ndarray  # (N_JUMP_CLOCKS,) float64, see thinning.py
    counter: np.ndarray  # (N_JUMP_COUNTERS,) int64, see thinning.py
    stack: np.ndarray  # (depth,) float64, scratch of `evaluate_program`
    reals: np.ndarray  # (size chosen by the method,) float64
    integers: np.ndarray  # (size chosen by the method,) int64
    tolerances: np.ndarray  # (2,) float64: relative and absolute, of the variables' steps
    # What the methods take for propensities: those that move are bounds, to the end of the window.
    value: np.ndarray  # (n_reactions,) float64
    box: Box
    path: Path
    slopes: np.ndarray  # (N_STAGES, n_moving) float64, scratch of `step_path`
    due_time: np.ndarray  # (capacity,) float64, a heap of completions, see delays.py
    due_reaction: np.ndarray  # (capacity,) int64
    store: EventStore


class Output(NamedTuple):
    """Where a kernel writes. Row r belongs to the r-th trajectory of the piece of work."""

    counts: np.ndarray  # (n_rows, n_times, n_columns) int64
    values: np.ndarray  # (n_rows, n_times, n_observed) float64
    outcome: np.ndarray  # (n_rows,) int64, a status of walking.py; 0 while not finished
    hitting_time: np.ndarray  # (n_rows,) float64, nan where the condition was not met
    n_events: np.ndarray  # (n_rows,) int64
    # Only when every event is recorded, for one trajectory; filled from the front, then drained.
    event_time: np.ndarray  # (capacity,) float64
    event_counts: np.ndarray  # (capacity, n_columns) int64
    event_values: np.ndarray  # (capacity, n_observed) float64
    # (capacity,) int64; -1 for the start, leaps, delayed completions and events of the network.
    event_reaction: np.ndarray


def cache_aligned(size: int) -> np.ndarray:
    """Return zeros, (size,) float64, from the start of a cache line on.

    NumPy begins anywhere, and then every row of one line stands in two.
    """
    room = np.zeros(size + _CACHE_LINE)
    skipped = -room.ctypes.data % 64 // 8
    return room[skipped : skipped + size]
