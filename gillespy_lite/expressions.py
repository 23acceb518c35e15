"""Expressions: immutable trees, the same for text and for Python, and their operators.

An expression is a `Number`, a `Symbol` or a `Call` of one of the `OPERATIONS`. Nothing here
knows what a name stands for; that is the network's business. Every walk over a tree is a loop
over a listing of its nodes, so a sum of 20,000 terms is as safe as one of two.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import NetworkError
from .names import CONSTANTS, checked_name, did_you_mean, shown
from .operations import OPERATIONS

__all__ = [
    "MAX_NESTING",
    "MAX_NODES",
    "TIME",
    "Call",
    "Expression",
    "Number",
    "Operand",
    "Symbol",
    "as_expression",
]

MAX_NODES = 100_000  # nodes of one expression, also after observables were put in
MAX_NESTING = 100  # brackets, signs and exponents inside one another, in text

Value: TypeAlias = float | NDArray[np.float64]
Result = TypeVar("Result")


class Operand:
    """Anything that the operators ``+ - * / **`` and the comparisons turn into an expression.

    The logical operators are ``&``, ``|`` and ``~``, because Python does not let ``and``,
    ``or`` and ``not`` be redefined; a comparison for equality is ``equal(a, b)``, because
    ``==`` asks whether two expressions are the same tree.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that numpy.float64(2) * species reaches __rmul__

    # `side @ rate` begins a reaction. `reactions`, which knows what that means, puts its
    # function here.
    attach_rate: ClassVar[Callable[[Any, Any], Any]]

    def as_expression(self) -> Expression:
        """Return the expression that this stands for."""
        raise NotImplementedError

    def __add__(self, other: Operand | float) -> Expression:
        return _build("+", self, other)

    def __radd__(self, other: Operand | float) -> Expression:
        return _build("+", other, self)

    def __sub__(self, other: Operand | float) -> Expression:
        return _build("-", self, other)

    def __rsub__(self, other: Operand | float) -> Expression:
        return _build("-", other, self)

    def __mul__(self, other: Operand | float) -> Expression:
        return _build("*", self, other)

    def __rmul__(self, other: Operand | float) -> Expression:
        return _build("*", other, self)

    def __truediv__(self, other: Operand | float) -> Expression:
        return _build("/", self, other)

    def __rtruediv__(self, other: Operand | float) -> Expression:
        return _build("/", other, self)

    def __pow__(self, other: Operand | float) -> Expression:
        return _build("^", self, other)

    def __rpow__(self, other: Operand | float) -> Expression:
        return _build("^", other, self)

    def __neg__(self) -> Expression:
        """Build a negation; of a number, the negative number."""
        expression = self.as_expression()
        if isinstance(expression, Number):
            return Number(-expression.value)
        return Call("neg", (expression,))

    def __pos__(self) -> Expression:
        """Return the expression itself."""
        return self.as_expression()

    def __abs__(self) -> Expression:
        return Call("abs", (self.as_expression(),))

    def __lt__(self, other: Operand | float) -> Expression:
        return _build("<", self, other)

    def __le__(self, other: Operand | float) -> Expression:
        return _build("<=", self, other)

    def __gt__(self, other: Operand | float) -> Expression:
        return _build(">", self, other)

    def __ge__(self, other: Operand | float) -> Expression:
        return _build(">=", self, other)

    def __and__(self, other: Operand | float) -> Expression:
        return _build("and", self, other)

    def __rand__(self, other: Operand | float) -> Expression:
        return _build("and", other, self)

    def __or__(self, other: Operand | float) -> Expression:
        """Build a logical `or`, or with `products @ (forward, reverse)` a reversible reaction."""
        return _build("or", self, other)

    def __ror__(self, other: Operand | float) -> Expression:
        return _build("or", other, self)

    def __invert__(self) -> Expression:
        return Call("not", (self.as_expression(),))

    def __matmul__(self, rate: Any) -> Any:
        """Attach a rate to the products of a reaction: ``S + E >> ES @ kf``."""
        return Operand.attach_rate(self, rate)

    def __rmatmul__(self, side: Any) -> Any:
        """Attach this as the rate to nothing: ``P >> 0 @ k``."""
        return Operand.attach_rate(side, self)

    def __rshift__(self, other: object) -> Any:
        """Refuse a reaction without a rate; the products carry ``>>`` when they have one."""
        if isinstance(other, Operand | numbers.Real):
            raise NetworkError(
                f"the reaction {self} >> {other} has no rate; write it after the products: "
                f"{self} >> {other} @ k"
            )
        return NotImplemented

    def __rrshift__(self, other: object) -> Any:
        """Refuse a reaction without a rate."""
        if isinstance(other, numbers.Real):
            raise NetworkError(
                f"the reaction {other} >> {self} has no rate; write it after the products: "
                f"{other} >> {self} @ k"
            )
        return NotImplemented

    def __xor__(self, other: object) -> NoReturn:
        """Refuse ``^``, which Python would bind more loosely than ``+``."""
        raise TypeError(f"in Python a power is written **: {self}**{other}")

    def __rxor__(self, other: object) -> NoReturn:
        """Refuse ``^``, which Python would bind more loosely than ``+``."""
        raise TypeError(f"in Python a power is written **: {other}**{self}")

    def __bool__(self) -> bool:
        """Refuse: an expression has no truth value before its names have values."""
        raise TypeError(
            f"the expression {self} has no truth value yet. Write 0 < x < 5 as "
            "(0 < x) & (x < 5); write & | ~ for and, or, not, with brackets around each "
            "comparison; write if_(condition, a, b) for a choice"
        )


