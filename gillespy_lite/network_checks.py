"""What can be wrong with a network as a whole, found before it is built."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from .declarations import (
    Compartment,
    Observable,
    Parameter,
    Rule,
    Species,
    Variable,
    initial_problem,
    not_finite,
    number_of,
    start_problem,
)
from .events import Event
from .expression_display import number_text
from .expressions import MAX_NESTING, MAX_NODES, Call, Expression, Number, Symbol
from .names import CONSTANTS, did_you_mean, shown
from .operations import OPERATIONS
from .reactions import DELAY_LAWS, Coefficient, Reaction, Terms

__all__ = ["MAX_MASS_ACTION", "Problem", "find_problem"]

# Molecules that one mass-action event may take. The propensity c C(x, n) has n! in it, which is
# beyond a double from 171 molecules on, and no collision takes 100.
MAX_MASS_ACTION = 100

_Item = TypeVar("_Item")


class Problem(NamedTuple):
    """What is wrong with a network, and with which declaration, so that text can point at it."""

    message: str
    kind: str  # "species", "variable", "parameter", ..., "rule", or "" for the whole network
    position: int  # which of them
    word: str = ""  # the name at fault, if it is one name
    see: tuple[str, int] | None = None  # another declaration of that name, which explains it
    is_repeated: bool = False  # whether the fault is that the name is declared twice
    at_name: bool = False  # whether the fault is in what is declared, not in its expression
    part: str = ""  # which of its other parts is at fault: "delay", "coefficient X", "value X", ...


_ARTICLE = {
    "species": "a species",
    "variable": "a variable",
    "parameter": "a parameter",
    "observable": "an observable",
    "reaction": "a reaction",
    "rule": "a rule",
    "event": "an event",
    "compartment": "a compartment",
}


class _Names:
    """Which declaration each name belongs to."""

    def __init__(
        self,
        species: Sequence[Species],
        parameters: Sequence[Parameter],
        observables: Sequence[Observable],
        variables: Sequence[Variable],
    ) -> None:
        self.declared: dict[str, tuple[str, int]] = {}
        self.repeated: list[Problem] = []
        groups: tuple[tuple[str, Sequence[Species | Variable | Parameter | Observable]], ...] = (
            ("species", species),
            ("variable", variables),
            ("parameter", parameters),
            ("observable", observables),
        )
        for kind, group in groups:
            for index, item in enumerate(group):
                first = self.declared.setdefault(item.name, (kind, index))
                if first != (kind, index):
                    self.repeated.append(_repeated(item.name, kind, index, first))

    def of(self, kind: str) -> list[str]:
        return [name for name, declared in self.declared.items() if declared[0] == kind]

    def unknown(self, owner: str, word: str, *, on_side: bool = False) -> str:
        known = self.of("species") if on_side else [*self.declared, "t", "pi"]
        short = shown(word)[1:-1]
        example = f"species {short} = 0" if on_side else f"param {short} = 1"
        advice = did_you_mean(word, known) or f"; declare it, for example {example}"
        if word.casefold() == "time":
            advice = "; the time is written t"
        elif word.casefold() in ("empty", "emptyset", "none", "nothing", "null"):
            advice = "; the empty side of a reaction is written 0"
        return f"{owner} uses the unknown name {shown(word)}{advice}"

    def first_outside(self, expression: Expression, allowed: Mapping[str, object]) -> str | None:
        """Return the first name, from left to right, that is neither allowed nor a constant."""
        for node in expression.postorder():
            if isinstance(node, Symbol) and node.name not in allowed:
                is_constant = node.name in CONSTANTS and node.name not in self.declared
                if not is_constant:
                    return node.name
        return None


def _repeated(name: str, kind: str, index: int, first: tuple[str, int]) -> Problem:
    if kind == first[0]:
        message = f"duplicate {kind} {name!r}; remove or rename one of them"
    else:
        message = (
            f"duplicate name {name!r}, for {_ARTICLE[first[0]]} and {_ARTICLE[kind]}; "
            "rename one of them"
        )
    return Problem(message, kind, index, name, see=first, is_repeated=True)


def _reaction_label(index: int, reaction: Reaction) -> str:
    return f"reaction {reaction.name!r}" if reaction.name else f"reaction {index + 1}"


def _event_label(index: int, event: Event) -> str:
    return f"event {event.name!r}" if event.name else f"event {index + 1}"


def find_problem(
    species: Sequence[Species],
    reactions: Sequence[Reaction],
    parameters: Sequence[Parameter],
    observables: Sequence[Observable],
    variables: Sequence[Variable] = (),
    rules: Sequence[Rule] = (),
    *,
    events: Sequence[Event] = (),
    compartments: Sequence[Compartment] = (),
) -> Problem | None:
    """Return the first thing that is wrong with a network whose parts are valid by themselves.

    The rates that `variables` may carry do not count: `rules` holds them.
    """
    names = _Names(species, parameters, observables, variables)
    for problem in names.repeated:
        return problem
    if not species and not variables and not rules:
        return Problem("a network needs at least one species or variable", "", 0)
    checks = (
        _check_own_names("reaction", reactions),
        _check_own_names("event", events),
        _check_parameters(names, parameters),
        _check_initials(names, species, variables, parameters),
        _check_observables(names, observables),
        _check_reactions(names, reactions),
        _check_events(names, events, observables, compartments),
        _check_rules(names, rules),
        _check_changes(variables, rules, reactions, events),
        _check_compartments(names, compartments),
        _check_sizes(species, reactions, parameters, observables, variables, rules, events),
        _check_values(names, species, parameters, variables),
        _check_delays(parameters, reactions, events),
    )
    return next((problem for check in checks for problem in check), None)


def _check_own_names(kind: str, group: Sequence[Reaction | Event]) -> Iterator[Problem]:
    """Find names given twice: reactions and events have sets of names of their own."""
    seen: dict[str, int] = {}
    for index, one in enumerate(group):
        if one.name and seen.setdefault(one.name, index) != index:
            yield _repeated(one.name, kind, index, (kind, seen[one.name]))


def _check_parameters(names: _Names, parameters: Sequence[Parameter]) -> Iterator[Problem]:
    allowed: dict[str, object] = {}
    for index, parameter in enumerate(parameters):
        if isinstance(parameter.value, Expression):
            word = names.first_outside(parameter.value, allowed)
            if word is not None:
                owner = f"the parameter {parameter.name!r}"
                values = {item.name: item.value for item in parameters}
                yield _misplaced(names, ("parameter", index), owner, word, values)
        allowed[parameter.name] = None


def _misplaced(
    names: _Names,
    subject: tuple[str, int],
    owner: str,
    word: str,
    definitions: Mapping[str, object],
) -> Problem:
    """Explain a name that the definition of a parameter or an observable must not use."""
    kind, index = subject
    declared = names.declared.get(word)
    if declared is not None and declared[0] == kind:
        own_name = next(name for position, name in enumerate(definitions) if position == index)
        circle = _circle(own_name, word, definitions)
        if len(circle) > 6:
            circle = [*circle[:3], "...", *circle[-2:]]
        if circle:
            message = f"{owner} is circular ({', which uses '.join(circle)}); break the circle"
            return Problem(message, kind, index, word)
        message = (
            f"{owner} uses {word!r}, which is declared after it; move {word!r} before {own_name!r}"
        )
        return Problem(message, kind, index, word, see=declared)
    if kind == "observable" or (declared is None and word != "t"):
        return Problem(names.unknown(owner, word), kind, index, word)
    what = "the time" if word == "t" else _ARTICLE[declared[0]] if declared else ""
    message = (
        f"{owner} uses {word!r}, which is {what}; parameters may use numbers and parameters "
        "declared before them. A named expression of species or time is declared with observe "
        "(Observable in Python)"
    )
    return Problem(message, kind, index, word)


def _circle(start: str, used: str, definitions: Mapping[str, object]) -> list[str]:
    """Return start, used, ..., start if the definition of `used` leads back to `start`."""
    came_from = {used: start}
    waiting = [used]
    while waiting:
        name = waiting.pop(0)
        if name == start:
            path = [name]
            while came_from[path[-1]] != start:
                path.append(came_from[path[-1]])
            return [start, *reversed(path)]
        definition = definitions.get(name)
        if isinstance(definition, Expression):
            for needed in sorted(definition.symbols()):
                if needed in definitions and needed not in came_from:
                    came_from[needed] = name
                    waiting.append(needed)
    return []


def _check_initials(
    names: _Names,
    species: Sequence[Species],
    variables: Sequence[Variable],
    parameters: Sequence[Parameter],
) -> Iterator[Problem]:
    allowed = {parameter.name: None for parameter in parameters}
    groups: tuple[tuple[str, str, Sequence[Species | Variable]], ...] = (
        ("species", "count", species),
        ("variable", "value", variables),
    )
    for kind, what, group in groups:
        for index, one in enumerate(group):
            if isinstance(one.initial, Expression):
                word = names.first_outside(one.initial, allowed)
                if word is None:
                    continue
                owner = f"the initial {what} of {one.name!r}"
                if word == "t" or word in names.declared:
                    message = f"{owner} uses {word!r}; it may use numbers and parameters only"
                else:
                    message = names.unknown(owner, word)
                yield Problem(message, kind, index, word)


def _check_observables(names: _Names, observables: Sequence[Observable]) -> Iterator[Problem]:
    allowed = dict.fromkeys(
        ["t", *names.of("species"), *names.of("variable"), *names.of("parameter")]
    )
    for index, observable in enumerate(observables):
        word = names.first_outside(observable.expression, allowed)
        if word is not None:
            definitions = {item.name: item.expression for item in observables}
            owner = f"the observable {observable.name!r}"
            yield _misplaced(names, ("observable", index), owner, word, definitions)
        culprit = _infinite_part(observable.expression)
        if culprit is not None:
            message = f"in the observable {observable.name!r}, {culprit}"
            yield Problem(message, "observable", index)
        allowed[observable.name] = None


def _check_reactions(names: _Names, reactions: Sequence[Reaction]) -> Iterator[Problem]:
    allowed = {**names.declared, "t": ("", 0)}
    # By identity: what is read from files of ten thousands of reactions shares sides and rates.
    fine: set[int] = set()
    for index, reaction in enumerate(reactions):
        for side in (reaction.reactants, reaction.products):
            if id(side) not in fine and _is_plain(names, side):
                fine.add(id(side))
            if id(side) not in fine:
                for name, count in side:
                    yield from _check_term(names, index, reaction, name, count)
        if id(reaction.rate) not in fine:
            yield from _check_rate(names, index, reaction, allowed)
            fine.add(id(reaction.rate))
        if reaction.kind == "mass_action" and id(reaction.reactants) not in fine:
            # Coefficients that are not whole were refused above.
            n_taken = sum(count for _, count in reaction.reactants if isinstance(count, int))
            if n_taken > MAX_MASS_ACTION:
                message = (
                    f"{_reaction_label(index, reaction)} takes {n_taken:,} molecules at once; mass "
                    f"action, c*C(x, n), allows at most {MAX_MASS_ACTION}. Write its whole "
                    "propensity with => (propensity(...) in Python)"
                )
                yield Problem(message, "reaction", index, reaction.reactants[0][0])
        if reaction.delay is not None:
            owner = f"the delay of {_reaction_label(index, reaction)}"
            for argument in reaction.delay.arguments:
                yield from _check_expression(
                    names, argument, allowed, owner, ("reaction", index), "delay"
                )


def _is_plain(names: _Names, side: Terms) -> bool:
    """Whether a side has no fault in any reaction: whole numbers, not many, of what may react."""
    n_molecules = 0
    for name, count in side:
        kind, _ = names.declared.get(name, ("", 0))
        if not isinstance(count, int) or kind not in ("species", "variable"):
            return False
        n_molecules += count
    return n_molecules <= MAX_MASS_ACTION


def _check_term(
    names: _Names, index: int, reaction: Reaction, name: str, count: Coefficient
) -> Iterator[Problem]:
    declared = names.declared.get(name)
    if declared is None:
        label = _reaction_label(index, reaction)
        message = names.unknown(label, name, on_side=True)
        yield Problem(message, "reaction", index, name)
    elif declared[0] not in ("species", "variable"):
        label = _reaction_label(index, reaction)
        message = (
            f"{name!r} is {_ARTICLE[declared[0]]}; only species react, and variables under "
            f"the rate equations ({label})"
        )
        yield Problem(message, "reaction", index, name, see=declared)
    elif not isinstance(count, int):
        yield from _check_coefficient(names, index, reaction, name, count)


def _check_rate(
    names: _Names, index: int, reaction: Reaction, allowed: Mapping[str, object]
) -> Iterator[Problem]:
    word = names.first_outside(reaction.rate, allowed)
    if word is not None:
        message = names.unknown(f"the rate of {_reaction_label(index, reaction)}", word)
        yield Problem(message, "reaction", index, word)
    constant = _constant(reaction.rate)
    if constant is not None and constant < 0.0:
        message = (
            f"the rate of {_reaction_label(index, reaction)} is {number_text(constant)}; "
            "a rate cannot be negative"
        )
        yield Problem(message, "reaction", index)
    culprit = _infinite_part(reaction.rate)
    if culprit is not None:
        message = f"in the rate of {_reaction_label(index, reaction)}, {culprit}"
        yield Problem(message, "reaction", index)


def _check_coefficient(
    names: _Names, index: int, reaction: Reaction, name: str, count: float | Expression
) -> Iterator[Problem]:
    """Look at a coefficient that is not a whole number."""
    kind, _ = names.declared[name]
    part, label = f"coefficient {name}", _reaction_label(index, reaction)
    text = shown(str(count) if isinstance(count, Expression) else number_text(count))
    if kind == "species":
        message = (
            f"the coefficient {text} is not a whole number; molecules react whole ({name!r} in "
            f"{label}). Declare {name!r} with variable instead of species if it is a real amount, "
            "for the rate equations alone"
        )
        yield Problem(message, "reaction", index, name, part=part)
    if reaction.kind == "mass_action" and any(taken == name for taken, _ in reaction.reactants):
        message = (
            f"the coefficient {text} of {name!r} is not a whole number, and the mass action of "
            f"{label} counts its reactants; write its whole rate with => (propensity(...) in "
            "Python)"
        )
        yield Problem(message, "reaction", index, name, part=part)
    if isinstance(count, Expression):
        allowed = {**names.declared, "t": ("", 0)}
        owner = f"the coefficient of {name!r} in {label}"
        yield from _check_expression(names, count, allowed, owner, ("reaction", index), part)
        constant = _constant(count)
        if constant is not None and constant <= 0.0:
            message = f"{owner} is {number_text(constant)}; a coefficient is positive"
            yield Problem(message, "reaction", index, part=part)


def _check_expression(
    names: _Names,
    expression: Expression,
    allowed: Mapping[str, object],
    owner: str,
    subject: tuple[str, int],
    part: str,
) -> Iterator[Problem]:
    """Find unknown names and constant parts without a finite value."""
    kind, index = subject
    word = names.first_outside(expression, allowed)
    if word is not None:
        yield Problem(names.unknown(owner, word), kind, index, word)
    culprit = _infinite_part(expression)
    if culprit is not None:
        yield Problem(f"in {owner}, {culprit}", kind, index, part=part)


_COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!=", "and", "or", "not"))


def _is_condition(expression: Expression, conditions: Container[str]) -> bool:
    """Whether an expression says that something holds; `conditions` are observables that do."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Call) and node.operation == "if":
            waiting += node.arguments[1:]
        elif isinstance(node, Symbol) and node.name in conditions:
            continue
        elif not isinstance(node, Call) or node.operation not in _COMPARISONS:
            return False
    return True


