"""Run backtests in one warm NautilusTrader engine.

Owns the way from bars and a spec to a `TrialResult`.  Knows nothing of sweeps or Ray: a worker keeps a
`BacktestSession` and calls `run`.  Sessions share the engine of `process_engine`; each run resets it first,
so a session with other bars or another mode needs no new engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.account import AccountRules
from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.bookkeeper import Bookkeeper
from aiopt.backtest.boundaries import Boundaries, make_boundaries
from aiopt.backtest.conversion import Conversion, account_currency, check_account
from aiopt.backtest.entry_limits import LimitedEntries
from aiopt.backtest.execution import PathFillModel
from aiopt.backtest.laid_levels import LaidLevels
from aiopt.backtest.money import Amount, to_float
from aiopt.backtest.moving_exits import MovingExits
from aiopt.backtest.parts import TargetParts
from aiopt.backtest.positions import ClosedPosition, HeldPosition
from aiopt.backtest.pricing import chart_price, widen_spread
from aiopt.backtest.process_engine import SIZE_DECIMALS, ProcessEngine, external_bars, process_engine
from aiopt.backtest.replay import (
    OPEN_NS,
    QuotePath,
    full_replay,
    sparse_replay,
)
from aiopt.backtest.requirements import check_bars
from aiopt.backtest.results import TrialResult, compute_metrics, equity_curve, with_readings
from aiopt.backtest.signals import ArraySignals, SignalSource, StreamedSignals
from aiopt.backtest.sink import BacktestRecorder, RowSink
from aiopt.backtest.stop_fills import stop_rule
from aiopt.backtest.strategy import SpecStrategy
from aiopt.backtest.strategy_orders import LONG
from aiopt.backtest.swap import Nights
from aiopt.backtest.trading_rules import TradingRules
from aiopt.backtest.valuation import Valuation
from aiopt.bars.reading_log import ReadingLog
from aiopt.bars.schema import BarSet
from aiopt.errors import BacktestError
from aiopt.strategy.exits import ExitPlan
from aiopt.strategy.higher_timeframes import check_higher_timeframes
from aiopt.strategy.reading_gate import ReadingsOnBars, arrivals, gate_on_bars
from aiopt.strategy.signals import BarSignal, SignalArrays, StreamingSignals, compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import gate_of
from aiopt.trades import OpenTrade, Side, Trade

_PROGRESS_S = 0.2
"""Seconds between two calls of a session's progress."""
_RESULT_DECIMALS_BEYOND_TICK = 1
"""The engine's prices have one decimal more than the instrument's, as a mid price is half a tick."""


