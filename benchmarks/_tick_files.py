"""Tick stores of an exact size for benchmarks: whole days of 2,880,000 generated ticks each.

Owns how they are cut from the sample generator.  Knows no benchmark.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from aiopt import __version__
from aiopt.market.instrument import instrument
from aiopt.ticks.checks.validation import DEFAULT_RULES, SourcedTicks, Validator
from aiopt.ticks.manifest import Manifest, hash_partitions, is_tick_store, verify_store
from aiopt.ticks.sample import SampleParameters, first_state, sample_day
from aiopt.ticks.store import build_store, locked
from aiopt.utc import day_text

TICKS_PER_FILE = 2_880_000
_PARAMETERS = SampleParameters(start="2024-03-04", days=1, ticks_per_day=3_400_000)
_FIRST_DAY = 19_786  # 2024-03-04, a Monday


def exact_store(out: Path, files: int) -> Manifest:
    """Return a store of `files` Parquet files of `TICKS_PER_FILE` ticks, one per weekday, made if absent."""
    if is_tick_store(out):
        return verify_store(out)
    state = first_state(_PARAMETERS)
    validator = Validator(instrument("EURUSD"), DEFAULT_RULES)
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out), build_store(out, "EURUSD") as build:
        day = _FIRST_DAY
        while len(build.partitions) < files:
            ticks = sample_day(_PARAMETERS, day, state)
            if len(ticks) >= TICKS_PER_FILE:
                chosen = ticks.take(np.linspace(0, len(ticks) - 1, TICKS_PER_FILE).astype(np.int64))
                rows = np.arange(len(chosen), dtype=np.int64)
                kept = validator.check_rows(SourcedTicks(chosen, np.zeros(rows.size, dtype=np.int32), rows))
                if len(validator.check_day(kept)) != TICKS_PER_FILE:
                    raise AssertionError(f"validation drops ticks of {day_text(day)}")
                build.write_day(day, chosen)
                print(f"generated ticks of {day_text(day)}", file=sys.stderr)
            day += 1
        parts = build.partitions
        manifest = Manifest(
            aiopt_version=__version__,
            instrument="EURUSD",
            source=f"{files} files of {TICKS_PER_FILE} ticks of {_PARAMETERS.model}",
            source_format="synthetic",
            source_hash=hash_partitions(parts),
            synthetic=True,
            data_hash=hash_partitions(parts),
            rows=files * TICKS_PER_FILE,
            rows_read=files * TICKS_PER_FILE,
            first_ts_ns=parts[0].first_ts_ns,
            last_ts_ns=parts[-1].last_ts_ns,
            settings={},
            rules=validator.counts(),
            silent_hours=[],
            notes=["Generated ticks: no market ever quoted these prices."],
            files=[],
            partitions=parts,
        )
        build.commit(manifest)
    return manifest
