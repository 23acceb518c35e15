"""Runs and scans on disk: chunks with checksums, and a manifest that says whose they are."""

from .merging import merge_stores
from .scan_store import ScanStore
from .store import Store, open_store

__all__ = ["ScanStore", "Store", "merge_stores", "open_store"]
