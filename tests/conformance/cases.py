"""Finding the cases of the public suites, and reading their settings and tables of results.

Nothing here knows a case by its number: whatever lies in the data folder is a case.
"""

from __future__ import annotations

import csv
import io
import lzma
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

VARIABLE = "GILLESPY_LITE_TEST_DATA"
NO_DATA = f"no test data: set {VARIABLE} to their folder, or put it at ../shared/data"

# Models come in several levels of SBML; the newest form says most.
_FORMS = ("l3v2", "l3v1", "l2v5", "l2v4", "l2v3", "l2v2", "l2v1", "l1v2")


class CaseError(Exception):
    """A case whose files cannot be understood."""


@dataclass(frozen=True)
class Settings:
    """What a case of the SBML suites asks for."""

    start: float
    duration: float
    steps: int
    variables: tuple[str, ...]
    absolute: float
    relative: float
    amount: frozenset[str]  # to be reported as amounts, whatever their symbols mean
    concentration: frozenset[str]
    output: tuple[str, ...]  # columns to be tested, such as X-mean; of stochastic cases
    mean_range: tuple[float, float]
    sd_range: tuple[float, float]

    @property
    def times(self) -> np.ndarray:
        """The steps + 1 times of the table."""
        return np.linspace(self.start, self.start + self.duration, self.steps + 1)

    def unit_of(self, name: str) -> str:
        """Return "amount", "concentration", or "" for the symbol's own unit."""
        if name in self.amount:
            return "amount"
        return "concentration" if name in self.concentration else ""


@dataclass(frozen=True)
class SbmlCase:
    """A model, what to ask of it, and what should come out."""

    name: str
    model: Path
    settings_file: Path
    results_file: Path

    @property
    def settings(self) -> Settings:
        """What is asked for."""
        return parse_settings(self.settings_file.read_text("utf-8-sig"))

    @property
    def results(self) -> dict[str, np.ndarray]:
        """The expected columns, `time` among them."""
        return parse_table(self.results_file.read_text("utf-8-sig"))


@dataclass(frozen=True)
class NetCase:
    """A BioNetGen network, with its table of groups over time if there is one."""

    name: str
    model: Path
    reference: Path | None


def data_folder() -> Path | None:
    """Return where the test data lie, or None."""
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    return folder if folder.is_dir() else None


def read_text(path: Path) -> str:
    """Return the text of a file, also of one packed with xz."""
    data = path.read_bytes()
    return (lzma.decompress(data) if path.suffix == ".xz" else data).decode("utf-8-sig")


def _sbml_cases(folder: Path | None, *, stochastic: bool) -> list[SbmlCase]:
    cases = []
    for settings_file in sorted(folder.rglob("*-settings.txt")) if folder else ():
        name = settings_file.name.removesuffix("-settings.txt")
        results_file = settings_file.with_name(f"{name}-results.csv")
        models = [settings_file.with_name(f"{name}-sbml-{form}.xml") for form in _FORMS]
        model = next((path for path in models if path.exists()), None)
        if model is None or not results_file.exists():
            continue
        # A stochastic case says within which range its means must lie.
        if ("meanrange" in _entries(settings_file.read_text("utf-8-sig"))) == stochastic:
            cases.append(SbmlCase(name, model, settings_file, results_file))
    return cases


def semantic_cases(folder: Path | None) -> list[SbmlCase]:
    """Return the deterministic SBML cases below a folder."""
    return _sbml_cases(folder, stochastic=False)


def stochastic_cases(folder: Path | None) -> list[SbmlCase]:
    """Return the stochastic SBML cases below a folder."""
    return _sbml_cases(folder, stochastic=True)


def net_cases(folder: Path | None) -> list[NetCase]:
    """Return the BioNetGen networks below a folder."""
    cases = []
    found = [*folder.rglob("*.net"), *folder.rglob("*.net.xz")] if folder else []
    for model in sorted(found):
        name = model.name.removesuffix(".xz").removesuffix(".net")
        endings = (".gdat", ".gdat.xz", "-ode.csv", "-ode.csv.xz")
        tables = [model.with_name(name + ending) for ending in endings]
        cases.append(NetCase(name, model, next((path for path in tables if path.exists()), None)))
    return cases


def _entries(text: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        before, colon, after = line.partition(":")
        if colon:
            key = before.strip().casefold()
            entries[key] = after.strip()
        elif key and line.strip():  # a list that goes on on the next line
            entries[key] += f" {line.strip()}"
    return entries


def parse_settings(text: str) -> Settings:
    """Read `key: value` lines, whatever the spacing."""
    entries = _entries(text)

    def number(key: str, default: float | None = None) -> float:
        value = entries.get(key, "")
        if not value and default is not None:
            return default
        try:
            return float(value)
        except ValueError:
            raise CaseError(f"the settings say {key}: {value!r}, which is no number") from None

    def names(key: str) -> tuple[str, ...]:
        return tuple(part for part in re.split(r"[,;\s]+", entries.get(key, "")) if part)

    def span(key: str, default: tuple[float, float]) -> tuple[float, float]:
        ends = re.findall(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", entries.get(key, ""))
        return (float(ends[0]), float(ends[1])) if len(ends) == 2 else default

    return Settings(
        start=number("start", 0.0),
        duration=number("duration"),
        steps=int(number("steps")),
        variables=names("variables"),
        absolute=number("absolute", 0.0),
        relative=number("relative", 0.0),
        amount=frozenset(names("amount")),
        concentration=frozenset(names("concentration")),
        output=names("output"),
        mean_range=span("meanrange", (-3.0, 3.0)),
        sd_range=span("sdrange", (-5.0, 5.0)),
    )


def parse_table(text: str) -> dict[str, np.ndarray]:
    """Read a table with commas or spaces, whose header may begin with #, by column.

    The first column is called time, whatever its header says.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise CaseError("the table of results is empty")
    header = lines[0].lstrip("#").strip()
    if "," in header:
        rows = list(csv.reader(io.StringIO("\n".join([header, *lines[1:]]))))
    else:
        rows = [line.split() for line in [header, *lines[1:]]]
    names = ["time", *(name.strip() for name in rows[0][1:])]
    try:
        values = np.array([[float(cell) for cell in row] for row in rows[1:]])
    except ValueError as problem:
        raise CaseError(f"the table of results: {problem}") from None
    if values.ndim != 2 or values.shape[1] != len(names):
        raise CaseError("the table of results has rows of other lengths than its header")
    return dict(zip(names, values.T, strict=True))
