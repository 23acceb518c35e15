"""Plots of parameter scans and of sensitivity indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gillespy_lite.plotting.style import (
    Entry,
    add_legend,
    line_look,
    new_axes,
    plain_text,
    tidy,
    value_label,
)
from gillespy_lite.results import Scan
from gillespy_lite.results.columns import Name, name_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gillespy_lite.network import Network
    from gillespy_lite.scans import SobolIndices

__all__ = ["plot_scan", "plot_sobol"]

_STATISTICS = ("mean", "std", "var", "minimum", "maximum", "hit_fraction", "mean_hitting_time")
# Steps of a geometric series agree to this.
_SAME = 1e-6
# Axes with more values than this get round numbers as ticks.
_MOST_TICKS = 8
_MOST_CURVES = 7


def plot_scan(
    result: Scan,
    name: Name | None = None,
    *,
    statistic: str = "mean",
    t: float | None = None,
    x: str | None = None,
    y: str | None = None,
    band: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a statistic over the varied names: curves over one of them, a heat map over two.

    Parameters
    ----------
    result : Scan
        Of a grid of one or two axes; or a table, of which one name is drawn over with `x`.
    name : str, Species or Observable, optional
        What to draw; by default the first column.
    statistic : str, optional
        "mean", "std", "var", "minimum", "maximum"; with ``stop_when`` also "hit_fraction" and
        "mean_hitting_time", which need no `name`.
    t : float, optional
        Time within the grid; by default the last.
    x : str, optional
        The varied name of the horizontal axis; by default the first that takes more than one
        value.
    y : str, optional
        Of a grid of two axes: the name of the vertical axis, for a heat map (the default), or
        ``""`` for a curve per value of the other name.
    band : bool, optional
        Draw a band of one standard deviation of the trajectories about the curves of means.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        Axes of values in geometric series are logarithmic.

    Raises
    ------
    ValueError
        If the scan has more axes than can be drawn, or an argument is unknown.
    """
    if statistic not in _STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(_STATISTICS)}, not {statistic!r}")
    label, values, spread = _values(result, name, statistic, t)
    varied = [one for one in result.names if np.unique(result.parameters[one]).size > 1]
    for given in (x, y):
        if given and given not in result.names:
            raise ValueError(f"{given!r} was not varied; these were: {', '.join(result.names)}")
    x = x or (varied or list(result.names))[0]
    rest = [one for one in varied if one != x]
    if not result.is_grid:
        return _plot_rows(result, x, values, label, ax)
    if len(rest) > 1:
        raise ValueError(
            f"{len(varied)} names were varied ({', '.join(varied)}), and a plot shows two; run a "
            "scan of two, or draw the arrays of scan.mean(...) yourself"
        )
    # To the order x, the other; axes of one value vanish.
    kept = [x, *rest]
    order = [result.names.index(one) for one in kept]
    tables = [
        np.transpose(one, [*order, *(i for i in range(one.ndim) if i not in order)]).reshape(
            [one.shape[i] for i in order]
        )
        for one in (values, spread)
    ]
    if rest and y != "":
        return _plot_map(result, x, rest[0], tables[0], label, ax)
    return _plot_curves(result, kept, tables[0], tables[1] if band else None, label, ax)


def _values(
    result: Scan, name: Name | None, statistic: str, t: float | None
) -> tuple[str, NDArray[Any], NDArray[Any]]:
    """Return a label, the statistic and the half width of its band, of the scan's shape."""
    if statistic in ("hit_fraction", "mean_hitting_time"):
        found = np.asarray(getattr(result, statistic))
        words = {
            "hit_fraction": "share of trajectories that met the condition",
            "mean_hitting_time": "mean time of the condition (unit of the rate constants)",
        }
        return words[statistic], found, np.full(found.shape, np.nan)
    text = name_text(name) if name is not None else result.columns[0]
    row = result.time_index(result.times[-1] if t is None else t)
    found = getattr(result, statistic)(text)[..., row]
    spread = result.std(text)[..., row] if statistic == "mean" else np.full(found.shape, np.nan)
    shown = value_label(
        [text], result.network.species_names, result.network.variable_names,
        result.network.compartments,
    )  # fmt: skip
    if statistic == "var":
        shown = plain_text(text) + " (square of its unit)"
    words = {"std": "standard deviation of ", "var": "variance of ", "mean": "mean "}
    label = f"{words.get(statistic, statistic + ' of ')}{shown} at t = {result.times[row]:g}"
    return label, np.asarray(found), np.asarray(spread)


def _plot_curves(
    result: Scan,
    names: Sequence[str],
    values: NDArray[Any],
    spread: NDArray[Any] | None,
    label: str,
    ax: Axes | None,
) -> Axes:
    x = result.axes[names[0]]
    n_curves = values.shape[1] if values.ndim > 1 else 1
    if n_curves > _MOST_CURVES:
        raise ValueError(
            f"{n_curves} curves cannot be told apart; leave out y='' for a heat map, or scan up to "
            f"{_MOST_CURVES} values of {names[1]!r}"
        )
    ax = new_axes(ax)
    order = np.argsort(x)
    entries = []
    for i in range(n_curves):
        look = line_look(i)
        curve = values[:, i] if values.ndim > 1 else values
        (line,) = ax.plot(
            x[order], curve[order], color=look.colour, linestyle=look.style,
            marker="o" if x.size <= 30 else "", markersize=3.5,
        )  # fmt: skip
        text = "mean" if n_curves == 1 else f"{names[1]} = {result.axes[names[1]][i]:.4g}"
        entries.append(Entry(line, plain_text(text)))
        if spread is not None and np.isfinite(spread).any():
            width = spread[:, i] if values.ndim > 1 else spread
            area = ax.fill_between(
                x[order], (curve - width)[order], (curve + width)[order], color=look.colour,
                alpha=0.2, linewidth=0.0,
            )  # fmt: skip
            if n_curves == 1:
                entries.append(Entry(area, "standard deviation"))
    _label_axis(ax, "x", result, names[0], x)
    ax.set_ylabel(label)
    if len(entries) > 1:
        add_legend(ax, entries)
    tidy(ax)
    return ax


