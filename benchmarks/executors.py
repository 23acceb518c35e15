"""Compare executors with threads: the time of the same ensembles, and of starting the workers.

    python benchmarks/executors.py [--rounds 5] [--workers 2] [--out executors.json]

Threads, a pool of processes that is there already, one that is started for the run
(``executor="processes"``) and, where it is installed, a Dask cluster on this machine take turns;
each row is the fastest of the rounds. All give the same arrays, which is checked.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from networks import MODELS
from reporting import machine, markdown_table, save

import gillespy_lite as gl

# Model, end, times, trajectories, statistics: some seconds of work; much to send back; and very
# many short trajectories.
CASES: dict[str, dict[str, Any]] = {
    "Vilar, statistics": {
        "model": "vilar", "end": 20.0, "n_times": 101, "n": 12_000, "statistics": True,
    },
    "SIR, all paths": {
        "model": "sir", "end": 100.0, "n_times": 101, "n": 100_000, "statistics": False,
    },
    "birth-death, 1e7 short": {
        "model": "birth-death", "end": 0.2, "n_times": 2, "n": 10_000_000, "statistics": True,
    },
}  # fmt: skip


def run(case: dict[str, Any], executor: Any, workers: int) -> tuple[float, Any]:
    """Return the seconds of an ensemble, and it."""
    times = np.linspace(0.0, case["end"], case["n_times"])
    threads = workers if executor == "threads" else None
    started = time.perf_counter()
    result = gl.ensemble(
        MODELS[case["model"]].network,
        times,
        case["n"],
        rng=1,
        statistics=case["statistics"],
        executor=executor,
        threads=threads,
    )
    return time.perf_counter() - started, result


def executors(stack: ExitStack, workers: int) -> Iterator[tuple[str, Any]]:
    """Give what is compared, by name, with its workers at work already."""
    yield "threads", "threads"
    pool = stack.enter_context(
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    )
    yield "a pool of processes", pool
    yield 'executor="processes"', "processes"
    try:
        import distributed
    except ImportError:
        return
    cluster = stack.enter_context(
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        )
    )
    yield "Dask, on this machine", stack.enter_context(distributed.Client(cluster))


def array_of(result: Any) -> np.ndarray:
    """Return what tells two results apart."""
    return np.asarray(result.means if hasattr(result, "means") else result.counts)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--small", action="store_true", help="a hundredth of the trajectories")
    parser.add_argument("--out", type=Path, help="file for all numbers, JSON")
    parser.add_argument("--table", type=Path, help="file for the table, Markdown")
    options = parser.parse_args(arguments)
    facts, rows, results = machine(), [], []
    with ExitStack() as stack:
        chosen = list(executors(stack, options.workers))
        for name in options.cases:
            case = dict(CASES[name])
            case["n"] //= 100 if options.small else 1
            best, usual = dict.fromkeys((which for which, _ in chosen), np.inf), None
            for turn in range(options.rounds + 1):
                for which, executor in chosen:
                    print(f"{name}, {which} ...", file=sys.stderr, flush=True)
                    seconds, result = run(case, executor, options.workers)
                    usual = array_of(result) if usual is None else usual
                    assert array_of(result).tobytes() == usual.tobytes(), which
                    del result
                    # The first turn starts workers and loads kernels.
                    if turn or which == 'executor="processes"':
                        best[which] = min(best[which], seconds)
            for which, seconds in best.items():
                ratio = seconds / best["threads"]
                rows.append([name, which, f"{seconds:.2f}", f"{ratio:.2f}"])
                results.append({"case": name, "executor": which, "seconds": seconds})
    header = ["ensemble", f"{options.workers} workers", "seconds", "times that of threads"]
    save(markdown_table(header, rows), {"results": results}, facts, options.out, options.table)


if __name__ == "__main__":
    main()
