"""What the analyst tells a log: one row per reading.

Owns the stream ``predictions`` and its columns.  Knows a log only as something with `append`;
`aiopt.featurelog.FeatureLog` is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from aiopt.analyst.analysis import AnalysisRequest, AnalysisResult

PREDICTIONS = "predictions"


class RowSink(Protocol):
    """What takes rows."""

    def append(self, stream: str, row: Mapping[str, Any], /) -> None:
        """Take one row."""


def log_analysis(sink: RowSink, request: AnalysisRequest, result: AnalysisResult) -> None:
    """Log a reading.

    Parameters
    ----------
    sink : RowSink
        Takes the row.
    request : AnalysisRequest
        What was read.  ``ts_ns`` is the close of its last bar, UTC, and 0 where it has no bars.
    result : AnalysisResult
        What was answered.
    """
    analysis, bars = result.analysis, request.bars
    sink.append(
        PREDICTIONS,
        {
            "ts_ns": 0 if bars is None else int(bars.ts_open_ns[-1]) + bars.timeframe.ns,
            "instrument": request.instrument,
            "timeframe": request.timeframe,
            "bias": analysis.bias,
            "confidence": analysis.confidence,
            "stated": analysis.confidence_parts.stated,
            "technical": analysis.confidence_parts.technical,
            "risk": analysis.confidence_parts.risk,
            "agreement": analysis.confidence_parts.agreement,
            "trend": analysis.regime.trend,
            "volatility": analysis.regime.volatility,
            "patterns": len(analysis.patterns),
            "source": analysis.source,
            "model_id": analysis.model_id,
            "model_revision": analysis.model_revision,
            "prompt_version": analysis.prompt_version,
            "schema_version": analysis.schema_version,
            "fallback_reason": analysis.fallback_reason,
            "attempts": len(result.attempts),
            "failed_attempts": sum(not attempt.ok for attempt in result.attempts),
        },
    )
