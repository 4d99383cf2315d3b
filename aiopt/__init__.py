"""aiopt: from raw EUR/USD ticks to TradingView strategies one can trust.

>>> import aiopt as ao
>>> ticks = ao.sample_ticks(days=1)
>>> bars = ao.build_bars(ticks, "5m")
>>> ao.indicators.rsi(bars)
<Indicator: RSI 14 over 288 bars, last value 79.3193>

Importing it imports nothing else: every name comes from its home at the first use.  Everything below `aiopt`
imports and runs without Ray, vLLM, a GPU or a network; the package `cluster` distributes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiopt.lazy_names import lend_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from aiopt import errors as errors
    from aiopt.backtest.backtest_config import BacktestConfig
    from aiopt.charts.spec import ChartSpec
    from aiopt.evaluation.folds import WalkForwardConfig
    from aiopt.face import indicators as indicators
    from aiopt.face.analyst import Reading, read_chart
    from aiopt.face.backtest import Backtest, backtest
    from aiopt.face.bars import Bars, build_bars, read_bars
    from aiopt.face.charts import Chart, render_chart
    from aiopt.face.pine import PineCheck, PineScript, check_pine, emit_pine
    from aiopt.face.rank import RankedStrategies, rank
    from aiopt.face.report import ReportPage, report
    from aiopt.face.robustness import StressedEntries
    from aiopt.face.run import Run, run
    from aiopt.face.strategies import Families, families, load_spec
    from aiopt.face.sweep import Sweep, sweep
    from aiopt.face.tables import Table
    from aiopt.face.ticks import Ticks, read_ticks, sample_ticks
    from aiopt.pine.form import ScriptCosts, ScriptForm
    from aiopt.ranking.ranking_config import RankingConfig
    from aiopt.strategy.space import SearchSpace
    from aiopt.strategy.spec import StrategySpec

__all__ = [
    "__version__",
    # ticks and bars
    "read_ticks",
    "sample_ticks",
    "build_bars",
    "read_bars",
    "indicators",
    # strategies
    "load_spec",
    "families",
    "backtest",
    "sweep",
    "rank",
    # what comes out
    "emit_pine",
    "check_pine",
    "render_chart",
    "read_chart",
    "report",
    "run",
    # what they return
    "Table",
    "Ticks",
    "Bars",
    "Families",
    "Backtest",
    "Sweep",
    "RankedStrategies",
    "StressedEntries",
    "PineScript",
    "PineCheck",
    "Chart",
    "Reading",
    "ReportPage",
    "Run",
    # what they take
    "StrategySpec",
    "SearchSpace",
    "BacktestConfig",
    "WalkForwardConfig",
    "RankingConfig",
    "ScriptCosts",
    "ScriptForm",
    "ChartSpec",
    "errors",
]

lend_names(
    __name__,
    {
        "aiopt.backtest.backtest_config": ("BacktestConfig",),
        "aiopt.charts.spec": ("ChartSpec",),
        "aiopt.evaluation.folds": ("WalkForwardConfig",),
        "aiopt.face.analyst": ("Reading", "read_chart"),
        "aiopt.face.backtest": ("Backtest",),
        "aiopt.face.bars": ("Bars", "build_bars", "read_bars"),
        "aiopt.face.charts": ("Chart", "render_chart"),
        "aiopt.face.pine": ("PineCheck", "PineScript", "check_pine", "emit_pine"),
        "aiopt.face.rank": ("RankedStrategies", "rank"),
        "aiopt.face.robustness": ("StressedEntries",),
        "aiopt.face.report": ("ReportPage",),
        "aiopt.face.run": ("Run", "run"),
        "aiopt.face.strategies": ("Families", "families", "load_spec"),
        "aiopt.face.sweep": ("Sweep",),
        "aiopt.face.tables": ("Table",),
        "aiopt.face.ticks": ("Ticks", "read_ticks", "sample_ticks"),
        "aiopt.pine.form": ("ScriptCosts", "ScriptForm"),
        "aiopt.ranking.ranking_config": ("RankingConfig",),
        "aiopt.strategy.space": ("SearchSpace",),
        "aiopt.strategy.spec": ("StrategySpec",),
    },
    modules={"errors": "aiopt.errors", "indicators": "aiopt.face.indicators"},
    packages={
        "backtest": "aiopt.face.backtest",
        "report": "aiopt.face.report",
        "sweep": "aiopt.face.sweep",
    },
)
