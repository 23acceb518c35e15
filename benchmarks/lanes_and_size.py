"""Time ensembles of the direct method in lanes against single paths, above 64 reactions.

    python benchmarks/lanes_and_size.py [--rounds 3] [--table table.md]

There single paths keep a tree of sums and change in it what an event has changed; lanes compute it
anew at every step. So single paths cost what reactions have in common, lanes what there is of them.
The paths are compared first: they are the same. One thread, on one core, in turns.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from leaping import Case, compare
from networks import chain, towns
from reporting import machine, markdown_table, middle, pin_to_one_core, save

import gillespy_lite as gl


def _clusters(largest: int) -> gl.Network:
    """Return clusters of molecules, any two of which may join, and any of which may split."""
    names = ["C1 = 500", *(f"C{i}" for i in range(2, largest + 1))]
    lines = [f"species {', '.join(names)}", "param join = 5e-4, split = 0.05"]
    for i in range(1, largest + 1):
        js = range(i, largest + 1 - i)
        lines += [f"C{i} + C{j} <-> C{i + j} @ join, split" for j in js]
    return gl.Network.parse("\n".join(lines))


def _genes(n: int) -> gl.Network:
    """Return genes in a ring, each switched by the one before, with messengers and proteins."""
    lines = ["param k = 20, K = 40"]
    lines += [f"species M{i} = 5, P{i} = 20" for i in range(n)]
    for i in range(n):
        law = f"hill(P{i - 1 if i else n - 1}, K, 2)"
        lines.append(f"0 => M{i} @ k*{law}" if i % 2 else f"0 => M{i} @ k*(1 - {law})")
        lines += [f"M{i} -> 0 @ 1", f"M{i} -> M{i} + P{i} @ 2", f"P{i} -> 0 @ 0.5"]
    return gl.Network.parse("\n".join(lines))


CASES = {
    "ring of 72 first-order reactions": Case(chain(72), 10.0),
    "clusters of up to 12": Case(_clusters(12), 20.0),
    "25 genes, Hill's law": Case(_genes(25), 5.0),
    "epidemic in 20 towns": Case(gl.Network.parse(towns(20)), 20.0),
    "clusters of up to 16": Case(_clusters(16), 20.0),
    "ring of 150": Case(chain(150), 5.0),
    "epidemic in 40 towns": Case(gl.Network.parse(towns(40)), 20.0),
    "ring of 256": Case(chain(256), 3.0),
    "ring of 400": Case(chain(400), 2.0),
}


def row(name: str, found: dict[str, Any]) -> list[str]:
    """Return a row of the table."""
    each = [f"{1e9 * middle(times) / found['leaps']:.0f}" for times in found["times"].values()]
    ratios = found["ratios"]
    spread = f"{middle(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
    return [name, f"{CASES[name].network.n_reactions}", *each, spread]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trajectories", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="every single time, as JSON")
    parser.add_argument("--table", type=Path, help="the table, as Markdown")
    options = parser.parse_args()
    pin_to_one_core()
    facts = machine(["numpy", "numba"])
    found = {
        name: compare(
            case._replace(end=np.linspace(0.0, case.end, 11)),
            options.trajectories,
            options.rounds,
            "direct",
        )
        for name, case in CASES.items()
    }
    header = ["network", "reactions", "table, ns an event", "lanes", "table over lanes"]
    table = markdown_table(header, [row(name, one) for name, one in found.items()])
    save(table, {"cases": found}, facts, options.out, options.table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
