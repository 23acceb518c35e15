"""What `controlled_mean` saves against `ensemble` at equal error of a mean.

    python benchmarks/control_variates.py [--models dimerisation sir] [--n 10000] [--out x.json]

Both run on one core, one after the other in one process, several rounds; the least processor time
of each counts, all that it takes included: pilot, mean path and weights here, lanes there.
"cheaper" is the ratio of time times squared standard error. "off" is the difference from the exact
mean in standard errors, where the law of the model is known. A second table has what both take to
the same tolerance, each with a pilot and looks.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

from reporting import machine, markdown_table, save

import gillespy_lite as gl
from gillespy_lite import models

# Species and end of the run; None for the model's own.
CASES: dict[str, tuple[str, float | None]] = {
    "dimerisation": ("P", None),
    "michaelis_menten": ("P", None),
    "sir": ("S", None),
    "goutsias": ("M", 500.0),
    "toggle_switch": ("U", 20.0),
    "lotka_volterra": ("Y1", 1.0),
    "schlogl": ("X", None),
}
# Of differences: a parameter that is 5 % larger.
CHANGED = {
    "birth_death": ("X", "g"),
    "dimerisation": ("P", "k_bind"),
    "michaelis_menten": ("P", "kcat"),
    "schlogl": ("X", "c1"),
}


def exact_mean(name: str, species: str, end: float) -> float | None:
    """Return the mean from the exact law, or None where there is none."""
    if models.MODELS[name].law is None:
        return None
    try:
        return models.exact_law(name, species, end).mean
    except (ValueError, KeyError):
        return None


def case(name: str) -> tuple[gl.Network, str, float]:
    """Return the network, the species and the time of a case."""
    stock = models.MODELS[name]
    species, end = CASES[name]
    network = stock.build()
    if species not in network.species_names:
        species = network.species_names[0]
    return network, species, stock.t_end if end is None else end


def measure(name: str, n: int, rounds: int) -> dict[str, object]:
    """Return times, errors and the gain for one model."""
    network, species, end = case(name)
    ours, plain = math.inf, math.inf
    for seed in range(rounds + 1):  # the first also compiles
        started = time.process_time()
        controlled = gl.controlled_mean(network, end, species, n, rng=seed, threads=1)
        spent = time.process_time() - started
        ours = min(ours, spent) if seed else ours
        started = time.process_time()
        runs = gl.ensemble(
            network, [0.0, end], n, rng=seed, threads=1, statistics=True, outputs=[species]
        )
        spent = time.process_time() - started
        plain = min(plain, spent) if seed else plain
    plain_error = float(runs.std(species)[-1]) / math.sqrt(n)
    truth = exact_mean(name, species, end)
    return {
        "species": species,
        "end": end,
        "n": n,
        "seconds": {"controlled": ours, "plain": plain},
        "variance_ratio": (plain_error / controlled.standard_error) ** 2,
        "cheaper": plain * plain_error**2 / (ours * controlled.standard_error**2),
        "off": None if truth is None else (controlled.estimate - truth) / controlled.standard_error,
        "estimate": controlled.estimate,
        "standard_error": controlled.standard_error,
    }


# Tolerances in percent: what is usually asked for, and what takes many trajectories.
TOLERANCES = (1.0, 0.1)
TO_TOLERANCES = ("dimerisation", "michaelis_menten", "sir")


def measure_until(name: str, percent: float) -> dict[str, object]:
    """Return what a mean to a tolerance takes with controls and without."""
    network, species, end = case(name)
    goal = f"mean({species}) +/- {percent}%"
    ours = plain = math.inf
    for seed in range(4):  # the first also compiles
        started = time.process_time()
        controlled = gl.controlled_mean(
            network, end, species, tolerance=f"{percent}%", rng=seed, threads=1
        )
        ours = min(ours, time.process_time() - started) if seed else ours
        started = time.process_time()
        runs = gl.ensemble(
            network, [0.0, end], until=goal, rng=seed, threads=1, statistics=True, outputs=[species]
        )
        plain = min(plain, time.process_time() - started) if seed else plain
    report = runs.precision
    assert report is not None
    return {
        "model": name,
        "species": species,
        "end": end,
        "percent": percent,
        "trajectories": report.n + report.n_pilot,
        "controlled_trajectories": controlled.n + controlled.n_pilot,
        "seconds": {"controlled": ours, "plain": plain},
        "cheaper": plain / ours,
    }


def measure_difference(name: str, n: int) -> dict[str, object]:
    """Return what pairs, and the same seed for two ensembles, save in a difference of means."""
    network, end = models.MODELS[name].build(), models.MODELS[name].t_end
    species, parameter = CHANGED[name]
    values = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
    changes = {parameter: 1.05 * values[parameter]}
    times = [0.0, end]
    other = network.with_parameters(changes)
    ours = plain = math.inf
    for seed in range(3):
        started = time.process_time()
        found = gl.difference(network, changes, times, species, n, rng=seed, threads=1)
        ours = min(ours, time.process_time() - started) if seed else ours
        started = time.process_time()
        first, second = (
            gl.ensemble(one, times, n, rng=seed, threads=1)[species][:, -1]
            for one in (network, other)
        )
        plain = min(plain, time.process_time() - started) if seed else plain
    variance = float(first.var() + second.var())
    pair = n * float(found.standard_error[-1]) ** 2
    return {
        "species": species,
        "end": end,
        "parameter": parameter,
        "variance_ratio": variance / pair,
        "same_seed_ratio": variance / float((second - first).var()),
        "seconds": {"pairs": ours, "plain": plain},
        "cheaper": plain * variance / (ours * pair),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    found = {}
    for name in arguments.models:
        found[name] = measure(name, arguments.n, arguments.rounds)
        print(name, found[name], flush=True)
    rows = [
        [
            name,
            f"{one['species']}({one['end']:g})",
            f"{one['variance_ratio']:,.3g}",
            f"{one['seconds']['controlled'] / one['seconds']['plain']:.2g}",
            f"{one['cheaper']:.3g}",
            "-" if one["off"] is None else f"{one['off']:+.1f}",
        ]
        for name, one in found.items()
    ]
    header = ["model", "mean of", "variance / controlled", "time / plain", "cheaper", "off"]
    text = markdown_table(header, rows)
    asked = [name for name in arguments.models if name in TO_TOLERANCES]
    goals = [measure_until(name, percent) for name in asked for percent in TOLERANCES]
    rows = [
        [
            f"{one['model']}",
            f"{one['species']}({one['end']:g})",
            f"{one['percent']:g} %",
            f"{one['trajectories']:,}",
            f"{one['controlled_trajectories']:,}",
            f"{one['cheaper']:.2g}",
        ]
        for one in goals
    ]
    header = ["model", "mean of", "tolerance", "until", "controlled", "cheaper"]
    text = f"{text}\n\n{markdown_table(header, rows)}"
    differences = {name: measure_difference(name, arguments.n) for name in CHANGED}
    rows = [
        [
            name,
            f"{one['species']}({one['end']:g})",
            f"{one['parameter']}",
            f"{one['same_seed_ratio']:.3g}",
            f"{one['variance_ratio']:.3g}",
            f"{one['cheaper']:.3g}",
        ]
        for name, one in differences.items()
    ]
    header = ["model", "mean of", "5 % more", "same seed", "pairs", "cheaper"]
    text = f"{text}\n\n{markdown_table(header, rows)}"
    numbers = {"models": found, "tolerances": goals, "differences": differences}
    save(text, numbers, machine(["scipy"]), arguments.out, arguments.table)


if __name__ == "__main__":
    main()
