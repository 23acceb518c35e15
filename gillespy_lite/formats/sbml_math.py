"""Formulas of SBML as our expressions, and ours as MathML: node by node, never through text.

Both ways are loops over a listing of the nodes, so that a sum of 20,000 terms is as safe as one of
two.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from ..errors import FormatError, MissingExtraError, NetworkError
from ..expressions import TIME, Call, Expression, Number, Symbol
from ..names import CONSTANTS, did_you_mean, shown
from ..operations import CONDITIONS

__all__ = [
    "AVOGADRO",
    "MathReader",
    "all_of",
    "imported_libsbml",
    "mathml",
    "needs_more_digits",
    "piecewise",
]

MAX_INLINED = 10_000  # nodes of a function's body with its arguments
AVOGADRO = 6.02214179e23  # as SBML Level 3 fixes it, per mole


def imported_libsbml() -> Any:
    """Return the module libsbml, or say how to install it."""
    try:
        import libsbml
    except ImportError as error:
        raise MissingExtraError(
            'reading SBML needs python-libsbml; install it with pip install "gillespy_lite[sbml]"'
        ) from error
    return libsbml


# ---- From libsbml's tree ----------------------------------------------------------------------


def _call(operation: str) -> Callable[..., Expression]:
    return lambda *arguments: Call(operation, arguments)


def _negative(x: Expression) -> Expression:
    return Number(-x.value) if isinstance(x, Number) else Call("neg", (x,))


def _inverse(x: Expression) -> Expression:
    return Call("/", (Number(1.0), x))


def _quotient(a: Expression, b: Expression) -> Expression:
    # Rounded towards zero.
    ratio = a / b
    return Call("if", (ratio < Number(0.0), Call("ceil", (ratio,)), Call("floor", (ratio,))))


def _remainder(a: Expression, b: Expression) -> Expression:
    # The remainder has the sign of `a`, because the quotient is rounded towards zero.
    return a - b * _quotient(a, b)


def _logarithm(base: Expression, x: Expression) -> Expression:
    if isinstance(base, Number) and base.value == 10.0:
        return Call("log10", (x,))
    return Call("log", (x,)) / Call("log", (base,))


def _root(degree: Expression, x: Expression) -> Expression:
    if isinstance(degree, Number) and degree.value == 2.0:
        return Call("sqrt", (x,))
    return x ** (Number(1.0) / degree)


def _folded(operation: str, empty: float) -> Callable[[Sequence[Expression]], Expression]:
    def fold(arguments: Sequence[Expression]) -> Expression:
        if not arguments:
            return Number(empty)
        result = arguments[0]
        for argument in arguments[1:]:
            result = Call(operation, (result, argument))
        return result

    return fold


def all_of(conditions: Sequence[Expression]) -> Expression:
    """Return the conjunction of conditions; of none, true."""
    return _folded("and", 1.0)(conditions)


def _truth(x: Expression) -> Expression:
    """Return 1 where `x` is not 0, and 0 where it is."""
    is_truth = isinstance(x, Call) and x.operation in CONDITIONS
    return x if is_truth else Call("!=", (x, Number(0.0)))


def _exclusive_or(arguments: Sequence[Expression]) -> Expression:
    if not arguments:
        return Number(0.0)
    result = _truth(arguments[0])
    for argument in arguments[1:]:
        result = Call("!=", (result, _truth(argument)))
    return result


def _chained(operation: str) -> Callable[[Sequence[Expression]], Expression]:
    def chain(arguments: Sequence[Expression]) -> Expression:
        return all_of([Call(operation, pair) for pair in itertools.pairwise(arguments)])

    return chain


def _implied(a: Expression, b: Expression) -> Expression:
    return Call("or", (Call("not", (a,)), b))


def piecewise(arguments: Sequence[Expression], otherwise: Expression) -> Expression:
    """Return a choice from value, condition, value, condition, ..., and the last value."""
    result = arguments[-1] if len(arguments) % 2 else otherwise
    for place in range(len(arguments) // 2 * 2 - 2, -1, -2):
        result = Call("if", (arguments[place + 1], arguments[place], result))
    return result


class _Rule(NamedTuple):
    build: Callable[..., Expression]  # from the arguments
    fewest: int  # arguments
    most: int


def _plain(build: Callable[..., Expression], fewest: int, most: int | None = None) -> _Rule:
    return _Rule(build, fewest, fewest if most is None else most)


def _listed(build: Callable[[Sequence[Expression]], Expression], fewest: int) -> _Rule:
    return _Rule(lambda *arguments: build(arguments), fewest, 10**9)


def _minus(x: Expression, y: Expression | None = None) -> Expression:
    return _negative(x) if y is None else x - y


def _of_inverse(operation: str) -> Callable[[Expression], Expression]:
    return lambda x: Call(operation, (_inverse(x),))


def _inverse_of(operation: str) -> Callable[[Expression], Expression]:
    return lambda x: _inverse(Call(operation, (x,)))


# By the names of libsbml's constants. Those of one argument that we know under a name of our own.
_SAME = {
    "ABS": "abs",
    "ARCCOS": "acos",
    "ARCCOSH": "acosh",
    "ARCSIN": "asin",
    "ARCSINH": "asinh",
    "ARCTAN": "atan",
    "ARCTANH": "atanh",
    "CEILING": "ceil",
    "COS": "cos",
    "COSH": "cosh",
    "EXP": "exp",
    "FACTORIAL": "factorial",
    "FLOOR": "floor",
    "LN": "log",
    "SIN": "sin",
    "SINH": "sinh",
    "TAN": "tan",
    "TANH": "tanh",
}
_RULES: Mapping[str, _Rule] = {
    "AST_PLUS": _listed(_folded("+", 0.0), 0),
    "AST_TIMES": _listed(_folded("*", 1.0), 0),
    "AST_MINUS": _plain(_minus, 1, 2),
    "AST_DIVIDE": _plain(_call("/"), 2),
    "AST_POWER": _plain(_call("^"), 2),
    "AST_FUNCTION_POWER": _plain(_call("^"), 2),
    "AST_LOGICAL_AND": _listed(_folded("and", 1.0), 0),
    "AST_LOGICAL_OR": _listed(_folded("or", 0.0), 0),
    "AST_LOGICAL_XOR": _listed(_exclusive_or, 0),
    "AST_LOGICAL_NOT": _plain(_call("not"), 1),
    "AST_LOGICAL_IMPLIES": _plain(_implied, 2),
    "AST_RELATIONAL_EQ": _listed(_chained("=="), 1),
    "AST_RELATIONAL_NEQ": _plain(_call("!="), 2),
    "AST_RELATIONAL_LT": _listed(_chained("<"), 1),
    "AST_RELATIONAL_LEQ": _listed(_chained("<="), 1),
    "AST_RELATIONAL_GT": _listed(_chained(">"), 1),
    "AST_RELATIONAL_GEQ": _listed(_chained(">="), 1),
    "AST_FUNCTION_LOG": _plain(_logarithm, 2),
    "AST_FUNCTION_ROOT": _plain(_root, 2),
    "AST_FUNCTION_MIN": _listed(_folded("min", math.inf), 1),
    "AST_FUNCTION_MAX": _listed(_folded("max", -math.inf), 1),
    "AST_FUNCTION_QUOTIENT": _plain(_quotient, 2),
    "AST_FUNCTION_REM": _plain(_remainder, 2),
    "AST_FUNCTION_SEC": _plain(_inverse_of("cos"), 1),
    "AST_FUNCTION_CSC": _plain(_inverse_of("sin"), 1),
    "AST_FUNCTION_COT": _plain(_inverse_of("tan"), 1),
    "AST_FUNCTION_SECH": _plain(_inverse_of("cosh"), 1),
    "AST_FUNCTION_CSCH": _plain(_inverse_of("sinh"), 1),
    "AST_FUNCTION_COTH": _plain(_inverse_of("tanh"), 1),
    "AST_FUNCTION_ARCSEC": _plain(_of_inverse("acos"), 1),
    "AST_FUNCTION_ARCCSC": _plain(_of_inverse("asin"), 1),
    "AST_FUNCTION_ARCCOT": _plain(_of_inverse("atan"), 1),
    "AST_FUNCTION_ARCSECH": _plain(_of_inverse("acosh"), 1),
    "AST_FUNCTION_ARCCSCH": _plain(_of_inverse("asinh"), 1),
    "AST_FUNCTION_ARCCOTH": _plain(_of_inverse("atanh"), 1),
    **{f"AST_FUNCTION_{name}": _plain(_call(ours), 1) for name, ours in _SAME.items()},
}


class _Function(NamedTuple):
    arguments: tuple[str, ...] | None  # placeholders; None: any number of them
    body: Expression


class MathReader:
    """Turns libsbml's formulas into expressions of the names under which ids are stored.

    Attributes
    ----------
    names : dict of str to str
        The stored name of every id that formulas may use.
    rates : dict of str to str
        For the symbol that stands for the time derivative of a quantity, the quantity's name.
    infinity, nan : str
        Names that stand for numbers that are not finite.
    """

    def __init__(self, libsbml: Any, names: dict[str, str], taken: Iterable[str]) -> None:
        self.names = names
        self.rates: dict[str, str] = {}
        self._taken = set(taken)
        self.infinity = self.free_name("infinity")
        self.nan = self.free_name("not_a_number")
        self._libsbml = libsbml
        self._rule_of_type: dict[int, _Rule] = {
            getattr(libsbml, name): rule for name, rule in _RULES.items()
        }
        self._type_names = {
            getattr(libsbml, name): name for name in dir(libsbml) if name.startswith("AST_")
        }
        self._functions: dict[str, Any] = {}
        self._read: dict[str, _Function] = {}
        self._reading: list[str] = []

    def free_name(self, wanted: str) -> str:
        """Return `wanted`, with underscores at its end until no id is called so; and take it."""
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted

    def define_functions(self, definitions: Mapping[str, tuple[Any, str]]) -> None:
        """Take the function definitions: by id, libsbml's object and where it stands."""
        self._functions = dict(definitions)

    def rate_symbol(self, name: str) -> Symbol:
        """Return the symbol that stands for the time derivative of `name`, for the while."""
        for known, owner in self.rates.items():
            if owner == name:
                return Symbol(known)
        known = self.free_name(f"rate_of_{len(self.rates)}")
        self.rates[known] = name
        return Symbol(known)

    def read(self, formula: Any, where: str, local: Mapping[str, str] | None = None) -> Expression:
        """Return a formula as an expression.

        Parameters
        ----------
        formula : libsbml.ASTNode
            The formula.
        where : str
            What it belongs to, for messages: construct, id and line.
        local : mapping of str to str, optional
            Names of ids that hide those of the model.

        Raises
        ------
        FormatError
            If it uses what is not supported, or an id that is not there.
        """
        listing, waiting = [], [formula]
        while waiting:
            node = waiting.pop()
            listing.append(node)
            children = [node.getChild(place) for place in range(node.getNumChildren())]
            if any(child is None for child in children):
                raise FormatError(f"the formula of {where} is damaged")
            waiting.extend(children)
        results: list[Expression] = []
        try:
            for node in reversed(listing):
                n_children = node.getNumChildren()
                first = len(results) - n_children
                arguments = results[first:]
                del results[first:]
                results.append(self._built(node, arguments, where, local or {}))
        except FormatError:
            raise
        except NetworkError as error:
            raise FormatError(f"the formula of {where} cannot be read: {error}") from error
        return results[0]

    def _built(
        self, node: Any, arguments: list[Expression], where: str, local: Mapping[str, str]
    ) -> Expression:
        libsbml, kind = self._libsbml, node.getType()
        rule = self._rule_of_type.get(kind)
        if rule is not None:
            if not rule.fewest <= len(arguments) <= rule.most:
                raise FormatError(
                    f"the formula of {where} gives {self._word(node)} "
                    f"{len(arguments)} arguments; it takes {rule.fewest}"
                    + (f" to {rule.most}" if rule.most not in (rule.fewest, 10**9) else "")
                    + (" or more" if rule.most == 10**9 else "")
                )
            return self._finite(rule.build(*arguments))
        if kind == libsbml.AST_NAME:
            return self._named(node.getName(), where, local)
        if kind == libsbml.AST_REAL_E:
            # Mantissa times a power of ten would be rounded twice.
            return self._number(float(f"{node.getMantissa()!r}e{node.getExponent()}"))
        if kind in (libsbml.AST_INTEGER, libsbml.AST_REAL, libsbml.AST_RATIONAL):
            return self._number(float(node.getValue()))
        if kind == libsbml.AST_NAME_TIME:
            return TIME
        if kind == libsbml.AST_NAME_AVOGADRO:
            return Number(AVOGADRO)
        if kind == libsbml.AST_CONSTANT_TRUE:
            return Number(1.0)
        if kind == libsbml.AST_CONSTANT_FALSE:
            return Number(0.0)
        if kind == libsbml.AST_CONSTANT_E:
            return Number(math.e) if "e" in self._taken else Symbol("e")
        if kind == libsbml.AST_CONSTANT_PI:
            return Number(math.pi) if "pi" in self._taken else Symbol("pi")
        if kind == libsbml.AST_FUNCTION_PIECEWISE:
            if len(arguments) % 2 == 0:  # no "otherwise": no value, where no condition holds
                return piecewise(arguments, Symbol(self.nan))
            return piecewise(arguments, arguments[-1])
        if kind == libsbml.AST_FUNCTION_RATE_OF:
            if len(arguments) != 1 or not isinstance(arguments[0], Symbol) or arguments[0] == TIME:
                raise FormatError(
                    f"the formula of {where} asks for the rateOf something without id"
                )
            return self.rate_symbol(arguments[0].name)
        if kind == libsbml.AST_FUNCTION:
            return self._called(node.getName(), arguments, where)
        if kind == libsbml.AST_FUNCTION_DELAY:
            raise FormatError(
                f"the formula of {where} uses delay(); values of the past are not supported. A "
                "reaction that completes later can be written in the language of gillespy_lite: "
                "A -> B @ k delay 2.0"
            )
        raise FormatError(f"the formula of {where} uses {self._word(node)}, which is not supported")

    def _finite(self, built: Expression) -> Expression:
        """Replace what has no finite value, such as 1/0, by the symbol for that value."""
        if all(isinstance(argument, Number) for argument in built.arguments):
            value = float(built.evaluate({})) if isinstance(built, Call) else 0.0
            if not math.isfinite(value):
                return self._number(value)
        return built

    def _word(self, node: Any) -> str:
        name = node.getName()
        known: str = self._type_names.get(node.getType(), "something unknown")
        return shown(name) if name else known.removeprefix("AST_").lower()

    def _number(self, value: float) -> Expression:
        if math.isnan(value):
            return Symbol(self.nan)
        if math.isinf(value):
            infinite = Symbol(self.infinity)
            return infinite if value > 0.0 else Call("neg", (infinite,))
        return Number(value)

    def _named(self, name: str, where: str, local: Mapping[str, str]) -> Expression:
        stored = local.get(name) or self.names.get(name)
        if stored is None:
            if self._reading:
                raise FormatError(
                    f"the formula of {where} uses {shown(name or '')}, which is not one of its "
                    "arguments"
                )
            advice = did_you_mean(name or "", self.names)
            raise FormatError(
                f"the formula of {where} uses the unknown id {shown(name or '')}{advice}"
            )
        return Symbol(stored)

    def _called(self, name: str, arguments: list[Expression], where: str) -> Expression:
        if name not in self._functions:
            raise FormatError(f"the formula of {where} calls the unknown function {shown(name)}")
        function = self._function(name)
        if function.arguments is None:
            return function.body
        if len(arguments) != len(function.arguments):
            raise FormatError(
                f"the formula of {where} gives the function {name!r} {len(arguments)} arguments; "
                f"it takes {len(function.arguments)}"
            )
        # Before anything is put in: functions that call one another twice double each time.
        n_nodes = function.body.n_nodes + sum(argument.n_nodes for argument in arguments)
        if n_nodes > MAX_INLINED:
            raise FormatError(
                f"the formula of {where} grows beyond {MAX_INLINED:,} numbers, names and "
                f"operations when the function {name!r} is put in"
            )
        replacements: dict[str, Expression] = {}
        used = function.body.symbols()
        for placeholder, argument in zip(function.arguments, arguments, strict=True):
            replacements[placeholder] = argument
            rate = self.rate_symbol(placeholder)
            if rate.name in used:
                if not isinstance(argument, Symbol):
                    raise FormatError(
                        f"the formula of {where} asks, by way of the function {name!r}, for the "
                        "rateOf something without id"
                    )
                replacements[rate.name] = self.rate_symbol(argument.name)
        return function.body.substitute(replacements)

    def _function(self, name: str) -> _Function:
        """Return a function's body, read when it is first called."""
        if name in self._read:
            return self._read[name]
        definition, where = self._functions[name]
        if name in self._reading:
            circle = ", which calls ".join([*self._reading[self._reading.index(name) :], name])
            raise FormatError(f"{where} is recursive ({circle}); functions may not call themselves")
        if len(self._reading) > 100:
            raise FormatError(f"{where} calls functions that call functions, more than 100 deep")
        if definition.getBody() is None:
            # An empty definition gives no value (Level 3 Version 2).
            self._read[name] = _Function(None, Symbol(self.nan))
            return self._read[name]
        n_arguments = definition.getNumArguments()
        given = [definition.getArgument(place).getName() for place in range(n_arguments)]
        placeholders = [
            self.free_name(f"argument_{len(self._read)}_{place}_") for place in range(n_arguments)
        ]
        self._reading.append(name)
        outer, self.names = self.names, {}
        try:
            local = dict(zip(given, placeholders, strict=True))
            body = self.read(definition.getBody(), where, local)
        finally:
            self.names = outer
            self._reading.pop()
        self._read[name] = _Function(tuple(placeholders), body)
        return self._read[name]


