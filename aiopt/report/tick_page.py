"""The data-quality page of a tick source or store: one self-contained HTML file.

Owns what the page says and which picture stands where.  Judges nothing itself: it is given a `TickCheck`.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np
from markupsafe import Markup

from aiopt import __version__
from aiopt.market.calendar import fx_weeks, open_hours
from aiopt.market.instrument import Instrument, instrument
from aiopt.report import charts, tick_charts
from aiopt.report.document import Fact
from aiopt.report.html import asset, page_environment
from aiopt.ticks.checks.quality import GapSpan, TickQuality
from aiopt.ticks.checks.tick_rules import RULES
from aiopt.ticks.importing import TickCheck
from aiopt.ticks.manifest import RuleCount
from aiopt.utc import hour_number, hour_text

MOST_DAYS = 100
"""Days shown one by one; a longer span is shown by month."""

MOST_ROWS = 25
"""Rows of the lists of gaps and of worst hours."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CLOSED, _SILENT = -1, None


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with what was found and done."""

    rule: str
    text: str
    treatment: str
    counts: str
    found: int
    share: float | None
    dropped: int
    fixed: int


def render_tick_page(check: TickCheck, folder: Path) -> str:
    """Return the page.

    Parameters
    ----------
    check : TickCheck
        From `validate_ticks`.
    folder : Path
        Where the page will lie: files are linked relative to it.
    """
    item = instrument(check.instrument)
    quality = check.quality if check.quality is not None and check.quality.hours else None
    counts = check.imported or check.rules
    return (
        page_environment()
        .get_template("ticks.html.j2")
        .render(
            c=check,
            headline=headline(check),
            name="/".join(part for part in Path(check.source).absolute().parts[-3:] if part != "/"),
            tiles=_tiles(check, counts, quality, item),
            rules=_rows(counts, check),
            found_now=[count for count in check.rules if count.found] if check.imported else [],
            texts=RULES,
            pictures=_pictures(check, counts, quality, item) if quality else {},
            gaps=_gaps(quality, folder) if quality else [],
            worst=_worst(quality, folder) if quality else [],
            by="month" if quality and len(_day_rows(quality, item)) > MOST_DAYS else "day",
            version=__version__,
            style=Markup(asset("style.css")),
        )
    )


def headline(check: TickCheck) -> str:
    """Return the verdict as a sentence."""
    counts = check.imported or check.rules
    kinds = [count.rule.replace("_", " ") for count in counts if count.found]
    if check.failures:
        return f"These ticks cannot be used as they are: {len(check.failures)} finding(s), listed below."
    if not kinds:
        return "No rule found anything."
    if check.rows_kept == check.rows_read and not any(count.dropped or count.fixed for count in counts):
        return f"Every tick stays. Counted and kept: {', '.join(kinds)}."
    return f"Usable after cleaning. Found: {', '.join(kinds)}."


def _tiles(
    check: TickCheck, counts: Sequence[RuleCount], quality: TickQuality | None, item: Instrument
) -> list[Fact]:
    read = check.rows_read + (sum(count.dropped for count in check.imported))
    dropped = sum(count.dropped for count in counts)
    fixed = sum(count.fixed for count in counts if RULES[count.rule].counts == "ticks")
    tiles = [
        Fact(name="ticks read", value=f"{read:,}"),
        Fact(name="ticks kept", value=f"{check.rows_kept:,}"),
        Fact(name=f"dropped, {dropped / max(read, 1):.2%}", value=f"{dropped:,}"),
        Fact(name="fixed", value=f"{fixed:,}"),
    ]
    if quality is not None:
        silent = sum(row.count(_SILENT) for _, row in _day_rows(quality, item))
        tiles.append(Fact(name="gaps in the session", value=f"{quality.gap_count:,}"))
        tiles.append(Fact(name="open hours without a tick", value=f"{silent:,}"))
    return tiles


def _rows(counts: Sequence[RuleCount], check: TickCheck) -> list[RuleRow]:
    read = check.rows_read + sum(count.dropped for count in check.imported)
    rows = []
    for count in counts:
        rule = RULES.get(count.rule)
        ticks = rule is None or rule.counts == "ticks"
        rows.append(
            RuleRow(
                rule=count.rule,
                text="" if rule is None else rule.text.replace("`", ""),
                treatment=count.treatment,
                counts="ticks" if rule is None else rule.counts,
                found=count.found,
                share=count.found / read if ticks and read else None,
                dropped=count.dropped,
                fixed=count.fixed,
            )
        )
    return sorted(rows, key=lambda row: row.found == 0)


def _pictures(
    check: TickCheck, counts: Sequence[RuleCount], quality: TickQuality, item: Instrument
) -> dict[str, Markup]:
    days = _day_rows(quality, item)
    shown = days if len(days) <= MOST_DAYS else _monthly(days)
    boxes = [
        tick_charts.Box(f"{one.hour:02d}h", one.ticks, one.p10, one.p50, one.p90, one.p99)
        for one in quality.spreads
    ]
    drawn = {
        "hours": charts.hour_map(
            [day for day, _ in shown], [row for _, row in shown], absent="the market was open, no tick"
        ),
        "week": tick_charts.week_map(_WEEKDAYS, _week(days)),
        "spread": tick_charts.spread_chart(boxes, unit="pips"),
        "rules": _rule_picture(counts, monthly=len(days) > MOST_DAYS),
        "gaps": _gap_picture(check, quality, item),
    }
    return {name: Markup(picture) for name, picture in drawn.items() if picture}


def _day_rows(quality: TickQuality, item: Instrument) -> list[tuple[str, list[int | None]]]:
    """Return a row of 24 counts per day: ticks, `_SILENT` where the market was open and `_CLOSED` else."""
    names = sorted(quality.hours)
    first, last = (hour_number(name) for name in (names[0], names[-1]))
    start, stop = first // 24 * 24, last // 24 * 24 + 23
    is_open = set(range(first, last + 1)) if item.always_open else set(open_hours(first, last).tolist())
    rows = []
    for day in range(start // 24, stop // 24 + 1):
        date = hour_text(day * 24)[:10]
        row: list[int | None] = []
        for hour in range(day * 24, day * 24 + 24):
            ticks = quality.hours.get(hour_text(hour))
            row.append(ticks if ticks is not None else _SILENT if hour in is_open else _CLOSED)
        rows.append((date, row))
    return rows


def _monthly(days: Sequence[tuple[str, list[int | None]]]) -> list[tuple[str, list[int | None]]]:
    """Return a row per month: mean ticks per hour over its hours with ticks."""
    result = []
    for month, members in groupby(days, key=lambda day: day[0][:7]):
        rows = [row for _, row in members]
        means: list[int | None] = []
        for hour in range(24):
            known = [ticks for row in rows if (ticks := row[hour]) is not None and ticks > 0]
            means.append(round(sum(known) / len(known)) if known else _CLOSED)
        result.append((month, means))
    return result


def _week(days: Sequence[tuple[str, list[int | None]]]) -> list[list[float | None]]:
    """Return mean ticks per weekday and hour; silent hours count as 0, hours always closed as None."""
    sums = np.zeros((7, 24))
    counts = np.zeros((7, 24))
    for date, row in days:
        weekday = dt.date.fromisoformat(date).weekday()
        for hour, ticks in enumerate(row):
            if ticks != _CLOSED:
                sums[weekday, hour] += ticks or 0
                counts[weekday, hour] += 1
    return [
        [float(sums[day, hour] / counts[day, hour]) if counts[day, hour] else None for hour in range(24)]
        for day in range(7)
    ]


def _rule_picture(counts: Sequence[RuleCount], *, monthly: bool) -> str:
    found = [count for count in counts if count.found]
    names = sorted({hour[:10] for count in found for hour in count.hours})
    if not names:
        return ""
    first, last = (dt.date.fromisoformat(name) for name in (names[0], names[-1]))
    days = [(first + dt.timedelta(days=step)).isoformat() for step in range((last - first).days + 1)]
    if monthly:
        days = sorted({day[:7] for day in days})
    column = {day: number for number, day in enumerate(days)}
    width = len(days[0])
    table = [[0] * len(days) for _ in found]
    for row, count in zip(table, found, strict=True):
        for hour, number in count.hours.items():
            row[column[hour[:width]]] += number
    return tick_charts.rule_map([count.rule for count in found], days, table)


def _gap_picture(check: TickCheck, quality: TickQuality, item: Instrument) -> str:
    if check.first_ts_ns is None or check.last_ts_ns is None or not quality.gaps:
        return ""
    closed = []
    if not item.always_open:
        opens, closes = fx_weeks(check.first_ts_ns, check.last_ts_ns)
        closed = [
            tick_charts.Span(int(shut), int(opened), "market closed")
            for shut, opened in zip(closes[:-1], opens[1:], strict=True)
            if shut < check.last_ts_ns and opened > check.first_ts_ns
        ]
    gaps = [
        tick_charts.Span(
            gap.start_ns, gap.stop_ns, f"{tick_charts.minute(gap.start_ns)} UTC: {_lasting(gap)}"
        )
        for gap in quality.gaps
    ]
    return tick_charts.gap_timeline(check.first_ts_ns, check.last_ts_ns, closed, gaps)


def _gaps(quality: TickQuality, folder: Path) -> list[dict[str, object]]:
    longest = sorted(quality.gaps, key=lambda gap: (-gap.open_s, gap.start_ns))[:MOST_ROWS]
    return [
        {
            "start": tick_charts.minute(gap.start_ns),
            "stop": tick_charts.minute(gap.stop_ns),
            "length": _lasting(gap),
            "file": _label(gap.file),
            "link": _link(gap.file, folder),
            "row": gap.row,
        }
        for gap in longest
    ]


def _worst(quality: TickQuality, folder: Path) -> list[dict[str, object]]:
    return [
        {
            "hour": f"{hour.hour[:10]} {hour.hour[11:]}h",
            "found": hour.found,
            "rules": hour.rules,
            "places": [
                {
                    "rule": place.rule,
                    "file": _label(place.file),
                    "link": _link(place.file, folder),
                    "row": place.row,
                    "quote": f"{place.bid!r} / {place.ask!r}",
                }
                for place in hour.places
            ],
        }
        for hour in quality.worst[:MOST_ROWS]
    ]


def _lasting(gap: GapSpan) -> str:
    minutes, seconds = divmod(round(gap.open_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _label(file: str) -> str:
    """Return a file's name, with its folder where the name is that of every partition."""
    path = Path(file)
    return f"{path.parent.name}/{path.name}" if path.parent.name.startswith("date=") else path.name


def _link(file: str, folder: Path) -> str:
    return quote(Path(os.path.relpath(Path(file).absolute(), folder.absolute())).as_posix())
