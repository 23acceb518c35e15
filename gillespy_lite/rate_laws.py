"""Rate laws as immutable expression trees: the same trees for text and for Python.

An expression is a `Number`, a `Symbol` or a `Call` of one of the `OPERATIONS`. Nothing here
knows what a name stands for; that is the network's business. Every walk over a tree is a loop
over a listing of its nodes, so a sum of 20,000 terms is as safe as one of two.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import math
import numbers
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import MissingExtraError, NetworkError

__all__ = [
    "CONSTANTS",
    "FUNCTIONS",
    "MAX_NAME_LENGTH",
    "MAX_NESTING",
    "MAX_NODES",
    "OPERATIONS",
    "RESERVED",
    "TIME",
    "Call",
    "Expression",
    "Function",
    "Number",
    "Operand",
    "Operation",
    "Symbol",
    "as_expression",
    "ceil",
    "checked_name",
    "cos",
    "did_you_mean",
    "equal",
    "exp",
    "floor",
    "hill",
    "hillr",
    "if_",
    "latex_name",
    "log",
    "log10",
    "maximum",
    "minimum",
    "name_problem",
    "normal_name",
    "number_text",
    "piecewise",
    "shown",
    "sin",
    "sqrt",
    "t",
    "tan",
    "tanh",
    "unequal",
]

MAX_NODES = 100_000  # nodes of one expression, also after observables were put in
MAX_NESTING = 100  # brackets, signs and exponents inside one another, in text
MAX_NAME_LENGTH = 200  # characters

CONSTANTS: Mapping[str, float] = {"e": math.e, "pi": math.pi}  # unless a network declares them

Value: TypeAlias = float | NDArray[np.float64]
Result = TypeVar("Result")


# ---- Names ------------------------------------------------------------------------------------


def shown(text: str) -> str:
    """Return `text` in quotes, cut in the middle if it would bury the message around it."""
    return repr(text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}")


def normal_name(name: str) -> str:
    """Return the one spelling (Unicode NFKC) under which a name is stored and compared."""
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


@functools.lru_cache(maxsize=65_536)
def name_problem(name: str) -> str:
    """Say why `name` cannot be declared, in words that follow the name; empty if it can.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    str
        For example ``"is a reserved word (a function); choose another name"``.
    """
    if len(name) > MAX_NAME_LENGTH:
        return f"has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed"
    normal = normal_name(name)
    for character in name if normal is not name else ():
        # NFKC would turn x² into the name x2, where a power was meant.
        if unicodedata.decomposition(character).startswith(("<super>", "<fraction>")):
            if character.isdigit():
                power = unicodedata.normalize("NFKC", character)
                return f"contains {character!r}; a power is written ^{power}"
            return f"contains the raised character {character!r}; write plain letters and digits"
    if not normal:
        return "is empty; a name starts with a letter or _"
    if not normal.isidentifier():
        return "is not a name: a letter or _ comes first, then letters, digits and _"
    if len(normal) > MAX_NAME_LENGTH:
        return f"has {len(normal)} characters; at most {MAX_NAME_LENGTH} are allowed"
    if normal in RESERVED:
        return f"is a reserved word ({RESERVED[normal]}); choose another name"
    return ""


def checked_name(name: str, kind: str) -> str:
    """Return `name` as it is stored, or refuse it.

    Parameters
    ----------
    name : str
        What the user typed.
    kind : str
        What is being named, for the message: ``"species"``, ``"parameter"``, ...

    Returns
    -------
    str
        The name, NFKC-normalised.

    Raises
    ------
    TypeError
        If it is no string.
    NetworkError
        If it is no identifier, too long or reserved.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a {kind} must be a string, not {name!r}")
    problem = name_problem(name)
    if problem:
        raise NetworkError(f"the {kind} name {shown(name)} {problem}")
    return normal_name(name)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'kcat'?"`` for the nearest candidate, or nothing.

    Parameters
    ----------
    name : str
        The unknown name.
    candidates : iterable of str
        The known ones.

    Returns
    -------
    str
        Text to append to a message.
    """
    # Comparing costs about 20 us per candidate, so in a huge network only look at some.
    near = [known for known in candidates if abs(len(known) - len(name)) <= 3][:2_000]
    if len(name) > MAX_NAME_LENGTH or not near:
        return ""
    folded: dict[str, str] = {}
    for known in near:
        folded.setdefault(known.casefold(), known)
    if name.casefold() in folded:
        return f"; did you mean {folded[name.casefold()]!r}? (capitals matter)"
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[found[0]]!r}?" if found else ""


# ---- Operators --------------------------------------------------------------------------------


class Operand:
    """Anything that the operators ``+ - * / **`` and the comparisons turn into an expression.

    The logical operators are ``&``, ``|`` and ``~``, because Python does not let ``and``,
    ``or`` and ``not`` be redefined; a comparison for equality is ``equal(a, b)``, because
    ``==`` asks whether two expressions are the same tree.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that numpy.float64(2) * species reaches __rmul__

    # `side @ rate` begins a reaction. Reactions are defined one layer up, in network.py, which
    # puts its function here.
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


