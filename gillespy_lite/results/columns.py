"""Finding what a name stands for in a result: a column, or an observable computed from columns."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..declarations import Observable, Species, Variable
from ..expressions import Expression
from ..names import did_you_mean, normal_name, shown
from ..network import Network
from .recorded import FloatArray, Recorded, read_only
from .summaries import listed

__all__ = ["Name", "RecordedPaths", "name_text", "unknown_name_message"]

Name: TypeAlias = str | Species | Variable | Observable


def name_text(name: Name) -> str:
    """Return the name as text in its one spelling; refuse what is no name."""
    if isinstance(name, Species | Variable | Observable):
        return name.name
    if isinstance(name, str):
        return normal_name(name)
    raise TypeError(
        f'names are text, like "P", or Species and Observable objects, not {name!r}; '
        "trajectory i of an ensemble is ens.trajectory(i)"
    )


def unknown_name_message(network: Network, name: str) -> str:
    """Return what to say about a name that no column can have."""
    known = [*network.state_names, *network.observable_names]
    kinds, one_kind = "species and observables", "species or observable"
    if network.variable_names:
        kinds, one_kind = "species, variables and observables", "species, variable or observable"
    if name in network.parameter_names:
        return f"{name!r} is a parameter; results hold {kinds}: {listed(known)}"
    return (
        f"there is no {one_kind} {shown(name)}{did_you_mean(name, known)} "
        f"(there are: {listed(known)})"
    )


class RecordedPaths(Recorded):
    """A result that keeps paths, whose columns are found by name.

    The last axis of `counts` holds the species and variables, that of `values` the observables.
    """

    counts: NDArray[Any]
    values: FloatArray

    def __contains__(self, name: object) -> bool:
        """Whether ``self[name]`` has an answer."""
        if not isinstance(name, str | Species | Variable | Observable):
            return False
        try:
            self._find(name)
        except KeyError:
            return False
        return True

    def __getitem__(self, name: Name) -> NDArray[Any]:
        """Return the path, or all paths, of a species, a variable or an observable.

        Parameters
        ----------
        name : str, Species, Variable or Observable
            A recorded name, or an observable of the network whose species were recorded.

        Returns
        -------
        ndarray, shape (n_times,), or (n_trajectories, n_times) of an ensemble
            Molecules for a species; the own unit of a variable or an observable.

        Raises
        ------
        KeyError
            If there is no such name, or a species that it needs was not recorded.
        """
        found = self._find(name)
        if not isinstance(found, Expression):
            array, column = found
            return array[..., column]
        network, symbols = self.network, found.symbols()
        known: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        for column, species in enumerate(self.species):
            if species in symbols:
                known[species] = self.counts[..., column].astype(np.float64)
        known["t"] = self.times
        values = np.asarray(found.evaluate(known), dtype=np.float64)
        return read_only(np.broadcast_to(values, self.counts.shape[:-1]))

    def _find(self, name: Name) -> tuple[NDArray[Any], int] | Expression:
        """Return the array and column that hold `name`, or what to compute from other columns.

        A `KeyError` says what to add to ``outputs=``.
        """
        text, network = name_text(name), self.network
        if text in self.species:
            return self.counts, self.species.index(text)
        if text in self.observables:
            return self.values, self.observables.index(text)
        if text in network.state_names:
            kind = "species" if text in network.species_names else "variable"
            raise KeyError(
                f"{kind} {text!r} was not recorded; add it to outputs= and run again "
                f"(recorded: {listed(self.columns)})"
            )
        if text not in network.observable_names:
            raise KeyError(unknown_name_message(network, text))
        observable = network.observables[network.observable_names.index(text)]
        expression = network.expanded(observable.expression)
        symbols = expression.symbols()
        missing = ", ".join(
            repr(species)
            for species in network.state_names
            if species in symbols and species not in self.species
        )
        if missing:
            raise KeyError(
                f"observable {text!r} needs {missing}, which was not recorded; "
                f"add {text!r} or {missing} to outputs= and run again"
            )
        return expression

    def _table(self) -> NDArray[Any]:
        """Return all columns side by side; int64 if there are no observables."""
        if not self.observables:
            return self.counts
        return read_only(np.concatenate((self.counts, self.values), axis=-1))
