"""What a run gives back: one trajectory, an ensemble, or the statistics of an ensemble.

A result holds plain arrays, the names of their columns, the network and the provenance. Axes come
in the order trajectory, time, column. The *columns* of a result are what was recorded: species
first, then observables, in the order of `columns`; every table (`mean`, `at`, `summary`,
`to_pandas`, ...) has one column per such name, and every method that takes a ``name`` also takes
the name of an observable that was not recorded, as long as the species it needs were.

Nothing is computed before it is asked for, and arrays handed out are read-only.
"""

from .distribution import Distribution
from .ensemble import Ensemble
from .first_passage import FirstPassage, SplittingProbabilities
from .loading import load
from .precision import PrecisionReport, PrecisionStep, TargetPrecision
from .provenance import Provenance
from .scan import Scan
from .stationary import QuasiStationaryDistribution, StationaryDistribution, SwitchingTimes
from .statistics import EnsembleStatistics
from .trajectory import Trajectory

__all__ = [
    "Distribution",
    "Ensemble",
    "EnsembleStatistics",
    "FirstPassage",
    "PrecisionReport",
    "PrecisionStep",
    "Provenance",
    "QuasiStationaryDistribution",
    "Scan",
    "SplittingProbabilities",
    "StationaryDistribution",
    "SwitchingTimes",
    "TargetPrecision",
    "Trajectory",
    "load",
]
