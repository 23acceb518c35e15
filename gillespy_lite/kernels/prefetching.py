"""A hint to the processor that a place in memory will soon be read; nothing for Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

__all__ = ["prefetch"]

_I32 = ir.IntType(32)


def prefetch(array: np.ndarray, place: np.uint64) -> None:
    """Begin to load `array[place]` into the caches."""


@type_callable(prefetch)
def _type_of_prefetch(typing_context: Any) -> Any:
    return lambda array, place: types.none if isinstance(array, types.Array) else None


@lower_builtin(prefetch, types.Array, types.uint64)
def _emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kind, (array, place) = signature.args[0], arguments
    data = context.make_array(kind)(context, builder, array).data
    address = builder.bitcast(builder.gep(data, [place]), ir.IntType(8).as_pointer())
    hint = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")
    # To be read, kept in all caches, data.
    builder.call(function, [address, _I32(0), _I32(3), _I32(1)])
    return context.get_dummy_value()
