"""A second opinion on money: the account of the broker emulator's trades, trade by trade in `decimal`.

A test oracle written from the rules in ``docs/strategies.md`` alone; `aiopt.backtest.money` must agree with
it to the last digit.  Knows nothing of engines and shares no code with the bookkeeping it checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

from aiopt.testing.broker import BrokerTrade

_DIGITS = 60


@dataclass(frozen=True)
class StatementLine:
    """What one closed trade did to the account, exactly; `commission` is a cost and not negative."""

    gross: Decimal
    commission: Decimal

    @property
    def pnl(self) -> Decimal:
        """What the balance gained."""
        return self.gross - self.commission


def account_statement(
    trades: Sequence[BrokerTrade], *, commission_per_million: float = 0.0
) -> list[StatementLine]:
    """Return one line per closed trade.

    Parameters
    ----------
    trades : sequence of BrokerTrade
        Of `aiopt.testing.broker.simulate`; an open one has no line.
    commission_per_million : float
        Quote currency per million traded, each side.
    """
    with localcontext(Context(prec=_DIGITS)):
        return [_line(trade, commission_per_million) for trade in trades if trade.exit_price is not None]


def _line(trade: BrokerTrade, commission_per_million: float) -> StatementLine:
    entry, leave, size = (_decimal(value) for value in (trade.entry_price, trade.exit_price, trade.size))
    move = leave - entry if trade.side == "long" else entry - leave
    rate = _decimal(commission_per_million) / 1_000_000
    return StatementLine(gross=move * size, commission=(entry * size + leave * size) * rate)


def _decimal(value: float | None) -> Decimal:
    return Decimal(repr(value))
