"""The watchdog: what it finds, what it drops, how a feed recovers, week-ends and clock changes."""

from __future__ import annotations

import datetime as dt
import random
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.config import decode
from aiopt.errors import ConfigError, DataError
from aiopt.live.watch.feed_watch import FeedWatch
from aiopt.live.watch.watch_config import WatchConfig
from aiopt.live.watch.watch_record import Verdict, WatchEvent, WatchState

NEW_YORK = ZoneInfo("America/New_York")
S = 10**9
NOW = 1_709_730_000 * S  # Wednesday 6 March 2024, 13:00 UTC


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * S


class Feed:
    """Quotes as they come, one a second unless said otherwise."""

    def __init__(
        self, config: WatchConfig | None = None, *, start_ns: int = NOW, symbol: str = "EURUSD"
    ) -> None:
        self.watch = FeedWatch(config or WatchConfig(), symbol, start_ns)
        self.ts_ns = start_ns
        self.price = 1.1
        self.events: list[WatchEvent] = []

    def quote(
        self,
        moved: int = 1,
        *,
        after_s: float = 1.0,
        stamp_s: float = 0.0,
        spread_pips: float = 0.8,
    ) -> Verdict:
        """Send a quote `moved` ticks off, whose stamp is `stamp_s` off its arrival."""
        self.ts_ns += round(after_s * S)
        bid = round(self.price + moved * 1e-5, 5)
        verdict = self.watch.quote(
            self.ts_ns + round(stamp_s * S), self.ts_ns, bid, round(bid + spread_pips * 1e-4, 5)
        )
        if verdict.is_accepted:
            self.price = bid
        self.events += verdict.events
        return verdict

    def wait(self, seconds: float) -> None:
        self.ts_ns += round(seconds * S)
        self.events += self.watch.clock(self.ts_ns)

    def steady(self, quotes: int = 10) -> Feed:
        for number in range(quotes):
            assert self.quote((-1) ** number).is_accepted
        assert self.watch.state == "live"
        self.events.clear()
        return self

    @property
    def path(self) -> list[tuple[str, str]]:
        return [(event.state, event.cause) for event in self.events]


def live(config: WatchConfig | None = None, **fields: object) -> Feed:
    return Feed(config, **fields).steady()  # type: ignore[arg-type]


def test_a_feed_is_live_with_its_first_good_quote() -> None:
    feed = Feed()
    assert (feed.watch.state, feed.watch.cause, feed.watch.may_enter) == ("stale", "no quote yet", False)
    assert feed.quote() == (True, "", (feed.events[0],))
    assert feed.path == [("live", "")]
    assert feed.watch.may_enter


def test_silence_makes_it_stale_then_halted() -> None:
    feed = live()
    feed.wait(60)
    assert feed.path == []
    feed.wait(1)
    assert feed.path == [("stale", "silent")]
    assert feed.events[0].ts_ns == feed.ts_ns - S
    assert not feed.watch.may_enter
    feed.wait(600)
    assert feed.path == [("stale", "silent"), ("halted", "stale for long")]
    assert "silent for more than 600 s" in feed.events[1].text


def test_silence_is_found_although_nobody_tells_the_time() -> None:
    feed = live()
    feed.quote(after_s=700)
    assert feed.path == [("stale", "silent"), ("halted", "stale for long")]


def test_it_recovers_after_enough_good_quotes_for_long_enough() -> None:
    feed = live()
    feed.wait(61)
    for _ in range(5):
        feed.quote(after_s=0.1)
    assert feed.watch.state == "stale"  # five quotes, but half a second
    feed.quote(after_s=2)
    assert feed.path == [("stale", "silent"), ("live", "")]


def test_a_bad_quote_begins_the_recovery_anew() -> None:
    feed = live()
    feed.wait(61)
    for _ in range(4):
        feed.quote()
    feed.quote(spread_pips=20)
    for _ in range(4):
        feed.quote()
    assert feed.watch.state == "stale"
    feed.quote()
    assert feed.watch.state == "live"


