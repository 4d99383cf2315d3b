"""The analyst of a session: which charts are asked about, when an answer counts, and what is kept.

A chart ends with a bar.  It is asked about at the quote that ends the bar, in the background, and trading
goes on.  The answer counts from the moment it was known, `known_ns`, as in a backtest over logged readings:
at every close behind it, of every strategy.  That moment is in the market's time, and never before a quote
that has been seen when the answer is taken, so no decision that was made could have known it.

=====================  =================================================================================
the feed               an answer is known
=====================  =================================================================================
in real time           when it came: the stamp of the quote that ended the bar plus the seconds it took
a replay at another    the same by the same sum, but the replay waits for every answer, as seconds of
pace                   the clock are not seconds of such a market.  Rules, who take milliseconds: at once.
either, `latency_s`    no sooner than so many seconds behind the chart's end; in a replay exactly then
=====================  =================================================================================

So a replay by rules, or with `latency_s`, gives the same readings at the same times whenever it is run.

Questions are numbered and part of the session's state: one that was under way when the session ended is asked
again when it goes on, by its number.  In real time the answer then counts from the first quote after that.

Owns the questions.  Knows neither strategies nor orders; what is written where is the session's matter.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from aiopt.analyst.scans.reading_log import market_reading
from aiopt.analyst.scans.reading_rows import WindowReading
from aiopt.analyst.scans.scan_config import ScanConfig
from aiopt.backtest.growing_bars import GrowingBars, GrowingSide
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.errors import ConfigError
from aiopt.live.reading.analyst_config import LiveAnalyst
from aiopt.live.reading.arrivals import Arrivals
from aiopt.live.reading.background import Answer, BackgroundReader, Chart, Terms

HISTORY = 1_000
"""Bars before a chart that its indicators are made of: an average of 50 has then forgotten where it began."""

END_OF_TIME_NS = 2**63 - 1
"""Later than every quote."""


class LoggedReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of the session's readings.

    Attributes
    ----------
    reading : WindowReading
        `seconds` go from the chart's end to the moment it counts from.
    features : dict of str to float
        Values at the chart's last bar: the chart's indicators by title, the strategies' as ``A1.rsi``.
    took_s : float
        Seconds of the clock from taking the chart up to the answer.
    """

    reading: WindowReading
    features: dict[str, float] = {}
    took_s: float = 0.0


@dataclass
class _Question:
    """A chart that is being read; `asked_ns` None: from before a restart, to be set by the next quote."""

    number: int
    bar: int
    end_ns: int
    asked_ns: int | None
    features: dict[str, float]
    answer: Future[Answer]


