"""Sessions with an analyst: gated strategies trade as a backtest over the readings the session logged."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from aiopt.analyst.scans import ScanConfig, load_readings, run_scan, with_readings
from aiopt.analyst.settings import AnalystSettings
from aiopt.backtest.session import BacktestSession
from aiopt.bus.codec import decode_event
from aiopt.bus.events import Reading
from aiopt.errors import DataError
from aiopt.live.feeds.warm_up import bars_of_store
from aiopt.live.reading.analyst_config import LiveAnalyst
from aiopt.live.reading.readings_file import logged, readings_only
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.proof import prove
from aiopt.live.session.run_folder import backtest_like, prove_session, trades_of, write_folder
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import ReadingGate, ReadingSize, SideReading
from aiopt.ticks.importing import open_ticks
from aiopt.timeframe import parse_timeframe
from tests.engine.live.live_sessions import config_of, kinds, stretch, traded
from tests.engine.live.steered import Hand, steered
from tests.unit.analyst.endpoints import Answer, Endpoint, completion, serving

WINDOW = 40
RULES = LiveAnalyst(settings=AnalystSettings(bars=WINDOW))
VALID = {
    "regime": {"trend": "up", "volatility": "normal"},
    "patterns": [],
    "bias": "long",
    "levels": [],
    "confidence": 0.7,
    "rationale": "Higher lows.",
}


def gated() -> dict[str, StrategySpec]:
    """Return a strategy as it is, held back by readings, and sized by them."""
    plain = FAMILIES["bollinger_breakout"].spec
    sides = {"long": SideReading(bias=("long", "neutral")), "short": SideReading(bias=("short", "neutral"))}
    held = ReadingGate(without="refuse", max_age_bars=6, **sides)
    sized = ReadingGate(
        without="allow", max_age_bars=4, size=ReadingSize(low=0.3, high=0.9, least=0.5, most=2.0)
    )
    named = {"plain": None, "held": held, "sized": sized}
    return {
        name: plain if gate is None else msgspec.structs.replace(plain, name=name, readings=gate)
        for name, gate in named.items()
    }


def finish(config: LiveConfig, out: Path) -> list[dict[str, Any]]:
    """Run a session to the end of its feed, leave its folder, and return its events."""
    with SessionFile(out) as file:
        end = LiveSession(config, file).run()
        assert end.ended
        proofs = prove_session(file, config)
        assert all(one.holds and one.live == one.backtest for one in proofs), proofs
        write_folder(file, config, end, proofs)
        return [json.loads(value) for _, _, value in file.events()]


def without_clock(out: Path) -> list[Any]:
    """Return the readings of a folder but for what the machine's clock said."""
    return [msgspec.structs.replace(one, asked_ns=0, answered_ns=0) for one in load_readings(out)]


def trades(out: Path) -> list[Any]:
    with SessionFile(out) as file:
        return trades_of(file)


def assert_as_backtested(config: LiveConfig, store: Path, out: Path) -> Counter[str]:
    """Backtest each strategy over the file of readings as the command does; return trades by strategy."""
    counts: Counter[str] = Counter()
    for one in config.strategies:
        bars = bars_of_store(store, one.frame)
        spec = msgspec.json.decode(Path(one.spec).read_bytes(), type=StrategySpec)
        given = with_readings(bars, out) if one.id != "plain" else bars
        with BacktestSession(given, backtest_like(config, config.balance_of(one))) as session:
            found = session.run(spec).trades
            mine = [trade for trade in trades(out) if trade.strategy == one.id]
            proof = prove(one.id, mine, found, session.bars)
        assert (proof.live, proof.same, proof.why) == (proof.backtest, proof.backtest, {}), proof
        counts[one.id] = proof.same
    return counts