@pytest.mark.parametrize("resume", ["self", "person"])
def test_a_halted_feed_recovers_by_itself_or_by_a_person(resume: str) -> None:
    feed = live(WatchConfig(resume=resume))  # type: ignore[arg-type]
    feed.wait(700)
    assert feed.watch.state == "halted"
    for _ in range(10):
        feed.quote()
    assert feed.watch.state == ("live" if resume == "self" else "halted")
    feed.events += feed.watch.reset(feed.ts_ns)
    assert feed.path[-1] == ("stale", "reset")
    feed.quote()
    assert feed.watch.state == "live"


def test_repeats_are_dropped_and_are_no_sign_of_life() -> None:
    feed = live()
    stamp, bid, ask = feed.ts_ns, feed.price, round(feed.price + 8e-5, 5)
    for second in range(1, 62):
        verdict = feed.watch.quote(stamp, stamp + second * S, bid, ask)
        assert (verdict.is_accepted, verdict.cause) == (False, "repeated")
    assert (feed.watch.state, feed.watch.cause) == ("stale", "silent")
    assert feed.watch.counts["repeated"] == 61


def test_one_price_for_long_is_a_frozen_feed() -> None:
    feed = live(WatchConfig(frozen_after_s=30))
    for _ in range(30):
        assert feed.quote(0).cause == ""
    assert feed.quote(0) == (True, "frozen", (feed.events[0],))
    assert feed.path == [("stale", "frozen")]
    for _ in range(5):
        feed.quote(1)
    assert feed.watch.state == "live"


def test_stamps_that_go_back_are_dropped_and_halt_it_when_they_stay() -> None:
    feed = live()
    assert feed.quote(stamp_s=-5).cause == "stamps go back"
    assert feed.path == [("stale", "stamps go back")]
    for _ in range(18):
        assert not feed.quote(stamp_s=-60).is_accepted
    assert feed.watch.state == "stale"
    feed.quote(stamp_s=-60)
    assert feed.path[-1] == ("halted", "stamps go back")
    assert "20 quotes in a row" in feed.events[-1].text


def test_a_clock_behind_makes_quotes_late_and_one_ahead_drops_none_of_them_silently() -> None:
    late = live()
    assert late.quote(after_s=11, stamp_s=-10.5)[:2] == (True, "late")
    assert late.path == [("stale", "late")]
    ahead = live()
    assert ahead.quote(stamp_s=2.5)[:2] == (False, "stamp ahead")
    assert ahead.path == [("stale", "stamp ahead")]
    for _ in range(700):
        ahead.quote(stamp_s=3_600)
    assert ahead.watch.state == "halted"
    assert ahead.watch.counts["stamp ahead"] == 701


def test_a_polled_feed_is_late_by_agreement() -> None:
    feed = live(WatchConfig(max_lag_s=400))
    assert feed.quote(after_s=400, stamp_s=-390)[:2] == (True, "")


def test_one_absurd_price_is_dropped_and_changes_no_other() -> None:
    feed = live()
    assert feed.quote(60_000)[:2] == (False, "absurd price")
    assert feed.path == [("stale", "absurd price")]
    for _ in range(5):
        assert feed.quote()[:2] == (True, "")
    assert feed.watch.state == "live"


def test_prices_that_stay_where_they_jumped_to_are_a_move() -> None:
    feed = live()
    before = feed.price
    causes = [feed.quote(6_000 + number).cause for number in range(4)]
    assert causes == ["absurd price"] * 4
    assert feed.price == before
    assert feed.quote(6_010)[:2] == (True, "")
    assert feed.price == round(before + 0.0601, 5)
    for _ in range(5):
        assert feed.quote()[:2] == (True, "")
    assert feed.watch.state == "live"


def test_absurd_prices_that_do_not_agree_are_never_taken() -> None:
    feed = live()
    for number in range(40):
        assert not feed.quote(6_000 * (1 + number % 2)).is_accepted


def test_a_fast_market_is_no_absurd_one() -> None:
    """49 pips in every quote: each is near the one before."""
    feed = live()
    for number in range(20):
        assert feed.quote(490 if number < 10 else -490).is_accepted
    assert feed.watch.state == "live"


def test_a_wide_spread_is_taken_but_nothing_enters_on_it() -> None:
    feed = live()
    assert feed.quote(spread_pips=10)[:2] == (True, "")
    assert feed.quote(spread_pips=10.1)[:2] == (True, "wide spread")
    assert feed.path == [("stale", "wide spread")]


