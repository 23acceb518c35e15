"""Values of many lanes at once: one number of each of `LANES` trajectories, in vector registers.

In Python a value of lanes is a NumPy array of `LANES` numbers, and kernels read as arithmetic on
such arrays. Compiled, it is one LLVM vector, which the compiler splits into as many registers as
the processor needs: 8 doubles each with AVX-512, 4 with AVX2, 2 with SSE2 and NEON. LLVM's own
vectoriser is not relied on; it leaves such loops scalar as soon as it cannot prove that arrays do
not overlap.

Every operation is rounded as IEEE 754 says and nothing is contracted, so results do not depend on
the instruction set, nor on how many lanes there are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_process_triple
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, register_model, type_callable

__all__ = [
    "LANES",
    "absolute",
    "align_stack",
    "as_double",
    "as_reals",
    "as_words",
    "bits",
    "everywhere",
    "everywhere_2",
    "everywhere_8",
    "everywhere_16",
    "fill",
    "first_lane",
    "gathered",
    "load",
    "load_8",
    "load_16",
    "lowest_bit",
    "masks",
    "n_ones",
    "ones",
    "quick_masks",
    "rotated",
    "select",
    "square_root",
    "store",
    "take_next",
]

# Four AVX-512 registers a value, or sixteen of SSE2: independent chains of operations, which hide
# each other's latency. See benchmarks/lanes.py for other widths.
LANES = 32


class Lanes(types.Type):
    """The compiled type of one value per lane; `kind` is real, whole, word or truth.

    Values of fewer lanes (`load_8`, `load_16`) go through the same operations.
    """

    def __init__(self, kind: str, width: int = LANES) -> None:
        self.kind, self.width = kind, width
        super().__init__(name=f"Lanes({kind}, {width})")

    def of_kind(self, kind: str) -> Lanes:
        """Return the type of as many values of another kind."""
        return Lanes(kind, self.width)


REAL, WHOLE, WORD, TRUTH = (Lanes(kind) for kind in ("real", "whole", "word", "truth"))
_I64, _DOUBLE = ir.IntType(64), ir.DoubleType()
_ELEMENT = {"real": _DOUBLE, "whole": _I64, "word": _I64, "truth": ir.IntType(1)}
_OF_DTYPE = {types.float64: REAL, types.int64: WHOLE, types.uint64: WORD}


def _vector(lanes: Lanes) -> Any:
    """Return LLVM's type of lanes."""
    return ir.VectorType(_ELEMENT[lanes.kind], lanes.width)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector(lanes))


def _splat(builder: Any, element: Any, lanes: Lanes) -> Any:
    """Return a number in all lanes."""
    undefined = ir.Constant(_vector(lanes), ir.Undefined)
    vector = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), lanes.width), [0] * lanes.width)
    return builder.shuffle_vector(vector, undefined, places)


def _as_lanes(context: Any, builder: Any, value: Any, given: Any, wanted: Lanes) -> Any:
    if isinstance(given, Lanes):
        return value
    element = {"real": types.float64, "whole": types.int64, "word": types.uint64}[wanted.kind]
    return _splat(builder, context.cast(builder, value, given, element), wanted)


# ---- Operators -----------------------------------------------------------------------------------


def _operator(function: Any, emit: Callable[[Any, str, Any, Any], Any], *, truth: bool) -> None:
    """Let compiled code apply a binary operator to lanes, or to lanes and a number."""

    @infer_global(function)
    class _Typing(AbstractTemplate):
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) != 2 or not any(isinstance(one, Lanes) for one in args):
                return None
            lanes = next(one for one in args if isinstance(one, Lanes))
            for one in args:
                if one != lanes and not isinstance(one, types.Number | types.Literal):
                    return None
            return signature(lanes.of_kind("truth") if truth else lanes, *args)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = next(one for one in sig.args if isinstance(one, Lanes))
        a, b = (
            _as_lanes(context, builder, value, given, lanes)
            for value, given in zip(args, sig.args, strict=True)
        )
        return emit(builder, lanes.kind, a, b)

    for kinds in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(function, *kinds)(lower)


