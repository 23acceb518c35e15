"""The picture of a multilevel estimate: what each level took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gillespy_lite.plotting.style import (
    Entry,
    add_legend,
    line_look,
    new_axes,
    plain_text,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gillespy_lite.multilevel_estimation import MultilevelEstimate

__all__ = ["plot_levels"]


def plot_levels(
    estimate: MultilevelEstimate,
    output: Any = None,
    t: float | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw variance and work of a path of each level, and the share of the work that it got.

    Parameters
    ----------
    estimate : MultilevelEstimate
        From `multilevel`.
    output : str or Species or Observable, optional
        Whose variance; by default the first output.
    t : float, optional
        At which of the times; by default the last.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With the levels across, from the coarsest; variance and work relative to those of an exact
        path by itself, on a logarithmic scale.

    Raises
    ------
    KeyError, ValueError
        If there is no such output or time.
    """
    column = 0 if output is None else estimate.column(output)
    row = estimate.row(t)
    levels = estimate.levels
    exact = float(estimate.exact_variances[row, column])
    unit = exact if exact > 0.0 else 1.0
    curves = (
        (
            f"variance of {plain_text(estimate.outputs[column])}",
            [float(one.variances[row, column]) / unit for one in levels],
        ),
        ("work of a path", [one.work / estimate.exact_work for one in levels]),
        ("share of all work (of 1)", [one.n * one.work / estimate.work for one in levels]),
    )
    ax = new_axes(ax)
    entries = []
    places = np.arange(len(levels))
    for index, (text, values) in enumerate(curves):
        look = line_look(index)
        (line,) = ax.plot(
            places, np.where(np.array(values) > 0.0, values, np.nan), color=look.colour,
            linestyle=look.style, marker="os^"[index], linewidth=1.6, markersize=5,
        )  # fmt: skip
        entries.append(Entry(line, text))
    ax.set_yscale("log")
    ax.axhline(1.0, color="#707070", linewidth=0.8)
    ax.set_xticks(places, [one.name.replace(" - ", "\n- ") for one in levels], fontsize="small")
    ax.set_xlabel("level")
    ax.set_ylabel("relative to one exact path")
    ax.set_title(
        f"{sum(one.n for one in levels):,} paths in {len(levels)} levels", fontsize="medium"
    )
    tidy(ax)
    add_legend(ax, entries)
    return ax
