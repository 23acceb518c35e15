"""What a store costs: the same ensemble or scan with and without one, in turns, in one process.

::

    python benchmarks/stores.py [--seconds 6] [--rounds 5] [--threads K] [--folder DIR]

For each model the number of trajectories, or of parameter sets with 100 trajectories each, is
chosen so that a run takes about so many seconds. Scans have two sampling times. The
ratios are those of the shortest times, of the wall clock and of the processor. On a machine that
others use, too, these are worth little; the seconds of the processor that go into collecting and
writing are counted by themselves, as a share of those of the run without a store. The rate of data
is that of the arrays in memory.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gillespy_lite as gl
from gillespy_lite import portion_runs
from gillespy_lite.models import MODELS
from gillespy_lite.stores.writing import StoreWriter

CASES = [
    ("birth_death", False),
    ("vilar", False),
    ("sir", False),
    ("michaelis_menten", False),
    ("birth_death", True),
    ("vilar", True),
]


# Models whose scans are measured, too: a parameter and its range, an end time, and what is kept.
SCANS = [
    ("michaelis_menten", "kf", (0.001, 0.003), 1.0, "statistics"),
    ("michaelis_menten", "kf", (0.001, 0.003), 50.0, "statistics"),
    ("michaelis_menten", "kf", (0.001, 0.003), 50.0, "paths"),
]


SPENT = [0.0]  # seconds of the processor, in what a store adds


def counted(function: Callable[..., object]) -> Callable[..., object]:
    """Return a function that adds what it costs to `SPENT`."""

    def call(*given: object) -> object:
        before = time.thread_time()
        try:
            return function(*given)
        finally:
            SPENT[0] += time.thread_time() - before

    return call


def count_costs() -> None:
    """Count what collecting and writing cost."""
    for kind in (portion_runs._RowCollector, portion_runs._StatisticsCollector):
        kind.collect, kind.collect_all = counted(kind.collect), counted(kind.collect_all)
    StoreWriter._write = counted(StoreWriter._write)


def timed(run: Callable[..., object], n: int, **how: object) -> tuple[float, float]:
    """Return the seconds of the wall clock and of the processor that a run takes."""
    wall, processor = time.perf_counter(), time.process_time()
    run(n, **how)
    return time.perf_counter() - wall, time.process_time() - processor


class Case(NamedTuple):
    """What is measured."""

    name: str
    kept: str
    run: Callable[..., object]  # of the number of trajectories or sets
    start: int  # of them, to begin with
    bytes_each: int  # in memory


def cases(threads: int | None) -> list[Case]:
    """Return all that is measured."""
    found = []
    for name, statistics in CASES:
        model = MODELS[name]
        network = model.build()
        run = partial(gl.ensemble, network, model.t_end)
        run = partial(run, rng=1, threads=threads, statistics=statistics)
        n_bytes = 0 if statistics else 8 * 101 * network.n_species
        found.append(Case(name, "statistics" if statistics else "paths", run, 256, n_bytes))
    for name, varied, (low, high), end, kept in SCANS:
        network = MODELS[name].build()
        n_bytes = 8 * 2 * (4 + 2 * network.n_species) * network.n_species
        if kept == "paths":
            n_bytes = 8 * 100 * 2 * network.n_species

        def scan(n: int, *, network=network, varied=varied, low=low, high=high, end=end, **how):
            gl.scan(network, {varied: np.linspace(low, high, n)}, [0, end], 100, rng=1, **how)

        run = partial(scan, keep=kept, threads=threads)
        found.append(Case(f"{name}, sets to {end:g}", kept, run, 64, n_bytes))
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", help="where the stores are made (default: a temporary folder)")
    parser.add_argument("--models", help="beginnings of names, with commas between")
    given = parser.parse_args()
    count_costs()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    print(
        f"{'model':<28}{'kept':<12}{'n':>9} {'without':>8} {'with':>8}  "
        f"{'throughput':>10} {'processor':>9} {'cost':>6}  {'MB/s':>6} {'MB':>7} {'files':>5}"
    )
    try:
        for name, kept, run, start, bytes_each in cases(given.threads):
            if given.models and not name.startswith(tuple(given.models.split(","))):
                continue
            n = start
            while (spent := min(timed(run, n)[0] for _ in range(2))) < 0.3:
                n *= 2
            n = int(n * given.seconds / spent)
            n_bytes = n * bytes_each
            plain, stored, costs = [], [], []
            for turn in range(given.rounds):
                # First one, then the other: what runs second finds other memory.
                for has_store in ((False, True), (True, False))[turn % 2]:
                    if not has_store:
                        plain.append(timed(run, n))
                        continue
                    SPENT[0] = 0.0
                    stored.append(timed(run, n, store=folder / "store"))
                    costs.append(SPENT[0])
                    store = gl.open_store(folder / "store")
                    size, n_files = store.size(), len(store.chunks)
                    shutil.rmtree(folder / "store")
            without, with_store = (min(wall for wall, _ in one) for one in (plain, stored))
            work, work_stored = (min(one for _, one in runs) for runs in (plain, stored))
            print(
                f"{name:<28}{kept:<12}{n:>9} {without:>8.2f} "
                f"{with_store:>8.2f}  {without / with_store:>10.3f} {work / work_stored:>9.3f} "
                f"{100 * min(costs) / work:>4.1f} %  "
                f"{n_bytes / without / 1e6:>6.1f} {size / 1e6:>7.1f} {n_files:>5}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
