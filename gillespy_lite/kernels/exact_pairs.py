"""An exact path and a leap path that stay close, from the same points (`leap_paths.py`).

Lanes of exact paths each have their own time, as in `lanes.py`: an event that would lie beyond the
end of a leap is not made, the lane goes to that end, and draws afresh, as waiting times have no
memory. Where leaps are so long that they leave the exact path behind, a leap path may have many
more points than the exact one, and they would be gone through one by one. So it shares points only
up to a height, chosen from both states at the start of the leap; as it keeps its propensities, how
many more it has above is a Poisson number that is added at the end. The points of either path keep
their law: should the exact path rise above that height, it sees points there that the leap path
does not share.

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
from .lane_random import next_words, random_exponential, random_uniform, random_uniform_inside
from .lane_vectors import LANES, bits, everywhere, load, lowest_bit, select, store
from .lanes import LARGEST_LANE_COUNT, LOOK, fill_fixed, fill_laws
from .leap_paths import (
    LeapPath,
    add_to_leap_path,
    fill_law_rows,
    leap_rate,
    pair_rate,
    seed_lane,
    start_leap_path,
)
from .references import refer
from .walking import ALL_DONE, BAD_PROPENSITY, BUDGET_SPENT, COMPLETE, OVERFLOW

__all__ = ["STANDS_STILL", "ExactPairs", "run_exact_pairs"]

# An outcome beside those of walking.py: the clock stands still.
STANDS_STILL = 11

# A leap path shares points with the exact path up to so many times the propensity that this has at
# the start of the leap, plus so many points in a leap.
_MOST_ABOVE, _MOST_POINTS = 2.0, 8.0

_NO_BITS, _BIT = np.uint64(0), np.uint64(1)

# ExactPairs.counter: rows begun, is it under way, the lanes with a row, and steps of the loop.
_ROWS, _UNDER_WAY, _ALIVE, _STEPS = range(4)


class ExactPairs(NamedTuple):
    """One thread's lanes of an exact path and a leap path."""

    counter: np.ndarray  # (N_PAIR_COUNTERS,) int64
    state: np.ndarray  # (n_rows * LANES,) float64, of the exact path
    factor: np.ndarray  # as in `LeapPath`
    lane_stack: np.ndarray
    coarser: LeapPath
    stream: np.ndarray  # (4 * LANES,) uint64
    rate: np.ndarray  # (n_reactions * LANES,) float64, propensities of the exact path
    unshared: np.ndarray  # (n_reactions * LANES,) float64, means of what is added at the leap's end
    below: np.ndarray  # (n_reactions * LANES,) float64, sums of the larger ones, of those before
    fired: np.ndarray  # (n_reactions * LANES,) float64
    fired_coarser: np.ndarray  # (n_reactions * LANES,) float64
    time: np.ndarray  # (LANES,) float64
    until: np.ndarray  # (LANES,) float64, the end of the leap; -inf in idle lanes
    look_time: np.ndarray  # (LANES,) float64, the time at the last look
    renewed: np.ndarray  # (LANES,) float64, 1 where the leap path is at the end of a leap
    interval: np.ndarray  # (LANES,) int64
    step: np.ndarray  # (LANES,) int64, leaps made in it
    row: np.ndarray  # (LANES,) int64
    n_events: np.ndarray  # (LANES,) float64
    n_points: np.ndarray  # (LANES,) int64
    draws: np.ndarray  # (3 * LANES,) float64, scratch
    seed: np.ndarray  # (4,) uint64, scratch


@inlined
def _end_of_leap(plan, interval, step):
    """Return the time at which the leap ends that begins after `step` others."""
    if step + 1 >= plan.n_steps[interval]:
        return plan.times[interval + 1]
    return plan.times[interval] + np.float64(step + 1) * plan.step[interval]


@apart
def _start_pair(network, plan, walker, output, first_index, lane):
    """Put a lane at the start of the next row; return whether there was one."""
    row = walker.counter[_ROWS]
    if row >= output.outcome.size:
        walker.until[lane] = -np.inf
        return False
    walker.counter[_ROWS] = row + 1
    seed_lane(plan, walker, first_index + row, lane)
    start_leap_path(network, plan, walker.coarser, lane)
    for species in range(network.n_species + 1):
        walker.state[species * LANES + lane] = walker.coarser.state[species * LANES + lane]
    walker.row[lane] = row
    walker.interval[lane], walker.step[lane] = 0, 0
    walker.n_events[lane], walker.n_points[lane] = 0.0, 0
    walker.time[lane], walker.look_time[lane] = plan.times[0], -np.inf
    walker.until[lane] = _end_of_leap(plan, np.int64(0), np.int64(0))
    walker.renewed[lane] = 1.0
    return True


