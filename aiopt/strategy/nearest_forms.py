"""What to write instead of a function that conditions do not have.  Owns that wording; knows no syntax."""

from __future__ import annotations

from collections.abc import Collection

from aiopt.errors import did_you_mean


def nearest_function(written: str, functions: Collection[str]) -> str:
    """Return a sentence, with a blank before it, on the nearest form of an unknown function.

    Examples
    --------
    >>> nearest_function("ta.highest", ["highest"])
    ' Write highest(...).'
    """
    from aiopt.indicators.registry import INDICATORS  # reading a condition must not pay for it

    last = written.rpartition(".")[2]
    if last in functions:
        return f" Write {last}(...)."
    if last in INDICATORS:
        return f" It is an indicator: give it an id under `indicators`, with kind: {last}, and write that id."
    return did_you_mean(written, functions)
