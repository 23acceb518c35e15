"""Plots of solutions of the master equation: one name, two names, one name over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gillespy_lite.plotting.distributions import plot_histogram
from gillespy_lite.plotting.style import (
    TIME_LABEL,
    Entry,
    add_legend,
    line_look,
    new_axes,
    plain_text,
    tidy,
    value_label,
)
from gillespy_lite.results import Distribution, Ensemble, EnsembleStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_joint_law", "plot_law", "plot_law_over_time"]

# Probabilities below this share of the largest are left out of the picture's range.
_NEGLIGIBLE = 1e-4
# Of a shorter law each count gets a marker.
_MAX_MARKERS = 60


def plot_law(
    result: Distribution,
    name: str | None = None,
    t: float | None = None,
    *,
    samples: Ensemble | EnsembleStatistics | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the law of one species or whole observable at one time.

    Parameters
    ----------
    result : Distribution
        What to draw.
    name : str, optional
        Species or observable; may be left out if there is one species.
    t : float, optional
        A recorded time; by default the last.
    samples : Ensemble or EnsembleStatistics, optional
        Trajectories of the same network, as bars beneath the law; they must hold this time.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With counts in molecules across and probability up; with samples, both per bar.

    Raises
    ------
    ValueError
        If `name` is needed, or `t` is no recorded time.
    """
    name, t = _one_name(result, name), _one_time(result, t)
    law = result.marginal(name, t)
    if samples is not None:
        return plot_histogram(samples, name, t, law=law, ax=ax)
    shown = np.flatnonzero(law >= _NEGLIGIBLE * law.max())
    counts = np.arange(shown[0], shown[-1] + 1)
    ax, look = new_axes(ax), line_look(0)
    (line,) = ax.plot(
        counts,
        law[counts],
        color=look.colour,
        marker="o" if counts.size <= _MAX_MARKERS else "",
        markersize=3.5,
    )
    ax.set_xlabel(_label(result, name, f"at t = {t:g}"))
    ax.set_ylabel("probability")
    ax.set_ylim(bottom=0.0)
    tidy(ax)
    add_legend(ax, [Entry(line, _error_text(result.error_at(t)))])
    return ax


def plot_joint_law(
    result: Distribution,
    names: Sequence[str] | None = None,
    t: float | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the joint law of two species or whole observables at one time as a heat map.

    Parameters
    ----------
    result : Distribution
        What to draw.
    names : sequence of str, optional
        Two names, across and up; may be left out if there are two species.
    t : float, optional
        A recorded time; by default the last.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With counts in molecules on both axes and a colour bar for the probability.

    Raises
    ------
    ValueError
        If there are not two names, or `t` is no recorded time.
    """
    names = list(result.species if names is None else names)
    if len(names) != 2:
        raise ValueError(f"a heat map needs names=, two of {', '.join(result.species)}")
    t = _one_time(result, t)
    table = result.table(names, t)
    (x_first, x_last), (y_first, y_last) = _range(table.sum(axis=1)), _range(table.sum(axis=0))
    ax = new_axes(ax)
    image = ax.imshow(
        table[x_first : x_last + 1, y_first : y_last + 1].T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        extent=(x_first - 0.5, x_last + 0.5, y_first - 0.5, y_last + 0.5),
    )
    ax.figure.colorbar(image, ax=ax, label="probability")
    ax.set_xlabel(_label(result, names[0], ""))
    ax.set_ylabel(_label(result, names[1], ""))
    ax.set_title(f"t = {t:g}, {_error_text(result.error_at(t))}", fontsize="medium")
    return ax


def plot_law_over_time(
    result: Distribution, name: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the law of one species or whole observable over time: colours, and the mean as a line.

    Parameters
    ----------
    result : Distribution
        What to draw, at two times or more.
    name : str, optional
        Species or observable; may be left out if there is one species.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time across, counts in molecules up, and a colour bar. The colours are the square
        roots of the probabilities, so that a law that spreads can be seen to the end.

    Raises
    ------
    ValueError
        If `name` is needed, or there are fewer than two times.
    """
    name = _one_name(result, name)
    if result.n_times < 2:
        raise ValueError("a picture over time needs two times or more")
    laws = [result.marginal(name, float(t)) for t in result.times]
    table = np.zeros((max(law.size for law in laws), result.n_times))
    for column, law in enumerate(laws):
        table[: law.size, column] = law
    low, high = _range(table[:, 1:].max(axis=1))
    from matplotlib.colors import PowerNorm

    ax = new_axes(ax)
    # The law at a time is drawn from halfway to the time before to halfway to the next.
    middles = 0.5 * (result.times[1:] + result.times[:-1])
    edges = np.concatenate([result.times[:1], middles, result.times[-1:]])
    image = ax.pcolormesh(
        edges,
        np.arange(low, high + 2) - 0.5,
        table[low : high + 1],
        cmap="viridis",
        norm=PowerNorm(0.5, vmin=0.0, vmax=float(table[low : high + 1, 1:].max())),
        rasterized=True,
    )
    ax.figure.colorbar(image, ax=ax, label="probability")
    (line,) = ax.plot(result.times, result.mean(name), color="white", linewidth=1.6)
    ax.set_ylim(low - 0.5, high + 0.5)
    ax.set_xlim(float(result.times[0]), float(result.times[-1]))
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel(_label(result, name, ""))
    legend = ax.legend([line], ["mean"], loc="upper right", facecolor="#404040", labelcolor="white")
    legend.set_zorder(5)
    return ax


def _one_name(result: Distribution, name: str | None) -> str:
    if name is not None:
        return name
    if len(result.species) != 1:
        raise ValueError(f"this plot needs name=, one of {', '.join(result.species)}")
    return result.species[0]


def _one_time(result: Distribution, t: float | None) -> float:
    return float(result.times[-1]) if t is None else float(t)


def _range(law: NDArray[Any]) -> tuple[int, int]:
    shown = np.flatnonzero(law >= _NEGLIGIBLE * law.max())
    return int(shown[0]), int(shown[-1])


def _label(result: Distribution, name: str, when: str) -> str:
    unit = value_label([name], result.species).removeprefix(plain_text(name))
    return f"{plain_text(name)} {when}".rstrip() + unit


def _error_text(bound: float) -> str:
    return f"errors add up to at most {bound:.1e}"
