"""Make an environment for each simulator that the benchmarks compare with.

    python benchmarks/environments.py [rebop bngsim ...] [--folder benchmarks/.environments]

Each has an environment of its own, because their requirements exclude each other; what is installed
is pinned in `requirements/`. One that cannot be installed here is named, and the benchmarks leave
it out and say so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["FOLDER", "NAMES", "python_of"]

REQUIREMENTS = Path(__file__).resolve().parent / "requirements"
FOLDER = Path(__file__).resolve().parent / ".environments"
NAMES = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def python_of(name: str, folder: Path = FOLDER) -> Path | None:
    """Return the interpreter of an environment, None if it has not been made."""
    for place in ("bin/python", "Scripts/python.exe"):
        if (folder / name / place).exists():
            return folder / name / place
    return None


def make(name: str, folder: Path) -> str:
    """Make one environment; return what went wrong, or nothing."""
    venv.create(folder / name, with_pip=True, clear=True)
    done = subprocess.run(
        [
            str(python_of(name, folder)),
            *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("-r", str(REQUIREMENTS / f"{name}.txt")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.strip()]
    return errors[-1] if errors else f"exit status {done.returncode}"


def main() -> int:
    """Make what is asked for; return 1 if something could not be installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=NAMES)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    failed = False
    for name in options.names:
        error = make(name, options.folder)
        failed |= bool(error)
        print(f"{name}: {error or 'installed'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