def _as_expression_or_none(value: object) -> Expression | None:
    if isinstance(value, Operand):
        return value.as_expression()
    if isinstance(value, bool | np.bool_):
        raise TypeError(
            f"{value} is not a number. If it came from a == b: that asks whether two expressions "
            "are the same tree; write equal(a, b) to compare their values"
        )
    if isinstance(value, numbers.Real):
        return Number(value)
    return None


def _build(operation: str, *operands: object) -> Expression:
    arguments = []
    for operand in operands:
        expression = _as_expression_or_none(operand)
        if expression is None:
            # Python then asks the other operand, and if that does not know either, refuses.
            return cast("Expression", NotImplemented)
        arguments.append(expression)
    return Call(operation, tuple(arguments))


def as_expression(value: Operand | float) -> Expression:
    """Return a number, species, parameter, observable or expression as an expression.

    Parameters
    ----------
    value : Operand or float
        Text is refused: it is read by `parse_expression`.

    Returns
    -------
    Expression
        The tree.

    Raises
    ------
    TypeError
        If `value` is none of these.
    """
    given: object = value
    expression = _as_expression_or_none(given)
    if expression is None:
        is_text = isinstance(given, str)
        advice = "; text is read by gillespy_lite.dsl.parse_expression" if is_text else ""
        raise TypeError(
            f"{value!r} is not a number, a species, a parameter, an observable or an expression "
            f"of them{advice}"
        )
    return expression


