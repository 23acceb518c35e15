"""The master equation against `scipy.sparse.linalg.expm_multiply`, and a million states.

    python benchmarks/master_equation.py            the table
    python benchmarks/master_equation.py --large    the large problem as well

For each network: states, time and bound of `solve_master_equation`, and the time that
`expm_multiply` takes on the fixed box, the smallest range of each species that leaves out no more
than the tolerance at any of 21 times. The box is made from the solution, so that finding it is not
counted; it loses more probability than the tolerance at its walls, which is shown, too.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from scipy.sparse.linalg import expm_multiply

import gillespy_lite as gl
from gillespy_lite.conservation import conservation_laws
from gillespy_lite.master_equation import StateSearch

TWO_SPECIES = """
species X = 60, A = 50
param s = 4
0 <-> A @ 5, 0.1
A + 2 X -> A + 3 X @ 0.03*s/50
3 X -> 2 X @ 1e-4*s*s
0 <-> X @ 200/s, 3.5
"""
PROTEIN = """
species Off = 1, On, M, Q
Off <-> On @ 0.25, 0.15
On -> On + M @ 15
M -> 0 @ 1
M -> M + Q @ 4
Q -> 0 @ 0.3
"""
RING = """
species X = 10, Y, Z
param leak = 0.2, a = 12, K = 6
0 => X @ leak + a*hillr(Z, K, 2)
0 => Y @ leak + a*hillr(X, K, 2)
0 => Z @ leak + a*hillr(Y, K, 2)
X -> 0 @ 0.6
Y -> 0 @ 0.6
Z -> 0 @ 0.6
"""

PROBLEMS = {
    "toggle switch, t = 20": (gl.models.toggle_switch(), 20.0),
    "Schlögl, t = 4": (gl.models.schlogl(), 4.0),
    "Schlögl with two species, t = 1": (gl.Network.parse(TWO_SPECIES), 1.0),
    "telegraph with protein, t = 10": (gl.Network.parse(PROTEIN), 10.0),
    "repressilator slice, t = 10": (gl.Network.parse(RING), 10.0),
}
LARGE = gl.Network.parse(RING).with_parameters(a=88, K=33, leak=1).with_initial(X=100, Y=10, Z=10)


def timed(network: gl.Network, t: float, tolerance: float, rounds: int):
    """Return the law and the least processor time."""
    best = np.inf
    for _ in range(rounds):
        before = time.process_time()
        law = gl.solve_master_equation(network, [0, t], tolerance=tolerance)
        best = min(best, time.process_time() - before)
    return law, best


def smallest_box(network: gl.Network, t: float, tolerance: float):
    """Return all states of the network inside the smallest ranges of counts."""
    law = gl.solve_master_equation(network, np.linspace(0, t, 21), tolerance=tolerance)
    n = network.n_species
    low, high = np.full(n, 2**31), np.zeros(n, dtype=np.int64)
    for at in law.times:
        for i, name in enumerate(law.species):
            p = law.marginal(name, at)
            cut = tolerance / (2 * n)
            low[i] = min(low[i], np.searchsorted(np.cumsum(p), cut))
            high[i] = max(high[i], p.size - 1 - np.searchsorted(np.cumsum(p[::-1]), cut))
    search = StateSearch(network)
    free = search._coordinates
    ranges = [np.arange(low[i], high[i] + 1) for i in free]
    grid = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, free.size)
    states = np.zeros((grid.shape[0], n), dtype=np.int64)
    states[:, free] = grid
    bound = [i for i in range(n) if i not in free]
    if bound:
        laws = conservation_laws(network)
        rest = (laws @ network.initial_state)[:, None] - laws[:, free] @ grid.T
        solved = np.linalg.solve(laws[:, bound].astype(float), rest)
        states[:, bound] = np.rint(solved).T
    inside = ((states >= low) & (states <= high)).all(axis=1)
    return search.space(states[inside])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="a million states as well")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    options = parser.parse_args()
    tolerance = options.tolerance
    gl.solve_master_equation(gl.models.schlogl(), [0, 0.01])
    print("| network | states | seconds | bound | box | expm_multiply, s | its loss | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (network, t) in PROBLEMS.items():
        law, ours = timed(network, t, tolerance, 3)
        space = smallest_box(network, t, tolerance)
        matrix = space.generator().to_scipy().tocsr() * t
        start = np.zeros(space.n_states)
        start[space.index_of(network.initial_state[None])] = 1.0
        before = time.process_time()
        theirs = expm_multiply(matrix, start)
        seconds = time.process_time() - before
        print(
            f"| {name} | {law.n_states_at()} | {ours:.3g} | {law.error_bound[-1]:.1e} | "
            f"{space.n_states} | {seconds:.3g} | {1.0 - theirs.sum():.1e} | {seconds / ours:.1f} |",
            flush=True,
        )
    if options.large:
        wall, before = time.perf_counter(), time.process_time()
        law = gl.solve_master_equation(LARGE, [0, 4], tolerance=tolerance)
        print(
            f"\nlarge repressilator slice: {law.n_states_at()} states at t = 4, "
            f"{time.process_time() - before:.1f} s of processor time, "
            f"{time.perf_counter() - wall:.1f} s, bound {law.error_bound[-1]:.1e}, "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"
        )
        # Goutsias' network of six species: minutes.
        before = time.process_time()
        law = gl.solve_master_equation(gl.models.goutsias(), [0, 100], tolerance=tolerance)
        print(
            f"\nGoutsias, t = 100: {law.n_states_at()} states, "
            f"{time.process_time() - before:.0f} s of processor time, "
            f"bound {law.error_bound[-1]:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
