"""Sessions at a pace: tick to decision, tick to order, command to effect, memory over a month.

Quotes come at 200 and at 2,000 a second, evenly, for some seconds each: to a session of one strategy on
one-minute bars (``profile: dev``), and to a bare NautilusTrader node with a strategy that does nothing.  All
times are wall time from the call that brings a quote: to the return of the strategy's `on_bar` (*decision*),
to an order at the paper venue (*order*), to the bare strategy's `on_quote_tick` (*bare_node*).  *lag* is how
late that call itself came: the event loop's.  Commands (pause and resume, in turn) go over the control socket
of a session at 200 quotes a second, from another process: from sending one to its answer, which comes behind
its commit.  Memory is that of a session over a month of quotes, unpaced: means over its first quarter (less
the first twentieth) and over its last.

`AIOPT_BENCH_PACE_S`, `AIOPT_BENCH_PACE_COMMANDS`, `AIOPT_BENCH_MONTH_DAYS` and `AIOPT_BENCH_MONTH_TICKS` (per
day) set how much.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aiopt.ticks.sample import generate_ticks
from benchmarks._bare_live import bare_times
from benchmarks._harness import CACHE, Figure
from benchmarks._pacing import even_pace

RATES = (200, 2_000)
SECONDS = float(os.environ.get("AIOPT_BENCH_PACE_S", "20"))
COMMANDS = int(os.environ.get("AIOPT_BENCH_PACE_COMMANDS", "100"))
MONTH_DAYS = int(os.environ.get("AIOPT_BENCH_MONTH_DAYS", "22"))
MONTH_TICKS = int(os.environ.get("AIOPT_BENCH_MONTH_TICKS", "20000"))
_QUIET = 20.0
"""Market seconds between two quotes of the paced store: a bar ends every third."""


def run() -> list[Figure]:
    """Measure and return the figures."""
    context = get_context("spawn")
    figures = []
    for rate in RATES:
        days = 3 + int(rate * SECONDS * _QUIET / 86_400 * 7 / 5)  # week-ends have no quotes
        store = _store(f"pace-{days}", days, 4_320)
        with ProcessPoolExecutor(1, context) as process:
            figures += process.submit(_paced, store, rate).result()
        with ProcessPoolExecutor(1, context) as process:
            times = process.submit(bare_times, store, rate, round(rate * SECONDS)).result()
        figures += _shares(f"at_{rate}_bare_node", times)
    figures += _commands()
    month = _store(f"month-{MONTH_DAYS}-{MONTH_TICKS}", MONTH_DAYS, MONTH_TICKS)
    with ProcessPoolExecutor(1, context) as process:
        figures += process.submit(_memory, month).result()
    return figures


def _store(name: str, days: int, ticks: int) -> Path:
    store = CACHE / f"live-{name}"
    if not store.exists():
        generate_ticks(store, seed=4, start="2024-03-04", days=days, ticks_per_day=ticks)
    return store


def _shares(name: str, seconds: list[float]) -> list[Figure]:
    """Return median and 99th percentile in microseconds, and how many were measured."""
    assert len(seconds) > 10, f"too few of {name} to say anything: {len(seconds)}"
    values = np.array(seconds) * 1e6
    found = [Figure(name=f"{name}_count", value=len(seconds), unit="times")]
    for share in (50, 99):
        figure = round(float(np.percentile(values, share)), 1)
        found.append(Figure(name=f"{name}_p{share}", value=figure, unit="us"))
    return found


def _config(store: Path, **feed: Any) -> Any:
    from aiopt.live.paper.paper_config import PaperConfig
    from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec

    return LiveConfig(
        account=PaperConfig(account_currency="USD"),
        strategies=(TradedSpec(id="A", spec="stochastic_sma", timeframe="1m"),),
        feed=ReplayFeed(store=str(store), **feed),
        profile="dev",
    )


def _paced(store: Path, rate: int) -> list[Figure]:
    """Run a session at a pace."""
    from aiopt.live.node.guarded import LiveSpecStrategy
    from aiopt.live.paper.venue import PaperVenue
    from aiopt.live.session.live_session import LiveSession
    from aiopt.live.session.stepping import Stepper
    from aiopt.live.state.session_file import SessionFile

    pacer = even_pace(rate, round(rate * SECONDS))
    decisions: list[float] = []
    orders: list[float] = []
    came = 0.0
    step, on_bar, submit = Stepper.step, LiveSpecStrategy.on_bar, PaperVenue.submit

    def stepped(self: Any, *quote: Any) -> None:
        nonlocal came
        came = time.perf_counter()
        step(self, *quote)

    def decided(self: Any, bar: Any) -> None:
        on_bar(self, bar)
        decisions.append(time.perf_counter() - came)

    def submitted(self: Any, *order: Any) -> Any:
        orders.append(time.perf_counter() - came)
        return submit(self, *order)

    Stepper.step = stepped  # type: ignore[method-assign, assignment]
    LiveSpecStrategy.on_bar = decided  # type: ignore[method-assign]
    PaperVenue.submit = submitted  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder, SessionFile(Path(folder)) as file:
        session = LiveSession(_config(store, speed=1.0), file)
        pacer.when_done(session.stop)
        end = session.run()
    assert end.quotes >= round(rate * SECONDS) - 1, f"{end.quotes} quotes came"
    name = f"at_{rate}"
    return [
        Figure(name=f"{name}_rate", value=round(end.quotes / end.seconds), unit="quotes/s"),
        Figure(name=f"{name}_trades", value=end.trades, unit="trades"),
        *_shares(f"{name}_decision", decisions),
        *_shares(f"{name}_order", orders),
        *_shares(f"{name}_lag", pacer.lags),
    ]


def _serve(store: Path, folder: str) -> None:
    """Run a session that is told to stop by command."""
    from aiopt.live.session.live_session import LiveSession
    from aiopt.live.state.session_file import SessionFile

    even_pace(200, 10**9)
    with SessionFile(Path(folder)) as file:
        LiveSession(_config(store, speed=1.0), file).run()


def _commands() -> list[Figure]:
    """Send commands to a running session and wait for each one's answer."""
    from aiopt.bus.commands import PauseEntries, ResumeEntries, StopSession
    from aiopt.live.control.control_socket import ask, read_door
    from aiopt.live.session.status import status_of

    store = _store("commands", 12, 4_320)
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, get_context("spawn")) as process:
        folder = Path(name)
        running = process.submit(_serve, store, name)
        deadline = time.monotonic() + 120
        while read_door(folder) is None:
            if running.done():
                running.result()
            assert time.monotonic() < deadline, "the session does not start"
            time.sleep(0.1)
        who = {"session": status_of(folder)["session"], "by": "benchmark"}
        times = []
        for number in range(COMMANDS):
            kind = ResumeEntries if number % 2 else PauseEntries
            command = kind(id=f"c{number}", made_ns=time.time_ns(), **who)
            began = time.perf_counter()
            outcome = ask(folder, command)
            times.append(time.perf_counter() - began)
            assert outcome.status == "applied", outcome
        ask(folder, StopSession(id="stop", flatten=False, made_ns=time.time_ns(), **who))
        running.result(timeout=120)
    return _shares("command", times)


def _memory(store: Path) -> list[Figure]:
    """Replay a month and return what the process held in its first and in its last quarter."""
    from aiopt.live.session.live_session import LiveSession
    from aiopt.live.state.session_file import SessionFile

    held: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder, SessionFile(Path(folder)) as file:
        session = LiveSession(_config(store), file)
        end = session.run(lambda done: held.append((done, _resident())))
    assert end.ended
    total = held[-1][0]
    first = [size for done, size in held if total / 20 <= done <= total / 4]
    last = [size for done, size in held if done >= 3 * total / 4]
    before, after = float(np.mean(first)) / 2**20, float(np.mean(last)) / 2**20
    return [
        Figure(name="month_quotes", value=end.quotes, unit="quotes"),
        Figure(name="month_trades", value=end.trades, unit="trades"),
        Figure(name="month_memory_first_quarter", value=round(before, 1), unit="MiB"),
        Figure(name="month_memory_last_quarter", value=round(after, 1), unit="MiB"),
    ]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(msgspec.json.encode(run()).decode())
