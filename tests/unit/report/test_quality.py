"""The data section says what the manifest says."""

from __future__ import annotations

from aiopt.report.quality import MOST_DAYS, data_quality
from aiopt.ticks.clocks.clock_proof import ClockProof
from aiopt.ticks.manifest import Manifest, Partition, RuleCount, SilentHour, hash_partitions, partition_path


def partition(date: str, hour_rows: list[int]) -> Partition:
    return Partition(
        path=partition_path("EURUSD", date),
        instrument="EURUSD",
        date=date,
        rows=sum(hour_rows),
        sha256="0" * 64,
        content_sha256=date.ljust(64, "0"),
        first_ts_ns=0,
        last_ts_ns=1,
        hour_rows=hour_rows,
        hour_dropped=[0] * 24,
    )


def manifest(partitions: list[Partition], silent: list[SilentHour], **changes: object) -> Manifest:
    settings = {
        "aiopt_version": "0.1.0",
        "instrument": "EURUSD",
        "source": "tick/eurusd",
        "source_format": "oanda",
        "source_hash": "1" * 64,
        "synthetic": False,
        "data_hash": hash_partitions(partitions),
        "rows": sum(part.rows for part in partitions),
        "rows_read": sum(part.rows for part in partitions) + 11,
        "first_ts_ns": 1_398_902_400_000_000_000,
        "last_ts_ns": 1_399_000_000_000_000_000,
        "settings": {},
        "rules": [
            RuleCount(rule="crossed_spread", treatment="drop", found=11, dropped=11, hours={}),
            RuleCount(rule="gap", treatment="keep", found=2, dropped=0, hours={}),
        ],
        "silent_hours": silent,
        "notes": ["one file left aside"],
        "files": [],
        "partitions": partitions,
    }
    return Manifest(**{**settings, **changes})


def test_hours_tell_kept_from_quiet_from_missing():
    parts = [partition("2014-05-01", list(range(24))), partition("2014-05-03", [5] * 24)]
    silent = [
        SilentHour(hour="2014-05-01T00", reason="missing_file"),
        SilentHour(hour="2014-05-02T03", reason="empty_file"),
    ]
    data = data_quality(manifest(parts, silent))
    assert [row.day for row in data.hours] == ["2014-05-01", "2014-05-02", "2014-05-03"]
    assert data.hours[0].ticks == [None, *range(1, 24)]
    assert data.hours[1].ticks == [0] * 24
    assert sum(count or 0 for row in data.hours for count in row.ticks) == data.ticks


def test_the_clock_and_what_proves_it_is_a_fact():
    text = "UTC (assumed, the files do not say): not proved, no week opens or closes in the source."
    proof = ClockProof(clock="UTC", origin="assumed", weeks=1, fitting=0, contradicting=0, text=text)
    parts = [partition("2014-05-01", [1] * 24)]
    facts = data_quality(manifest(parts, [], clock=proof)).facts
    assert [(fact.value, fact.note) for fact in facts if fact.name == "Clock"] == [("UTC", text)]
    assert not [fact for fact in data_quality(manifest(parts, [])).facts if fact.name == "Clock"]


def test_silent_hours_in_a_row_are_one_gap_longest_first():
    silent = [SilentHour(hour=f"2014-05-01T{hour:02d}", reason="no_ticks") for hour in (3, 4, 5, 9)]
    silent += [
        SilentHour(hour=f"2014-05-{day}", reason="missing_file") for day in ("01T06", "01T23", "02T00")
    ]
    gaps = data_quality(manifest([partition("2014-05-01", [1] * 24)], silent)).gaps
    assert [(gap.name, gap.value) for gap in gaps] == [
        ("2014-05-01 03:00", "3 h"),
        ("2014-05-01 23:00", "2 h"),
        ("2014-05-01 06:00", "1 h"),
        ("2014-05-01 09:00", "1 h"),
    ]
    assert gaps[1].note == "the source has no file for it"


def test_rules_show_count_unit_and_treatment():
    treated = data_quality(manifest([partition("2014-05-01", [1] * 24)], [])).treated
    assert [(rule.name, rule.value, rule.note) for rule in treated] == [
        ("crossed spread", "11", "dropped"),
        ("gap", "2 gaps", "kept, counted"),
    ]


def test_facts_count_what_was_dropped():
    facts = {
        fact.name: fact for fact in data_quality(manifest([partition("2014-05-01", [10] * 24)], [])).facts
    }
    assert facts["Ticks kept"].value == "240"
    assert facts["Ticks dropped"].value == "11"
    assert facts["Ticks dropped"].note == "4.38%"
    assert facts["Note"].value == "one file left aside"


def test_a_long_span_is_shown_by_month():
    dates = [f"2014-{month:02d}-{day:02d}" for month in range(1, 7) for day in range(1, 29)]
    assert len(dates) > MOST_DAYS
    parts = [partition(date, [int(date[5:7])] * 24) for date in dates]
    rows = data_quality(manifest(parts, [])).hours
    assert [row.day for row in rows] == [f"2014-{month:02d}" for month in range(1, 7)]
    assert [row.ticks[0] for row in rows] == [1, 2, 3, 4, 5, 6]
