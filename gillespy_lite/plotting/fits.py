"""Plots of fits: data and model, residuals, profiles, correlations, and how the search went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gillespy_lite.plotting.kinds import draw
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

    from gillespy_lite.ode_rnn.fit_result import FitResult
    from gillespy_lite.ode_rnn.profiles import Profile

__all__ = [
    "FIT_KINDS",
    "plot_correlation",
    "plot_fit",
    "plot_fit_result",
    "plot_history",
    "plot_profile",
    "plot_residuals",
]

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_BAND_OPACITY = 0.18


def plot_fit(
    result: FitResult,
    *,
    experiment: str | int | None = None,
    names: str | Sequence[str] | None = None,
    t: Any = None,
    level: float = 0.0,
    include_noise: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw measurements as points and the fitted paths as lines.

    Parameters
    ----------
    result : FitResult
        What to draw.
    experiment : str or int, optional
        Which experiment; by default the first.
    names : str or sequence of str, optional
        States and observables; by default those that were measured.
    t : float or array_like, optional
        End time or times of the lines.
    level : float, optional
        Draw bands that hold the true path with this probability; 0 draws none.
    include_noise : bool, optional
        Bands for new measurements instead.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With time in the unit of the rate constants.
    """
    wanted = names if names is None or isinstance(names, str) else list(names)
    bands = result.predicted_bands(
        t, level or 0.95, names=wanted, experiment=experiment, include_noise=include_noise
    )
    points = result.points()
    objective = result.objective
    source = next(one for one in objective.experiments if one.name == bands.experiment)
    of_column = {column.column: source.outputs[column.output] for column in source.columns}
    network = objective.recurrence.network
    ax = new_axes(ax)
    entries = []
    for k, name in enumerate(bands.names):
        look = line_look(k)
        columns = [column for column, output in of_column.items() if output == name]
        here = (points["experiment"] == bands.experiment) & np.isin(points["column"], columns)
        if here.any():
            dots = ax.plot(
                points["time"][here],
                points["value"][here],
                linestyle="none",
                marker=_MARKERS[k % len(_MARKERS)],
                markersize=5,
                markerfacecolor="white",
                markeredgecolor=look.colour,
                zorder=3,
            )[0]
            entries.append(Entry(dots, f"{plain_text(name)} (data)"))
        if level:
            low, high = bands.band(name)
            reach = np.isfinite(low) & np.isfinite(high)
            ax.fill_between(
                bands.times,
                low,
                high,
                where=reach.tolist(),
                color=look.colour,
                alpha=_BAND_OPACITY,
                linewidth=0.0,
            )
        (line,) = ax.plot(
            bands.times, bands[name], color=look.colour, linestyle=look.style, linewidth=1.6
        )
        entries.append(Entry(line, f"{plain_text(name)} (fit)"))
    if level:
        from matplotlib.patches import Patch

        what = "new measurements" if include_noise else "the path"
        patch = Patch(color=GREY, alpha=_BAND_OPACITY, linewidth=0.0)
        entries.append(Entry(patch, rf"{100 * level:g} % band for {what}"))
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel(
        value_label(
            bands.names, objective.recurrence.state_names, getattr(network, "variable_names", ())
        )
    )
    if len(objective.experiments) > 1:
        ax.set_title(f"experiment {plain_text(bands.experiment)}")
    tidy(ax)
    add_legend(ax, entries)
    return ax


def _plot_bands(result: FitResult, *, level: float = 0.95, **options: Any) -> Axes:
    return plot_fit(result, level=level, **options)


