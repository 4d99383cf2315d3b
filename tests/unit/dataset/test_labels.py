"""Labels: against plain loops over single bars, and from bars in (t, t + h] alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.dataset import BarrierConfig, CostConfig, LabelConfig
from aiopt.dataset.labels import BUY, HOLD, SELL, compute_labels
from aiopt.errors import ConfigError
from aiopt.indicators import atr
from aiopt.testing.bars import random_walk_bar_set

BARS = random_walk_bar_set(400, seed=21, timeframe="5m")
ATR = np.asarray(atr(BARS.bid.high, BARS.bid.low, BARS.bid.close, 14))
PIP = 1e-4
COSTS = CostConfig(commission_per_million=35.0, slippage_pips=0.1)


def classify(bars: BarSet, i: int, h: int, config: LabelConfig) -> tuple[int, float]:
    """Return class and price move, written as one would by hand."""
    bid, ask, costs = bars.bid, bars.ask, config.costs
    own = costs is not None and costs.spread_pips is None
    spread = lambda side, at: getattr(ask, side)[at] - getattr(bid, side)[at] if own else 0.0  # noqa: E731
    entry = bid.open[i + 1] if config.entry == "next_open" else bid.close[i]
    paid = spread("open", i + 1) if config.entry == "next_open" else spread("close", i)
    leave, paid_out = bid.close[i + h], spread("close", i + h)
    if costs is not None and costs.spread_pips is not None:
        paid = paid_out = costs.spread_pips * PIP
    long, short = leave - (entry + paid), entry - (leave + paid_out)
    if costs is not None:
        per_side = costs.commission_per_million * 1e-6
        long -= (entry + paid + leave) * per_side + 2 * costs.slippage_pips * PIP
        short -= (entry + leave + paid_out) * per_side + 2 * costs.slippage_pips * PIP
    least = config.threshold * (ATR[i] if config.threshold_unit == "atr" else PIP)
    if long >= least - 1e-9:
        return BUY, leave - entry
    return (SELL if short >= least - 1e-9 else HOLD), leave - entry


def first_touch(bars: BarSet, i: int, config: LabelConfig) -> tuple[int, int, float, bool]:
    """Return label, bars, exit price and ambiguity, bar by bar along the path."""
    bid, barrier = bars.bid, config.triple_barrier
    assert barrier is not None
    entry = bid.open[i + 1]
    cost = 0.0
    if config.costs is not None:
        cost = bars.ask.open[i + 1] - entry
        cost += 2 * entry * config.costs.commission_per_million * 1e-6 + 2 * config.costs.slippage_pips * PIP
    up, down = entry + barrier.upper_atr * ATR[i] + cost, entry - barrier.lower_atr * ATR[i] - cost
    for step in range(1, barrier.horizon + 1):
        o, h, low = (float(getattr(bid, name)[i + step]) for name in ("open", "high", "low"))
        path = [o, h, low] if abs(o - h) < abs(o - low) else [o, low, h]
        both = h >= up - 1e-9 and low <= down + 1e-9 and down + 1e-9 < o < up - 1e-9
        if both and barrier.both == "hold":
            return HOLD, step, float(bid.close[i + step]), True
        for number, price in enumerate(path):
            if price >= up - 1e-9:
                return BUY, step, price if number == 0 else up, both
            if price <= down + 1e-9:
                return SELL, step, price if number == 0 else down, both
    return HOLD, barrier.horizon, float(bid.close[i + barrier.horizon]), False


@pytest.mark.parametrize("entry", ["next_open", "close"])
@pytest.mark.parametrize("costs", [None, COSTS, CostConfig(spread_pips=0.7)])
@pytest.mark.parametrize(("threshold", "unit"), [(0.8, "atr"), (2.0, "pips")])
def test_forward_labels_equal_a_loop_over_bars(
    entry: str, costs: CostConfig | None, threshold: float, unit: str
) -> None:
    config = LabelConfig(
        horizons=(1, 6, 20),
        entry=entry,  # type: ignore[arg-type]
        costs=costs,
        threshold=threshold,
        threshold_unit=unit,  # type: ignore[arg-type]
    )
    labels = compute_labels(BARS, ATR, config)
    seen = set()
    for i in range(14, len(BARS) - 24):
        for horizon in config.horizons:
            side, move = classify(BARS, i, horizon, config)
            seen.add(side)
            assert labels.columns[f"class_{horizon}"][i] == side
            assert labels.columns[f"move_pips_{horizon}"][i] == pytest.approx(move / PIP)
            assert labels.columns[f"move_atr_{horizon}"][i] == pytest.approx(move / ATR[i])
            first = BARS.bid.open[i + 1] if entry == "next_open" else BARS.bid.close[i]
            assert labels.columns[f"return_{horizon}"][i] == pytest.approx(move / first)
    assert seen == {SELL, HOLD, BUY}


@pytest.mark.parametrize("costs", [None, COSTS])
@pytest.mark.parametrize("both", ["path", "hold"])
@pytest.mark.parametrize(("upper", "lower"), [(2.0, 2.0), (0.4, 0.3)])
def test_the_triple_barrier_equals_a_walk_along_the_path(
    costs: CostConfig | None, both: str, upper: float, lower: float
) -> None:
    barrier = BarrierConfig(upper_atr=upper, lower_atr=lower, horizon=15, both=both)  # type: ignore[arg-type]
    config = LabelConfig(horizons=(3,), triple_barrier=barrier, costs=costs)
    columns = compute_labels(BARS, ATR, config).columns
    ambiguous = 0
    for i in range(14, len(BARS) - 15):
        side, bars, price, both_touched = first_touch(BARS, i, config)
        found = [columns[f"barrier{end}"][i] for end in ("", "_bars", "_ambiguous")]
        assert found == [side, bars, both_touched], i
        assert columns["barrier_return"][i] == pytest.approx(price / BARS.bid.open[i + 1] - 1)
        ambiguous += both_touched
    if upper < 1 and costs is None:
        assert ambiguous > 0, "the bars must hold the case in which the path decides"


def changed(bars: BarSet, keep: slice, seed: int) -> BarSet:
    """Return the bars with every price outside `keep` replaced."""
    rng = np.random.default_rng(seed)

    def change(side: BarArrays) -> BarArrays:
        factor = rng.uniform(0.8, 1.2, len(side))
        factor[keep] = 1.0
        prices = {name: getattr(side, name) * factor for name in ("open", "high", "low", "close")}
        return replace(side, **prices)

    return replace(bars, bid=change(bars.bid), ask=change(bars.ask))


@settings(max_examples=60, deadline=None)
@given(
    row=st.integers(14, len(BARS) - 21),
    seed=st.integers(0, 2**32 - 1),
    costs=st.sampled_from([None, COSTS]),
    entry=st.sampled_from(["next_open", "close"]),
)
def test_labels_read_the_bars_up_to_the_horizon_and_no_others(
    row: int, seed: int, costs: CostConfig | None, entry: str
) -> None:
    barrier = BarrierConfig(horizon=20)
    config = LabelConfig(horizons=(4, 20), triple_barrier=barrier, costs=costs, entry=entry)  # type: ignore[arg-type]
    known = compute_labels(BARS, ATR, config).columns
    # Of the decision bar itself, only an entry at its close is read.
    first = row if entry == "close" else row + 1
    for horizon, names in ((20, known), (4, [name for name in known if name.endswith("_4")])):
        other = compute_labels(changed(BARS, slice(first, row + horizon + 1), seed), ATR, config).columns
        for name in names:
            np.testing.assert_array_equal(known[name][row], other[name][row], err_msg=name)


def test_a_move_of_exactly_the_threshold_reaches_it() -> None:
    close = np.round(1.1 + np.arange(40) * 0.0001, 5)
    side = replace(BARS.bid.slice(0, 40), open=close, high=close, low=close, close=close)
    bars = replace(BARS.slice(0, 40), bid=side, ask=side, single_price=True)
    config = LabelConfig(horizons=(5,), threshold=5.0, threshold_unit="pips", entry="close")
    labels = compute_labels(bars, np.full(40, 0.001), config)
    assert (labels.columns["class_5"][:-5] == BUY).all()


def test_rows_without_all_their_bars_are_marked() -> None:
    config = LabelConfig(horizons=(3, 7), triple_barrier=BarrierConfig(horizon=5))
    labels = compute_labels(BARS, ATR, config)
    assert labels.longest == 7
    assert labels.complete.sum() == len(BARS) - 7
    assert labels.complete[: len(BARS) - 7].all()


def test_labels_across_a_weekend_are_marked() -> None:
    bars = random_walk_bar_set(2_500, seed=1, timeframe="5m")
    labels = compute_labels(bars, np.full(len(bars), 0.001), LabelConfig(horizons=(6,), triple_barrier=None))
    (weekend,) = np.flatnonzero(np.diff(bars.bid.ts_open_ns) > 3_600_000_000_000)[:1]
    marked = np.flatnonzero(labels.breaks)
    assert list(marked[:6]) == list(range(weekend - 5, weekend + 1))


def test_costs_need_a_spread() -> None:
    single = replace(BARS, ask=BARS.bid, single_price=True)
    with pytest.raises(ConfigError, match=r"Costs need a spread.*labels\.costs\.spread_pips"):
        compute_labels(single, ATR, LabelConfig(costs=CostConfig()))
    compute_labels(single, ATR, LabelConfig(costs=CostConfig(spread_pips=1.0)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"horizons": ()}, "at least one horizon"),
        ({"horizons": (0,)}, "1 <= labels.horizons"),
        ({"horizons": (4, 4)}, "must not repeat"),
        ({"threshold": 0.0}, "0 < labels.threshold"),
        ({"threshold": float("nan")}, "0 < labels.threshold"),
    ],
)
def test_bad_settings(fields: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LabelConfig(**fields)


@pytest.mark.parametrize("fields", [{"upper_atr": 0.0}, {"lower_atr": -1.0}, {"horizon": 0}])
def test_bad_barriers(fields: dict) -> None:
    with pytest.raises(ConfigError, match=r"labels\.triple_barrier"):
        BarrierConfig(**fields)
