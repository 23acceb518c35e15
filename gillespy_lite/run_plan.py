"""What a run will do, checked once before any kernel starts: times, method, outputs, streams."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .compilation import (
    CompiledNetwork,
    compile_expressions,
    compile_network,
    label,
    state_places,
)
from .dsl import parse_expression
from .engines import Engine, RunShape, choose_engine
from .errors import (
    BadPropensityError,
    CountOverflowError,
    EventLimitError,
    MethodError,
    NetworkError,
    SimulationError,
)
from .event_compilation import event_trouble
from .interruption import interrupts_kept
from .jump_compilation import (
    CompiledJumps,
    compile_jumps,
    enlarged_completions,
    enlarged_executions,
)
from .kernels.arrays import PAIR, JumpWalker, Output, Request, Walker, cache_aligned
from .kernels.jit import is_loaded, signatures
from .kernels.lane_leaps import LeapNetwork, LeapWalker
from .kernels.lane_martingales import MartingaleLanes, MartingaleWalker
from .kernels.lane_vectors import LANES
from .kernels.lanes import LaneWalker
from .kernels.thinning import WINDOW_END
from .kernels.walking import (
    BAD_DELAY,
    BAD_PROPENSITY,
    BOUND_BROKEN,
    COMPLETE,
    COMPLETIONS_FULL,
    EVENT_LIMIT,
    EVENT_TROUBLE,
    EXECUTIONS_FULL,
    N_CLOCKS,
    N_COUNTERS,
    N_EVENTS,
    NEGATIVE_COUNT,
    STEP_COLLAPSE,
    TIME,
    TROUBLE,
    UNBOUNDED,
)
from .lane_compilation import lane_walker, leap_walker, martingale_walker
from .memory import address_space_is_limited, require_address_space, require_memory
from .method_choice import choose_method
from .methods import Method, StochasticMethod
from .network import Network
from .operations import CONDITIONS
from .pace import STANDSTILL
from .randomness import stream_key, take_entropy
from .rate_laws import Call, Expression, Symbol, did_you_mean
from .results import Provenance
from .results.columns import constant_size, is_concentration, size_name
from .version import STREAM_VERSION, __version__

__all__ = ["RunPlan", "check_times", "plan_run", "trouble"]

DEFAULT_N_TIMES = 101
NO_EVENT_LIMIT = 2**62

# Of address space. Measured: 430 MiB for the first kernel that is compiled, with LLVM itself; 180
# for one from the disk; 50 for the next.
_FIRST_KERNEL, _NEXT_KERNEL = 2**29, 2**26


@dataclass(frozen=True)
class RunPlan:
    """Everything a run needs, checked."""

    compiled: CompiledNetwork
    jumps: CompiledJumps | None  # where more than reactions changes the state, or their rates
    method: Method
    method_reason: str
    engine: Engine
    times: np.ndarray  # (n_times,) float64
    # The columns of `counts`: recorded species; for the rate equations variables, too.
    species: tuple[str, ...]
    # The columns of `values`: recorded observables; of samples variables, too.
    observables: tuple[str, ...]
    request: Request
    stack_depth: int
    entropy: int
    options: dict[str, int | float | str | bool | None]
    started: float  # time.perf_counter() at the call

    @property
    def network(self) -> Network:
        """The network that is run."""
        return self.compiled.network

    @property
    def stochastic_method(self) -> StochasticMethod:
        """The method, known to sample."""
        assert isinstance(self.method, StochasticMethod)
        return self.method

    @cached_property
    def kernel(self) -> Any:
        """The kernel that samples."""
        method = self.stochastic_method
        if self.engine.kernel is not None:
            return self.engine.kernel
        return method.kernel_for(self.compiled) if self.jumps is None else method.jump_kernel

    @cached_property
    def arrays(self) -> Any:
        """What the kernel reads of the network."""
        if self.jumps is not None:
            return self.jumps.network
        if self.engine.kernel is not None:
            return self.compiled.arrays  # rate laws are in the kernel
        return self.stochastic_method.arrays(self.compiled)

    def walker(self) -> Walker | JumpWalker:
        """Return a thread's own working arrays."""
        method = self.stochastic_method
        if self.jumps is not None:
            n_species, n_reactions = self.network.n_species, self.compiled.arrays.form.size
            return self.jumps.walker(self.stack_depth, *method.workspace(n_species, n_reactions))
        n_reals, n_integers = method.workspace_for(self.compiled)
        return Walker(
            state=np.ones(self.compiled.initial_state.size, dtype=np.int64),
            stream=np.zeros(4, dtype=np.uint64),
            clock=np.zeros(N_CLOCKS),
            counter=np.zeros(N_COUNTERS, dtype=np.int64),
            # Twice as deep as a program needs: the range of one has a lower and an upper end.
            stack=np.zeros(2 * self.stack_depth),
            reals=cache_aligned(n_reals),
            integers=cache_aligned(n_integers).view(np.int64),
        )

    def lane_walker(self, queue: np.ndarray) -> LaneWalker | LeapWalker | MartingaleWalker:
        """Return a thread's own lanes; `queue` is the counter of rows that threads share."""
        lanes = self.engine.lanes
        assert lanes is not None
        if isinstance(lanes, LeapNetwork):
            return leap_walker(lanes, self.request, self.stack_depth, queue)
        if isinstance(lanes, MartingaleLanes):
            return martingale_walker(lanes, self.request, self.stack_depth, queue)
        return lane_walker(lanes, self.request, self.stack_depth, queue)

    def with_room(self, walker: Walker | JumpWalker, status: int) -> Walker | JumpWalker:
        """Return a walker that can go on: a larger one where the kernel asked for room.

        Raises
        ------
        NotEnoughMemoryError
            If there is not enough memory for it.
        """
        if isinstance(walker, JumpWalker) and status == COMPLETIONS_FULL:
            # Twice as long arrays beside those that are copied.
            require_memory(
                3 * (walker.due_time.nbytes + walker.due_reaction.nbytes),
                "delayed completions pile up: shorten the delays, or the run",
            )
            return enlarged_completions(walker)
        if isinstance(walker, JumpWalker) and status == EXECUTIONS_FULL:
            store = walker.store
            require_memory(
                3 * (store.due.nbytes + store.event.nbytes + store.stored.nbytes),
                "executions of events pile up: shorten their delays, or the run",
            )
            return enlarged_executions(walker)
        return walker

    def load_kernel(self) -> None:
        """Compile the method's kernel or load it from the disk, unless this process has it.

        Done on no trajectory, in the calling thread, which Ctrl-C can reach, and before a time
        limit starts to count.
        """
        lanes = self.engine.lanes
        kernel = self.kernel if lanes is None else self.engine.lane_kernel
        if is_loaded(kernel):
            return
        with interrupts_kept():
            _require_address_space(_NEXT_KERNEL)
            arrays, walker = self.arrays if lanes is None else lanes, self._any_walker()
            kernel(arrays, self.request, walker, self.output(0), 0, 0)

    def _any_walker(self) -> Any:
        if self.engine.lanes is None:
            return self.walker()
        return self.lane_walker(np.zeros(1, dtype=np.int64))

    def output(self, n_rows: int, n_events: int = 0) -> Output:
        """Return arrays for `n_rows` trajectories, and for `n_events` events if each is wanted."""
        n_times, n_columns = self.times.size, len(self.species)
        n_values = len(self.observables)
        return Output(
            counts=np.empty((n_rows, n_times, n_columns), dtype=np.int64),
            values=np.empty((n_rows, n_times, n_values)),
            outcome=np.zeros(n_rows, dtype=np.int64),
            hitting_time=np.full(n_rows, np.nan),
            n_events=np.zeros(n_rows, dtype=np.int64),
            event_time=np.empty(n_events),
            event_counts=np.empty((n_events, n_columns), dtype=np.int64),
            event_values=np.empty((n_events, n_values)),
            event_reaction=np.empty(n_events, dtype=np.int64),
        )

    def provenance(self) -> Provenance:
        """Return where the result comes from; the duration ends now."""
        return Provenance(
            network=self.network,
            method=self.method.name,
            method_reason=self.method_reason,
            options=self.options,
            entropy=self.entropy,
            stream_version=STREAM_VERSION,
            package_version=__version__,
            elapsed=time.perf_counter() - self.started,
            engine=self.engine.name,
            engine_reason=self.engine.reason,
        )


