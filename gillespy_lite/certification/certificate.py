"""What came of holding samples against an exact reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..results import Ensemble, Provenance

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["Certificate", "Look"]

FloatArray = NDArray[np.float64]

_ROWS = 5  # of the smallest p-values in a report


@dataclass(frozen=True)
class Look:
    """One test: of one name at one time.

    Attributes
    ----------
    name : str
        Species or observable.
    time : float
        In the time unit of the network.
    kind : str
        ``"law"``: chi-square test of all counts; ``"mean"``, ``"variance"``: of these alone.
    p_value : float
        How often samples of a right method differ from the reference as much, by chance.
    freedom : int
        Degrees of freedom of a chi-square test, else 0.
    """

    name: str
    time: float
    kind: str
    p_value: float
    freedom: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Certificate:
    """Whether samples have the law that they should have, and how sure that is.

    Attributes
    ----------
    verdict : str
        ``"passed"``, or ``"rejected"`` if `p_value` is below `level`.
    p_value : float
        The smallest of all tests', times their number (Bonferroni's correction).
    level : float
        How often a right method is rejected, at most.
    method : str
        That made the samples.
    n : int
        Number of trajectories.
    reference : str
        What they were held against: "closed law", "master equation", "exact moments" or
        "samples of ...".
    reference_reason : str
        Why this one: which stronger ones the network does not allow.
    bound : float
        How much probability the reference lacks at most; 0 for closed laws.
    looks : tuple of Look
        All tests.
    found_shift : float
        A mean that is off by so many standard deviations at one time is found out with a
        probability of 0.9.
    found_effect : float
        The same for a law: Cohen's w, the root of the sum of (p - q)^2 / q over the cells of a
        histogram, p the wrong probabilities and q the right ones; nan where no law was tested.
    provenance : Provenance
        Of the samples.
    worst : Look
        The test with the smallest p-value.
    samples : Ensemble
        The samples of it: one name at one time.
    law : ndarray or None
        The exact probabilities of the counts 0, 1, ... there; None where they are not known.
    """

    verdict: str
    p_value: float
    level: float
    method: str
    n: int
    reference: str
    reference_reason: str
    bound: float
    looks: tuple[Look, ...]
    found_shift: float
    found_effect: float
    provenance: Provenance
    worst: Look
    samples: Ensemble
    law: FloatArray | None

    @property
    def passed(self) -> bool:
        """Whether the verdict is "passed"."""
        return self.verdict == "passed"

    def __bool__(self) -> bool:
        """Refuse to be a truth value, which `passed` is."""
        raise TypeError("a certificate is neither true nor false; ask for certificate.passed")

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row per test; without pandas, `MissingExtraError`."""
        from ..results.tables import plain_table

        fields = ("name", "time", "kind", "p_value", "freedom")
        return plain_table({key: [getattr(one, key) for one in self.looks] for key in fields})

    def plot(self, *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw samples and law where they differ most; return the Axes. Nothing is shown.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; by default on a new figure.
        **options
            Passed on to `plotting.plot_certificate`.
        """
        from .. import plotting

        return plotting.plot_certificate(self, ax=ax, **options)

    def __repr__(self) -> str:
        """Return one line."""
        return (
            f"<Certificate of {self.method}: {self.verdict}, p = {self.p_value:.2g} in "
            f"{len(self.looks)} tests of {self.n} trajectories against the {self.reference}>"
        )

    def __str__(self) -> str:
        """Return the report: verdict, reference, power, and the smallest p-values."""
        lines = [
            f"{self.method}: {self.verdict} (p = {self.p_value:.2g} after correction for "
            f"{len(self.looks)} tests; rejected below {self.level:g})",
            f"  reference   {self.reference}, error bound {self.bound:.1g}",
            f"              ({self.reference_reason})",
            f"  samples     {self.n} trajectories, entropy {self.provenance.entropy}",
            "  power       found with probability 0.9: a mean that is off by "
            f"{self.found_shift:.2g} standard deviations{self._effect_text()}",
            "  smallest p-values of single tests",
        ]
        worst = sorted(self.looks, key=lambda one: one.p_value)[:_ROWS]
        lines += [
            f"    {one.p_value:.2g}  {one.kind} of {one.name} at t = {one.time:g}" for one in worst
        ]
        return "\n".join(lines)

    def _effect_text(self) -> str:
        if np.isnan(self.found_effect):
            return ""
        return f", a law with w = {self.found_effect:.2g}"
