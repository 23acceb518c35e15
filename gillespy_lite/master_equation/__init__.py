"""The chemical master equation itself: probabilities of states, with a proven error."""

from .information import FisherInformation, fisher_information
from .sensitivities import Sensitivities, master_equation_sensitivities
from .snapshot_fits import SnapshotFit, fit_snapshots
from .snapshots import Improbable, SnapshotLikelihood, snapshot_likelihood
from .solving import solve_master_equation
from .state_space import Generator, StateSearch, StateSpace

__all__ = [
    "FisherInformation",
    "Generator",
    "Improbable",
    "Sensitivities",
    "SnapshotFit",
    "SnapshotLikelihood",
    "StateSearch",
    "StateSpace",
    "fisher_information",
    "fit_snapshots",
    "master_equation_sensitivities",
    "snapshot_likelihood",
    "solve_master_equation",
]
