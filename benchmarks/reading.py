"""Measure reading BioNetGen networks and making their arrays: seconds and peak memory.

    python benchmarks/reading.py model.net [more.net.xz ...] [--out results.json] [--table table.md]

Each row is a process of its own, with the interpreter and the packages in its memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from memory import peak_mebibytes
from reporting import machine, markdown_table, save


def work(path: str) -> dict[str, float | int | str]:
    """Read and compile a network in this process; return how long it took."""
    from gillespy_lite import Network
    from gillespy_lite.compilation import compile_network, compile_rate_equations

    start = time.perf_counter()
    network = Network.from_net(path)
    read = time.perf_counter()
    compile_network(network)
    compiled = time.perf_counter()
    compile_rate_equations(network)
    done = time.perf_counter()
    return {
        "network": Path(path).name,
        "species": len(network.state_names),
        "reactions": network.n_reactions,
        "reading": read - start,
        "arrays": compiled - read,
        "rate equations": done - compiled,
        "peak": peak_mebibytes(),
    }


def measure(path: str) -> dict[str, float | int | str]:
    """Return what `work` returns in a fresh process."""
    command = [sys.executable, __file__, "--in-process", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print a table of all networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--out", type=Path, help="file for the numbers, as JSON")
    parser.add_argument("--table", type=Path, help="file for the table, as Markdown")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        print(json.dumps(work(options.networks[0])))
        return
    rows = [measure(path) for path in options.networks]
    header = ["network", "species", "reactions", "read, s", "arrays, s", "rate equations, s", "MiB"]
    table = [
        [
            str(row["network"]),
            f"{row['species']:,}",
            f"{row['reactions']:,}",
            *(f"{row[key]:.2f}" for key in ("reading", "arrays", "rate equations")),
            f"{row['peak']:.0f}",
        ]
        for row in rows
    ]
    save(markdown_table(header, table), {"results": rows}, machine(), options.out, options.table)


if __name__ == "__main__":
    main()
