"""From what the user gives as `rng` to the key of the random streams."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

__all__ = [
    "entropies_of_sets",
    "entropy_of_words",
    "generator",
    "seed_sequence",
    "stream_key",
    "stream_keys",
    "take_entropy",
]

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
    return entropy_of_words(words)


def entropy_of_words(words: np.ndarray) -> int:
    """Return the whole number of some 32-bit words, the lowest first."""
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


# ---- Many at once --------------------------------------------------------------------------------

# Part of the key of each parameter set of a scan.
_SETS = zlib.crc32(b"parameter sets of a scan")


def entropies_of_sets(entropy: int, first: int, last: int) -> np.ndarray:
    """Return the entropies of the parameter sets first, ..., last - 1 of a scan.

    That of set j is what ``take_entropy(seed_sequence(entropy, key, j))`` gives, for a key that
    nothing else uses. `numpy.random.SeedSequence` takes 15 us for each; all together take 0.1 us
    each.

    Returns
    -------
    ndarray, shape (last - first, 4), uint32
        Words, the lowest first.
    """
    fixed = [*_words_of(entropy), _SETS]
    words = np.empty((last - first, len(fixed) + 1), dtype=np.uint32)
    words[:, :-1], words[:, -1] = fixed, np.arange(first, last)
    return _hashed(words, 4)


def stream_keys(entropies: np.ndarray, method: str) -> np.ndarray:
    """Return `stream_key` of many entropies of four words, (n, 4) uint32, as (n, 4) uint64."""
    words = np.empty((len(entropies), 6), dtype=np.uint32)
    words[:, :4], words[:, 4], words[:, 5] = entropies, _KEY_VERSION, zlib.crc32(method.encode())
    halves = _hashed(words, 8).astype(np.uint64)
    return np.ascontiguousarray(halves[:, 0::2] | halves[:, 1::2] << np.uint64(32))


def _words_of(entropy: int) -> list[int]:
    """Return a whole number as 32-bit words, as a SeedSequence with a key takes it: at least 4."""
    n = max(4, -(-entropy.bit_length() // 32))
    return [entropy >> 32 * place & 0xFFFFFFFF for place in range(n)]


def _hashed(words: np.ndarray, n_out: int) -> np.ndarray:
    """Return what a SeedSequence of each row of words generates, (n, n_out) uint32.

    The hash of O'Neill (2015), https://www.pcg-random.org/posts/developing-a-seed_seq-alternative
    .html, as `numpy.random.SeedSequence` has it, in all rows at once.
    """
    constant = 0x43B0D7E5

    def hashed(value: np.ndarray) -> np.ndarray:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * 0x931E8875 & 0xFFFFFFFF
        value = value * np.uint32(constant)
        return np.asarray(value ^ (value >> np.uint32(16)))

    def mixed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        both: np.ndarray = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
        return np.asarray(both ^ (both >> np.uint32(16)))

    pool = [hashed(words[:, place]) for place in range(4)]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mixed(pool[target], hashed(pool[source]))
    for source in range(4, words.shape[1]):
        for target in range(4):
            pool[target] = mixed(pool[target], hashed(words[:, source]))
    found = np.empty((len(words), n_out), dtype=np.uint32)
    constant = 0x8B51F9DD
    for place in range(n_out):
        value = pool[place % 4] ^ np.uint32(constant)
        constant = constant * 0x58F38DED & 0xFFFFFFFF
        value = value * np.uint32(constant)
        found[:, place] = value ^ value >> np.uint32(16)
    return found
