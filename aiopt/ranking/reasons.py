"""Why candidates were rejected and trials failed, counted.

Owns which reasons count as the same: those that differ in numbers and names of candidates alone.  Decides
nothing.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aiopt.errors import DataError
from aiopt.ranking.ranking_file import Rejection
from aiopt.ranking.trials import TrialRow

SHOWN = 5
"""Reasons listed one by one; the rest are counted together."""

WIDTH = 80
"""Columns of the lines for people."""

LOUD_FROM = 0.5
"""Where at least this share of the trials failed, a run is in trouble, and says so."""

_VARYING = re.compile(
    r"(?P<name>[A-Za-z]\S*@\S+#\d+)"
    r"|(?<![\w.,-])(?P<number>-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?!\w|[.-]\d)"
)


class ReasonCount(msgspec.Struct, frozen=True, kw_only=True):
    """One reason and how often it was given.

    Attributes
    ----------
    reason : str
        The reason; numbers that differed are given as ``LOW to HIGH``, names of candidates as
        ``another candidate``.
    count : int
        How often it was given.
    groups : tuple of str
        The groups it was given in, sorted; empty where they are not known.
    """

    reason: str
    count: int
    groups: tuple[str, ...] = ()


class _Pool:
    """Reasons of one shape."""

    def __init__(self) -> None:
        self.count = 0
        self.groups: set[str] = set()
        self.texts: list[tuple[str, str]] = []
        """Per place of the shape that varies: the text of the lowest and of the highest value."""

    def add(self, places: list[str], group: str) -> None:
        self.count += 1
        if group:
            self.groups.add(group)
        if not self.texts:
            self.texts = [(text, text) for text in places]
            return
        self.texts = [
            (min(low, text, key=_value), max(high, text, key=_value))
            for (low, high), text in zip(self.texts, places, strict=True)
        ]


class ReasonCounter:
    """Counts reasons as they come, in memory that grows with the kinds of reasons alone."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, ...], _Pool] = {}

    def add(self, reason: str, group: str = "") -> None:
        """Count one reason, given in a group."""
        shape, places = _taken_apart(reason)
        self._pools.setdefault(shape, _Pool()).add(places, group)

    def counts(self) -> list[ReasonCount]:
        """Return the reasons, the most frequent first."""
        found = [
            ReasonCount(
                reason=_put_together(shape, pool.texts),
                count=pool.count,
                groups=tuple(sorted(pool.groups)),
            )
            for shape, pool in self._pools.items()
        ]
        return sorted(found, key=lambda one: (-one.count, one.reason))


def rejection_reasons(rejected: Iterable[Rejection]) -> list[ReasonCount]:
    """Count why candidates were rejected.

    Parameters
    ----------
    rejected : iterable of Rejection
        ``Ranking.rejected``.

    Returns
    -------
    list of ReasonCount
        The most frequent first.

    Examples
    --------
    >>> from aiopt.ranking.ranking_file import Rejection
    >>> def no(name, trades):
    ...     return Rejection(name=name, group="a@1m", family="a", timeframe="1m", lane=1, trial_id=None,
    ...                      reason=f"{trades} trades out of sample, and 30 are needed", trades=trades,
    ...                      score=None)
    >>> [(one.count, one.reason) for one in rejection_reasons([no("a@1m#1", 7), no("a@1m#2", 12)])]
    [(2, '7 to 12 trades out of sample, and 30 are needed')]
    """
    counter = ReasonCounter()
    for one in rejected:
        counter.add(one.reason, one.group)
    return counter.counts()


def failure_reasons(rows: Iterable[TrialRow]) -> list[ReasonCount]:
    """Count why trials failed; rows of trials that did not are passed over."""
    counter = ReasonCounter()
    for row in rows:
        if not row.ok:
            counter.add(row.error, row.group)
    return counter.counts()


