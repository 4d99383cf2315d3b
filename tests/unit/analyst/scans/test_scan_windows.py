"""Which windows a scan reads."""

from __future__ import annotations

import pytest

from aiopt.analyst import AnalystSettings
from aiopt.analyst.scans import ScanConfig, windows_of
from aiopt.errors import ConfigError


def test_windows_are_spread_over_the_series_from_its_first_to_its_last_bar() -> None:
    windows = windows_of(ScanConfig(windows=5), 1_000)
    assert windows == [(0, 120), (220, 340), (440, 560), (660, 780), (880, 1_000)]
    assert windows_of(ScanConfig(windows=1), 1_000) == [(880, 1_000)]


def test_a_short_series_gives_every_window_once() -> None:
    windows = windows_of(ScanConfig(windows=1_000), 123)
    assert windows == [(0, 120), (1, 121), (2, 122), (3, 123)]


def test_every_takes_the_last_windows_at_that_distance() -> None:
    windows = windows_of(ScanConfig(windows=3, every=12), 1_000)
    assert windows == [(856, 976), (868, 988), (880, 1_000)]
    assert windows_of(ScanConfig(windows=99, every=12), 133) == [(1, 121), (13, 133)]


def test_a_series_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a window has 120 bars and the series 119. Choose a shorter"):
        windows_of(ScanConfig(), 119)


@pytest.mark.parametrize(("name", "value"), [("windows", 0), ("every", 0), ("windows", 10**9)])
def test_numbers_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"`1 <= {name} <= 10000000` must hold, but got {name}={value}"):
        ScanConfig(**{name: value})


def test_a_model_needs_an_endpoint() -> None:
    with pytest.raises(ConfigError, match=r"none is named. Add --endpoint URL"):
        ScanConfig(reader="model", analyst=AnalystSettings())
