"""Windows of one series of bars: which there are, what their files are called, and drawing them one by one.

Owns the order and the naming of windows, and the message of one that cannot be drawn.  `cluster.charts` draws
the same windows in parallel and gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from aiopt.bars.schema import BarArrays
from aiopt.charts.axes import stamp
from aiopt.charts.render import PreparedChart
from aiopt.errors import ConfigError, DataError
from aiopt.trades import TradeMark

Window = tuple[int, int]
"""First bar, and the bar behind the last one."""

ChartProgress = Callable[[int, int], None]
"""Called with the charts done and all charts."""

DEFAULT_WINDOW = 200
"""Bars of a chart, where there are so many."""


def plan_windows(chart: PreparedChart, size: int | None = None, stride: int | None = None) -> list[Window]:
    """Return the windows to draw.

    Parameters
    ----------
    chart : PreparedChart
        The bars and their indicators.
    size : int, optional
        Bars per window; by default `DEFAULT_WINDOW`, or all bars if there are fewer.
    stride : int, optional
        A window every so many bars, the first one behind the warm-up of all indicators.  None: the last
        window only.

    Raises
    ------
    ConfigError
        If a window does not fit into the bars, or `stride` is not positive.
    """
    n_bars = len(chart.bars)
    size = min(DEFAULT_WINDOW, n_bars) if size is None else size
    if not 1 <= size <= n_bars:
        msg = f"`1 <= window <= {n_bars}` must hold for these bars, but got window={size}."
        raise ConfigError(msg + " Choose a shorter one.")
    if stride is None:
        return [(n_bars - size, n_bars)]
    if stride < 1:
        msg = f"`stride >= 1` must hold, but got stride={stride}."
        raise ConfigError(msg + " Choose how many bars to move on.")
    first = chart.first_ready()
    if first is None or first + size > n_bars:
        known = "no bar" if first is None else f"bar {first}"
        msg = (
            f"A window of {size} bars does not fit: of {n_bars} bars, all indicators have "
            f"values from {known} on. Choose a shorter window or shorter indicators."
        )
        raise ConfigError(msg)
    return [(start, start + size) for start in range(first, n_bars - size + 1, stride)]


def window_name(bars: BarArrays, window: Window) -> str:
    """Return e.g. ``"EURUSD-5m-bid-20180102T080000-200"``: first bar, number of bars."""
    start, stop = window
    seconds = int(bars.ts_open_ns[start]) // 1_000_000_000 * 1_000_000_000
    digits = stamp(seconds).replace("-", "").replace(":", "").replace(" ", "T")
    digits = digits if len(digits) == len("20180102T080000") else f"{digits}00"
    return f"{bars.instrument}-{bars.timeframe.label}-{bars.price}-{digits}-{stop - start}"


def render_window(chart: PreparedChart, window: Window, trades: Sequence[TradeMark] = ()) -> bytes:
    """Return the PNG of one window.

    Raises
    ------
    ConfigError, DataError
        As `PreparedChart.render`, with the window's name in front.
    """
    start, stop = window
    try:
        return chart.render(start, stop, trades=trades)
    except (ConfigError, DataError) as failure:
        inside = 0 <= start < stop <= len(chart.bars)
        name = f" ({window_name(chart.bars, window)})" if inside else ""
        reason = failure.reason if isinstance(failure, DataError) else str(failure)
        msg = f"The chart of bars {start} to {stop - 1}{name} cannot be drawn: {reason}"
        raise type(failure)(msg) from failure


def render_windows(
    chart: PreparedChart,
    windows: Sequence[Window],
    *,
    trades: Sequence[TradeMark] = (),
    progress: ChartProgress | None = None,
) -> Iterator[bytes]:
    """Draw windows one after the other in this process; yields each PNG in the order of `windows`.

    Parameters
    ----------
    chart : PreparedChart
        The bars and their indicators.
    windows : sequence of (int, int)
        First bar and the bar behind the last.
    trades : sequence of TradeMark
        Marked in every window they lie in.
    progress : callable, optional
        Called after each chart.

    Raises
    ------
    ConfigError, DataError
        When the window's turn comes, naming it.
    """
    for number, window in enumerate(windows, 1):
        png = render_window(chart, window, trades)
        if progress is not None:
            progress(number, len(windows))
        yield png
