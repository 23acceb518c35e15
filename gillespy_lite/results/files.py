"""Files of results, written completely or not at all: a sealed archive of arrays, and CSV.

A saved result is an ordinary ``.npz`` archive: one ``.npy`` member per array, and a member
``gillespy_lite.json`` with the format's version, the network's text and the provenance. The
archive's comment, its last bytes, holds the SHA-256 digest of every byte before it, so that one
flipped bit anywhere, also in places that a zip reader never looks at, is noticed. Nothing is ever
pickled: ``numpy.load(path, allow_pickle=False)`` reads the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import DamagedFileError
from ..version import __version__

__all__ = [
    "FORMAT_VERSION",
    "NARROW_DTYPES",
    "read_archive",
    "replacing",
    "write_archive",
    "write_csv",
]

# Raised when an older package can no longer read what this one writes.
FORMAT_VERSION = 1

_HEADER_MEMBER = "gillespy_lite.json"
_DIGEST_LABEL = b"gillespy_lite sha256 "
_DIGEST_LENGTH = 64  # hexadecimal digits
_ALLOWED_DTYPES = (np.dtype("<i8"), np.dtype("<f8"))
# Also what is as narrow as its numbers allow.
NARROW_DTYPES = (
    *_ALLOWED_DTYPES,
    *(np.dtype(name) for name in ("u1", "<u2", "<u4", "i1", "<i2", "<i4")),
)
_CHUNK = 1 << 20  # bytes read at a time
_WRITTEN_AT_ONCE = 1 << 24  # bytes
# Level 1 is several times faster than the usual 6, and counts shrink almost as much.
_COMPRESSION_LEVEL = 1
_CSV_ROWS_PER_WRITE = 4096


def write_archive(
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    compressed: bool = True,
    dtypes: Sequence[np.dtype[Any]] = _ALLOWED_DTYPES,
) -> None:
    """Write a header and arrays to `path`, either completely or not at all.

    The header holds what JSON can; the format's and the package's versions are added to it. The
    arrays, of any shape, keep their dtype if it is one of `dtypes`; else they become int64 or
    float64. Raises what `replacing` raises.
    """
    complete_header = {
        "format": "gillespy_lite result",
        "format_version": FORMAT_VERSION,
        "written_by": f"gillespy_lite {__version__}",
        **header,
    }
    text = json.dumps(complete_header, ensure_ascii=False, indent=1, default=_plain_number)
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w") as archive:
            # The header's name, near the start of the file, marks the file as ours.
            archive.writestr(_member(_HEADER_MEMBER), text.encode())
            for name, array in arrays.items():
                # So that every machine reads it alike.
                dtype = array.dtype.newbyteorder("<")
                if dtype not in dtypes:
                    dtype = np.dtype("<i8") if array.dtype.kind in "iu" else np.dtype("<f8")
                plain = np.ascontiguousarray(array, dtype=dtype)
                info = _member(f"{name}.npy", compressed)
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(
                        member, np.lib.format.header_data_from_array_1_0(plain)
                    )
                    # As it lies in memory: `numpy.lib.format.write_array` would copy it first.
                    data = plain.reshape(-1).view(np.uint8)
                    for start in range(0, data.size, _WRITTEN_AT_ONCE):
                        member.write(data[start : start + _WRITTEN_AT_ONCE].data)
            archive.comment = _DIGEST_LABEL + b"0" * _DIGEST_LENGTH
        sealed_length = file.tell() - _DIGEST_LENGTH
        digest = _digest_of_beginning(file, sealed_length)
        file.seek(sealed_length)
        file.write(digest.encode())


def read_archive(
    path: str | os.PathLike[str], dtypes: Sequence[np.dtype[Any]] = _ALLOWED_DTYPES
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_archive` wrote with these `dtypes`, and refuse anything else.

    Returns the header, with ``format``, ``format_version`` and ``written_by`` in it, and the arrays
    by name. Raises `DamagedFileError` if the file is not one of ours, is cut short, has changed
    since it was written, or has a format newer than this package; `OSError` if it cannot be read.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        _check_digest(file, name)
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_members(archive, name, dtypes)
        except DamagedFileError:
            raise
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            KeyError,
            NotImplementedError,
            RuntimeError,  # includes RecursionError: a header nested too deep
            TypeError,
            ValueError,
        ) as error:
            # The digest was right, so this file was made wrong, by other means than this module.
            raise DamagedFileError(f"{name!r} cannot be read as a saved result: {error}") from error


def write_csv(
    path: str | os.PathLike[str], column_names: Sequence[str], lines: Iterable[str]
) -> None:
    """Write a CSV table in UTF-8, either completely or not at all.

    A device such as ``/dev/stdout`` is written to directly. No column name holds a comma or a
    quote, because the language allows none; the lines come without their ends.
    """
    all_lines = chain([",".join(column_names)], lines)
    with replacing(path) if _is_replaceable(path) else open(path, "wb") as file:
        while rows := list(islice(all_lines, _CSV_ROWS_PER_WRITE)):
            file.write(("\n".join(rows) + "\n").encode())


def _is_replaceable(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is free or a regular file, so that renaming over it does no harm."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return True


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success sync it and give it that name.

    A crash or a full disk leaves an older file of this name as it was. Raises `ValueError` if
    `path` is something else than a regular file (a folder, a device), `OSError` if the folder is
    missing or not writable, or the disk is full.
    """
    if not _is_replaceable(path):
        raise ValueError(
            f"cannot write to {os.fspath(path)!r}: it exists and is not a regular file; "
            "give the name of a file"
        )
    # Write through a symbolic link instead of replacing the link by a file.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # The new name must survive a power cut, too; some systems cannot sync a folder.
    with contextlib.suppress(OSError):
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _member(name: str, compressed: bool = True) -> zipfile.ZipInfo:
    """Describe one archive member, without a date, so that equal results give equal files."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    # Python 3.13 gave this attribute a public name and kept the older one as an alias.
    info._compresslevel = _COMPRESSION_LEVEL  # type: ignore[attr-defined]
    info.external_attr = 0o644 << 16
    info.create_system = 3
    return info


def _plain_number(value: Any) -> Any:
    """Return a NumPy number as the Python number that JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a file's header cannot hold {value!r}")


