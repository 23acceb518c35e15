"""Events: what is assigned at the instant at which a condition becomes true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from .declarations import Species, Variable
from .errors import NetworkError
from .expressions import Expression, Operand, as_expression
from .names import checked_name

__all__ = ["Event", "ValuesAt"]

ValuesAt: TypeAlias = Literal["trigger", "execution"]


@dataclass(frozen=True, init=False, slots=True)
class Event:
    """Assignments made when a condition becomes true.

    The semantics are those of SBML Level 3: an event fires at the instant at which its trigger
    changes from false to true, waits for its delay, and then makes all its assignments at once. Of
    events that are due at one instant the one of the highest priority goes first; equals, and those
    without priority, go in random order. Triggers are looked at again after each.

    Parameters
    ----------
    trigger : Expression
        A condition of species, variables, parameters, observables and `t`, such as ``A > 30``.
    assignments : mapping or iterable of (species or variable, Expression)
        New values, by object or by name. A species is set to a whole number, 0 or more, where
        molecules are counted. The name in square brackets, ``"[S]"``, is the concentration in the
        compartment of `S`: the amount becomes the value times the size at the execution.
    delay : Expression or float, optional
        From the trigger to the execution, in the unit of time; taken at the trigger.
    priority : Expression or float, optional
        The larger, the earlier among events due at one instant; taken anew whenever one is chosen.
    persistent : bool, optional
        Whether an event that waits is still executed when its trigger has become false.
    initially : bool, optional
        What the trigger counts as just before the start: with False, a trigger that holds at the
        start fires there.
    values : {"execution", "trigger"}, optional
        When the assigned expressions are evaluated.
    name : str, optional
        An identifier, or empty.

    Raises
    ------
    NetworkError
        If a target is named twice, there is none, or a name is not allowed.
    """

    trigger: Expression
    assignments: tuple[tuple[str, Expression], ...]
    as_concentrations: tuple[str, ...] = field(kw_only=True)  # targets given in square brackets
    delay: Expression | None = field(kw_only=True)
    priority: Expression | None = field(kw_only=True)
    persistent: bool = field(kw_only=True)
    initially: bool = field(kw_only=True)
    values: ValuesAt = field(kw_only=True)
    name: str = field(kw_only=True)

    def __init__(
        self,
        trigger: Operand,
        assignments: Mapping[Any, Operand | float] | Iterable[tuple[Any, Operand | float]],
        *,
        delay: Operand | float | None = None,
        priority: Operand | float | None = None,
        persistent: bool = True,
        initially: bool = False,
        values: ValuesAt = "execution",
        name: str = "",
    ) -> None:
        if values not in get_args(ValuesAt):
            raise NetworkError(f"values must be 'execution' or 'trigger', not {values!r}")
        pairs = assignments.items() if isinstance(assignments, Mapping) else assignments
        found: dict[str, Expression] = {}
        concentrations: list[str] = []
        for target, value in pairs:
            known = target.name if isinstance(target, Species | Variable) else target
            in_brackets = isinstance(known, str) and known[:1] == "[" and known[-1:] == "]"
            one = checked_name(known[1:-1] if in_brackets else known, "species or variable")
            if in_brackets:
                concentrations.append(one)
            if one in found:
                raise NetworkError(
                    f"an event assigns {one!r} twice; its assignments are made at once, so only "
                    "one can hold"
                )
            found[one] = as_expression(value)
        if not found:
            raise NetworkError("an event assigns something: Event(A > 30, {B: B + 1})")
        object.__setattr__(self, "trigger", as_expression(trigger))
        object.__setattr__(self, "assignments", tuple(found.items()))
        object.__setattr__(self, "as_concentrations", tuple(concentrations))
        object.__setattr__(self, "delay", None if delay is None else as_expression(delay))
        object.__setattr__(self, "priority", None if priority is None else as_expression(priority))
        object.__setattr__(self, "persistent", bool(persistent))
        object.__setattr__(self, "initially", bool(initially))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "name", checked_name(name, "event") if name else "")

    def expressions(self) -> tuple[Expression, ...]:
        """Return all expressions: the trigger, the delay, the priority, the assigned ones."""
        timing = (self.trigger, self.delay, self.priority)
        return (
            *(one for one in timing if one is not None),
            *(value for _, value in self.assignments),
        )

    def written_assignments(self) -> tuple[tuple[str, Expression], ...]:
        """Return targets and values, targets as they are written: ``[S]`` for a concentration."""
        return tuple(
            (f"[{target}]" if target in self.as_concentrations else target, value)
            for target, value in self.assignments
        )

    def __str__(self) -> str:
        """Return the event in the language."""
        word = "at" if "t" in self.trigger.symbols() else "when"
        clauses = [
            f"{word} {self.trigger}",
            *([f"after {self.delay}"] if self.delay is not None else []),
            *([f"priority {self.priority}"] if self.priority is not None else []),
            *([] if self.persistent else ["not persistent"]),
            *(["initially true"] if self.initially else []),
            *(["values at trigger"] if self.values == "trigger" else []),
        ]
        assignments = ", ".join(f"{one} = {value}" for one, value in self.written_assignments())
        label = f"{self.name}: " if self.name else ""
        return f"{label}{', '.join(clauses)}: {assignments}"
