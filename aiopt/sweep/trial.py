"""One trial: a point of a search space, backtested, as a row for the leaderboard.

Owns the way from `TrialResult` to `TrialRow`: which profit belongs to which segment and period.  Plain
functions without Ray, so that a row can be made and checked anywhere.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.results import TrialResult
from aiopt.config import canonical_json, content_hash
from aiopt.errors import AioptError
from aiopt.evaluation.folds import WalkForwardPlan, period_profits
from aiopt.ranking.trials import TrialRow
from aiopt.series import Symbol, series_name
from aiopt.strategy.space import Point
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import gate_of
from aiopt.sweep.markets import MarketTerms
from aiopt.sweep.segment_sums import COUNTS, SUMS, sum_segments
from aiopt.sweep.sweep_config import TrialLimits

if TYPE_CHECKING:
    from aiopt.backtest.session import BacktestSession  # a worker that screens never loads the engine

_MONEY_DECIMALS = 8
"""Sums of money are rounded to this: it removes float noise far below a cent."""


@dataclasses.dataclass(frozen=True)
class TrialPoint:
    """A strategy with its parameters on one timeframe.

    Attributes
    ----------
    trial_id : str
        ``FAMILY@TIMEFRAME-NUMBER``, or ``FAMILY@INSTRUMENT@TIMEFRAME-NUMBER`` in a sweep of several markets;
        the same point has the same id in every call.
    family, timeframe : str
        Together the group, with the instrument.
    params : dict
        Values of the searched parameters; empty for a strategy without a search space.
    spec : StrategySpec
        With these parameters.
    instrument : str or unset
        What is traded, in a sweep of several markets.
    search, generation : int or unset
        Where the sampler learns: what proposed it, see `TrialRow`.
    """

    trial_id: str
    family: str
    timeframe: str
    params: Point
    spec: StrategySpec
    instrument: Symbol = msgspec.UNSET
    search: int | msgspec.UnsetType = msgspec.UNSET
    generation: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def series(self) -> str:
        """The key of the bars it is tried on."""
        return series_name(self.instrument, self.timeframe)


@dataclasses.dataclass(frozen=True)
class TrialContext:
    """What all trials of a run share.

    Attributes
    ----------
    backtest : BacktestConfig
        Assumptions of the research backtests.
    plan : WalkForwardPlan
        Segments and periods.
    seed : int
        Of the sampled points; recorded in each row.
    data_hash : str
        Of the ticks; of several markets, of all of them.
    markets : mapping of str to MarketTerms
        Per instrument, in a sweep of several markets; empty for one.
    screen : bool
        Run them by the screen, not in the engine; the rows are the same.
    limits : TrialLimits
        What one trial may take.
    readings_hash : str
        `ReadingLog.log_hash` of the readings that come with the bars; empty where none do.
    """

    backtest: BacktestConfig
    plan: WalkForwardPlan
    seed: int
    data_hash: str
    markets: Mapping[str, MarketTerms] = dataclasses.field(default_factory=dict)
    screen: bool = False
    limits: TrialLimits = dataclasses.field(default_factory=TrialLimits)
    readings_hash: str = ""

    @cached_property
    def segments(self) -> Segments:
        """The walk-forward's segments as the engine takes them."""
        return Segments(tuple(self.plan.boundaries_ns))

    def terms(self, instrument: Symbol) -> MarketTerms:
        """Return what the trials of a market assume; unset: of the only one."""
        return self.markets[str(instrument)] if instrument else MarketTerms(self.backtest, self.data_hash)


