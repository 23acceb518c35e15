"""Every error that gillespy_lite raises on purpose, in one place.

Each message says what was wrong, where, and what to do next.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BadPropensityError",
    "CountOverflowError",
    "DamagedFileError",
    "EventLimitError",
    "FormatError",
    "GillespyLiteError",
    "IdentifiabilityWarning",
    "IncompleteWarning",
    "Interrupted",
    "MethodError",
    "MissingExtraError",
    "NetworkError",
    "NotEnoughMemoryError",
    "ParseError",
    "SimulationError",
    "StoreError",
    "StoreLockedError",
    "StoreWarning",
    "StoreWriteError",
    "WorkerError",
]


class GillespyLiteError(Exception):
    """Base of the package's own errors."""


class NetworkError(GillespyLiteError, ValueError):
    """A network that cannot mean anything: an undeclared name, a negative count, ..."""


class ParseError(NetworkError):
    """Text that is not a network, with the place and what to write instead.

    Attributes
    ----------
    source : str
        File name, or ``<text>``.
    line, column : int
        Place of the mistake, both from 1.
    """

    def __init__(self, message: str, source: str, line: int, column: int, line_text: str) -> None:
        self.message = message
        self.source = source
        self.line = line
        self.column = column
        self.line_text = line_text
        super().__init__(message, source, line, column, line_text)

    def __str__(self) -> str:
        # A very long line would bury the caret: show a window around the column.
        start = max(0, self.column - 1 - 60)
        shown = self.line_text[start : start + 100].replace("\t", " ")
        caret = " " * (self.column - 1 - start) + "^"
        return f"{self.source}:{self.line}:{self.column}: {self.message}\n    {shown}\n    {caret}"


class FormatError(NetworkError):
    """A model in another format (SBML, Antimony, .net, GillesPy2) that cannot be read or written.

    The message names the construct, its id and, in a file, its line.
    """


class MethodError(GillespyLiteError, ValueError):
    """A method that is unknown, or cannot do what the network or the call asks for."""


class SimulationError(GillespyLiteError, RuntimeError):
    """A run that had to stop.

    Attributes
    ----------
    result : Trajectory, Ensemble, EnsembleStatistics or None
        What was complete when the run stopped; nothing computed is lost.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class BadPropensityError(SimulationError):
    """A propensity became negative, infinite or not a number."""


class CountOverflowError(SimulationError):
    """A count grew beyond 2**53, above which doubles no longer tell counts apart."""


class EventLimitError(SimulationError):
    """A trajectory needed more events than ``max_events`` allows."""


class WorkerError(SimulationError):
    """Workers of an executor that died time and again, or do not have this package."""


class NotEnoughMemoryError(GillespyLiteError, MemoryError):
    """The result would not fit into memory; refused before the run starts.

    Where memory runs short during a run all the same, `result` has what is finished.

    Attributes
    ----------
    result : Ensemble, EnsembleStatistics or None
        The finished trajectories.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run.

    A ``KeyboardInterrupt``, so scripts stop as they should; whoever catches it finds what
    was complete in ``result``.

    Attributes
    ----------
    result : Trajectory, Ensemble, EnsembleStatistics or None
        The finished trajectories.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class IncompleteWarning(UserWarning):
    """A result holds less than was asked for: ``timeout`` ran out, or ``until`` was not reached."""


class IdentifiabilityWarning(UserWarning):
    """Data do not determine all that was estimated from them."""


class DamagedFileError(GillespyLiteError, ValueError):
    """A file that is not a saved result, or that changed since it was written."""


class StoreError(GillespyLiteError, ValueError):
    """Stored trajectories that do not belong to the run that is asked for."""


class StoreLockedError(StoreError):
    """A store that another run is writing to."""


class StoreWriteError(GillespyLiteError, OSError):
    """A store that could not be written to: a full disk, a folder that may not be changed, ...

    Attributes
    ----------
    result : Ensemble, EnsembleStatistics or None
        The finished trajectories, also those that could not be stored.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class StoreWarning(UserWarning):
    """Something in a store was damaged, and is computed again."""


class MissingExtraError(GillespyLiteError, ImportError):
    """An optional dependency is missing; the message names the extra to install."""
