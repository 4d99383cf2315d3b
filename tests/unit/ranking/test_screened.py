"""What is said of trials and entries beyond the screen."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.ranking.screened import BeyondScreen, Screened

REASON = "The screen holds 24 series of 2,000,000 bars, but this strategy may read 30."


def test_each_group_says_how_many_and_why() -> None:
    found = Screened(
        trials=40,
        confirmed=9,
        beyond=[
            BeyondScreen(what="giant@1m", count=1_200, reason=REASON),
            BeyondScreen(what="giant@5m", count=1, reason=REASON),
        ],
    )
    assert found.lines == [
        f"1,200 trials of giant@1m ran in the engine, not by the screen: {REASON}",
        f"1 trial of giant@5m ran in the engine, not by the screen: {REASON}",
    ]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Screened) == found


def test_a_later_format_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"screen\.json has format 2, and this version"):
        msgspec.json.decode(b'{"format": 2}', type=Screened)
