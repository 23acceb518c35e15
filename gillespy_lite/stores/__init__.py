"""Trajectories on disk: chunks with checksums, and a manifest that says whose they are."""
