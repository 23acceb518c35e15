"""The simulators that are timed, each in the fastest way that its own documentation offers.

`python benchmarks/peers.py NAME` is a worker that answers requests, one JSON object a line on its
standard input; `compare.py` starts it with the interpreter of the simulator's own environment. It
takes the times itself, so that nothing but the call is in them, and imports gillespy_lite only
where that is what is timed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["TOOLS", "Process", "Tool", "Worker", "WorkerError"]


class Process(NamedTuple):
    """A network and its sampling times, as plain data and in every form that a simulator reads.

    The propensity of a mass-action reaction is its constant times the number of ways to choose its
    reactants: c A (A - 1) / 2 for two molecules of A.
    """

    name: str
    text: str  # in the language of gillespy_lite, and what is set otherwise than there
    values: dict[str, float]
    species: list[str]
    initial: list[int]
    parameters: dict[str, float]
    reactions: list[
        tuple[list[str], list[str], float | str]
    ]  # reactants, products, constant or law
    times: list[float]  # evenly spaced from 0
    net: str  # BioNetGen's flat format
    sbml: str  # empty where the writer's package is missing


def _without_factorials(reactants: list[str], constant: float) -> float:
    """Return the constant for a tool whose propensity of 2 A is k A (A - 1), without the 1/2."""
    for name in set(reactants):
        constant /= {1: 1.0, 2: 2.0, 3: 6.0}[reactants.count(name)]
    return constant


def _sides(reactants: list[str], products: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    return tuple({x: side.count(x) for x in side} for side in (reactants, products))  # type: ignore[return-value]


# Ours --------------------------------------------------------------------------------------------


class GillespyLite:
    """One call of `ensemble` or `simulate`; compiling the network to arrays is part of it."""

    def __init__(self, process: Process, *, engine: str | None = None) -> None:
        import inspect

        import gillespy_lite as gl

        self._gl = gl
        network = gl.Network.parse(process.text)
        names = set(network.species_names)
        self._network = network.with_parameters(
            {k: v for k, v in process.values.items() if k not in names}
        ).with_initial({k: v for k, v in process.values.items() if k in names})
        self._times = np.array(process.times)
        self._is_single = engine != "lanes"  # those are for many trajectories
        self._options: dict[str, Any] = {"method": "direct"}
        if engine is not None:
            if "engine" not in inspect.signature(gl.ensemble).parameters:
                raise NotImplementedError("this version of gillespy_lite has no engines")
            self._options["engine"] = engine

    def run(self, n: int, seed: int, threads: int = 1) -> Any:
        """Sample n trajectories."""
        if n == 1 and self._is_single:
            return self._gl.simulate(self._network, self._times, rng=seed, **self._options)
        return self._gl.ensemble(
            self._network, self._times, n, threads=threads, rng=seed, **self._options
        )

    def counts(self, result: Any) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        counts = np.asarray(result.counts)
        return counts if counts.ndim == 3 else counts[None]

    def details(self, result: Any) -> dict[str, Any]:
        """Return the number of events and what the result says about the engine."""
        provenance = result.provenance
        return {
            "events": int(np.sum(result.n_events)),
            "engine": getattr(provenance, "engine", None),
            "engine_reason": getattr(provenance, "engine_reason", None),
        }


class CReference:
    """Scalar C written for the one network, compiled by the C compiler of the machine."""

    def __init__(self, process: Process) -> None:
        from c_references import Program

        self._program = Program(process)

    def run(self, n: int, seed: int) -> Any:
        """Sample n trajectories."""
        return self._program.run(n, seed)

    def counts(self, result: Any) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        return np.asarray(result[0])

    def details(self, result: Any) -> dict[str, Any]:
        """Return the number of events."""
        return {"events": result[1]}


# Others ------------------------------------------------------------------------------------------


class Rebop:
    """Gillespie.run, once a trajectory, every result kept; one NumPy generator for all calls."""

    def __init__(self, process: Process, *, sparse: bool) -> None:
        import rebop

        self._process, self._sparse = process, sparse
        self._init = dict(zip(process.species, process.initial, strict=True))
        self._simulator = rebop.Gillespie()
        for reactants, products, rate in process.reactions:
            if not isinstance(rate, str):
                rate = _without_factorials(reactants, rate)
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

        def propensity(reactants: list[str], rate: float | str) -> tuple[str, dict[str, Any]]:
            if isinstance(rate, str):
                return "general", {"rate": rate.replace("^", "**")}
            return "massaction", {"k": _without_factorials(reactants, rate)}

        model = Model(
            species=process.species,
            reactions=[
                (reactants, products, *propensity(reactants, rate))
                for reactants, products, rate in process.reactions
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


class Bngsim:
    """run_replicates of a Simulator with method "ssa"."""

    def __init__(self, process: Process) -> None:
        import tempfile

        import bngsim

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.net"
            path.write_text(_net(process), encoding="utf-8")
            self._model = bngsim.Model.from_net(str(path))
        self._simulator = bngsim.Simulator(self._model, method="ssa")
        names = [re.sub(r"\(\)$", "", name) for name in self._model.species_names]
        self._columns = [names.index(name) for name in process.species]
        self._process = process

    def run(self, n: int, seed: int) -> Any:
        """Sample n trajectories."""
        times = self._process.times
        return self._simulator.run_replicates(
            n, t_span=(times[0], times[-1]), n_points=len(times), seed=1_000_003 * seed
        )

    def counts(self, results: Any) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        return np.array([np.asarray(r.species)[:, self._columns] for r in results])


def _net(process: Process) -> str:
    """Return the network in BioNetGen's format with a name for each number that is a rate."""
    names: list[str] = []

    def named(match: re.Match[str]) -> str:
        names.append(f"    {1000 + len(names)} constant{len(names)} {match[2]}\n")
        return f"{match[1]}constant{len(names) - 1}\n"

    before, reactions = process.net.split("begin reactions\n")
    reactions = re.sub(r"^( *\d+ \S+ \S+ )([\d.][\d.e+-]*)\n", named, reactions, flags=re.M)
    if "begin parameters\n" not in before:
        before = f"begin parameters\nend parameters\n{before}"
    before = before.replace("end parameters\n", f"{''.join(names)}end parameters\n")
    return f"{before}begin reactions\n{reactions}"


