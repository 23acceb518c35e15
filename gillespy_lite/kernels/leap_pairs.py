"""Two leap paths that stay close: leaps of two lengths, from the same points (`leap_paths.py`).

All lanes of leaps make the same number of steps and keep together.

References
----------
Anderson and Higham (2012), Multilevel Monte Carlo for continuous time Markov chains, with
applications in biochemical kinetics, Multiscale Model. Simul. 10:146, doi:10.1137/110840546.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import apart, inlined, kernel
from .lane_leaps import fill_poisson
from .lane_random import next_words, random_uniform_inside
from .lane_vectors import LANES, absolute, load, select, store
from .lanes import fill_fixed
from .leap_paths import LeapPath, add_to_leap_path, fill_leap_rates, seed_lane, start_leap_path
from .references import refer
from .walking import ALL_DONE, BUDGET_SPENT, COMPLETE

__all__ = ["LeapPairs", "run_leap_pairs"]

# LeapPairs.counter: rows finished, is a pair under way, and the interval and the step within it.
_ROWS, _UNDER_WAY, _INTERVAL, _STEP = range(4)


class LeapPairs(NamedTuple):
    """One thread's lanes of leaps: all that the kernel needs to go on where it stopped."""

    counter: np.ndarray  # (N_PAIR_COUNTERS,) int64
    finer: LeapPath
    coarser: LeapPath
    stream: np.ndarray  # (4 * LANES,) uint64
    fired: np.ndarray  # (n_reactions * LANES,) float64, of the finer path
    fired_coarser: np.ndarray  # (n_reactions * LANES,) float64
    draws: np.ndarray  # (4 * LANES,) float64, scratch
    n_events: np.ndarray  # (LANES,) float64, of the finer path
    seed: np.ndarray  # (4,) uint64, scratch


@apart
def _start_group(network, plan, walker, first_index):
    """Put all lanes at the start of the next rows."""
    row = walker.counter[_ROWS]
    fill_fixed(network, walker.finer)
    fill_fixed(network, walker.coarser)
    for lane in range(LANES):
        seed_lane(plan, walker, first_index + row + lane, lane)
        start_leap_path(network, plan, walker.finer, lane)
        start_leap_path(network, plan, walker.coarser, lane)
        walker.n_events[lane] = 0.0


@apart
def _record_group(network, plan, walker, output, interval):
    row = walker.counter[_ROWS]
    for lane in range(LANES):
        for c in range(plan.columns.size):
            place = plan.columns[c] * LANES + lane
            output.finer[row + lane, interval, c] = walker.finer.state[place]
            output.coarser[row + lane, interval, c] = walker.coarser.state[place]


@inlined
def _draw_firings(network, plan, walker, step):
    """Draw the firings of both paths within a step of the finer one."""
    stream, draws = walker.stream, walker.draws
    s0, s1 = load(stream, 0), load(stream, LANES)
    s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
    n_events = load(walker.n_events, 0)
    for reaction in range(network.n_reactions):
        place = reaction * LANES
        finer = load(walker.finer.rate, place)
        shared, coarser = finer, finer
        if plan.is_paired != 0:
            coarser = load(walker.coarser.rate, place)
            shared = select(finer < coarser, finer, coarser)
        word, s0, s1, s2, s3 = next_words(s0, s1, s2, s3)
        fill_poisson(random_uniform_inside(word), shared * step, walker.fired, place, draws)
        if plan.is_paired != 0:
            word, s0, s1, s2, s3 = next_words(s0, s1, s2, s3)
            alone = absolute(finer - coarser) * step
            fill_poisson(random_uniform_inside(word), alone, draws, 3 * LANES, draws)
            both, one = load(walker.fired, place), load(draws, 3 * LANES)
            is_finer = finer > coarser
            store(walker.fired, place, select(is_finer, both + one, both))
            store(walker.fired_coarser, place, select(is_finer, both, both + one))
        n_events = n_events + load(walker.fired, place)
    store(walker.n_events, 0, n_events)
    store(stream, 0, s0)
    store(stream, LANES, s1)
    store(stream, 2 * LANES, s2)
    store(stream, 3 * LANES, s3)


@kernel
def run_leap_pairs(network, plan, walker, output, first_index, budget):
    """Run rows, a whole number of times LANES, of two leap paths or one; return why it stopped.

    `budget` is the number of steps of the finer path after which it stops.
    """
    far_network, far_plan, far_walker = refer(network), refer(plan), refer(walker)
    counter, output_rows = walker.counter, output.outcome.size
    while counter[_ROWS] < output_rows:
        if counter[_UNDER_WAY] == 0:
            _start_group(far_network, far_plan, far_walker, first_index)
            counter[_UNDER_WAY], counter[_INTERVAL], counter[_STEP] = 1, 0, 0
        while counter[_INTERVAL] < plan.n_steps.size:
            interval = counter[_INTERVAL]
            step = plan.step[interval] / np.float64(plan.factor)
            while counter[_STEP] < plan.n_steps[interval]:
                if budget <= 0:
                    return BUDGET_SPENT
                if plan.is_paired != 0:
                    fill_leap_rates(
                        network, walker.coarser, far_network, far_walker.coarser, plan.largest_rate
                    )
                for _ in range(plan.factor):
                    fill_leap_rates(
                        network, walker.finer, far_network, far_walker.finer, plan.largest_rate
                    )
                    _draw_firings(network, plan, walker, step)
                    add_to_leap_path(network, walker.finer, walker.fired)
                    if plan.is_paired != 0:
                        add_to_leap_path(network, walker.coarser, walker.fired_coarser)
                counter[_STEP] += 1
                budget -= plan.factor
            _record_group(far_network, far_plan, far_walker, refer(output), interval)
            counter[_INTERVAL], counter[_STEP] = interval + 1, 0
        for lane in range(LANES):
            output.outcome[counter[_ROWS] + lane] = COMPLETE
            output.n_events[counter[_ROWS] + lane] = walker.n_events[lane]
        counter[_ROWS] += LANES
        counter[_UNDER_WAY] = 0
    return ALL_DONE
