"""Every run draws the same examples; another look is `pytest --hypothesis-profile=fresh`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fixed", derandomize=True)
settings.register_profile("fresh", derandomize=False)
settings.load_profile("fixed")
