"""Time exact simulation at large counts: exact leaping, single events, and batss.

    python benchmarks/large_counts.py [--peer-python PATH] [--rounds 5] [--out large.json]

Lotka-Volterra and SIR at a total count of 1e8 and 1e10, to time 1 and over an epidemic, in
interleaved rounds; and the cost of Lotka-Volterra to time 1 against the total count, from 1e2 to
1e12. Rate constants of pairs are divided by the total count, so that all sizes run through the same
course. Before anything is timed, means and standard deviations are compared between the tools.

batss (Petrack and Doty 2025, arXiv:2508.04079; exact, too) runs in a worker of its own, by default
in this interpreter, and takes its time itself; without it the command times gillespy_lite alone.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import machine, markdown_table, middle, pin_to_one_core, save

SIZES = [10**k for k in range(2, 13)]
# Single events and batss up to here, some seconds; the cases above go further.
LARGEST_DIRECT = 10**7
LARGEST_BATSS = 10**9
N_STEPS = 10
N_COMPARED = 300


class Case(NamedTuple):
    """A network, its total count and the time to which it runs."""

    network: str
    n: int
    end: float

    @property
    def title(self) -> str:
        """Name of the case in tables."""
        names = {"lv": "Lotka-Volterra", "sir": "SIR"}
        whole = " (an epidemic)" if self.end > 10 else ""
        return f"{names[self.network]}, n = {self.n:.0e}, to t = {self.end:g}{whole}"


CASES = [
    Case(network, n, end)
    for network, ends in (("lv", (1.0,)), ("sir", (1.0, 30.0)))
    for n in (10**8, 10**10)
    for end in ends
]
# Where means and standard deviations are compared.
COMPARED = [Case("lv", 10**6, 1.0), Case("sir", 10**6, 6.0)]

# Species with their shares of the total count, then reactions with their rate constants.
NETWORKS: dict[str, tuple[dict[str, float], list[tuple[str, str, float]]]] = {
    "lv": (
        {"R": 0.5, "F": 0.5},
        [("R", "R R", 1.0), ("R F", "F F", 1.0), ("F", "", 1.0)],
    ),
    "sir": (
        {"S": 0.99, "I": 0.01, "Z": 0.0},
        [("S I", "I I", 2.0), ("I", "Z", 1.0)],
    ),
}  # fmt: skip


# ---- The worker that runs batss ------------------------------------------------------------------


def batss_worker() -> None:
    """Answer requests, one JSON line each: run batss and report time and final counts."""
    import batss

    def run(name: str, n: int, end: float, seed: int) -> dict[str, Any]:
        shares, reactions = NETWORKS[name]
        species = dict(zip(shares, batss.species(" ".join(shares)), strict=True))

        def side(text: str) -> Any:
            found = None
            for one in text.split():
                found = species[one] if found is None else found + species[one]
            return found

        wall, cpu = time.perf_counter(), time.process_time()
        rules = [(side(before) >> side(after)).k(k) for before, after, k in reactions]
        # The volume is the total count unless it is given: a pair's constant is divided by it.
        start = {species[one]: round(share * n) for one, share in shares.items()}
        simulation = batss.Simulation(start, rules, simulator_method="crn", seed=seed)
        simulation.run(end, history_interval=end / N_STEPS, timer=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        counts = simulation.config_dict
        final = [int(counts.get(species[one], 0)) for one in shares]
        return {"wall": wall, "cpu": cpu, "final": final}

    print(json.dumps({"version": __import__("importlib.metadata").metadata.version("batss")}))
    sys.stdout.flush()
    for line in sys.stdin:
        print(json.dumps(run(*json.loads(line))))
        sys.stdout.flush()


class Batss:
    """A worker process in which batss runs."""

    def __init__(self, python: str) -> None:
        self.process = subprocess.Popen(
            [python, __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.version = self.answer()["version"]

    def answer(self) -> dict[str, Any]:
        """Return the worker's next line."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"batss did not answer: {self.process.stderr.read()[-1000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, case: Case, seed: int) -> dict[str, Any]:
        """Run a case once."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([*case, seed]) + "\n")
        self.process.stdin.flush()
        return self.answer()


# ---- Measuring -----------------------------------------------------------------------------------


def text_of(case: Case) -> str:
    """Return the network in the package's language."""
    shares, reactions = NETWORKS[case.network]
    counts = ", ".join(f"{name} = {round(share * case.n)}" for name, share in shares.items())
    lines = [f"species {counts}"]
    for before, after, k in reactions:
        constant = k / case.n if " " in before else k
        sides = (" + ".join(side.split()) or "0" for side in (before, after))
        lines.append(f"{' -> '.join(sides)} @ {constant!r}")
    return "\n".join(lines)


def run_here(case: Case, method: str, seed: int) -> dict[str, Any]:
    """Run a case once by a method of the package, its text included."""
    import gillespy_lite as gl

    times = np.linspace(0.0, case.end, N_STEPS + 1)
    wall, cpu = time.perf_counter(), time.process_time()
    path = gl.simulate(gl.Network.parse(text_of(case)), times, method=method, rng=seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "final": path.final().tolist(), "events": path.n_events}


