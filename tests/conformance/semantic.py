"""The deterministic SBML cases: |expected - found| <= absolute + relative |expected|."""

from __future__ import annotations

import numpy as np

import gillespy_lite as gl

from .cases import CaseError, SbmlCase, Settings
from .outcomes import FAILED, PASSED, Outcome, attempt, quantity

# How much more tightly the equations are solved than they are judged.
_TIGHTER = 1e-5


def run_semantic(case: SbmlCase) -> Outcome:
    """Solve a case and score it."""
    return attempt(case.name, "ode", case.model, lambda: _scored(case))


def _scored(case: SbmlCase) -> Outcome:
    settings, expected = case.settings, case.results
    check_times(settings, expected["time"])
    network = gl.Network.from_sbml(case.model)
    path = gl.simulate(network, settings.times, method="ode", **tolerances(settings, network))
    n_points, out = 0, []
    for name in settings.variables:
        if name not in expected:
            raise CaseError(f"the table of results has no column {name}")
        found = quantity(path, network, name, settings.unit_of(name))
        excess = excess_of(expected[name], found, settings.absolute, settings.relative)
        n_points += excess.size
        out += [(excess[i], name, i, found[i]) for i in np.flatnonzero(excess > 1.0)]
    detail = ""
    if out:
        _, name, i, found_there = max(out)
        detail = (
            f"{name} at t = {settings.times[i]:g} is {found_there:.10g}, "
            f"not {expected[name][i]:.10g}"
        )
    return Outcome(case.name, "ode", FAILED if out else PASSED, n_points, len(out), detail)


def check_times(settings: Settings, times: np.ndarray) -> None:
    """Refuse a table whose times are not those of the settings."""
    step = settings.duration / max(settings.steps, 1)
    grid = settings.times
    if times.size != grid.size or np.abs(times - grid).max() > 1e-2 * step:
        raise CaseError("the times of the table are not those of the settings")


def tolerances(settings: Settings, network: gl.Network) -> dict[str, float]:
    """Return the solver's tolerances: of amounts, though concentrations may be judged."""
    parameters = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
    sizes = [abs(parameters.get(one.size, 1.0)) for one in network.compartments]
    smallest = min([1.0, *(size for size in sizes if size > 0.0)])
    absolute = settings.absolute or 1e-9
    return {
        "rtol": min(1e-8, max((settings.relative or 1e-6) * _TIGHTER, 1e-12)),
        "atol": max(absolute * _TIGHTER * smallest, 1e-30),
    }


def excess_of(
    expected: np.ndarray, found: np.ndarray, absolute: float, relative: float
) -> np.ndarray:
    """Return the distance of each point in units of what is allowed: above 1 is out.

    What is not finite must be met by the same.
    """
    same = (np.isnan(expected) & np.isnan(found)) | (expected == found)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.abs(expected - found)
        excess = distance / (absolute + relative * np.abs(expected))
        # A bound of 0 leaves no room, and a comparison with what is not finite none either.
        excess = np.where(np.isfinite(excess), excess, np.inf)
    return np.where(same, 0.0, excess)
