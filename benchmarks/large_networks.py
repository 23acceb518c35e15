"""Large networks: cost of an event by method and size, against C; cost of reading and compiling.

    python benchmarks/large_networks.py --data ../shared/data/bng --rounds 3 --markdown

Times are processor times in ns per event, the least over interleaved rounds; what a run costs
without its events is taken off. C is `large_networks.c`, compiled for this machine with -O3 where
there is a compiler: each of its algorithms reads the same tables, and the best of them counts.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gillespy_lite as gl
from gillespy_lite.compilation import CompiledNetwork, compile_network
from gillespy_lite.kernels.arrays import PAIR

METHODS = ("direct", "partial_propensity", "composition_rejection", "rejection", "next_reaction")
ALGORITHMS = ("linear", "tree", "rejection")


class Case(NamedTuple):
    """A network, and the end of its runs."""

    name: str
    make: Callable[[], gl.Network]
    end: float


def _network(n_species: int, amounts: str, reactions: list[str]) -> gl.Network:
    return gl.Network.parse(
        "\n".join([*(f"species S{i}{amounts}" for i in range(n_species)), *reactions])
    )


def chain(size: int, *, equal: bool, full: bool = True) -> gl.Network:
    """Return S0 -> S1 -> ... with 10 molecules of each, or with 10,000 at the start."""
    rates = np.ones(size) if equal else 1.0 + np.random.default_rng(1).random(size)
    network = _network(
        size + 1,
        " = 10" if full else "",
        [f"S{i} -> S{i + 1} @ {rates[i]:.6f}" for i in range(size)],
    )
    return network if full else network.with_initial(S0=10_000)


def ring(size: int, *, equal: bool) -> gl.Network:
    """Return a ring of equally active first-order reactions."""
    rates = np.ones(size) if equal else 1.0 + np.random.default_rng(1).random(size)
    lines = [f"S{i} -> S{(i + 1) % size} @ {rates[i]:.6f}" for i in range(size)]
    return _network(size, " = 10", lines)


def random_network(n_species: int, n_reactions: int, n_constants: int) -> gl.Network:
    """Return first- and second-order reactions of species that are drawn, all equally coupled."""
    rng = np.random.default_rng(2)
    constants, lines = rng.lognormal(0.0, 1.0, n_constants), []
    for j in range(n_reactions):
        a, b, c, d = rng.choice(n_species, 4, replace=False)
        rate = constants[j % n_constants]
        two = f"S{a} + S{b} -> S{c} + S{d} @ {rate / 20:.9f}"
        lines.append(two if j % 2 else f"S{a} -> S{c} @ {rate:.9f}")
    return _network(n_species, " = 20", lines)


def hub(n_partners: int, n_constants: int) -> gl.Network:
    """Return one enzyme and many substrates."""
    rates = np.random.default_rng(3).lognormal(0.0, 1.0, n_constants)
    lines = [f"species E = 500, {', '.join(f'C{i}' for i in range(n_partners))}"]
    for i in range(n_partners):
        rate = rates[i % n_constants]
        lines.append(f"E + S{i} <-> C{i} @ {rate / 100:.9f}, {rate:.9f}")
    return _network(n_partners, " = 20", lines)


def toggles(n_pairs: int) -> gl.Network:
    """Return pairs of genes that repress each other, by rate laws."""
    lines = []
    for i in range(n_pairs):
        lines.append(f"species A{i} = 20, B{i} = 5")
        for one, other in (("A", "B"), ("B", "A")):
            lines += [f"0 => {one}{i} @ 20/(1 + ({other}{i}/15)^2)", f"{one}{i} -> 0 @ 1"]
    return gl.Network.parse("\n".join(lines))


def cascade(n_tiers: int) -> gl.Network:
    """Return a cascade of activations, each tier driven by the one above."""
    lines = ["species Y0 = 50"]
    for i in range(1, n_tiers + 1):
        lines.append(f"species X{i} = 100, Y{i}")
        lines.append(f"X{i} => Y{i} @ 0.3*Y{i - 1}*X{i}/(30 + X{i})")
        lines.append(f"Y{i} => X{i} @ 9*Y{i}/(20 + Y{i})")
    return gl.Network.parse("\n".join(lines))


def lattice(side: int) -> gl.Network:
    """Return A + B <-> C in every voxel of a square, and diffusion between neighbours."""
    places = [(x, y) for x in range(side) for y in range(side)]
    lines = [f"species {', '.join(f'{s}{x}_{y} = 10' for s in 'ABC')}" for x, y in places]
    for x, y in places:
        lines.append(f"A{x}_{y} + B{x}_{y} <-> C{x}_{y} @ 0.1, 1")
        for s, rate in (("A", 2.0), ("B", 1.0), ("C", 0.5)):
            for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                if 0 <= x + right < side and 0 <= y + up < side:
                    lines.append(f"{s}{x}_{y} -> {s}{x + right}_{y + up} @ {rate}")
    return gl.Network.parse("\n".join(lines))


def genes(n_genes: int) -> gl.Network:
    """Return genes whose transcription two other proteins regulate, by Hill functions."""
    rng, lines = np.random.default_rng(4), []
    for i in range(n_genes):
        a, b = rng.choice(n_genes, 2, replace=False)
        lines.append(f"species M{i} = 5, P{i} = {rng.integers(20, 200)}")
        made, threshold = rng.uniform(5.0, 30.0), rng.uniform(30.0, 150.0)
        lines += [
            f"0 => M{i} @ 0.2 + {made:.3f}*hill(P{a}, {threshold:.2f}, 2)*hillr(P{b}, 90, 4)",
            f"M{i} -> 0 @ {rng.uniform(0.5, 2.0):.3f}",
            f"M{i} -> M{i} + P{i} @ {rng.uniform(2.0, 10.0):.3f}",
            f"P{i} -> 0 @ {rng.uniform(0.1, 0.5):.3f}",
        ]
    return gl.Network.parse("\n".join(["species Z", *lines]))


def metabolism(n_metabolites: int, n_steps: int) -> gl.Network:
    """Return reversible enzymatic steps by Michaelis and Menten that share carriers of energy."""
    rng = np.random.default_rng(5)
    lines = ["species ATP = 3000, ADP = 1000, NAD = 2000, NADH = 500"]
    lines += [f"species S{i} = {int(rng.lognormal(5.0, 1.0)) + 1}" for i in range(n_metabolites)]
    for j in range(n_steps):
        a, b = rng.choice(n_metabolites, 2, replace=False)
        fast, half = rng.lognormal(3.0, 1.0), rng.lognormal(5.0, 0.5)
        taken, made = [("", ""), ("ATP", "ADP"), ("NADH", "NAD"), ("", "")][j % 4]
        left, right = f"S{a} + {taken}".strip(" +"), f"S{b} + {made}".strip(" +")
        share = f"*{taken}/({taken} + 500)" if taken else ""
        lines.append(f"{left} => {right} @ {fast:.4f}*S{a}/({half:.2f} + S{a} + 0.5*S{b}){share}")
        share = f"*{made}/({made} + 800)" if made else ""
        back = f"{fast / 3:.4f}*S{b}/({half:.2f} + S{b} + 0.5*S{a}){share}"
        lines.append(f"{right} => {left} @ {back}")
    lines += ["ADP -> ATP @ 0.5", "NAD -> NADH @ 0.2"]
    return gl.Network.parse("\n".join(lines))


def all_to_all(n_species: int) -> gl.Network:
    """Return species of which each meets every other, at rate constants of their own."""
    rng = np.random.default_rng(6)
    pairs = [(i, j) for i in range(n_species) for j in range(n_species) if i != j]
    lines = [f"S{i} + S{j} -> 2 S{j} @ {rng.lognormal(-5.0, 1.0):.9f}" for i, j in pairs]
    return _network(n_species, " = 100", lines)


def cases(data: Path | None) -> list[Case]:
    """Return the networks; those of files only where their folder is given.

    The numbers by which `auto` compares methods were fitted to files and those of the first list,
    and one was changed when the second had been measured; those of the third are fresh.
    """
    files = []
    if data is not None:
        for name, end in (("egfr_net", 3.0), ("bcr_ssa", 1.0), ("fceri_gamma2", 60.0)):
            path = next(path for path in sorted((data / name).iterdir()) if ".net" in path.name)
            files.append(Case(name, lambda path=path: gl.Network.from_net(path), end))
    return [*files, *FITTED, *OTHERS, *FRESH]


FITTED = [
    Case("chain 1e3", lambda: chain(1000, equal=False), 10.0),
    Case("chain 1e5", lambda: chain(100_000, equal=False), 1.5),
    Case("chain 1e3, one start", lambda: chain(1000, equal=False, full=False), 40.0),
    Case("chain 1e5, one start", lambda: chain(100_000, equal=False, full=False), 40.0),
    Case("chain 1e3, one rate", lambda: chain(1000, equal=True), 10.0),
    Case("ring 100", lambda: ring(100, equal=False), 200.0),
    Case("ring 3000", lambda: ring(3000, equal=False), 10.0),
    Case("ring 3000, one rate", lambda: ring(3000, equal=True), 10.0),
    Case("random 100/300", lambda: random_network(100, 300, 300), 400.0),
    Case("random 1000/3000", lambda: random_network(1000, 3000, 3000), 10.0),
    Case("random 1000/3000, 10 rates", lambda: random_network(1000, 3000, 10), 10.0),
    Case("random 200/5000", lambda: random_network(200, 5000, 5000), 2.0),
    Case("random 200/5000, 10 rates", lambda: random_network(200, 5000, 10), 2.0),
    Case("hub of 100", lambda: hub(100, 100), 100.0),
    Case("hub of 1000", lambda: hub(1000, 1000), 20.0),
    Case("toggles 100", lambda: toggles(100), 50.0),
    Case("cascade 100", lambda: cascade(100), 100.0),
]

OTHERS = [
    Case("lattice 30 x 30", lambda: lattice(30), 1.5),
    Case("genes 50", lambda: genes(50), 30.0),
    Case("metabolism 300/1200", lambda: metabolism(300, 600), 10.0),
    Case("all to all 60", lambda: all_to_all(60), 0.6),
    Case("random 4000/10000", lambda: random_network(4000, 10_000, 10_000), 1.0),
    Case("chain 1e4", lambda: chain(10_000, equal=False), 5.0),
]

FRESH = [
    Case("ring 500", lambda: ring(500, equal=False), 40.0),
    Case("cascade 300", lambda: cascade(300), 60.0),
    Case("lattice 16 x 16", lambda: lattice(16), 5.0),
    Case("genes 150", lambda: genes(150), 12.0),
    Case("metabolism 100/400", lambda: metabolism(100, 200), 30.0),
    Case("all to all 30", lambda: all_to_all(30), 3.0),
    Case("random 500/2000", lambda: random_network(500, 2000, 2000), 8.0),
    Case("random 3000/6000", lambda: random_network(3000, 6000, 6000), 3.0),
    Case("hub of 400", lambda: hub(400, 400), 30.0),
    Case("chain 3e3", lambda: chain(3000, equal=False), 8.0),
]


def write_tables(compiled: CompiledNetwork, path: Path) -> None:
    """Write the arrays that the C program reads."""
    arrays = compiled.arrays
    with path.open("wb") as file:
        file.write(np.array([compiled.initial_state.size, arrays.form.size], "<i8").tobytes())
        for name, kind in (
            *(("initial_state", "<i8"), ("coefficient", "<f8"), ("shift", "<f8")),
            *(("first", "<i4"), ("second", "<i4"), ("change_start", "<i4")),
            *(("change_species", "<i4"), ("change", "<i4"), ("part_start", "<i4")),
            *(("part", "<i4"), ("dependent_start", "<i4"), ("dependent", "<i4")),
        ):
            values = compiled.initial_state if name == "initial_state" else getattr(arrays, name)
            file.write(np.array([values.size], "<i8").tobytes() + values.astype(kind).tobytes())


def compile_reference(folder: Path) -> Path | None:
    """Return the C program, or None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = folder / "large_networks"
    source = Path(__file__).with_suffix(".c")
    command = [compiler, "-O3", "-march=native", "-o", str(program), str(source), "-lm"]
    subprocess.run(command, check=True)
    return program


