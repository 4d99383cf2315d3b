"""The two days on which the FX market is closed everywhere: Christmas Day and New Year's Day.

Owns that list and nothing more.  Banks of one country close on other days too, but prices go on; so no other
day is here, and a quiet hour of one is a quiet hour.
"""

from __future__ import annotations

import datetime as dt

from aiopt.market.calendar import NEW_YORK

HOLIDAYS: dict[tuple[int, int], str] = {(12, 25): "Christmas Day", (1, 1): "New Year's Day"}
"""Month and day of the *trading* day, which runs from 17:00 New York of the day before to 17:00."""

_TO_NEXT_DAY = dt.timedelta(hours=7)


def holiday_of(hour: int) -> str | None:
    """Return the name of the holiday that an hour lies in, None if it lies in none.

    Parameters
    ----------
    hour : int
        Hours since the epoch, UTC.

    Examples
    --------
    >>> holiday_of(int(dt.datetime(2024, 12, 24, 22, tzinfo=dt.UTC).timestamp()) // 3600)
    'Christmas Day'
    >>> holiday_of(int(dt.datetime(2024, 12, 24, 21, tzinfo=dt.UTC).timestamp()) // 3600) is None
    True
    """
    local = dt.datetime.fromtimestamp(hour * 3600, tz=NEW_YORK).replace(tzinfo=None) + _TO_NEXT_DAY
    return HOLIDAYS.get((local.month, local.day))
