"""The record of one window that was read, and its Parquet file.  Owns columns, types, reading them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.analyst.analysis import AnalysisResult, Bias, PriceLevel, VisiblePattern
from aiopt.analyst.checkpoint_calibration import CheckpointCalibration, calibrated
from aiopt.errors import DataError
from aiopt.patterns import Trend, Volatility

Failure = Literal["", "endpoint", "reply", "window", "unasked"]
"""Why a window has no reading: none; nobody answered; the answer was no reading; it cannot be shown; it was
looked at and nobody asked."""

_PATTERN = pa.struct(
    [
        ("kind", pa.string()),
        *((name, pa.int32()) for name in ("first_bar", "last_bar")),
        ("price", pa.float64()),
        *((name, pa.int64()) for name in ("first_ts_ns", "last_ts_ns")),
    ]
)
_LEVEL = pa.struct([("price", pa.float64()), ("kind", pa.string()), ("strength", pa.float64())])

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("sample", pa.string()),
        ("instrument", pa.string()),
        ("timeframe", pa.string()),
        ("bars", pa.int32()),
        ("ts_start_ns", pa.int64()),
        ("ts_end_ns", pa.int64()),
        ("chart_sha256", pa.string()),
        ("image_sha256", pa.string()),
        ("reader", pa.string()),
        ("model_id", pa.string()),
        ("model_revision", pa.string()),
        ("prompt_version", pa.string()),
        ("bias", pa.string()),
        ("trend", pa.string()),
        ("volatility", pa.string()),
        ("confidence", pa.float64()),
        ("calibrated", pa.float64()),
        ("stated", pa.float64()),
        ("technical", pa.float64()),
        ("risk", pa.float64()),
        ("agreement", pa.float64()),
        ("patterns", pa.list_(_PATTERN)),
        ("levels", pa.list_(_LEVEL)),
        ("rationale", pa.string()),
        ("asked_ns", pa.int64()),
        ("answered_ns", pa.int64()),
        ("seconds", pa.float64()),
        ("questions", pa.int32()),
        ("failure", pa.string()),
        ("error", pa.string()),
    ]
)


class WindowReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One window and what was read in it.  Times: UTC, nanoseconds.

    Attributes
    ----------
    number : int
        Place among the scan's windows, from 0.
    sample : str
        Name of the window, as in datasets: series and opening of its last bar.
    instrument, timeframe : str
        Of the bars.
    bars : int
        Of the window.
    ts_start_ns, ts_end_ns : int
        Opening of its first bar, close of its last.  No later bar was looked at.
    chart_sha256 : str
        Of the prices shown, as in datasets.
    image_sha256 : str or None
        Of the picture sent; None where nobody was shown one.
    reader : {"rules", "model"}
        Who was asked.
    model_id, model_revision, prompt_version : str
        Who answered, to which question; empty where nobody did.
    bias, trend, volatility, confidence, stated, technical, risk, agreement
        As in `aiopt.analyst.Analysis`; None where there is no reading.
    calibrated : float or None
        How often such readings are right, where a calibration of this reader is known.
    patterns, levels, rationale
        As in `aiopt.analyst.Analysis`; empty where there is no reading.
    asked_ns, answered_ns : int
        When this scan asked, and had the answer.
    seconds : float
        From taking the window up (drawing it included) to the answer.
    questions : int
        Asked of models, repeated ones included; 0 by rules.
    failure : {"", "endpoint", "reply", "window", "unasked"}
        Why there is no reading.  ``endpoint`` is asked again by the next run; ``reply`` (the model answered,
        twice, what is no reading) and ``window`` (it cannot be drawn or read) are results.  ``unasked`` is a
        live session's: it asks on patterns alone, and this window ends with none.
    error : str
        In words.  Of a reading by rules that stood in for a model in a live session: why they did.
    """

    number: int
    sample: str
    instrument: str
    timeframe: str
    bars: int
    ts_start_ns: int
    ts_end_ns: int
    chart_sha256: str
    image_sha256: str | None
    reader: Literal["rules", "model"]
    asked_ns: int
    answered_ns: int
    seconds: float
    model_id: str = ""
    model_revision: str = ""
    prompt_version: str = ""
    bias: Bias | None = None
    trend: Trend | None = None
    volatility: Volatility | None = None
    confidence: float | None = None
    calibrated: float | None = None
    stated: float | None = None
    technical: float | None = None
    risk: float | None = None
    agreement: float | None = None
    patterns: tuple[VisiblePattern, ...] = ()
    levels: tuple[PriceLevel, ...] = ()
    rationale: str = ""
    questions: int = 0
    failure: Failure = ""
    error: str = ""

    @property
    def available_ns(self) -> int:
        """When the reading would have been known had it been asked for at its window's close."""
        return self.ts_end_ns + round(self.seconds * 1e9)


