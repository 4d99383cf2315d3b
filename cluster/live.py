"""Live sessions on the cluster: one actor per session, started again after a death, one log of all of them.

Owns actors, placement and what is told on the way.  A session itself is `aiopt.live.report.unattended`: it
goes on from its file, so an actor that died is started again anywhere the folder can be seen, and the file's
lock keeps two from one folder.
"""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.exceptions import RayActorError, RayTaskError

from aiopt.errors import AioptError, ClusterError, ConfigError
from aiopt.files import atomic_write_text
from aiopt.live.report.merged_log import MergedLog
from aiopt.live.report.unattended import Unattended, run_unattended
from aiopt.live.session.live_config import LiveConfig, load_live_config
from aiopt.live.session.live_session import check_session
from cluster.resources import stage_options

LOG, SUMMARY = "sessions.log", "sessions.json"
_TOKEN = ".cluster"
"""In each session's folder: by it a node knows that it sees the driver's folder, not one of its own."""
_LOOK_S = 1.0
MOST_RESTARTS = 20
"""Deaths of one session's process that are taken for bad luck."""


class SessionRunner:
    """Runs one session in a process of its own."""

    def run(self, config: LiveConfig, out: Path, token: str, *, prove: bool) -> Unattended:
        """Run a session to its end; called again in a new process it goes on.

        Raises
        ------
        ClusterError
            If this node does not see the driver's folder.
        """
        try:
            seen = (out / _TOKEN).read_text()
        except OSError:
            seen = ""
        if seen != token:
            raise ClusterError(
                f"Every node must see the sessions' folder, but {socket.gethostname()} does not see {out} as "
                "the driver does. Choose a folder on a shared file system (--out)."
            )
        return run_unattended(config, out, prove=prove)


SessionActor = ray.remote(
    max_restarts=MOST_RESTARTS,
    max_task_retries=-1,
    **stage_options("session"),
)(SessionRunner)
"""`SessionRunner` in a process of its own.  Not async: NautilusTrader's node wants the main thread."""


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one session.

    Attributes
    ----------
    name : str
        Of its configuration file, without the ending.
    folder : str
    state : str
        ``"ended"``, ``"left"`` (stopped; it can go on) or ``"failed"``.
    trades, stretches, unexplained : int
        Of the whole session; a stretch begins whenever it is begun or gone on with.
    balance : float or None
        Account currency.
    error : str
        Why it failed.
    """

    name: str
    folder: str
    state: str
    trades: int = 0
    stretches: int = 0
    unexplained: int = 0
    balance: float | None = None
    error: str = ""


def read_configs(paths: Sequence[Path]) -> dict[str, LiveConfig]:
    """Read the configurations of sessions, by the names of their files; each session could run.

    Raises
    ------
    InputError
        Naming what does not fit.
    """
    if not paths:
        raise ConfigError("Sessions need a configuration, but got none. Give --config FILE.")
    names = [path.stem for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"Each session has a name of its own, but {', '.join(twice)} comes twice. Rename a file."
        )
    found = {path.stem: load_live_config(path) for path in paths}
    for config in found.values():
        check_session(config)
    return found


def run_sessions(
    configs: Mapping[str, LiveConfig],
    out: Path,
    *,
    prove: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> list[SessionRow]:
    """Run sessions on the cluster this process is connected to, until all are at their end.

    Parameters
    ----------
    configs : mapping of str to LiveConfig
        By name; each gets the folder ``OUT/NAME``.
    out : Path
        Absolute; on more than one node a shared file system.
    prove : bool
        Compare each with its backtest at its end.
    say : callable, optional
        Told what happens.

    Returns
    -------
    list of SessionRow
        In the order of `configs`.  One that failed does not end the others.

    Raises
    ------
    ClusterError
        If Ray is not connected.
    StorageError
        If the folder cannot be written.
    """
    if not ray.is_initialized():
        raise ClusterError("Sessions need a connection to Ray, but there is none. Call ray.init first.")
    log = MergedLog(out / LOG)
    folders = {name: out / name for name in configs}
    actors: dict[str, Any] = {}
    waiting: dict[Any, str] = {}
    rows: dict[str, SessionRow] = {}
    try:
        for name, config in configs.items():
            token = secrets.token_hex(8)
            atomic_write_text(folders[name] / _TOKEN, token)
            actors[name] = SessionActor.options(name=f"session:{folders[name]}").remote()
            waiting[actors[name].run.remote(config, folders[name], token, prove=prove)] = name
            log.say(name, "started")
            say(f"{name}: started, {folders[name]}")
        while waiting:
            done, _ = ray.wait(list(waiting), timeout=_LOOK_S)
            log.follow(folders)
            for reference in done:
                name = waiting.pop(reference)
                rows[name] = _row(name, folders[name], reference)
                log.say(name, rows[name].state, rows[name].error)
                say(_sentence(rows[name]))
    finally:
        for actor in actors.values():
            ray.kill(actor)  # one that still runs goes on from its last commit when it is started again
        log.follow(folders)
    found = [rows[name] for name in configs]
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    atomic_write_text(out / SUMMARY, f"{text}\n")
    return found


def _row(name: str, folder: Path, reference: Any) -> SessionRow:
    try:
        found: Unattended = ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        text = str(cause) if isinstance(cause, AioptError) else f"{type(cause).__name__}: {cause}"
        return SessionRow(name=name, folder=str(folder), state="failed", error=text)
    except RayActorError:
        text = (
            f"Its process died more than {MOST_RESTARTS} times. Its last commit is in the folder; find out "
            "why it dies (memory?), then run the same command again."
        )
        return SessionRow(name=name, folder=str(folder), state="failed", error=text)
    return SessionRow(
        name=name,
        folder=str(folder),
        state="ended" if found.end.ended else "left",
        trades=found.end.trades,
        stretches=found.stretches,
        unexplained=found.unexplained,
        balance=found.end.account.balance,
    )


def _sentence(row: SessionRow) -> str:
    if row.error:
        return f"{row.name}: {row.state}: {row.error}"
    again = f", gone on with {row.stretches - 1} times" if row.stretches > 1 else ""
    unexplained = f", {row.unexplained} unexplained" if row.unexplained else ""
    return f"{row.name}: {row.state}, {row.trades:,} trades, balance {row.balance:,.2f}{again}{unexplained}"


def sessions_job(paths: Sequence[Path], out: Path, *, prove: bool) -> int:
    """Run submitted sessions on the cluster they were submitted to; print, and return the exit code.

    Returns
    -------
    int
        1 if a session failed or differs from its backtest without an explanation.
    """
    from cluster.optimize import connect

    log = sys.stdout

    def say(text: str) -> None:
        log.write(text + "\n")
        log.flush()

    try:
        configs = read_configs([path.absolute() for path in paths])
        connect()
        rows = run_sessions(configs, out.absolute(), prove=prove, say=say)
    except AioptError as error:
        say(f"error: {error}")
        return error.exit_code
    say(f"{len(rows)} sessions, {sum(row.trades for row in rows):,} trades; log: {out.absolute() / LOG}")
    return 1 if any(row.state == "failed" or row.unexplained for row in rows) else 0
