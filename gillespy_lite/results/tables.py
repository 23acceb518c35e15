"""Columns in the forms of pandas and xarray.

`axes` are the axes before the last one, by name: ``trajectory`` and ``time``, or ``time`` alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import MissingExtraError
from .provenance import Provenance

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = [
    "labelled_array",
    "labelled_dataset",
    "labelled_states",
    "long_table",
    "plain_table",
    "scan_dataset",
    "wide_table",
]

Axes: TypeAlias = Mapping[str, np.ndarray]


def _import_extra(module: str) -> Any:
    """Import a package that is an extra of the same name, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs {module}, which is not installed: pip install gillespy_lite[{module}]"
        ) from error


def plain_table(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """Return columns of equal length as they are."""
    return _import_extra("pandas").DataFrame(dict(columns))  # type: ignore[no-any-return]


def long_table(
    axes: Axes, columns: Sequence[str], numbers: Mapping[str, np.ndarray]
) -> pandas.DataFrame:
    """Return one row per cell: its place on the axes, its column's name and its numbers."""
    pandas = _import_extra("pandas")
    places = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
    # A categorical stores one small number per row.
    codes = np.tile(np.arange(len(columns)), places["time"].size)
    table = {axis: np.repeat(place, len(columns)) for axis, place in places.items()}
    table["species"] = pandas.Categorical.from_codes(codes, categories=list(columns))
    table.update({name: cells.ravel() for name, cells in numbers.items()})
    return pandas.DataFrame(table)  # type: ignore[no-any-return]


def wide_table(axes: Axes, columns: Sequence[str], cells: np.ndarray) -> pandas.DataFrame:
    """Return one row per place on the axes, which are the index, and one column per name."""
    pandas = _import_extra("pandas")
    if len(axes) == 1:
        index = pandas.Index(axes["time"], name="time")
    else:
        index = pandas.MultiIndex.from_product(axes.values(), names=list(axes))
    rows = cells.reshape(len(index), len(columns))
    return pandas.DataFrame(rows, index=index, columns=list(columns))  # type: ignore[no-any-return]


def labelled_array(
    axes: Axes,
    columns: Sequence[str],
    cells: np.ndarray,
    provenance: Provenance,
    **along: tuple[str, np.ndarray],
) -> xarray.DataArray:
    """Return the cells with names for all axes; `along`: further coordinates, with their axis."""
    return _import_extra("xarray").DataArray(  # type: ignore[no-any-return]
        cells,
        dims=(*axes, "species"),
        coords={**axes, "species": list(columns), **along},
        name="count",
        attrs=_attributes(provenance),
    )


def labelled_dataset(
    axes: Axes, columns: Sequence[str], numbers: Mapping[str, np.ndarray], provenance: Provenance
) -> xarray.Dataset:
    """Return one variable per kind of number, each with one column per name."""
    return _import_extra("xarray").Dataset(  # type: ignore[no-any-return]
        {name: ((*axes, "species"), cells) for name, cells in numbers.items()},
        coords={**axes, "species": list(columns)},
        attrs=_attributes(provenance),
    )


def labelled_states(
    times: np.ndarray,
    counts: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    error_bound: np.ndarray,
    provenance: Provenance,
) -> xarray.Dataset:
    """Return the probabilities of states over time, with the counts of each state."""
    attributes = {**_attributes(provenance), "units": "probability"}
    return _import_extra("xarray").Dataset(  # type: ignore[no-any-return]
        {
            "probability": (("time", "state"), probabilities),
            "error_bound": (("time",), error_bound),
        },
        coords={"time": times, **{name: ("state", column) for name, column in counts.items()}},
        attrs=attributes,
    )


def scan_dataset(
    axes: Axes | None,
    parameters: Axes,
    times: np.ndarray,
    columns: Sequence[str],
    numbers: Mapping[str, np.ndarray],
    provenance: Provenance,
) -> xarray.Dataset:
    """Return tables over parameter sets, whose axes are those of a grid or, without, the sets.

    A varied name that is one of the other dimensions or variables is written with "_" behind it.
    """
    taken = {"time", "species", "set", *numbers}

    def free(name: str) -> str:
        return f"{name}_" if name in taken else name

    coordinates: dict[str, object] = {"time": times, "species": list(columns)}
    if axes is None:
        dims: tuple[str, ...] = ("set",)
        coordinates |= {free(name): ("set", values) for name, values in parameters.items()}
    else:
        dims = tuple(map(free, axes))
        coordinates |= {free(name): values for name, values in axes.items()}
    every = (*dims, "time", "species")
    variables = {name: (every[: np.ndim(cells)], cells) for name, cells in numbers.items()}
    xarray = _import_extra("xarray")
    return xarray.Dataset(variables, coordinates, _attributes(provenance))  # type: ignore[no-any-return]


def _attributes(provenance: Provenance) -> dict[str, str]:
    """Return the provenance as text, which every file format of xarray can hold."""
    return {
        "units": "molecules (species)",
        "network": provenance.network_text,
        "network_digest": provenance.network_digest,
        "method": provenance.method,
        "options": repr(provenance.options),
        "entropy": str(provenance.entropy),
        "stream_version": str(provenance.stream_version),
        "package_version": provenance.package_version,
    }
