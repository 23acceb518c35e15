"""What a store costs: the same ensemble with and without one, in turns, in one process.

::

    python benchmarks/stores.py [--seconds 6] [--rounds 5] [--threads K] [--folder DIR]

For each model the number of trajectories is chosen so that a run takes about so many seconds. The
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
from pathlib import Path

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


def timed(network: gl.Network, t: float, n: int, **how: object) -> tuple[float, float]:
    """Return the seconds of the wall clock and of the processor that a run takes."""
    wall, processor = time.perf_counter(), time.process_time()
    gl.ensemble(network, t, n, rng=1, **how)
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", help="where the stores are made (default: a temporary folder)")
    parser.add_argument("--models", help="some of the models, with commas between")
    given = parser.parse_args()
    count_costs()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    print(
        f"{'model':<18}{'kept':<12}{'n':>9} {'without':>8} {'with':>8}  "
        f"{'throughput':>10} {'processor':>9} {'cost':>6}  {'MB/s':>6} {'MB':>7} {'files':>5}"
    )
    try:
        for name, statistics in CASES:
            if given.models and name not in given.models.split(","):
                continue
            model = MODELS[name]
            network, t = model.build(), model.t_end
            how = {"threads": given.threads, "statistics": statistics}
            n = 256
            while (spent := min(timed(network, t, n, **how)[0] for _ in range(2))) < 0.3:
                n *= 2
            n = int(n * given.seconds / spent)
            n_bytes = 0 if statistics else 8 * n * 101 * network.n_species
            plain, stored, costs = [], [], []
            for turn in range(given.rounds):
                # First one, then the other: what runs second finds other memory.
                for has_store in ((False, True), (True, False))[turn % 2]:
                    if not has_store:
                        plain.append(timed(network, t, n, **how))
                        continue
                    SPENT[0] = 0.0
                    stored.append(timed(network, t, n, store=folder / "store", **how))
                    costs.append(SPENT[0])
                    store = gl.open_store(folder / "store")
                    size, n_files = store.size(), len(store.chunks)
                    shutil.rmtree(folder / "store")
            without, with_store = (min(wall for wall, _ in one) for one in (plain, stored))
            work, work_stored = (min(one for _, one in runs) for runs in (plain, stored))
            print(
                f"{name:<18}{'statistics' if statistics else 'paths':<12}{n:>9} {without:>8.2f} "
                f"{with_store:>8.2f}  {without / with_store:>10.3f} {work / work_stored:>9.3f} "
                f"{100 * min(costs) / work:>4.1f} %  "
                f"{n_bytes / without / 1e6:>6.1f} {size / 1e6:>7.1f} {n_files:>5}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