def plan_run(
    network: Network,
    t: Any,
    *,
    method: str | Method,
    rng: Any,
    seed: Any,
    outputs: Sequence[str] | None,
    stop_when: str | Expression | None,
    max_events: int | None,
    every_event: bool,
    method_options: Mapping[str, Any],
    engine: str = "table",
    n_trajectories: int = 1,
) -> RunPlan:
    """Check the arguments of a run and gather what it needs.

    The plan for the last arguments is kept with the network, because the next run often differs in
    its seed alone: a short run takes half as long so, and what it would have read from memory does
    not drive out what kernels use.
    """
    started = time.perf_counter()
    if not isinstance(network, Network):
        raise TypeError(
            f"the first argument must be a Network, not {type(network).__name__}; make one from "
            "text with Network.parse(text), from a file with Network.read(path)"
        )
    named = {
        "method": method,
        "stop_when": stop_when,
        "max_events": max_events,
        "every_event": every_event,
        "engine": engine,
        "n_trajectories": n_trajectories,
        **method_options,
    }
    asked = _fingerprint(t, outputs, named)
    known: tuple[Any, RunPlan | None] = network.memo.get("plan", (None, None))
    plan = known[1]
    # Relatives of a network share what it keeps.
    if plan is None or asked is None or known[0] != asked or plan.network is not network:
        plan = _make_plan(
            network,
            t,
            method=method,
            outputs=outputs,
            stop_when=stop_when,
            max_events=max_events,
            every_event=every_event,
            method_options=method_options,
            engine=engine,
            n_trajectories=n_trajectories,
        )
        if asked is not None:
            network.memo["plan"] = asked, plan
    entropy = take_entropy(rng, seed)
    return replace(
        plan,
        request=plan.request._replace(key=stream_key(entropy, plan.method.name)),
        entropy=entropy,
        options=dict(plan.options),  # what a result lets others change
        started=started,
    )


