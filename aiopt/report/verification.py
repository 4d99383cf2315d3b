"""What the report says of an entry's script: on what it was proved, or that it was not and how it would be.

Owns the sentences and the reading of ``verification.json``.
"""

from __future__ import annotations

from pathlib import Path

from aiopt.runs import VERIFICATION, read_json
from aiopt.utc import time_text
from aiopt.verification.verification_file import RunVerification

NOT_VERIFIED = (
    "Not verified: no Pine engine was asked. To do it: `aiopt pine engine install`, then "
    "`aiopt pine verify` with this run's folder."
)


def read_verification(run_dir: Path) -> RunVerification:
    """Return what came of the run's scripts; without an engine where none was asked."""
    path = run_dir / VERIFICATION
    return read_json(path, RunVerification) if path.is_file() else RunVerification()


def verification_text(found: RunVerification, name: str) -> str:
    """Return what is said of one entry's script."""
    if name in found.failures:
        return f"DO NOT USE THIS SCRIPT. {found.engine} could not run it: {found.failures[name]}"
    one = found.entries.get(name)
    if one is None:
        return NOT_VERIFIED
    first, last = time_text(one.first_ts_ns), time_text(one.last_ts_ns)
    where = f"{one.bars:,} bars from {first} to {last} UTC of data {one.data_hash[:12]}"
    if one.difference is not None:
        return (
            f"DO NOT USE THIS SCRIPT. In {one.engine} it does not trade as the backtest does: "
            f"{one.difference.what}, on {where}."
        )
    if not one.trades:
        return f"Not verified: no trade was made on {where}."
    return (
        f"Verified: {one.trades:,} closed trades are the same in arrays, NautilusTrader and {one.engine} "
        f"(bars, side, size, prices to the tick, reason), on {where}."
    )
