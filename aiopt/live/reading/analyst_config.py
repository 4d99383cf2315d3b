"""Who reads the charts of a session, which charts, and from when on a reading counts.

Owns the settings and their rules.  Asks nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from aiopt.analyst.checkpoint_calibration import read_calibration
from aiopt.analyst.scans.scan_config import ScanConfig
from aiopt.analyst.settings import AnalystSettings
from aiopt.errors import ConfigError, SpecError
from aiopt.strategy.reading_gate import gate_plan
from aiopt.strategy.spec import StrategySpec
from aiopt.timeframe import parse_timeframe

MOST_EVERY = 100_000
MOST_SECONDS = 86_400.0

_NOT_DECIDING = ("endpoint", "token_variable", "timeout_s", "retries", "concurrency", "response_format")
"""Settings of the analyst that may change while a session lives: how it is reached."""


class LiveAnalyst(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The analyst of a session.

    Attributes
    ----------
    reader : {"rules", "model"}
        Who reads at the beginning; `LiveReader.switch` changes it while the session runs.
    settings : AnalystSettings
        As for `aiopt analyst scan`: endpoint, model, prompts, picture, bars of a chart.
    timeframe : str or None
        Bars of the charts; None: those of the strategies, which must then be of one timeframe.
    asks_at : {"bar", "pattern"}
        Ask about every chart, or about those alone whose last bar completes a pattern that the rules see.
    every : int
        A chart ends with every so many bars.
    limit_s : float
        Seconds of the clock a model has for a chart, questions asked again included.
    fallback : {"rules", "none"}
        Where the model is slow, wrong or gone: the rules' reading counts, marked, or there is none.
    latency_s : float or None
        Market time from a chart's end to its reading, at least.  None: as long as it took.  See
        `aiopt.live.reading.live_reader` for replays that are faster than the clock.
    calibrations : tuple of str
        Checkpoints, or their files, that say how often readings of a confidence are right.

    Raises
    ------
    ConfigError
        On construction, naming the rule, the value and the remedy.
    """

    reader: Literal["rules", "model"] = "rules"
    settings: AnalystSettings = AnalystSettings()
    timeframe: str | None = None
    asks_at: Literal["bar", "pattern"] = "bar"
    every: int = 1
    limit_s: float = 10.0
    fallback: Literal["rules", "none"] = "rules"
    latency_s: float | None = None
    calibrations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.timeframe is not None:
            parse_timeframe(self.timeframe)
        if not 1 <= self.every <= MOST_EVERY:
            msg = f"`1 <= analyst.every <= {MOST_EVERY}` must hold, but got {self.every!r}. Choose e.g. 1."
            raise ConfigError(msg)
        if not 0 < self.limit_s <= MOST_SECONDS:
            msg = f"`0 < analyst.limit_s <= {MOST_SECONDS:g}` must hold, but got {self.limit_s!r}."
            raise ConfigError(f"{msg} Choose e.g. 10.")
        if self.latency_s is not None and not 0 <= self.latency_s <= MOST_SECONDS:
            msg = f"`0 <= analyst.latency_s <= {MOST_SECONDS:g}` must hold, but got {self.latency_s!r}."
            raise ConfigError(f"{msg} Choose e.g. 2, or leave it out.")
        if self.reader == "model" and self.settings.endpoint is None:
            msg = "A model reads through an endpoint, but `analyst.settings.endpoint` is not given. Add it"
            raise ConfigError(f"{msg}, e.g. http://127.0.0.1:8000/v1, or let the rules read (reader: rules).")

    def resolved(self, folder: Path) -> LiveAnalyst:
        """Return the settings with relative paths counted from a folder."""
        return msgspec.structs.replace(
            self, calibrations=tuple(str(folder / one) for one in self.calibrations)
        )

    def deciding(self) -> dict[str, Any]:
        """Return what must stay the same while a session lives."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        del found["limit_s"]
        for name in _NOT_DECIDING:
            del found["settings"][name]
        return found

    def scan(self) -> ScanConfig:
        """Return how a scan would ask the same.

        Raises
        ------
        DataError
            If a calibration cannot be read.
        """
        calibrations = tuple(read_calibration(Path(one)) for one in self.calibrations)
        return ScanConfig(reader=self.reader, analyst=self.settings, calibrations=calibrations)


def check_asked(spec: StrategySpec, analyst: LiveAnalyst | None) -> None:
    """Refuse a strategy that asks for readings where nobody reads, or for a figure no reading will have.

    Raises
    ------
    SpecError
        Names the strategy and the remedy.
    """
    plan = gate_plan(spec)
    if plan is None:
        return
    if analyst is None:
        msg = f"strategy {spec.name}: readings: it asks for readings, but nobody reads in this session. Add "
        raise SpecError(f"{msg}`analyst` to its configuration, or remove `readings` to trade every signal.")
    if "calibrated" in plan.figures and analyst.reader == "model" and not analyst.calibrations:
        msg = f"strategy {spec.name}: readings: it asks for the figure calibrated, but no calibration of the "
        raise SpecError(f"{msg}model is given. Add `analyst.calibrations`, or ask for confidence.")
