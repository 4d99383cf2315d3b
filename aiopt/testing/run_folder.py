"""Run folders for tests: small, plausible, made by the real writers without engines or Ray.

Owns a random model of trials: real specs of the ready families, trades at random times, profits drawn from a
distribution with a chosen skill.  The rows, the ranking and the files are what the real code makes of them.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt import __version__
from aiopt.config import canonical_json, content_hash
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan, plan_walk_forward
from aiopt.files import atomic_write_bytes, atomic_write_text
from aiopt.optimize.run_paths import write_paths
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow, write_trials
from aiopt.runs import (
    CONFIG,
    LEADERBOARD,
    PINE,
    RANKING,
    STATE,
    TRIALS,
    EntryRecord,
    RunState,
    write_entry,
)
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec
from aiopt.ticks.manifest import (
    Manifest,
    Partition,
    RuleCount,
    SilentHour,
    hash_partitions,
    partition_path,
    write_manifest,
)
from aiopt.trades import ExitReason, Side, Trade
from aiopt.utc import DAY_NS, HOUR_NS, MINUTE_NS

FIRST_DAY = dt.date(2024, 3, 4)
UNITS = 10_000.0
COMMISSION = 0.76
BALANCE = 100_000.0
_REASONS: tuple[ExitReason, ...] = ("stop_loss", "take_profit", "exit_signal", "reverse")


@dataclass(frozen=True)
class RunModel:
    """What the trials of a made-up run are like.

    Attributes
    ----------
    families, timeframes : sequence of str
        Every pair is a group.
    trials : int
        Per group.
    days : int
        Calendar days of data; weekends have no market.
    skill : float
        Mean profit per trade after costs, in standard deviations of it, of the best parameters.
    failures : int
        Trials that end with an error.
    synthetic : bool
        Whether the data is marked as generated.
    seed : int
        Same seed, same folder.
    """

    families: Sequence[str] = ("rsi_reversion", "macd_adx_trend", "bollinger_breakout")
    timeframes: Sequence[str] = ("1m", "5m")
    trials: int = 24
    days: int = 28
    skill: float = 0.0
    failures: int = 2
    synthetic: bool = True
    seed: int = 7


def write_run_folder(run_dir: Path, model: RunModel | None = None) -> Path:
    """Write a finished run without its report; return `run_dir`.

    Parameters
    ----------
    run_dir : Path
        New folder.
    model : RunModel, optional
        What the trials are like.
    """
    model = RunModel() if model is None else model
    random = np.random.default_rng(model.seed)
    hours = _market_hours(model.days)
    plan = plan_walk_forward(WalkForwardConfig(), hours)
    manifest = _manifest(model, hours, random)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_manifest(run_dir, manifest)
    _write_state(run_dir, model, manifest)
    rows, trades = _trials(model, plan, hours, manifest.data_hash, random)
    leaderboard = Leaderboard(run_dir / LEADERBOARD, RankingConfig().with_pip(1e-4), plan)
    for row in rows:
        leaderboard.add(row)
    write_trials(run_dir / TRIALS, rows, plan=plan)
    ranking = leaderboard.ranking()
    atomic_write_bytes(run_dir / RANKING, canonical_json(ranking))
    write_paths(run_dir)
    by_id = {row.trial_id: row for row in rows}
    for entry in ranking.entries:
        _write_entry(run_dir, entry, by_id[entry.trial_id], trades[entry.trial_id], plan)
    return run_dir


def _market_hours(days: int) -> NDArray[np.int64]:
    """Return the hours with a market, as ns: Sunday 22:00 to Friday 22:00 UTC."""
    start = int(dt.datetime.combine(FIRST_DAY, dt.time(), tzinfo=dt.UTC).timestamp()) * 1_000_000_000
    found = []
    for hour in range(24 * days):
        weekday, clock = (FIRST_DAY.weekday() + hour // 24) % 7, hour % 24
        if weekday < 4 or (weekday == 4 and clock < 22) or (weekday == 6 and clock >= 22):
            found.append(start + hour * HOUR_NS)
    return np.array(found, dtype=np.int64)


def _manifest(model: RunModel, hours: NDArray[np.int64], random: np.random.Generator) -> Manifest:
    partitions: list[Partition] = []
    silent = []
    crossed = 0
    for day_ns in sorted(set((hours // DAY_NS * DAY_NS).tolist())):
        date = dt.datetime.fromtimestamp(day_ns // 1_000_000_000, tz=dt.UTC).date().isoformat()
        counts = [0] * 24
        for hour_ns in hours[(hours >= day_ns) & (hours < day_ns + DAY_NS)].tolist():
            hour = (hour_ns - day_ns) // HOUR_NS
            counts[hour] = int(3000 + 5000 * np.exp(-(((hour - 13) / 5.0) ** 2)) + random.integers(0, 600))
        if len(partitions) == 8:
            counts[3] = counts[4] = 0
            silent += [SilentHour(hour=f"{date}T{hour:02d}", reason="missing_file") for hour in (3, 4)]
        dropped = [int(count > 0 and random.random() < 0.2) for count in counts]
        crossed += sum(dropped)
        partitions.append(
            Partition(
                path=partition_path("EURUSD", date),
                instrument="EURUSD",
                date=date,
                rows=sum(counts),
                sha256=content_hash([date, counts]),
                content_sha256=content_hash([date, counts, "content"]),
                first_ts_ns=day_ns + 150_000_000,
                last_ts_ns=day_ns + DAY_NS - 350_000_000,
                hour_rows=counts,
                hour_dropped=dropped,
            )
        )
    rows = sum(part.rows for part in partitions)
    return Manifest(
        aiopt_version=__version__,
        instrument="EURUSD",
        source=f"generator, seed {model.seed}" if model.synthetic else "provider/eurusd",
        source_format="synthetic" if model.synthetic else "csv",
        source_hash=content_hash([model.seed, model.days]),
        synthetic=model.synthetic,
        data_hash=hash_partitions(partitions),
        rows=rows,
        rows_read=rows + crossed,
        first_ts_ns=int(hours[0]),
        last_ts_ns=int(hours[-1]) + HOUR_NS - 350_000_000,
        settings={},
        rules=[
            RuleCount(rule="crossed", treatment="drop", found=crossed, dropped=crossed, hours={}),
            RuleCount(rule="missing_hour", treatment="keep", found=len(silent), dropped=0, hours={}),
        ],
        silent_hours=silent,
        notes=[],
        files=[],
        partitions=partitions,
    )


def _write_state(run_dir: Path, model: RunModel, manifest: Manifest) -> None:
    settings: dict[str, Any] = {
        "name": run_dir.name,
        "instrument": "EURUSD",
        "timeframes": list(model.timeframes),
        "strategies": [msgspec.to_builtins(FAMILIES[name]) for name in model.families],
        "trials": model.trials,
        "sampler": "sobol",
        "seed": model.seed,
        "top": 5,
        "backtest": {"mode": "research", "initial_balance": BALANCE, "commission_per_million": 35.0},
        "walk_forward": msgspec.to_builtins(WalkForwardConfig()),
        "ranking": msgspec.to_builtins(RankingConfig()),
        "data_hash": manifest.data_hash,
    }
    atomic_write_bytes(run_dir / CONFIG, canonical_json(settings))
    state = RunState(
        status="done",
        stage="report",
        run_id=run_dir.name,
        started_at="2024-04-02T08:00:00+00:00",
        finished_at="2024-04-02T08:04:41+00:00",
        versions={"aiopt": __version__, "polars": "2.1.0"},
    )
    atomic_write_bytes(run_dir / STATE, msgspec.json.encode(state))


def _trials(
    model: RunModel,
    plan: WalkForwardPlan,
    hours: NDArray[np.int64],
    data_hash: str,
    random: np.random.Generator,
) -> tuple[list[TrialRow], dict[str, list[Trade]]]:
    rows: list[TrialRow] = []
    trades: dict[str, list[Trade]] = {}
    for timeframe in model.timeframes:
        for family in model.families:
            space = FAMILIES[family]
            for number, params in enumerate(space.sample(model.trials, model.seed, "sobol")):
                name = f"{family}@{timeframe}-{number:05d}"
                spec = space.spec.with_params(params)
                error = "BacktestError: made up for a test" if len(rows) < model.failures else ""
                position = number / max(model.trials - 1, 1)
                made = [] if error else _trades(hours, plan, model.skill * (1 - 2 * position), random)
                trades[name] = made
                rows.append(_row(name, family, timeframe, params, spec, data_hash, plan, made, error))
    return rows, trades


def _trades(
    hours: NDArray[np.int64], plan: WalkForwardPlan, skill: float, random: np.random.Generator
) -> list[Trade]:
    """Return trades one after another, none across a segment's end, profits of mean `skill` deviations."""
    count = int(random.integers(90, 420))
    starts = np.sort(random.choice(hours, count)) + random.integers(0, 59, count) * MINUTE_NS
    trades = []
    free_at = 0
    for place, at in enumerate(starts.tolist()):
        if at < free_at:
            continue
        segment = int(np.searchsorted(plan.boundaries_ns, at, side="right"))
        end = min(at + int(random.integers(2, 240)) * MINUTE_NS, plan.boundaries_ns[segment] - MINUTE_NS)
        if end <= at:
            continue
        free_at = end
        gross = round(float(random.normal(0.0, 9.0)) + skill * 9.0, 2)
        side: Side = "long" if random.random() < 0.5 else "short"
        entry = round(1.0850 + 0.004 * float(np.sin(place / 40.0)) + float(random.normal(0, 0.0006)), 5)
        move = gross / UNITS * (1 if side == "long" else -1)
        trades.append(
            Trade(
                entry_bar=(at - plan.start_ns) // MINUTE_NS,
                exit_bar=(end - plan.start_ns) // MINUTE_NS,
                entry_ts_ns=at,
                exit_ts_ns=end,
                side=side,
                entry_price=entry,
                exit_price=round(entry + move, 5),
                size=UNITS,
                exit_reason=_REASONS[int(random.integers(0, 4))],
                pnl=round(gross - COMMISSION, 2),
                commission=COMMISSION,
                nights=int(end // DAY_NS - at // DAY_NS),
            )
        )
    return trades


# reason: the columns of one row
def _row(  # noqa: PLR0913
    name: str,
    family: str,
    timeframe: str,
    params: dict[str, Any],
    spec: StrategySpec,
    data_hash: str,
    plan: WalkForwardPlan,
    trades: Sequence[Trade],
    error: str,
) -> TrialRow:
    common: dict[str, Any] = {
        "trial_id": name,
        "group": f"{family}@{timeframe}",
        "family": family,
        "timeframe": timeframe,
        "params_json": canonical_json(params).decode(),
        "spec_json": spec.to_json(),
        "spec_hash": spec.spec_hash,
        "config_hash": content_hash("made up"),
        "data_hash": data_hash,
        "seed": 7,
        "initial_balance": BALANCE,
    }
    if error:
        return TrialRow(**common, status="failed", error=error)
    spans = {
        "segment": _sums(trades, plan, plan.development),
        "holdout": _sums(trades, plan, plan.holdout),
    }
    columns: dict[str, Any] = {
        f"{span}_{key}": values for span, sums in spans.items() for key, values in sums.items()
    }
    columns["pnl"] = _profits(trades, plan.start_ns, plan.development_periods, plan.period_ns)
    columns["holdout_pnl"] = _profits(trades, plan.holdout_start_ns, plan.holdout_periods, plan.period_ns)
    return TrialRow(**common, status="ok", n_bars=10_000, **columns)


def _sums(trades: Sequence[Trade], plan: WalkForwardPlan, segments: Sequence[int]) -> dict[str, list[Any]]:
    sums: dict[str, list[Any]] = {
        key: [] for key in ("trades", "wins", "gross_profit", "gross_loss", "commission", "units", "nights")
    }
    # The made-up trades are far from any margin.
    sums |= {key: [0] * len(segments) for key in ("refused", "capped", "ruined")}
    for segment in segments:
        start, stop = plan.boundaries_ns[segment], plan.boundaries_ns[segment + 1]
        inside = [trade for trade in trades if start <= trade.exit_ts_ns < stop]
        sums["trades"].append(len(inside))
        sums["wins"].append(sum(trade.pnl > 0 for trade in inside))
        sums["gross_profit"].append(round(sum(trade.pnl for trade in inside if trade.pnl > 0), 8))
        sums["gross_loss"].append(round(-sum(trade.pnl for trade in inside if trade.pnl < 0), 8))
        sums["commission"].append(round(sum(trade.commission for trade in inside), 8))
        sums["units"].append(sum(trade.size for trade in inside))
        sums["nights"].append(sum(trade.nights or 0 for trade in inside))
    return sums


def _profits(trades: Sequence[Trade], start_ns: int, periods: int, period_ns: int) -> list[float]:
    profits = [0.0] * periods
    for trade in trades:
        place = (trade.exit_ts_ns - start_ns) // period_ns
        if 0 <= place < periods:
            profits[place] += trade.pnl
    return [round(value, 8) for value in profits]


def _write_entry(
    run_dir: Path, entry: Any, row: TrialRow, trades: list[Trade], plan: WalkForwardPlan
) -> None:
    name = f"{entry.rank:02d}_{row.family}_{row.timeframe}"
    times, equity = [plan.start_ns], [BALANCE]
    for trade in trades:
        times.append(trade.exit_ts_ns)
        equity.append(round(equity[-1] + trade.pnl, 2))
    spec = json.loads(row.spec_json)
    record = EntryRecord(
        rank=entry.rank,
        name=name,
        trial_id=row.trial_id,
        trades=trades,
        equity_ts_ns=times,
        equity=equity,
        spec=spec,
        stop_fills="ticks: the first quote at or beyond the stop",
    )
    write_entry(run_dir, record)
    header = f"//@version=6\n// run {run_dir.name}, spec {row.spec_hash[:12]}"
    script = f'{header}\nstrategy("{name}", overlay = true)\n'
    atomic_write_text(run_dir / PINE / f"{name}.pine", script)
    atomic_write_text(run_dir / PINE / f"{name}.json", row.spec_json + "\n")
