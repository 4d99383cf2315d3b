"""Risk limits in front of every order, whatever the venue behind it.

Owns which entries are refused, the trading day's loss and the drawdown.  Knows no strategy's logic and no
venue; who calls it says what is held, quoted and worth.  An exit is never refused here: every limit is about
taking on more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import NamedTuple

import msgspec

from aiopt.backtest.rollover import rollover_ns
from aiopt.errors import ConfigError
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.paper.seam import VenueOrder
from aiopt.market.instrument import instrument
from aiopt.utc import DAY_NS, MINUTE_NS, SECOND_NS, stamp_text

RISK_STATE_VERSION = 1


class Situation(NamedTuple):
    """What an order meets.

    Attributes
    ----------
    now_ns : int
        Time it is judged by, UTC, on the clock that stamps quotes on arrival.
    bid, ask : float
        Last quote of its instrument.
    quote_ns : int
        When that quote arrived, on the same clock.
    held_units : float
        What its strategy holds of the instrument on its side, entries at work included.
    notional : float
        Account currency; value of all that is held by all strategies, entries at work included.
    rate : float
        Account currency per quote currency of the instrument.
    """

    now_ns: int
    bid: float
    ask: float
    quote_ns: int
    held_units: float
    notional: float
    rate: float


class LimitRefusal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an entry is refused.

    Attributes
    ----------
    rule : str
        Name of the limit in the configuration.
    value, limit : float
        What it would be, and what it may be.
    reason : str
        Rule, value, limit and remedy in a sentence.
    """

    rule: str
    value: float
    limit: float
    reason: str


class Breach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A loss limit that was reached just now.

    Attributes
    ----------
    rule : str
        ``"max_daily_loss"`` or ``"max_drawdown"``.
    value, limit : float
        What was lost, and what may be.
    ts_ns : int
        When it was found.
    kills : bool
        Whether the configuration wants the kill switch.
    """

    rule: str
    value: float
    limit: float
    ts_ns: int
    kills: bool


class RiskState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the limits go on from after a restart.

    Attributes
    ----------
    version : int
        `RISK_STATE_VERSION`.
    day_end_ns : int
        End of the present trading day; 0 before the first equity.
    day_equity, peak_equity, last_equity : float
        Equity the day began with, the highest, the last seen.
    breached : tuple of str
        Loss limits that hold now.
    sent_ns : tuple of int
        Orders of the last minute.
    """

    version: int
    day_end_ns: int
    day_equity: float
    peak_equity: float
    last_equity: float
    breached: tuple[str, ...]
    sent_ns: tuple[int, ...]


