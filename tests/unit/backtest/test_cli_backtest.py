"""`aiopt backtest` from the outside: documents, exit codes, remedies."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from aiopt.bars.files import write_bars
from aiopt.bars.schema import BAR_SCHEMA, BarMeta
from aiopt.testing.bars import random_walk_bars, write_bar_file
from cluster.cli.main import run

TRADE_KEYS = {
    "entry_bar",
    "exit_bar",
    "entry_ts_ns",
    "exit_ts_ns",
    "side",
    "entry_price",
    "exit_price",
    "size",
    "exit_reason",
    "pnl",
    "commission",
    "swap",
    "nights",
    "stop_price",
    "target_price",
}


def save(path, bars):
    names = ("ts_open_ns", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(bars, name) for name in names})
    frame = frame.with_columns(ticks=pl.lit(1, dtype=pl.Int64)).select(list(BAR_SCHEMA))
    meta = BarMeta(instrument="EURUSD", timeframe="1m", price=bars.price, data_hash="made", synthetic=True)
    write_bars(path, frame, meta)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of bid and ask bars."""
    path = tmp_path_factory.mktemp("bars")
    bid = replace(random_walk_bars(2_000, seed=4), price="bid")
    prices = {name: np.round(getattr(bid, name) + 8e-5, 5) for name in ("open", "high", "low", "close")}
    save(path / "bid.parquet", bid)
    save(path / "ask.parquet", replace(bid, price="ask", **prices))
    return path


