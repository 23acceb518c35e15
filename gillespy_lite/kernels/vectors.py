"""Arithmetic on eight neighbouring numbers at once, in vector registers.

LLVM cannot see that what an instruction reads and what it writes do not overlap, so it leaves a
loop over eight lanes scalar. Each function here is plain Python, and compiled code uses the vector
form beside it instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = [
    "WIDTH",
    "add",
    "add_scaled",
    "clear",
    "divide",
    "multiply",
    "retrace_divide",
    "retrace_multiply",
    "retrace_sum",
    "scale_onto",
    "subtract",
    "weighted_sum",
]

WIDTH = 8  # doubles; as many as the widest registers hold, and no harm where they are narrower

_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_ZERO = ir.Constant(_VECTOR, [0.0] * WIDTH)
_OPTIONS: Any = {"_nrt": False, "error_model": "numpy", "forceinline": True}


class _Operands:
    """The arguments of a function while its vector form is compiled."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder = builder
        self._context, self._kinds, self._arguments = context, signature.args, arguments

    def _pointer(self, array: int, place: int) -> Any:
        make = self._context.make_array(self._kinds[array])
        start = make(self._context, self.builder, self._arguments[array]).data
        first = self.builder.gep(start, [self._arguments[place]])
        return self.builder.bitcast(first, _VECTOR.as_pointer())

    def load(self, array: int, place: int) -> Any:
        """Return the vector at argument `place` of argument `array`."""
        return self.builder.load(self._pointer(array, place), align=8)

    def store(self, value: Any, array: int, place: int) -> None:
        """Write a vector there."""
        self.builder.store(value, self._pointer(array, place), align=8)

    def everywhere(self, argument: int) -> Any:
        """Return a number in all lanes."""
        return self.repeated(self._arguments[argument])

    def repeated(self, number: Any) -> Any:
        """Return a number in all lanes."""
        vector = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(WIDTH):
            place = ir.Constant(ir.IntType(32), lane)
            vector = self.builder.insert_element(vector, number, place)
        return vector

    def element(self, array: int, index: Any) -> Any:
        """Return one element of argument `array`."""
        make = self._context.make_array(self._kinds[array])
        start = make(self._context, self.builder, self._arguments[array]).data
        return self.builder.load(self.builder.gep(start, [index]))

    def load_at(self, array: int, place: Any) -> Any:
        """Return the vector at a place of argument `array`."""
        make = self._context.make_array(self._kinds[array])
        start = make(self._context, self.builder, self._arguments[array]).data
        first = self.builder.bitcast(self.builder.gep(start, [place]), _VECTOR.as_pointer())
        return self.builder.load(first, align=8)

    def argument(self, which: int) -> Any:
        """Return an argument that is a number."""
        return self._arguments[which]


Emit = Callable[[_Operands], None]


def _code(emit: Emit) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(_Operands(context, builder, signature, arguments))
        return context.get_dummy_value()

    return generate