# ---- The tree ---------------------------------------------------------------------------------


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
        one, zero = Number(1.0), Number(0.0)

        def leaf(node: Expression) -> Expression:
            return one if isinstance(node, Symbol) and node.name == name else zero

        def combine(node: Call, slopes: list[Expression]) -> Expression:
            if all(_is_zero(slope) for slope in slopes):
                return zero
            return OPERATIONS[node.operation].derivative(node.arguments, tuple(slopes))

        return self.fold(leaf, combine)

    def nesting(self) -> int:
        """Return how deep brackets, signs and exponents nest in the text of this expression."""
        deepest = 0
        waiting: list[tuple[Expression, int]] = [(self, 0)]
        while waiting:
            node, depth = waiting.pop()
            deepest = max(deepest, depth)
            pieces = _text_layout(node)
            # What stands inside a function's brackets, a sign's or exponent's reach is one deeper.
            in_function = isinstance(node, Call) and node.operation in _FUNCTION_LIKE
            open_brackets = 0
            for piece in pieces:
                if isinstance(piece, str):
                    open_brackets += (piece == "(") - (piece == ")")
                else:
                    reach = _is_prefix(node) or (
                        isinstance(node, Call)
                        and node.operation == "^"
                        and piece is node.arguments[1]
                    )
                    waiting.append((piece, depth + open_brackets + in_function + reach))
        return deepest

    def __str__(self) -> str:
        """Return the text of the language, with the fewest brackets that keep the tree."""
        return _emit(self, _text_layout)

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
        names = symbol_names or {}
        return _emit(self, lambda node: _latex_layout(node, names))

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
        try:
            sympy = importlib.import_module("sympy")
        except ImportError:
            raise MissingExtraError(
                "to_sympy needs SymPy; install it with: pip install 'gillespy_lite[sympy]'"
            ) from None
        return _to_sympy(self, sympy)


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


# ---- Derivatives ------------------------------------------------------------------------------
#
# A rule gets the arguments u of an operation and their slopes du, and returns the operation's
# slope. These five build the result with the only simplifications there are.


def _is_number(expression: Expression, value: float) -> bool:
    return isinstance(expression, Number) and expression.value == value


def _is_zero(expression: Expression) -> bool:
    return isinstance(expression, Number) and expression.value == 0.0


def _fold_numbers(operation: str, a: Expression, b: Expression) -> Expression:
    if isinstance(a, Number) and isinstance(b, Number):
        with np.errstate(all="ignore"):
            value = float(OPERATIONS[operation].evaluate(a.value, b.value))
        if math.isfinite(value):
            return Number(value)
    return Call(operation, (a, b))


def _plus(a: Expression, b: Expression) -> Expression:
    if _is_zero(a):
        return b
    return a if _is_zero(b) else _fold_numbers("+", a, b)


def _minus(a: Expression, b: Expression) -> Expression:
    if _is_zero(b):
        return a
    return _negative(b) if _is_zero(a) else _fold_numbers("-", a, b)


