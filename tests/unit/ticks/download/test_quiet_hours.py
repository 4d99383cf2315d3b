"""What it takes to call an hour empty or closed."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter

from aiopt.market.holidays import holiday_of
from aiopt.utc import hour_number, hour_text
from tests.unit.ticks.download.faulty_server import (
    EMPTY_JSON,
    SPAN,
    TICKS,
    Client,
    Server,
    answer,
    json_body,
    keys,
    nothing,
    refuse,
)


def test_an_hour_is_empty_when_both_feeds_say_so(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing]
    server.bodies[keys("json")[1]] = json_body(SPAN[0] + 1, **EMPTY_JSON)
    report = download()
    assert report.hours[hour_text(SPAN[0] + 1)] == "empty"
    assert (server.asked[keys("bi5")[1]], server.asked[keys("json")[1]]) == (1, 1)
    assert report.manifest is not None
    assert [(hour.hour, hour.reason) for hour in report.manifest.silent_hours] == [
        (hour_text(SPAN[0] + 1), "empty_file")
    ]
    server.asked.clear()
    assert download().hours == report.hours
    assert not server.asked


def test_ticks_of_one_feed_beat_the_empty_answer_of_another(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing]
    report = download()
    assert report.hours[hour_text(SPAN[0] + 1)] == "ticks"
    assert report.manifest is not None
    assert report.manifest.rows == 4 * TICKS


def test_an_empty_answer_of_one_feed_must_be_repeated(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing, answer]
    assert download("bi5").hours[hour_text(SPAN[0] + 1)] == "ticks"
    server.script[keys("bi5", (SPAN[0], SPAN[1] + 1))[4]] = [nothing, nothing]
    assert download("bi5", span=(SPAN[0], SPAN[1] + 1)).counts()["empty"] == 1


def test_empty_and_then_failing_is_failed(download: Client, server: Server) -> None:
    server.script[keys("bi5")[1]] = [nothing, refuse(503)]
    assert list(download("bi5").failed) == [hour_text(SPAN[0] + 1)]


CHRISTMAS = (hour_number("2023-12-24T22"), hour_number("2023-12-25T03"))


def test_a_holiday_without_a_file_is_closed_when_every_feed_says_so(download: Client, server: Server) -> None:
    both = keys("bi5", CHRISTMAS), keys("json", CHRISTMAS)
    server.script |= {key: [refuse(404)] for key in both[0] + both[1]}
    server.script[both[0][1]] = [answer]  # a provider that has ticks is believed
    server.script[both[1][2]] = [refuse(503)]  # one that is away has said nothing
    report = download(span=CHRISTMAS)
    assert [report.hours[hour_text(hour)] for hour in range(CHRISTMAS[0], CHRISTMAS[0] + 4)] == [
        "closed",
        "ticks",
        "failed",
        "closed",
    ]
    records = json.loads((download.cache / "EURUSD" / ".hours.json").read_bytes())["hours"]
    assert records[hour_text(CHRISTMAS[0])]["source"] == "Christmas Day"
    assert "status 404" in records[hour_text(CHRISTMAS[0])]["problems"][0]
    server.asked.clear()
    download(span=CHRISTMAS)
    assert set(server.asked) == {both[0][2], both[1][2]}


def test_only_the_two_holidays_are_holidays() -> None:
    year = range(hour_number("2024-01-01T00"), hour_number("2025-01-01T00"))
    found = Counter(holiday_of(hour) for hour in year)
    # 1 January from 17:00 New York on belongs to the 2nd; 31 December from then on to the next year.
    assert found["Christmas Day"] == 24
    assert found["New Year's Day"] == 22 + 2
    assert set(found) == {None, "Christmas Day", "New Year's Day"}
    assert holiday_of(hour_number("2024-12-25T21")) == "Christmas Day"
    assert holiday_of(hour_number("2024-12-25T22")) is None


def test_an_empty_hour_that_just_ended_is_not_published_yet(download: Client, server: Server) -> None:
    server.script[keys("bi5")[3]] = [nothing]
    soon = dt.datetime.fromtimestamp((SPAN[1] + 1) * 3600 + 600, tz=dt.UTC)
    report = download("bi5", now=soon)
    assert "may not be published yet" in report.failed[hour_text(SPAN[1])][-1]
    server.script.clear()
    assert download("bi5", now=soon).ok
