"""Two stable states: the reaction of Schlögl, with its exact distribution over the histogram.

All trajectories start near the unstable state between the two; noise decides where each goes.
Run it with ``python examples/bistability.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "bistability.png"

network = gl.models.schlogl()
runs = gl.ensemble(network, 4, 10_000, rng=3)
law = gl.models.exact_law("schlogl", "X", 4.0)  # solves the master equation

final = runs.final("X")
n = len(runs)
lower_share = (final < 300).mean()
error_of_mean = final.std() / np.sqrt(n)
error_of_share = np.sqrt(lower_share * (1 - lower_share) / n)
print(f"{n} trajectories at t = 4      sampled               exact")
print(f"mean of X                  {final.mean():8.2f} ± {error_of_mean:.2f}    {law.mean:8.2f}")
print(f"standard deviation         {final.std(ddof=1):8.2f}           {law.std:8.2f}")
print(
    f"share with X < 300         {lower_share:8.4f} ± {error_of_share:.4f}  "
    f"{law(np.arange(300)).sum():8.4f}"
)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
runs.plot("band", level=0, n_paths=25, ax=left)
left.set_title("25 trajectories, and the mean that none of them follows")
runs.plot("histogram", law=law, ax=right)
right.set_title("Where they are at t = 4")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
