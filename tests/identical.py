"""Comparison of results to the last bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


def arrays_of(result: Any) -> dict[str, np.ndarray]:
    """Return every array of a result by name."""
    found = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if isinstance(value, np.ndarray):
            found[field.name] = value
    return found


def assert_identical(one: Any, other: Any, *, but: tuple[str, ...] = ()) -> None:
    """Compare all arrays of two results bit by bit (nan is nan, 0.0 is not -0.0)."""
    first, second = arrays_of(one), arrays_of(other)
    assert first.keys() == second.keys()
    assert len(first) >= 4
    for name in first.keys() - set(but):
        assert first[name].dtype == second[name].dtype, name
        assert first[name].shape == second[name].shape, name
        assert first[name].tobytes() == second[name].tobytes(), name
