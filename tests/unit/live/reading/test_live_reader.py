"""A session's questions and answers: when a reading counts, who stands in, what is gone on with."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aiopt.analyst.scans import load_readings, reading_log, readings_at
from aiopt.analyst.settings import AnalystSettings
from aiopt.backtest.growing_bars import BarRow, GrowingBars
from aiopt.bars.reading_log import MarketReading
from aiopt.errors import ConfigError, DataError, EndpointError
from aiopt.live.reading.analyst_config import LiveAnalyst
from aiopt.live.reading.arrivals import Arrivals
from aiopt.live.reading.live_reader import LiveReader, bars_between
from aiopt.live.reading.readings_file import log_on_bars, logged, write_readings
from aiopt.market.instrument import instrument
from aiopt.strategy.reading_gate import arrivals
from aiopt.timeframe import parse_timeframe
from tests.unit.analyst.endpoints import Answer, Endpoint, completion, serving

MINUTE = 60_000_000_000
START = 1_709_640_000_000_000_000 // MINUTE * MINUTE
WINDOW = 30
RULES = LiveAnalyst(settings=AnalystSettings(bars=WINDOW, picture=False, retries=0))
VALID = {
    "regime": {"trend": "up", "volatility": "normal"},
    "patterns": [],
    "bias": "long",
    "levels": [],
    "confidence": 0.7,
    "rationale": "Higher lows.",
}
GOOD = Answer(body=completion(json.dumps(VALID)), headers={"X-Model-Revision": "r7"})


def rows(count: int, seed: int = 3) -> list[BarRow]:
    """Return bars of a random walk, a minute each."""
    rng = np.random.default_rng(seed)
    closes = np.round(1.1 + np.cumsum(rng.normal(0, 2e-4, count + 1)), 5)
    found = []
    for number in range(count):
        first, last = float(closes[number]), float(closes[number + 1])
        high, low = round(max(first, last) + 1e-4, 5), round(min(first, last) - 1e-4, 5)
        bid = (first, high, low, last, 10.0)
        ask = tuple(round(price + 1e-5, 5) for price in bid[:4])
        found.append(BarRow(START + number * MINUTE, *bid, *ask, 10.0, 5))
    return found


class Market:
    """Bars that end one after the other, read by a reader as a session would."""

    def __init__(self, config: LiveAnalyst, *, waits: bool = True) -> None:
        self.bars = GrowingBars(instrument("EURUSD"), parse_timeframe("1m"))
        self.reader = LiveReader(config, self.bars, waits=waits)
        self.kept: list[tuple[int, str]] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.last_ns = START

    def quote(self, ts_ns: int, row: BarRow | None = None) -> None:
        """Take a quote that may end a bar, after the answers that a replay waits for."""
        if self.reader.owes(ts_ns):
            asyncio.run(self.reader.settle(ts_ns))
        self.told += self.reader.take(self.last_ns, ts_ns)
        if row is not None:
            self.bars.append(row)
            self.reader.bar_ended(ts_ns)
        self.kept += self.reader.kept()
        self.last_ns = ts_ns

    def end(self) -> None:
        asyncio.run(self.reader.settle())
        self.told += self.reader.take(self.last_ns, None)
        self.kept += self.reader.kept()

    def run(self, given: list[BarRow], late_ns: int = 2_000_000_000) -> list[Any]:
        """Let bars end, each at a quote so long behind it, and return the readings."""
        for row in given:
            self.quote(row.ts_open_ns + MINUTE + late_ns, row)
        self.end()
        return self.readings

    @property
    def readings(self) -> list[Any]:
        return [one.reading for one in logged(text for _, text in self.kept)]


@pytest.fixture
def markets() -> Iterator[Any]:
    made: list[Market] = []

    def make(config: LiveAnalyst, **more: Any) -> Market:
        made.append(Market(config, **more))
        return made[-1]

    yield make
    for market in made:
        market.reader.close()


def by_model(endpoint: Endpoint, **changes: Any) -> LiveAnalyst:
    settings = msgspec.structs.replace(RULES.settings, endpoint=endpoint.url)
    return msgspec.structs.replace(RULES, reader="model", settings=settings, **changes)


def test_in_a_replay_rules_count_from_the_quote_that_ends_the_bar(markets: Any, tmp_path: Path) -> None:
    market = markets(RULES)
    given = rows(45)
    found = market.run(given)
    assert len(found) == 45 - WINDOW + 1
    assert [one.number for one in found] == list(range(16))
    assert {one.available_ns - one.ts_end_ns for one in found} == {2_000_000_000}
    assert [kind for kind, _ in market.told] == ["reading"] * 16
    # what strategies are handed is what a backtest hands them over the file
    write_readings(tmp_path / "readings.parquet", logged(text for _, text in market.kept))
    log = reading_log(load_readings(tmp_path))
    mine, theirs = market.reader.arrivals.for_strategy(), arrivals(log)
    for row in given:
        close = row.ts_open_ns + MINUTE
        assert list(mine(close)) == list(theirs(close))
    bars = bars_between(market.bars, 0, 45)
    at = readings_at(bars.bid, found, at="close")
    assert at.tolist() == [-1] * WINDOW + list(range(15))


def test_a_latency_is_kept_to_in_a_replay(markets: Any) -> None:
    found = markets(msgspec.structs.replace(RULES, latency_s=90.0, every=2)).run(rows(50))
    assert [one.ts_end_ns for one in found] == [START + n * MINUTE for n in range(WINDOW, 51, 2)]
    assert {one.available_ns - one.ts_end_ns for one in found} == {90_000_000_000}


def test_a_reading_is_taken_at_the_quote_before_which_it_must_be_known(markets: Any) -> None:
    market = markets(msgspec.structs.replace(RULES, latency_s=10.0))
    given = rows(WINDOW)
    for row in given:
        market.quote(row.ts_open_ns + MINUTE, row)
    end = given[-1].ts_open_ns + MINUTE
    asyncio.run(market.reader.settle())
    market.quote(end + 10_000_000_000)
    assert market.readings == []
    market.quote(end + 10_000_000_001)
    assert len(market.readings) == 1


def test_in_real_time_a_slow_answer_counts_from_when_it_came(markets: Any) -> None:
    with serving(lambda number, payload: msgspec_replace(GOOD, delay_s=0.3)) as endpoint:
        market = markets(by_model(endpoint, limit_s=600.0), waits=False)
        given = rows(WINDOW + 3)
        began = time.monotonic()
        for row in given:
            assert not market.reader.owes(row.ts_open_ns + 10 * MINUTE)
            market.quote(row.ts_open_ns + MINUTE, row)
        asked_s = time.monotonic() - began
        if asked_s < 0.3:  # on a machine that is not starved, none can have been answered by now
            assert market.readings == []
        market.end()
    found = market.readings
    assert len(found) == 4
    # Quotes went by meanwhile: nothing that was decided by then had the answer.
    assert all(one.available_ns >= market.last_ns for one in found if asked_s < 0.3)
    assert all(one.available_ns - one.ts_end_ns >= 300_000_000 for one in found)


def msgspec_replace(answer: Answer, **changes: Any) -> Answer:
    return Answer(**{**answer.__dict__, **changes})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(status=500, body="out of memory"), "answered 500: out of memory"),
        (Answer(drop=True), "gave no reply"),
        (Answer(body=completion("no reading")), "some-model|minicpm"),
        (msgspec_replace(GOOD, delay_s=1.0), "within the 0.2 s of `limit_s`"),
    ],
    ids=["fails", "drops", "babbles", "slow"],
)
def test_rules_stand_in_for_a_model_and_are_marked(markets: Any, answer: Answer, why: str) -> None:
    with serving(lambda number, payload: answer) as endpoint:
        limit = 0.2 if answer.delay_s else 60.0
        market = markets(by_model(endpoint, limit_s=limit))
        found = market.run(rows(WINDOW + 1))
        alone = markets(by_model(endpoint, limit_s=limit, fallback="none")).run(rows(WINDOW + 1))
    rules = markets(RULES).run(rows(WINDOW + 1))
    assert [(one.reader, one.failure, one.bias) for one in found] == [
        ("rules", "", one.bias) for one in rules
    ]
    for one in found:
        assert one.error
        assert any(part in one.error for part in why.split("|")), one.error
    assert [event["fallback"] for _, event in market.told] == [one.error for one in found]
    assert [event["by"] for _, event in market.told] == ["rules", "rules"]
    assert {(one.reader, one.bias, bool(one.failure)) for one in alone} == {("model", None, True)}


def test_an_endpoint_that_is_gone_costs_no_reading(markets: Any) -> None:
    with serving(lambda number, payload: GOOD) as endpoint:
        config = by_model(endpoint)
    found = markets(config).run(rows(WINDOW + 1))
    assert [one.reader for one in found] == ["rules", "rules"]
    assert all("gave no reply" in one.error for one in found)


def test_a_defect_of_reading_costs_a_reading_and_nothing_else(
    markets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiopt.live.reading import background

    def defect(*given: Any) -> dict[str, float]:
        raise ZeroDivisionError("by no bars")

    monkeypatch.setattr(background, "values_at", defect)
    market = markets(RULES)
    found = market.run(rows(WINDOW))
    assert [(one.failure, one.error) for one in found] == [("window", "ZeroDivisionError: by no bars")]
    assert market.told == [
        (
            "no_reading",
            {
                "series": "EURUSD-1m",
                "bar_ns": START + (WINDOW - 1) * MINUTE,
                "failure": "window",
                "error": "ZeroDivisionError: by no bars",
            },
        )
    ]


def test_what_was_under_way_is_asked_again(markets: Any) -> None:
    given = rows(WINDOW + 6)
    whole = markets(RULES)
    expected = whole.run(given)
    for left in range(WINDOW - 1, WINDOW + 6):
        first = markets(RULES)
        for row in given[:left]:
            first.quote(row.ts_open_ns + MINUTE + 2_000_000_000, row)
        state = first.reader.state()
        first.reader.close()
        again = markets(RULES)
        again.reader.load(text for _, text in first.kept)
        for row in given[:left]:
            again.bars.append(row)
        again.reader.go_on(state)
        again.kept, again.last_ns = list(first.kept), first.last_ns
        found = again.run(given[left:])
        assert [without_clock(one) for one in found] == [without_clock(one) for one in expected], left
        moment = START + 1_000 * MINUTE
        assert [*again.reader.arrivals.for_strategy()(moment)] == [
            *whole.reader.arrivals.for_strategy()(moment)
        ]


def without_clock(one: Any) -> Any:
    return msgspec.structs.replace(one, asked_ns=0, answered_ns=0)


def test_in_real_time_a_restart_lets_answers_count_from_its_first_quote(markets: Any) -> None:
    given = rows(WINDOW)
    first = markets(RULES, waits=False)
    for row in given[:-1]:
        first.quote(row.ts_open_ns + MINUTE, row)
    first.bars.append(given[-1])
    first.reader.bar_ended(given[-1].ts_open_ns + MINUTE)
    again = markets(RULES, waits=False)
    for row in given:
        again.bars.append(row)
    again.reader.go_on(first.reader.state())
    again.last_ns = given[-1].ts_open_ns + MINUTE
    asyncio.run(again.reader.settle())
    hour_later = again.last_ns + 60 * MINUTE
    again.quote(hour_later)
    assert again.readings[0].available_ns >= hour_later


class Switching:
    """An endpoint that serves two models and says which of them was asked."""

    def __init__(self) -> None:
        self.listed: Any = {"data": [{"id": "small"}, {"id": "large"}]}

    def __call__(self, number: int, payload: dict[str, Any]) -> Answer:
        if payload.get("listing"):
            return self.listed if isinstance(self.listed, Answer) else Answer(body=self.listed)
        return Answer(body={**completion(json.dumps(VALID)), "model": payload["model"]})


def test_another_model_reads_from_the_next_chart_on(markets: Any, tmp_path: Path) -> None:
    given = rows(WINDOW + 4)
    with serving(Switching()) as endpoint:
        market = markets(by_model(endpoint, latency_s=1.0))
        for row in given[: WINDOW + 1]:
            market.quote(row.ts_open_ns + MINUTE, row)
        assert asyncio.run(market.reader.switch("large")) == ("minicpm", "large")
        market.quote(given[WINDOW + 1].ts_open_ns + MINUTE, given[WINDOW + 1])
        assert asyncio.run(market.reader.switch(None)) == ("large", None)
        with pytest.raises(ConfigError, match=r"has no 'huge'. It serves small, large\."):
            asyncio.run(market.reader.switch("huge"))
        assert (market.reader.model, repr(market.reader)) == (
            None,
            "LiveReader(rules, 3 charts, 1 under way)",
        )
        market.run(given[WINDOW + 2 :])
        again = markets(by_model(endpoint))
        for row in given:
            again.bars.append(row)
        again.reader.go_on(market.reader.state())
        assert again.reader.model is None
    assert [one.model_id for one in market.readings] == ["minicpm"] * 2 + ["large", "rules", "rules"]
    with pytest.raises(DataError, match="must be of one revision"):
        reading_log(market.readings)
    several = log_on_bars([text for _, text in market.kept], bars_between(market.bars, 0, len(market.bars)))
    assert several.origin.text == "minicpm, large, rules revision rules/2"
    assert len(several) == 5


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        (Answer(status=404, body="not here"), "answered 404"),
        ({"models": []}, "sent no list of models"),
        (Answer(drop=True), "did not say which models it serves"),
    ],
)
def test_a_switch_is_refused_where_nobody_says_what_is_served(markets: Any, listed: Any, text: str) -> None:
    switching = Switching()
    switching.listed = listed
    with serving(switching) as endpoint:
        market = markets(by_model(endpoint))
        with pytest.raises(EndpointError, match=text):
            asyncio.run(market.reader.switch("large"))
        assert market.reader.model == "minicpm"
    with pytest.raises(ConfigError, match="the session has none to ask for 'large'"):
        asyncio.run(markets(RULES).reader.switch("large"))


def test_arrivals_come_once_each_in_the_order_in_which_they_were_known() -> None:
    def reading(end: int, known: int) -> MarketReading:
        return MarketReading(
            ts_end_ns=end, known_ns=known, bias="long", trend="up", volatility="low", figures={}
        )

    found = Arrivals()
    early = found.for_strategy()
    found.add(reading(10, 30))
    found.add(reading(20, 25))
    assert [one.known_ns for one in early(30)] == [25]
    assert [one.known_ns for one in early(31)] == [30]
    found.add(reading(30, 40))
    assert [one.known_ns for one in found.for_strategy()(100)] == [25, 30, 40]
    assert ([one.known_ns for one in early(100)], repr(found)) == ([40], "Arrivals(3 readings)")
