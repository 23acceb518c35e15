"""An epidemic among 100,000 people: how many are ill after 60 days, to one part in 2,000.

Exact paths alone would take thousands of epidemics of 180,000 events each; with levels of coupled
leaps the exact ones are a few dozen. Run it with
``python examples/precise_epidemic.py [picture.png]``.
"""

import sys

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "precise_epidemic.png"

network = gl.models.sir(N=100_000, I0=1_000)
result = gl.multilevel(network, 60, "I", relative_tolerance=5e-4, rng=1)
print(result.summary())
low, high = result.interval("I")
print(f"\nill after 60 days   {result.estimate('I'):.1f} people, between {low:.1f} and {high:.1f}")
print(f"exact paths         {result.levels[-1].n}, in place of {result.n_exact:.0f}")
result.plot().figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
