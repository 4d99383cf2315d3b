"""Prices to come decide nothing: 50 random worlds, traded and ranked, then later segments get other prices.

The rows come from the real engine.  Only prices change, never stamps or the number of bars, and they change
until entries are refused, sizes cut and accounts lost where they changed.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan
from aiopt.market.instrument import instrument
from aiopt.ranking.groups import make_groups
from aiopt.ranking.measures import measure_group
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.selection import choose_lanes
from aiopt.ranking.trials import TrialRow, check_row
from aiopt.strategy.spec import FixedSize, IndicatorSpec, PriceDistance, RiskSize, StrategySpec
from aiopt.sweep.trial import TrialContext, TrialPoint, run_trial
from aiopt.timeframe import parse_timeframe

MINUTE = parse_timeframe("1m")
PERIOD_NS = 10 * MINUTE.ns
SEGMENT = 60
START_NS = 2_500_000 * PERIOD_NS
CONFIG = WalkForwardConfig(train_segments=1, folds=2, holdout_segments=1)
PLAN = WalkForwardPlan(
    config=CONFIG,
    boundaries_ns=tuple(START_NS + i * SEGMENT * MINUTE.ns for i in range(CONFIG.segments + 1)),
    period_ns=PERIOD_NS,
)
N_BARS = SEGMENT * CONFIG.segments
HOLDOUT = len(PLAN.development)
RANKING = RankingConfig(
    top=3, lanes=2, min_train_trades=1, min_oos_trades=2, bootstrap_resamples=100, pbo_blocks=4
).with_pip(1e-4)
CONTEXT = TrialContext(
    backtest=BacktestConfig(initial_balance=1_000.0, leverage=200.0),
    plan=PLAN,
    seed=0,
    data_hash="worlds",
)
"""120,000 units at 1.1 need 660 of the 1,000, at 2.2 more than there is; 80 pips lose them all."""


def points() -> list[TrialPoint]:
    sizes = {"fixed": FixedSize(units=120_000), "risk": RiskSize(risk_pct=15.0)}
    found = []
    for family, size in sizes.items():
        for number, (length, stop) in enumerate([(4, 25), (8, 900)]):
            spec = StrategySpec(
                name=family,
                indicators={"average": IndicatorSpec(kind="sma", args={"length": length})},
                entry_long="crossover(close, average)",
                entry_short="crossunder(close, average)",
                stop_loss=PriceDistance(unit="pips", value=stop),
                size=size,
            )
            trial_id = f"{family}@1m-{number:05d}"
            found.append(TrialPoint(trial_id, family, "1m", {"length": length, "stop": stop}, spec))
    return found


POINTS = points()


def walk_ticks(rng: np.random.Generator, n_bars: int, start: int, step: int) -> np.ndarray:
    """Return open, high, low, close in ticks, shape (n_bars, 4); every bar opens where the last closed."""
    close = np.maximum(start + np.cumsum(rng.integers(-step, step + 1, n_bars)), 5_000)
    opened = np.concatenate(([start], close[:-1]))
    wick = rng.integers(0, step, (2, n_bars))
    high = np.maximum(opened, close) + wick[0]
    low = np.maximum(np.minimum(opened, close) - wick[1], 4_000)
    return np.column_stack([opened, high, low, close])


def bar_set(ticks: np.ndarray) -> BarSet:
    ts = START_NS + np.arange(N_BARS, dtype=np.int64) * MINUTE.ns

    def side(price: str, offset: int) -> BarArrays:
        columns = (np.ascontiguousarray(column) for column in np.round((ticks + offset) * 1e-5, 5).T)
        return BarArrays("EURUSD", MINUTE, price, ts, *columns, volume=np.ones(N_BARS), data_hash="w")

    return BarSet(instrument("EURUSD"), MINUTE, side("bid", 0), side("ask", 8), False, "w")


def with_other_prices(rng: np.random.Generator, ticks: np.ndarray, first: int) -> np.ndarray:
    """Return the world with every price from bar `first` on replaced; many leap, many are wild."""
    start = int(ticks[first - 1, 3]) * int(rng.choice([1, 1, 1, 2, 3]))
    other = ticks.copy()
    other[first:] = walk_ticks(rng, N_BARS - first, start, int(rng.choice([60, 400, 1200])))
    return other


def trade(ticks: np.ndarray) -> list[TrialRow]:
    with BacktestSession(bar_set(ticks), CONTEXT.backtest) as session:
        rows = [run_trial(session, point, CONTEXT) for point in POINTS]
    for row in rows:
        check_row(row, PLAN)
        assert row.ok, row.error
    return rows


def before_the_holdout(rows: list[TrialRow]) -> dict:
    """Return all a ranking says, without what it says of the holdout."""
    found = msgspec.to_builtins(rank_trials(rows, PLAN, RANKING))
    del found["headline"]  # counts verdicts
    for entry in found["entries"]:
        # A verdict asks the holdout too, places given.
        for name in ("holdout", "holdout_pnl", "verdict", "survives"):
            del entry[name]
        for name in ("holdout_p_value", "holdout_p_value_adjusted"):
            del entry["evidence"][name]
        entry["checks"] = [check for check in entry["checks"] if check["name"] != "holdout profit"]
    return found


def upto(rows: list[TrialRow], segment: int) -> list[dict]:
    """Return what the rows say of the segments before `segment`."""
    found = []
    for row in rows:
        data = msgspec.structs.asdict(row)
        cut = segment * SEGMENT * MINUTE.ns // PERIOD_NS
        if segment <= HOLDOUT:
            data = {name: value for name, value in data.items() if not name.startswith("holdout")}
        data["pnl"] = data["pnl"][:cut]
        found.append(
            {name: value[:segment] if name.startswith("segment_") else value for name, value in data.items()}
        )
    return found


def choices(rows: list[TrialRow], segment: int) -> list[list[tuple[str, ...]]]:
    """Return per group and lane the trials chosen on train windows that end before `segment`."""
    found = []
    for group in make_groups(rows):
        own, few = measure_group(group, PLAN), RANKING.min_train_trades
        lanes, _ = choose_lanes(group, own, PLAN, lanes=RANKING.lanes, min_trades=few)
        folds = [fold for fold in PLAN.folds if fold.train[-1] < segment]
        found.append(
            [tuple(group.heads[lane.choices[fold.index]].trial_id for fold in folds) for lane in lanes]
        )
    return found


def test_no_place_score_rejection_or_choice_moves_before_the_prices_that_changed() -> None:
    happened: Counter[str] = Counter()
    for world in range(50):
        rng = np.random.default_rng(world)
        ticks = walk_ticks(rng, N_BARS, 110_000, 60)
        rows = trade(ticks)
        ranked = before_the_holdout(rows)
        happened["entries"] += len(ranked["entries"])
        for segment in (HOLDOUT, *([1 + world // 3 % (HOLDOUT - 1)] if world % 3 == 0 else [])):
            changed = trade(with_other_prices(rng, ticks, segment * SEGMENT))
            assert upto(changed, segment) == upto(rows, segment)
            for ours, theirs in zip(choices(rows, segment), choices(changed, segment), strict=True):
                # How many lanes there are depends on the leanest window; which they are does not.
                assert ours[: len(theirs)] == theirs[: len(ours)]
                happened["choices"] += len(theirs)
            if segment == HOLDOUT:
                assert before_the_holdout(changed) == ranked
                for old, new in zip(rows, changed, strict=True):
                    happened["other holdouts"] += old.holdout_pnl != new.holdout_pnl
                    for event in ("refused", "capped", "ruined"):
                        count = sum(getattr(new, f"holdout_{event}"))
                        happened[f"{event} {new.family}"] += count > 0
    for needed in ("entries", "choices", "other holdouts"):
        assert happened[needed] >= 50, happened
    for needed in ("refused fixed", "ruined fixed", "refused risk", "capped risk"):
        assert happened[needed] >= 5, happened
