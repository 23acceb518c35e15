"""The genetic oscillator of Vilar, Kueh, Barkai and Leibler (2002): an ensemble of its clocks.

Every single clock keeps ticking, but their phases drift apart, so that the mean over many of them
loses its rhythm. Run it with ``python examples/vilar_ensemble.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "vilar.png"

network = gl.models.vilar()
times = np.linspace(0, 100, 201)  # hours
runs = gl.ensemble(network, times, 500, rng=2002, outputs=["A", "R", "C"])
rate_equations = gl.simulate(network, times, method="ode")

print(runs)
print()
print("        activator A      repressor R        complex C")
print("hours    mean    std     mean    std     mean    std")
for t in range(0, 101, 10):
    i = runs.time_index(t)
    cells = "  ".join(
        f"{mean:7.1f} {std:6.1f}" for mean, std in zip(runs.mean()[i], runs.std()[i], strict=True)
    )
    print(f"{t:5d} {cells}")
print()
print(f"{runs.n_events.sum():.3g} reaction events in {runs.provenance.elapsed:.1f} s")

figure, (top, bottom) = plt.subplots(2, 1, figsize=(8.5, 6.5), sharex=True, layout="constrained")
runs.trajectory(0).plot(ax=top)
top.set_title("One clock")
top.set_xlabel("")
runs.plot("overlay", names="R", deterministic=rate_equations, level=0.8, ax=bottom)
bottom.set_title("Five hundred clocks drift apart: the mean loses its rhythm")
bottom.set_xlabel("time (hours)")
bottom.set_ylim(top=2300)  # room for the legend
entries = bottom.get_legend()
texts = [text.get_text() for text in entries.get_texts()]
bottom.legend(entries.legend_handles, texts, loc="upper center", ncols=4, fontsize="small")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