@apart
def _attend_pairs(network, plan, walker, output, first_index, alive, ended, bad, large, stuck):
    """Treat the lanes at the end of a leap or in trouble; return those that have a row."""
    stopped = (ended | bad | large | stuck) & alive
    while stopped != _NO_BITS:
        lane = lowest_bit(stopped)
        bit = _BIT << np.uint64(lane)
        stopped &= ~bit
        row, interval, outcome = walker.row[lane], walker.interval[lane], np.int64(0)
        if bad & bit != _NO_BITS:
            outcome = BAD_PROPENSITY
        elif large & bit != _NO_BITS:
            outcome = OVERFLOW
        elif stuck & bit != _NO_BITS:
            outcome = STANDS_STILL
        if outcome != 0:
            output.trouble[0], output.trouble[1] = np.float64(row), walker.time[lane]
            for species in range(network.n_species):
                output.trouble[species + 2] = walker.state[species * LANES + lane]
        else:
            walker.time[lane] = walker.until[lane]
            walker.step[lane] += 1
            if walker.step[lane] == plan.n_steps[interval]:
                for c in range(plan.columns.size):
                    place = plan.columns[c] * LANES + lane
                    output.finer[row, interval, c] = walker.state[place]
                    output.coarser[row, interval, c] = walker.coarser.state[place]
                walker.interval[lane], walker.step[lane] = interval + 1, 0
                if interval + 1 == plan.n_steps.size:
                    outcome = COMPLETE
            if outcome == 0:
                walker.until[lane] = _end_of_leap(plan, walker.interval[lane], walker.step[lane])
        if outcome != 0:
            output.outcome[row] = outcome
            output.n_events[row] = walker.n_events[lane]
            output.n_points[row] = walker.n_points[lane]
            if not _start_pair(network, plan, walker, output, first_index, lane):
                alive &= ~bit
    return alive


@apart
def _look_at_pairs(network, walker):
    """Return the lanes with a count that is too large, and those whose clock stands still."""
    largest = everywhere(0.0)
    for species in range(network.n_species):
        count = load(walker.state, species * LANES)
        largest = select(count > largest, count, largest)
    time = load(walker.time, 0)
    stuck = bits(time == load(walker.look_time, 0))
    store(walker.look_time, 0, time)
    return bits(largest > LARGEST_LANE_COUNT), stuck


@apart
def _renew_leaps(network, walker, largest):
    """Write the propensities of the leap paths that begin a leap, up to which they share points."""
    path = walker.coarser
    if network.scaled.size > 0:
        fill_law_rows(network, path)
    renewed = load(walker.renewed, 0) > 0.0
    length = load(walker.until, 0) - load(walker.time, 0)
    for reaction in range(network.n_reactions):
        place = reaction * LANES
        value = leap_rate(network, path, reaction, largest)
        height = _MOST_ABOVE * pair_rate(network, walker.state, reaction) + _MOST_POINTS / length
        shared = select(value < height, value, height)
        unshared = (value - shared) * length
        store(path.rate, place, select(renewed, shared, load(path.rate, place)))
        store(walker.unshared, place, select(renewed, unshared, load(walker.unshared, place)))
    store(walker.renewed, 0, everywhere(0.0))


@apart
def _end_leaps(network, walker):
    """Add what leap paths do not share, in the lanes that are at the end of a leap."""
    stream, ends = walker.stream, load(walker.renewed, 0) > 0.0
    s0, s1 = load(stream, 0), load(stream, LANES)
    s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
    word, t0, t1, t2, t3 = next_words(s0, s1, s2, s3)
    for reaction in range(network.n_reactions):
        place = reaction * LANES
        mean = select(ends, load(walker.unshared, place), 0.0)
        fill_poisson(random_uniform_inside(word), mean, walker.fired_coarser, place, walker.draws)
        word, t0, t1, t2, t3 = next_words(t0, t1, t2, t3)
    store(stream, 0, select(ends, t0, s0))
    store(stream, LANES, select(ends, t1, s1))
    store(stream, 2 * LANES, select(ends, t2, s2))
    store(stream, 3 * LANES, select(ends, t3, s3))
    add_to_leap_path(network, walker.coarser, walker.fired_coarser)


