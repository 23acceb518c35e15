"""Optimisers are dynamics: the differential equations behind SGD, momentum and Nesterov.

Two parameters of logistic growth are fitted to noisy counts, so that the way of each optimiser
can be drawn in the plane and held against the equation that it discretises.
Run it with ``python examples/optimisers_as_dynamics.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse
from matplotlib.ticker import FixedLocator, NullLocator
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov
from scipy.special import j1

import gillespy_lite as gl
from gillespy_lite.ode_rnn import SGD, Gaussian, Momentum, Nesterov, fit, train

picture = sys.argv[1] if len(sys.argv) > 1 else "optimisers_as_dynamics.png"

# The fit: 40 counts with normal noise, and a loss in the plane of log(grow) and log(capacity).
network = gl.Network.parse("""
    species X = 10
    param grow = 1, capacity = 200
    X -> 2 X @ grow
    2 X -> X @ 2*grow/capacity
""")
times = np.linspace(0, 10, 41)
random = np.random.default_rng(2)
counts = gl.simulate(network, times, method="ode")["X"] + random.normal(0, 10, times.size)
data = {"time": times[1:], "X": counts[1:]}
result = fit(network, data, ["grow", "capacity"], noise=Gaussian(10))
objective, best = result.objective, result.u
n = objective.n_data
start = np.log([0.6, 120])


def gradient(u):
    """Return the gradient of the loss per data point."""
    return objective.value_and_gradient(u)[1] / n


step = 1e-4
hessian = np.array(
    [(gradient(best + step * d) - gradient(best - step * d)) / (2 * step) for d in np.eye(2)]
)
curvatures, modes = np.linalg.eigh((hessian + hessian.T) / 2)
print(f"curvatures of the loss at the minimum: {curvatures[0]:.2f} and {curvatures[1]:.2f}")

# 1. Small steps follow du/dt = -grad L: a rate of T/k makes k steps in the time T.
flow_time = 0.2
flow = solve_ivp(
    lambda time, u: -gradient(u), (0, flow_time), start, rtol=1e-9, atol=1e-10, dense_output=True
)
rates, distances = [], []
print("\n1. gradient flow\nlearning rate   largest distance from the flow")
for n_steps in (50, 100, 200, 400):
    rate = flow_time / n_steps
    path = train(objective, SGD(rate), epochs=n_steps, start=start).history.u
    on_flow = flow.sol(rate * np.arange(n_steps + 1)).T
    rates.append(rate)
    distances.append(np.linalg.norm(path - on_flow, axis=1).max())
    print(f"{rate:13.6f}   {distances[-1]:.6f}")
order = np.polyfit(np.log(rates[1:]), np.log(distances[1:]), 1)[0]
print(f"order: {order:.3f} (theory 1)")

# 2. Mini-batches shake the parameters: covariance S with H S + S H = rate * C in small steps.
residuals, jacobian = objective.residuals_and_jacobian(best)
each = residuals[:, None] * jacobian  # gradients of the single points; their mean is 0 here
spread = each.T @ each / n
print("\n2. noise of mini-batches\n   rate  batch   measured var.  predicted  Ornstein-Uhlenbeck")
clouds = []
for rate, batch in ((0.002, 4), (0.001, 4), (0.002, 16)):
    noise = spread / batch * (n - batch) / (n - 1)
    wandering = train(
        objective, SGD(rate), epochs=500, window=1, batch=batch, order="independent",
        start=best, rng=1,
    )  # fmt: skip
    points = wandering.history.u[20:]
    turn = np.eye(2) - rate * hessian
    predicted = solve_discrete_lyapunov(turn, rate**2 * noise)
    diffusion = solve_continuous_lyapunov(hessian, rate * noise)
    measured = np.cov(points.T)
    clouds.append((rate, batch, points, measured, predicted))
    print(
        f"{rate:7.4f}  {batch:5d}   {np.trace(measured):.4e}     {np.trace(predicted):.4e}"
        f"   {np.trace(diffusion):.4e}"
    )

# 3. Momentum is a ball with friction: u'' + g u' + grad L = 0, one step is sqrt(rate) long.
rate, momentum = 0.0002, 0.97
tick, friction = np.sqrt(rate), (1 - momentum) / np.sqrt(rate)
near = best + 0.01 * modes.sum(axis=1)
ball = train(objective, Momentum(rate, momentum=momentum), epochs=400, start=near).history.u
print(
    "\n3. momentum     decay per time         frequency"
    "\n          measured  predicted   measured  predicted"
)
for curvature, mode in zip(curvatures, modes.T, strict=True):
    x = (ball - best) @ mode
    # The steps obey x[k+1] = a x[k] + b x[k-1]; its roots are exp(tick * (-decay + i frequency)).
    a, b = np.linalg.lstsq(np.stack([x[1:-1], x[:-2]], axis=1), x[2:])[0]
    root = np.log(np.roots([1, -a, -b]).astype(complex)[0]) / tick
    print(
        f"         {-root.real:9.4f}  {friction / 2:9.4f}  {abs(root.imag):9.4f}  "
        f"{np.sqrt(curvature - friction**2 / 4):9.4f}"
    )

# 4. Nesterov's momentum (k - 1)/(k + 2) is a friction 3/t: on a parabola, u = 2 J1(x)/x u(0) with
# x = sqrt(curvature) t.
print("\n4. Nesterov: largest distance from 2 J1(x)/x, as a share of the start")
for slower in (1, 4):
    small = rate / slower
    epochs = round(400 * np.sqrt(slower))
    glide = train(objective, Nesterov(small, momentum=None), epochs=epochs, start=near).history.u
    ticks = np.sqrt(small) * np.arange(1, epochs + 1)
    for curvature, mode in zip(curvatures, modes.T, strict=True):
        x = (glide - best) @ mode
        bessel = 2 * j1(np.sqrt(curvature) * ticks) / (np.sqrt(curvature) * ticks)
        apart = np.abs(x[1:] / x[0] - bessel).max()
        print(f"   rate {small:.5f}, curvature {curvature:6.2f}: {apart:.4f}")

# The picture.
figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), layout="constrained")
(plane, convergence), (cloud, oscillation) = axes
colours = {"SGD": "#0072B2", "momentum": "#D55E00", "Nesterov": "#009E73"}

lows = np.minimum(start, best) - np.array([0.35, 0.45])
highs = np.maximum(start, best) + np.array([0.5, 0.45])
grid = [np.linspace(low, high, 36) for low, high in zip(lows, highs, strict=True)]
loss = np.array([[objective.value(np.array([x, y])) for x in grid[0]] for y in grid[1]])
level = loss.min() + n * np.geomspace(0.05, 60, 12)
plane.contour(np.exp(grid[0]), np.exp(grid[1]), loss, level, colors="#b0b0b0", linewidths=0.7)
along = np.exp(flow.sol(np.linspace(0, flow_time, 400)))
plane.plot(*along, color="black", linewidth=3.5, alpha=0.35, label="du/dt = -grad L")
for name, trainer, epochs in (
    ("SGD", SGD(0.002), 100),
    ("momentum", Momentum(0.0002, momentum=0.96), 300),
    ("Nesterov", Nesterov(0.0002, momentum=None), 300),
):
    path = np.exp(train(objective, trainer, epochs=epochs, start=start).history.u)
    plane.plot(*path.T, ".-", color=colours[name], markersize=2.5, linewidth=0.9, label=name)
plane.plot(*np.exp(best), "k*", markersize=10)
plane.set(
    xscale="log", yscale="log", xlabel="grow (per unit of time)", ylabel="capacity (molecules)"
)
for axis, at in ((plane.xaxis, (0.5, 0.7, 1, 1.4)), (plane.yaxis, (100, 140, 200, 280))):
    axis.set_major_locator(FixedLocator(at))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")
plane.set_title("The ways to the minimum (star), over the loss")
plane.legend(fontsize="small")

convergence.loglog(rates, distances, "o-", color=colours["SGD"], label="SGD")
slope = distances[-1] * np.array(rates) / rates[-1]
convergence.loglog(rates, slope, "--", color="black", label="slope 1")
for axis, at in ((convergence.xaxis, rates), (convergence.yaxis, (0.005, 0.01, 0.02, 0.05))):
    axis.set_major_locator(FixedLocator(at))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")
convergence.set(xlabel="learning rate", ylabel="largest distance from the flow")
convergence.set_title("Small steps follow the gradient flow")
convergence.legend(fontsize="small")

for (rate_, batch, points, _, predicted), colour in zip(
    clouds, ("#D55E00", "#0072B2", "#009E73"), strict=True
):
    sizes, axes_ = np.linalg.eigh(predicted)
    cloud.plot(*(points - best).T, ".", color=colour, markersize=1.5, alpha=0.25)
    cloud.add_patch(
        Ellipse(
            (0, 0), *(4 * np.sqrt(sizes)), angle=np.degrees(np.arctan2(axes_[1, 0], axes_[0, 0])),
            fill=False, edgecolor=colour, linewidth=1.8, label=f"rate {rate_:g}, batch {batch}",
        )
    )  # fmt: skip
cloud.set(xlabel="log grow, from its best", ylabel="log capacity, from its best")
cloud.set_title("Mini-batches: steps, and the predicted ellipse (2 s.d.)")
cloud.legend(fontsize="small")

mode, curvature = modes[:, 0], curvatures[0]
fine = np.linspace(0.001, ticks[-1], 800)
pace = np.sqrt(curvature - friction**2 / 4)
damped = np.exp(-friction * fine / 2) * (
    np.cos(pace * fine) + friction / (2 * pace) * np.sin(pace * fine)
)
x = np.sqrt(curvature) * fine
for name, path, law in (("momentum", ball, damped), ("Nesterov", glide, 2 * j1(x) / x)):
    share = (path - best) @ mode / ((path[0] - best) @ mode)
    at = np.linspace(0, ticks[-1], share.size)
    oscillation.plot(fine, law, color=colours[name], linewidth=1.2)
    oscillation.plot(at[::6], share[::6], "o", color=colours[name], markersize=3.5, label=name)
oscillation.axhline(0, color="#b0b0b0", linewidth=0.7)
oscillation.set(xlabel="time, sqrt(rate) per step", ylabel="along the flat direction, from 1")
oscillation.set_title("A ball with friction: steps (dots), equation (lines)")
oscillation.legend(fontsize="small")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
