"""Values that are mathematically equal: float noise decides them, unless both sides compute the same floats.

Bars of a few ticks, so that a stochastic of exactly 25 or a CCI equal to the one before comes often.
"""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from aiopt.bars.schema import BarArrays
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars
from aiopt.verification.pine_runs import PineJob, PineRun

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
N_BARS = 5_000

STOCHASTIC = {"kind": "stochastic", "args": {"k_length": 7, "k_smooth": 1, "d_smooth": 3}}
SMOOTHED = {"kind": "stochastic", "args": {"k_length": 5, "k_smooth": 3, "d_smooth": 3}}
WILLIAMS = {"kind": "williams_r", "args": {"length": 7}}
DONCHIAN = {"kind": "donchian", "args": {"length": 9}}
CCI = {"kind": "cci", "args": {"length": 5}}
CMO = {"kind": "cmo", "args": {"length": 5}}
STOCH_RSI = {"kind": "stoch_rsi", "args": {"rsi_length": 5, "k_length": 4, "k_smooth": 2, "d_smooth": 3}}
ROC = {"kind": "roc", "args": {"length": 3}}
MFI = {"kind": "mfi", "args": {"length": 5}}

TIES: dict[str, tuple[dict, str, str]] = {
    "stochastic_level": (STOCHASTIC, "x.k >= 25", "x.k <= 75"),
    "stochastic_lines": (STOCHASTIC, "x.k >= x.d", "x.d <= 50"),
    "stochastic_smoothed": (SMOOTHED, "x.k >= 50", "x.k <= x.d"),
    "stochastic_turning": (SMOOTHED, "x.k >= x.k[1]", "x.d > x.d[1]"),
    "williams_level": (WILLIAMS, "x >= -25", "x <= -75"),
    "williams_turning": (WILLIAMS, "x >= x[1]", "x < x[1]"),
    "donchian_touch": (DONCHIAN, "close >= x.upper", "close <= x.lower"),
    "donchian_middle": (DONCHIAN, "close >= x.middle", "close < x.middle"),
    "cci_turning": (CCI, "x >= x[1]", "x < x[1]"),
    "cci_level": (CCI, "x >= 100", "x <= -66 - 2 / 3"),
    "cmo_level": (CMO, "x >= 20", "x <= -50"),
    "cmo_turning": (CMO, "x >= x[1]", "x < x[1]"),
    "stoch_rsi_level": (STOCH_RSI, "x.k >= 50", "x.k <= x.d"),
    "roc_turning": (ROC, "x >= x[1]", "x < x[1]"),
    "mfi_level": (MFI, "x >= 50", "x <= 40"),
    "mfi_turning": (MFI, "x >= x[1]", "x < x[1]"),
}


def spec_of(name: str) -> StrategySpec:
    indicator, long, short = TIES[name]
    return StrategySpec.from_json(
        msgspec.json.encode(
            {"name": name, "indicators": {"x": indicator}, "entry_long": long, "entry_short": short}
        )
    )


def few_ticks(bars: BarArrays) -> BarArrays:
    """Return bars with moves a tenth the size, on whole ticks."""

    def moved(prices: np.ndarray) -> np.ndarray:
        return np.round(1.1 + (prices - 1.1) / 10, 5)

    columns = {name: moved(getattr(bars, name)) for name in ("open", "high", "low", "close")}
    return dataclasses.replace(bars, **columns)


@pytest.fixture(scope="module")
def bars() -> BarArrays:
    return few_ticks(random_walk_bars(N_BARS, seed=5))


@pytest.fixture(scope="module")
def runs(pine, bars: BarArrays) -> dict[str, PineRun]:
    plots = ("Long signal", "Short signal")
    scripts = [emit(spec_of(name), provenance=Provenance(), instrument=EURUSD) for name in TIES]
    found = pine.run_many([PineJob(script, bars, plots=plots) for script in scripts])
    return dict(zip(TIES, found, strict=True))


@pytest.mark.parametrize("name", TIES)
def test_a_tie_is_a_tie_in_the_script(runs: dict[str, PineRun], bars: BarArrays, name: str) -> None:
    signals = compute_signals(
        spec_of(name),
        bars,
        tick_size=EURUSD.tick_size,
        pip_size=EURUSD.pip_size,
        initial_balance=100_000.0,
    )
    fired = {side: runs[name].plots[f"{side} signal"] == 1 for side in ("Long", "Short")}
    both = fired["Long"] & fired["Short"]
    for side in ("Long", "Short"):
        expected = getattr(signals, f"entry_{side.lower()}")
        unequal = np.flatnonzero((fired[side] & ~both) != expected)
        assert unequal.size == 0, (side, unequal.size, unequal[:5])
        assert expected.sum() > 50