@pytest.mark.parametrize(
    ("bid", "ask"), [(float("nan"), 1.1), (1.1, float("inf")), (1.2, 1.1), (110.0, 110.1), (-1.0, 1.1)]
)
def test_what_is_no_price_is_dropped(bid: float, ask: float) -> None:
    feed = live()
    assert feed.watch.quote(feed.ts_ns + S, feed.ts_ns + S, bid, ask)[:2] == (False, "no price")


def test_actions_come_from_the_configuration() -> None:
    feed = live(WatchConfig(on_stale=("alert",), on_halted=("alert", "no_entries", "flatten")))
    feed.wait(61)
    assert feed.watch.may_enter
    assert feed.events[-1].actions == ("alert",)
    feed.wait(600)
    assert not feed.watch.may_enter
    assert feed.events[-1].actions == ("alert", "no_entries", "flatten")


# --- the calendar -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("friday", "sunday", "hours"),
    [
        ("2024-02-23T17:00:00", "2024-02-25T17:00:00", 48),
        ("2024-03-08T17:00:00", "2024-03-10T17:00:00", 47),  # clocks go forward in the week-end
        ("2024-11-01T17:00:00", "2024-11-03T17:00:00", 49),  # and back
        ("2024-03-29T17:00:00", "2024-03-31T17:00:00", 48),  # Europe's do; New York's do not
    ],
)
def test_a_week_end_is_closed_and_no_silence(friday: str, sunday: str, hours: int) -> None:
    assert at(sunday) - at(friday) == hours * 3_600 * S
    feed = live(start_ns=at(friday) - 20 * S)
    feed.wait((at(friday) - feed.ts_ns) / S - 1)
    assert feed.watch.state == "live"
    feed.wait(1)
    assert feed.path == [("closed", "market closed")]
    assert not feed.watch.may_enter
    assert feed.quote(after_s=3_600)[:2] == (False, "market closed")
    feed.wait((at(sunday) - feed.ts_ns) / S - 1)
    assert feed.watch.state == "closed"
    feed.wait(1)
    assert feed.path[1:] == [("stale", "no quote yet")]
    assert feed.quote(5_900)[:2] == (True, "")  # a gap of 59 pips is no absurd price
    assert feed.watch.state == "live"


def test_a_week_end_is_seen_although_nobody_tells_the_time() -> None:
    feed = live(start_ns=at("2024-03-08T16:59:00"))
    feed.ts_ns = at("2024-03-10T17:00:03")
    feed.quote(after_s=0)
    assert feed.path == [("closed", "market closed"), ("stale", "no quote yet"), ("live", "")]
    assert [event.ts_ns for event in feed.events[:2]] == [
        at("2024-03-08T17:00:00"),
        at("2024-03-10T17:00:00"),
    ]


def test_an_opening_without_quotes_is_halted_after_a_while() -> None:
    feed = live(start_ns=at("2024-03-08T16:59:00"))
    feed.wait((at("2024-03-10T17:10:01") - feed.ts_ns) / S)
    assert feed.path[-2:] == [("stale", "no quote yet"), ("halted", "stale for long")]


def test_a_session_begun_on_a_saturday_waits_for_the_opening() -> None:
    feed = Feed(start_ns=at("2024-03-09T12:00:00"))
    assert feed.watch.state == "closed"
    assert feed.quote()[:2] == (False, "market closed")
    feed.ts_ns = at("2024-03-10T17:00:01")
    feed.quote()
    assert feed.watch.state == "live"


def test_what_a_person_must_see_stays_halted_over_the_week_end() -> None:
    feed = live(WatchConfig(resume="person"), start_ns=at("2024-03-08T16:30:00"))
    feed.wait(1_000)
    assert feed.watch.state == "halted"
    feed.ts_ns = at("2024-03-10T18:00:00")
    feed.quote()
    assert feed.watch.state == "halted"


def test_bitcoin_has_no_week_end() -> None:
    watch = FeedWatch(WatchConfig(), "BTCUSD", at("2024-03-09T12:00:00"))
    assert watch.quote(at("2024-03-09T12:00:01"), at("2024-03-09T12:00:01"), 60_000.0, 60_001.0)[0]
    assert watch.state == "live"


