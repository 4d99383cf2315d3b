"""What the paper venue assumes: account, costs, how much a quote offers.  Knows no orders.

The fields that a backtest has too mean the same (`aiopt.backtest.backtest_config`).
"""

from __future__ import annotations

import math
import re

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.swap import SwapConfig
from aiopt.config import content_hash
from aiopt.errors import ConfigError

_CURRENCY = re.compile(r"[A-Z]{3}")


class PaperConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The assumptions of a paper venue.

    Attributes
    ----------
    account_currency : str
        Of balance, profit, costs and margin, e.g. ``"USD"``.
    initial_balance : float
        Account currency, of the whole account that all strategies share.
    leverage : float
        All positions together bind ``units * price / leverage`` of the equity; an entry that the equity does
        not carry is rejected.
    commission_per_million : float
        Quote currency per million traded, on each side; at most four decimals.
    slippage_ticks : int
        Ticks by which market and stop fills are worse.
    extra_spread_pips : float
        Pips by which every ask is raised; whole price steps of the instrument.
    swap : SwapConfig or None
        What positions held over 17:00 New York are charged; None: nothing, but the nights are counted.
    units_per_quote : int or None
        Units each side of a quote offers to all orders together; what finds none waits for the next quote.
        None: no limit, as in a backtest.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    account_currency: str
    initial_balance: float = 100_000.0
    leverage: float = 30.0
    commission_per_million: float = 35.0
    slippage_ticks: int = 0
    extra_spread_pips: float = 0.0
    swap: SwapConfig | None = None
    units_per_quote: int | None = None

    def __post_init__(self) -> None:
        offered = self.units_per_quote
        for rule, held, remedy in (
            (
                "account_currency is three capital letters",
                _CURRENCY.fullmatch(self.account_currency) is not None,
                "Write e.g. USD.",
            ),
            ("0 < initial_balance < inf", 0 < self.initial_balance < math.inf, "Choose e.g. 100000."),
            ("0 < leverage <= 1000", 0 < self.leverage <= 1000, "Choose e.g. 30."),
            ("0 <= commission_per_million <= 1e5", 0 <= self.commission_per_million <= 1e5, "Choose 35."),
            (
                "commission_per_million has at most four decimals",
                self.commission_per_million == round(self.commission_per_million, 4),
                "Choose e.g. 35.",
            ),
            ("0 <= slippage_ticks <= 1000", 0 <= self.slippage_ticks <= 1000, "Choose e.g. 1."),
            ("0 <= extra_spread_pips <= 1000", 0 <= self.extra_spread_pips <= 1000, "Choose e.g. 0.5."),
            (
                "units_per_quote >= 1",
                offered is None or offered >= 1,
                "Choose e.g. 1000000, or leave it out.",
            ),
        ):
            if not held:
                field = max((name for name in self.__struct_fields__ if name in rule), key=len)
                value = getattr(self, field)
                raise ConfigError(f"`{rule}` must hold, but got {field}={value!r}. {remedy}")

    @property
    def config_hash(self) -> str:
        """Hex SHA-256 of the assumptions."""
        return content_hash(self)

    @classmethod
    def like(
        cls, config: BacktestConfig, *, account_currency: str, units_per_quote: int | None = None
    ) -> PaperConfig:
        """Return the assumptions of a backtest, as far as quotes leave room for any.

        Parameters
        ----------
        config : BacktestConfig
            In research mode.
        account_currency : str
            Used where `config` leaves it to the instrument's quote currency.
        units_per_quote : int, optional
            See the attribute.

        Raises
        ------
        ConfigError
            If it assumes what ticks decide, or what only history can be asked.
        """
        for rule, held, remedy in (
            ("mode is research", config.mode == "research", "Parity is for charts: one price, no costs."),
            (
                "stop_slippage_ticks is left out",
                config.stop_slippage_ticks is None,
                "Quotes say where a stop fills; use slippage_ticks.",
            ),
            (
                "entry_delay_bars is 0",
                config.entry_delay_bars == 0,
                "Late entries are a test of a backtest.",
            ),
        ):
            if not held:
                raise ConfigError(f"Of a backtest on paper `{rule}` must hold, but it does not. {remedy}")
        return cls(
            account_currency=config.account_currency or account_currency,
            initial_balance=config.initial_balance,
            leverage=config.leverage,
            commission_per_million=config.commission_per_million,
            slippage_ticks=config.slippage_ticks,
            extra_spread_pips=config.extra_spread_pips,
            swap=config.swap,
            units_per_quote=units_per_quote,
        )
