"""Save the coverage of Ray's worker processes while they run.

Ray ends its workers without the exit of Python, in which coverage would save what it saw.  A plugin of
coverage (`plugins` in pyproject.toml), because coverage loads its plugins in every process that it measures,
before the process does anything else.  Does nothing in any other process.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from coverage import Coverage

INTERVAL_S = 2.0
WORKER = "default_worker.py"


def coverage_init(registry: Any, options: Any) -> None:
    """Start saving, if this process is a worker of Ray; called by coverage."""
    if any(word.endswith(WORKER) for word in sys.orig_argv):
        threading.Thread(target=_save_for_ever, name="coverage-saver", daemon=True).start()


def _save_for_ever() -> None:
    while True:
        time.sleep(INTERVAL_S)
        measured = Coverage.current()
        if measured is not None:
            measured.save()
