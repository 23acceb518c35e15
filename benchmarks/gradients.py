"""Time gradients of an unrolled network, against the forward pass and against other frameworks.

    python benchmarks/gradients.py [--rounds 9] [--out gradients.json] [--table gradients.md]

A network of ten species is unrolled for 1,000 classical Runge-Kutta steps, and the gradient of a
sum of squares by its 20 parameters and 10 initial values is taken. All tools take turns in one
process on one core, and must agree before anything is timed. Then a batch of 1,000 parameter sets,
with one thread and with two.
"""

from __future__ import annotations

import os

# One thread for all of XLA; it is read when JAX is loaded.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gradient_peers import (
    MAKERS,
    NETWORK,
    PARAMETERS,
    SPECIES,
    SUBSTEPS,
    Problem,
    jax_batch_gradient,
    make_problem,
)
from memory import peak_mebibytes
from reporting import machine, markdown_table, middle, pin_to_one_core, save, unpin

import gillespy_lite as gl
from gillespy_lite.ode_rnn import Recurrence

N_STEPS, END = 1000, 20.0
OURS, FORWARD = "gillespy_lite", "gillespy_lite, forward"
# odeint_adjoint solves the continuous adjoint equation: its gradient is another approximation.
AGREEMENT = 1e-8


class OurGradient:
    """Recurrence.unroll and pull_back, whole calls from Python."""

    def __init__(self, problem: Problem, recurrence: Recurrence, threads: int = 1) -> None:
        self._problem, self._recurrence, self._threads = problem, recurrence, threads
        names = recurrence.parameter_names
        self._parameter_order = [names.index(name) for name in PARAMETERS]
        self._state_order = [recurrence.state_names.index(name) for name in SPECIES]
        assert self._parameter_order == list(range(len(names)))
        assert self._state_order == list(range(len(SPECIES)))
        self._times = problem.fine_times[::SUBSTEPS]

    def unroll(self, *, for_gradient: bool) -> Any:
        """Return the unrolled network."""
        return self._recurrence.unroll(
            self._times,
            steps=SUBSTEPS,
            parameters=self._problem.parameters,
            initial=self._problem.initial,
            threads=self._threads,
            for_gradient=for_gradient,
        )

    def forward(self) -> float:
        """Return the loss."""
        error = self.unroll(for_gradient=False).states - self._problem.targets
        return float(0.5 * (self._problem.weights * error**2).sum())

    def gradient(self) -> np.ndarray:
        """Return the gradient by the parameters and the initial state, (..., 30)."""
        path = self.unroll(for_gradient=True)
        found = path.pull_back(self._problem.weights * (path.states - self._problem.targets))
        return np.concatenate([found.parameters, found.initial], axis=-1)


def the_problem(n_steps: int) -> tuple[Problem, Recurrence]:
    """Return the problem, and our recurrence for it."""
    recurrence = Recurrence(gl.Network.parse(NETWORK), "rk4")
    values = recurrence.parameter_values, recurrence.initial_values
    return make_problem(*values, n_steps, END * n_steps / N_STEPS), recurrence


def timed(call: Callable[[], Any], clock: str) -> float:
    """Return the seconds of one call, without garbage collection."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    gc.collect()
    gc.disable()
    try:
        before = now()
        call()
        return now() - before
    finally:
        gc.enable()


def take_turns(
    calls: dict[str, Callable[[], Any]], rounds: int, repeats: dict[str, int], clock: str
) -> dict[str, list[float]]:
    """Return the seconds of each call in each round; of several in a row the shortest counts."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            seconds[name].append(min(timed(calls[name], clock) for _ in range(repeats[name])))
        order = [*order[1:], order[0]]
    return seconds


def ratios(seconds: dict[str, list[float]], name: str, base: str) -> list[float]:
    """Return the ratio of two calls in each round."""
    return [a / b for a, b in zip(seconds[name], seconds[base], strict=True)]


