"""Estimates means to a tolerance by levels of coupled paths."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import compile_network
from ..errors import MethodError
from ..network import Network
from ..progress import Progress, reporter
from ..randomness import take_entropy
from ..rate_laws import Expression
from ..results import Provenance
from ..run_plan import check_timeout, check_whole
from ..version import STREAM_VERSION, __version__
from ..worker_pools import worker_pool
from ..workers import cores
from ..workplaces import Workplace
from .arguments import (
    check_end_times,
    check_levels,
    check_targets,
    refuse_what_moves,
    shown_targets,
)
from .estimate import MultilevelEstimate
from .levels import Ladder
from .outputs import check_outputs
from .runs import MultilevelRun
from .sampling import Sampler

__all__ = ["multilevel"]

FloatArray = NDArray[np.float64]

METHODS = ("auto", "multilevel", "exact")


def multilevel(
    network: Network,
    t: Any,
    outputs: Sequence[str | Expression] | str | None = None,
    *,
    tolerance: float | Mapping[str, float] | None = None,
    relative_tolerance: float | Mapping[str, float] | None = None,
    confidence: float = 0.95,
    method: str = "auto",
    levels: Sequence[int] | None = None,
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    max_time: float | None = None,
    progress: bool | Progress = False,
    executor: Any = None,
) -> MultilevelEstimate:
    """Estimate means of functions of the state to a tolerance, by multilevel Monte Carlo.

    Most of the randomness is averaged out with cheap leap paths of a few steps. What these are off
    by is estimated from pairs of paths that share their random numbers and so differ by little: of
    few and more steps, and at last of leaps and the exact path. So the estimate has no bias from
    leaping, however long the steps are, and needs few exact paths.

    Parameters
    ----------
    network : Network
        Without events, delays, variables and rates that depend on t.
    t : float or array_like, shape (n_times + 1,)
        End time, at which alone the means are estimated; or increasing times, the first of which is
        when the initial state holds, and the others those of the estimates.
    outputs : sequence of str or Expression, optional
        What to average: species, observables, and expressions such as ``"P^2"``, in molecules; the
        mean of a condition such as ``"P > 50"`` is its probability. By default all species.
    tolerance : float or mapping of str to float, optional
        Half-width that the confidence intervals may have, in the unit of the output; of all
        outputs, or by their names.
    relative_tolerance : float or mapping of str to float, optional
        The same as a share of the estimate. Of two tolerances of an output the larger counts; an
        output that has none gets what comes of the others. 0.01 if no tolerance is given.
    confidence : float, optional
        Of each interval by itself.
    method : str, optional
        ``"multilevel"``; ``"exact"``, with exact paths alone; or ``"auto"``, whichever is expected
        to take less work.
    levels : sequence of int, optional
        Numbers of steps of the leap paths up to the end time, each a multiple of the one before; by
        default chosen by pilot runs. If there are several times, a level may get some steps more,
        because each time ends a step.
    rng, seed : optional
        As for `ensemble`. Path `i` of a level depends on `(rng, level, i)` alone, and how many
        paths there are on counted work and no clock, so that the result is the same on any number
        of threads.
    threads : int, optional
        Threads to use; all cores by default. With an `executor`, threads of each of its workers,
        one by default.
    max_time : float, optional
        Seconds after which the run stops and returns what it has, with wider intervals and an
        `IncompleteWarning`.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)``, in per cent of the work
        that is expected.
    executor : str, Executor or Client, optional
        Where paths are run, as in `ensemble`: ``"threads"`` of this process, the default;
        ``"processes"``, an executor of `concurrent.futures`, or a Dask `Client`. It has no
        influence on the result. Blocks of paths go to the workers, of which only moments come back.

    Returns
    -------
    MultilevelEstimate
        `estimates` and `standard_errors` of shape (n_times, n_outputs), intervals, and what each
        level took.

    Raises
    ------
    MethodError
        If the network has what leap paths cannot follow, naming it.
    ValueError, TypeError
        If an argument makes no sense, or the tolerance would take hours and there is no `max_time`.
    NetworkError
        If an output uses an unknown name.
    SimulationError
        If a propensity of an exact path turns negative, infinite or not a number, an output is no
        finite number, or `max_time` ran out before each level had its first paths; else
        `error.result` holds the estimate so far.
    WorkerError
        If workers of `executor` died again and again, or have another version of the package;
        `error.result` holds the estimate so far.
    Interrupted
        On Ctrl-C; `error.result` holds the estimate so far, or None if a level has no paths yet.

    Notes
    -----
    The numbers of paths follow from variances that are estimated from paths that are used for the
    estimate, too. This makes the estimate depend on its own error a little: by a part of order 1/n
    of a standard error, n being the paths of the first round. The intervals are those of Student's
    t, with the degrees of freedom of Welch and Satterthwaite.

    References
    ----------
    Anderson and Higham (2012), Multiscale Model. Simul. 10:146, doi:10.1137/110840546. Giles
    (2008), Oper. Res. 56:607, doi:10.1287/opre.1070.0496. Welch (1947), Biometrika 34:28,
    doi:10.1093/biomet/34.1-2.28.
    """
    started = time.perf_counter()
    if not isinstance(network, Network):
        raise TypeError(
            f"the first argument must be a Network, not {type(network).__name__}; make one from "
            "text with Network.parse(text), from a file with Network.read(path)"
        )
    times = check_end_times(t)
    if method not in METHODS:
        raise MethodError(f"unknown method {method!r}; choose among {', '.join(METHODS)}")
    if levels is not None and method == "exact":
        raise ValueError("levels= says how many steps leap paths have, and method='exact' has none")
    if not (isinstance(confidence, float | np.floating) and 0.0 < confidence < 1.0):
        raise ValueError(f"confidence must be a number between 0 and 1, not {confidence!r}")
    compiled = compile_network(network)
    refuse_what_moves(compiled)
    chosen = check_outputs(network, outputs)
    targets = check_targets(chosen, tolerance, relative_tolerance)
    steps = None if levels is None else check_levels(levels)
    n_threads = check_whole(threads, "threads", 1) if threads is not None else None
    is_elsewhere = worker_pool(executor, n_threads or 1) is not None
    n_threads = n_threads or (1 if is_elsewhere else cores())
    limit = check_timeout(max_time, "max_time")
    entropy = take_entropy(rng, seed)
    ladder = (
        Ladder(compiled, times, chosen)
        if steps is None
        else Ladder(compiled, times, chosen, steps[0])
    )
    place = Workplace(lambda: worker_pool(executor, n_threads), n_threads, None)
    run = MultilevelRun(
        network=network,
        outputs=chosen,
        targets=targets,
        confidence=confidence,
        sampler=Sampler(ladder, entropy, place, limit),
        tell=reporter(progress, 100.0, "multilevel"),
        is_limited=math.isfinite(limit),
        n_threads=place.n_workers,
    )
    options: dict[str, int | float | str | bool | None] = {
        "method": method,
        "levels": None if steps is None else ", ".join(map(str, steps)),
        "confidence": confidence,
        "tolerance": shown_targets(tolerance),
        "relative_tolerance": shown_targets(relative_tolerance),
        "max_time": max_time,
    }
    try:
        run.sampler.load_kernels()
        run.sampler.start_clock()
        chain, reason = run.choose(method, steps)
        if run.sampler.stopped is None:
            chain, reason = run.refine(chain, reason, may_change=method == "auto" and steps is None)
    finally:
        place.close()

    def provenance() -> Provenance:
        return Provenance(
            network=network,
            method="multilevel",
            method_reason=reason,
            options=options,
            entropy=entropy,
            stream_version=STREAM_VERSION,
            package_version=__version__,
            elapsed=time.perf_counter() - started,
            engine="lanes",
            engine_reason="the only one for coupled paths",
        )

    return run.finish(chain, provenance)
