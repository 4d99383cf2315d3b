"""The optimisation job: what `aiopt optimize` submits and `jobs/optimize.py` calls.

Owns the way from arguments to an exit code and a result document, and how a stop of the job becomes an
interrupt.  The stages are `aiopt.optimize.pipeline`'s, run on the engine of `cluster.pipeline`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import ray

from aiopt.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, AioptError, ClusterError, InputError
from aiopt.files import atomic_write_bytes, storage_error
from aiopt.optimize.configuration import OptimizeConfig, load_optimize_config
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.summary import RunResult
from cluster.pipeline import RayStages


def optimize_job(
    *,
    config_path: Path | None,
    overrides: Mapping[str, Any],
    runs_dir: Path,
    run_id: str | None = None,
    force: bool = False,
    result_path: Path | None = None,
) -> int:
    """Run the job as a script does: print, leave a result document, return the exit code.

    Parameters
    ----------
    config_path : Path or None
        Configuration file; None for the built-in settings.
    overrides : mapping
        Settings above file and environment.
    runs_dir : Path
        Folder of run folders.
    run_id : str, optional
        Name of the run folder.
    force : bool
        Delete the run folder first.
    result_path : Path, optional
        Where to leave ``RunResult`` or ``{"error": …}`` as JSON.

    Returns
    -------
    int
        0 done, 1 failed or a script that does not trade as the backtest does, 2 bad input, 130 interrupted.
    """
    try:
        _refuse_relative("--runs-dir", runs_dir)
        for settings in (overrides, *overrides.get("markets", ())):
            for name in ("ticks", "bars", "ask_bars", "conversion"):
                given = settings.get(name, ())
                for path in [given] if isinstance(given, str) else given:
                    _refuse_relative(f"--{name.replace('_', '-')}", Path(path))
        config = load_optimize_config(config_path, overrides)
        connect()
        with _interrupts():
            result = run_optimize(config, runs_dir, run_id=run_id, force=force)
    except KeyboardInterrupt:
        message = "interrupted; finished trials are kept, the same command continues"
        return _leave_error(result_path, "Interrupted", message, EXIT_INTERRUPTED)
    except AioptError as error:
        return _leave_error(result_path, type(error).__name__, str(error), error.exit_code)
    except OSError as error:
        translated = storage_error(Path(error.filename or runs_dir), error)
        if translated is None:
            raise
        return _leave_error(result_path, type(translated).__name__, str(translated), translated.exit_code)
    _leave(result_path, result)
    # What was found stays, but a script that trades otherwise must not go by unnoticed.
    return EXIT_FAILED if result.broken_scripts else EXIT_OK


def connect() -> None:
    """Connect this process to the cluster it runs on, quietly."""
    if ray.is_initialized():
        return
    try:
        ray.init(address="auto", namespace="aiopt", log_to_driver=False, logging_level="error")
    except ConnectionError as error:
        msg = (
            "No Ray cluster was found for this job. Use `aiopt optimize`, or submit it with "
            '`ray job submit` (`eval "$(aiopt cluster env)"` sets the address).'
        )
        raise ClusterError(msg) from error


def run_optimize(
    config: OptimizeConfig,
    runs_dir: Path,
    *,
    run_id: str | None = None,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> RunResult:
    """Run or continue one optimisation on the connected cluster, as `run_pipeline` says."""
    return run_pipeline(config, runs_dir, engine=RayStages(), run_id=run_id, force=force, log=log)


def _refuse_relative(option: str, path: Path) -> None:
    """Refuse a relative path in a Ray job, whose working directory is a copy that is deleted later."""
    if not path.is_absolute() and "runtime_resources" in Path.cwd().parts:
        msg = (
            f"`{option}` must be an absolute path in a Ray job, which runs in a copy of the working "
            f'directory, but got {str(path)!r}. Use e.g. {option} "$PWD/{path}".'
        )
        raise InputError(msg)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Turn SIGTERM, with which Ray stops a job, into KeyboardInterrupt while the block runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Once: the second signal must not interrupt the writing of the state.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(path: Path | None, document: Any) -> None:
    if path is not None:
        atomic_write_bytes(path, msgspec.json.encode(document))


def _leave_error(path: Path | None, kind: str, message: str, exit_code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    _leave(path, {"error": {"type": kind, "message": message, "exit_code": exit_code}})
    return exit_code
