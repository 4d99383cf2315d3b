"""The trials of a run folder recorded in the ledger: one made without a ledger, or one that is deleted.

Owns how the files of a run tell what was tried.  A run that is made now records its trials itself.
"""

from __future__ import annotations

from aiopt.bars.manifest import manifests_of
from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.trials import read_plan
from aiopt.runs import MANIFEST, RunFolder
from aiopt.sweep.counting import (
    CountedTrial,
    SweepCount,
    author_of,
    counted_file,
    counted_rows,
    look_of,
)


def count_run(run: RunFolder) -> int:
    """Record the trials of a run folder, finished or not, and that its holdout was opened if it was ranked.

    Parameters
    ----------
    run : RunFolder
        From `aiopt.runs.load_run`.

    Returns
    -------
    int
        Trials that the ledger did not know.

    Raises
    ------
    InputError
        If the folder does not tell what was tried on which data.
    DataError, StorageError
        If the ledger cannot be read or written.
    """
    plan, tried = _tried(run)
    manifest = run.read_mapping(MANIFEST)
    if plan is None or manifest is None or run.config is None:
        msg = f"{run.path} must tell what its trials were made on, but lacks its plan, manifest or config."
        raise InputError(msg + " Repeat the run.")
    looks = {
        symbol: look_of(plan, instrument=symbol, data_hash=one.data_hash, synthetic=one.synthetic)
        for symbol, one in manifests_of(manifest).items()
    }
    count = SweepCount(author_of("run", run.config, run.run_id), looks)
    fresh = count.record(tried)
    if run.ranking is not None:
        count.open_holdout(entry.instrument for entry in run.ranking.entries)
    return fresh


def _tried(run: RunFolder) -> tuple[WalkForwardPlan | None, list[CountedTrial]]:
    """Return the plan of a run and its trials so far, without their profits where those are columns."""
    if run.trials_path is None:
        plan, rows = run.trial_rows()
        return plan, counted_rows(rows)
    plan = read_plan(run.trials_path) if run.ranking is None else run.ranking.plan
    return plan, counted_file(run.trials_path)
