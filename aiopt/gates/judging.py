"""The same strategy with and without its readings: trades kept and removed, the difference, a control.

Owns what is compared, how a gate of shuffled readings is the measure of luck, and the words of the verdict.
Everything is of the bars given: whether the gate was chosen on them is for the caller to know.

Two controls answer the usual mistake: any gate changes how often and when a strategy trades, so any gate
changes its profit, and of a strategy that loses the gate that refuses most saves most.

- Gates of the same readings in another order of time (`aiopt.gates.shuffling`) refuse as often and as long.
  The share of them that do at least as well is the p-value of the hypothesis that what was read at a moment
  says nothing of it.
- Of the entries without the gate as many as it kept, chosen at random: the share of choices that make at
  least as much is the p-value of the hypothesis that the gate chooses no better than chance.

Source: Phipson and Smyth, "Permutation P-values Should Never Be Zero", Statistical Applications in Genetics
and Molecular Biology 9(1), 2010, for counting the observed one too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.results import FIGURE_PERIOD_NS, TrialResult, pnl_by_period, total
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError
from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.bootstrap import PairedDifference, default_block_length, paired_difference
from aiopt.gates.shuffling import shuffled
from aiopt.screen.failures import BeyondScreenError
from aiopt.screen.session import ScreenSession
from aiopt.strategy.reading_gate import ReadingsOnBars, need_readings
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import gate_of
from aiopt.trades import Trade

FEWEST_TRADES = 30
"""Trades without the gate below which nothing is concluded."""

LEVEL = 0.05
"""Of the intervals and of the control."""

MOST_DRAWS = 10_000


class SideOfGate(msgspec.Struct, frozen=True, kw_only=True):
    """The strategy with its gate, or without it.

    Attributes
    ----------
    trades : int
        Closed trades.
    net_profit, profit_per_trade, max_drawdown_amount : float
        Account currency, after costs; the second NaN without a trade.
    """

    trades: int
    net_profit: float
    profit_per_trade: float
    max_drawdown_amount: float


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What gates of shuffled readings do.

    Attributes
    ----------
    draws : int
        Orders tried.
    block : int
        Readings that stayed together.
    seed : int
        Of the orders.
    mean, low, high : float
        Profit with the gate less that without it: mean of the draws, and the ends of their middle 95 %.
    p_value : float
        Share of draws, the true order counted too, that gain at least as much as the true order does.
    trades : float
        Mean number of trades.
    """

    draws: int
    block: int
    seed: int
    mean: float
    low: float
    high: float
    p_value: float
    trades: float


class GateJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate did on some bars.

    Attributes
    ----------
    gated, free : SideOfGate
        With and without it.
    kept, removed, added, resized : int
        Entries of the strategy without the gate that are still made, and that are not; entries that are made
        with it alone, as an entry refused leaves room for a later one; entries kept with another size.
    removed_profit, kept_profit : float
        What the removed ones, and the kept ones, made without the gate, account currency.
    choice_p_value : float
        Share of random choices of as many entries, the gate's own counted too, that make at least as much as
        the kept ones; NaN where it removed none or all.
    difference : float
        Profit with the gate less that without it.
    interval_low, interval_high : float
        Its 95 % interval, by the block bootstrap of the paired differences per hour; NaN where undefined.
    control : Control
        Of shuffled readings.
    readings : dict
        `ReadingLog.identity`.
    entries_open : float
        Share of the bars on which the gate lets the strategy's sides enter.
    verdict : str
        In words.
    """

    gated: SideOfGate
    free: SideOfGate
    kept: int
    removed: int
    added: int
    resized: int
    removed_profit: float
    kept_profit: float
    choice_p_value: float
    difference: float
    interval_low: float
    interval_high: float
    control: Control
    readings: dict[str, Any]
    entries_open: float
    verdict: str


def judge_gate(
    spec: StrategySpec,
    bars: BarSet,
    config: BacktestConfig,
    *,
    seed: int,
    draws: int = 200,
    block: int | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> GateJudgement:
    """Trade a strategy with and without its readings, and with shuffled ones.

    Parameters
    ----------
    spec : StrategySpec
        With `readings`.
    bars : BarSet
        With the readings.
    config : BacktestConfig
        Research assumptions.
    seed : int
        Of resamples and shuffles.
    draws : int
        Shuffles; at least 19, so that the true order can be among the best 5 %.
    block : int, optional
        Readings that stay together.  Default: the cube root of their number.
    progress : callable, optional
        Called with the backtests done, of ``draws + 2``.

    Raises
    ------
    ConfigError
        If the strategy has no gate, or a number is out of range.
    SpecError, DataError
        If there are no readings, or they do not fit; as `BacktestSession.run` raises them.
    """
    if gate_of(spec) is None:
        msg = f"A gate is judged, but {spec.name} asks for no readings. Add `readings:` to it."
        raise ConfigError(msg)
    if not 19 <= draws <= MOST_DRAWS:
        msg = f"`19 <= draws <= {MOST_DRAWS}` must hold, but got draws={draws}. Choose e.g. 200."
        raise ConfigError(msg)
    log = bars.readings
    if log is None:
        raise need_readings(spec)
    length = round(default_block_length(len(log))) if block is None else block
    results = _Results(bars, config)
    gated, free = results.of(spec), results.of(spec.without_readings())
    progress(2)
    observed = total([gated.metrics.net_profit, -free.metrics.net_profit])
    gains, trades = [], []
    for draw in range(draws):
        other = replace(bars, readings=shuffled(log, block=length, seed=seed + draw))
        profit, count = results.profit_of(spec, other)
        gains.append(total([profit, -free.metrics.net_profit]))
        trades.append(count)
        progress(3 + draw)
    low, high = np.quantile(gains, [LEVEL / 2, 1 - LEVEL / 2])
    control = Control(
        draws=draws,
        block=length,
        seed=seed,
        mean=float(np.mean(gains)),
        low=float(low),
        high=float(high),
        p_value=(1 + sum(gain >= observed for gain in gains)) / (1 + draws),
        trades=float(np.mean(trades)),
    )
    paired = _paired(gated, free, bars, seed)
    kept = _by_entry(gated.trades).keys()
    entries = {key: total(trade.pnl for trade in one) for key, one in _by_entry(free.trades).items()}
    chosen = np.array([key in kept for key in entries], dtype=bool)
    choice = chance_of_choice(np.array(list(entries.values())), chosen, seed=seed)
    return _judgement(gated, free, (paired, control, choice), open_share=results.open_share(spec))


class _Results:
    """Backtests over the same prices: in compiled code, where the screen treats them."""

    def __init__(self, bars: BarSet, config: BacktestConfig) -> None:
        self._bars, self._config = bars, config
        self._first: ScreenSession | None = None

    def of(self, spec: StrategySpec) -> TrialResult:
        """Return a result on the bars."""
        try:
            return self._screen(self._bars).run(spec)
        except BeyondScreenError:
            return self._engine(spec, self._bars)

    def profit_of(self, spec: StrategySpec, bars: BarSet) -> tuple[float, int]:
        """Return profit and number of trades on the same bars with other readings."""
        try:
            profits = self._screen(bars).screen(spec).floats[:, 0]
        except BeyondScreenError:
            metrics = self._engine(spec, bars).metrics
            return metrics.net_profit, metrics.trades
        return total(profits.tolist()), profits.size

    def _screen(self, bars: BarSet) -> ScreenSession:
        session = ScreenSession(bars, self._config, like=self._first)
        self._first = self._first or session
        return session

    def _engine(self, spec: StrategySpec, bars: BarSet) -> TrialResult:
        from aiopt.backtest.session import BacktestSession  # a screen needs no engine

        with BacktestSession(bars, self._config) as session:
            return session.run(spec)

    def open_share(self, spec: StrategySpec) -> float:
        """Return the share of bars on which the sides a strategy enters are let in, averaged over them."""
        assert self._bars.readings is not None
        gate = ReadingsOnBars(self._bars.readings, self._bars.bid).gate(spec)
        assert gate is not None
        sides = [side for side in ("long", "short") if getattr(spec, f"entry_{side}") is not None]
        return float(np.mean([getattr(gate, side).mean() for side in sides]))


def _paired(gated: TrialResult, free: TrialResult, bars: BarSet, seed: int) -> PairedDifference:
    hourly = [pnl_by_period(one.equity, bars.bid.ts_open_ns, FIGURE_PERIOD_NS) for one in (gated, free)]
    return paired_difference(hourly[0], hourly[1], seed=seed, confidence=1 - LEVEL)


def chance_of_choice(profits: FloatArray, chosen: NDArray[np.bool_], *, seed: int, n: int = 10_000) -> float:
    """Return the share of random choices of as many trades that make at least as much as those chosen.

    Parameters
    ----------
    profits : ndarray of shape (n_trades,), account currency
        Of all trades.
    chosen : ndarray of shape (n_trades,), bool
        Which were chosen.
    seed : int
        Same seed, same choices.
    n : int
        Choices; the one made is counted beside them.

    Returns
    -------
    float
        In (0, 1]; NaN where none or all were chosen.
    """
    count = int(chosen.sum())
    if count in (0, chosen.size):
        return float("nan")
    rng = np.random.default_rng(seed)
    made = float(profits[chosen].sum())
    # Sums in another order differ by noise: a choice of the same trades makes as much.
    edge = made - 1e-9 * (1.0 + float(np.abs(profits).sum()))
    as_good = sum(float(rng.choice(profits, count, replace=False).sum()) >= edge for _ in range(n))
    return (1 + as_good) / (1 + n)


def _judgement(
    gated: TrialResult,
    free: TrialResult,
    found: tuple[PairedDifference, Control, float],
    *,
    open_share: float,
) -> GateJudgement:
    paired, control, choice = found
    ours, theirs = _by_entry(gated.trades), _by_entry(free.trades)
    kept = ours.keys() & theirs.keys()
    removed = [trade.pnl for key in theirs.keys() - kept for trade in theirs[key]]
    assert gated.readings is not None
    sides = _side(gated), _side(free)
    difference = total([gated.metrics.net_profit, -free.metrics.net_profit])
    return GateJudgement(
        gated=sides[0],
        free=sides[1],
        kept=len(kept),
        removed=len(theirs) - len(kept),
        added=len(ours) - len(kept),
        resized=sum(_units(ours[key]) != _units(theirs[key]) for key in kept),
        removed_profit=total(removed),
        kept_profit=total([free.metrics.net_profit, -total(removed)]),
        choice_p_value=choice,
        difference=difference,
        interval_low=paired.interval.low,
        interval_high=paired.interval.high,
        control=control,
        readings=gated.readings,
        entries_open=open_share,
        verdict=verdict(sides[1].trades, len(theirs) - len(kept), paired, control, choice),
    )


def _by_entry(trades: Sequence[Trade]) -> dict[tuple[int, str], list[Trade]]:
    """Return round trips by the entry they belong to: one that left in parts is one entry."""
    found: dict[tuple[int, str], list[Trade]] = {}
    for trade in trades:
        found.setdefault((trade.entry_bar, trade.side), []).append(trade)
    return found


def _units(trades: Sequence[Trade]) -> float:
    return sum(trade.size for trade in trades)


def _side(result: TrialResult) -> SideOfGate:
    metrics = result.metrics
    return SideOfGate(
        trades=metrics.trades,
        net_profit=metrics.net_profit,
        profit_per_trade=metrics.expectancy,
        max_drawdown_amount=metrics.max_drawdown_amount,
    )


def verdict(trades: int, removed: int, paired: PairedDifference, control: Control, choice: float) -> str:
    """Return in words what a gate was worth.

    Parameters
    ----------
    trades : int
        Without the gate.
    removed : int
        Entries it removed.
    paired : PairedDifference
        With the gate less without it.
    control : Control
        Of shuffled readings.
    choice : float
        From `chance_of_choice`.
    """
    low, high = paired.interval.low, paired.interval.high
    if trades < FEWEST_TRADES:
        few = f"{trades} trades without the gate are too few, {FEWEST_TRADES} are needed"
        return f"Not judged: {few}. Give more bars."
    if not removed and not paired.total:
        return "The gate changed nothing: every entry was made as without it."
    if math.isnan(low):
        return "Not judged: the difference has no interval, as it hardly varies. Give more bars."
    share = f"{control.p_value:.1%} of gates of shuffled readings do at least as well"
    drawn = "" if math.isnan(choice) else f"{choice:.1%} of random choices of as many trades make as much"
    said = f"{share}, {drawn}" if drawn else share
    if high < 0:
        return f"The gate cost money: it earned less than the strategy without it ({said})."
    if low <= 0:
        return f"No difference that these bars can tell: the interval of the difference holds 0 ({said})."
    more = "The gate earned more than the strategy without it"
    if control.p_value > LEVEL:
        return f"{more}, but {share}: what it gains comes from trading otherwise, not from what was read."
    if choice > LEVEL:  # False for NaN
        return f"{more}, but {drawn}: what it gains comes from trading less, not from choosing well."
    return (
        f"{more}, and more than the controls do ({said}): what was read said something of these bars. "
        "Judge it on others before it trades."
    )
