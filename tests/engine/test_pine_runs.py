"""The Pine engine as a subprocess: several scripts in one process, each within its limits."""

from __future__ import annotations

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from aiopt.testing.bars import random_walk_bars
from aiopt.verification.pine_runs import PineJob, PineRun, PineRunError, PineRunner

pytestmark = pytest.mark.slow

CROSS = """//@version=6
strategy("cross", default_qty_type=strategy.fixed, default_qty_value=1000)
fast = ta.sma(close, 3)
slow = ta.sma(close, 9)
if ta.crossover(fast, slow)
    strategy.entry("Long", strategy.long)
if ta.crossunder(fast, slow)
    strategy.close("Long")
plot(fast, "fast")
"""
ENDLESS = """//@version=6
indicator("endless")
f(x) =>
    s = 0.0
    for i = 0 to 90000
        for j = 0 to 90000
            s += x
    s
plot(f(close), "value")
"""
GREEDY = """//@version=6
indicator("greedy")
var kept = array.new<string>()
for i = 0 to 90000
    array.push(kept, str.tostring(i) + str.tostring(close + i) + "some more text to keep")
plot(array.size(kept), "value")
"""
LOOPING = '//@version=6\nindicator("looping")\nint i = 0\nwhile i >= 0\n    i := i > 5 ? 0 : i + 1\nplot(i)\n'
BROKEN = '//@version=6\nindicator("broken"\nplot(close)\n'


@pytest.mark.parametrize("symbol", ["EURUSD", "USDJPY", "XAUUSD"])
def test_a_script_sees_the_instrument(pine, symbol: str) -> None:
    bars = random_walk_bars(50, seed=1)
    if symbol != "EURUSD":
        prices = {name: np.round(getattr(bars, name) * 130, 3) for name in ("open", "high", "low", "close")}
        bars = dataclasses.replace(bars, instrument=symbol, **prices)
    script = '//@version=6\nindicator("x")\nplot(syminfo.mintick, "tick")\nplot(close, "close")\n'
    script += 'plot(syminfo.currency == "JPY" ? 1 : 0, "yen")\n'
    run = pine.run(script, bars, plots=["tick", "close", "yen"])
    assert run.plots["tick"][0] == (0.00001 if symbol == "EURUSD" else 0.001)
    assert run.plots["yen"][0] == (symbol == "USDJPY")
    assert abs(run.plots["close"] - bars.close).max() < 1e-9


def test_one_bad_script_stops_no_other(pine) -> None:
    bars = random_walk_bars(400, seed=5)
    runner = PineRunner(pine.engine, time_limit_s=20)
    good = PineJob(CROSS, bars, plots=("fast", "absent"))
    done: list[float] = []
    answers = runner.run_many([good, PineJob(BROKEN, bars), PineJob(ENDLESS, bars), good], done.append)
    first, broken, endless, last = answers
    assert isinstance(first, PineRun)
    assert isinstance(last, PineRun)
    assert (first.closed, first.open) == (last.closed, last.open)
    assert len(first.closed) > 10
    assert list(first.plots) == ["fast"]
    assert isinstance(broken, PineRunError)
    assert "refused the script" in str(broken)
    assert "did not end within 20 s in PineTS" in str(endless)
    assert done == [1, 2, 3, 4]
    with pytest.raises(PineRunError, match="refused the script"):
        runner.run(PineJob(BROKEN, bars))


def test_a_loop_without_end_is_told(pine) -> None:
    with pytest.raises(PineRunError, match="stopped a loop of the script, which goes on without end"):
        PineRunner(pine.engine).run(PineJob(LOOPING, random_walk_bars(10, seed=5)))


def test_hours_of_a_zone_are_those_of_the_clock(pine) -> None:
    """The runner keeps the engine's formatters of times, one per zone, and what each said last."""
    bars = random_walk_bars(3000, seed=5, timeframe="1h")
    zones = ("America/New_York", "Europe/London", "Asia/Tokyo", "UTC+5:30")
    lines = [f'plot(hour(time, "{zone}") * 60 + minute(time, "{zone}"), "{zone}")' for zone in zones]
    days = [f'plot(dayofmonth(time, "{zone}"), "day {zone}")' for zone in zones]
    script = "\n".join(["//@version=6", 'indicator("x")', *lines, *days, ""])
    run = pine.run(script, bars, plots=[*zones, *(f"day {zone}" for zone in zones)])
    for zone in zones:
        clock = dt.timezone(dt.timedelta(hours=5.5)) if zone.startswith("UTC") else ZoneInfo(zone)
        local = [dt.datetime.fromtimestamp(at / 1e9, clock) for at in bars.ts_open_ns.tolist()]
        assert run.plots[zone].tolist() == [at.hour * 60 + at.minute for at in local]
        assert run.plots[f"day {zone}"].tolist() == [at.day for at in local]


def test_a_greedy_script_is_told_the_limit(pine) -> None:
    runner = PineRunner(pine.engine, time_limit_s=120, memory_mb=64)
    with pytest.raises(PineRunError, match="took more than 64 MB in PineTS"):
        runner.run(PineJob(GREEDY, random_walk_bars(300, seed=5)))
