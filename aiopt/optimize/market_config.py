"""One market of a run of several: its instrument, its data, and the costs that are its own.

Owns these keys and their rules, and how a market is written on the command line.  Knows no other market.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.swap import SwapConfig
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.spread_model import SpreadConfig
from aiopt.errors import ConfigError, did_you_mean


class MarketCosts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs of one market, each as in `BacktestConfig`; what is left out is as for all markets.

    Attributes
    ----------
    commission_per_million : float or None
        Quote currency per million quote currency traded.
    slippage_ticks : int or None
        Ticks of this instrument.
    extra_spread_pips : float or None
        Pips of this instrument.
    swap : SwapConfig or None
        Of positions held overnight.
    stop_slippage_ticks : float or None
        Ticks of this instrument.
    """

    commission_per_million: float | None = None
    slippage_ticks: int | None = None
    extra_spread_pips: float | None = None
    swap: SwapConfig | None = None
    stop_slippage_ticks: float | None = None

    def over(self, common: BacktestConfig) -> BacktestConfig:
        """Return the assumptions of all markets with the costs of this one."""
        own = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.structs.replace(
            common, **{name: value for name, value in own.items() if value is not None}
        )


class MarketConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One market of a run of several.

    Attributes
    ----------
    instrument : str
        Symbol, e.g. ``EURUSD``.
    ticks, bars, ask_bars, bar_reading, spread, conversion
        As in `OptimizeConfig`.  Neither ticks nor bars: the generated sample of this instrument.
    costs : MarketCosts
        What differs from the run's `backtest`.
    """

    instrument: str
    ticks: str | None = None
    bars: tuple[str, ...] = ()
    ask_bars: tuple[str, ...] = ()
    bar_reading: BarReading = BarReading()
    spread: SpreadConfig = SpreadConfig()
    conversion: str | None = None
    costs: MarketCosts = MarketCosts()


_PATHS = ("ticks", "conversion")
_LISTS = ("bars", "ask_bars")
_NUMBERS = {
    "spread_pips": ("spread", "pips"),
    "commission": ("costs", "commission_per_million"),
    "extra_spread_pips": ("costs", "extra_spread_pips"),
}
_KNOWN = (*_PATHS, *_LISTS, *_NUMBERS)


def parse_market(text: str) -> dict[str, Any]:
    """Return a market written as ``EURUSD,bars=PATH,conversion=PATH`` as plain settings.

    Keys are the flags of ``aiopt optimize`` without their dashes; ``bars`` and ``ask-bars`` may be repeated.

    Raises
    ------
    ConfigError
        If a part is no ``KEY=VALUE``, a key is unknown or given twice, or a number is none.

    Examples
    --------
    >>> parse_market("USDJPY,bars=usdjpy.zip,extra-spread-pips=0.2")
    {'instrument': 'USDJPY', 'bars': ['usdjpy.zip'], 'costs': {'extra_spread_pips': 0.2}}
    """
    symbol, *parts = [part.strip() for part in text.split(",")]
    if not symbol or "=" in symbol:
        msg = f"A market begins with its instrument, but got {text!r}. Write e.g. EURUSD,bars=PATH."
        raise ConfigError(msg)
    found: dict[str, Any] = {"instrument": symbol}
    for part in parts:
        flag, equals, value = part.partition("=")
        name = flag.strip().replace("-", "_")
        if not equals or not value:
            msg = f"--market {symbol}: {part!r} must be KEY=VALUE. A path with a comma goes into the file of "
            raise ConfigError(msg + "settings, under `markets`.")
        if name not in _KNOWN:
            flags = [known.replace("_", "-") for known in _KNOWN]
            hint = did_you_mean(flag, flags)
            raise ConfigError(f"--market {symbol}: there is no {flag!r}. Use {', '.join(flags)}.{hint}")
        if name in _LISTS:
            found.setdefault(name, []).append(value)
            continue
        group, key = _NUMBERS.get(name, ("", name))
        place = found.setdefault(group, {}) if group else found
        if key in place:
            raise ConfigError(f"--market {symbol}: {flag} stands there twice. Remove one.")
        place[key] = _number(symbol, flag, value) if group else value
    return found


def _number(symbol: str, flag: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ConfigError(f"--market {symbol}: {flag} is a number, but got {value!r}.") from error
