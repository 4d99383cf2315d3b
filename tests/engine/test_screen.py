"""The screen's results are the engine's, in every field and to the last bit."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.conversion import with_conversion
from aiopt.backtest.pricing import add_spread
from aiopt.backtest.results import TrialResult
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.swap import InterestRate, SwapConfig, SwapPoints
from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.robustness.altered_bars import (
    draw_blocks,
    draw_gaps,
    draw_widening,
    rebuilt,
    thinned,
    widened,
)
from aiopt.screen.session import ScreenSession
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import FixedSize, RiskSize, StrategySpec
from aiopt.testing.bars import random_walk_bar_set
from aiopt.testing.random_specs import random_spec
from tests.engine.later_prices import trades_that_stay
from tests.engine.real_bars import dukascopy_minutes, histdata_minutes

pytestmark = pytest.mark.slow

CHUNKS = 10
REAL_CHUNKS = 20
SPECS = 25
"""Specs of a chunk: five hundred on a provider's bars, half as many on bars with more corners."""
N_BARS = 1000

POINTS = SwapConfig(points={"EURUSD": SwapPoints(long=-0.7, short=0.13)})
RATES = SwapConfig(
    rates={
        "EUR": (InterestRate(date="2010-01-01", percent=1.25), InterestRate(date="2018-01-03", percent=-0.4)),
        "USD": (InterestRate(date="2010-01-01", percent=3.1),),
    },
    markup_percent=0.77,
    day_count=365,
)


def assert_same(screened: TrialResult, judged: TrialResult) -> None:
    for number, (one, other) in enumerate(zip(screened.trades, judged.trades, strict=False)):
        assert one == other, f"trade {number}"
    assert len(screened.trades) == len(judged.trades)
    assert screened.open_trade == judged.open_trade
    np.testing.assert_array_equal(screened.equity, judged.equity)
    assert screened.to_document(equity=True).keys() == judged.to_document(equity=True).keys()
    assert msgspec.json.encode(screened.to_document()) == msgspec.json.encode(judged.to_document())


def both(
    bars: BarSet, config: BacktestConfig, spec: StrategySpec, segments: Segments | None = None
) -> TrialResult:
    """Return the engine's result after comparing the screen's with it."""
    with BacktestSession(bars, config) as session:
        judged = session.run(spec, segments=segments)
    assert_same(ScreenSession(bars, config).run(spec, segments=segments), judged)
    return judged


def ladder_of(bars: BarSet, draw: random.Random) -> StopLadder:
    """Return made-up record quotes of bars: from the open to the worst price, with steps left out."""
    scale = bars.instrument.price_scale
    columns = {}
    for side, worst, sign in (("bid", bars.bid.low, -1), ("ask", bars.ask.high, 1)):
        opened = getattr(bars, side).open
        offsets, steps = [0], []
        for first, last in zip(
            np.rint(opened * scale).astype(int).tolist(),
            np.rint(worst * scale).astype(int).tolist(),
            strict=True,
        ):
            inner = [step for step in range(first + sign, last, sign) if draw.random() < 0.3]
            steps += sorted({first, *inner, last}, reverse=sign < 0)
            offsets.append(len(steps))
        columns[f"{side}_offsets"] = np.array(offsets)
        columns[f"{side}_steps"] = np.array(steps, dtype=np.int32)
    return StopLadder(**columns, price_scale=scale)


RUINED = (256,)


