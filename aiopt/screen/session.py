"""Backtests of many specs over the same bars, in compiled code, with the trades of the engine.

Owns the way from a spec to its table of trades and to a `TrialResult`.  Knows nothing of sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.boundaries import Boundaries, make_boundaries
from aiopt.backtest.money import to_amount
from aiopt.backtest.pricing import chart_price, widen_spread
from aiopt.backtest.requirements import check_bars
from aiopt.backtest.results import TrialResult, compute_metrics, with_readings
from aiopt.backtest.stop_fills import stop_rule
from aiopt.bars.reading_log import ReadingLog
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, DataError
from aiopt.indicators.windows import FloatArray
from aiopt.screen.amounts import PART
from aiopt.screen.columns import Columns, rows_held
from aiopt.screen.entry_limits import LimitsOverBars
from aiopt.screen.exits import exits_of
from aiopt.screen.figures import equity_at, trade_floats
from aiopt.screen.machine import BLOCK, Code, Inputs, delay_entries, run_program
from aiopt.screen.market import market_of
from aiopt.screen.orders import Account, Bounds, Exits, Levels, Sizing
from aiopt.screen.program import SIGNALS, Program, program_of, scalar_value
from aiopt.screen.pyramid import simulate_pyramid
from aiopt.screen.pyramid_figures import pyramid_equity_at
from aiopt.screen.reading_gate import hold_back, sizing_of
from aiopt.screen.series_rows import SeriesRows, room_excess
from aiopt.screen.simulator import simulate
from aiopt.screen.trade_table import (
    COUNTS,
    ENTRY_BAR,
    ENTRY_COST,
    ENTRY_COST_PART,
    ENTRY_STEPS,
    EXIT_BAR,
    EXIT_STEPS,
    HAS_OPEN,
    N_CAPPED,
    N_REFUSED,
    N_RUINED,
    N_TRADES,
    NIGHTS,
    NO_LEVEL,
    NO_QUOTE_BAR,
    NO_QUOTE_STEPS,
    REASON,
    REASONS,
    SIDE,
    STOP_STEPS,
    TARGET_STEPS,
    TRADE_COLUMNS,
    UNITS,
    Table,
)
from aiopt.strategy.distances import level_away
from aiopt.strategy.exits import Clock, exit_plan, next_strikes
from aiopt.strategy.reading_gate import ReadingsOnBars, gate_on_bars
from aiopt.strategy.session_filter import session_mask
from aiopt.strategy.signals import price_digits
from aiopt.strategy.spec import PriceDistance, SessionFilter, StrategySpec
from aiopt.strategy.spec_pyramiding import entries_of
from aiopt.strategy.spec_readings import gate_of
from aiopt.trades import OpenTrade, Trade

DEFAULT_MEMORY_BYTES = 256 * 2**20
"""What the columns of a session may take."""

_PRICE_DECIMALS_BEYOND_TICK = 1
"""As in the engine: a mid price is half a tick."""


def beyond_screen(spec: StrategySpec, n_bars: int) -> str:
    """Return why no session over so many bars runs a spec, as a sentence; empty where one does.

    Parameters
    ----------
    spec : StrategySpec
        The values of its parameters do not matter.
    n_bars : int
        Of the series.
    """
    room = rows_held(n_bars, DEFAULT_MEMORY_BYTES)
    return room_excess(spec, _program_of(spec), room=room, n_bars=n_bars)


def _program_of(spec: StrategySpec) -> Program:
    return program_of({name: getattr(spec, name) for name in SIGNALS}, frozenset(spec.params))


@dataclass(frozen=True, eq=False)
class ScreenResult:
    """What one run of the screen found, as arrays.

    Attributes
    ----------
    trades : ndarray of shape (n_trades, TRADE_COLUMNS), int64
        Closed trades in the order of their exits; columns as in `aiopt.screen.trade_table`.
    floats : ndarray of shape (n_trades, 3)
        Profit, commission and swap of each, account currency.
    open_trades : ndarray of shape (n_open, TRADE_COLUMNS), int64
        Entries that were still open, the oldest first.
    refused_bars, capped_bars, ruined_bars : ndarray of int64
        As in `TrialResult`.
    adds : bool
        Whether several entries may be open at once.
    """

    trades: NDArray[np.int64]
    floats: FloatArray
    open_trades: NDArray[np.int64]
    refused_bars: NDArray[np.int64]
    capped_bars: NDArray[np.int64]
    ruined_bars: NDArray[np.int64]
    adds: bool = False

    def __repr__(self) -> str:
        return f"ScreenResult({len(self.trades)} trades, {self.floats[:, 0].sum():,.2f} profit)"


class ScreenSession:
    """Backtests of many specs over the same bars, without the engine.

    Parameters
    ----------
    bars : BarSet
        As for `aiopt.backtest.session.BacktestSession`.
    config : BacktestConfig
        Assumptions, the same for all runs.
    memory_bytes : int
        What indicators and other columns may take; those used longest ago are computed again.
    like : ScreenSession, optional
        A session over the same bids, whose indicators are used, and their memory: asks and assumptions may
        differ.
    readings : ReadingLog, optional
        For strategies that ask for readings.  Default: those of the bars.

    Raises
    ------
    ConfigError, DataError
        As `BacktestSession` raises them; also if the bids of `like` are others.
    BeyondScreenError
        If bars or assumptions lie outside what the screen treats exactly.

    Examples
    --------
    >>> screen = ScreenSession(bars, BacktestConfig())  # doctest: +SKIP
    >>> results = [screen.run(spec) for spec in specs]  # doctest: +SKIP
    """

    def __init__(
        self,
        bars: BarSet,
        config: BacktestConfig,
        *,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        like: ScreenSession | None = None,
        readings: ReadingLog | None = None,
    ) -> None:
        check_bars(bars, config)
        if readings is not None:
            bars = replace(bars, readings=readings)
        quoted = bars
        bars = chart_price(bars) if config.is_parity else widen_spread(bars, config.extra_spread_pips)
        self.bars = bars
        self.config = config
        self._rule = stop_rule(bars, config)
        decimals = bars.instrument.price_precision + _PRICE_DECIMALS_BEYOND_TICK
        self._scale = 10**decimals
        self._market = market_of(bars, config, quoted=quoted, rule=self._rule, decimals=decimals)
        n_bars = len(bars)
        if like is not None and like.bars.bid is not bars.bid:
            msg = "A session is like another one only over the very same bids, but these are other arrays."
            raise ConfigError(f"{msg} Leave `like` out.")
        columns = Columns(n_bars, memory_bytes) if like is None else like._series.columns
        self._series: SeriesRows = SeriesRows(bars, columns)
        self._bid_close, self._ask_close = np.array(bars.bid.close), np.array(bars.ask.close)
        self._tick = bars.price_step
        self._tick_scale = float(10 ** price_digits(self._tick))
        self._sessions: dict[SessionFilter, NDArray[np.bool_]] = {}
        self._strikes: dict[Clock, NDArray[np.int64]] = {}
        self._limits = LimitsOverBars(bars.bid.ts_open_ns)
        self._boundaries: tuple[Segments | None, Boundaries] | None = None
        self.flags = np.zeros(n_bars, dtype=np.uint8)
        """Signals of the last run, bits of `aiopt.screen.machine`; sizes by risk may drop some."""
        self._registers = np.empty((0, BLOCK)), np.empty((0, BLOCK), dtype=bool)
        self._table = Table(
            trades=np.zeros((n_bars + 1, TRADE_COLUMNS), dtype=np.int64),
            refused=np.zeros(n_bars, dtype=np.int64),
            capped=np.zeros(n_bars, dtype=np.int64),
            ruined=np.zeros(n_bars, dtype=np.int64),
            counts=np.zeros(COUNTS, dtype=np.int64),
        )
        self._sizing = self._plain_sizing()

    def __repr__(self) -> str:
        bars = self.bars
        return (
            f"ScreenSession({len(bars):,} bars of {bars.instrument.symbol} {bars.timeframe.label}, "
            f"{self.config.mode})"
        )

    def _plain_sizing(self) -> Sizing:
        """Return account and prices of entries; their size is a spec's."""
        config, market = self.config, self._market
        value = market.rates.value
        converted = market.rates.unit != 0
        balance = config.initial_balance / value if converted else np.array([config.initial_balance])
        return Sizing(
            fixed=np.zeros(1),
            risk_pct=0.0,
            balance_quote=balance,
            long_price=self._ask_close * value,
            short_price=self._bid_close * value,
            account=Account(
                initial=divmod(to_amount(config.initial_balance), PART),
                leverage=config.leverage,
                has_margin=not config.is_parity,
                step=1,
                lowest=int(market.sides.bid_close.min()),
                highest=int(market.sides.ask_close.max()),
                dearest=float(value.max()),
            ),
        )

    # --- running ----------------------------------------------------------------------------------------

    def run(self, spec: StrategySpec, *, segments: Segments | None = None) -> TrialResult:
        """Backtest a spec and return what `BacktestSession.run` returns, equal in every field.

        Parameters
        ----------
        spec : StrategySpec
            The strategy.
        segments : Segments, optional
            As there.
        """
        found = self.screen(spec, segments=segments)
        trades, open_trades = self._trades(found), self._open_trades(found)
        equity = self.equity(found, np.arange(-1, len(self.bars)))
        result = TrialResult(
            spec_hash=spec.spec_hash,
            config_hash=self.config.config_hash,
            data_hash=self.bars.data_hash,
            seed=self.config.seed,
            trades=trades,
            open_trade=open_trades[0] if open_trades else None,
            added_trades=tuple(open_trades[1:]),
            equity=equity,
            metrics=compute_metrics(trades, equity, self.bars.bid.ts_open_ns),
            refused_bars=tuple(found.refused_bars.tolist()),
            capped_bars=tuple(found.capped_bars.tolist()),
            ruined_bars=tuple(found.ruined_bars.tolist()),
            stop_fills=self._rule.fills,
        )
        return with_readings(result, self._readings_of(spec))

    def screen(self, spec: StrategySpec, *, segments: Segments | None = None) -> ScreenResult:
        """Backtest a spec and return its trades as arrays: what a sweep needs, and all it costs.

        Raises
        ------
        BeyondScreenError
            If the spec reads more series than are held for so many bars.
        DataError
            If a stop was reached inside a bar whose ladder has no quote of it.
        """
        self._series.check_room(spec, self._program(spec))
        indicators = self._series.indicator_rows(spec)
        bounds, may_enter = self._bounds(segments)
        self._signals(spec, indicators, may_enter)
        gate = gate_on_bars(spec, self._readings_of(spec))
        size = sizing_of(spec, self._sizing, None if gate is None else gate.factor, len(self.bars))
        hold_back(self.flags, gate, size)
        rows = self._series.rows_of_distances(spec, indicators)
        exits = self._exits(spec, rows)
        market, table, most = self._market, self._table, entries_of(spec)
        run = self.flags, self._series.columns.values, market, bounds, self._levels(spec, rows)
        if most > 1:
            simulate_pyramid(*run, size, most, table)
        else:
            simulate(*run, exits, self._limits.of(spec), size, table)
        counts = table.counts
        if counts[NO_QUOTE_BAR]:
            bar, stop = counts[NO_QUOTE_BAR], counts[NO_QUOTE_STEPS] / self._scale
            msg = f"A stop that a bar reaches must be reached by a quote of it, but {stop} is not in bar "
            raise DataError(f"{msg}{bar}: bars and stop ladder differ. Build the bars again.")
        closed = int(counts[N_TRADES])
        trades = table.trades[:closed].copy()
        floats = np.empty((closed, 3))
        trade_floats(trades, floats)
        return ScreenResult(
            trades=trades,
            floats=floats,
            open_trades=table.trades[closed : closed + counts[HAS_OPEN]].copy(),
            refused_bars=table.refused[: counts[N_REFUSED]].copy(),
            capped_bars=table.capped[: counts[N_CAPPED]].copy(),
            ruined_bars=table.ruined[: counts[N_RUINED]].copy(),
            adds=most > 1,
        )

    def equity(self, found: ScreenResult, bars: NDArray[np.int64]) -> FloatArray:
        """Return the equity at the closes of some bars, ascending; -1 stands for the start.

        Parameters
        ----------
        found : ScreenResult
            Of this session.
        bars : ndarray of shape (n,), int64
            0-based.

        Returns
        -------
        ndarray of shape (n,), account currency
            Elements of `TrialResult.equity`.
        """
        trades, closed = found.trades, len(found.trades)
        if len(found.open_trades):
            trades = np.concatenate([trades, found.open_trades])
        equity = np.empty(bars.size)
        of = self._sizing.account.initial, (self._bid_close, self._ask_close), self._market, equity
        if found.adds:
            by_entry = np.argsort(trades[:, ENTRY_BAR], kind="stable")
            pyramid_equity_at(bars, trades, by_entry, closed, *of)
        else:
            equity_at(bars, trades, closed, *of)
        return equity

    # --- signals ----------------------------------------------------------------------------------------

    def _program(self, spec: StrategySpec) -> Program:
        return _program_of(spec)

    def _signals(
        self, spec: StrategySpec, indicators: Mapping[str, int], may_enter: NDArray[np.bool_]
    ) -> None:
        """Write the signals of a spec into `flags`."""
        program, series = self._program(spec), self._series
        params = {name: float(value) for name, value in spec.params.items()}
        rows = np.array([series.row(spec, node, indicators) for node in program.columns], dtype=np.int64)
        used = np.array(list(indicators.values()), dtype=np.int64)
        scalars = np.array([scalar_value(node, params) for node in program.scalars], dtype=np.float64)
        bars = np.array([int(scalar_value(node, params)) for node in program.bars], dtype=np.int64)
        columns = series.columns
        floats, conditions = self._memory(program)
        inputs = Inputs(
            columns=columns.values,
            rows=rows,
            scalars=scalars,
            bars=bars,
            ready_from=int(columns.first[used].max()) if used.size else 0,
            gap_rows=used[columns.gaps[used]],
            allowed=self._allowed(spec, np.ones_like(may_enter) if self.config.delay_bars else may_enter),
        )
        code = Code(program.steps, program.results, program.states)
        run_program(code, inputs, floats, conditions, self.flags)
        delay_entries(self.flags, may_enter, self.config.delay_bars)

    def _readings_of(self, spec: StrategySpec) -> ReadingsOnBars | None:
        """Return the readings aligned to the bars, if a spec asks for any and there are some."""
        return None if gate_of(spec) is None else self._readings

    @cached_property
    def _readings(self) -> ReadingsOnBars | None:
        log = self.bars.readings
        return None if log is None else ReadingsOnBars(log, self.bars.bid)

    def _memory(self, program: Program) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return registers enough for a program."""
        floats, conditions = self._registers
        if len(floats) < program.floats:
            floats = np.empty((program.floats, BLOCK))
        if len(conditions) < program.conditions:
            conditions = np.empty((program.conditions, BLOCK), dtype=bool)
        self._registers = floats, conditions
        return self._registers

    def _allowed(self, spec: StrategySpec, may_enter: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where a spec may enter; kept until other segments are asked for."""
        session = spec.session
        if session is None:
            return may_enter
        if session not in self._sessions:
            self._sessions[session] = session_mask(session, self.bars.bid.ts_open_ns) & may_enter
        return self._sessions[session]

    # --- what a run may do ------------------------------------------------------------------------------

    def _bounds(self, segments: Segments | None) -> tuple[Bounds, NDArray[np.bool_]]:
        """Return what segments mean for positions, and where they permit entries."""
        if self._boundaries is None or self._boundaries[0] != segments:
            ranges = None if segments is None else segments.bar_ranges(self.bars.bid.ts_open_ns)
            made = make_boundaries(len(self.bars), ranges, close_at_end=not self.config.is_parity)
            self._boundaries = (segments, made)
            self._sessions.clear()
        found = self._boundaries[1]
        reason = "end_of_data" if segments is None else "segment_end"
        bounds = Bounds(
            flatten_bar=found.flatten_bar,
            segment=found.segment,
            flatten_reason=REASONS.index(reason),
            pine_entry_bar=self.config.is_parity,
        )
        return bounds, found.may_enter

    def _levels(self, spec: StrategySpec, rows: Mapping[str, int]) -> Levels:
        stop, stop_row = self._distance(spec, spec.stop_loss, rows)
        target, target_row = self._distance(spec, spec.take_profit, rows)
        return Levels(
            has_stop=spec.stop_loss is not None,
            has_target=spec.take_profit is not None,
            stop_value=stop,
            target_value=target,
            stop_row=stop_row,
            target_row=target_row,
            close=self._bid_close,
            tick=self._tick,
            tick_scale=self._tick_scale,
        )

    def _exits(self, spec: StrategySpec, rows: Mapping[str, int]) -> Exits:
        plan = exit_plan(spec, pip_size=self.bars.instrument.pip_size, tick_size=self._tick)
        clock = None if plan is None else plan.clock
        if clock is not None and clock not in self._strikes:
            self._strikes[clock] = next_strikes(clock, self.bars.bid.ts_open_ns, self.bars.timeframe.ns)
        exits = exits_of(plan, rows, None if clock is None else self._strikes[clock])
        self._make_room(1 + exits.targets.share.size)
        return exits

    def _make_room(self, parts: int) -> None:
        """Have a table with rows for so many trades per bar."""
        rows = parts * len(self.bars) + 1
        if len(self._table.trades) < rows:
            trades = np.zeros((rows, TRADE_COLUMNS), dtype=np.int64)
            self._table = self._table._replace(trades=trades)

    def _distance(
        self, spec: StrategySpec, distance: PriceDistance | None, rows: Mapping[str, int]
    ) -> tuple[float, int]:
        if distance is None:
            return 0.0, -1
        away = level_away(spec, distance, self.bars.instrument.pip_size, self._tick)
        return self._series.multiple(spec, away, rows)

    # --- results ----------------------------------------------------------------------------------------

    def _trades(self, found: ScreenResult) -> list[Trade]:
        ts = self.bars.bid.ts_open_ns.tolist()
        scale = self._scale
        return [
            Trade(
                entry_bar=row[ENTRY_BAR],
                exit_bar=row[EXIT_BAR],
                entry_ts_ns=ts[row[ENTRY_BAR]],
                exit_ts_ns=ts[row[EXIT_BAR]],
                side="long" if row[SIDE] > 0 else "short",
                entry_price=row[ENTRY_STEPS] / scale,
                exit_price=row[EXIT_STEPS] / scale,
                stop_price=self._price(row[STOP_STEPS]),
                target_price=self._price(row[TARGET_STEPS]),
                size=float(row[UNITS]),
                exit_reason=REASONS[row[REASON]],
                pnl=pnl,
                commission=commission,
                swap=swap,
                nights=row[NIGHTS],
            )
            for row, (pnl, commission, swap) in zip(found.trades.tolist(), found.floats.tolist(), strict=True)
        ]

    def _price(self, steps: int) -> float | None:
        return None if steps == NO_LEVEL else steps / self._scale

    def _open_trades(self, found: ScreenResult) -> list[OpenTrade]:
        return [
            OpenTrade(
                entry_bar=row[ENTRY_BAR],
                entry_ts_ns=int(self.bars.bid.ts_open_ns[row[ENTRY_BAR]]),
                side="long" if row[SIDE] > 0 else "short",
                entry_price=row[ENTRY_STEPS] / self._scale,
                stop_price=self._price(row[STOP_STEPS]),
                target_price=self._price(row[TARGET_STEPS]),
                size=float(row[UNITS]),
                commission=(row[ENTRY_COST] * PART + row[ENTRY_COST_PART]) / PART,
            )
            for row in found.open_trades.tolist()
        ]
