"""The entries of a run together, in a notebook.  Owns the tables; figures are `aiopt.portfolio`'s."""

from __future__ import annotations

import numpy as np
import polars as pl

from aiopt.face import html
from aiopt.face.tables import FrameTable, Table
from aiopt.portfolio.portfolio_file import LACKING, PathFigures, RunPortfolio
from aiopt.report.portfolio import sentence


class Portfolio(Table):
    """What the entries of a run come to together, out of sample.

    As a table, the entries alone and then every combination: ``portfolio``, ``pnl`` (account currency),
    ``sharpe`` (annualised) with ``sharpe_low`` and ``sharpe_high``, ``max_drawdown`` (account currency),
    ``pnl_per_drawdown``.

    Attributes
    ----------
    found : RunPortfolio
        All there is to know: weights of every fold, correlations, what each entry adds, sizes.
    """

    def __init__(self, found: RunPortfolio) -> None:
        self.found = found

    @property
    def correlation(self) -> FrameTable:
        """Correlation of the entries' profits per period: ``entry``, then a column for each entry."""
        return self._matrix(self.found.correlation)

    @property
    def daily_correlation(self) -> FrameTable:
        """The same per day (UTC)."""
        return self._matrix(self.found.daily_correlation)

    @property
    def weights(self) -> FrameTable:
        """``method``, ``fold`` (from 1; null: from the last train window), then a column for each entry."""
        rows = [
            (one.method, fold, *weights)
            for one in self.found.combinations
            for fold, weights in [*enumerate(one.weights, start=1), (None, one.last_weights)]
        ]
        kinds = {"method": pl.String, "fold": pl.Int64, **dict.fromkeys(self._names, pl.Float64)}
        return FrameTable(pl.DataFrame(rows, schema=kinds, orient="row"), "weights")

    @property
    def added(self) -> FrameTable:
        """What each entry adds to the equal-risk combination: ``entry``, ``sharpe``, ``pnl``, interval."""
        rows = [
            (one.name, one.sharpe_added, one.pnl_added, one.pnl_added_low, one.pnl_added_high)
            for one in self.found.left_out
        ]
        kinds = dict.fromkeys(("sharpe", "pnl", "pnl_low", "pnl_high"), pl.Float64)
        frame = pl.DataFrame(rows, schema={"entry": pl.String, **kinds}, orient="row")
        return FrameTable(frame, "entries left out in turn")

    @property
    def sizing(self) -> FrameTable:
        """Each entry with every position size: ``entry``, ``size``, ``trades``, figures as the table's."""
        rows = [
            (one.name, path.kind, path.trades, *_figures(path.figures))
            for one in self.found.sizing
            for path in one.paths
        ]
        first: dict[str, type[pl.DataType]] = {"entry": pl.String, "size": pl.String, "trades": pl.Int64}
        return FrameTable(pl.DataFrame(rows, schema=first | _KINDS, orient="row"), "position sizes")

    def to_polars(self) -> pl.DataFrame:
        """Return the entries alone and the combinations, see the class."""
        rows = [(entry.name, *_figures(entry.figures)) for entry in self.found.entries]
        rows += [(one.method, *_figures(one.figures)) for one in self.found.combinations]
        return pl.DataFrame(rows, schema={"portfolio": pl.String, **_KINDS}, orient="row")

    @property
    def _names(self) -> list[str]:
        return [entry.name for entry in self.found.entries]

    def _matrix(self, values: list[list[float | None]]) -> FrameTable:
        frame = pl.DataFrame(values, schema=dict.fromkeys(self._names, pl.Float64), orient="row")
        return FrameTable(frame.insert_column(0, pl.Series("entry", self._names)), "correlations")

    def _title(self) -> str:
        return sentence(self.found)

    def _repr_html_(self) -> str:
        whole = self.found.best_known
        money = np.cumsum([0.0, *whole.pnl])
        times = np.array([*self.found.ts_ns[:1], *self.found.ts_ns], dtype=np.int64)
        rounded = self.to_polars().with_columns(pl.col(pl.Float64).round(3))
        return html.card(
            self._title(),
            html.note("Profit out of sample by equal risk:"),
            html.curve(times, money, label="profit out of sample", base=0.0),
            html.frame_html(rounded, len(rounded)),
            html.note(LACKING),
        )


_KINDS: dict[str, type[pl.DataType]] = dict.fromkeys(
    ("pnl", "sharpe", "sharpe_low", "sharpe_high", "max_drawdown", "pnl_per_drawdown"), pl.Float64
)


def _figures(found: PathFigures | None) -> tuple[float | None, ...]:
    if found is None:
        return (None,) * len(_KINDS)
    return (
        found.net_pnl,
        found.sharpe,
        found.sharpe_low,
        found.sharpe_high,
        found.max_drawdown_amount,
        found.net_per_drawdown,
    )
