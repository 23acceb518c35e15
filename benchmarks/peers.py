"""The other simulators, each in the fastest way that its own documentation offers.

`python benchmarks/peers.py` is a worker that answers requests on its standard input; `ensembles.py`
starts it with another interpreter where a peer cannot be installed beside gillespy_lite. It does
not import gillespy_lite.
"""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["PEERS", "Process", "WorkerPeer", "load_peer"]


class Process(NamedTuple):
    """A network of mass-action reactions and its sampling times, as plain lists.

    The propensity of a reaction is its constant times the number of ways to choose its reactants:
    c A (A - 1) / 2 for two molecules of A.
    """

    species: list[str]
    initial: list[int]
    reactions: list[tuple[list[str], list[str], float]]  # reactants, products, constant
    times: list[float]  # evenly spaced from 0


def _constant_without_factorial(reactants: list[str], constant: float) -> float:
    """Return the constant for a tool whose propensity of 2 A is k A (A - 1), without the 1/2."""
    if len(reactants) > 2:
        raise ValueError("only reactions of at most two molecules are timed")
    return constant / 2 if len(reactants) == 2 and reactants[0] == reactants[1] else constant


class Rebop:
    """Gillespie.run, once a trajectory, every result kept; one NumPy generator for all calls."""

    def __init__(self, process: Process, *, sparse: bool) -> None:
        import rebop

        self._process, self._sparse = process, sparse
        self._init = dict(zip(process.species, process.initial, strict=True))
        self._simulator = rebop.Gillespie()
        for reactants, products, constant in process.reactions:
            rate = _constant_without_factorial(reactants, constant)
            self._simulator.add_reaction(rate, reactants, products)

    def run(self, n: int, seed: int) -> list[Any]:
        """Sample n trajectories."""
        run, init, sparse = self._simulator.run, self._init, self._sparse
        end, n_steps = self._process.times[-1], len(self._process.times) - 1
        rng = np.random.default_rng(seed)
        return [run(init, end, n_steps, rng=rng, sparse=sparse) for _ in range(n)]

    def counts(self, results: list[Any]) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        columns = [[r[name].to_numpy() for name in self._process.species] for r in results]
        return np.swapaxes(np.array(columns), 1, 2)


class RebopEngine(Rebop):
    """What Gillespie.run calls inside, without its xarray result: not a public interface.

    It shows what rebop's compiled loop costs; no user gets a result in this time.
    """

    def run(self, n: int, seed: int) -> list[Any]:
        """Sample n trajectories."""
        engine, init, sparse = self._simulator.gillespie, self._init, self._sparse
        end, n_steps = self._process.times[-1], len(self._process.times) - 1
        results = []
        for trajectory in range(n):
            engine.set_init(init)
            results.append(
                engine.run(
                    end,
                    n_steps,
                    params={},
                    seed=1_000_003 * seed + trajectory,
                    sparse=sparse,
                    var_names=None,
                )[1]
            )
        return results

    def counts(self, results: list[Any]) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        columns = [[r[name] for name in self._process.species] for r in results]
        return np.swapaxes(np.array(columns), 1, 2)


class Bioscrape:
    """SSASimulator.py_simulate on one ModelCSimInterface, once a trajectory, every result kept."""

    def __init__(self, process: Process) -> None:
        from bioscrape.simulator import ModelCSimInterface, SSASimulator
        from bioscrape.types import Model

        model = Model(
            species=process.species,
            reactions=[
                (
                    reactants,
                    products,
                    "massaction",
                    {"k": _constant_without_factorial(reactants, constant)},
                )
                for reactants, products, constant in process.reactions
            ],
            initial_condition_dict=dict(zip(process.species, process.initial, strict=True)),
        )
        self._columns = [model.get_species_index(name) for name in process.species]
        self._interface = ModelCSimInterface(model)
        self._simulator = SSASimulator()
        self._times = np.array(process.times)

    def run(self, n: int, seed: int) -> list[Any]:
        """Sample n trajectories."""
        from bioscrape.random import py_seed_random

        py_seed_random(seed)
        simulate, interface, times = self._simulator.py_simulate, self._interface, self._times
        return [simulate(interface, times) for _ in range(n)]

    def counts(self, results: list[Any]) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        return np.array([r.py_get_result()[:, self._columns] for r in results])


class Entry(NamedTuple):
    """A peer: the package it needs, how to make it, and whether its interface is public."""

    package: str
    make: Callable[[Process], Any]
    is_public: bool


PEERS = {
    "rebop dense": Entry("rebop", lambda process: Rebop(process, sparse=False), True),
    "rebop sparse": Entry("rebop", lambda process: Rebop(process, sparse=True), True),
    "rebop engine": Entry("rebop", lambda process: RebopEngine(process, sparse=True), False),
    "bioscrape": Entry("bioscrape", Bioscrape, True),
}


def timed(run: Callable[[int, int], Any], clock: str, n: int, seed: int) -> float:
    """Return the seconds of one call, without garbage collection; `clock` is "wall" or "cpu"."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    gc.collect()
    gc.disable()
    try:
        before = now()
        results = run(n, seed)
        seconds = now() - before
    finally:
        gc.enable()
    del results
    return seconds


class LocalPeer:
    """A peer in this process."""

    def __init__(self, name: str) -> None:
        self.name, self._entry = name, PEERS[name]
        importlib.import_module(self._entry.package)

    def prepare(self, process: Process) -> None:
        """Build the network; not timed."""
        self._peer = self._entry.make(process)

    def counts(self, n: int, seed: int) -> np.ndarray:
        """Return a sample, (n, n_times, n_species)."""
        return np.asarray(self._peer.counts(self._peer.run(n, seed)))

    def seconds(self, clock: str, n: int, seed: int) -> float:
        """Return how long a sample takes."""
        return timed(self._peer.run, clock, n, seed)


class WorkerPeer:
    """A peer in a process of its own, which takes the time itself."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self._worker = subprocess.Popen(
            [python, str(Path(__file__)), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask({"do": "start"})

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps(request) + "\n")
        self._worker.stdin.flush()
        answer = self._worker.stdout.readline()
        if not answer:
            raise ImportError(f"the worker for {self.name} has ended")
        return json.loads(answer)

    def prepare(self, process: Process) -> None:
        """Build the network; not timed."""
        self._ask({"do": "prepare", "process": list(process)})

    def counts(self, n: int, seed: int) -> np.ndarray:
        """Return a sample, (n, n_times, n_species)."""
        return np.array(self._ask({"do": "counts", "n": n, "seed": seed}))

    def seconds(self, clock: str, n: int, seed: int) -> float:
        """Return how long a sample takes."""
        return float(self._ask({"do": "seconds", "clock": clock, "n": n, "seed": seed}))


def load_peer(name: str, python: str | None) -> LocalPeer | WorkerPeer | None:
    """Return the peer in this process, else in one of `python`; None if neither has it."""
    try:
        return LocalPeer(name)
    except ImportError:
        if python is None:
            return None
    try:
        return WorkerPeer(name, python)
    except ImportError:
        return None


def work(name: str) -> None:
    """Answer requests until the standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a peer that prints must not spoil the answers
    peer = LocalPeer(name)
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        if request["do"] == "prepare":
            peer.prepare(Process(*request["process"]))
        elif request["do"] == "counts":
            answer = peer.counts(request["n"], request["seed"]).tolist()
        elif request["do"] == "seconds":
            answer = peer.seconds(request["clock"], request["n"], request["seed"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    work(sys.argv[1])