class Expression(Operand):
    """A node of a rate law with everything below it: a `Number`, a `Symbol` or a `Call`.

    Expressions never change, are equal when their trees are, and can be keys of dicts.

    Attributes
    ----------
    arguments : tuple of Expression
        The nodes directly below; empty for a number or a symbol.
    n_nodes : int
        Nodes of the tree, this one included.
    """

    __slots__ = ("_hash",)
    _hash: int
    arguments: tuple[Expression, ...] = ()
    n_nodes: int = 1

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: expressions are immutable."""
        raise AttributeError("an expression cannot be changed; build a new one")

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse: expressions are immutable."""
        raise AttributeError("an expression cannot be changed; build a new one")

    def __hash__(self) -> int:
        """Return the hash taken when the node was built."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether `other` is the same tree."""
        if not isinstance(other, Expression):
            return NotImplemented
        pairs: list[tuple[Expression, Expression]] = [(self, other)]
        while pairs:
            a, b = pairs.pop()
            if a is b:
                continue
            if a._hash != b._hash:
                return False
            if isinstance(a, Call):
                if (
                    not isinstance(b, Call)
                    or a.operation != b.operation
                    or len(a.arguments) != len(b.arguments)
                ):
                    return False
                pairs.extend(zip(a.arguments, b.arguments, strict=True))
            elif isinstance(a, Number):
                if not isinstance(b, Number) or a.value != b.value:
                    return False
            elif isinstance(a, Symbol) and (not isinstance(b, Symbol) or a.name != b.name):
                return False
        return True

    def __copy__(self) -> Expression:
        """Return itself: nothing can change."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Expression:
        """Return itself: nothing can change."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a flat listing, because a recursive one would overflow on a long sum."""
        entries: list[float | str | tuple[str]] = []
        for node in self.postorder():
            if isinstance(node, Number):
                entries.append(node.value)
            elif isinstance(node, Symbol):
                entries.append(node.name)
            elif isinstance(node, Call):
                entries.append((node.operation,))
        return _from_postorder, (tuple(entries),)

    def as_expression(self) -> Expression:
        """Return itself."""
        return self

    @property
    def is_number(self) -> bool:
        """Whether this is a plain number (``2`` is, ``2*3`` is not)."""
        return isinstance(self, Number)

    def postorder(self) -> list[Expression]:
        """List every node from left to right, arguments before the call that uses them.

        Returns
        -------
        list of Expression
            `n_nodes` entries: a part that occurs twice is listed twice, so the listing is a
            program for a stack machine.
        """
        if not self.arguments:  # most rates are a name or a number
            return [self]
        listing: list[Expression] = []
        waiting: list[Expression] = [self]
        while waiting:
            node = waiting.pop()
            listing.append(node)
            waiting.extend(node.arguments)
        listing.reverse()
        return listing

    def fold(
        self,
        leaf: Callable[[Expression], Result],
        combine: Callable[[Call, list[Result]], Result],
    ) -> Result:
        """Compute a result for the tree from results for its parts, without recursion.

        Parameters
        ----------
        leaf : callable
            Result of a number or a symbol.
        combine : callable
            Result of a call, from the call and its arguments' results.

        Returns
        -------
        object
            The result for the root.
        """
        if not self.arguments:
            return leaf(self)
        results: list[Result] = []
        for node in self.postorder():
            if isinstance(node, Call):
                first = len(results) - len(node.arguments)
                result = combine(node, results[first:])
                del results[first:]
                results.append(result)
            else:
                results.append(leaf(node))
        return results[0]

    def symbols(self) -> frozenset[str]:
        """Return the names that occur, `t`, `e` and `pi` included."""
        if not self.arguments:
            return frozenset((self.name,)) if isinstance(self, Symbol) else frozenset()
        return frozenset(node.name for node in self.postorder() if isinstance(node, Symbol))

    def evaluate(self, values: Mapping[str, ArrayLike]) -> Value:
        """Compute the value, by NumPy, with IEEE results and no warnings (1/0 is inf).

        This is the reference that compiled rate laws are compared with.

        Parameters
        ----------
        values : mapping of str to array_like
            A number or array for every name that occurs; arrays are broadcast. `e` and `pi`
            may be left out.

        Returns
        -------
        float or ndarray of float64
            A float if the values used are all numbers.

        Raises
        ------
        NetworkError
            If a name has no value.
        """

        def leaf(node: Expression) -> Any:
            if isinstance(node, Number):
                return node.value
            assert isinstance(node, Symbol)
            if node.name in values:
                return np.asarray(values[node.name], dtype=np.float64)
            if node.name in CONSTANTS:
                return CONSTANTS[node.name]
            raise NetworkError(
                f"no value was given for {node.name!r}{did_you_mean(node.name, values)}"
            )

        def combine(node: Call, arguments: list[Any]) -> Any:
            return OPERATIONS[node.operation].evaluate(*arguments)

        with np.errstate(all="ignore"):
            result = np.asarray(self.fold(leaf, combine), dtype=np.float64)
        return float(result) if result.ndim == 0 else result

    def substitute(self, replacements: Mapping[str, Operand | float]) -> Expression:
        """Replace names by expressions, all at once.

        Parameters
        ----------
        replacements : mapping of str to Operand or float
            What to put in the place of each name; names that do not occur are ignored.

        Returns
        -------
        Expression
            The new tree; parts without any of the names are shared with the old one.
        """
        trees = {name: as_expression(value) for name, value in replacements.items()}

        def leaf(node: Expression) -> Expression:
            return trees.get(node.name, node) if isinstance(node, Symbol) else node

        def combine(node: Call, arguments: list[Expression]) -> Expression:
            if all(new is old for new, old in zip(arguments, node.arguments, strict=True)):
                return node
            return Call(node.operation, tuple(arguments))

        return self.fold(leaf, combine)

    def derivative(self, name: str) -> Expression:
        """Differentiate with respect to one name, the others being constant.

        Parameters
        ----------
        name : str
            The variable.

        Returns
        -------
        Expression
            Lightly simplified (``0*x``, ``1*x``, ``x + 0``, numbers with numbers). At a kink or a
            jump of abs, min, max, floor, ceil, a comparison or a choice it is the slope of
            one side.
        """
        from .derivatives import slope_of

        return slope_of(self, name)

    def nesting(self) -> int:
        """Return how deep brackets, signs and exponents nest in the text of this expression."""
        from .expression_display import nesting_of

        return nesting_of(self)

    def __str__(self) -> str:
        """Return the text of the language, with the fewest brackets that keep the tree."""
        from .expression_display import text_of

        return text_of(self)

    def __repr__(self) -> str:
        """Return the kind of node and its text."""
        text = str(self)
        return f"<{type(self).__name__} {text if len(text) <= 200 else text[:200] + '...'}>"

    def to_latex(self, symbol_names: Mapping[str, str] | None = None) -> str:
        """Return the expression as LaTeX for math mode.

        Parameters
        ----------
        symbol_names : mapping of str to str, optional
            LaTeX for some of the names, used as it is; other names are set upright and escaped.

        Returns
        -------
        str
            Without dollar signs.
        """
        from .expression_display import latex_of

        return latex_of(self, symbol_names or {})

    def _repr_latex_(self) -> str:
        return f"${self.to_latex()}$"

    def to_sympy(self) -> Any:
        """Return the expression as a SymPy one; every name becomes a plain ``sympy.Symbol``.

        Returns
        -------
        sympy.Basic
            A whole number becomes a ``sympy.Integer``, other numbers a ``sympy.Float``.

        Raises
        ------
        MissingExtraError
            If SymPy is not installed.
        """
        from .sympy_conversion import sympy_of

        return sympy_of(self)


