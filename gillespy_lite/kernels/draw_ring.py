"""Draws of the direct method ahead of their use: a ring of those of the next events.

What an event draws does not depend on the state. So the waiting times of several events, in units
of the mean, are computed together in vector registers, and an event takes its two numbers from
memory. The words are those of `random.py`, in the same order.

The stream stands as many events ahead as the ring has places. An event writes into its place the
two words of the event that comes `RING` events later, which are drawn while the steps of the event
wait for each other. Drawing the words of a ring at once instead took 7.0 ns an event of
birth-death, not 5.8.

Words become draws half a ring at a time, in the middle of the other half: four events after the
last of them was written, and four before the first is needed. Where the whole ring was converted as
soon as its last place was written, the processor had to wait until that write had left its queue,
and had nothing else to do meanwhile: 6.0 ns an event of birth-death, not 5.2.
"""

from __future__ import annotations

import numpy as np

from .bits import as_float
from .jit import apart, inlined
from .lane_random import random_exponential, random_uniform
from .lane_vectors import as_words, load_8, store
from .random import next_bits

__all__ = [
    "RING",
    "RING_SIZE",
    "fill_ring",
    "next_place",
    "pass_draws",
    "pass_event",
    "return_draws",
]

# Events in the ring, and its doubles: waiting times, then what chooses the reactions. With 32
# events birth-death takes 2 to 5 % less, but every path starts with drawing for so many.
RING = 16
RING_SIZE = 2 * RING

_HALF = RING // 2

_U17, _U19, _U34, _U45, _U51 = (np.uint64(k) for k in (17, 19, 34, 45, 51))
_ONE, _LAST = np.uint64(1), np.uint64(RING - 1)
_LAST_OF_HALF, _MIDDLE = np.uint64(_HALF - 1), np.uint64(_HALF // 2)


# Merged into a loop it is no faster, and takes longer to compile.
@apart
def _convert_half(ring, first):
    chosen = first + np.uint64(RING)
    store(ring, first, random_exponential(as_words(load_8(ring, first))))
    store(ring, chosen, random_uniform(as_words(load_8(ring, chosen))))


@inlined
def next_place(ring, place):
    """Return the place after one that holds words again; make the draws of a half in time."""
    place = (place + _ONE) & _LAST
    if place & _LAST_OF_HALF == _MIDDLE:
        _convert_half(ring, (place + _MIDDLE) & _LAST)
    return place


@inlined
def _draw_into(stream, ring, place):
    ring[place] = as_float(next_bits(stream))
    ring[place + np.uint64(RING)] = as_float(next_bits(stream))


@apart
def fill_ring(stream, ring):
    """Draw for as many events as there are places; the next event is that of place 0."""
    for place in range(RING):
        _draw_into(stream, ring, np.uint64(place))
    _convert_half(ring, np.uint64(0))


@inlined
def pass_draws(stream, ring, place):
    """Draw words into a place whose draws were taken, as an event does; return the next place."""
    _draw_into(stream, ring, place)
    return next_place(ring, place)


pass_event = apart(pass_draws)  # where there is no loop around it


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
