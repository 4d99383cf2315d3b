"""Closed positions: the record, its file, its result in R, and what a run's trades become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiopt.cli.run_positions import positions_of, positions_of_run
from aiopt.dataset.positions import ClosedPosition, add_positions, load_positions, positions_of_trades
from aiopt.dataset.positions.uniqueness import average_uniqueness
from aiopt.errors import ConfigError, DataError, InputError, MetricInputError
from aiopt.runs import load_run
from aiopt.testing.run_folder import RunModel, write_run_folder
from aiopt.trades import Trade
from aiopt.utc import HOUR_NS


def position(**fields: Any) -> ClosedPosition:
    known: dict[str, Any] = {
        "origin": "paper",
        "account": "demo",
        "strategy": "one",
        "part": "out",
        "instrument": "EURUSD",
        "timeframe": "5m",
        "side": "long",
        "entry_ts_ns": 10 * HOUR_NS,
        "exit_ts_ns": 11 * HOUR_NS,
        "entry_price": 1.2000,
        "exit_price": 1.2030,
        "stop_price": 1.1990,
    }
    return ClosedPosition(**{**known, **fields})


def test_r_is_the_result_after_costs_over_the_distance_of_the_stop() -> None:
    assert position().r(1.0) == (pytest.approx(3.0), "stop")
    assert position(costs=0.0005).r(1.0) == (pytest.approx(2.5), "stop")
    assert position(side="short", stop_price=1.2010).r(1.0) == (pytest.approx(-3.0), "stop")
    assert position(stop_price=None).r(0.0015) == (pytest.approx(2.0), "range")
    assert position(stop_price=1.2000).r(0.0030)[1] == "range", "a stop at the entry is no risk to measure by"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("exit_price", -1.0, "prices must be finite and positive, but got exit_price=-1.0"),
        ("stop_price", float("nan"), "got stop_price=nan"),
        ("costs", float("inf"), "costs must be finite"),
        ("exit_ts_ns", 9 * HOUR_NS, "`entry_ts_ns <= exit_ts_ns` must hold"),
        ("timeframe", "5 apples", "5 apples"),
    ],
)
def test_what_is_no_position_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        position(**{field: value})


def test_a_file_of_positions_grows_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "live" / "positions.jsonl"
    first, second = position(), position(origin="live", side="short", stop_price=None)
    add_positions(path, [first])
    add_positions(path, [second, first])
    assert load_positions(path) == [first, second, first]
    with path.open("ab") as stream:
        stream.write(b'{"origin": "paper"}\n')
    with pytest.raises(DataError, match=r"positions.jsonl, row 3: The line is no closed position: .*account"):
        load_positions(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_positions(tmp_path / "nowhere.jsonl")


def trade(move: float, pnl: float, commission: float = 0.0, swap: float = 0.0) -> Trade:
    return Trade(
        entry_ts_ns=1,
        exit_ts_ns=2,
        entry_bar=0,
        exit_bar=1,
        side="long",
        entry_price=150.0,
        exit_price=150.0 + move,
        size=1_000.0,
        exit_reason="exit_signal",
        pnl=pnl,
        commission=commission,
        swap=swap,
    )


def test_costs_in_account_currency_become_costs_in_quote_currency() -> None:
    """USD/JPY in a dollar account at 150: 300 yen of profit are two dollars."""
    trades = [
        trade(0.3, 300 / 150 - 1.0 - 0.5, commission=1.0, swap=-0.5),
        trade(0.0, -1.0, commission=1.0),  # did not move: its rate is that of the other
    ]
    one, other = positions_of_trades(
        trades, account="run", strategy="s", part="in", instrument="USDJPY", timeframe="1h"
    )
    assert one.costs * 1_000 == pytest.approx(1.5 * 150)
    assert other.costs * 1_000 == pytest.approx(1.0 * 150)
    assert one.move == pytest.approx(0.3 - 0.225)
    assert (one.origin, one.part) == ("backtest", "in")


def test_only_the_holdout_of_a_run_is_out_of_sample(tmp_path: Path) -> None:
    folder = write_run_folder(tmp_path / "run", RunModel(timeframes=("5m",), trials=10, days=21))
    run = load_run(folder)
    plan, _ = run.trial_rows()
    assert plan is not None
    found = positions_of_run(run, "EURUSD")
    assert len(found) == sum(len(entry.trades) for entry in run.entries) > 100
    for one in found:
        assert (one.part == "out") == (one.entry_ts_ns >= plan.holdout_start_ns)
    assert {one.part for one in found} == {"in", "out"}
    add_positions(tmp_path / "paper.jsonl", [position()])
    assert len(positions_of([folder, tmp_path / "paper.jsonl"], "EURUSD")) == len(found) + 1
    with pytest.raises(InputError, match="named twice"):
        positions_of([folder, folder], "EURUSD")


def test_uniqueness_is_the_mean_share_of_the_time_held() -> None:
    starts, stops = np.array([0, 0, 4, 20]), np.array([4, 8, 8, 30])
    assert average_uniqueness(starts, stops).tolist() == [0.5, 0.5, 0.5, 1.0]
    assert average_uniqueness(np.array([0, 2]), np.array([4, 8])).tolist() == pytest.approx([0.75, 5 / 6])


def test_uniqueness_agrees_with_counting_every_moment() -> None:
    rng = np.random.default_rng(3)
    starts = rng.integers(0, 200, 60)
    stops = starts + rng.integers(1, 40, 60)
    moments = np.array([((starts <= t) & (t < stops)).sum() for t in range(260)])
    for start, stop, weight in zip(starts, stops, average_uniqueness(starts, stops), strict=True):
        assert weight == pytest.approx(np.mean(1 / moments[start:stop]))


def test_intervals_that_are_none_are_refused() -> None:
    with pytest.raises(MetricInputError, match="`start < stop` must hold"):
        average_uniqueness(np.array([1]), np.array([1]))
    with pytest.raises(MetricInputError, match="must pair up"):
        average_uniqueness(np.array([1, 2]), np.array([3]))
