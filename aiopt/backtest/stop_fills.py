"""Where a stop that was reached inside a bar fills: decided once per session, and named in every result.

Owns the choice between what ticks say, a measured mean and an assumption.  Knows no engine.

A stop that a bar opens beyond fills at the open in every case, and ``slippage_ticks`` of the configuration
comes on top in every case.

=============  =====================================================================================
basis          a stop reached inside a bar fills at
=============  =====================================================================================
``ticks``      the first quote at or beyond it (`aiopt.bars.stops.stop_ladders`)
``measured``   the stop, worse by the mean measured on other ticks of the instrument
``assumed``    the stop, worse by `ASSUMED_TICKS`: nothing is known of ticks
``configured`` the stop, worse by `BacktestConfig.stop_slippage_ticks`
``stop_price`` the stop: parity mode, as TradingView's broker emulator fills it
=============  =====================================================================================

Parity mode and the emitted Pine Script keep TradingView's convention, whatever ticks say: a chart does not
know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.bars.stops.stop_slippage import StopSlippage
from aiopt.errors import ConfigError

ASSUMED_TICKS = 1.0
"""Ticks beyond its price at which a stop fills where no tick of the instrument is known."""

Basis = Literal["ticks", "measured", "assumed", "configured", "stop_price"]


class StopFills(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rule filled the stops of a backtest.

    Attributes
    ----------
    basis : str
        See the table in the module's docstring.
    slippage_ticks : float or None
        Ticks by which a stop reached inside a bar fills beyond its price; None where each has its own quote.
    text : str
        The rule in one phrase.
    """

    basis: Basis = "stop_price"
    slippage_ticks: float | None = 0.0
    text: str = "their own price, as TradingView fills them"


@dataclass(frozen=True)
class StopRule:
    """What the venue needs to fill stops.

    Attributes
    ----------
    fills : StopFills
        The rule, for the result.
    ladder : StopLadder or None
        Quotes, where they decide.
    slippage : float
        Quote currency beyond the stop, where they do not.
    """

    fills: StopFills
    ladder: StopLadder | None = None
    slippage: float = 0.0


def stop_rule(bars: BarSet, config: BacktestConfig) -> StopRule:
    """Return how stops are filled over some bars.

    Parameters
    ----------
    bars : BarSet
        With what is known of ticks, `BarSet.stops`.
    config : BacktestConfig
        `stop_slippage_ticks` goes before it.

    Raises
    ------
    ConfigError
        If the measured slippage is of another instrument.
    """
    if config.is_parity:
        return StopRule(StopFills())
    tick = bars.instrument.tick_size
    given, known = config.stop_slippage_ticks, bars.stops
    if given is not None:
        text = f"{given:g} {_ticks(given)} beyond the stop, as configured"
        return StopRule(StopFills(basis="configured", slippage_ticks=given, text=text), slippage=given * tick)
    if isinstance(known, StopLadder):
        text = "ticks: the first quote at or beyond the stop"
        return StopRule(StopFills(basis="ticks", slippage_ticks=None, text=text), ladder=known)
    if isinstance(known, StopSlippage):
        if known.instrument != bars.instrument.symbol:
            msg = f"Stop slippage must be measured on {bars.instrument.symbol}, but is of {known.instrument}."
            raise ConfigError(msg + " Give ticks of that instrument.")
        mean = known.mean_ticks
        return StopRule(
            StopFills(basis="measured", slippage_ticks=mean, text=known.text), slippage=mean * tick
        )
    text = (
        f"{ASSUMED_TICKS:g} {_ticks(ASSUMED_TICKS)} assumed: no ticks of {bars.instrument.symbol} are known"
    )
    return StopRule(
        StopFills(basis="assumed", slippage_ticks=ASSUMED_TICKS, text=text), slippage=ASSUMED_TICKS * tick
    )


def _ticks(number: float) -> str:
    return "tick" if number == 1 else "ticks"
