"""Leaps that leave the law of a path as it is: many events at once, and none of them guessed.

How it works, and why it is exact. Give each reaction j points, scattered over time s and height u
with density 1 (a Poisson process of the plane). Reaction j happens at the points with
u < a_j(X(s)), a_j its propensity just before. This is one way to write the law of the path.

A leap begins with a box of states around the present one, chosen from the present state alone, and
the bounds l_j <= a_j <= h_j that hold everywhere in it. As long as the path stays in the box, all
points below l_j are events of j, none above h_j are, and only those between are in doubt. Points of
regions that do not meet are independent, and given their number in a region they lie in it
uniformly. So the leap draws the *number* of sure points of each reaction, Poisson(l_j tau), and of
doubtful ones, Poisson((h_j - l_j) tau).

1. If all points of all reactions together, sure and doubtful, whatever their order, could not take
   the path out of the box, it stays there. (By induction over the events: as long as it stayed, the
   events are among these points.) Then only the doubtful points need a look, in order of time. The
   state before one of them is that at the start, plus the events so far: the doubtful points that
   were accepted, and of the sure points of each reaction a binomial number, because they are
   uniform over the time that is left. A doubtful point has its height u uniform in [l_j, h_j) and
   is an event if u < a_j. At the end all other sure points are added.
2. Otherwise all points are gone through in order of time, one by one, until the leap ends or an
   event takes the path out of the box. That instant is a stopping time: it depends on the path so
   far and on nothing later. So the path goes on from there with new points; the later ones of this
   leap are forgotten, which changes no law (strong Markov property).

Reactions that are rare but would need a wide box (a gene that switches) are taken out: the leap
ends at the first point of theirs below their bound. Until there they did not happen; there, one is
accepted with the probability a_j / h_j. That is a stopping time, too.

Whether to leap at all, and how far, depends on the present state, the time and the earlier past;
so it may differ from leap to leap without any bias. Where too few events would fit into a leap, the
method that calls this makes single events.

With counts of the order n, a box of r molecules holds leaps of about r events, of which about
r^2 / n are in doubt. At about two of them a leap costs a few draws for each reaction, whatever n,
and holds about sqrt(n) events.

References
----------
Solan and Getz (2025), An exact tau-leaping method, doi:10.48550/arXiv.2509.12631 (leaps that are
exact, by points under bounds of the propensities). Lewis and Shedler (1979), Simulation of
nonhomogeneous Poisson processes by thinning, Nav. Res. Logist. Q. 26:403,
doi:10.1002/nav.3800260304. Cao, Gillespie and Petzold (2005), Avoiding negative populations in
explicit Poisson tau-leaping, J. Chem. Phys. 123:054104, doi:10.1063/1.1992473 (the idea of critical
reactions).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .arrays import PAIR
from .binomial import binomial
from .intervals import program_range
from .jit import apart, inlined
from .propensities import fire, law_propensity, pair_propensity
from .propensity_bounds import law_bounds, pair_bounds
from .random import exponential, poisson, uniform
from .references import refer
from .walking import (
    BAD_PROPENSITY,
    BOUND_BROKEN,
    EVENT_LIMIT,
    LARGEST_COUNT,
    OVERFLOW,
    SPARE_TIME,
    TROUBLE,
)

__all__ = ["ABSORBED", "LEAPED", "NOT_WORTH_IT", "leap_sizes", "take_leap"]

# What came of a leap, beside the outcomes of walking.py.
LEAPED, NOT_WORTH_IT, ABSORBED = 0, -1, -2

# Places of the options in `Request.options`.
DOUBTFUL, MARGIN, LEAP_WORTH = range(3)

# The first leap of a trajectory is looked for from this many events on.
_FIRST_EVENTS = 100.0


class Leap(NamedTuple):
    """Scratch of a leap; n_entries is n_species + 1, as in a state."""

    low: np.ndarray  # (n_entries,) float64, the box, whole numbers
    high: np.ndarray  # (n_entries,) float64
    slope: np.ndarray  # (n_entries,) float64, of the sum of all propensities, by each count
    moments: np.ndarray  # (4, n_entries) float64: mean and variance of what goes up, and down
    value: np.ndarray  # (n_reactions,) float64, propensities at the start
    least: np.ndarray  # (n_reactions,) float64, bounds in the box
    most: np.ndarray  # (n_reactions,) float64
    # How far the sure events of each reaction are in the state, as a share of the leap.
    seen: np.ndarray  # (n_reactions,) float64
    critical: np.ndarray  # (n_reactions,) int64
    sure: np.ndarray  # (n_reactions,) int64, events that are not in the state yet
    doubtful: np.ndarray  # (n_reactions,) int64, points that were not looked at yet


def leap_sizes(n_species: int, n_reactions: int) -> tuple[int, int]:
    """Return how many float64 and int64 numbers `take_leap` needs as scratch."""
    return 7 * (n_species + 1) + 4 * n_reactions, 3 * n_reactions


@inlined
def _scratch(walker, n):
    m = walker.state.size
    start = walker.reals.size - 7 * m - 4 * n
    reals = walker.reals[start:]
    bounds = reals[7 * m :]
    return Leap(
        low=reals[:m],
        high=reals[m : 2 * m],
        slope=reals[2 * m : 3 * m],
        moments=reals[3 * m : 7 * m].reshape((4, m)),
        value=bounds[:n],
        least=bounds[n : 2 * n],
        most=bounds[2 * n : 3 * n],
        seen=bounds[3 * n : 4 * n],
        critical=walker.integers[:n],
        sure=walker.integers[n : 2 * n],
        doubtful=walker.integers[2 * n : 3 * n],
    )


@apart
def _law_value(network, walker, reaction, time):
    return law_propensity(network, reaction, walker.state, time, walker.stack)


@inlined
def _value_of(network, walker, reaction, time):
    if network.form[reaction] == PAIR:
        return pair_propensity(network, reaction, walker.state)
    return _law_value(network, walker, reaction, time)


# ---- The choice of a leap ------------------------------------------------------------------------


@apart
def _fill_values(network, walker, leap, time):
    """Write all propensities; return their sum and a reaction at fault, or -1."""
    total, largest = 0.0, 0
    for reaction in range(network.form.size):
        value = _value_of(network, walker, reaction, time)
        if not 0.0 <= value < np.inf:
            return 0.0, reaction
        leap.value[reaction] = value
        total += value
        if value > leap.value[largest]:
            largest = reaction
    return total, (-1 if total < np.inf else largest)


@apart
def _fill_slopes(network, walker, leap):
    """Write by how much the propensities grow with each count, about.

    It decides which reactions are critical, and so only how long leaps are.
    """
    state, slope = walker.state, leap.slope
    for i in range(slope.size):
        slope[i] = 0.0
    for reaction in range(network.form.size):
        if network.form[reaction] == PAIR:
            first, second = network.first[reaction], network.second[reaction]
            coefficient = network.coefficient[reaction]
            slope[first] += coefficient * max(
                np.float64(state[second]) - network.shift[reaction], 0.0
            )
            slope[second] += coefficient * np.float64(state[first])
        else:
            value = leap.value[reaction]
            for k in range(network.reactant_start[reaction], network.reactant_start[reaction + 1]):
                i = network.reactant[k]
                order = np.float64(network.reactant_count[k])
                slope[i] += order * value / max(np.float64(state[i]), 1.0)
            for k in range(
                network.law_species_start[reaction], network.law_species_start[reaction + 1]
            ):
                i = network.law_species[k]
                slope[i] += value / max(np.float64(state[i]), 1.0)


@inlined
def _burden(network, leap, reaction, mean, length, margin):
    # About how many points the box that this reaction needs would bring into doubt.
    width = mean + margin * math.sqrt(mean) + 3.0
    steepness = 0.0
    for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
        steepness += abs(network.change[k]) * leap.slope[network.change_species[k]]
    return steepness * width * length


@apart
def _fill_box(network, walker, leap, length, doubtful, margin):
    """Write critical reactions and the box of a leap; return whether its counts stay below 2**53.

    The box holds what is expected to go up and down, plus `margin` standard deviations.
    """
    moments, last = leap.moments, leap.low.size - 1
    for i in range(last + 1):
        moments[0, i] = moments[1, i] = moments[2, i] = moments[3, i] = 0.0
    for reaction in range(network.form.size):
        mean = leap.value[reaction] * length
        # In a leap of its own length, a critical reaction costs about `mean` further leaps.
        leap.critical[reaction] = (
            mean < 1.0 and _burden(network, leap, reaction, mean, length, margin) > doubtful * mean
        )
        if leap.critical[reaction] == 0:
            for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
                i, change = network.change_species[k], np.float64(network.change[k])
                side = 0 if change > 0.0 else 2
                moments[side, i] += abs(change) * mean
                moments[side + 1, i] += change * change * mean
    fits = True
    for i in range(last + 1):
        count = np.float64(walker.state[i])
        leap.low[i] = leap.high[i] = count
        up, down = moments[0, i], moments[2, i]
        if up > 0.0:
            spread = moments[1, i]
            leap.high[i] += math.ceil(up + margin * math.sqrt(spread) + 3.0 * spread / up)
            fits = fits and leap.high[i] <= LARGEST_COUNT
        if down > 0.0:
            spread = moments[3, i]
            width = math.ceil(down + margin * math.sqrt(spread) + 3.0 * spread / down)
            leap.low[i] = max(count - width, 0.0)
    return fits


@apart
def _fill_bounds(network, walker, leap, time):
    """Write the bounds of all propensities in the box.

    Returns
    -------
    (float, float)
        The rates at which points in doubt and points of critical reactions come; nan where a
        propensity has no bounds.
    """
    in_doubt, critical = 0.0, 0.0
    for reaction in range(network.form.size):
        if network.form[reaction] == PAIR:
            least, most = pair_bounds(network, reaction, leap.low, leap.high)
        else:
            least, most = law_bounds(network, reaction, leap.low, leap.high, time, walker.stack)
        leap.least[reaction], leap.most[reaction] = least, most
        if leap.critical[reaction] != 0:
            critical += most
        else:
            in_doubt += most - least
    return in_doubt, critical


@apart
def _choose_leap(network, request, walker, leap, time, horizon, total):
    """Choose the box and the length of a leap that ends at `horizon` at the latest.

    Returns
    -------
    (float, float)
        The length, 0 if no leap is worth it; the rate of critical points.
    """
    doubtful, margin = request.options[DOUBTFUL], request.options[MARGIN]
    _fill_slopes(network, walker, leap)
    remaining = horizon - time
    guess = walker.clock[SPARE_TIME]
    if guess <= 0.0:
        guess = _FIRST_EVENTS / total
    length = min(guess, remaining)
    too_long = np.inf
    in_doubt, critical = 0.0, 0.0
    found = False
    for attempt in range(40):
        fits = _fill_box(network, walker, leap, length, doubtful, margin)
        in_doubt, critical = _fill_bounds(network, walker, leap, time)
        points = in_doubt * length
        if not fits or not critical < np.inf or not points <= 1.4 * doubtful:
            too_long = length
            shrunk = 0.9 * math.sqrt(doubtful / points) if points > 0.0 and fits else 0.25
            length *= min(max(shrunk, 0.02), 0.8)
            if total * length < request.options[LEAP_WORTH]:
                break
        elif points < 0.5 * doubtful and length < remaining and attempt < 12:
            longer = length * (min(0.9 * math.sqrt(doubtful / points), 16.0) if points > 0 else 16)
            if longer >= too_long:
                found = True
                break
            length = min(longer, remaining)
        else:
            found = True
            break
    # A leap that only the horizon made short says nothing about the next one.
    walker.clock[SPARE_TIME] = length if length < remaining else max(guess, length)
    events = 0.0
    for reaction in range(network.form.size):
        if leap.critical[reaction] == 0:
            events += leap.value[reaction]
    events *= length / (1.0 + critical * length)
    if not found or events < request.options[LEAP_WORTH]:
        return 0.0, 0.0
    if request.condition.start.size > 1:
        # Not where the run might have to stop on the way. As in `condition_holds`, the index is a
        # number of the usual type.
        half = walker.stack.size // 2
        lower, upper = program_range(
            request.condition, np.int64(0), leap.low, leap.high, network.parameters, time, time,
            walker.stack[:half], walker.stack[half:],
        )  # fmt: skip
        if not (lower == 0.0 and upper == 0.0):
            return 0.0, 0.0
    return length, critical


# ---- What happens in it --------------------------------------------------------------------------


@apart
def _draw_points(network, walker, leap, length):
    """Draw how many sure and doubtful points there are; return how many of them, and of all.

    After that, `moments` 0 and 2 hold how far they could raise and lower each count.
    """
    moments = leap.moments
    for i in range(leap.low.size):
        moments[0, i] = moments[2, i] = 0.0
    n_doubtful, n_points = np.int64(0), np.int64(0)
    for reaction in range(network.form.size):
        leap.seen[reaction] = 0.0
        sure, doubtful = np.int64(0), np.int64(0)
        if leap.critical[reaction] == 0 and leap.most[reaction] > 0.0:
            least, most = leap.least[reaction], leap.most[reaction]
            if least > 0.0:
                sure = np.int64(poisson(walker.stream, least * length))
            if most > least:
                doubtful = np.int64(poisson(walker.stream, (most - least) * length))
            both = np.float64(sure + doubtful)
            for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
                change = np.float64(network.change[k])
                if change > 0.0:
                    moments[0, network.change_species[k]] += change * both
                else:
                    moments[2, network.change_species[k]] -= change * both
        leap.sure[reaction], leap.doubtful[reaction] = sure, doubtful
        n_doubtful += doubtful
        n_points += sure + doubtful
    return n_doubtful, n_points


@inlined
def _stays_in_box(walker, leap):
    # A box that begins at 0 cannot be left there: no reaction happens without its reactants.
    stays = True
    for i in range(leap.low.size - 1):
        count = np.float64(walker.state[i])
        stays = stays and count + leap.moments[0, i] <= leap.high[i]
        stays = stays and (leap.low[i] == 0.0 or count - leap.moments[2, i] >= leap.low[i])
    return stays


@inlined
def _is_in_box(walker, leap):
    inside = True
    for i in range(leap.low.size - 1):
        inside = inside and leap.low[i] <= np.float64(walker.state[i]) <= leap.high[i]
    return inside


@inlined
def _add_events(network, state, reaction, number):
    for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
        state[network.change_species[k]] += number * network.change[k]


@inlined
def _changes_what(network, reaction, reads):
    # Whether one event of `reaction` changes a count that the propensity of `reads` depends on.
    found = False
    for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
        if network.change[k] != 0:
            i = network.change_species[k]
            for other in range(network.reactant_start[reads], network.reactant_start[reads + 1]):
                found = found or network.reactant[other] == i
            for other in range(
                network.law_species_start[reads], network.law_species_start[reads + 1]
            ):
                found = found or network.law_species[other] == i
    return found


@inlined
def _next_place(stream, place, n_points):
    # The first of n points that are uniform from `place` to 1: 1 - (1 - U)^(1/n) of the way.
    way = -math.expm1(-exponential(stream) / np.float64(n_points))
    return min(place + (1.0 - place) * way, 1.0)


@apart
def _look_at_doubtful(network, walker, leap, time, n_doubtful):
    """Go through the points in doubt, then add all sure events.

    Returns
    -------
    (int, int)
        The number of events, and a reaction whose bounds did not hold, or -1.
    """
    n, state, place, n_events = network.form.size, walker.state, 0.0, np.int64(0)
    while n_doubtful > 0:
        place = _next_place(walker.stream, place, n_doubtful)
        target = np.int64(uniform(walker.stream) * np.float64(n_doubtful))
        chosen = 0
        while target >= leap.doubtful[chosen]:
            target -= leap.doubtful[chosen]
            chosen += 1
        leap.doubtful[chosen] -= 1
        n_doubtful -= 1
        # Up to here the sure events are uniform over what is left of the leap; each reaction
        # brings its own up to date only where they matter.
        for reaction in range(n):
            if leap.sure[reaction] > 0 and _changes_what(network, reaction, chosen):
                seen = leap.seen[reaction]
                share = (place - seen) / (1.0 - seen) if seen < 1.0 else 1.0
                number = binomial(walker.stream, leap.sure[reaction], share)
                _add_events(network, state, reaction, number)
                leap.sure[reaction] -= number
                leap.seen[reaction] = place
                n_events += number
        value = _value_of(network, walker, chosen, time)
        least, most = leap.least[chosen], leap.most[chosen]
        if not least <= value <= most:
            return n_events, chosen
        if least + uniform(walker.stream) * (most - least) < value:
            _add_events(network, state, chosen, 1)
            n_events += 1
    for reaction in range(n):
        if leap.sure[reaction] > 0:
            _add_events(network, state, reaction, leap.sure[reaction])
            n_events += leap.sure[reaction]
    return n_events, -1


@apart
def _go_through_all(network, walker, leap, time, n_points, room):
    """Go through all points in order, until they end, the box is left, or there is no `room`.

    Returns
    -------
    (int, float, int)
        LEAPED, NOT_WORTH_IT where the box was left, or an outcome of walking.py; the share of the
        leap that was made; the number of events.
    """
    n, place, n_events, last = network.form.size, 0.0, np.int64(0), 0.0
    while n_points > 0:
        place = _next_place(walker.stream, place, n_points)
        target = np.int64(uniform(walker.stream) * np.float64(n_points))
        chosen = 0
        while chosen < n and target >= leap.sure[chosen] + leap.doubtful[chosen]:
            target -= leap.sure[chosen] + leap.doubtful[chosen]
            chosen += 1
        n_points -= 1
        happens = target < leap.sure[chosen]
        if happens:
            leap.sure[chosen] -= 1
        else:
            leap.doubtful[chosen] -= 1
            value = _value_of(network, walker, chosen, time)
            least, most = leap.least[chosen], leap.most[chosen]
            if not least <= value <= most:
                walker.counter[TROUBLE] = chosen
                return BOUND_BROKEN, last, n_events
            happens = least + uniform(walker.stream) * (most - least) < value
        if happens:
            if n_events == room:
                return EVENT_LIMIT, last, n_events
            n_events += 1
            last = place
            if not fire(network, chosen, walker.state):
                walker.counter[TROUBLE] = chosen
                return OVERFLOW, last, n_events
            if not _is_in_box(walker, leap):
                return NOT_WORTH_IT, last, n_events
    return LEAPED, 1.0, n_events


@apart
def _choose_critical(walker, leap, critical):
    target, last = uniform(walker.stream) * critical, -1
    for reaction in range(leap.critical.size):
        if leap.critical[reaction] != 0 and leap.most[reaction] > 0.0:
            last = reaction
            target -= leap.most[reaction]
            if target < 0.0:
                break
    return last


@apart
def take_leap(network, request, walker, time, horizon, n_events):
    """Leap from `time` to at most `horizon`, if that is worth it.

    Parameters
    ----------
    n_events : int
        Events so far; not more than `request.max_events` will be made.

    Returns
    -------
    (int, float, int)
        LEAPED, NOT_WORTH_IT (nothing was drawn), ABSORBED, or an outcome of walking.py; the time
        reached; the number of events.
    """
    leap = refer(_scratch(walker, network.form.size))
    none = np.int64(0)
    total, culprit = _fill_values(network, walker, leap, time)
    if culprit >= 0:
        walker.counter[TROUBLE] = culprit
        return BAD_PROPENSITY, time, none
    if total == 0.0:
        return ABSORBED, np.inf, none
    length, critical = _choose_leap(network, request, walker, leap, time, horizon, total)
    if length == 0.0:
        return NOT_WORTH_IT, time, none
    is_cut = False
    if critical > 0.0:
        waiting_time = exponential(walker.stream) / critical
        if waiting_time < length:
            length, is_cut = waiting_time, True
    reached = time + length
    if not (length < horizon - time and reached < horizon):
        reached, is_cut = horizon, False
    n_doubtful, n_points = _draw_points(network, walker, leap, length)
    room = request.max_events - n_events
    if n_points <= room and _stays_in_box(walker, leap):
        made, culprit = _look_at_doubtful(network, walker, leap, time, n_doubtful)
        if culprit >= 0:
            walker.counter[TROUBLE] = culprit
            return BOUND_BROKEN, time, made
    else:
        result, share, made = _go_through_all(network, walker, leap, time, n_points, room)
        if result == NOT_WORTH_IT:
            # Out of the box: what follows is drawn afresh from here.
            return LEAPED, min(time + share * length, reached), made
        if result != LEAPED:
            return result, min(time + share * length, reached), made
    if is_cut:
        chosen = _choose_critical(walker, leap, critical)
        value = _value_of(network, walker, chosen, time)
        if not value <= leap.most[chosen]:
            walker.counter[TROUBLE] = chosen
            return BOUND_BROKEN, reached, made
        if uniform(walker.stream) * leap.most[chosen] < value:
            if made == room:
                return EVENT_LIMIT, reached, made
            made += 1
            if not fire(network, chosen, walker.state):
                walker.counter[TROUBLE] = chosen
                return OVERFLOW, reached, made
    return LEAPED, reached, made
