"""Several processes add at once: exact counts; killed ones lose nothing committed, and leave no half.

``AIOPT_LIBRARY_KILLS`` sets how often the second is tried; by default few.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiopt.library import open_library
from aiopt.library.normal_form import strategy_id
from tests.unit.library.adding import BATCH, spec_of

ROOT = Path(__file__).resolve().parents[3]
KILLS = int(os.environ.get("AIOPT_LIBRARY_KILLS", "2"))
PROCESSES, BATCHES = 8, 4


def adding(url: str, first: int, count: int, step: int) -> subprocess.Popen[str]:
    numbers = [str(one) for one in (first, count, step)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.library.adding", url, *numbers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def test_eight_who_add_at_once_add_each_strategy_once(library_url: str) -> None:
    # Even ones add what their neighbour adds too, in another order of time.
    firsts = [number // 2 for number in range(PROCESSES)]
    every = [adding(library_url, first, BATCHES, PROCESSES // 2) for first in firsts]
    for one in every:
        ready(one)
    said = [one.communicate("go\n")[0].split() for one in every]
    assert [one.returncode for one in every] == [0] * PROCESSES
    assert all(len(words) == BATCHES for words in said)
    wanted = PROCESSES // 2 * BATCHES * BATCH
    with open_library(library_url) as library:
        found = library.status()
        assert (found.strategies, found.spellings) == (wanted, wanted)
        assert library.verify().problems == []
        ids = {row.id for row in library.find(limit=1000).rows}
    assert ids == {strategy_id(spec_of(number)) for number in range(wanted)}


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_at_any_moment_nothing_committed_is_lost(library_url: str, seed: int) -> None:
    process = adding(library_url, 0, 10_000, 1)
    ready(process)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    process.stdout.readline()
    time.sleep(random.Random(seed).uniform(0.0, 0.3))
    process.send_signal(signal.SIGKILL)
    words = process.communicate()[0].split()
    with open_library(library_url) as library:
        found = library.status().strategies
        assert library.verify().problems == []
    # Whole batches: those it told of, the first that was read above, and one that it had no time to tell of.
    told = len(words) + 1
    assert found % BATCH == 0
    assert told <= found // BATCH <= told + 1
