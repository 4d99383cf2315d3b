"""What a running session tells of itself beside its file.  Owns the typed configuration."""

from __future__ import annotations

import msgspec

from aiopt.errors import ConfigError


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metrics in Prometheus' text format, and the log.

    Attributes
    ----------
    file : bool
        Write ``metrics.prom`` into the session's folder, anew every `every_s` seconds.
    port : int or None
        Serve them over HTTP as well; 0: any free port, which the log then names.  None: not served.
    address : str
        That port's; the default answers this machine alone.
    every_s : float
        Seconds between two looks at account and feed.
    log : bool
        Write ``session.log``, a line of JSON for each event.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    file: bool = True
    port: int | None = None
    address: str = "127.0.0.1"
    every_s: float = 1.0
    log: bool = True

    def __post_init__(self) -> None:
        if self.port is not None and not 0 <= self.port <= 65_535:
            msg = f"`0 <= metrics.port <= 65535` must hold, but got {self.port!r}."
            raise ConfigError(f"{msg} Use e.g. 9464, or 0 for any free one.")
        if not 0.05 <= self.every_s <= 3_600:
            msg = f"`0.05 <= metrics.every_s <= 3600` must hold, but got {self.every_s!r}. Use 1."
            raise ConfigError(msg)