# --- state, configuration -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_restored_watchdog_answers_as_if_nothing_had_happened(seed: int) -> None:
    draw = random.Random(seed)
    config = WatchConfig(back_limit=3, halt_after_s=20, stale_after_s=5, frozen_after_s=8, window=7)
    feed = Feed(config, start_ns=at("2024-03-08T16:59:30"))
    for _ in range(60):
        text = msgspec.json.encode(feed.watch.kept())
        twin = FeedWatch(config, "EURUSD", 0, msgspec.json.decode(text, type=WatchState))
        after_s = draw.choice((0.1, 0.5, 1.0, 1.0, 4.0, 9.0, 30.0, 40_000.0))
        moved = draw.choice((-3, -1, 0, 0, 1, 3, 6_000, -6_000))
        stamp_s, spread = draw.choice((0.0, 0.0, 0.0, -20.0, 5.0)), draw.choice((0.8, 0.8, 0.8, 30.0, -1.0))
        stamp, bid = feed.ts_ns + round((after_s + stamp_s) * S), round(feed.price + moved * 1e-5, 5)
        expected = twin.quote(stamp, feed.ts_ns + round(after_s * S), bid, round(bid + spread * 1e-4, 5))
        assert feed.quote(moved, after_s=after_s, stamp_s=stamp_s, spread_pips=spread) == expected
        assert twin.kept() == feed.watch.kept()
        assert feed.watch.may_enter == (feed.watch.state == "live")


def test_no_sequence_leaves_it_dead_for_ever() -> None:
    """Whatever came, good quotes make it live again: it never drops them for what was before."""
    for seed in range(40):
        draw = random.Random(seed)
        feed = Feed()
        for _ in range(50):
            feed.quote(
                draw.randint(-20_000, 20_000),
                after_s=draw.choice((0.5, 1, 100, 5_000)),
                stamp_s=draw.choice((0, -3_000, 1.9, 3_000)),
                spread_pips=draw.choice((0.5, 40, -2)),
            )
        for number in range(12):
            feed.quote((-1) ** number)
        assert feed.watch.state == "live", seed


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_accepted_can_be_cut_into_bars(seed: int) -> None:
    """Stamps do not go back or lie ahead, prices are some, and none jumps but by agreement of several."""
    draw = random.Random(seed)
    feed = Feed(WatchConfig(confirm_quotes=3))
    last_stamp, dropped_in_a_row = 0, 0
    for _ in range(150):
        before, stamp_s = feed.price, draw.choice((0.0, 0.0, 1.0, 2.5, -3.0, -100.0))
        verdict = feed.quote(
            draw.choice((-2, 1, 3, 8_000, -8_000)),
            after_s=draw.choice((0.2, 1.0, 3.0, 90.0)),
            stamp_s=stamp_s,
            spread_pips=draw.choice((0.5, 0.5, 12.0, -1.0)),
        )
        absurd = verdict.cause == "absurd price"
        if verdict.is_accepted:
            stamp = feed.ts_ns + round(stamp_s * S)
            assert last_stamp <= stamp <= feed.ts_ns + 2 * S
            last_stamp = stamp
            jumped = abs(feed.price - before) > 0.0051 and before != 1.1
            assert not jumped or dropped_in_a_row >= 2
        if absurd or verdict.is_accepted:
            dropped_in_a_row = dropped_in_a_row + 1 if absurd else 0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"stale_after_s": 0}, "0 < stale_after_s < inf"),
        ({"max_lag_s": float("nan")}, "max_lag_s=nan"),
        ({"window": 0}, "1 <= window <= 10000"),
        ({"recover_s": -1.0}, "recover_s"),
        ({"resume": "never"}, "resume"),
        ({"on_stale": ["panic"]}, "on_stale"),
        ({"stale_after": 3}, "Unknown key 'stale_after'.*Did you mean 'stale_after_s'"),
    ],
)
def test_a_wrong_threshold_is_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        decode(values, WatchConfig, where="watch")


def test_a_state_of_another_version_and_an_unknown_instrument_are_refused() -> None:
    kept = msgspec.structs.replace(live().watch.kept(), version=5)
    with pytest.raises(ConfigError, match="version 5"):
        FeedWatch(WatchConfig(), "EURUSD", NOW, kept)
    with pytest.raises(DataError, match="EURUSX"):
        FeedWatch(WatchConfig(), "EURUSX", NOW)