def seconds_of(network: gl.Network, method: str, end: float, seed: int) -> tuple[float, int]:
    """Return the processor time of a run and its number of events."""
    gc.collect()
    before = time.process_time()
    run = gl.simulate(
        network, [0.0, end], method=method, rng=seed, outputs=network.species_names[:1]
    )
    return time.process_time() - before, int(run.n_events)


def measure(case: Case, rounds: int, reference: Path | None, folder: Path) -> dict[str, object]:
    """Return a row of the table."""
    before = time.process_time()
    network = case.make()
    read = time.process_time() - before
    before = time.process_time()
    compiled = compile_network(network)
    compiling = time.process_time() - before
    tables = folder / "tables"
    if (compiled.arrays.form != PAIR).any():
        reference = None  # it knows mass action of two molecules, and no laws
    write_tables(compiled, tables)
    best: dict[str, float] = {}
    in_c: dict[str, float] = {}
    empty = dict.fromkeys(METHODS, float("inf"))
    runs: dict[str, list[tuple[float, int]]] = {method: [] for method in METHODS}
    for seed in range(rounds):
        for method in METHODS:
            empty[method] = min(empty[method], seconds_of(network, method, 1e-12, seed)[0])
            runs[method].append(seconds_of(network, method, case.end, seed))
        for algorithm in ALGORITHMS if reference is not None else ():
            command = [str(reference), str(tables), algorithm, repr(case.end), str(seed + 1)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            cost = float(done.stdout.split()[1])
            in_c[algorithm] = min(in_c.get(algorithm, float("inf")), cost)
    for method in METHODS:
        best[method] = 1e9 * min((spent - empty[method]) / n for spent, n in runs[method])
    chosen = gl.simulate(network, [0.0, 1e-12], rng=1).provenance.method
    row: dict[str, object] = {
        "network": case.name,
        "reactions": compiled.arrays.form.size,
        "read s": f"{read:.2f}",
        "compile s": f"{compiling:.2f}",
        **{name: f"{best[name]:.0f}" for name in METHODS},
        "auto": chosen,
        "auto/best": f"{best[chosen] / min(best[name] for name in METHODS):.2f}",
    }
    row["C"] = row["auto/C"] = ""
    if in_c:
        winner = min(in_c, key=in_c.__getitem__)
        row["C"] = f"{in_c[winner]:.0f} ({winner})"
        row["auto/C"] = f"{best[chosen] / in_c[winner]:.2f}"
    return row


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of BioNetGen networks, one each a folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="names begin with one of these")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    for method in METHODS:
        gl.simulate(ring(70, equal=True), [0.0, 1e-9], method=method, rng=1)
    with tempfile.TemporaryDirectory() as name:
        reference = compile_reference(Path(name))
        for k, case in enumerate(cases(options.data)):
            if options.only and not case.name.startswith(tuple(options.only)):
                continue
            row = measure(case, options.rounds, reference, Path(name))
            if options.markdown:
                if k == 0:
                    print("| " + " | ".join(row) + " |\n|" + " --- |" * len(row))
                print("| " + " | ".join(map(str, row.values())) + " |", flush=True)
            else:
                print(row, flush=True)


if __name__ == "__main__":
    main()
