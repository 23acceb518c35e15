"""Fit rate constants and initial values to data."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import IdentifiabilityWarning, IncompleteWarning, Interrupted, SimulationError
from ..names import did_you_mean
from ..network import Network
from ..progress import Progress, reporter
from ..randomness import generator, take_entropy
from ..run_plan import check_timeout, check_whole
from ..workers import cores
from .cells import CELLS
from .estimates import Estimate, FreeSpace, free_space
from .experiments import prepare_experiments, read_experiments, with_steps
from .fit_result import FitResult, Start
from .objective import Objective
from .recurrence import Recurrence
from .searching import DIVERGES, SEARCHES, Found, Watch, starting_points
from .step_choice import MOST_CELLS, choose_steps, solution_error
from .uncertainty import uncertainty_at

__all__ = ["fit", "objective_of"]

FloatArray = NDArray[np.float64]

_REFINEMENTS = 3  # times that steps are made shorter for the estimates, and the fit goes on
_UNSOLVED = "the model could not be solved from any start: "
_STIFF_ATOL = 1e-3  # absolute tolerance of stiff cells, as a share of the relative one
_HIGH_ORDER = 4  # steps are chosen for cells of this order or more; others get ten per interval


def fit(
    model: Network | Recurrence,
    data: Any,
    estimate: Any,
    *,
    ties: Mapping[str, Any] | None = None,
    noise: Any = None,
    optimiser: Any = "least_squares",
    starts: int = 1,
    steps: Any = None,
    solver_tolerance: float = 1e-7,
    max_evaluations: int = 1000,
    training: Mapping[str, Any] | None = None,
    progress: bool | Progress = False,
    timeout: float | None = None,
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
) -> FitResult:
    """Estimate parameters and initial values from measurements, with their uncertainty.

    The rate equations are unrolled as a recurrent network and its parameters trained by their
    exact gradients. Units are those of the network.

    Parameters
    ----------
    model : Network or Recurrence
        A network is solved by Runge-Kutta cells of order 4, or by adaptive Rosenbrock cells if
        these cannot do it; inputs of the experiments are held between their times.
    data : table, Experiment, or list or mapping of them
        A pandas DataFrame or a mapping of arrays with a column ``time`` and columns called after
        states or observables; nan is a missing value. See `Experiment` for replicates, weights,
        and experiments with their own initial values, parameters and inputs.
    estimate : list of str or Estimate, or mapping
        Names of parameters, or ``"X(0)"`` for the initial value of X; ``{"k": (lower, upper)}``
        with bounds; or `Estimate` objects. What is positive stays so.
    ties : mapping of str to str, optional
        Quantities that follow others, for example ``{"k3": "2*k1"}``.
    noise : NoiseModel, str or mapping, optional
        Of all columns, or of each by name. By default `Gaussian` with an unknown standard deviation
        for each column.
    optimiser : {"least_squares", "lbfgs"} or Trainer, optional
        SciPy's trust region with forward sensitivities (RTRL), its L-BFGS-B with gradients
        propagated back through time (BPTT), or a trainer such as ``Adam()``.
    starts : int, optional
        Searches from this many starts, the first one given and the others spread by Latin
        hypercube sampling within the bounds.
    steps : int, optional
        Cells per interval of each experiment's grid; by default as many as `solver_tolerance`
        needs.
    solver_tolerance : float, optional
        Largest change that halving the step of the solver may make, as a share of the largest
        value of each state.
    max_evaluations : int, optional
        Most trials of each start.
    training : mapping, optional
        Options of `train` for a trainer: ``{"epochs": 500, "window": 5}``.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in trials.
    timeout : float, optional
        Seconds after which the best so far is returned, with an `IncompleteWarning`.
    rng : None, int, SeedSequence or Generator, optional
        Source of the starts, and of the mini-batches of a trainer.
    seed : optional
        Another name for `rng`.
    threads : int, optional
        Starts searched at the same time; all cores by default. The result does not depend on it.

    Returns
    -------
    FitResult
        Estimates, standard errors, intervals, likelihood, residuals, predictions.

    Raises
    ------
    ValueError, TypeError
        If data or arguments make no sense; the message says what and where.
    NetworkError
        If a name is unknown to the network.
    SimulationError
        If the model cannot be solved at the start, or from any start.
    Interrupted
        On Ctrl-C; `error.result` is the best so far.

    Warns
    -----
    IdentifiabilityWarning
        If the data do not determine a combination of estimates; it is named.
    IncompleteWarning
        If a search did not converge.

    Notes
    -----
    Unknown scales of noise are profiled out: the likelihood is that at their most likely values,
    for every optimiser. They count as estimated in AIC and BIC. Standard errors use the scales
    corrected for the parameters; see `gillespy_lite.ode_rnn.uncertainty`.
    """
    seconds = check_timeout(timeout)
    entropy = take_entropy(rng, seed)
    check_whole(starts, "starts", 1)
    check_whole(max_evaluations, "max_evaluations", 1)
    is_search = isinstance(optimiser, str) and optimiser in SEARCHES
    if not is_search:
        _check_trainer(optimiser)
    if training is not None and is_search:
        raise ValueError(f"training= is for trainers such as Adam(), not for {optimiser!r}")
    objective = _objective_from(
        model, data, estimate, ties, noise, steps, solver_tolerance,
        lambda space: starting_points(space, starts, generator(entropy)),
    )  # fmt: skip
    options: dict[str, Any] = {
        "ties": ties,
        "noise": noise,
        "optimiser": optimiser,
        "starts": starts,
        "steps": steps,
        "solver_tolerance": solver_tolerance,
        "max_evaluations": max_evaluations,
        "training": training,
        "rng": entropy,
        "threads": threads,
    }

    again = _Again(model, objective.space, options)
    total = float(max_evaluations * starts)
    report = reporter(progress, total, "fitting") if is_search else (lambda done: None)
    watch = Watch(seconds, report)
    extra = None
    if is_search:
        points = starting_points(objective.space, starts, generator(entropy))
        objective, found = _search_all(
            objective, optimiser, points, watch, max_evaluations, threads, steps, solver_tolerance
        )
        if not watch.stopped:
            report(total)
    else:
        extra, found = _train(
            objective, optimiser, training, progress, timeout, entropy, watch, starts
        )
    if not found or not math.isfinite(found[0].value):
        if watch.stopped:
            raise _stopped_at_once(watch.stopped)
        told = sorted({one.message for one in found})
        more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
        is_impossible = is_search and DIVERGES not in told
        what = "no start can be used: " if is_impossible else _UNSOLVED
        advice = "Leave such values out, take another noise model, or c" if is_impossible else "C"
        raise SimulationError(
            f"{what}{'; '.join(told[:3])}{more}. {advice}hange the network's parameters, give "
            "Estimate(name, start=...), or narrower bounds"
        )
    result = _result(objective, found, watch.stopped, solver_tolerance, again, extra, starts)
    if watch.stopped == "interrupt":
        raise Interrupted("interrupted; the best fit so far is in the error's .result", result)
    if watch.stopped == "timeout":
        warnings.warn(
            "timeout: the search had not ended; the result is the best so far",
            IncompleteWarning,
            stacklevel=2,
        )
    if is_search and not result.converged and not watch.stopped:
        warnings.warn(
            f"the search did not converge: {result.message}; allow more max_evaluations, or give "
            "other starts",
            IncompleteWarning,
            stacklevel=2,
        )
    for flat in result.identifiability:
        warnings.warn(
            f"{flat}; fix or tie one of them, or measure something else",
            IdentifiabilityWarning,
            stacklevel=2,
        )
    if np.isinf(result.uncertainty.scale_correction).any():
        warnings.warn(
            f"{result.n_data} values for {len(result.names)} parameters leave nothing to tell the "
            "noise by, so there are no standard errors; measure more, or give sigma",
            IdentifiabilityWarning,
            stacklevel=2,
        )
    return result


@dataclass(frozen=True, eq=False)
class _Again:
    """Fits once more with the same arguments."""

    model: Network | Recurrence
    space: FreeSpace
    options: dict[str, Any]

    def __call__(self, data: Any, u: FloatArray, **changes: Any) -> FitResult:
        started = _moved(self.space, u)
        return fit(
            changes.pop("model", self.model), data, changes.pop("estimate", started),
            **{**self.options, **changes},
        )  # fmt: skip


def objective_of(
    model: Network | Recurrence,
    data: Any,
    estimate: Any,
    *,
    ties: Mapping[str, Any] | None = None,
    noise: Any = None,
    steps: Any = None,
    solver_tolerance: float = 1e-7,
) -> Objective:
    """Return the likelihood that `fit` makes large, as a function of free coordinates.

    Parameters
    ----------
    model, data, estimate, ties, noise, steps, solver_tolerance
        As in `fit`.

    Returns
    -------
    Objective
        With values, gradients and residuals; see there.
    """
    return _objective_from(
        model, data, estimate, ties, noise, steps, solver_tolerance, lambda space: [space.start]
    )


def _objective_from(
    model: Network | Recurrence,
    data: Any,
    estimate: Any,
    ties: Mapping[str, Any] | None,
    noise: Any,
    steps: Any,
    solver_tolerance: float,
    points_of: Callable[[FreeSpace], Iterable[FloatArray]],
) -> Objective:
    """Return the objective with steps for the first of some points at which it has a value."""
    given: object = model
    if isinstance(given, Network):
        driven = [name for one in read_experiments(data) for name in one.experiment.inputs]
        recurrence = Recurrence(given, "rk4", inputs=tuple(dict.fromkeys(driven)))
        may_change = steps is None
    elif isinstance(given, Recurrence):
        recurrence, may_change = given, False
    else:
        raise TypeError(
            f"the first argument must be a Network or a Recurrence, not {type(given).__name__}"
        )
    experiments, groups = prepare_experiments(data, recurrence, noise)
    space = free_space(
        recurrence, estimate, ties, [(one.name, one.parameters, one.initial) for one in experiments]
    )
    n_data = sum(one.n_data for one in experiments)
    if n_data < space.n_free:
        raise ValueError(
            f"{space.n_free} parameters cannot be estimated from {n_data} measured values; "
            f"estimate fewer of {', '.join(space.names)}, tie some, or measure more"
        )
    bare = Objective(recurrence, experiments, space, groups)
    fallback = None
    for point in points_of(space):
        objective = _with_steps(bare, point, steps, solver_tolerance)
        if objective is not None and math.isfinite(objective.value(point)):
            return objective
        if may_change:
            stiff = _stiff_objective(bare, point, solver_tolerance)
            if stiff is not None:
                return stiff
        fallback = fallback or objective
    if fallback is None:
        raise SimulationError(
            f"the rate equations could not be solved to {solver_tolerance:g} at the start with "
            f"{MOST_CELLS:,} cells: change the network's parameters or give starts, allow a larger "
            "solver_tolerance, or take an adaptive cell, Recurrence(network, 'rodas4_adaptive')"
        )
    return fallback


def _stiff_objective(bare: Objective, u: FloatArray, tolerance: float) -> Objective | None:
    """Return the objective with Rosenbrock cells that choose their steps, if it has a value."""
    recurrence = bare.recurrence
    stiff = Recurrence(
        recurrence.network,
        "rodas4_adaptive",
        inputs=recurrence.input_names,
        interpolation=recurrence.interpolation,
        rtol=tolerance,
        atol=_STIFF_ATOL * tolerance,
    )
    objective = Objective(stiff, bare.experiments, bare.space, bare.group_names)
    return objective if math.isfinite(objective.value(u)) else None


def _with_steps(
    objective: Objective, u: FloatArray, steps: Any, tolerance: float
) -> Objective | None:
    """Return the objective with enough cells per interval at u, or None if there are none."""
    cell = objective.recurrence.cell
    kind = CELLS[cell] if isinstance(cell, str) else cell
    if kind.is_adaptive:
        if steps is not None:
            raise ValueError("an adaptive cell chooses its own steps; leave out steps=")
        return objective
    changed = objective
    for e, experiment in enumerate(objective.experiments):
        if steps is not None:
            chosen = steps
        elif kind.order < _HIGH_ORDER:
            chosen = 10
        else:
            chosen = choose_steps(_states_of(objective, e, u), experiment.times, tolerance)
            if chosen is None:
                return None
        changed = changed.with_experiment(e, with_steps(experiment, chosen))
    return changed


def _states_of(objective: Objective, e: int, u: FloatArray) -> Callable[[Any], FloatArray]:
    def states(steps: Any) -> FloatArray:
        return np.asarray(objective.unroll(e, u, steps=steps).states, dtype=np.float64)

    return states


def _has_drifted(objective: Objective, u: FloatArray, tolerance: float) -> bool:
    """Whether the steps are too long at u for ten times the tolerance."""
    for e, experiment in enumerate(objective.experiments):
        steps = np.broadcast_to(np.asarray(experiment.steps), experiment.times.size - 1)
        if solution_error(_states_of(objective, e, u), steps) > 10.0 * tolerance:
            return True
    return False


def _search_all(
    objective: Objective,
    optimiser: str,
    points: FloatArray,
    watch: Watch,
    max_evaluations: int,
    threads: int | None,
    steps: Any,
    tolerance: float,
) -> tuple[Objective, list[Found]]:
    """Search from all starts; the best comes first. Steps are refined for the best."""
    found = _search_each(objective, optimiser, points, watch, max_evaluations, threads)
    found.sort(key=lambda one: one.value)
    cell = objective.recurrence.cell
    kind = CELLS[cell] if isinstance(cell, str) else cell
    chosen = steps is None and not kind.is_adaptive and kind.order >= _HIGH_ORDER
    for _ in range(_REFINEMENTS):
        best = found[0]
        if not chosen or watch.stopped or not math.isfinite(best.value):
            break
        if not _has_drifted(objective, best.u, tolerance):
            break
        finer = _with_steps(objective, best.u, None, tolerance)
        if finer is None:
            break
        objective = finer
        more = SEARCHES[optimiser](objective, best.u, watch, max_evaluations)
        found[0] = more._replace(
            start=best.start, history=np.concatenate([best.history, more.history])
        )
    return objective, found


def _search_each(
    objective: Objective,
    optimiser: str,
    points: FloatArray,
    watch: Watch,
    max_evaluations: int,
    threads: int | None,
) -> list[Found]:
    search = SEARCHES[optimiser]
    n_threads = min(len(points), threads or cores())
    found: dict[int, Found] = {}
    waiting = iter(range(len(points)))
    lock = threading.Lock()

    def worker() -> None:
        while not watch.stopped:
            with lock:
                i = next(waiting, None)
            if i is None:
                return
            found[i] = search(objective, points[i], watch, max_evaluations)

    if n_threads == 1:
        try:
            worker()
        except KeyboardInterrupt:  # between two searches
            watch.stop("interrupt")
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            futures = [pool.submit(worker) for _ in range(n_threads)]
            try:
                pending = set(futures)
                while pending:
                    done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
            except KeyboardInterrupt:
                watch.stop("interrupt")
                wait(futures)
            except BaseException:
                watch.stop("error")
                raise
    return [found[i] for i in sorted(found)]


def _train(
    objective: Objective,
    trainer: Any,
    training: Mapping[str, Any] | None,
    progress: bool | Progress,
    timeout: float | None,
    entropy: int,
    watch: Watch,
    starts: int,
) -> tuple[Any, list[Found]]:
    """Train from each start; return what the best training has to tell, and all ends."""
    from .training import train

    points = starting_points(objective.space, starts, generator(entropy))
    done: list[tuple[Any, Found]] = []
    for point in points:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", IncompleteWarning)
                told = train(
                    objective, trainer, start=point, progress=progress, timeout=timeout,
                    rng=entropy, **dict(training or {}),
                )  # fmt: skip
        except Interrupted as error:
            watch.stop("interrupt")
            told = error.result
        except SimulationError as error:
            done.append((None, Found(point, point, math.inf, False, str(error), np.empty(0))))
            continue
        if told.stopped == "timeout":
            watch.stop("timeout")
        history = np.asarray(told.history.loss, dtype=np.float64)
        message = f"{history.size - 1} epochs, stopped by {told.stopped}"
        converged = told.stopped == "patience"
        done.append((told, Found(point, told.u, float(told.loss), converged, message, history)))
        if watch.stopped:
            break
    done.sort(key=lambda one: one[1].value)
    return done[0][0], [one for _, one in done]


def _result(
    objective: Objective,
    found: list[Found],
    stopped: str | None,
    tolerance: float,
    again: Callable[..., FitResult],
    training: Any,
    n_starts: int,
) -> FitResult:
    best = found[0]
    natural = objective.natural
    scales = objective.scales(best.u)
    for array in (best.u, scales, best.history):
        array.flags.writeable = False
    return FitResult(
        objective=objective,
        u=best.u,
        scale_values=scales,
        uncertainty=uncertainty_at(objective, best.u, scales),
        log_likelihood=-objective.value(best.u),
        converged=best.converged,
        message=best.message,
        loss_history=best.history,
        starts=tuple(
            Start(
                natural(one.start),
                natural(one.u),
                one.value,
                one.converged,
                one.message,
                one.history.size,
            )
            for one in found
        ),
        stopped=stopped,
        solver_tolerance=tolerance,
        again=again,
        training=training,
        n_starts=n_starts,
    )


def _moved(space: FreeSpace, u: FloatArray) -> list[Estimate]:
    """Return the estimates with their values at u as starts; local ones start at their mean."""
    values = space.values_of(u)
    return [
        replace(one, start=float(np.clip(np.mean(values[space.owner == k]), *one.bounds)))
        for k, one in enumerate(space.estimates)
    ]


def _check_trainer(optimiser: Any) -> None:
    from .trainers import TRAINERS, Trainer

    if isinstance(optimiser, Trainer) or (isinstance(optimiser, str) and optimiser in TRAINERS):
        return
    known = [*SEARCHES, *TRAINERS]
    hint = did_you_mean(optimiser, known) if isinstance(optimiser, str) else ""
    raise ValueError(
        f"unknown optimiser {optimiser!r}{hint}; there are {', '.join(known)}, or a "
        "trainer such as Adam()"
    )


def _stopped_at_once(reason: str) -> BaseException:
    if reason == "interrupt":
        return Interrupted("interrupted before the first trial was done")
    return SimulationError("timeout: the time was up before the first trial was done; allow more")
