"""Plots of derivatives of laws, and of fits to snapshots of cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gillespy_lite.plotting.fits import plot_profile
from gillespy_lite.plotting.kinds import draw
from gillespy_lite.plotting.style import (
    TIME_LABEL,
    Entry,
    add_legend,
    line_look,
    new_axes,
    plain_text,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gillespy_lite.master_equation.sensitivities import Sensitivities
    from gillespy_lite.master_equation.snapshot_fits import SnapshotFit

__all__ = [
    "SNAPSHOT_KINDS",
    "plot_sensitivities",
    "plot_snapshot_fit",
    "plot_snapshots",
]

# Of a shorter law each count gets a marker.
_MAX_MARKERS = 60
# Of the law, what is left out of the picture on both sides together.
_NEGLIGIBLE = 1e-4


def plot_sensitivities(
    result: Sensitivities, name: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the derivatives of a mean to the logarithms of the parameters over time.

    Parameters
    ----------
    result : Sensitivities
        What to draw.
    name : str, optional
        Species or observable; may be left out if there is one species.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With one line for each parameter.
    """
    if name is None:
        if len(result.law.species) != 1:
            raise ValueError(f"a plot of derivatives needs name=, one of {result.law.species}")
        name = result.law.species[0]
    slopes = result.mean(name) * result.values
    ax = new_axes(ax)
    entries = []
    for m, parameter in enumerate(result.parameters):
        look = line_look(m)
        (line,) = ax.plot(result.times, slopes[:, m], color=look.colour, linestyle=look.style)
        entries.append(Entry(line, plain_text(parameter)))
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel(f"change of the mean of {plain_text(str(name))} per factor e")
    tidy(ax)
    add_legend(ax, entries)
    return ax


def plot_snapshots(
    result: SnapshotFit,
    t: float | None = None,
    name: str | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of cells with each count as bars, and the fitted law over them.

    Parameters
    ----------
    result : SnapshotFit
        What to draw.
    t : float, optional
        A time of the data, by default the last.
    name : str, optional
        Which of the names that were observed, by default the first.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With what was seen across and shares and probabilities up.
    """
    names = result.information.observed
    if name is None:
        name = names[0]
    if name not in names:
        raise ValueError(f"{name!r} was not observed; there are {', '.join(names)}")
    time = float(result.information.times[-1]) if t is None else float(t)
    values, counts, probabilities = result.observed_law(time)
    axis, place = np.unique(values[:, names.index(name)], return_inverse=True)
    shares = np.bincount(place.ravel(), weights=counts) / counts.sum()
    law = np.bincount(place.ravel(), weights=probabilities)
    tails = np.minimum(np.cumsum(law), np.cumsum(law[::-1])[::-1])
    shown = np.flatnonzero((tails > _NEGLIGIBLE) | (shares > 0.0))
    chosen = slice(int(shown[0]), int(shown[-1]) + 1)
    axis, shares, law = axis[chosen], shares[chosen], law[chosen]
    ax = new_axes(ax)
    gap = float(np.diff(axis).min()) if axis.size > 1 else 1.0
    bars = ax.bar(axis, shares, width=gap, color=line_look(5).colour, linewidth=0.0)
    look = line_look(1)
    (line,) = ax.plot(
        axis,
        law,
        color=look.colour,
        marker="o" if axis.size <= _MAX_MARKERS else "",
        markersize=3.5,
    )
    ax.set_xlabel(f"{plain_text(name)} at t = {time:g}")
    ax.set_ylabel("share of cells, probability")
    ax.set_ylim(bottom=0.0)
    tidy(ax)
    add_legend(ax, [Entry(bars, f"{int(counts.sum())} cells"), Entry(line, "fitted law")])
    return ax


def _profile_of(result: SnapshotFit, *, name: str | None = None, ax: Axes | None = None) -> Axes:
    return plot_profile(result.profile(name or result.names[0]), ax=ax)


# What ``result.plot(kind)`` draws for a SnapshotFit.
SNAPSHOT_KINDS: dict[str, Callable[..., Axes]] = {"law": plot_snapshots, "profile": _profile_of}


def plot_snapshot_fit(
    result: SnapshotFit, kind: str, *, ax: Axes | None = None, **options: Any
) -> Axes:
    """Draw a fit to snapshots; this is what `SnapshotFit.plot` calls.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    return draw(SNAPSHOT_KINDS, result, kind, ax, options)
