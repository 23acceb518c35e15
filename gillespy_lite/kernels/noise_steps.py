"""The random part of the noise cells: normal draws for Langevin, firings for leaps."""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .random import normal, poisson, seed_stream

__all__ = ["draw_firings", "fill_normal_rows", "fill_normals"]

# Above this mean, a Poisson draw is not a whole double any more.
_LARGEST_MEAN = 2.0**53


def fill_normals(key: np.ndarray, first_index: int, noise: np.ndarray) -> None:
    """Fill `noise` (n_paths, n_steps, n_draws) with independent standard normal draws.

    Path i draws from the stream of trajectory `first_index` + i of the run with this (4,) uint64
    `key`, so it does not depend on how many paths there are, or on how they are shared out.
    """
    fill_normal_rows(key, first_index, np.zeros(4, dtype=np.uint64), noise)


@kernel
def fill_normal_rows(key, first_index, stream, noise):
    """Do the work of `fill_normals`; `stream` is scratch, (4,) uint64."""
    for path in range(noise.shape[0]):
        seed_stream(key, first_index + path, stream)
        for step in range(noise.shape[1]):
            for draw in range(noise.shape[2]):
                noise[path, step, draw] = normal(stream)


@part
def draw_firings(network, propensities, step, state, left, stream, firings):
    """Draw how often each reaction fires in a leap of length `step`, into `firings`, float64.

    Firings are Poisson with mean `propensities` * `step`, cut so that the leap uses up no more
    molecules than are in `state` at its start: reaction after reaction, each may take what those
    before it left over; what is made in the leap is not there to be taken yet. `left`,
    (n_species + 1,) float64, is scratch.

    The cut biases the leap: fewer firings of reactions that run out of reactants, and among
    reactions that share a scarce reactant the first ones listed are favoured. It acts only where a
    mean is within a few standard deviations of what is there; for a step h from a state with
    molecules left, that has probability O(h^2) at least, so the bias goes with smaller steps. A
    mean that is negative, not a number, or 2**53 and more gives nan.
    """
    for i in range(left.size):
        left[i] = state[i]
    for reaction in range(firings.size):
        mean = propensities[reaction] * step
        if not 0.0 <= mean < _LARGEST_MEAN:
            firings[reaction] = np.nan
            continue
        count = poisson(stream, mean) if mean > 0.0 else 0.0
        for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
            if network.change[k] < 0:
                taken = -np.float64(network.change[k])
                count = min(count, np.floor(left[network.change_species[k]] / taken))
        count = max(count, 0.0)
        for k in range(network.change_start[reaction], network.change_start[reaction + 1]):
            if network.change[k] < 0:
                left[network.change_species[k]] += count * np.float64(network.change[k])
        firings[reaction] = count
