"""Tau-leaping for many trajectories in lockstep: a leap of each at every step, or an event.

A lane goes the very path that `run_tau_leaping` goes for the same row, draw for draw and bit for
bit: the same sums in the same order, one word of its stream for the waiting time of the critical
reactions, one for the choice among them, and one for the firings of each reaction
(`inversion.py`).

At any time a lane either leaps or makes a burst of single events. A step is one or the other, for
the lanes that want it; the rest are held, which changes nothing of them. The kind that more lanes
want is done next, so at least half of them move. A leap that would take a count below zero is not
made: the words are spent, and the lane tries a shorter one at the next step.

Recording, conditions, and the ends of rows are handled outside the vector arithmetic; what is out
of the ordinary is left to the scalar kernel, as in `lanes.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .inversion import (
    CENTRE,
    FAR_TAIL,
    INVERSES,
    LARGE_MEAN,
    SMALLEST,
    central_quantile,
    far_quantile,
    poisson_expansion,
    settle,
    tail_quantile,
)
from .jit import apart, inlined, kernel
from .lane_random import (
    exponentials_of_negatives,
    floored,
    negative_logs,
    next_words,
    random_exponential,
    random_uniform,
    random_uniform_inside,
)
from .lane_vectors import (
    LANES,
    absolute,
    bits,
    everywhere,
    fill,
    load,
    lowest_bit,
    n_ones,
    ones,
    select,
    square_root,
    store,
)
from .lanes import (
    ALIVE,
    LARGEST_LANE_COUNT,
    LEFT_OVER,
    LOOK,
    STEPS,
    UNDER_WAY,
    LaneNetwork,
    LaneWalker,
    attend,
    begin,
    fill_laws,
    find_hits,
    finish_lane,
    law_values,
    make_events,
    record_lane,
    start_lane,
)
from .references import refer
from .walking import ALL_DONE, BUDGET_SPENT, COMPLETE

__all__ = [
    "CRITICAL_COUNT",
    "EPSILON",
    "FIXED_STEP",
    "LEAP_WORTH",
    "SINGLE_STEPS",
    "LeapNetwork",
    "LeapWalker",
    "fill_poisson",
    "run_leap_lanes",
]

# A mean times the largest change of a count up to here: with 64 reactions, sums of firings stay
# below 2**53 and so are exact.
_LARGEST_PRODUCT = 2.0**45

# Places of the options in `Request.options`.
EPSILON, CRITICAL_COUNT, FIXED_STEP, SINGLE_STEPS, LEAP_WORTH = range(5)

_NO_BITS, _BIT = np.uint64(0), np.uint64(1)


class LeapNetwork(NamedTuple):
    """A network as lanes that leap read it."""

    lanes: LaneNetwork
    # What a reaction takes: j owns taken_start[j]:taken_start[j + 1] of the places and amounts.
    taken_start: np.ndarray  # (n_reactions + 1,) int64
    taken_place: np.ndarray  # (n_entries,) int64, a place in the state
    taken: np.ndarray  # (n_entries,) float64, molecules used up by one event
    bounded: np.ndarray  # (n_species,) int64, whether a propensity depends on the species
    highest_order: np.ndarray  # (n_species,) int64, as in `ReactionArrays`
    highest_count: np.ndarray  # (n_species,) int64
    # Law i is the rate of this reaction, and names the species of
    # law_species[law_species_start[i]:law_species_start[i + 1]].
    law_reaction: np.ndarray  # (n_laws,) int64
    law_species_start: np.ndarray  # (n_laws + 1,) int64
    law_species: np.ndarray  # (n_entries,) int64
    largest_change: float  # of a count, by one event


class LeapWalker(NamedTuple):
    """One thread's lanes that leap; the first fields are those of `lanes`."""

    counter: np.ndarray
    clock: np.ndarray
    lanes: LaneWalker
    burst: np.ndarray  # (LANES,) float64, single events still to be made; 0 in a lane that leaps
    limit: np.ndarray  # (LANES,) float64, longest step after one that was refused; else inf
    calm: np.ndarray  # (n_reactions * LANES,) float64, propensities of those not critical
    firings: np.ndarray  # (n_reactions * LANES,) float64
    trial: np.ndarray  # (n_species * LANES,) float64, the state after the leap that is tried
    bounds: np.ndarray  # (n_species * LANES,) float64, how steep the laws are
    draws: np.ndarray  # (3 * LANES,) float64, scratch
    look_events: np.ndarray  # (LANES,) int64, the number of events at the last look


