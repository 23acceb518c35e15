"""An oscillator: the repressilator's sample paths beside its rate equations.

Run it with ``python examples/oscillator.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "oscillator.png"

network = gl.models.repressilator()
times = np.linspace(0, 1200, 1201)  # minutes
runs = gl.ensemble(network, times, 100, rng=4, outputs=["PX", "PY", "PZ"])
rate_equations = gl.simulate(network, times, method="ode")


def periods(path):
    """Return the times between upward crossings of half the path's 95 % quantile, in minutes."""
    level = np.quantile(path, 0.95) / 2
    # A crossing back and forth within 30 minutes is noise on one rise.
    rises = times[1:][(path[1:] >= level) & (path[:-1] < level)]
    kept = rises[np.diff(rises, prepend=-np.inf) > 30]
    return np.diff(kept)


sampled = np.concatenate([periods(path) for path in runs["PX"]])
deterministic = periods(rate_equations["PX"])[2:]  # after the first, transient ones
print(f"period of the rate equations: {deterministic.mean():6.1f} minutes")
print(
    f"period of single cells:       {sampled.mean():6.1f} minutes, "
    f"standard deviation {sampled.std(ddof=1):.1f} ({sampled.size} periods of {len(runs)} cells)"
)
print("largest count of protein X:  ", end="")
print(f" {rate_equations['PX'].max():6.0f} in the rate equations,", end="")
print(f" {runs['PX'].max(axis=1).mean():.0f} in the mean cell")

figure, (top, bottom) = plt.subplots(2, 1, figsize=(8.5, 6.5), sharex=True, layout="constrained")
runs.trajectory(0).plot(ax=top)
top.set_title("One cell: three proteins, each repressing the next")
top.set_xlabel("")
cells = bottom.plot(times, runs["PX"][1:5].T, color="#0072B2", alpha=0.4, linewidth=0.8)
rate_equations.plot(names="PX", ax=bottom)
smooth = bottom.lines[-1]
smooth.set(color="black", linewidth=1.8)
bottom.legend([cells[0], smooth], ["four cells", "rate equations"], fontsize="small")
bottom.set_title("Protein X: larger and less regular than the rate equations say")
bottom.set_xlabel("time (minutes)")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
