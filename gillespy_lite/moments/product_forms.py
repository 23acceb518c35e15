"""Stationary laws that are products of Poisson laws, restricted to what can be reached.

A mass-action network whose rate equations have a complex-balanced equilibrium c, at which as much
flows into each complex as out of it, has on every closed irreducible set of states the stationary
law P(x) = M prod c_i^x_i / x_i! (Anderson, Craciun, Kurtz 2010). A weakly reversible network of
deficiency zero has such an equilibrium for all rate constants (Feinberg 1972, Horn 1972); one of
higher deficiency for some, and whether it has is computed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..compilation import label
from ..complexes import NetworkStructure, structure_of
from ..conservation import conservation_laws
from ..errors import NetworkError
from ..names import did_you_mean
from ..network import Network
from ..randomness import generator, take_entropy
from ..results import Provenance
from ..results.columns import name_text
from ..results.recorded import read_only
from ..results.summaries import listed
from .laws import atom_values, checked_network, constant_counts, polynomial_laws
from .polynomials import Polynomial
from .results import Name
from .solving import made_by

__all__ = ["ProductForm", "product_form"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
State: TypeAlias = tuple[int, ...]

MAX_STATES = 200_000
# How far the equilibrium may be from balance, in logarithms of rate constants.
_BALANCED = 1e-8
# Probability that may be left out where a law without an upper limit is tabulated.
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True, eq=False, repr=False)
class ProductForm:
    """A stationary law that is a product of Poisson laws, restricted to what can be reached.

    Attributes
    ----------
    species : tuple of str
        All species of the network.
    equilibrium : ndarray, shape (n_species,), float64
        A complex-balanced equilibrium of the rate equations, in molecules: the means of the
        Poisson laws before they are restricted. Where conservation laws hold it is one of many that
        give the same law. A species that never changes has its count here.
    bounded, unbounded : tuple of str
        Species whose counts conservation laws limit, which depend on each other, and species
        without a limit, which are independent Poisson variables.
    states : ndarray, shape (n_states, n_bounded), int64
        Counts of `bounded` that can be reached.
    probabilities : ndarray, shape (n_states,), float64
        Of those; they sum to 1.
    structure : NetworkStructure
        Of the network without species that never change and reactions of rate 0.
    network, provenance : Network, Provenance
        Whose law, and how it was found.
    """

    species: tuple[str, ...]
    equilibrium: FloatArray
    bounded: tuple[str, ...]
    unbounded: tuple[str, ...]
    states: IntArray
    probabilities: FloatArray
    structure: NetworkStructure
    network: Network
    provenance: Provenance

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, read_only(value))

    def probability(self, counts: Mapping[str, int] | ArrayLike) -> Any:
        """Return probabilities of states.

        Parameters
        ----------
        counts : mapping of str to int, or array_like of int, shape (..., n_species)
            Molecules of every species; one state by name, or many in the order of `species`.

        Returns
        -------
        float, or ndarray of shape (...)
            0 for states that cannot be reached.
        """
        return np.exp(self.log_probability(counts))

    def log_probability(self, counts: Mapping[str, int] | ArrayLike) -> Any:
        """Return logarithms of probabilities; arguments and shapes are those of `probability`."""
        from scipy.special import gammaln

        if isinstance(counts, Mapping):
            named = {name_text(name): count for name, count in counts.items()}
            for name in named.keys() - set(self.species):
                raise KeyError(f"there is no species {name!r}{did_you_mean(name, self.species)}")
            missing = [name for name in self.species if name not in named]
            if missing:
                raise ValueError(
                    f"a state needs a count of every species; missing: {listed(missing)}"
                )
            table = np.array([named[name] for name in self.species])
        else:
            table = np.asarray(counts)
        if table.dtype.kind not in "iu" or table.shape[-1:] != (len(self.species),):
            raise ValueError(
                f"counts must be whole numbers with {len(self.species)} in the last axis, one for "
                f"each of {listed(self.species)}"
            )
        rows = table.reshape(-1, len(self.species)).astype(np.int64)
        place = {state: k for k, state in enumerate(map(tuple, self.states.tolist()))}
        inside = rows[:, self._columns(self.bounded)]
        which = np.array([place.get(tuple(row), -1) for row in inside.tolist()], dtype=np.int64)
        with np.errstate(divide="ignore"):
            logs = np.where(which >= 0, np.log(self.probabilities)[which], -np.inf)
        for name in self.unbounded:
            i = self.species.index(name)
            x, mean = rows[:, i], self.equilibrium[i]
            safe = np.maximum(x, 0)
            poisson = safe * math.log(mean) - mean - gammaln(safe + 1.0)
            logs = logs + np.where(x >= 0, poisson, -np.inf)
        for name, count in constant_counts(self.network).items():
            logs = np.where(rows[:, self.species.index(name)] == count, logs, -np.inf)
        found = logs.reshape(table.shape[:-1])
        return float(found) if found.ndim == 0 else found

    def mean(self, name: Name | None = None) -> Any:
        """Return stationary means, in molecules.

        Parameters
        ----------
        name : str or Species, optional
            Only this one, as a float.

        Returns
        -------
        ndarray, shape (n_species,), or float
        """
        means = self.equilibrium.copy()
        means[self._columns(self.bounded)] = self.probabilities @ self.states
        return means if name is None else float(means[self._column(name)])

    def cov(self) -> FloatArray:
        """Return the stationary covariance matrix, (n_species, n_species), in molecules squared."""
        n = len(self.species)
        matrix = np.zeros((n, n))
        places = self._columns(self.bounded)
        centred = self.states - self.probabilities @ self.states
        matrix[np.ix_(places, places)] = (centred * self.probabilities[:, None]).T @ centred
        for name in self.unbounded:
            i = self.species.index(name)
            matrix[i, i] = self.equilibrium[i]
        return matrix

    def var(self, name: Name | None = None) -> Any:
        """Return stationary variances, in molecules squared; arguments are those of `mean`."""
        variances = np.diagonal(self.cov()).copy()
        return variances if name is None else float(variances[self._column(name)])

    def std(self, name: Name | None = None) -> Any:
        """Return stationary standard deviations, the square root of `var`."""
        return np.sqrt(self.var(name)) if name is None else math.sqrt(self.var(name))

    def marginal(self, name: Name) -> FloatArray:
        """Return the stationary law of one species.

        Parameters
        ----------
        name : str or Species
            Which.

        Returns
        -------
        ndarray, shape (n_counts,), float64
            Entry k is the probability of k molecules; without an upper limit, larger counts have
            less than 1e-15 together.
        """
        from scipy.stats import poisson

        column = self._column(name)
        text = self.species[column]
        if text in self.bounded:
            counts = self.states[:, self.bounded.index(text)]
            return np.bincount(counts, weights=self.probabilities).astype(np.float64)
        mean = float(self.equilibrium[column])
        if text in self.unbounded:
            law = poisson(mean)
            return np.asarray(law.pmf(np.arange(int(law.isf(_NEGLIGIBLE)) + 2)))
        return np.bincount([round(mean)]).astype(np.float64)

    def sample(self, n_samples: int, *, rng: Any = None) -> IntArray:
        """Draw independent states.

        Parameters
        ----------
        n_samples : int
            How many.
        rng : None, int, SeedSequence or Generator, optional
            As for `ensemble`.

        Returns
        -------
        ndarray, shape (n_samples, n_species), int64
            Molecules.
        """
        draws = generator(take_entropy(rng))
        found = np.zeros((n_samples, len(self.species)), dtype=np.int64)
        chosen = draws.choice(len(self.states), size=n_samples, p=self.probabilities)
        found[:, self._columns(self.bounded)] = self.states[chosen]
        for name in self.unbounded:
            i = self.species.index(name)
            found[:, i] = draws.poisson(self.equilibrium[i], size=n_samples)
        for name, count in constant_counts(self.network).items():
            found[:, self.species.index(name)] = count
        return found

    def __repr__(self) -> str:
        """Return what it is a law of, and how large it is."""
        parts = []
        if self.bounded:
            parts.append(f"{len(self.states)} states of {listed(self.bounded)}")
        if self.unbounded:
            parts.append(f"Poisson laws of {listed(self.unbounded)}")
        return f"<ProductForm: {' and '.join(parts) or 'one state'}>"

    def _columns(self, names: Sequence[str]) -> list[int]:
        return [self.species.index(name) for name in names]

    def _column(self, name: Name) -> int:
        text = name_text(name)
        if text not in self.species:
            raise KeyError(
                f"there is no species {text!r}{did_you_mean(text, self.species)} (there are: "
                f"{listed(self.species)})"
            )
        return self.species.index(text)


def product_form(network: Network) -> ProductForm:
    """Return the stationary law of a network where it is a product of Poisson laws.

    Parameters
    ----------
    network : Network
        All its propensities mass action, with rate constants that depend on neither t nor counts;
        a law after ``=>`` counts if it is the same polynomial. Weakly reversible, and either of
        deficiency zero or with rate constants that balance all complexes. Species that never
        change are put into the rate constants, reactions of rate 0 are left out.

    Returns
    -------
    ProductForm
        On the states that can be reached from the initial state.

    Raises
    ------
    NetworkError
        If the law is not of this form, or it cannot be shown what can be reached; the message says
        which condition fails, and for which reaction.

    References
    ----------
    Anderson, Craciun, Kurtz (2010), Bull. Math. Biol. 72, 1947, doi:10.1007/s11538-010-9517-4
    (theorem 4.1); Horn and Jackson (1972), Arch. Ration. Mech. Anal. 47, 81,
    doi:10.1007/BF00251225; Feinberg (1972), Arch. Ration. Mech. Anal. 49, 187,
    doi:10.1007/BF00255665.
    """
    started = time.perf_counter()
    what = "product_form"
    checked_network(network, what)
    kinetics = _Kinetics(network, what)
    structure = kinetics.structure
    if not structure.is_weakly_reversible:
        raise NetworkError(
            "the stationary law is no product of Poisson laws that could be read off: the network "
            f"is not weakly reversible, as {structure.why_not_weakly_reversible()}. "
            "Solve the master equation, or sample with ensemble over a long time"
        )
    equilibrium = kinetics.equilibrium()
    bounded, unbounded, states = kinetics.reachable()
    from scipy.special import gammaln, logsumexp

    place = {name: i for i, name in enumerate(kinetics.species)}
    chosen = [place[name] for name in bounded]
    logs = states @ np.log(equilibrium[chosen]) - gammaln(states + 1.0).sum(axis=1)
    full = np.zeros(network.n_species)
    index = {name: i for i, name in enumerate(network.species_names)}
    for name, i in place.items():
        full[index[name]] = equilibrium[i]
    for name, count in constant_counts(network).items():
        full[index[name]] = count
    how = (
        f"product form (weakly reversible, deficiency {structure.deficiency}"
        f"{', complex balanced' if structure.deficiency else ''})"
    )
    return ProductForm(
        species=network.species_names,
        equilibrium=full,
        bounded=bounded,
        unbounded=unbounded,
        states=states,
        probabilities=np.exp(logs - logsumexp(logs)),
        structure=structure,
        network=network,
        provenance=made_by(network, "product_form", how, {}, started),
    )


class _Kinetics:
    """Mass-action rate constants of a network without constant species and idle reactions."""

    def __init__(self, network: Network, what: str) -> None:
        laws = polynomial_laws(network, what)
        fixed = constant_counts(network)
        held = {name: Polynomial.number(count) for name, count in fixed.items()}
        self.species = tuple(name for name in network.species_names if name not in fixed)
        self._initial = dict(
            zip(network.species_names, network.initial_state.tolist(), strict=True)
        )
        rates: list[float] = []
        kept: list[int] = []
        for j, reaction in enumerate(network.reactions):
            falling = Polynomial.number(1)
            for name, count in reaction.reactants:
                assert isinstance(count, int)
                if name not in fixed:
                    for taken in range(count):
                        falling = falling * (Polynomial.symbol(name) - Polynomial.number(taken))
            law = laws.propensities[j].substitute(held)
            rate = _constant_ratio(law, falling, self.species)
            if rate is None:
                raise NetworkError(
                    f"{what} is about mass action, and the propensity of reaction "
                    f"{label(network, j)} is no constant times the ways to choose its reactants"
                )
            used = {name: laws.atoms[name] for name in rate.names()}
            for name, atom in used.items():
                if "t" in atom.symbols():
                    raise NetworkError(
                        f"a network whose rates depend on t has no stationary law, and that of "
                        f"reaction {label(network, j)} does ({name})"
                    )
            value = rate.evaluate(atom_values(network, used, None))
            if value > 0.0 and network.stoichiometry_matrix[:, j].any():
                rates.append(value)
                kept.append(j)
        self._rates = rates
        active = Network(
            species=network.species,
            parameters=network.parameters,
            reactions=[network.reactions[j] for j in kept],
            observables=network.observables,
        )
        self.structure = structure_of(active, fixed)
        index = {name: i for i, name in enumerate(network.species_names)}
        laws_of_counts = conservation_laws(active)
        # What a law without negative weights holds is limited.
        limited = {
            name
            for weights in laws_of_counts
            if (weights >= 0).all()
            for name in self.species
            if weights[index[name]] > 0
        }
        self._limited = tuple(name for name in self.species if name in limited)

    def equilibrium(self) -> FloatArray:
        """Return a complex-balanced equilibrium, (n_species,); refuse if there is none."""
        structure, n = self.structure, len(self.species)
        place = {name: i for i, name in enumerate(self.species)}
        size = len(structure.complexes)
        # Flows between complexes; within each linkage class their kernel is positive and one-
        # dimensional, and it must be c^y times a constant of the class for all its complexes y.
        flow = np.zeros((size, size))
        for (start, end), rate in zip(structure.reactions, self._rates, strict=True):
            flow[end, start] += rate
            flow[start, start] -= rate
        unknowns = n + len(structure.linkage_classes)
        matrix, right = np.zeros((size, unknowns)), np.zeros(size)
        for k, members in enumerate(structure.linkage_classes):
            inside = list(members)
            right[inside] = np.log(_kernel(flow[np.ix_(inside, inside)]))
            matrix[inside, n + k] = 1.0
        for row, one in enumerate(structure.complexes):
            for name, count in one:
                matrix[row, place[name]] = count
        solution = np.linalg.lstsq(matrix, right, rcond=None)[0]
        off = float(np.abs(matrix @ solution - right).max(initial=0.0))
        if off > _BALANCED * (1.0 + float(np.abs(right).max(initial=0.0))):
            raise NetworkError(
                "the stationary law is no product of Poisson laws: the network is weakly "
                f"reversible of deficiency {structure.deficiency}, and its rate constants balance "
                f"no equilibrium complex by complex (off by a factor of {math.exp(off):.3g}). "
                "Solve the master equation, or sample with ensemble over a long time"
            )
        return np.asarray(np.exp(solution[:n]))

    def reachable(self) -> tuple[tuple[str, ...], tuple[str, ...], IntArray]:
        """Return limited and other species, and the states of the limited ones that are reached.

        Mass action is monotone: what can happen can happen with more molecules, too; and in a
        weakly reversible network whatever happens can be undone. So if from each state of the
        limited species, with none of the others, one more of each other can be made, every number
        of them can be reached and the law is the product of both. It is looked for among states
        with few of the others.
        """
        limited = self._limited
        free = tuple(name for name in self.species if name not in limited)
        names = (*limited, *free)
        n = len(limited)
        place = {name: i for i, name in enumerate(names)}
        moves = []
        for start, end in self.structure.reactions:
            need, change = [0] * len(names), [0] * len(names)
            for name, count in self.structure.complexes[start]:
                need[place[name]] += count
                change[place[name]] -= count
            for name, count in self.structure.complexes[end]:
                change[place[name]] += count
            moves.append((need, change))
        biggest = max(
            (sum(count for name, count in one if name in free) for one in self.structure.complexes),
            default=0,
        )
        first = tuple(self._initial[name] if name in limited else 0 for name in names)
        most = 2 * biggest + 1 if free else 0
        found = _explored(first, moves, n, most)
        states = sorted({state[:n] for state in found})
        lacking = ""
        for state in states:
            rest = (0,) * len(free)
            if (*state, *rest) not in found:
                lacking = "each state of the limited species without the others"
                break
            for k, name in enumerate(free):
                one_more = tuple(int(i == k) for i in range(len(free)))
                if (*state, *one_more) not in found:
                    lacking = f"one {name} alone"
                    break
            if lacking:
                break
        start_free = tuple(self._initial[name] for name in free)
        if lacking:
            raise NetworkError(
                "the law is a product of Poisson laws on the states that can be reached from the "
                f"initial state, but these are neither finitely many nor all: {lacking} could not "
                f"be reached (of {listed(free)} nothing limits the counts, which start at "
                f"{listed(list(map(str, start_free)))})"
            )
        return limited, free, np.array(states, dtype=np.int64).reshape(len(states), n)


def _constant_ratio(
    law: Polynomial, falling: Polynomial, species: Sequence[str]
) -> Polynomial | None:
    """Return law / falling if it is free of species, else None."""
    parts, whole = law.split(species), falling.split(species)
    if not law:
        return Polynomial()
    top = max(whole, key=lambda key: sum(power for _, power in key))
    if top not in parts:
        return None
    ratio = parts[top]  # the falling factorial has a leading coefficient of 1
    return ratio if not (law - ratio * falling) else None


def _kernel(flow: FloatArray) -> FloatArray:
    """Return the positive kernel of the flows in one strongly connected linkage class.

    By elimination without subtractions (Grassmann, Taksar, Heyman 1985,
    doi:10.1287/opre.33.5.1107), so that entries of very different sizes keep their digits.
    """
    rates = flow.T.copy()  # rates[i, j] from i to j
    np.fill_diagonal(rates, 0.0)
    n = len(rates)
    for k in range(n - 1, 0, -1):
        rates[:k, k] /= rates[k, :k].sum()
        rates[:k, :k] += np.outer(rates[:k, k], rates[k, :k])
    kernel = np.ones(n)
    for k in range(1, n):
        kernel[k] = kernel[:k] @ rates[:k, k]
    return kernel


def _explored(
    first: State, moves: Sequence[tuple[list[int], list[int]]], n_limited: int, most: int
) -> set[State]:
    """Return the states reached from one, with at most `most` molecules of unlimited species."""
    found = {first}
    waiting = [first]
    while waiting:
        state = waiting.pop()
        for need, change in moves:
            if any(have < want for have, want in zip(state, need, strict=True)):
                continue
            after = tuple(have + step for have, step in zip(state, change, strict=True))
            if after in found or sum(after[n_limited:]) > most:
                continue
            found.add(after)
            waiting.append(after)
            if len(found) > MAX_STATES:
                raise NetworkError(
                    f"more than {MAX_STATES:,} states can be reached, too many to list; sample "
                    "with ensemble, or start with fewer molecules"
                )
    return found
