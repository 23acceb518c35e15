"""Draw the pictures of the pages, by running the code that the pages show.

    python docs/make_figures.py

A page that shows ``_build/figures/name.png`` has a Python block that saves ``name.png``. So a
picture cannot differ from what the code beside it draws. `conf.py` calls this at each build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

from pages import DOCS, PAGES, run_page

FIGURES = DOCS / "_build" / "figures"
_PICTURE = re.compile(r"\]\(_build/figures/([\w.-]+)\)")


def pictures_of(page: Path) -> list[str]:
    """Return the names of the pictures that a page shows."""
    return _PICTURE.findall(page.read_text(encoding="utf-8"))


def make_figures() -> None:
    """Draw every picture of every page into `FIGURES`.

    Raises
    ------
    FileNotFoundError
        If a page shows a picture that its code does not save.
    """
    import matplotlib

    FIGURES.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        pictures = pictures_of(page)
        if not pictures:
            continue
        with matplotlib.rc_context({"savefig.dpi": 144}):
            run_page(page, FIGURES)
        for name in pictures:
            if not (FIGURES / name).exists():
                raise FileNotFoundError(f"{page.name} shows {name}, which its code does not save")


if __name__ == "__main__":
    make_figures()
