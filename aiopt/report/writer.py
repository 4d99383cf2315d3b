"""Writing the report's files into the run folder.  Owns their names and formats; decides nothing they say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aiopt.files import atomic_write_bytes, atomic_write_text
from aiopt.outputs import PAGE, REPORT, REPORT_TABLE, check_file
from aiopt.ranking.whole_rows import Progress
from aiopt.report.build import build_report
from aiopt.report.document import Report
from aiopt.report.html import part_of, render_html
from aiopt.runs import CHARTS, ENTRIES_CSV, REPORT_HTML, REPORT_JSON, TRADES_CSV, load_run
from aiopt.utc import stamp_text

_WINDOW_FIGURES = ("net_pnl", "profit_factor", "win_rate", "max_drawdown", "trades")
_TRADE_COLUMNS = (
    *(
        "rank",
        "entry",
        "trade",
        "part",
        "side",
        "entry_time_utc",
        "exit_time_utc",
        "entry_ts_ns",
        "exit_ts_ns",
    ),
    *("entry_price", "exit_price", "size", "exit_reason", "pnl", "commission", "swap", "nights"),
    *("stop_price", "target_price"),
)


class PageFiles(NamedTuple):
    """The files of a report that lie beside its page."""

    json: Path
    trades_csv: Path
    entries_csv: Path


def files_beside(page: Path) -> PageFiles:
    """Return the files beside a page: two pages in one folder do not share them.

    Examples
    --------
    >>> [path.name for path in files_beside(Path("report.html"))]
    ['report.json', 'trades.csv', 'entries.csv']
    >>> [path.name for path in files_beside(Path("may.html"))]
    ['may.json', 'may.trades.csv', 'may.entries.csv']
    """
    names = (REPORT_JSON, TRADES_CSV, ENTRIES_CSV)
    if page.stem != Path(REPORT_HTML).stem:
        names = (f"{page.stem}.json", f"{page.stem}.{TRADES_CSV}", f"{page.stem}.{ENTRIES_CSV}")
    return PageFiles(*(page.with_name(name) for name in names))


def write_report(run_dir: Path, *, out: Path | None = None, progress: Progress | None = None) -> Path:
    """Write ``report.html``, ``report.json``, ``trades.csv`` and ``entries.csv`` of a run.

    Reads only files of the run folder, so it can be repeated at any time; the same folder gives the same
    bytes.  An unfinished run gets a report of what is there that says what is missing.

    Parameters
    ----------
    run_dir : Path
        ``runs/<run-id>``.
    out : Path, optional
        Where the page goes instead of ``report.html`` in the run folder; the other files go beside it, see
        `files_beside`.
    progress : callable, optional
        Called with the trials read and their number.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        If a file of another kind is in the way.  Nothing is written then.
    NotARunError
        If `run_dir` is not a run folder.
    RunFileError
        If a file of the folder is there but damaged.
    StorageError
        If the disk is full or the folder is not writable.
    """
    run = load_run(run_dir)
    page = Path(run_dir) / REPORT_HTML if out is None else Path(out)
    beside = files_beside(page)
    check_file(page, PAGE, name="The page")
    check_file(beside.json, REPORT, name="The JSON beside the page")
    for table in (beside.trades_csv, beside.entries_csv):
        check_file(table, REPORT_TABLE, name="The table beside the page")
    report = build_report(run, progress=progress)
    images = _images(Path(run_dir), report)
    own = [path.name for path in beside]
    if page.parent.resolve() != Path(run_dir).resolve():
        report = msgspec.structs.replace(report, files=own)
    else:
        report = msgspec.structs.replace(report, files=[*own, *report.files[len(own) :]])
    atomic_write_text(beside.trades_csv, trades_csv(report))
    atomic_write_text(beside.entries_csv, entries_csv(report))
    atomic_write_bytes(beside.json, report_json(report))
    atomic_write_text(page, render_html(report, images))
    return page


def _images(run_dir: Path, report: Report) -> dict[str, bytes]:
    """Return the analyst's pictures that are there."""
    names = [] if report.analyst is None else [reading.picture for reading in report.analyst.readings]
    # Names come from a file: nothing outside the folder of charts is embedded.
    paths = {name: run_dir / CHARTS / Path(name).name for name in names}
    return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def report_json(report: Report) -> bytes:
    """Return the report as indented JSON; figures that are not finite become null."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def trades_csv(report: Report) -> str:
    """Return every trade of every entry's emitted parameters as CSV, one line each.

    A run of several markets has the column ``instrument``, the last.
    """
    rows = []
    several = bool(report.markets)
    for entry in report.entries:
        for number, trade in enumerate(entry.trades, start=1):
            rows.append(
                (
                    *(
                        entry.rank,
                        entry.name,
                        number,
                        part_of(trade.entry_ts_ns, report.stretches),
                        trade.side,
                    ),
                    *(
                        stamp_text(trade.entry_ts_ns, "ms"),
                        stamp_text(trade.exit_ts_ns, "ms"),
                        trade.entry_ts_ns,
                        trade.exit_ts_ns,
                    ),
                    *(trade.entry_price, trade.exit_price, trade.size, trade.exit_reason),
                    *(trade.pnl, trade.commission, trade.swap, trade.nights),
                    *(trade.stop_price, trade.target_price),
                    *((entry.instrument,) if several else ()),
                )
            )
    return _csv((*_TRADE_COLUMNS, "instrument") if several else _TRADE_COLUMNS, rows)


def entries_csv(report: Report) -> str:
    """Return one line per ranked entry: score, components, figures per window, verdict.

    A run of several markets has the column ``instrument``, the last.
    """
    parts = list(dict.fromkeys(part.name for entry in report.entries for part in entry.parts))
    kinds = ("in_sample", "out_of_sample", "holdout")
    columns = ["rank", "entry", "family", "timeframe", "trial_id", "score"]
    columns += [f"score_{name.lower().replace(' ', '_')}" for name in parts]
    for kind in kinds:
        columns += [f"{kind}_{name}" for name in ("sharpe", "sharpe_low", "sharpe_high", *_WINDOW_FIGURES)]
    columns += ["p_value_family_wise", "deflated_sharpe", "pbo", "survives", "verdict", "params"]
    columns += ["instrument"] if report.markets else []
    rows = []
    for entry in report.entries:
        values = {part.name: part.value for part in entry.parts}
        row: list[Any] = [entry.rank, entry.name, entry.family, entry.timeframe, entry.trial_id, entry.score]
        row += [values.get(name) for name in parts]
        for kind in kinds:
            window = entry.window(kind)
            if window is None:
                row += [None] * (3 + len(_WINDOW_FIGURES))
                continue
            row += [window.sharpe.value, window.sharpe.low, window.sharpe.high]
            row += [getattr(window, name) for name in _WINDOW_FIGURES]
        row += [entry.p_value_family_wise, entry.deflated_sharpe, entry.pbo, entry.survives, entry.verdict]
        row.append(msgspec.json.encode(entry.params).decode())
        row += [entry.instrument] if report.markets else []
        rows.append(row)
    return _csv(columns, rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return text.getvalue()
