"""How the flow of probability changes with a network's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..declarations import Parameter
from ..errors import MethodError, NetworkError
from ..expressions import Expression, Number
from ..kernels.state_slopes import Slopes
from ..mass_action import propensity_expression
from ..names import did_you_mean
from ..network import Network
from .state_space import FloatArray, Generator, IntArray, StateSearch

__all__ = ["SlopeLaws", "check_parameters", "slopes_on"]


def check_parameters(network: Network, parameters: Any) -> tuple[str, ...]:
    """Return the names of the parameters to differentiate by, or say what is wrong with them.

    Parameters
    ----------
    network : Network
        The parameters may not set its initial counts.
    parameters : None, str, Parameter or sequence of them
        None means all that a rate depends on and that follow no definition of their own.
    """
    plain = [one.name for one in network.parameters if not isinstance(one.value, Expression)]
    definitions = _definitions(network)
    if parameters is None:
        used: set[str] = set()
        for j in range(network.n_reactions):
            used |= network.expanded_rate(j).substitute(definitions).symbols()
        names = tuple(name for name in plain if name in used)
        if not names:
            raise NetworkError(
                "no rate of the network depends on a parameter; give the rate constants names, "
                "for example 'param k = 2' and '0 -> X @ k'"
            )
    else:
        one_name = isinstance(parameters, str | Parameter)
        chosen = [parameters] if one_name else list(parameters)
        names = tuple(getattr(name, "name", name) for name in chosen)
        if not names:
            raise ValueError("parameters is empty; name at least one parameter")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"parameters names {name!r} twice")
        if name in plain:
            continue
        if name in definitions:
            raise NetworkError(
                f"{name!r} is derived ({name} = {definitions[name]}) and follows its own "
                "definition; take what it is derived from"
            )
        raise NetworkError(
            f"{name!r} is no parameter of the network{did_you_mean(str(name), plain)}; it has "
            f"{', '.join(plain) or 'none'}"
        )
    return names


def refuse_moving_start(network: Network, names: Sequence[str]) -> None:
    """Refuse initial counts that depend on one of the parameters: they have no derivative."""
    definitions = _definitions(network)
    for one in network.species:
        initial = one.initial
        if isinstance(initial, Expression):
            moved = initial.substitute(definitions).symbols() & set(names)
            if moved:
                raise MethodError(
                    f"the initial count of {one.name!r} depends on {sorted(moved)[0]!r}, and a "
                    "whole number has no derivative; fix it with network.with_initial("
                    f"{one.name}=...), or leave {sorted(moved)[0]!r} out"
                )


def _definitions(network: Network) -> dict[str, Expression]:
    """Return what derived parameters stand for, in terms of plain ones."""
    found: dict[str, Expression] = {}
    for one in network.parameters:
        if isinstance(one.value, Expression):
            found[one.name] = one.value.substitute(found)
    return found


class _Law(NamedTuple):
    parameter: int
    channel: int
    slope: Expression  # of one reaction's propensity
    needs: tuple[tuple[int, int], ...]  # (species, molecules) without which it cannot fire


class SlopeLaws:
    """The derivatives of all propensities to some parameters, as expressions.

    Parameters
    ----------
    search : StateSearch
        Of the network; relatives of it that `Network.with_parameters` gives have the same.
    names : sequence of str
        The parameters, as `check_parameters` gives them.
    """

    def __init__(self, search: StateSearch, names: Sequence[str]) -> None:
        network, channels = search.network, search.channels
        definitions = _definitions(network)
        place = {name: i for i, name in enumerate(network.species_names)}
        self.laws: list[_Law] = []
        self.names = tuple(names)
        for c in range(search.n_channels):
            for k in range(int(channels.start[c]), int(channels.start[c + 1])):
                j = int(channels.reaction[k])
                whole = propensity_expression(network, j).substitute(definitions)
                needs = tuple(
                    (place[name], count)
                    for name, count in network.reactions[j].reactants
                    if isinstance(count, int)
                )
                for m, name in enumerate(self.names):
                    if name in whole.symbols():
                        slope = whole.derivative(name)
                        if slope != Number(0.0):
                            self.laws.append(_Law(m, c, slope, needs))

    def values(
        self, network: Network, states: IntArray, time: float
    ) -> dict[tuple[int, int], FloatArray]:
        """Return the slopes at some states, (n_states,) by parameter and channel."""
        known: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        known |= {
            name: states[:, i].astype(np.float64) for i, name in enumerate(network.species_names)
        }
        known["t"] = time
        found: dict[tuple[int, int], FloatArray] = {}
        for law in self.laws:
            value = np.asarray(law.slope.evaluate(known), dtype=np.float64)
            can_fire = np.ones(states.shape[0], dtype=bool)
            for species, count in law.needs:
                can_fire &= states[:, species] >= count
            value = np.where(can_fire, value, 0.0)
            if not np.isfinite(value).all():
                bad = int(np.flatnonzero(~np.isfinite(value))[0])
                shown = ", ".join(
                    f"{name} = {n}"
                    for name, n in zip(network.species_names, states[bad].tolist(), strict=True)
                )
                name = self.names[law.parameter]
                raise MethodError(
                    f"the derivative of a rate to {name!r}, {law.slope}, is {value[bad]:g} in the "
                    f"state {shown}; change the value of {name!r}, or leave it out"
                )
            key = (law.parameter, law.channel)
            found[key] = found[key] + value if key in found else value
        return found


def slopes_on(
    laws: SlopeLaws, generator: Generator, network: Network, time: float
) -> tuple[Slopes, FloatArray]:
    """Return what the kernel reads, and for each parameter the largest slope of all outflow.

    The latter, (n_parameters,), is the largest sum of absolute slopes of the propensities in a
    state of the set.
    """
    values = laws.values(network, generator.space.states, time)
    source, leaves = generator.flow.source, generator.leaves
    n, n_names = generator.n_states, len(laws.names)
    everyone = np.arange(n)
    rates = generator.space.rates(time)
    edge = np.flatnonzero(leaves.any(axis=0))
    leak_slope = np.zeros((n_names, n))
    total = np.zeros((n_names, n))
    into = np.zeros((len(values), n))
    for e, ((m, c), value) in enumerate(values.items()):
        into[e] = np.where(source[c] == everyone, 0.0, value[source[c]])
        total[m] += np.abs(value)
        leak_slope[m] += np.where(leaves[c] != 0, np.abs(value), 0.0)
        if ((leaves[c] != 0) & (value != 0.0) & (rates[:, c] == 0.0)).any():
            name = laws.names[m]
            value_of = dict(
                zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
            )
            raise MethodError(
                f"at {name} = {value_of[name]:g} a reaction never fires that fires beside it, so "
                "that the derivative is about states without any probability; give "
                f"{name!r} a value at which the reaction fires"
            )
    slopes = Slopes(
        parameter=np.array([m for m, _ in values], dtype=np.int64),
        channel=np.array([c for _, c in values], dtype=np.int64),
        into=into,
        out=np.array(list(values.values())).reshape(len(values), n),
        edge=edge.astype(np.int64),
        leak=np.ascontiguousarray(generator.leak[edge]),
        leak_slope=np.ascontiguousarray(leak_slope[:, edge]),
    )
    return slopes, total.max(axis=1, initial=0.0)