@pytest.fixture(scope="module")
def by_rules(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LiveConfig, Path, list[Any]]:
    """A session that the rules read for: configuration, folder, events."""
    folder = tmp_path_factory.mktemp("by_rules")
    config = config_of(store, traded(folder / "specs", gated()), analyst=RULES)
    return config, folder / "run", finish(config, folder / "run")


def test_gated_strategies_trade_as_backtested_over_the_readings(
    by_rules: tuple[LiveConfig, Path, list[Any]], store: Path
) -> None:
    config, out, events = by_rules
    counts = assert_as_backtested(config, store, out)
    assert counts["plain"] > counts["held"] > 0
    assert counts["sized"] == counts["plain"]
    sizes = {name: {one.size for one in trades(out) if one.strategy == name} for name in counts}
    assert sizes["sized"] != sizes["plain"]
    told = [event for event in events if event["type"] == "reading"]
    rows = load_readings(out)
    assert len(told) == len(rows) > 400
    meta = {"id": "x", "session": "s", "seq": 1, "ts_ns": 1, "wall_ns": 1}
    for event, row in zip(told, rows, strict=True):
        fields = {name: value for name, value in event.items() if name != "type"}
        made = msgspec.convert({"kind": "reading", **meta, **fields}, Reading)
        assert (made.by, made.trend, made.confidence) == ("rules", row.trend, row.calibrated)
        assert made.bar_ns + 300_000_000_000 == row.ts_end_ns


def test_the_readings_are_those_of_a_scan_of_the_same_bars(
    by_rules: tuple[LiveConfig, Path, list[Any]], store: Path, tmp_path: Path
) -> None:
    _, out, _ = by_rules
    mine = without_clock(out)
    bars = bars_of_store(store, parse_timeframe("5m")).slice(0, len(mine) + WINDOW - 1)
    run_scan(bars, ScanConfig(windows=len(mine), every=1, analyst=RULES.settings), tmp_path / "scan")
    theirs = without_clock(tmp_path / "scan")
    assert [msgspec.structs.replace(one, seconds=0.0) for one in theirs] == [
        msgspec.structs.replace(one, seconds=0.0) for one in mine
    ]
    features = pq.read_table(out / "readings.parquet")["features"].to_pylist()
    assert {"EMA 20", "RSI 14", "held.atr"} <= dict(features[-1]).keys()


def stop_behind(session: LiveSession, quotes: int, done: float) -> None:
    if done > quotes:
        session.stop()


def test_a_replay_by_rules_can_be_repeated_and_interrupted(
    by_rules: tuple[LiveConfig, Path, list[Any]], tmp_path: Path
) -> None:
    config, out, events = by_rules
    left = tmp_path / "left"
    for quotes in (3_000, 9_000):
        with SessionFile(left) as file:
            session = LiveSession(config, file)
            assert not session.run(partial(stop_behind, session, quotes)).ended
    later = finish(config, left)
    assert without_clock(left) == without_clock(out)
    assert trades(left) == trades(out)
    assert kinds(later) - kinds(events) == {"began": 2, "left": 2}


@pytest.mark.slow
def test_kills_change_no_reading_and_no_trade(
    by_rules: tuple[LiveConfig, Path, list[Any]], tmp_path: Path
) -> None:
    config, out, events = by_rules
    killed = tmp_path / "killed"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.live.live_sessions"])
    for seconds in (0.1, 0.2, 0.4):
        child = context.Process(target=stretch, args=(config, killed, seconds))
        child.start()
        child.join(600)
        assert child.exitcode == -9
    later = finish(config, killed)
    assert kinds(later)["reading"] == kinds(events)["reading"]
    assert without_clock(killed) == without_clock(out)
    assert trades(killed) == trades(out)


