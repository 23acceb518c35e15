"""Two paths of one network that stay close: leaps of two lengths, or exact events and leaps.

Write each path by points of the plane (time, height) of density 1, one plane for each reaction:
reaction j happens at the points below its propensity. Two paths that share the points are coupled.
Where the propensities are a and b, both see the points below min(a, b), and one alone sees those
between: these are the three Poisson processes of Anderson and Higham (2012), eqs. 16-18 (two
leaps) and 24-25 (exact and leap). Each path by itself has the law that it would have alone.

A *leap path* of step h keeps its propensities from one multiple of h to the next. Its counts may
become negative, as reactions that take the last molecules are not stopped; then its propensities
are those of the counts cut off at 0, and so are the states that are recorded. A propensity is cut
off at a largest one, too, and counts as 0 where a rate law has no value. All that belongs to the
definition of the leap path and is the same whichever path it is coupled to. So a sum of differences
between levels telescopes, whatever the leaps are like, and at its end stands the exact path.

All lanes of leaps make the same number of steps and keep together. Lanes of exact paths each have
their own time, as in `lanes.py`: an event that would lie beyond the end of a leap is not made, the
lane goes to that end, and draws afresh, as waiting times have no memory. Where leaps are so long
that they leave the exact path behind, a leap path may have many more points than the exact one, and
they would be gone through one by one. So it shares points only up to a height, chosen from both
states at the start of the leap; as it keeps its propensities, how many more it has above is a
Poisson number that is added at the end. The points of either path keep their law: should the exact
path rise above that height, it sees points there that the leap path does not share.

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
from .lane_vectors import (
    LANES,
    absolute,
    bits,
    everywhere,
    load,
    lowest_bit,
    select,
    store,
)
from .lanes import LARGEST_LANE_COUNT, LOOK, fill_laws, law_values
from .random import seed_stream
from .references import refer
from .walking import ALL_DONE, BAD_PROPENSITY, BUDGET_SPENT, COMPLETE, OVERFLOW

__all__ = [
    "N_PAIR_COUNTERS",
    "STANDS_STILL",
    "ExactPairs",
    "LeapPairs",
    "LeapPath",
    "LevelPlan",
    "PairOutput",
    "run_exact_pairs",
    "run_leap_pairs",
]

# An outcome beside those of walking.py: the clock stands still.
STANDS_STILL = 11

# Counts of leap paths are cut off here, far from any sensible path and inside the whole doubles.
_LARGEST_LEAP_COUNT = 2.0**50

# A leap path shares points with the exact path up to so many times the propensity that this has at
# the start of the leap, plus so many points in a leap.
_MOST_ABOVE, _MOST_POINTS = 2.0, 8.0

_NO_BITS, _BIT = np.uint64(0), np.uint64(1)


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
    """A leap path in each lane; the last four arrays are where `law_values` looks for them."""

    counts: np.ndarray  # (n_species * LANES,) float64
    state: np.ndarray  # (n_rows * LANES,) float64, as in `LaneNetwork`; counts cut off at 0
    rate: np.ndarray  # (n_reactions * LANES,) float64, propensities
    factor: np.ndarray  # (n_laws * LANES,) float64, those of the network in every lane
    parameters: np.ndarray  # (n_parameters * LANES,) float64
    stack: np.ndarray  # ((depth + 1) * LANES,) float64
    lane_stack: np.ndarray  # (3,) float64


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


class ExactPairs(NamedTuple):
    """One thread's lanes of an exact path and a leap path."""

    counter: np.ndarray  # (N_PAIR_COUNTERS,) int64
    state: np.ndarray  # (n_rows * LANES,) float64, of the exact path
    factor: np.ndarray  # as in `LeapPath`, and so are the next three
    parameters: np.ndarray
    stack: np.ndarray
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


