"""Finding what a name stands for in a result: a column, or what is computed from columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..declarations import Observable, Parameter, Species, Variable
from ..expressions import Expression, Number, Symbol
from ..mass_action import propensity_expression, rate_expression
from ..names import RESERVED, did_you_mean, normal_name, shown
from ..network import Network
from .recorded import FloatArray, Recorded, read_only
from .summaries import listed

__all__ = [
    "FADE",
    "Name",
    "RecordedPaths",
    "constant_size",
    "is_concentration",
    "name_text",
    "size_name",
    "stored_name",
    "unknown_name_message",
]

Name: TypeAlias = str | Species | Variable | Observable | Parameter

# Molecules over which the rate equations let a limited law fade out; as `kernels.rate_equations.FADE`, which a test compares.
FADE = 1e-6


def name_text(name: Name) -> str:
    """Return the name as text in its one spelling; refuse what is no name."""
    if isinstance(name, Species | Variable | Observable | Parameter):
        return name.name
    if isinstance(name, str):
        return normal_name(name)
    raise TypeError(
        f'names are text, like "P", or Species and Observable objects, not {name!r}; '
        "trajectory i of an ensemble is ens.trajectory(i)"
    )


def stored_name(network: Network, name: str) -> str:
    """Return the name that a network has for what an imported model called `name`.

    A reserved word is stored with as many "_" behind it as make it free: `t` as `t_`.
    """
    if name not in RESERVED:
        return name
    known = _all_names(network)
    stored = f"{name}_"
    while f"{stored}_" in known:
        stored += "_"
    return stored if stored in known else name


def _all_names(network: Network) -> set[str]:
    names: set[str] | None = network.memo.get("names of results")
    if names is None:
        names = {
            *network.state_names,
            *network.parameter_names,
            *network.observable_names,
            *(reaction.name for reaction in network.reactions if reaction.name),
        }
        network.memo["names of results"] = names
    return names


def unknown_name_message(network: Network, name: str) -> str:
    """Return what to say about a name that no column can have."""
    known = [*network.state_names, *network.observable_names]
    kinds, one_kind = "species and observables", "species or observable"
    if network.variable_names:
        kinds, one_kind = "species, variables and observables", "species, variable or observable"
    if name in network.parameter_names:
        return f"{name!r} is a parameter; results hold {kinds}: {listed(known)}"
    others = _all_names(network) - set(known)
    return (
        f"there is no {one_kind} {shown(name)}{did_you_mean(name, [*known, *sorted(others)])} "
        f"(there are: {listed(known)})"
    )


# ---- Compartments ------------------------------------------------------------------------------


def _compartments(network: Network) -> tuple[Mapping[str, str], Collection[str]]:
    """Return the size of the compartment that holds each amount, and what is shown divided."""
    known: tuple[Mapping[str, str], Collection[str]] | None
    known = network.memo.get("compartments of results")
    if known is None:
        sizes = {name: one.size for one in network.compartments for name in one.contents}
        divided = {name for one in network.compartments for name in one.as_concentrations}
        known = network.memo["compartments of results"] = sizes, divided
    return known


def is_concentration(network: Network, name: str) -> bool:
    """Whether results show `name` as a concentration."""
    return name in _compartments(network)[1]


def size_name(network: Network, name: str) -> str:
    """Return what holds the volume that `name` is in; a `KeyError` if it is in none."""
    sizes = _compartments(network)[0]
    if name not in sizes:
        if name not in _all_names(network):
            raise KeyError(unknown_name_message(network, name))
        inside = f"in one: {listed(tuple(sizes))}" if sizes else "the network has none"
        raise KeyError(f"{name!r} is in no compartment, so it has no concentration ({inside})")
    return sizes[name]


def constant_size(network: Network, name: str) -> float:
    """Return the volume that `name` is in; a `ValueError` if it may change."""
    size = size_name(network, name)
    values = _constants(network)
    if size in network.observable_names:
        expression = network.expanded(Symbol(size))
        if expression.symbols() <= values.keys():
            return float(expression.evaluate(values))
    if size not in values:
        raise ValueError(
            f"{name!r} is a concentration in {size!r}, which may change, and statistics of amounts "
            "do not give those of concentrations; run again without statistics=True, or add an "
            "observable for the concentration and record that"
        )
    return values[size]


def _constants(network: Network) -> dict[str, float]:
    """Return the values of the parameters, and of the variables that nothing changes."""
    parameters = network.parameter_values.tolist()
    values = dict(zip(network.parameter_names, parameters, strict=True))
    if network.variable_names:
        starts = network.initial_variables.tolist()
        start_of = dict(zip(network.variable_names, starts, strict=True))
        values |= {name: start_of[name] for name in _unchanged_variables(network)}
    return values


def _unchanged_variables(network: Network) -> Collection[str]:
    unchanged: Collection[str] | None = network.memo.get("unchanged variables")
    if unchanged is None:
        changed = {name for event in network.events for name, _ in event.assignments}
        for reaction in network.reactions:
            changed.update(name for name, _ in (*reaction.reactants, *reaction.products))
        unchanged = network.memo["unchanged variables"] = [
            name
            for i, name in enumerate(network.variable_names)
            if name not in changed and network.expanded_variable_rate(i) == Number(0.0)
        ]
    return unchanged


# ---- Paths -------------------------------------------------------------------------------------


class RecordedPaths(Recorded):
    """A result that keeps paths, whose columns are found by name.

    The last axis of `counts` holds the species and, of rate equations, the variables; that of
    `values` the observables and, where molecules are counted, the variables.
    """

    counts: NDArray[Any]
    values: FloatArray

    def __contains__(self, name: object) -> bool:
        """Whether ``self[name]`` has an answer."""
        if not isinstance(name, str | Species | Variable | Observable | Parameter):
            return False
        try:
            self._find(self._stored(name))
        except KeyError:
            return False
        return True

    def __getitem__(self, name: Name) -> NDArray[Any]:
        """Return the path, or all paths, of anything that the network gives a name.

        Parameters
        ----------
        name : str, Species, Variable, Observable or Parameter
            What was recorded, or what can be computed from it: an observable, a parameter, which is
            the same at all times, or a reaction, whose propensity it is (its rate of method "ode").
            An observable goes before a reaction of its name.

        Returns
        -------
        ndarray, shape (n_times,), or (n_trajectories, n_times) of an ensemble
            Molecules for a species, or molecules per volume if a compartment of the network shows
            it as a concentration; the own unit of all else.

        Raises
        ------
        KeyError
            If there is no such name, or something that it needs was not recorded.
        """
        stored = self._stored(name)
        path = self._amount(stored)
        if is_concentration(self.network, stored):
            return self._divided(stored, path)
        return path

    def amount(self, name: Name) -> NDArray[Any]:
        """Return a path as it was recorded, where ``self[name]`` may be a concentration.

        Parameters
        ----------
        name : str, Species, Variable, Observable or Parameter
            As for ``self[name]``, which also says what is raised.

        Returns
        -------
        ndarray, shape (n_times,), or (n_trajectories, n_times) of an ensemble
            Molecules for a species.
        """
        return self._amount(self._stored(name))

    def concentration(self, name: Name) -> NDArray[Any]:
        """Return the path of what is in a compartment, divided by the compartment's size.

        Parameters
        ----------
        name : str, Species, Variable, Observable or Parameter
            Something in one of ``network.compartments``.

        Returns
        -------
        ndarray, shape (n_times,), or (n_trajectories, n_times) of an ensemble
            Molecules per volume.

        Raises
        ------
        KeyError
            If it is in no compartment, or something that is needed was not recorded.
        """
        stored = self._stored(name)
        size_name(self.network, stored)
        return self._divided(stored, self._amount(stored))

    def _stored(self, name: Name) -> str:
        return stored_name(self.network, name_text(name))

    def _divided(self, name: str, path: NDArray[Any]) -> NDArray[Any]:
        size = size_name(self.network, name)
        try:
            volume = self._amount(size)
        except KeyError:
            raise KeyError(
                f"the concentration of {name!r} needs {size!r}, which was not recorded; add "
                f"{size!r} to outputs= and run again, or ask for amount({name!r})"
            ) from None
        with np.errstate(divide="ignore", invalid="ignore"):
            return read_only(path / volume)

    def _amount(self, name: str) -> NDArray[Any]:
        found = self._find(name)
        if not isinstance(found, Expression):
            array, column = found
            return array[..., column]
        path = self._evaluated(found)
        if name in self.network.observable_names or name in self.network.parameter_names:
            return read_only(path)
        return read_only(self._limited(name, path))

    def _evaluated(self, expression: Expression) -> FloatArray:
        """Compute an expression of parameters, of what was recorded, and of the time."""
        symbols, known = expression.symbols(), dict[str, Any](_constants(self.network))
        for column, name in enumerate(self.observables):
            if name in symbols:
                known[name] = self.values[..., column]
        for column, name in enumerate(self.species):
            if name in symbols:
                known[name] = self.counts[..., column].astype(np.float64)
        known["t"] = self.times
        values = np.asarray(expression.evaluate(known), dtype=np.float64)
        return np.broadcast_to(values, self.counts.shape[:-1])

    def _limited(self, name: str, rate: FloatArray) -> FloatArray:
        """Return the rate of a reaction where its reactants are there, and 0 where they are not."""
        reaction = self.network.reactions[self._reaction(name)]
        is_ode = self.counts.dtype.kind == "f"
        presence = np.ones(rate.shape)
        for reactant, count in reaction.reactants if reaction.kind == "propensity" else ():
            if reactant not in self.network.species_names:
                continue  # a variable may go below zero, so it never runs out
            if is_ode and reaction.limited:
                present = np.clip(self._amount(reactant) / FADE, 0.0, 1.0)
                presence = np.minimum(presence, present)
            elif not is_ode and isinstance(count, int):
                presence = np.minimum(presence, self._amount(reactant) >= count)
        # A law without its reactants may be no number.
        return np.where(presence > 0.0, presence * rate, 0.0)

    def _reaction(self, name: str) -> int:
        for index, reaction in enumerate(self.network.reactions):
            if reaction.name == name and name:
                return index
        return -1

    def _find(self, name: str) -> tuple[NDArray[Any], int] | Expression:
        """Return the array and column that hold `name`, or what to compute from other columns.

        A `KeyError` says what to add to ``outputs=``.
        """
        network = self.network
        if name in self.species:
            return self.counts, self.species.index(name)
        if name in self.observables:
            return self.values, self.observables.index(name)
        if name in network.parameter_names:
            return Symbol(name)
        needed_too: Collection[str] = ()
        if name in network.observable_names:
            what = "observable"
            expression = network.expanded(Symbol(name))
        elif name in network.state_names:
            if name in _constants(network):
                return Symbol(name)
            kind = "species" if name in network.species_names else "variable"
            raise KeyError(
                f"{kind} {name!r} was not recorded; add it to outputs= and run again "
                f"(recorded: {listed(self.columns)})"
            )
        elif (index := self._reaction(name)) >= 0:
            what = "reaction"
            is_ode = self.counts.dtype.kind == "f"
            expression = (rate_expression if is_ode else propensity_expression)(network, index)
            needed_too = [reactant for reactant, _ in network.reactions[index].reactants]
        else:
            raise KeyError(unknown_name_message(network, name))
        needed, constants = {*expression.symbols(), *needed_too}, _constants(network)
        missing = [
            repr(state)
            for state in network.state_names
            if state in needed and state not in self.columns and state not in constants
        ]
        if missing:
            add = listed(missing) if what == "reaction" else f"{name!r} or {listed(missing)}"
            raise KeyError(
                f"{what} {name!r} needs {listed(missing)}, which was not recorded; "
                f"add {add} to outputs= and run again"
            )
        return expression

    def _table(self) -> NDArray[Any]:
        """Return all columns side by side; int64 if there are no observables or concentrations."""
        divided = _compartments(self.network)[1]
        if any(name in divided for name in self.columns):
            paths = [np.asarray(self[name], dtype=np.float64) for name in self.columns]
            return read_only(np.stack(paths, axis=-1))
        if not self.observables:
            return self.counts
        return read_only(np.concatenate((self.counts, self.values), axis=-1))

    def moving_columns(self) -> frozenset[str]:
        """Return the names of variables, observables and concentrations that are no steps."""
        return moving_names(self.network)


def moving_names(network: Network) -> frozenset[str]:
    """Return what changes between the jumps of a sampled path."""
    moving = {
        "t",
        *(
            name
            for i, name in enumerate(network.variable_names)
            if network.expanded_variable_rate(i) != Number(0.0)
        ),
    }
    for one in network.observables:
        if not network.expanded(one.expression).symbols().isdisjoint(moving):
            moving.add(one.name)
    for place in network.compartments:
        if place.size in moving:
            moving.update(place.as_concentrations)
    return frozenset(moving)
