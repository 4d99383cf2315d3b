"""The scheduled retraining, for `ray job submit` or a timer: call `cluster.training.retrain.retrain_job`.

Example::

    ray job submit --working-dir . -- python jobs/retrain.py --config "$PWD/retrain.yaml"

Does nothing, and says so, where no data is new.  Paths in the configuration must be absolute: a job runs in a
copy of the working directory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.training.retrain import retrain_job


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    result = argparse.ArgumentParser(prog="jobs/retrain.py", description="Train again on new data.")
    result.add_argument("--config", type=Path, required=True, help="YAML or JSON file")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    return retrain_job(parser().parse_args(arguments).config)


if __name__ == "__main__":
    sys.exit(main())
