"""A second opinion on money: the account of the broker emulator's trades, trade by trade in `decimal`.

A test oracle written from the rules in ``docs/reference/strategies.md`` alone; `aiopt.backtest.money` must
agree with it to the last digit.  Knows nothing of engines and shares no code with the bookkeeping it checks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from zoneinfo import ZoneInfo

from aiopt.bars.schema import BarSet
from aiopt.testing.broker import BrokerTrade

_DIGITS = 60
_NEW_YORK = ZoneInfo("America/New_York")

NightPrice = Callable[[dt.date, str, Decimal], Decimal]
"""New York date, side, bid at the rollover → what one night adds per unit of base, quote currency."""
Rate = Callable[[dt.datetime], Decimal]
"""UTC time → account currency per quote currency."""


@dataclass(frozen=True)
class StatementLine:
    """What one closed trade did to the account, exactly.

    Attributes
    ----------
    gross : Decimal
        Profit of the prices.
    commission : Decimal
        A cost, not negative.
    swap : Decimal
        Negative was paid.
    nights : int
        A triple rollover counts three.
    """

    gross: Decimal
    commission: Decimal
    swap: Decimal
    nights: int

    @property
    def pnl(self) -> Decimal:
        """What the balance gained."""
        with localcontext(Context(prec=_DIGITS)):
            return self.gross - self.commission + self.swap


def account_statement(
    trades: Sequence[BrokerTrade],
    bars: BarSet,
    *,
    commission_per_million: float = 0.0,
    night: NightPrice | None = None,
    triple_weekday: int = 2,
    rate: Rate | None = None,
) -> list[StatementLine]:
    """Return one line per closed trade.

    Parameters
    ----------
    trades : sequence of BrokerTrade
        Of `aiopt.testing.broker.simulate`; an open one has no line.
    bars : BarSet
        What they were traded on.
    commission_per_million : float
        Quote currency per million traded, each side.
    night : callable, optional
        Prices a night; without it nights are counted and cost nothing.
    triple_weekday : int
        Monday is 0; its rollover counts three.
    rate : callable, optional
        Account currency per quote currency; without it they are the same.
    """
    with localcontext(Context(prec=_DIGITS)):
        charged = _decimal(commission_per_million) / 1_000_000
        lines = []
        for trade in trades:
            if trade.exit_price is None:
                continue
            entry, leave, size = (
                _decimal(value) for value in (trade.entry_price, trade.exit_price, trade.size)
            )
            move = leave - entry if trade.side == "long" else entry - leave
            held = [
                (3 if moment.weekday() == triple_weekday else 1, moment) for moment in _held_over(trade, bars)
            ]
            swap = Decimal(0)
            if night is not None:
                for nights, moment in held:
                    due = size * nights * night(moment.date(), trade.side, _bid_at(bars, moment))
                    swap += due * _rate(rate, moment.astimezone(dt.UTC))
            at_entry = _rate(rate, _moment(int(bars.bid.ts_open_ns[trade.entry_bar])))
            at_exit = _rate(rate, _left(trade, bars))
            lines.append(
                StatementLine(
                    gross=move * size * at_exit,
                    commission=(entry * at_entry + leave * at_exit) * size * charged,
                    swap=swap,
                    nights=sum(nights for nights, _ in held),
                )
            )
        return lines


def _held_over(trade: BrokerTrade, bars: BarSet) -> Iterator[dt.datetime]:
    """Yield the business days' 17:00 New York between entry and exit."""
    entered = _moment(int(bars.bid.ts_open_ns[trade.entry_bar]))
    left = _left(trade, bars)
    at_open = trade.exit_place == "open"
    day = entered.astimezone(_NEW_YORK).date()
    while True:
        rollover = dt.datetime.combine(day, dt.time(17), tzinfo=_NEW_YORK)
        # A fill at the open of the bar that begins with the rollover comes after it, one inside the bar
        # that ends with it before.
        instant = rollover.astimezone(dt.UTC)
        if instant > left or (instant == left and not at_open):
            return
        if instant > entered and day.weekday() < 5:
            yield rollover
        day += dt.timedelta(days=1)


def _left(trade: BrokerTrade, bars: BarSet) -> dt.datetime:
    """Return when a trade was closed: at its exit bar's open, or inside it, which counts as its end."""
    assert trade.exit_bar is not None
    opened = _moment(int(bars.bid.ts_open_ns[trade.exit_bar]))
    if trade.exit_place == "open":
        return opened
    return opened + dt.timedelta(seconds=bars.timeframe.seconds)


def _rate(rate: Rate | None, moment: dt.datetime) -> Decimal:
    return Decimal(1) if rate is None else rate(moment)


def _bid_at(bars: BarSet, moment: dt.datetime) -> Decimal:
    ended = [
        float(close)
        for ts_ns, close in zip(bars.bid.ts_open_ns.tolist(), bars.bid.close.tolist(), strict=True)
        if _moment(ts_ns) + dt.timedelta(seconds=bars.timeframe.seconds) <= moment
    ]
    return _decimal(ended[-1])


def _moment(ts_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ts_ns // 10**9, dt.UTC)


def _decimal(value: float | None) -> Decimal:
    return Decimal(repr(value))
