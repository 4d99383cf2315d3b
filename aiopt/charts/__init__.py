"""Charts: bars, indicators and trades as PNG, the same pixels on every machine.

Owns geometry, drawing and encoding.  Knows bars and indicators; knows nothing of strategies, backtests or
models.
"""

from aiopt.charts.layout import ChartLayout, Panes
from aiopt.charts.render import PreparedChart, render_chart
from aiopt.charts.spec import ChartSpec, IndicatorPlot, parse_plot
from aiopt.charts.windows import plan_windows, render_windows, window_name
from aiopt.trades import TradeMark

__all__ = [
    "ChartSpec",
    "IndicatorPlot",
    "TradeMark",
    "PreparedChart",
    "render_chart",
    "ChartLayout",
    "Panes",
    "parse_plot",
    "plan_windows",
    "render_windows",
    "window_name",
]
