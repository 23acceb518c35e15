"""A parameter scan: how the speed of a gene's switch sets the noise in its mRNA.

One call runs all parameter sets, without planning or compiling anything for each. Run it with
``python examples/parameter_scan.py [picture.png]``.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "parameter_scan.png"

gene = gl.models.telegraph()


def sampled_noise(scan):
    """Return variance/mean of the mRNA at the end, for every set of a scan."""
    return scan.var("M")[..., -1] / scan.mean("M")[..., -1]


def exact_noise(speed):
    """Return variance/mean of the exact stationary distribution, with equal switching rates."""
    law = gl.models.exact_law("telegraph", "M", k_on=speed, k_off=speed)
    return law.std**2 / law.mean


# On and off half of the time each, faster and faster.
print("switches per    variance/mean of the mRNA")
print("mRNA lifetime   sampled    exact")
speeds = np.geomspace(0.05, 50, 10)
# Rates that go together are a table, not a grid; 240 is long enough for the slowest switch.
table = {"k_on": speeds, "k_off": speeds}
sampled = sampled_noise(gl.scan(gene, samples=table, t=[0, 240], n=4000, rng=6, outputs=["M"]))
for speed, noise in zip(speeds, sampled, strict=True):
    print(f"{speed:10.2f}    {noise:9.3f} {exact_noise(speed):9.3f}")

# A grid of both rates.
rates = np.geomspace(0.1, 10, 17)
started = time.perf_counter()
grid = gl.scan(gene, {"k_off": rates, "k_on": rates}, [0, 140], 1000, rng=6, outputs=["M"])
noise = sampled_noise(grid)
print(
    f"\n{noise.size} sets on a grid, variance/mean from {noise.min():.2f} to {noise.max():.2f}, "
    f"in {time.perf_counter() - started:.1f} s"
)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
many = np.geomspace(0.05, 50, 100)
left.semilogx(many, [exact_noise(speed) for speed in many], color="black", label="exact")
left.semilogx(speeds, sampled, "o", color="#0072B2", label="4000 trajectories each")
left.axhline(1, color="#707070", linewidth=0.8, linestyle="--", label="Poisson")
left.set_xlabel("rate of switching (per mRNA lifetime)")
left.set_ylabel("variance/mean of the mRNA")
left.set_title("A fast switch averages out")
left.legend(fontsize="small")
left.spines[["top", "right"]].set_visible(False)
left.grid(color="#e6e6e6", linewidth=0.6)
image = right.pcolormesh(rates, rates, noise, cmap="viridis", shading="nearest")
right.set(xscale="log", yscale="log", xlabel="k_on", ylabel="k_off")
right.set_title("Noise for every pair of rates")
figure.colorbar(image, ax=right, label="variance/mean of the mRNA")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
