"""Entry limits as Pine text."""

from __future__ import annotations

import pytest

from aiopt.errors import PineError
from aiopt.market.instrument import instrument
from aiopt.pine.checking.check import require_valid
from aiopt.pine.emitter import emit
from aiopt.pine.form import ScriptForm
from aiopt.pine.provenance import Provenance
from aiopt.strategy.dimensions import FloatRange, IntRange
from aiopt.strategy.spec import StrategySpec, spec_from_mapping

EURUSD = instrument("EURUSD")


def spec_of(**fields: object) -> StrategySpec:
    base = {"name": "s", "entry_long": "close > open", "entry_short": "close < open"}
    return spec_from_mapping({**base, **fields}, where="test")


def script_of(spec: StrategySpec, version: int = 6, form: ScriptForm | None = None) -> str:
    return emit(spec, provenance=Provenance(), instrument=EURUSD, version=version, form=form)


def test_each_limit_is_written_alone() -> None:
    pause = script_of(spec_of(limits={"pause_bars": 3}))
    assert "strategy.closedtrades.exit_bar_index(strategy.closedtrades - 1) < 3" in pause
    assert "tradingDay" not in pause
    count = script_of(spec_of(limits={"trades_per_day": 2}))
    assert "bool dayIsFull = dayEntries >= 2" in count
    assert "while" not in count
    loss = script_of(spec_of(limits={"daily_loss": {"percent": 2}}))
    assert "float dayLossAllowed = 2.0 / 100.0 * dayBalance" in loss
    assert "while tradesSeen < strategy.closedtrades\n" in loss
    for script in (pause, count, loss):
        assert script.count("and not heldBack\n") == 2


def test_a_script_without_limits_names_none_of_them() -> None:
    script = script_of(spec_of())
    assert not any(word in script for word in ("heldBack", "dayBegins", "closedtrades", "limits"))


@pytest.mark.parametrize("version", [5, 6])
def test_parameters_are_inputs_with_their_swept_range(version: int) -> None:
    spec = spec_of(
        params={"rest": 4, "most": 3, "loss": 2.5},
        limits={"pause_bars": "rest", "trades_per_day": "most", "daily_loss": {"money": "loss"}},
    )
    plain = script_of(spec, version)
    assert 'input.int(4, "rest", minval=1, maxval=100000' in plain
    assert 'tooltip="Pause bars.", group="Entry limits")' in plain
    assert 'input.float(2.5, "loss", minval=0.1, step=0.1, tooltip="Daily loss, money."' in plain
    assert "dayLossAllowed = lossInput" in plain
    form = ScriptForm(ranges={"rest": IntRange(low=2, high=8, step=2), "loss": FloatRange(low=1, high=5)})
    swept = script_of(spec, version, form)
    assert 'input.int(4, "rest", minval=2, maxval=8, step=2' in swept
    assert "The sweep tried 1 to 5." in swept


def test_names_of_indicators_stay_their_own() -> None:
    """An indicator may have taken the name that a limit would use."""
    spec = spec_of(
        indicators={"trading": {"kind": "previous_day"}, "day": {"kind": "sma", "args": {"length": 5}}},
        entry_long="close > trading.high and close > day",
        limits={"trades_per_day": 1},
    )
    script = script_of(spec)
    assert "bool heldBack = dayIsFull" in script
    # The day's number is computed once for both.
    assert script.count("math.floor(timestamp(") == 1


def test_an_indicator_says_that_it_has_no_limits() -> None:
    spec = spec_of(limits={"pause_bars": 3})
    script = script_of(spec, form=ScriptForm(kind="indicator"))
    assert "// The strategy's entry limits count fills, of which an indicator knows none" in script
    assert "heldBack" not in script


@pytest.mark.parametrize(
    "loop",
    [
        "while n < strategy.closedtrades\n    x := x + 1.0\n",
        "while n < m\n    m := m + 1\n    n := n + 1\n",
        "while n < m\n    n := 0\n    n := n + 1\n",
        "while n < m + 1\n    n := n + 1\n",
        "while n <= strategy.closedtrades\n    n := n + 1\n",
        "while true\n    n := n + 1\n",
        "for i = 0 to 3\n    n := n + 1\n",
    ],
)
def test_no_other_loop_is_accepted_in_a_script_of_ours(loop: str) -> None:
    script = script_of(spec_of(limits={"daily_loss": {"money": 5}}))
    with pytest.raises(PineError, match="A loop is not among the constructs"):
        require_valid(f"{script}var int n = 0\nvar int m = 5\nvar float x = 0.0\n{loop}", name="s")
