"""The data-quality page: it says what the check found, links to the places, and needs no network."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from aiopt.cli.ticks import command
from aiopt.market.instrument import instrument
from aiopt.report import tick_charts
from aiopt.report.tick_page import headline, render_tick_page
from aiopt.ticks.checks.quality import QualityWatch
from aiopt.ticks.checks.validation import parse_rules
from aiopt.ticks.importing import import_ticks, validate_ticks
from aiopt.ticks.sample import generate_ticks
from aiopt.ticks.schema import TickArrays

MONDAY_NS = int(np.datetime64("2024-05-06T10:00", "ns").astype(np.int64))


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """Return a CSV of three days with crossed quotes and a gap in the second."""
    number = np.arange(3 * 1440)
    number = number[(number < 1700) | (number > 1760)]
    bid = 110_000 + (number * 7) % 40
    ask = np.where(number % 500 == 3, bid - 5, bid + 10)
    path = tmp_path / "in" / "ticks & <more>.csv"
    path.parent.mkdir()
    pl.DataFrame(
        {"ts_event_ns": MONDAY_NS + number * 60 * 10**9, "bid": bid / 1e5, "ask": ask / 1e5}
    ).write_csv(path)
    return path


def test_the_page_shows_what_the_check_found(tmp_path: Path, dirty: Path) -> None:
    check = validate_ticks(dirty, instrument="EURUSD")
    assert check.quality is not None
    page = render_tick_page(check, tmp_path / "pages")
    crossed = next(rule for rule in check.rules if rule.rule == "crossed")
    assert crossed.found == 9
    row = re.search(r"<tr><th scope=\"row\"[^>]*>crossed</th>.*?</tr>", page, flags=re.DOTALL)
    assert row is not None
    assert re.findall(r"<td class=\"num\">([^<]*)</td>", row[0])[0] == "9"
    assert "Usable after cleaning. Found: crossed, gap." in page
    # The first crossed quote is in row 3; the page links to its file, relative to where the page lies.
    assert '<a href="../in/ticks%20%26%20%3Cmore%3E.csv">ticks &amp; &lt;more&gt;.csv</a> row 3,' in page
    assert "1 h 02 min" in page
    for picture in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(picture)
    assert len(re.findall("<svg", page)) == 5


def test_the_page_loads_nothing(tmp_path: Path, dirty: Path) -> None:
    page = render_tick_page(validate_ticks(dirty, instrument="EURUSD"), tmp_path)
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=\"(?:https?:|//)", page)
    assert "<script" not in page
    assert page == render_tick_page(validate_ticks(dirty, instrument="EURUSD"), tmp_path)


def test_hours_of_an_open_market_without_ticks_are_outlined(tmp_path: Path) -> None:
    ts = MONDAY_NS + np.array([0, 1, 5 * 3600]) * 10**9
    path = tmp_path / "ticks.csv"
    pl.DataFrame({"ts_event_ns": ts, "bid": [1.1, 1.2, 1.1], "ask": [1.11, 1.21, 1.11]}).write_csv(path)
    page = render_tick_page(validate_ticks(path, instrument="EURUSD"), tmp_path)
    assert page.count("the market was open, no tick") == 4
    assert "<b>4</b><span>open hours without a tick</span>" in page


def test_a_store_shows_the_imports_counts_and_its_own(tmp_path: Path, dirty: Path) -> None:
    import_ticks(dirty, tmp_path / "store", rules=parse_rules(["crossed=fix"]))
    check = validate_ticks(tmp_path / "store")
    page = render_tick_page(check, tmp_path)
    assert "What the import of this store found and did." in page
    assert "Checked again now, the stored ticks show: gap 1." in page
    assert "<b>9</b><span>fixed</span>" in page
    assert next(rule for rule in check.imported if rule.rule == "crossed").fixed == 9
    generate_ticks(tmp_path / "sample", days=2, ticks_per_day=2_000, start="2024-05-06")
    assert "SYNTHETIC DATA" in render_tick_page(validate_ticks(tmp_path / "sample"), tmp_path)


def test_a_broken_store_has_a_page_too(tmp_path: Path, dirty: Path) -> None:
    import_ticks(dirty, tmp_path / "store")
    next((tmp_path / "store").rglob("*.parquet")).unlink()
    check = validate_ticks(tmp_path / "store")
    page = render_tick_page(check, tmp_path)
    assert "is missing" in page
    assert "These ticks cannot be used as they are" in headline(check)


def test_a_long_span_is_shown_by_month(tmp_path: Path) -> None:
    days = np.arange(0, 365 * 24, 6)
    bid = 110_000 + (days * 7) % 40
    frame = pl.DataFrame({"ts_event_ns": MONDAY_NS + days * 3600 * 10**9, "bid": bid / 1e5, "ask": bid / 1e5})
    frame.write_csv(tmp_path / "ticks.csv")
    page = render_tick_page(validate_ticks(tmp_path / "ticks.csv", instrument="EURUSD"), tmp_path)
    assert ">2024-07<" in page
    assert ">2024-07-01<" not in page
    assert "<h3>By month (UTC)</h3>" in page


def test_spread_quantiles_are_those_of_all_ticks() -> None:
    rng = np.random.default_rng(3)
    count = 5_000
    spread = rng.integers(0, 400, count)
    ts = MONDAY_NS + np.sort(rng.integers(0, 2 * 3600, count)) * 10**9
    bid = np.full(count, 1.1)
    watch = QualityWatch(instrument("EURUSD"))
    zero = np.zeros(count)
    watch.see(TickArrays(ts, bid, np.rint(bid * 1e5 + spread) / 1e5, zero, zero))
    result = watch.result([], [], [], [])
    assert sum(result.hours.values()) == count
    for row in result.spreads:
        mine = np.sort(spread[(ts // (3600 * 10**9)) % 24 == row.hour]) / 10
        assert row.ticks == mine.size
        if mine.size:
            wanted = [mine[int(np.ceil(q * mine.size)) - 1] for q in (0.1, 0.5, 0.9, 0.99)]
            assert [row.p10, row.p50, row.p90, row.p99] == pytest.approx(wanted)


def test_pictures_draw_every_number_they_are_given() -> None:
    picture = tick_charts.rule_map(["crossed"], ["2024-05-06", "2024-05-07"], [[3, 0]])
    assert "crossed, 2024-05-06: 3" in picture
    week = tick_charts.week_map(["Monday"], [[float(hour) for hour in range(23)] + [None]])
    assert week.count("<rect") == 23
    assert "Monday 07h UTC: 7 ticks on average" in week
    assert tick_charts.spread_chart([tick_charts.Box("00h", 0, None, None, None, None)], unit="pips") == ""


def test_the_command_writes_the_page(tmp_path: Path, dirty: Path) -> None:
    arguments = [
        "validate",
        str(dirty),
        "--instrument",
        "EURUSD",
        "--html",
        str(tmp_path / "out" / "page.html"),
    ]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    assert "page: " in result.stdout
    assert (tmp_path / "out" / "page.html").read_text().startswith("<!DOCTYPE html>")