# ---- To MathML --------------------------------------------------------------------------------

_OPERATORS = {
    "+": "plus",
    "-": "minus",
    "*": "times",
    "/": "divide",
    "^": "power",
    "neg": "minus",
    "<": "lt",
    "<=": "leq",
    ">": "gt",
    ">=": "geq",
    "==": "eq",
    "!=": "neq",
    "and": "and",
    "or": "or",
    "not": "not",
    "log": "ln",
    "log10": "log",
    "sqrt": "root",
    "ceil": "ceiling",
    "min": "min",
    "max": "max",
    **{ours: name.lower() for name, ours in _SAME.items() if ours not in ("log", "ceil")},
}
# Grouped to the left, so that a chain of them is written, and read, as one call.
_CHAINS = frozenset(["+", "*", "and", "or", "min", "max"])
_TIME = '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
_CONSTANTS = {"e": "<exponentiale/>", "pi": "<pi/>"}
_MATHML = 'xmlns="http://www.w3.org/1998/Math/MathML"'
MAX_CHAIN = 100  # of subtractions, divisions or powers that group to the left, one in another


def needs_more_digits(value: float, digits: int) -> bool:
    """Whether a number is not the same when it is written with so many digits."""
    return math.isfinite(value) and float(f"{value:.{digits}g}") != value


