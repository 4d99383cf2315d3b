"""A run folder in a notebook: its ranking, trials, entries, scripts and bars.

Owns how a run shows itself.  The files and their layout are `aiopt.runs`'.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aiopt.face import html
from aiopt.face.backtest import trade_table
from aiopt.face.bars import Bars, read_bars
from aiopt.face.pine import PineScript
from aiopt.face.portfolio import Portfolio
from aiopt.face.rank import RankedStrategies
from aiopt.face.robustness import StressedEntries
from aiopt.face.tables import FrameTable, Table, with_timestamps
from aiopt.paths.paths_file import RunPaths
from aiopt.pine.emitter import refuse_readings
from aiopt.portfolio.reading import read_portfolio
from aiopt.runs import BARS, PINE, EntryRecord, NotARunError, RunFolder, load_run
from aiopt.strategy.spec import spec_from_mapping


class Run(Table):
    """A run folder: what ``aiopt optimize`` wrote.

    As a table: the entries of its ranking, see `RankedStrategies`; empty before it is ranked.

    Attributes
    ----------
    folder : RunFolder
        Its files, read when asked for.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.folder.run_id

    @property
    def status(self) -> str:
        """``"done"``, ``"running"``, ``"failed"``, ``"interrupted"`` or ``"unknown"``."""
        return self.folder.state.status

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain data; empty where it is absent."""
        return self.folder.config or {}

    @cached_property
    def ranking(self) -> RankedStrategies:
        """The ranking.

        Raises
        ------
        NotARunError
            If the run has none yet.
        """
        found = self.folder.ranking
        if found is None:
            raise NotARunError(
                f"{self.path}: the run is not ranked yet (stage {self.folder.state.stage or 'none'}). "
                f"Finish it first."
            )
        return RankedStrategies(found)

    @cached_property
    def robustness(self) -> StressedEntries:
        """The ranked entries under stress, and the gates.

        Raises
        ------
        NotARunError
            If it was not measured: the stage is off, has not come yet, or the run is of an older version.
        """
        found = self.folder.robustness
        if found is None:
            msg = (
                f"{self.path}: there is no robustness.json, so nothing is known of its entries under stress."
            )
            raise NotARunError(f"{msg} Repeat the run with the stage `robustness` on.")
        return StressedEntries(found)

    @cached_property
    def portfolio(self) -> Portfolio:
        """The entries together: correlation, combinations, what each adds, position sizes.

        Raises
        ------
        NotARunError
            If the run has none: it has fewer than two entries, or is not that far, or is older.
        """
        found = read_portfolio(self.path)
        if found is None:
            msg = f"{self.path}: the run has no portfolio.json. It has fewer than two entries, or is not "
            raise NotARunError(msg + "that far yet, or an earlier version made it.")
        return Portfolio(found)

    @cached_property
    def trials(self) -> FrameTable:
        """Every trial, failed ones too: columns of `TrialRow`; lists are per segment or period.

        Raises
        ------
        NotARunError
            If ``trials.parquet`` is not there yet.
        """
        path = self.folder.trials_path
        if path is None:
            raise NotARunError(
                f"{self.path}: the sweep is not finished, so there is no trials.parquet. Finish the run "
                f"first."
            )
        return FrameTable(pl.read_parquet(path), "trials")

    @cached_property
    def paths(self) -> RunPaths:
        """Combinatorial paths and walk-forward matrix of every group: evidence beside the ranking.

        Raises
        ------
        NotARunError
            If the run has none: it is not ranked yet, or an earlier version ranked it.
        """
        found = self.folder.paths
        if found is None:
            raise NotARunError(
                f"{self.path}: the run has no paths.json: it is not ranked yet, or an earlier version ranked "
                "it. Finish it, or repeat it with --force."
            )
        return found

    def trades(self, rank: int = 1) -> FrameTable:
        """Return the trades of an entry over the whole span; columns as `Backtest.trades`."""
        return trade_table(self._entry(rank).trades)

    def equity(self, rank: int = 1) -> FrameTable:
        """Return the equity of an entry's emitted parameters: ``ts`` (UTC), ``equity`` (account currency)."""
        entry = self._entry(rank)
        frame = pl.DataFrame(
            {"ts_ns": entry.equity_ts_ns, "equity": entry.equity},
            schema={"ts_ns": pl.Int64, "equity": pl.Float64},
        )
        return FrameTable(with_timestamps(frame), "points of equity")

    def script(self, rank: int = 1) -> PineScript:
        """Return the Pine Script of an entry."""
        entry = self._entry(rank)
        text = self.folder.pine_source(entry.name)
        if text is None:
            refuse_readings(spec_from_mapping(entry.spec, where=entry.name))
            raise NotARunError(
                f"{self.path}: the entry has no script yet ({PINE}/{entry.name}.pine). Finish the run first."
            )
        manifest = self.folder.read_mapping("manifest.json") or {}
        ranking = self.folder.ranking
        ranked = {} if ranking is None else {one.rank: one.instrument for one in ranking.entries}
        symbol = str(ranked.get(rank) or manifest.get("instrument", ""))
        spec = spec_from_mapping(entry.spec, where=entry.name)
        return PineScript(spec, text, symbol, self.path / PINE / f"{entry.name}.pine")

    def bars(self, timeframe: str | None = None, *, instrument: str | None = None) -> Bars:
        """Return the bid and ask bars the trials ran on; of several time frames or markets name one."""
        folder = self.path / BARS
        return read_bars(folder if instrument is None else folder / instrument, timeframe)

    def to_polars(self) -> pl.DataFrame:
        """Return the entries of the ranking as a Polars frame."""
        return self.ranking.to_polars()

    def _entry(self, rank: int) -> EntryRecord:
        for entry in self.folder.entries:
            if entry.rank == rank:
                return entry
        known = ", ".join(str(entry.rank) for entry in self.folder.entries) or "none"
        raise NotARunError(f"{self.path}: the run has no entry {rank}. There are: {known}.")

    def _title(self) -> str:
        found = self.folder.ranking
        headline = (
            f": {found.headline}" if found is not None else f", at {self.folder.state.stage or 'no stage'}"
        )
        return f"{self.run_id}, {self.status}{headline}"

    def _repr_html_(self) -> str:
        parts = []
        if self.folder.ranking is not None:
            parts.append(self.ranking._repr_html_())
        if self.folder.entries:
            entry = self.folder.entries[0]
            parts.append(html.note(f"Equity of {entry.name} over the whole span, its choice included:"))
            times, values = (
                np.array(entry.equity_ts_ns, dtype=np.int64),
                np.array(entry.equity, dtype=np.float64),
            )
            base = float(values[0]) if values.size else 0.0
            parts.append(html.curve(times, values, label="equity", base=base))
        missing = self.folder.describe_missing()
        warnings = [f"Not there: {', '.join(missing)}."] if missing else []
        if self.folder.state.error:
            warnings.insert(0, self.folder.state.error)
        return html.card(self._title(), *parts, warnings=warnings)


def run(path: Path | str) -> Run:
    """Open a run folder; an unfinished one too.

    Parameters
    ----------
    path : Path or str
        ``runs/NAME-HASH``, as ``aiopt optimize`` wrote it.

    Returns
    -------
    Run

    Raises
    ------
    NotARunError
        If the folder is none; names the runs beside it.
    RunFileError
        If a file of it is damaged.
    """
    return Run(load_run(Path(path)))
