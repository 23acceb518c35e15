"""Plots along time, and of one species against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
from gillespy_lite.results import Ensemble, EnsembleStatistics, Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_band", "plot_fan", "plot_overlay", "plot_path", "plot_phase"]

_BAND_OPACITY = 0.18
_PATH_OPACITY = 0.45
_MEAN_OPACITY = 0.55  # below rate equations
_DASHES = (0, (4, 2))  # of rate equations


def plot_path(
    trajectory: Trajectory, names: str | Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw one trajectory over time: steps, or smooth lines if it solves the rate equations.

    Parameters
    ----------
    trajectory : Trajectory
        What to draw.
    names : str or sequence of str, optional
        Species and observables; by default everything recorded.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants and counts in molecules.
    """
    chosen = _chosen_names(trajectory, names)
    ax = new_axes(ax)
    entries = []
    steps = "steps-post" if trajectory.counts.dtype.kind == "i" else "default"
    times = trajectory.times
    # Event by event, the last state lasts until the end of the run.
    lasts = trajectory.end_time > times[-1]
    if lasts:
        times = np.append(times, trajectory.end_time)
    for index, name in enumerate(chosen):
        look = line_look(index)
        path = trajectory[name]
        if lasts:
            path = np.append(path, path[-1])
        (line,) = ax.plot(
            times, path, color=look.colour, linestyle=look.style, linewidth=1.4, drawstyle=steps
        )
        entries.append(Entry(line, plain_text(name)))
    _label_time_axes(ax, trajectory, chosen)
    add_legend(ax, entries)
    return ax


def plot_band(
    result: Ensemble | EnsembleStatistics,
    names: str | Sequence[str] | None = None,
    *,
    level: float = 0.9,
    n_paths: int = 3,
    ax: Axes | None = None,
) -> Axes:
    """Draw mean and spread over time, and a few trajectories as steps.

    Parameters
    ----------
    result : Ensemble or EnsembleStatistics
        What to draw. Statistics keep no trajectories and no quantiles, so their band is the mean
        plus and minus one standard deviation, and there are no single trajectories.
    names : str or sequence of str, optional
        Species and observables; by default everything recorded.
    level : float, optional
        Share of the trajectories inside the band at each time; 0 draws no band.
    n_paths : int, optional
        Trajectories drawn, the first ones of the ensemble.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants and counts in molecules.

    Raises
    ------
    ValueError
        If `level` is not in [0, 1), or there are no trajectories.
    """
    chosen = _chosen_names(result, names)
    _check_level(level)
    ax = new_axes(ax)
    entries = []
    drawn_paths = min(n_paths, result.n_trajectories) if isinstance(result, Ensemble) else 0
    for index, name in enumerate(chosen):
        look = line_look(index)
        if isinstance(result, Ensemble):
            for path in result[name][:drawn_paths]:
                ax.plot(
                    result.times,
                    path,
                    color=look.colour,
                    linewidth=0.7,
                    alpha=_PATH_OPACITY,
                    drawstyle="steps-post",
                )
        band = _draw_band(ax, result, name, level, look.colour)
        (line,) = ax.plot(
            result.times, result.mean(name), color=look.colour, linestyle=look.style, linewidth=1.8
        )
        entries.append(Entry(line, f"{plain_text(name)} (mean)"))
    if level > 0.0:
        entries.append(Entry(_grey_patch(), band))
    if drawn_paths:
        path_text = "one trajectory" if drawn_paths == 1 else f"{drawn_paths} trajectories"
        entries.append(Entry(_grey_line(0.7, "-"), path_text))
    _label_time_axes(ax, result, chosen)
    add_legend(ax, entries)
    return ax