def _arithmetic(real: str, whole: str) -> Callable[[Any, str, Any, Any], Any]:
    return lambda builder, kind, a, b: getattr(builder, real if kind == "real" else whole)(a, b)


def _comparison(symbol: str) -> Callable[[Any, str, Any, Any], Any]:
    def emit(builder: Any, kind: str, a: Any, b: Any) -> Any:
        if kind == "real":
            # As IEEE 754 and NumPy have it: nan is unequal to everything, and not below or above.
            compare = builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered
        else:
            compare = builder.icmp_unsigned if kind == "word" else builder.icmp_signed
        return compare(symbol, a, b)

    return emit


for _function, _emit in (
    (operator.add, _arithmetic("fadd", "add")),
    (operator.sub, _arithmetic("fsub", "sub")),
    (operator.mul, _arithmetic("fmul", "mul")),
    (operator.truediv, _arithmetic("fdiv", "")),
    (operator.and_, lambda builder, kind, a, b: builder.and_(a, b)),
    (operator.or_, lambda builder, kind, a, b: builder.or_(a, b)),
    (operator.xor, lambda builder, kind, a, b: builder.xor(a, b)),
    (operator.lshift, lambda builder, kind, a, b: builder.shl(a, b)),
    (operator.rshift, lambda builder, kind, a, b: builder.lshr(a, b)),
):
    _operator(_function, _emit, truth=False)
for _function, _symbol in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _operator(_function, _comparison(_symbol), truth=True)


@infer_global(operator.invert)
class _InvertTyping(AbstractTemplate):
    key = operator.invert

    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], *args) if isinstance(args[0], Lanes) else None


@lower_builtin(operator.invert, Lanes)
def _lower_invert(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.not_(args[0])


@infer_global(operator.neg)
class _NegateTyping(AbstractTemplate):
    key = operator.neg

    def generic(self, args: Any, kws: Any) -> Any:
        is_real = isinstance(args[0], Lanes) and args[0].kind == "real"
        return signature(args[0], *args) if is_real else None


@lower_builtin(operator.neg, Lanes)
def _lower_negate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])


# ---- Memory --------------------------------------------------------------------------------------


def _pointer(
    context: Any, builder: Any, kind: Any, array: Any, place: Any, width: int = LANES
) -> Any:
    start = context.make_array(kind)(context, builder, array).data
    lanes = Lanes(_OF_DTYPE[kind.dtype].kind, width)
    return builder.bitcast(builder.gep(start, [place]), _vector(lanes).as_pointer())


def load(array, place):
    """Return the lanes that stand at `array[place:place + LANES]`; the array is flat."""
    return array[int(place) : int(place) + LANES].copy()


def load_8(array, place):
    """Return eight lanes, those at `array[place:place + 8]`."""
    return array[int(place) : int(place) + 8].copy()


def load_16(array, place):
    """Return sixteen lanes, those at `array[place:place + 16]`."""
    return array[int(place) : int(place) + 16].copy()


def _loading(function: Any, width: int) -> None:
    @type_callable(function)
    def type_load(context: Any) -> Any:
        def typer(array: Any, place: Any) -> Any:
            if not isinstance(array, types.Array) or array.dtype not in _OF_DTYPE:
                return None
            return Lanes(_OF_DTYPE[array.dtype].kind, width)

        return typer

    @lower_builtin(function, types.Array, types.Integer)
    def lower_load(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], width)
        return builder.load(pointer, align=8)


for _loader, _width in ((load, LANES), (load_8, 8), (load_16, 16)):
    _loading(_loader, _width)


def store(array, place, value):
    """Write lanes to `array[place:place + LANES]`, or fewer to as many places."""
    array[int(place) : int(place) + len(value)] = value


@type_callable(store)
def _type_store(context: Any) -> Any:
    def typer(array: Any, place: Any, value: Any) -> Any:
        if not isinstance(array, types.Array) or not isinstance(value, Lanes):
            return None
        kind = _OF_DTYPE.get(array.dtype)
        return types.none if kind is not None and kind.kind == value.kind else None

    return typer


