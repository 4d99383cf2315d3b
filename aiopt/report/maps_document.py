"""The maps of all trials as plain records: part of ``report.json``.  Owns the records only."""

from __future__ import annotations

import msgspec

LEVELS = 4
"""Steps of colour on either side of zero."""


class TradeOff(msgspec.Struct, frozen=True, kw_only=True):
    """A trial on the window the emitted parameters are chosen on: in-sample.

    Attributes
    ----------
    trial_id : str
        Of the trial.
    net_pnl, drawdown : float
        Account currency; the drawdown is at least 0.
    units : float
        Sum of the trades' sizes, units of base currency: turnover.
    front : bool
        No other trial earns as much with as little drawdown and as little turnover.
    rank : int or None
        Of the entry that emits it.
    """

    trial_id: str
    net_pnl: float
    drawdown: float
    units: float
    front: bool
    rank: int | None


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter: numbers from `low` to `high`, or one of `choices`."""

    name: str
    low: float
    high: float
    choices: list[str] = []


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A trial across the axes.

    Attributes
    ----------
    trial_id : str
        Of the trial.
    places : list of float
        In [0, 1] on each axis.
    sharpe : float or None
        Out of sample, over the test segments.
    level : int
        Of colour, from ``-LEVELS`` to `LEVELS`; its sign is that of `sharpe`.
    rank : int or None
        Of the entry that emits it.
    """

    trial_id: str
    places: list[float]
    sharpe: float | None
    level: int
    rank: int | None


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a group's trials."""

    group: str
    trials: int
    axes: list[Axis]
    lines: list[Line]


class SweepMaps(msgspec.Struct, frozen=True, kw_only=True):
    """The maps; `trade_offs_total` trials have a trade-off, of which some are kept."""

    trade_offs: list[TradeOff]
    trade_offs_total: int
    front: int
    parameters: list[Parameters]
