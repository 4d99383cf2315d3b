"""What a backtest assumes: pricing mode, account, costs, segments.  Knows nothing of NautilusTrader."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.swap import SwapConfig
from aiopt.config import content_hash
from aiopt.errors import ConfigError

_CURRENCY = re.compile(r"[A-Z]{3}")


class BacktestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The assumptions of a backtest.

    Attributes
    ----------
    mode : str
        ``"research"``: bid and ask bars, so that the spread is paid; commission, slippage and the margin
        requirement apply; a position open at the end is closed at the last close.
        ``"parity"``: one price, no costs, no margin; trades equal those of the emitted Pine Script on
        TradingView's chart, and a position open at the end is reported as open.
    account_currency : str or None
        Currency of balance, profit, costs and margin, e.g. ``"USD"``; None: the instrument's quote currency.
        Another one needs the instrument's own base currency or bars of a conversion pair
        (`aiopt.backtest.conversion`).  Research only: a parity run's account is in the quote currency.
    initial_balance : float
        Account currency; every segment begins with it.
    leverage : float
        An entry needs ``units * price / leverage`` of equity, converted to its currency, or it is refused
        (research only); sizes by risk are cut to what it allows (both modes).  See `aiopt.backtest.account`.
    commission_per_million : float
        Quote currency per million quote currency traded, on each side; at most four decimals.  Charged
        exactly, see `aiopt.backtest.money`.  Research only.
    slippage_ticks : int
        Ticks by which market and stop fills are worse.  Limit fills never slip.  Research only.
    extra_spread_pips : float
        Pips by which every ask is raised, so that each round trip pays that much more spread; whole price
        steps of the instrument (0.1 pips).  Bids stay: signals and the emitted script read them.  Research
        only.  See `aiopt.backtest.pricing.widen_spread`.
    swap : SwapConfig or None
        What positions held over 17:00 New York are charged; None: nothing, but the nights are counted.
        Research only.
    stop_slippage_ticks : float or None
        Ticks by which a stop reached inside a bar fills beyond its price, before `slippage_ticks`.  None: the
        first quote at or beyond it where the bars have their ticks' stop ladder, else the mean measured on
        other ticks of the instrument, else 1; see `aiopt.backtest.stop_fills`.  Research only.
    entry_delay_bars : int
        Bars by which entries come late: a signal is acted on as if it stood so many bars later, and the close
        of that bar sets stop, target and size.  Exits are not late.  Not with ``signals="streaming"``.
        Research only.
    seed : int
        Kept in results.  The engine itself draws no random numbers.
    signals : str
        ``"arrays"``: computed once over all bars; quotes are replayed only where an order can act.
        ``"streaming"``: computed bar by bar inside the strategy, as live; every quote is replayed.
        The trades are the same; streaming is some 20 times slower.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    mode: Literal["research", "parity"] = "research"
    account_currency: str | None = None
    initial_balance: float = 100_000.0
    leverage: float = 30.0
    commission_per_million: float = 35.0
    slippage_ticks: int = 0
    extra_spread_pips: float = 0.0
    swap: SwapConfig | None = None
    stop_slippage_ticks: float | None = None
    entry_delay_bars: int = 0
    seed: int = 0
    signals: Literal["arrays", "streaming"] = "arrays"

    def __post_init__(self) -> None:
        for rule, held, remedy in (
            ("mode is research or parity", self.mode in ("research", "parity"), "Choose one of them."),
            ("signals is arrays or streaming", self.signals in ("arrays", "streaming"), "Choose one."),
            (
                "account_currency is three capital letters",
                self.account_currency is None or _CURRENCY.fullmatch(self.account_currency) is not None,
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
            (
                "0 <= extra_spread_pips <= 1000",
                0 <= self.extra_spread_pips <= 1000,
                "Choose e.g. 0.5.",
            ),
            (
                "0 <= stop_slippage_ticks <= 1000",
                self.stop_slippage_ticks is None or 0 <= self.stop_slippage_ticks <= 1000,
                "Choose e.g. 1, or leave it out.",
            ),
            ("0 <= entry_delay_bars <= 1000", 0 <= self.entry_delay_bars <= 1000, "Choose e.g. 1."),
            (
                "entry_delay_bars is 0 with streamed signals",
                not (self.entry_delay_bars and self.signals == "streaming"),
                "Leave `signals` out.",
            ),
        ):
            if not held:
                field = max((name for name in self.__struct_fields__ if name in rule), key=len)
                value = getattr(self, field)
                raise ConfigError(f"`{rule}` must hold, but got {field}={value!r}. {remedy}")

    @property
    def config_hash(self) -> str:
        """Hex SHA-256 of the assumptions.  `signals` is not one: it does not change a trade."""
        assumptions = self.document()
        del assumptions["signals"]
        return content_hash(assumptions)

    def document(self) -> dict[str, Any]:
        """Return the assumptions as plain data; what came later and is not used is left out, as before."""
        assumptions: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("extra_spread_pips", "entry_delay_bars"):
            if not assumptions[name]:
                del assumptions[name]
        return assumptions

    @property
    def delay_bars(self) -> int:
        """Bars by which entries come late; 0 in parity mode."""
        return 0 if self.is_parity else self.entry_delay_bars

    @property
    def is_parity(self) -> bool:
        """True in parity mode, where costs, slippage, refusals and ruin do not apply."""
        return self.mode == "parity"


class Segments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stretches of time whose trades do not touch each other.

    Segment j holds the bars with ``boundaries_ns[j] <= ts_open_ns < boundaries_ns[j + 1]``.  A position is
    closed at the close of the last bar of its segment (exit reason ``"segment_end"``), and a signal on that
    bar is ignored.  Bars before the first or after the last boundary are not traded; they serve as warm-up.

    Attributes
    ----------
    boundaries_ns : tuple of int
        Strictly increasing UTC times, at least two.
    """

    boundaries_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.boundaries_ns) < 2:
            msg = f"Segments need at least two boundaries, but got {len(self.boundaries_ns)}."
            raise ConfigError(f"{msg} Give start and end.")
        for left, right in itertools.pairwise(self.boundaries_ns):
            if left >= right:
                msg = f"Segment boundaries must increase, but {left} is followed by {right}. Sort them."
                raise ConfigError(msg)

    def __len__(self) -> int:
        return len(self.boundaries_ns) - 1

    def bar_ranges(self, ts_open_ns: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return, per segment, its first bar and the bar behind its last; equal where it has no bars."""
        edges = np.searchsorted(ts_open_ns, np.asarray(self.boundaries_ns, dtype=np.int64)).tolist()
        return list(itertools.pairwise(edges))
