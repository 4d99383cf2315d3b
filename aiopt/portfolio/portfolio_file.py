"""What is said of a run's entries together: the content of ``portfolio.json``.

Owns the records.  Sharpe ratios are annualised, money is in the account's currency, None means "not defined
on this data".
"""

from __future__ import annotations

import msgspec

from aiopt.series import Symbol

FORMAT = 1
"""Of ``portfolio.json``."""

EQUAL_WEIGHT = "equal weight"
INVERSE_VOLATILITY = "inverse volatility"
EQUAL_RISK = "equal risk"

OWN, FIXED, RISK, VOLATILITY = "own", "fixed", "risk", "volatility"
SIZINGS = {
    OWN: "as the strategy says",
    FIXED: "the same units in every fold",
    RISK: "units so that every stop loses the same share of the initial balance",
    VOLATILITY: "fixed units, in every fold anew so that its train window varies as the first one did",
}
"""How positions are sized, in words."""

LACKING = (
    "The strategy language has sizes in fixed units and by the distance to the stop, of the initial balance. "
    "It has none by the current balance, none by the volatility at the time of an entry other than through a "
    "stop, and none by another position: such sizes are not compared."
)


class PathFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of an out-of-sample path.

    Attributes
    ----------
    net_pnl : float
        Change of equity.
    sharpe : float or None
        Of the profit per period.
    sharpe_low, sharpe_high : float or None
        Its block-bootstrap interval at the ranking's confidence; knows nothing of selection.
    max_drawdown_amount : float
        At least 0.
    net_per_drawdown : float or None
        `net_pnl` over `max_drawdown_amount`.
    periods : int
        Length in periods, closed hours included.
    """

    net_pnl: float
    sharpe: float | None
    sharpe_low: float | None
    sharpe_high: float | None
    max_drawdown_amount: float
    net_per_drawdown: float | None
    periods: int


class PortfolioEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry alone, with all the capital.

    Attributes
    ----------
    rank, name, group : int, str, str
        As in ``ranking.json``.
    figures : PathFigures
        Of its walk-forward path.
    """

    rank: int
    name: str
    group: str
    figures: PathFigures
    instrument: Symbol = msgspec.UNSET


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """The entries combined: each trades its share of the capital.

    Attributes
    ----------
    method : str
        ``equal weight``, ``inverse volatility`` or ``equal risk``.
    weights : list of list of float
        Per fold, per entry; each fold's sum to 1.  Those of a fold come from the train window of the trials
        it chose.
    last_weights : list of float
        From the last train window: those to trade the emitted parameters with.
    figures : PathFigures
        Of the walk-forward path of the combination.
    fold_pnl : list of float
        Per fold.
    risk_shares : list of float or None
        Share of each entry in the variance of the path as it came out; equal risk aims at equal shares.
    diversification : float or None
        Volatility of the path over the weighted sum of the entries' own; 1: no entry evens out another.
    pnl : list of float
        Per period.
    """

    method: str
    weights: list[list[float]]
    last_weights: list[float]
    figures: PathFigures
    fold_pnl: list[float]
    risk_shares: list[float] | None
    diversification: float | None
    pnl: list[float]


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """The equal-risk combination without one entry, whose share the others get.

    Attributes
    ----------
    name : str
        The entry left out.
    figures : PathFigures
        Of the others together.
    sharpe_added : float or None
        Sharpe ratio with the entry less that without it.
    pnl_added, pnl_added_low, pnl_added_high : float or None
        The same of the profit, with its block-bootstrap interval: the difference is resampled, so what both
        owe to the market cancels out.
    drawdown_added : float
        The same of the deepest fall; below 0 the entry made it shallower.
    """

    name: str
    figures: PathFigures
    sharpe_added: float | None
    pnl_added: float
    pnl_added_low: float | None
    pnl_added_high: float | None
    drawdown_added: float


class SizedPath(msgspec.Struct, frozen=True, kw_only=True):
    """An entry's fold choices, run again with another position size.

    Attributes
    ----------
    kind : str
        ``own``, ``fixed``, ``risk`` or ``volatility``, see `SIZINGS`.
    sizes : list of float
        Per fold: units, or per cent of the initial balance (``risk``); empty for ``own``.
    figures : PathFigures or None
        None where it could not be run.
    trades, refused, capped, ruined : int
        Out of sample; what margin refused, cut and ruined.
    reason : str
        Why it could not be run; empty otherwise.
    """

    kind: str
    sizes: list[float]
    figures: PathFigures | None
    trades: int = 0
    refused: int = 0
    capped: int = 0
    ruined: int = 0
    reason: str = ""


class EntrySizing(msgspec.Struct, frozen=True, kw_only=True):
    """One entry with every way to size its positions."""

    name: str
    paths: list[SizedPath]


class RunPortfolio(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``portfolio.json``.

    Attributes
    ----------
    entries : list of PortfolioEntry
        Best first.
    ts_ns : list of int
        Opening time of each period out of sample.
    correlation, daily_correlation : list of list of float or None
        Of the entries' profits out of sample, per period and per day (UTC); None where one does not vary.
    combinations : list of Combination
        All ways to combine.
    left_out : list of LeftOut
        One for each entry.
    sizing : list of EntrySizing
        One for each entry.
    sized_by : str
        What ran the entries again: ``screen`` or ``engine``.
    """

    entries: list[PortfolioEntry]
    ts_ns: list[int]
    correlation: list[list[float | None]]
    daily_correlation: list[list[float | None]]
    combinations: list[Combination]
    left_out: list[LeftOut]
    sizing: list[EntrySizing]
    sized_by: str
    format: int = FORMAT

    @property
    def best_known(self) -> Combination:
        """The equal-risk combination, which all others stand beside."""
        return next(one for one in self.combinations if one.method == EQUAL_RISK)