def _check_events(
    names: _Names,
    events: Sequence[Event],
    observables: Sequence[Observable],
    compartments: Sequence[Compartment],
) -> Iterator[Problem]:
    if not events:
        return
    allowed = {**names.declared, "t": ("", 0)}
    inside = {name for one in compartments for name in one.contents}
    conditions: set[str] = set()
    for observable in observables:
        if _is_condition(observable.expression, conditions):
            conditions.add(observable.name)
    for index, event in enumerate(events):
        label, subject = _event_label(index, event), ("event", index)
        yield from _check_expression(
            names, event.trigger, allowed, f"the trigger of {label}", subject, "trigger"
        )
        if not _is_condition(event.trigger, conditions):
            text = str(event.trigger)
            advice = f"t >= {text}" if isinstance(event.trigger, Number) else "A > 30"
            message = (
                f"the trigger of {label}, {shown(text)}, is no condition; compare it with "
                f"something, as in {advice}"
            )
            yield Problem(message, "event", index, part="trigger")
        for part, timing in (("delay", event.delay), ("priority", event.priority)):
            if timing is not None:
                owner = f"the {part} of {label}"
                yield from _check_expression(names, timing, allowed, owner, subject, part)
        for target, value in event.assignments:
            problem = _target_problem(names, label, target)
            if not problem and target in event.as_concentrations and target not in inside:
                problem = (
                    f"{label} assigns the concentration [{target}], but {target!r} is in no "
                    f"compartment; write compartment V: {target} with the size V, or assign the "
                    f"amount {target}"
                )
            if problem:
                see = names.declared.get(target)
                yield Problem(problem, "event", index, target, see=see, part=f"target {target}")
            owner = f"the value of {target!r} in {label}"
            yield from _check_expression(names, value, allowed, owner, subject, f"value {target}")


