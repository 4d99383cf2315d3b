"""Readings of a market in the order in which they were known: what a gate of a strategy looks at.

Owns the record of one, the log of many with who read, and what a log must keep by itself.  Knows nothing of
models, charts or strategies: who asks for readings and what they decide is others' matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.config import content_hash
from aiopt.errors import DataError

FIGURES = ("confidence", "calibrated", "stated", "technical", "risk", "agreement")
"""Numbers in [0, 1] that a reading has; `calibrated` only where a calibration of the reader was known."""


class SeenPattern(msgspec.Struct, frozen=True, array_like=True):
    """A pattern of a chart: its kind, and by how many bars its last one lies before the chart's last."""

    kind: str
    bars_ago: int


class MarketReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was read in one chart.  Times: UTC, nanoseconds.

    Attributes
    ----------
    ts_end_ns : int
        Close of the chart's last bar: nothing behind it was looked at.
    known_ns : int
        From when on the answer was there; it counts from the next close behind this on.
    bias, trend, volatility : str
        As in `aiopt.analyst.Analysis`.
    figures : dict of str to float
        Of `FIGURES`, those there are.
    patterns : tuple of SeenPattern
        Those the reader saw.
    """

    ts_end_ns: int
    known_ns: int
    bias: str
    trend: str
    volatility: str
    figures: dict[str, float]
    patterns: tuple[SeenPattern, ...] = ()


class ReadingOrigin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who read: one reader, one model, one revision, one question.

    Attributes
    ----------
    reader : str
        ``"model"`` or ``"rules"``.
    model_id, model_revision, prompt_version : str
        As the readings name them.
    """

    reader: str
    model_id: str
    model_revision: str
    prompt_version: str

    @property
    def text(self) -> str:
        """Reader, model and revision in one line."""
        revision = f" revision {self.model_revision}" if self.model_revision else ""
        return f"{self.model_id or self.reader}{revision}"


@dataclass(frozen=True, eq=False)
class ReadingLog:
    """Readings of one instrument by one reader, in the order in which they were known.

    Attributes
    ----------
    instrument : str
        Symbol.
    origin : ReadingOrigin
        Who read.
    readings : tuple of MarketReading
        By `known_ns`, then by `ts_end_ns`.
    chart_ends_ns : ndarray of shape (n_charts,), int64
        Ends of all charts that were looked at, those without a reading included, ascending.
    first_ns : int
        Opening of the first chart's first bar.
    latency_s : float or None
        Seconds from a chart's end to its answer; None where each has its own.

    Raises
    ------
    DataError
        If there is no chart, a reading is known before its chart ends, or a figure is no number in [0, 1].
    """

    instrument: str
    origin: ReadingOrigin
    readings: tuple[MarketReading, ...]
    chart_ends_ns: NDArray[np.int64]
    first_ns: int
    latency_s: float | None = None

    def __post_init__(self) -> None:
        if not self.chart_ends_ns.size:
            msg = "A log of readings must be of at least one chart, but there is none. Scan some windows."
            raise DataError(msg)
        for number, one in enumerate(self.readings):
            if one.known_ns < one.ts_end_ns:
                msg = f"A reading must be known no sooner than its chart ends, but is {one.known_ns} ns for "
                raise DataError(f"{msg}{one.ts_end_ns} ns. Correct its times.", row=number)
            for name, value in one.figures.items():
                if name not in FIGURES or not 0.0 <= value <= 1.0:
                    msg = f"A figure of a reading must be one of {', '.join(FIGURES)} in [0, 1], but got "
                    raise DataError(f"{msg}{name}={value}. Correct it.", row=number)
        order = sorted(self.readings, key=lambda one: (one.known_ns, one.ts_end_ns))
        object.__setattr__(self, "readings", tuple(order))

    def __len__(self) -> int:
        return len(self.readings)

    def __repr__(self) -> str:
        return f"ReadingLog({len(self):,} readings of {self.instrument} by {self.origin.text})"

    @cached_property
    def known_ns(self) -> NDArray[np.int64]:
        """When each reading was known, ascending."""
        return np.array([one.known_ns for one in self.readings], dtype=np.int64)

    @cached_property
    def ends_ns(self) -> NDArray[np.int64]:
        """The end of each reading's chart."""
        return np.array([one.ts_end_ns for one in self.readings], dtype=np.int64)

    @cached_property
    def newest(self) -> NDArray[np.int64]:
        """Of the readings known up to each, the one of the latest chart, and of equal ones the last known.

        A late answer about an earlier chart does not replace what is known of a later one.
        """
        best = np.arange(len(self), dtype=np.int64)
        for place in range(1, best.size):
            if self.ends_ns[place] < self.ends_ns[best[place - 1]]:
                best[place] = best[place - 1]
        return best

    def figure(self, name: str) -> NDArray[np.float64]:
        """Return one figure of every reading; NaN where it has none."""
        return np.array([one.figures.get(name, np.nan) for one in self.readings])

    @cached_property
    def log_hash(self) -> str:
        """Hex SHA-256 of what was read, by whom, and from when on it counts."""
        return content_hash(
            {
                "instrument": self.instrument,
                "origin": msgspec.to_builtins(self.origin),
                "readings": msgspec.to_builtins(self.readings),
                "chart_ends_ns": self.chart_ends_ns.tolist(),
                "first_ns": self.first_ns,
            }
        )

    def identity(self) -> dict[str, Any]:
        """Return what a result keeps of the readings it stands on."""
        return {
            "hash": self.log_hash,
            **msgspec.to_builtins(self.origin),
            "readings": len(self),
            "charts": int(self.chart_ends_ns.size),
            "latency_s": self.latency_s,
        }

    def at_other_times(self, readings: Sequence[MarketReading]) -> ReadingLog:
        """Return the log with other readings of the same charts, e.g. for a control."""
        return ReadingLog(
            self.instrument, self.origin, tuple(readings), self.chart_ends_ns, self.first_ns, self.latency_s
        )
