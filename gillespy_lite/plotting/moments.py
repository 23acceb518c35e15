"""Plots of means and standard deviations that were solved for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gillespy_lite.plotting.style import (
    GREY,
    TIME_LABEL,
    Entry,
    add_legend,
    line_look,
    new_axes,
    plain_text,
    tidy,
    value_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gillespy_lite.moments.results import MeansOverTime

__all__ = ["plot_moments"]

_BAND_OPACITY = 0.18


def plot_moments(
    result: MeansOverTime, names: str | Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw means over time with bands of one standard deviation.

    Parameters
    ----------
    result : Moments or LinearNoise
        What to draw.
    names : str or sequence of str, optional
        Species and observables; by default the species.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants and counts in molecules.

    Raises
    ------
    KeyError
        If there is no such species or observable.
    """
    from matplotlib.patches import Patch

    chosen = list(result.species) if names is None else [names] if isinstance(names, str) else names
    curves = [(name, result.mean(name), result.std(name)) for name in chosen]
    ax = new_axes(ax)
    entries = []
    for index, (name, mean, std) in enumerate(curves):
        look = line_look(index)
        ax.fill_between(
            result.times,
            mean - std,
            mean + std,
            color=look.colour,
            alpha=_BAND_OPACITY,
            linewidth=0.0,
        )
        (line,) = ax.plot(
            result.times, mean, color=look.colour, linestyle=look.style, linewidth=1.8
        )
        entries.append(Entry(line, f"{plain_text(name)} (mean)"))
    band = Patch(facecolor=GREY, alpha=0.3, linewidth=0.0)
    entries.append(Entry(band, "mean ± 1 standard deviation"))
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel(value_label(list(chosen), result.species))
    ax.margins(x=0.0)
    tidy(ax)
    add_legend(ax, entries)
    return ax
