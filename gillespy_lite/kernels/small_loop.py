"""The direct method's loops over events for small networks.

They draw what `event_loop` with `methods/direct.py` draws, bit by bit, in a third to two thirds of
the time. A small network is bound by how long one event waits for the one before: counts,
propensities, their sum, the choice, the counts again. So counts are kept as doubles (whole numbers
up to 2**53), as the propensities take them; an event adds a row of changes instead of following
lists; nothing else is looked at between two sampling times; and draws are made ahead of their use.
Without these and with sums of four always, birth-death took 19.0 ns an event, not 13.5, Vilar's
oscillator 34, not 28; a path of one event now takes 20 ns more.

There are three: for two molecules at most, because a third factor for every reaction costs the
others a multiplication that each event waits for; for three; and for rate laws and more molecules.
Laws that an event has changed are computed by steps (`scalar_tapes.py`). One long path, ns an event
in the general loop and here: a toggle switch 44 and 29, a clock with 20 saturating laws 110 and 72,
Goldbeter's oscillator 100 and 57, a saturated reaction and its reverse 53 and 31.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import GENERAL, PAIR
from .draw_ring import RING, RING_SIZE, fill_ring, pass_draws, return_draws
from .jit import apart, inlined, kernel
from .propensities import fire, is_rate, law_weight
from .references import refer
from .scalar_tapes import run_steps
from .walking import (
    ALL_DONE,
    BAD_PROPENSITY,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    EVENTS_FULL,
    FIRED,
    IN_TROUBLE,
    LARGEST_COUNT,
    N_EVENTS,
    N_RECORDED,
    OVERFLOW,
    ROW,
    TIME,
    TROUBLE,
    UNDER_WAY,
    condition_holds,
    finish_row,
    record_event,
    record_until,
    start_row,
)

__all__ = [
    "MOST_SPECIES",
    "counts_width",
    "run_direct_laws",
    "run_direct_pairs",
    "run_direct_triples",
    "small_loop_workspace",
]

# An event adds to all counts, which pays up to about this many.
MOST_SPECIES = 64

# Unsigned, so that no index is checked for being negative; never mixed with signed numbers.
_INDEX = np.uint64
_0, _1, _2, _3, _4 = (np.uint64(k) for k in range(5))


def counts_width(n_species: int) -> int:
    """Return how many doubles the counts are kept in."""
    return 4 * -(-(n_species + 1) // 4)


def small_loop_workspace(n_species: int, n_reactions: int) -> tuple[int, int]:
    """Return how many doubles and integers the loop needs."""
    slots, width = 4 * max(1, -(-n_reactions // 4)), counts_width(n_species)
    return 5 * slots + width * (1 + slots) + 4, 3 * slots


class _Factors(NamedTuple):
    """A propensity is a coefficient times counts, from some of which 1 or 2 is taken off."""

    coefficient: np.ndarray  # (n_slots,) float64
    first: np.ndarray  # (n_slots,) int64, indices into the counts
    second: np.ndarray
    third: np.ndarray
    second_shift: np.ndarray  # (n_slots,) float64
    third_shift: np.ndarray
    law: np.ndarray  # (n_slots,) float64, propensities that are no such products; 0 of others


@inlined
def _fill_tables(network, none, width, factors, change):
    """Copy the reactions, padded to whole blocks of four by reactions that never happen."""
    n = network.form.size
    for r in range(factors.coefficient.size):
        factors.coefficient[r] = factors.second_shift[r] = factors.third_shift[r] = 0.0
        factors.first[r] = factors.second[r] = factors.third[r] = none
    for k in range(change.size):
        change[k] = 0.0
    for r in range(n):
        factors.coefficient[r] = network.coefficient[r]
        if network.form[r] != PAIR:
            factors.coefficient[r] = network.law_factor[r]
        # The factors in the order of `law_weight`, whose product has the same bits.
        place = 0
        for k in range(network.reactant_start[r], network.reactant_start[r + 1]):
            for taken in range(network.reactant_count[k]):
                if place == 0:
                    factors.first[r] = network.reactant[k]
                elif place == 1:
                    factors.second[r], factors.second_shift[r] = network.reactant[k], taken
                else:
                    factors.third[r], factors.third_shift[r] = network.reactant[k], taken
                place += 1
        for k in range(network.change_start[r], network.change_start[r + 1]):
            change[r * width + network.change_species[k]] += network.change[k]


@inlined
def _of_pairs(factors, counts, r):
    return (
        factors.coefficient[r]
        * counts[_INDEX(factors.first[r])]
        * (counts[_INDEX(factors.second[r])] - factors.second_shift[r])
    )


@inlined
def _of_triples(factors, counts, r):
    two = _of_pairs(factors, counts, r)
    return two * (counts[_INDEX(factors.third[r])] - factors.third_shift[r])


@inlined
def _of_pairs_and_laws(factors, counts, r):
    return _of_pairs(factors, counts, r) + factors.law[r]


@inlined
def _renew_nothing(network, values, law, scratch, fired):
    return np.int64(-1)


@inlined
def _renew_laws(network, values, law, scratch, fired):
    """Bring the rate laws up to date after a reaction; return one at fault, or -1."""
    reactions = network.reactions
    first, last = reactions.law_dependent_start[fired], reactions.law_dependent_start[fired + _1]
    for k in range(_INDEX(first), _INDEX(last)):
        r = _INDEX(reactions.law_dependent[k])
        value = law_weight(reactions, r, values)
        if reactions.form[r] != GENERAL and value != 0.0:
            found = run_steps(
                network.steps, network.start[r], network.start[r + _1], values, scratch
            )
            place = network.result[r]
            value *= found if place < 0 else values[_INDEX(place)]
        if not is_rate(value):
            return np.int64(r)
        law[r] = value
    return np.int64(-1)


def _firing(propensity, renew):
    """Return the loop over events for reactions of some form."""

    @inlined
    def fire_until(
        network, n_reactions, n_slots, factors, cumulative, counts, values, scratch, change, stream,
        ring, place, time, until, most, fired,
    ):  # fmt: skip
        """Fire events until the next one is later than `until`, or `most` have been fired.

        Return how many were fired, the time reached, and when and where the next event is: at time
        inf if there is none ever; nan if the law of a reaction, which comes as the place, is at
        fault, or the sum of all, for which the number of reactions stands there. Last comes the
        place in the ring of draws after those of the next event.
        """
        width = _INDEX(counts.size)
        n_fired = 0
        while True:
            trouble = renew(network, values, factors.law, scratch, fired)
            if trouble >= 0:
                return n_fired, time, np.nan, _INDEX(trouble), place
            # Sums in fours, in the order of `direct_update`.
            a = propensity(factors, counts, _0)
            b = a + propensity(factors, counts, _1)
            # What is not there need not be waited for.
            c = total = b
            if n_reactions > _2:
                c = total = b + propensity(factors, counts, _2)
            if n_reactions > _3:
                total = c + propensity(factors, counts, _3)
            if n_slots > _4:
                cumulative[_0], cumulative[_1], cumulative[_2], cumulative[_3] = a, b, c, total
                r = _4
                while r < n_slots:
                    p = propensity(factors, counts, r)
                    q = p + propensity(factors, counts, r + _1)
                    s = q + propensity(factors, counts, r + _2)
                    t = s + propensity(factors, counts, r + _3)
                    cumulative[r] = total + p
                    cumulative[r + _1] = total + q
                    cumulative[r + _2] = total + s
                    total += t
                    cumulative[r + _3] = total
                    r += _4
            if total <= 0.0:
                return n_fired, time, np.inf, n_reactions, place
            if not total < np.inf:
                return n_fired, time, np.nan, n_reactions, place
            next_time = time + ring[place] / total
            target = ring[place + _INDEX(RING)] * total
            place = pass_draws(stream, ring, place)
            # Counting takes as long for every reaction: there is no jump to mispredict.
            if n_slots > _4:
                chosen, r = _0, _3
                while r < n_slots:
                    chosen += _INDEX(cumulative[r] <= target)
                    r += _4
                chosen <<= _2
                chosen += (
                    _INDEX(cumulative[chosen] <= target)
                    + _INDEX(cumulative[chosen + _1] <= target)
                    + _INDEX(cumulative[chosen + _2] <= target)
                )
            else:
                chosen = _INDEX(a <= target) + _INDEX(b <= target) + _INDEX(c <= target)
            if next_time > until or n_fired == most:
                return n_fired, time, next_time, chosen, place
            time, fired = next_time, chosen
            n_fired += 1
            row = chosen * width
            i = _0
            while i < width:
                k = row + i
                w, x = counts[i] + change[k], counts[i + _1] + change[k + _1]
                y, z = counts[i + _2] + change[k + _2], counts[i + _3] + change[k + _3]
                counts[i], counts[i + _1], counts[i + _2], counts[i + _3] = w, x, y, z
                i += _4

    return fire_until


@inlined
def _largest(numbers):
    largest = 1
    for k in range(numbers.size):
        largest = max(largest, numbers[k])
    return largest


def _fault_finder(propensity):
    """Return what finds the reaction at fault where no rate law is."""

    @inlined
    def faulty_reaction(network, factors, counts):
        # As in `direct_update`: a propensity of three molecules is looked at by itself, and first.
        n, total = network.form.size, 0.0
        for r in range(n):
            if network.form[r] != PAIR and not propensity(factors, counts, _INDEX(r)) < np.inf:
                return r
        for r in range(n):
            total += propensity(factors, counts, _INDEX(r))
            if not total < np.inf:
                return r
        return n - 1

    return faulty_reaction


# Compiled once each, and not merged into the loop.
_start_row = apart(start_row)
_record_until = apart(record_until)
_record_event = apart(record_event)
_condition_holds = apart(condition_holds)


@inlined
def _itself(network):
    return network


@inlined
def _reactions_of(network):
    return network.reactions


@inlined
def _no_rows(network, factors, values, scratch, first):
    pass


@apart
def _fill_rows(network, factors, values, scratch, first):
    for r in range(network.reactions.form.size):
        if network.reactions.form[r] != PAIR:
            factors.coefficient[r] = 0.0
    parameters, n = network.reactions.parameters, network.reactions.form.size
    for k in range(parameters.size):
        values[first + k] = parameters[k]
    first += parameters.size
    for k in range(network.constants.size):
        values[first + k] = network.constants[k]
    run_steps(network.steps, network.start[n], network.start[n + 1], values, scratch)


def _loop(name, propensity, renew=_renew_nothing, reactions_of=_itself, fill_rows=_no_rows):
    """Return the kernel for reactions whose propensity is so computed."""
    fire_until, faulty_reaction = _firing(propensity, renew), _fault_finder(propensity)

    def run(whole, request, walker, output, first_index, budget):
        """Sample trajectories event by event, as `event_loop` describes."""
        network = reactions_of(whole)
        # What is not in the loop takes the groups by reference, which is compiled in half the time.
        arrays, wanted, place, target = refer(network), refer(request), refer(walker), refer(output)
        times, counter, parameters = request.times, walker.counter, network.parameters
        n_reactions, n_times = network.form.size, request.times.size
        state, n_counts = walker.state, walker.state.size
        slots, width = 4 * max(1, (n_reactions + 3) // 4), 4 * ((n_counts + 3) // 4)
        factors = _Factors(
            coefficient=walker.reals[:slots],
            first=walker.integers[:slots],
            second=walker.integers[slots : 2 * slots],
            third=walker.integers[2 * slots : 3 * slots],
            second_shift=walker.reals[slots : 2 * slots],
            third_shift=walker.reals[2 * slots : 3 * slots],
            law=walker.reals[4 * slots : 5 * slots],
        )
        cumulative = walker.reals[3 * slots : 4 * slots]
        change = walker.reals[5 * slots : 5 * slots + width * slots]
        ring = walker.reals[walker.reals.size - RING_SIZE :]
        scratch = walker.reals[walker.reals.size - RING_SIZE - 4 :]
        # Counts, and behind them what laws read and write besides.
        values = walker.reals[5 * slots + width * slots :]
        counts = values[:width]
        _fill_tables(arrays, n_counts - 1, width, factors, change)
        fill_rows(whole, factors, values, scratch, width)
        gain = _largest(network.change)
        is_watched = request.every_event or request.condition.start.size > 1
        for row in range(counter[ROW], output.outcome.size):
            if counter[UNDER_WAY] == 0:
                _start_row(wanted, place, parameters, target, row, first_index, n_reactions)
                budget -= n_times
            fill_ring(walker.stream, ring)
            ring_place = _0
            for i in range(width):
                counts[i] = np.float64(state[i]) if i < n_counts else 0.0
            time, fired, safe = walker.clock[TIME], counter[FIRED], 0
            n_recorded, n_events = counter[N_RECORDED], counter[N_EVENTS]
            while True:
                if is_watched and _condition_holds(wanted, place, parameters, time):
                    # The path is held at the state that met the condition.
                    _record_until(wanted, place, parameters, target, row, n_recorded, np.inf)
                    output.hitting_time[row] = time
                    outcome = COMPLETE
                    break
                if safe <= 0:
                    # So many events certainly leave every count at or below the largest.
                    safe = (LARGEST_COUNT - _largest(state)) // gain
                most = (
                    0
                    if is_watched
                    else max(0, min(budget - 1, safe, request.max_events - n_events))
                )
                n_fired, time, next_time, reaction, ring_place = fire_until(
                    whole, _INDEX(n_reactions), _INDEX(slots), factors, cumulative, counts, values,
                    scratch, change, walker.stream, ring, ring_place, time, times[n_recorded], most,
                    _INDEX(fired),
                )  # fmt: skip
                n_events += n_fired
                budget -= n_fired
                safe -= n_fired
                for i in range(n_counts):
                    state[i] = np.int64(counts[i])
                if np.isnan(next_time):
                    if reaction == _INDEX(n_reactions):
                        reaction = _INDEX(faulty_reaction(arrays, factors, counts))
                    counter[TROUBLE] = np.int64(reaction)
                    outcome = BAD_PROPENSITY
                    break
                if times[n_recorded] < next_time:
                    n_recorded = _record_until(
                        wanted, place, parameters, target, row, n_recorded, next_time
                    )
                    if n_recorded == n_times:
                        outcome = COMPLETE
                        break
                if n_events == request.max_events:
                    outcome = EVENT_LIMIT
                    break
                time, fired = next_time, np.int64(reaction)
                n_events += 1
                budget -= 1
                safe -= 1
                if not fire(arrays, fired, state):
                    counter[TROUBLE] = fired
                    outcome = OVERFLOW
                    break
                for k in range(network.change_start[fired], network.change_start[fired + 1]):
                    species = network.change_species[k]
                    counts[species] = np.float64(state[species])
                full = False
                if request.every_event:
                    full = _record_event(wanted, place, parameters, target, time, fired)
                if full or budget <= 0:
                    walker.clock[TIME], counter[FIRED] = time, fired
                    counter[N_RECORDED], counter[N_EVENTS] = n_recorded, n_events
                    return_draws(walker.stream)
                    return EVENTS_FULL if full else BUDGET_SPENT
            walker.clock[TIME], counter[N_RECORDED] = time, n_recorded
            finish_row(place, target, row, outcome, n_events)
            if outcome != COMPLETE:
                return_draws(walker.stream)
                return IN_TROUBLE
        return ALL_DONE

    run.__name__ = run.__qualname__ = name
    return kernel(run)


run_direct_pairs = _loop("run_direct_pairs", _of_pairs)
run_direct_triples = _loop("run_direct_triples", _of_triples)
run_direct_laws = _loop(
    "run_direct_laws", _of_pairs_and_laws, _renew_laws, _reactions_of, _fill_rows
)