# ---- Firings -------------------------------------------------------------------------------------


@apart
def _settle_lanes(draws, firings, place, unsure):
    """Find the firings of the lanes in which the expansion does not tell."""
    while unsure != _NO_BITS:
        lane = lowest_bit(unsure)
        unsure &= ~(_BIT << np.uint64(lane))
        firings[place + lane] = settle(draws[lane], draws[LANES + lane], draws[2 * LANES + lane])


@inlined
def _search(u, mean, k):
    """Return the Poisson numbers of means below LARGE_MEAN; `k` is 0 in all lanes."""
    probability = exponentials_of_negatives(mean)
    remaining, j = u, 0
    going = (remaining >= probability) & (probability > SMALLEST)
    while bits(going) != _NO_BITS:
        remaining = select(going, remaining - probability, remaining)
        j += 1
        k = select(going, np.float64(j), k)
        probability = probability * (mean * INVERSES[j])
        going = going & (remaining >= probability) & (probability > SMALLEST)
    return k


@inlined
def _quantiles(u, wanted):
    """Return the normal quantiles of u, as `inversion.normal_quantile` where they are wanted."""
    q = u - 0.5
    below = q < 0.0
    inner = absolute(q) <= CENTRE
    quantile = central_quantile(q)
    if bits(~inner & wanted) != _NO_BITS:
        root = square_root(negative_logs(select(below, u, 1.0 - u)))
        tail = tail_quantile(root)
        far = root > FAR_TAIL
        if bits(far) != _NO_BITS:
            tail = select(far, far_quantile(root), tail)
        quantile = select(inner, quantile, select(below, -tail, tail))
    return quantile


@inlined
def fill_poisson(u, mean, firings, place, draws):
    """Write the Poisson numbers that belong to u, as `inversion.poisson_by_inversion`."""
    k = everywhere(0.0)
    large = mean >= LARGE_MEAN
    if bits(~large & (mean > 0.0)) != _NO_BITS:
        # Lanes of a large mean search for one of mean 0, which is found at once.
        k = _search(u, select(large, 0.0, mean), k)
    if bits(large) == _NO_BITS:
        store(firings, place, k)
        return
    mean = select(large, mean, LARGE_MEAN)
    w = _quantiles(u, large)
    above, bound = poisson_expansion(w, absolute(w), mean, square_root(mean))
    whole = floored(mean)
    above = above + (mean - whole)
    low, high = floored(above - bound), floored(above + bound)
    number = whole + low
    store(firings, place, select(large, select(number > 0.0, number, 0.0), k))
    unsure = bits((low != high) & large)
    if unsure != _NO_BITS:
        store(draws, 0, u)
        store(draws, LANES, mean)
        store(draws, 2 * LANES, whole + floored(above))
        _settle_lanes(draws, firings, place, unsure)


# ---- The length of a leap ------------------------------------------------------------------------


@apart
def _fill_law_bounds(network, walker, epsilon):
    """Write for each species how steep the laws are in it, as `tau_leaping._fill_bounds`."""
    lanes, state, bounds = network.lanes, walker.lanes.state, walker.bounds
    for species in range(lanes.n_species):
        fill(bounds, species * LANES, 0.0)
    for law in range(lanes.scaled.size):
        value = load(walker.lanes.cumulative, network.law_reaction[law] * LANES)
        for k in range(network.law_species_start[law], network.law_species_start[law + 1]):
            at = network.law_species[k] * LANES
            count = load(state, at)
            change = floored(epsilon * count)
            change = select(change > 1.0, change, 1.0)
            steepness = everywhere(1.0)
            for side in range(2):
                lower = count - change
                shifted = select(lower > 0.0, lower, 0.0)
                if side == 0:
                    shifted = count + change
                store(state, at, shifted)
                other = law_values(lanes, walker.lanes, law)
                slope = absolute(other - value) / value * count / absolute(shifted - count)
                still = select(other == value, everywhere(0.0), np.inf)
                slope = select((value > 0.0) & (count > 0.0), slope, still)
                steepness = select((shifted != count) & (slope > steepness), slope, steepness)
            store(state, at, count)
            known = load(bounds, at)
            store(bounds, at, select(steepness > known, steepness, known))