def with_range(values: list[float], digits: int = 1) -> str:
    """Return the median and the range."""
    return f"{middle(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def own_process(*request: str, cache: str | None = None) -> dict[str, float]:
    """Return what a fresh process of this script answers."""
    environment = dict(os.environ)
    if cache is not None:
        environment["GILLESPY_LITE_CACHE_DIR"] = cache
    done = subprocess.run(
        [sys.executable, __file__, "--work", *request],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def work(name: str, n_steps: int) -> dict[str, float]:
    """Take one gradient in this process; return the seconds to compile and the peak memory."""
    pin_to_one_core()
    problem, recurrence = the_problem(n_steps)
    if name == OURS:
        ours = OurGradient(problem, recurrence)
        first = timed(ours.gradient, "wall")
        return {"compile": first - timed(ours.gradient, "wall"), "peak": peak_mebibytes()}
    peer = MAKERS[name](problem)
    peer.gradient()
    return {"compile": peer.compile_seconds, "peak": peak_mebibytes()}


def in_own_processes(names: list[str]) -> dict[str, dict[str, float]]:
    """Return what each tool needs to compile, and its memory; tools that are missing are left out.

    Before this process loads any of them: the peak memory of a process counts what its parent held
    when it was started.
    """
    found = {}
    for name in names:
        print(f"{name}, in a process of its own ...", file=sys.stderr, flush=True)
        try:
            few, many = own_process(name, "10"), own_process(name, str(N_STEPS))
        except subprocess.CalledProcessError as error:
            print(f"{name} is left out: {error.stderr.splitlines()[-1]}", file=sys.stderr)
            continue
        found[name] = {**many, "grown": many["peak"] - few["peak"]}
    with tempfile.TemporaryDirectory() as cache:
        found[OURS]["first ever"] = own_process(OURS, str(N_STEPS), cache=cache)["compile"]
    return found


def one_solve(options: argparse.Namespace) -> tuple[str, dict[str, Any], bool]:
    """Compare the tools on one gradient; return the table, the numbers and whether all agree."""
    problem, recurrence = the_problem(N_STEPS)
    ours = OurGradient(problem, recurrence)
    alone = in_own_processes([OURS, *options.peers])
    expected, agreed = ours.gradient(), True
    calls: dict[str, Callable[[], Any]] = {FORWARD: ours.forward, OURS: ours.gradient}
    repeats, differences = {FORWARD: 15, OURS: 15}, {OURS: 0.0}
    for name in [name for name in options.peers if name in alone]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        peer = MAKERS[name](problem)
        difference = float(abs(peer.gradient() / expected - 1.0).max())
        differences[name] = difference
        if difference > AGREEMENT:
            agreed = False
            print(f"{name} disagrees by {difference:.1e}; not timed", file=sys.stderr)
            continue
        calls[name] = peer.gradient
        repeats[name] = 1 if timed(peer.gradient, "wall") > 0.1 else 15
    seconds = take_turns(calls, options.rounds, repeats, options.clock)
    rows = []
    for name in calls:
        extra = alone.get(name)
        rows.append(
            [
                name,
                f"{1e3 * middle(seconds[name]):,.2f}",
                with_range(ratios(seconds, name, OURS), 2 if name in (OURS, FORWARD) else 1),
                f"{extra['compile']:.1f}" if extra else "-",
                f"{extra['peak']:,.0f}" if extra else "-",
                f"{extra['grown']:,.1f}" if extra else "-",
                f"{differences[name]:.0e}" if differences.get(name) else "-",
            ]
        )
    header = ["gradient by", "ms", "times ours", "to compile, s"]
    header += ["peak, MiB", "by the steps, MiB", "differs by"]
    to_forward = with_range(ratios(seconds, OURS, FORWARD), 2)
    text = markdown_table(header, rows) + (
        f"\n\n{N_STEPS:,} RK4 steps, 10 species, 20 reactions: gradient of a sum of squares at\n"
        f"{problem.targets.shape[0]} times by 20 parameters and 10 initial values, whole calls\n"
        f"on one core, {options.rounds} interleaved rounds. Our gradient takes\n"
        f"{to_forward} times our forward pass. Compiling: for JAX once a network; for\n"
        "gillespy_lite loading the kernels once a process, and\n"
        f"{alone[OURS]['first ever']:.0f} s once after installing. Memory: the peak of a process\n"
        "of its own, and how much less it is with 10 steps.\n"
    )
    numbers = {"seconds": seconds, "alone": alone, "differences": differences}
    return text, numbers, agreed


def batches(options: argparse.Namespace) -> tuple[str, dict[str, Any], bool]:
    """Compare one thread with two on a batch of parameter sets."""
    problem, recurrence = the_problem(options.batch_steps)
    factors = np.random.default_rng(5).uniform(0.8, 1.25, (options.batch, len(PARAMETERS)))
    problem = problem._replace(parameters=problem.parameters * factors)
    one, two = (OurGradient(problem, recurrence, threads) for threads in (1, 2))
    expected = one.gradient()
    assert np.array_equal(expected, two.gradient())
    agreed = True
    calls: dict[str, Callable[[], Any]] = {
        "gillespy_lite, 1 thread": one.gradient,
        "gillespy_lite, 2 threads": two.gradient,
        "forward, 1 thread": one.forward,
        "forward, 2 threads": two.forward,
    }
    if "jax lax.scan" in options.peers:
        gradient = jax_batch_gradient(problem)
        difference = float(abs(gradient() / expected - 1.0).max())
        agreed = difference < AGREEMENT
        calls["jax.vmap of lax.scan, 1 thread"] = gradient
    seconds = take_turns(calls, options.rounds, dict.fromkeys(calls, 1), "wall")
    first = "gillespy_lite, 1 thread"
    rows = [
        [name, f"{1e3 * middle(seconds[name]):,.0f}", with_range(ratios(seconds, name, first), 2)]
        for name in calls
    ]
    gains = {
        what: with_range(ratios(seconds, f"{what}, 1 thread", f"{what}, 2 threads"), 2)
        for what in ("gillespy_lite", "forward")
    }
    text = markdown_table([f"batch of {options.batch:,}", "ms", "times the first"], rows) + (
        f"\n\nThe gradient for {options.batch:,} parameter sets, {options.batch_steps:,} steps\n"
        f"each, not pinned, {options.rounds} interleaved rounds. Two threads gain a factor of\n"
        f"{gains['gillespy_lite']} for the gradient and {gains['forward']} for the forward pass.\n"
    )
    return text, {"seconds": seconds}, agreed


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return 1 if two tools disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", nargs="*", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--batch", type=int, default=1000, help="parameter sets")
    parser.add_argument("--batch-steps", type=int, default=1000, help="steps of each")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: processor time, for a machine that others use too (not for threads)",
    )
    parser.add_argument("--out", type=Path, help="file for all numbers, JSON")
    parser.add_argument("--table", type=Path, help="file for the tables, Markdown")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        print(json.dumps(work(options.work[0], int(options.work[1]))))
        return 0
    facts = machine(["torch", "torchdiffeq", "jax", "jaxlib", "diffrax"])
    pin_to_one_core()
    single, numbers, agreed = one_solve(options)
    unpin()
    print("batch ...", file=sys.stderr, flush=True)
    many, batch_numbers, also_agreed = batches(options)
    results = {"clock": options.clock, "one": numbers, "batch": batch_numbers}
    save(f"{single}\n{many}", results, facts, options.out, options.table)
    return 0 if agreed and also_agreed else 1


if __name__ == "__main__":
    sys.exit(main())