def _number_text(value: float, digits: int) -> str:
    if needs_more_digits(value, digits):
        rounded = float(f"{value:.{digits}g}")
        parts = (_number_text(one, digits=17) for one in (rounded, value - rounded))
        return f"<apply><plus/>{''.join(parts)}</apply>"
    if value.is_integer() and abs(value) < 2**31:
        return f'<cn type="integer">{int(value)}</cn>'
    mantissa, _, exponent = repr(value).partition("e")
    if exponent:
        return f'<cn type="e-notation">{mantissa}<sep/>{int(exponent)}</cn>'
    return f"<cn>{mantissa}</cn>"


def _hill(x: Expression, half: Expression, n: Expression) -> Expression:
    # Neither side can be inf/inf, as in the operation itself.
    return Number(1.0) / (Number(1.0) + (half / x) ** n)


def _leaf(node: Expression, ids: Mapping[str, str], digits: int) -> str:
    if isinstance(node, Number):
        return _number_text(node.value, digits)
    assert isinstance(node, Symbol)
    if node.name == "t":
        return _TIME
    if node.name in ids:
        return f"<ci>{escape(ids[node.name])}</ci>"
    assert node.name in CONSTANTS
    return _CONSTANTS[node.name]


def _chain(node: Call) -> list[Expression]:
    parts: list[Expression] = []
    rest: Expression = node
    while isinstance(rest, Call) and rest.operation == node.operation:
        parts.append(rest.arguments[1])
        rest = rest.arguments[0]
    return [rest, *reversed(parts)]


