"""Fits to snapshots against their Fisher information: covariance, bias, coverage of intervals.

    python benchmarks/snapshot_fits.py [--fits 500] [--cells 1000]

For two networks, one of them seen in part, data are drawn from the exact law, fitted, and the
covariance of the estimates is compared with the inverse of the Fisher information by a likelihood
ratio test; so is their mean with the truth, and how often intervals hold it.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from scipy.stats import binomtest, chi2

import gillespy_lite as gl

TELEGRAPH = gl.Network.parse("""
    species Off = 1, On, M
    param on = 0.6, off = 0.9, s = 12, d = 1
    Off -> On @ on
    On -> Off @ off
    On -> On + M @ s
    M -> 0 @ d
""")
BIRTH_DEATH = gl.Network.parse("""
    species X
    param k = 10, g = 0.5
    0 -> X @ k
    X -> 0 @ g
""")
CASES = {
    "birth and death, k and g from X at t = 1, 3": (BIRTH_DEATH, ["k", "g"], ["X"], [1.0, 3.0]),
    "telegraph, on, off and s from M alone at t = 0.5, 1.5, 4": (
        *(TELEGRAPH, ["on", "off", "s"], ["M"]),
        [0.5, 1.5, 4.0],
    ),
}


def covariance_pvalue(u: np.ndarray, covariance: np.ndarray) -> float:
    """Return the p-value of the likelihood ratio test that `u` (n, d) has this covariance."""
    n, d = u.shape
    found = np.cov(u.T, bias=True).reshape(d, d) @ np.linalg.inv(covariance)
    ratio = n * (np.trace(found) - d - math.log(np.linalg.det(found)))
    return float(chi2.sf(ratio, d * (d + 1) // 2))


def main() -> None:
    """Run and print."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--fits", type=int, default=500)
    reader.add_argument("--cells", type=int, default=1000, help="at each time")
    asked = reader.parse_args()
    for title, (network, names, observed, times) in CASES.items():
        law = gl.solve_master_equation(network, [0.0, *times], tolerance=1e-10)
        column = network.species_names.index(observed[0])
        truth = dict(zip(network.parameter_names, network.parameter_values, strict=True))
        true = np.array([truth[name] for name in names])
        information = gl.fisher_information(network, times, names, observed=observed, n=asked.cells)
        expected = information.covariance / np.outer(true, true)
        u, held, n_converged = (
            [],
            {"profile": np.zeros(len(names)), "wald": np.zeros(len(names))},
            0,
        )
        started = time.process_time()
        for i in range(asked.fits):
            data = {t: law.sample(asked.cells, t, rng=1000 * i + k)[:, column]
                    for k, t in enumerate(times)}  # fmt: skip
            fit = gl.fit_snapshots(network, data, names, observed=observed)
            n_converged += fit.converged
            u.append([math.log(fit[name]) for name in names])
            for kind, count in held.items():
                for m, (low, high) in enumerate(fit.confidence_intervals(kind=kind).values()):
                    count[m] += low <= true[m] <= high
        spent = time.process_time() - started
        logs = np.array(u) - np.log(true)
        bias = logs.mean(axis=0)
        shift = asked.fits * bias @ np.linalg.solve(expected, bias)
        print(f"{title}: {asked.fits} fits to {asked.cells} cells at each time, "
              f"{n_converged} converged, {1e3 * spent / asked.fits:.0f} ms each")  # fmt: skip
        print("  standard errors of logarithms: found", np.round(logs.std(axis=0), 5).tolist(),
              "expected", np.round(np.sqrt(np.diag(expected)), 5).tolist())  # fmt: skip
        print(f"  covariance is that of the Fisher information: p = "
              f"{covariance_pvalue(logs, expected):.3g}; twice the information would have p = "
              f"{covariance_pvalue(logs, expected / 2):.2g}")  # fmt: skip
        print(
            f"  mean of the logarithms is the truth: p = {chi2.sf(shift, len(names)):.3g}; "
            f"bias in standard errors {np.round(bias / np.sqrt(np.diag(expected)), 3).tolist()}"
        )
        for kind, count in held.items():
            pvalues = [binomtest(int(c), asked.fits, 0.95).pvalue for c in count]
            print(f"  95 % intervals ({kind}) hold the truth in "
                  f"{np.round(100 * count / asked.fits, 1).tolist()} %, "
                  f"p = {np.round(pvalues, 3).tolist()}")  # fmt: skip


if __name__ == "__main__":
    main()
