"""Runs a file of tests as a script, in a process in which Numba compiles nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

__all__ = ["found_without_compiling"]


def found_without_compiling(file: str) -> dict[str, Any]:
    """Return the object that the file prints as JSON when it is run by itself."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", file],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
