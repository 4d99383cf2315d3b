"""What a position costs and earns, to the last digit.

Owns the settlement of positions: prices are whole price steps, sizes whole units, so profit and commission
are products of decimals and come out exact (`aiopt.backtest.money`).  Knows nothing of NautilusTrader, whose
own amounts are not used: it rounds the commission of every fill to whole cents or whole yen.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple, Protocol

from aiopt.backtest.growing_nights import GrowingNights
from aiopt.backtest.money import AMOUNT_DECIMALS, Amount, divided
from aiopt.backtest.swap import Nights
from aiopt.errors import ConfigError

_PER_MILLION_DECIMALS = 6


class Converts(Protocol):
    """From the quote to the account's currency, e.g. `aiopt.backtest.conversion.Conversion`."""

    def converted(self, amount: Amount, ts_ns: int) -> Amount:
        """Return an amount of quote currency in the account's, at the rate it is booked by at a time."""
        ...


class Settlement(NamedTuple):
    """What one round trip did to the account, in amounts of its currency.

    Attributes
    ----------
    gross : int
        Profit of the prices alone.
    entry_commission, exit_commission : int
        Paid at the entry and at the exit, not negative.
    swap : int
        Of all rollovers it was held over; negative was paid.
    nights : int
        Nights of those rollovers, charged or not; a triple one counts three.
    """

    gross: Amount
    entry_commission: Amount
    exit_commission: Amount
    swap: Amount = 0
    nights: int = 0

    @property
    def commission(self) -> Amount:
        """Of both sides."""
        return self.entry_commission + self.exit_commission

    @property
    def net(self) -> Amount:
        """What the balance gained."""
        return self.gross - self.commission + self.swap


class Bookkeeper:
    """Settles positions on one instrument under one set of costs.

    Parameters
    ----------
    price_decimals : int
        Prices are whole multiples of ``10**-price_decimals``.
    commission_per_million : float
        Quote currency per million of quote currency traded, on each side; at most four decimals.
    nights : Nights
        Counts and prices the nights.
    conversion : Converts or None
        From the quote to the account's currency; None where they are the same.

    Raises
    ------
    ConfigError
        If the commission has more decimals than are kept exactly.
    """

    def __init__(
        self,
        *,
        price_decimals: int,
        commission_per_million: float,
        nights: Nights,
        conversion: Converts | None = None,
    ) -> None:
        self._nights = nights
        self._conversion = conversion
        self._steps_per_unit = 10**price_decimals
        scaled = Decimal(repr(float(commission_per_million))).scaleb(4)
        if scaled != scaled.to_integral_value():
            msg = (
                "`commission_per_million` may have at most four decimals, but got "
                f"commission_per_million={commission_per_million!r}. Choose e.g. 35."
            )
            raise ConfigError(msg)
        self._per_million = int(scaled)  # 10**-4 of the quote currency
        decimals = price_decimals + _PER_MILLION_DECIMALS + 4
        self._commission_factor = 10 ** max(0, AMOUNT_DECIMALS - decimals)
        self._commission_divisor = 10 ** max(0, decimals - AMOUNT_DECIMALS)
        self._step_amount = 10 ** (AMOUNT_DECIMALS - price_decimals)

    def steps(self, price: float) -> int:
        """Return a price as whole price steps."""
        return round(price * self._steps_per_unit)

    def commission(self, units: float, price: float, ts_ns: int) -> Amount:
        """Return the commission of a fill: ``units * price / 1e6 * commission_per_million``, converted."""
        product = int(units) * self.steps(price) * self._per_million * self._commission_factor
        return self._booked(divided(product, self._commission_divisor), ts_ns)

    def gross(self, side: int, units: float, entry_price: float, exit_price: float, ts_ns: int) -> Amount:
        """Return the profit of the prices alone; `side` is 1 for a long and -1 for a short."""
        moved = self.steps(exit_price) - self.steps(entry_price)
        return self._booked(side * int(units) * moved * self._step_amount, ts_ns)

    def rollovers(
        self, side: int, units: float, entry_ts_ns: int, exit_ts_ns: int
    ) -> list[tuple[int, Amount]]:
        """Return time and swap of every rollover charged between two fills."""
        booked = self._nights.bookings(side, units, entry_ts_ns, exit_ts_ns)
        return [(ts_ns, self._booked(amount, ts_ns)) for ts_ns, amount in booked]

    def settle(
        self,
        side: int,
        units: float,
        entry_ts_ns: int,
        entry_price: float,
        exit_ts_ns: int,
        exit_price: float,
    ) -> Settlement:
        """Return what a round trip did to the account; times are those of the fills."""
        return Settlement(
            gross=self.gross(side, units, entry_price, exit_price, exit_ts_ns),
            entry_commission=self.commission(units, entry_price, entry_ts_ns),
            exit_commission=self.commission(units, exit_price, exit_ts_ns),
            swap=sum(amount for _, amount in self.rollovers(side, units, entry_ts_ns, exit_ts_ns)),
            nights=self._nights.count(entry_ts_ns, exit_ts_ns),
        )

    def open_value(
        self, side: int, units: float, entry_ts_ns: int, entry_price: float, ts_ns: int, mark: float
    ) -> Amount:
        """Return what an open position has added to the balance so far: profit at a mark, costs, nights."""
        swap = sum(amount for _, amount in self.rollovers(side, units, entry_ts_ns, ts_ns))
        charged = self.commission(units, entry_price, entry_ts_ns)
        return self.gross(side, units, entry_price, mark, ts_ns) - charged + swap

    def bar_ended(self, ts_open_ns: int, end_ns: int, bid_close: float) -> None:
        """Take note of a bar, where the nights are those of bars that grow."""
        if isinstance(self._nights, GrowingNights):
            self._nights.bar_ended(ts_open_ns, end_ns, bid_close)

    @property
    def worst_swap_per_unit(self) -> float:
        """What a unit held over every rollover would pay at most, quote currency; not positive."""
        return self._nights.worst_per_unit

    def _booked(self, amount: Amount, ts_ns: int) -> Amount:
        return amount if self._conversion is None else self._conversion.converted(amount, ts_ns)
