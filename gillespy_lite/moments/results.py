"""What the solvers of this package give back: means, covariances and higher moments over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..declarations import Observable, Species
from ..expressions import Expression, Symbol
from ..names import did_you_mean
from ..network import Network
from ..results import Provenance
from ..results.columns import name_text
from ..results.recorded import GRID_TOLERANCE, read_only
from ..results.summaries import Summary, first_and_last, listed
from ..results.tables import labelled_dataset, long_table
from .equations import (
    CentralMeans,
    Exponents,
    central_name,
    exponents_of_order,
)
from .laws import NotPolynomialError, atom_values, polynomial_of
from .polynomials import Polynomial

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes

__all__ = ["LinearNoise", "MeansOverTime", "Moments"]

FloatArray: TypeAlias = NDArray[np.float64]
Name: TypeAlias = str | Species | Observable


class MeansOverTime:
    """Means and covariances of the species over time, and of observables by name."""

    times: FloatArray
    species: tuple[str, ...]
    means: FloatArray
    covariances: FloatArray
    network: Network
    provenance: Provenance

    def mean(self, name: Name | None = None) -> FloatArray:
        """Return means over time.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_times, n_species), or (n_times,) if `name` is given
            In molecules for species.

        Raises
        ------
        KeyError
            If there is no such species or observable.
        ValueError
            If the moments that were solved for do not give it.
        """
        if name is None:
            return self.means
        column = self._column(name)
        return self._observed_mean(name_text(name)) if column < 0 else self.means[:, column]

    def var(self, name: Name | None = None) -> FloatArray:
        """Return variances over time; arguments, shapes and what is raised are as for `mean`.

        In molecules squared for species.
        """
        if name is None:
            variances: FloatArray = read_only(np.diagonal(self.covariances, axis1=1, axis2=2))
            return variances
        column = self._column(name)
        if column < 0:
            return self._observed_variance(name_text(name))
        return self.covariances[:, column, column]

    def std(self, name: Name | None = None) -> FloatArray:
        """Return standard deviations over time, the square root of `var`.

        A variance that is negative by less than the error of the integration counts as 0.
        """
        return np.sqrt(np.maximum(self.var(name), 0.0))

    def cov(self, t: float) -> FloatArray:
        """Return the covariance matrix of the species at one time.

        Parameters
        ----------
        t : float
            One of `times`.

        Returns
        -------
        ndarray, shape (n_species, n_species)
            In molecules squared.
        """
        return np.asarray(self.covariances[self.time_index(t)])

    def time_index(self, t: float) -> int:
        """Return the row of one of `times`; a `ValueError` if `t` is none of them."""
        nearest = int(np.argmin(np.abs(self.times - t)))
        tolerance = GRID_TOLERANCE * float(np.abs(self.times[[0, -1]]).max())
        if not abs(self.times[nearest] - t) <= tolerance:
            raise ValueError(
                f"t = {t:g} is none of the times, of which the nearest is "
                f"{self.times[nearest]:g}; add it to t= and solve again"
            )
        return nearest

    def summary(self, t: float | None = None) -> str:
        """Return a plain-text table of means and standard deviations.

        Parameters
        ----------
        t : float, optional
            One of `times`; by default the last.
        """
        return self._summary(t).text()

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas table; without pandas, `MissingExtraError`.

        Returns
        -------
        pandas.DataFrame
            One row per time and species, with the columns ``time``, ``species``, ``mean`` and
            ``std``.
        """
        return long_table({"time": self.times}, self.species, self._tables())

    def to_xarray(self) -> xarray.Dataset:
        """Return an xarray dataset; without xarray, `MissingExtraError`.

        Returns
        -------
        xarray.Dataset, dims (time, species)
            The variables ``mean`` and ``std``, and ``covariance`` with the dimension
            ``other_species`` more; the attributes hold the provenance.
        """
        axes = {"time": self.times}
        dataset = labelled_dataset(axes, self.species, self._tables(), self.provenance)
        covariance = (("time", "species", "other_species"), self.covariances)
        return dataset.assign(covariance=covariance).assign_coords(other_species=list(self.species))

    def plot(self, names: str | Sequence[str] | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw means with bands of one standard deviation; return the Axes. Nothing is shown.

        Parameters
        ----------
        names : str or sequence of str, optional
            Species and observables; by default the species.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        """
        from .. import plotting

        return plotting.plot_moments(self, names, ax=ax)

    def __repr__(self) -> str:
        """Return one line: of what, when, and how."""
        return (
            f"<{type(self).__name__} of {listed(self.species)}: {self.times.size} times from "
            f"{first_and_last(self.times)}, {self.provenance.method_reason}>"
        )

    def _repr_html_(self) -> str:
        return self._summary(None).html()

    def _summary(self, t: float | None) -> Summary:
        row = self.times.size - 1 if t is None else self.time_index(t)
        lines = (
            f"{type(self).__name__}, t = {first_and_last(self.times)} at {self.times.size} times",
            self.provenance.method_reason,
        )
        rows = [
            (name, float(mean), float(std))
            for name, mean, std in zip(self.species, self.mean()[row], self.std()[row], strict=True)
        ]
        return Summary(lines, (f"at t = {self.times[row]:g}", "mean", "std"), rows)

    def _tables(self) -> dict[str, FloatArray]:
        return {"mean": self.mean(), "std": self.std()}

    def _column(self, name: Name) -> int:
        """Return the column of a species, -1 of an observable."""
        text = name_text(name)
        if text in self.species:
            return self.species.index(text)
        if text in self.network.observable_names:
            return -1
        known = (*self.species, *self.network.observable_names)
        raise KeyError(
            f"there is no species or observable {text!r}{did_you_mean(text, known)} (there are: "
            f"{listed(known)})"
        )

    def _observed_mean(self, name: str) -> FloatArray:
        """Return the mean of an observable over time."""
        raise NotImplementedError

    def _observed_variance(self, name: str) -> FloatArray:
        """Return the variance of an observable over time."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Moments(MeansOverTime):
    """Moments of a network's counts over time, from `solve_moments`.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        In the time unit of the rate constants.
    species : tuple of str
        All species of the network.
    means : ndarray, shape (n_times, n_species), float64
        In molecules.
    covariances : ndarray, shape (n_times, n_species, n_species), float64
        In molecules squared.
    order : int
        Moments up to this order were solved for.
    is_exact : bool
        Whether the equations are closed by themselves, so that no closure was needed.
    closure : str
        What stood for moments of higher order; empty if none did.
    higher : dict of str to ndarray of shape (n_times,)
        Central moments of orders 3 to `order`, by name: ``M[P^2 Q]``.
    network, provenance : Network, Provenance
        What was solved, and how.
    """

    times: FloatArray
    species: tuple[str, ...]
    means: FloatArray
    covariances: FloatArray
    order: int
    is_exact: bool
    closure: str
    higher: Mapping[str, FloatArray]
    network: Network
    provenance: Provenance

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        _freeze(self)
        higher = {name: read_only(values) for name, values in self.higher.items()}
        object.__setattr__(self, "higher", higher)

    def central_moment(self, **powers: int) -> FloatArray:
        """Return the mean over time of a product of powers of deviations from the means.

        Parameters
        ----------
        **powers : int
            By species: ``central_moment(P=2, Q=1)`` is E[(P - E[P])^2 (Q - E[Q])].

        Returns
        -------
        ndarray, shape (n_times,)
            In molecules to the sum of the powers.

        Raises
        ------
        KeyError
            If there is no such species.
        ValueError
            If the sum of the powers is above `order`, or a power no whole number above 0.
        """
        exponents = self._exponents(powers)
        if sum(exponents) == 1:
            return np.zeros(self.times.size)
        return self._value(central_name(self.species, exponents))

    def moment(self, **powers: int) -> FloatArray:
        """Return the mean over time of a product of powers of counts.

        Parameters
        ----------
        **powers : int
            By species: ``moment(P=2, Q=1)`` is E[P^2 Q].

        Returns
        -------
        ndarray, shape (n_times,)
            In molecules to the sum of the powers. What is raised is as for `central_moment`.
        """
        exponents = self._exponents(powers)
        product = Polynomial.number(1)
        for name, power in zip(self.species, exponents, strict=True):
            product = product * Polynomial.symbol(name, power)
        central = CentralMeans(self.species)
        return self._evaluated(central.mean(central.about_means(product)), {})

    def skewness(self, name: Name) -> FloatArray:
        """Return the skewness of a species over time, shape (n_times,); nan where it is certain.

        A `ValueError` if `order` is below 3.
        """
        third = self.central_moment(**{name_text(name): 3})
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.var(name) > 0.0, third / self.std(name) ** 3, np.nan)

    def _exponents(self, powers: Mapping[str, int]) -> Exponents:
        exponents = [0] * len(self.species)
        for name, power in powers.items():
            column = self._column(name)
            if column < 0:
                raise ValueError(f"{name!r} is an observable; moments are of species")
            if isinstance(power, bool) or not isinstance(power, int) or power < 1:
                raise ValueError(f"the power of {name!r} must be a whole number above 0")
            exponents[column] = power
        total = sum(exponents)
        if not 1 <= total <= self.order:
            raise ValueError(
                f"moments of orders 1 to {self.order} were solved for, not of {total}; solve "
                "again with order="
            )
        return tuple(exponents)

    def _value(self, name: str) -> FloatArray:
        if name in self.higher:
            return self.higher[name]
        for k in (1, 2):
            for one in exponents_of_order(len(self.species), k):
                if central_name(self.species, one) == name:
                    i = next(i for i, power in enumerate(one) if power)
                    j = max(j for j, power in enumerate(one) if power)
                    return self.means[:, i] if k == 1 else self.covariances[:, i, j]
        raise KeyError(name)

    def _evaluated(self, polynomial: Polynomial, atoms: Mapping[str, Any]) -> FloatArray:
        values = {name: atoms[name] if name in atoms else self._value(name)
                  for name in polynomial.names()}  # fmt: skip
        return np.broadcast_to(polynomial.evaluate(values), self.times.shape)

    def _observed_mean(self, name: str) -> FloatArray:
        central, around, values = self._around(name, 1)
        return self._evaluated(central.mean(around), values)

    def _observed_variance(self, name: str) -> FloatArray:
        central, around, values = self._around(name, 2)
        deviation = around - central.mean(around)
        return self._evaluated(central.mean(deviation * deviation), values)

    def _around(self, name: str, power: int) -> tuple[CentralMeans, Polynomial, dict[str, Any]]:
        """Return an observable about the means, and the values of what else is in it."""
        atoms: dict[str, Expression] = {}
        try:
            law = polynomial_of(self.network, Symbol(name), atoms)
        except NotPolynomialError as problem:
            raise ValueError(
                f"moments of the observable {name!r} do not follow from those of the species: "
                f"{problem.part} {problem.why}; sample it with ensemble, or use linear_noise"
            ) from None
        order = power * law.degree(self.species)
        if order > self.order:
            raise ValueError(
                f"the {('mean', 'variance')[power - 1]} of the observable {name!r} takes moments "
                f"of order {order}, and those up to {self.order} were solved for; solve again "
                f"with order={order}"
            )
        used = {text: atom for text, atom in atoms.items() if text in law.names()}
        values: dict[str, Any] = dict(atom_values(self.network, used, None))
        moving = {text: atom for text, atom in used.items() if text not in values}
        if moving:
            rows = [atom_values(self.network, moving, float(at)) for at in self.times]
            values |= {text: np.array([row[text] for row in rows]) for text in moving}
        central = CentralMeans(self.species)
        return central, central.about_means(law), values


