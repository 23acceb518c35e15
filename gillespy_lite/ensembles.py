"""Many independent trajectories on all cores, kept or reduced to statistics."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

from .errors import IncompleteWarning, Interrupted, MethodError
from .gathering import Paths, Statistics
from .methods import METHODS, Method
from .network import Network
from .portion_jobs import TrajectoryJob
from .portion_runs import run_portions
from .progress import Progress, reporter
from .rate_laws import Expression
from .results import Ensemble, EnsembleStatistics, Trajectory
from .run_plan import check_timeout, check_whole, plan_run
from .simulation import run_trajectory
from .stores.writing import stored_order
from .worker_pools import worker_pool
from .workers import cores

__all__ = ["ensemble", "replay"]

# Trajectories are numbered by int64, and a little is left for the threads to count beyond.
_MOST_TRAJECTORIES = 2**62


def ensemble(
    network: Network,
    t: Any,
    n: int | None = None,
    *,
    until: str | None = None,
    confidence: float | None = None,
    max_n: int | None = None,
    max_time: float | None = None,
    method: str | Method = "auto",
    engine: str = "auto",
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    statistics: bool = False,
    histogram_bins: int = 256,
    outputs: Sequence[str] | None = None,
    stop_when: str | Expression | None = None,
    max_events: int | None = None,
    timeout: float | None = None,
    chunk_size: int | None = None,
    first: int = 0,
    executor: Any = None,
    store: str | os.PathLike[str] | None = None,
    **method_options: Any,
) -> Ensemble | EnsembleStatistics:
    """Sample independent trajectories of a reaction network on all cores.

    Parameters
    ----------
    network : Network
        Its rate constants set the unit of time.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing sampling times; `t[0]` is when the initial
        state holds.
    n : int, optional
        Number of trajectories; left out with `until`.
    until : str, optional
        Go on until so much is known, such as ``"mean(P) +/- 1% and prob(P > 50) +/- 5%"``:
        estimates ``mean``, ``prob``, ``std``, ``var`` and ``quantile(P, 0.9)`` at the last sampling
        time, ``at`` another one, or ``everywhere``; with a tolerance in percent of the estimate, or
        without ``%`` in its own unit. What was reached is in `result.precision`. Where it ends does
        not depend on `threads`, `executor` or what a `store` has. See the page on precision for the
        method.
    confidence : float, optional
        With `until`: probability with which all its intervals hold together; 0.95 by default.
    max_n : int, optional
        With `until`: most trajectories, 10 million by default. If they are not enough, an
        `IncompleteWarning` says so.
    max_time : float, optional
        With `until`: seconds after which the run stops, as with `timeout`.
    method : str or Method, optional
        A name from `METHODS`, or an instance with its own options. ``"auto"`` takes an exact
        method, never an approximate one; `result.provenance.method_reason` says why.
    engine : str, optional
        How the direct method goes its paths: ``"table"``, one by one; ``"lanes"``, many in
        lockstep; or ``"specialised"``, by code generated for the network. It has no influence on
        the numbers; ``"auto"`` chooses by the work to do, and `result.provenance.engine_reason`
        says why.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness. Trajectory `i` depends on `(rng, i)` and the method alone, not on `n`,
        `threads` or `chunk_size`. What was used is in `result.provenance.entropy`.
    seed : optional
        Another name for `rng`.
    threads : int, optional
        Threads to use; all cores by default. With an `executor`, threads of each of its workers,
        one by default.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in trajectories.
    statistics : bool, optional
        Keep only means, covariances, extremes and histograms at the sampling times, in memory that
        does not grow with `n`.
    histogram_bins : int, optional
        Bins of each histogram kept by `statistics`; an even number. A bin is one count wide unless
        the counts reach `histogram_bins`, then 2, 4, ... counts.
    outputs : sequence of str, optional
        Species, variables and observables to record; all species and variables by default.
    stop_when : str or Expression, optional
        A condition such as ``"X >= 80"`` on species, variables, observables, parameters and `t`. A
        trajectory ends at the instant at which it becomes true, its entry in
        `result.hitting_times`; from there on its state is held.
    max_events : int, optional
        Most events of one trajectory before `EventLimitError`.
    timeout : float, optional
        Seconds after which the run stops and returns the finished trajectories, with an
        `IncompleteWarning`. These tend to be the ones with fewer events.
    chunk_size : int, optional
        Trajectories handed to a thread, or to a worker of `executor`, at a time. It changes no
        result.
    first : int, optional
        Number of the first trajectory: with the same `rng`, trajectories 1000 to 1999 of a run are
        those of another with ``first=1000``. In this way several machines share a run.
    executor : str, Executor or Client, optional
        Where trajectories are run: ``"threads"`` of this process, the default; ``"processes"``
        that are started for this run, one for each core; an executor of `concurrent.futures`, or
        one with the same ``submit``; or a `distributed.Client` of Dask. It has no influence on the
        numbers. Portions of about a second's work go to the workers, and what a worker that died
        was doing is done again.
    store : str or path-like, optional
        A folder, made if need be, in which finished trajectories (or statistics of blocks of them)
        are kept on disk while the run goes on. The same call takes from it what is there and
        computes what is missing, after whatever ended the last one; a larger `n`, or a sharper
        `until`, adds to it. The result is that of a run without a store, to the last bit. Without
        `rng`, the store's is used. See `open_store`.
    **method_options
        Options of the method, for example ``epsilon=0.01`` for tau-leaping.

    Returns
    -------
    Ensemble or EnsembleStatistics
        `counts` of an `Ensemble` has shape (n_trajectories, n_times, n_species), int64 molecules.
        A count at time t includes any event at t. Variables are recorded in `values`, beside
        observables. An `EnsembleStatistics` with `statistics=True`.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    NetworkError
        If a rate constant is negative, or a name in `outputs` or `stop_when` is unknown.
    ParseError
        If `until` cannot be read; the message points at the place.
    MethodError
        If the method is unknown or cannot do what is asked for.
    NotEnoughMemoryError
        If the result would not fit into memory; nothing was run.
    SimulationError
        If a propensity turns negative, unbounded or not a number, a delay or an event makes no
        sense, a variable cannot be integrated further, a count exceeds 2**53, or `max_events` is
        spent; `error.result` holds the finished trajectories.
    WorkerError
        If workers of `executor` died again and again, or have another version of the package;
        `error.result` holds the finished trajectories.
    Interrupted
        On Ctrl-C, with a store also on SIGTERM; `error.result` holds the finished trajectories.
    StoreError
        If the store holds another run (the message says in what it differs), or another run
        writes to it (`StoreLockedError`).
    StoreWriteError
        If the disk is full, or the store must not be written to; `error.result` holds the
        finished trajectories.
    """
    if until is None:
        _refuse_without_until(n, confidence=confidence, max_n=max_n, max_time=max_time)
    elif n is not None or first != 0:
        raise ValueError(
            "with until= the run finds the number of trajectories itself: give max_n= instead of n="
            if n is not None
            else "with until= the run begins at trajectory 0: leave first= out"
        )
    # With until= a run is as long as it takes: enough for lanes; it changes no number.
    n = check_whole(n if until is None else 100_000, "n", 1)
    start = check_whole(first, "first", 0)
    if start + n > _MOST_TRAJECTORIES:
        raise ValueError(f"first + n must be at most 2**62, not {start + n}")
    n_threads = check_whole(threads, "threads", 1) if threads is not None else None
    pool = worker_pool(executor, n_threads or 1)
    n_threads = n_threads or (cores() if pool is None else 1)
    if store is not None and rng is None and seed is None:
        stored = stored_order(store)
        rng = None if stored is None else stored.entropy
    plan = plan_run(
        network,
        t,
        method=method,
        rng=rng,
        seed=seed,
        outputs=outputs,
        stop_when=stop_when,
        max_events=max_events,
        every_event=False,
        method_options=method_options,
        engine=engine,
        n_trajectories=n,
    )
    if not plan.method.is_stochastic:
        raise MethodError(
            f"method '{plan.method.name}' is deterministic, so all trajectories would be the same; "
            f"use simulate(network, t, method='{plan.method.name}')"
        )
    chunk = check_whole(chunk_size, "chunk_size", 1) if chunk_size is not None else None
    bins = check_whole(histogram_bins, "histogram_bins", 2)
    n_bins = bins if statistics else None
    if until is not None:
        from .precision import ensemble_until

        return ensemble_until(
            plan,
            until,
            confidence=confidence,
            max_n=max_n,
            max_time=min(check_timeout(max_time, "max_time"), check_timeout(timeout)),
            n_bins=n_bins,
            make_pool=lambda: worker_pool(executor, n_threads if pool is not None else 1),
            n_threads=n_threads,
            chunk=chunk,
            store=store,
            progress=progress,
        )
    report = reporter(progress, n, "ensemble")
    gatherer: Statistics | Paths
    if n_bins is not None:
        gatherer = Statistics(plan, start, start + n, n_threads=n_threads, n_bins=n_bins)
    else:
        gatherer = Paths(plan, start, start + n)
    run = run_portions(
        TrajectoryJob(plan, n_bins),
        gatherer,
        store=store,
        pool=pool,
        n_threads=n_threads,
        chunk_size=chunk,
        report=report,
        timeout=check_timeout(timeout),
    )
    failure, stopped, kept = run.failure, run.stopped, ""
    if store is not None:
        kept = (
            f". The store {os.fspath(store)!r} has {run.n_stored} of them; the same call goes on "
            "from there"
        )
    result: Ensemble | EnsembleStatistics = gatherer.result(stopped)
    if stopped == "interrupt":
        failure = Interrupted(
            f"{run.signal}; the {gatherer.n_complete()} finished trajectories of {n} are in the "
            f"error's .result{kept}"
        )
    if failure is not None:
        failure.result = result  # type: ignore[attr-defined]
        raise failure
    if stopped == "timeout":
        warnings.warn(
            f"timeout: {gatherer.n_complete()} of {n} trajectories are finished; the others are "
            f"left out, which favours trajectories with fewer events{kept}",
            IncompleteWarning,
            stacklevel=2,
        )
    else:
        report(n)
    return result


def _refuse_without_until(n: int | None, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        advice = "; the time limit of a run of n trajectories is timeout=" * ("max_time" in given)
        raise ValueError(f"{given[0]}= goes with until=, which is not given{advice}")
    if n is None:
        raise ValueError(
            "how many trajectories? Give n=, or until='mean(P) +/- 1%' to go on until it is known "
            "so precisely"
        )


def replay(ensemble: Ensemble, i: int) -> Trajectory:
    """Run trajectory `i` of an ensemble again, this time with every event.

    Parameters
    ----------
    ensemble : Ensemble
        A result of `gillespy_lite.ensemble`.
    i : int
        Row of `ensemble.counts`.

    Returns
    -------
    Trajectory
        One row per event; at the ensemble's times its counts are those of row `i`.
    """
    source = ensemble.provenance
    options = dict(source.options)
    run_options = {name: options.pop(name) for name in ("stop_when", "max_events")}
    plan = plan_run(
        ensemble.network,
        ensemble.times,
        method=METHODS[source.method]().with_options(options),
        rng=source.entropy,
        seed=None,
        outputs=[*ensemble.species, *ensemble.observables],
        every_event=True,
        method_options={},
        **run_options,  # type: ignore[arg-type]
    )
    return run_trajectory(plan, int(ensemble.indices[i]), math.inf, lambda done: None)
