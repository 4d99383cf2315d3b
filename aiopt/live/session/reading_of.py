"""Who reads the charts of a session, and what the strategies' indicators are beside a chart.

Owns that choice.  Reads nothing itself: that is `aiopt.live.reading`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from aiopt.live.reading.live_reader import LiveReader
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.stepping import Series, Stepper
from aiopt.live.state.session_file import SessionFile
from aiopt.timeframe import Timeframe


def reader_of(
    config: LiveConfig, series: Mapping[Timeframe, Series], stepper: Stepper, file: SessionFile
) -> LiveReader | None:
    """Return who reads in a session, with the readings it has committed; None where nobody does."""
    analyst, frame = config.analyst, config.chart_frame
    if analyst is None or frame is None:
        return None
    reader = LiveReader(analyst, series[frame].bars, waits=not config.is_real_time)
    reader.load(file.readings())
    reader.features = partial(indicators_of, stepper)
    stepper.chart_frame = frame
    return reader


def indicators_of(stepper: Stepper) -> dict[str, float]:
    """Return the indicators of the strategies on the analyst's bars, as ``A1.rsi``, that have a value."""
    return {
        f"{name}.{title}": value
        for name, strategy in stepper.node.strategies.items()
        if stepper.timeframes[name] == stepper.chart_frame and name not in stepper.broken
        for title, value in strategy.source.indicators().items()
        if math.isfinite(value)
    }