def random_case(seed: int, bars: BarSet) -> tuple[BarSet, BacktestConfig, StrategySpec, Segments | None]:
    """Return a spec, assumptions, segments and what is known of stops, all drawn from a seed."""
    draw = random.Random(seed)
    settings = {
        "mode": draw.choice(["research", "research", "parity"]),
        "initial_balance": draw.choice([100_000.0, 3_000.0, 417.31, 50.0, 1e6]),
        "leverage": draw.choice([30.0, 500.0, 3.0, 1000.0]),
        "commission_per_million": draw.choice([35.0, 0.0, 12.3457]),
        "slippage_ticks": draw.choice([0, 0, 2]),
    }
    if settings["mode"] == "research":
        settings |= {
            "extra_spread_pips": draw.choice([0.0, 0.0, 0.3]),
            "stop_slippage_ticks": draw.choice([None, None, 0.0, 0.3, 2.0]),
            "account_currency": draw.choice([None, None, "EUR"]),
            "swap": draw.choice([None, POINTS, RATES]),
            "entry_delay_bars": 1 + seed % 3 if seed % 7 == 3 else 0,
        }
        if draw.random() < 0.4:
            bars = replace(bars, stops=ladder_of(bars, draw))
    spec = random_spec(seed, limits=seed % 3 == 1, higher=seed % 3 == 2, adds=seed % 6 == 3)
    if draw.random() < 0.5:
        size = FixedSize(units=draw.choice([1000, 20_000, 300_000, 7, 10**7]))
        spec = msgspec.structs.replace(spec, size=size)
    elif spec.stop_loss is not None:
        size = RiskSize(risk_pct=draw.choice([1.0, 20.0, 90.0]), step=draw.choice([1, 1000]))
        spec = msgspec.structs.replace(spec, size=size)
    segments = None
    if draw.random() < 0.5:
        times = bars.bid.ts_open_ns.tolist()
        cuts = {time + draw.choice([0, 1, 30_000_000_000]) for time in draw.sample(times, draw.randint(2, 9))}
        segments = Segments(tuple(sorted(cuts)))
    return bars, BacktestConfig(**settings), spec, segments


def events_of(result: TrialResult) -> Counter[str]:
    """Count what happened in a backtest."""
    seen = Counter(trade.exit_reason for trade in result.trades)
    seen["nights"] = sum(trade.nights or 0 for trade in result.trades)
    seen["open"] = int(result.open_trade is not None)
    for name in ("refused", "capped", "ruined"):
        seen[name] = len(getattr(result, f"{name}_bars"))
    return seen


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_specs_under_random_assumptions(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * SPECS, (chunk + 1) * SPECS):
        timeframe = ("1m", "5m", "15m", "1h")[seed % 4]
        bars = random_walk_bar_set(N_BARS, seed=seed, timeframe=timeframe)
        seen += events_of(both(*random_case(seed, bars)))
    # A chunk that met none of these would prove little.
    for name in ("stop_loss", "take_profit", "exit_signal", "reverse", "refused", "nights"):
        assert seen[name] > 0, (name, seen)


@pytest.fixture(scope="module")
def real_minutes(shared_data: Path) -> BarSet:
    return add_spread(histdata_minutes(shared_data, REAL_CHUNKS * N_BARS), 0.7)


@pytest.mark.parametrize("chunk", range(REAL_CHUNKS))
def test_random_specs_on_a_provider_s_minutes(real_minutes: BarSet, chunk: int) -> None:
    seen: Counter[str] = Counter()
    bars = real_minutes.slice(chunk * N_BARS, (chunk + 1) * N_BARS)
    for seed in range(1000 + chunk * SPECS, 1000 + (chunk + 1) * SPECS):
        seen += events_of(both(*random_case(seed, bars)))
    for name in ("stop_loss", "take_profit", "exit_signal", "reverse"):
        assert seen[name] > 0, (name, seen)


def test_a_ruined_account_ends_alike() -> None:
    """Ruin is rare among random specs; this seed has it."""
    for seed in RUINED:
        case = random_case(seed, random_walk_bar_set(N_BARS, seed=seed, timeframe="1h"))
        assert events_of(both(*case))["ruin"] > 0, seed


def test_every_reason_and_event_occurs_among_the_random_specs() -> None:
    seen: Counter[str] = Counter()
    for seed in (*range(0, 500, 3), *RUINED):
        bars, config, spec, segments = random_case(
            seed, random_walk_bar_set(N_BARS, seed=seed, timeframe="1h")
        )
        found = ScreenSession(bars, config).run(spec, segments=segments)
        seen += events_of(found)
        seen["swap"] += sum(trade.swap != 0 for trade in found.trades)
        seen["ladder"] += isinstance(bars.stops, StopLadder)
    assert {name for name, count in seen.items() if count} >= {
        *("stop_loss", "take_profit", "exit_signal", "reverse", "segment_end", "end_of_data", "ruin"),
        *("refused", "capped", "ruined", "open", "swap", "ladder"),
    }


