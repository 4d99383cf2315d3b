"""Run the few tests that failed beside others once more, alone, and say so.

Two dozen processes share two cores while the tests run, and a test that kills, times out or counts may lose a
race it never loses otherwise.  A fault of the code fails again; only what passes on a quiet machine is let
through, and it is named, so that it can be mended.  Many failures at once are no accident: nothing is run
again.

    once_more.py CACHE_FOLDER...

Reads pytest's own list of failures from each cache folder.  Exit code 0: all of them passed now.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MOST = 3
"""Failures of all runs together that may be accidents of a busy machine."""


def failures(caches: list[Path]) -> list[str]:
    """Return the tests (and files that could not be read) that failed last, in the order of the folders."""
    found: list[str] = []
    for cache in caches:
        file = cache / "v" / "cache" / "lastfailed"
        if file.exists():
            found += json.loads(file.read_text())
    return found


def run_again(tests: list[str], root: Path) -> list[str]:
    """Return those that fail again, each run in a process of its own."""
    still = []
    for test in tests:
        command = [sys.executable, "-m", "pytest", test, "-p", "no:cacheprovider", "-o", "timeout=1800"]
        if subprocess.run(command, cwd=root, check=False).returncode != 0:
            still.append(test)
    return still


def main(arguments: list[str], root: Path) -> int:
    """Return the exit code."""
    failed = failures([Path(argument) for argument in arguments])
    if not failed or len(failed) > MOST:
        print(f"{len(failed)} tests failed: up to {MOST} would be run again, alone")
        return 1
    still = run_again(failed, root)
    for test in failed:
        print(f"{'failed twice' if test in still else 'FAILED BESIDE OTHERS, passed alone'}: {test}")
    return 1 if still else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[2]))
