"""Benchmarks: each module has `run() -> list[Figure]`; start them with `python -m benchmarks [NAME …]`."""