def document(capsys, *arguments):
    code = run(["backtest", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_json_holds_metrics_and_trades(folder, capsys):
    code, found = document(capsys, "ema_cross_atr", "--bars", folder)
    assert code == 0
    assert found["bars"] == found["bars"] | {"count": 2_000, "timeframe": "1m", "synthetic": True}
    assert found["metrics"]["trades"] == len(found["trades"]) > 5
    for trade in found["trades"]:
        assert set(trade) == TRADE_KEYS
        assert 0 <= trade["entry_bar"] <= trade["exit_bar"] < 2_000
    profit = sum(trade["pnl"] for trade in found["trades"])
    assert found["metrics"]["net_profit"] == pytest.approx(profit)


def test_parity_takes_the_bid_side_and_costs_nothing(folder, capsys):
    _, both = document(capsys, "ema_cross_atr", "--bars", folder, "--mode", "parity")
    _, one = document(capsys, "ema_cross_atr", "--bars", folder / "bid.parquet", "--mode", "parity")
    assert both["trades"] == one["trades"] != []
    assert {trade["commission"] for trade in one["trades"]} == {0.0}


def test_a_spread_in_pips_stands_for_the_ask(folder, capsys):
    _, both = document(capsys, "ema_cross_atr", "--bars", folder)
    _, made = document(capsys, "ema_cross_atr", "--bars", folder / "bid.parquet", "--spread-pips", "0.8")
    assert made["trades"] == both["trades"]


def test_parameters_spec_files_and_the_written_document(folder, capsys, tmp_path):
    assert run(["specs", "show", "rsi_reversion"]) == 0
    spec = tmp_path / "mine.yaml"
    spec.write_text(capsys.readouterr().out)
    out = tmp_path / "result.json"
    code, found = document(capsys, spec, "--bars", folder, "--params", "rsi_length=7", "--out", out)
    assert code == 0
    assert found["spec"]["params"]["rsi_length"] == 7
    written = json.loads(out.read_text())
    equity, times = written.pop("equity"), written.pop("equity_ts_ns")
    assert len(equity) == len(times) == 2_001
    assert times[0] == found["bars"]["first_ts_ns"]
    assert times[-1] == found["bars"]["last_ts_ns"] + 60 * 10**9
    profits = written.pop("profits")
    assert profits["ts_ns"][1] - profits["ts_ns"][0] == profits["period_ns"] == 3_600 * 10**9
    assert len(profits["ts_ns"]) == len(profits["pnl"])
    assert sum(profits["pnl"]) == pytest.approx(equity[-1] - equity[0])
    assert written == found


def test_people_get_figures_and_the_last_trades(folder, capsys):
    assert run(["backtest", "ema_cross_atr", "--bars", str(folder), "--signals", "streaming"]) == 0
    text = capsys.readouterr().out
    assert "synthetic data" in text
    assert "profit factor" in text
    assert "Last 10 of" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ema_cross_atr", "--bars", "bid.parquet"], "--spread-pips"),
        (["ema_cross", "--bars", "."], "Did you mean 'ema_cross_atr'"),
        (["nothing.yaml", "--bars", "."], "nothing.yaml"),
        (["ema_cross_atr", "--bars", "absent"], "aiopt bars build"),
        (["ema_cross_atr", "--bars", ".", "--params", "fast_length"], "NAME=NUMBER"),
        (["ema_cross_atr", "--bars", ".", "--params", "fast_lenght=3"], "Did you mean 'fast_length'"),
        (["ema_cross_atr", "--bars", ".", "--leverage", "0"], "leverage"),
        (["ema_cross_atr", "--bars", ".", "--mode", "parity", "--spread-pips", "1"], "Leave it out"),
        (["ema_cross_atr", "--bars", ".", "--spread-pips", "1"], "Leave out --spread-pips"),
        (["ema_cross_atr", "--bars", "bid.parquet", "--spread-pips", "-1"], "spread_pips >= 0"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(folder, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    code, found = document(capsys, *arguments)
    assert code == 2
    assert message in found["error"]["message"]


def test_a_position_that_no_margin_allows_is_bad_input(folder, capsys):
    code, found = document(capsys, "ema_cross_atr", "--bars", folder, "--balance", "100")
    assert code == 2
    assert "The position is too large" in found["error"]["message"]
    assert "--leverage or --balance" in found["error"]["message"]


def test_refused_entries_are_told_in_words_and_in_the_document(folder, capsys):
    # Enough for the first entries; the account shrinks below the margin of the later ones.
    arguments = ["ema_cross_atr", "--bars", str(folder), "--balance", "403"]
    code, found = document(capsys, *arguments)
    assert code == 0
    assert found["metrics"]["trades"] > 0
    assert found["refused_bars"]
    assert run(["backtest", *arguments]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"{len(found['refused_bars'])} entries refused" in told
    assert "Trade smaller, or raise --leverage or --balance" in told


def test_a_lost_account_is_told(folder, capsys, tmp_path):
    hold = {
        "name": "hold",
        "indicators": {"dip": {"kind": "rsi", "args": {"length": 14}}},
        "entry_short": "dip > 55",
        "exit_short": "dip < 2",
        "size": {"kind": "fixed", "units": 400_000},
    }
    spec = tmp_path / "hold.json"
    spec.write_text(json.dumps(hold))
    arguments = [str(spec), "--bars", str(folder), "--balance", "500", "--leverage", "1000"]
    code, found = document(capsys, *arguments)
    assert code == 0
    (bar,) = found["ruined_bars"]
    assert found["trades"][-1]["exit_reason"] == "ruin"
    assert found["trades"][-1]["exit_bar"] == bar + 1
    assert found["metrics"]["max_drawdown"] is None
    assert found["metrics"]["final_equity"] <= 0
    assert run(["backtest", *arguments]) == 0
    lost = np.datetime64(found["bars"]["first_ts_ns"], "ns") + np.timedelta64(bar, "m")
    told = f"The account was lost at the bar of {str(lost.astype('datetime64[m]')).replace('T', ' ')} UTC"
    assert told in " ".join(capsys.readouterr().out.split())


def test_the_rule_that_filled_stops_is_named_and_ticks_change_it(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assumed = document(capsys, "ema_cross_atr", "--bars", folder)[1]
    assert assumed["stop_fills"]["basis"] == "assumed"
    assert run(["ticks", "sample", "--out", "ticks", "--start", "2024-03-04", "--days", "1"]) == 0
    capsys.readouterr()
    measured = document(capsys, "ema_cross_atr", "--bars", folder, "--ticks", "ticks")[1]
    assert measured["stop_fills"]["basis"] == "measured"
    assert measured["stop_fills"]["text"].endswith("of generated ticks")
    assert measured["metrics"]["net_profit"] > assumed["metrics"]["net_profit"]
    both = ("--price", "bid,ask")
    assert run(["bars", "build", "--ticks", "ticks", "--out", "bars", "--timeframes", "5m", *both]) == 0
    capsys.readouterr()
    assert run(["backtest", "ema_cross_atr", "--bars", "bars/EURUSD/5m"]) == 0
    assert "Stops: ticks: the first quote at or beyond the stop." in capsys.readouterr().out
    assert run(["backtest", "ema_cross_atr", "--bars", "bars/EURUSD/5m", "--ticks", "ticks"]) == 2
    assert "Leave --ticks out" in capsys.readouterr().err
    assert run(["ticks", "stop-slippage", "ticks", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["mean_ticks"] == pytest.approx(measured["stop_fills"]["slippage_ticks"])


def test_swap_is_off_with_its_price_said_and_on_by_a_file(tmp_path, capsys):
    path = tmp_path / "EURUSD"
    write_bar_file(random_walk_bars(600, seed=4, timeframe="1h"), path / "bid.parquet")
    arguments = ["rsi_reversion", "--bars", path / "bid.parquet", "--spread-pips", "0.8"]
    _, off = document(capsys, *arguments)
    nights = sum(trade["nights"] for trade in off["trades"])
    assert nights > 0
    assert f"{nights} nights; swap is not charged: at 0.7 pip a night" in off["rollover"]
    swap = tmp_path / "swap.yaml"
    swap.write_text("points: {EURUSD: {long: -0.7, short: -0.7}}\n")
    code, on = document(capsys, *arguments, "--swap", swap)
    assert code == 0
    paid = sum(trade["nights"] * trade["size"] for trade in off["trades"]) * 0.7e-4
    assert on["metrics"]["swap"] == pytest.approx(-paid, abs=1e-9)
    assert on["metrics"]["net_profit"] == pytest.approx(off["metrics"]["net_profit"] - paid, abs=1e-9)
    assert f"swap booked on them: -{paid:,.2f} USD" in on["rollover"]
    swap.write_text("points: {USDJPY: {long: -0.7, short: -0.7}}\n")
    code, failed = document(capsys, *arguments, "--swap", swap)
    assert (code, "Add EURUSD" in failed["error"]["message"]) == (2, True)


def test_an_account_in_another_currency_names_the_bars_it_needs(folder, capsys):
    code, failed = document(capsys, "rsi_reversion", "--bars", folder, "--account-currency", "CHF")
    assert code == 2
    assert "Give bars of CHFUSD or USDCHF (--conversion)" in failed["error"]["message"]
    _, euros = document(capsys, "ema_cross_atr", "--bars", folder, "--account-currency", "EUR")
    _, dollars = document(capsys, "ema_cross_atr", "--bars", folder)
    for left, right in zip(euros["trades"], dollars["trades"], strict=True):
        assert left["pnl"] == pytest.approx(right["pnl"] / right["exit_price"], rel=2e-3, abs=2e-3)


def test_small_fills_pay_their_commission(folder, tmp_path, capsys):
    spec = tmp_path / "u100.yaml"
    spec.write_text(
        "name: u100\nentry_long: close > close[1]\nexit_long: close < close[1]\n"
        "size: {kind: fixed, units: 100}\n"
    )
    _, found = document(capsys, spec, "--bars", folder)
    notional = 100 * sum(trade["entry_price"] + trade["exit_price"] for trade in found["trades"])
    assert len(found["trades"]) > 300
    assert found["metrics"]["commission"] == pytest.approx(notional * 35e-6, abs=1e-9)
    assert found["metrics"]["commission"] > 2.5
