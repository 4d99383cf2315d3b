"""Run Pine scripts in the user's Pine engine, several in one Node process, each within limits.

Owns the conversation with ``pine_runner.mjs``: what it is given, what it answers, and what becomes of a
script that never ends, takes all memory or ends the process.  Knows nothing of strategies.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.errors import ConfigError, PineError
from aiopt.market.instrument import Instrument, instrument
from aiopt.timeframe import Timeframe
from aiopt.utc import DAY_NS, MINUTE_NS
from aiopt.verification.engine_folder import PineEngine

TIME_LIMIT_S = 120.0
"""For one script; 30,000 bars take 2 to 7 s on an idle core."""
MOST_SECONDS = 7 * 86_400
MEMORY_LIMIT_MB = 2048
"""Of the process that runs the scripts."""

_RUNNER = Path(__file__).with_name("pine_runner.mjs")
_OUT_OF_MEMORY = "heap out of memory"
_ENDLESS = "Loop exceeded maximum iterations"


class PineRunError(PineError):
    """The Pine engine could not run a script: it was refused, never ended, or took all memory."""


@dataclass(frozen=True)
class PineTrade:
    """One trade as the Pine engine booked it; bar indices are 0-based, `exit_*` None while it is open.

    Attributes
    ----------
    side : str
        ``"long"`` or ``"short"``.
    entry_bar, exit_bar : int
        Bars of the fills.
    entry_price, exit_price : float
        Quote currency.
    size : float
        Units, positive.
    entry_id, exit_id, exit_comment : str or None
        As the script names its orders.
    """

    side: str
    entry_bar: int
    entry_price: float
    exit_bar: int | None
    exit_price: float | None
    size: float
    entry_id: str | None
    exit_id: str | None
    exit_comment: str | None


@dataclass(frozen=True)
class PineRun:
    """What a script did.

    Attributes
    ----------
    closed, open : list of PineTrade
        In the order of their exits, and what was held behind the last bar.
    plots : dict of str to ndarray of shape (n_bars,)
        Those asked for that the script has; NaN where it plots na.
    complaints : list of str
        What the engine said.
    """

    closed: list[PineTrade]
    open: list[PineTrade]
    plots: dict[str, NDArray[np.float64]]
    complaints: list[str]


@dataclass(frozen=True, eq=False)
class PineJob:
    """A script and the bars it is run over.

    Attributes
    ----------
    script : str
        Pine source.
    bars : BarArrays
        One price side; jobs with the same object share it.
    tick_size : float, optional
        The chart's mintick; the instrument's by default.
    plots : tuple of str
        Titles of the plots to return.
    """

    script: str
    bars: BarArrays
    tick_size: float | None = None
    plots: tuple[str, ...] = ()


Answer = PineRun | PineRunError


class PineRunner:
    """Runs scripts in an engine.

    Parameters
    ----------
    engine : PineEngine
        From `aiopt.verification.engine_folder.find_engine`.
    time_limit_s : float
        For one script.
    memory_mb : int
        For the process.

    Raises
    ------
    ConfigError
        If the time limit is not positive or over a week.
    """

    def __init__(
        self,
        engine: PineEngine,
        *,
        time_limit_s: float = TIME_LIMIT_S,
        memory_mb: int = MEMORY_LIMIT_MB,
    ) -> None:
        if not 0 < time_limit_s <= MOST_SECONDS:
            msg = f"A script's time limit must lie above 0 and not above {MOST_SECONDS:,} s, but got "
            raise ConfigError(f"{msg}{time_limit_s}. The default is {TIME_LIMIT_S:g}.")
        self.engine = engine
        self._time_limit_s = time_limit_s
        self._memory_mb = memory_mb

    def run(self, job: PineJob) -> PineRun:
        """Run one script.

        Raises
        ------
        PineRunError
            If the engine refuses it, or it does not end within the limits.
        """
        (answer,) = self.run_many([job])
        if isinstance(answer, PineRunError):
            raise answer
        return answer

    def run_many(
        self, jobs: Iterable[PineJob], progress: Callable[[float], None] = lambda done: None
    ) -> list[Answer]:
        """Run scripts one after the other in one process; return what each did, or why it could not run.

        A script that ends the process or runs into a limit is answered with an error, and a new process goes
        on behind it.

        Parameters
        ----------
        jobs : iterable of PineJob
            What to run.
        progress : callable
            Takes the number of scripts done.
        """
        jobs = list(jobs)
        answers: list[Answer] = []
        while len(answers) < len(jobs):
            rest = jobs[len(answers) :]
            with _Process(self.engine, rest, self._memory_mb) as process:
                for job in rest:
                    answer = process.answer(self._time_limit_s)
                    if isinstance(answer, str):
                        answers.append(PineRunError(answer))
                        progress(len(answers))
                        break
                    answers.append(_decode(answer, len(job.bars)))
                    progress(len(answers))
        return answers


class _Process:
    """A Node process that answers jobs in their order."""

    def __init__(self, engine: PineEngine, jobs: Sequence[PineJob], memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._engine = engine
        command = [str(engine.node), f"--max-old-space-size={memory_mb}", str(_RUNNER), str(engine.module)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._said: deque[bytes] = deque(maxlen=60)
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read, self._listen, lambda: self._tell(jobs))
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
        self._process.wait()

    def answer(self, limit_s: float) -> dict[str, Any] | str:
        """Return the answer to the next job, or why there is none and will be none."""
        try:
            line = self._lines.get(timeout=limit_s)
        except queue.Empty:
            return (
                f"The script did not end within {limit_s:g} s in {self._engine.title}. It may loop for ever; "
                "else give it fewer bars or more time."
            )
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        said = self._last_words()
        if _OUT_OF_MEMORY in said:
            return (
                f"The script took more than {self._memory_mb} MB in {self._engine.title}. It may collect "
                "without end; else give it fewer bars."
            )
        return (
            f"{self._engine.title} ended without an answer to the script: {said[-1500:] or 'it said nothing'}"
        )

    def _last_words(self) -> str:
        self._process.wait()
        self._threads[1].join()
        return " ".join(b" ".join(self._said).decode(errors="replace").split())

    def _tell(self, jobs: Sequence[PineJob]) -> None:
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stdin:
                stdin.write(_request(jobs))
        except BrokenPipeError:
            # It ended before it had read everything: `answer` says why.
            return

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self._said.extend(self._process.stderr)


def _request(jobs: Sequence[PineJob]) -> bytes:
    places: dict[tuple[int, float], int] = {}
    charts: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for job in jobs:
        market = instrument(job.bars.instrument)
        tick = market.tick_size if job.tick_size is None else job.tick_size
        key = (id(job.bars), tick)
        if key not in places:
            places[key] = len(charts)
            charts.append(_chart(job.bars, market, tick))
        listed.append({"chart": places[key], "script": job.script, "plots": list(job.plots)})
    return json.dumps({"charts": charts, "jobs": listed}).encode()


def _chart(bars: BarArrays, market: Instrument, tick: float) -> dict[str, Any]:
    return {
        "symbol": {
            "ticker": market.symbol,
            "tickerid": f"AIOPT:{market.symbol}",
            "prefix": "AIOPT",
            "description": f"{market.base}/{market.quote}",
            "type": "forex",
            "currency": market.quote,
            "basecurrency": market.base,
            "mintick": tick,
            "minmove": 1,
            "pricescale": round(1 / tick),
            "pointvalue": 1,
            "timezone": "UTC",
            "session": "24x7",
            "volumetype": "tick",
        },
        "timeframe": chart_timeframe(bars.timeframe),
        "step_ms": bars.timeframe.ns // 1_000_000,
        "tick_size": tick,
        "open_time_ms": (bars.ts_open_ns // 1_000_000).tolist(),
        **{name: getattr(bars, name).tolist() for name in ("open", "high", "low", "close", "volume")},
    }


def chart_timeframe(timeframe: Timeframe) -> str:
    """Return a bar length as TradingView writes it: ``"5"`` for minutes, ``"30S"``, ``"D"``."""
    if timeframe.ns % DAY_NS == 0:
        days = timeframe.ns // DAY_NS
        return "D" if days == 1 else f"{days}D"
    if timeframe.ns % MINUTE_NS == 0:
        return str(timeframe.ns // MINUTE_NS)
    return f"{timeframe.seconds}S"


def _decode(answer: dict[str, Any], n_bars: int) -> Answer:
    if _ENDLESS in answer.get("error", ""):
        return PineRunError(
            "The Pine engine stopped a loop of the script, which goes on without end. TradingView stops one "
            "after half a second of a bar. Give the loop an end that it reaches."
        )
    if "error" in answer:
        return PineRunError(f"The Pine engine refused the script: {answer['error']}")
    plots = {}
    for title, values in answer["plots"].items():
        if len(values) != n_bars:
            return PineRunError(
                f"The Pine engine gave {len(values)} values of plot {title!r} for {n_bars} bars."
            )
        plots[title] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return PineRun(
        closed=[_trade(raw) for raw in answer["closed"]],
        open=[_trade(raw) for raw in answer["open"]],
        plots=plots,
        complaints=answer["complaints"],
    )


def _trade(raw: dict[str, Any]) -> PineTrade:
    names = ("entry_bar", "entry_price", "exit_bar", "exit_price", "entry_id", "exit_id", "exit_comment")
    side = "long" if raw["size"] > 0 else "short"
    return PineTrade(side=side, size=abs(raw["size"]), **{name: raw[name] for name in names})