def test_patterns_alone_and_late_answers(store: Path, tmp_path: Path) -> None:
    strategies = traded(tmp_path / "specs", gated())
    on_patterns = replace_analyst(asks_at="pattern")
    config = config_of(store, strategies, analyst=on_patterns)
    events = finish(config, tmp_path / "patterns")
    rows = load_readings(tmp_path / "patterns")
    asked = [one for one in rows if not one.failure]
    assert {one.failure for one in rows} == {"", "unasked"}
    assert 0 < len(asked) == kinds(events)["reading"] < len(rows)
    assert all(any(seen.last_bar >= WINDOW - 3 for seen in one.patterns) for one in asked[:50])
    assert_as_backtested(config, store, tmp_path / "patterns")

    late = replace_analyst(every=3, latency_s=700.0)
    config = config_of(store, strategies, analyst=late)
    finish(config, tmp_path / "late")
    rows = load_readings(tmp_path / "late")
    assert all(one.available_ns == one.ts_end_ns + 700_000_000_000 for one in rows[:100])
    assert_as_backtested(config, store, tmp_path / "late")


def replace_analyst(**changes: Any) -> LiveAnalyst:
    return msgspec.structs.replace(RULES, **changes)


def by_model(endpoint: Endpoint, **changes: Any) -> LiveAnalyst:
    settings = msgspec.structs.replace(RULES.settings, endpoint=endpoint.url, picture=False, retries=0)
    return replace_analyst(reader="model", settings=settings, every=12, **changes)


def test_on_a_real_day_gated_strategies_trade_as_backtested(shared_data: Path, tmp_path: Path) -> None:
    store = open_ticks(shared_data / "dukascopy" / "EURUSD", tmp_path / "cache")
    feed = {"start": "2019-02-04T12:00", "stop": "2019-02-04T16:00"}
    config = config_of(store, traded(tmp_path / "specs", gated(), "1m"), analyst=RULES, feed=feed)
    config = msgspec.structs.replace(config, analyst=replace_analyst(every=5))
    finish(config, tmp_path / "run")
    counts = Counter(one.strategy for one in trades(tmp_path / "run"))
    assert counts["plain"] == counts["sized"] > counts["held"] > 0
    assert len(load_readings(tmp_path / "run")) > 35


def test_a_model_that_fails_now_and_then_is_stood_in_for(store: Path, tmp_path: Path) -> None:
    def answer(number: int, payload: dict[str, Any]) -> Answer:
        if number % 5 == 3:
            return Answer(status=500, body="out of memory")
        if number % 5 == 4:
            return Answer(drop=True)
        text = "no reading at all" if number % 5 > 0 else json.dumps(VALID)
        return Answer(body=completion(text), headers={"X-Model-Revision": "r7"})

    with serving(answer) as endpoint:
        config = config_of(
            store, traded(tmp_path / "specs", gated()), analyst=by_model(endpoint, latency_s=20.0)
        )
        events = finish(config, tmp_path / "run")
    told = [event for event in events if event["type"] == "reading"]
    by = Counter(event["by"] for event in told)
    assert by["model"] > 5
    assert by["rules"] > 5
    assert all(bool(event["fallback"]) == (event["by"] == "rules") for event in told)
    with pytest.raises(
        DataError, match="Readings must be of one revision, but are by some-model revision r7"
    ):
        with_readings(bars_of_store(store, parse_timeframe("5m")), tmp_path / "run")
    rows = load_readings(tmp_path / "run")
    assert {(one.reader, one.model_revision, bool(one.error)) for one in rows} == {
        ("model", "r7", False),
        ("rules", "rules/2", True),
    }


