"""Measurements of the room against floors, in one run: see `benchmarks/README.md`."""
