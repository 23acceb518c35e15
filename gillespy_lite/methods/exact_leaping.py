"""Exact leaping: many events at once with the law of single ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels.exact_leaps import ABSORBED, LEAPED, NOT_WORTH_IT, leap_sizes, take_leap
from ..kernels.jit import apart, kernel
from ..kernels.propensities import fire
from ..kernels.references import refer
from ..kernels.walking import (
    ALL_DONE,
    BAD_PROPENSITY,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    EVENTS_FULL,
    FIRED,
    IN_TROUBLE,
    N_EVENTS,
    N_RECORDED,
    OVERFLOW,
    ROW,
    SPARE,
    SPARE_TIME,
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

__all__ = ["ExactLeaping"]

# Place of the option in `Request.options`; those before it are read by exact_leaps.py.
SINGLE_STEPS = 3


# Parts of the loop that are merged in wherever they are called make the kernel take three times as
# long to compile.
@apart
def _record(network, request, walker, output, row, n_recorded, time):
    return record_until(request, walker, network.parameters, output, row, n_recorded, time)


@apart
def _record_event(network, request, walker, output, time, fired):
    return record_event(request, walker, network.parameters, output, time, fired)


@apart
def _begin(network, request, walker, output, row, first_index):
    n_reactions = network.form.size
    start_row(request, walker, network.parameters, output, row, first_index, n_reactions)
    walker.counter[SPARE], walker.clock[SPARE_TIME] = 0, 0.0


@apart
def _must_stop(network, request, walker, time):
    return condition_holds(request, walker, network.parameters, time)


@apart
def _single_event(network, walker, fired, time):
    trouble = update_direct(network, walker, fired, time)
    if trouble >= 0:
        return trouble, np.inf, -1
    next_time, reaction = propose_direct(network, walker, time)
    return -1, next_time, reaction


@apart
def _run(network, request, walker, output, first_index, budget):
    times, counter = request.times, walker.counter
    n_reactions, n_times = network.form.size, request.times.size
    may_stop = request.condition.start.size > 1
    for row in range(counter[ROW], output.outcome.size):
        if counter[UNDER_WAY] == 0:
            _begin(network, request, walker, output, row, first_index)
            budget -= n_times
        time, fired, single_steps = walker.clock[TIME], counter[FIRED], counter[SPARE]
        n_recorded, n_events = counter[N_RECORDED], counter[N_EVENTS]
        outcome = 0
        while outcome == 0:
            if may_stop and _must_stop(network, request, walker, time):
                _record(network, request, walker, output, row, n_recorded, np.inf)
                output.hitting_time[row] = time
                outcome = COMPLETE
                break
            full = False
            if single_steps == 0:
                # A leap ends on the next grid time at the latest; what is due by now is recorded.
                if times[n_recorded] <= time:
                    n_recorded = _record(
                        network,
                        request,
                        walker,
                        output,
                        row,
                        n_recorded,
                        np.nextafter(time, np.inf),
                    )
                    if n_recorded == n_times:
                        outcome = COMPLETE
                        break
                result, next_time, made = take_leap(
                    network, request, walker, time, times[n_recorded], n_events
                )
                if result == NOT_WORTH_IT:
                    single_steps, fired = np.int64(request.options[SINGLE_STEPS]), n_reactions
                    continue
                if result == ABSORBED:
                    n_recorded = _record(
                        network, request, walker, output, row, n_recorded, next_time
                    )
                    outcome = COMPLETE
                    break
                time = next_time
                n_events += made
                budget -= 1
                if result != LEAPED:
                    outcome = result
                    break
                if request.every_event and made > 0:
                    full = _record_event(network, request, walker, output, time, -1)
            else:
                trouble, next_time, fired = _single_event(network, walker, fired, time)
                if trouble >= 0:
                    counter[TROUBLE] = trouble
                    outcome = BAD_PROPENSITY
                    break
                if times[n_recorded] < next_time:
                    n_recorded = _record(
                        network, request, walker, output, row, n_recorded, next_time
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
                single_steps -= 1
                if not fire(network, fired, walker.state):
                    counter[TROUBLE] = fired
                    outcome = OVERFLOW
                    break
                if request.every_event:
                    full = _record_event(network, request, walker, output, time, fired)
            if full or budget <= 0:
                walker.clock[TIME], counter[FIRED], counter[SPARE] = time, fired, single_steps
                counter[N_RECORDED], counter[N_EVENTS] = n_recorded, n_events
                return EVENTS_FULL if full else BUDGET_SPENT
        walker.clock[TIME], counter[N_RECORDED] = time, n_recorded
        finish_row(walker, output, row, outcome, n_events)
        if outcome != COMPLETE:
            return IN_TROUBLE
    return ALL_DONE


def run_exact_leaping(network, request, walker, output, first_index, budget):
    """Sample trajectories by exact leaps, and by single events where leaps do not pay."""
    return _run(refer(network), refer(request), refer(walker), refer(output), first_index, budget)


run_exact_leaping = kernel(run_exact_leaping)


@dataclass(frozen=True)
class ExactLeaping(StochasticMethod):
    """Leaps over many events that leave the law of the path exactly as it is.

    Exact. A leap draws how many events of each reaction are sure to happen under bounds of its
    propensity that hold in a box around the state, and looks at the few that are in doubt one by
    one; if the path could leave the box, it goes through all of them. `kernels/exact_leaps.py` says
    why that is exact. With counts of the order n a leap holds about sqrt(n) events, at a cost that
    does not depend on n. Where a leap would hold fewer than `leap_worth` events, `single_steps`
    events are made one by one, as in the direct method. Leaps end on the grid times, so that
    another grid gives another path, of the same law.

    The options change the speed and the draws, and no law.

    Parameters
    ----------
    doubtful : float
        Events in doubt that a leap is expected to hold, at most.
    margin : float
        Standard deviations by which the box of a leap exceeds what is expected.
    leap_worth : float
        Events that a leap must be expected to hold.
    single_steps : int
        Events made one by one in a row where leaping does not pay.

    References
    ----------
    Solan and Getz (2025), An exact tau-leaping method, doi:10.48550/arXiv.2509.12631. Lewis and
    Shedler (1979), Nav. Res. Logist. Q. 26:403, doi:10.1002/nav.3800260304.
    """

    doubtful: float = 2.0
    margin: float = 4.5
    leap_worth: float = 60.0
    single_steps: int = 100

    name: ClassVar[str] = "exact_leaping"
    summary: ClassVar[str] = "exact leaps for large counts, about sqrt(count) events at once"
    citation: ClassVar[str] = "Solan and Getz (2025), doi:10.48550/arXiv.2509.12631"
    is_exact: ClassVar[bool] = True
    kernel: ClassVar[Any] = staticmethod(run_exact_leaping)

    def __post_init__(self) -> None:
        requirements: dict[str, tuple[Callable[[float], bool], str]] = {
            "doubtful": (lambda x: 0.0 < x <= 1e6, "a number above 0, at most 1e6"),
            "margin": (lambda x: 0.0 <= x <= 100.0, "a number from 0 to 100"),
            "leap_worth": (lambda x: 0.0 < x < np.inf, "a number above 0"),
            "single_steps": (lambda x: 1 <= x < 2**53 and x % 1 == 0, "a whole number, 1 or more"),
        }
        self.check_options(requirements)

    def option_values(self) -> np.ndarray:
        """Return the options in the order in which the kernel reads them."""
        options = [self.doubtful, self.margin, self.leap_worth, self.single_steps]
        return np.array(options, dtype=np.float64)

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for single events and for leaps."""
        n_reals, n_integers = leap_sizes(n_species, n_reactions)
        return workspace_size(n_reactions) + n_reals, n_integers
