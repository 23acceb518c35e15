"""Explicit tau-leaping with the step-size control of Cao, Gillespie and Petzold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels.inversion import poisson_by_inversion, uniform_inside
from ..kernels.jit import inlined, kernel, part
from ..kernels.lane_leaps import (
    CRITICAL_COUNT,
    EPSILON,
    FIXED_STEP,
    LEAP_WORTH,
    SINGLE_STEPS,
)
from ..kernels.propensities import fire, law_propensity, propensity
from ..kernels.random import exponential_by_log, uniform_52
from ..kernels.walking import (
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
    SPARE,
    TIME,
    TROUBLE,
    UNDER_WAY,
    condition_holds,
    finish_row,
    record_event,
    record_until,
    start_row,
)
from .direct import propose_direct, update_direct, workspace_size
from .method import StochasticMethod

__all__ = ["TauLeaping"]

# What an attempt to leap came to, beside the outcomes of walking.py.
LEAPED, NOT_WORTH_IT = 0, -1


@inlined
def _order_bound(count, order, own):
    # g_i of Cao et al. (2006), section III, for a reaction of `order` molecules, `own` of which
    # are of this species: order / own * sum_q x / (x - q), q = 0 ... own - 1.
    if count < own:
        return np.inf  # the reaction is impossible now; one molecule more changes it entirely
    total = 1.0
    for q in range(1, own):
        total += count / (count - q)
    return order * total / own


@part
def _fill_bounds(network, walker, propensities, bounds, epsilon):
    """Write for each species by what its relative change must be divided, g_i (n_species,).

    0 marks a species that no propensity depends on.
    """
    state = walker.state
    for i in range(bounds.size):
        order = network.highest_order[i]
        bounds[i] = 0.0
        if order > 0:
            bounds[i] = _order_bound(
                np.float64(state[i]), np.float64(order), network.highest_count[i]
            )
    # A rate law has no order; the relative change of its value when one species changes by the
    # allowed amount, up and down, says how steep it is here.
    for reaction in range(network.form.size):
        for k in range(
            network.law_species_start[reaction], network.law_species_start[reaction + 1]
        ):
            i = network.law_species[k]
            count, value = state[i], propensities[reaction]
            change = max(1, np.int64(epsilon * count))
            steepness = 1.0
            for shifted in (count + change, max(count - change, 0)):
                if shifted != count:
                    state[i] = shifted
                    other = law_propensity(
                        network, reaction, state, walker.clock[TIME], walker.stack
                    )
                    # No count, or no rate, to be relative to: allow one molecule at a time.
                    slope = np.inf
                    if value > 0.0 and count > 0:
                        slope = abs(other - value) / value * count / abs(shifted - count)
                    elif other == value:
                        slope = 0.0
                    # A law that fails beside the present state says nothing about steepness.
                    steepness = max(steepness, slope)
            state[i] = count
            bounds[i] = max(bounds[i], steepness)


@part
def _largest_step(network, walker, propensities, critical, bounds, mean, variance, epsilon):
    """Return the step that changes no propensity by more than epsilon: Cao et al., eq. 32-33."""
    n_species = bounds.size
    for i in range(n_species):
        mean[i] = 0.0
        variance[i] = 0.0
    for reaction in range(network.form.size):
        value = propensities[reaction]
        if value > 0.0 and critical[reaction] == 0:
            for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
                i, change = network.change_species[k], np.float64(network.change[k])
                if i < n_species:
                    mean[i] += change * value
                    variance[i] += change * change * value
    step = np.inf
    for i in range(n_species):
        if bounds[i] > 0.0 and variance[i] > 0.0:
            allowed = max(epsilon * np.float64(walker.state[i]) / bounds[i], 1.0)
            step = min(step, allowed * allowed / variance[i])
            if mean[i] != 0.0:
                step = min(step, allowed / abs(mean[i]))
    return step


@part
def _mark_critical(network, state, propensities, critical, critical_count):
    """Mark the reactions that could use up a reactant in fewer than `critical_count` events."""
    for reaction in range(network.form.size):
        critical[reaction] = 0
        if propensities[reaction] > 0.0:
            for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
                # Compared as doubles, as lanes do.
                taken = -np.float64(network.change[k])
                left = np.float64(state[network.change_species[k]])
                if taken > 0.0 and left < critical_count * taken:
                    critical[reaction] = 1


@inlined
def _add_firings(network, state, firings, sign):
    for reaction in range(network.form.size):
        if firings[reaction] > 0:
            for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
                state[network.change_species[k]] += sign * firings[reaction] * network.change[k]


@part
def _fire_many(network, walker, propensities, critical, firings, step, chosen):
    """Fire the reactions that are not critical as often as `step` says, and `chosen` once.

    Return LEAPED, OVERFLOW, or NOT_WORTH_IT where a count would turn negative; then the state is as
    before.
    """
    state = walker.state
    for reaction in range(network.form.size):
        firings[reaction] = 0
        # A word for every reaction, used or not, so that all lanes of lane_leaps.py keep step.
        u = uniform_inside(walker.stream)
        if propensities[reaction] > 0.0 and critical[reaction] == 0:
            mean = propensities[reaction] * step
            if not mean < LARGEST_COUNT:
                walker.counter[TROUBLE] = reaction
                return OVERFLOW
            firings[reaction] = np.int64(poisson_by_inversion(u, mean))
    if chosen >= 0:
        firings[chosen] = 1
    _add_firings(network, state, firings, 1)
    # Checked only at the end: what one reaction takes, another may give in the same leap.
    negative, too_large = False, False
    for i in range(network.highest_order.size):
        negative = negative or state[i] < 0
        too_large = too_large or state[i] > LARGEST_COUNT
    if negative:
        _add_firings(network, state, firings, -1)
        return NOT_WORTH_IT
    if too_large:
        walker.counter[TROUBLE] = -1
        return OVERFLOW
    return LEAPED


@inlined
def _choose_critical(propensities, critical, target):
    last = -1
    for reaction in range(propensities.size):
        if critical[reaction] != 0:
            last = reaction
            target -= propensities[reaction]
            if target < 0.0:
                break
    return last


@part
def _leap(network, request, walker, time, horizon):
    """Leap from `time` to at most `horizon`; return what came of it and the time reached."""
    n, n_species = network.form.size, network.highest_order.size
    offset = walker.reals.size - n - 3 * n_species
    propensities = walker.reals[offset : offset + n]
    bounds = walker.reals[offset + n : offset + n + n_species]
    mean = walker.reals[offset + n + n_species : offset + n + 2 * n_species]
    variance = walker.reals[offset + n + 2 * n_species : offset + n + 3 * n_species]
    critical, firings = walker.integers[:n], walker.integers[n : 2 * n]
    epsilon, fixed_step = request.options[EPSILON], request.options[FIXED_STEP]

    total = 0.0
    for reaction in range(n):
        value = propensity(network, reaction, walker.state, time, walker.stack)
        if not 0.0 <= value < np.inf:
            walker.counter[TROUBLE] = reaction
            return BAD_PROPENSITY, time
        propensities[reaction] = value
        total += value
    if total == 0.0:
        return LEAPED, np.inf
    if fixed_step > 0.0:
        for reaction in range(n):
            critical[reaction] = 0
        largest = fixed_step
    else:
        _mark_critical(
            network, walker.state, propensities, critical, request.options[CRITICAL_COUNT]
        )
        _fill_bounds(network, walker, propensities, bounds, epsilon)
        largest = _largest_step(
            network, walker, propensities, critical, bounds, mean, variance, epsilon
        )
    critical_total = 0.0
    for reaction in range(n):
        if critical[reaction] != 0:
            critical_total += propensities[reaction]
    while True:
        if fixed_step == 0.0 and largest < request.options[LEAP_WORTH] / total:
            return NOT_WORTH_IT, time
        # At most one critical event in a leap, drawn exactly. A leap that is cut at the horizon
        # (the next grid time) ends before that event; waiting times have no memory.
        step = largest
        chosen = -1
        waiting_time, share = exponential_by_log(walker.stream), uniform_52(walker.stream)
        if critical_total > 0.0:
            waiting_time /= critical_total
            if waiting_time <= largest and time + waiting_time < horizon:
                step = waiting_time
                chosen = _choose_critical(propensities, critical, share * critical_total)
        reached = time + step
        if not reached < horizon:
            step, reached = horizon - time, horizon
        result = _fire_many(network, walker, propensities, critical, firings, step, chosen)
        if result != NOT_WORTH_IT:
            return result, reached
        largest = min(largest, step) / 2.0


def run_tau_leaping(network, request, walker, output, first_index, budget):
    """Sample trajectories by leaps, and by single events where leaps do not pay."""
    times, counter, parameters = request.times, walker.counter, network.parameters
    n_reactions, n_times = network.form.size, request.times.size
    for row in range(counter[ROW], output.outcome.size):
        if counter[UNDER_WAY] == 0:
            start_row(request, walker, parameters, output, row, first_index, n_reactions)
            counter[SPARE] = 0
            budget -= n_times
        time, fired, single_steps = walker.clock[TIME], counter[FIRED], counter[SPARE]
        n_recorded, n_events = counter[N_RECORDED], counter[N_EVENTS]
        outcome = 0
        while outcome == 0:
            if condition_holds(request, walker, parameters, time):
                record_until(request, walker, parameters, output, row, n_recorded, np.inf)
                output.hitting_time[row] = time
                outcome = COMPLETE
                break
            if single_steps > 0:
                trouble = update_direct(network, walker, fired, time)
                if trouble >= 0:
                    counter[TROUBLE] = trouble
                    outcome = BAD_PROPENSITY
                    break
                next_time, fired = propose_direct(network, walker, time)
            else:
                # A leap ends on the next grid time at the latest; what is due by now is recorded.
                n_recorded = record_until(
                    request, walker, parameters, output, row, n_recorded, np.nextafter(time, np.inf)
                )
                if n_recorded == n_times:
                    outcome = COMPLETE
                    break
                walker.clock[TIME] = time
                result, next_time = _leap(network, request, walker, time, times[n_recorded])
                if result == NOT_WORTH_IT:
                    single_steps, fired = np.int64(request.options[SINGLE_STEPS]), n_reactions
                    continue
                if result != LEAPED:
                    outcome = result
                    break
                fired = -1
            if fired >= 0 or next_time == np.inf:
                # A single event, or none ever again: the state held until then.
                n_recorded = record_until(
                    request, walker, parameters, output, row, n_recorded, next_time
                )
                if n_recorded == n_times:
                    outcome = COMPLETE
                    break
            if n_events == request.max_events:
                outcome = EVENT_LIMIT
                break
            time = next_time
            n_events += 1
            budget -= 1
            if fired >= 0:
                single_steps -= 1
                if not fire(network, fired, walker.state):
                    counter[TROUBLE] = fired
                    outcome = OVERFLOW
                    break
            full = False
            if request.every_event:
                full = record_event(request, walker, parameters, output, time, fired)
            if full or budget <= 0:
                walker.clock[TIME], counter[FIRED], counter[SPARE] = time, fired, single_steps
                counter[N_RECORDED], counter[N_EVENTS] = n_recorded, n_events
                return EVENTS_FULL if full else BUDGET_SPENT
        walker.clock[TIME], counter[N_RECORDED] = time, n_recorded
        finish_row(walker, output, row, outcome, n_events)
        if outcome != COMPLETE:
            return IN_TROUBLE
    return ALL_DONE


run_tau_leaping = kernel(run_tau_leaping)


@dataclass(frozen=True)
class TauLeaping(StochasticMethod):
    """Tau-leaping: many events at once, as long as no propensity changes by much.

    Approximate. Counts are never negative: a leap that would take a count below zero is halved,
    and reactions close to using up a reactant fire one at a time. Where a leap would hold fewer
    than `leap_worth` events, `single_steps` exact events are made instead. Leaps end on the grid
    times, so the grid is part of the path.

    Parameters
    ----------
    epsilon : float
        Largest relative change of a propensity in one leap, between 0 and 1.
    critical_count : int
        A reaction is critical when fewer than this many events of it would use up a reactant.
    tau : float
        Fixed length of a leap, in the unit of time; 0 (the default) adapts it to `epsilon`.
        A fixed step makes no exact events and has no critical reactions.
    single_steps : int
        Exact events made in a row where leaping does not pay.
    leap_worth : float
        Events that a leap must be expected to hold.

    Notes
    -----
    For rate laws (``=>``, or rates that depend on the state) the bound g_i is the steepness of the
    law at the present state, at least 1, by a finite difference as wide as the allowed change.

    References
    ----------
    Cao, Gillespie and Petzold (2006), J. Chem. Phys. 124, 044109, doi:10.1063/1.2159468.
    """

    epsilon: float = 0.03
    critical_count: int = 10
    tau: float = 0.0
    single_steps: int = 100
    leap_worth: float = 10.0

    name: ClassVar[str] = "tau_leaping"
    summary: ClassVar[str] = "explicit tau-leaping with adaptive steps"
    citation: ClassVar[str] = "Cao, Gillespie and Petzold (2006), doi:10.1063/1.2159468"
    is_exact: ClassVar[bool] = False
    kernel: ClassVar[Any] = staticmethod(run_tau_leaping)

    def __post_init__(self) -> None:
        requirements: dict[str, tuple[Callable[[float], bool], str]] = {
            "epsilon": (lambda x: 0.0 < x < 1.0, "a number between 0 and 1"),
            "critical_count": (
                lambda x: 0 <= x < 2**53 and x % 1 == 0,
                "a whole number, 0 or more",
            ),
            "tau": (lambda x: 0.0 <= x < np.inf, "0 (adaptive) or a positive time"),
            "single_steps": (lambda x: 1 <= x < 2**53 and x % 1 == 0, "a whole number, 1 or more"),
            "leap_worth": (lambda x: 0.0 < x < np.inf, "a number above 0"),
        }
        self.check_options(requirements)

    def option_values(self) -> np.ndarray:
        """Return the options in the order in which the kernel reads them."""
        options = [self.epsilon, self.critical_count, self.tau, self.single_steps, self.leap_worth]
        return np.array(options, dtype=np.float64)

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for single events, propensities, bounds, means and variances."""
        return workspace_size(n_reactions) + n_reactions + 3 * n_species, 2 * n_reactions
