"""A first run: one trajectory of an enzyme at work, and a plot of it.

Run it with ``python examples/first_run.py [picture.png]``.
"""

import sys

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "first_run.png"

network = gl.Network.parse("""
species S = 301, E = 120, ES, P       # substrate, enzyme, both bound, product: initial counts
param kf = 0.00166, kr = 1e-4, kcat = 0.1

bind: S + E <-> ES  @ kf, kr          # two rate constants, forward and back
      ES -> E + P   @ kcat
""")

# What the package understood: propensities, conservation laws, methods that can run it.
print(network.explain())
print()

# Every event up to t = 50. The same seed gives the same trajectory, on any machine.
run = gl.simulate(network, 50, rng=1, every_event=True)
print(run.summary())
print()

half = run.times[run["P"] >= 150][0]
print(f"molecule 150 of the product was made at t = {half:.3f}")
print(f"at t = 10 there were {run.at(10, 'ES')} bound enzymes")

axes = run.plot()
axes.set_title("One trajectory of Michaelis-Menten kinetics")
axes.figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
