"""An epidemic that often dies out: its final size, and the probability of extinction.

One infected person among a thousand infects two others on average. By the theory of branching
processes the outbreak stays small with probability 1/2; the exact distribution of the final size
is known, too. Run it with ``python examples/epidemic_extinction.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "epidemic_extinction.png"

settings = {"N": 1000, "I0": 1, "beta": 0.2, "gamma": 0.1}
network = gl.models.sir(**settings)
# Only the end matters; stop_when tells when each epidemic was over.
runs = gl.ensemble(network, [0, 2000], 20_000, rng=5, stop_when="I == 0", outputs=["R"])
law = gl.models.exact_law("sir", "R", **settings)

final_size = runs.final("R")
n = len(runs)
small = final_size < 200  # nothing lies between some fifty people and some hundreds
probability = small.mean()
standard_error = np.sqrt(probability * (1 - probability) / n)
print(f"probability that an outbreak stays small ({n} epidemics)")
print(f"  sampled            {probability:.4f} ± {standard_error:.4f}")
print(f"  exact              {law(np.arange(200)).sum():.4f}")
print(f"  branching process  {settings['gamma'] / settings['beta']:.4f}  (infinite population)")
print()
print("final size          small    large outbreaks")
print(f"  mean people     {final_size[small].mean():7.2f} {final_size[~small].mean():11.1f}")
print(f"  median days     {np.median(runs.hitting_times[small]):7.1f}", end="")
print(f" {np.median(runs.hitting_times[~small]):11.1f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
runs.plot("histogram", name="R", law=law, ax=left)
left.set_yscale("log")
left.set_ylim(2e-5, 1)
left.set_xlim(-10, 1000)
left.set_xlabel("final size of the epidemic (people)")
left.set_ylabel(left.get_ylabel().replace("trajectories", "epidemics"))
left.set_title("Small or large, hardly anything between")
runs.plot("hitting", ax=right)
right.axhline(settings["gamma"] / settings["beta"], color="#707070", linewidth=1, linestyle="--")
right.text(298, 0.45, "branching process: small with probability 1/2", ha="right", fontsize="small")
right.set_xlabel("time until nobody is infected (days)")
right.set_ylabel("share of epidemics that are over")
right.set_xlim(0, 300)
right.set_title("Small outbreaks are over soon")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