def plot_residuals(
    result: FitResult, *, experiment: str | int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the residuals in units of the noise over time, with the lines at -2 and 2.

    Parameters
    ----------
    result : FitResult
        What to draw.
    experiment : str or int, optional
        Which experiment; by default all.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        About 95 % of the points lie between the dashed lines if model and noise are right.
    """
    points = result.points()
    here = np.ones(points["time"].size, dtype=bool)
    if experiment is not None:
        names = [one.name for one in result.objective.experiments]
        name = names[experiment] if isinstance(experiment, int) else experiment
        here = points["experiment"] == name
    ax = new_axes(ax)
    entries = []
    for k, column in enumerate(dict.fromkeys(points["column"][here].tolist())):
        chosen = here & (points["column"] == column)
        dots = ax.plot(
            points["time"][chosen],
            points["residual"][chosen],
            linestyle="none",
            marker=_MARKERS[k % len(_MARKERS)],
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=line_look(k).colour,
        )[0]
        entries.append(Entry(dots, plain_text(column)))
    ax.axhline(0.0, color="black", linewidth=0.8)
    for at in (-2.0, 2.0):
        ax.axhline(at, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel("residual (standard deviations of the noise)")
    reach = max(3.0, 1.1 * float(np.abs(points["residual"][here]).max()))
    ax.set_ylim(-reach, reach)
    tidy(ax)
    add_legend(ax, entries)
    return ax


def plot_profile(profile: Profile, *, ax: Axes | None = None) -> Axes:
    """Draw a likelihood profile, its threshold and the interval.

    Parameters
    ----------
    profile : Profile
        What to draw.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With the value that is held on the horizontal axis.
    """
    ax = new_axes(ax)
    shown = profile.loss <= 2.0 * profile.threshold
    look = line_look(0)
    (line,) = ax.plot(
        profile.values[shown], profile.loss[shown], color=look.colour, marker="o", markersize=3.5
    )
    level = f"{100 * profile.level:g} %"
    limit = ax.axhline(profile.threshold, color=GREY, linewidth=1.0, linestyle=(0, (4, 2)))
    best = ax.axvline(profile.estimate, color="black", linewidth=1.0)
    entries = [
        Entry(line, "profile"),
        Entry(best, f"estimate {profile.estimate:.4g}"),
        Entry(limit, f"threshold of {level}"),
    ]
    ends = [end for end in profile.interval if np.isfinite(end) and end != 0.0]
    if ends:
        marks = ax.plot(
            ends, [profile.threshold] * len(ends), "D", color=line_look(1).colour, zorder=3
        )[0]
        low, high = profile.interval
        entries.append(Entry(marks, f"interval {low:.4g} to {high:.4g}"))
    ax.set_xlabel(f"{plain_text(profile.name)} (held there, the others fitted)")
    ax.set_ylabel("rise of the negative log-likelihood")
    ax.locator_params(axis="x", nbins=6)
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4), useMathText=True)
    ax.set_ylim(bottom=0.0)
    tidy(ax)
    add_legend(ax, entries)
    return ax


def _profile_of(
    result: FitResult, *, name: str | None = None, level: float = 0.95, ax: Axes | None = None
) -> Axes:
    return plot_profile(result.profile(name or result.names[0], level=level), ax=ax)


def plot_correlation(result: FitResult, *, ax: Axes | None = None) -> Axes:
    """Draw the correlations of the estimates as a table of colours with numbers.

    Parameters
    ----------
    result : FitResult
        What to draw.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With a colour bar.
    """
    n = len(result.names)
    size = max(4.0, 1.4 + 0.62 * n)
    ax = new_axes(ax, size=(size + 0.8, size))
    correlation = result.correlation
    image = ax.imshow(correlation, vmin=-1.0, vmax=1.0, cmap="RdBu_r")
    names = [plain_text(name) for name in result.names]
    ax.set_xticks(range(n), names, rotation=45, ha="right")
    ax.set_yticks(range(n), names)
    if n <= 12:
        for (row, column), value in np.ndenumerate(correlation):
            colour = "white" if abs(value) > 0.6 else "black"
            text = "" if np.isnan(value) else f"{value:.2f}"
            ax.text(column, row, text, ha="center", va="center", color=colour, fontsize="small")
    ax.set_title("correlation of the estimates")
    ax.figure.colorbar(image, ax=ax, shrink=0.85, label="correlation")
    return ax


def plot_history(result: FitResult, *, ax: Axes | None = None) -> Axes:
    """Draw the negative log-likelihood of each trial of the best start, above the best.

    Parameters
    ----------
    result : FitResult
        What to draw.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With a logarithmic axis; trials at which the model diverged are marked at the top.
    """
    ax = new_axes(ax)
    history = np.asarray(result.loss_history, dtype=np.float64)
    trials = np.arange(1, history.size + 1)
    sound = np.isfinite(history)
    above = history - history[sound].min()
    smallest = above[sound & (above > 0.0)].min(initial=1.0)
    above = np.maximum(above, 0.5 * smallest)
    (line,) = ax.plot(
        trials[sound], above[sound], color=line_look(0).colour, marker="o", markersize=3
    )
    entries = [Entry(line, "one start" if len(result.starts) == 1 else "the best start")]
    if not sound.all():
        top = np.full(int((~sound).sum()), above[sound].max())
        marks = ax.plot(trials[~sound], top, "x", color=line_look(1).colour)[0]
        entries.append(Entry(marks, "diverged, stepped back"))
    ax.set_yscale("log")
    ax.set_xlabel("trial" if result.training is None else "epoch")
    ax.set_ylabel("negative log-likelihood above the best")
    tidy(ax)
    add_legend(ax, entries)
    return ax


# What ``result.plot(kind)`` draws for a FitResult.
FIT_KINDS: dict[str, Callable[..., Axes]] = {
    "fit": plot_fit,
    "residuals": plot_residuals,
    "bands": _plot_bands,
    "profile": _profile_of,
    "correlation": plot_correlation,
    "history": plot_history,
}


def plot_fit_result(
    result: FitResult, kind: str, *, ax: Axes | None = None, **options: Any
) -> Axes:
    """Draw a fit; this is what `FitResult.plot` calls.

    Parameters
    ----------
    result : FitResult
        What to draw.
    kind : str
        One of `FIT_KINDS`.
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
    return draw(FIT_KINDS, result, kind, ax, options)