def _negative(a: Expression) -> Expression:
    if isinstance(a, Call) and a.operation == "neg":
        return a.arguments[0]
    return -a


def _times(a: Expression, b: Expression) -> Expression:
    if _is_zero(a) or _is_number(b, 1.0):
        return a
    if _is_zero(b) or _is_number(a, 1.0):
        return b
    return _fold_numbers("*", a, b)


def _over(a: Expression, b: Expression) -> Expression:
    return a if _is_zero(a) or _is_number(b, 1.0) else _fold_numbers("/", a, b)


def _to_the(a: Expression, b: Expression) -> Expression:
    if _is_number(b, 1.0):
        return a
    return Number(1.0) if _is_zero(b) else _fold_numbers("^", a, b)


def _choose(condition: Expression, a: Expression, b: Expression) -> Expression:
    return a if a == b else Call("if", (condition, a, b))


Trees: TypeAlias = tuple[Expression, ...]
Slope: TypeAlias = Callable[[Trees, Trees], Expression]


def _slope_constant(u: Trees, du: Trees) -> Expression:
    return Number(0.0)


def _slope_quotient(u: Trees, du: Trees) -> Expression:
    change = _over(_times(u[0], du[1]), _to_the(u[1], Number(2.0)))
    return _minus(_over(du[0], u[1]), change)


def _slope_power(u: Trees, du: Trees) -> Expression:
    base, exponent = u
    by_base = _times(_times(exponent, _to_the(base, _minus(exponent, Number(1.0)))), du[0])
    if _is_zero(du[1]):
        return by_base
    # 0^n is 0 for every n > 0, so its slope in n is 0, where the formula says 0*log(0).
    growth = _choose(
        Call("==", (base, Number(0.0))),
        Number(0.0),
        _times(Call("^", (base, exponent)), Call("log", (base,))),
    )
    by_exponent = _times(growth, du[1])
    return by_exponent if _is_zero(du[0]) else _plus(by_base, by_exponent)


def _slope_hill(u: Trees, du: Trees) -> Expression:
    x, half, n = u
    # d/dx is n h (1 - h) / x, which at x = 0 is 0/0 with the limit n (x/K)^(|n| - 1) / K.
    both = _times(Call("hill", u), Call("hillr", u))
    power = Number(abs(n.value)) if isinstance(n, Number) else Call("abs", (n,))
    at_zero = _over(_times(n, _to_the(_over(x, half), _minus(power, Number(1.0)))), half)
    is_zero = Call("==", (x, Number(0.0)))
    by_x = _times(_choose(is_zero, at_zero, _over(_times(n, both), x)), du[0])
    by_half = _times(_over(_times(n, both), half), du[1])
    by_n = _times(
        _choose(is_zero, Number(0.0), _times(both, Call("log", (_over(x, half),)))), du[2]
    )
    return _plus(_minus(by_x, by_half if not _is_zero(du[1]) else Number(0.0)), by_n)


def _slope_abs(u: Trees, du: Trees) -> Expression:
    zero = Number(0.0)
    below = _choose(Call("<", (u[0], zero)), Number(-1.0), zero)
    return _times(_choose(Call(">", (u[0], zero)), Number(1.0), below), du[0])


def _slope_tan(u: Trees, du: Trees) -> Expression:
    return _times(Number(1.0) + Call("tan", u) ** 2, du[0])


def _slope_tanh(u: Trees, du: Trees) -> Expression:
    return _times(Number(1.0) - Call("tanh", u) ** 2, du[0])


# ---- The operations ---------------------------------------------------------------------------


class Operation(NamedTuple):
    """What one operation means, in numbers, in calculus and in print."""

    arity: int  # number of arguments in the tree
    evaluate: Callable[..., Any]  # of NumPy values; IEEE results
    derivative: Slope  # (arguments, their slopes) -> slope
    precedence: int  # how tightly it binds in text; ATOM for what is written f(x)
    latex: str  # operator between the arguments, or command before the bracket


