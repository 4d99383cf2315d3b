"""What a finished run says at the end: a table for people, a document for programs.  Computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from aiopt.bars.manifest import spread_of
from aiopt.ranking.earlier import EarlierOpenings, EarlierTrials, opening_lines
from aiopt.ranking.ranking_file import Entry, Ranking
from aiopt.ranking.reasons import (
    ReasonCount,
    failure_lines,
    failure_reasons_of_file,
    rejection_lines,
    rejection_reasons,
)
from aiopt.ranking.screened import Screened
from aiopt.ranking.verdict import luck_line
from aiopt.report.build import read_manifests
from aiopt.runs import (
    CONFIG,
    MANIFEST,
    PINE,
    REPORT_HTML,
    TRIALS,
    VERIFICATION,
    backtest_of,
    load_run,
    read_json,
)
from aiopt.verification.verification_file import RunVerification

COLUMNS = (
    "#",
    "strategy",
    "score",
    "OOS P&L",
    "OOS Sharpe",
    "PF",
    "max DD",
    "trades",
    "holdout",
    "verdict",
)
"""OOS: out of sample, on the walk-forward path.  PF: profit factor.  DD: drawdown."""

SYNTHETIC = "SYNTHETIC ticks: generated, not traded; the figures say nothing about a market."


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a job leaves for the command line.

    Attributes
    ----------
    run_id, run_dir : str
        Name and absolute path of the run folder.
    status : str
        ``"done"``.
    finished_before : bool
        Nothing was left to do.
    trials, failed : int
        Points of the run, and how many of them failed.
    synthetic : bool
        The ticks were generated, not traded.
    spread : str
        Where the difference of bid and ask comes from.
    headline : str
        The ranking in one sentence.
    earlier_trials : EarlierTrials or None
        Trials of others on the same data, which count too.
    holdout_openings : list of EarlierOpenings
        Who had seen the holdout before.
    entries : list of dict
        The ranked entries, best first.
    rejections, failures : list of ReasonCount
        Why candidates are not among the entries, and why trials failed; the most frequent reason first.
    report : str
        Path of the HTML page.
    broken_scripts : list of str
        Entries whose script does not trade as the backtest does: it must not be used.
    screened : Screened or None
        What the screen ran, what the engine confirmed, and what was beyond the screen.
    """

    run_id: str
    run_dir: str
    status: str
    finished_before: bool
    trials: int
    failed: int
    synthetic: bool
    spread: str
    headline: str
    entries: list[dict[str, Any]]
    rejections: list[ReasonCount]
    failures: list[ReasonCount]
    report: str
    earlier_trials: EarlierTrials | None = None
    holdout_openings: list[EarlierOpenings] = []
    broken_scripts: list[str] = []
    screened: Screened | None = None


def summarise(run_dir: Path, log: Callable[[str], None], *, finished_before: bool) -> RunResult:
    """Print the table of the ranked entries and return the result document."""
    run = load_run(run_dir)
    ranking, screened = run.ranking, run.screened
    assert ranking is not None  # a finished run has one
    manifests = read_manifests(run_dir / MANIFEST)
    config = read_json(run_dir / CONFIG, dict)
    spreads = {
        symbol: spread_of(one, float(backtest_of(config, symbol).get("extra_spread_pips", 0.0)))
        for symbol, one in manifests.items()
    }
    spread = shared_text(spreads)
    made_up = [symbol for symbol, one in manifests.items() if one.synthetic]
    rejections = rejection_reasons(ranking.rejected)
    failures = failure_reasons_of_file(run_dir / TRIALS)
    for line in ranking_table(ranking, synthetic=bool(made_up), spread=spread):
        log(line)
    candidates = len(ranking.entries) + len(ranking.rejected)
    for lines in (
        rejection_lines(rejections, candidates),
        failure_lines(failures, ranking.statistics.trials),
        [] if screened is None else screened.lines,
    ):
        for line in [*lines, ""] if lines else []:
            log(line)
    verification = _verification(run_dir)
    for line in outcome_lines(verification, run_dir):
        log(line)
    log(f"report      {run_dir / REPORT_HTML}")
    log(f"Pine Script {run_dir / PINE}")
    log(f"run folder  {run_dir}")
    return RunResult(
        run_id=run_dir.name,
        run_dir=str(run_dir),
        status="done",
        finished_before=finished_before,
        trials=ranking.statistics.trials,
        failed=ranking.statistics.failed,
        synthetic=bool(made_up),
        spread=spread,
        headline=ranking.headline,
        entries=[_entry_document(run_dir, entry, verification) for entry in ranking.entries],
        rejections=rejections,
        failures=failures,
        report=str(run_dir / REPORT_HTML),
        earlier_trials=ranking.statistics.earlier_trials or None,
        holdout_openings=list(ranking.holdout_openings or ()),
        broken_scripts=verification.broken,
        screened=screened,
    )


