"""Plots of results and pictures of networks, with matplotlib.

Every function takes ``ax=`` and returns the Axes; none shows or saves anything. Colours can be
told apart with any colour vision, and lines differ in style, too. Matplotlib is loaded by the
first plot, not by importing this package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gillespy_lite.plotting.certificates import plot_certificate
from gillespy_lite.plotting.distributions import plot_histogram, plot_hitting_times
from gillespy_lite.plotting.kinds import draw
from gillespy_lite.plotting.laws import plot_joint_law, plot_law, plot_law_over_time
from gillespy_lite.plotting.levels import plot_levels
from gillespy_lite.plotting.moments import plot_moments
from gillespy_lite.plotting.network_picture import draw_network
from gillespy_lite.plotting.passages import plot_first_passage
from gillespy_lite.plotting.paths import (
    plot_band,
    plot_fan,
    plot_overlay,
    plot_path,
    plot_phase,
)
from gillespy_lite.plotting.scans import plot_scan, plot_sobol
from gillespy_lite.results import Distribution, Ensemble, EnsembleStatistics, Scan, Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "KINDS",
    "draw_network",
    "plot_band",
    "plot_certificate",
    "plot_fan",
    "plot_first_passage",
    "plot_histogram",
    "plot_hitting_times",
    "plot_joint_law",
    "plot_law",
    "plot_law_over_time",
    "plot_levels",
    "plot_moments",
    "plot_overlay",
    "plot_path",
    "plot_phase",
    "plot_result",
    "plot_scan",
    "plot_sobol",
]


def _draw_network_of(result: Any, *, ax: Axes | None = None, **options: Any) -> Axes:
    return draw_network(result.network, ax=ax, **options)


# What ``result.plot(kind)`` draws, for each class of result.
KINDS: dict[type, dict[str, Callable[..., Axes]]] = {
    Trajectory: {"path": plot_path, "phase": plot_phase, "network": _draw_network_of},
    Ensemble: {
        "band": plot_band,
        "fan": plot_fan,
        "histogram": plot_histogram,
        "phase": plot_phase,
        "overlay": plot_overlay,
        "hitting": plot_hitting_times,
        "network": _draw_network_of,
    },
    EnsembleStatistics: {
        "band": plot_band,
        "histogram": plot_histogram,
        "overlay": plot_overlay,
        "hitting": plot_hitting_times,
        "network": _draw_network_of,
    },
    Distribution: {
        "law": plot_law,
        "heatmap": plot_joint_law,
        "evolution": plot_law_over_time,
        "network": _draw_network_of,
    },
    Scan: {"scan": plot_scan, "network": _draw_network_of},
}


def plot_result(
    result: Trajectory | Ensemble | EnsembleStatistics | Distribution | Scan,
    kind: str,
    *,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draw a result; this is what the results' ``plot`` methods call.

    Parameters
    ----------
    result : Trajectory, Ensemble, EnsembleStatistics, Distribution or Scan
        What to draw.
    kind : str
        One of ``KINDS[type(result)]``.
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
        If there is no such kind for this class of result.
    """
    kinds = next(KINDS[one] for one in type(result).__mro__ if one in KINDS)
    return draw(kinds, result, kind, ax, options)
