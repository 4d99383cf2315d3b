"""What positions on paper cost and earn: the backtest's own bookkeeper, fed as rollovers and rates come.

Owns balance, rates and the bookkeeper of each market.  Amounts are exact (`aiopt.backtest.money`).  Knows no
orders.

Where a backtest converts a fill inside a bar at the bar's close, which on paper is still to come, the rate
here is the mid of the last quote of the conversion pair.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping

from aiopt.backtest.bookkeeper import Bookkeeper, Settlement
from aiopt.backtest.money import Amount, divided, to_amount, to_float
from aiopt.backtest.swap import Nights, Rollovers
from aiopt.errors import ConfigError
from aiopt.live.paper.holdings import Lot, Position, mean_price
from aiopt.live.paper.market import Market
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import Settled
from aiopt.live.paper.venue_state import RateState

Mark = tuple[int, int, int]
"""A time, and a rate as a fraction."""


class _Converter:
    """From a currency to the account's: at what it was marked with in the past, at the last mid since."""

    def __init__(self, marks: list[Mark], now: tuple[int, int]) -> None:
        self._marks = marks
        self._now = now

    def converted(self, amount: Amount, ts_ns: int) -> Amount:
        """Return an amount at the rate of its time."""
        marks = self._marks
        if not marks or ts_ns > marks[-1][0]:
            above, below = self._now
        else:
            place = max(0, bisect_right(marks, ts_ns, key=lambda mark: mark[0]) - 1)
            _, above, below = marks[place]
        return divided(amount * above, below)


class PaperBooks:
    """The account's money.

    Parameters
    ----------
    config : PaperConfig
        Costs.
    markets : mapping of str to Market
        Those quoted so far, by symbol; grows while the venue lives.

    Attributes
    ----------
    balance : int
        Initial balance and the net of everything that was closed.
    """

    def __init__(self, config: PaperConfig, markets: Mapping[str, Market]) -> None:
        self._config = config
        self._markets = markets
        self._nights: dict[str, Nights] = {}
        self._marks: dict[str, list[Mark]] = {}
        self.balance: Amount = to_amount(config.initial_balance)

    def refusal(self, market: Market) -> tuple[str, str] | None:
        """Return why a position in a market could not be settled: rule and reason; None if it can."""
        currency, account = market.instrument.quote, self._config.account_currency
        if self._rate(currency) is None:
            pairs = f"{account}{currency} or {currency}{account}"
            reason = (
                f"The account is in {account}, but {market.instrument.symbol} is quoted in {currency}, and "
            )
            return "conversion", f"{reason}no quote of {pairs} has come. Add that pair to the feed."
        try:
            times, nights = [market.ts_ns], [1]
            Nights.of(
                self._config.swap, market.instrument, Rollovers(times, nights, [market.bid]), market.decimals
            )
        except ConfigError as error:
            return "swap", str(error)
        return None

    def per_unit(self, currency: str, price: float) -> float:
        """Return a price in account currency, at the last mid."""
        above, below = self._rate(currency) or (1, 1)
        return price * (above / below)

    def rollover_passed(self, market: Market, *, is_held: bool) -> None:
        """Take note of a rollover of a market, or forget it where nothing is held over it."""
        if is_held:
            for ts_ns, _, _ in market.passed:
                self.mark(market.instrument.quote, ts_ns)
        else:
            market.passed.clear()
        self._nights.pop(market.instrument.symbol, None)

    def mark(self, currency: str, ts_ns: int) -> None:
        """Keep the present rate of a currency for what was booked at a time."""
        rate = None if currency == self._config.account_currency else self._rate(currency)
        if rate is None:
            return
        marks = self._marks.setdefault(currency, [])
        if not any(mark[0] == ts_ns for mark in marks):
            insort(marks, (ts_ns, *rate))

    def forget(self, market: Market, held: Iterable[Position]) -> None:
        """Let go what was kept for positions that are closed."""
        instruments = {position.instrument for position in held}
        if market.instrument.symbol not in instruments and market.passed:
            market.passed.clear()
            self._nights.pop(market.instrument.symbol, None)
        currency = market.instrument.quote
        if all(self._markets[symbol].instrument.quote != currency for symbol in instruments):
            self._marks.pop(currency, None)

    def open_value(self, position: Position) -> Amount:
        """Return what a position has added to the balance so far."""
        market = self._markets[position.instrument]
        books = self._books(market)
        mark = market.mark(position.side)
        return sum(
            books.open_value(position.side, lot.units, lot.ts_ns, lot.price, market.ts_ns, mark)
            for lot in position.lots
        )

    def close(self, position: Position, lots: list[Lot], price: float, ts_ns: int) -> Settled:
        """Book lots of a position that were closed at a price."""
        market = self._markets[position.instrument]
        self.mark(market.instrument.quote, ts_ns)
        books = self._books(market)
        done = [books.settle(position.side, lot.units, lot.ts_ns, lot.price, ts_ns, price) for lot in lots]
        net = sum(one.net for one in done)
        self.balance += net
        return _settled(position, lots, done, price)

    def load(self, balance: str, rates: Iterable[RateState]) -> None:
        """Go on from what was kept."""
        self.balance = int(balance)
        self._marks = {one.currency: list(one.marks) for one in rates}

    def rates(self) -> tuple[RateState, ...]:
        """Return the rates as they are kept."""
        return tuple(RateState(currency=name, marks=tuple(marks)) for name, marks in self._marks.items())

    def _books(self, market: Market) -> Bookkeeper:
        symbol, currency = market.instrument.symbol, market.instrument.quote
        nights = self._nights.get(symbol)
        if nights is None:
            rows = market.passed
            passed = Rollovers([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
            nights = Nights.of(self._config.swap, market.instrument, passed, market.decimals)
            self._nights[symbol] = nights
        conversion = None
        if currency != self._config.account_currency:
            rate = self._rate(currency)
            assert rate is not None  # an entry without one is rejected
            conversion = _Converter(self._marks.get(currency, []), rate)
        return Bookkeeper(
            price_decimals=market.decimals,
            commission_per_million=self._config.commission_per_million,
            nights=nights,
            conversion=conversion,
        )

    def _rate(self, currency: str) -> tuple[int, int] | None:
        """Return account currency per unit of a currency as a fraction, None if no quote says it."""
        account = self._config.account_currency
        if currency == account:
            return 1, 1
        for market in self._markets.values():
            pair = market.instrument
            if market.is_quoted and {pair.base, pair.quote} == {currency, account}:
                twice_mid, unit = market.bid + market.ask, 2 * market.scale
                return (twice_mid, unit) if pair.base == currency else (unit, twice_mid)
        return None


def _settled(position: Position, lots: list[Lot], done: list[Settlement], price: float) -> Settled:
    net = sum(one.net for one in done)
    return Settled(
        side=position.side,
        units=float(sum(lot.units for lot in lots)),
        entry_ts_ns=lots[0].ts_ns,
        entry_price=mean_price(lots),
        exit_price=price,
        gross=to_float(sum(one.gross for one in done)),
        commission=to_float(sum(one.commission for one in done)),
        swap=to_float(sum(one.swap for one in done)),
        net=to_float(net),
        exact_net=str(net),
        nights=max(one.nights for one in done),
    )