class LiveReader:
    """Reads the charts of one series of bars.

    Parameters
    ----------
    config : LiveAnalyst
        Who reads, what and when.
    bars : GrowingBars
        The series.
    waits : bool
        Whether the feed waits for answers: a replay at another pace than the clock's.
    """

    def __init__(self, config: LiveAnalyst, bars: GrowingBars, *, waits: bool) -> None:
        self.config, self._bars, self._waits = config, bars, waits
        self.arrivals = Arrivals()
        self.features: Callable[[], Mapping[str, float]] = dict
        """What the strategies' indicators are at the bar that has just ended."""
        self._scan = config.scan()
        self._background = BackgroundReader()
        self._open: dict[int, _Question] = {}
        self._next = 0
        self._fresh: list[tuple[int, str]] = []
        self._due = END_OF_TIME_NS

    def __repr__(self) -> str:
        return f"LiveReader({self.model or 'rules'}, {self._next} charts, {len(self._open)} under way)"

    # --- asking -------------------------------------------------------------------------------------------

    @property
    def model(self) -> str | None:
        """The model that is asked, or several joined by commas; None: the rules read."""
        return ", ".join(self._scan.analyst.models) if self._scan.reader == "model" else None

    def bar_ended(self, now_ns: int) -> None:
        """Ask about the chart that ends with the last bar, if one is due; returns at once.

        Parameters
        ----------
        now_ns : int
            The quote that ended it.
        """
        bar = len(self._bars) - 1
        if (bar + 1) % self.config.every or bar + 1 < self._scan.analyst.bars:
            return
        number = self._next
        self._next += 1
        self._ask(number, bar, now_ns, dict(self.features()))

    def _ask(self, number: int, bar: int, asked_ns: int | None, features: dict[str, float]) -> None:
        config, window = self.config, self._scan.analyst.bars
        terms = Terms(self._scan, config.limit_s, config.fallback == "rules", config.asks_at == "pattern")
        first = max(0, bar + 1 - window - HISTORY)
        bars = bars_between(self._bars, first, bar + 1)
        chart = Chart(number, bars, (bar + 1 - window - first, bar + 1 - first))
        end_ns = int(bars.bid.ts_open_ns[-1]) + bars.timeframe.ns
        answer = self._background.ask(chart, terms)
        self._open[number] = _Question(number, bar, end_ns, asked_ns, features, answer)
        self._due = min(map(self._due_ns, self._open.values()))

    # --- answers ------------------------------------------------------------------------------------------

    def _fixed_s(self) -> float | None:
        """Return the seconds that stand for those an answer takes, where they do."""
        if self.config.latency_s is not None:
            return self.config.latency_s
        return 0.0 if self._scan.reader == "rules" and self._waits else None

    def _due_ns(self, question: _Question) -> int:
        """Return when a replay must have the answer."""
        asked = 0 if question.asked_ns is None else question.asked_ns
        return max(asked, question.end_ns + round((self._fixed_s() or 0.0) * 1e9))

    def owes(self, ts_ns: int) -> bool:
        """Return whether the feed has to wait before it gives a quote of that time."""
        return self._waits and self._due < ts_ns

    async def settle(self, ts_ns: int = END_OF_TIME_NS) -> None:
        """Wait for the answers that are due before a time; all, if none is given."""
        for question in list(self._open.values()):
            if self._due_ns(question) < ts_ns:
                await asyncio.wrap_future(question.answer)

    def take(self, last_ns: int, ts_ns: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Take the answers that have come, before what a quote causes.

        Parameters
        ----------
        last_ns : int
            The quote before it: all that was decided was decided by then.
        ts_ns : int or None
            The quote; None: there is none to come.

        Yields
        ------
        tuple of str and dict
            What is told of each that was asked about, see `told`.
        """
        if not self._open:
            return
        for number in sorted(self._open):
            question = self._open[number]
            if question.asked_ns is None:
                question.asked_ns = last_ns if ts_ns is None else ts_ns
            is_due = not self._waits or ts_ns is None or self._due_ns(question) < ts_ns
            if not (is_due and question.answer.done()):
                continue
            del self._open[number]
            row = self._keep(question, question.answer.result(), last_ns)
            if row.reading.failure != "unasked":
                yield told(row)
        self._due = min(map(self._due_ns, self._open.values()), default=END_OF_TIME_NS)

    def _keep(self, question: _Question, answer: Answer, last_ns: int) -> LoggedReading:
        """Let a reading count from when it was known."""
        came = answer.reading
        assert question.asked_ns is not None
        known = max(self._due_ns(question), last_ns)
        if not self._waits or self._fixed_s() is None:
            known = max(known, question.asked_ns + round(came.seconds * 1e9))
        reading = msgspec.structs.replace(came, seconds=(known - came.ts_end_ns) / 1e9)
        row = LoggedReading(
            reading=reading, features={**answer.features, **question.features}, took_s=came.seconds
        )
        self._fresh.append((question.number, msgspec.json.encode(row).decode()))
        if not reading.failure:
            self.arrivals.add(market_reading(reading))
        return row

    # --- state --------------------------------------------------------------------------------------------

    def kept(self) -> list[tuple[int, str]]:
        """Return number and record of the readings taken since the last call: rows to be committed."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def state(self) -> str:
        """Return what the session goes on from, beside the rows: who reads, and the questions under way."""
        return json.dumps(
            {
                "next": self._next,
                "reader": self._scan.reader,
                "models": self._scan.analyst.models,
                "asked": [[one.number, one.bar, one.asked_ns, one.features] for one in self._open.values()],
            }
        )

    def load(self, rows: Iterable[str]) -> None:
        """Take up the readings that were committed; before the strategies are fed the bars again."""
        for text in rows:
            reading = msgspec.json.decode(text, type=LoggedReading).reading
            if not reading.failure:
                self.arrivals.add(market_reading(reading))

    def go_on(self, state: str) -> None:
        """Take up a state that `state` returned, once the bars are there; asks what was under way again."""
        found = json.loads(state)
        self._next = found["next"]
        self._scan = self._scan_by(found["reader"], tuple(found["models"]))
        for number, bar, asked_ns, features in found["asked"]:
            self._ask(number, bar, asked_ns if self._waits else None, features)

    def close(self) -> None:
        """End the thread; what is under way is asked again by whoever goes on."""
        self._background.close()

    # --- who reads ----------------------------------------------------------------------------------------

    async def switch(self, model: str | None) -> tuple[str | None, str | None]:
        """Let another model read from the next chart on; returns who read and who does.

        Parameters
        ----------
        model : str or None
            As the endpoint serves it; None: the rules.

        Raises
        ------
        ConfigError
            If there is no endpoint, or it serves no such model.
        EndpointError
            If it does not say what it serves.
        """
        before = self.model
        if model is None:
            self._scan = self._scan_by("rules", self._scan.analyst.models)
            return before, None
        if self.config.settings.endpoint is None:
            msg = f"A model reads through an endpoint, but the session has none to ask for {model!r}. Give "
            raise ConfigError(f"{msg}`analyst.settings.endpoint` and start the session again.")
        patience = min(self.config.settings.timeout_s, self.config.limit_s)
        settings = msgspec.structs.replace(self.config.settings, timeout_s=max(patience, 0.05))
        served = await asyncio.wrap_future(self._background.served(settings))
        if model not in served:
            msg = f"The endpoint must serve the model, but {self.config.settings.endpoint} has no {model!r}."
            raise ConfigError(f"{msg} It serves {', '.join(served) or 'none'}.")
        self._scan = self._scan_by("model", (model,))
        return before, model

    def _scan_by(self, reader: Any, models: tuple[str, ...]) -> ScanConfig:
        settings = msgspec.structs.replace(self._scan.analyst, models=models)
        return msgspec.structs.replace(self._scan, reader=reader, analyst=settings)


def told(row: LoggedReading) -> tuple[str, dict[str, Any]]:
    """Return what is told of a chart: ``"reading"`` with the fields of `aiopt.bus.events.Reading`.

    Of one without a reading: ``"no_reading"`` with series, bar, `failure` and `error`.
    """
    reading = row.reading
    about: dict[str, Any] = {
        "series": f"{reading.instrument}-{reading.timeframe}",
        "bar_ns": int(reading.sample.rpartition("-")[2]),
    }
    if reading.failure:
        return "no_reading", {**about, "failure": reading.failure, "error": reading.error}
    calm = reading.risk
    return "reading", {
        **about,
        "by": reading.reader,
        "model": reading.model_id if reading.reader == "model" else None,
        "trend": reading.trend,
        "patterns": [one.kind for one in reading.patterns],
        "risk": "none" if calm is None else "low" if calm >= 2 / 3 else "medium" if calm >= 1 / 3 else "high",
        "confidence": reading.confidence if reading.calibrated is None else reading.calibrated,
        "took_ms": row.took_s * 1e3,
        "fallback": reading.error or None,
    }


def bars_between(bars: GrowingBars, first: int, behind: int) -> BarSet:
    """Return bars of a growing series as arrays of their own, by their numbers."""
    times = np.array(bars.bid.ts_open_ns[first:behind])

    def side(found: GrowingSide) -> BarArrays:
        names = ("open", "high", "low", "close", "volume")
        columns: dict[str, Any] = {name: np.array(getattr(found, name)[first:behind]) for name in names}
        return BarArrays(
            instrument=bars.instrument.symbol,
            timeframe=bars.timeframe,
            price=found.price,
            ts_open_ns=times,
            data_hash="",
            **columns,
        )

    return BarSet(bars.instrument, bars.timeframe, side(bars.bid), side(bars.ask), False, "")
