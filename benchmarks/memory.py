"""Measure the memory of ensembles: constant with statistics=True, linear in n when stored.

    python benchmarks/memory.py [--out results.json]

    python benchmarks/memory.py --model vilar --times 101 --end 0.5 --stored --statistics 1000000

    python benchmarks/memory.py --times 2 --end 0.2 --stored --statistics 100000 10000000

Each row is a process of its own that runs birth-death on 1,000 times, or another model, and reports
its peak resident memory; with ``--executor processes``, that of the process that gathers. The first
row is a process that runs ten trajectories: the interpreter, the packages and the compiled kernels,
which all the others hold too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from networks import MODELS
from reporting import machine, machine_line, markdown_table, save

N_TIMES = 1000
STATISTICS = [1_000, 10_000, 100_000]
STORED = [1_000, 10_000]


def peak_mebibytes() -> float:
    """Return the most resident memory that this process has had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def work(
    n: int,
    *,
    statistics: bool,
    threads: int,
    model: str,
    n_times: int,
    end: float | None,
    executor: str,
) -> dict[str, float]:
    """Run an ensemble in this process and return its peak memory and duration."""
    import numpy as np

    import gillespy_lite as gl

    chosen = MODELS[model]
    before = time.perf_counter()
    result = gl.ensemble(
        chosen.network,
        np.linspace(0.0, chosen.end if end is None else end, n_times),
        n,
        method="direct",
        threads=threads,
        executor=executor,
        rng=1,
        statistics=statistics,
    )
    seconds = time.perf_counter() - before
    stored = 0 if statistics else result.counts.nbytes / 2**20
    return {"peak": peak_mebibytes(), "array": stored, "seconds": seconds}


def measure(n: int, **options: Any) -> dict[str, float]:
    """Return what `work` returns in a fresh process."""
    request = json.dumps({"n": n, **options})
    done = subprocess.run(
        [sys.executable, __file__, "--work", request], check=True, capture_output=True, text=True
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--statistics", nargs="*", type=int, default=STATISTICS, metavar="N")
    parser.add_argument("--stored", nargs="*", type=int, default=STORED, metavar="N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--executor", choices=["threads", "processes"], default="threads")
    parser.add_argument("--model", choices=list(MODELS), default="birth-death")
    parser.add_argument("--times", type=int, default=N_TIMES)
    parser.add_argument("--end", type=float, help="of the model's ensembles, if not given")
    parser.add_argument("--out", type=Path, help="file for all numbers, JSON")
    parser.add_argument("--table", type=Path, help="file for the table, Markdown")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        print(json.dumps(work(**json.loads(options.work))))
        return
    facts = machine()
    wanted = [("statistics", 10)]
    wanted += [("statistics", n) for n in options.statistics]
    wanted += [("stored", n) for n in options.stored]
    results, rows = [], []
    # The compiler takes memory too: let one process fill the kernel cache first.
    same = {
        "threads": options.threads,
        "executor": options.executor,
        "model": options.model,
        "n_times": options.times,
        "end": options.end,
    }
    measure(10, statistics=True, **same)
    for kind, n in wanted:
        print(f"{kind} {n} ...", file=sys.stderr, flush=True)
        answer = measure(n, statistics=kind == "statistics", **same)
        results.append({"kind": kind, "n": n, **answer})
        rows.append(
            [
                "statistics=True" if kind == "statistics" else "stored",
                f"{n:,}",
                f"{answer['peak']:,.0f}",
                f"{answer['peak'] - results[0]['peak']:,.0f}",
                f"{answer['array']:,.0f}" if kind == "stored" else "-",
            ]
        )
    header = ["ensemble", "trajectories", "peak, MiB", "above the first row", "its counts array"]
    text = markdown_table(header, rows) + (
        f"\n\nThe network {options.model}, {options.times:,} times, {options.threads} thread(s)"
        f"{' each of processes' * (options.executor == 'processes')}:\n"
        "the peak resident memory of a process of its own.\n"
    )
    numbers: dict[str, Any] = {"results": results}
    if options.out is not None:
        # For docs/benchmarks.md, where `tables.py` finds it.
        numbers["tables"] = {"memory": f"{text.strip()}\n\n{machine_line(facts)}"}
    save(text, numbers, facts, options.out, options.table)


if __name__ == "__main__":
    main()
