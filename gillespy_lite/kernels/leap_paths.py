"""Leap paths of multilevel estimates, in lanes: what pairs of them and exact paths have in common.

Write each path by points of the plane (time, height) of density 1, one plane for each reaction:
reaction j happens at the points below its propensity. Two paths that share the points are coupled.
Where the propensities are a and b, both see the points below min(a, b), and one alone sees those
between: these are the three Poisson processes of Anderson and Higham (2012), eqs. 16-18 (two
leaps, `leap_pairs.py`) and 24-25 (exact and leap, `exact_pairs.py`). Each path by itself has the
law that it would have alone.

A *leap path* of step h keeps its propensities from one multiple of h to the next. Its counts may
become negative, as reactions that take the last molecules are not stopped; then its propensities
are those of the counts cut off at 0, and so are the states that are recorded. A propensity is cut
off at a largest one, too, and counts as 0 where a rate law has no value. All that belongs to the
definition of the leap path and is the same whichever path it is coupled to. So a sum of differences
between levels telescopes, whatever the leaps are like, and at its end stands the exact path.

References
----------
Anderson and Higham (2012), Multilevel Monte Carlo for continuous time Markov chains, with
applications in biochemical kinetics, Multiscale Model. Simul. 10:146, doi:10.1137/110840546.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import apart, inlined
from .lane_vectors import LANES, load, select, store
from .lanes import law_values
from .random import seed_stream

__all__ = [
    "N_PAIR_COUNTERS",
    "LeapPath",
    "LevelPlan",
    "PairOutput",
    "add_to_leap_path",
    "fill_law_rows",
    "fill_leap_rates",
    "leap_rate",
    "pair_rate",
    "seed_lane",
    "start_leap_path",
]

# Of pairs under way: rows finished or begun, whether a pair is, and two numbers of each kind.
N_PAIR_COUNTERS = 4

# Counts of leap paths are cut off here, far from any sensible path and inside the whole doubles.
_LARGEST_LEAP_COUNT = 2.0**50


class LevelPlan(NamedTuple):
    """What is run: one kind of pair, and when it is recorded. Intervals lie between the times."""

    initial_state: np.ndarray  # (n_species,) float64
    key: np.ndarray  # (4,) uint64, of the streams
    times: np.ndarray  # (n_intervals + 1,) float64
    n_steps: np.ndarray  # (n_intervals,) int64, steps of the coarser leap path
    step: np.ndarray  # (n_intervals,) float64, their length
    factor: int  # steps of the finer leap path in one of them
    is_paired: int  # 0 for a leap path alone, the finer one
    largest_rate: float  # at which propensities of leap paths are cut off
    columns: np.ndarray  # (n_columns,) int64, the species that are recorded


class PairOutput(NamedTuple):
    """What a block of rows gives."""

    finer: np.ndarray  # (n_rows, n_intervals, n_columns) float64, the exact path or finer leaps
    coarser: np.ndarray  # (n_rows, n_intervals, n_columns) float64
    outcome: np.ndarray  # (n_rows,) int64
    n_events: np.ndarray  # (n_rows,) float64, of the exact path or the finer leaps
    n_points: np.ndarray  # (n_rows,) int64, of an exact path: points of either, and ends of leaps
    trouble: np.ndarray  # (n_species + 2,) float64: a row that could not go on, its time and state


class LeapPath(NamedTuple):
    """A leap path in each lane; `law_values` looks for the state and the last two arrays here."""

    counts: np.ndarray  # (n_species * LANES,) float64
    state: np.ndarray  # (n_rows * LANES,) float64, as in `LaneNetwork`; counts cut off at 0
    rate: np.ndarray  # (n_reactions * LANES,) float64, propensities
    factor: np.ndarray  # (n_laws * LANES,) float64, those of the network in every lane
    lane_stack: np.ndarray  # (3,) float64


@apart
def fill_law_rows(network, path):
    """Write the propensities of the laws; nan counts as 0, and so does what is negative."""
    for law in range(network.scaled.size):
        value = law_values(network, path, law)
        store(path.state, (network.n_species + 1 + law) * LANES, select(value > 0.0, value, 0.0))


@inlined
def pair_rate(network, state, reaction):
    """Return the propensities of a reaction of up to two molecules, or of a law, in all lanes."""
    value = network.coefficient[reaction] * load(state, network.first[reaction])
    if network.second[reaction] != network.n_species * LANES:
        value = value * (load(state, network.second[reaction]) - network.shift[reaction])
    return value


@inlined
def leap_rate(network, path, reaction, largest):
    """Return the propensities of a leap path, cut off at the largest one."""
    value = pair_rate(network, path.state, reaction)
    return select(value < largest, value, largest)


@inlined
def fill_leap_rates(network, path, far_network, far_path, largest):
    """Write the propensities of a leap path at its present counts."""
    if network.scaled.size > 0:
        fill_law_rows(far_network, far_path)
    for reaction in range(network.n_reactions):
        store(path.rate, reaction * LANES, leap_rate(network, path, reaction, largest))


@inlined
def add_to_leap_path(network, path, fired):
    """Add the changes of all firings to the counts."""
    for species in range(network.n_species):
        first, last = network.change_start[species], network.change_start[species + 1]
        if first == last:
            continue
        place = species * LANES
        count = load(path.counts, place)
        for k in range(first, last):
            count = count + network.change[k] * load(fired, network.change_reaction[k] * LANES)
        count = select(count < _LARGEST_LEAP_COUNT, count, _LARGEST_LEAP_COUNT)
        count = select(count > -_LARGEST_LEAP_COUNT, count, -_LARGEST_LEAP_COUNT)
        store(path.counts, place, count)
        store(path.state, place, select(count > 0.0, count, 0.0))


@inlined
def start_leap_path(network, plan, path, lane):
    """Put the path in a lane at its start."""
    for species in range(network.n_species):
        path.counts[species * LANES + lane] = plan.initial_state[species]
        path.state[species * LANES + lane] = plan.initial_state[species]
    path.state[network.n_species * LANES + lane] = 1.0


@inlined
def seed_lane(plan, walker, index, lane):
    """Start the stream of a lane for the pair of this index."""
    seed_stream(plan.key, index, walker.seed)
    for word in range(4):
        walker.stream[word * LANES + lane] = walker.seed[word]