def _target_problem(names: _Names, label: str, target: str) -> str:
    """Say why an event cannot assign to a name, or nothing."""
    kind, _ = names.declared.get(target, ("", 0))
    if kind in ("species", "variable"):
        return ""
    if kind == "parameter":
        return (
            f"{label} assigns to {target!r}, which is a parameter, and parameters do not change; "
            "declare it with variable instead of param (Variable in Python)"
        )
    if kind == "observable":
        return (
            f"{label} assigns to {target!r}, which is an observable: its expression says what it "
            "is at every time; assign to the species and variables in it"
        )
    advice = did_you_mean(target, [*names.of("species"), *names.of("variable")])
    advice = advice or f"; declare it, for example species {target} = 0 or variable {target} = 0"
    return f"{label} assigns to the unknown name {shown(target)}{advice}"


def _check_changes(
    variables: Sequence[Variable],
    rules: Sequence[Rule],
    reactions: Sequence[Reaction],
    events: Sequence[Event],
) -> Iterator[Problem]:
    """Find variables of which nothing says how they change."""
    ruled = {rule.variable for rule in rules}
    unruled = {variable.name for variable in variables} - ruled
    if not unruled:
        return
    for event in events:
        unruled.difference_update(target for target, _ in event.assignments)
    for reaction in reactions:
        unruled.difference_update(name for name, _ in (*reaction.reactants, *reaction.products))
    for index, variable in enumerate(variables):
        if variable.name in unruled:
            message = (
                f"the variable {variable.name!r} has no rule; give its time derivative on a line "
                f"of its own, {variable.name}' = ..., which is 0 if it stays as it is (rate= or "
                "rules= in Python). A variable that a reaction or an event changes needs none"
            )
            yield Problem(message, "variable", index, at_name=True)


