"""Models in other formats: SBML, Antimony, BioNetGen's ``.net``, GillesPy2."""

from __future__ import annotations

import os
from pathlib import Path

from ..network import Network

__all__ = ["read_file"]


def read_file(path: str | os.PathLike[str]) -> Network:
    """Read a network from a file of any of the formats; what `Network.read` does."""
    file = Path(path)
    name = file.name.lower()
    if name.endswith((".net", ".net.xz")):
        from .net_reading import read_net

        return read_net(file)
    if name.endswith((".ant", ".antimony")):
        from .antimony import read_antimony

        return read_antimony(file)
    if name.endswith((".xml", ".sbml")) or _begins_like_xml(file):
        from .sbml_reading import read_sbml

        return read_sbml(file)
    from ..dsl import read_network

    return read_network(path)


def _begins_like_xml(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(200).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