def _vector_form(emit: Emit) -> Callable[[Any], Any]:
    """Let compiled code use `emit` in place of a Python function of two, four, ... arguments."""

    def decorate(function: Any) -> Any:
        n_arguments = function.__code__.co_argcount
        if n_arguments == 2:

            @intrinsic
            def vector_2(typing: Any, w: Any, o: Any) -> Any:
                return types.void(w, o), _code(emit)

            # Numba wants a plain function of the same arguments, not the intrinsic itself.
            @overload(function, jit_options=_OPTIONS)
            def choose_2(w, o):
                return lambda w, o: vector_2(w, o)  # noqa: PLW0108

        elif n_arguments == 4:

            @intrinsic
            def vector_4(typing: Any, w: Any, o: Any, a: Any, b: Any) -> Any:
                return types.void(w, o, a, b), _code(emit)

            @overload(function, jit_options=_OPTIONS)
            def choose_4(w, o, a, b):
                return lambda w, o, a, b: vector_4(w, o, a, b)  # noqa: PLW0108

        elif n_arguments == 6:

            @intrinsic
            def vector_6(typing: Any, w: Any, o: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
                return types.void(w, o, a, b, c, d), _code(emit)

            @overload(function, jit_options=_OPTIONS)
            def choose_6(w, o, a, b, c, d):
                return lambda w, o, a, b, c, d: vector_6(w, o, a, b, c, d)  # noqa: PLW0108

        else:

            @intrinsic
            def vector_5(typing: Any, v: Any, w: Any, o: Any, a: Any, b: Any) -> Any:
                return types.void(v, w, o, a, b), _code(emit)

            @overload(function, jit_options=_OPTIONS)
            def choose_5(v, w, o, a, b):
                return lambda v, w, o, a, b: vector_5(v, w, o, a, b)  # noqa: PLW0108

        return function

    return decorate


@_vector_form(lambda x: x.store(_ZERO, 0, 1))
def clear(w, o):
    """Set w[o:] to 0; here and below, eight numbers from there."""
    for lane in range(WIDTH):
        w[int(o) + lane] = 0.0


@_vector_form(lambda x: x.store(x.builder.fmul(x.load(0, 2), x.load(0, 3)), 0, 1))
def multiply(w, o, a, b):
    """Set w[o:] to w[a:] * w[b:]."""
    for lane in range(WIDTH):
        w[int(o) + lane] = w[int(a) + lane] * w[int(b) + lane]


@_vector_form(lambda x: x.store(x.builder.fadd(x.load(0, 2), x.load(0, 3)), 0, 1))
def add(w, o, a, b):
    """Set w[o:] to w[a:] + w[b:]."""
    for lane in range(WIDTH):
        w[int(o) + lane] = w[int(a) + lane] + w[int(b) + lane]


@_vector_form(lambda x: x.store(x.builder.fsub(x.load(0, 2), x.load(0, 3)), 0, 1))
def subtract(w, o, a, b):
    """Set w[o:] to w[a:] - w[b:]."""
    for lane in range(WIDTH):
        w[int(o) + lane] = w[int(a) + lane] - w[int(b) + lane]


@_vector_form(lambda x: x.store(x.builder.fdiv(x.load(0, 2), x.load(0, 3)), 0, 1))
def divide(w, o, a, b):
    """Set w[o:] to w[a:] / w[b:]."""
    for lane in range(WIDTH):
        w[int(o) + lane] = w[int(a) + lane] / w[int(b) + lane]


def _emit_add_scaled(x: _Operands) -> None:
    term = x.builder.fmul(x.everywhere(4), x.load(1, 3))
    x.store(x.builder.fadd(x.load(0, 2), term), 0, 2)


@_vector_form(_emit_add_scaled)
def add_scaled(v, w, o, a, weight):
    """Add weight * w[a:] to v[o:]."""
    for lane in range(WIDTH):
        v[int(o) + lane] = v[int(o) + lane] + weight * w[int(a) + lane]


def _emit_weighted_sum(x: _Operands) -> None:
    builder = x.builder
    # LLVM keeps this in a register; a sum kept in w waits for memory after each term.
    total = cgutils.alloca_once_value(builder, _ZERO)
    first, last = x.argument(4), x.argument(5)
    with cgutils.for_range(builder, builder.sub(last, first)) as loop:
        k = builder.add(first, loop.index)
        place = builder.mul(x.element(2, k), ir.Constant(ir.IntType(64), WIDTH))
        term = builder.fmul(x.repeated(x.element(3, k)), x.load_at(0, place))
        builder.store(builder.fadd(builder.load(total), term), total)
    x.store(builder.load(total), 0, 1)


@_vector_form(_emit_weighted_sum)
def weighted_sum(w, o, slots, weights, first, last):
    """Set w[o:] to the sum of weights[k] * w[8 * slots[k]:] for k from first to last - 1."""
    for lane in range(WIDTH):
        total = 0.0
        for k in range(int(first), int(last)):
            total += weights[k] * w[WIDTH * int(slots[k]) + lane]
        w[int(o) + lane] = total


def _emit_scale_onto(x: _Operands) -> None:
    term = x.builder.fmul(x.everywhere(4), x.load(0, 2))
    x.store(x.builder.fadd(x.load(1, 3), term), 0, 2)


@_vector_form(_emit_scale_onto)
def scale_onto(v, w, o, a, weight):
    """Set v[o:] to w[a:] + weight * v[o:]."""
    for lane in range(WIDTH):
        v[int(o) + lane] = w[int(a) + lane] + weight * v[int(o) + lane]


def _emit_retrace_multiply(x: _Operands) -> None:
    upstream = x.load(0, 2)
    x.store(_ZERO, 0, 2)
    # One after the other: a and b may be the same.
    for of, other in ((3, 4), (4, 3)):
        share = x.builder.fmul(upstream, x.load(1, other))
        x.store(x.builder.fadd(x.load(0, of), share), 0, of)


@_vector_form(_emit_retrace_multiply)
def retrace_multiply(bar, w, o, a, b):
    """Move the adjoint bar[o:] of w[a:] * w[b:] to bar[a:] and bar[b:]."""
    for lane in range(WIDTH):
        upstream = bar[int(o) + lane]
        bar[int(o) + lane] = 0.0
        bar[int(a) + lane] = bar[int(a) + lane] + upstream * w[int(b) + lane]
        bar[int(b) + lane] = bar[int(b) + lane] + upstream * w[int(a) + lane]


def _emit_retrace_divide(x: _Operands) -> None:
    share = x.builder.fdiv(x.load(0, 2), x.load(1, 4))
    x.store(_ZERO, 0, 2)
    x.store(x.builder.fadd(x.load(0, 3), share), 0, 3)
    by_divisor = x.builder.fmul(share, x.load(1, 2))
    x.store(x.builder.fsub(x.load(0, 4), by_divisor), 0, 4)


@_vector_form(_emit_retrace_divide)
def retrace_divide(bar, w, o, a, b):
    """Move the adjoint bar[o:] of w[a:] / w[b:] = w[o:] to bar[a:] and bar[b:]."""
    for lane in range(WIDTH):
        share = bar[int(o) + lane] / w[int(b) + lane]
        bar[int(o) + lane] = 0.0
        bar[int(a) + lane] = bar[int(a) + lane] + share
        bar[int(b) + lane] = bar[int(b) + lane] - share * w[int(o) + lane]


def _emit_retrace_sum(x: _Operands) -> None:
    upstream = x.load(0, 1)
    x.store(_ZERO, 0, 1)
    x.store(x.builder.fadd(x.load(0, 2), upstream), 0, 2)
    term = x.builder.fmul(x.everywhere(4), upstream)
    x.store(x.builder.fadd(x.load(0, 3), term), 0, 3)


@_vector_form(_emit_retrace_sum)
def retrace_sum(bar, o, a, b, sign):
    """Move the adjoint bar[o:] of a sum or a difference to bar[a:] and, times sign, to bar[b:]."""
    for lane in range(WIDTH):
        upstream = bar[int(o) + lane]
        bar[int(o) + lane] = 0.0
        bar[int(a) + lane] = bar[int(a) + lane] + upstream
        bar[int(b) + lane] = bar[int(b) + lane] + sign * upstream
