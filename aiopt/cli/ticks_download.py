"""The command `aiopt ticks download`.

Owns flags and what is printed.  Knows nothing of feeds beyond their names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.cli.options import OutFolder, json_option
from aiopt.cli.output import emit, progress
from aiopt.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.ticks.download import DownloadReport, FeedAccess, Politeness

SHOWN_FAILURES = 20
"""Failed hours listed for people; ``--json`` has all."""


_ACCESS = (
    click.option(
        "--feed",
        "feeds",
        multiple=True,
        default=("bi5", "json"),
        show_default=True,
        envvar="AIOPT_TICK_FEEDS",
        show_envvar=True,
        metavar="KIND[=WHERE]",
        help="Where to ask: bi5, json, or either with a base address; dir=FOLDER of hour files; "
        "python=MODULE:FUNCTION that makes a feed. Repeat it: the next is asked where one fails.",
    ),
    click.option(
        "--proxy",
        envvar="AIOPT_DOWNLOAD_PROXY",
        show_envvar=True,
        help="http://HOST:PORT, or 'none'. Default: as HTTPS_PROXY and NO_PROXY say.",
    ),
    click.option(
        "--timeout",
        type=float,
        default=20.0,
        show_default=True,
        help="Seconds without a byte after which an attempt fails.",
    ),
    click.option(
        "--deadline",
        type=float,
        default=60.0,
        show_default=True,
        help="Seconds after which an attempt fails, even if bytes still come.",
    ),
)
_POLITENESS = (
    click.option("--parallel", type=int, default=4, show_default=True, help="Requests at the same time."),
    click.option(
        "--interval", type=float, default=0.1, show_default=True, help="Least seconds between requests."
    ),
    click.option("--attempts", type=int, default=5, show_default=True, help="Attempts per hour and feed."),
    click.option(
        "--backoff", type=float, default=1.0, show_default=True, help="Seconds before the 2nd attempt."
    ),
)


def _access_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about feeds and network; the command gets them as `access`."""

    @wraps(function)
    def with_access(
        *, feeds: tuple[str, ...], proxy: str | None, timeout: float, deadline: float, **others: Any
    ) -> Any:
        from aiopt.ticks.download import FeedAccess

        access = FeedAccess(feeds=feeds, proxy=proxy, timeout_s=timeout, deadline_s=deadline)
        return function(access=access, **others)

    return _with_options(with_access, _ACCESS)


