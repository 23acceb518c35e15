"""Rates of an epidemic, fitted to what a noisy surveillance saw of one outbreak.

One stochastic epidemic is sampled exactly, thinned to a count every week, of which only a part is
reported. The rate equations are then fitted to it, with Poisson noise, from several starts. Run it
with ``python examples/sir_fit.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl
from gillespy_lite.ode_rnn import fit

picture = sys.argv[1] if len(sys.argv) > 1 else "sir_fit.png"

# Of 10,000 people, 20 are infected at first; one case in five of those ill is reported.
network = gl.Network.parse("""
param N = 10000, I0 = 20
param beta = 0.3, gamma = 0.1, share = 0.2
species S = N - I0, I = I0, R
observe reported = share*I

infect:  S + I -> 2 I @ beta/N
recover: I -> R @ gamma
""")
days = np.arange(7, 127, 7)
epidemic = gl.simulate(network, np.concatenate([[0], days]), rng=3)
random = np.random.default_rng(5)
reports = random.binomial(epidemic["I"][1:], 0.2)
print("reported each week:", " ".join(map(str, reports)))
print()

# The fit knows N and how many are reported, not when it began: I0 is estimated, too.
start = network.with_parameters(beta=0.6, gamma=0.3, I0=5)
estimate = {"beta": (0.01, 3), "gamma": (0.01, 3), "I0": (1, 500)}
data = {"time": days, "reported": reports}
result = fit(start, data, estimate, noise="poisson", starts=8, rng=1)
print(result)
print()
low, high = result.confidence_intervals()["beta"]
print(f"beta    = {result['beta']:.4f}, 95 % from {low:.4f} to {high:.4f} (true 0.3)")
ratio = result["beta"] / result["gamma"]
print(f"beta/gamma = {ratio:.2f} people infected by the first (true 3)")

# When the share is not known either, its product with the size of the epidemic still is.
wider = fit(start, data, {**estimate, "share": (0.01, 1)}, noise="poisson", starts=8, rng=1)
print(f"with the share estimated: {wider['share']:.2f} ± {wider.standard_errors['share']:.2f}")

# A forecast, and what was not reported.
print()
bands = result.predicted_bands(180, names=["I", "R"])
lower, upper = bands.band("R")
print(f"final size: {bands['R'][-1]:.0f}, 95 % from {lower[-1]:.0f} to {upper[-1]:.0f} people")
print(f"   (this outbreak had {epidemic['R'][-1]} by day {days[-1]})")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
result.plot("bands", t=180, include_noise=True, ax=left)
left.set(xlabel="time (days)", ylabel="people reported ill", title="Reports and fit")
right.fill_between(bands.times, *bands.band("I"), color="#0072B2", alpha=0.18, linewidth=0)
right.plot(bands.times, bands["I"], color="#0072B2", label="infected, from the fit")
right.plot(
    epidemic.times, epidemic["I"], "o", color="#0072B2", markerfacecolor="white",
    label="infected, not seen by the fit",
)  # fmt: skip
right.fill_between(bands.times, lower, upper, color="#D55E00", alpha=0.18, linewidth=0)
right.plot(bands.times, bands["R"], "--", color="#D55E00", label="recovered, from the fit")
right.plot(
    epidemic.times, epidemic["R"], "s", color="#D55E00", markerfacecolor="white",
    label="recovered, not seen by the fit",
)  # fmt: skip
right.set(xlabel="time (days)", ylabel="people", title="What was not reported")
right.legend(fontsize="small")
right.spines[["top", "right"]].set_visible(False)
right.grid(color="#e6e6e6", linewidth=0.6)
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