@inlined
def _order_bounds(count, order, own):
    """Return g_i of Cao et al. (2006), as `tau_leaping._order_bound`."""
    total = everywhere(1.0)
    for q in range(1, own):
        total = total + count / (count - np.float64(q))
    return select(count < np.float64(own), np.inf, np.float64(order) * total / np.float64(own))


@inlined
def _fill_calm(network, walker, critical_count):
    """Write the propensities of reactions that are not critical; return the sum of the others."""
    lanes, state, values = network.lanes, walker.lanes.state, walker.lanes.cumulative
    critical_total = everywhere(0.0)
    for reaction in range(lanes.n_reactions):
        value = load(values, reaction * LANES)
        calm = value
        for k in range(network.taken_start[reaction], network.taken_start[reaction + 1]):
            left = load(state, network.taken_place[k])
            calm = select(left < critical_count * network.taken[k], 0.0, calm)
        store(walker.calm, reaction * LANES, calm)
        critical_total = critical_total + (value - calm)
    return critical_total


@inlined
def _largest_steps(network, walker, epsilon):
    """Return the longest steps that change no propensity by more than epsilon."""
    lanes = network.lanes
    largest = everywhere(np.inf)
    for species in range(lanes.n_species):
        first, last = lanes.change_start[species], lanes.change_start[species + 1]
        if first == last or network.bounded[species] == 0:
            continue
        mean, variance = everywhere(0.0), everywhere(0.0)
        for k in range(first, last):
            change = lanes.change[k]
            value = load(walker.calm, lanes.change_reaction[k] * LANES)
            mean = mean + change * value
            variance = variance + (change * change) * value
        count = load(walker.lanes.state, species * LANES)
        bound = everywhere(0.0)
        if network.highest_order[species] > 0:
            bound = _order_bounds(
                count, network.highest_order[species], network.highest_count[species]
            )
        if lanes.scaled.size > 0:
            steepness = load(walker.bounds, species * LANES)
            bound = select(steepness > bound, steepness, bound)
        allowed = epsilon * count / bound
        allowed = select(allowed < 1.0, 1.0, allowed)
        changes = variance > 0.0
        step = allowed * allowed / variance
        largest = select(changes & (step < largest), step, largest)
        # Division by a mean of 0 gives inf, which is not below anything.
        step = allowed / absolute(mean)
        largest = select(changes & (step < largest), step, largest)
    return largest


# ---- Steps ---------------------------------------------------------------------------------------