@lower_builtin(store, types.Array, types.Integer, Lanes)
def _lower_store(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = _pointer(context, builder, sig.args[0], args[0], args[1], sig.args[2].width)
    builder.store(args[2], pointer, align=8)
    return context.get_dummy_value()


def gathered(array, rows, beyond):
    """Return for each lane the number in its own row, or so many rows beyond.

    `array` is flat, (n_rows * LANES,); `rows` are whole numbers of lanes, `beyond` is one number.
    """
    return array.reshape(-1, LANES)[rows + int(beyond), np.arange(LANES)]


@type_callable(gathered)
def _type_gathered(context: Any) -> Any:
    def typer(array: Any, rows: Any, beyond: Any) -> Any:
        if not isinstance(array, types.Array) or array.dtype not in _OF_DTYPE or rows != WHOLE:
            return None
        return _OF_DTYPE[array.dtype]

    return typer


@lower_builtin(gathered, types.Array, Lanes, types.Integer)
def _lower_gathered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    start = context.make_array(sig.args[0])(context, builder, args[0]).data
    places = builder.mul(args[1], _splat(builder, ir.Constant(_I64, LANES), WHOLE))
    start = builder.gep(start, [builder.mul(args[2], ir.Constant(_I64, LANES))])
    found = ir.Constant(_vector(sig.return_type), ir.Undefined)
    for lane in range(LANES):
        number = ir.Constant(ir.IntType(32), lane)
        own = builder.gep(start, [builder.extract_element(places, number)])
        own = builder.gep(own, [ir.Constant(_I64, lane)])
        found = builder.insert_element(found, builder.load(own), number)
    return found


def align_stack():
    """Let this function's stack begin with a cache line, and so the vectors that are spilled to it.

    The compiler takes the stack as it comes, at a multiple of 16 bytes. A vector in two lines can't
    be read back before it has left the queue of writes: in processes that were unlucky 25 % of the
    time of a birth-death network went into the constants at the start of its bursts.
    """


@type_callable(align_stack)
def _type_align_stack(context: Any) -> Any:
    return lambda: types.none


@lower_builtin(align_stack)
def _lower_align_stack(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    vector = ir.VectorType(_DOUBLE, 8)
    with builder.goto_entry_block():
        place = builder.alloca(vector)
        place.align = 64
    # Code of no instructions that is said to need the place. (The attribute that is meant for this
    # is lost before code is generated.)
    kind = ir.FunctionType(ir.VoidType(), [vector.as_pointer()])
    builder.asm(kind, "", "r", [place], True)
    return context.get_dummy_value()


# ---- Functions -----------------------------------------------------------------------------------


def everywhere(number):
    """Return a real number in all lanes."""
    return np.full(LANES, number, dtype=np.float64)


def everywhere_2(number):
    """Return a real number in two lanes."""
    return np.full(2, number, dtype=np.float64)


def everywhere_8(number):
    """Return a real number in eight lanes."""
    return np.full(8, number, dtype=np.float64)


def everywhere_16(number):
    """Return a real number in sixteen lanes."""
    return np.full(16, number, dtype=np.float64)


def _repeating(function: Any, width: int) -> None:
    lanes = Lanes("real", width)

    @type_callable(function)
    def type_everywhere(context: Any) -> Any:
        return lambda number: lanes if isinstance(number, types.Number) else None

    @lower_builtin(function, types.Number)
    def lower_everywhere(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _as_lanes(context, builder, args[0], sig.args[0], lanes)


_REPEATERS = (everywhere, LANES), (everywhere_2, 2), (everywhere_8, 8), (everywhere_16, 16)
for _repeater, _width in _REPEATERS:
    _repeating(_repeater, _width)


def select(where, one, other):
    """Return `one` in the lanes where the truth holds, and `other` elsewhere."""
    return np.where(where, one, other)


@type_callable(select)
def _type_select(context: Any) -> Any:
    def typer(where: Any, one: Any, other: Any) -> Any:
        if not isinstance(where, Lanes) or where.kind != "truth":
            return None
        lanes = one if isinstance(one, Lanes) else other
        return lanes if isinstance(lanes, Lanes) else where.of_kind("real")

    return typer


def _lower_select(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    one, other = (
        _as_lanes(context, builder, value, given, sig.return_type)
        for value, given in zip(args[1:], sig.args[1:], strict=True)
    )
    return builder.select(args[0], one, other)


for _kinds in (
    (Lanes, Lanes),
    (Lanes, types.Number),
    (types.Number, Lanes),
    (types.Number, types.Number),
):
    lower_builtin(select, Lanes, *_kinds)(_lower_select)


def _unary(function: Any, given: str, result: Any, emit: Callable[[Any, Lanes, Any], Any]) -> None:
    """Let compiled code use `emit` in place of a Python function of one value of lanes."""

    @type_callable(function)
    def type_it(context: Any) -> Any:
        def typer(value: Any) -> Any:
            if not isinstance(value, Lanes) or value.kind != given:
                return None
            return value.of_kind(result) if isinstance(result, str) else result

        return typer

    @lower_builtin(function, Lanes)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, sig.args[0], args[0])


def as_double(words):
    """Return the doubles that have these bits."""
    return words.view(np.float64)


def as_reals(wholes):
    """Return whole numbers as doubles, rounded to the nearest."""
    return wholes.astype(np.float64)


def as_words(reals):
    """Return the bits of doubles."""
    return reals.view(np.uint64)


def bits(truth):
    """Return the truths as a whole number: bit l is lane l."""
    return np.uint64(sum(1 << lane for lane in range(len(truth)) if truth[lane]))


def _emit_bits(builder: Any, lanes: Lanes, value: Any) -> Any:
    return builder.zext(builder.bitcast(value, ir.IntType(lanes.width)), _I64)


def ones(truth):
    """Return 1 where the truth holds and 0 elsewhere, as whole numbers."""
    return truth.astype(np.int64)


def masks(truth):
    """Return words of bits that are all 1 where the truth holds, and all 0 elsewhere."""
    return np.where(truth, np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0))


def quick_masks(level, value):
    """Return `masks(value < level)` for two lanes of real numbers of which none is below 0, or -0.

    From the bits as whole numbers, two steps of one cycle each; a comparison takes three or more,
    and AVX-512 has its result in registers of their own, from where it takes as many again.
    """
    return masks(value < level)


def first_lane(reals):
    """Return the real number of the first lane."""
    return reals[0]


def absolute(reals):
    """Return |x|."""
    return np.abs(reals)


def square_root(reals):
    """Return the square root, correctly rounded as IEEE 754 demands; nan below 0."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(reals)


def _intrinsic(name: str) -> Callable[[Any, Lanes, Any], Any]:
    def emit(builder: Any, lanes: Lanes, value: Any) -> Any:
        kind = _vector(lanes)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.v{lanes.width}f64"
        )
        return builder.call(function, [value])

    return emit


def _bits_as(kind: str) -> Callable[[Any, Lanes, Any], Any]:
    return lambda builder, lanes, value: builder.bitcast(value, _vector(lanes.of_kind(kind)))


def _emit_ones(builder: Any, lanes: Lanes, value: Any) -> Any:
    return builder.zext(value, _vector(lanes.of_kind("whole")))


def _emit_masks(builder: Any, lanes: Lanes, value: Any) -> Any:
    return builder.sext(value, _vector(lanes.of_kind("word")))


def _emit_first(builder: Any, lanes: Lanes, value: Any) -> Any:
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _emit_as_reals(builder: Any, lanes: Lanes, value: Any) -> Any:
    return builder.sitofp(value, _vector(lanes.of_kind("real")))


_unary(absolute, "real", "real", _intrinsic("fabs"))
_unary(as_reals, "whole", "real", _emit_as_reals)
_unary(square_root, "real", "real", _intrinsic("sqrt"))
_unary(as_double, "word", "real", _bits_as("real"))
_unary(as_words, "real", "word", _bits_as("word"))
_unary(bits, "truth", types.uint64, _emit_bits)
_unary(ones, "truth", "whole", _emit_ones)
_unary(masks, "truth", "word", _emit_masks)
_unary(first_lane, "real", types.float64, _emit_first)


# How LLVM calls the registers of two lanes.
_REGISTER = {"x86_64": "x", "aarch64": "w", "arm64": "w"}.get(get_process_triple().split("-")[0])


@type_callable(quick_masks)
def _type_quick_masks(context: Any) -> Any:
    def typer(level: Any, value: Any) -> Any:
        is_pair = level == value == Lanes("real", 2)
        return level.of_kind("word") if is_pair else None

    return typer


@lower_builtin(quick_masks, Lanes, Lanes)
def _lower_quick_masks(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind = _vector(sig.return_type)
    level, value = (builder.bitcast(one, kind) for one in args)
    found = builder.ashr(builder.sub(value, level), ir.Constant(kind, [63, 63]))
    if _REGISTER is None:
        return found
    # Code of no instructions, which hides where the masks come from; else LLVM makes a comparison
    # of them again.
    hide = ir.FunctionType(kind, [kind])
    return builder.asm(hide, "", f"={_REGISTER},0", [found], False)


def rotated(words, by):
    """Return words with their bits rotated to the left; `by` is a constant from 1 to 63."""
    return (words << np.uint64(by)) | (words >> np.uint64(64 - by))


@type_callable(rotated)
def _type_rotated(context: Any) -> Any:
    def typer(words: Any, by: Any) -> Any:
        return words if isinstance(words, Lanes) and words.kind == "word" else None

    return typer


@lower_builtin(rotated, Lanes, types.Integer)
def _lower_rotated(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    # LLVM's funnel shift becomes the rotation of AVX-512, or two shifts elsewhere.
    words = sig.args[0]
    by = _as_lanes(context, builder, args[1], sig.args[1], words)
    kind = _vector(words)
    rotate = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fshl.v{words.width}i64"
    )
    return builder.call(rotate, [args[0], args[0], by])


def lowest_bit(word):
    """Return the place of the lowest bit that is 1 of a number that is not 0."""
    return (int(word) & -int(word)).bit_length() - 1


@type_callable(lowest_bit)
def _type_lowest_bit(context: Any) -> Any:
    return lambda word: types.int64 if word == types.uint64 else None


@lower_builtin(lowest_bit, types.Integer)
def _lower_lowest_bit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))


def n_ones(word):
    """Return how many bits of a number are 1."""
    return int(word).bit_count()


@type_callable(n_ones)
def _type_n_ones(context: Any) -> Any:
    return lambda word: types.int64 if word == types.uint64 else None


@lower_builtin(n_ones, types.Integer)
def _lower_n_ones(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.ctpop(args[0])


def fill(array, place, number):
    """Write one real number to all lanes at `array[place:place + LANES]`."""
    array[int(place) : int(place) + LANES] = number


@type_callable(fill)
def _type_fill(context: Any) -> Any:
    return lambda array, place, number: types.none


@lower_builtin(fill, types.Array, types.Integer, types.Number)
def _lower_fill(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = _pointer(context, builder, sig.args[0], args[0], args[1])
    value = _as_lanes(context, builder, args[2], sig.args[2], REAL)
    builder.store(value, pointer, align=8)
    return context.get_dummy_value()


def take_next(counter):
    """Return `counter[0]` and raise it by 1, in one indivisible step: threads share the counter."""
    number = int(counter[0])
    counter[0] = number + 1
    return number


@type_callable(take_next)
def _type_take_next(context: Any) -> Any:
    return lambda counter: types.int64 if isinstance(counter, types.Array) else None


@lower_builtin(take_next, types.Array)
def _lower_take_next(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    place = context.make_array(sig.args[0])(context, builder, args[0]).data
    return builder.atomic_rmw("add", place, ir.Constant(_I64, 1), "monotonic")
