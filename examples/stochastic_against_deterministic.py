"""Where the deterministic picture fails: a genetic toggle switch, and where it holds.

Two genes repress each other. The rate equations stay for ever on the side where they start; single
cells flip, half of them are on the other side in the end, and none is near their mean. In a larger
volume flips become rare, and the rate equations hold for longer. Beside it, a network for which
they are good, and become better like one over the volume.
Run it with ``python examples/stochastic_against_deterministic.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl
from gillespy_lite.ode_rnn import compare

picture = sys.argv[1] if len(sys.argv) > 1 else "stochastic_against_deterministic.png"

switch = compare(
    gl.models.toggle_switch(), np.linspace(0, 400, 81), 1000, rng=1, outputs=["U"], volumes=(1.5, 2)
)
print(switch)
print()
share_flipped = (switch.paths["exact"][:, -1, 0] < 12).mean()
print(f"the rate equations say U = {switch['U'][-1]:.1f} at t = 400; flipped: {share_flipped:.3f}")
print()

pairs = compare(
    gl.Network.parse("""
        species A = 10
        param c = 0.1
        meet: 2 A -> 0 @ c
    """),
    np.linspace(0, 6, 31),
    5000,
    rng=2,
    volumes=(2, 4, 8, 16),
)
print(pairs)

figure, axes = plt.subplots(2, 2, figsize=(12, 8.6), layout="constrained")
switch.plot("bands", ax=axes[0, 0])
axes[0, 0].set_title("Toggle switch: the mean leaves, the rate equations stay")
switch.plot("final", ax=axes[0, 1])
axes[0, 1].set_title("At t = 400 there are two kinds of cells")
pairs.plot("bands", ax=axes[1, 0])
axes[1, 0].set_title("2 A -> 0: an even number is left, the bias is small")
pairs.plot("scaling", ax=axes[1, 1])
axes[1, 1].set_title("2 A -> 0: bias and variance fall like 1/volume")
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