@inlined
def _leap(network, request, walker, far):
    """Leap in the lanes that can; return what must be looked at, as bits.

    Returns
    -------
    leaped, ended, fault : word
        The lanes that leaped; in which nothing can ever happen; that the scalar kernel must do.
    """
    lanes, inner, calm = network.lanes, walker.lanes, walker.calm
    values, state, stream = inner.cumulative, inner.state, inner.stream
    epsilon, fixed_step = request.options[EPSILON], request.options[FIXED_STEP]
    time, grid_time = load(inner.time, 0), load(inner.grid_time, 0)
    n_events = load(inner.n_events, 0)
    # Idle lanes have -inf for their next grid time.
    ready = (load(walker.burst, 0) == 0.0) & (time < grid_time)
    fault = _NO_BITS
    if lanes.scaled.size > 0:
        fault = fill_laws(far[0].lanes, far[2].lanes)
    total, partnerless = everywhere(0.0), lanes.n_species * LANES
    for reaction in range(lanes.n_reactions):
        rate_constant = load(inner.coefficient, reaction * LANES)
        value = rate_constant * load(state, lanes.first[reaction])
        if lanes.second[reaction] != partnerless:
            value = value * (load(state, lanes.second[reaction]) - lanes.shift[reaction])
        total = total + value
        store(values, reaction * LANES, value)

    ends = ready & (total == 0.0)
    tries = ready & (total > 0.0) & (total < np.inf) & (n_events != request.max_events)
    fault |= bits(~(ends | tries))
    if fixed_step > 0.0:
        for reaction in range(lanes.n_reactions):
            store(calm, reaction * LANES, load(values, reaction * LANES))
        critical_total, largest = everywhere(0.0), everywhere(fixed_step)
    else:
        critical_total = _fill_calm(network, walker, request.options[CRITICAL_COUNT])
        if lanes.scaled.size > 0:
            _fill_law_bounds(far[0], far[2], epsilon)
        largest = _largest_steps(network, walker, epsilon)
    limit = load(walker.limit, 0)
    largest = select(limit < largest, limit, largest)
    if fixed_step == 0.0:
        rests = tries & (largest < request.options[LEAP_WORTH] / total)
        tries = tries & ~rests
        single_steps = np.floor(request.options[SINGLE_STEPS])
        store(walker.burst, 0, select(rests, single_steps, load(walker.burst, 0)))
        limit = select(rests, np.inf, limit)

    s0, s1 = load(stream, 0), load(stream, LANES)
    s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
    word, t0, t1, t2, t3 = next_words(s0, s1, s2, s3)
    other_word, t0, t1, t2, t3 = next_words(t0, t1, t2, t3)
    step, chosen = largest, everywhere(-1.0)
    if bits(tries & (critical_total > 0.0)) != _NO_BITS:
        waiting = random_exponential(word) / critical_total
        fires = (critical_total > 0.0) & (waiting <= largest) & (time + waiting < grid_time)
        target = random_uniform(other_word) * critical_total
        looks = fires
        for reaction in range(lanes.n_reactions):
            value = load(values, reaction * LANES) - load(calm, reaction * LANES)
            target = target - value
            chosen = select(looks & (value > 0.0), np.float64(reaction), chosen)
            looks = looks & ~((value > 0.0) & (target < 0.0))
        step = select(fires, waiting, step)
    reached = time + step
    inside = reached < grid_time
    step = select(inside, step, grid_time - time)
    reached = select(inside, reached, grid_time)

    heaviest = everywhere(0.0)
    for reaction in range(lanes.n_reactions):
        word, t0, t1, t2, t3 = next_words(t0, t1, t2, t3)
        mean = select(tries, load(calm, reaction * LANES) * step, 0.0)
        heaviest = select(mean > heaviest, mean, heaviest)
        mean = select(mean < _LARGEST_PRODUCT, mean, 0.0)
        fill_poisson(
            random_uniform_inside(word), mean, walker.firings, reaction * LANES, walker.draws
        )
    if bits(chosen >= 0.0) != _NO_BITS:
        for reaction in range(lanes.n_reactions):
            firings = load(walker.firings, reaction * LANES)
            firings = select(chosen == np.float64(reaction), 1.0, firings)
            store(walker.firings, reaction * LANES, firings)
    fault |= bits(heaviest * network.largest_change > _LARGEST_PRODUCT)

    # Checked only at the end: what one reaction takes, another may give in the same leap.
    lowest, highest = everywhere(0.0), everywhere(0.0)
    for species in range(lanes.n_species):
        first, last = lanes.change_start[species], lanes.change_start[species + 1]
        if first == last:
            continue
        count = load(state, species * LANES)
        for k in range(first, last):
            firings = load(walker.firings, lanes.change_reaction[k] * LANES)
            count = count + lanes.change[k] * firings
        lowest = select(count < lowest, count, lowest)
        highest = select(count > highest, count, highest)
        store(walker.trial, species * LANES, count)
    refused = tries & (lowest < 0.0)
    leaps = tries & ~refused
    fault |= bits(leaps & (highest > LARGEST_LANE_COUNT))
    for species in range(lanes.n_species):
        if lanes.change_start[species] != lanes.change_start[species + 1]:
            place = species * LANES
            store(state, place, select(leaps, load(walker.trial, place), load(state, place)))
    shorter = select(step < largest, step, largest) / 2.0
    limit = select(refused, shorter, select(leaps, np.inf, limit))
    store(walker.limit, 0, limit)
    store(inner.time, 0, select(leaps, reached, time))
    store(inner.n_events, 0, n_events + ones(leaps))
    store(stream, 0, select(tries, t0, s0))
    store(stream, LANES, select(tries, t1, s1))
    store(stream, 2 * LANES, select(tries, t2, s2))
    store(stream, 3 * LANES, select(tries, t3, s3))
    return bits(leaps), bits(ends), fault & bits(ready)


# ---- Rows ----------------------------------------------------------------------------------------