def reading_fields(
    result: AnalysisResult,
    calibrations: Sequence[CheckpointCalibration] = (),
    *,
    stands_in: bool = False,
) -> dict[str, Any]:
    """Return what a result says, or why it says nothing, as fields of `WindowReading`.

    Rules that stood in for a model are no reading of that model: they count as its failure; where they may
    stand in, they are a reading by rules, with the reason as its `error`.
    """
    found, attempts = result.analysis, result.attempts
    asked: dict[str, Any] = {"questions": len(attempts)}
    if attempts and found.source == "rules" and stands_in:
        asked |= {"reader": "rules", "error": found.fallback_reason}
    elif attempts and found.source == "rules":
        # A reply carries the name of who gave it, even where it is no reading.
        answered = any(attempt.model_id for attempt in attempts)
        said = next((attempt for attempt in reversed(attempts) if attempt.model_id), attempts[-1])
        return {
            **asked,
            "failure": "reply" if answered else "endpoint",
            "error": found.fallback_reason,
            "model_id": said.model_id,
            "model_revision": said.model_revision,
            "prompt_version": said.prompt_version if answered else "",
        }
    parts = found.confidence_parts
    return {
        **asked,
        "model_id": found.model_id,
        "model_revision": found.model_revision,
        "prompt_version": found.prompt_version,
        "bias": found.bias,
        "trend": found.regime.trend,
        "volatility": found.regime.volatility,
        "confidence": found.confidence,
        "calibrated": calibrated(found, calibrations),
        "stated": parts.stated,
        "technical": parts.technical,
        "risk": parts.risk,
        "agreement": parts.agreement,
        "patterns": found.patterns,
        "levels": found.levels,
        "rationale": found.rationale,
    }


def table_of(readings: Iterable[WindowReading]) -> pa.Table:
    """Return readings as an Arrow table of `SCHEMA`."""
    return pa.Table.from_pylist([msgspec.to_builtins(one) for one in readings], schema=SCHEMA)


def readings_of(table: pa.Table, *, file: Path | None = None) -> list[WindowReading]:
    """Return a table's rows as records.

    Raises
    ------
    DataError
        If a column is missing, or a value is none that a reading has: names the row.
    """
    lacking = [name for name in SCHEMA.names if name not in table.column_names]
    if lacking:
        msg = f"A file of readings must have the columns of a scan, but {', '.join(lacking)} is missing."
        raise DataError(f"{msg} Make it with `aiopt analyst scan`.", file=file)
    found = []
    for row, values in enumerate(table.select(SCHEMA.names).to_pylist()):
        try:
            found.append(msgspec.convert(values, WindowReading))
        except msgspec.ValidationError as failure:
            msg = f"A reading must hold what a scan writes, but does not: {failure}. Make the file anew."
            raise DataError(msg, file=file, row=row) from failure
    return found


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as failure:
        msg = f"The file cannot be read: {failure}. Give the readings.parquet of a scan."
        raise DataError(msg, file=path) from failure


def load_readings(path: Path) -> list[WindowReading]:
    """Read the readings of a finished scan.

    Parameters
    ----------
    path : Path
        ``readings.parquet``, or the scan's folder.

    Returns
    -------
    list of WindowReading
        In the order of time, windows without a reading included.

    Raises
    ------
    DataError
        If it cannot be read, or is none: names the row.
    """
    path = Path(path)
    path = path / "readings.parquet" if path.is_dir() else path
    return readings_of(read_table(path), file=path)
