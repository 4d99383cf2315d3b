"""The training job, for `ray job submit`: parse arguments, call `cluster.training.job.train_job`.

Example::

    ray job submit --working-dir . -- python jobs/train.py --config "$PWD/training.yaml" \
        --data "$PWD/data/datasets/eurusd-5m" --base openbmb/MiniCPM-V-4.6 --out "$PWD/trainings/first"

A job runs in a copy of the working directory, so paths must be absolute, and seen by every node.  It finds
what is served from `aiopt serve up` by ``AIOPT_STATE_DIR``, which must then be absolute too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.training.job import train_job


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    result = argparse.ArgumentParser(prog="jobs/train.py", description="Fine-tune a checkpoint on a dataset.")
    result.add_argument("--config", type=Path, help="YAML or JSON file; default: built-in settings")
    result.add_argument("--data", type=Path, action="append", required=True, help="dataset; may be repeated")
    result.add_argument("--base", required=True, help="folder or hub id of the checkpoint to start from")
    result.add_argument("--out", type=Path, required=True, help="the training's folder")
    result.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: auto")
    result.add_argument("--workers", type=int, default=1, help="processes that train together; default: 1")
    result.add_argument(
        "--while-serving",
        choices=["auto", "share", "drain", "refuse"],
        default="auto",
        help="beside an endpoint; auto: share the memory where both fit, else refuse; default: auto",
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    given = parser().parse_args(arguments)
    return train_job(
        given.config,
        data=given.data,
        base=given.base,
        out=given.out,
        device=given.device,
        workers=given.workers,
        while_serving=given.while_serving,
    )


if __name__ == "__main__":
    sys.exit(main())
