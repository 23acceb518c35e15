"""Saved results read back as the class that they were."""

from __future__ import annotations

import os
from typing import Any

from ..errors import DamagedFileError
from ..network import Network
from .distribution import Distribution
from .ensemble import Ensemble
from .files import read_archive
from .precision import PrecisionReport
from .provenance import Provenance
from .scan import Scan
from .stationary import QuasiStationaryDistribution, StationaryDistribution
from .statistics import EnsembleStatistics
from .trajectory import Trajectory

__all__ = ["load"]

_SAVED_CLASSES = {
    saved.__name__: saved
    for saved in (
        *(Trajectory, Ensemble, EnsembleStatistics, Distribution),
        *(StationaryDistribution, QuasiStationaryDistribution, Scan),
    )
}


def load(
    path: str | os.PathLike[str],
) -> Trajectory | Ensemble | EnsembleStatistics | Distribution | Scan:
    """Read a result that was written by ``save``.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Trajectory, Ensemble, EnsembleStatistics, Distribution or Scan
        The same arrays, names, network and provenance that were saved.

    Raises
    ------
    DamagedFileError
        If the file is not a saved result, is cut short or has changed since it was written, or
        has a newer format than this package reads. Nothing in the file is ever executed.
    OSError
        If there is no such file, or it cannot be read.
    """
    header, arrays = read_archive(path)
    name = os.fspath(path)
    kind = str(header.get("kind"))
    if kind not in _SAVED_CLASSES:
        raise DamagedFileError(f"{name!r} holds {kind!r}, not one of {', '.join(_SAVED_CLASSES)}")
    result_class: Any = _SAVED_CLASSES[kind]
    try:
        contents = {**header["fields"], **arrays}
        contents["network"] = Network.parse(contents["network"])
        origin = dict(contents["provenance"])
        if origin.pop("network_digest") != contents["network"].digest:
            raise ValueError("its network is not the one whose digest it gives")
        contents["provenance"] = Provenance(network=contents["network"], **origin)
        for names in ("species", "observables"):
            contents[names] = tuple(map(str, contents[names]))
        if contents.get("precision") is not None:
            contents["precision"] = PrecisionReport.from_json(contents["precision"])
        result = result_class(**contents)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{name!r} does not describe a result: {error}") from error
    return result  # type: ignore[no-any-return]
