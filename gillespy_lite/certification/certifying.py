"""Runs a method, chooses the reference, tests one against the other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ensembles import ensemble
from ..errors import MethodError
from ..methods import METHODS, Method
from ..names import did_you_mean
from ..network import Network
from ..progress import Progress
from ..results import Ensemble
from ..run_plan import check_whole
from .certificate import Certificate, Look
from .goodness import found_effect, found_shift
from .references import REFERENCES, Reference, choose_reference, molecules

__all__ = ["certify", "certify_ensemble"]

FloatArray = NDArray[np.float64]

# Of the times on the grid so many are looked at, at most: some early, where laws change fast, and
# the others evenly spread.
_EARLY, _EVEN = 5, 8
_FEWEST = 100  # trajectories
_POWER = 0.9
# Added to the entropy of the samples for those of a reference, which must not be the same.
_OTHER_ENTROPY = 2**64


def certify(
    network: Network,
    method: str | Method,
    t: Any,
    n: int = 10_000,
    *,
    level: float = 1e-3,
    reference: str = "auto",
    names: Sequence[str] | None = None,
    max_states: int = 50_000,
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    **method_options: Any,
) -> Certificate:
    """Return whether a method samples the law that a network has, held against an exact reference.

    The reference is the strongest that the network allows: the closed law where molecules are
    independent of each other; the master equation with its error bound; exact means and variances,
    where the propensities are linear; else samples of another, exact method.

    Parameters
    ----------
    network : Network
        Its rate constants set the unit of time.
    method : str or Method
        What is tested: a name from `METHODS`, ``"auto"``, or an instance with its own options.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing sampling times, as for `ensemble`. Up to 13
        of them are tested.
    n : int, optional
        Number of trajectories, at least 100.
    level : float, optional
        How often a right method may be rejected by chance.
    reference : str, optional
        ``"auto"``, or one of ``"closed law"``, ``"master equation"``, ``"exact moments"``,
        ``"samples"``.
    names : sequence of str, optional
        Species and observables to test; by default all.
    max_states : int, optional
        How many states the master equation may be solved on.
    rng, seed, threads, progress
        As for `ensemble`.
    **method_options
        Options of the method, as for `ensemble`.

    Returns
    -------
    Certificate
        Verdict, p-values, reference and power; ``print(certificate)`` shows them.

    Raises
    ------
    MethodError
        If the reference that is asked for cannot be had, or the method cannot run the network.
    ValueError, TypeError
        If an argument makes no sense.
    """
    _check(n, level, reference)
    if names is None and isinstance(network, Network):
        names = (*network.species_names, *network.observable_names)
    runs = ensemble(
        network,
        t,
        n,
        method=method,
        outputs=names,
        rng=rng,
        seed=seed,
        threads=threads,
        progress=progress,
        **method_options,
    )
    assert isinstance(runs, Ensemble)
    return certify_ensemble(
        runs,
        level=level,
        reference=reference,
        names=names,
        max_states=max_states,
        threads=threads,
    )


def certify_ensemble(
    runs: Ensemble,
    *,
    network: Network | None = None,
    level: float = 1e-3,
    reference: str = "auto",
    names: Sequence[str] | None = None,
    max_states: int = 50_000,
    threads: int | None = None,
) -> Certificate:
    """Return whether an ensemble has the law that its network has; see `Ensemble.certify`."""
    _check(runs.n_trajectories, level, reference)
    if runs.stopped is not None:
        raise ValueError(
            f"the ensemble was stopped ({runs.stopped}), so that short runs may be more frequent "
            "in it than they should be; certify a complete one"
        )
    if runs.provenance.options.get("stop_when"):
        raise ValueError(
            "the ensemble was run with stop_when, and paths are held from then on, which the law "
            "of the network does not know; certify one without"
        )
    network = runs.network if network is None else network
    if names is None:
        names = runs.columns
    for name in names:
        if name not in (*network.species_names, *network.observable_names):
            known = (*network.species_names, *network.observable_names)
            raise KeyError(
                f"the network has no species or observable {name!r}{did_you_mean(name, known)}"
            )
    if not names:
        raise ValueError("there is nothing to test: the ensemble holds no species or observable")
    rows = _rows(runs.times.size)
    # The first time is when the initial state holds.
    times = runs.times[np.concatenate([[0], rows])] if rows[0] != 0 else runs.times[rows]
    chosen, why = choose_reference(
        reference,
        network,
        times,
        names,
        n=runs.n_trajectories,
        method=runs.provenance.method,
        max_states=max_states,
        rng=(runs.provenance.entropy or 0) + _OTHER_ENTROPY,
        threads=threads,
    )
    offset = int(rows[0] != 0)
    looks: list[Look] = []
    for name in names:
        paths = molecules(runs, name)
        for place, row in enumerate(rows):
            samples = np.asarray(paths[:, row], dtype=np.float64)
            looks += [
                Look(name, float(runs.times[row]), one.kind, one.p_value, one.freedom)
                for one in chosen.looks(samples, name, place + offset)
            ]
    worst = min(looks, key=lambda one: one.p_value)
    p = min(1.0, len(looks) * worst.p_value)
    single = level / len(looks)
    freedoms = [one.freedom for one in looks if one.freedom > 0]
    return Certificate(
        verdict="rejected" if p < level else "passed",
        p_value=p,
        level=level,
        method=_description(runs),
        n=runs.n_trajectories,
        reference=chosen.name,
        reference_reason=why,
        bound=chosen.bound,
        looks=tuple(looks),
        found_shift=found_shift(runs.n_trajectories, single, _POWER),
        found_effect=(
            found_effect(runs.n_trajectories, int(np.median(freedoms)), single, _POWER)
            if freedoms
            else math.nan
        ),
        provenance=runs.provenance,
        worst=worst,
        samples=_samples(runs, worst),
        law=_law(chosen, worst.name, int(np.searchsorted(times, worst.time))),
    )


def _check(n: int, level: float, reference: str) -> None:
    n = check_whole(n, "n", 1)
    if n < _FEWEST:
        raise ValueError(
            f"{n} trajectories are too few for a verdict; take at least {_FEWEST}, better 10,000"
        )
    if not (isinstance(level, float | int) and 0.0 < level < 1.0):
        raise ValueError(f"level is how often a right method is rejected, in (0, 1), not {level!r}")
    if reference not in ("auto", *REFERENCES):
        hint = did_you_mean(str(reference), ["auto", *REFERENCES])
        raise MethodError(
            f"unknown reference {reference!r}; choose auto, {', '.join(REFERENCES)}{hint}"
        )


def _rows(n_times: int) -> NDArray[np.int64]:
    """Return which times are looked at: some early ones, and others evenly spread."""
    last = n_times - 1
    if last == 0:
        return np.zeros(1, dtype=np.int64)
    early = np.geomspace(1, last, _EARLY + 1)[:-1]
    return np.unique(np.rint(np.concatenate([early, np.linspace(1, last, _EVEN)])).astype(np.int64))


def _samples(runs: Ensemble, worst: Look) -> Ensemble:
    """Return what one test saw as an ensemble of one name and one time."""
    row = runs.time_index(worst.time)
    columns = [i for i, name in enumerate(runs.species) if name == worst.name]
    observed = [i for i, name in enumerate(runs.observables) if name == worst.name]
    if not columns and not observed:
        return dataclasses.replace(  # computed from the columns
            runs,
            times=runs.times[row : row + 1],
            counts=runs.counts[:, row : row + 1].copy(),
            values=runs.values[:, row : row + 1].copy(),
        )
    return dataclasses.replace(
        runs,
        times=runs.times[row : row + 1],
        counts=runs.counts[:, row : row + 1, columns],
        species=tuple(runs.species[i] for i in columns),
        values=runs.values[:, row : row + 1, observed],
        observables=tuple(runs.observables[i] for i in observed),
    )


def _law(reference: Reference, name: str, row: int) -> FloatArray | None:
    law = reference.law(name, row)
    if law is None:
        return None
    first, probabilities = law
    return np.concatenate([np.zeros(first), probabilities])


def _description(runs: Ensemble) -> str:
    """Return the method with those of its options that are not the usual ones."""
    provenance = runs.provenance
    usual = METHODS[provenance.method]().options()
    own = {
        name: value
        for name, value in provenance.options.items()
        if name in usual and value != usual[name]
    }
    options = ", ".join(f"{name}={value}" for name, value in own.items())
    return f"{provenance.method} ({options})" if options else provenance.method
