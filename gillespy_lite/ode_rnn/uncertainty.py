"""How well the data determine the estimates: Fisher information, its flat directions, intervals.

With the means m_i(u) and widths s_i of the noise, the Fisher information is A^T A, where row i of A
is (1/s_i) dm_i/du. Noise whose width depends on the mean adds rows, and what is spent on its
unknown scale is projected out.

An estimated scale is too small by the freedom that the parameters took from the residuals. For
the uncertainty (not for the likelihood) the variance of each unknown scale g is therefore
multiplied by n_g/(n_g - h_g), where h_g is the sum of the leverages of its values, and intervals
use Student's distribution with Satterthwaite's degrees of freedom. In a linear model with one scale
that is the exact n/(n - p) and n - p. References: Satterthwaite (1946), Biometrics Bull. 2, 110,
doi:10.2307/3002019; Seber and Wild (1989), Nonlinear Regression, section 5.1,
doi:10.1002/0471725315.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .objective import Objective

__all__ = ["FlatDirection", "Uncertainty", "uncertainty_at"]

FloatArray = NDArray[np.float64]

# A singular value of A, its columns at length 1, below this share of the largest is rounding: the
# direction is flat.
_FLAT = 1e-9
# A combination whose standard deviation is a factor of ten is not determined in practice.
_VAGUE = math.log(10.0)
_SMALL_LOADING = 0.15  # share of the largest loading below which a name is not mentioned


@dataclass(frozen=True)
class FlatDirection:
    """A combination of estimates that the data do not determine.

    Attributes
    ----------
    loadings : dict of str to float
        How much each coordinate changes along it: logarithms, or values in units of their size.
        The largest has size 1.
    standard_deviation : float
        In the same unit, along the unit vector; inf if the data say nothing at all.
    is_structural : bool
        Whether the model itself hides it, whatever the precision of the data.
    """

    loadings: dict[str, float]
    standard_deviation: float
    is_structural: bool

    @property
    def combination(self) -> str:
        """The combination, such as ``k1/k2``."""
        above = [_power(name, value) for name, value in self.loadings.items() if value > 0.0]
        below = [_power(name, -value) for name, value in self.loadings.items() if value < 0.0]
        if not above:
            above, below = below, []
        text = "*".join(above)
        if not below:
            return text
        return f"{text}/{below[0]}" if len(below) == 1 else f"{text}/({'*'.join(below)})"

    def __str__(self) -> str:
        """Say what is not determined, and what changes together."""
        moves = [
            f"{name} {'up' if value > 0.0 else 'down'}" for name, value in self.loadings.items()
        ]
        changes = (
            f": {', '.join(moves)} together leave the fit as it is"
            if len(moves) > 1
            else ": no value of it changes the fit"
        )
        if not self.is_structural:
            together = f"{', '.join(moves)} together" if len(moves) > 1 else "changing it"
            factor = math.exp(min(self.standard_deviation, 690.0))
            width = f"a factor of {factor:.3g}" if factor < 1e6 else "a factor of over a million"
            changes = f": {together} hardly matters (one standard deviation is {width})"
        return f"{self.combination} is not determined by the data{changes}"


def _power(name: str, exponent: float) -> str:
    rounded = round(exponent, 2)
    return name if rounded == 1.0 else f"{name}^{rounded:g}"


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What the Fisher information at the estimates says, in the free coordinates.

    Attributes
    ----------
    covariance : ndarray, shape (n_free, n_free), float64
        inf on the diagonal of what is not determined; nan for coordinates at a bound.
    degrees_of_freedom : ndarray, shape (n_free,), float64
        Of Student's distribution; inf where the noise is known.
    eigenvalues : ndarray, shape (n_inner,), float64
        Of the information in coordinates of about unit size, from large to small.
    eigenvectors : ndarray, shape (n_inner, n_free), float64
        One row for each of them.
    flat : tuple of FlatDirection
        Directions that are not determined.
    at_bound : ndarray of bool, shape (n_free,)
        Coordinates that ended at a bound; they count as fixed.
    scale_correction : ndarray, shape (n_groups,), float64
        Factor from the most likely scale of noise to the unbiased one.
    """

    covariance: FloatArray
    degrees_of_freedom: FloatArray
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    flat: tuple[FlatDirection, ...]
    at_bound: NDArray[np.bool_]
    scale_correction: FloatArray

    def quantile(self, level: float) -> FloatArray:
        """Return how many standard errors the interval of each coordinate reaches, (n_free,)."""
        from scipy.stats import norm, t

        share = 0.5 * (1.0 + level)
        known = np.isinf(self.degrees_of_freedom)
        found = np.full(self.degrees_of_freedom.size, float(norm.ppf(share)))
        found[~known] = t.ppf(share, self.degrees_of_freedom[~known])
        return found


