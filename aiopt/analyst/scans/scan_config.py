"""Which windows of a series are read and by whom, as data.  Owns the settings, their rules and identity."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from aiopt.analyst.checkpoint_calibration import CheckpointCalibration
from aiopt.analyst.rule_reader import RULES_VERSION
from aiopt.analyst.schema import SCHEMA_VERSION
from aiopt.analyst.settings import AnalystSettings
from aiopt.bars.schema import BarSet
from aiopt.charts.windows import Window
from aiopt.errors import ConfigError

LAYOUT = "scan/1"
"""Version of files and columns."""

MOST_WINDOWS = 10_000_000

_NOT_DECIDING = ("endpoint", "token_variable", "timeout_s", "retries", "concurrency", "response_format")
"""Settings of the analyst that say how it is reached, not what it answers."""


class ScanConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is read.

    Attributes
    ----------
    windows : int
        Most windows.
    every : int or None
        A window ends every so many bars, and the last `windows` of them are read.  None: the windows are
        spread evenly over the series.
    reader : {"rules", "model"}
        Who reads.
    analyst : AnalystSettings
        Bars of a window, picture, prompts; for a model also where it answers and how many requests are in
        flight (`concurrency`).
    calibrations : tuple of CheckpointCalibration
        Of checkpoints that may answer: fills the column `calibrated` where that revision did.

    Raises
    ------
    ConfigError
        If a value is out of range, or a model is to read and no endpoint is named.
    """

    windows: int = 1_000
    every: int | None = None
    reader: Literal["rules", "model"] = "rules"
    analyst: AnalystSettings = AnalystSettings()
    calibrations: tuple[CheckpointCalibration, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("windows", self.windows), ("every", self.every)):
            if value is not None and not 1 <= value <= MOST_WINDOWS:
                msg = f"`1 <= {name} <= {MOST_WINDOWS}` must hold, but got {name}={value}."
                raise ConfigError(f"{msg} Choose a value in that range.")
        if self.reader == "model" and self.analyst.endpoint is None:
            raise ConfigError("A model reads through an endpoint, but none is named. Add --endpoint URL.")

    @property
    def draws(self) -> bool:
        """Whether anybody looks at a picture."""
        return self.reader == "model" and self.analyst.picture

    def deciding(self, bars: BarSet) -> dict[str, Any]:
        """Return everything that decides the readings; what differs in it is another scan."""
        analyst: dict[str, Any] = {"bars": self.analyst.bars}
        versions = {"layout": LAYOUT, "rules": RULES_VERSION}
        if self.reader == "model":
            analyst = msgspec.to_builtins(self.analyst)
            for name in _NOT_DECIDING:
                del analyst[name]
            versions = {"layout": LAYOUT, "schema": SCHEMA_VERSION}
        return {
            "windows": self.windows,
            "every": self.every,
            "reader": self.reader,
            "analyst": analyst,
            "bars": bars.data_hash,
            "instrument": bars.instrument.symbol,
            "timeframe": bars.timeframe.label,
            "versions": versions,
            "calibrations": msgspec.to_builtins(self.calibrations),
        }


def windows_of(config: ScanConfig, n_bars: int) -> list[Window]:
    """Return the windows to read, in the order of time.

    Parameters
    ----------
    config : ScanConfig
        How many, and how far apart.
    n_bars : int
        Of the series.

    Raises
    ------
    ConfigError
        If the series is shorter than one window.
    """
    length = config.analyst.bars
    if n_bars < length:
        msg = f"`window <= bars` must hold, but a window has {length} bars and the series {n_bars}. "
        raise ConfigError(f"{msg}Choose a shorter --window, or give more bars.")
    if config.every is not None:
        stops = np.arange(n_bars, length - 1, -config.every)[: config.windows][::-1]
    else:
        count = min(config.windows, n_bars - length + 1)
        stops = (
            np.linspace(length, n_bars, count).round().astype(np.int64) if count > 1 else np.array([n_bars])
        )
    return [(int(stop) - length, int(stop)) for stop in stops]
