"""How often intervals hold the true value when the data are stochastic trajectories.

    python benchmarks/coverage_stochastic.py [--data-sets 100] [--replicates 1 10] [--out x.json]

Two competing populations, x1' = r1 x1 (1 - n1 x1) - a1 x1 x2 and the same for x2, as birth, death
by crowding and competition. Each data set holds some exact trajectories, both counts at ten times,
and no errors of measurement. The naive fit is that of the rate equations, which takes the
fluctuations for independent errors; the corrected one is by indirect inference. Listed are the
shares of 95 % intervals that hold the true value, with their standard errors, and mean and spread
of estimates over true values. The data hardly tell whether x1 is held back by x2 or by itself, so a
and n are fitted on a linear scale, from 0 on; an estimate at that bound has no interval, which
counts as not holding.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from reporting import machine, markdown_table, save

import gillespy_lite as gl
from gillespy_lite.ode_rnn.correction import correct
from gillespy_lite.ode_rnn.estimates import Estimate
from gillespy_lite.ode_rnn.experiments import Experiment
from gillespy_lite.ode_rnn.fitting import fit

NETWORK = gl.Network.parse("""
    param r1 = 0.1, r2 = 0.3, a1 = 1e-4, a2 = 2e-4, n1 = 2e-3, n2 = 3e-3
    species X1 = 100, X2 = 150
    birth_1:   X1 -> 2 X1 @ r1
    crowded_1: 2 X1 -> X1 @ 2*r1*n1
    compete_1: X1 + X2 -> X2 @ a1
    birth_2:   X2 -> 2 X2 @ r2
    crowded_2: 2 X2 -> X2 @ 2*r2*n2
    compete_2: X1 + X2 -> X1 @ a2
""")
NAMES = NETWORK.parameter_names
LINEAR = ("a1", "a2", "n1", "n2")
TRUE = dict(zip(NAMES, NETWORK.parameter_values.tolist(), strict=True))
TIMES = np.linspace(0.0, 50.0, 11)


def data_set(n_replicates: int, seed: int) -> Experiment:
    """Return `n_replicates` trajectories, sampled at ten times."""
    runs = gl.ensemble(NETWORK, TIMES, n_replicates, rng=seed)
    return Experiment(
        [
            {"time": TIMES[1:], **{name: runs[name][i, 1:] for name in ("X1", "X2")}}
            for i in range(n_replicates)
        ]
    )


def coverage(
    n_sets: int, n_replicates: int, n_simulations: int, estimate: list[str]
) -> list[dict[str, object]]:
    """Return one row per parameter and kind of fit."""
    held: dict[str, list[list[bool]]] = {"naive": [], "corrected": []}
    ratios: dict[str, list[list[float]]] = {"naive": [], "corrected": []}
    n_converged = n_refused = 0
    chosen = [
        Estimate(name, scale="linear", lower=0.0) if name in LINEAR else Estimate(name)
        for name in estimate
    ]
    started = time.perf_counter()
    for seed in range(n_sets):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            naive = fit(NETWORK, data_set(n_replicates, seed), chosen)
            corrected = None
            try:
                if n_simulations > 0:
                    corrected = correct(naive, n_simulations=n_simulations, rng=seed)
            except gl.SimulationError as error:
                # Counted, not hidden: the naive fit of too few data has no mean to correct.
                n_refused += 1
                print(f"  data set {seed}: {error}", file=sys.stderr)
        for kind, result in (("naive", naive), ("corrected", corrected)):
            if result is None:
                continue
            intervals = result.confidence_intervals(0.95)
            # An interval that could not be worked out holds nothing.
            held[kind].append([a <= TRUE[k] <= b for k, (a, b) in intervals.items()])
            ratios[kind].append([result[k] / TRUE[k] for k in estimate])
        n_converged += corrected is not None and corrected.converged
        print(f"  {seed + 1} of {n_sets}", end="\r", file=sys.stderr)
    print(
        f"{n_replicates} trajectories each, estimated {', '.join(estimate)}: {n_sets} data sets, "
        f"{n_converged} corrections converged, {n_refused} impossible, "
        f"{time.perf_counter() - started:.0f} s"
    )
    rows: list[dict[str, object]] = []
    for k, name in enumerate(estimate):
        row: dict[str, object] = {"replicates": n_replicates, "name": name}
        for kind, found in held.items():
            if not found:
                continue
            share = float(np.mean([one[k] for one in found]))
            error = math.sqrt(share * (1.0 - share) / len(found))
            values = np.array(ratios[kind])[:, k]
            row[f"{kind}, % held"] = f"{100 * share:.0f} ± {100 * error:.0f}"
            row[f"{kind}, estimate/true"] = f"{values.mean():.3f} ± {values.std():.3f}"
        rows.append(row)
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=100)
    parser.add_argument("--replicates", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--simulations", type=int, default=50, help="0: the naive fit only")
    parser.add_argument("--estimate", nargs="+", default=list(NAMES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    rows = []
    for n_replicates in arguments.replicates:
        rows += coverage(
            arguments.data_sets, n_replicates, arguments.simulations, arguments.estimate
        )
    header = list(rows[0])
    print()
    text = markdown_table(header, [[str(row.get(key, "-")) for key in header] for row in rows])
    save(text, {"rows": rows}, machine(["scipy"]), arguments.out, arguments.table)


if __name__ == "__main__":
    main()
