"""A session run from its beginning, or from where it was left, to all it leaves; nobody at the terminal.

Owns the order: session, proof, folder, report.  Asked again for one that is at its end, it only completes
what is missing, so a caller that lost the answer may ask twice.  Knows no cluster.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from aiopt.live.report.observer import SessionObserver
from aiopt.live.report.page import write_session_report
from aiopt.live.report.record import read_record
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.proof import Proof
from aiopt.live.session.proof_ticks import is_provable
from aiopt.live.session.run_folder import SUMMARY, prove_session, write_folder
from aiopt.live.session.session_end import SessionEnd
from aiopt.live.session.status import is_running
from aiopt.live.state.session_file import SessionFile

_LOCK_S = 15.0
"""Seconds that a process that is ending may keep the session's folder."""


class Unattended(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a session.

    Attributes
    ----------
    end : SessionEnd
    proofs : list of Proof or None
        None: nothing was compared.
    stretches : int
        How often it was begun or gone on with.
    """

    end: SessionEnd
    proofs: list[Proof] | None
    stretches: int

    @property
    def unexplained(self) -> int:
        """Trades that differ from the backtest without an explanation."""
        return sum(one.why.get("unexplained", 0) for one in self.proofs or [])


def run_unattended(config: LiveConfig, out: Path, *, prove: bool = True) -> Unattended:
    """Run a session.

    Parameters
    ----------
    config : LiveConfig
        What it does.
    out : Path
        Its folder; one that was left goes on.
    prove : bool
        Compare it with its backtest where that can be done.

    Raises
    ------
    InputError, StorageError
        As a session does.
    """
    deadline = time.monotonic() + _LOCK_S
    while (out / "session.lock").exists() and is_running(out) and time.monotonic() < deadline:
        time.sleep(0.2)
    with SessionFile(out) as file:
        if file.state().get("ended") == "true":
            found = _kept(out)
            if found is not None:
                return found
            end = _end_of(out)
        else:
            session = LiveSession(config, file)
            with SessionObserver(file, session.session_id, config.metrics) as observer:
                session.observer = observer
                end = session.run()
        proofs = None
        if prove and end.ended and config.at_end == "flatten" and is_provable(config):
            proofs = prove_session(file, config)
        write_folder(file, config, end, proofs)
        write_session_report(out)
    return Unattended(end=end, proofs=proofs, stretches=_stretches(out))


def _kept(out: Path) -> Unattended | None:
    """Return what the folder says of a session that is done; None where that was not written."""
    path = out / SUMMARY
    if not path.is_file():
        return None
    document = msgspec.json.decode(path.read_bytes())
    end = msgspec.convert(document["end"], SessionEnd)
    if not end.ended:
        return None
    proofs = document.get("proof")
    return Unattended(
        end=end,
        proofs=None if proofs is None else msgspec.convert(proofs, list[Proof]),
        stretches=_stretches(out),
    )


def _end_of(out: Path) -> SessionEnd:
    """Return the end of a session whose process died behind its last commit."""
    record = read_record(out)
    return SessionEnd(
        session=record.session,
        ended=True,
        resumed=True,
        quotes=0,
        dropped=0,
        commits=0,
        messages=0,
        seconds=0.0,
        trades=len(record.trades),
        account=record.account,
        broken=record.broken,
        warnings=[],
    )


def _stretches(out: Path) -> int:
    return len(read_record(out).of_kind("began"))
