"""What shall be known how precisely: the text of ``until=`` read into targets.

    targets   = target { "and" target }          (a new line may stand for "and")
    target    = estimate ("+/-" | "±") tolerance
    estimate  = ("mean" | "std" | "var") "(" expression [when] ")"
              | "prob" "(" condition [when] ")"
              | "quantile" "(" expression "," number [when] ")"
    when      = "at" number | "everywhere"       (without it: at the last sampling time)
    tolerance = number ["%"]

A tolerance in percent is relative to the estimate; without it, it is in the estimate's own unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from ..dsl_expressions import MAX_LINE, Line
from ..dsl_lexer import Token
from ..expressions import Call, Expression
from ..names import CONSTANTS, did_you_mean, normal_name, shown
from ..network import Network
from ..operations import CONDITIONS

__all__ = ["EVERYWHERE", "LAST", "Target", "parse_targets"]

LAST, EVERYWHERE = "last", "everywhere"
_KINDS = ("mean", "prob", "std", "var", "quantile")
_EXAMPLE = "mean(P) +/- 1% and prob(P > 50 at 10) +/- 0.02"
_OTHER_KINDS = {
    "average": "write mean(...)",
    "expectation": "write mean(...)",
    "probability": "write prob(...)",
    "variance": "write var(...)",
    "sd": "write std(...)",
    "median": "write quantile(..., 0.5)",
    "percentile": "write quantile(..., 0.95)",
}


@dataclass(frozen=True)
class Target:
    """One estimate and how precise it shall be.

    Attributes
    ----------
    kind : str
        "mean", "prob", "std", "var" or "quantile".
    expression : Expression
        Of what; of a "prob" a condition. It names what the network declares.
    when : float or str
        A time, `LAST` or `EVERYWHERE`.
    tolerance : float
        Half the width that the confidence interval may have, seen from the estimate.
    is_relative : bool
        Whether `tolerance` is a fraction of the estimate.
    level : float or None
        Of a quantile, its probability.
    """

    kind: str
    expression: Expression
    when: float | str
    tolerance: float
    is_relative: bool
    level: float | None = None

    @property
    def quantity(self) -> str:
        """What is estimated, as text."""
        level = "" if self.level is None else f", {self.level:g}"
        when = {LAST: "", EVERYWHERE: " everywhere"}.get(str(self.when), f" at {self.when}")
        if not isinstance(self.when, str):
            when = f" at {self.when:g}"
        return f"{self.kind}({self.expression}{level}{when})"

    @property
    def tolerance_text(self) -> str:
        """The tolerance, as text."""
        return f"{100.0 * self.tolerance:.6g}%" if self.is_relative else f"{self.tolerance:g}"

    def __str__(self) -> str:
        """Return the target as it could have been written."""
        return f"{self.quantity} +/- {self.tolerance_text}"


def parse_targets(text: str, network: Network) -> tuple[Target, ...]:
    """Read what ``until=`` is given.

    Parameters
    ----------
    text : str
        Such as ``"mean(P) +/- 1% and prob(P > 50) +/- 5%"``.
    network : Network
        Declares the names.

    Returns
    -------
    tuple of Target
        In the order of the text.

    Raises
    ------
    ParseError
        If the text holds anything else; it says where and what to write instead.
    """
    if not isinstance(text, str):
        raise TypeError(f"until must be text such as {_EXAMPLE!r}, not {text!r}")
    targets: list[Target] = []
    n_lines = text.count("\n") + 1
    for number, content in enumerate(text.split("\n"), 1):
        content = content.rstrip("\r")
        line = Line("<until>", number, content)
        if len(content) > MAX_LINE:
            line.refuse(f"a line may have at most {MAX_LINE:,} characters", 0)
        statement = content.partition("#")[0]
        is_last = number == n_lines
        if statement.strip() or (is_last and not targets):
            targets += _Reader(line, statement, network).read(may_continue=n_lines > 1)
    return tuple(targets)


class _Reader:
    """Reads the targets of one line."""

    def __init__(self, line: Line, statement: str, network: Network) -> None:
        self.line, self.network = line, network
        line.start(statement, "targets")

    def read(self, *, may_continue: bool) -> list[Target]:
        """Read all of them; with `may_continue`, "and" may stand at the line's ends."""
        line = self.line
        if may_continue:
            line.take_words("and")
        targets = [self.target()]
        while line.token.kind != "end":
            joint = line.token
            if not line.take_words("and"):
                self.refuse_behind_tolerance(joint)
            if line.token.kind == "end" and may_continue:
                break
            targets.append(self.target())
        return targets

    def target(self) -> Target:
        line = self.line
        kind = self.kind()
        self.expect("(", f"after {kind} a bracket opens: {kind}(...)")
        words: dict[str, int] = {}
        start = line.token.start
        expression = line.expression(words, in_brackets=True, stops=("at", "everywhere", ","))
        self.check_names(words)
        self.check_expression(kind, expression, start)
        level = self.level() if kind == "quantile" else None
        when = self.when()
        if line.token.text != ")":
            self.refuse_in_brackets(kind)
        line.take()
        if line.token.text not in ("+/-", "±"):
            line.refuse(f"a tolerance is missing: write {kind}(...) +/- 1%")
        line.take()
        tolerance, is_relative = self.tolerance()
        return Target(kind, expression, when, tolerance, is_relative, level)

    def kind(self) -> str:
        line, token = self.line, self.line.token
        name = normal_name(token.text) if token.kind == "name" else ""
        if name in _KINDS:
            line.take()
            return name
        advice = _OTHER_KINDS.get(name.lower()) or f"for example {_EXAMPLE}"
        known = ", ".join(_KINDS)
        if token.kind == "end":
            line.refuse(f"a target is missing here: one of {known}, {advice}")
        if name and line.ahead(1).text == "(":
            line.refuse(f"there is no estimate {shown(token.text)}, only {known}; {advice}")
        return line.refuse(f"{shown(token.text)} stands where one of {known} should; {advice}")

    def expect(self, sign: str, message: str) -> None:
        if self.line.token.text != sign:
            self.line.refuse(message)
        self.line.take()

    def check_names(self, words: dict[str, int]) -> None:
        network = self.network
        declared = {
            *(network.state_names + network.parameter_names + network.observable_names),
            *(*CONSTANTS, "t"),
        }
        for word, column in words.items():
            if word not in declared:
                self.line.refuse(
                    f"the network declares no {shown(word)}{did_you_mean(word, sorted(declared))}",
                    column,
                )

    def check_expression(self, kind: str, expression: Expression, start: int) -> None:
        is_condition = isinstance(expression, Call) and expression.operation in CONDITIONS
        if kind == "prob" and not is_condition:
            self.line.refuse("the probability of a condition is asked for: prob(P > 50)", start)
        if kind != "prob" and is_condition:
            self.line.refuse(f"this is a condition; write prob({expression})", start)

    def level(self) -> float:
        self.expect(",", "the probability of the quantile is missing: quantile(P, 0.9)")
        value = self.number("the probability of the quantile", "0.9")
        if not 0.0 < value < 1.0:
            self.line.refuse(
                f"a quantile has a probability between 0 and 1, not {value:g}",
                self.line.tokens[self.line.place - 1].start,
            )
        return value

    def when(self) -> float | str:
        line = self.line
        if line.take_words("everywhere"):
            return EVERYWHERE
        if not line.take_words("at"):
            return LAST
        sign = -1.0 if line.take_words("-") else 1.0
        return sign * self.number("the time", "10")

    def number(self, what: str, example: str) -> float:
        line, token = self.line, self.line.token
        if token.kind != "number":
            line.refuse(f"{what} is missing: a number such as {example}")
        value = float(token.text)
        if value == float("inf"):
            line.refuse(f"the number {shown(token.text)} is too large for a double (1.8e308)")
        line.take()
        return value

    def tolerance(self) -> tuple[float, bool]:
        line, token = self.line, self.line.token
        if token.text == "-":
            line.refuse("a tolerance is a number above 0")
        value = self.number("the tolerance", "1% (of the estimate) or 0.05")
        if value <= 0.0:
            line.refuse("a tolerance is a number above 0", token.start)
        is_relative = line.take_words("%")
        if is_relative and value >= 100.0:
            line.refuse(
                f"a tolerance of {value:g}% leaves not even the sign; write less than 100%, or a "
                "tolerance without %",
                token.start,
            )
        return (value / 100.0 if is_relative else value), is_relative

    def refuse_in_brackets(self, kind: str) -> NoReturn:
        line, token = self.line, self.line.token
        if token.kind == "end":
            line.refuse("a bracket is still open here; add a )")
        if token.text == ",":
            line.refuse(
                "a time is written mean(P at 10)"
                if kind != "quantile"
                else "a quantile has one probability; a time is written quantile(P, 0.9 at 10)"
            )
        if token.text == "%":
            line.refuse("% stands behind a tolerance; the remainder of a/b is a - b*floor(a/b)")
        if token.text in ("+/-", "±"):
            line.refuse(f"the bracket of {kind}( is still open here; add a ) before")
        if line.take_words("t", "=") or line.take_words("="):
            line.refuse("a time is written mean(P at 10)", token.start)
        line.refuse(f"{shown(token.text)} stands where the bracket of {kind}( should close")

    def refuse_behind_tolerance(self, token: Token) -> NoReturn:
        line = self.line
        if token.text == ",":
            line.refuse("targets are joined with and", token.start)
        if token.text == "or":
            line.refuse("all targets must be reached; they are joined with and", token.start)
        line.refuse(f"{shown(token.text)} cannot follow a tolerance; targets are joined with and")