@apart
def _look(network, walker):
    """Return the lanes that the scalar kernel must take over, as bits."""
    inner = walker.lanes
    largest = everywhere(0.0)
    for species in range(network.lanes.n_species):
        count = load(inner.state, species * LANES)
        largest = select(count > largest, count, largest)
    time, n_events = load(inner.time, 0), load(inner.n_events, 0)
    # A lane that waited for others has no new events; one with events at one time stands still.
    stuck = (time == load(inner.look_time, 0)) & (n_events != load(walker.look_events, 0))
    store(inner.look_time, 0, time)
    store(walker.look_events, 0, n_events)
    return bits(stuck | (largest > LARGEST_LANE_COUNT))


@apart
def _attend_leaps(network, request, walker, output, first_index, alive, due, ended, hits, fault):
    """Record, end and start the paths of single lanes after a leap; return who is alive, and new.

    The arguments from `alive` on are lanes, as bits: those that have a row; that have reached their
    next grid time; in which nothing can happen any more; in which the condition of the run holds;
    that the scalar kernel must take over.
    """
    lanes, inner = network.lanes, walker.lanes
    far = lanes, request, inner, output
    fresh, stopped = _NO_BITS, (due | ended | hits | fault) & alive
    while stopped != _NO_BITS:
        lane = lowest_bit(stopped)
        bit = _BIT << np.uint64(lane)
        stopped &= ~bit
        outcome = 0
        if fault & bit != _NO_BITS:
            outcome = LEFT_OVER
        else:
            until = np.inf
            if hits & bit != _NO_BITS:
                output.hitting_time[inner.row[lane]] = inner.time[lane]
            elif ended & bit == _NO_BITS:
                until = np.nextafter(inner.time[lane], np.inf)
            if record_lane(far, request, inner, output, lane, until):
                outcome = COMPLETE
        if outcome != 0:
            finish_lane(inner, output, lane, outcome)
            if start_lane(lanes, request, inner, output, first_index, lane):
                fresh |= bit
            else:
                alive &= ~bit
                inner.grid_time[lane] = -np.inf
    return alive, fresh


@kernel
def run_leap_lanes(network, request, walker, output, first_index, budget):
    """Run rows of an output in lanes, by leaps and single events; return why it stopped."""
    far = refer(network), refer(request), refer(walker), refer(output)
    far_lanes = far[0].lanes, far[1], far[2].lanes, far[3]
    inner, counter = walker.lanes, walker.counter
    watched = request.condition.start.size > 1
    if counter[UNDER_WAY] == 0:
        counter[UNDER_WAY] = 1
        alive = begin(network.lanes, request, inner, far_lanes, first_index)
        fill(walker.burst, 0, 0.0)
        fill(walker.limit, 0, np.inf)
    else:
        alive = np.uint64(counter[ALIVE])
    step = counter[STEPS]
    last_step = step + max(np.int64(1), budget // LANES)
    while alive != _NO_BITS and step < last_step:
        step += 1
        hits, stuck = _NO_BITS, _NO_BITS
        if step % LOOK == 0:
            stuck = _look(far[0], far[2])
        leaping = bits(load(walker.burst, 0) == 0.0) & alive
        if 2 * n_ones(leaping) >= n_ones(alive):
            went, ended, fault = _leap(network, request, walker, far)
            if watched:
                hits = find_hits(far_lanes[0], far_lanes[1], far_lanes[2]) & went
            due = bits(load(inner.time, 0) >= load(inner.grid_time, 0)) & leaping
            alive, fresh = _attend_leaps(
                far[0], far[1], far[2], far[3], first_index, alive, due, ended, hits, fault | stuck
            )
        else:
            single = alive & ~leaping
            burst = load(walker.burst, 0)
            goes, fault, _ = make_events(network.lanes, request, inner, far_lanes, burst > 0.0)
            store(walker.burst, 0, select(goes, burst - 1.0, burst))
            went = bits(goes)
            if watched:
                hits = find_hits(far_lanes[0], far_lanes[1], far_lanes[2]) & went
            single, fresh = attend(
                request, inner, output, far_lanes, first_index, single, went, hits, fault | stuck
            )
            alive = single | leaping
        while fresh != _NO_BITS:
            lane = lowest_bit(fresh)
            fresh &= fresh - _BIT
            walker.burst[lane] = 0.0
            walker.limit[lane] = np.inf
    counter[ALIVE], counter[STEPS] = np.int64(alive), step
    return ALL_DONE if alive == _NO_BITS else BUDGET_SPENT
