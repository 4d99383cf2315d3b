"""The span of hours of a download: from text to hours since the epoch.

Owns the notation and the span that counts where none is given.  Knows nothing of feeds.
"""

from __future__ import annotations

import datetime as dt

from aiopt.errors import ConfigError
from aiopt.utc import hour_text

DEFAULT_DAYS = 14


def parse_span(
    first: str | None, last: str | None, *, now: dt.datetime | None = None, since: int | None = None
) -> tuple[int, int]:
    """Return the first and the last hour of a span, both included, in hours since the epoch.

    Parameters
    ----------
    first, last : str or None
        ``YYYY-MM-DD``, a whole day, or ``YYYY-MM-DDTHH``, an hour; UTC.  Without `last` the span ends with
        yesterday, without `first` it is 14 days long.
    now : datetime, optional
        The present, with its time zone.
    since : int, optional
        Last hour of the store that is extended: without `first` the span starts after it, if that is more
        than 14 days back, so that no hole arises.

    Raises
    ------
    ConfigError
        If a text is no day or hour, the span is empty, or an hour of it is not over.

    Examples
    --------
    >>> start, end = parse_span("2019-02-04", "2019-02-05T11")
    >>> end - start + 1
    36
    """
    this_hour = hour_of(now)
    end = this_hour // 24 * 24 - 1 if last is None else _hour(last, "--to", last_of_day=True)
    if first is None:
        start = (end // 24 - DEFAULT_DAYS + 1) * 24
        start = start if since is None else min(start, since + 1)
    else:
        start = _hour(first, "--from")
    if start > end:
        msg = f"--from is after --to: {hour_text(start)} to {hour_text(end)}. "
        raise ConfigError(msg + "Swap them; both are included.")
    if end >= this_hour:
        msg = f"The span ends with {hour_text(end)}, which is not over: now is "
        raise ConfigError(f"{msg}{hour_text(this_hour)} (UTC). Give --to {hour_text(this_hour - 1)}.")
    return start, end


def hour_of(moment: dt.datetime | None) -> int:
    """Return the hour since the epoch of a time with its zone; of the present, if None."""
    return int((moment or dt.datetime.now(dt.UTC)).timestamp()) // 3600


def _hour(text: str, option: str, *, last_of_day: bool = False) -> int:
    for pattern, whole_day in (("%Y-%m-%d", True), ("%Y-%m-%dT%H", False)):
        try:
            moment = dt.datetime.strptime(text, pattern).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
        return hour_of(moment) + (23 if whole_day and last_of_day else 0)
    msg = f"{option} must be YYYY-MM-DD or YYYY-MM-DDTHH (UTC), but got {text!r}. E.g. 2026-11-02T07."
    raise ConfigError(msg)
