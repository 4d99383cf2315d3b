"""Ports of this machine: which are free, who answers on one, where to listen.  Owns the dashboard's range."""

from __future__ import annotations

import http.client
import socket

from aiopt.errors import ClusterError, InputError

DASHBOARD_PORTS = range(8265, 8365)
LOOPBACK = "127.0.0.1"


def choose_dashboard_port(wanted: int | None, candidates: range = DASHBOARD_PORTS) -> int:
    """Return the wanted port, or the first free candidate.

    Raises
    ------
    ClusterError
        If the wanted port, or every candidate, is taken.
    """
    if wanted is not None:
        if not port_free(wanted):
            msg = f"Port {wanted} is in use. Choose another --dashboard-port."
            raise ClusterError(msg)
        return wanted
    for port in candidates:
        if port_free(port):
            return port
    msg = (
        f"One port of {candidates.start}-{candidates.stop - 1} must be free for the dashboard, but all are "
        "in use. Stop what holds them, or choose another --dashboard-port."
    )
    raise ClusterError(msg)


def is_loopback(address: str) -> bool:
    """Tell whether ``HOST`` or ``HOST:PORT`` can be reached from this machine alone."""
    return address.rpartition(":")[0] == LOOPBACK or address == LOOPBACK


def check_host(host: str) -> None:
    """Refuse a host that is no address of this machine.

    Raises
    ------
    InputError
        If nothing can listen on it, or it stands for every address at once.
    """
    if host in {"", "0.0.0.0", "::", "*"}:
        msg = (
            f"--host must be one address under which other machines reach this one, but got {host!r}. "
            "`ip -brief address` lists them."
        )
        raise InputError(msg)
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError as error:
        msg = (
            f"--host must be an IPv4 address of this machine, but got {host!r} ({error.strerror}). "
            "`ip -brief address` lists them."
        )
        raise InputError(msg) from error


def free_port() -> int:
    """Return a port nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def port_free(port: int) -> bool:
    """Tell whether a port can be bound on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def port_open(host: str, port: int) -> bool:
    """Tell whether something listens."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


def jobs_api_answers(url: str, token: str | None) -> bool:
    """Tell whether the Jobs API at `url` accepts this token."""
    return jobs_api_status(url, token) == http.client.OK


def jobs_api_status(url: str, token: str | None) -> int:
    """Return the HTTP status of the Jobs API's version page, 0 when nothing answers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        connection.request("GET", "/api/version", headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
