"""Parameter scans: thousands of sets of a network's numbers in one run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import (
    IncompleteWarning,
    Interrupted,
    MethodError,
    NotEnoughMemoryError,
    SimulationError,
)
from ..methods import Method
from ..network import Network
from ..progress import Progress, reporter
from ..rate_laws import Expression
from ..results import Scan
from ..run_plan import check_timeout, check_whole, plan_run
from ..workers import cores
from .numbers import compiled_set
from .points import read_points
from .running import ScanPlan, SetCrew
from .storing import SetPaths, SetStatistics, SetStore

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
        Threads to use; all cores by default.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in trajectories.
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
    Interrupted
        On Ctrl-C; `error.result` holds what is finished.
    """
    started = time.perf_counter()
    plan, store, crew = _prepared(
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
        threads=threads,
        method_options=method_options,
    )
    total = plan.points.n_sets * plan.n
    report = reporter(progress, total, "scan")
    failure: SimulationError | NotEnoughMemoryError | Interrupted | None = crew.work(
        report, check_timeout(timeout)
    )
    result = _result(network, plan, store, keep, crew.stopped, started)
    n_complete = store.n_complete()
    if crew.stopped == "interrupt":
        failure = Interrupted(
            f"interrupted; the {n_complete} finished trajectories of {total} are in the error's "
            ".result"
        )
    if failure is not None:
        failure.result = result
        raise failure
    if crew.stopped == "timeout":
        warnings.warn(
            f"timeout: {n_complete} of {total} trajectories are finished; "
            "scan.n_trajectories says how many of each set",
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
    threads: int | None,
    **run: Any,
) -> tuple[ScanPlan, SetStore, SetCrew]:
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
    n_threads = check_whole(threads, "threads", 1) if threads is not None else cores()
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
    middle = compiled_set(network, points, points.n_sets // 2).network
    plan = plan_run(middle, t, every_event=False, n_trajectories=points.n_sets * n, **run)
    if not plan.method.is_stochastic:
        raise MethodError(
            f"method '{plan.method.name}' is deterministic, so all trajectories of a set would be "
            f"the same; use simulate(network, t, method='{plan.method.name}') for each set"
        )
    sets = ScanPlan(plan, network, points, n, common=bool(common_random_numbers))
    store = (
        SetPaths(sets.plan, 0, points.n_sets, n)
        if keep == "paths"
        else SetStatistics(sets.plan, 0, points.n_sets, n, n_bins)
    )
    return sets, store, SetCrew(sets, store, n_threads, n_bins)


def _result(
    network: Network,
    sets: ScanPlan,
    store: SetStore,
    keep: str,
    stopped: str | None,
    started: float,
) -> Scan:
    points, plan = sets.points, replace(sets.plan, started=started)
    nothing, none = np.empty(0), np.empty(0, dtype=np.int64)
    arrays = {
        **dict.fromkeys(("means", "comoments", "minima", "maxima", "values"), nothing),
        **dict.fromkeys(("bin_counts", "bin_widths", "counts", "n_events", "complete"), none),
        "hitting_times": nothing,
        **store.portion(),
    }
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
        network=network,
        provenance=replace(plan.provenance(), network=network),
        n_requested=sets.n,
        stopped=stopped,
        **arrays,
    )
