"""From a network's events to the arrays that the event kernels read, and back to messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from .compilation import compile_expressions
from .errors import SimulationError
from .kernels.event_handling import (
    BAD_EVENT_VALUE,
    N_EVENT_COUNTERS,
    SEARCH_DEPTH,
    TROUBLE_EVENT,
    TROUBLE_TARGET,
    Events,
    EventStore,
)
from .network import Network
from .operations import CONDITIONS
from .rate_laws import Call, Expression, Number, Symbol

__all__ = [
    "CompiledEvents",
    "compile_events",
    "enlarged",
    "event_label",
    "event_store",
    "event_trouble",
]


@dataclass(frozen=True)
class CompiledEvents:
    """The events of a network as arrays, with what callers must know to run them."""

    events: Events
    stack_depth: int
    labels: tuple[str, ...]  # one an event, for messages


def compile_events(
    network: Network, moving: Collection[str], *, finite: Collection[str] | None = None
) -> CompiledEvents:
    """Return the events of a network as arrays.

    Parameters
    ----------
    network : Network
        Its events may be none.
    moving : collection of str
        The species and variables that change between jumps.
    finite : collection of str, optional
        The targets that may not become infinite or nan; by default all.

    Returns
    -------
    CompiledEvents
        Kept with the network: relatives share it.
    """
    finite_names = frozenset(network.state_names if finite is None else finite)
    key = ("events", frozenset(moving), finite_names)
    compiled: CompiledEvents | None = network.memo.get(key)
    if compiled is None:
        compiled = network.memo[key] = _build(network, frozenset(moving), finite_names)
    return compiled


def _build(network: Network, moving: frozenset[str], finite: frozenset[str]) -> CompiledEvents:
    index = {name: i for i, name in enumerate(network.state_names)}
    triggers = [_as_truth(network.expanded(one.trigger)) for one in network.events]
    trigger, trigger_depth = compile_expressions(network, triggers)
    delay, delay_depth = compile_expressions(network, [one.delay for one in network.events])
    priority, priority_depth = compile_expressions(
        network, [one.priority for one in network.events]
    )
    assignments = [pair for one in network.events for pair in one.assignments]
    value, value_depth = compile_expressions(network, [expression for _, expression in assignments])
    size, size_depth = compile_expressions(
        network,
        [
            _size_of(network, name) if name in one.as_concentrations else None
            for one in network.events
            for name, _ in one.assignments
        ],
    )
    depends = [_depends_on_time(one, moving, index) for one in triggers]
    read: set[int] = set()
    for one, how in zip(triggers, depends, strict=True):
        if how == 2:
            read |= {index[name] for name in one.symbols() if name in index}
    sizes = [len(one.assignments) for one in network.events]
    return CompiledEvents(
        Events(
            trigger=trigger,
            delay=delay,
            priority=priority,
            value=value,
            size=size,
            persistent=_flags(one.persistent for one in network.events),
            initially=_flags(one.initially for one in network.events),
            at_trigger=_flags(one.values == "trigger" for one in network.events),
            depends_on_time=np.array(depends, dtype=np.int64),
            assignment_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            target=np.array([index[name] for name, _ in assignments], dtype=np.int64),
            finite=_flags(name in finite for name, _ in assignments),
            read=np.array(sorted(read), dtype=np.int64),
        ),
        max(trigger_depth, delay_depth, priority_depth, value_depth, size_depth),
        tuple(event_label(network, e) for e in range(len(network.events))),
    )


def _size_of(network: Network, name: str) -> Expression:
    place = network.compartment_of(name)
    assert place is not None  # `find_problem` sees to it
    return Symbol(place.size)


def _flags(values: Iterable[bool]) -> np.ndarray:
    return np.array([int(value) for value in values], dtype=np.int64)


def _as_truth(trigger: Expression) -> Expression:
    """Return a trigger whose value is 0 or 1."""
    if isinstance(trigger, Call) and trigger.operation in CONDITIONS:
        return trigger
    return Call("!=", (trigger, Number(0.0)))


def _depends_on_time(trigger: Expression, moving: frozenset[str], index: dict[str, int]) -> int:
    symbols = trigger.symbols()
    if not symbols.isdisjoint(moving):
        return 2
    if "t" not in symbols:
        return 0
    return 1 if symbols.isdisjoint(index) else 2


def event_label(network: Network, event: int) -> str:
    """Return how messages name an event: its number from 1, its name, its trigger."""
    what = network.events[event]
    name = f" '{what.name}'" if what.name else ""
    return f"{event + 1}{name} (when {what.trigger})"


def event_store(
    compiled: CompiledEvents, n_states: int, capacity: int = 64, *, stack_depth: int = 0
) -> EventStore:
    """Return one walker's own arrays for the events of a network of `n_states` states.

    Its scratch serves `first_change` for other programs too, if they need no deeper stack than
    `stack_depth`.
    """
    depth = max(compiled.stack_depth, stack_depth)
    n_events = compiled.events.persistent.size
    most = int(np.diff(compiled.events.assignment_start).max(initial=0))
    return EventStore(
        held=np.zeros(n_events),
        change=np.full(n_events, np.inf),
        searched=np.zeros(n_events),
        due=np.zeros(capacity),
        event=np.zeros(capacity, dtype=np.int64),
        stored=np.zeros((capacity, most)),
        counter=np.zeros(N_EVENT_COUNTERS, dtype=np.int64),
        instant=np.zeros(1),
        trouble=np.zeros(1),
        values=np.zeros(most),
        state=np.ones(n_states + 1),
        low=np.ones(n_states + 1),
        high=np.ones(n_states + 1),
        stack=np.zeros(depth),
        low_stack=np.zeros(depth),
        high_stack=np.zeros(depth),
        left=np.zeros(SEARCH_DEPTH),
        right=np.zeros(SEARCH_DEPTH),
    )


def enlarged(store: EventStore) -> EventStore:
    """Return a store with room for twice as many waiting executions, everything in it kept."""
    return store._replace(
        due=np.concatenate([store.due, np.zeros_like(store.due)]),
        event=np.concatenate([store.event, np.zeros_like(store.event)]),
        stored=np.concatenate([store.stored, np.zeros_like(store.stored)]),
    )


def event_trouble(
    network: Network, compiled: CompiledEvents, store: EventStore, status: int, time: float
) -> SimulationError:
    """Return the error for events that could not be settled, naming the event and the time."""
    event = int(store.counter[TROUBLE_EVENT])
    name = compiled.labels[event]
    if status != BAD_EVENT_VALUE:
        return SimulationError(
            f"events trigger one another without end at t = {time:g}; one of them is event {name}. "
            "Give it a delay, or assign something that ends its trigger"
        )
    target, value = int(store.counter[TROUBLE_TARGET]), float(store.trouble[0])
    if target == -1:
        return SimulationError(
            f"the delay of event {name} is {value:g} at t = {time:g}; it must be a finite time, 0 "
            "or more"
        )
    if target == -2:
        return SimulationError(
            f"the priority of event {name} is {value:g} at t = {time:g}; it must be a number"
        )
    species = network.state_names[target]
    must = "a finite number"
    if target < network.n_species and np.isfinite(value):
        must = (
            "a whole number from 0 to 2**53 where molecules are counted; floor(...) makes one of a "
            "fraction"
        )
    return SimulationError(
        f"event {name} sets {species} to {value!r} at t = {time:g}; it must be {must}"
    )
