"""The span of a download, from text."""

from __future__ import annotations

import datetime as dt

import pytest

from aiopt.errors import ConfigError
from aiopt.ticks.download import (
    parse_span,
)
from aiopt.utc import hour_text
from tests.unit.ticks.download.faulty_server import (
    NOW,
)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2024-05-07", "2024-05-06", "--from is after --to"),
        ("2024-05-07", "2024-06-01", "which is not over: now is"),
        ("yesterday", None, "must be YYYY-MM-DD or YYYY-MM-DDTHH"),
    ],
)
def test_a_bad_span_is_refused(first: str, last: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_span(first, last, now=NOW)


def test_the_default_span_is_the_last_14_whole_days() -> None:
    first, last = parse_span(None, None, now=NOW + dt.timedelta(hours=15))
    assert (hour_text(first), hour_text(last)) == ("2024-05-18T00", "2024-05-31T23")
