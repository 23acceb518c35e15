"""A parameter scan: how the speed of a gene's switch sets the noise in its mRNA.

A network with other parameters costs microseconds, so a scan spends its time on sampling. Run it
with ``python examples/parameter_scan.py [picture.png]``.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "parameter_scan.png"

gene = gl.models.telegraph()
started = time.perf_counter()
for k_on in np.linspace(0.1, 1.0, 10_000):
    gene.with_parameters(k_on=k_on)
print(f"10,000 networks built in {time.perf_counter() - started:.3f} s")
print()


def sampled_noise(network, n):
    """Return mean and variance/mean of the mRNA after a long time, from `n` trajectories."""
    runs = gl.ensemble(network, [0, 40 + 10 / network.parameter_values[0]], n, rng=6, outputs=["M"])
    counts = runs.final("M")
    return counts.mean(), counts.var(ddof=1) / counts.mean()


def exact_noise(speed):
    """Return variance/mean of the exact stationary distribution, with equal switching rates."""
    law = gl.models.exact_law("telegraph", "M", k_on=speed, k_off=speed)
    return law.std**2 / law.mean


# On and off half of the time each, faster and faster.
print("switches per    variance/mean of the mRNA")
print("mRNA lifetime   sampled    exact")
speeds = np.geomspace(0.05, 50, 10)
sampled = []
for speed in speeds:
    network = gene.with_parameters(k_on=speed, k_off=speed)
    sampled.append(sampled_noise(network, 4000)[1])
    print(f"{speed:10.2f}    {sampled[-1]:9.3f} {exact_noise(speed):9.3f}")

# A grid of both rates.
rates = np.geomspace(0.1, 10, 11)
noise = np.array(
    [
        [sampled_noise(gene.with_parameters(k_on=on, k_off=off), 1000)[1] for on in rates]
        for off in rates
    ]
)
print(
    f"\n{noise.size} networks on a grid, variance/mean from {noise.min():.2f} to {noise.max():.2f}"
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