class GillesPy2:
    """SSACSolver, compiled once, its `run` with number_of_trajectories."""

    def __init__(self, process: Process) -> None:
        import gillespy2

        model = gillespy2.Model(name="network")
        model.add_species(
            [
                gillespy2.Species(name=name, initial_value=count, mode="discrete")
                for name, count in zip(process.species, process.initial, strict=True)
            ]
        )
        for j, (reactants, products, rate) in enumerate(process.reactions):
            left, right = _sides(reactants, products)
            # There is no mass action for three molecules.
            if isinstance(rate, str) or len(reactants) > 2:
                law = _falling_law(reactants, rate).replace("^", "**")
                options: dict[str, Any] = {"propensity_function": law}
            else:
                constant = _without_factorials(reactants, rate)
                parameter = gillespy2.Parameter(name=f"k{j}", expression=repr(constant))
                model.add_parameter(parameter)
                options = {"rate": parameter}
            model.add_reaction(
                gillespy2.Reaction(name=f"r{j}", reactants=left, products=right, **options)
            )
        model.timespan(
            gillespy2.TimeSpan.linspace(t=process.times[-1], num_points=len(process.times))
        )
        self._species = process.species
        self._solver = gillespy2.SSACSolver(model=model)
        self.run(1, 1)  # compiles

    def run(self, n: int, seed: int) -> Any:
        """Sample n trajectories."""
        return self._solver.run(number_of_trajectories=n, seed=seed)

    def counts(self, results: Any) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        return np.array([np.column_stack([r[name] for name in self._species]) for r in results])


def _falling_law(reactants: list[str], rate: float | str) -> str:
    """Return the propensity as a formula."""
    if isinstance(rate, str):
        return rate
    factors = [repr(_without_factorials(reactants, rate))]
    for name in dict.fromkeys(reactants):
        factors += [name, *(f"({name} - {k})" for k in range(1, reactants.count(name)))]
    return "*".join(factors)


_NUMBERS = itertools.count()


