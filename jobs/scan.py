"""The scan, for `ray job submit`: parse arguments, call `cluster.scanning.scan_job`.

Example::

    ray job submit --working-dir . -- python jobs/scan.py --bars "$PWD/data/bars/EURUSD/5m" \
        --windows 10000 --endpoint http://127.0.0.1:8000/v1 --concurrency 32 --out "$PWD/data/scans/eurusd-5m"

A job runs in a copy of the working directory, so paths must be absolute.  Run again, it goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.scanning import scan_job


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    result = argparse.ArgumentParser(prog="jobs/scan.py", description="Read windows of a series of bars.")
    result.add_argument("--bars", type=Path, required=True, help="bar file or folder")
    result.add_argument("--timeframe", help="which bars to take, if the folder holds several")
    result.add_argument("--instrument", help="symbol of the bars; default: what their file says")
    result.add_argument("--windows", type=int, default=1_000, help="most windows to read; default: 1000")
    result.add_argument("--every", type=int, help="a window ends every so many bars; default: spread")
    result.add_argument("--endpoint", help="OpenAI-compatible API; default: the rules read")
    result.add_argument("--model", action="append", help="served name; may be repeated; default: minicpm")
    result.add_argument("--concurrency", type=int, default=4, help="requests in flight; default: 4")
    result.add_argument("--out", type=Path, required=True, help="the scan's folder")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    given = parser().parse_args(arguments)
    analyst: dict[str, Any] = {"endpoint": given.endpoint, "concurrency": given.concurrency}
    if given.model:
        analyst["models"] = given.model
    document = {
        "windows": given.windows,
        "every": given.every,
        "reader": "rules" if given.endpoint is None else "model",
        "analyst": analyst,
    }
    return scan_job(
        document,
        bars_path=given.bars,
        timeframe=given.timeframe,
        symbol=given.instrument,
        out=given.out,
    )


if __name__ == "__main__":
    sys.exit(main())
