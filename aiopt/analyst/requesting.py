"""What an analyst is asked to read, from files: the last bars of a series, a picture, or both.

Owns which bars and which picture a request gets.  Asks nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from aiopt.analyst.analysis import AnalysisRequest
from aiopt.analyst.settings import AnalystSettings
from aiopt.analyst.windows import drawable, request_of_window
from aiopt.bars.files import load_bar_set
from aiopt.charts import PreparedChart
from aiopt.errors import DataError, InputError


class Readable(NamedTuple):
    """Files to read.

    Attributes
    ----------
    bars : Path or None
        Bar file or folder.
    timeframe, symbol : str or None
        Which bars, where the folder has several.
    picture : Path or None
        A chart as PNG, instead of one drawn from the bars.
    note : str
        Text for the model.
    """

    bars: Path | None
    timeframe: str | None = None
    symbol: str | None = None
    picture: Path | None = None
    note: str = ""


def request_of_files(files: Readable, settings: AnalystSettings, *, draw: bool) -> AnalysisRequest:
    """Return the request for files.

    Parameters
    ----------
    files : Readable
        With bars, a picture or both.
    settings : AnalystSettings
        How many bars, how they are drawn, and whether somebody looks at a picture.
    draw : bool
        Draw the bars also where nobody looks at the picture.

    Raises
    ------
    InputError
        If there is nothing to read, or a picture alone and only the rules to read it.
    DataError
        If a file cannot be read.
    """
    if files.bars is None and files.picture is None:
        raise InputError("There is nothing to read. Add --bars or --png.")
    if files.bars is None and settings.endpoint is None:
        raise InputError("The rule-based reader reads bars, not pictures. Add --bars, or --endpoint URL.")
    png = None if files.picture is None else _picture(files.picture)
    if files.bars is None:
        return AnalysisRequest(chart_png=png, note=files.note)
    bar_set = load_bar_set(files.bars, timeframe=files.timeframe, symbol=files.symbol)
    bars = bar_set.bid
    stop, start = len(bars), max(0, len(bars) - settings.bars)
    if png is None and (draw or (settings.endpoint is not None and settings.picture)):
        png = PreparedChart(bars, drawable(settings.chart, bars)).render(start, stop)
    spread = None if bar_set.single_price else max(0.0, float(bar_set.ask.close[-1] - bars.close[-1]))
    return request_of_window(
        bars, (start, stop), spec=settings.chart, chart_png=png, spread=spread, note=files.note
    )


def _picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        msg = f"Cannot read the chart: {failure.strerror}. Check the path."
        raise DataError(msg, file=path) from failure