class Copasi:
    """A time course with COPASI's direct method, its task run once a trajectory.

    The model is built and the task is set up through basico; the numbers are read from the task's
    time series into an array, as basico's own table does, without making that table of pandas.
    """

    def __init__(self, process: Process) -> None:
        import basico
        import COPASI

        model = basico.new_model(name="network", quantity_unit="#", volume_unit="1")
        basico.add_compartment("all", 1.0) if not len(basico.get_compartments() or []) else None
        for name, count in zip(process.species, process.initial, strict=True):
            basico.add_species(name, initial_concentration=float(count))
        for j, (reactants, products, rate) in enumerate(process.reactions):
            left, right = (
                " + ".join(f"{count} * {name}" for name, count in side.items())
                for side in _sides(reactants, products)
            )
            if isinstance(rate, str):
                self._add_law(basico, j, left, right, rate, process.species)
                continue
            basico.add_reaction(f"r{j}", f"{left} -> {right}")
            constant = _without_factorials(reactants, rate)
            name = "k1" if reactants else "v"
            basico.set_reaction_parameters(f"(r{j}).{name}", value=constant)
        basico.run_time_course(
            0.0,
            process.times[-1],
            len(process.times) - 1,
            method="directMethod",
            use_initial_values=True,
            update_model=False,
            use_seed=True,
            seed=1,
        )
        self._model, self._process = model, process
        self._task = model.getTask("Time-Course")
        self._task.setUpdateModel(False)
        self._problem = self._task.getProblem()
        self._method = self._task.getMethod()
        series = self._task.getTimeSeries()
        titles = [series.getTitle(k) for k in range(series.getNumVariables())]
        self._columns = [titles.index(name) for name in process.species]
        self._output = COPASI.CCopasiTask.OUTPUT_UI

    @staticmethod
    def _add_law(basico: Any, j: int, left: str, right: str, law: str, species: list[str]) -> None:
        used = [name for name in species if re.search(rf"\b{name}\b", law)]
        # Functions belong to the program, not to the model.
        function = f"law{next(_NUMBERS)}"
        reactants = re.findall(r"[A-Za-z_]\w*", left)
        others = [name for name in used if name not in reactants]
        basico.add_function(
            function,
            law,
            "irreversible",
            mapping={name: "substrate" if name in reactants else "modifier" for name in used},
        )
        modifiers = f"; {' '.join(others)}" if others else ""
        basico.add_reaction(
            f"r{j}",
            f"{left} -> {right}{modifiers}",
            function=function,
            mapping={name: name for name in used},
        )

    def run(self, n: int, seed: int) -> np.ndarray:
        """Sample n trajectories."""
        task, columns, n_times = self._task, self._columns, len(self._process.times)
        values = np.empty((n, n_times, len(columns)))
        for trajectory in range(n):
            self._method.getParameter("Random Seed").setUIntValue(1_000_003 * seed + trajectory)
            if not (task.initializeRaw(self._output) and task.processRaw(True)):
                raise RuntimeError("COPASI could not run the time course")
            task.restore()
            data = task.getTimeSeries().getConcentrationData
            values[trajectory] = [[data(i, k) for k in columns] for i in range(n_times)]
        return values

    def counts(self, results: np.ndarray) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        return np.rint(results)


class RoadRunner:
    """simulate with the integrator "gillespie", once a trajectory, after a reset."""

    def __init__(self, process: Process) -> None:
        import roadrunner

        if not process.sbml:
            raise NotImplementedError("writing SBML needs gillespy_lite[sbml]")
        self._simulator = roadrunner.RoadRunner(process.sbml)
        self._simulator.setIntegrator("gillespie")
        self._simulator.selections = ["time", *process.species]
        self._process = process

    def run(self, n: int, seed: int) -> list[np.ndarray]:
        """Sample n trajectories."""
        simulator, times = self._simulator, self._process.times
        simulator.getIntegrator().seed = seed
        results = []
        for _ in range(n):
            simulator.reset()
            results.append(np.array(simulator.simulate(times[0], times[-1], len(times))))
        return results

    def counts(self, results: list[np.ndarray]) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        return np.array(results)[:, :, 1:]


class Batss:
    """Simulation of a CRN by batching, made anew for each trajectory."""

    def __init__(self, process: Process) -> None:
        import batss

        if any(
            isinstance(rate, str) or not 1 <= len(left) <= 2 for left, _, rate in process.reactions
        ):
            raise NotImplementedError("only mass action of one or two molecules")
        self._batss, self._process = batss, process
        # It has species of its own, called K and W.
        self._species = {name: batss.Specie(f"species_{name}") for name in process.species}
        self._rules = [self._reaction(*reaction) for reaction in process.reactions]

    def _reaction(self, left: list[str], right: list[str], rate: Any) -> Any:
        sides = [
            self._batss.Expression([self._species[name] for name in side]) for side in (left, right)
        ]
        return self._batss.Reaction(*sides, k=_without_factorials(left, rate))

    def run(self, n: int, seed: int) -> list[Any]:
        """Sample n trajectories."""
        times, results = self._process.times, []
        start = {
            self._species[name]: count
            for name, count in zip(self._process.species, self._process.initial, strict=True)
            if count
        }
        for trajectory in range(n):
            simulation = self._batss.Simulation(
                start,
                self._rules,
                seed=(1_000_003 * seed + trajectory) % 2**32,
                volume=1.0,
                continuous_time=True,
            )
            simulation.run(times[-1], times[1], timer=False)
            results.append(simulation.history)
        return results

    def counts(self, results: list[Any]) -> np.ndarray:
        """Return (n, n_times, n_species)."""
        n_times = len(self._process.times)
        out = np.zeros((len(results), n_times, len(self._process.species)))
        for i, history in enumerate(results):
            for k, name in enumerate(self._process.species):
                column = history[self._species[name].name].to_numpy().reshape(-1)[:n_times]
                # It stops where nothing can happen any more.
                out[i, : len(column), k], out[i, len(column) :, k] = column, column[-1]
        return out


