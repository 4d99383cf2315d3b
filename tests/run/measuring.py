"""How much of each test coverage measures: its first seconds, all or nothing where a mark says so.

Coverage's tracer slows all Python, also that of libraries of which no line is measured.  What a test runs it
runs for the first time within seconds; after that the tracer costs and finds nothing.
Does nothing where coverage does not measure.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from coverage import Coverage

MEASURED_S = 5.0
"""Processor seconds of a test, with the fixtures that it is the first to need, that are measured."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Measure a test's first seconds, or all of one marked `measured`.

    Of one marked `unmeasured` nothing is measured, nor of the processes it starts.
    """
    measuring = Coverage.current()
    if measuring is None or threading.current_thread() is not threading.main_thread():
        return (yield)
    if item.get_closest_marker("unmeasured") is not None:
        measuring.stop()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("COVERAGE_PROCESS_START", raising=False)
                return (yield)
        finally:
            measuring.start()
    if item.get_closest_marker("measured") is not None:
        return (yield)
    before = signal.signal(signal.SIGVTALRM, lambda *_: measuring.stop())
    signal.siginterrupt(signal.SIGVTALRM, False)
    signal.setitimer(signal.ITIMER_VIRTUAL, MEASURED_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        if Coverage.current() is None:
            measuring.start()
