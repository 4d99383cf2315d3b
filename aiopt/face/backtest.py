"""A backtest in a notebook: one call, and a result one can look at.

Owns the call, and how trades, equity and figures show themselves.  The engine, its assumptions and the
figures are `aiopt.backtest`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, TypedDict, Unpack

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread, chart_price
from aiopt.backtest.results import Metrics, TrialResult
from aiopt.backtest.swap import SwapConfig
from aiopt.bars.schema import BarSet
from aiopt.config import decode
from aiopt.errors import ConfigError
from aiopt.evaluation.statement import statement
from aiopt.face import html
from aiopt.face.bars import BarsLike, as_bar_set
from aiopt.face.strategies import SpecLike, load_spec
from aiopt.face.tables import FrameTable, Table, utc_text, with_timestamps
from aiopt.strategy.spec import StrategySpec
from aiopt.trades import Trade

Mode = Literal["research", "parity"]

_SHOWN_TRADES = 8


class Assumptions(TypedDict, total=False):
    """What a backtest assumes, each with a default: the fields of `BacktestConfig` but ``mode``."""

    account_currency: str | None
    initial_balance: float
    leverage: float
    commission_per_million: float
    slippage_ticks: int
    swap: SwapConfig | None
    stop_slippage_ticks: float | None
    seed: int
    signals: Literal["arrays", "streaming"]


class Backtest(Table):
    """What one strategy did over some bars.

    As a table: its trades, see `trades`.

    Attributes
    ----------
    spec : StrategySpec
        The strategy.
    config : BacktestConfig
        What was assumed.
    bars : BarSet
        What it traded on.
    result : TrialResult
        What the engine found, with the hashes of spec, assumptions and data.
    """

    def __init__(self, spec: StrategySpec, config: BacktestConfig, bars: BarSet, result: TrialResult) -> None:
        self.spec = spec
        self.config = config
        self.bars = bars
        self.result = result

    @property
    def metrics(self) -> Metrics:
        """The figures: money in account currency, ratios annualised, drawdown as a fraction of the peak."""
        return self.result.metrics

    @cached_property
    def trades(self) -> FrameTable:
        """The closed trades in the order of their exits.

        Columns: ``entry_ts`` and ``exit_ts`` (when the bars of the fills open, UTC), ``side``, prices (quote
        currency), ``size`` (units of the base currency), ``pnl`` after costs, ``commission`` and ``swap``
        (account currency), ``exit_reason``, ``stop_price`` and ``target_price`` (quote currency, null where
        there is none), numbers of the bars, ``nights``.
        """
        return trade_table(self.result.trades)

    @cached_property
    def equity(self) -> FrameTable:
        """Balance plus open profit at every close: ``ts`` (when the bar is over, UTC), ``equity``.

        The first row is the initial balance at the open of the first bar; account currency.
        """
        times, values = self._curve
        frame = pl.DataFrame({"ts_ns": times, "equity": values})
        return FrameTable(with_timestamps(frame), "points of equity")

    @property
    def currency(self) -> str:
        """Currency of the account."""
        return self.config.account_currency or self.bars.instrument.quote

    def to_polars(self) -> pl.DataFrame:
        """Return the trades as a Polars frame."""
        return self.trades.to_polars()

    @property
    def _curve(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        opens = self.bars.bid.ts_open_ns
        return np.concatenate((opens[:1], opens + self.bars.timeframe.ns)), self.result.equity

    def _warnings(self) -> list[str]:
        """Return what margin and ruin did: the figures are then those of another strategy."""
        result, opens = self.result, self.bars.bid.ts_open_ns
        said = [
            f"{len(bars):,} {what}, first at {utc_text(opens[bars[0]])} UTC."
            for bars, what in (
                (result.refused_bars, "entries were refused: their margin exceeded the account"),
                (result.capped_bars, "entries were cut to the size whose margin the account carries"),
                (result.ruined_bars, "time(s) the account was lost, and nothing was traded after it"),
            )
            if bars
        ]
        return [html.GENERATED, *said] if self.bars.synthetic else said

    def _title(self) -> str:
        figures = self.metrics
        net = statement(figures.net_profit, self.currency)
        sharpe = "not defined" if np.isnan(figures.sharpe_ratio) else f"{figures.sharpe_ratio:.2f}"
        return (
            f"{self.spec.name} on {len(self.bars):,} {self.bars.timeframe.label} bars of "
            f"{self.bars.instrument.symbol}, {self.config.mode}: {figures.trades} trades, {net} "
            f"{self.currency}, Sharpe ratio {sharpe}"
        )

    def _repr_html_(self) -> str:
        figures = self.metrics
        rows: list[tuple[str, object]] = [
            ("trades", f"{figures.trades} ({figures.wins} won)"),
            ("P&L", f"{statement(figures.net_profit, self.currency)} {self.currency}"),
            ("commission", f"{statement(figures.commission, self.currency)} {self.currency}"),
            ("return", f"{figures.return_fraction:.3%}"),
            ("max drawdown", f"{figures.max_drawdown:.3%}"),
            ("profit factor", html.cell_text(figures.profit_factor, 2)),
            ("Sharpe ratio", html.cell_text(figures.sharpe_ratio, 2)),
            ("exposure", f"{figures.exposure:.1%}"),
            ("stops", self.result.stop_fills.text),
        ]
        times, values = self._curve
        picture = html.curve(times, values, label="equity", base=float(values[0]))
        shown = self.trades.to_polars().select(
            *("entry_ts", "exit_ts", "side", "entry_price", "exit_price", "size"),
            pl.col("pnl").round(2),
            "exit_reason",
        )
        trades = html.frame_html(shown, _SHOWN_TRADES) if len(self.trades) else html.note("No trade.")
        return html.card(self._title(), picture, html.table((), rows), trades, warnings=self._warnings())


def trade_table(trades: Sequence[Trade]) -> FrameTable:
    """Return closed trades as a table, see `Backtest.trades`."""
    columns = {name: [getattr(trade, name) for trade in trades] for name in _TRADE_COLUMNS}
    return FrameTable(with_timestamps(pl.DataFrame(columns, schema=_TRADE_COLUMNS)), "trades")


_TRADE_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("entry_ts_ns", "exit_ts_ns"), pl.Int64),
    "side": pl.String,
    **dict.fromkeys(("entry_price", "exit_price", "size", "pnl"), pl.Float64),
    "exit_reason": pl.String,
    **dict.fromkeys(("stop_price", "target_price", "commission", "swap"), pl.Float64),
    **dict.fromkeys(("nights", "entry_bar", "exit_bar"), pl.Int64),
}


def backtest(
    spec: SpecLike,
    bars: BarsLike,
    mode: Mode = "research",
    *,
    params: dict[str, float] | None = None,
    spread_pips: float | None = None,
    config: BacktestConfig | None = None,
    **assumptions: Unpack[Assumptions],
) -> Backtest:
    """Backtest a strategy in NautilusTrader; it counts as a trial (`aiopt trials ledger`).

    Parameters
    ----------
    spec : str, Path, StrategySpec or SearchSpace
        Name of a ready family, a YAML or JSON file, or an object.
    bars : Bars, BarSet, Path or str
        Time bars.  Research needs bid and ask, as `build_bars` gives them without ``price``.
    mode : {"research", "parity"}
        Research: bid and ask, commission, slippage, margin.  Parity: one price and no costs, the trades of
        the emitted Pine Script on TradingView's chart.
    params : dict of str to float, optional
        Parameters of the strategy to set.
    spread_pips : float, optional
        Makes the ask from bars of one price: that many pips above it.
    config : BacktestConfig, optional
        All assumptions at once, instead of `mode` and `assumptions`.
    **assumptions
        Fields of `BacktestConfig`, e.g. ``initial_balance=10_000.0`` (account currency), ``leverage=30.0``,
        ``commission_per_million=35.0`` (quote currency, each side), ``slippage_ticks=1``.

    Returns
    -------
    Backtest
        The same for the same strategy, bars and assumptions, to the bit.

    Raises
    ------
    SpecError
        If the strategy breaks a rule.
    ConfigError
        If an assumption is out of range, or research is given one price and no `spread_pips`.
    DataError
        If the bars cannot be traded on.

    Examples
    --------
    >>> import aiopt as ao
    >>> bars = ao.build_bars(ao.sample_ticks(days=2), "5m")
    >>> found = ao.backtest("ema_cross_atr", bars, leverage=20.0)
    >>> found.metrics.trades == len(found.trades.to_polars())
    True
    >>> found.equity.to_polars().height == len(bars) + 1
    True
    """
    strategy = load_spec(spec, **(params or {}))
    if config is None:
        config = decode(msgspec.to_builtins({"mode": mode, **assumptions}), BacktestConfig, where="backtest")
    elif assumptions or mode not in ("research", config.mode):
        raise ConfigError("`config` has every assumption, but more were given. Leave one of the two out.")
    traded = as_bar_set(bars)
    if spread_pips is not None:
        if config.is_parity:
            raise ConfigError("Parity mode has no spread, but got `spread_pips`. Leave it out.")
        traded = add_spread(traded, spread_pips)
    if config.is_parity:
        traded = chart_price(traded)
    # Imported here: the engine costs a second, which reading a result need not pay.
    from aiopt.backtest.session import BacktestSession
    from aiopt.sweep.counting import record_backtest

    with BacktestSession(traded, config) as session:
        result = session.run(strategy)
    record_backtest(strategy, config, traded)
    return Backtest(strategy, config, traded, result)