@dataclass(frozen=True, eq=False, repr=False)
class LinearNoise(MeansOverTime):
    """The linear noise approximation over time, from `linear_noise`.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        In the time unit of the rate constants.
    species : tuple of str
        All species of the network.
    means : ndarray, shape (n_times, n_species), float64
        The macroscopic path, in molecules.
    covariances : ndarray, shape (n_times, n_species, n_species), float64
        Of the fluctuations about it, in molecules squared.
    macroscopic : str
        Which law the path follows, ``"rate equations"`` or ``"propensities"``.
    network, provenance : Network, Provenance
        What was solved, and how.
    """

    times: FloatArray
    species: tuple[str, ...]
    means: FloatArray
    covariances: FloatArray
    macroscopic: str
    network: Network
    provenance: Provenance

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        _freeze(self)

    def _observed_mean(self, name: str) -> FloatArray:
        return observable_slopes(self.network, name, self.times, self.means)[0]

    def _observed_variance(self, name: str) -> FloatArray:
        _, slopes = observable_slopes(self.network, name, self.times, self.means)
        return np.asarray(np.einsum("ti,tij,tj->t", slopes, self.covariances, slopes))


def observable_slopes(
    network: Network, name: str, times: FloatArray, counts: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return an observable at each state and its slopes there.

    Parameters
    ----------
    network : Network
        That declares it.
    name : str
        Of an observable or a species.
    times : ndarray, shape (n_times,)
        For observables of t.
    counts : ndarray, shape (n_times, n_species)
        The states.

    Returns
    -------
    values : ndarray, shape (n_times,)
    slopes : ndarray, shape (n_times, n_species)
        By species.
    """
    expression = network.expanded(Symbol(name))
    values: dict[str, Any] = dict(
        zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
    )
    values |= {one: counts[:, i] for i, one in enumerate(network.species_names)}
    values["t"] = times
    found = np.broadcast_to(expression.evaluate(values), times.shape)
    slopes = [
        np.broadcast_to(expression.derivative(one).evaluate(values), times.shape)
        for one in network.species_names
    ]
    return found, np.stack(slopes, axis=-1)


def _freeze(result: Any) -> None:
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            object.__setattr__(result, name, read_only(value))