def run_trial(session: BacktestSession, point: TrialPoint, context: TrialContext) -> TrialRow:
    """Backtest a point and return its row; a failure becomes a row that says why.

    Parameters
    ----------
    session : BacktestSession
        Over the bars of the point's series.
    point : TrialPoint
        What to try.
    context : TrialContext
        Segments and periods.
    """
    try:
        result = session.run(point.spec, segments=context.segments)
        return result_row(result, session.bars.bid.ts_open_ns, point, context)
    except AioptError as error:
        return failed_row(point, context, f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - recorded: one defective point must not end the sweep
        return failed_row(point, context, f"unexpected {type(error).__name__}: {error}")


def result_row(
    result: TrialResult, ts_open_ns: NDArray[np.int64], point: TrialPoint, context: TrialContext
) -> TrialRow:
    """Cut a result into the segments and periods of the plan.

    Parameters
    ----------
    result : TrialResult
        Made with ``context.segments``, so that no trade spans two segments.
    ts_open_ns : ndarray of shape (n_bars,)
        Opening times of the bars.
    point, context
        As in `run_trial`.
    """
    trades, plan = result.trades, context.plan
    segments = segments_of_bars(ts_open_ns, plan)
    found = TradeFigures(
        segment=segments[np.array([trade.entry_bar for trade in trades], dtype=np.int64)],
        pnl=np.array([trade.pnl for trade in trades], dtype=np.float64),
        commission=np.array([trade.commission for trade in trades], dtype=np.float64),
        units=np.array([trade.size for trade in trades], dtype=np.float64),
        nights=np.array([trade.nights or 0 for trade in trades], dtype=np.int64),
        **{
            name: segments[np.array(getattr(result, f"{name}_bars"), dtype=np.int64)]
            for name in ACCOUNT_EVENTS
        },
    )
    edges = (plan.start_ns, plan.holdout_start_ns, plan.stop_ns)
    profits = [
        _profits(result, ts_open_ns, start, stop, plan.period_ns) for start, stop in itertools.pairwise(edges)
    ]
    return figures_row(found, profits, int(ts_open_ns.size), point, context)


ACCOUNT_EVENTS = ("refused", "capped", "ruined")
"""What margin did: entries refused, sizes cut, accounts found lost."""


@dataclasses.dataclass(frozen=True, eq=False)
class TradeFigures:
    """What a row needs of the trades of a trial.

    Attributes
    ----------
    segment : ndarray of shape (n_trades,), int64
        In which each was entered, see `segments_of_bars`.
    pnl, commission, units, nights : ndarray of shape (n_trades,), contiguous
        As in `aiopt.trades.Trade`; whole nights.
    refused, capped, ruined : ndarray of int64
        Segments in which margin did something.
    """

    segment: NDArray[np.int64]
    pnl: NDArray[np.float64]
    commission: NDArray[np.float64]
    units: NDArray[np.float64]
    nights: NDArray[np.int64]
    refused: NDArray[np.int64]
    capped: NDArray[np.int64]
    ruined: NDArray[np.int64]


def segments_of_bars(ts_open_ns: NDArray[np.int64], plan: WalkForwardPlan) -> NDArray[np.int64]:
    """Return the segment in which each bar opens; -1 before the first."""
    return np.searchsorted(np.array(plan.boundaries_ns), ts_open_ns, side="right") - 1


def figures_row(
    found: TradeFigures,
    profits: Sequence[Any],
    n_bars: int,
    point: TrialPoint,
    context: TrialContext,
) -> TrialRow:
    """Return the row of figures.

    Parameters
    ----------
    found : TradeFigures
        Of the trades, in the order of their exits.
    profits : sequence of two lists
        Profit per period, of development and holdout; see `rounded_profits`.  Arrays where the row is packed
        at once.
    n_bars : int
        Bars of the series.
    point, context
        As in `run_trial`.
    """
    columns = _identity(point, context)
    development = context.plan.config.development_segments
    for name, values in _segment_figures(found, context.plan.config.segments).items():
        columns[f"segment_{name}"] = values[:development]
        columns[f"holdout_{name}"] = values[development:]
    columns["pnl"], columns["holdout_pnl"] = profits
    return TrialRow(**columns, status="ok", n_bars=n_bars)


def failed_row(point: TrialPoint, context: TrialContext, reason: str) -> TrialRow:
    """Return the row of a trial that has no result."""
    return TrialRow(**_identity(point, context), status="failed", error=reason)


def terms_hash(config_hash: str, spec: StrategySpec, readings_hash: str) -> str:
    """Return the hash of what a trial assumed: of a strategy that asks for readings also which they were.

    Two revisions of a model give two trials of one strategy.
    """
    if not readings_hash or gate_of(spec) is None:
        return config_hash
    return content_hash([config_hash, readings_hash])


def _identity(point: TrialPoint, context: TrialContext) -> dict[str, Any]:
    terms = context.terms(point.instrument)
    return {
        "trial_id": point.trial_id,
        "group": f"{point.family}@{point.series}",
        "family": point.family,
        "timeframe": point.timeframe,
        "instrument": point.instrument,
        "search": point.search,
        "generation": point.generation,
        "params_json": canonical_json(point.params).decode(),
        "spec_json": point.spec.to_json(),
        "spec_hash": point.spec.spec_hash,
        "config_hash": terms_hash(terms.backtest.config_hash, point.spec, context.readings_hash),
        "data_hash": terms.data_hash,
        "seed": context.seed,
        "initial_balance": terms.backtest.initial_balance,
    }


def _segment_figures(found: TradeFigures, n: int) -> dict[str, list[Any]]:
    """Return the figures of each of `n` segments, the holdout's last, and what margin did in them."""
    counts, sums = np.zeros((COUNTS, n), dtype=np.int64), np.zeros((SUMS, n))
    sum_segments(found.segment, found.pnl, found.commission, found.units, found.nights, counts, sums)
    trades, wins, nights = counts.tolist()
    gross_profit, gross_loss, commission, units = sums.round(_MONEY_DECIMALS).tolist()
    figures: dict[str, list[Any]] = {
        "trades": trades,
        "wins": wins,
        "nights": nights,
        "gross_profit": gross_profit,
        "gross_loss": gross_loss,
        "commission": commission,
        "units": units,
    }
    for name in ACCOUNT_EVENTS:
        figures[name] = np.bincount(getattr(found, name), minlength=n).tolist()
    return figures


def _profits(
    result: TrialResult, ts_open_ns: NDArray[np.int64], start_ns: int, stop_ns: int, period_ns: int
) -> list[float]:
    return rounded_profits(
        period_profits(ts_open_ns, result.equity, start_ns=start_ns, stop_ns=stop_ns, period_ns=period_ns)
    ).tolist()


def rounded_profits(profits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return profits per period with the decimals a row keeps."""
    # Adding 0.0 turns a rounded -0.0 into 0.0, so that equal results are equal bytes.
    return profits.round(_MONEY_DECIMALS) + 0.0