@pytest.mark.parametrize("mode", ["research", "parity"])
@pytest.mark.parametrize("name", FAMILIES)
def test_families_on_a_provider_s_minutes(shared_data: Path, name: str, mode: str) -> None:
    bars = add_spread(histdata_minutes(shared_data, 20_000), 0.7)
    space = FAMILIES[name]
    for params in space.sample(3, 5, "random"):
        assert both(bars, BacktestConfig(mode=mode), space.spec.with_params(params)).trades


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_specs_on_a_provider_s_bid_and_ask(shared_data: Path, first: int) -> None:
    bars = dukascopy_minutes(shared_data)
    for seed in range(first, first + 20):
        _, config, spec, segments = random_case(seed, bars)
        both(bars, config, spec, segments)


def test_yen_in_a_dollar_account() -> None:
    euro = random_walk_bar_set(N_BARS, seed=2, timeframe="15m")

    def of(symbol: str, factor: float, bars: BarSet) -> BarSet:
        pair = instrument(symbol)
        sides = [
            replace(
                side,
                instrument=symbol,
                **{
                    name: np.round(getattr(side, name) * factor, pair.price_precision)
                    for name in ("open", "high", "low", "close")
                },
            )
            for side in (bars.bid, bars.ask)
        ]
        return BarSet(pair, bars.timeframe, *sides, False, symbol)

    hourly = random_walk_bar_set(N_BARS, seed=3, timeframe="1h")
    cross = with_conversion(of("EURJPY", 120.0, euro).slice(20, N_BARS), of("USDJPY", 110.0, hourly))
    config = BacktestConfig(account_currency="USD", slippage_ticks=1)
    for name, space in FAMILIES.items():
        spec = msgspec.structs.replace(space.spec, size=FixedSize(units=30_000))
        assert both(cross, config, spec).trades, name


def test_a_result_does_not_depend_on_what_was_run_before() -> None:
    bars = random_walk_bar_set(N_BARS, seed=9)
    warm = ScreenSession(bars, BacktestConfig())
    specs = [msgspec.structs.replace(random_spec(seed), size=FixedSize()) for seed in range(30)]
    for spec in specs:
        warm.run(spec)
    for spec in specs[::-1]:
        assert_same(warm.run(spec), ScreenSession(bars, BacktestConfig()).run(spec))


def test_prices_to_come_change_no_earlier_trade() -> None:
    bars = random_walk_bar_set(N_BARS, seed=5)
    for kept in trades_that_stay(bars, (space.spec for space in FAMILIES.values())):
        assert kept


def test_bars_that_differ_from_their_ladder_end_the_run() -> None:
    bars = random_walk_bar_set(N_BARS, seed=6)
    ladder = ladder_of(bars, random.Random(1))
    wrong = replace(bars, stops=replace(ladder, bid_steps=ladder.bid_steps + np.int32(50_000)))
    session = ScreenSession(wrong, BacktestConfig())
    with pytest.raises(DataError, match="bars and stop ladder differ"):
        session.run(FAMILIES["ema_cross_atr"].spec.with_params({"stop_atr": 0.5}))


@pytest.mark.parametrize("delay", [0, 1])
def test_bars_as_stress_alters_them(delay: int) -> None:
    made = random_walk_bar_set(N_BARS, seed=11, timeframe="15m")
    bars = replace(made, stops=ladder_of(made, random.Random(3)))
    everywhere = np.ones(N_BARS, dtype=bool)
    config = BacktestConfig(entry_delay_bars=delay)
    for number, name in enumerate(FAMILIES):
        spec = FAMILIES[name].spec
        draw = np.random.default_rng(number)
        for altered in (
            widened(bars, draw_widening(bars, 0.5, draw)),
            thinned(bars, draw_gaps(N_BARS, 0.05, 4.0, draw)),
            rebuilt(bars, draw_blocks(bars, everywhere, 12.0, draw)),
        ):
            assert both(altered, config, spec).trades, name
