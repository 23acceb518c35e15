"""Plots of distributions: counts at one time, and hitting times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
from gillespy_lite.results import Ensemble, EnsembleStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_shares", "joined_bins", "plot_histogram", "plot_hitting_times"]

Law: TypeAlias = Callable[[NDArray[np.int64]], ArrayLike] | ArrayLike

# Neighbouring bars are joined two by two while there are more than this, and more than twice the
# square root of the number of trajectories: narrower ones show noise.
_MIN_BARS = 12
# With more bars than this, a law is drawn as a line only, without a marker per bar.
_MAX_MARKERS = 60
# Law values below this share of the largest are not worth a wider plot.
_NEGLIGIBLE = 1e-3
# A law wider than this on each side is cut; the histogram is the subject.
_MAX_EXTRA_BINS = 40


def plot_histogram(
    result: Ensemble | EnsembleStatistics,
    name: str | None = None,
    t: float | None = None,
    *,
    law: Law | None = None,
    bins: int | Sequence[float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the distribution of one species or observable at one time.

    Parameters
    ----------
    result : Ensemble or EnsembleStatistics
        What to draw.
    name : str, optional
        Species or observable; may be left out if only one was recorded.
    t : float, optional
        Time within the grid; by default the last.
    law : callable or array_like, optional
        An exact law to compare with: a function that takes counts ``k``, an int64 array, and
        returns their probabilities, like ``scipy.stats.poisson(20.0).pmf``; or an array whose
        entry k is the probability of count k. Over wider bins it is summed.
    bins : int or sequence of float, optional
        Number of bins or their edges; by default one bin per count, or bins of a power of two
        wide where one per count would be too many for so few trajectories. Not for statistics,
        whose bins were recorded.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With counts in molecules across and the share of trajectories per bin up. A bar of
        whole-number bins covers its counts, so that a bar for count k is centred on k.

    Raises
    ------
    ValueError
        If `name` is needed, `t` lies outside the grid, there are no trajectories, or `law` does
        not give probabilities.
    """
    if name is None:
        if len(result.columns) != 1:
            raise ValueError(
                f"a histogram needs name=, one of {', '.join(result.columns) or 'nothing'}"
            )
        name = result.columns[0]
    if t is None:
        t = float(result.times[-1])
    if isinstance(result, Ensemble):
        edges, counts = result.histogram(name, t, bins)
    elif bins is not None:
        raise ValueError("bins= cannot be chosen for statistics: their bins were recorded")
    else:
        edges, counts = result.histogram(name, t)
    if bins is not None:
        edges = edges.astype(np.float64)  # the user's edges are places, not whole-number bins
    elif edges.dtype.kind == "i":
        edges, counts = joined_bins(edges, counts, result.n_trajectories)
    network = result.network
    label = value_label([name], result.species, network.variable_names, network.compartments)
    unit = label.removeprefix(plain_text(name))
    across = f"{plain_text(name)} at t = {result.times[result.time_index(t)]:g}{unit}"
    return draw_shares(edges, counts, result.n_trajectories, across, law=law, ax=ax)


def draw_shares(
    edges: NDArray[Any],
    counts: NDArray[Any],
    n_trajectories: int,
    across: str,
    *,
    law: Law | None,
    ax: Axes | None,
) -> Axes:
    """Draw a histogram, and the law beside it; `across` is the label of the horizontal axis."""
    if law is not None:
        edges, counts, probabilities = _with_law(edges, counts, law)
    ax = new_axes(ax)
    shares = counts / n_trajectories
    # Whole numbers k to k + width - 1 are covered by a bar from k - 1/2 to k + width - 1/2.
    shift = 0.5 if edges.dtype.kind == "i" else 0.0
    bar_look = line_look(5)
    bars = ax.bar(
        edges[:-1] - shift,
        shares,
        width=np.diff(edges),
        align="edge",
        color=bar_look.colour,
        edgecolor="white" if counts.size <= _MAX_MARKERS else bar_look.colour,
        linewidth=0.5,
    )
    entries = [Entry(bars, f"{n_trajectories} trajectories")]
    if law is not None:
        (line,) = ax.plot(
            0.5 * (edges[:-1] + edges[1:]) - shift,
            probabilities,
            color="black",
            linewidth=1.2,
            marker="o" if counts.size <= _MAX_MARKERS else "",
            markersize=3.5,
        )
        entries.append(Entry(line, "exact law"))
    ax.set_xlabel(across)
    widths = np.unique(np.diff(edges))
    is_unit = shift > 0.0 and widths.size == 1 and widths[0] == 1
    per = "" if is_unit else f" per bin of {widths[0]:g}" if widths.size == 1 else " per bin"
    ax.set_ylabel(f"share of trajectories{per}")
    ax.set_ylim(bottom=0.0)
    if shift:
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(
            MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
        )
    tidy(ax)
    add_legend(ax, entries)
    return ax


