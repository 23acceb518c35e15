"""Time whole ensembles of the direct method against other simulators, in one interleaved run.

    python benchmarks/ensembles.py [--rounds 7] [--models vilar sir] [--out results.json]

Each tool samples 1,000 trajectories of every species on 101 times, on one core, called from Python.
In each round the tools take turns, so that a change of the machine's speed meets all of them; the
ratios are formed within a round. Before anything is timed, means and standard deviations are
compared, so that what is timed is the same process.
"""

from __future__ import annotations

import argparse
import functools
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import MODELS
from peers import PEERS, LocalPeer, Process, WorkerPeer, load_peer, timed
from reporting import (
    cores,
    machine,
    markdown_table,
    middle,
    pin_to_one_core,
    save,
    unpin,
)

import gillespy_lite as gl

OURS = "gillespy_lite"
N_TRAJECTORIES = 1000
# Standard errors that a mean or a variance may differ by. Some 200 numbers a model are compared, so
# 5.5 is passed by chance once in 100,000 runs.
MOST_STANDARD_ERRORS = 5.5


def process_of(network: gl.Network, times: np.ndarray) -> Process:
    """Return a network of mass-action reactions with constant rates as plain lists."""
    reactions = []
    for j, reaction in enumerate(network.reactions):
        assert reaction.kind == "mass_action"
        sides = [
            [name for name, count in side for _ in range(count)]
            for side in (reaction.reactants, reaction.products)
        ]
        reactions.append((sides[0], sides[1], float(network.expanded_rate(j).evaluate({}))))
    return Process(
        list(network.species_names), network.initial_state.tolist(), reactions, times.tolist()
    )


def largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return by how many standard errors the means or variances of two samples differ at most.

    Both are (n, n_times, n_species); all species at every tenth time.
    """
    samples = [np.asarray(x[:, 10::10], dtype=np.float64) for x in (one, other)]
    pooled = np.concatenate([x - x.mean(axis=0) for x in samples])
    second, fourth = (pooled**2).mean(axis=0), (pooled**4).mean(axis=0)
    per_sample = sum(1.0 / len(x) for x in samples)
    # The variance of a sample's variance: (mu4 - sigma^4 (n - 3) / (n - 1)) / n.
    n = len(one)
    of_variance = fourth - second**2 * (n - 3) / (n - 1)
    worst = 0.0
    for statistic, spread in ((np.mean, second), (np.var, of_variance)):
        gap = np.abs(statistic(samples[0], axis=0) - statistic(samples[1], axis=0))
        # Where neither sample varies, nothing but equality will do.
        error = np.sqrt(spread * per_sample)
        worst = max(worst, float(np.max(np.where(gap > 0.0, gap / np.maximum(error, 1e-300), 0.0))))
    return worst


def measure(
    name: str, n: int, rounds: int, peers: list[LocalPeer | WorkerPeer], clock: str
) -> dict[str, Any]:
    """Return the seconds of every tool and round for one model."""
    model = MODELS[name]
    network, times = model.network, np.linspace(0.0, model.end, 101)
    process = process_of(network, times)

    def run(n: int, seed: int, threads: int = 1) -> Any:
        return gl.ensemble(network, times, n, method="direct", threads=threads, rng=seed)

    sample = run(n, 1)
    differences = {}
    for peer in peers:
        peer.prepare(process)
        differences[peer.name] = largest_difference(sample.counts, peer.counts(n, 2))

    tools: dict[str, Callable[[int, int], float]] = {OURS: functools.partial(timed, run, clock)}
    tools.update({peer.name: functools.partial(peer.seconds, clock) for peer in peers})
    return {
        "n_trajectories": n,
        "end": model.end,
        "events_per_trajectory": float(sample.n_events.mean()),
        "standard_errors_apart": differences,
        "seconds": in_turns(tools, n, rounds),
        "seconds_by_threads": threads_in_turns(run, n, rounds),
    }


def in_turns(
    tools: dict[str, Callable[[int, int], float]], n: int, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each tool in each round; another tool begins each round."""
    seconds: dict[str, list[float]] = {tool: [] for tool in tools}
    order = list(tools)
    for round_number in range(rounds):
        for tool in order:
            seconds[tool].append(tools[tool](n, 100 + round_number))
        order = [*order[1:], order[0]]
    return seconds


