"""Plots of first-passage times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gillespy_lite.plotting.style import (
    TIME_LABEL,
    Entry,
    add_legend,
    line_look,
    new_axes,
    plain_text,
    tidy,
)
from gillespy_lite.results import Ensemble, EnsembleStatistics, FirstPassage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_first_passage"]

# Half the width of the band about the samples' curve, in standard errors: 99 of 100 bands hold
# the true probability at a given time.
_ERRORS = 2.576


def plot_first_passage(
    result: FirstPassage,
    *,
    samples: Ensemble | EnsembleStatistics | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the probability that a condition has come true, over time.

    Parameters
    ----------
    result : FirstPassage
        With times.
    samples : Ensemble or EnsembleStatistics, optional
        Trajectories of the same network with the same ``stop_when``: the share that has met it is
        drawn as steps, with a band of 2.6 standard errors.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants.

    Raises
    ------
    ValueError
        If the result has no times, or the samples had no ``stop_when``.
    """
    if not result.times.size:
        raise ValueError("there are no times to draw; solve again with times in t")
    if samples is not None and not (samples.n_trajectories and samples.has_condition):
        raise ValueError(
            f"the samples have no hitting times: run them with stop_when={result.condition!r}"
        )
    ax = new_axes(ax)
    entries = []
    if samples is not None:
        look = line_look(5)
        n = samples.n_trajectories
        hits = np.sort(samples.hitting_times[~np.isnan(samples.hitting_times)])
        end = min(float(samples.times[-1]), float(result.times[-1]))
        hits = hits[hits <= end]
        at = np.concatenate(([float(result.times[0])], hits, [end]))
        share = np.concatenate((np.arange(hits.size + 1), [hits.size])) / n
        spread = _ERRORS * np.sqrt(share * (1.0 - share) / n)
        ax.fill_between(
            at, np.maximum(share - spread, 0.0), share + spread, step="post", color=look.colour,
            alpha=0.35, linewidth=0.0,
        )  # fmt: skip
        (steps,) = ax.plot(at, share, color=look.colour, linewidth=2.4, drawstyle="steps-post")
        entries.append(Entry(steps, f"{n} trajectories, \N{PLUS-MINUS SIGN}{_ERRORS:.1f} s.e."))
    upper = np.minimum(result.cdf + result.cdf_error, 1.0)
    ax.fill_between(result.times, result.cdf, upper, color="black", alpha=0.2, linewidth=0.0)
    (line,) = ax.plot(result.times, result.cdf, color="black", linewidth=1.4)
    bound = float(result.cdf_error.max())
    entries.append(Entry(line, f"exact, error at most {bound:.1e}"))
    ax.set_xlabel(f"hitting {TIME_LABEL}")
    ax.set_ylabel(f"probability of {plain_text(result.condition)}")
    ax.set_xlim(float(result.times[0]), float(result.times[-1]))
    top = max(float(upper[-1]), float(share[-1] + spread[-1]) if samples is not None else 0.0)
    ax.set_ylim(0.0, min(1.05, 1.05 * top) if top > 0.0 and math.isfinite(top) else 1.05)
    tidy(ax)
    add_legend(ax, entries)
    return ax
