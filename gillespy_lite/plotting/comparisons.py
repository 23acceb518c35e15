"""Plots of comparisons: rate equations beside exact, Langevin and leaping ensembles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gillespy_lite.ode_rnn.comparison import EXACT, Comparison, SizeScaling
from gillespy_lite.ode_rnn.discrepancies import PowerLaw
from gillespy_lite.plotting.kinds import draw
from gillespy_lite.plotting.style import (
    COUNT_LABEL,
    GREY,
    OKABE_ITO,
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

__all__ = [
    "COMPARISON_KINDS",
    "plot_comparison",
    "plot_comparison_bands",
    "plot_final_distributions",
    "plot_mean_difference",
    "plot_size_scaling",
]

_DETERMINISTIC = OKABE_ITO[6]  # black, dashed
_DASHES = (0, (5, 2))
_MOST_BARS = 60


def plot_comparison_bands(
    comparison: Comparison, names: str | Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the rate equations over the means and outer quantiles of all ensembles.

    Parameters
    ----------
    comparison : Comparison
        What to draw.
    names : str or sequence of str, optional
        Species and observables; by default the first one compared. With one name each ensemble has
        a colour; with several each name has one, and only the exact ensemble is drawn.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants and counts in molecules.
    """
    chosen = _chosen(comparison, names)
    ax = new_axes(ax)
    times = comparison.times
    entries: list[Entry] = []
    sources = list(comparison.paths) if len(chosen) == 1 else [EXACT]
    for k, name in enumerate(chosen):
        column = comparison.names.index(name)
        for j, source in enumerate(sources):
            look = line_look(j if len(chosen) == 1 else k)
            quantiles = comparison.quantiles(source)[:, :, column]
            # Bands of several ensembles would hide one another: only the exact one is filled.
            if len(quantiles) > 1 and source == EXACT:
                ax.fill_between(
                    times, quantiles[0], quantiles[-1], color=look.colour, alpha=0.18, linewidth=0
                )
            elif len(quantiles) > 1:
                for edge in (quantiles[0], quantiles[-1]):
                    ax.plot(times, edge, color=look.colour, linestyle=look.style, linewidth=0.9)
            (line,) = ax.plot(
                times,
                comparison.mean(source)[:, column],
                color=look.colour,
                linestyle=look.style,
                linewidth=1.8,
            )
            what = f"{source} mean" if len(chosen) == 1 else f"{name} (mean)"
            entries.append(Entry(line, plain_text(what)))
        (line,) = ax.plot(
            times,
            comparison[name],
            color=_DETERMINISTIC if len(chosen) == 1 else line_look(k).colour,
            linestyle=_DASHES,
            linewidth=1.8,
        )
        if k == 0:
            entries.append(Entry(line, f"rate equations ({comparison.cell})"))
    levels = comparison.quantile_levels
    if len(levels) > 1:
        patch = ax.fill_between([], [], [], color=GREY, alpha=0.3, linewidth=0)
        text = f"{100 * levels[0]:g} % to {100 * levels[-1]:g} % of the paths"
        entries.append(Entry(patch, text))
    _label(ax, comparison, chosen)
    add_legend(ax, entries)
    return ax


