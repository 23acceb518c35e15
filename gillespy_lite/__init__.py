"""Stochastic reaction networks: from a few lines of text to ensembles, numbers and plots.

>>> import gillespy_lite as gl
>>> network = gl.Network.parse('''
...     species X = 0
...     param k = 10, g = 0.5
...     0 -> X @ k
...     X -> 0 @ g
... ''')
>>> runs = gl.ensemble(network, 20, 1000, rng=1)
>>> runs.counts.shape
(1000, 101, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors
from .errors import (
    FormatError,
    GillespyLiteError,
    IdentifiabilityWarning,
    IncompleteWarning,
    Interrupted,
    MethodError,
    NetworkError,
    ParseError,
    SimulationError,
)
from .network import (
    Compartment,
    Delay,
    Event,
    Network,
    Observable,
    Parameter,
    Reaction,
    Species,
    Variable,
    nothing,
    propensity,
    t,
)
from .results import (
    Distribution,
    Ensemble,
    EnsembleStatistics,
    FirstPassage,
    PrecisionReport,
    Provenance,
    QuasiStationaryDistribution,
    Scan,
    SplittingProbabilities,
    StationaryDistribution,
    SwitchingTimes,
    Trajectory,
    load,
)
from .version import __version__

if TYPE_CHECKING:
    from . import (
        certification,
        master_equation,
        models,
        moments,
        multilevel_estimation,
        ode_rnn,
        plotting,
        precision,
        scans,
    )
    from .certification import Certificate, certify
    from .ensembles import ensemble, replay
    from .master_equation import (
        first_passage,
        fisher_information,
        fit_snapshots,
        master_equation_sensitivities,
        quasi_stationary_distribution,
        snapshot_likelihood,
        solve_master_equation,
        splitting_probabilities,
        stationary_distribution,
        switching_times,
    )
    from .methods import (
        METHODS,
        CompositionRejection,
        Direct,
        ExactLeaping,
        FirstReaction,
        Method,
        NextReaction,
        Ode,
        PartialPropensity,
        Rejection,
        TauLeaping,
    )
    from .moments import (
        linear_noise,
        moment_equations,
        product_form,
        solve_moments,
        stationary_noise,
    )
    from .multilevel_estimation import MultilevelEstimate, multilevel
    from .ode_rnn import Experiment, Recurrence, compare, correct, fit, scale_volume
    from .precision import ControlledMean, Difference, controlled_mean, difference
    from .scans import SobolIndices, scan, sobol
    from .simulation import simulate
    from .stores import ScanStore, Store, merge_stores, open_store

__all__ = [
    "METHODS",
    "Certificate",
    "Compartment",
    "CompositionRejection",
    "ControlledMean",
    "Delay",
    "Difference",
    "Direct",
    "Distribution",
    "Ensemble",
    "EnsembleStatistics",
    "Event",
    "ExactLeaping",
    "Experiment",
    "FirstPassage",
    "FirstReaction",
    "FormatError",
    "GillespyLiteError",
    "IdentifiabilityWarning",
    "IncompleteWarning",
    "Interrupted",
    "Method",
    "MethodError",
    "MultilevelEstimate",
    "Network",
    "NetworkError",
    "NextReaction",
    "Observable",
    "Ode",
    "Parameter",
    "ParseError",
    "PartialPropensity",
    "PrecisionReport",
    "Provenance",
    "QuasiStationaryDistribution",
    "Reaction",
    "Recurrence",
    "Rejection",
    "Scan",
    "ScanStore",
    "SimulationError",
    "SobolIndices",
    "Species",
    "SplittingProbabilities",
    "StationaryDistribution",
    "Store",
    "SwitchingTimes",
    "TauLeaping",
    "Trajectory",
    "Variable",
    "__version__",
    "certification",
    "certify",
    "compare",
    "controlled_mean",
    "correct",
    "difference",
    "ensemble",
    "errors",
    "first_passage",
    "fisher_information",
    "fit",
    "fit_snapshots",
    "linear_noise",
    "load",
    "master_equation",
    "master_equation_sensitivities",
    "merge_stores",
    "models",
    "moment_equations",
    "moments",
    "multilevel",
    "multilevel_estimation",
    "nothing",
    "ode_rnn",
    "open_store",
    "plotting",
    "precision",
    "product_form",
    "propensity",
    "quasi_stationary_distribution",
    "replay",
    "scale_volume",
    "scan",
    "scans",
    "simulate",
    "snapshot_likelihood",
    "sobol",
    "solve_master_equation",
    "solve_moments",
    "splitting_probabilities",
    "stationary_distribution",
    "stationary_noise",
    "switching_times",
    "t",
]

# Found when first used: they bring in Numba (a quarter of a second) or Matplotlib.
_HOMES = {
    "ensemble": "ensembles",
    "replay": "ensembles",
    "simulate": "simulation",
    **dict.fromkeys(("ScanStore", "Store", "merge_stores", "open_store"), "stores"),
    **dict.fromkeys(("Certificate", "certify"), "certification"),
    **dict.fromkeys(("MultilevelEstimate", "multilevel"), "multilevel_estimation"),
    **dict.fromkeys(("ControlledMean", "Difference", "controlled_mean", "difference"), "precision"),
    **dict.fromkeys(("SobolIndices", "scan", "sobol"), "scans"),
    **dict.fromkeys(
        (
            *(
                "first_passage",
                "fisher_information",
                "fit_snapshots",
                "master_equation_sensitivities",
            ),
            *("quasi_stationary_distribution", "snapshot_likelihood", "solve_master_equation"),
            *("splitting_probabilities", "stationary_distribution", "switching_times"),
        ),
        "master_equation",
    ),
    **dict.fromkeys(
        ("Experiment", "Recurrence", "compare", "correct", "fit", "scale_volume"), "ode_rnn"
    ),
    **dict.fromkeys(
        (
            *("linear_noise", "moment_equations", "product_form", "solve_moments"),
            "stationary_noise",
        ),
        "moments",
    ),
    **dict.fromkeys(
        (
            *("METHODS", "CompositionRejection", "Direct", "ExactLeaping", "FirstReaction"),
            *("Method", "NextReaction", "Ode", "PartialPropensity", "Rejection", "TauLeaping"),
        ),
        "methods",
    ),
}

_PACKAGES = {
    *("certification", "master_equation", "models", "moments", "multilevel_estimation"),
    *("ode_rnn", "plotting", "precision", "scans"),
}


def __getattr__(name: str) -> object:
    import importlib

    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
