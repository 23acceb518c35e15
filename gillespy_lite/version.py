"""The package's version, and the version of its random streams."""

__all__ = ["STREAM_VERSION", "__version__"]

__version__ = "0.1.0"

# Raised when the same seed would give other trajectories: a release note and a golden-hash test.
# 2: the direct method draws by a logarithm. 3: tau-leaping draws by inversion.
STREAM_VERSION = 3
