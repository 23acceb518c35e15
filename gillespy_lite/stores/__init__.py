"""Trajectories on disk: chunks with checksums, and a manifest that says whose they are."""

from .merging import merge_stores
from .store import Store, open_store

__all__ = ["Store", "merge_stores", "open_store"]