_MOST_TIMES_KEPT = 10_000


def _fingerprint(t: Any, outputs: Any, named: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what is the same for equal arguments only; None where that is not simply told."""
    if type(t) not in (int, float, np.ndarray) or np.size(t) > _MOST_TIMES_KEPT:
        return None
    if outputs is not None and (
        type(outputs) not in (list, tuple) or not all(type(name) is str for name in outputs)
    ):
        return None
    values = tuple(named.values())
    if not all(type(one) in (bool, int, float, str, type(None)) for one in values):
        return None
    moments = t if type(t) is not np.ndarray else (t.dtype, t.shape, t.tobytes())
    # Of numbers that are equal, 1 and True, not all need mean the same.
    kinds = tuple(map(type, values))
    return moments, None if outputs is None else tuple(outputs), (*named,), values, kinds


def _make_plan(
    network: Network,
    t: Any,
    *,
    method: str | Method,
    outputs: Sequence[str] | None,
    stop_when: str | Expression | None,
    max_events: int | None,
    every_event: bool,
    method_options: Mapping[str, Any],
    engine: str,
    n_trajectories: int,
) -> RunPlan:
    """Check the arguments and gather what follows from them: all but the streams of the run."""
    times = check_times(t)
    if address_space_is_limited() and not signatures():
        _require_address_space(_FIRST_KERNEL)
    compiled = compile_network(network)
    conditions = [] if stop_when is None else [_check_condition(network, stop_when)]
    waits = any("t" in network.expanded(one).symbols() for one in conditions)
    chosen, reason = choose_method(method, compiled, method_options, waits=waits)
    if waits:
        _check_wait(conditions[0], chosen)
    species, observables = _check_outputs(network, outputs, chosen)
    columns = (
        np.arange(network.n_species)
        if species is network.species_names
        else np.array([state_places(network)[name] for name in species], dtype=np.int64)
    )
    expressions: dict[str, Expression] = {
        **{name: Symbol(name) for name in network.variable_names},
        **{one.name: one.expression for one in network.observables},
    }
    observed, observed_depth = compile_expressions(
        network, [expressions[name] for name in observables]
    )
    condition, condition_depth = compile_expressions(network, conditions)
    jumps = None
    if isinstance(chosen, StochasticMethod) and (compiled.moves or waits):
        jumps = compile_jumps(compiled, conditions[0] if conditions else None)
    request = Request(
        times=times,
        initial_state=compiled.initial_state if jumps is None else jumps.initial_state,
        key=np.zeros(4, dtype=np.uint64),
        columns=columns,
        observed=observed,
        condition=condition,
        options=chosen.option_values() if isinstance(chosen, StochasticMethod) else np.zeros(0),
        max_events=_check_max_events(max_events),
        every_event=bool(every_event),
    )
    plan = RunPlan(
        compiled=compiled,
        jumps=jumps,
        method=chosen,
        method_reason=reason,
        engine=Engine("table", ""),
        times=times,
        species=species,
        observables=observables,
        request=request,
        stack_depth=max(compiled.stack_depth, observed_depth, condition_depth),
        entropy=0,
        options={
            **chosen.options(),
            "stop_when": str(conditions[0]) if conditions else None,
            "max_events": max_events,
        },
        started=0.0,
    )
    shape = RunShape(n_trajectories, bool(every_event), jumps is not None, condition)

    def expected_events(engine: Engine, enough: float) -> float:
        guess = n_trajectories * _events_at_first_rates(plan)
        if 0.0 < _GUESSES_ARE_WITHIN * guess < enough:
            return guess
        return n_trajectories * _events_of_one_path(replace(plan, engine=engine))

    return replace(plan, engine=choose_engine(engine, chosen, compiled, shape, expected_events))


# A run is not looked into where so many times the events that the rates at its start suggest would
# make no difference.
_GUESSES_ARE_WITHIN = 100.0


def _events_at_first_rates(plan: RunPlan) -> float:
    """Return how many events a path would have if its rates stayed; 0 where it is not known."""
    arrays, state = plan.compiled.arrays, plan.compiled.initial_state
    if (arrays.form != PAIR).any():
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # the run says what there is to say
        second = state[arrays.second] - arrays.shift
        total = float((arrays.coefficient * state[arrays.first] * second).sum())
    found = total * float(plan.times[-1] - plan.times[0])
    return found if math.isfinite(found) else 0.0


# Of a pilot: some 10 us for a single path, some 50 us for lanes.
_PILOT_EVENTS = 500
_PILOT_STEPS = 256


def _events_of_one_path(plan: RunPlan) -> float:
    """Return about how many events a path has: as often as at its start, all the time.

    A pilot on streams of its own. What it finds depends on the arguments of the run alone, without
    its seed, so it is kept: the next run of a network often differs in its seed alone.
    """
    arrays, request = plan.compiled.arrays, plan.request
    numbers = (
        *(arrays.coefficient, arrays.law_factor, arrays.parameters, request.initial_state),
        *(plan.times[[0, -1]], *request.condition),
    )
    asked = (
        plan.engine.lanes is not None,
        request.max_events,
        *(one.tobytes() for one in numbers),
    )
    known: tuple[Any, float] = plan.network.memo.get("events of a path", (None, 0.0))
    if known[0] != asked:
        known = plan.network.memo["events of a path"] = asked, _count_by_pilot(plan)
    return known[1]


def _count_by_pilot(plan: RunPlan) -> float:
    plan.load_kernel()
    # Nothing is recorded, so that its arrays are small however many times and species there are.
    nothing = np.zeros(0, dtype=np.int64)
    request = plan.request._replace(
        columns=nothing, every_event=False, key=stream_key(0, "events of a path")
    )
    plan, start = replace(plan, species=(), observables=()), float(plan.times[0])
    if plan.engine.lanes is not None:
        lanes, output = plan.lane_walker(np.zeros(1, dtype=np.int64)), plan.output(LANES)
        assert isinstance(lanes, LaneWalker)  # only the direct method has a pilot
        budget = _PILOT_STEPS * LANES
        plan.engine.lane_kernel(plan.engine.lanes, request, lanes, output, 0, budget)
        at_work = output.outcome[lanes.row] == 0
        n_events = output.n_events[output.outcome != 0].sum() + lanes.n_events[at_work].sum()
        spent = (lanes.time[at_work] - start).sum()
    else:
        walker, output = plan.walker(), plan.output(1)
        plan.kernel(plan.arrays, request, walker, output, 0, _PILOT_EVENTS)
        at_work = output.outcome == 0
        n_events, spent = walker.counter[N_EVENTS], at_work.sum() * (walker.clock[TIME] - start)
    duration = float(plan.times[-1]) - start
    spent += duration * np.count_nonzero(output.outcome)
    return float(n_events / spent * duration) if spent > 0.0 else 0.0


def check_times(t: Any) -> np.ndarray:
    """Return the sampling times, or say what is wrong with them.

    Parameters
    ----------
    t : float or array_like, shape (n_times,)
        An end time above 0, which stands for 101 times from 0; or increasing times.

    Returns
    -------
    ndarray, shape (n_times,)
        float64; the first is when the initial state holds.

    Raises
    ------
    ValueError
        If a time is not finite, the times do not increase, or there is none.
    """
    try:
        if np.asarray(t).dtype.kind not in "iuf":  # text and complex numbers would be converted
            raise TypeError
        times = np.array(t, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"t must be an end time or a list of times, not {t!r}") from None
    if times.ndim > 1:
        raise ValueError(
            f"t must be one number or a flat list of times, not of shape {times.shape}"
        )
    if not np.isfinite(times).all():
        raise ValueError("t holds a value that is infinite or not a number")
    if times.ndim == 0:
        if times <= 0.0:
            raise ValueError(
                f"t = {times:g} is not an end time above 0; for other starts give the times, "
                "for example t=numpy.linspace(5, 10, 51)"
            )
        return np.linspace(0.0, float(times), DEFAULT_N_TIMES)
    if times.size == 0:
        raise ValueError("t is empty; give an end time or at least one time")
    falls = np.flatnonzero(np.diff(times) <= 0.0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(
            f"times must increase, but times[{i + 1}] = {times[i + 1]:g} follows "
            f"times[{i}] = {times[i]:g}; sort them and drop repeats, for example with "
            "numpy.unique(times)"
        )
    return times


def _require_address_space(needed: int) -> None:
    """Refuse a run whose kernel might not be loaded: LLVM ends the process without memory."""
    require_address_space(needed, "loading or compiling a kernel")


def _check_outputs(
    network: Network, outputs: Sequence[str] | None, method: Method
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    # Samples count molecules, so that what is real stands beside the observables.
    if outputs is None and method.is_stochastic:
        return network.species_names, network.variable_names
    if outputs is None:
        return network.state_names, ()
    places = state_places(network)
    n_counted = network.n_species if method.is_stochastic else len(places)
    if isinstance(outputs, str):
        outputs = [outputs]
    given: object = outputs
    if not isinstance(given, Iterable):
        raise TypeError(f"outputs must be a list of names, not {given!r}")
    names = [str(getattr(one, "name", one)) for one in outputs]
    if not names:
        raise ValueError("outputs is empty; name the species and observables to record")
    observables = frozenset(network.observable_names)
    variable = ", a variable" * bool(network.variable_names)
    seen: set[str] = set()
    for name in names:
        if name not in places and name not in observables:
            known = [*network.state_names, *network.observable_names]
            raise NetworkError(
                f"outputs names '{name}', which is neither a species{variable} nor an observable "
                f"of this network{did_you_mean(name, known)}"
            )
        if name in seen:
            raise ValueError(f"outputs names '{name}' twice")
        seen.add(name)
    # What results show as a concentration needs the size that it is divided by.
    for name in list(names):
        if is_concentration(network, name):
            try:
                constant_size(network, name)
            except ValueError:
                size = size_name(network, name)
                names += [size] * (size not in names)
    is_counted = [places.get(name, n_counted) < n_counted for name in names]
    return (
        tuple(name for name, counted in zip(names, is_counted, strict=True) if counted),
        tuple(name for name, counted in zip(names, is_counted, strict=True) if not counted),
    )


def _check_condition(network: Network, condition: str | Expression) -> Expression:
    expression = parse_expression(condition) if isinstance(condition, str) else condition
    if not isinstance(expression, Call) or expression.operation not in CONDITIONS:
        raise NetworkError(f"stop_when must be a condition such as 'X >= 80', not '{expression}'")
    try:
        network.expanded(expression)
    except NetworkError as error:
        raise NetworkError(f"in stop_when: {error}") from None
    return expression


def _check_wait(condition: Expression, method: Method) -> None:
    """Refuse a condition on the time where the method does not look between its events."""
    if isinstance(method, StochasticMethod) and method.jump_kernel is None:
        raise MethodError(
            f"stop_when = '{condition}' depends on the time t; method '{method.name}' looks at it "
            "after its events or leaps only, so a time would be missed. Choose method 'direct', or "
            "let the last of the times end the run"
        )


def check_whole(value: Any, name: str, least: int) -> int:
    """Return a whole number of at least `least`, or say what `name` must be."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")
    return int(value)


