"""The picture of a certificate: samples and law where they differ most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gillespy_lite.certification import Certificate
from gillespy_lite.plotting.distributions import draw_shares, joined_bins, plot_histogram
from gillespy_lite.plotting.style import plain_text
from gillespy_lite.results.reductions import histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_certificate"]


def plot_certificate(certificate: Certificate, *, ax: Axes | None = None) -> Axes:
    """Draw the samples and the exact law at the name and time with the smallest p-value.

    Parameters
    ----------
    certificate : Certificate
        From `certify` or `Ensemble.certify`.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        With counts in molecules across and the share of trajectories up, and the verdict above. The
        law is drawn where the reference knows one.
    """
    worst, samples = certificate.worst, certificate.samples
    if worst.name in samples.species:
        # Laws count molecules, also of species that results show as concentrations.
        edges, counts = histogram(samples.counts[:, 0, 0], None, worst.name)
        edges, counts = joined_bins(edges, counts, samples.n_trajectories)
        across = f"{plain_text(worst.name)} at t = {worst.time:g} (molecules)"
        ax = draw_shares(edges, counts, samples.n_trajectories, across, law=certificate.law, ax=ax)
    else:
        ax = plot_histogram(samples, worst.name, worst.time, law=certificate.law, ax=ax)
    ax.set_title(
        f"{certificate.method}: {certificate.verdict}, p = {certificate.p_value:.2g}\n"
        f"against the {certificate.reference}; smallest of {len(certificate.looks)} tests",
        fontsize="medium",
    )
    return ax
