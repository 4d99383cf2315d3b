"""Data quality as the manifest tells it.  Owns the selection and wording; validates nothing itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from itertools import groupby

import numpy as np

from aiopt.bars.manifest import BarManifest, BarOrigin, spread_of
from aiopt.market.calendar import open_time_ns
from aiopt.market.instrument import instrument
from aiopt.report.document import Data, Fact, HourRow
from aiopt.ticks.manifest import Manifest, SilentHour
from aiopt.timeframe import parse_timeframe
from aiopt.utc import DAY_NS, HOUR_NS, day_text, time_text

MOST_DAYS = 100
"""Days shown one by one; a longer span is shown as the average day of each month."""

_REASONS = {
    "empty_file": "the source says: no ticks",
    "missing_file": "the source has no file for it",
    "not_asked": "between two downloads, never asked for",
    "all_dropped": "all its ticks were dropped",
    "no_ticks": "no ticks in the source",
    "no_bars": "no bars in the source",
}
_TREATMENTS = {
    "keep": "kept, counted",
    "drop": "dropped",
    "fix": "fixed",
    "fail": "import stops at the first",
}
_UNITS = {"gap": "gaps", "missing_hour": "hours", "clock_shift": "weeks"}


def data_quality(manifest: Manifest | BarManifest, extra_spread_pips: float = 0.0) -> Data:
    """Return what the report says about the ticks or bars.

    Parameters
    ----------
    manifest : Manifest or BarManifest
        Of the data.
    extra_spread_pips : float
        By how much the backtests widened its spread.
    """
    spread = spread_of(manifest, extra_spread_pips)
    if isinstance(manifest, BarManifest):
        return _bar_quality(manifest, spread)
    return Data(
        instrument=manifest.instrument,
        synthetic=manifest.synthetic,
        source=manifest.source,
        ticks=manifest.rows,
        spread=spread,
        start_ns=manifest.first_ts_ns,
        stop_ns=manifest.last_ts_ns,
        data_hash=manifest.data_hash,
        facts=_facts(manifest, spread),
        treated=_treated(manifest),
        gaps=_gaps(manifest.silent_hours),
        hours=_hours(manifest),
    )


def _facts(manifest: Manifest, spread: str) -> list[Fact]:
    dropped = manifest.rows_read - manifest.rows
    span = f"{time_text(manifest.first_ts_ns, 'm')} to {time_text(manifest.last_ts_ns, 'm')} UTC"
    facts = [
        Fact(name="Source", value=manifest.source, note=f"format {manifest.source_format}"),
        Fact(name="Instrument", value=manifest.instrument),
        Fact(name="Span", value=span, note=f"{len(manifest.partitions)} days with ticks"),
        Fact(name="Ticks kept", value=f"{manifest.rows:,}", note=f"of {manifest.rows_read:,} read"),
        Fact(name="Ticks dropped", value=f"{dropped:,}", note=_share(dropped, manifest.rows_read)),
        Fact(name="Spread", value=spread),
        Fact(name="Data hash", value=manifest.data_hash),
        Fact(name="Source hash", value=manifest.source_hash),
    ]
    if manifest.files:
        facts.append(Fact(name="Files read", value=f"{len(manifest.files):,}"))
    if manifest.clock is not None:
        facts.append(Fact(name="Clock", value=manifest.clock.clock, note=manifest.clock.text))
    return facts + [Fact(name="Note", value=note) for note in manifest.notes]


def _bar_quality(manifest: BarManifest, spread: str) -> Data:
    left_out = [Fact(name=name, value=f"{count:,}", note="") for name, count in manifest.left_out.items()]
    left_out += [
        Fact(name=name, value=f"{count:,}", note=one.source)
        for one in manifest.sources
        for name, count in one.left_out.items()
    ]
    return Data(
        instrument=manifest.instrument,
        synthetic=manifest.synthetic,
        source=manifest.source,
        ticks=None,
        bars=manifest.bars,
        timeframe=manifest.timeframe,
        spread=spread,
        start_ns=manifest.first_ts_ns,
        stop_ns=manifest.last_ts_ns,
        data_hash=manifest.data_hash,
        facts=_bar_facts(manifest, spread),
        treated=left_out,
        gaps=_gaps(manifest.silent_hours),
        hours=_missing_bars(manifest),
    )


def _missing_bars(manifest: BarManifest) -> list[HourRow]:
    """Return how many bars an open market lacks, hour by hour; nothing of bars longer than an hour."""
    length = parse_timeframe(manifest.timeframe).ns
    if length > HOUR_NS:
        return []
    first, last = (edge // DAY_NS for edge in (manifest.first_ts_ns, manifest.last_ts_ns))
    hours = np.arange(24 * first, 24 * (last + 1), dtype=np.int64)
    always = instrument(manifest.instrument).always_open
    open_ns = np.full(hours.size, HOUR_NS) if always else open_time_ns(hours * HOUR_NS, (hours + 1) * HOUR_NS)
    edges = (hours < manifest.first_ts_ns // HOUR_NS) | (hours > manifest.last_ts_ns // HOUR_NS)
    wanted = np.where(edges, 0, open_ns // length).reshape(-1, 24)
    rows = []
    for day, expected in enumerate(wanted.tolist(), start=first):
        date = day_text(day)
        found = manifest.day_bars.get(date, [0] * 24)
        missing: list[int | None] = [max(0, most - one) for most, one in zip(expected, found, strict=True)]
        rows.append(HourRow(day=date, ticks=missing))
    if len(rows) <= MOST_DAYS:
        return rows
    months = groupby(rows, key=lambda row: row.day[:7])
    return [
        HourRow(day=month, ticks=[sum(row.ticks[hour] or 0 for row in members) for hour in range(24)])
        for month, members in ((month, list(found)) for month, found in months)
    ]


def _bar_facts(manifest: BarManifest, spread: str) -> list[Fact]:
    span = f"{time_text(manifest.first_ts_ns, 'm')} to {time_text(manifest.last_ts_ns, 'm')} UTC"
    bars = f"{manifest.bars:,} of {manifest.timeframe}"
    return [
        *(Fact(name="Source", value=one.source, note=_bar_source(one)) for one in manifest.sources),
        Fact(name="Instrument", value=manifest.instrument),
        Fact(name="Span", value=span, note=f"opening times; {len(manifest.day_bars):,} days with bars"),
        Fact(name="Bars of each side", value=bars, note="longer bars are merged from these"),
        Fact(name="Spread", value=spread),
        Fact(name="Data hash", value=manifest.data_hash, note="of bid and ask bars, the spread included"),
        *(Fact(name="Note", value=note) for note in manifest.notes),
    ]


def _bar_source(one: BarOrigin) -> str:
    span = f"{time_text(one.first_ts_ns, 'm')} to {time_text(one.last_ts_ns, 'm')} UTC"
    files = f"{len(one.files):,} {'file' if len(one.files) == 1 else 'files'}"
    return f"{one.bars:,} {one.side} bars, {span}, format {one.format}, clock {one.clock}, {files}"


def _treated(manifest: Manifest) -> list[Fact]:
    rows = []
    for rule in manifest.rules:
        treatment = _TREATMENTS.get(rule.treatment, rule.treatment)
        if rule.treatment == "drop" and rule.dropped != rule.found:
            treatment += f" ({rule.dropped:,})"
        if rule.treatment == "fix" and rule.dropped:
            treatment += f", {rule.dropped:,} dropped"
        unit = f" {_UNITS[rule.rule]}" if rule.rule in _UNITS else ""
        rows.append(Fact(name=rule.rule.replace("_", " "), value=f"{rule.found:,}{unit}", note=treatment))
    return rows


def _gaps(silent: Iterable[SilentHour]) -> list[Fact]:
    """Join silent hours that follow each other for the same reason; longest first."""
    hours = sorted((dt.datetime.fromisoformat(f"{one.hour}:00:00"), one.reason) for one in silent)
    runs = []
    for _, members in groupby(
        enumerate(hours), key=lambda item: (item[1][0] - dt.timedelta(hours=item[0]), item[1][1])
    ):
        stretch = [hour for _, hour in members]
        runs.append((len(stretch), stretch[0][0], stretch[0][1]))
    runs.sort(key=lambda run: (-run[0], run[1]))
    return [
        Fact(name=start.strftime("%Y-%m-%d %H:%M"), value=f"{length} h", note=_REASONS.get(reason, reason))
        for length, start, reason in runs
    ]


def _hours(manifest: Manifest) -> list[HourRow]:
    kept = {part.date: part.hour_rows for part in manifest.partitions}
    if not kept:
        return []
    absent = {one.hour for one in manifest.silent_hours if one.reason in {"missing_file", "not_asked"}}
    first, last = (dt.date.fromisoformat(edge(kept)) for edge in (min, max))
    days = [(first + dt.timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1)]
    rows = [
        HourRow(
            day=day,
            ticks=[
                None if f"{day}T{hour:02d}" in absent else kept.get(day, [0] * 24)[hour] for hour in range(24)
            ],
        )
        for day in days
    ]
    return rows if len(rows) <= MOST_DAYS else _monthly(rows)


def _monthly(rows: list[HourRow]) -> list[HourRow]:
    """Return one row per month: mean ticks per hour over the days that have any."""
    result = []
    for month, members in groupby(rows, key=lambda row: row.day[:7]):
        days = [row.ticks for row in members]
        means: list[int | None] = []
        for hour in range(24):
            known = [ticks for day in days if (ticks := day[hour])]
            means.append(round(sum(known) / len(known)) if known else 0)
        result.append(HourRow(day=month, ticks=means))
    return result


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else ""
