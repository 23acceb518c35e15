"""Time what comes before the first event: imports, kernels from the disk cache, new networks.

    python benchmarks/startup.py [--rounds 7] [--out results.json]

Imports and first results are timed in fresh processes that take turns. A cold cache is an empty
temporary folder, so that every kernel is compiled; a warm one is what the process before left.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from networks import MODELS
from reporting import machine, markdown_table, middle, save

IMPORTS = [
    "import numpy",
    "import numba",
    "import gillespy_lite",
    "import gillespy_lite; gillespy_lite.ensemble",
]

_FIRST_TRAJECTORY = """
import sys, time
import gillespy_lite as gl
network, simulate = gl.Network.parse(sys.argv[1]), gl.simulate
before = time.perf_counter()
simulate(network, 1.0, rng=1)
print(time.time(), time.perf_counter() - before, time.process_time())
"""


class First(NamedTuple):
    """What a process took to its first Vilar trajectory, in seconds."""

    whole: float  # from the start of the process
    call: float  # the call of simulate alone
    processor: float  # processor time of the process, which other processes prolong less


def environment(cache: str) -> dict[str, str]:
    """Return the environment of a user who has installed the package: Python keeps its bytecode."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "GILLESPY_LITE_CACHE_DIR": cache}


def import_seconds(statement: str) -> float:
    """Return how long a statement takes in a fresh process, Python's own start not counted."""
    program = (
        f"import time; before = time.perf_counter(); {statement}; "
        "print(time.perf_counter() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        env=environment(os.environ.get("GILLESPY_LITE_CACHE_DIR", "")),
    )
    return float(done.stdout)


def first_trajectory(cache: str) -> First:
    """Time a fresh process to its first Vilar trajectory, with the default method."""
    before = time.time()
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_TRAJECTORY, MODELS["vilar"].text],
        check=True,
        capture_output=True,
        env=environment(cache),
    )
    end, call, processor = map(float, done.stdout.split())
    return First(end - before, call, processor)


def first_trajectories(rounds: int) -> tuple[list[First], list[First]]:
    """Return what first processes took (cold cache) and what second ones did (warm)."""
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(first_trajectory(cache))
            warm += [first_trajectory(cache) for _ in range(3)]
    return cold, warm


def warmup_seconds() -> float:
    """Return how long `gillespy-lite warmup` takes on a cold cache."""
    with tempfile.TemporaryDirectory() as cache:
        before = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "gillespy_lite", "warmup"],
            check=True,
            capture_output=True,
            env=environment(cache),
        )
        return time.perf_counter() - before


def random_networks(n_networks: int, n_reactions: int) -> Iterator[str]:
    """Give the texts of networks with random first- and second-order reactions, all different."""
    chosen = random.Random(1)
    n_species = n_reactions // 2
    names = [f"S{i}" for i in range(n_species)]
    for _ in range(n_networks):
        lines = ["species " + ", ".join(f"{name} = {chosen.randint(1, 50)}" for name in names)]
        for j in range(n_reactions):
            reactants = chosen.sample(names, 1 + j % 2)
            products = chosen.sample(names, 1 + j % 2)
            rate = chosen.uniform(0.1, 1.0) / 10 ** (j % 2)
            lines.append(f"{' + '.join(reactants)} -> {' + '.join(products)} @ {rate:.6g}")
        yield "\n".join(lines)


def new_network_seconds(n_networks: int, n_reactions: int) -> list[float]:
    """Return how long it takes to parse each of some networks and to run it for the first time."""
    import gillespy_lite as gl

    gl.simulate(MODELS["birth-death"].network, 1.0, method="direct", rng=1)
    seconds = []
    for text in random_networks(n_networks, n_reactions):
        before = time.perf_counter()
        gl.simulate(gl.Network.parse(text), 1.0, method="direct", rng=1)
        seconds.append(time.perf_counter() - before)
    return seconds


