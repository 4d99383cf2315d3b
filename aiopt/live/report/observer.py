"""A running session watched: its metrics kept, served and written, its log caught up behind every commit.

Owns when that is done.  A session trades the same with it as without; what fails here fails nothing there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client import start_http_server

from aiopt.errors import AioptError, ConfigError
from aiopt.files import atomic_write_bytes
from aiopt.live.report.session_log import SessionLog
from aiopt.live.report.session_metrics import SessionMetrics
from aiopt.live.session.metrics_config import MetricsConfig
from aiopt.live.session.run_folder import refusing_rule
from aiopt.live.session.stepping import Stepper
from aiopt.live.state.session_file import SessionFile

NAME = "metrics.prom"


class SessionObserver:
    """Told of every step and commit; a context manager.

    Parameters
    ----------
    file : SessionFile
        Of the session, open.
    session : str
        Its id.
    config : MetricsConfig
        What is written and served.

    Attributes
    ----------
    port : int or None
        Where metrics are served.

    Raises
    ------
    ConfigError
        If the port is taken.
    """

    def __init__(self, file: SessionFile, session: str, config: MetricsConfig) -> None:
        self._file, self._config = file, config
        self.metrics = SessionMetrics(session)
        self._log = SessionLog(file.folder, session) if config.log else None
        self._path = file.folder / NAME if config.file else None
        self._due = 0.0
        self._held = ExitStack()
        self.port = self._served()

    def _served(self) -> int | None:
        port, address = self._config.port, self._config.address
        if port is None:
            return None
        try:
            server, thread = start_http_server(port, address, registry=self.metrics.registry)
        except (OSError, OverflowError) as error:
            msg = f"Metrics need a free port, but {address}:{port} cannot be had ({error})."
            raise ConfigError(f"{msg} Choose another metrics.port, or 0 for any.") from error
        self._held.callback(thread.join, 5.0)
        self._held.callback(server.server_close)
        self._held.callback(server.shutdown)
        return int(server.server_port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._held.close()

    def stepped(self, stepper: Stepper, kind: str, took_s: float) -> None:
        """Count a step; now and then look at the account and write the file."""
        self.metrics.stepped(kind, took_s)
        if time.monotonic() >= self._due:
            self._look(stepper)

    def committed(self, stepper: Stepper, notes: Sequence[dict[str, Any]], trades: Sequence[Any]) -> None:
        """Take down what a commit holds."""
        for note in notes:
            if note.get("type") == "refused":
                self.metrics.refused(refusing_rule(str(note["text"])))
        for name, trade in trades:
            self.metrics.traded(name, trade.pnl)
        if self._log is not None:
            self._log.catch_up(self._file)
            self.metrics.log_failures = self._log.failures
        self._look(stepper, write=False)

    def ended(self, stepper: Stepper) -> None:
        """Take down how a stretch ended."""
        if self._log is not None:
            self._log.catch_up(self._file)
        self._look(stepper)

    def _look(self, stepper: Stepper, *, write: bool = True) -> None:
        self.metrics.look(stepper)
        if not write:
            return
        self._due = time.monotonic() + self._config.every_s
        if self._path is not None:
            with contextlib.suppress(AioptError, OSError):  # the next one is due soon
                atomic_write_bytes(self._path, self.metrics.text())


def pulse_of(folder: Path) -> dict[str, float]:
    """Return the figures of a session's ``metrics.prom`` that have no further label; empty without one."""
    found: dict[str, float] = {}
    try:
        lines = (Path(folder) / NAME).read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        name, brace, rest = line.partition("{")
        labels, _, value = rest.partition("} ")
        if brace and "," not in labels and not name.startswith("#"):
            found[name.removeprefix("aiopt_live_")] = float(value)
    return found
