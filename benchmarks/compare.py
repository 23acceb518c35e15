"""Time gillespy_lite against other simulators and against C, in interleaved rounds.

    python benchmarks/environments.py
    python benchmarks/compare.py [--rounds 3] [--models vilar sir] [--peers rebop bngsim]

Each simulator runs in a process of its own, on one core, and takes the time of whole calls from
Python: an ensemble of 1,000 trajectories of every species on 101 times, and one long trajectory.
In each round all take turns, so that a change of the machine's speed meets all of them, and ratios
are formed within a round. Before anything is timed, means and variances are compared, so that what
is timed is the same process. Results are merged into one file, so that a run of some models or
peers replaces their numbers and keeps the others; `--tables` only prints what the file holds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tables
from agreement import MOST_STANDARD_ERRORS, largest_difference
from environments import FOLDER, python_of
from networks import MODELS
from peers import TOOLS, Process, Worker, WorkerError
from reporting import all_cores, machine, pin_to_one_core

OURS = "gillespy_lite"
N_TRAJECTORIES = 1000
# A tool is compared by at least so many trajectories, however slow it is.
_FEWEST_COMPARED = 200
_FEWEST_TIMED = 50
# Seconds of one trajectory of an ensemble above which a tool is left out.
_LONGEST_TRAJECTORY = 0.2

Results = dict[str, dict[str, Any]]


def chosen_tools(peers: list[str] | None, engines: list[str]) -> list[str]:
    """Return the names of the tools: ours, one for each engine, C, and peers by name or package."""
    names = [OURS, *(f"{OURS} {engine}" for engine in engines), "C"]
    for name, tool in TOOLS.items():
        if tool.kind in ("peer", "inside") and (
            peers is None or {name, tool.package, tool.environment} & set(peers)
        ):
            names.append(name)
    return names


def interpreter(name: str, folder: Path) -> str | None:
    """Return the Python that has a tool, None if its environment has not been made."""
    environment = TOOLS[name].environment
    if not environment:
        return sys.executable
    python = python_of(environment, folder)
    return None if python is None else str(python)


class Measurement:
    """One model with all the tools that can run it; `found` has a dict for each tool."""

    def __init__(self, model_name: str, options: argparse.Namespace) -> None:
        self.found: Results = {}
        self._options, self._name = options, model_name
        model = MODELS[model_name]
        self._processes: dict[str, Process] = {
            "ensemble": model.process(model_name),
            "single": model.process(model_name, single=True),
        }
        self._workers: dict[str, Worker] = {}
        self._n: dict[str, int] = {}

    def run(self, tools: list[str]) -> None:
        """Measure everything; what a tool could not do is in its ``unavailable``."""
        with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            sample_path = str(Path(folder) / "sample.npy")
            reference: np.ndarray | None = None
            for tool in tools:
                self.found[tool] = {}
                try:
                    sample = self._start(tool, stack, sample_path)
                except WorkerError as error:
                    if tool == OURS:
                        raise
                    self._leave_out(tool, str(error))
                    continue
                if reference is None:
                    reference = sample
                    continue
                apart = largest_difference(reference, sample)
                self.found[tool]["standard_errors_apart"] = apart
                if not apart < MOST_STANDARD_ERRORS:
                    self._leave_out(tool, f"samples something else: {apart:.1f} standard errors")
            self._time("ensemble")
            self._time("single")
            for tool, worker in self._workers.items():
                # One whose process has ended has said so above.
                with suppress(WorkerError):
                    self.found[tool]["peak_mebibytes"] = worker.ask("peak")["mebibytes"]
            self._time_threads()

    def _leave_out(self, tool: str, reason: str) -> None:
        self.found[tool]["unavailable"] = reason
        self._workers.pop(tool, None)
        print(f"  {tool} is left out: {reason}", file=sys.stderr, flush=True)

    def _start(self, tool: str, stack: ExitStack, path: str) -> np.ndarray:
        """Start a tool's process, run it for the first time, and return a sample."""
        python = interpreter(tool, self._options.environments)
        if python is None:
            raise WorkerError(
                f"not installed; python benchmarks/environments.py {TOOLS[tool].environment}"
            )
        started = time.perf_counter()
        worker = Worker(tool, python)
        stack.callback(worker.close)
        found, process = self.found[tool], self._processes["ensemble"]
        prepared = worker.ask("prepare", key="ensemble", process=list(process))
        first = worker.ask("sample", key="ensemble", n=1, seed=1, path=path)
        found["start_up"] = {
            "import": worker.import_seconds,
            "build": prepared["seconds"],
            "first": first["seconds"],
            "process_to_first": time.perf_counter() - started,
        }
        n_trials = 20 if first["seconds"] < _LONGEST_TRAJECTORY else 2
        answer = worker.ask("sample", key="ensemble", n=n_trials, seed=2, path=path)
        trial = answer["seconds"] / n_trials
        if trial > _LONGEST_TRAJECTORY:
            raise WorkerError(f"too slow: one trajectory takes {trial:.1f} s")
        affordable = int(self._options.seconds / max(trial, 1e-9))
        n = min(self._options.trajectories, max(_FEWEST_COMPARED, affordable))
        answer = worker.ask("sample", key="ensemble", n=n, seed=3, path=path)
        sample: np.ndarray = np.load(path)
        each = answer["seconds"] / n
        self._n[tool] = self._options.trajectories
        if TOOLS[tool].kind not in ("ours", "c"):
            affordable = int(self._options.seconds / each)
            self._n[tool] = min(self._options.trajectories, max(_FEWEST_TIMED, affordable))
        worker.ask("prepare", key="single", process=list(self._processes["single"]))
        if tool == OURS:
            found["events"] = {"ensemble": answer["events"] / n}
            long = worker.ask("sample", key="single", n=1, seed=1, path=path)
            found["events"]["single"] = long["events"]
        for key in ("engine", "engine_reason"):
            if answer.get(key):
                found[key] = answer[key]
        self._workers[tool] = worker
        return sample

    def _time(self, what: str) -> None:
        """Let all tools take turns, another one first in each round."""
        order = list(self._workers)
        seconds: dict[str, list[float]] = {tool: [] for tool in order}
        n_of = {tool: self._n[tool] if what == "ensemble" else 1 for tool in order}
        failed: dict[str, str] = {}
        for round_number in range(self._options.rounds):
            for tool in order:
                if tool in failed:
                    continue
                try:
                    answer = self._workers[tool].ask(
                        "seconds",
                        key=what,
                        n=n_of[tool],
                        seed=100 + round_number,
                        clock=self._options.clock,
                    )
                except WorkerError as error:
                    print(f"  {tool}, {what}: {error}", file=sys.stderr, flush=True)
                    failed[tool] = str(error)
                    continue
                seconds[tool].append(answer["seconds"] / n_of[tool])
            order = [*order[1:], order[0]]
        ours = seconds[OURS]
        c = seconds["C"] if "C" in self._workers and "C" not in failed else None
        for tool in self._workers:
            if tool in failed:
                self.found[tool][what] = {"unavailable": failed[tool]}
                continue
            self.found[tool][what] = {
                "n": n_of[tool],
                "seconds": seconds[tool],
                # What took turns with it, so that ratios can be formed after files are merged.
                "ours": ours,
                "c": c,
            }

    def _time_threads(self) -> None:
        """Time ours with one and with two threads in turns, on all cores, by the wall clock."""
        if len(all_cores()) < 2:
            return
        for tool, worker in self._workers.items():
            if TOOLS[tool].kind != "ours":
                continue
            worker.ask("cores", cores=all_cores())
            seconds: dict[str, list[float]] = {"1": [], "2": []}
            for round_number in range(self._options.rounds + 1):
                for threads, found in seconds.items():
                    answer = worker.ask(
                        "seconds",
                        key="ensemble",
                        n=self._options.trajectories,
                        seed=100 + round_number,
                        clock="wall",
                        threads=int(threads),
                    )
                    # The first round starts the threads and is not counted.
                    if round_number:
                        found.append(answer["seconds"])
            self.found[tool]["threads"] = seconds