def agreement(batss: Batss) -> tuple[list[list[str]], bool]:
    """Compare final means and standard deviations; return rows, and whether all agree."""
    rows, agree = [], True
    for case in COMPARED:
        here = np.array([run_here(case, "exact_leaping", k)["final"] for k in range(N_COMPARED)])
        there = np.array([batss.run(case, k + 1)["final"] for k in range(N_COMPARED)])
        for i, name in enumerate(NETWORKS[case.network][0]):
            a, b = here[:, i].astype(float), there[:, i].astype(float)
            error = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / N_COMPARED)
            z_mean = (a.mean() - b.mean()) / error
            # The logarithm of a ratio of variances of normal samples has variance 4 / (n - 1).
            z_sd = math.log(a.var(ddof=1) / b.var(ddof=1)) / math.sqrt(4.0 / (N_COMPARED - 1))
            agree = agree and max(abs(z_mean), abs(z_sd)) < 4.0
            sds = [f"{x.mean():.1f} ({x.std(ddof=1):.1f})" for x in (a, b)]
            rows.append([f"{case.title}, {name}", *sds, f"{z_mean:+.1f}, {z_sd:+.1f}"])
    return rows, agree


def compare(batss: Batss | None, rounds: int) -> tuple[list[list[str]], dict[str, Any]]:
    """Time all cases in turns; return rows of the table and every time."""
    rows, numbers = [], {}
    for case in CASES:
        found: dict[str, list[dict[str, Any]]] = {"exact_leaping": [], "batss": []}
        for k in range(rounds):
            tools = list(found) if k % 2 == 0 else list(found)[::-1]
            for tool in tools:
                if tool == "exact_leaping":
                    found[tool].append(run_here(case, tool, k))
                elif batss is not None:
                    found[tool].append(batss.run(case, k + 1))
            taken = {tool: f"{one[-1]['wall']:.3f}" for tool, one in found.items() if one}
            print(f"{case.title}, round {k + 1}: {taken}", file=sys.stderr, flush=True)
        numbers[case.title] = found
        ours = found["exact_leaping"]
        wall, cpu = (middle([one[clock] for one in ours]) for clock in ("wall", "cpu"))
        events = middle([one["events"] for one in ours])
        row = [case.title, f"{events:.3g}", f"{wall:.3f}, {cpu:.3f}"]
        if batss is not None:
            for clock in ("wall", "cpu"):
                theirs = [one[clock] for one in found["batss"]]
                ratios = [b / one[clock] for b, one in zip(theirs, ours, strict=True)]
                row.append(f"{middle(theirs):.2f}")
                row.append(f"{middle(ratios):.0f} ({min(ratios):.0f}-{max(ratios):.0f})")
        rows.append(row)
    return rows, numbers


def slope(batss: Batss | None, rounds: int) -> tuple[list[list[str]], dict[str, Any], str]:
    """Time Lotka-Volterra against the total count; return rows, times and fitted slopes."""
    tools = ["direct", "exact_leaping", *(["batss"] if batss is not None else [])]
    limits = {"direct": LARGEST_DIRECT, "exact_leaping": SIZES[-1], "batss": LARGEST_BATSS}
    least: dict[str, dict[int, float]] = {tool: {} for tool in tools}
    events: dict[int, float] = {}
    for n in SIZES:
        case = Case("lv", n, 1.0)
        for k in range(rounds):
            for tool in tools:
                if n > limits[tool]:
                    continue
                if tool == "batss":
                    assert batss is not None
                    one = batss.run(case, k + 1)
                else:
                    one = run_here(case, tool, k)
                    events[n] = one["events"]
                least[tool][n] = min(least[tool].get(n, math.inf), one["cpu"])
    rows = []
    for n in SIZES:
        cells = [f"{n:.0e}"]
        for tool in tools:
            cpu = least[tool].get(n)
            cells.append("" if cpu is None else f"{cpu:.4f}")
            cells.append("" if cpu is None else f"{1e9 * cpu / events[n]:.2g}")
        rows.append(cells)
    sentences = []
    for tool in tools:
        sizes = [n for n in least[tool] if n >= (10**8 if tool == "exact_leaping" else 10**6)]
        cost = [least[tool][n] / events[n] for n in sizes]
        if len(sizes) > 1:
            power = np.polyfit(np.log(sizes), np.log(cost), 1)[0]
            sentences.append(f"{tool} n^{power:.2f} from {sizes[0]:.0e} to {sizes[-1]:.0e}")
    times = {tool: {str(n): cpu for n, cpu in found.items()} for tool, found in least.items()}
    return rows, times, "Cost of an event: " + "; ".join(sentences) + "."


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has batss")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", default=["agreement", "cases", "slope"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.worker:
        batss_worker()
        return 0
    facts = machine(["numpy"])
    pin_to_one_core()
    try:
        batss = Batss(options.peer_python)
        facts["versions"]["batss"] = batss.version
    except RuntimeError:
        batss = None
        print("batss is not there: gillespy_lite is timed alone")
    for method in ("direct", "exact_leaping"):
        run_here(Case("lv", 1000, 0.1), method, 1)
    sections, numbers, agree = [], {}, True
    if batss is not None and "agreement" in options.parts:
        rows, agree = agreement(batss)
        header = ["mean (sd) at the end", "exact_leaping", "batss", "z of mean, of sd"]
        sections.append(markdown_table(header, rows))
    if "cases" in options.parts:
        rows, numbers["cases"] = compare(batss, options.rounds)
        header = ["", "events", "exact_leaping, s (wall, processor)"]
        if batss is not None:
            header += ["batss, wall s", "ratio", "batss, processor s", "ratio"]
        sections.append(markdown_table(header, rows))
    if "slope" in options.parts:
        rows, numbers["slope"], sentence = slope(batss, min(options.rounds, 3))
        header = ["n", "direct, s", "ns per event", "exact_leaping, s", "ns per event"]
        if batss is not None:
            header += ["batss, s", "ns per event"]
        sections += [markdown_table(header, rows), sentence]
    text = "\n\n".join(sections) + "\n"
    save(text, numbers, facts, options.out, options.table)
    if not agree:
        print("means or standard deviations differ", file=sys.stderr)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
