"""Compiled code: arrays in, arrays out. Imports NumPy and Numba, nothing of ours above."""