class RiskLimits:
    """The limits of a session.

    Parameters
    ----------
    config : LimitsConfig
        Which hold.
    state : RiskState, optional
        To go on from.

    Raises
    ------
    ConfigError
        If the state is of another version.
    """

    def __init__(self, config: LimitsConfig, state: RiskState | None = None) -> None:
        self.config = config
        self._day_end_ns = 0
        self._day_equity = self._peak = self._last = 0.0
        self._breached: list[str] = []
        self._sent: deque[int] = deque()
        if state is not None:
            if state.version != RISK_STATE_VERSION:
                msg = f"The state of the limits is of version {state.version}, but this aiopt reads "
                msg += f"{RISK_STATE_VERSION}. Go on with the aiopt that wrote it, or begin a new session."
                raise ConfigError(msg)
            self._day_end_ns = state.day_end_ns
            self._day_equity, self._peak = state.day_equity, state.peak_equity
            self._last = state.last_equity
            self._breached = list(state.breached)
            self._sent.extend(state.sent_ns)

    def __repr__(self) -> str:
        return f"RiskLimits(breached={self._breached}, sent={len(self._sent)})"

    def state(self) -> RiskState:
        """Return what they go on from."""
        return RiskState(
            version=RISK_STATE_VERSION,
            day_end_ns=self._day_end_ns,
            day_equity=self._day_equity,
            peak_equity=self._peak,
            last_equity=self._last,
            breached=tuple(self._breached),
            sent_ns=tuple(self._sent),
        )

    @property
    def breached(self) -> tuple[str, ...]:
        """Loss limits that hold now."""
        return tuple(self._breached)

    @property
    def day_loss(self) -> float:
        """Fall of the equity since the trading day began, account currency; negative after a gain."""
        return self._day_equity - self._last

    @property
    def drawdown(self) -> float:
        """Fall from the highest equity as a share of it; 0.0 before the first equity."""
        return (self._peak - self._last) / self._peak if self._peak > 0 else 0.0

    def observe(self, ts_ns: int, equity: float) -> tuple[Breach, ...]:
        """Take the account's equity; return the limits it reaches just now.

        Parameters
        ----------
        ts_ns : int
            UTC, of the quote it was marked at.
        equity : float
            Account currency.  What a trading day begins with is the last equity before 17:00 New York, so
            that a week-end's gap counts to the day that opens with it.
        """
        if ts_ns >= self._day_end_ns:
            first = self._day_end_ns == 0
            self._day_equity = equity if first else self._last
            self._peak = equity if first else self._peak
            self._day_end_ns = trading_day_end_ns(ts_ns)
            if "max_daily_loss" in self._breached:
                self._breached.remove("max_daily_loss")
        self._last = equity
        self._peak = max(self._peak, equity)
        losses = (
            ("max_daily_loss", self.day_loss, self.config.max_daily_loss),
            ("max_drawdown", self.drawdown, self.config.max_drawdown),
        )
        found = []
        for rule, value, limit in losses:
            if limit is not None and value >= limit and rule not in self._breached:
                self._breached.append(rule)
                kills = self.config.on_loss == "kill"
                found.append(Breach(rule=rule, value=value, limit=limit, ts_ns=ts_ns, kills=kills))
        return tuple(found)

    def change(self, config: LimitsConfig) -> None:
        """Hold other limits from now on; a loss limit that was reached and lies above the loss is lifted."""
        self.config = config
        for rule, value in (("max_daily_loss", self.day_loss), ("max_drawdown", self.drawdown)):
            limit = getattr(config, rule)
            if rule in self._breached and (limit is None or value < limit):
                self._breached.remove(rule)

    def reset_drawdown(self) -> None:
        """Count the drawdown from the present equity on: a person has looked at it."""
        self._peak = self._last
        if "max_drawdown" in self._breached:
            self._breached.remove("max_drawdown")

    def judge(self, order: VenueOrder, met: Situation) -> LimitRefusal | None:
        """Return why an order may not be sent, None if it may; it is counted then.

        Parameters
        ----------
        order : VenueOrder
            With a `position_id` it is an exit and passes.
        met : Situation
            What it meets.
        """
        while self._sent and self._sent[0] <= met.now_ns - MINUTE_NS:
            self._sent.popleft()
        refusal = None if order.position_id is not None else self._entry_refusal(order, met)
        if refusal is None:
            self._sent.append(met.now_ns)
        return refusal

    def _entry_refusal(self, order: VenueOrder, met: Situation) -> LimitRefusal | None:
        config, traded = self.config, instrument(order.instrument)
        price = met.ask if order.side > 0 else met.bid
        checks = (
            ("max_quote_age_s", (met.now_ns - met.quote_ns) / SECOND_NS, "Wait for a fresh quote."),
            ("max_spread_pips", (met.ask - met.bid) / traded.pip_size, "Wait until the spread narrows."),
            ("max_position_units", met.held_units + order.units, "Order less, or close something first."),
            ("max_notional", met.notional + order.units * price * met.rate, "Order less, or close first."),
            ("max_orders_per_minute", float(len(self._sent) + 1), "Wait; if it stays so, find out why."),
        )
        for rule, value, remedy in checks:
            limit = getattr(config, rule)
            # A spread is a difference of prices: float noise refuses nothing.
            if limit is not None and value > limit * (1 + 1e-9):
                return _refusal(order, rule, value, limit, remedy)
        for rule in self._breached:
            limit = getattr(config, rule)
            if limit is None:  # the configuration was changed while it held
                continue
            daily = rule == "max_daily_loss"
            until = f"until {stamp_text(self._day_end_ns, 's')}" if daily else "until reset"
            value = self.day_loss if daily else self.drawdown
            return _refusal(order, rule, value, limit, f"It was reached, and entries are refused {until}.")
        return None


def trading_day_end_ns(ts_ns: int) -> int:
    """Return the first 17:00 New York after a time, UTC nanoseconds."""
    day = ts_ns // DAY_NS
    edges = [rollover_ns(number) for number in range(day - 1, day + 3)]
    return edges[bisect_right(edges, ts_ns)]


def _refusal(order: VenueOrder, rule: str, value: float, limit: float, remedy: str) -> LimitRefusal:
    reason = (
        f"`{rule}` is {limit:g}, but with the entry {order.order_id} of {order.strategy} "
        f"({order.units:g} units of {order.instrument}) it is {value:g}. {remedy}"
    )
    return LimitRefusal(rule=rule, value=value, limit=limit, reason=reason)
