"""Every example runs to its end without a warning, prints numbers and writes its picture.

They take minutes in all, and run with ``-m examples`` only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))
# Where a number stands in the output, what theory says it is (for Vilar's clock, 5000 trajectories
# with another seed), and four standard errors or, for the rate equations, rounding.
CHECKS = {
    "bistability.py": (r"X < 300 +(\S+)", 0.531641, 0.02),
    "ensemble_with_bands.py": (r"t = 240 +([\d.]+)", 494.86, 5.5),
    "competing_populations_fit.py": (r"a2 +0\.0002 +(\S+)", 0.000257, 1e-5),
    "correcting_a_fit.py": (r"corrected +beta +\d+% (\S+)", 0.5, 0.02),
    "epidemic_extinction.py": (r"sampled +(\S+)", 0.5021, 0.0145),
    "first_run.py": (r"S \+ ES \+ P = (\d+)", 301, 0),
    "optimisers_as_dynamics.py": (r"0\.0010 +4 +(\S+)", 1.5926e-04, 0.4e-04),
    "oscillator.py": (r"rate equations: +(\S+)", 125, 1),
    "other_peoples_models.py": (r"D is (\S+) per volume", 100, 0),
    "parameter_scan.py": (r" 0\.50 +(\S+)", 4.75, 0.25),
    "precise_epidemic.py": (r"after 60 days +(\S+)", 4051.1, 4.0),
    "sir_fit.py": (r"beta    = (\d\.\d+),", 0.3059, 0.002),
    "stochastic_against_deterministic.py": (r"flipped: (\S+)", 0.5, 0.065),
    "vilar_ensemble.py": (r"\n +20 +\S+ +\S+ +(\S+)", 286.3, 12),
}


def test_every_example_has_a_check():
    assert set(SCRIPTS) == set(CHECKS)


def run(script: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / script), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


@pytest.mark.examples
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs_and_writes_its_picture(script, tmp_path):
    done = run(script, tmp_path)
    assert done.returncode == 0, done.stderr
    (picture,) = tmp_path.iterdir()
    assert f"wrote {picture.name}" in done.stdout
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000
    pattern, expected, tolerance = CHECKS[script]
    found = re.search(pattern, done.stdout)
    assert found, done.stdout
    assert abs(float(found[1]) - expected) <= tolerance
    # The docstring says how to run it, with this picture's kind of argument.
    assert f"python examples/{script} [picture.png]" in (FOLDER / script).read_text("utf-8")


@pytest.mark.examples
def test_an_example_writes_its_picture_where_it_is_told(tmp_path):
    elsewhere = tmp_path / "elsewhere.png"
    done = run("first_run.py", tmp_path, str(elsewhere))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere.png"]
