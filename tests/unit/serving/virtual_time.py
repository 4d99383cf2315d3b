"""An event loop whose clock jumps: what waits is due at once, and how long it would have waited is known."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Sleeps for threads only: where nothing else is ready before `timeout`, that much time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(None if timeout is None or (timeout > 0 and self.threads) else 0)
        if not found and timeout is not None:
            self.now_s += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        self._jumping.threads += 1
        future = super().run_in_executor(executor, function, *arguments)
        future.add_done_callback(lambda _: self._ended())
        return future

    def _ended(self) -> None:
        self._jumping.threads -= 1


def run_at_once(scenario: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Run a coroutine on a clock of its own; return the seconds that passed on it."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(scenario())
        return runner.get_loop().time()