class BacktestSession:
    """Backtests of many specs over the same bars.

    Parameters
    ----------
    bars : BarSet
        Signals are computed on its bid side; parity mode trades the bid side alone.
    config : BacktestConfig
        Assumptions, the same for all runs.
    sink : RowSink, optional
        Log that is told of every bar and trade of every run; with ``signals="streaming"`` while it runs.
    progress : callable, optional
        Called with the bars done, a few times a second while a run lasts and once at its end.
    readings : ReadingLog, optional
        For strategies that ask for readings.  Default: those of the bars.

    Raises
    ------
    ConfigError
        If research mode is given bars of one price, or there are fewer than two bars.
    DataError
        If gaps of the bars were filled with prices to come, or a price has more decimals
        than the instrument's plus one (a mid price is half a tick).

    Examples
    --------
    >>> with BacktestSession(bars, BacktestConfig()) as session:  # doctest: +SKIP
    ...     results = [session.run(spec) for spec in specs]
    """

    def __init__(
        self,
        bars: BarSet,
        config: BacktestConfig,
        *,
        sink: RowSink | None = None,
        progress: Callable[[float], None] | None = None,
        readings: ReadingLog | None = None,
    ) -> None:
        check_bars(bars, config)
        if readings is not None:
            bars = replace(bars, readings=readings)
        quoted = bars
        bars = chart_price(bars) if config.is_parity else widen_spread(bars, config.extra_spread_pips)
        self.bars = bars
        self.config = config
        self._sink = sink
        self._progress = progress
        self.observed_signals: list[BarSignal] = []
        """What the strategy saw in the last run, bar by bar; filled with ``signals="streaming"`` alone."""
        self._engine: ProcessEngine | None = process_engine()
        self._decimals = bars.instrument.price_precision + _RESULT_DECIMALS_BEYOND_TICK
        self._instrument = self._engine.instrument(bars.instrument, self._decimals)
        self._bar_type = external_bars(self._instrument.id, bars.timeframe.seconds)
        self._path = QuotePath(bars, self._instrument.id, self._decimals)
        account = account_currency(bars, config.account_currency)
        if account == bars.instrument.quote and bars.conversion is not None:
            check_account(bars.instrument, account, bars.conversion.instrument)
        self._conversion = None if account == bars.instrument.quote else Conversion(quoted, account)
        self._books = Bookkeeper(
            price_decimals=self._decimals,
            commission_per_million=0.0 if config.is_parity else config.commission_per_million,
            nights=Nights(
                None if config.is_parity else config.swap,
                bars.instrument,
                bars.bid.ts_open_ns,
                bars.timeframe.ns,
                bars.bid.close,
                self._decimals,
            ),
            conversion=self._conversion,
        )
        self._stops = stop_rule(bars, config)
        self._values = Valuation(bars, self._books, self._rates)
        self._boundaries: tuple[Segments | None, Boundaries] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the bars go.  The process's engine stays warm for the next session."""
        self._engine = None

    def run(self, spec: StrategySpec, *, segments: Segments | None = None) -> TrialResult:
        """Backtest a spec.

        Parameters
        ----------
        spec : StrategySpec
            The strategy.
        segments : Segments, optional
            Close positions at the end of each and trade in them alone.  Default: all bars are one segment
            whose last position is closed with reason ``end_of_data`` (research) or left open (parity).

        Returns
        -------
        TrialResult
            The same for the same bars, configuration and spec, to the bit.

        Raises
        ------
        SpecError
            If the spec asks for readings and there are none.
        DataError
            If the readings are of another instrument, do not cover the bars, or lack a figure it asks for.
        BacktestError
            If the engine refused an order or a callback failed.  An entry the margin does not allow and an
            account that is lost are no errors: see `aiopt.backtest.account` and the result.
        """
        bars, config = self.bars, self.config
        readings = self._readings if gate_of(spec) is not None else None
        gate_on_bars(spec, readings)  # what is wrong with them is said before anything is traded
        sizes: dict[str, Any] = {
            "tick_size": bars.price_step,
            "pip_size": bars.instrument.pip_size,
            "initial_balance": self._quote_balance(),
        }
        if config.signals == "arrays":
            delay = config.delay_bars
            arrays = compute_signals(spec, bars.bid, **sizes, delay_bars=delay, readings=readings)
            return with_readings(self.run_signals(spec.spec_hash, arrays, segments=segments), readings)
        check_higher_timeframes(spec, bars.timeframe)
        streamed = StreamedSignals(
            StreamingSignals(spec, **sizes),
            self._recorder(spec.spec_hash),
            readings=None if readings is None else arrivals(readings.log),
            timeframe_ns=bars.timeframe.ns,
        )
        result = self._run(spec.spec_hash, streamed, None, segments)
        self.observed_signals = streamed.observed
        return with_readings(result, readings)

    def run_signals(
        self, spec_hash: str, arrays: SignalArrays, *, segments: Segments | None = None
    ) -> TrialResult:
        """Backtest signals computed elsewhere; otherwise as `run`.

        Parameters
        ----------
        spec_hash : str
            Kept in the result.
        arrays : SignalArrays
            One element per bar.
        segments : Segments, optional
            As in `run`.
        """
        if len(arrays) != len(self.bars):
            counts = f"{len(arrays)} for {len(self.bars)} bars"
            msg = (
                f"Signals must have one element per bar, but there are {counts}. Compute them on these bars."
            )
            raise BacktestError(msg)
        return self._run(spec_hash, ArraySignals(arrays, self.bars.bid.close), arrays, segments)

    # --- one run ----------------------------------------------------------------------------------------

    def _run(
        self, spec_hash: str, source: SignalSource, arrays: SignalArrays | None, segments: Segments | None
    ) -> TrialResult:
        if self._engine is None:
            raise BacktestError("This session is closed. Make a new one.")
        boundaries = self._boundaries_of(segments)
        config = self.config
        strategy = self._engine.strategy(source.pyramiding)
        recorder = self._recorder(spec_hash)
        if recorder is not None and arrays is not None:
            recorder.arrays(self.bars.bid, arrays)
        rules = self._rules(source, boundaries, "end_of_data" if segments is None else "segment_end")

        def replay(fills: PathFillModel) -> Iterator[list[Any]]:
            if arrays is None:
                chunks = full_replay(self._path, strategy, fills, boundaries, self._bar_type)
            else:
                chunks = sparse_replay(self._path, strategy, fills, boundaries, arrays)
            return chunks if self._progress is None else self._counted(chunks, self._progress)

        def prepare() -> None:
            strategy.prepare(self._instrument, source, rules, self._bar_type, self.bars.timeframe.ns)

        self._engine.run(
            prepare,
            replay,
            start_ns=self._path.open_ts_ns(0) - OPEN_NS,
            end_ns=self._path.close_ts_ns(len(self.bars) - 1) + OPEN_NS,
            slippage=0.0 if config.is_parity else config.slippage_ticks * self.bars.instrument.tick_size,
            stops=self._stops,
        )
        if strategy.failure is not None:
            raise BacktestError(strategy.failure)
        if self._progress is not None:
            self._progress(len(self.bars))
        result = self._result(spec_hash, strategy)
        if recorder is not None:
            recorder.trades(result)
        return result

    def _rules(self, source: SignalSource, boundaries: Boundaries, flatten_reason: str) -> TradingRules:
        config, exits = self.config, source.exits
        return TradingRules(
            may_enter=boundaries.may_enter.tolist().__getitem__,
            n_bars=len(self.bars),
            price_decimals=self._decimals,
            size_decimals=SIZE_DECIMALS,
            volume=self.bars.bid.volume,
            pine_entry_bar=config.is_parity,
            account=AccountRules(
                initial_balance=config.initial_balance,
                leverage=config.leverage,
                has_margin=not config.is_parity,
                size_step=source.size_step,
            ),
            segment_of=boundaries.segment.tolist().__getitem__,
            values=self._values,
            books=self._books,
            flatten_reason=flatten_reason,
            moving=None if exits is None else MovingExits(exits, self.bars, self._decimals),
            parts=None if exits is None or exits.targets is None else TargetParts(exits.targets, self.bars),
            levels=self._laid_levels(exits),
            limits=None if source.limits is None else LimitedEntries(source.limits, self.bars.bid.ts_open_ns),
            most_entries=source.pyramiding,
        )

    def _laid_levels(self, exits: ExitPlan | None) -> LaidLevels | None:
        if exits is None or (exits.stop is None and exits.target is None):
            return None
        return LaidLevels(exits, self.bars.price_step, self._decimals)

    def _counted(self, chunks: Iterator[list[Any]], progress: Callable[[float], None]) -> Iterator[list[Any]]:
        """Yield the chunks of a replay and say how far it is."""
        due = 0.0
        for chunk in chunks:
            now = time.monotonic()
            if now >= due:
                progress(self._bar_of(chunk[0].ts_event))
                due = now + _PROGRESS_S
            yield chunk

    def _quote_balance(self) -> float | NDArray[np.float64]:
        """Return the initial balance in quote currency, by which risk is sized; one per bar if converted."""
        balance = self.config.initial_balance
        return balance if self._rates is None else balance / self._rates

    @cached_property
    def _rates(self) -> NDArray[np.float64] | None:
        """Account currency per quote currency at the bars' ends; None where they are the same."""
        if self._conversion is None:
            return None
        return self._conversion.rates_at(self.bars.bid.ts_open_ns + self.bars.timeframe.ns)

    @cached_property
    def _readings(self) -> ReadingsOnBars | None:
        """The readings aligned to the bars; None where there are none."""
        log = self.bars.readings
        return None if log is None else ReadingsOnBars(log, self.bars.bid)

    def _recorder(self, spec_hash: str) -> BacktestRecorder | None:
        if self._sink is None:
            return None
        return BacktestRecorder(
            self._sink,
            spec_hash=spec_hash,
            config_hash=self.config.config_hash,
            data_hash=self.bars.data_hash,
        )

    def _boundaries_of(self, segments: Segments | None) -> Boundaries:
        """Return the boundaries of a run; the last ones are kept, as a sweep asks for the same each time."""
        if self._boundaries is None or self._boundaries[0] != segments:
            ranges = None if segments is None else segments.bar_ranges(self.bars.bid.ts_open_ns)
            made = make_boundaries(len(self.bars), ranges, close_at_end=not self.config.is_parity)
            self._boundaries = (segments, made)
        return self._boundaries[1]

    def _result(self, spec_hash: str, strategy: SpecStrategy) -> TrialResult:
        bars = self.bars
        trades = [self._trade(closed) for closed in strategy.closed]
        open_trades = [self._open_trade(held) for held in strategy.held]
        equity = equity_curve(
            trades,
            open_trades,
            initial_balance=self.config.initial_balance,
            bookings=self._bookings(strategy),
            bid_close=bars.bid.close,
            ask_close=bars.ask.close,
            rates=self._rates,
        )
        return TrialResult(
            spec_hash=spec_hash,
            config_hash=self.config.config_hash,
            data_hash=bars.data_hash,
            seed=self.config.seed,
            trades=trades,
            open_trade=open_trades[0] if open_trades else None,
            added_trades=tuple(open_trades[1:]),
            equity=equity,
            metrics=compute_metrics(trades, equity, bars.bid.ts_open_ns),
            refused_bars=tuple(strategy.account.refused_bars),
            capped_bars=tuple(strategy.account.capped_bars),
            # Found at a close, or by an exit inside the bar: both lie before the next bar's opening quote.
            ruined_bars=tuple(self._bar_of(ts_ns - OPEN_NS) for ts_ns in strategy.account.ruined_ts_ns),
            stop_fills=self._stops.fills,
        )

    def _bookings(self, strategy: SpecStrategy) -> list[tuple[int, Amount]]:
        """Return what was booked on which bar."""
        booked = []
        for closed in strategy.closed:
            settlement = closed.settlement
            booked.append((self._bar_of(closed.entry_ts_ns), -settlement.entry_commission))
            gained = settlement.gross - settlement.exit_commission
            booked.append((self._bar_of(closed.exit_ts_ns), gained))
            if settlement.swap:
                swaps = self._books.rollovers(
                    closed.side, closed.units, closed.entry_ts_ns, closed.exit_ts_ns
                )
                booked += [(self._bar_of(ts_ns), amount) for ts_ns, amount in swaps]
        for still in strategy.held:
            charged = self._books.commission(still.units, still.entry_price, still.entry_ts_ns)
            booked.append((self._bar_of(still.entry_ts_ns), -charged))
        return booked

    def _open_trade(self, held: HeldPosition) -> OpenTrade:
        bar = self._bar_of(held.entry_ts_ns)
        return OpenTrade(
            entry_bar=bar,
            entry_ts_ns=int(self.bars.bid.ts_open_ns[bar]),
            side=_side_name(held.side),
            entry_price=held.entry_price,
            stop_price=_level(held.stop),
            target_price=_level(held.target),
            size=held.units,
            commission=to_float(self._books.commission(held.units, held.entry_price, held.entry_ts_ns)),
        )

    def _trade(self, closed: ClosedPosition) -> Trade:
        entry_bar, exit_bar = self._bar_of(closed.entry_ts_ns), self._bar_of(closed.exit_ts_ns)
        ts_open_ns = self.bars.bid.ts_open_ns
        return Trade(
            entry_bar=entry_bar,
            exit_bar=exit_bar,
            entry_ts_ns=int(ts_open_ns[entry_bar]),
            exit_ts_ns=int(ts_open_ns[exit_bar]),
            side=_side_name(closed.side),
            entry_price=closed.entry_price,
            exit_price=closed.exit_price,
            stop_price=_level(closed.stop),
            target_price=_level(closed.target),
            size=closed.units,
            exit_reason=closed.exit_reason,  # type: ignore[arg-type]
            pnl=to_float(closed.settlement.net),
            commission=to_float(closed.settlement.commission),
            swap=to_float(closed.settlement.swap),
            nights=closed.settlement.nights,
        )

    def _bar_of(self, ts_ns: int) -> int:
        """Return the bar a fill time lies in: all quotes of a bar are stamped inside it."""
        return int(np.searchsorted(self.bars.bid.ts_open_ns, ts_ns, side="right")) - 1


def _level(price: float) -> float | None:
    return None if math.isnan(price) else price


def _side_name(side: int) -> Side:
    return "long" if side == LONG else "short"