def threads_in_turns(
    run: Callable[[int, int, int], Any], n: int, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds with one and two threads; empty on a machine with one core."""
    unpin()
    try:
        if len(cores()) < 2:
            return {}
        tools = {
            str(threads): functools.partial(
                timed, lambda n, seed, threads=threads: run(n, seed, threads), "wall"
            )
            for threads in (1, 2)
        }
        return in_turns(tools, n, rounds)
    finally:
        pin_to_one_core()


def ratios(result: dict[str, Any], tool: str) -> list[float]:
    """Return how many times longer than gillespy_lite a tool took, in each round."""
    seconds = result["seconds"]
    return [theirs / ours for theirs, ours in zip(seconds[tool], seconds[OURS], strict=True)]


def faster(result: dict[str, Any], tools: list[str]) -> str | None:
    """Return the tool with the smallest median."""
    present = [tool for tool in tools if tool in result["seconds"]]
    return min(present, key=lambda tool: middle(result["seconds"][tool]), default=None)


def spread(values: list[float]) -> str:
    """Return the median of ratios and their range."""
    return f"{middle(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def summary(results: dict[str, dict[str, Any]], clock: str) -> str:
    """Return the tables."""
    rebop = [tool for tool, entry in PEERS.items() if entry.package == "rebop" and entry.is_public]
    public = [tool for tool, entry in PEERS.items() if entry.is_public]

    def nanoseconds(result: dict[str, Any], tool: str | None) -> str:
        if tool is None or tool not in result["seconds"]:
            return "-"
        events = result["n_trajectories"] * result["events_per_trajectory"]
        return f"{1e9 * middle(result['seconds'][tool]) / events:.1f}"

    rows, notes = [], []
    for name, result in results.items():
        best, threads = faster(result, public), result["seconds_by_threads"]
        engine = "rebop engine" if "rebop engine" in result["seconds"] else None
        rows.append(
            [
                name,
                f"{result['events_per_trajectory']:,.0f}",
                nanoseconds(result, OURS),
                nanoseconds(result, faster(result, rebop)),
                nanoseconds(result, "bioscrape"),
                f"{best}: {spread(ratios(result, best))}" if best else "-",
                nanoseconds(result, engine),
                spread(ratios(result, engine)) if engine else "-",
                spread([one / two for one, two in zip(threads["1"], threads["2"], strict=True)])
                if threads
                else "-",
            ]
        )
        for tool, apart in result["standard_errors_apart"].items():
            if not apart < MOST_STANDARD_ERRORS:
                notes.append(
                    f"{name}: {tool} samples SOMETHING ELSE: its means or variances are "
                    f"{apart:.1f} standard errors away; its time does not count."
                )
    header = [
        "model",
        "events",
        OURS,
        "rebop",
        "bioscrape",
        "ratio to the faster peer",
        "rebop engine",
        "ratio to it",
        "2 threads against 1",
    ]
    first = next(iter(results.values()))
    time = "processor time" if clock == "cpu" else "time"
    apart = [x for result in results.values() for x in result["standard_errors_apart"].values()]
    about = [
        f"Nanoseconds of {time} per event: the median of {len(first['seconds'][OURS])}",
        f"interleaved rounds of whole calls for {first['n_trajectories']:,} trajectories, over",
        "their number of events.",
    ]
    if apart:
        about += [
            "Ratios: another tool's time over gillespy_lite's in the same round, the median",
            "(lowest to highest). rebop: the faster of its dense and sparse modes. rebop engine:",
            "the compiled part of rebop, called without its public interface. Between the tools,",
            f"means and variances are at most {max(apart):.1f} standard errors apart.",
        ]
    notes.append(textwrap.fill(" ".join(about), 100))
    return markdown_table(header, rows) + "\n\n" + "\n\n".join(notes) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; return 1 if a tool samples another process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--trajectories", type=int, default=N_TRAJECTORIES)
    parser.add_argument(
        "--peer-python", help="interpreter that has the peers, where this one does not"
    )
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: processor time, for a machine that others use too (threads: always wall)",
    )
    parser.add_argument("--out", type=Path, help="file for all numbers, JSON")
    parser.add_argument("--table", type=Path, help="file for the table, Markdown")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    facts = machine(sorted({entry.package for entry in PEERS.values()}))
    pin_to_one_core()
    peers = []
    for name in PEERS:
        peer = load_peer(name, options.peer_python)
        if peer is None:
            print(f"{name} is not installed: pip install -r benchmarks/requirements.txt")
        else:
            peers.append(peer)
    results = {}
    for name in options.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = measure(name, options.trajectories, options.rounds, peers, options.clock)
    save(
        summary(results, options.clock),
        {"clock": options.clock, "results": results},
        facts,
        options.out,
        options.table,
    )
    return int(
        any(
            not apart < MOST_STANDARD_ERRORS
            for result in results.values()
            for apart in result["standard_errors_apart"].values()
        )
    )


if __name__ == "__main__":
    sys.exit(main())
