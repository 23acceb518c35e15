"""Measure how cost grows: with the network, the counts, the number of trajectories, the threads.

    python benchmarks/scaling.py [size counts trajectories threads] [--page]

Each part draws one picture into docs/_static/ and keeps its numbers in results/scaling.json; parts
that are not run keep what is there.

size          rings of 10 to 100,000 equally active first-order reactions: nanoseconds per event of
              every exact method, building the arrays apart
counts        Lotka and Volterra's predators and prey, and an epidemic, to time 1, at 100 to 1e12
              molecules in all: seconds of a run by the direct method and by batching
trajectories  ensembles of 1 to 100,000: nanoseconds per event, whole calls
threads       ensembles of 1,000 with one thread, two, and all of the cores
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import MODELS, chain
from reporting import machine, machine_line, markdown_table, middle, pin_to_one_core, unpin
from tables import RESULTS, write_page

import gillespy_lite as gl
from gillespy_lite.compilation import compile_network

STATIC = Path(__file__).resolve().parent.parent / "docs" / "_static"

SIZES = [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
COUNTS = [10**k for k in range(2, 13)]
TRAJECTORIES = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
# Methods that sample by batches or leaps that stay exact: their cost per event falls with counts.
BATCHING = ("exact_leaping",)

COUNT_MODELS = {
    "Lotka-Volterra": "species R = {half}, F = {half}\n"
    "R -> 2 R @ 1\nR + F -> 2 F @ 1/{n}\nF -> 0 @ 1",
    "epidemic": "species S = {most}, I = {few}, Z\nS + I -> 2 I @ 3/{n}\nI -> Z @ 1",
}

Part = dict[str, Any]


def exact_methods() -> list[str]:
    """Return the stochastic exact methods."""
    return [
        name
        for name, method in gl.METHODS.items()
        if method.is_exact and getattr(method, "is_stochastic", True)
    ]


def in_turns(calls: dict[str, Callable[[int], None]], rounds: int) -> dict[str, list[float]]:
    """Return the processor seconds of each call in each round; another one begins each round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for round_number in range(rounds):
        for name in order:
            before = time.process_time()
            calls[name](round_number)
            seconds[name].append(time.process_time() - before)
        order = [*order[1:], order[0]]
    return seconds


# The parts ---------------------------------------------------------------------------------------


def of_size(rounds: int, sizes: list[int]) -> Part:
    """Time one trajectory of each method in rings of growing size, without what precedes it."""
    rows, numbers = [], {}
    methods = exact_methods()
    for n_reactions in sizes:
        print(f"  {n_reactions} reactions", file=sys.stderr, flush=True)
        network = chain(n_reactions)
        before = time.process_time()
        compile_network(network)
        building = time.process_time() - before
        runs = {method: _Ring(network, method) for method in methods}
        found = in_turns({method: run.once for method, run in runs.items()}, rounds)
        each = {
            method: middle(
                [
                    1e9 * (seconds - run.before_events) / events
                    for seconds, events in zip(found[method], run.events, strict=True)
                ]
            )
            for method, run in runs.items()
        }
        numbers[str(n_reactions)] = {"nanoseconds": each, "building": building}
        chosen = gl.simulate(network, [0.0, 1e-9], rng=1).provenance.method
        rows.append(
            [
                f"{n_reactions:,}",
                *(f"{value:,.0f}" for value in each.values()),
                min(each, key=each.__getitem__),
                str(chosen),
                f"{1e3 * building:,.1f}",
            ]
        )
    header = ["reactions", *methods, "fastest", "auto takes", "arrays, ms"]
    return {"numbers": numbers, "table": markdown_table(header, rows)}


class _Ring:
    """Runs of one method in one network, long enough for the clock."""

    def __init__(self, network: gl.Network, method: str) -> None:
        self._network, self._method, self._end = network, method, 1e-9
        self.events: list[int] = []
        per_time = 10.0 * network.n_reactions
        self.once(0)  # compiles
        # A call with next to no events, which is taken off.
        self.before_events = min(in_turns({method: self.once}, 3)[method])
        # So long that the noise of what is taken off does not matter.
        wanted = max(0.2, 3.0 * self.before_events)
        self._end, seconds = 300 / per_time, 0.0
        while seconds < 0.4 * wanted and self._end * per_time < 1e8:
            self._end *= 4.0
            before = time.process_time()
            self.once(0)
            seconds = time.process_time() - before - self.before_events
        self._end *= min(3.0, max(1.0, wanted / max(seconds, 1e-9)))
        self.events.clear()

    def once(self, seed: int) -> None:
        """Run once, with two sampling times: more would be what is timed in a large network."""
        result = gl.simulate(self._network, [0.0, self._end], method=self._method, rng=seed)
        self.events.append(int(result.n_events))


