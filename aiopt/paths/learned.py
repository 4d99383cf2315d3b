"""Trials that a sampler was led to by results: no evidence on other paths.  Owns count and sentence."""

from __future__ import annotations

from pathlib import Path

_GENERATION = "generation"
"""Column of ``trials.parquet`` in a run whose sampler learns; generation 0 was drawn before any result."""


def learned_trials(path: Path) -> int:
    """Return how many trials of a ``trials.parquet`` a sampler was led to; 0 where none learned."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if _GENERATION not in file.schema_arrow.names:
            return 0
        column = file.read(columns=[_GENERATION])[_GENERATION]
    return int(pc.sum(pc.greater(column, 0)).as_py() or 0)


def left_out_text(learned: int) -> str:
    """Return what is said of trials that were left out; empty if none was.

    Examples
    --------
    >>> left_out_text(0)
    ''
    """
    if not learned:
        return ""
    return (
        f"The sampler learned: {learned:,} trials that results led it to are left out, because another path "
        "would test them on what they were found with, and look better than it is. Paths and matrix are of "
        "the trials drawn before the first result, so they are not those of the entries. "
        "`aiopt paths RUN --nested` searches anew for every path."
    )
