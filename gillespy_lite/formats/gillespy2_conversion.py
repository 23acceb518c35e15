"""Networks from models of GillesPy2, through the public attributes of their objects.

GillesPy2 itself is not needed here. Its mass action is ``k*A*(A - 1)/vol`` for two equal
molecules, ``k*A*B/vol`` for two different ones and ``k*vol`` for a source; ours has a factor of 1/2
for equal ones, so their constant is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from ..declarations import Observable, Parameter, Species, Variable
from ..errors import FormatError
from ..events import Event
from ..network import Network, Reaction
from ..rate_laws import (
    CONSTANTS,
    OPERATIONS,
    RESERVED,
    TIME,
    Call,
    Expression,
    Number,
    Symbol,
    did_you_mean,
    name_problem,
    piecewise,
    shown,
)
from .formulas import FormulaFunction, defined_function, folded, own_function, read_formula

__all__ = ["read_gillespy2"]

_LISTS = (
    "species",
    "parameters",
    "reactions",
    "rate_rules",
    "assignment_rules",
    "events",
    "function_definitions",
)

# The names that GillesPy2 gives where the author gave none.
_AUTOMATIC = re.compile(r"(?:rxn|evn)[0-9a-f]{8}_[0-9a-f_]{27}")


def _piecewise(*values: Expression) -> Expression:
    # Without a last value GillesPy2 gives nothing where no condition holds.
    return piecewise(*values) if len(values) % 2 else piecewise(*values, Number(0.0))


_FUNCTIONS: dict[str, FormulaFunction] = {
    "pow": FormulaFunction(2, 2, lambda x, y: Call("^", (x, y))),
    "ln": own_function("log"),
    "fabs": own_function("abs"),
    "ceiling": own_function("ceil"),
    "min": folded("min"),
    "max": folded("max"),
    "piecewise": FormulaFunction(1, None, _piecewise),
    **{
        name: own_function(name)
        for name in (
            *("exp", "log", "log10", "sqrt", "abs", "sin", "cos", "tan", "tanh", "floor", "ceil"),
            *("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
        )
        if name in OPERATIONS
    },
}


def read_gillespy2(model: Any) -> Network:
    """Return a model of GillesPy2 as a network with the same propensities.

    Parameters
    ----------
    model : gillespy2.Model
        Its species, parameters, reactions, rules, events, function definitions and volume.

    Returns
    -------
    Network
        A species whose mode is continuous, or that follows a rate rule, becomes a variable; so
        does a parameter that a rule or an event changes. Where the volume is not 1, or a formula
        uses it, it is the parameter ``vol``. Time spans and the options of solvers are no part
        of a network.

    Raises
    ------
    FormatError
        If the model holds something that has no counterpart; it names what.
    """
    missing = [name for name in _LISTS if not hasattr(model, f"get_all_{name}")]
    if missing or not hasattr(model, "volume"):
        raise TypeError(f"from_gillespy2 takes a gillespy2.Model, not {model!r}")
    return _ModelReader(model).network()


def _label(name: str) -> str:
    """Return what a reaction or event is called here; nothing if its author did not name it."""
    while name in RESERVED:
        name += "_"
    return "" if _AUTOMATIC.fullmatch(name) or name_problem(name) else name


def _refuse(where: str, message: str) -> NoReturn:
    raise FormatError(f"{where}: {message}")


class _ModelReader:
    def __init__(self, model: Any) -> None:
        if getattr(model, "units", "population") != "population":
            _refuse(
                f"the model {model.name!r}",
                "it is written in concentrations, which have no propensities; write it in "
                "populations",
            )
        self.model = model
        self.all: dict[str, dict[str, Any]] = {
            name: dict(getattr(model, f"get_all_{name}")()) for name in _LISTS
        }
        self.stored: dict[str, str] = {}
        for name in (*self.all["species"], *self.all["parameters"]):
            self._declare(name)
        self.volume_name = self._declare("vol")
        self.uses_volume = float(model.volume) != 1.0
        self.functions = dict(_FUNCTIONS)
        for one in self.all["function_definitions"].values():
            self._define(one)
        self.rates = {
            self._target(one.variable, f"the rate rule {one.name!r}"): one
            for one in self.all["rate_rules"].values()
        }
        self.assigned = {
            self._target(one.variable, f"the assignment rule {one.name!r}"): one
            for one in self.all["assignment_rules"].values()
        }
        self.set_by_events = {
            self._target(assignment.variable, f"the event {one.name!r}")
            for one in self.all["events"].values()
            for assignment in one.assignments
        }

    def _declare(self, name: str) -> str:
        stored = name
        while stored in RESERVED or (stored != name and stored in self.stored.values()):
            stored += "_"
        self.stored[name] = stored
        return stored

    def _target(self, variable: Any, where: str) -> str:
        name = variable if isinstance(variable, str) else variable.name
        if name not in self.all["species"] and name not in self.all["parameters"]:
            _refuse(where, f"it changes {shown(name)}, which is neither a species nor a parameter")
        return str(name)

    # -- Formulas

    def _formula(
        self, text: Any, where: str, given: Mapping[str, Expression] | None = None
    ) -> Expression:
        if isinstance(text, int | float):
            return Number(float(text))
        if not isinstance(text, str) or not text.strip():
            _refuse(where, f"{text!r} is not a formula")
        return read_formula(
            text,
            partial(self._meaning, where, given or {}),
            self.functions,
            partial(_refuse, where),
            has_words=True,
        )

    def _meaning(self, where: str, given: Mapping[str, Expression], name: str) -> Expression:
        if name in given:
            return given[name]
        if name == "vol":
            self.uses_volume = True
        if name in self.stored:
            return Symbol(self.stored[name])
        if name in ("t", "time"):
            return TIME
        if name in CONSTANTS:
            return Number(CONSTANTS[name])
        if name in ("true", "false", "True", "False"):
            return Number(float(name.lower() == "true"))
        return _refuse(
            where, f"the name {shown(name)} is not declared{did_you_mean(name, self.stored)}"
        )

    def _define(self, one: Any) -> None:
        where = f"the function {one.name!r}"
        self.functions[one.name] = defined_function(
            one.name,
            list(one.args),
            lambda given: self._formula(one.function_string, where, given),
            partial(_refuse, where),
        )

    # -- Parts

    def network(self) -> Network:
        observables = self._observables()
        species, variables = self._species()
        parameters = self._parameters(variables)
        reactions = [self._reaction(one) for one in self.all["reactions"].values()]
        events = [self._event(one) for one in self.all["events"].values()]
        changed = {name for one in reactions for name, _ in (*one.reactants, *one.products)}
        changed |= {name for one in events for name, _ in one.assignments}
        variables = [
            one
            if one.rate is not None or one.name in changed
            else Variable(one.name, one.initial, 0.0)
            for one in variables
        ]
        if self.uses_volume:
            parameters.append(Parameter(self.volume_name, float(self.model.volume)))
        return Network(
            species=species,
            reactions=reactions,
            parameters=parameters,
            observables=observables,
            variables=variables,
            events=events,
        )

    def _observables(self) -> list[Observable]:
        waiting = {
            self.stored[name]: self._formula(one.formula, f"the assignment rule {one.name!r}")
            for name, one in self.assigned.items()
        }
        found: list[Observable] = []
        while waiting:
            # Each after those that it uses; what is left in a circle, the network refuses.
            ready = [name for name, one in waiting.items() if one.symbols().isdisjoint(waiting)]
            found += [Observable(name, waiting.pop(name)) for name in ready or list(waiting)]
        return found

    def _species(self) -> tuple[list[Species], list[Variable]]:
        species: list[Species] = []
        variables: list[Variable] = []
        for name, one in self.all["species"].items():
            stored, where = self.stored[name], f"the species {name!r}"
            if name in self.assigned:
                if name in self.rates or name in self.set_by_events:
                    _refuse(where, "it has an assignment rule, and something else sets it as well")
            elif name in self.rates or one.mode == "continuous":
                variables.append(Variable(stored, float(one.initial_value), self._rate(name)))
            else:
                species.append(Species(stored, one.initial_value))
            if one.constant and (name in self.rates or name in self.set_by_events):
                _refuse(where, "it is constant, and yet a rule or an event changes it")
        return species, variables

    def _rate(self, name: str) -> Expression | None:
        if name not in self.rates:
            return None
        return self._formula(self.rates[name].formula, f"the rate rule {self.rates[name].name!r}")

    def _parameters(self, variables: list[Variable]) -> list[Parameter]:
        """Return the parameters that never change; those that do join the variables."""
        parameters: list[Parameter] = []
        for name, one in self.all["parameters"].items():
            if name in self.assigned:
                continue
            value = self._formula(one.expression, f"the parameter {name!r}")
            if name in self.rates or name in self.set_by_events:
                variables.append(Variable(self.stored[name], value, self._rate(name)))
            else:
                parameters.append(Parameter(self.stored[name], value))
        return parameters

    # -- Reactions

    def _side(self, side: Mapping[Any, Any], where: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for key, count in side.items():
            name = key if isinstance(key, str) else key.name
            if name not in self.all["species"]:
                _refuse(where, f"{shown(name)} is no species of the model")
            if name in self.assigned:
                _refuse(where, f"the species {name!r} follows an assignment rule and cannot react")
            if count:
                counts[name] = count
        return counts

    def _reaction(self, one: Any) -> Reaction:
        where = f"the reaction {one.name!r}"
        taken, made = self._side(one.reactants, where), self._side(one.products, where)
        for name in {**taken, **made}:
            species = self.all["species"][name]
            if species.constant or species.boundary_condition:
                # Reactions leave it as it is: it comes back.
                made.pop(name, None)
                if name in taken:
                    made[name] = taken[name]
            elif species.allow_negative_populations and taken.get(name, 0) > made.get(name, 0):
                _refuse(where, f"the population of {name!r} may become negative; counts cannot")
        reactants, products = (
            tuple((self.stored[name], count) for name, count in side.items())
            for side in (taken, made)
        )
        name = _label(one.name)
        if one.massaction:
            return Reaction(reactants, products, self._mass_action(one, taken, where), name=name)
        if one.ode_propensity_function != one.propensity_function:
            _refuse(
                where,
                f"its law for differential equations, {shown(str(one.ode_propensity_function))}, "
                "differs from its propensity; a network has one law for each reaction",
            )
        law = self._formula(one.propensity_function, where)
        return Reaction(reactants, products, law, kind="propensity", name=name, limited=False)

    def _mass_action(self, one: Any, taken: Mapping[str, int], where: str) -> Expression:
        """Return our constant: times the factorials that we divide by, volumes put in."""
        rate = (
            one.marate if isinstance(one.marate, str) else getattr(one.marate, "name", one.marate)
        )
        constant = self._formula(rate, where)
        n_molecules = sum(taken.values())
        if n_molecules > 2:
            _refuse(where, f"mass action of {n_molecules} molecules is not known in GillesPy2")
        if 2 in taken.values():
            constant = 2.0 * constant
        if float(self.model.volume) == 1.0 or n_molecules == 1:
            return constant
        volume = Symbol(self.volume_name)
        return constant / volume if n_molecules == 2 else constant * volume

    # -- Events

    def _event(self, one: Any) -> Event:
        where = f"the event {one.name!r}"
        delay, priority = one.delay, one.priority
        name = _label(one.name)
        for assignment in one.assignments:
            if self._target(assignment.variable, where) in self.assigned:
                _refuse(where, "it sets what an assignment rule sets")
        return Event(
            self._formula(one.trigger.expression, where),
            [
                (
                    self.stored[self._target(assignment.variable, where)],
                    self._formula(assignment.expression, where),
                )
                for assignment in one.assignments
            ],
            delay=None if delay is None else self._formula(delay, where),
            # GillesPy2 gives every event the priority 0: all are equal.
            priority=None if priority in (None, "0", 0) else self._formula(priority, where),
            persistent=one.trigger.persistent,
            initially=one.trigger.value,
            values="trigger" if one.use_values_from_trigger_time else "execution",
            name=name,
        )
