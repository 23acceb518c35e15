"""Stores in the formats of others: Zarr, netCDF, Parquet and CSV."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import MissingExtraError
from ..results import Ensemble, EnsembleStatistics, Scan
from ..results.files import write_csv
from .scan_store import ScanStore
from .store import Store

__all__ = ["EXPORTS", "export_store"]


def export_store(store: Store | ScanStore, path: str | os.PathLike[str]) -> None:
    """Write what is in a store to a file of another format, completely or not at all.

    Kept trajectories go piece by piece, in memory that does not grow with the store, except to
    netCDF. Their numbers are the coordinate or column ``trajectory``. Of a scan the statistics are
    written, as `Scan.to_xarray` and `Scan.to_pandas` give them, with what was varied as coordinates
    or columns.

    Parameters
    ----------
    store : Store or ScanStore
    path : str or path-like
        Its ending says which: ``.zarr`` (a folder, through xarray and zarr), ``.nc`` (through
        xarray and netCDF4), ``.parquet`` (through pandas and pyarrow) or ``.csv``.

    Raises
    ------
    ValueError
        If the ending is another one, or there is a folder of this name.
    MissingExtraError
        If a package is missing; the message says which extra to install.
    StoreError
        If there is nothing in the store.
    """
    target = Path(path)
    write = EXPORTS.get(target.suffix.lower())
    if write is None:
        raise ValueError(
            f"{os.fspath(path)!r} must end in {', '.join(EXPORTS)}, which says how to write it"
        )
    if target.is_dir():
        raise ValueError(f"{os.fspath(path)!r} is there already; remove it, or give another name")
    write(store, target)


@contextlib.contextmanager
def _in_place_of(target: Path) -> Iterator[Path]:
    """Give a name to write to; in the end what was written gets the name of the target."""
    # With its ending, which some writers look at.
    temporary = target.with_name(f".{secrets.token_hex(8)}.part{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


def _needs(extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"this needs packages that are not installed: pip install gillespy_lite[{extra}]"
    )


def _dataset(result: Ensemble | EnsembleStatistics | Scan) -> Any:
    labelled = result.to_xarray()
    return labelled.to_dataset(name="count") if isinstance(result, Ensemble) else labelled


def _goes_by_pieces(store: Store | ScanStore) -> TypeGuard[Store]:
    """Whether a store is of kept trajectories, which can be written piece by piece."""
    return isinstance(store, Store) and store.keeps_trajectories


def _write_zarr(store: Store | ScanStore, target: Path) -> None:
    try:
        import xarray  # noqa: F401
        import zarr  # noqa: F401
    except ImportError as error:
        raise _needs("zarr") from error
    with _in_place_of(target) as temporary:
        if not _goes_by_pieces(store):
            _dataset(store.load()).to_zarr(temporary, mode="w")
            return
        how: dict[str, Any] = {"mode": "w"}
        for piece in store:
            data = _dataset(piece)
            # What is constant along trajectories is written once.
            data.to_zarr(temporary, **how)
            how = {"append_dim": "trajectory"}


def _write_netcdf(store: Store | ScanStore, target: Path) -> None:
    try:
        import netCDF4  # noqa: F401
        import xarray  # noqa: F401
    except ImportError as error:
        raise _needs("netcdf") from error
    with _in_place_of(target) as temporary:
        _dataset(store.load()).to_netcdf(temporary, engine="netcdf4", format="NETCDF4")


def _write_parquet(store: Store | ScanStore, target: Path) -> None:
    try:
        import pandas  # noqa: F401
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise _needs("parquet") from error
    with _in_place_of(target) as temporary:
        if not _goes_by_pieces(store):
            store.load().to_pandas().to_parquet(temporary, engine="pyarrow")
            return
        writer = None
        try:
            for piece in store:
                assert isinstance(piece, Ensemble)
                table = pyarrow.Table.from_pandas(
                    piece.to_pandas(wide=True).reset_index(), preserve_index=False
                )
                if writer is None:
                    writer = parquet.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()


def _write_csv(store: Store | ScanStore, target: Path) -> None:
    if not _goes_by_pieces(store):
        store.load().to_csv(target)
        return
    pieces = iter(store)
    first = next(pieces, None)
    if first is None:
        store.load()  # which says that there is nothing
        return
    assert isinstance(first, Ensemble)

    def lines() -> Iterator[str]:
        yield from first.csv_lines()
        for piece in pieces:
            assert isinstance(piece, Ensemble)
            yield from piece.csv_lines()

    write_csv(target, ["trajectory", "time", *first.columns], lines())


EXPORTS: dict[str, Callable[[Store | ScanStore, Path], None]] = {
    ".zarr": _write_zarr,
    ".nc": _write_netcdf,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
}
