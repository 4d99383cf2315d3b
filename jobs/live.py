"""Live sessions, for `ray job submit`: parse arguments, call `cluster.live.sessions_job`.

Example::

    ray job submit --working-dir . -- python jobs/live.py --config "$PWD/a.yaml" --config "$PWD/b.yaml" \
        --out "$PWD/runs/live"

A job runs in a copy of the working directory, so paths must be absolute.  Each session gets a folder with the
name of its file; run again, those that were left go on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.live import sessions_job


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    result = argparse.ArgumentParser(prog="jobs/live.py", description="Run live sessions on paper.")
    result.add_argument("--config", type=Path, action="append", required=True, help="a session's; repeatable")
    result.add_argument("--out", type=Path, required=True, help="folder of the sessions' folders")
    result.add_argument("--no-prove", action="store_true", help="do not compare them with their backtests")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    given = parser().parse_args(arguments)
    return sessions_job(given.config, given.out, prove=not given.no_prove)


if __name__ == "__main__":
    sys.exit(main())
