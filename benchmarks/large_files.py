"""Time networks of thousands of reactions from files against bngsim: to build, and per event.

    python benchmarks/large_files.py ../shared/data/bng [--only egfr_net] [--rounds 3] [--page]

Both simulators have a process each, read the same `.net` file, and take the time themselves, as
processor time. Building is all from the file to the end of a run with next to no events. Then both
run to the same time in turns; a run with next to no events is taken off, and the time is divided by
the number of events that the simulator itself counted. Networks that are not asked for keep the
numbers that are there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import lzma
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environments import FOLDER, python_of
from reporting import machine, machine_line, markdown_table, pin_to_one_core

# The folder of a network, and the time to which it runs.
ENDS = {"egfr_net": 3.0, "bcr_ssa": 0.2, "fceri_gamma2": 20.0}
TOOLS = ("gillespy_lite", "bngsim")
_SOON = 1e-12

Run = Callable[[float, int], int]


# The workers -------------------------------------------------------------------------------------


def _gillespy_lite(path: str) -> Run:
    import gillespy_lite as gl

    network = gl.Network.from_net(path)
    first = network.species_names[:1]

    def run(end: float, seed: int) -> int:
        return int(gl.simulate(network, [0.0, end], rng=seed, outputs=first).n_events)

    return run


def _bngsim(path: str) -> Run:
    bngsim: Any = importlib.import_module("bngsim")
    simulator = bngsim.Simulator(bngsim.Model.from_net(path), method="ssa")

    def run(end: float, seed: int) -> int:
        # `run` would go on from where the last run ended.
        (result,) = simulator.run_replicates(1, t_span=(0.0, end), n_points=2, seed=seed)
        return int(result.solver_stats["n_steps"])

    return run


def work(tool: str, path: str) -> None:
    """Build a network, then answer requests, one JSON line each."""
    if tool == "gillespy_lite":
        import gillespy_lite as gl

        # Kernels are compiled once after installing.
        lines = [f"S{i} -> S{(i + 1) % 70} @ {1 + i / 70}" for i in range(70)]
        text = "\n".join(["species " + ", ".join(f"S{i} = 9" for i in range(70)), *lines])
        for method in ("rejection", "partial_propensity", "composition_rejection"):
            gl.simulate(gl.Network.parse(text), 1e-3, method=method, rng=1)
    else:
        importlib.import_module("bngsim")
    before = time.process_time()
    run = {"gillespy_lite": _gillespy_lite, "bngsim": _bngsim}[tool](path)
    run(_SOON, 1)
    print(json.dumps({"building": time.process_time() - before}), flush=True)
    for line in sys.stdin:
        end, seed = json.loads(line)
        before = time.process_time()
        run(_SOON, seed)
        empty = time.process_time() - before
        before = time.process_time()
        n_events = run(end, seed)
        seconds = time.process_time() - before - empty
        print(json.dumps({"seconds": seconds, "events": n_events}), flush=True)


# Measuring ---------------------------------------------------------------------------------------


class Worker:
    """A process in which one simulator runs one network."""

    def __init__(self, python: str, tool: str, path: Path) -> None:
        self._process = subprocess.Popen(
            [python, __file__, "--work", tool, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.building = float(self._answer()["building"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a simulator ended without an answer; its message is above")
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, end: float, seed: int) -> dict[str, Any]:
        """Run once; return the seconds without what precedes the events, and their number."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([end, seed]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(name: str, path: Path, pythons: dict[str, str], rounds: int) -> dict[str, Any]:
    """Return what building a network and running it took, tool by tool."""
    found: dict[str, Any] = {}
    workers = {}
    for tool, python in pythons.items():
        print(f"  {name}: {tool} builds ...", file=sys.stderr, flush=True)
        workers[tool] = Worker(python, tool, path)
        found[tool] = {"building": workers[tool].building, "runs": []}
    for seed in range(1, rounds + 1):
        for tool in list(workers)[:: 1 if seed % 2 else -1]:
            found[tool]["runs"].append(workers[tool].run(ENDS[name], seed))
    for worker in workers.values():
        worker.close()
    return found


def _nanoseconds(runs: list[dict[str, Any]]) -> list[float]:
    return [1e9 * run["seconds"] / run["events"] for run in runs]


def _mean_events(runs: list[dict[str, Any]]) -> float:
    return float(sum(run["events"] for run in runs)) / len(runs)


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return building and events of both, with ratios; events are the means of the rounds."""
    rows = []
    for name in (one for one in ENDS if one in results):
        ours, theirs = (results[name][tool] for tool in TOOLS)
        here, there = (_nanoseconds(one["runs"]) for one in (ours, theirs))
        events = [_mean_events(one["runs"]) for one in (ours, theirs)]
        ratios = [b / a for a, b in zip(here, there, strict=True)]
        rows.append(
            [
                f"{name}, to t = {ENDS[name]:g}",
                *(f"{count:,.0f}" for count in events),
                f"{ours['building']:.2f}",
                f"{theirs['building']:.2f}",
                f"{theirs['building'] / ours['building']:.2f}",
                f"{min(here):,.0f}",
                f"{min(there):,.0f}",
                f"{min(there) / min(here):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
            ]
        )
    header = ["network", "events", "of bngsim", "build, s", "bngsim", "ratio"]
    return markdown_table([*header, "ns per event", "bngsim, ns", "ratio, ns"], rows)


def plain_file(folder: Path, scratch: Path) -> Path:
    """Return the `.net` file of a folder, unpacked if it is compressed."""
    path = next(path for path in sorted(folder.iterdir()) if ".net" in path.name)
    if path.suffix != ".xz":
        return path
    plain = scratch / path.stem
    with lzma.open(path) as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return plain


def main() -> None:
    """Measure, print the table, and merge it into the results."""
    if len(sys.argv) == 4 and sys.argv[1] == "--work":
        work(*sys.argv[2:])
        return
    from tables import RESULTS, write_page

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of BioNetGen networks, one each a folder")
    parser.add_argument("--peer-python", help="interpreter that has bngsim")
    parser.add_argument("--only", nargs="*", choices=list(ENDS), default=list(ENDS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "large_files.json")
    parser.add_argument("--page", action="store_true", help="write the table into docs/")
    options = parser.parse_args()
    peer = options.peer_python or python_of("bngsim", FOLDER)
    if peer is None:
        parser.error("bngsim has no environment; make it with environments.py bngsim")
    pythons = {"gillespy_lite": sys.executable, "bngsim": str(peer)}
    results: dict[str, Any] = {"networks": {}}
    if options.out.exists():
        results = json.loads(options.out.read_text(encoding="utf-8"))
    facts = machine()
    pin_to_one_core()
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only:
            path = plain_file(options.data / name, Path(scratch))
            results["networks"][name] = measure(name, path, pythons, options.rounds)
            text = table(results["networks"])
            line = f"{text}\n\n{options.rounds} rounds, processor time. {machine_line(facts)}"
            results["tables"] = {"large-files": line}
            text = json.dumps(results, indent=1, sort_keys=True)
            options.out.write_text(text + "\n", encoding="utf-8")
    print(results["tables"]["large-files"])
    if options.page:
        write_page(options.out.parent)


if __name__ == "__main__":
    main()
