"""The optimisation job, for `ray job submit`: parse arguments, call `cluster.optimize.optimize_job`.

Example::

    ray job submit --working-dir . -- python jobs/optimize.py \
        --config jobs/optimize.yaml --ticks "$PWD/ticks" --runs-dir "$PWD/runs"

A job runs in a copy of the working directory, so paths of data and runs must be absolute.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.optimize import optimize_job


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    result = argparse.ArgumentParser(prog="jobs/optimize.py", description="Ticks to ranked strategies.")
    result.add_argument("--config", type=Path, help="YAML or JSON file; default: built-in settings")
    result.add_argument("--ticks", help="tick store, folder of tick Parquet, bi5 tree, zips or CSV")
    result.add_argument("--bars", action="append", help="bars instead of ticks; may be repeated")
    result.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of run folders")
    result.add_argument("--run-id", help="name of the run folder; default: NAME-HASH")
    result.add_argument("--force", action="store_true", help="delete a run folder that is in the way")
    result.add_argument("--overrides", type=json.loads, default={}, help="settings as one JSON object")
    result.add_argument("--result", type=Path, help="file to leave the result document in")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    given = parser().parse_args(arguments)
    overrides = dict(given.overrides)
    if given.ticks is not None:
        overrides["ticks"] = given.ticks
    if given.bars is not None:
        overrides["bars"] = given.bars
    return optimize_job(
        config_path=given.config,
        overrides=overrides,
        runs_dir=given.runs_dir,
        run_id=given.run_id,
        force=given.force,
        result_path=given.result,
    )


if __name__ == "__main__":
    sys.exit(main())
