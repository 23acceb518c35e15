"""Multilevel Monte Carlo."""