@contextmanager
def merged(path: Path) -> Iterator[dict[str, Any]]:
    """Give the results of a file to be changed, and write them back."""
    results: dict[str, Any] = {"models": {}}
    if path.exists():
        results = json.loads(path.read_text(encoding="utf-8"))
    yield results
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return the machine and how the times were taken."""
    return {**machine(), "clock": options.clock, "rounds": options.rounds}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return 1 if a tool samples another process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--peers", nargs="*", help="tools or packages; all by default, may be none")
    parser.add_argument("--engines", nargs="*", default=[], help="a row for each, beside auto")
    parser.add_argument("--trajectories", type=int, default=N_TRAJECTORIES)
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help="a peer that needs longer for an ensemble is timed on a share of its trajectories",
    )
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="cpu",
        help="cpu: processor time, for a machine that others use too (threads: always wall)",
    )
    parser.add_argument("--environments", type=Path, default=FOLDER, help="folder of the peers")
    parser.add_argument("--out", type=Path, default=tables.RESULTS / "compare.json")
    parser.add_argument("--tables", action="store_true", help="measure nothing, print the tables")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/")
    options = parser.parse_args(arguments)

    known = {x for name, tool in TOOLS.items() for x in (name, tool.package, tool.environment)}
    if unknown := set(options.peers or []) - known:
        parser.error(f"unknown peers {', '.join(sorted(unknown))}")
    wrong = []
    if not options.tables:
        pin_to_one_core()
        tools = chosen_tools(options.peers, options.engines)
        for name in options.models:
            print(f"{name} ...", file=sys.stderr, flush=True)
            measurement = Measurement(name, options)
            measurement.run(tools)
            # After each model, so that an interruption loses one model at most.
            with merged(options.out) as results:
                model = results["models"].setdefault(name, {})
                model.update(measurement.found)
                results["machine"] = facts(options)
            wrong += [
                f"{name}: {tool}"
                for tool, found in measurement.found.items()
                if not found.get("standard_errors_apart", 0.0) < MOST_STANDARD_ERRORS
            ]
    results = json.loads(options.out.read_text(encoding="utf-8"))
    print(tables.comparison(results))
    if options.page:
        tables.write_page(options.out.parent)
    return int(bool(wrong))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