class Tool(NamedTuple):
    """A simulator: its package, its environment, how to make it, and what it is."""

    package: str
    environment: str  # name in environments.py; empty for this interpreter
    make: Callable[[Process], Any]
    kind: str = "peer"  # or "ours", "c", "inside" (a part of a peer that is no public interface)


def _ours(engine: str | None) -> Tool:
    return Tool("gillespy_lite", "", lambda process: GillespyLite(process, engine=engine), "ours")


TOOLS = {
    "gillespy_lite": _ours(None),
    **{f"gillespy_lite {e}": _ours(e) for e in ("auto", "table", "lanes", "specialised")},
    "C": Tool("c_references", "", CReference, "c"),
    "rebop dense": Tool("rebop", "rebop", lambda process: Rebop(process, sparse=False)),
    "rebop sparse": Tool("rebop", "rebop", lambda process: Rebop(process, sparse=True)),
    "rebop inside": Tool(
        "rebop", "rebop", lambda process: RebopEngine(process, sparse=True), "inside"
    ),
    "bioscrape": Tool("bioscrape", "bioscrape", Bioscrape),
    "bngsim": Tool("bngsim", "bngsim", Bngsim),
    "GillesPy2 C++": Tool("gillespy2", "gillespy2", GillesPy2),
    "COPASI": Tool("basico", "copasi", Copasi),
    "libroadrunner": Tool("roadrunner", "libroadrunner", RoadRunner),
    "batss": Tool("batss", "batss", Batss),
}


# The worker --------------------------------------------------------------------------------------


def _processor_seconds() -> float:
    """Return the processor time of this process, its threads and the processes it waited for."""
    import resource

    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def timed(run: Callable[..., Any], clock: str, *arguments: Any) -> tuple[float, Any]:
    """Return the seconds of one call, without garbage collection, and its result."""
    now = _processor_seconds if clock == "cpu" else time.perf_counter
    gc.collect()
    gc.disable()
    try:
        before = now()
        result = run(*arguments)
        return now() - before, result
    finally:
        gc.enable()


class _Station:
    """What the worker keeps between requests; one method a request."""

    def __init__(self, name: str) -> None:
        self._tool = TOOLS[name]
        self._prepared: dict[str, Any] = {}

    def start(self) -> dict[str, Any]:
        seconds, _ = timed(importlib.import_module, "wall", self._tool.package)
        return {"import": seconds}

    def prepare(self, key: str, process: list[Any]) -> dict[str, Any]:
        seconds, made = timed(self._tool.make, "wall", Process(*process))
        self._prepared[key] = made
        return {"seconds": seconds}

    def sample(self, key: str, n: int, seed: int, path: str) -> dict[str, Any]:
        tool = self._prepared[key]
        seconds, result = timed(tool.run, "wall", n, seed)
        details = tool.details(result) if hasattr(tool, "details") else {}
        np.save(path, np.ascontiguousarray(tool.counts(result), dtype=np.float64))
        return {"seconds": seconds, **details}

    def seconds(
        self, key: str, n: int, seed: int, clock: str, threads: int | None = None
    ) -> dict[str, Any]:
        extra = () if threads is None else (threads,)
        seconds, _ = timed(self._prepared[key].run, clock, n, seed, *extra)
        return {"seconds": seconds}

    @staticmethod
    def cores(cores: list[int]) -> dict[str, Any]:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)
        return {}

    @staticmethod
    def peak() -> dict[str, Any]:
        import resource

        peak = max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return {"mebibytes": peak / 2**20 if sys.platform == "darwin" else peak / 2**10}


def work(name: str) -> None:
    """Answer requests until the standard input ends."""
    # A simulator that prints, from C++ as well, must not spoil the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    station = _Station(name)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(station, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".split("\n")[0][:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class WorkerError(RuntimeError):
    """A simulator could not do what was asked; the message is its own."""


class Worker:
    """A simulator in a process of its own."""

    def __init__(self, name: str, python: str) -> None:
        self.name, self._python = name, python
        started = time.perf_counter()
        # Some look for their own tools on the path.
        path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])
        with open(os.devnull, "w") as nowhere:
            self._process = subprocess.Popen(
                [python, str(Path(__file__).resolve()), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=nowhere,
                text=True,
                env={**os.environ, "PATH": path},
            )
        self.import_seconds = float(self.ask("start")["import"])
        self.start_seconds = time.perf_counter() - started

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"its process has ended ({do}, exit status {self._process.poll()})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    work(sys.argv[1])