def _rows(
    objective: Objective, u: FloatArray, scales: FloatArray
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return A without small-sample correction, and the unknown scale of each row.

    Rows whose size does not depend on an unknown scale have -1.
    """
    n_groups = len(objective.group_names)
    rows, groups = [], []
    for e, experiment in enumerate(objective.experiments):
        outputs, jacobian = objective.outputs_and_jacobian(e, u)
        for column in experiment.columns:
            means = outputs[column.rows, column.output]
            of_means = jacobian[column.rows, column.output]
            scale = scales[column.group] if column.group >= 0 else 1.0
            with np.errstate(all="ignore"):
                root = column.noise.information_root(means) / (column.width * scale)
                _, spread = column.noise.log_spread(means)
            rows.append(np.hstack([root[:, None] * of_means, np.zeros((means.size, n_groups))]))
            groups.append(np.full(means.size, column.group))
            if column.noise.has_spread:
                # A normal density tells of log s with information 2.
                of_scale = np.zeros((means.size, n_groups))
                if column.group >= 0:
                    of_scale[:, column.group] = 1.0
                rows.append(math.sqrt(2.0) * np.hstack([spread[:, None] * of_means, of_scale]))
                groups.append(np.full(means.size, -1))
    both = np.concatenate(rows)
    matrix, of_scales = both[:, : objective.n_free], both[:, objective.n_free :]
    used = np.abs(of_scales).sum(axis=0) > 0.0
    if used.any():
        solved, *_ = np.linalg.lstsq(of_scales[:, used], matrix, rcond=None)
        matrix = matrix - of_scales[:, used] @ solved
    return np.nan_to_num(matrix, nan=0.0, posinf=0.0, neginf=0.0), np.concatenate(groups)


def _at_bound(objective: Objective, u: FloatArray) -> NDArray[np.bool_]:
    width = np.where(
        np.isfinite(objective.upper - objective.lower),
        objective.upper - objective.lower,
        np.maximum(np.abs(u), 1.0),
    )
    found: NDArray[np.bool_] = (u - objective.lower <= 1e-6 * width) | (
        objective.upper - u <= 1e-6 * width
    )
    return found


def uncertainty_at(objective: Objective, u: FloatArray, scales: FloatArray) -> Uncertainty:
    """Return covariance, flat directions and degrees of freedom at u.

    Parameters
    ----------
    objective : Objective
        The fit.
    u : ndarray, shape (n_free,), float64
        Its best coordinates.
    scales : ndarray, shape (n_groups,), float64
        The most likely unknown scales there.
    """
    n_free, n_groups = objective.n_free, len(objective.group_names)
    at_bound = _at_bound(objective, u)
    inner = np.flatnonzero(~at_bound)
    matrix, groups = _rows(objective, u, scales)
    matrix = matrix[:, inner]

    # What the parameters took from each unknown scale.
    left, singular, _ = np.linalg.svd(_even(matrix)[0], full_matrices=False)
    kept = singular > _FLAT * singular.max(initial=0.0)
    leverage = (left[:, kept] ** 2).sum(axis=1)
    counts = objective.group_counts
    free = counts - np.array([leverage[groups == g].sum() for g in range(n_groups)])
    can_tell = bool((free > 0.5).all())
    with np.errstate(all="ignore"):
        variance_factor = np.where(free > 0.5, counts / free, np.inf)
    row_factor = np.ones(len(groups))
    if can_tell:
        for g in range(n_groups):
            row_factor[groups == g] = 1.0 / math.sqrt(variance_factor[g])
    corrected = matrix * row_factor[:, None]

    # Columns of even length, so that an estimate near 0, whose logarithm hardly matters, does not
    # look like one that the model hides.
    even, lengths = _even(corrected)
    _, singular, right = np.linalg.svd(even, full_matrices=True)
    singular = np.concatenate([singular, np.zeros(inner.size - singular.size)])
    is_flat = singular <= _FLAT * max(singular.max(initial=0.0), 1e-300)
    inverse = np.where(is_flat, 0.0, 1.0 / np.where(is_flat, 1.0, singular))
    half = right.T * inverse / lengths[:, None]  # covariance = half half^T
    with np.errstate(over="ignore", invalid="ignore"):
        covariance = half @ half.T
    # Within a factor of 1e6 of rounding: an estimate takes part in a flat direction.
    undetermined = (np.abs(right[is_flat]) > 1e-6).any(axis=0)
    covariance[undetermined, undetermined] = np.inf
    if not can_tell:
        # As many parameters as values: the width of the noise cannot be told.
        covariance = np.full_like(covariance, np.nan)

    dof = np.full(inner.size, np.inf)
    if n_groups and can_tell:
        with np.errstate(all="ignore"):
            parts = ((right.T * inverse**2) @ (right @ even.T)) ** 2  # (n_inner, n_rows)
            total = parts.sum(axis=1)
            squares = sum(parts[:, groups == g].sum(axis=1) ** 2 / free[g] for g in range(n_groups))
            dof = np.where(total > 0.0, total**2 / squares, np.inf)

    full_covariance = np.full((n_free, n_free), np.nan)
    full_covariance[np.ix_(inner, inner)] = covariance
    full_dof = np.full(n_free, np.inf)
    full_dof[inner] = dof
    size = np.where(objective.is_log | (u == 0.0), 1.0, np.abs(u))[inner]
    null = right[is_flat] / lengths / size
    _, values, vectors = np.linalg.svd(corrected * size, full_matrices=True)
    values = np.concatenate([values, np.zeros(inner.size - values.size)])
    return Uncertainty(
        covariance=full_covariance,
        degrees_of_freedom=full_dof,
        eigenvalues=values**2,
        eigenvectors=_spread(vectors, inner, n_free),
        flat=_flat_directions(
            objective, _spread(null, inner, n_free), _spread(vectors, inner, n_free), values
        ),
        at_bound=at_bound,
        scale_correction=np.sqrt(variance_factor),
    )


def _even(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the columns at length 1, and their lengths; empty columns have length 1."""
    lengths = np.linalg.norm(matrix, axis=0)
    lengths = np.where(lengths > 0.0, lengths, 1.0)
    return matrix / lengths, lengths


def _spread(rows: FloatArray, inner: NDArray[np.int64], n_free: int) -> FloatArray:
    """Return rows over all coordinates, with 0 for those at a bound."""
    wide = np.zeros((len(rows), n_free))
    wide[:, inner] = rows
    return wide


def _flat_directions(
    objective: Objective, null: FloatArray, vectors: FloatArray, values: FloatArray
) -> tuple[FlatDirection, ...]:
    """Name what the model hides (`null`), then what the data leave vague."""
    found = [_direction(objective.names, vector, math.inf, True) for vector in _simple_basis(null)]
    is_log = objective.is_log
    order = np.argsort(values)
    for vector, value in zip(vectors[order][len(null) :], values[order][len(null) :], strict=True):
        if value * _VAGUE < 1.0 and float((vector[is_log] ** 2).sum()) > 0.5:
            deviation = 1.0 / max(float(value), 1e-300)
            found.append(_direction(objective.names, vector, deviation, False))
    return tuple(found)


def _simple_basis(vectors: FloatArray) -> FloatArray:
    """Return vectors of the same space with as many zeros as elimination gives."""
    basis = vectors.copy()
    used: list[int] = []
    for row in range(len(basis)):
        free = [k for k in range(basis.shape[1]) if k not in used]
        pivot = free[int(np.argmax(np.abs(basis[row, free])))]
        used.append(pivot)
        basis[row] /= basis[row, pivot]
        for other in range(len(basis)):
            if other != row:
                basis[other] -= basis[other, pivot] * basis[row]
    return basis


def _direction(
    names: tuple[str, ...], vector: FloatArray, deviation: float, structural: bool
) -> FlatDirection:
    largest = float(np.abs(vector).max())
    kept = np.abs(vector) > (1e-6 if structural else _SMALL_LOADING) * largest
    sign = math.copysign(1.0, vector[np.flatnonzero(kept)[0]])
    loadings = {
        name: float(value) * sign / largest
        for name, value, keep in zip(names, vector, kept, strict=True)
        if keep
    }
    return FlatDirection(loadings, deviation, structural)
