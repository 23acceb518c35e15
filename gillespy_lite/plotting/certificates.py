"""The picture of a certificate: samples and law where they differ most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gillespy_lite.certification import Certificate
from gillespy_lite.plotting.distributions import plot_histogram

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
    worst = certificate.worst
    ax = plot_histogram(certificate.samples, worst.name, worst.time, law=certificate.law, ax=ax)
    ax.set_title(
        f"{certificate.method}: {certificate.verdict}, p = {certificate.p_value:.2g}\n"
        f"against the {certificate.reference}; smallest of {len(certificate.looks)} tests",
        fontsize="medium",
    )
    return ax
