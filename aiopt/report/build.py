"""From a run folder to a `Report`: reads each file that is there and puts the parts together.

Owns which file feeds which part.  Wording, statistics and markup are its neighbours' matter.
"""

from __future__ import annotations

from aiopt import __version__
from aiopt.config import content_hash
from aiopt.market.manifest import Manifest
from aiopt.report.model import Data, Report
from aiopt.report.quality import data_quality
from aiopt.report.summary import headline, sentences
from aiopt.runs import (
    CONFIG,
    ENTRIES_CSV,
    LEADERBOARD,
    MANIFEST,
    REPORT_JSON,
    TRADES_CSV,
    TRIALS,
    RunFolder,
    read_json,
)


def build_report(run: RunFolder) -> Report:
    """Return the report of a run, finished or not.

    Parameters
    ----------
    run : RunFolder
        From `aiopt.runs.load_run`.

    Raises
    ------
    RunFileError
        If a file is there but damaged.
    """
    config = run.config or {}
    data = _data(run)
    sweep, entries, rejected = None, [], []
    currency = data.instrument[3:] if data is not None and len(data.instrument) == 6 else "USD"
    return Report(
        run_id=run.run_id,
        status=run.state.status,
        stage=run.state.stage,
        error=run.state.error,
        missing=run.describe_missing(),
        headline=headline(sweep, entries),
        survivors=sum(entry.survives for entry in entries),
        summary=sentences(sweep, entries, data, rejected=len(rejected), currency=currency),
        currency=currency,
        initial_balance=float(config.get("backtest", {}).get("initial_balance", 100_000.0)),
        stretches=[],
        entries=entries,
        rejected=rejected,
        sweep=sweep,
        data=data,
        config=config,
        config_hash=content_hash(config) if config else "",
        seed=config.get("seed"),
        versions=run.state.versions or {"aiopt": __version__},
        started_at=run.state.started_at,
        finished_at=run.state.finished_at,
        score_formula="",
        files=_files(run),
    )


def _data(run: RunFolder) -> Data | None:
    path = run.path / MANIFEST
    return data_quality(read_json(path, Manifest)) if path.is_file() else None


def _files(run: RunFolder) -> list[str]:
    """Return the files a reader may open beside the page; the three tables are written with it."""
    beside = [name for name in (TRIALS, LEADERBOARD, CONFIG, MANIFEST) if (run.path / name).is_file()]
    return [REPORT_JSON, TRADES_CSV, ENTRIES_CSV, *beside]