def test_in_real_time_trading_waits_for_nobody(tmp_path: Path) -> None:
    """Bars of a second, as fast as they came: the model is slower than the session."""
    from aiopt.ticks.sample import generate_ticks

    store = tmp_path / "ticks"
    generate_ticks(store, seed=3, start="2024-03-05", days=1, ticks_per_day=400_000)
    feed = {"start": "2024-03-05T13:00:00", "stop": "2024-03-05T13:00:06", "speed": 1.0}
    slow = Answer(body=completion(json.dumps(VALID)), delay_s=1.5)
    settings = AnalystSettings(bars=20, picture=False, retries=0)
    with serving(lambda number, payload: slow) as endpoint:
        analyst = LiveAnalyst(
            reader="model",
            settings=msgspec.structs.replace(settings, endpoint=endpoint.url),
            limit_s=600.0,
        )
        config = config_of(
            store,
            traded(tmp_path / "specs", gated(), "1s"),
            analyst=analyst,
            feed=feed,
            warm_up_days=0.01,
        )
        events = finish(config, tmp_path / "run")
    rows = load_readings(tmp_path / "run")
    assert len(rows) >= 3
    assert all(one.available_ns - one.ts_end_ns >= 1_500_000_000 for one in rows)
    closes = [one.ts_end_ns for one in rows]
    assert rows[0].available_ns > closes[1]  # the second was asked about before the first was answered
    assert kinds(events)["reading"] == len(rows)


def test_a_person_switches_the_model_and_swaps_a_gated_spec_in(store: Path, tmp_path: Path) -> None:
    def answer(number: int, payload: dict[str, Any]) -> Answer:
        if payload.get("listing"):
            return Answer(body={"data": [{"id": "minicpm"}, {"id": "large"}]})
        return Answer(body={**completion(json.dumps(VALID)), "model": payload["model"]})

    seen: dict[str, Any] = {}
    specs = gated()

    def script(hand: Hand) -> None:
        hand.bars(WINDOW + 3)
        seen["huge"] = hand.send("switch_model", model="huge")
        seen["large"] = hand.send("switch_model", model="large")
        hand.bars(3)
        seen["rules"] = hand.send("switch_model", model=None)
        hand.bars(3)
        hand.send("pause_entries", strategy="plain")
        hand.send("flatten", strategy="plain")
        hand.wait(lambda status: not [one for one in status["positions"] if one["strategy"] == "plain"])
        seen["swap"] = hand.send("swap_spec", strategy="plain", spec=msgspec.to_builtins(specs["held"]))
        hand.bars(3)

    with serving(answer) as endpoint:
        analyst = msgspec.structs.replace(by_model(endpoint), every=1)
        feed = {"start": "2024-03-05T06:00", "speed": 1_800.0}
        strategies = traded(tmp_path / "specs", {"plain": specs["plain"]}, "1m")
        steered(config_of(store, strategies, analyst=analyst, feed=feed), tmp_path / "run", script)
    assert (seen["huge"].status, seen["huge"].rule) == ("refused", "unknown_model")
    assert (seen["large"].before, seen["large"].after) == ({"model": "minicpm"}, {"model": "large"})
    assert (seen["rules"].before, seen["rules"].after) == ({"model": "large"}, {"model": None})
    assert (seen["swap"].status, seen["swap"].after["name"]) == ("applied", "held")
    with SessionFile(tmp_path / "run") as file:
        rows = readings_only(logged(file.readings()))
        told = [decode_event(value) for _, value in file.outbox()]
    assert list(dict.fromkeys(one.model_id for one in rows)) == ["minicpm", "large", "rules"]
    assert [one.by for one in told if isinstance(one, Reading)] == [one.reader for one in rows]


def test_nobody_reads_and_so_nothing_is_switched(store: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    specs = gated()

    def script(hand: Hand) -> None:
        hand.bars(1)
        seen["model"] = hand.send("switch_model", model="large")
        seen["swap"] = hand.send("swap_spec", strategy="plain", spec=msgspec.to_builtins(specs["held"]))

    strategies = traded(tmp_path / "specs", {"plain": specs["plain"]}, "1m")
    feed = {"start": "2024-03-05T06:00", "speed": 1_800.0}
    steered(config_of(store, strategies, feed=feed), tmp_path / "run", script)
    assert (seen["model"].rule, seen["swap"].rule) == ("not_supported", "bad_spec")
    assert "nobody reads in this session" in seen["swap"].reason