def _digest_of_beginning(file: IO[bytes], length: int) -> str:
    """SHA-256 of the first `length` bytes of `file`, in hexadecimal."""
    file.seek(0)
    digest = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(_CHUNK, length))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()


def _check_digest(file: IO[bytes], name: str) -> None:
    """Refuse a file whose bytes are not those that were written, and say in which way."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise DamagedFileError(f"{name!r} is empty; it is not a saved result")
    file.seek(0)
    # A zip member's name starts at byte 30 of its local header.
    beginning = file.read(30 + len(_HEADER_MEMBER))
    marked_start = beginning[:4] == b"PK\x03\x04" and beginning[30:] == _HEADER_MEMBER.encode()
    trailer_length = len(_DIGEST_LABEL) + _DIGEST_LENGTH
    file.seek(max(0, size - trailer_length))
    trailer = file.read()
    marked_end = trailer.startswith(_DIGEST_LABEL) and len(trailer) == trailer_length
    if not marked_start and not marked_end:
        raise DamagedFileError(
            f"{name!r} is not a result saved by gillespy_lite: it neither begins nor ends like one"
        )
    if not marked_start:
        raise DamagedFileError(f"{name!r} is damaged: its first bytes have changed")
    if not marked_end:
        raise DamagedFileError(
            f"{name!r} is damaged: its end, which holds the digest, is missing or has changed "
            f"({size} bytes are there); the file was probably cut short while it was copied"
        )
    found = _digest_of_beginning(file, size - _DIGEST_LENGTH)
    recorded = trailer[len(_DIGEST_LABEL) :].decode("ascii", errors="replace")
    if found != recorded:
        raise DamagedFileError(
            f"{name!r} is damaged: its content has changed since it was written "
            f"(SHA-256 {found[:12]}..., recorded {recorded[:12]}...); copy it again or rerun"
        )


def _read_members(
    archive: zipfile.ZipFile, name: str, dtypes: Sequence[np.dtype[Any]]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header = json.loads(archive.read(_HEADER_MEMBER))
    if not isinstance(header, dict):
        raise DamagedFileError(f"{name!r} has a header that is not a table of names and values")
    version = header.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise DamagedFileError(f"{name!r} states no format version, but {version!r}")
    if version > FORMAT_VERSION:
        raise DamagedFileError(
            f"{name!r} has format version {version}, written by {header.get('written_by')!s}; "
            f"this is gillespy_lite {__version__}, which reads versions up to {FORMAT_VERSION}: "
            "install a newer one"
        )
    arrays = {
        info.filename.removesuffix(".npy"): _read_array(archive, info, name, dtypes)
        for info in archive.infolist()
        if info.filename != _HEADER_MEMBER
    }
    return header, arrays


def _read_array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, dtypes: Sequence[np.dtype[Any]]
) -> np.ndarray:
    """Read one member, after checking that it can hold what its own header promises."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise DamagedFileError(f"{name!r}: array {info.filename!r} has npy version {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype not in dtypes:
            raise DamagedFileError(
                f"{name!r}: array {info.filename!r} holds {dtype}, not "
                f"{' or '.join(map(str, dtypes))}"
            )
        # A promise of more data than there are would be believed, and reserve the memory.
        promised, held = dtype.itemsize * math.prod(shape), info.file_size - member.tell()
        if promised != held:
            raise DamagedFileError(
                f"{name!r}: array {info.filename!r} promises {promised} bytes in shape {shape}, "
                f"but holds {held}"
            )
    with archive.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
    return np.asarray(array, dtype=dtype.newbyteorder("="))