def _check_compartments(names: _Names, compartments: Sequence[Compartment]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    inside: dict[str, int] = {}  # the compartment of each content
    for index, compartment in enumerate(compartments):
        size = compartment.size
        kind, _ = names.declared.get(size, ("", 0))
        see = names.declared.get(size)
        if first.setdefault(size, index) != index:
            yield _repeated(size, "compartment", index, ("compartment", first[size]))
        if not kind:
            known = [*names.of("parameter"), *names.of("variable"), *names.of("observable")]
            advice = did_you_mean(size, known) or f"; declare its volume, as in param {size} = 1"
            message = f"the compartment {shown(size)} has no size{advice}"
            yield Problem(message, "compartment", index, size, at_name=True)
        if kind == "species":
            message = (
                f"the size of a compartment is a number, but {size!r} is a species, which counts "
                "molecules; declare it with param, variable or observe"
            )
            yield Problem(message, "compartment", index, size, see=see, at_name=True)
        for name in compartment.contents:
            if name not in names.declared:
                message = names.unknown(f"the compartment {size!r}", name)
                yield Problem(message, "compartment", index, name)
            if name == size:
                message = f"the compartment {size!r} holds its own size"
                yield Problem(message, "compartment", index, name)
            other = inside.setdefault(name, index)
            if other != index:
                message = (
                    f"{name!r} is in the compartment {compartments[other].size!r} and in {size!r}; "
                    "an amount is in one"
                )
                yield Problem(message, "compartment", index, name)


def _check_rules(names: _Names, rules: Sequence[Rule]) -> Iterator[Problem]:
    allowed = {**names.declared, "t": ("", 0)}
    first: dict[str, int] = {}
    for index, rule in enumerate(rules):
        name = rule.variable
        kind, _ = names.declared.get(name, ("", 0))
        if kind != "variable":
            message = f"the rule {shown(name)[1:-1]}' = ... belongs to no variable: {shown(name)} "
            if kind:
                message += f"is {_ARTICLE[kind]}; {_NO_RULE[kind]}"
            else:
                advice = did_you_mean(name, names.of("variable"))
                example = f"; declare it, for example variable {shown(name)[1:-1]} = 1"
                message += f"is not declared{advice or example}"
            see = names.declared.get(name)
            yield Problem(message, "rule", index, name, see=see, at_name=True)
        other = first.setdefault(name, index)
        if other != index:
            message = f"the variable {name!r} has two rules; remove one, or add up their rates"
            yield Problem(message, "rule", index, name, ("rule", other), is_repeated=True)
        word = names.first_outside(rule.rate, allowed)
        if word is not None:
            message = names.unknown(f"the rule of {name!r}", word)
            yield Problem(message, "rule", index, word)
        culprit = _infinite_part(rule.rate)
        if culprit is not None:
            yield Problem(f"in the rule of {name!r}, {culprit}", "rule", index)


_NO_RULE = {
    "species": "species change by reactions. Write 0 => S @ rate, or declare it with variable "
    "instead of species",
    "parameter": "parameters do not change. Declare it with variable instead of param",
    "observable": "its expression says what it is at every time",
}


def _constant(expression: Expression) -> float | None:
    """Return the value of an expression that uses no names, if it is finite."""
    if isinstance(expression, Number):
        return expression.value
    if expression.symbols():
        return None
    value = float(expression.evaluate({}))
    return value if math.isfinite(value) else None


def _infinite_part(expression: Expression) -> str | None:
    """Name the first part, such as 9^9^9, that uses no names and has no finite value."""
    if expression.n_nodes < 2:
        return None
    culprit: list[str] = []

    def combine(call: Call, arguments: list[float | None]) -> float | None:
        numbers_alone = [value for value in arguments if value is not None]
        if len(numbers_alone) < len(arguments) or culprit:
            return None
        with np.errstate(all="ignore"):
            value = float(OPERATIONS[call.operation].evaluate(*numbers_alone))
        if not math.isfinite(value):
            culprit.append(f"{shown(str(call))} is {value}, which is not a finite number")
        return value

    expression.fold(lambda node: node.value if isinstance(node, Number) else None, combine)
    return culprit[0] if culprit else None


def _check_sizes(
    species: Sequence[Species],
    reactions: Sequence[Reaction],
    parameters: Sequence[Parameter],
    observables: Sequence[Observable],
    variables: Sequence[Variable],
    rules: Sequence[Rule],
    events: Sequence[Event],
) -> Iterator[Problem]:
    expressions: list[tuple[str, int, float | Expression]] = [
        *(("parameter", index, item.value) for index, item in enumerate(parameters)),
        *(("species", index, item.initial) for index, item in enumerate(species)),
        *(("observable", index, item.expression) for index, item in enumerate(observables)),
        *(
            ("reaction", index, rate)
            for index, rate in _first_uses(item.rate for item in reactions)
        ),
        *(("variable", index, item.initial) for index, item in enumerate(variables)),
        *(("rule", index, item.rate) for index, item in enumerate(rules)),
        *(("event", index, one) for index, item in enumerate(events) for one in item.expressions()),
        *(
            ("reaction", place // 2, count)
            for place, side in _first_uses(
                side for item in reactions for side in (item.reactants, item.products)
            )
            for _, count in side
        ),
        *(
            ("reaction", index, one)
            for index, item in enumerate(reactions)
            if item.delay is not None
            for one in item.delay.arguments
        ),
    ]
    # Counted before anything is put in: 60 observables that each square the one before them
    # would otherwise fill the memory.
    extra: dict[str, int] = {}
    for kind, index, expression in expressions:
        if not isinstance(expression, Expression):
            continue
        size = expression.n_nodes
        if extra:
            words = (node.name for node in expression.postorder() if isinstance(node, Symbol))
            size += sum(extra.get(word, 0) for word in words)
        if size > MAX_NODES:
            message = (
                f"with its observables put in, this expression of {_ARTICLE[kind]} has more "
                f"than {MAX_NODES:,} numbers, names and operations"
            )
            yield Problem(message, kind, index)
        # Few nodes cannot nest deeply, which saves looking at most of them.
        if expression.n_nodes > MAX_NESTING and expression.nesting() > MAX_NESTING:
            message = (
                f"an expression of {_ARTICLE[kind]} nests more than {MAX_NESTING} brackets, signs "
                "or exponents; name parts of it as observables, or group a long sum from the left"
            )
            yield Problem(message, kind, index)
        if kind == "observable":
            extra[observables[index].name] = size - 1


def _first_uses(items: Iterable[_Item]) -> Iterator[tuple[int, _Item]]:
    """Give the items with their places, each object once."""
    seen: set[int] = set()
    for place, item in enumerate(items):
        if id(item) not in seen:
            seen.add(id(item))
            yield place, item


def _check_values(
    names: _Names,
    species: Sequence[Species],
    parameters: Sequence[Parameter],
    variables: Sequence[Variable],
) -> Iterator[Problem]:
    values: dict[str, float] = {}
    for index, parameter in enumerate(parameters):
        value = parameter.value
        values[parameter.name] = number = number_of(value, values)
        if not math.isfinite(number):
            # A value may be nan or infinite if it is said to be; it must not come out so.
            if isinstance(value, Expression):
                yield Problem(not_finite(parameter.name, number), "parameter", index)
            yield from _check_word(names, ("parameter", index), number)
    for index, one in enumerate(species):
        if isinstance(one.initial, Expression):
            problem = initial_problem(number_of(one.initial, values))
            if problem:
                yield Problem(f"species {one.name!r} {problem}", "species", index)
    for index, variable in enumerate(variables):
        number = number_of(variable.initial, values)
        problem = start_problem(number)
        if problem:
            if isinstance(variable.initial, Expression):
                yield Problem(f"the variable {variable.name!r} {problem}", "variable", index)
            yield from _check_word(names, ("variable", index), number)


def _check_word(names: _Names, subject: tuple[str, int], value: float) -> Iterator[Problem]:
    """See that the word for a value that is not finite means nothing else."""
    word = number_text(abs(value))
    if word in names.declared:
        message = f"the value {word} cannot be written, because {word!r} is declared; rename that"
        yield Problem(message, *subject, see=names.declared[word])


def _check_delays(
    parameters: Sequence[Parameter], reactions: Sequence[Reaction], events: Sequence[Event]
) -> Iterator[Problem]:
    """Find delays that are negative, or no numbers, as far as the parameters tell."""
    values: dict[str, float] = {}
    if any(event.delay is not None for event in events) or any(one.delay for one in reactions):
        for parameter in parameters:
            values[parameter.name] = number_of(parameter.value, values)
    for index, reaction in enumerate(reactions):
        delay = reaction.delay
        if delay is None:
            continue
        label = _reaction_label(index, reaction)
        numbers = [_known(argument, values) for argument in delay.arguments]
        for meaning, number in zip(DELAY_LAWS[delay.law], numbers, strict=True):
            what = f"the {meaning} of the delay of {label}"
            problem = _time_problem(what, number, may_be_zero=meaning != "shape")
            if problem:
                yield Problem(problem, "reaction", index, part="delay")
        if delay.law == "uniform":
            low, high = numbers
            if low is not None and high is not None and low > high:
                message = (
                    f"the uniform delay of {label} would lie between {number_text(low)} and "
                    f"{number_text(high)}; the smaller one comes first: uniform(low, high)"
                )
                yield Problem(message, "reaction", index, part="delay")
    for index, event in enumerate(events):
        if event.delay is not None:
            what = f"the delay of {_event_label(index, event)}"
            problem = _time_problem(what, _known(event.delay, values))
            if problem:
                yield Problem(problem, "event", index, part="delay")


def _known(expression: Expression, values: Mapping[str, float]) -> float | None:
    """Return the value of an expression of parameters alone."""
    if all(word in values or word in CONSTANTS for word in expression.symbols()):
        return float(expression.evaluate(values))
    return None


def _time_problem(what: str, value: float | None, *, may_be_zero: bool = True) -> str:
    if value is None:
        return ""
    if not math.isfinite(value):
        return f"{what} is {value}; it must be a finite number"
    if value < 0.0:
        return f"{what} is {number_text(value)}; it cannot be negative"
    if value == 0.0 and not may_be_zero:
        return f"{what} is 0; it must be positive"
    return ""
