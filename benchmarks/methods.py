"""Time the methods against each other, from small networks to thousands of reactions.

    python benchmarks/methods.py [--rounds 5] [--out results.json]

This is what the rule of method="auto" rests on. Rings of first-order reactions, all equally active,
show how the cost of an event grows with the number of reactions; the stock models show networks of
other shapes. The methods take turns within each round, on one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from networks import chain
from reporting import machine, markdown_table, middle, pin_to_one_core, save

import gillespy_lite as gl
from gillespy_lite.models import MODELS

CHAINS = [10, 30, 100, 300, 1000, 3000]


class Case(NamedTuple):
    """A network, its sampling times and how many trajectories are run."""

    network: gl.Network
    times: np.ndarray
    n: int


def cases(chains: list[int], models: list[str]) -> dict[str, Case]:
    """Return the networks by name, each with work for about 200,000 events."""
    chosen = {}
    for n_reactions in chains:
        # 10 molecules a species at rate 1: 10 events per reaction and unit of time.
        times = np.linspace(0.0, 20_000 / (10 * n_reactions), 3)
        chosen[f"ring of {n_reactions:,} reactions"] = Case(chain(n_reactions), times, 10)
    for name in models:
        model = MODELS[name]
        network, times = model.build(), np.linspace(0.0, model.t_end, 101)
        few = gl.ensemble(network, times, 5, method="direct", threads=1, rng=1)
        n = min(2000, max(1, round(200_000 / few.n_events.mean())))
        chosen[name] = Case(network, times, n)
    return chosen


def measure(case: Case, methods: list[str], rounds: int, clock: str) -> dict[str, list[float]]:
    """Return the seconds of each method in each round."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {method: [] for method in methods}
    for method in methods:
        gl.ensemble(case.network, case.times[:2], 1, method=method, threads=1, rng=1)
    order = methods
    for round_number in range(rounds):
        for method in order:
            before = now()
            gl.ensemble(
                case.network, case.times, case.n, method=method, threads=1, rng=round_number
            )
            seconds[method].append(now() - before)
        order = [*order[1:], order[0]]
    return seconds


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    available = [
        name for name, method in gl.METHODS.items() if getattr(method, "is_stochastic", False)
    ]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=available, default=available)
    parser.add_argument("--chains", nargs="*", type=int, default=CHAINS, help="sizes of the rings")
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: processor time, for a machine that others use too",
    )
    parser.add_argument("--out", type=Path, help="file for all numbers, JSON")
    parser.add_argument("--table", type=Path, help="file for the table, Markdown")
    options = parser.parse_args(arguments)
    facts = machine()
    pin_to_one_core()

    rows, results = [], {}
    for name, case in cases(options.chains, options.models).items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        counted = gl.ensemble(case.network, case.times, case.n, method="direct", threads=1, rng=0)
        events = int(counted.n_events.sum())
        seconds = measure(case, options.methods, options.rounds, options.clock)
        results[name] = {"events": events, "seconds": seconds}
        nanoseconds = {method: 1e9 * middle(seconds[method]) / events for method in seconds}
        exact = [method for method in nanoseconds if gl.METHODS[method].is_exact]
        best = min(exact, key=nanoseconds.__getitem__) if exact else "-"
        rows.append([name, *[f"{value:,.1f}" for value in nanoseconds.values()], best])
    clock = " of processor time" if options.clock == "cpu" else ""
    text = markdown_table(["network", *options.methods, "fastest exact"], rows) + (
        f"\n\nNanoseconds{clock} per event of an exact path, whole calls, the median of\n"
        f"{options.rounds} interleaved rounds. An approximate method is charged by the same\n"
        "number of events, though it takes fewer steps.\n"
    )
    save(text, {"clock": options.clock, "results": results}, facts, options.out, options.table)


if __name__ == "__main__":
    main()