def scan_seconds(n_sets: int) -> tuple[float, float]:
    """Return the seconds of with_parameters and of ensemble(n=1), each over `n_sets` sets."""
    import gillespy_lite as gl

    network = gl.Network.parse(
        """
        species S = 301, E = 120, ES, P
        param kf = 0.00166, kr = 1e-4, kcat = 0.1
        S + E <-> ES @ kf, kr
        ES -> E + P @ kcat
        """
    )
    gl.ensemble(network, 0.01, 1, method="direct", threads=1, rng=1)
    building = running = 0.0
    for i in range(n_sets):
        start = time.perf_counter()
        relative = network.with_parameters(kf=0.001 + 1e-7 * i, kcat=0.1 + 1e-6 * i)
        built = time.perf_counter()
        # So short that the events cost nothing: what is left is the price of a call.
        gl.ensemble(relative, 0.01, 1, method="direct", threads=1, rng=i)
        building += built - start
        running += time.perf_counter() - built
    return building, running


def signatures_after(n_networks: int) -> dict[str, int]:
    """Return the number of compiled signatures of each kernel after different networks ran."""
    import gillespy_lite as gl
    from gillespy_lite.kernels.jit import signatures

    for model in MODELS.values():
        gl.ensemble(model.network, model.end / 100, 2, method="direct", threads=1, rng=1)
    for text in random_networks(n_networks - len(MODELS), 20):
        gl.ensemble(gl.Network.parse(text), 0.1, 2, method="direct", threads=1, rng=1)
    return signatures()


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-rounds", type=int, default=3, help="each compiles all kernels")
    parser.add_argument("--sets", type=int, default=10_000, help="parameter sets of the scan")
    parser.add_argument("--out", type=Path, help="file for all numbers, JSON")
    parser.add_argument("--table", type=Path, help="file for the table, Markdown")
    options = parser.parse_args(arguments)
    facts = machine()

    imports: dict[str, list[float]] = {statement: [] for statement in IMPORTS}
    for statement in IMPORTS:
        import_seconds(statement)  # so that all files are in memory
    for _ in range(options.rounds):
        for statement in IMPORTS:
            imports[statement].append(import_seconds(statement))
    cold, warm = first_trajectories(options.cold_rounds)
    warmup = warmup_seconds()
    fresh = new_network_seconds(20, 50)
    building, running = scan_seconds(options.sets)
    counts = signatures_after(10)

    def milliseconds(seconds: list[float]) -> list[str]:
        return [f"{1e3 * x:,.1f} ms" for x in (middle(seconds), min(seconds), max(seconds))]

    rows = [[f"`{statement}`", *milliseconds(seconds)] for statement, seconds in imports.items()]
    for cache, taken in (("cold cache", cold), ("warm cache", warm)):
        start = f"process start to first Vilar trajectory, {cache}"
        rows += [
            [start, *milliseconds([one.whole for one in taken])],
            [f"{start}, processor time", *milliseconds([one.processor for one in taken])],
            [f"first call of `simulate`, {cache}", *milliseconds([one.call for one in taken])],
        ]
    rows += [
        ["`gillespy-lite warmup`, cold cache", f"{warmup:,.1f} s", "", ""],
        ["new network of 50 reactions, parsed and run, warm process", *milliseconds(fresh)],
        ["`with_parameters`, each", f"{1e6 * building / options.sets:.1f} µs", "", ""],
        ["`ensemble(n=1)`, each", f"{1e6 * running / options.sets:.1f} µs", "", ""],
        ["signatures of a kernel after ten networks, at most", f"{max(counts.values())}", "", ""],
    ]
    save(
        markdown_table(["what", "median", "lowest", "highest"], rows) + "\n",
        {
            "imports": imports,
            "first_trajectory_cold": [one._asdict() for one in cold],
            "first_trajectory_warm": [one._asdict() for one in warm],
            "warmup": warmup,
            "new_network_of_50_reactions": fresh,
            "with_parameters": building / options.sets,
            "ensemble_of_one": running / options.sets,
            "signatures": counts,
        },
        facts,
        options.out,
        options.table,
    )


if __name__ == "__main__":
    main()
