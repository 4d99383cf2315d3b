"""One queue for all that is on its way inside a node.

NautilusTrader's live engines hand messages over through eight asyncio queues, each emptied by a task of its
own, so when a message is done depends on the event loop, and nobody can tell when nothing is left.  `Pump`
takes the place of their doors: messages are done one after the other in the order in which they were sent,
before the call that caused the first of them returns.  So a step of the node ends, and the same quotes give
the same orders in the same order, always.

Owns that queue.  Knows no order and no strategy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Door:
    """Stands where an engine's enqueuer stood."""

    def __init__(self, pump: Pump, handle: Callable[[Any], None]) -> None:
        self._pump = pump
        self._handle = handle
        self.size, self.capacity = 0, 0

    def enqueue(self, message: Any) -> None:
        """Do a message in its turn."""
        self._pump.put(self._handle, message)

    def cancel_pending_tasks(self) -> None:
        """Do nothing: there are no tasks."""


class Pump:
    """Does messages in order.

    Parameters
    ----------
    on_error : callable
        Told of an exception that a message caused; the next message is done all the same.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._waiting: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._is_running = False
        self._on_error = on_error
        self.done = 0
        """Messages done so far."""

    def install(self, kernel: Any) -> None:
        """Take the place of the queues of a node's engines."""
        data, risk, execution = kernel.data_engine, kernel.risk_engine, kernel.exec_engine
        for engine, name, handle in (
            (data, "_cmd_enqueuer", data._execute_command),
            (data, "_req_enqueuer", data._handle_request),
            (data, "_res_enqueuer", data._handle_response),
            (data, "_data_enqueuer", data._handle_data),
            (risk, "_cmd_enqueuer", risk._execute_command),
            (risk, "_evt_enqueuer", risk._handle_event),
            (execution, "_cmd_enqueuer", execution._execute_command),
            (execution, "_evt_enqueuer", execution._handle_event_with_tracking),
        ):
            getattr(engine, name)  # an engine of another version is found here
            setattr(engine, name, _Door(self, handle))

    def put(self, handle: Callable[[Any], None], message: Any) -> None:
        """Do a message: now, or behind those that wait if one is being done."""
        self._waiting.append((handle, message))
        if not self._is_running:
            self._run()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let what a block sends wait until the block is over, as what a message sends waits for its end."""
        if self._is_running:
            yield
            return
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False
            self._run()

    def _run(self) -> None:
        self._is_running = True
        try:
            while self._waiting:
                handle, message = self._waiting.popleft()
                self.done += 1
                try:
                    handle(message)
                except Exception as error:  # noqa: BLE001 - the messages behind it are done all the same
                    self._on_error(error)
        finally:
            self._is_running = False
