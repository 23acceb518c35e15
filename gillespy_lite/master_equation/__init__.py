"""The chemical master equation itself: probabilities of states, with a proven error."""

from .information import FisherInformation, fisher_information
from .passages import first_passage, splitting_probabilities
from .sensitivities import Sensitivities, master_equation_sensitivities
from .snapshot_fits import SnapshotFit, fit_snapshots
from .snapshots import Improbable, SnapshotLikelihood, snapshot_likelihood
from .solving import solve_master_equation
from .state_space import Generator, StateSearch, StateSpace
from .stationary import (
    quasi_stationary_distribution,
    stationary_distribution,
    switching_times,
)

__all__ = [
    "FisherInformation",
    "Generator",
    "Improbable",
    "Sensitivities",
    "SnapshotFit",
    "SnapshotLikelihood",
    "StateSearch",
    "StateSpace",
    "first_passage",
    "fisher_information",
    "fit_snapshots",
    "master_equation_sensitivities",
    "quasi_stationary_distribution",
    "snapshot_likelihood",
    "solve_master_equation",
    "splitting_probabilities",
    "stationary_distribution",
    "switching_times",
]