def of_counts(rounds: int, counts: list[int]) -> Part:
    """Time runs to time 1 at growing counts; slopes of cost against counts."""
    methods = ["direct", *(name for name in BATCHING if name in gl.METHODS)]
    rows, numbers = [], {}
    for name, text in COUNT_MODELS.items():
        found: dict[str, dict[str, float]] = {method: {} for method in methods}
        for n in counts:
            print(f"  {name}, {n:.0e}", file=sys.stderr, flush=True)
            few = max(1, n // 100)
            network = gl.Network.parse(text.format(n=n, half=n // 2, most=n - few, few=few))
            for method in methods:
                if found[method]:
                    largest, seconds_there = list(found[method].items())[-1]
                    growth = n / int(largest) if method == "direct" else 1.0
                    if seconds_there * growth > 5.0:
                        continue
                gl.simulate(network, 1e-12, method=method, rng=1)
                seconds = []
                for seed in range(rounds):
                    before = time.process_time()
                    gl.simulate(network, 1.0, method=method, rng=seed)
                    seconds.append(time.process_time() - before)
                found[method][str(n)] = middle(seconds)
        numbers[name] = found
        for method in methods:
            measured = found[method]
            high = [(int(n), s) for n, s in measured.items() if int(n) >= 10**5]
            slope = "-"
            if len(high) > 1:
                logs = np.log10(np.array(high, dtype=float))
                slope = f"{np.polyfit(logs[:, 0], logs[:, 1], 1)[0]:.2f}"
            rows.append(
                [
                    f"{name}, {method}",
                    *(_seconds(measured[str(n)]) if str(n) in measured else "-" for n in counts),
                    slope,
                ]
            )
    header = ["", *(f"1e{round(math.log10(n))}" for n in counts), "slope from 1e5"]
    return {"numbers": numbers, "table": markdown_table(header, rows)}


def _seconds(value: float) -> str:
    if value < 1e-3:
        return f"{1e6 * value:.0f} µs"
    return f"{1e3 * value:.3g} ms" if value < 1.0 else f"{value:.3g} s"


def of_trajectories(rounds: int, sizes: list[int]) -> Part:
    """Time ensembles of growing size."""
    models = {"birth-death": 1.0, "vilar": 0.05, "per-tim clock": 0.05}
    rows, numbers = [], {}
    for name, share in models.items():
        model = MODELS[name]
        found: dict[str, float] = {}
        engines: dict[str, str] = {}
        network, times = model.network, np.linspace(0.0, share * model.end, 101)
        for n in sizes:
            print(f"  {name}, {n}", file=sys.stderr, flush=True)
            run = functools.partial(
                gl.ensemble,
                network,
                times,
                n,
                method="direct",
                threads=1,
                outputs=[network.species_names[-1]],
            )
            # Compiles.
            engines[str(n)] = getattr(run(rng=0).provenance, "engine", "table")
            # Short calls are repeated until the clock can tell.
            repeats = max(1, min(50, 2000 // n))
            each = []
            for round_number in range(rounds):
                events = 0
                before = time.process_time()
                for repeat in range(repeats):
                    events += int(np.sum(run(rng=1 + repeats * round_number + repeat).n_events))
                each.append(1e9 * (time.process_time() - before) / events)
            found[str(n)] = middle(each)
        numbers[name] = {"nanoseconds": found, "engine": engines}
        rows.append([name, *(f"{found[str(n)]:,.1f}" for n in sizes)])
        rows.append(["engine", *(str(engines[str(n)]) for n in sizes)])
    header = ["trajectories", *(f"{n:,}" for n in sizes)]
    return {"numbers": numbers, "table": markdown_table(header, rows)}


def of_threads(rounds: int) -> Part:
    """Time ensembles of 1,000 with more and more threads, in turns, by the wall clock."""
    unpin()
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = sorted({1, 2, *(2**k for k in range(2, 6) if 2**k <= (n_cores or 1)), n_cores or 1})
    counts = [n for n in counts if n <= (n_cores or 1)]
    rows, numbers = [], {}
    for name, model in MODELS.items():
        print(f"  {name}", file=sys.stderr, flush=True)
        network, times = model.network, np.linspace(0.0, model.end, 101)
        seconds: dict[str, list[float]] = {str(n): [] for n in counts}
        for round_number in range(rounds + 1):
            for n in counts:
                before = time.perf_counter()
                gl.ensemble(network, times, 1000, method="direct", threads=n, rng=round_number)
                # The first round compiles and is not counted.
                if round_number:
                    seconds[str(n)].append(time.perf_counter() - before)
        gains = {
            n: [one / more for one, more in zip(seconds["1"], seconds[n], strict=True)]
            for n in seconds
        }
        numbers[name] = seconds
        rows.append([name, *(f"{middle(gains[str(n)]):.2f}" for n in counts)])
    pin_to_one_core()
    header = ["1,000 trajectories", *(f"{n} thread{'s' * (n > 1)}" for n in counts)]
    return {"numbers": numbers, "table": markdown_table(header, rows)}


# Pictures ----------------------------------------------------------------------------------------


def draw(name: str, part: Part, path: Path) -> None:
    """Draw one part."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    numbers = part["numbers"]
    if name == "size":
        sizes = sorted(map(int, numbers))
        for method in numbers[str(sizes[0])]["nanoseconds"]:
            values = [numbers[str(n)]["nanoseconds"].get(method, math.nan) for n in sizes]
            ax.plot(sizes, values, "o-", markersize=4, label=method)
        ax.set(xlabel="reactions in the ring", ylabel="time per event, ns", yscale="log")
    elif name == "counts":
        for k, (model, methods) in enumerate(numbers.items()):
            for method, seconds in methods.items():
                style = "o-" if method == "direct" else "s--"
                ax.plot(
                    [int(n) for n in seconds],
                    list(seconds.values()),
                    style,
                    color=f"C{k}",
                    markersize=4,
                    label=f"{model}, {method}",
                )
        ax.set(xlabel="molecules in all", ylabel="a run to time 1, s", yscale="log")
    elif name == "trajectories":
        for model, found in numbers.items():
            values = found["nanoseconds"]
            ax.plot(
                [int(n) for n in values], list(values.values()), "o-", markersize=4, label=model
            )
        ax.set(xlabel="trajectories", ylabel="time per event, ns", yscale="log")
    else:
        counts = [int(n) for n in next(iter(numbers.values()))]
        for k, (model, seconds) in enumerate(numbers.items()):
            gains = [
                middle([a / b for a, b in zip(seconds["1"], seconds[str(n)], strict=True)])
                for n in counts
            ]
            marker = "osv^Dx+*P<"[k % 10]
            ax.plot(counts, gains, f"{marker}-", markersize=4, linewidth=1, label=model)
        ax.plot(counts, counts, "k:", linewidth=1, label="perfect")
        ax.set(xlabel="threads", ylabel="times as fast as one thread", xticks=counts)
    if name != "threads":
        ax.set_xscale("log")
    ax.grid(visible=True, alpha=0.3)
    ax.legend(fontsize=8)
    figure.savefig(path, dpi=144)
    plt.close(figure)


PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {
    "size": lambda options: of_size(options.rounds, options.sizes),
    "counts": lambda options: of_counts(options.rounds, options.counts),
    "trajectories": lambda options: of_trajectories(options.rounds, options.trajectories),
    "threads": lambda options: of_threads(options.rounds),
}


def main() -> None:
    """Measure the parts asked for, draw them, and merge them into the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--counts", type=lambda x: round(float(x)), nargs="+", default=COUNTS)
    parser.add_argument("--trajectories", type=int, nargs="+", default=TRAJECTORIES)
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling.json")
    parser.add_argument("--figures", type=Path, default=STATIC, help="folder of the pictures")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/")
    options = parser.parse_args()
    pin_to_one_core()
    results: dict[str, Any] = {"parts": {}, "tables": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text(encoding="utf-8"))
    for name in options.parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        part = PARTS[name](options)
        part["machine"] = machine()
        results["parts"][name] = part
        results["tables"][f"scaling-{name}"] = (
            f"{part['table']}\n\n{options.rounds} rounds. {machine_line(part['machine'])}"
        )
        print(results["tables"][f"scaling-{name}"] + "\n")
        draw(name, part, options.figures / f"scaling_{name}.png")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(results, indent=1, sort_keys=True)
        options.out.write_text(text + "\n", encoding="utf-8")
    if options.page:
        write_page(options.out.parent)


if __name__ == "__main__":
    main()