@inlined
def _fire_point(network, walker, target, goes):
    """Fire what the points of the lanes that go belong to: one path's reaction, or both."""
    n_events = load(walker.n_events, 0)
    for reaction in range(network.n_reactions):
        place = reaction * LANES
        height = target - load(walker.below, place)
        here = goes & (height >= 0.0)
        fired = select(here & (height < load(walker.rate, place)), everywhere(1.0), 0.0)
        store(walker.fired, place, fired)
        n_events = n_events + fired
        fired = here & (height < load(walker.coarser.rate, place))
        store(walker.fired_coarser, place, select(fired, everywhere(1.0), 0.0))
    store(walker.n_events, 0, n_events)
    for species in range(network.n_species):
        first, last = network.change_start[species], network.change_start[species + 1]
        if first == last:
            continue
        count = load(walker.state, species * LANES)
        for k in range(first, last):
            by = load(walker.fired, network.change_reaction[k] * LANES)
            count = count + network.change[k] * by
        store(walker.state, species * LANES, count)
    add_to_leap_path(network, walker.coarser, walker.fired_coarser)


@kernel
def run_exact_pairs(network, plan, walker, output, first_index, budget):
    """Run rows of an exact path and a leap path; return why it stopped.

    `budget` is the number of points after which it stops.
    """
    far_network, far_plan = refer(network), refer(plan)
    far_walker, far_output = refer(walker), refer(output)
    counter, stream = walker.counter, walker.stream
    if counter[_UNDER_WAY] == 0:
        counter[_UNDER_WAY] = 1
        alive = _NO_BITS
        fill_fixed(far_network, far_walker)
        fill_fixed(far_network, far_walker.coarser)
        for lane in range(LANES):
            # An idle lane holds a possible state, so that nothing it computes is a surprise.
            start_leap_path(network, plan, walker.coarser, lane)
            for species in range(network.n_species):
                walker.state[species * LANES + lane] = plan.initial_state[species]
            walker.state[network.n_species * LANES + lane] = 1.0
            if _start_pair(far_network, far_plan, far_walker, far_output, first_index, lane):
                alive |= _BIT << np.uint64(lane)
    else:
        alive = np.uint64(counter[_ALIVE])
    loop, ended = counter[_STEPS], alive
    last_loop = loop + max(np.int64(1), budget // LANES)
    while alive != _NO_BITS and loop < last_loop:
        loop += 1
        bad, large, stuck = _NO_BITS, _NO_BITS, _NO_BITS
        if network.scaled.size > 0:
            bad = fill_laws(far_network, far_walker)
        if ended != _NO_BITS:
            _renew_leaps(far_network, far_walker, plan.largest_rate)
        total = everywhere(0.0)
        for reaction in range(network.n_reactions):
            place = reaction * LANES
            value = pair_rate(network, walker.state, reaction)
            other = load(walker.coarser.rate, place)
            store(walker.rate, place, value)
            store(walker.below, place, total)
            total = total + select(value > other, value, other)
        bad |= bits(~(total < np.inf))
        s0, s1 = load(stream, 0), load(stream, LANES)
        s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
        word, s0, s1, s2, s3 = next_words(s0, s1, s2, s3)
        time, until = load(walker.time, 0), load(walker.until, 0)
        # Without any event the quotient is inf, or 0/0, neither of which is before the end.
        next_time = time + random_exponential(word) / total
        word, s0, s1, s2, s3 = next_words(s0, s1, s2, s3)
        goes = next_time < until
        target = random_uniform(word) * total
        store(stream, 0, s0)
        store(stream, LANES, s1)
        store(stream, 2 * LANES, s2)
        store(stream, 3 * LANES, s3)
        store(walker.time, 0, select(goes, next_time, time))
        store(walker.n_points, 0, load(walker.n_points, 0) + 1)
        _fire_point(network, walker, target, goes)
        if loop % LOOK == 0:
            large, stuck = _look_at_pairs(far_network, far_walker)
        ended = ~bits(goes) & alive
        if ended != _NO_BITS:
            store(walker.renewed, 0, select(goes, 0.0, everywhere(1.0)))
            _end_leaps(far_network, far_walker)
        alive = _attend_pairs(
            far_network, far_plan, far_walker, far_output, first_index, alive, ended, bad, large,
            stuck,
        )  # fmt: skip
    counter[_ALIVE], counter[_STEPS] = np.int64(alive), loop
    return ALL_DONE if alive == _NO_BITS else BUDGET_SPENT
