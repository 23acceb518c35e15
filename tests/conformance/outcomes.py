"""What became of a case: one line of the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gillespy_lite.errors import MethodError, NetworkError
from gillespy_lite.network import Network

PASSED, FAILED, REFUSED, ERROR = "passed", "failed", "refused", "error"

# What the readers refuse on purpose; any other refusal of a model is a failure.
_DELIBERATE = (
    ("algebraic rule", re.compile(r"<(?:\w+:)?algebraicRule\b")),
    ("delay function", re.compile(r"symbols/delay\b")),
    ("fast reaction", re.compile(r"""\bfast\s*=\s*["'](?:true|1)["']""")),
    ("package", re.compile(r"\b(?:comp|fbc|multi|qual|distrib|arrays|spatial):required\b")),
)


@dataclass(frozen=True)
class Outcome:
    """How one case did with one method."""

    case: str
    method: str
    status: str  # "passed", "failed", "refused" (on purpose) or "error"
    n_points: int = 0  # compared
    n_out: int = 0  # outside their bounds
    detail: str = ""  # the worst point, or the message
    seeds: tuple[int, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether it passed, or was refused for a construct that is left out on purpose."""
        return self.status in (PASSED, REFUSED)

    def __str__(self) -> str:
        counts = f", {self.n_out} of {self.n_points} points out" if self.n_points else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.case} by {self.method} {self.status}{counts}{detail}"


def left_out_on_purpose(model: Path) -> str:
    """Name the first construct of an SBML model that is refused on purpose, or nothing."""
    text = model.read_text("utf-8", errors="replace")
    return next((name for name, pattern in _DELIBERATE if pattern.search(text)), "")


def attempt(case: str, method: str, model: Path, score: Callable[[], Outcome]) -> Outcome:
    """Score a case; an error of the package becomes an outcome."""
    try:
        return score()
    except (NetworkError, MethodError) as problem:
        construct = left_out_on_purpose(model) if model.suffix == ".xml" else ""
        status, detail = (REFUSED, construct) if construct else (ERROR, _first_line(problem, model))
        return Outcome(case, method, status, detail=detail)
    except Exception as problem:  # whatever goes wrong with one case, the others are run
        return Outcome(case, method, ERROR, detail=_first_line(problem, model))


def _first_line(problem: Exception, model: Path) -> str:
    text = str(problem).replace(str(model.parent) + "/", "").strip()
    first = text.splitlines()[0] if text else ""
    return f"{type(problem).__name__}: {first[:300]}"


def quantity(result: object, network: Network, name: str, unit: str) -> np.ndarray:
    """Return a path, or all paths, of an id as the case wants it."""
    in_compartment = any(name in one.contents for one in network.compartments)
    if unit == "concentration":
        return np.asarray(result.concentration(name), dtype=np.float64)
    # What stands in no compartment is an amount by itself, or no amount at all.
    if unit == "amount" and in_compartment:
        return np.asarray(result.amount(name), dtype=np.float64)
    return np.asarray(result[name], dtype=np.float64)
