"""A comparison in words: what a reader should know first, and where each number comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .comparison import Comparison
    from .discrepancies import Bimodality, PowerLaw

__all__ = ["report_of"]

_ROWS = 12  # names in one section
_PLAIN = 0.01  # p-values below are called plain


def report_of(comparison: Comparison) -> str:
    """Return the report as text, some lines for each question."""
    sections = [
        _head(comparison),
        _means(comparison),
        _spreads(comparison),
        _modes(comparison),
        _extinction(comparison),
        _cycles(comparison),
        _sizes(comparison),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _head(comparison: Comparison) -> list[str]:
    times, method = comparison.times, comparison.runs.provenance.method
    lines = [
        f"Rate equations (cell {comparison.cell}) against {comparison.n} trajectories "
        f"({method}), t = {times[0]:g} to {times[-1]:g}",
        f"  the cell is within {comparison.cell_error:.1g} of an adaptive solver, relative to the "
        "largest value",
    ]
    if comparison.noise_steps is not None:
        steps = int(np.sum(comparison.noise_steps))
        cells = " and ".join(source for source in comparison.paths if source != "exact")
        if cells:
            lines.append(f"  {cells}: {comparison.n} paths of {steps} steps")
    for source in comparison.paths:
        diverged = comparison.n_diverged(source)
        if diverged:
            lines.append(f"  {diverged} paths of {source} diverged and are left out")
    if comparison.stopped:
        lines.append(f"  stopped by {comparison.stopped}: not all that was asked for is here")
    lines.append(
        f"  intervals hold with {100 * comparison.level:g} % confidence; entropy "
        f"{comparison.entropy}"
    )
    return lines


def _means(comparison: Comparison) -> list[str]:
    bias = comparison.bias
    lines = [
        "Mean of the trajectories minus rate equations, where that is largest (band for all times "
        "and names at once)"
    ]
    rows = []
    for i, name in enumerate(comparison.names):
        error = bias.standard_error[:, i]
        if not (error > 0.0).any():
            rows.append((name, "the trajectories do not vary", "", ""))
            continue
        size = np.where(error > 0.0, np.abs(bias.difference[:, i]), -1.0)
        k = int(size.argmax())
        value = comparison.deterministic[k, i]
        share = f" ({100 * bias.difference[k, i] / value:+.2g} %)" if value else ""
        plain = np.flatnonzero(bias.is_plain[:, i])
        verdict = "not told from 0"
        if plain.size:
            verdict = f"plain from t = {comparison.times[plain[0]]:g}, at {plain.size} of "
            verdict += f"{comparison.times.size} times"
        rows.append(
            (
                name,
                f"{bias.difference[k, i]:+.4g} ± {bias.half_width[k, i]:.2g}{share}",
                f"at t = {comparison.times[k]:g}, where the rate equations give {value:.4g}",
                verdict,
            )
        )
    return lines + _table(rows)


def _spreads(comparison: Comparison) -> list[str]:
    ratios = comparison.variance_ratios
    last, mean = comparison.std()[-1], comparison.mean()[-1]
    lines = [
        f"Spread at t = {comparison.times[-1]:g}: standard deviation, Fano factor (variance over "
        "mean), and the variance of the noise cells over the exact one"
    ]
    rows = []
    for i, name in enumerate(comparison.names):
        cells = []
        for source, by_name in ratios.items():
            ratio = by_name[name]
            if math.isfinite(ratio.value):
                mark = "" if ratio.lower <= 1.0 <= ratio.upper else " (*)"
                cells.append(
                    f"{source} {ratio.value:.3g} ({ratio.lower:.3g} to {ratio.upper:.3g}){mark}"
                )
        fano = f"{last[i] ** 2 / mean[i]:.3g}" if mean[i] > 0.0 else "-"
        rows.append((name, f"std {last[i]:.4g}", f"Fano {fano}", *cells))
    return lines + _table(rows)


def _modes(comparison: Comparison) -> list[str]:
    modes = comparison.modes
    times = comparison.times
    adjusted = len(modes["exact"])
    if not adjusted:
        return []
    lines, rows = [], []
    for name, found in modes["exact"].items():
        p = min(1.0, found.p_value * adjusted)
        if p <= max(_PLAIN, 1.05e-3 * adjusted) and len(found.peaks) == 2:
            others = [_other(source, modes[source][name]) for source in modes if source != "exact"]
            i = comparison.names.index(name)
            rows.append(
                (
                    name,
                    f"two modes, near {found.peaks[0]:.3g} and {found.peaks[1]:.3g} "
                    f"({100 * found.share_below:.3g} % below {found.valley:.3g}), p = {p:.2g}",
                    *others,
                    f"rate equations: {comparison.deterministic[-1, i]:.4g}",
                )
            )
    lines.append(
        f"Modes at t = {times[-1]:g} (Hartigans' dip test, p-values times the number of species)"
    )
    if not rows:
        return [*lines, "  one mode is enough for every species"]
    return lines + _table(rows)


def _other(source: str, found: Bimodality) -> str:
    if found.p_value <= _PLAIN and len(found.peaks) == 2:
        return f"{source}: {100 * found.share_below:.3g} % below {found.valley:.3g}"
    return f"{source}: one mode"


def _extinction(comparison: Comparison) -> list[str]:
    rows = []
    for name, share in comparison.extinction["exact"].items():
        others = [
            f"{source} {100 * by_name[name].share:.3g} %"
            for source, by_name in comparison.extinction.items()
            if source != "exact"
        ]
        if share.share > 0.0:
            i = comparison.names.index(name)
            rows.append(
                (
                    name,
                    f"{100 * share.share:.3g} % ({100 * share.lower:.3g} to "
                    f"{100 * share.upper:.3g})",
                    *others,
                    f"rate equations: {comparison.deterministic[-1, i]:.4g} left",
                )
            )
    if not rows:
        return []
    return [f"None left at t = {comparison.times[-1]:g} (Wilson intervals)", *_table(rows)]


def _cycles(comparison: Comparison) -> list[str]:
    rows = []
    for name, found in comparison.oscillations.items():
        cycles, period = found.paths, found.deterministic_period
        if period == 0.0:
            own = "rate equations: come to rest"
        elif math.isnan(period):
            own = "rate equations: fewer than two cycles"
        else:
            own = f"rate equations {period:.4g}"
        rows.append(
            (
                name,
                f"paths {cycles.period:.4g} ± {cycles.period_error:.2g}",
                own,
                f"phase spreads by {cycles.cycle_std:.3g} (std) per cycle: coherent for about "
                f"{cycles.coherence:.2g} cycles",
                f"autocorrelation after one {cycles.correlation:.2f}",
            )
        )
    return ["Oscillations: period (± standard error)", *_table(rows)] if rows else []


def _sizes(comparison: Comparison) -> list[str]:
    rows = []
    for name, found in comparison.scaling.items():
        rows.append(
            (
                name,
                f"bias ~ Omega^{_exponent(found.bias)}",
                f"variance ~ Omega^{_exponent(found.variance)}",
                f"at t = {found.time:g}",
            )
        )
    if not rows:
        return []
    omegas = ", ".join(f"{one.omega:g}" for one in comparison.volumes)
    return [
        f"Concentrations in volumes {omegas}: exponents (± standard error); theory expects -1 for "
        "both around one stable state",
        *_table(rows),
    ]


def _exponent(law: PowerLaw) -> str:
    if math.isnan(law.exponent):
        return "? (too small beside its error)"
    poor = f", poor fit (p = {law.p_value:.1g})" if law.p_value < _PLAIN else ""
    return f"({law.exponent:.3g} ± {law.error:.2g}{poor})"


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the rows with aligned first columns, the rest after commas."""
    listed = list(rows)
    width = max((len(row[0]) for row in listed), default=0)
    lines = [
        f"  {row[0]:<{width}}  " + "; ".join(cell for cell in row[1:] if cell)
        for row in listed[:_ROWS]
    ]
    if len(listed) > _ROWS:
        lines.append(f"  ... and {len(listed) - _ROWS} more names")
    return lines