def _politeness_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about pace and retries; the command gets them as `politeness`."""

    @wraps(function)
    def with_politeness(
        *, parallel: int, interval: float, attempts: int, backoff: float, **others: Any
    ) -> Any:
        from aiopt.ticks.download import Politeness

        politeness = Politeness(parallel=parallel, interval_s=interval, attempts=attempts, backoff_s=backoff)
        return function(politeness=politeness, **others)

    return _with_options(with_politeness, _POLITENESS)


def _with_options(function: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    for option in reversed(options):
        function = option(function)
    return function


@click.command(epilog="Example: aiopt ticks download EURUSD --from 2026-11-02 --to 2026-11-06T20")
@click.argument("symbol", default="EURUSD")
@click.option(
    "--from",
    "first",
    help="First day or hour (YYYY-MM-DD[THH], UTC). Default: 14 days back, or where the store in --out "
    "ends if that is longer ago.",
)
@click.option("--to", "last", help="Last day or hour, included. Default: yesterday.")
@click.option("--out", type=OutFolder(), help="Tick store.  [default: data/ticks/SYMBOL]")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path(".cache/downloads"),
    show_default=True,
    envvar="AIOPT_DOWNLOAD_CACHE",
    show_envvar=True,
    help="Folder that keeps the feeds' answers, unchanged.",
)
@_access_options
@_politeness_options
@click.option(
    "--rule",
    "rule_texts",
    multiple=True,
    metavar="NAME=TREATMENT",
    help="See `aiopt ticks rules`; missing_hour=keep writes a store with failed hours as holes.",
)
@click.option("--replace", is_flag=True, help="Replace the tick store in --out instead of extending it.")
@json_option
# One parameter per flag, as click passes them.
def download(
    symbol: str,
    first: str | None,
    last: str | None,
    out: Path | None,
    cache: Path,
    access: FeedAccess,
    politeness: Politeness,
    rule_texts: tuple[str, ...],
    replace: bool,
    as_json: bool,
) -> int:
    """Download the ticks of SYMBOL into a tick store, or extend one that was downloaded before.

    Every hour ends as ticks, empty, closed or failed.  Exit code 1 if one failed: run the same command again,
    and it asks for those only.
    """
    from threading import Event

    from aiopt.market.instrument import instrument
    from aiopt.ticks.checks.validation import parse_rules
    from aiopt.ticks.download import DownloadOptions, download_ticks, downloaded_until, parse_span
    from aiopt.ticks.places import DEFAULT_TICKS

    item = instrument(symbol)
    out = out or (DEFAULT_TICKS / item.symbol).absolute()
    span = parse_span(first, last, since=None if replace else downloaded_until(out, item.symbol))
    stop = Event()
    options = DownloadOptions(
        instrument=item.symbol, rules=parse_rules(rule_texts), politeness=politeness, replace=replace
    )
    with progress("downloading ticks", 100) as show:
        report = download_ticks(
            span,
            out,
            access.open(stop),
            cache,
            options,
            stop=stop,
            progress=lambda share: show(100.0 * share),
        )
    emit(as_json, report_document(report), lambda console: _print_report(console, report))
    return EXIT_OK if report.ok else EXIT_FAILED


def report_document(report: DownloadReport) -> dict[str, Any]:
    """Return what is printed as JSON."""
    from aiopt.cli.ticks_tables import summary

    return {
        "ok": report.ok,
        "instrument": report.instrument,
        "first_hour": report.first_hour,
        "last_hour": report.last_hour,
        "hours": report.counts(),
        "hours_before": report.hours_before,
        "not_asked": report.not_asked,
        "failed": report.failed,
        "fetched": report.fetched,
        "reused": report.reused,
        "requests": report.requests,
        "cache": report.cache,
        "store": None
        if report.manifest is None or report.store is None
        else summary(report.manifest, Path(report.store)),
    }


def _print_report(console: Console, report: DownloadReport) -> None:
    from rich.markup import escape

    counts = ", ".join(f"{count:,} {name}" for name, count in report.counts().items())
    console.print(f"{report.instrument} {report.first_hour} to {report.last_hour} (UTC), hours: {counts}")
    console.print(
        f"{report.fetched:,} fetched with {report.requests:,} requests, {report.reused:,} kept before"
    )
    if report.hours_before:
        console.print(f"{report.hours_before:,} other hours of the store stay")
    if report.not_asked:
        console.print(
            f"[yellow]hole:[/yellow] {report.not_asked:,} hour(s) of open market inside the store were never "
            "asked for"
        )
    console.print(f"cache      {report.cache}", soft_wrap=True)
    if report.manifest is not None:
        console.print(f"store      {report.store} ({report.manifest.rows:,} ticks)", soft_wrap=True)
        console.print(f"data hash  {report.manifest.data_hash}", soft_wrap=True)
    for hour in list(report.failed)[:SHOWN_FAILURES]:
        console.print(f"[red]failed:[/red] {hour}")
        for reason in report.reasons(hour):
            console.print(f"    {escape(reason)}", soft_wrap=True)
    if len(report.failed) > SHOWN_FAILURES:
        console.print(f"and {len(report.failed) - SHOWN_FAILURES} more")
    if report.failed:
        what = "The store was not written" if report.manifest is None else "The store has these holes"
        console.print(
            f"{what}. The same command again asks only for the {len(report.failed)} failed hour(s)."
        )