class Number(Expression):
    """A finite number.

    Parameters
    ----------
    value : float
        Any real number that a double can hold; -0.0 becomes 0.0.

    Raises
    ------
    NetworkError
        If it is infinite, not a number, or too large for a double.
    """

    __slots__ = ("value",)
    value: float

    def __init__(self, value: Any) -> None:
        try:
            number = float(value) + 0.0  # -0.0 + 0.0 is 0.0: one spelling of zero
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise NetworkError(
                f"a number in an expression must be finite, not {shown(str(value)[:100])}"
                if isinstance(value, float)
                else "a number in an expression is too large for a double (1.8e308)"
            )
        object.__setattr__(self, "value", number)
        object.__setattr__(self, "_hash", hash(("number", number)))

    def __repr__(self) -> str:
        """Return the call that builds it."""
        return f"Number({self.value!r})"


class Symbol(Expression):
    """A name: of a species, a parameter or an observable, ``t``, or a constant ``e`` or ``pi``.

    Parameters
    ----------
    name : str
        An identifier that is not reserved (except ``t``, the time).

    Raises
    ------
    NetworkError
        If the name is not allowed.
    """

    __slots__ = ("name",)
    name: str

    def __init__(self, name: str) -> None:
        name = name if name == "t" else checked_name(name, "symbol")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_hash", hash(("symbol", name)))

    def __repr__(self) -> str:
        """Return the call that builds it."""
        return f"Symbol({self.name!r})"


class Call(Expression):
    """An operation applied to arguments.

    Parameters
    ----------
    operation : str
        A key of `OPERATIONS`.
    arguments : sequence of Operand or float
        As many as the operation takes.

    Raises
    ------
    NetworkError
        If the operation is unknown, the number of arguments wrong, or the tree larger than
        `MAX_NODES`.
    """

    __slots__ = ("arguments", "n_nodes", "operation")
    operation: str
    arguments: tuple[Expression, ...]
    n_nodes: int

    def __init__(self, operation: str, arguments: Sequence[Operand | float]) -> None:
        trees = tuple(
            argument if isinstance(argument, Expression) else as_expression(argument)
            for argument in arguments
        )
        known = OPERATIONS.get(operation)
        if known is None:
            raise NetworkError(
                f"unknown operation {operation!r}{did_you_mean(operation, OPERATIONS)}; "
                f"there are {', '.join(OPERATIONS)}"
            )
        if len(trees) != known.arity:
            raise NetworkError(f"{operation} takes {known.arity} arguments, not {len(trees)}")
        n_nodes = 1
        for tree in trees:
            n_nodes += tree.n_nodes
        if n_nodes > MAX_NODES:
            raise NetworkError(
                f"an expression of {n_nodes} nodes is too large; at most {MAX_NODES} are allowed, "
                "with all observables put in"
            )
        object.__setattr__(self, "operation", operation)
        object.__setattr__(self, "arguments", trees)
        object.__setattr__(self, "n_nodes", n_nodes)
        object.__setattr__(self, "_hash", hash((operation, trees)))


def _from_postorder(entries: tuple[float | str | tuple[str], ...]) -> Expression:
    stack: list[Expression] = []
    for entry in entries:
        if isinstance(entry, float):
            stack.append(Number(entry))
        elif isinstance(entry, str):
            stack.append(Symbol(entry))
        else:
            first = len(stack) - OPERATIONS[entry[0]].arity
            call = Call(entry[0], stack[first:])
            del stack[first:]
            stack.append(call)
    return stack[0]


TIME = Symbol("t")
