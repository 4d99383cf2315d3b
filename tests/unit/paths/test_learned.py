"""Trials that a sampler was led to are counted, and said to be left out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.paths.learned import learned_trials, left_out_text
from aiopt.ranking.trials import write_trials
from aiopt.testing.sweeps import PLAN, noise_sweep


def test_a_run_whose_sampler_does_not_learn_leaves_nothing_out(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    write_trials(path, noise_sweep(1), plan=PLAN)
    assert learned_trials(path) == 0
    assert left_out_text(0) == ""


def test_what_was_found_by_looking_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    pq.write_table(pa.table({"trial_id": ["a", "b", "c"], "generation": [0, 1, 3]}), path)
    assert learned_trials(path) == 2
    assert "2 trials that results led it to are left out" in left_out_text(2)