def plot_mean_difference(
    comparison: Comparison, names: str | Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw mean minus rate equations over time, with the band that holds for all times at once.

    Parameters
    ----------
    comparison : Comparison
        What to draw.
    names : str or sequence of str, optional
        Species and observables; by default all that were compared.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants and counts in molecules.
    """
    chosen = list(comparison.names) if names is None else _chosen(comparison, names)
    ax = new_axes(ax)
    bias = comparison.bias
    entries = []
    for k, name in enumerate(chosen):
        column, look = comparison.names.index(name), line_look(k)
        middle, half = bias.difference[:, column], bias.half_width[:, column]
        ax.fill_between(
            comparison.times,
            middle - half,
            middle + half,
            color=look.colour,
            alpha=0.18,
            linewidth=0,
        )
        (line,) = ax.plot(
            comparison.times, middle, color=look.colour, linestyle=look.style, linewidth=1.8
        )
        entries.append(Entry(line, plain_text(name)))
    zero = ax.axhline(0.0, color=_DETERMINISTIC, linestyle=_DASHES, linewidth=1.2)
    entries.append(Entry(zero, "rate equations"))
    _label(ax, comparison, chosen)
    ax.set_ylabel(f"mean minus rate equations, {100 * bias.level:g} % band (molecules)")
    add_legend(ax, entries)
    return ax


def plot_final_distributions(
    comparison: Comparison, name: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the distributions of one name at the last time, and the value of the rate equations.

    Parameters
    ----------
    comparison : Comparison
        What to draw.
    name : str, optional
        A species or an observable; by default the first one compared.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        Counts against the probability of a bar.
    """
    (chosen,) = _chosen(comparison, name)
    column = comparison.names.index(chosen)
    ax = new_axes(ax)
    last = {
        source: paths[np.isfinite(paths[:, -1, column]), -1, column]
        for source, paths in comparison.paths.items()
    }
    edges = _edges(np.concatenate(list(last.values())), chosen in comparison.network.species_names)
    entries = []
    for j, (source, values) in enumerate(last.items()):
        look = line_look(j)
        share = np.histogram(values, edges)[0] / values.size
        if source == EXACT:
            artist: Any = ax.stairs(share, edges, fill=True, color=look.colour, alpha=0.3)
        else:
            artist = ax.stairs(share, edges, color=look.colour, linestyle=look.style, linewidth=1.5)
        entries.append(Entry(artist, plain_text(source)))
    line = ax.axvline(
        comparison[chosen][-1], color=_DETERMINISTIC, linestyle=_DASHES, linewidth=1.5
    )
    entries.append(Entry(line, f"rate equations ({comparison.cell})"))
    tidy(ax)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(value_label([chosen], comparison.network.species_names))
    ax.set_ylabel("probability of each bar")
    ax.set_title(f"t = {comparison.times[-1]:g}")
    add_legend(ax, entries)
    return ax


def plot_size_scaling(
    comparison: Comparison, name: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw bias and variance of a concentration against the volume, with the fitted powers.

    Parameters
    ----------
    comparison : Comparison
        Made with ``volumes=``.
    name : str, optional
        A species; by default the first one.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        Both axes logarithmic; a bias without a plain sign has an error bar down to the bottom.

    Raises
    ------
    ValueError
        If there are no other volumes.
    """
    if not comparison.scaling:
        raise ValueError(
            "there is nothing to draw: make the comparison with other volumes, compare(..., "
            "volumes=(2, 4, 8))"
        )
    chosen = next(iter(comparison.scaling)) if name is None else name
    if chosen not in comparison.scaling:
        raise ValueError(f"{chosen!r} has no scaling; there are: {', '.join(comparison.scaling)}")
    scaling = comparison.scaling[chosen]
    ax = new_axes(ax)
    biases, errors = np.abs(scaling.biases), np.array(scaling.bias_errors)
    variances = np.array(scaling.variances)
    ax.set_xscale("log")
    ax.set_yscale("log")
    entries = []
    blue, red = line_look(0), line_look(1)
    # One standard error, as far down as a logarithmic axis goes.
    lower = np.minimum(errors, 0.9 * biases)
    bars = ax.errorbar(
        scaling.omegas, biases, [lower, errors], fmt="o", color=blue.colour, capsize=3
    )
    entries.append(Entry(bars, "|mean - rate equations| (± standard error)"))
    _add_law(ax, scaling, scaling.bias, blue, entries)
    (points,) = ax.plot(scaling.omegas, variances, "s", color=red.colour)
    entries.append(Entry(points, "variance"))
    _add_law(ax, scaling, scaling.variance, red, entries)
    tidy(ax)
    ax.set_xticks(scaling.omegas, [f"{omega:g}" for omega in scaling.omegas])
    ax.minorticks_off()
    ax.set_xlabel("volume (Omega)")
    ax.set_ylabel(f"concentration of {plain_text(chosen)} (molecules per volume)")
    ax.set_title(f"t = {scaling.time:g}")
    add_legend(ax, entries)
    return ax


def _add_law(
    ax: Axes, scaling: SizeScaling, law: PowerLaw, look: Any, entries: list[Entry]
) -> None:
    if not np.isfinite(law.exponent):
        return
    ends = np.array([min(scaling.omegas), max(scaling.omegas)])
    (line,) = ax.plot(
        ends,
        abs(law.prefactor) * ends**law.exponent,
        color=look.colour,
        linestyle=look.style,
        linewidth=1.2,
    )
    entries.append(Entry(line, f"exponent {law.exponent:.2f} ± {law.error:.2f}"))


COMPARISON_KINDS: dict[str, Callable[..., Axes]] = {
    "bands": plot_comparison_bands,
    "difference": plot_mean_difference,
    "final": plot_final_distributions,
    "scaling": plot_size_scaling,
}


def plot_comparison(
    comparison: Comparison, kind: str, *, ax: Axes | None = None, **options: Any
) -> Axes:
    """Draw a comparison; this is what its ``plot`` method calls.

    Parameters
    ----------
    comparison : Comparison
        What to draw.
    kind : {"bands", "difference", "final", "scaling"}
        Which of the functions of this module.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.
    **options
        Passed on to the function of that kind.

    Returns
    -------
    matplotlib Axes
        With labels and a legend.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    return draw(COMPARISON_KINDS, comparison, kind, ax, options)


def _chosen(comparison: Comparison, names: str | Sequence[str] | None) -> list[str]:
    if names is None:
        return [comparison.names[0]]
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        comparison[name]  # a KeyError says what there is
    return chosen


def _edges(values: np.ndarray, are_counts: bool) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not are_counts:
        return np.linspace(low, max(high, low + 1e-9), _MOST_BARS + 1)
    width = 1
    while (high - low) / width > _MOST_BARS:
        width *= 2
    return np.arange(np.floor(low) - 0.5, high + width + 0.5, width)


def _label(ax: Axes, comparison: Comparison, names: Sequence[str]) -> None:
    tidy(ax)
    ax.set_xlabel(TIME_LABEL)
    species = comparison.network.species_names
    ax.set_ylabel(value_label(names, species) or COUNT_LABEL)
    ax.margins(x=0.01)