def plot_hitting_times(result: Ensemble | EnsembleStatistics, *, ax: Axes | None = None) -> Axes:
    """Draw the share of trajectories that have met ``stop_when``, over time.

    This is the empirical distribution function of the hitting time. Trajectories that did not
    meet the condition until the end are censored: the curve levels off below 1, and the legend
    states their share.

    Parameters
    ----------
    result : Ensemble or EnsembleStatistics
        A run with ``stop_when``.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants.

    Raises
    ------
    ValueError
        If there are no trajectories, or the run had no ``stop_when``.
    """
    n_trajectories = result.n_trajectories
    if n_trajectories == 0:
        raise ValueError("there is nothing to draw: the run was stopped before any trajectory")
    if not result.has_condition:
        raise ValueError(
            "there are no hitting times: the run had no stop_when, like stop_when='X >= 80'"
        )
    hits = np.sort(result.hitting_times[~np.isnan(result.hitting_times)])
    condition = result.provenance.options.get("stop_when")
    ax = new_axes(ax)
    start, end = float(result.times[0]), float(result.times[-1])
    times = np.concatenate(([start], hits, [end]))
    shares = np.concatenate((np.arange(hits.size + 1), [hits.size])) / n_trajectories
    look = line_look(0)
    (line,) = ax.plot(times, shares, color=look.colour, linewidth=1.8, drawstyle="steps-post")
    text = plain_text(str(condition)) if condition else "condition"
    met = f"{text} met: {_percent(hits.size, n_trajectories)}"
    entries = [Entry(line, met)]
    n_censored = n_trajectories - hits.size
    if n_censored:
        level = ax.axhline(
            hits.size / n_trajectories, color=line_look(1).colour, linestyle=(0, (4, 2))
        )
        censored = f"not met by t = {end:g} (censored): {_percent(n_censored, n_trajectories)}"
        entries.append(Entry(level, censored))
    ax.set_xlabel(f"hitting {TIME_LABEL}")
    ax.set_ylabel("share of trajectories")
    ax.set_ylim(0.0, 1.05)
    ax.set_xlim(start, end)
    tidy(ax)
    add_legend(ax, entries)
    return ax


def _percent(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.4g} % ({part} of {whole})"


def joined_bins(
    edges: NDArray[Any], counts: NDArray[np.int64], n_trajectories: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Double the width of whole-number bins until there are few enough for these data."""
    limit = max(_MIN_BARS, 2 * math.isqrt(n_trajectories))
    while counts.size > limit:
        width = 2 * int(edges[1] - edges[0])
        # Bins start at multiples of their width, so an odd first one is joined with nothing.
        first = int(edges[0]) // width
        places = edges[:-1] // width - first
        counts = np.bincount(places, weights=counts).astype(np.int64)
        edges = (first + np.arange(counts.size + 1, dtype=np.int64)) * width
    return edges, counts


def _with_law(
    edges: NDArray[Any], counts: NDArray[np.int64], law: Law
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Widen whole-number bins to where the law lives, and return its probability in each bin."""
    if edges.dtype.kind == "i":
        edges, counts = _widened(edges, counts, law)
    # A bin holds the whole numbers k with edges[b] <= k < edges[b + 1].
    starts = np.ceil(edges).astype(np.int64)
    if edges.dtype.kind != "i":
        # NumPy counts the very last edge as well.
        starts[-1] = int(np.floor(edges[-1])) + 1
    whole_numbers = np.arange(max(0, starts[0]), max(starts[-1], 1), dtype=np.int64)
    cumulative = np.concatenate(([0.0], np.cumsum(_law_at(law, whole_numbers))))
    places = np.clip(starts - whole_numbers[0], 0, whole_numbers.size)
    return edges, counts, np.diff(cumulative[places])


def _widened(
    edges: NDArray[Any], counts: NDArray[np.int64], law: Law
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Add empty bins on both sides while the law is not negligible there."""
    width = int(edges[1] - edges[0])
    n_below = min(_MAX_EXTRA_BINS, int(edges[0]) // width) if edges[0] > 0 else 0
    first = int(edges[0]) - n_below * width
    last = int(edges[-1]) + _MAX_EXTRA_BINS * width
    all_edges = np.arange(first, last + 1, width, dtype=np.int64)
    per_bin = _law_at(law, np.arange(max(0, first), last)) if first >= 0 else np.zeros(0)
    if per_bin.size != (all_edges.size - 1) * width:
        return edges, counts
    per_bin = per_bin.reshape(-1, width).sum(axis=1)
    matters = per_bin > _NEGLIGIBLE * per_bin.max(initial=0.0)
    matters[n_below : n_below + counts.size] = True
    kept = np.flatnonzero(matters)
    begin, end = int(kept[0]), int(kept[-1]) + 1
    all_counts = np.zeros(all_edges.size - 1, dtype=np.int64)
    all_counts[n_below : n_below + counts.size] = counts
    return all_edges[begin : end + 1], all_counts[begin:end]


def _law_at(law: Law, whole_numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the law's probabilities of these counts, checked."""
    if callable(law):
        probabilities = np.asarray(law(whole_numbers), dtype=np.float64)
        if probabilities.shape != whole_numbers.shape:
            raise ValueError(
                f"law(k) must return one probability per count: for k of shape "
                f"{whole_numbers.shape} it returned shape {probabilities.shape}"
            )
    else:
        table = np.asarray(law, dtype=np.float64)
        if table.ndim != 1:
            raise ValueError(
                f"law must be a function or a one-dimensional array, not of shape {table.shape}"
            )
        probabilities = np.zeros(whole_numbers.shape)
        known = whole_numbers < table.size
        probabilities[known] = table[whole_numbers[known]]
    if not np.all((probabilities >= 0.0) & (probabilities <= 1.0 + 1e-9)):
        raise ValueError("law must give probabilities, numbers from 0 to 1")
    return probabilities
