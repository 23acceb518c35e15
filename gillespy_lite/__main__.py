"""``python -m gillespy_lite`` does what the command ``gillespy-lite`` does."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