# How tightly things bind in text, loosest first. A negative number binds like a sign.
OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(1, 10)


def _hill(x: Any, half: Any, n: Any) -> Any:
    # x^n / (K^n + x^n) with both sides divided by x^n: no power can overflow to inf/inf.
    return np.divide(1.0, np.add(1.0, np.power(np.divide(half, x), n)))


def _hillr(x: Any, half: Any, n: Any) -> Any:
    return np.divide(1.0, np.add(1.0, np.power(np.divide(x, half), n)))


def _truth(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: np.multiply(function(*arguments), 1.0)


OPERATIONS: Mapping[str, Operation] = {
    "+": Operation(2, np.add, lambda u, du: _plus(du[0], du[1]), SUM, "+"),
    "-": Operation(2, np.subtract, lambda u, du: _minus(du[0], du[1]), SUM, "-"),
    "*": Operation(
        2,
        np.multiply,
        lambda u, du: _plus(_times(du[0], u[1]), _times(u[0], du[1])),
        PRODUCT,
        r"\,",
    ),
    "/": Operation(2, np.divide, _slope_quotient, PRODUCT, r"\frac"),
    "^": Operation(2, np.power, _slope_power, POWER, "^"),
    "neg": Operation(1, np.negative, lambda u, du: _negative(du[0]), SIGN, "-"),
    "<": Operation(2, _truth(np.less), _slope_constant, COMPARISON, "<"),
    "<=": Operation(2, _truth(np.less_equal), _slope_constant, COMPARISON, r"\le"),
    ">": Operation(2, _truth(np.greater), _slope_constant, COMPARISON, ">"),
    ">=": Operation(2, _truth(np.greater_equal), _slope_constant, COMPARISON, r"\ge"),
    "==": Operation(2, _truth(np.equal), _slope_constant, COMPARISON, "="),
    "!=": Operation(2, _truth(np.not_equal), _slope_constant, COMPARISON, r"\ne"),
    "and": Operation(2, _truth(np.logical_and), _slope_constant, AND, r"\land"),
    "or": Operation(2, _truth(np.logical_or), _slope_constant, OR, r"\lor"),
    "not": Operation(1, _truth(np.logical_not), _slope_constant, NOT, r"\lnot"),
    "exp": Operation(1, np.exp, lambda u, du: _times(Call("exp", u), du[0]), ATOM, r"\exp"),
    "log": Operation(1, np.log, lambda u, du: _over(du[0], u[0]), ATOM, r"\ln"),
    "log10": Operation(
        1,
        np.log10,
        lambda u, du: _over(du[0], _times(u[0], Number(math.log(10.0)))),
        ATOM,
        r"\log_{10}",
    ),
    "sqrt": Operation(
        1,
        np.sqrt,
        lambda u, du: _over(du[0], _times(Number(2.0), Call("sqrt", u))),
        ATOM,
        r"\sqrt",
    ),
    "abs": Operation(1, np.absolute, _slope_abs, ATOM, r"\lvert"),
    "sin": Operation(1, np.sin, lambda u, du: _times(Call("cos", u), du[0]), ATOM, r"\sin"),
    "cos": Operation(
        1, np.cos, lambda u, du: _negative(_times(Call("sin", u), du[0])), ATOM, r"\cos"
    ),
    "tan": Operation(1, np.tan, _slope_tan, ATOM, r"\tan"),
    "tanh": Operation(1, np.tanh, _slope_tanh, ATOM, r"\tanh"),
    "floor": Operation(1, np.floor, _slope_constant, ATOM, r"\lfloor"),
    "ceil": Operation(1, np.ceil, _slope_constant, ATOM, r"\lceil"),
    "min": Operation(
        2, np.minimum, lambda u, du: _choose(Call("<=", u), du[0], du[1]), ATOM, r"\min"
    ),
    "max": Operation(
        2, np.maximum, lambda u, du: _choose(Call(">=", u), du[0], du[1]), ATOM, r"\max"
    ),
    "if": Operation(
        3,
        lambda condition, a, b: np.where(np.not_equal(condition, 0.0), a, b),
        lambda u, du: _choose(u[0], du[1], du[2]),
        ATOM,
        "cases",
    ),
    "hill": Operation(3, _hill, _slope_hill, ATOM, "hill"),
    "hillr": Operation(3, _hillr, lambda u, du: _negative(_slope_hill(u, du)), ATOM, "hillr"),
}

_FUNCTION_LIKE = frozenset(name for name, known in OPERATIONS.items() if known.precedence == ATOM)


# ---- Functions, as text and as Python ---------------------------------------------------------


def exp(x: Operand | float) -> Expression:
    """Return e to the power `x`."""
    return Call("exp", (x,))


def log(x: Operand | float) -> Expression:
    """Return the natural logarithm of `x`."""
    return Call("log", (x,))


def log10(x: Operand | float) -> Expression:
    """Return the decimal logarithm of `x`."""
    return Call("log10", (x,))


def sqrt(x: Operand | float) -> Expression:
    """Return the square root of `x`."""
    return Call("sqrt", (x,))


def sin(x: Operand | float) -> Expression:
    """Return the sine of `x` radians."""
    return Call("sin", (x,))


def cos(x: Operand | float) -> Expression:
    """Return the cosine of `x` radians."""
    return Call("cos", (x,))


def tan(x: Operand | float) -> Expression:
    """Return the tangent of `x` radians."""
    return Call("tan", (x,))


def tanh(x: Operand | float) -> Expression:
    """Return the hyperbolic tangent of `x`."""
    return Call("tanh", (x,))


def floor(x: Operand | float) -> Expression:
    """Return the largest whole number that is not above `x`."""
    return Call("floor", (x,))


def ceil(x: Operand | float) -> Expression:
    """Return the smallest whole number that is not below `x`."""
    return Call("ceil", (x,))


def equal(a: Operand | float, b: Operand | float) -> Expression:
    """Return the comparison ``a == b``: 1 where the values are equal, else 0."""
    return Call("==", (a, b))


def unequal(a: Operand | float, b: Operand | float) -> Expression:
    """Return the comparison ``a != b``: 1 where the values differ, else 0."""
    return Call("!=", (a, b))


def if_(condition: Operand | float, a: Operand | float, b: Operand | float) -> Expression:
    """Return `a` where the condition holds (is not 0), else `b`."""
    return Call("if", (condition, a, b))


def hill(x: Operand | float, half: Operand | float, n: Operand | float) -> Expression:
    """Return the rising Hill function ``x^n / (half^n + x^n)``, without overflow."""
    return Call("hill", (x, half, n))


def hillr(x: Operand | float, half: Operand | float, n: Operand | float) -> Expression:
    """Return the falling Hill function ``half^n / (half^n + x^n)``, without overflow."""
    return Call("hillr", (x, half, n))


def _fold_left(operation: str, values: tuple[Operand | float, ...]) -> Expression:
    if len(values) < 2:
        raise NetworkError(f"{operation} takes two or more arguments, not {len(values)}")
    return functools.reduce(
        lambda a, b: Call(operation, (a, b)), values[1:], as_expression(values[0])
    )


def minimum(*values: Operand | float) -> Expression:
    """Return the smallest of two or more values."""
    return _fold_left("min", values)


def maximum(*values: Operand | float) -> Expression:
    """Return the largest of two or more values."""
    return _fold_left("max", values)


def piecewise(*values: Operand | float) -> Expression:
    """Return the first value whose condition holds.

    Parameters
    ----------
    *values : Operand or float
        ``value1, condition1, value2, condition2, ..., otherwise``: an odd number, at least 3.

    Returns
    -------
    Expression
        Nested choices ``if(condition1, value1, if(condition2, value2, ...))``.

    Raises
    ------
    NetworkError
        If the number of values is even, so that the last one is missing.
    """
    if len(values) < 3 or len(values) % 2 == 0:
        raise NetworkError(
            "piecewise takes value1, condition1, value2, condition2, ..., otherwise: an odd "
            f"number of arguments, at least 3, not {len(values)}"
        )
    result = as_expression(values[-1])
    for index in range(len(values) - 3, -1, -2):
        result = Call("if", (values[index + 1], values[index], result))
    return result


class Function(NamedTuple):
    """A function as it is called in text."""

    signature: str  # for messages
    fewest: int  # arguments
    most: int | None  # arguments; None: any number
    build: Callable[..., Expression]


def _plain(operation: str, signature: str) -> Function:
    arity = OPERATIONS[operation].arity
    return Function(signature, arity, arity, lambda *values: Call(operation, values))


FUNCTIONS: Mapping[str, Function] = {
    **{
        name: _plain(name, f"{name}(x)")
        for name in (
            "exp",
            "log",
            "log10",
            "sqrt",
            "abs",
            "sin",
            "cos",
            "tan",
            "tanh",
            "floor",
            "ceil",
        )
    },
    "min": Function("min(a, b, ...)", 2, None, minimum),
    "max": Function("max(a, b, ...)", 2, None, maximum),
    "pow": Function("pow(x, y)", 2, 2, lambda x, y: Call("^", (x, y))),
    "hill": _plain("hill", "hill(x, K, n)"),
    "hillr": _plain("hillr", "hillr(x, K, n)"),
    "if": _plain("if", "if(condition, a, b)"),
    "piecewise": Function(
        "piecewise(value1, condition1, value2, condition2, ..., otherwise)", 3, None, piecewise
    ),
}

RESERVED: Mapping[str, str] = {
    "t": "the time",
    "species": "a keyword",
    "param": "a keyword",
    "observe": "a keyword",
    "and": "a logical operator",
    "or": "a logical operator",
    "not": "a logical operator",
    **dict.fromkeys(FUNCTIONS, "a function"),
}

TIME = Symbol("t")
t = TIME


# ---- Printing ---------------------------------------------------------------------------------

# A node is laid out as pieces: strings, and nodes that are to be laid out in their turn.
Piece: TypeAlias = str | Expression


def _emit(expression: Expression, layout: Callable[[Expression], list[Piece]]) -> str:
    written: list[str] = []
    waiting: list[Piece] = [expression]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            written.append(piece)
        else:
            waiting.extend(reversed(layout(piece)))
    return "".join(written)


def number_text(value: float) -> str:
    """Return the shortest text that reads back as exactly `value`: ``301``, ``1e-5``, ``0.1``."""
    if value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def _precedence(node: Expression) -> int:
    if isinstance(node, Call):
        return OPERATIONS[node.operation].precedence
    return SIGN if isinstance(node, Number) and node.value < 0.0 else ATOM


def _is_prefix(node: Expression) -> bool:
    return isinstance(node, Call) and node.operation in ("neg", "not")


def _bracketed(node: Expression, loosest: int) -> list[Piece]:
    """Return the node, in brackets if it binds more loosely than `loosest`."""
    return [node] if _precedence(node) >= loosest else ["(", node, ")"]


def _infix(node: Call, operator: str) -> list[Piece]:
    left, right = node.arguments
    own = OPERATIONS[node.operation].precedence
    if node.operation == "^":  # groups to the right, and 2^-x needs no brackets
        return [*_bracketed(left, ATOM), operator, *_bracketed(right, SIGN)]
    # Everything else groups to the left; comparisons do not group at all.
    return [
        *_bracketed(left, own + (own == COMPARISON)),
        operator,
        *_bracketed(right, own + 1),
    ]


def _chain(node: Call) -> list[Expression]:
    """Return min(min(a, b), c) as a, b, c and if(p, a, if(q, b, c)) as p, a, q, b, c."""
    parts: list[Expression] = []
    rest: Expression = node
    if node.operation == "if":
        while isinstance(rest, Call) and rest.operation == "if":
            parts += rest.arguments[:2]
            rest = rest.arguments[2]
        return [*parts, rest]
    while isinstance(rest, Call) and rest.operation == node.operation:
        parts.append(rest.arguments[1])
        rest = rest.arguments[0]
    return [rest, *reversed(parts)]


def _listed(name: str, arguments: Sequence[Expression]) -> list[Piece]:
    pieces: list[Piece] = [f"{name}("]
    for index, argument in enumerate(arguments):
        pieces += [", ", argument] if index else [argument]
    return [*pieces, ")"]


def _text_layout(node: Expression) -> list[Piece]:
    if isinstance(node, Number):
        return [number_text(node.value)]
    if isinstance(node, Symbol):
        return [node.name]
    assert isinstance(node, Call)
    operation = node.operation
    if operation == "neg":
        inner = node.arguments[0]
        # -3 is read as the number -3, so the negation of the number 3 keeps its brackets.
        if isinstance(inner, Number) and inner.value >= 0.0:
            return ["-", "(", inner, ")"]
        return ["-", *_bracketed(inner, SIGN)]
    if operation == "not":
        return ["not ", *_bracketed(node.arguments[0], NOT)]
    if operation in ("*", "/", "^"):
        return _infix(node, operation)
    if operation not in _FUNCTION_LIKE:
        return _infix(node, f" {operation} ")
    if operation == "if":
        chain = _chain(node)
        if len(chain) == 3:
            return _listed("if", chain)
        # Without piecewise a long list of cases would be nested beyond what the parser allows.
        for first in range(0, len(chain) - 1, 2):
            chain[first], chain[first + 1] = chain[first + 1], chain[first]
        return _listed("piecewise", chain)
    if operation in ("min", "max"):
        return _listed(operation, _chain(node))
    return _listed(operation, node.arguments)


def _latex_number(value: float) -> str:
    mantissa, _, exponent = number_text(value).partition("e")
    if not exponent:
        return mantissa
    power = f"10^{{{exponent}}}"
    return power if mantissa == "1" else rf"{mantissa} \times {power}"


def latex_name(name: str) -> str:
    """Return a name for math mode: one letter as it is, longer names upright and escaped."""
    escaped = name.replace("_", r"\_")
    return escaped if len(name) == 1 and name != "_" else rf"\mathrm{{{escaped}}}"


def _latex_bracketed(node: Expression, loosest: int) -> list[Piece]:
    precedence = _precedence(node)
    if isinstance(node, Number) and "e" in number_text(node.value):  # 10^{5} or 2 \times 10^{5}
        precedence = POWER if r"\times" not in _latex_number(node.value) else PRODUCT
    elif isinstance(node, Call) and node.operation in ("/", "hill", "hillr"):
        precedence = SIGN  # a bar groups what is over and under it, but carries no exponent
    return [node] if precedence >= loosest else [r"\left(", node, r"\right)"]


def _latex_layout(node: Expression, names: Mapping[str, str]) -> list[Piece]:
    if isinstance(node, Number):
        return [_latex_number(node.value)]
    if isinstance(node, Symbol):
        if node.name == "pi" and "pi" not in names:
            return [r"\pi"]
        return [names.get(node.name, latex_name(node.name))]
    assert isinstance(node, Call)
    operation, u = node.operation, node.arguments
    command = OPERATIONS[operation].latex
    if operation == "neg":
        return ["-", *_latex_bracketed(u[0], SIGN)]
    if operation == "not":
        return [rf"{command} ", *_latex_bracketed(u[0], NOT)]
    if operation == "/":
        return [r"\frac{", u[0], "}{", u[1], "}"]
    if operation == "^":
        return [*_latex_bracketed(u[0], ATOM), "^{", u[1], "}"]
    if operation == "*":
        first = u[1]
        while isinstance(first, Call) and first.operation in ("*", "^"):
            first = first.arguments[0]
        sign = r"\cdot" if isinstance(first, Number) else command
        return [*_latex_bracketed(u[0], PRODUCT), f" {sign} ", *_latex_bracketed(u[1], PRODUCT + 1)]
    if operation not in _FUNCTION_LIKE:
        own = OPERATIONS[operation].precedence
        return [
            *_latex_bracketed(u[0], own + (own == COMPARISON)),
            f" {command} ",
            *_latex_bracketed(u[1], own + 1),
        ]
    if operation in ("hill", "hillr"):
        x, half, n = u
        rising = [*_latex_bracketed(x, ATOM), "^{", n, "}"]
        falling = [*_latex_bracketed(half, ATOM), "^{", n, "}"]
        above = rising if operation == "hill" else falling
        return [r"\frac{", *above, "}{", *falling, " + ", *rising, "}"]
    if operation == "if":
        chain, pieces = _chain(node), list[Piece]([r"\begin{cases} "])
        for first_of_pair in range(0, len(chain) - 1, 2):
            condition, value = chain[first_of_pair : first_of_pair + 2]
            pieces += [value, r" & \text{if } ", condition, r" \\ "]
        return [*pieces, chain[-1], r" & \text{otherwise} \end{cases}"]
    if operation == "sqrt":
        return [r"\sqrt{", u[0], "}"]
    closing = {"abs": r"\rvert", "floor": r"\rfloor", "ceil": r"\rceil"}.get(operation)
    if closing:
        return [rf"\left{command} ", u[0], rf" \right{closing}"]
    pieces = [rf"{command}\left("]
    for index, argument in enumerate(_chain(node) if operation in ("min", "max") else u):
        pieces += [", ", argument] if index else [argument]
    return [*pieces, r"\right)"]


# ---- SymPy ------------------------------------------------------------------------------------


def _to_sympy(expression: Expression, sympy: Any) -> Any:
    def is_truth(value: Any) -> bool:
        # A sympy.Symbol is both; here it stands for a number.
        return isinstance(value, sympy.logic.boolalg.Boolean) and not isinstance(value, sympy.Expr)

    def number(value: Any) -> Any:
        if isinstance(value, list):  # the terms of a sum, joined once: adding one by one is slow
            return sympy.Add(*value)
        return sympy.Piecewise((1, value), (0, True)) if is_truth(value) else value

    def truth(value: Any) -> Any:
        return value if is_truth(value) else sympy.Ne(number(value), 0)

    def hill_of(x: Any, half: Any, n: Any) -> Any:
        return x**n / (half**n + x**n)

    direct: dict[str, Callable[..., Any]] = {
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "^": lambda a, b: a**b,
        "neg": lambda a: -a,
        "<": sympy.Lt,
        "<=": sympy.Le,
        ">": sympy.Gt,
        ">=": sympy.Ge,
        "==": sympy.Eq,
        "!=": sympy.Ne,
        "exp": sympy.exp,
        "log": sympy.log,
        "log10": lambda a: sympy.log(a, 10),
        "sqrt": sympy.sqrt,
        "abs": sympy.Abs,
        "sin": sympy.sin,
        "cos": sympy.cos,
        "tan": sympy.tan,
        "tanh": sympy.tanh,
        "floor": sympy.floor,
        "ceil": sympy.ceiling,
        "min": sympy.Min,
        "max": sympy.Max,
        "hill": hill_of,
        "hillr": lambda x, half, n: hill_of(half, x, n),
    }

    def leaf(node: Expression) -> Any:
        if isinstance(node, Number):
            is_whole = node.value.is_integer() and abs(node.value) < 2.0**53
            return sympy.Integer(int(node.value)) if is_whole else sympy.Float(node.value)
        assert isinstance(node, Symbol)
        return sympy.Symbol(node.name)

    def combine(node: Call, u: list[Any]) -> Any:
        if node.operation == "+":
            terms = u[0] if isinstance(u[0], list) else [number(u[0])]
            terms.append(number(u[1]))
            return terms
        if node.operation == "and":
            return sympy.And(truth(u[0]), truth(u[1]))
        if node.operation == "or":
            return sympy.Or(truth(u[0]), truth(u[1]))
        if node.operation == "not":
            return sympy.Not(truth(u[0]))
        if node.operation == "if":
            return sympy.Piecewise((number(u[1]), truth(u[0])), (number(u[2]), True))
        return direct[node.operation](*map(number, u))

    return number(expression.fold(leaf, combine))
