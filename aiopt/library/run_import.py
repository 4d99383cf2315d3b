"""A finished run into the library: its ranked strategies with what they did out of sample.

Owns which figures of a run are taken.  This is the one way for figures: nothing can be typed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from aiopt.bars.manifest import manifests_of
from aiopt.config import canonical_json, content_hash
from aiopt.errors import InputError
from aiopt.library.records import ImportedRun, Origin
from aiopt.library.strategies import add_strategy
from aiopt.library.tables import evaluation, performance, run
from aiopt.ranking.ranking_file import Entry, Ranking
from aiopt.runs import MANIFEST, RunFolder, backtest_of
from aiopt.strategy.spec import spec_from_mapping

if TYPE_CHECKING:
    from aiopt.bars.manifest import BarManifest
    from aiopt.ticks.manifest import Manifest

_JUDGED_BY = ("walk_forward", "ranking", "seed", "sampler", "trials")


def import_run(connection: Connection, folder: RunFolder, origin: Origin | None = None) -> ImportedRun:
    """Record a run, its ranked strategies and their evaluations; a run that is known changes nothing.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    folder : RunFolder
        Finished.
    origin : Origin, optional
        Of strategies that are new; by default ours, found by the run.

    Raises
    ------
    InputError
        If the run is not finished, or lacks its configuration, manifest or ranking.
    """
    ranking, config, manifest = folder.ranking, folder.config, folder.read_mapping(MANIFEST)
    if folder.state.status != "done" or ranking is None or config is None or manifest is None:
        missing = ", ".join(folder.describe_missing()) or f"status {folder.state.status!r}"
        msg = f"A run must be finished to be taken in, but {folder.path} is not ({missing}). Finish it first."
        raise InputError(msg)
    origin = origin or Origin(licence="own", origin=f"run {folder.run_id}")
    manifests = manifests_of(manifest)
    identity = content_hash(config)
    row = _run_row(folder, identity, config, ranking, manifests)
    made = insert(run).values(row).on_conflict_do_nothing().returning(run.c.id)
    new = connection.execute(made).scalar_one_or_none() is not None
    strategies = evaluations = 0
    for entry in ranking.entries if new else ():
        spec = spec_from_mapping(entry.spec, where=f"{folder.path}, entry {entry.name}")
        added = add_strategy(connection, spec, origin, "run")
        strategies += added.new
        symbol = str(entry.instrument or next(iter(manifests)))
        values = {
            "strategy_id": added.id,
            "spec_hash": spec.spec_hash,
            "run_id": identity,
            "instrument": symbol,
            "data_hash": manifests[symbol].data_hash,
            "config_hash": _judged_by(config, entry),
            "engine": row["engine"],
            **_figures(entry),
        }
        key = connection.execute(insert(evaluation).values(values).returning(evaluation.c.id)).scalar_one()
        connection.execute(
            insert(performance).on_conflict_do_nothing(), _history(entry, ranking, added.id, key)
        )
        evaluations += 1
    return ImportedRun(
        run_id=identity,
        name=folder.run_id,
        new=new,
        entries=len(ranking.entries),
        strategies=strategies,
        evaluations=evaluations,
    )


def _run_row(
    folder: RunFolder,
    identity: str,
    config: dict[str, Any],
    ranking: Ranking,
    manifests: dict[str, Manifest | BarManifest],
) -> dict[str, Any]:
    versions = folder.state.versions
    statistics = ranking.statistics
    return {
        "id": identity,
        "name": folder.run_id,
        "folder": str(folder.path.resolve()),
        "config": canonical_json(config).decode(),
        "data_hashes": {symbol: one.data_hash for symbol, one in manifests.items()},
        "synthetic": any(one.synthetic for one in manifests.values()),
        "engine": f"nautilus_trader {versions.get('nautilus_trader', '')}".strip(),
        "versions": dict(versions),
        "seed": int(config.get("seed", 0)),
        "trials": statistics.trials,
        "failed": statistics.failed,
        "candidates": statistics.candidates,
        "headline": ranking.headline,
        "finished_at": folder.state.finished_at,
    }


def _judged_by(config: dict[str, Any], entry: Entry) -> str:
    """Return the hash of what figures rest on beside data and strategies: costs, folds, judging."""
    settings = {name: config.get(name) for name in _JUDGED_BY}
    return content_hash({**settings, "backtest": backtest_of(config, entry.instrument)})


def _figures(entry: Entry) -> dict[str, Any]:
    found = entry.out_of_sample
    return {
        "rank": entry.rank,
        "entry": entry.name,
        "timeframe": entry.timeframe,
        "verdict": entry.verdict,
        "survives": entry.survives,
        "score": entry.score,
        "net_pnl": found.net_pnl,
        "trades": found.trades,
        "sharpe": found.sharpe,
        "sharpe_low": found.sharpe_low,
        "sharpe_high": found.sharpe_high,
        "deflated_sharpe": entry.evidence.deflated_sharpe,
        "p_value": entry.evidence.p_value_family_wise,
        "trials_counted": entry.evidence.trials_counted,
        "details": {
            "trial_id": entry.trial_id,
            "params": entry.params,
            "lane": entry.lane,
            **msgspec.to_builtins(
                {
                    "in_sample": entry.in_sample,
                    "out_of_sample": entry.out_of_sample,
                    "holdout": entry.holdout,
                    "folds": entry.folds,
                    "evidence": entry.evidence,
                    "stress": entry.stress,
                    "checks": entry.checks,
                    "break_even_extra_spread_pips": entry.break_even_extra_spread_pips,
                }
            ),
        },
    }


def _history(entry: Entry, ranking: Ranking, identity: str, key: int) -> list[dict[str, Any]]:
    """Return what the walk-forward path earned fold by fold, and the emitted parameters on the holdout."""
    shared = {"strategy_id": identity, "evaluation_id": key}
    rows: list[dict[str, Any]] = [
        {
            **shared,
            "kind": "out_of_sample",
            "start_ns": fold.test_start_ns,
            "stop_ns": fold.test_stop_ns,
            "net_pnl": fold.net_pnl,
            "trades": fold.trades,
            "sharpe": fold.out_of_sample_sharpe,
            "trial_id": fold.trial_id,
        }
        for fold in entry.folds
    ]
    plan = ranking.plan
    if entry.holdout is not None and plan.holdout:
        start, stop = plan.span_ns(plan.holdout)
        found = entry.holdout
        rows.append(
            {
                **shared,
                "kind": "holdout",
                "start_ns": start,
                "stop_ns": stop,
                "net_pnl": found.net_pnl,
                "trades": found.trades,
                "sharpe": found.sharpe,
                "trial_id": entry.trial_id,
            }
        )
    return rows
