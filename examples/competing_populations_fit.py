"""An inverse problem: the six parameters of two competing populations, from ten noisy counts.

Two populations grow to their limits and get in each other's way:
x1' = r1 x1 (1 - x1/N1) - a1 x1 x2, and likewise x2. The fit finds all six from a start that is off
by factors of two to three, and says how sure it is. Run it with
``python examples/competing_populations_fit.py [picture.png]``.
"""

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl
from gillespy_lite.ode_rnn import Experiment, IdentifiabilityWarning, LogNormal, fit

picture = sys.argv[1] if len(sys.argv) > 1 else "competing_populations_fit.png"

truth = gl.Network.parse("""
variable x1 = 100, x2 = 150
param r1 = 0.1, r2 = 0.3, a1 = 1e-4, a2 = 2e-4, n1 = 2e-3, n2 = 3e-3  # n = 1/N
x1' = r1*x1*(1 - n1*x1) - a1*x1*x2
x2' = r2*x2*(1 - n2*x2) - a2*x1*x2
""")
# Few samples, dense while the fast population grows (1/r2 = 3 days), then for the slow one
# (1/r1 = 10 days), the last ones where both have settled.
days = np.array([1, 2, 4, 7, 12, 20, 35, 60, 90, 120])
exact = gl.simulate(truth, np.concatenate([[0], days]), method="ode")
random = np.random.default_rng(7)
counts = {
    name: exact[name][1:] * np.exp(0.05 * random.standard_normal(days.size))
    for name in ("x1", "x2")
}

start = truth.with_parameters(r1=0.25, r2=0.12, a1=2.5e-4, a2=8e-5, n1=5e-3, n2=1.2e-3)
names = list(start.parameter_names)

# Without noise, to see that the problem can be solved at all.
perfect = {"time": days, "x1": exact["x1"][1:], "x2": exact["x2"][1:]}
clean = fit(start, perfect, names)
true = dict(zip(truth.parameter_names, truth.parameter_values, strict=True))
worst = max(abs(clean[name] / true[name] - 1) for name in names)
print(f"without noise: largest relative error {worst:.1e}")
print()

# With 5 % noise. One sigma for both populations, not known to the fit.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", IdentifiabilityWarning)
    result = fit(start, Experiment({"time": days, **counts}), names, noise=LogNormal(shared=True))
print(result)
print()
print("name      true   estimate   95 % interval by profile likelihood")
for name in names:
    low, high = result.profile(name, n_points=4).interval
    mark = "" if low <= true[name] <= high else "   (misses)"
    print(f"{name}   {true[name]:8.4g}   {result[name]:8.3g}   {low:.3g} to {high:.3g}{mark}")

figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
result.plot("bands", t=150, ax=axes[0, 0])
axes[0, 0].set(xlabel="time (days)", ylabel="individuals", title="Ten samples, 5 % noise")
result.plot("residuals", ax=axes[0, 1])
axes[0, 1].set(xlabel="time (days)", title="Residuals")
result.plot("profile", name="a1", ax=axes[1, 0])
axes[1, 0].set(
    xlabel="a1 (per individual and day), held there", title="The least certain parameter"
)
result.plot("correlation", ax=axes[1, 1])
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
