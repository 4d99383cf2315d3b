"""The Pine engine for tests: the product's own way to install and run it, in the cache of this checkout.

PineTS is AGPL-3.0: fetched from the npm registry, run as a subprocess, never part of what is shipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiopt.bars.schema import BarArrays
from aiopt.verification.engine_folder import (
    FOLDER_VARIABLE,
    PineEngine,
    PineEngineError,
    find_engine,
)
from aiopt.verification.engine_install import install
from aiopt.verification.pine_runs import PineJob, PineRun, PineRunError, PineRunner

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "pine_engine"


class PineScripts:
    """Runs scripts for tests; one that cannot run is a failure of the test."""

    def __init__(self, engine: PineEngine) -> None:
        self.engine = engine
        self._runner = PineRunner(engine, time_limit_s=300)

    def run(
        self, script: str, bars: BarArrays, *, tick_size: float | None = None, plots: Sequence[str] = ()
    ) -> PineRun:
        """Run a script over bars."""
        return self.run_many([PineJob(script, bars, tick_size, tuple(plots))])[0]

    def run_many(self, jobs: Sequence[PineJob]) -> list[PineRun]:
        """Run scripts in one process."""
        answers = self._runner.run_many(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, PineRunError):
                raise AssertionError(f"{answer}\n{job.script}")
            missing = set(job.plots) - answer.plots.keys()
            assert not missing, f"the script has no plots {sorted(missing)}"
        return answers

    def run_corpus(self, scripts: dict[str, str], bars: BarArrays) -> dict[str, str | None]:
        """Run scripts over the same bars in one process; return what was said of each, None of a good one."""
        answers = self._runner.run_many([PineJob(script, bars) for script in scripts.values()])
        said = [str(one) if isinstance(one, PineRunError) else None for one in answers]
        return dict(zip(scripts, said, strict=True))


@contextmanager
def engine_of_checkout() -> Iterator[None]:
    """Let the product find the engine of this checkout."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(CACHE)
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before


def pine_engine() -> PineScripts:
    """Return the engine, installed at the first call; skip where it cannot be had, but fail on CI."""
    with engine_of_checkout():
        try:
            return PineScripts(find_engine())
        except PineEngineError:
            sys.stderr.write("installing the Pine engine (once) ...\n")
        try:
            return PineScripts(install(say=lambda line: sys.stderr.write(f"{line}\n")))
        except PineEngineError as error:
            if os.environ.get("CI"):
                pytest.fail(f"the proof in an independent Pine engine must run on CI, but: {error}")
            pytest.skip(f"no independent Pine engine: {error}")
