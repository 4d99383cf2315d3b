"""Numbers of a strategy that are none: NaN and infinities, found before anything is read of its data.

Owns the wording; knows no field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from aiopt.errors import SpecError

_DEEPEST = 50
"""Levels that are looked at; no strategy has so many."""


def check_finite(data: object, *, where: str) -> None:
    """Raise at the first number of plain data that is not finite.

    Parameters
    ----------
    data : object
        As parsed from YAML or JSON.
    where : str
        Name of the source, e.g. the file.

    Raises
    ------
    SpecError
        Names the source, the key, the value and the remedy.
    """
    for path, value in _numbers(data, ""):
        if not math.isfinite(value):
            msg = f"{where}: {path or 'the text'}: a number must be finite, but got {value}. Write a number."
            raise SpecError(msg)


def lenient_json(text: str | bytes) -> object:
    """Return JSON that may hold NaN and infinities, which JSON has not; None where it is none either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _numbers(data: object, path: str, depth: int = 0) -> Iterator[tuple[str, float]]:
    if depth > _DEEPEST:
        return
    if isinstance(data, float):
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _numbers(value, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(data, list | tuple):
        for number, value in enumerate(data, start=1):
            yield from _numbers(value, f"{path}.{number}", depth + 1)
