"""The rate equations as a recurrent network: cells, gradients through time, fits, comparisons."""

from __future__ import annotations

from ..errors import IdentifiabilityWarning
from .cells import CELLS
from .comparing import compare
from .comparison import Comparison
from .correction import CorrectedFit, correct
from .estimates import Estimate
from .experiments import Experiment
from .fit_result import FitResult
from .fitting import fit, objective_of
from .noise_models import NOISE_MODELS, Gaussian, LogNormal, Poisson
from .recurrence import Recurrence
from .trainers import SGD, TRAINERS, Adam, Momentum, Nesterov
from .training import TrainingHistory, TrainingResult, train
from .unrolled import Gradient, Unrolled
from .volume import scale_volume

__all__ = [
    "CELLS",
    "NOISE_MODELS",
    "SGD",
    "TRAINERS",
    "Adam",
    "Comparison",
    "CorrectedFit",
    "Estimate",
    "Experiment",
    "FitResult",
    "Gaussian",
    "Gradient",
    "IdentifiabilityWarning",
    "LogNormal",
    "Momentum",
    "Nesterov",
    "Poisson",
    "Recurrence",
    "TrainingHistory",
    "TrainingResult",
    "Unrolled",
    "compare",
    "correct",
    "fit",
    "objective_of",
    "scale_volume",
    "train",
]