def plot_fan(
    ensemble: Ensemble,
    names: str | Sequence[str] | None = None,
    *,
    levels: Sequence[float] = (0.5, 0.8, 0.95),
    ax: Axes | None = None,
) -> Axes:
    """Draw the median and nested quantile bands over time.

    Parameters
    ----------
    ensemble : Ensemble
        What to draw.
    names : str or sequence of str, optional
        Species and observables; by default everything recorded. One to three read best.
    levels : sequence of float, optional
        Share of the trajectories inside each band at each time.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants and counts in molecules.

    Raises
    ------
    ValueError
        If a level is not in (0, 1), or there are no trajectories.
    """
    chosen = _chosen_names(ensemble, names)
    widest_first = sorted(set(levels), reverse=True)
    for level in widest_first:
        _check_level(level)
    ax = new_axes(ax)
    # Bands lie over each other, so that equal opacities add up towards the median.
    opacity = 0.55 / max(1, len(widest_first))
    entries = []
    for index, name in enumerate(chosen):
        look = line_look(index)
        for level in widest_first:
            lower, upper = ensemble.quantile([0.5 - level / 2.0, 0.5 + level / 2.0], name)
            ax.fill_between(
                ensemble.times, lower, upper, color=look.colour, alpha=opacity, linewidth=0.0
            )
        (line,) = ax.plot(
            ensemble.times,
            ensemble.quantile(0.5, name),
            color=look.colour,
            linestyle=look.style,
            linewidth=1.8,
        )
        entries.append(Entry(line, f"{plain_text(name)} (median)"))
    for rank, level in reversed(list(enumerate(widest_first))):
        shade = 1.0 - (1.0 - opacity) ** (rank + 1)
        colour = line_look(0).colour if len(chosen) == 1 else GREY
        entries.append(Entry(_patch(colour, shade), _share_text(level)))
    _label_time_axes(ax, ensemble, chosen)
    add_legend(ax, entries)
    return ax


def plot_overlay(
    result: Ensemble | EnsembleStatistics,
    deterministic: Trajectory,
    names: str | Sequence[str] | None = None,
    *,
    level: float = 0.9,
    ax: Axes | None = None,
) -> Axes:
    """Draw the rate equations (dark dashes) over the stochastic mean (solid) and spread.

    Parameters
    ----------
    result : Ensemble or EnsembleStatistics
        The stochastic side. Of statistics the band is the mean plus and minus one standard
        deviation.
    deterministic : Trajectory
        The deterministic side, usually ``simulate(network, t, method="ode")``.
    names : str or sequence of str, optional
        Species and observables; by default everything recorded.
    level : float, optional
        Share of the trajectories inside the band at each time; 0 draws no band.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants and counts in molecules.

    Raises
    ------
    ValueError
        If `level` is not in [0, 1), or there are no trajectories.
    KeyError
        If `deterministic` lacks one of the names.
    """
    if not isinstance(deterministic, Trajectory):
        raise TypeError(
            "deterministic= must be a Trajectory, like simulate(network, t, method='ode'), "
            f"not {type(deterministic).__name__}"
        )
    chosen = _chosen_names(result, names)
    _check_level(level)
    ax = new_axes(ax)
    entries = []
    for index, name in enumerate(chosen):
        colour = line_look(index).colour
        band = _draw_band(ax, result, name, level, colour)
        # Pale and wide below, dark and narrow above: both are seen where they coincide.
        (line,) = ax.plot(
            result.times, result.mean(name), color=colour, alpha=_MEAN_OPACITY, linewidth=3.5
        )
        ax.plot(
            deterministic.times,
            deterministic[name],
            color=_darker(colour),
            linestyle=_DASHES,
            linewidth=1.4,
        )
        entries.append(Entry(line, plain_text(name)))
    mean_text = f"mean of {result.n_trajectories} trajectories"
    entries.append(Entry(_grey_line(3.5, "-", _MEAN_OPACITY), mean_text))
    if level > 0.0:
        entries.append(Entry(_grey_patch(), band))
    is_ode = deterministic.provenance.method == "ode"
    deterministic_text = "rate equations" if is_ode else deterministic.provenance.method
    entries.append(Entry(_grey_line(1.4, _DASHES), plain_text(deterministic_text)))
    _label_time_axes(ax, result, chosen)
    add_legend(ax, entries)
    return ax