# LeapPairs.counter: rows finished, is it under way, and the interval and the step within it.
# ExactPairs.counter: rows begun, is it under way, the lanes with a row, and steps of the loop.
_ROWS, _UNDER_WAY, _INTERVAL, _STEP = range(4)
_ALIVE, _STEPS = _INTERVAL, _STEP
N_PAIR_COUNTERS = 4


# ---- Leap paths ----------------------------------------------------------------------------------


@apart
def _fill_law_rows(network, path):
    """Write the propensities of the laws; nan counts as 0, and so does what is negative."""
    for law in range(network.scaled.size):
        value = law_values(network, path, law)
        store(path.state, (network.n_species + 1 + law) * LANES, select(value > 0.0, value, 0.0))


@inlined
def _pair_rate(network, state, reaction):
    value = network.coefficient[reaction] * load(state, network.first[reaction])
    if network.second[reaction] != network.n_species * LANES:
        value = value * (load(state, network.second[reaction]) - network.shift[reaction])
    return value


@inlined
def _leap_rate(network, path, reaction, largest):
    value = _pair_rate(network, path.state, reaction)
    return select(value < largest, value, largest)


@inlined
def _fill_leap_rates(network, path, far_network, far_path, largest):
    """Write the propensities of a leap path at its present counts."""
    if network.scaled.size > 0:
        _fill_law_rows(far_network, far_path)
    for reaction in range(network.n_reactions):
        store(path.rate, reaction * LANES, _leap_rate(network, path, reaction, largest))


@inlined
def _add_to_leap_path(network, path, fired):
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
def _start_leap_path(network, plan, path, lane):
    for species in range(network.n_species):
        path.counts[species * LANES + lane] = plan.initial_state[species]
        path.state[species * LANES + lane] = plan.initial_state[species]
    path.state[network.n_species * LANES + lane] = 1.0


@inlined
def _seed_lane(plan, walker, index, lane):
    seed_stream(plan.key, index, walker.seed)
    for word in range(4):
        walker.stream[word * LANES + lane] = walker.seed[word]


# ---- Two leap paths ------------------------------------------------------------------------------


@apart
def _start_group(network, plan, walker, first_index):
    """Put all lanes at the start of the next rows."""
    row = walker.counter[_ROWS]
    for lane in range(LANES):
        _seed_lane(plan, walker, first_index + row + lane, lane)
        _start_leap_path(network, plan, walker.finer, lane)
        _start_leap_path(network, plan, walker.coarser, lane)
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
                    _fill_leap_rates(
                        network, walker.coarser, far_network, far_walker.coarser, plan.largest_rate
                    )
                for _ in range(plan.factor):
                    _fill_leap_rates(
                        network, walker.finer, far_network, far_walker.finer, plan.largest_rate
                    )
                    _draw_firings(network, plan, walker, step)
                    _add_to_leap_path(network, walker.finer, walker.fired)
                    if plan.is_paired != 0:
                        _add_to_leap_path(network, walker.coarser, walker.fired_coarser)
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


# ---- An exact path and a leap path ---------------------------------------------------------------


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
    _seed_lane(plan, walker, first_index + row, lane)
    _start_leap_path(network, plan, walker.coarser, lane)
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
        _fill_law_rows(network, path)
    renewed = load(walker.renewed, 0) > 0.0
    length = load(walker.until, 0) - load(walker.time, 0)
    for reaction in range(network.n_reactions):
        place = reaction * LANES
        value = _leap_rate(network, path, reaction, largest)
        height = _MOST_ABOVE * _pair_rate(network, walker.state, reaction) + _MOST_POINTS / length
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
    _add_to_leap_path(network, walker.coarser, walker.fired_coarser)


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
    _add_to_leap_path(network, walker.coarser, walker.fired_coarser)


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
        for lane in range(LANES):
            # An idle lane holds a possible state, so that nothing it computes is a surprise.
            _start_leap_path(network, plan, walker.coarser, lane)
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
            value = _pair_rate(network, walker.state, reaction)
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
