"""An ensemble: means with confidence intervals, quantile bands, and a check by theory.

A gene makes mRNA, mRNA makes protein. All rates are linear, so the rate equations give the exact
mean, which a 95 % interval covers nineteen times out of twenty. Run it with
``python examples/ensemble_with_bands.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "ensemble_with_bands.png"

network = gl.Network.parse("""
species M, P                       # mRNA and protein, none at the start
param k_m = 0.5, k_p = 2           # per minute; per mRNA and minute
param g_m = 0.1, g_p = 0.02        # decay, per molecule and minute
observe ratio = P/max(M, 1)

transcribe: 0 -> M      @ k_m
translate:  M -> M + P  @ k_p
decay_M:    M -> 0      @ g_m
decay_P:    P -> 0      @ g_p
""")

times = np.linspace(0, 240, 121)
runs = gl.ensemble(network, times, 5000, rng=7)
exact = gl.simulate(network, times, method="ode")
print(runs.summary())
print()

print("protein  mean   95 % interval       exact   std    5 % - 95 % of the trajectories")
lower, upper = runs.confidence_band(0.95, "P")
for t in (30, 60, 120, 240):
    i = runs.time_index(t)
    low, high = runs.quantile([0.05, 0.95], "P")[:, i]
    print(
        f"t = {t:3d}  {runs.mean('P')[i]:6.2f}  {lower[i]:6.2f} to {upper[i]:6.2f}  "
        f"{exact['P'][i]:6.2f}  {runs.std('P')[i]:5.2f}  {low:5.0f} - {high:.0f}"
    )
covariance = runs.cov(240, ["M", "P"])
correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
print(f"correlation of mRNA and protein at t = 240: {correlation:.3f}")
print(f"mean of the observable ratio at t = 240: {runs['ratio'][:, -1].mean():.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
runs.plot("band", names="M", ax=left)
left.set_title("mRNA: mean, spread and three trajectories")
runs.plot("fan", names="P", ax=right)
right.set_title("Protein: median and quantile bands")
for axes in (left, right):
    axes.set_xlabel("time (minutes)")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