def _real(value: object) -> float | None:
    """Return a number as a float, and None for what is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return None
    return float(value)


def _check_max_events(max_events: int | None) -> int:
    if max_events is None:
        return NO_EVENT_LIMIT
    number = _real(max_events)
    if number is None or not math.isfinite(number) or number != int(number) or number < 0:
        raise ValueError(f"max_events must be a whole number, 0 or more, not {max_events!r}")
    return min(int(max_events), NO_EVENT_LIMIT)


def check_timeout(timeout: float | None, name: str = "timeout") -> float:
    """Return the time limit in seconds, infinite if there is none."""
    if timeout is None:
        return math.inf
    number = _real(timeout)
    if number is None or not number >= 0.0:
        raise ValueError(f"{name} must be a number of seconds, 0 or more, not {timeout!r}")
    return float(timeout)


def trouble(
    plan: RunPlan, walker: Walker | JumpWalker, outcome: int, trajectory: int
) -> SimulationError:
    """Return the error for a trajectory that could not go on, naming reaction, time and state."""
    network = plan.network
    at, state = float(walker.clock[TIME]), walker.state[:-1].tolist()
    shown = ", ".join(
        f"{name} = {int(value) if i < network.n_species else format(value, 'g')}"
        for i, (name, value) in enumerate(zip(network.state_names, state, strict=True))
    )
    if len(shown) > 500:
        shown = shown[:500] + " ..."
    where = f"in trajectory {trajectory} at t = {at:g}, where {shown}"
    reaction = int(walker.counter[TROUBLE])
    if outcome == EVENT_LIMIT:
        limit = plan.request.max_events
        return EventLimitError(
            f"trajectory {trajectory} needs more than max_events = {limit} events; it had reached "
            f"t = {at:g} of {plan.times[-1]:g}"
        )
    if outcome == BAD_PROPENSITY:
        values: dict[str, float] = {
            **dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True)),
            **dict(zip(network.state_names, map(float, state), strict=True)),
            "t": at,
        }
        value = float(np.asarray(network.expanded_rate(reaction).evaluate(values)))
        if 0.0 <= value < math.inf:
            return BadPropensityError(
                f"the propensities add up to more than a double can hold {where}; the largest is "
                f"that of reaction {label(network, reaction)}, whose rate is {value:g}"
            )
        return BadPropensityError(
            f"the rate '{network.reactions[reaction].rate}' of reaction "
            f"{label(network, reaction)} is {value:g} {where}; a propensity must be a finite "
            "number, 0 or more"
        )
    if outcome == BOUND_BROKEN:
        return SimulationError(
            f"the rate '{network.reactions[reaction].rate}' of reaction {label(network, reaction)} "
            f"is outside the bounds worked out for it {where}. The result would be wrong; please "
            "report this network"
        )
    if plan.jumps is not None:
        found = _jump_trouble(plan, plan.jumps, walker, outcome, where)
        if found is not None:
            return found
    if outcome == STANDSTILL:
        return SimulationError(
            f"the clock stands still {where}: waiting times are too short to be added to the time "
            "in double precision; start the times nearer to 0, or use a larger unit of time"
        )
    named = f"reaction {label(network, reaction)}" if reaction >= 0 else "a leap"
    return CountOverflowError(
        f"{named} raised a count above 2**53 = 9007199254740992 {where}; larger counts cannot be "
        "told apart in double precision"
    )


def _jump_trouble(
    plan: RunPlan, jumps: CompiledJumps, walker: Any, outcome: int, where: str
) -> SimulationError | None:
    """Return the error for what only networks meet that move between jumps."""
    network, at, culprit = plan.network, float(walker.clock[TIME]), int(walker.counter[TROUBLE])
    if outcome == EVENT_TROUBLE:
        return event_trouble(network, jumps.events, walker.store, culprit, at)
    if outcome == STEP_COLLAPSE:
        name = network.state_names[int(jumps.moving[culprit])]
        return SimulationError(
            f"the variable {name!r} cannot be integrated further {where}: its steps become too "
            "small for the time in double precision. Its rate may be infinite or no number there, "
            "or too stiff; check it, or choose larger tolerances (rtol, atol)"
        )
    if outcome not in (UNBOUNDED, NEGATIVE_COUNT, BAD_DELAY):
        return None
    named = f"reaction {label(network, culprit)}"
    if outcome == UNBOUNDED:
        return BadPropensityError(
            f"the rate '{network.reactions[culprit].rate}' of {named} has no bound near "
            f"t = {float(walker.clock[WINDOW_END]):.9g}: it grows without end, or is no number "
            f"there. This was found {where}. Give it a bound, for example with min"
        )
    if outcome == NEGATIVE_COUNT:
        return SimulationError(
            f"{named} completes {where}: it takes more molecules than there were, because others "
            "took them during its delay. Let it consume on initiation, or make its rate depend on "
            "what is not yet spoken for"
        )
    delay = network.reactions[culprit].delay
    return SimulationError(
        f"the delay '{delay}' of {named} is no finite time, 0 or more, {where}; check the "
        "arguments of its law"
    )


def is_complete(outcome: np.ndarray) -> np.ndarray:
    """Return which trajectories ran to their end, bool of the shape of `outcome`."""
    return np.asarray(outcome == COMPLETE)
