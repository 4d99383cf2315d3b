"""Processes that write to a log, for tests that kill them or run several at once."""

from __future__ import annotations

import sys
from pathlib import Path

from aiopt.featurelog import FeatureLog, LogConfig


def write_rows(folder: str, writer: int, rows: int) -> None:
    """Append rows of two schemas in turn and close."""
    with FeatureLog(Path(folder), LogConfig(max_buffer_rows=97, max_age_s=0.1)) as log:
        for number in range(rows):
            row: dict[str, int | float] = {"writer": writer, "n": number}
            if number % 2:
                row["odd"] = number / 2
            log.append("shared", row)


def write_until_killed(folder: str) -> None:
    """Append rows for ever; say now and then how many were appended and how many are in files."""
    log = FeatureLog(Path(folder), LogConfig(max_buffer_rows=500, max_age_s=0.2))
    number = 0
    while True:
        log.append("killed", {"n": number, "text": f"row {number}"})
        number += 1
        if number % 50 == 0:
            sys.stdout.write(f"{number} {log.flushed_rows}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    write_until_killed(sys.argv[1])
