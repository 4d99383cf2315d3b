"""A ranking in a notebook: what of a sweep survives out of sample.

Owns the call and the table of entries.  Score, evidence and verdicts are `aiopt.ranking`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

import msgspec
import numpy as np
import polars as pl

from aiopt.config import decode
from aiopt.errors import ConfigError
from aiopt.face import html
from aiopt.face.tables import FrameTable, Table
from aiopt.ranking.chosen import chosen_trials
from aiopt.ranking.earlier import opening_lines
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig, ScoreWeights, StressConfig
from aiopt.ranking.ranking_file import Entry, Ranking
from aiopt.strategy.spec import StrategySpec, spec_from_mapping

if TYPE_CHECKING:
    from aiopt.face.sweep import Sweep

EXPLAINED = (
    "luck_p: chance that the best of all candidates compared out of sample shows as much without an edge; "
    "0.05 and less is evidence. "
    "deflated_sharpe (DSR): probability that the true Sharpe ratio is above what the best of all these "
    "trials would show without skill; 0.95 is the usual bar. pbo: probability of backtest overfitting, how "
    "often the best in-sample is below the median out of sample; 0.5 is chance."
)


class Judging(TypedDict, total=False):
    """How trials are judged: the fields of `RankingConfig` but ``period``, which the sweep has set."""

    top: int
    lanes: int
    min_train_trades: int
    min_oos_trades: int
    max_correlation: float
    min_param_distance: float
    confidence: float
    bootstrap_resamples: int
    pbo_blocks: int
    seed: int
    evidence: Literal["family-wise", "deflated"]
    weights: ScoreWeights
    stress: StressConfig


class RankedStrategies(Table):
    """The entries of a ranking, best first, and why all others are none.

    As a table: ``rank``, ``strategy`` (family and time frame), ``score`` in [0, 1], ``oos_pnl`` (out of
    sample, account currency), ``oos_sharpe`` (annualised), ``profit_factor``, ``max_drawdown`` (fraction),
    ``trades``, ``luck_p``, ``deflated_sharpe``, ``pbo``, ``holdout_pnl``, ``verdict``, ``trial_id``.

    Attributes
    ----------
    ranking : Ranking
        All there is to know: folds, checks, cost stress, statistics of the whole sweep.
    unconfirmed : dict of str to tuple of str
        Entries that rest on trials which the screen alone ran, by name, and these trials; empty where the
        engine confirmed all.
    """

    def __init__(self, ranking: Ranking, unconfirmed: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.ranking = ranking
        self.unconfirmed = dict(unconfirmed or {})

    @property
    def headline(self) -> str:
        """One sentence; it says plainly when nothing beats chance."""
        return self.ranking.headline

    @property
    def entries(self) -> list[Entry]:
        """The entries, best first."""
        return self.ranking.entries

    @property
    def rejected(self) -> FrameTable:
        """Every other candidate: ``name``, ``reason``, ``trades`` out of sample, ``score``."""
        columns = {
            name: [getattr(one, name) for one in self.ranking.rejected]
            for name in ("name", "reason", "trades", "score")
        }
        kinds = {"name": pl.String, "reason": pl.String, "trades": pl.Int64, "score": pl.Float64}
        return FrameTable(pl.DataFrame(columns, schema=kinds), "rejected candidates")

    @property
    def warnings(self) -> list[str]:
        """What must be known before an entry is believed; empty where nothing must."""
        if not self.unconfirmed:
            return []
        named = "; ".join(f"{name}: {', '.join(trials)}" for name, trials in self.unconfirmed.items())
        return [
            f"NOT CONFIRMED by the engine, run by the screen alone: {len(self.unconfirmed)} of {len(self)} "
            f"entries rest on such trials ({named}). Rank again with confirm=True."
        ]

    def __len__(self) -> int:
        return len(self.ranking.entries)

    def spec(self, rank: int = 1) -> StrategySpec:
        """Return the strategy of an entry, with the parameters to trade; 1 is the best.

        Raises
        ------
        ConfigError
            If there is no such entry.
        """
        for entry in self.entries:
            if entry.rank == rank:
                return spec_from_mapping(entry.spec, where=entry.name)
        raise ConfigError(f"`1 <= rank <= {len(self)}` must hold, but got rank={rank}. {self.headline}")

    def to_polars(self) -> pl.DataFrame:
        """Return the entries as a Polars frame, see the class."""
        return pl.DataFrame([_row(entry) for entry in self.entries], schema=_COLUMNS, orient="row")

    def _title(self) -> str:
        told = "".join(f" {line}" for line in self.warnings)
        return f"{len(self)} entries, {len(self.ranking.rejected)} rejected. {self.headline}{told}"

    def _repr_html_(self) -> str:
        parts = [html.note(line) for line in opening_lines(self.ranking.holdout_openings or ())]
        if self.entries:
            first = self.entries[0]
            money = np.cumsum([0.0, *first.out_of_sample_pnl])
            times = np.array([*first.out_of_sample_ts_ns[:1], *first.out_of_sample_ts_ns], dtype=np.int64)
            parts.append(html.note(f"Profit out of sample of the first entry, {first.group}:"))
            parts.append(html.curve(times, money, label="profit out of sample", base=0.0))
            frame = self.to_polars().drop("trial_id")
            rounded = frame.with_columns(pl.col(pl.Float64).round(3))
            parts.append(html.frame_html(rounded, len(self)))
            parts.append(html.note(EXPLAINED))
        if self.ranking.rejected:
            parts.append(html.note("Rejected:"))
            parts.append(html.frame_html(self.rejected.to_polars().select("name", "reason"), 6))
        return html.card(self._title(), *parts)


_COLUMNS: dict[str, type[pl.DataType]] = {
    "rank": pl.Int64,
    "strategy": pl.String,
    "score": pl.Float64,
    "oos_pnl": pl.Float64,
    "oos_sharpe": pl.Float64,
    "profit_factor": pl.Float64,
    "max_drawdown": pl.Float64,
    "trades": pl.Int64,
    "luck_p": pl.Float64,
    "deflated_sharpe": pl.Float64,
    "pbo": pl.Float64,
    "holdout_pnl": pl.Float64,
    "verdict": pl.String,
    "trial_id": pl.String,
}


def _row(entry: Entry) -> tuple[object, ...]:
    found, holdout = entry.out_of_sample, entry.holdout
    return (
        entry.rank,
        entry.group,
        entry.score,
        found.net_pnl,
        found.sharpe,
        found.profit_factor,
        found.max_drawdown,
        found.trades,
        entry.evidence.p_value_family_wise,
        entry.evidence.deflated_sharpe,
        entry.evidence.pbo,
        None if holdout is None else holdout.net_pnl,
        entry.verdict,
        entry.trial_id,
    )


def rank(
    sweep: Sweep, *, config: RankingConfig | None = None, confirm: bool = True, **judging: Unpack[Judging]
) -> RankedStrategies:
    """Judge the trials of a sweep out of sample, every one of them counted.

    So are those of earlier runs, sweeps and backtests on the same market and time, as the ledger knows them;
    that the holdout is seen now is recorded there (`aiopt trials ledger`).

    Parameters
    ----------
    sweep : Sweep
        From `aiopt.sweep`.
    config : RankingConfig, optional
        All settings at once, instead of `judging`; its `period` must be the sweep's.
    confirm : bool
        Let the engine run every trial that these settings choose and that it has not run yet: other settings
        than the default choose others, e.g. more lanes.  False: `RankedStrategies.unconfirmed` names the
        entries that rest on such trials, and the table's title warns of them.
    **judging
        Fields of `RankingConfig`, e.g. ``top=3``, ``min_oos_trades=30``, ``min_train_trades=10``.

    Returns
    -------
    RankedStrategies
        Maybe without entries: then `headline` and `rejected` say why.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    ScreenMismatchError
        If the engine differs from the screen on a trial; nothing is ranked then.

    Examples
    --------
    >>> import aiopt as ao
    >>> bars = ao.build_bars(ao.sample_ticks(days=2), "5m")
    >>> found = ao.rank(ao.sweep("ema_cross_atr", bars, trials=4))
    >>> found.ranking.statistics.trials
    4
    """
    from aiopt.sweep.counting import counted_rows
    from aiopt.sweep.points import judged_by

    period = sweep.config.ranking.period
    if config is None:
        config = decode(msgspec.to_builtins({"period": period, **judging}), RankingConfig, where="rank")
    elif judging:
        raise ConfigError("`config` has every setting, but more were given. Leave one of the two out.")
    if config.period != period:
        msg = f"The period must be that of the sweep, {period}, but got {config.period}."
        raise ConfigError(msg + " Sweep again with it, or leave it out.")
    settings = msgspec.structs.replace(sweep.config, ranking=config)
    judged = judged_by(sweep.bars, settings)
    plan = sweep.context.plan
    chosen = chosen_trials(sweep.rows, plan, judged)
    if confirm and not sweep.confirmed.issuperset(chosen):
        sweep.confirm(chosen, judged)
    count = sweep.count()
    found = rank_trials(sweep.rows, plan, judged, count.earlier(counted_rows(sweep.rows)))
    count.open_holdout(entry.instrument for entry in found.entries)
    rests_on = {
        entry.name: {entry.trial_id, *(fold.trial_id for fold in entry.folds)} for entry in found.entries
    }
    left = {name: tuple(sorted(trials - sweep.confirmed)) for name, trials in rests_on.items()}
    return RankedStrategies(found, {name: trials for name, trials in left.items() if trials})