def _pieces(node: Call, where: str) -> list[str | Expression]:
    """Return the MathML of a call as text and the expressions to be written between."""
    operation, arguments = node.operation, node.arguments
    if operation in _CHAINS:
        return [f"<apply><{_OPERATORS[operation]}/>", *_chain(node), "</apply>"]
    if operation == "if":
        pieces: list[str | Expression] = ["<piecewise>"]
        rest: Expression = node
        while isinstance(rest, Call) and rest.operation == "if":
            condition, value, otherwise = rest.arguments
            pieces += ["<piece>", value, condition, "</piece>"]
            rest = otherwise
        return [*pieces, "<otherwise>", rest, "</otherwise></piecewise>"]
    if operation == "hill":
        return [_hill(*arguments)]
    if operation == "hillr":
        x, half, n = arguments
        return [_hill(half, x, n)]
    if operation not in _OPERATORS:
        raise FormatError(f"{where} uses {operation}(), which SBML does not have")
    return [f"<apply><{_OPERATORS[operation]}/>", *arguments, "</apply>"]


def _left_depth(expression: Expression) -> int:
    """Return how deep elements nest when the expression is written."""
    deepest, waiting = 0, [(expression, 0)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(node, Call):
            parts = _chain(node) if node.operation in _CHAINS else list(node.arguments)
            extra = 2 if node.operation == "if" else 1
            waiting.extend((part, depth + extra) for part in parts)
    return deepest


def mathml(expression: Expression, ids: Mapping[str, str], where: str, *, digits: int = 17) -> str:
    """Return an expression as a `math` element of MathML.

    Parameters
    ----------
    expression : Expression
        What is written.
    ids : mapping of str to str
        The id of every name; `e` and `pi` are constants if they are not among them.
    where : str
        What it belongs to, for messages.
    digits : int, optional
        How many digits of a number are kept; one that needs more is written as a sum of two.

    Raises
    ------
    FormatError
        If it nests too deeply, or uses what SBML does not have.
    """
    if expression.n_nodes > MAX_CHAIN and _left_depth(expression) > 2 * MAX_CHAIN:
        raise FormatError(
            f"the expression of {where} nests too deeply to be written as SBML; name parts of it "
            "as observables"
        )
    written: list[str] = []
    waiting: list[str | Expression] = [expression]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            written.append(piece)
        elif isinstance(piece, Call):
            waiting.extend(reversed(_pieces(piece, where)))
        else:
            written.append(_leaf(piece, ids, digits))
    return f"<math {_MATHML}>{''.join(written)}</math>"
