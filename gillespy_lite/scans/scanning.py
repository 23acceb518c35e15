"""Parameter scans: thousands of sets of a network's numbers in one run."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import IncompleteWarning, Interrupted, MethodError
from ..methods import Method
from ..network import Network
from ..portion_runs import run_portions
from ..progress import Progress, reporter
from ..rate_laws import Expression
from ..results import Scan
from ..results.scan import whole_arrays
from ..run_plan import check_timeout, check_whole, plan_run
from ..stores.writing import stored_order
from ..worker_pools import worker_pool
from ..workers import cores
from .numbers import compiled_set
from .points import ScanPoints, read_points
from .portions import ScanJob, middle_of
from .running import ScanPlan
from .storing import SetStore

__all__ = ["scan"]


def scan(
    network: Network,
    grid: Any = None,
    t: Any = None,
    n: int | None = None,
    *,
    samples: Any = None,
    names: Sequence[str] | None = None,
    method: str | Method = "auto",
    engine: str = "auto",
    rng: Any = None,
    seed: Any = None,
    common_random_numbers: bool = False,
    keep: str = "statistics",
    histogram_bins: int = 0,
    outputs: Sequence[str] | None = None,
    stop_when: str | Expression | None = None,
    max_events: int | None = None,
    timeout: float | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    chunk_size: int | None = None,
    sets: tuple[int, int] | None = None,
    executor: Any = None,
    store: str | os.PathLike[str] | None = None,
    **method_options: Any,
) -> Scan:
    """Sample trajectories of a network at many sets of its numbers, on all cores.

    It gives the numbers of a loop over `ensemble`, one call for each set, to the last bit; but
    nothing is planned or compiled anew for a set, and where the network runs in lanes, these take
    trajectories of one set after the other without standing idle in between.

    Parameters
    ----------
    network : Network
        Whose parameters and initial counts are varied.
    grid : mapping of str to array_like
        Values by name of a parameter, or of a species or variable at the start: all combinations
        are run. The last name runs fastest.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing sampling times, as in `ensemble`.
    n : int
        Trajectories of each set.
    samples : mapping, DataFrame or array_like of shape (n_sets, n_names), optional
        In place of `grid` a table, with a row for each set: columns of one length by name.
    names : sequence of str, optional
        The columns of `samples`, if it is an array.
    method : str or Method, optional
        As in `ensemble`; ``"auto"`` chooses once, for the set in the middle.
    engine : str, optional
        As in `ensemble`. It has no influence on the numbers.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness. Trajectory `i` of set `j` depends on `(rng, j, i)`, the set's numbers
        and the method alone, and is trajectory `i` of an `ensemble` with ``rng=scan.entropy(j)``.
    seed : optional
        Another name for `rng`.
    common_random_numbers : bool, optional
        Give all sets the same random numbers, those of `rng` itself. Differences between sets then
        have less noise where paths of near sets stay alike; errors of all sets go together.
    keep : {"statistics", "paths"}, optional
        What to keep of each set: means, covariances and extremes at the sampling times, in memory
        that does not grow with `n`; or all trajectories.
    histogram_bins : int, optional
        Bins of the histogram of each species at each time that is kept beside the other
        statistics, an even number; 0 for none. Quantiles need them. See `ensemble`.
    outputs : sequence of str, optional
        Species, variables and observables to record; all species and variables by default.
    stop_when : str or Expression, optional
        A condition that ends a trajectory, as in `ensemble`; it follows the varied parameters.
    max_events : int, optional
        Most events of one trajectory before `EventLimitError`.
    timeout : float, optional
        Seconds after which the scan stops and returns the finished trajectories, with an
        `IncompleteWarning`.
    threads : int, optional
        Threads to use; all cores by default. With an `executor`, threads of each of its workers,
        one by default.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in trajectories.
    chunk_size : int, optional
        Sets handed to a thread, or to a worker of `executor`, at a time. It changes no result.
    sets : (int, int), optional
        Run only the sets first, ..., last - 1 of the scan; the result is a table of these. With the
        same `rng` and other `sets` several machines share a scan.
    executor : str, Executor or Client, optional
        Where sets are run, as in `ensemble`: ``"threads"`` of this process, the default;
        ``"processes"``, an executor of `concurrent.futures`, or a Dask `Client`. It has no
        influence on the numbers. Portions of about a second's work go to the workers, and what a
        worker that died was doing is done again.
    store : str or path-like, optional
        A folder, made if need be, in which finished sets are kept on disk while the scan goes on.
        The same call takes from it what is there and computes what is missing, after whatever ended
        the last one. The result is that of a scan without a store, to the last bit. Without `rng`,
        the store's is used. See `open_store`.
    **method_options
        Options of the method, for example ``epsilon=0.01`` for tau-leaping.

    Returns
    -------
    Scan
        Tables over all sets, whose first axes are those of the grid; ``scan[j]`` is the result of
        one set.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    NetworkError
        If a name is unknown, or a set is impossible; the message names the set.
    MethodError
        If the method is unknown or cannot do what is asked for.
    NotEnoughMemoryError
        If the result would not fit into memory; nothing was run.
    SimulationError
        As in `ensemble`; the message names the set, and `error.result` holds what is finished.
    WorkerError
        If workers of `executor` died again and again, or have another version of the package;
        `error.result` holds what is finished.
    Interrupted
        On Ctrl-C, with a store also on SIGTERM; `error.result` holds what is finished.
    StoreError
        If the store holds another scan, or no scan (the message says in what it differs), or
        another run writes to it (`StoreLockedError`).
    StoreWriteError
        If the disk is full, or the store must not be written to; `error.result` holds what is
        finished.
    """
    started = time.perf_counter()
    n_threads = check_whole(threads, "threads", 1) if threads is not None else None
    pool = worker_pool(executor, n_threads or 1)
    if store is not None and rng is None and seed is None:
        stored = stored_order(store)
        rng = None if stored is None else stored.entropy
    plan, job = _prepared(
        network,
        grid,
        t,
        n,
        samples=samples,
        names=names,
        method=method,
        engine=engine,
        rng=rng,
        seed=seed,
        common_random_numbers=common_random_numbers,
        keep=keep,
        histogram_bins=histogram_bins,
        outputs=outputs,
        stop_when=stop_when,
        max_events=max_events,
        sets=sets,
        method_options=method_options,
    )
    total = plan.points.n_sets * plan.n
    report = reporter(progress, total, "scan")
    gatherer = job.gatherer()
    run = run_portions(
        job,
        gatherer,
        store=store,
        pool=pool,
        n_threads=n_threads or (cores() if pool is None else 1),
        chunk_size=check_whole(chunk_size, "chunk_size", 1) if chunk_size is not None else None,
        report=lambda n_sets: report(round(n_sets * plan.n)),
        timeout=check_timeout(timeout),
    )
    failure, kept = run.failure, ""
    if store is not None:
        kept = (
            f". The store {os.fspath(store)!r} has {run.n_stored} of {plan.points.n_sets} sets; "
            "the same call goes on from there"
        )
    result = _result(plan, gatherer, keep, run.stopped, started)
    n_complete = gatherer.n_trajectories()
    if run.stopped == "interrupt":
        failure = Interrupted(
            f"{run.signal}; the {n_complete} finished trajectories of {total} are in the error's "
            f".result{kept}"
        )
    if failure is not None:
        failure.result = result  # type: ignore[attr-defined]
        raise failure
    if run.stopped == "timeout":
        warnings.warn(
            f"timeout: {n_complete} of {total} trajectories are finished; "
            f"scan.n_trajectories says how many of each set{kept}",
            IncompleteWarning,
            stacklevel=2,
        )
    else:
        report(total)
    return result


def _prepared(
    network: Network,
    grid: Any,
    t: Any,
    n: Any,
    *,
    samples: Any,
    names: Any,
    common_random_numbers: bool,
    keep: str,
    histogram_bins: int,
    sets: Any,
    **run: Any,
) -> tuple[ScanPlan, ScanJob]:
    """Check the arguments of a scan, and gather what it needs."""
    if not isinstance(network, Network):
        raise TypeError(
            f"the first argument must be a Network, not {type(network).__name__}; make one from "
            "text with Network.parse(text), from a file with Network.read(path)"
        )
    if t is None or n is None:
        raise TypeError(
            f"scan needs {'t, the times,' if t is None else 'n, the trajectories of each set'}: "
            "scan(network, {'k': [1, 2]}, t, n)"
        )
    points = read_points(network, grid, samples, names)
    n = check_whole(n, "n", 1)
    n_bins = check_whole(histogram_bins, "histogram_bins", 0)
    if keep not in ("statistics", "paths"):
        raise ValueError(f"keep must be 'statistics' or 'paths', not {keep!r}")
    if n_bins % 2 or (n_bins and keep == "paths"):
        raise ValueError(
            f"histogram_bins must be even, not {n_bins}"
            if n_bins % 2
            else "histogram_bins= belongs to keep='statistics'; paths have all quantiles anyway"
        )
    if not isinstance(common_random_numbers, bool | np.bool_):
        raise TypeError(f"common_random_numbers must be True or False, not {common_random_numbers}")
    common = bool(common_random_numbers)
    chosen = points if sets is None else points.part(*_checked_sets(points, sets))
    middle = compiled_set(network, points, middle_of(points)).network
    plan = plan_run(middle, t, every_event=False, n_trajectories=points.n_sets * n, **run)
    if not plan.method.is_stochastic:
        raise MethodError(
            f"method '{plan.method.name}' is deterministic, so all trajectories of a set would be "
            f"the same; use simulate(network, t, method='{plan.method.name}') for each set"
        )
    found = ScanPlan(plan, network, chosen, n, common=common)
    return found, ScanJob(found, points, None if keep == "paths" else n_bins, common=common)


def _checked_sets(points: ScanPoints, sets: Any) -> tuple[int, int]:
    """Return the sets that are to be run, first and last + 1."""
    try:
        first, last = sets
    except (TypeError, ValueError):
        raise TypeError(
            f"sets must be two numbers, (first, last + 1) of those to run, not {sets!r}"
        ) from None
    first, last = check_whole(first, "sets[0]", 0), check_whole(last, "sets[1]", 1)
    if not first < last <= points.n_sets:
        raise ValueError(
            f"sets=({first}, {last}) must go up, and end at {points.n_sets}, the number of sets of "
            "this scan, or before"
        )
    return first, last


def _result(
    sets: ScanPlan,
    store: SetStore,
    keep: str,
    stopped: str | None,
    started: float,
) -> Scan:
    points, plan = sets.points, replace(sets.plan, started=started)
    return Scan(
        times=plan.times,
        species=plan.species,
        observables=plan.observables,
        names=points.names,
        points=points.values,
        shape=points.shape,
        is_grid=points.is_grid,
        keep=keep,
        entropy_words=sets.entropies.astype(np.int64),
        network=sets.network,
        provenance=replace(plan.provenance(), network=sets.network),
        n_requested=sets.n,
        stopped=stopped,
        **whole_arrays(store.arrays),
    )