def failure_reasons_of_file(path: Path) -> list[ReasonCount]:
    """Count why the trials of a ``trials.parquet`` failed, reading nothing else of it.

    Raises
    ------
    DataError
        If the file is missing, not Parquet, or has no such columns.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError("there is no such file. Check the path.", file=path)
    try:
        table = pq.read_table(path, columns=["group", "status", "error"])
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"this is not a Parquet file ({error}). It was cut off, or it is another file."
        raise DataError(msg, file=path) from error
    if table.num_columns != 3:
        raise DataError(
            "the columns group, status and error are missing. Give the trials.parquet of a run.", file=path
        )
    counter = ReasonCounter()
    rows: list[dict[str, Any]] = table.filter(pc.field("status") != "ok").to_pylist()
    for row in rows:
        counter.add(row["error"], row["group"])
    return counter.counts()


def rejection_lines(counts: Sequence[ReasonCount], candidates: int) -> list[str]:
    """Return why candidates are not among the entries, as lines for people; empty where all are.

    Parameters
    ----------
    counts : sequence of ReasonCount
        From `rejection_reasons`.
    candidates : int
        Candidates in all, entries included.
    """
    return _lines(counts, candidates, "{count} of {total} candidates are not among the entries:")


def failure_lines(counts: Sequence[ReasonCount], trials: int) -> list[str]:
    """Return why trials failed, as lines for people; empty where none did.

    Parameters
    ----------
    counts : sequence of ReasonCount
        From `failure_reasons` or `failure_reasons_of_file`.
    trials : int
        Trials in all, failed ones included.
    """
    failed = sum(one.count for one in counts)
    loud = "WARNING: " if is_loud(failed, trials) else ""
    return _lines(counts, trials, loud + "{count} of {total} trials failed:")


def all_failed(counts: Sequence[ReasonCount]) -> str:
    """Return the message of a sweep without one trial that succeeded."""
    total, most = sum(one.count for one in counts), counts[0]
    often = "" if most.count == total else f", most often ({most.count} times)"
    return f"At least one trial must succeed, but all {total} failed{often}: {most.reason}"


def is_loud(failed: int, trials: int) -> bool:
    """Tell whether so many trials failed that the rest says little."""
    return failed > 0 and failed >= LOUD_FROM * trials


def _lines(counts: Sequence[ReasonCount], total: int, head: str) -> list[str]:
    if not counts:
        return []
    number = sum(one.count for one in counts)
    width = len(str(counts[0].count))
    lines = [head.format(count=number, total=total)]
    for one in counts[:SHOWN]:
        lines += _wrapped(f"{one.count:>{width}} × ", f"{one.reason}{_where(one)}")
    rest = counts[SHOWN:]
    if rest:
        kinds = f"{len(rest)} other reason{'s' if len(rest) > 1 else ''}"
        lines.append(f"  {sum(one.count for one in rest):>{width}} × {kinds}")
    return lines


def _wrapped(mark: str, text: str) -> list[str]:
    indent = " " * (2 + len(mark))
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"  {mark}", subsequent_indent=indent, break_long_words=False
    )


def _where(one: ReasonCount) -> str:
    if len(one.groups) == 1:
        return f" ({one.groups[0]})"
    return f" ({len(one.groups)} groups)" if one.groups else ""


def _taken_apart(reason: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the fixed texts of a reason with a mark of what stands between them, and what varies."""
    shape: list[str] = []
    places: list[str] = []
    end = 0
    for found in _VARYING.finditer(reason):
        shape += [reason[end : found.start()], str(found.lastgroup)]
        places.append(found.group())
        end = found.end()
    return (*shape, reason[end:]), places


def _put_together(shape: tuple[str, ...], texts: Sequence[tuple[str, str]]) -> str:
    parts = list(shape)
    for index, (low, high) in enumerate(texts):
        kind = shape[2 * index + 1]
        differ = "another candidate" if kind == "name" else f"{low} to {high}"
        parts[2 * index + 1] = low if low == high else differ
    return "".join(parts)


def _value(text: str) -> tuple[float, str]:
    """Return what a number is compared by, and a name too."""
    try:
        return float(text.replace(",", "")), text
    except ValueError:
        return 0.0, text