def plot_phase(
    result: Trajectory | Ensemble,
    x: str | None = None,
    y: str | None = None,
    *,
    n_paths: int = 3,
    ax: Axes | None = None,
) -> Axes:
    """Draw one species against another, along the path of time.

    Parameters
    ----------
    result : Trajectory or Ensemble
        Of an ensemble, the first trajectories and the mean are drawn.
    x, y : str, optional
        Species, variables or observables; by default the first two recorded.
    n_paths : int, optional
        Trajectories drawn of an ensemble.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With counts in molecules.

    Raises
    ------
    ValueError
        If fewer than two names were recorded and `x` and `y` are not given, or there are no
        trajectories.
    """
    x_name, y_name = _phase_names(result, x, y)
    if isinstance(result, Ensemble):
        _check_not_empty(result)
    ax = new_axes(ax, size=(5.4, 4.8))
    entries = []
    if isinstance(result, Ensemble):
        x_paths, y_paths = result[x_name], result[y_name]
        drawn_paths = min(n_paths, result.n_trajectories)
        for i in range(drawn_paths):
            look = line_look(i + 1)
            (line,) = ax.plot(x_paths[i], y_paths[i], color=look.colour, linewidth=0.8, alpha=0.75)
            entries.append(Entry(line, f"trajectory {result.indices[i]}"))
        x_line, y_line = result.mean(x_name), result.mean(y_name)
        text = f"mean of {result.n_trajectories}"
    else:
        x_line, y_line = result[x_name], result[y_name]
        is_ode = result.counts.dtype.kind == "f"
        text = "rate equations" if is_ode else "trajectory"
    colour = line_look(0).colour
    (line,) = ax.plot(x_line, y_line, color=colour, linewidth=1.8 if entries else 1.0)
    entries.insert(0, Entry(line, text))
    marks: dict[str, Any] = {"linestyle": "none", "color": "black", "markersize": 7, "zorder": 5}
    (start,) = ax.plot(x_line[:1], y_line[:1], marker="o", markerfacecolor="white", **marks)
    (end,) = ax.plot(x_line[-1:], y_line[-1:], marker="s", **marks)
    entries.append(Entry(start, f"start, t = {result.times[0]:g}"))
    entries.append(Entry(end, f"end, t = {result.times[-1]:g}"))
    ax.set_xlabel(_label(result, [x_name]))
    ax.set_ylabel(_label(result, [y_name]))
    tidy(ax)
    add_legend(ax, entries)
    return ax


def _draw_band(
    ax: Axes, result: Ensemble | EnsembleStatistics, name: str, level: float, colour: str
) -> str:
    """Fill the band of one name and return its text for the legend."""
    lower: NDArray[Any]
    upper: NDArray[Any]
    if isinstance(result, Ensemble):
        lower, upper = result.quantile([0.5 - level / 2.0, 0.5 + level / 2.0], name)
        text = _share_text(level)
    else:
        mean, std = result.mean(name), result.std(name)
        lower, upper = mean - std, mean + std
        text = "mean ± 1 standard deviation"
    if level > 0.0:
        ax.fill_between(
            result.times, lower, upper, color=colour, alpha=_BAND_OPACITY, linewidth=0.0
        )
    return text


def _chosen_names(
    result: Trajectory | Ensemble | EnsembleStatistics, names: str | Sequence[str] | None
) -> list[str]:
    if not isinstance(result, Trajectory):
        _check_not_empty(result)
    if names is None:
        return list(result.columns)
    return [names] if isinstance(names, str) else list(names)


def _check_not_empty(result: Ensemble | EnsembleStatistics) -> None:
    if result.n_trajectories == 0:
        raise ValueError("there is nothing to draw: the run was stopped before any trajectory")


def _check_level(level: float) -> None:
    if not 0.0 <= level < 1.0:
        raise ValueError(f"a level is a share from 0 to below 1, like 0.9, but {level!r} was given")


def _phase_names(result: Trajectory | Ensemble, x: str | None, y: str | None) -> tuple[str, str]:
    unused = [name for name in result.columns if name not in (x, y)]
    chosen = [name if name is not None else unused.pop(0) if unused else None for name in (x, y)]
    if chosen[0] is None or chosen[1] is None:
        raise ValueError(
            "a phase portrait needs two names, x= and y=; recorded: "
            f"{', '.join(result.columns) or 'nothing'}"
        )
    return chosen[0], chosen[1]


def _label(result: Trajectory | Ensemble | EnsembleStatistics, names: Sequence[str]) -> str:
    network = result.network
    return value_label(names, result.species, network.variable_names, network.compartments)


def _label_time_axes(
    ax: Axes, result: Trajectory | Ensemble | EnsembleStatistics, names: Sequence[str]
) -> None:
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel(_label(result, names))
    ax.margins(x=0.0)
    tidy(ax)


def _share_text(level: float) -> str:
    # Not "95 % of the trajectories": at each time the band holds other ones.
    return f"central {100.0 * level:g} %"


def _patch(colour: str, opacity: float) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, alpha=opacity, linewidth=0.0)


def _grey_patch() -> Any:
    return _patch(GREY, 0.3)


def _grey_line(width: float, style: Any, opacity: float = 1.0) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=GREY, linewidth=width, linestyle=style, alpha=opacity)


def _darker(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(0.45 * part for part in to_rgb(colour))
