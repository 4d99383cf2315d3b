"""From a URL to a transport.  Owns the forms of URLs; knows no message.

::

    memory:NAME                            this process alone local:FOLDER                           a
    Valkey server of one's own in a folder, started where it does not run redis://[USER@]HOST[:PORT]
    Valkey or Redis; rediss:// encrypted kafka://[USER@]HOST:PORT[,HOST:PORT]   Kafka; kafkas:// encrypted;
    ?mechanism=PLAIN

A password comes from the environment (AIOPT_BUS_PASSWORD), never from a URL: URLs are logged.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aiopt.bus.failures import BusError
from aiopt.bus.local_server import LocalServer, answers, read_record
from aiopt.bus.memory import MemoryTransport
from aiopt.bus.transport import Transport
from aiopt.errors import ConfigError, did_you_mean

_SCHEMES = ("memory", "local", "redis", "rediss", "valkey", "valkeys", "kafka", "kafkas")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_ADDRESS = re.compile(
    r"//(?:(?P<user>[^@/:]*)(?P<password>:[^@/]*)?@)?(?P<hosts>[^/?@]+)/?(?:\?mechanism=(?P<mechanism>[\w-]+))?"
)


def transport_of(url: str, *, limit: int = 1_000_000) -> Transport:
    """Return the transport that a URL names, not yet open.

    Parameters
    ----------
    url : str
        See above.
    limit : int
        Messages a channel holds, where we decide that: in memory and on Valkey or Redis.

    Raises
    ------
    BusError
        If the client's library is not installed, or no server runs in a folder.
    ConfigError
        If the URL is of no known form, or holds a password.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in _SCHEMES:
        hint = did_you_mean(scheme, _SCHEMES)
        msg = f"A bus must be named as e.g. redis://localhost:6379 or local:FOLDER, but got {_safe(url)!r}."
        raise ConfigError(msg + hint)
    if scheme == "memory":
        return MemoryTransport(rest, limit=limit)
    if scheme == "local":
        return _in_folder(Path(rest), limit)
    match = _ADDRESS.fullmatch(rest)
    if match is None:
        msg = f"A URL must be {scheme}://[USER@]HOST[:PORT], but got {_safe(url)!r}. Write it so."
        raise ConfigError(msg)
    if match["password"] is not None:
        msg = (
            f"A URL must hold no password, but {_safe(url)!r} does: URLs are logged. Leave it out and set "
            "AIOPT_BUS_PASSWORD in the environment."
        )
        raise ConfigError(msg)
    tls = scheme.endswith("s") and scheme != "redis"
    if scheme.startswith("kafka"):
        return _kafka(match, tls)
    if match["mechanism"]:
        raise ConfigError(f"`mechanism` is for Kafka, but got {_safe(url)!r}. Leave it out.")
    host, port = _host_and_port(match["hosts"], 6379)
    return _streams(host=host, port=port, user=match["user"] or None, tls=tls, limit=limit)


def start_local(folder: Path, *, fsync: str = "everysec") -> LocalServer:
    """Find or start the server of a folder; it is named by ``local:FOLDER`` then.

    Raises
    ------
    BusError
        If it does not come up.
    """
    server = LocalServer(folder, fsync=fsync)
    server.start()
    return server


def _in_folder(folder: Path, limit: int) -> Transport:
    record = read_record(folder)
    if record is None or not answers(record, 2.0):
        msg = f"A server must run in {folder}, but none does. Start the session that keeps its bus there, or "
        raise BusError(msg + f"one of your own: aiopt bus serve {folder}")
    return _streams(host="127.0.0.1", port=record.port, password=record.password, limit=limit)


def _streams(**settings: Any) -> Transport:
    try:
        from aiopt.bus.streams import RedisTransport
    except ImportError as error:
        msg = 'The client `redis` must be installed for this bus, but is not. Run: pip install "aiopt[live]"'
        raise BusError(msg) from error
    return RedisTransport(**settings)


def _kafka(match: re.Match[str], tls: bool) -> Transport:
    try:
        from aiopt.bus.kafka import KafkaTransport
    except ImportError as error:
        msg = "The client `confluent-kafka` must be installed for this bus, but is not. "
        msg += 'Run: pip install "aiopt[kafka]"'
        raise BusError(msg) from error
    mechanism = match["mechanism"] or "SCRAM-SHA-512"
    if mechanism not in _MECHANISMS:
        msg = f"`mechanism` must be one of {', '.join(_MECHANISMS)}, but got {mechanism!r}. Choose one."
        raise ConfigError(msg)
    servers = []
    for one in match["hosts"].split(","):
        host, port = _host_and_port(one, 9092)
        servers.append(f"{host}:{port}")
    return KafkaTransport(",".join(servers), user=match["user"] or None, mechanism=mechanism, tls=tls)


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, default
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        msg = f"An address must be HOST:PORT with a port of 1 to 65535, but got {text!r}. Mend it."
        raise ConfigError(msg)
    return host, int(port)


def _safe(url: str) -> str:
    """Return a URL without what may be a password."""
    return re.sub(r"(//[^@/:]*):[^@]*@", r"\1:…@", url)
