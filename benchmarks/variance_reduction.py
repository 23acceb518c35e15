"""Time multilevel Monte Carlo against plain ensembles at equal error.

    python benchmarks/variance_reduction.py [--rounds 3] [--seconds 2] [--cases NAME ...] [--work]

For each case `multilevel` runs to a tolerance, and `ensemble(..., statistics=True)` runs about as
many seconds of paths: by method "direct" with the engine that it chooses itself, and by
"exact_leaping". All are whole calls on one thread, in turns, another one first each time. The error
of a plain ensemble falls with the root of its paths, so the time for the error that `multilevel`
reached is its time per path, times the variance of the output over the square of that error.
Compilation is not counted for either: each runs once before. Times are processor times, the least
of all rounds. `z` is how far the two estimates are apart, in standard errors, over all rounds.

`--work` compares the counted work of levels (`multilevel_estimation/work.py`) with processor time.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import machine, machine_line, markdown_table, pin_to_one_core, save

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.compilation import compile_network
from gillespy_lite.multilevel_estimation.levels import (
    EXACT,
    EXACT_PAIR,
    LEAP,
    LEAP_PAIR,
    Ladder,
    Rung,
)
from gillespy_lite.multilevel_estimation.outputs import check_outputs
from gillespy_lite.multilevel_estimation.sampling import Sampler


class Case(NamedTuple):
    """What is estimated, and how precisely."""

    title: str
    network: Callable[[], gl.Network]
    end: float
    output: str
    relative_tolerance: float


def _lotka_volterra(volume: float) -> gl.Network:
    return models.lotka_volterra(Prey=1000 * volume, Predator=1000 * volume, c2=0.01 / volume)


def _dimerisation(volume: float) -> gl.Network:
    return models.dimerisation(P=100 * volume, k_bind=0.001 / volume)


CASES = {
    "sir 1e4": Case("sir(N=1e4, I0=100)", lambda: models.sir(N=1e4, I0=100), 60.0, "I", 1e-3),
    "sir": Case("sir(N=1e5, I0=1e3)", lambda: models.sir(N=1e5, I0=1e3), 60.0, "I", 2e-4),
    "sir 1e6": Case("sir(N=1e6, I0=1e4)", lambda: models.sir(N=1e6, I0=1e4), 60.0, "I", 1e-4),
    "dimerisation": Case(
        "dimerisation(P=1e5, k_bind=1e-6)", lambda: _dimerisation(1000), 50.0, "P", 1.5e-5
    ),
    "lotka_volterra": Case(
        "lotka_volterra(Prey=1e4, Predator=1e4, c2=1e-3)",
        lambda: _lotka_volterra(10),
        1.0,
        "Prey",
        4e-4,
    ),
    "michaelis_menten": Case(
        "michaelis_menten(S=30100, E=12000, kf=1.66e-5)",
        lambda: models.michaelis_menten(S=30_100, E=12_000, kf=1.66e-5),
        50.0,
        "P",
        3e-5,
    ),
    "sir, probability": Case(
        "sir(N=1e5, I0=1e3)", lambda: models.sir(N=1e5, I0=1e3), 60.0, "I > 4051", 2e-2
    ),
    "dimerisation, probability": Case(
        "dimerisation(P=1e5, k_bind=1e-6)", lambda: _dimerisation(1000), 50.0, "P > 28500", 2e-2
    ),
    "few molecules": Case("dimerisation()", models.dimerisation, 50.0, "P", 3e-4),
}


# ---- Equal error ---------------------------------------------------------------------------------


def plain(case: Case, network: gl.Network, n: int, method: str, seed: int) -> dict[str, float]:
    """Run a plain ensemble; return time, estimate and variance of the output."""
    recorded, times = network, [0.0, case.end]
    if case.output not in network.species_names:
        # A condition is an observable: its mean is a probability.
        recorded = gl.Network.parse(f"{network.text}\nobserve wanted = if({case.output}, 1, 0)")
    name = case.output if recorded is network else "wanted"
    start = time.process_time()
    runs = gl.ensemble(
        recorded, times, n, method=method, statistics=True, outputs=[name], rng=seed, threads=1
    )
    seconds = time.process_time() - start
    return {
        "seconds": seconds,
        "n": n,
        "estimate": float(runs.mean(name)[-1]),
        "variance": float(runs.var(name)[-1]),
    }


def levels(case: Case, network: gl.Network, seed: int) -> dict[str, Any]:
    """Run multilevel Monte Carlo; return time, estimate and error."""
    start = time.process_time()
    result = gl.multilevel(
        network,
        case.end,
        case.output,
        relative_tolerance=case.relative_tolerance,
        rng=seed,
        threads=1,
    )
    seconds = time.process_time() - start
    return {
        "seconds": seconds,
        "estimate": result.estimate(),
        "error": result.standard_error(),
        "gain": result.gain,
        "levels": [[one.name, one.n] for one in result.levels],
    }


def compare(case: Case, rounds: int, seconds: float) -> tuple[list[str], dict[str, Any]]:
    """Time a case in turns; return a row of the table and every number."""
    network = case.network()
    methods = ["direct", "exact_leaping"]
    n_paths: dict[str, int] = {}
    for method in methods:
        plain(case, network, 32, method, 0)
        n_paths[method] = max(
            64, int(64 * seconds / plain(case, network, 64, method, 0)["seconds"])
        )
        plain(case, network, n_paths[method], method, 0)  # what is compiled for so many paths
    levels(case, network, 10_000)
    found: dict[str, list[dict[str, Any]]] = {"multilevel": [], **{one: [] for one in methods}}
    for k in range(rounds):
        for tool in list(found) if k % 2 == 0 else list(found)[::-1]:
            if tool == "multilevel":
                found[tool].append(levels(case, network, k + 1))
            else:
                found[tool].append(plain(case, network, n_paths[tool], tool, k + 1))
    # The time of a run to the error that was reached goes with the square of that error.
    ours = min(one["seconds"] * one["error"] ** 2 for one in found["multilevel"])
    theirs = {
        method: min(one["seconds"] / one["n"] for one in found[method])
        * float(np.mean([one["variance"] for one in found[method]]))
        for method in methods
    }
    best = min(theirs, key=theirs.__getitem__)
    error = float(np.mean([one["error"] for one in found["multilevel"]]))
    estimate = float(np.mean([one["estimate"] for one in found["multilevel"]]))
    runs = [one for method in methods for one in found[method]]
    weights = np.array([one["n"] / one["variance"] for one in runs])
    truth = float((weights * [one["estimate"] for one in runs]).sum() / weights.sum())
    z = (estimate - truth) / math.hypot(error / math.sqrt(rounds), 1.0 / math.sqrt(weights.sum()))
    row = [
        f"`{case.title}`, {case.output}",
        f"{len(found['multilevel'][0]['levels'])}",
        f"{ours / error**2:.2f}",
        f"{theirs[best] / error**2:.2f} ({best})",
        f"{theirs[best] / ours:.2g}",
        f"{np.mean([one['gain'] for one in found['multilevel']]):.2g}",
        f"{z:+.1f}",
    ]
    return row, {"case": case._replace(network=network.text)._asdict(), **found, "z": z}


# ---- Counted work --------------------------------------------------------------------------------

WORK = {
    "dimerisation(P=1e5)": (lambda: _dimerisation(1000), 50.0, 64),
    "lotka_volterra, 1e4": (lambda: _lotka_volterra(10), 1.0, 256),
    "vilar": (models.vilar, 5.0, 256),
    "repressilator": (models.repressilator, 5.0, 256),
    "toggle_switch": (models.toggle_switch, 5.0, 256),
}


def counted_work(seconds: float) -> list[list[str]]:
    """Return what a path of each kind of level takes: counted, and measured, in microseconds."""
    rows = []
    for name, (make, end, n_steps) in WORK.items():
        network = make()
        outputs = check_outputs(network, network.species_names[:1])
        ladder = Ladder(compile_network(network), np.array([0.0, end]), outputs)
        row = [name]
        for rung in (
            Rung(LEAP, n_steps, 0),
            Rung(LEAP_PAIR, 4 * n_steps, n_steps),
            Rung(EXACT_PAIR, 0, n_steps),
            Rung(EXACT, 0, 0),
        ):
            sampler = Sampler(ladder, 1, 1, math.inf)
            sampler.run({rung: 64}, lambda done: None)
            spent = 0.0
            n = sampler.level(rung).n_rows
            while spent < seconds:
                n *= 2
                start = time.process_time()
                sampler.run({rung: n}, lambda done: None)
                spent = time.process_time() - start
            sums = sampler.level(rung).sums
            assert sums is not None
            row.append(f"{1e-3 * sums.work / sums.n:.1f}, {1e6 * spent / (n / 2):.1f}")
        rows.append(row)
    return rows


def main() -> int:
    """Run the benchmark; the exit code is 1 if estimates disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each plain ensemble")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--work", action="store_true", help="compare counted work with time")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    pin_to_one_core()
    facts = machine()
    if options.work:
        header = [
            "a path, counted and measured, us",
            "leaps",
            "two leaps",
            "exact and leaps",
            "exact",
        ]
        print(markdown_table(header, counted_work(0.2)))
        print(machine_line(facts))
        return 0
    rows, numbers = [], {}
    for name in options.cases:
        row, numbers[name] = compare(CASES[name], options.rounds, options.seconds)
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    header = [
        *("network, output", "levels", "multilevel, s", "plain ensemble, s"),
        *("times cheaper", "as counted", "z"),
    ]
    save(markdown_table(header, rows), {"cases": numbers}, facts, options.out, options.table)
    return int(any(abs(one["z"]) > 4.5 for one in numbers.values()))


if __name__ == "__main__":
    sys.exit(main())
