"""The analyst in a notebook: a chart read by rules, or by a model behind an endpoint.

Owns the call and how a reading shows itself.  Prompts, schemas, rules and the client are `aiopt.analyst`'s.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import polars as pl

from aiopt.analyst import AnalysisRequest, AnalysisResult, AnalystSettings, analyse
from aiopt.analyst.analysis import Analysis
from aiopt.analyst.windows import drawable, request_of_window
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.charts.render import PreparedChart
from aiopt.charts.windows import window_name
from aiopt.errors import ConfigError
from aiopt.face import html
from aiopt.face.bars import Bars, BarsLike, as_arrays, read_bars
from aiopt.face.charts import Chart
from aiopt.face.tables import Table, with_timestamps

T = TypeVar("T")


class Reading(Table):
    """What the analyst read.

    As a table: the patterns and levels, ``what``, ``direction``, ``first_ts`` and ``last_ts`` (timestamps,
    UTC, of patterns), ``price`` (quote currency), ``strength`` (of levels, in [0, 1]).

    Attributes
    ----------
    result : AnalysisResult
        The analysis, every question asked and every vote.
    chart : Chart
        What was read, as a picture.
    instrument : str
        Symbol.
    """

    def __init__(self, result: AnalysisResult, chart: Chart, instrument: str) -> None:
        self.result = result
        self.chart = chart
        self.instrument = instrument

    @property
    def analysis(self) -> Analysis:
        """Regime, patterns, levels, bias, confidence and the reason."""
        return self.result.analysis

    @property
    def bias(self) -> str:
        """``"long"``, ``"short"`` or ``"neutral"``."""
        return self.analysis.bias

    @property
    def confidence(self) -> float:
        """In [0, 1]; not a probability of profit."""
        return self.analysis.confidence

    def to_polars(self) -> pl.DataFrame:
        """Return patterns and levels as a Polars frame."""
        found = self.analysis
        rows: list[tuple[object, ...]] = [
            (one.kind, one.direction, one.first_ts_ns, one.last_ts_ns, one.price, None)
            for one in found.patterns
        ]
        rows += [(one.kind, None, None, None, one.price, one.strength) for one in found.levels]
        kinds: dict[str, type[pl.DataType]] = {
            "what": pl.String,
            "direction": pl.String,
            "first_ts_ns": pl.Int64,
            "last_ts_ns": pl.Int64,
            "price": pl.Float64,
            "strength": pl.Float64,
        }
        return with_timestamps(pl.DataFrame(rows, schema=kinds, orient="row"))

    def _title(self) -> str:
        found = self.analysis
        return (
            f"{self.instrument} read by {found.model_id}: bias {found.bias}, confidence "
            f"{found.confidence:.2f}, trend {found.regime.trend}, volatility {found.regime.volatility}"
        )

    def _repr_html_(self) -> str:
        found = self.analysis
        picture = base64.b64encode(self.chart.png).decode()
        reason = f"The model gave no valid answer: {found.fallback_reason}" if found.fallback_reason else ""
        source = f"data:image/png;base64,{picture}"
        return html.card(
            self._title(),
            f'<img alt="the chart that was read" style="max-width:720px" src="{source}">',
            html.note(found.rationale),
            html.frame_html(self.to_polars(), 12),
            warnings=[reason] if reason else [],
        )


def read_chart(
    bars: BarsLike,
    *,
    last: int = 120,
    endpoint: str | None = None,
    model: str | Sequence[str] = "minicpm",
    note: str = "",
    settings: AnalystSettings | None = None,
) -> Reading:
    """Let the analyst read the last bars: by rules, or by a model that sees the chart and the numbers.

    Parameters
    ----------
    bars : Bars, BarSet, Path or str
        The bid side is read, or the one price; no bar behind the last one is looked at.
    last : int
        How many bars, 20 to 1000.
    endpoint : str, optional
        OpenAI-compatible API, e.g. ``"http://127.0.0.1:8000/v1"``.  By default the rules read, which need no
        server; they answer too where the model gives no valid answer, and say why.
    model : str or sequence of str
        Served names; several vote.
    note : str
        Text for the model.
    settings : AnalystSettings, optional
        All settings at once, instead of `last`, `endpoint` and `model`.

    Returns
    -------
    Reading

    Raises
    ------
    ConfigError, AnalystError
        If a setting is out of range or there are too few bars.

    Examples
    --------
    >>> import aiopt as ao
    >>> bars = ao.build_bars(ao.sample_ticks(days=1), "5m")
    >>> ao.read_chart(bars).analysis.source
    'rules'
    """
    if settings is None:
        models = (model,) if isinstance(model, str) else tuple(model)
        settings = AnalystSettings(endpoint=endpoint, models=models, bars=last)
    elif endpoint is not None:
        raise ConfigError("`settings` has the endpoint, but one more was given. Leave one of the two out.")
    series = bars if isinstance(bars, Bars | BarSet) else read_bars(bars)
    arrays = as_arrays(series)
    stop, start = len(arrays), max(0, len(arrays) - settings.bars)
    spec = drawable(settings.chart, arrays)
    chart = Chart(PreparedChart(arrays, spec).render(start, stop), spec, window_name(arrays, (start, stop)))
    request = request_of_window(
        arrays,
        (start, stop),
        spec=settings.chart,
        chart_png=chart.png,
        spread=_spread(series, arrays),
        note=note,
    )
    return Reading(_complete(_ask(request, settings)), chart, arrays.instrument)


def _spread(series: Bars | BarSet, arrays: BarArrays) -> float | None:
    """Return the last spread, quote currency; None of bars of one price."""
    bars = series.bar_set if isinstance(series, Bars) else series
    return None if bars.single_price else max(0.0, float(bars.ask.close[-1] - arrays.close[-1]))


async def _ask(request: AnalysisRequest, settings: AnalystSettings) -> AnalysisResult:
    if settings.endpoint is None:
        return await analyse(request, None, settings)
    from aiopt.analyst.client import ChatClient

    async with ChatClient(settings) as client:
        return await analyse(request, client.complete, settings)


def _complete(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also in a notebook, whose thread runs an event loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