def _plot_rows(result: Scan, x: str, values: NDArray[Any], label: str, ax: Axes | None) -> Axes:
    ax = new_axes(ax)
    column = result.parameters[x]
    ax.plot(column, values, "o", color=line_look(0).colour, markersize=3.0, alpha=0.6)
    _label_axis(ax, "x", result, x, np.unique(column))
    ax.set_ylabel(label)
    tidy(ax)
    return ax


def _plot_map(
    result: Scan, x: str, y: str, values: NDArray[Any], label: str, ax: Axes | None
) -> Axes:
    ax = new_axes(ax)
    across, up = result.axes[x], result.axes[y]
    rows, columns = np.argsort(up), np.argsort(across)
    image = ax.pcolormesh(
        _edges(across[columns]), _edges(up[rows]), values.T[np.ix_(rows, columns)],
        cmap="viridis", shading="flat", rasterized=True,
    )  # fmt: skip
    _label_axis(ax, "x", result, x, across)
    _label_axis(ax, "y", result, y, up)
    ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def _is_geometric(values: NDArray[Any]) -> bool:
    """Whether values, in any order, are a geometric series over more than a factor of 3."""
    values = np.sort(values)
    if values.size < 3 or values[0] <= 0.0 or values[-1] < 3.0 * values[0]:
        return False
    steps = np.diff(np.log(values))
    return bool(np.ptp(steps) <= _SAME * steps.max())


def _edges(values: NDArray[Any]) -> NDArray[Any]:
    """Return the edges of cells about increasing values, half way between neighbours."""
    if values.size == 1:
        half = 0.5 * abs(values[0]) or 0.5
        return np.array([values[0] - half, values[0] + half])
    scaled = np.log(values) if _is_geometric(values) else values
    middle = 0.5 * (scaled[1:] + scaled[:-1])
    edges = np.concatenate(
        ([scaled[0] - (middle[0] - scaled[0])], middle, [scaled[-1] + (scaled[-1] - middle[-1])])
    )
    return np.exp(edges) if _is_geometric(values) else edges


def _label_axis(ax: Axes, which: str, result: Scan, name: str, values: NDArray[Any]) -> None:
    network = result.network
    if name in network.species_names:
        unit = " at the start (molecules)"
    elif name in network.variable_names:
        unit = " at the start"
    else:
        unit = _unit(network, name)
    getattr(ax, f"set_{which}label")(plain_text(name) + unit)
    if _is_geometric(values):
        getattr(ax, f"set_{which}scale")("log")
    if values.size <= _MOST_TICKS:
        # The values themselves: those between them were not run.
        shown = [f"{value:.4g}" for value in values]
        getattr(ax, f"set_{which}ticks")(values, shown)
        getattr(ax, f"set_{which}ticks")([], minor=True)


# Of a rate constant, by the number of molecules that its reactions take.
_UNITS = ("molecules per unit of time", "per unit of time", "per molecule and unit of time")


def _unit(network: Network, name: str) -> str:
    """Return the unit of a parameter that is the rate constant of mass-action reactions alone."""
    found: set[int | None] = set()
    for reaction in network.reactions:
        if name in network.expanded(reaction.rate).symbols():
            is_plain = reaction.kind != "propensity" and str(reaction.rate) == name
            molecules = [count for _, count in reaction.reactants if isinstance(count, int)]
            is_plain = is_plain and len(molecules) == len(reaction.reactants)
            found.add(sum(molecules) if is_plain else None)
    order = found.pop() if len(found) == 1 else None
    return f" ({_UNITS[order]})" if order is not None and order < len(_UNITS) else ""


def plot_sobol(result: SobolIndices, *, ax: Axes | None = None) -> Axes:
    """Draw Sobol's indices as bars, with their confidence intervals.

    Parameters
    ----------
    result : SobolIndices
        From `sobol`.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        First-order and total index of every name, side by side.
    """
    ax = new_axes(ax)
    at, entries = np.arange(len(result.names)), []
    kinds = (
        ("first order", result.first, result.first_interval, -0.2),
        ("total", result.total, result.total_interval, 0.2),
    )
    for i, (text, index, interval, shift) in enumerate(kinds):
        bars = ax.bar(at + shift, index, 0.38, color=line_look(i).colour, alpha=0.85)
        ax.errorbar(
            at + shift,
            index,
            yerr=np.abs(interval.T - index),
            fmt="none",
            ecolor="black",
            capsize=3.0,
            linewidth=1.0,
        )
        entries.append(Entry(bars, text))
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xticks(at, [plain_text(name) for name in result.names])
    ax.set_ylabel("share of the variance of " + plain_text(result.output))
    add_legend(ax, entries)
    tidy(ax)
    return ax