def _verification(run_dir: Path) -> RunVerification:
    path = run_dir / VERIFICATION
    if path.is_file():
        return read_json(path, RunVerification)
    how = f"`aiopt pine engine install`, then `aiopt pine verify {run_dir}`"
    return RunVerification(reason=f"no Pine engine was asked. To do it: {how}.")


def ranking_table(ranking: Ranking, *, synthetic: bool, spread: str) -> list[str]:
    """Return the ranked entries as lines of a plain table, for a log."""
    rows = [
        (
            str(entry.rank),
            entry.group,
            f"{entry.score:.3f}",
            f"{entry.out_of_sample.net_pnl:,.0f}",
            _number(entry.out_of_sample.sharpe, ".2f"),
            _number(entry.out_of_sample.profit_factor, ".2f"),
            _number(entry.out_of_sample.max_drawdown, ".1%"),
            str(entry.out_of_sample.trades),
            "-" if entry.holdout is None else f"{entry.holdout.net_pnl:,.0f}",
            entry.verdict,
        )
        for entry in ranking.entries
    ]
    widths = [max(len(row[column]) for row in [COLUMNS, *rows]) for column in range(len(COLUMNS))]
    left = {1, len(COLUMNS) - 1}
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [COLUMNS, *rows]
    ]
    note = [SYNTHETIC] if synthetic else []
    empty = ["No candidate could be ranked; why, stands below."] if not rows else []
    table = [*lines, ""] if rows else []
    seen = opening_lines(ranking.holdout_openings or ())
    luck = luck_line(ranking)
    told = [ranking.headline, *([luck] if luck else []), *seen]
    return ["", *table, *empty, *told, f"Spread: {spread}.", *note, ""]


def shared_text(texts: Mapping[str, str]) -> str:
    """Return what all markets say, or what each says behind its instrument."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{symbol}: {text}" for symbol, text in texts.items())


def _number(value: float | None, format_: str) -> str:
    return "-" if value is None else format(value, format_)


def outcome_lines(found: RunVerification, run_dir: Path) -> list[str]:
    """Return what is said of the scripts of a run at its end, the loud lines first.

    Parameters
    ----------
    found : RunVerification
        What came of the stage.
    run_dir : Path
        Named in the advice.
    """
    if found.engine is None:
        return [f"Pine Script was NOT verified: {found.reason}"]
    lines = [
        f"DO NOT USE {PINE}/{name}.pine: it does not trade as the backtest does in {found.engine}. "
        f"See: aiopt pine verify {run_dir} --entry {name}"
        for name in found.broken
    ]
    good = [one for one in found.entries.values() if one.agrees]
    trades = sum(one.trades for one in good)
    lines.append(
        f"{len(good)} of {len(found.entries) + len(found.failures)} scripts verified in {found.engine}: "
        f"{trades:,} trades equal the backtest's, trade for trade"
    )
    idle = [name for name, one in found.entries.items() if one.difference is None and not one.trades]
    if idle:
        lines.append(f"without a trade in the bars verified, so not proved: {', '.join(idle)}")
    return lines


def _entry_document(run_dir: Path, entry: Entry, verification: RunVerification) -> dict[str, Any]:
    script = run_dir / PINE / f"{entry.name}.pine"
    return {
        "rank": entry.rank,
        "name": entry.name,
        "group": entry.group,
        "params": entry.params,
        "score": entry.score,
        "out_of_sample": msgspec.to_builtins(entry.out_of_sample),
        "holdout": msgspec.to_builtins(entry.holdout),
        "verdict": entry.verdict,
        "p_value_family_wise": entry.evidence.p_value_family_wise,
        "pine": str(script) if script.is_file() else None,
        "pine_verified": verification.says(entry.name),
    }
