"""The bits of a double as a whole number, and back.

`view` would do, but takes longer to compile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import lower_builtin, type_callable

__all__ = ["as_bits", "as_float"]


def as_float(bits: np.uint64) -> np.float64:
    """Return the double with these bits."""
    return bits.view(np.float64)


def as_bits(number: np.float64) -> np.uint64:
    """Return the bits of a double."""
    return number.view(np.uint64)


@type_callable(as_float)
def _type_of_float(typing_context: Any) -> Any:
    return lambda bits: types.float64 if bits == types.uint64 else None


@type_callable(as_bits)
def _type_of_bits(typing_context: Any) -> Any:
    return lambda number: types.uint64 if number == types.float64 else None


@lower_builtin(as_float, types.uint64)
@lower_builtin(as_bits, types.float64)
def _same_bits(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))
