"""Draws of the direct method ahead of their use: a ring of those of the next events.

What an event draws does not depend on the state. So the waiting times of several events, in units
of the mean, are computed together in vector registers, and an event takes its two numbers from
memory. The words are those of `random.py`, in the same order.

The stream stands as many events ahead as the ring has places. An event writes into its place the
two mantissas of the event that comes `RING` events later, whose words are drawn while the steps of
the event wait for each other; when all places have been used, `convert_draws` makes draws of the
mantissas. Drawing the words of a ring at once instead took 7.0 ns an event of birth-death, not 5.8.
"""

from __future__ import annotations

import numpy as np

from .jit import apart, inlined
from .lane_random import negative_logs
from .lane_vectors import load_16, store
from .random import unit_mantissa

__all__ = ["RING", "RING_SIZE", "convert_draws", "fill_ring", "pass_event", "return_draws"]

# Events in the ring, and its doubles: waiting times, then what chooses the reactions. With 32
# events birth-death takes 2 to 5 % less, but every path starts with drawing for so many.
RING = 16
RING_SIZE = 2 * RING

_U17, _U19, _U34, _U45, _U51 = (np.uint64(k) for k in (17, 19, 34, 45, 51))
_ONE, _LAST = np.uint64(1), np.uint64(RING - 1)


@inlined
def convert_draws(ring):
    """Make draws, E and U, of the mantissas in all places."""
    store(ring, 0, negative_logs(2.0 - load_16(ring, 0)))
    store(ring, RING, load_16(ring, RING) - 1.0)


@apart
def fill_ring(stream, ring):
    """Draw for as many events as there are places; the next event is that of place 0."""
    for place in range(RING):
        ring[place] = unit_mantissa(stream)
        ring[RING + place] = unit_mantissa(stream)
    convert_draws(ring)


@apart
def pass_event(stream, ring, place):
    """Go past the draws in a place, as a burst does for an event; return the next place."""
    ring[place] = unit_mantissa(stream)
    ring[np.uint64(RING) + place] = unit_mantissa(stream)
    if place == _LAST:
        convert_draws(ring)
    return (place + _ONE) & _LAST


@apart
def return_draws(stream):
    """Put the stream back to where the next event draws, from where it stands with a full ring.

    The step of xoshiro256++ is linear over bits, and the inverse of x ^ (x << 17) is
    x ^ (x << 17) ^ (x << 34) ^ (x << 51).
    """
    s0, s1, s2, s3 = stream[0], stream[1], stream[2], stream[3]
    for _ in range(RING_SIZE):
        s3 = (s3 >> _U45) | (s3 << _U19)
        s0 ^= s3
        shifted = s1 ^ s2
        before = shifted ^ (shifted << _U17) ^ (shifted << _U34) ^ (shifted << _U51)
        s2 = s1 ^ before ^ s0
        s1 = before
        s3 ^= s1
    stream[0], stream[1], stream[2], stream[3] = s0, s1, s2, s3
