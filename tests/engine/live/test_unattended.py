"""A session run with nobody there may be asked for twice, whenever the one who asked lost the answer."""

from __future__ import annotations

from pathlib import Path

from aiopt.live.report.unattended import run_unattended
from aiopt.strategy.families import FAMILIES
from tests.engine.live.live_sessions import config_of, traded


def test_asked_again_it_completes_what_is_missing(store: Path, tmp_path: Path) -> None:
    specs = traded(tmp_path / "specs", {"E": FAMILIES["ema_cross_atr"].spec}, "1m")
    config = config_of(store, specs, feed={"stop": "2024-03-05T12:00"})
    out = tmp_path / "out"
    first = run_unattended(config, out)
    assert first.end.ended
    assert first.proofs is not None
    assert first.unexplained == 0
    assert first.end.trades > 3
    assert run_unattended(config, out) == first
    # Died behind the last commit, before it said so.
    for name in ("session.json", "report.html", "trades.csv"):
        (out / name).unlink()
    again = run_unattended(config, out)
    assert (again.end.trades, again.end.account, again.proofs) == (
        first.end.trades,
        first.end.account,
        first.proofs,
    )
    assert (out / "report.html").is_file()
    assert run_unattended(config, out).end.trades == first.end.trades
