"""What happens at known times: events whose triggers read nothing but t, and rates that jump."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..compilation import CompiledNetwork, compile_expressions, jumping_parts
from ..errors import MethodError, SimulationError
from ..event_compilation import CompiledEvents, compile_events, event_label, event_store
from ..expressions import Expression, Symbol
from ..kernels.event_handling import fill_values, find_first_change
from ..kernels.paths import Path
from ..kernels.programs import Programs
from ..network import Network
from .state_space import FloatArray, IntArray

__all__ = ["Timetable"]

# Of events that are due at one instant with one priority, all orders are followed.
_MOST_AT_ONCE = 5
_MOST_STOPS = 100_000


class Timetable:
    """When events fire and rates jump, from the first time of a run to its last.

    Parameters
    ----------
    compiled : CompiledNetwork
        The network.
    start, end : float
        The run's first and last time.

    Attributes
    ----------
    firings : list of (float, tuple of int)
        When events are executed, and which; increasing.
    stops : ndarray, float64
        Times inside the run at which a rate jumps or an event is executed; increasing.

    Raises
    ------
    MethodError
        If an event depends on the state in another way than by what it assigns.
    """

    def __init__(self, compiled: CompiledNetwork, start: float, end: float) -> None:
        self._network = compiled.network
        self._parameters = compiled.arrays.parameters
        known = frozenset({"t", *self._network.parameter_names})
        self.firings = self._plan(start, end, known) if self._network.events else []
        jumps = self._jumps(start, end, known) if compiled.time_dependent else []
        inside = {time for time in (*jumps, *(time for time, _ in self.firings)) if time > start}
        self.stops = np.array(sorted(inside))

    # ---- Events ---------------------------------------------------------------------------------

    def _plan(
        self, start: float, end: float, known: frozenset[str]
    ) -> list[tuple[float, tuple[int, ...]]]:
        network = self._network
        for e in range(len(network.events)):
            _refuse(network, e, known)
        compiled = compile_events(network, frozenset())
        programs = compiled.events.trigger
        held = compiled.events.initially.astype(np.float64)
        due: list[tuple[float, int]] = []
        waiting: list[tuple[float, int]] = []
        time = start
        while time <= end:
            values = self._values(programs, compiled.stack_depth, len(network.events), time)
            for e in np.flatnonzero(values != held).tolist():
                if values[e] != 0.0:
                    waiting.append((time + self._delay(e, time), e))
                elif not network.events[e].persistent:
                    waiting = [one for one in waiting if one[1] != e or one[0] <= time]
            held = values
            due += [one for one in waiting if one[0] <= time]
            waiting = [one for one in waiting if one[0] > time]
            change = self._first_change(programs, held, time, end, compiled)
            following = min([change, *(one[0] for one in waiting)])
            due += [one for one in waiting if one[0] < change]
            waiting = [one for one in waiting if one[0] >= change]
            if not following <= end or len(due) > _MOST_STOPS:
                break
            time = change if change <= end else math.inf
        if len(due) > _MOST_STOPS:
            raise MethodError(
                f"events fire more than {_MOST_STOPS} times up to t = {end:g}; shorten the run"
            )
        due = sorted(one for one in due if one[0] <= end)
        groups = itertools.groupby(due, key=lambda one: one[0])
        return [(when, tuple(e for _, e in group)) for when, group in groups]

    def _delay(self, e: int, time: float) -> float:
        delay = self._network.events[e].delay
        if delay is None:
            return 0.0
        value = self._constant(delay, time)
        if not 0.0 <= value < math.inf:
            raise SimulationError(
                f"the delay of event {event_label(self._network, e)} is {value:g} at t = {time:g}; "
                "it must be a finite time, 0 or more"
            )
        return value

    def _constant(self, expression: Any, time: float) -> float:
        network = self._network
        values = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
        return float(network.expanded(expression).evaluate({**values, "t": time}))

    def execute(
        self, time: float, events: tuple[int, ...], states: IntArray, p: FloatArray
    ) -> tuple[IntArray, FloatArray]:
        """Return the states and probabilities after all events of one instant.

        Of events with one priority each order is as probable as any other.
        """
        network = self._network
        priorities = []
        for e in events:
            priority = network.events[e].priority
            priorities.append(-math.inf if priority is None else self._constant(priority, time))
        groups: list[list[int]] = []
        for _, group in itertools.groupby(
            sorted(zip(priorities, events, strict=True), key=lambda one: -one[0]),
            key=lambda one: one[0],
        ):
            groups.append([e for _, e in group])
        for tied in groups:
            if len(tied) > _MOST_AT_ONCE:
                raise MethodError(
                    f"{len(tied)} events are due at t = {time:g} with the same priority, and their "
                    f"order is random; give them priorities, so that at most {_MOST_AT_ONCE} are "
                    "tied"
                )
            orders = list(itertools.permutations(tied))
            found = [self._in_order(time, order, states, p / len(orders)) for order in orders]
            states, p = _merged(
                np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
            )
        return states, p

    def _in_order(
        self, time: float, order: Sequence[int], states: IntArray, p: FloatArray
    ) -> tuple[IntArray, FloatArray]:
        for e in order:
            states = self._assigned(time, e, states)
        return _merged(states, p)

    def _assigned(self, time: float, e: int, states: IntArray) -> IntArray:
        network, event = self._network, self._network.events[e]
        values: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        columns = states.T.astype(np.float64)
        values |= dict(zip(network.species_names, columns, strict=True)) | {"t": time}
        after = states.copy()
        for name, expression in event.assignments:
            amount = np.asarray(network.expanded(expression).evaluate(values), dtype=np.float64)
            if name in event.as_concentrations:
                place = network.compartment_of(name)
                assert place is not None
                size = network.expanded(Symbol(place.size)).evaluate(values)
                amount = amount * np.asarray(size, dtype=np.float64)
            amount = np.broadcast_to(amount, states.shape[:1])
            with np.errstate(invalid="ignore"):
                nearest = np.rint(amount)
                wrong = ~((nearest >= 0.0) & (nearest <= 2.0**53) & (abs(amount - nearest) <= 1e-9))
            if wrong.any():
                i = int(np.flatnonzero(wrong)[0])
                raise SimulationError(
                    f"event {event_label(network, e)} sets {name} to {float(amount[i])!r} "
                    f"at t = {time:g} in the state {_shown(network, states[i])}; "
                    "it must be a whole number from 0 to 2**53; floor(...) makes one of a fraction"
                )
            after[:, network.species_names.index(name)] = nearest.astype(np.int64)
        return after

    # ---- Rates that jump ------------------------------------------------------------------------

    def _jumps(self, start: float, end: float, known: frozenset[str]) -> list[float]:
        network = self._network
        rates = [network.expanded_rate(j) for j in range(network.n_reactions)]
        parts = [one for one in jumping_parts(rates, {"t"}) if one.symbols() <= known]
        if not parts:
            return []
        programs, depth = compile_expressions(network, parts)
        compiled = compile_events(network, frozenset())
        found: list[float] = []
        time = start
        while len(found) <= _MOST_STOPS:
            held = self._values(programs, depth, len(parts), time)
            time = self._first_change(programs, held, time, end, compiled, depth)
            if not time < end:
                return found
            found.append(time)
        raise MethodError(
            f"rates jump more than {_MOST_STOPS} times up to t = {end:g}; shorten the run"
        )

    # ---- Programs of t --------------------------------------------------------------------------

    def _values(self, programs: Programs, depth: int, n: int, time: float) -> FloatArray:
        values = np.zeros(n)
        state = np.ones(self._network.n_species + 1)
        fill_values(programs, state, self._parameters, time, np.zeros(depth), values)
        return values

    def _first_change(
        self,
        programs: Programs,
        held: FloatArray,
        time: float,
        end: float,
        compiled: CompiledEvents,
        depth: int = 0,
    ) -> float:
        if not time < end:
            return math.inf
        store = event_store(compiled, self._network.n_species, stack_depth=max(depth, 1))
        nothing = Path(
            np.zeros(0, dtype=np.int64), np.zeros((0, 1)), np.array([time, end]), np.zeros(1)
        )
        which = np.arange(held.size, dtype=np.int64)
        return float(
            find_first_change(programs, which, held, nothing, self._parameters, time, end, store)
        )


def _refuse(network: Network, e: int, known: frozenset[str]) -> None:
    event, label = network.events[e], event_label(network, e)
    reads: list[tuple[str, Expression | None]] = [
        ("trigger", event.trigger), ("delay", event.delay), ("priority", event.priority)
    ]  # fmt: skip
    for what, expression in reads:
        if expression is None:
            continue
        others = sorted(network.expanded(expression).symbols() - known)
        if others:
            raise MethodError(
                f"the {what} of event {label} reads {others[0]!r}: the master equation can follow "
                "events at fixed times only. Write the event as a reaction, if it can be one (a "
                "rate of if(condition, fast, 0)), or sample with method 'direct'"
            )
    waits = event.delay is not None and event.values == "trigger"
    reads_state = any(network.expanded(value).symbols() - known for _, value in event.assignments)
    if waits and reads_state:
        raise MethodError(
            f"event {label} assigns after a delay what the state was at its trigger, which the "
            "master equation does not remember; sample with method 'direct'"
        )


def _shown(network: Network, state: IntArray) -> str:
    pairs = zip(network.species_names, state.tolist(), strict=True)
    return ", ".join(f"{name} = {count}" for name, count in pairs)


def _merged(states: IntArray, p: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return different states, with the probabilities of equal ones added."""
    rows, inverse = np.unique(states, axis=0, return_inverse=True)
    sums = np.bincount(inverse.ravel(), weights=p, minlength=rows.shape[0])
    return rows, np.asarray(sums, dtype=np.float64)
