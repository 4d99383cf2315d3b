"""What `aiopt ticks` prints of stores and checks, for people and as JSON.

Owns columns, words and the keys of the JSON.  Measures and judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopt.cli.output import number, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.ticks.checks.quality import GapSpan
    from aiopt.ticks.importing import TickCheck
    from aiopt.ticks.manifest import Manifest, RuleCount

WORST_HOURS = 5
"""Hours and gaps listed by `validate`: those with the most findings, and the longest."""

# Rules that count something else than ticks have no share of them.
_NOT_TICKS = {"gap": "gaps", "missing_hour": "hours", "clock_shift": "weeks"}


def summary(manifest: Manifest, out: Path) -> dict[str, Any]:
    """Return what `import` and `sample` print as JSON: the manifest's figures without its long lists."""
    return {
        "out": str(out),
        "instrument": manifest.instrument,
        "source": manifest.source,
        "format": manifest.source_format,
        "synthetic": manifest.synthetic,
        "data_hash": manifest.data_hash,
        "rows": manifest.rows,
        "rows_read": manifest.rows_read,
        "first_ts_ns": manifest.first_ts_ns,
        "last_ts_ns": manifest.last_ts_ns,
        "partitions": len(manifest.partitions),
        "silent_hours": len(manifest.silent_hours),
        "rules": _rule_rows(manifest.rules, manifest.rows_read),
        "clock": manifest.clock,
        "notes": manifest.notes,
    }


def check_document(check: TickCheck, html: Path | None = None) -> dict[str, Any]:
    """Return what `validate` prints as JSON."""
    quality = check.quality
    return {
        "ok": check.ok,
        "source": check.source,
        "format": check.format,
        "instrument": check.instrument,
        "synthetic": check.synthetic,
        "data_hash": check.data_hash,
        "rows_read": check.rows_read,
        "rows_kept": check.rows_kept,
        "first_ts_ns": check.first_ts_ns,
        "last_ts_ns": check.last_ts_ns,
        "rules": _rule_rows(check.rules, check.rows_read),
        "imported": _rule_rows(
            check.imported, check.rows_read + sum(rule.dropped for rule in check.imported)
        ),
        "worst_hours": [] if quality is None else quality.worst[:WORST_HOURS],
        "spread_pips": [] if quality is None else quality.spreads,
        "gaps": 0 if quality is None else quality.gap_count,
        "longest_gaps": [] if quality is None else _longest(quality.gaps),
        "ticks_per_hour": {} if quality is None else quality.hours,
        "failures": check.failures,
        "clock": check.clock,
        "notes": check.notes,
        "html": None if html is None else str(html),
    }


def _longest(gaps: Sequence[GapSpan]) -> list[GapSpan]:
    return sorted(gaps, key=lambda gap: (-gap.open_s, gap.start_ns))[:WORST_HOURS]


def _rule_rows(counts: Sequence[RuleCount], rows_read: int) -> list[dict[str, Any]]:
    return [
        {
            "rule": count.rule,
            "treatment": count.treatment,
            "found": count.found,
            "share": None if count.rule in _NOT_TICKS or not rows_read else count.found / rows_read,
            "dropped": count.dropped,
            "fixed": count.fixed,
        }
        for count in counts
    ]


def print_store(console: Console, manifest: Manifest, out: Path) -> None:
    """Print what a store holds and what its import found."""
    from aiopt.utc import stamp_text

    what = "synthetic ticks" if manifest.synthetic else "ticks"
    console.print(
        f"{manifest.rows:,} {what} of {manifest.instrument} on {len(manifest.partitions)} days, "
        f"{stamp_text(manifest.first_ts_ns)} to {stamp_text(manifest.last_ts_ns)}"
    )
    console.print(f"source     {manifest.source} ({manifest.source_format})", soft_wrap=True)
    console.print(f"store      {out}", soft_wrap=True)
    console.print(f"data hash  {manifest.data_hash}", soft_wrap=True)
    if manifest.clock is not None:
        console.print(f"clock      {manifest.clock.text}", soft_wrap=True)
    _print_rules(console, manifest.rules, manifest.rows_read)
    if manifest.silent_hours:
        console.print(f"{len(manifest.silent_hours)} hour(s) of open market without ticks, see manifest.json")
    for note in manifest.notes:
        console.print(f"note: {note}", soft_wrap=True)


def print_check(console: Console, check: TickCheck, document: dict[str, Any]) -> None:
    """Print what a check found; `document` is its `check_document`."""
    console.print(f"{check.rows_read:,} ticks of {check.instrument} read, {check.rows_kept:,} kept")
    _print_rules(console, check.rules, check.rows_read)
    if check.imported:
        dropped = sum(rule.dropped for rule in check.imported)
        fixed = sum(rule.fixed for rule in check.imported)
        console.print(f"at the import {dropped:,} were dropped and {fixed:,} fixed, see manifest.json")
    if document["worst_hours"]:
        console.print("hours with most findings (UTC), and the first place of each rule:")
    for hour in document["worst_hours"]:
        by_rule = ", ".join(f"{rule} {found:,}" for rule, found in hour.rules.items())
        console.print(f"  {hour.hour}  {hour.found:>8,}  {by_rule}")
        for place in hour.places:
            console.print(f"      {place.rule}: {_escaped(place.file)}, row {place.row}", soft_wrap=True)
    if document["html"]:
        console.print(f"page: {_escaped(document['html'])}", soft_wrap=True)
    if check.clock is not None:
        console.print(f"clock: {check.clock.text}")
    for note in check.notes:
        console.print(f"note: {note}", soft_wrap=True)
    for failure in check.failures:
        console.print(f"[red]failed:[/red] {_escaped(failure)}", soft_wrap=True)
    if check.ok:
        console.print("ok")


def _print_rules(console: Console, counts: Sequence[RuleCount], rows_read: int) -> None:
    shown = [count for count in counts if count.found]
    if not shown:
        console.print(f"no rule found anything ({len(counts)} rules)")
        return
    counted = [number(name) for name in ("found", "share", "dropped", "fixed")]
    rows = []
    for count in shown:
        share = _NOT_TICKS.get(count.rule) or f"{count.found / max(rows_read, 1):.3%}"
        numbers = (f"{count.found:,}", share, f"{count.dropped:,}", f"{count.fixed:,}")
        rows.append((count.rule, count.treatment, *numbers))
    print_table(console, ["rule", "treatment", *counted], rows)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
