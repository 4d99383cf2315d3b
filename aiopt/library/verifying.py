"""Whether what the library says is so: hashes, sums, and evaluations run again.  Owns the checks.

What runs a trial again is given: the engine is nothing the library knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, cast, func, select
from sqlalchemy.types import Text

from aiopt.config import content_hash
from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.library.database import Database
from aiopt.library.normal_form import strategy_id
from aiopt.library.records import Evaluation
from aiopt.library.strategies import evaluations_of, read_evaluations
from aiopt.library.tables import evaluation, performance, run, spelling
from aiopt.ranking.figures import segment_pnl
from aiopt.ranking.trials import TrialRow
from aiopt.strategy.spec import StrategySpec

Rerun = Callable[[Path, str], tuple[TrialRow, WalkForwardPlan]]
"""Runs a trial of a run folder again; returns its new row and the plan its folds are cut by."""

CENT = 0.005
"""Money closer than this is the same to the cent."""

_AT_ONCE = 500


class Rerunning(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation that was run again.

    Attributes
    ----------
    evaluation : int
        Its number.
    strategy, run : str
        Of which strategy in which run.
    recorded, again : float or None
        Profit out of sample, as recorded and as found; None where it could not be run.
    same : bool or None
        Whether every fold is the same to the cent; None where it could not be run.
    note : str
        What differs, or why it could not be run.
    """

    evaluation: int
    strategy: str
    run: str
    recorded: float
    again: float | None
    same: bool | None
    note: str = ""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked and what is wrong.

    Attributes
    ----------
    spellings, evaluations, runs : int
        Checked by their hashes and sums.
    reruns : list of Rerunning
        Evaluations run again.
    problems : list of str
        Everything that is not as it should be; empty: all is well.
    """

    spellings: int
    evaluations: int
    runs: int
    reruns: list[Rerunning]
    problems: list[str]


def verify(
    database: Database,
    rerun: Rerun | None = None,
    *,
    count: int = 0,
    seed: int = 1,
    progress: Callable[[float], None] = lambda done: None,
) -> Verification:
    """Check the whole library, and run some evaluations again.

    Parameters
    ----------
    database : Database
        With a library.
    rerun : callable, optional
        Runs a trial again.
    count : int
        Evaluations to run again, chosen at random.
    seed : int
        Same seed and same library, same choice.
    progress : callable
        Called with the evaluations run again so far.

    Raises
    ------
    LibraryError, LibraryDownError
        If it cannot be read.
    """
    problems: list[str] = []
    with database.begin() as connection:
        spellings = _spellings(connection, problems)
        runs = _runs(connection, problems)
        evaluations = _evaluations(connection, problems)
        chosen = evaluations_of().order_by(None)
        chosen = chosen.order_by(func.md5(cast(evaluation.c.id, Text) + f"/{seed}")).limit(count)
        again = read_evaluations(connection, chosen) if count and rerun is not None else []
        folders = {row.id: row.folder for row in connection.execute(select(run.c.id, run.c.folder))}
    reruns = []
    for place, one in enumerate(again):
        assert rerun is not None
        reruns.append(_again(one, Path(folders[one.run_id]), rerun))
        progress(place + 1)
    problems += [
        f"evaluation {one.evaluation} ({one.run}): {one.note}" for one in reruns if one.same is False
    ]
    return Verification(
        spellings=spellings, evaluations=evaluations, runs=runs, reruns=reruns, problems=problems
    )


def _spellings(connection: Connection, problems: list[str]) -> int:
    count = 0
    for row in _rows(connection, select(spelling)):
        count += 1
        where = f"strategy {row['strategy_id'][:12]}, spec {row['spec_hash'][:12]}"
        try:
            spec = StrategySpec.from_json(row["spec"])
        except InputError as error:
            problems.append(f"{where}: the spec cannot be read: {error}")
            continue
        if spec.spec_hash != row["spec_hash"]:
            problems.append(f"{where}: the spec has the hash {spec.spec_hash[:12]}")
        elif strategy_id(spec) != row["strategy_id"]:
            problems.append(f"{where}: the spec is that of strategy {strategy_id(spec)[:12]}")
    return count


def _runs(connection: Connection, problems: list[str]) -> int:
    count = 0
    for row in _rows(connection, select(run.c.id, run.c.name, run.c.config)):
        count += 1
        found = content_hash(msgspec.json.decode(row["config"]))
        if found != row["id"]:
            problems.append(
                f"run {row['name']}: its configuration has the hash {found[:12]}, not {row['id'][:12]}"
            )
    return count


def _evaluations(connection: Connection, problems: list[str]) -> int:
    """Check that an evaluation is of a spec of its strategy, and that its folds come to its profit."""
    folds = (
        select(func.sum(performance.c.net_pnl))
        .where(performance.c.evaluation_id == evaluation.c.id, performance.c.kind == "out_of_sample")
        .scalar_subquery()
    )
    query = select(
        evaluation.c.id,
        evaluation.c.net_pnl,
        evaluation.c.strategy_id,
        spelling.c.strategy_id.label("owner"),
        folds.label("folds"),
    ).join(spelling, spelling.c.spec_hash == evaluation.c.spec_hash)
    count = 0
    for row in _rows(connection, query):
        count += 1
        if row["owner"] != row["strategy_id"]:
            problems.append(f"evaluation {row['id']}: its spec is another strategy's")
        if row["folds"] is None or abs(row["folds"] - row["net_pnl"]) >= CENT:
            said = "none" if row["folds"] is None else f"{row['folds']:.2f}"
            problems.append(f"evaluation {row['id']}: its folds come to {said}, not to {row['net_pnl']:.2f}")
    return count


def _rows(connection: Connection, query: Any) -> Iterator[Any]:
    # Options of the statement: those of a connection stay with it.
    with connection.execute(query.execution_options(yield_per=_AT_ONCE)) as found:
        yield from found.mappings()


def _again(one: Evaluation, folder: Path, rerun: Rerun) -> Rerunning:
    """Run what each fold of an evaluation chose, and compare its test segment to the cent."""
    shared: dict[str, Any] = {
        "evaluation": one.id,
        "strategy": one.spec_hash,
        "run": one.run,
        "recorded": one.net_pnl,
    }
    done: dict[str, tuple[TrialRow, WalkForwardPlan]] = {}
    total, notes = 0.0, []
    try:
        for fold in one.details["folds"]:
            trial = fold["trial_id"]
            if trial not in done:
                done[trial] = rerun(folder, trial)
            row, plan = done[trial]
            if not row.ok:
                notes.append(f"trial {trial} fails: {row.error}")
                continue
            net = math.fsum(segment_pnl(row, plan, plan.folds[fold["index"]].test))
            total += net
            if abs(net - fold["net_pnl"]) >= CENT:
                notes.append(f"fold {fold['index']} gives {net:.2f}, recorded {fold['net_pnl']:.2f}")
    except InputError as error:
        return Rerunning(**shared, again=None, same=None, note=f"it cannot be run again: {error}")
    return Rerunning(**shared, again=total, same=not notes, note="; ".join(notes))
