"""What the ranked entries do under stress, in a notebook.

Owns the two tables.  What is measured is `aiopt.robustness`' matter.
"""

from __future__ import annotations

import polars as pl

from aiopt.face import html
from aiopt.face.tables import FrameTable, Table
from aiopt.robustness.robustness_file import EntryRobustness, Robustness, confirmed_text

EXPLAINED = (
    "Every draw is a backtest of the entry's walk-forward path on development data. q05 and q95: 5 and 95 % "
    "of the draws; the other figures are medians. Nothing here moves a place; a required gate that fails "
    "takes “survives” away."
)

_SCENARIOS: dict[str, type[pl.DataType]] = {
    "rank": pl.Int64,
    "scenario": pl.String,
    "draws": pl.Int64,
    "net_pnl_q05": pl.Float64,
    "net_pnl": pl.Float64,
    "net_pnl_q95": pl.Float64,
    "sharpe": pl.Float64,
    "max_drawdown_amount": pl.Float64,
    "share_profitable": pl.Float64,
}

_GATES: dict[str, type[pl.DataType]] = {
    "rank": pl.Int64,
    "figure": pl.String,
    "value": pl.Float64,
    "rule": pl.String,
    "required": pl.Boolean,
    "passed": pl.Boolean,
}


class StressedEntries(Table):
    """The ranked entries of a run under stress.

    As a table: ``rank``, ``scenario``, ``draws``, ``net_pnl_q05``, ``net_pnl``, ``net_pnl_q95``, ``sharpe``,
    ``max_drawdown_amount``, ``share_profitable``; scenarios that do not apply are left out.

    Attributes
    ----------
    found : Robustness
        All there is to know: fans, parts, neighbourhood.
    """

    def __init__(self, found: Robustness) -> None:
        self.found = found

    @property
    def entries(self) -> list[EntryRobustness]:
        """The entries, best first."""
        return self.found.entries

    @property
    def gates(self) -> FrameTable:
        """Every gate: ``rank``, ``figure``, ``value``, ``rule``, ``required``, ``passed`` (null if open)."""
        rows = [
            (one.rank, gate.figure, gate.value, gate.rule, gate.required, gate.passed)
            for one in self.entries
            for gate in one.gates
        ]
        return FrameTable(pl.DataFrame(rows, schema=_GATES, orient="row"), "gates")

    def to_polars(self) -> pl.DataFrame:
        """Return the scenarios as a Polars frame, see the class."""
        rows = [
            (
                one.rank,
                scenario.name,
                scenario.draws,
                scenario.net_pnl.q05,
                scenario.net_pnl.q50,
                scenario.net_pnl.q95,
                None if scenario.sharpe is None else scenario.sharpe.q50,
                None if scenario.max_drawdown_amount is None else scenario.max_drawdown_amount.q50,
                scenario.share_profitable,
            )
            for one in self.entries
            for scenario in one.scenarios
            if scenario.net_pnl is not None
        ]
        return pl.DataFrame(rows, schema=_SCENARIOS, orient="row")

    def _title(self) -> str:
        failed = sum(bool(one.failed) for one in self.entries)
        return f"{len(self.entries)} entries under stress, {failed} fail a required gate"

    def _repr_html_(self) -> str:
        warnings = [
            f"Entry {one.rank} fails {', '.join(gate.figure for gate in one.failed)}."
            for one in self.entries
            if one.failed
        ]
        frame = self.to_polars().with_columns(pl.col(pl.Float64).round(3))
        gates = self.gates.to_polars().with_columns(pl.col(pl.Float64).round(3))
        return html.card(
            self._title(),
            html.frame_html(frame, frame.height),
            html.note(" ".join(filter(None, [EXPLAINED, confirmed_text(self.found)]))),
            html.frame_html(gates, gates.height),
            warnings=warnings,
        )
