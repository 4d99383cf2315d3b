"""What ticks look like hour by hour: how many, how wide the spread, where gaps are and rules found most.

Owns the figures a data-quality page shows, gathered in one pass.  Knows no page and no rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from aiopt.market.instrument import Instrument
from aiopt.ticks.checks.validation import Finding, Gap
from aiopt.ticks.manifest import RuleCount
from aiopt.ticks.schema import TickArrays
from aiopt.utc import HOUR_NS, hour_text

MOST_HOURS = 40
"""Hours with the most findings that are kept with places."""

MOST_GAPS = 500
"""Longest gaps that are kept."""

_WIDEST = 20_000
_QUANTILES = (0.10, 0.50, 0.90, 0.99)


class SpreadHour(msgspec.Struct, frozen=True, kw_only=True):
    """The spread in an hour of the day, UTC: exact quantiles over all ticks kept, in pips; null without any.

    Quantile q of n sorted spreads is the one at place ``ceil(q n)``.  Spreads of 20,000 price steps and more
    count as 20,000.
    """

    hour: int
    ticks: int
    p10: float | None
    p50: float | None
    p90: float | None
    p99: float | None


class GapSpan(msgspec.Struct, frozen=True, kw_only=True):
    """Open market without ticks: `open_s` seconds of it; the tick that ends it stands in `row` of `file`."""

    start_ns: int
    stop_ns: int
    open_s: float
    file: str
    row: int


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The first tick of an hour that a rule found, and where it was read."""

    rule: str
    file: str
    row: int
    ts_ns: int
    bid: float
    ask: float


class WorstHour(msgspec.Struct, frozen=True, kw_only=True):
    """An hour with findings: how many each rule has, and its first place."""

    hour: str
    found: int
    rules: dict[str, int]
    places: list[Place]


class TickQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a data-quality page.

    Attributes
    ----------
    hours : dict of str to int
        Ticks kept per UTC hour, ``"2014-05-02T12"``; hours without ticks are left out.
    spreads : list of SpreadHour
        24, from midnight UTC.
    gaps : list of GapSpan
        In order of time; of more than `MOST_GAPS` the longest.
    gap_count : int
        All gaps.
    worst : list of WorstHour
        Most findings first.
    """

    hours: dict[str, int]
    spreads: list[SpreadHour]
    gaps: list[GapSpan]
    gap_count: int
    worst: list[WorstHour]


class QualityWatch:
    """Gather the figures from the days of a source as they are judged."""

    def __init__(self, instrument: Instrument) -> None:
        self._item = instrument
        self._hours: Counter[int] = Counter()
        self._spreads = np.zeros((24, _WIDEST + 1), dtype=np.int64)

    def see(self, ticks: TickArrays) -> None:
        """Count the ticks of a day that were kept, in order of time."""
        hours = ticks.ts_event_ns // HOUR_NS
        starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
        steps = np.rint((ticks.ask - ticks.bid) * self._item.price_scale).astype(np.int64).clip(0, _WIDEST)
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(ticks)], strict=True):
            hour = int(hours[start])
            self._hours[hour] += stop - start
            self._spreads[hour % 24] += np.bincount(steps[start:stop], minlength=_WIDEST + 1)

    def result(
        self,
        counts: Sequence[RuleCount],
        findings: Iterable[Finding],
        gaps: Sequence[Gap],
        files: Sequence[Path],
    ) -> TickQuality:
        """Return the figures, with what the rules found and where."""
        longest = sorted(gaps, key=lambda gap: (-gap.open_s, gap.start_ns))[:MOST_GAPS]
        return TickQuality(
            hours={hour_text(hour): count for hour, count in sorted(self._hours.items())},
            spreads=[self._spread(hour) for hour in range(24)],
            gaps=[
                GapSpan(
                    start_ns=gap.start_ns,
                    stop_ns=gap.stop_ns,
                    open_s=gap.open_s,
                    file=str(files[gap.file]),
                    row=gap.row,
                )
                for gap in sorted(longest, key=lambda gap: gap.start_ns)
            ],
            gap_count=len(gaps),
            worst=_worst(counts, findings, files),
        )

    def _spread(self, hour: int) -> SpreadHour:
        row = self._spreads[hour]
        reached = np.cumsum(row)
        total = int(reached[-1])
        if not total:
            return SpreadHour(hour=hour, ticks=0, p10=None, p50=None, p90=None, p99=None)
        pip = self._item.pip_size * self._item.price_scale
        places = np.ceil(np.array(_QUANTILES) * total)
        p10, p50, p90, p99 = (np.searchsorted(reached, places, side="left") / pip).tolist()
        return SpreadHour(hour=hour, ticks=total, p10=p10, p50=p50, p90=p90, p99=p99)


def _worst(
    counts: Sequence[RuleCount], findings: Iterable[Finding], files: Sequence[Path]
) -> list[WorstHour]:
    hours: dict[str, dict[str, int]] = {}
    for count in counts:
        for hour, found in count.hours.items():
            hours.setdefault(hour, {})[count.rule] = found
    ranked = sorted(hours.items(), key=lambda item: (-sum(item[1].values()), item[0]))[:MOST_HOURS]
    places: dict[str, list[Place]] = {hour: [] for hour, _ in ranked}
    for one in findings:
        hour = hour_text(one.hour)
        if hour in places:
            file = str(files[one.file])
            place = Place(rule=one.rule, file=file, row=one.row, ts_ns=one.ts_ns, bid=one.bid, ask=one.ask)
            places[hour].append(place)
    return [
        WorstHour(hour=hour, found=sum(rules.values()), rules=rules, places=places[hour])
        for hour, rules in ranked
    ]
