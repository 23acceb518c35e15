"""A hint to the processor that a place in memory will soon be used; nothing for Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

__all__ = ["prefetch", "prefetch_to_write"]

_I32 = ir.IntType(32)


def prefetch(array: np.ndarray, place: np.uint64) -> None:
    """Begin to load `array[place]` into the caches; the array may be of more dimensions, flat."""


def prefetch_to_write(array: np.ndarray, place: np.uint64) -> None:
    """Begin to load what will be written, so that no other core keeps it."""


def _declare(function: Callable[..., None], is_written: int) -> None:
    @type_callable(function)
    def type_of_hint(typing_context: Any) -> Any:
        return lambda array, place: types.none if isinstance(array, types.Array) else None

    @lower_builtin(function, types.Array, types.uint64)
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, (array, place) = signature.args[0], arguments
        data = context.make_array(kind)(context, builder, array).data
        address = builder.bitcast(builder.gep(data, [place]), ir.IntType(8).as_pointer())
        hint = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), _I32, _I32, _I32])
        llvm = cgutils.get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")
        # Kept in all caches, data.
        builder.call(llvm, [address, _I32(is_written), _I32(3), _I32(1)])
        return context.get_dummy_value()


_declare(prefetch, 0)
_declare(prefetch_to_write, 1)
