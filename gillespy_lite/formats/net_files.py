"""BioNetGen's ``.net`` files as text: where they come from, their blocks and their lines."""

from __future__ import annotations

import lzma
import os
import re
from pathlib import Path
from typing import NamedTuple, NoReturn

from ..errors import FormatError
from ..rate_laws import shown

__all__ = ["Block", "Line", "blocks_of", "refuse_at", "source_text"]

_MAX_BYTES = 64 * 2**20  # of text; networks of 58,276 reactions have 2.4 MB
_MAX_LINE = 1_000_000  # characters
_XZ_MEMORY = 128 * 2**20  # bytes that unpacking may use
_MAX_BLOCKS = 1_000

# Settings that say nothing about the network itself.
_IGNORED = re.compile(
    r"(?:substanceUnits|setOption|version)\s*\(.*\)\s*;?|(?:begin|end)\s+model", re.IGNORECASE
)


class Line(NamedTuple):
    """A line that says something, without its comment."""

    number: int  # from 1
    text: str


class Block(NamedTuple):
    """What stands between ``begin name`` and ``end name``."""

    name: str
    lines: list[Line]


def refuse_at(source: str, number: int, message: str) -> NoReturn:
    """Raise the error that names a line."""
    raise FormatError(f"{source}, line {number}: {message}")


def source_text(text_or_path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return how messages call a source, and its text.

    A string with a line break is the text itself. A file may be packed with xz.

    Raises
    ------
    FormatError
        If it is too large, damaged or no text.
    OSError
        If the file cannot be read.
    """
    if isinstance(text_or_path, str) and ("\n" in text_or_path or "\r" in text_or_path):
        if len(text_or_path) > _MAX_BYTES:
            _refuse_size("<text>")
        return "<text>", _without_nul("<text>", text_or_path)
    path = Path(text_or_path)
    source = path.name
    if path.stat().st_size > _MAX_BYTES:
        _refuse_size(source)
    data = path.read_bytes()
    if data.startswith(b"\xfd7zXZ\x00"):
        data = _unpacked(source, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise FormatError(
            f"{source}, line {line}: this is no UTF-8 text (byte {problem.start}: "
            f"{data[problem.start]:#04x}); a .net file is plain text"
        ) from None
    return source, _without_nul(source, text)


def _refuse_size(source: str) -> NoReturn:
    raise FormatError(f"{source} holds more than {_MAX_BYTES // 2**20} MB, which no network needs")


def _without_nul(source: str, text: str) -> str:
    place = text.find("\0")
    if place >= 0:
        refuse_at(source, text.count("\n", 0, place) + 1, "this is binary, not text")
    return text


def _unpacked(source: str, data: bytes) -> bytes:
    """Unpack with a limit, so that a small file cannot fill the memory."""
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    try:
        unpacked = unpacker.decompress(data, max_length=_MAX_BYTES + 1)
    except lzma.LZMAError as problem:
        raise FormatError(f"{source} cannot be unpacked with xz: {problem}") from None
    if len(unpacked) > _MAX_BYTES:
        _refuse_size(source)
    if not unpacker.eof:
        raise FormatError(f"{source} cannot be unpacked with xz: it is cut off")
    return unpacked


def blocks_of(source: str, text: str) -> list[Block]:
    """Return the blocks of a ``.net`` file, in order.

    Raises
    ------
    FormatError
        If a block is not closed, or a line outside the blocks means something unknown.
    """
    blocks: list[Block] = []
    name, begun_at, lines = "", 0, list[Line]()
    waiting = ""  # the beginning of a line that goes on after a backslash
    for number, raw in enumerate(text.splitlines(), start=1):
        if len(raw) > _MAX_LINE:
            refuse_at(source, number, f"a line of {len(raw):,} characters is too long")
        content = raw.partition("#")[0].strip()
        if content.endswith("\\"):
            waiting += content[:-1] + " "
            if len(waiting) > _MAX_LINE:
                refuse_at(source, number, "a line that is continued this often is too long")
            continue
        if waiting:
            content, waiting = waiting + content, ""
        if not content:
            continue
        first = content[:5]
        if first == "begin" and not _IGNORED.fullmatch(content):
            if name:
                refuse_at(
                    source,
                    number,
                    f"{shown(content)} stands inside the block {name}, which begins at line "
                    f"{begun_at} and has no end",
                )
            name, begun_at, lines = " ".join(content.split()[1:]), number, []
            if not name:
                refuse_at(source, number, "begin is followed by the name of a block")
        elif first[:3] == "end" and content[3:].strip() == name and name:
            blocks.append(Block(name, lines))
            if len(blocks) > _MAX_BLOCKS:
                refuse_at(source, number, f"there are more than {_MAX_BLOCKS} blocks")
            name = ""
        elif name:
            lines.append(Line(number, content))
        elif not _IGNORED.fullmatch(content):
            refuse_at(
                source,
                number,
                f"{shown(content)} stands outside all blocks; a .net file has blocks "
                "begin parameters ... end parameters, and so on",
            )
    if name:
        refuse_at(source, begun_at, f"the block {name} has no end; is the file cut off?")
    return blocks
