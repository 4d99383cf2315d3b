"""What bars must be for a backtest.  Owns these rules; knows no engine."""

from __future__ import annotations

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.conversion import account_currency
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, DataError


def check_bars(bars: BarSet, config: BacktestConfig) -> None:
    """Raise unless a backtest can be run over some bars.

    Raises
    ------
    ConfigError
        If research mode is given bars of one price, there are fewer than two bars, or a parity account is in
        another than the quote currency.
    DataError
        If gaps of the bars were filled with prices to come.
    """
    if config.is_parity and account_currency(bars, config.account_currency) != bars.instrument.quote:
        msg = (
            f"A parity run's account is in the quote currency, {bars.instrument.quote}, as the chart's is, "
            f"but got account_currency={config.account_currency!r}. Leave it out."
        )
        raise ConfigError(msg)
    if len(bars) < 2:
        msg = f"A backtest needs at least two bars, but got {len(bars)}. Give a longer span."
        raise ConfigError(msg)
    if bars.interpolated:
        msg = "The gaps of these bars were filled with prices from the future, so no backtest may use them."
        raise DataError(msg + " Build them with --fill flat, or without --fill.")
    if bars.single_price and not config.is_parity:
        msg = (
            "Research mode needs bid and ask bars, but there is one price. Give a folder with bid.parquet "
            "and ask.parquet, add a spread (--spread-pips 0.8), or choose parity mode (--mode parity)."
        )
        raise ConfigError(msg)
