"""How often the intervals of `ensemble(..., until=...)` hold the true values, and at what cost.

    python benchmarks/coverage.py [--repetitions 1000] [--cases mean rare joint] [--out x.json]

Each repetition is a run of its own that goes on until its targets are reached; it counts as held if
all its intervals hold the exact values of the model's law. "near" is the share of repetitions in
which all estimates are as near to the truth as was asked for. "over fixed" is the mean number of
trajectories, pilot included, over the number that a run of fixed size would need for the same
widths if the law were known beforehand: no such run exists, so it bounds what can be had. (Of a
quantile of counts, whose interval moves in steps, it is not given.)
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from reporting import machine, markdown_table, save

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.precision import parse_targets
from gillespy_lite.precision.targets import EVERYWHERE, Target


class Case(NamedTuple):
    """Targets on one species of a stock model."""

    model: str
    species: str
    times: tuple[float, ...]
    until: str


GRID = tuple(np.linspace(0.0, 10.0, 11).tolist())
CASES = {
    "mean": Case("birth_death", "X", (0.0, 10.0), "mean(X) +/- 1%"),
    "coarse mean": Case("birth_death", "X", (0.0, 10.0), "mean(X) +/- 0.5"),
    "skewed mean": Case("telegraph", "M", (0.0, 2.0), "mean(M) +/- 3%"),
    "probability": Case("birth_death", "X", (0.0, 10.0), "prob(X > 20) +/- 0.02"),
    "small": Case("birth_death", "X", (0.0, 10.0), "prob(X > 30) +/- 10%"),
    "rare": Case("birth_death", "X", (0.0, 10.0), "prob(X > 35) +/- 30%"),
    "spread": Case("telegraph", "M", (0.0, 2.0), "std(M) +/- 2%"),
    "quantile": Case("birth_death", "X", (0.0, 10.0), "quantile(X, 0.99) +/- 1"),
    "joint": Case(
        "birth_death",
        "X",
        (0.0, 5.0, 10.0),
        "mean(X) +/- 1% and mean(X at 5) +/- 1% and prob(X > 25) +/- 5% and std(X) +/- 3%",
    ),
    "everywhere": Case("birth_death", "X", GRID, "mean(X everywhere) +/- 2%"),
}


def exact(case: Case, target: Target, at: float) -> tuple[float, float]:
    """Return the true value, and the variance of an estimate of it times the trajectories."""
    table = models.exact_law(case.model, case.species, at).probabilities
    counts = np.arange(table.size)
    mean = float(counts @ table)
    variance = float((counts - mean) ** 2 @ table)
    if target.kind == "mean":
        return mean, variance
    if target.kind == "prob":
        p = float(np.asarray(target.expression.evaluate({case.species: counts})) @ table)
        return p, p * (1.0 - p)
    if target.kind == "std":
        kurtosis = float((counts - mean) ** 4 @ table) / variance**2
        return math.sqrt(variance), variance * (kurtosis - 1.0) / 4.0
    assert target.kind == "quantile"
    assert target.level is not None
    return float(np.searchsorted(np.cumsum(table), target.level)), math.nan


def measure(case: Case, repetitions: int, threads: int) -> dict[str, object]:
    """Return how often everything held, and the mean number of trajectories."""
    network = models.MODELS[case.model].build()
    targets = parse_targets(case.until, network)
    truths: dict[str, float] = {}
    fixed = 0.0
    n_cells = sum(len(case.times) - 1 if one.when == EVERYWHERE else 1 for one in targets)
    z = NormalDist().inv_cdf(1.0 - 0.025 / n_cells)
    for target in targets:
        ends = case.times[1:] if target.when == EVERYWHERE else case.times[-1:]
        for at in ends if isinstance(target.when, str) else (target.when,):
            quantity = target.quantity.replace(" everywhere)", f" at {at:g})")
            truth, variance = exact(case, target, at)
            truths[quantity] = truth
            width = target.tolerance * (truth if target.is_relative else 1.0)
            fixed = max(fixed, z**2 * variance / width**2)
    held = near = 0
    sizes = []
    started = time.perf_counter()
    for seed in range(repetitions):
        runs = gl.ensemble(
            network,
            list(case.times),
            until=case.until,
            rng=seed,
            statistics=True,
            outputs=[case.species],
            threads=threads,
        )
        report = runs.precision
        assert report is not None
        assert report.reached
        pairs = [(one, truths[one.quantity]) for one in report.targets]
        held += all(one.lower <= truth <= one.upper for one, truth in pairs)
        near += all(abs(one.estimate - truth) <= one.tolerance for one, truth in pairs)
        sizes.append(report.n + report.n_pilot)
    return {
        "until": case.until,
        "model": case.model,
        "repetitions": repetitions,
        "held": held,
        "near": near,
        "mean_trajectories": float(np.mean(sizes)),
        "over_fixed": float(np.mean(sizes)) / fixed if fixed else None,
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    found = {
        name: measure(CASES[name], arguments.repetitions, arguments.threads)
        for name in arguments.cases
    }
    rows = []
    for name, one in found.items():
        n = int(str(one["repetitions"]))
        error = 100.0 * math.sqrt(0.05 * 0.95 / n)
        rows.append(
            [
                name,
                f"`{one['until']}`",
                f"{100.0 * int(str(one['held'])) / n:.1f} ± {error:.1f}",
                f"{100.0 * int(str(one['near'])) / n:.1f}",
                f"{one['mean_trajectories']:,.0f}",
                f"{one['over_fixed']:.2f}" if one["over_fixed"] else "-",
            ]
        )
    header = ["case", "until", "% held", "% near", "trajectories", "over fixed"]
    text = markdown_table(header, rows)
    save(text, {"cases": found}, machine(["scipy"]), arguments.out, arguments.table)


if __name__ == "__main__":
    main()
