"""Time ensembles by tau-leaping: single paths by tables against lanes.

    python benchmarks/leaping.py [--trajectories 400] [--rounds 5] [--out leaping.json]

Whole calls from Python on one core, 101 times of all species, processor time, in interleaved
rounds; of each round a ratio is formed, and the table gives the median. Both engines go the same
paths, bit for bit, which is checked. A leap stands here for whatever the method counts as an event:
a leap, or a single event where leaps do not pay. With ``--sizes`` also the smallest ensembles.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import machine, markdown_table, middle, pin_to_one_core, save

import gillespy_lite as gl


class Case(NamedTuple):
    """A network and the time to which it runs, or the times of its grid."""

    network: gl.Network
    end: float | np.ndarray


def _cascade() -> gl.Network:
    """Return a cascade of three kinases: 10 enzymes at work, 30 reactions."""
    lines = [
        "species E1 = 3000, E2 = 3000, K1 = 30000, K1p, P2 = 6000, P3 = 12000",
        "species K2 = 120000, K2p, K2pp, K3 = 120000, K3p, K3pp",
    ]
    steps = [
        ("E1", "K1", "K1p"), ("E2", "K1p", "K1"), ("K1p", "K2", "K2p"), ("K1p", "K2p", "K2pp"),
        ("P2", "K2pp", "K2p"), ("P2", "K2p", "K2"), ("K2pp", "K3", "K3p"), ("K2pp", "K3p", "K3pp"),
        ("P3", "K3pp", "K3p"), ("P3", "K3p", "K3"),
    ]  # fmt: skip
    for i, (enzyme, taken, made) in enumerate(steps):
        lines.append(f"species C{i}\n{enzyme} + {taken} <-> C{i} @ 1e-4, 1")
        lines.append(f"C{i} -> {enzyme} + {made} @ 1")
    return gl.Network.parse("\n".join(lines))


CASES = {
    "birth-death, mean 1e5": Case(gl.Network.parse("species X\n0 -> X @ 1e5\nX -> 0 @ 1"), 10.0),
    "SIR, 1e6 people": Case(
        gl.Network.parse("species S = 999000, I = 1000, R\nS + I -> 2 I @ 2e-6\nI -> R @ 1"), 20.0
    ),
    "decaying dimers, 1e5": Case(
        gl.Network.parse(
            "species S1 = 100000, S2, S3\nS1 -> 0 @ 1\n2 S1 -> S2 @ 0.002\nS2 -> 2 S1 @ 0.5\n"
            "S2 -> S3 @ 0.04"
        ),
        30.0,
    ),
    "Schlogl, some 300": Case(
        gl.Network.parse(
            "species X = 250\n2 X -> 3 X @ 0.03\n3 X -> 2 X @ 1e-4\n0 -> X @ 200\nX -> 0 @ 3.5"
        ),
        4.0,
    ),
    "Schlogl, some 30000": Case(
        gl.Network.parse(
            "species X = 25000\n2 X -> 3 X @ 3e-4\n3 X -> 2 X @ 1e-8\n0 -> X @ 20000\nX -> 0 @ 3.5"
        ),
        4.0,
    ),
    "toggle switch, Hill laws": Case(
        gl.Network.parse(
            "species U = 20000, V = 20000\n0 => U @ 1e5*hillr(V, 20000, 4)\n"
            "0 => V @ 1e5*hillr(U, 20000, 4)\nU -> 0 @ 1\nV -> 0 @ 1"
        ),
        10.0,
    ),
    "kinase cascade, 30 reactions": Case(_cascade(), 20.0),
}


def run(case: Case, engine: str, n: int, method: str) -> tuple[float, Any]:
    """Return the processor time of an ensemble, and the ensemble."""
    before = time.process_time()
    result = gl.ensemble(case.network, case.end, n, method=method, engine=engine, rng=1, threads=1)
    return time.process_time() - before, result


def compare(case: Case, n: int, rounds: int, method: str = "tau_leaping") -> dict[str, Any]:
    """Time both engines in turns."""
    times: dict[str, list[float]] = {"table": [], "lanes": []}
    results = {engine: run(case, engine, n, method)[1] for engine in times}
    one, other = results.values()
    if not (np.array_equal(one.counts, other.counts) and (one.n_events == other.n_events).all()):
        raise SystemExit("table and lanes went other paths")
    for turn in range(rounds):
        for engine in sorted(times, reverse=turn % 2 == 0):
            times[engine].append(run(case, engine, n, method)[0])
    ratios = [a / b for a, b in zip(times["table"], times["lanes"], strict=True)]
    return {"times": times, "ratios": ratios, "leaps": int(one.n_events.sum()), "n": n}


def row(name: str, found: dict[str, Any]) -> list[str]:
    """Return a row of the table."""
    per_leap = [f"{1e9 * min(times) / found['leaps']:.0f}" for times in found["times"].values()]
    ratios = found["ratios"]
    spread = f"{middle(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    return [name, f"{found['leaps'] / found['n']:.0f}", *per_leap, spread]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trajectories", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", action="store_true", help="also ensembles of 4 to 64")
    parser.add_argument("--out", type=Path, help="every single time, as JSON")
    parser.add_argument("--table", type=Path, help="the table, as Markdown")
    options = parser.parse_args()
    pin_to_one_core()
    facts = machine(["numpy", "numba"])
    found = {
        name: compare(case, options.trajectories, options.rounds) for name, case in CASES.items()
    }
    if options.sizes:
        for name in ("SIR, 1e6 people", "Schlogl, some 300"):
            for n in (4, 8, 16, 32, 64):
                found[f"{name}, {n} paths"] = compare(CASES[name], n, 3 * options.rounds)
    header = ["network", "leaps a path", "table, ns a leap", "lanes", "table over lanes"]
    table = markdown_table(header, [row(name, one) for name, one in found.items()])
    save(table, {"cases": found}, facts, options.out, options.table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
