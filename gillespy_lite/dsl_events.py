"""Events, delays and compartments in the language: one line to what it declares.

Their words (`at`, `when`, `after`, `delay`, `compartment`, ...) have a meaning only where they
stand, so species and parameters may be called the same. The grammar is in `dsl`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .dsl_expressions import Line
from .events import Event
from .rate_laws import FUNCTIONS, Call, Expression, did_you_mean, shown
from .reactions import DELAY_LAWS, Delay

__all__ = [
    "COMPARTMENT_START",
    "EVENT_START",
    "MODIFIER_WORDS",
    "Contents",
    "Modifiers",
    "Parts",
    "advice_for_event",
    "read_contents",
    "read_event",
    "read_modifiers",
]

Parts = dict[str, int]  # column of each part of a statement that a message may point at

# A name before a colon, at or when, and then what begins an expression; not at -> B, at + B -> C.
EVENT_START = re.compile(
    r"(?:[^\W\d][^\s:=@+*<>(),-]*\s*:)?\s*(?:at|when)(?!\w)\s*(?=[\w.(]|-(?!>))"
)
COMPARTMENT_START = re.compile(r"compartment\s+(?=[^\W\d])")

_EXAMPLE = "when A > 30: B = 0"
_CLAUSES = ("after", "priority", "not", "persistent", "initially", "values")
_CLAUSE_LIST = "after 2, priority 1, not persistent, initially true, values at trigger"
# What others call the clauses of an event, and what ends its trigger by mistake.
_OTHER_CLAUSES = {
    "delay": "after 2",
    **dict.fromkeys(("t0", "initial", "initialvalue"), "initially true, or initially false"),
    "fromtrigger": "values at trigger",
    "usevaluesfromtriggertime": "values at trigger",
}
_ENDS_OF_TRIGGER = frozenset((*_CLAUSES[:2], *_CLAUSES[3:], "then", "do", "delay", "="))

MODIFIER_WORDS = frozenset(("delay", "unlimited", "consuming", "after", "delayed"))
_DELAY_EXAMPLES = "delay 2.0 or delay gamma(2, 1.5)"


# ---- Events -------------------------------------------------------------------------------------


def read_event(line: Line, words: dict[str, int], parts: Parts) -> Event:
    """Read an event from a line that `EVENT_START` matches.

    `words` receives the column of the first occurrence of each name, `parts` those of the trigger
    and the clauses, and of the target and the value of each assignment.
    """
    name = ""
    if line.ahead(1).text == ":":
        name, _ = line.name("an event is named before the colon, as in dose: at t >= 5: A = 50")
        line.place += 1
    line.place += 1  # at or when
    parts["trigger"] = line.token.start
    trigger = line.expression(words, stops=_ENDS_OF_TRIGGER)
    clauses: dict[str, Any] = {}
    while line.token.text == ",":
        line.place += 1
        _read_clause(line, words, parts, clauses)
    if line.token.text != ":":
        _refuse_end_of_trigger(line, trigger)
    line.place += 1
    return Event(trigger, _read_assignments(line, words, parts), name=name, **clauses)


def _read_clause(line: Line, words: dict[str, int], parts: Parts, clauses: dict[str, Any]) -> None:
    token = line.take()
    word, following = token.text, line.token
    known = _OTHER_CLAUSES.get(word.casefold())
    if following.text == "=" or (known and word not in _CLAUSES):
        known = known or next(
            (one for one in _CLAUSE_LIST.split(", ") if word.casefold() in one.split()), None
        )
        if known:
            plain = ", without =" * (following.text == "=")
            line.refuse(f"this is written {known} here{plain}", token.start)
        line.refuse(
            f"a colon stands between the condition and what is assigned: {_EXAMPLE}", token.start
        )
    if word not in _CLAUSES:
        found = f"{shown(word)} is no clause of an event" if word else "a clause is missing"
        hint = did_you_mean(word, _CLAUSES) if token.kind == "name" else ""
        line.refuse(f"{found}{hint}; the clauses are {_CLAUSE_LIST}", token.start)
    option, value = word, None
    if word in ("after", "priority"):
        option = "delay" if word == "after" else word
        parts[option] = following.start
        if following.kind == "end" or following.text in (",", ":"):
            example = "after 2" if word == "after" else "priority 1"
            line.refuse(f"a value is missing after {word}: {example}")
        value = line.expression(words, stops=_ENDS_OF_TRIGGER)
    else:
        option, value = _read_switch(line, word)
    if option in clauses:
        line.refuse("an event has one clause of this kind, and this is the second", token.start)
    clauses[option] = value


def _read_switch(line: Line, word: str) -> tuple[str, Any]:
    """Read a clause that takes no expression; return the argument of `Event` and its value."""
    if word == "persistent":
        return "persistent", True
    if word == "values":
        if line.take_words("at", "trigger"):
            return "values", "trigger"
        if line.take_words("at", "execution"):
            return "values", "execution"
        line.refuse("write values at trigger, or values at execution")
    if word == "not":
        if line.take_words("persistent"):
            return "persistent", False
        line.refuse(
            "the clause with not is: not persistent. A condition with not stands in front: "
            "when not A > 30: B = 0"
        )
    is_true = line.take_words("true")
    if not is_true and not line.take_words("false"):
        line.refuse("write initially true, or initially false")
    return "initially", is_true


def _refuse_end_of_trigger(line: Line, trigger: Expression) -> NoReturn:
    token, following = line.token, line.ahead(1)
    if token.kind == "arrow":
        line.refuse(
            "an event assigns values, as in when A > 30: B = 0; a reaction stands on a line of "
            "its own"
        )
    if token.text == "=":
        line.refuse(
            "= assigns, behind a colon; to compare, write >= or ==. An event that happens at time "
            "25 is written at t >= 25: A = 50"
        )
    if token.text == "after" and not isinstance(trigger, Call):
        line.refuse("the condition comes first, then its delay: when A > 30, after 2: B = 0")
    if token.text in ("then", "do"):
        line.refuse(f"a colon stands between the condition and what is assigned: {_EXAMPLE}")
    known = _OTHER_CLAUSES.get(token.text.casefold())
    if known:
        line.refuse(f"this is written {known} here, behind a comma")
    if token.text in _CLAUSES:
        line.refuse(f"a comma is missing before {token.text}: when A > 30, after 2: B = 0")
    if token.kind == "end":
        line.refuse(f"the colon and the assignments of the event are missing: {_EXAMPLE}")
    if token.kind == "name" and following.text == "=":
        line.refuse(f"a colon is missing before the first assignment: {_EXAMPLE}")
    line.refuse(f"{shown(token.text)} cannot follow the condition of an event: {_EXAMPLE}")


def _read_assignments(line: Line, words: dict[str, int], parts: Parts) -> dict[str, Expression]:
    assigned: dict[str, Expression] = {}
    known: set[str] = set()
    while True:
        if line.token.kind == "end":
            line.refuse(f"what the event assigns is missing: {_EXAMPLE}")
        if line.ahead(1).kind == "arrow" or line.token.kind == "arrow":
            line.refuse(
                "an event assigns values, as in A = 50; a reaction stands on a line of its own"
            )
        bracket = line.token if line.token.text == "[" else None
        line.place += bracket is not None
        target, token = line.name("an event assigns to a species or variable, as in A = 50")
        if bracket is not None:
            if line.token.text != "]":
                line.refuse("this bracket holds one name: write ] behind it", bracket.start)
            line.place += 1
        if target in known:
            line.refuse(
                f"the event assigns {target!r} twice; its assignments are made at once, so only "
                "one can hold",
                token.start,
            )
        known.add(target)
        parts[f"target {target}"] = token.start
        words.setdefault(target, token.start)
        if line.token.text != "=":
            _refuse_assignment(line, target)
        line.place += 1
        parts[f"value {target}"] = line.token.start
        if line.token.kind == "end" or line.token.text == ",":
            line.refuse(f"the value of {target!r} is missing after =")
        written = target if bracket is None else f"[{target}]"
        assigned[written] = line.expression(words, in_list=True)
        if line.token.kind == "end":
            return assigned
        if line.token.text != ",":
            line.refuse(
                f"{shown(line.token.text)} cannot stand here; an event assigns as in A = 50, B = 0"
            )
        line.place += 1


def _refuse_assignment(line: Line, target: str) -> NoReturn:
    token, following = line.token, line.ahead(1)
    if token.text in ("+", "-", "*", "/") and following.text == "=":
        line.refuse(f"write {target} = {target} {token.text} ...")
    if token.text in ("+", "-") and following.text == token.text:
        line.refuse(f"write {target} = {target} {token.text} 1")
    if token.text == "==" or (token.text == ":" and following.text == "="):
        line.refuse(f"an event assigns with a single =: {target} = 50")
    if token.text == ":":
        line.refuse(
            "an event has one colon, between the condition and what is assigned; its clauses "
            "stand before it, separated by commas"
        )
    line.refuse(f"write = and what {target!r} becomes: {target} = 50")


_BARE_EVENT = re.compile(r"[^:@\"]*(?:[<>]=?|==|!=)[^:@\"]*:\s*[^\W\d]\w*\s*=(?![=>])")
_EVENT_BEHIND = re.compile(r"[^:@\"]*\s(at|when|if|after)\s")
_IF = re.compile(r"\s*(?:if|If|IF|event|Event|on|once|every)(?!\w)")


def advice_for_event(text: str, *, is_assignment: bool = False) -> str:
    """Return how to write an event, if that is what a line without its form may have meant."""
    if len(text) > 2_000:
        return ""
    if is_assignment:
        if _EVENT_BEHIND.match(text):
            return "an event begins with its condition: at t >= 25: A = 50"
        return ""
    if _BARE_EVENT.match(text):
        return "an event begins with at or when: at t >= 25: A = 50"
    if _IF.match(text) and re.search(r"[<>=]", text):
        return "an event is written when A > 30: B = 0"
    return ""


# ---- What follows the rate of a reaction --------------------------------------------------------


@dataclass
class Modifiers:
    """What may follow the rate of a reaction."""

    delay: Delay | None = None
    limited: bool = True
    columns: Parts = field(default_factory=dict)


def read_modifiers(line: Line, arrow: str, words: dict[str, int]) -> Modifiers:
    """Read `delay ...` and `unlimited`."""
    found = Modifiers()
    while line.token.kind == "name" and line.token.text in MODIFIER_WORDS:
        token = line.take()
        if token.text in ("after", "delayed"):
            line.refuse(f"the delay of a reaction is written {_DELAY_EXAMPLES}", token.start)
        if token.text == "consuming":
            line.refuse(
                "consuming on completion belongs to a delay: delay 2.0 consuming on completion",
                token.start,
            )
        if token.text in found.columns:
            line.refuse(f"a second {token.text}", token.start)
        found.columns[token.text] = token.start
        if token.text == "unlimited":
            if arrow != "=>":
                line.refuse(
                    "unlimited is for laws after =>; mass action ends by itself where a reactant "
                    "runs out",
                    token.start,
                )
            found.limited = False
        else:
            if arrow == "<->":
                line.refuse(
                    "a reversible reaction has no delay; write its two directions on two lines, "
                    "with ->",
                    token.start,
                )
            found.columns["delay"] = line.token.start
            found.delay = _read_delay(line, words)
    return found


def _read_delay(line: Line, words: dict[str, int]) -> Delay:
    token = line.token
    if token.text in ("=", ":"):
        line.refuse(f"a delay is written without {token.text}: {_DELAY_EXAMPLES}")
    if token.kind == "end":
        line.refuse(f"the time is missing after delay: {_DELAY_EXAMPLES}")
    law = "fixed"
    is_call = token.kind == "name" and line.ahead(1).text == "("
    if is_call and token.text in DELAY_LAWS:
        law, arguments = token.text, _read_law(line, words)
    elif is_call and token.text not in FUNCTIONS:
        hint = did_you_mean(token.text, DELAY_LAWS)
        laws = ", ".join(_signature(law) for law in DELAY_LAWS if law != "fixed")
        line.refuse(f"there is no law of delays {shown(token.text)}{hint}; the laws are {laws}")
    else:
        arguments = [line.expression(words, stops=MODIFIER_WORDS)]
    if line.token.kind == "sign" and law != "fixed" and line.token.text in "+-*/^":
        line.refuse("a random delay stands alone; put factors into its arguments")
    consuming = "initiation"
    if line.take_words("consuming"):
        if line.take_words("on", "completion"):
            consuming = "completion"
        elif not line.take_words("on", "initiation"):
            line.refuse("write consuming on completion, or consuming on initiation")
    return Delay(law, *arguments, consuming=consuming)  # type: ignore[arg-type]


def _signature(law: str) -> str:
    return f"{law}({', '.join(DELAY_LAWS[law])})"


def _read_law(line: Line, words: dict[str, int]) -> list[Expression]:
    """Read the law of a random delay with its arguments in brackets."""
    name = line.take()
    bracket = line.take()
    arguments: list[Expression] = []
    while line.token.text != ")" or arguments:
        arguments.append(line.expression(words, in_brackets=True))
        if line.token.text == ")":
            break
        if line.token.kind == "end":
            line.refuse("this bracket is never closed; add a )", bracket.start)
        if line.token.text != ",":
            line.refuse(
                f"{shown(line.token.text)} cannot stand here; write {_signature(name.text)}"
            )
        line.place += 1
    line.place += 1
    if len(arguments) != len(DELAY_LAWS[name.text]):
        n_arguments = len(arguments)
        line.refuse(
            f"a {name.text} delay cannot take {n_arguments} number{'s' * (n_arguments != 1)}; "
            f"write {_signature(name.text)}",
            name.start,
        )
    return arguments


# ---- Compartments -------------------------------------------------------------------------------


@dataclass
class Contents:
    """A compartment as it is read, perhaps from several lines."""

    size: str
    contents: list[str] = field(default_factory=list)
    as_concentrations: list[str] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)  # where each content stands
    columns: Parts = field(default_factory=dict)


def read_contents(line: Line, known: dict[str, Contents]) -> tuple[str, int]:
    """Read `compartment V: A, [B]` into `known`; return the name of the size and its column."""
    example = "compartment V: A, [B]"
    line.place += 1
    size, token = line.name(f"the size of a compartment is a declared name: {example}")
    found = known.setdefault(size, Contents(size))
    if line.token.kind == "end":
        return size, token.start
    if line.token.text == "=":
        line.refuse(
            f"the size of a compartment is declared apart: param {size} = 1, and then "
            f"compartment {size}: A, [B]"
        )
    if line.token.text != ":":
        line.refuse(f"write a colon and what is in the compartment {size!r}: {example}")
    line.place += 1
    while line.token.kind != "end" or line.tokens[line.place - 1].text == ",":
        bracket = line.token if line.token.text == "[" else None
        line.place += bracket is not None
        name, place = line.name(f"a compartment lists what is in it: {example}")
        if bracket is not None:
            if line.token.text != "]":
                line.refuse("this bracket holds one name: write ] behind it", bracket.start)
            line.place += 1
            found.as_concentrations.append(name)
        if name in found.lines:
            line.refuse(f"{name!r} is already in the compartment {size!r}", place.start)
        found.contents.append(name)
        found.lines[name], found.columns[name] = line, place.start
        if line.token.kind == "end":
            break
        if line.token.text != ",":
            line.refuse(f"{shown(line.token.text)} cannot stand here: {example}")
        line.place += 1
    return size, token.start
