"""From what the user gives as `rng` to the key of the random streams."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

__all__ = ["generator", "seed_sequence", "stream_key", "take_entropy"]

# Part of every key. It stays when STREAM_VERSION rises because one method draws in another way: the
# other methods keep their numbers.
_KEY_VERSION = 1


def take_entropy(rng: Any, seed: Any = None) -> int:
    """Return the entropy of a run, a whole number that gives the same run when passed as `rng`.

    Parameters
    ----------
    rng : None, int, SeedSequence or Generator
        None takes fresh entropy from the operating system; a Generator is drawn from, so that two
        runs with one generator differ.
    seed : None or int, optional
        Another name for `rng`.

    Raises
    ------
    TypeError, ValueError
        If both are given, or what is given is none of these.
    """
    if seed is not None:
        if rng is not None:
            raise ValueError("give rng= or its alias seed=, not both")
        rng = seed
    if rng is None:
        return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool):
        if rng < 0:
            raise ValueError(f"rng must be 0 or more where it is a whole number, not {rng}")
        return int(rng)
    if isinstance(rng, np.random.SeedSequence):
        if isinstance(rng.entropy, int) and not rng.spawn_key:
            return rng.entropy
        words = rng.generate_state(4, np.uint32)
    elif isinstance(rng, np.random.Generator):
        words = rng.integers(0, 2**32, size=4, dtype=np.uint32)
    else:
        raise TypeError(
            "rng must be None, a whole number, a numpy.random.SeedSequence or a "
            f"numpy.random.Generator, not {type(rng).__name__}"
        )
    return sum(int(word) << (32 * place) for place, word in enumerate(words))


def seed_sequence(entropy: int, *key: int) -> np.random.SeedSequence:
    """Return a source of randomness of its own for each key; it can be passed as `rng`."""
    return np.random.SeedSequence(entropy, spawn_key=key)


def generator(entropy: int, *key: int) -> np.random.Generator:
    """Return a generator of its own for each key, for draws outside kernels."""
    return np.random.default_rng(seed_sequence(entropy, *key))


def stream_key(entropy: int, method: str) -> np.ndarray:
    """Return the (4,) uint64 key of a run's streams; methods share no stream."""
    sequence = np.random.SeedSequence(
        entropy, spawn_key=(_KEY_VERSION, zlib.crc32(method.encode()))
    )
    return sequence.generate_state(4, np.uint64)
