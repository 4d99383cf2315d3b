"""Where the Jobs API is that a command talks to, and with which token.  Submits nothing."""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path

from aiopt.errors import ClusterError, InputError
from cluster import lifecycle, ports

PATIENCE_S = 10.0
"""So long a Jobs API that takes connections may need for its first answer."""


def given_address(address: str | None) -> str | None:
    """Return the Jobs API that option or environment name, None where neither does.

    Raises
    ------
    InputError
        If the option is no ``http://HOST:PORT``.
    """
    if address is not None and not address.startswith(("http://", "https://")):
        raise InputError(
            f"--address must be http://HOST:PORT of the Jobs API, but got {address!r}. `aiopt cluster "
            "status` on the head prints it as dashboard."
        )
    given = address or os.environ.get("RAY_API_SERVER_ADDRESS")
    if given is None and os.environ.get("RAY_ADDRESS", "").startswith("http"):
        given = os.environ["RAY_ADDRESS"]
    return None if given is None else given.rstrip("/")


def authorization(token: str | None) -> dict[str, str]:
    """Return the headers that carry a token."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def read_token(path: Path, named_by: str) -> str:
    """Return the token of a file.

    Raises
    ------
    InputError
        If there is none.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}, which {named_by} names. Correct or unset it.")
    return path.read_text().strip()


def environment_token() -> str | None:
    """Return the token that Ray's own variables name, if any."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"]
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return None if path is None else read_token(Path(path), "RAY_AUTH_TOKEN_PATH")


def reach(address: str | None, token_file: Path | None, folder: Path) -> tuple[str, dict[str, str]]:
    """Return address and headers of a Jobs API that answers: the one given, else that of `folder`'s cluster.

    Raises
    ------
    InputError
        If address or token file are not what they must be.
    ClusterError
        If nothing answers there, or not with this token.
    """
    given = given_address(address)
    if given is None:
        found = lifecycle.status(folder)
        if found.state is None or not found.responding or not found.state.dashboard_url:
            msg = "No cluster runs from here. Start one: aiopt cluster up. Or give --address, --token-file."
            raise ClusterError(msg)
        return found.state.dashboard_url, authorization(lifecycle.read_token(folder))
    token = environment_token() if token_file is None else read_token(token_file, "--token-file")
    check_answers(given, token)
    return given, authorization(token)


def check_answers(address: str, token: str | None) -> None:
    """Make sure that a Jobs API answers within seconds and takes the token; of HTTPS its client finds out.

    Raises
    ------
    ClusterError
        Saying which of the two is not so.
    """
    if not address.startswith("http://"):
        return
    host, _, port = address.removeprefix("http://").partition("/")[0].rpartition(":")
    deadline = time.monotonic() + PATIENCE_S
    while (answer := ports.jobs_api_status(address, token)) == 0 and time.monotonic() < deadline:
        if not port.isdigit() or not ports.port_open(host, int(port)):
            msg = f"The Jobs API at {address} did not answer: nothing takes connections there."
            raise ClusterError(msg + " Check --address; from another machine, is the SSH tunnel open?")
        time.sleep(0.2)
    if answer in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
        what = "wants a token, and none was given" if token is None else "refuses this token"
        msg = f"The Jobs API at {address} {what}. Copy the head's .aiopt/token and give it as --token-file."
        raise ClusterError(msg)
    if answer != http.client.OK:
        what = "nothing came back" if answer == 0 else f"HTTP {answer}"
        raise ClusterError(f"The Jobs API at {address} did not answer: {what}. Check --address.")
