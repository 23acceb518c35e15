"""The leap cell: Poisson noise in every reaction, steps of given length."""

from __future__ import annotations

import numpy as np

from .explicit_cells import load_drivers
from .jit import kernel
from .noise_steps import draw_firings
from .random import seed_stream
from .tapes import run_tape

__all__ = ["unroll_leap"]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_run = run_tape[1]


@kernel
def unroll_leap(
    tape, network, cells, first, last, inputs, noise, w, y, left, propensities, firings, key, index,
    stream, states,
):  # fmt: skip
    """Run cells [first, last) of path `index` from the state `y`; variables take Euler's step.

    `y` (n_states + 1,) has a last entry of no meaning, because the network's arrays are padded with
    changes of it by 0. The tape's outputs are the propensities and the time derivatives of the
    variables. Returns the cell whose propensities are no numbers or too large for a leap, or -1.
    """
    if first == 0:
        seed_stream(key, index, stream)
    n_states = y.size - 1
    n_species = n_states - (tape.output.size - firings.size)
    _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    for cell in range(first, last):
        step = cells.size[cell]
        for i in range(n_states):
            w[tape.states + np.uint64(i)] = y[i]
        load_drivers(_ONE, tape, cells, cell, 0.0, inputs, noise, w)
        _run(tape, tape.prologue, tape.essential, tape.shift, w)
        for reaction in range(firings.size):
            propensities[reaction] = w[tape.output[reaction]]
        draw_firings(network, propensities, step, y, left, stream, firings)
        for reaction in range(firings.size):
            if not np.isfinite(firings[reaction]):
                return cell
            for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
                y[network.change_species[k]] += firings[reaction] * np.float64(network.change[k])
        for i in range(n_species, n_states):
            y[i] += step * w[tape.output[firings.size + i - n_species]]
        row = cells.record[cell]
        if row >= 0:
            for i in range(n_states):
                states[row, i] = y[i]
    return -1
