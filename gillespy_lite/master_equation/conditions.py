"""Conditions on states: read, evaluated, and made to end a network's events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import compile_network
from ..dsl import parse_expression
from ..errors import MethodError, NetworkError
from ..expressions import Call, Expression, Number
from ..mass_action import propensity_expression
from ..network import Network
from ..operations import CONDITIONS
from ..reactions import Reaction

__all__ = ["Condition", "as_condition", "ended_by", "require_steady"]


@dataclass(frozen=True)
class Condition:
    """What is true or false of each state."""

    network: Network
    text: str
    expression: Expression  # of species, parameters and numbers alone

    def holds(self, states: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each of some states, (n, n_species), whether it is true there; (n,) bool."""
        network = self.network
        known: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        for column, name in enumerate(network.species_names):
            known[name] = states[:, column].astype(np.float64)
        values = np.asarray(self.expression.evaluate(known))
        return np.broadcast_to(values != 0.0, (states.shape[0],))


def as_condition(network: Network, what: Any, argument: str) -> Condition:
    """Return a condition from text or an expression, or say what is wrong with `argument`."""
    if not isinstance(what, str | Expression):
        raise TypeError(f"{argument} must be a condition such as 'X >= 80', not {what!r}")
    expression = parse_expression(what) if isinstance(what, str) else what
    if not isinstance(expression, Call) or expression.operation not in CONDITIONS:
        raise NetworkError(f"{argument} must be a condition such as 'X >= 80', not '{expression}'")
    try:
        expanded = network.expanded(expression)
    except NetworkError as error:
        raise NetworkError(f"in {argument}: {error}") from None
    if "t" in expanded.symbols():
        raise MethodError(
            f"{argument} = '{expression}' depends on the time t; only the state can be asked about"
        )
    return Condition(network, str(expression), expanded)


def require_steady(network: Network, question: str) -> None:
    """Refuse a network whose rates change with time, or that has events."""
    if not isinstance(network, Network):
        raise TypeError(
            f"the first argument must be a Network, not {type(network).__name__}; make one from "
            "text with Network.parse(text), from a file with Network.read(path)"
        )
    if network.events:
        raise MethodError(f"{question} needs a network without events; sample it instead")
    compiled = compile_network(network)
    if compiled.time_dependent:
        raise MethodError(
            f"{question} needs rates that do not depend on the time t, and that of reaction "
            f"{compiled.time_dependent[0]} does; sample it instead"
        )


def ended_by(condition: Condition) -> Network:
    """Return the network in which nothing happens any more once the condition is true.

    A search for its states ends where the condition begins, be there no end of states behind it.
    """
    network, zero = condition.network, Number(0.0)
    reactions = [
        Reaction(
            one.reactants,
            one.products,
            Call("if", (condition.expression, zero, propensity_expression(network, j))),
            kind="propensity",
            name=one.name,
        )
        for j, one in enumerate(network.reactions)
    ]
    return Network(network.species, reactions, network.parameters)
