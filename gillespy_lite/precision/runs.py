"""The front door of a precise run: its arguments, and how it ends."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import IncompleteWarning, Interrupted
from ..portion_runs import terminations_as_interrupts
from ..results import Ensemble, EnsembleStatistics
from ..run_orders import RunOrder
from ..run_plan import RunPlan, check_whole
from ..worker_pools import Pool
from ..workplaces import OpenStore, Workplace
from .running import MOST_TRAJECTORIES, PreciseRun
from .targets import parse_targets

__all__ = ["check_confidence", "ensemble_until"]


def check_confidence(confidence: float | None) -> float:
    """Return the confidence, 0.95 where none was given, or say what is wrong with it."""
    if confidence is None:
        return 0.95
    is_number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if not is_number or not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, like 0.95, not {confidence!r}")
    return float(confidence)


def ensemble_until(
    plan: RunPlan,
    until: str,
    *,
    confidence: float | None,
    max_n: int | None,
    max_time: float,
    n_bins: int | None,
    make_pool: Callable[[], Pool | None],
    n_threads: int,
    chunk: int | None,
    store: str | os.PathLike[str] | None,
    progress: Any,
) -> Ensemble | EnsembleStatistics:
    """Run trajectories until the targets of `until` are reached; see `ensemble`.

    Every interval of every look has a share of the error probability ``1 - confidence``, so that
    all hold together (union bound), and stopping when they are narrow enough does not spoil them.
    A pilot with random streams of its own plans the looks: most of the error is spent at the one
    that is likely to be the last. Intervals of probabilities and quantiles are those of Clopper and
    Pearson (1934), Biometrika 26, 404, doi:10.1093/biomet/26.4.404, exact for any number of hits;
    those of means are Student's, and of spreads they come from the fourth moment.

    Parameters
    ----------
    plan : RunPlan
    until : str
        Targets, see `parse_targets`.
    confidence : float or None
        Of all intervals together; None means 0.95.
    max_n : int or None
        Most trajectories.
    max_time : float
        Seconds, infinite without a limit.
    n_bins : int or None
        Of the histograms of statistics; None to keep the trajectories.
    make_pool : callable
        Gives what computes, None for threads of this process.
    n_threads, chunk : int, int or None
        As for `Workplace`.
    store : str or path-like, or None
        A folder in which trajectories are kept, and taken from.
    progress : bool or callable
        As for `ensemble`.

    Returns
    -------
    Ensemble or EnsembleStatistics
        Of trajectories 0, 1, ...; `precision` says what was reached.

    Raises
    ------
    ParseError, ValueError
        If an argument makes no sense.
    SimulationError, WorkerError, StoreError, StoreWriteError, Interrupted
        As `ensemble` does; `error.result` holds the finished trajectories and their report.
    """
    targets = parse_targets(until, plan.network)
    confidence = check_confidence(confidence)
    most = MOST_TRAJECTORIES if max_n is None else check_whole(max_n, "max_n", 1)
    kept, check, word = "", _nothing_to_check, "interrupted"
    with contextlib.ExitStack() as stack:
        opened = None
        if store is not None:
            opened = OpenStore(store, RunOrder.of(plan, n_bins))
            stack.callback(opened.close)
            terminated = stack.enter_context(terminations_as_interrupts())
            check = terminated.raise_once
        place = Workplace(make_pool, n_threads, chunk)
        stack.callback(place.close)
        run = PreciseRun(
            plan,
            targets,
            until,
            confidence=confidence,
            most=most,
            max_time=max_time,
            n_bins=n_bins,
            place=place,
            store=opened,
            check=check,
            progress=progress,
        )
        stack.callback(run.close)
        result = run.work()
        if opened is not None:
            failure = opened.ended()
            if failure is not None and run.failure is None:
                run.stopped, run.failure = "error", failure
            word = terminated.word
            kept = (
                f". The store {opened.name!r} has {opened.n_stored(result.n_requested)} "
                "trajectories of it; the same call goes on from there"
            )
    if run.failure is not None:
        run.failure.result = result  # type: ignore[attr-defined]
        raise run.failure
    if run.stopped == "interrupt":
        raise Interrupted(
            f"{word}; the {len(result)} finished trajectories, and what is known from them, are in "
            f"the error's .result{kept}",
            result,
        )
    if run.stopped is not None:
        warnings.warn(f"{_incomplete(run, result, max_n)}{kept}", IncompleteWarning, stacklevel=3)
    return result


def _nothing_to_check() -> None:
    pass


def _incomplete(run: PreciseRun, result: Ensemble | EnsembleStatistics, max_n: int | None) -> str:
    report = result.precision
    assert report is not None
    lacking = [one for one in report.targets if not one.is_reached]
    reason = {
        "timeout": "the time is up",
        "max_n": f"max_n = {MOST_TRAJECTORIES if max_n is None else max_n} trajectories are done",
        "memory": "there is no memory for more trajectories (statistics=True needs little)",
    }[str(run.stopped)]
    if not report.steps:
        return (
            f"{reason} before the first look at {len(result)} finished trajectories; nothing is "
            "known of the targets"
        )
    more = f" and {len(lacking) - 1} more" * (len(lacking) > 1)
    return (
        f"{reason}, and not all targets are reached: {lacking[0]}{more}; result.precision has the "
        "intervals, which hold"
    )
