"""Building bar files from a tick store: planning shards, reducing them, merging and finishing their rows.

Owns the one way from a request to files, for every kind of bar, and the record of what was done.  Runs the
shards in this process or hands them to an engine; knows nothing of Ray, which may be behind one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from aiopt.bars.building.shard_jobs import ShardEngine, run_apart, run_in_order
from aiopt.bars.building.writing import BarFile, write_bar_files
from aiopt.bars.request import BarRequest
from aiopt.errors import ConfigError
from aiopt.ticks.manifest import Manifest, read_manifest
from aiopt.ticks.shards import ROWS_PER_SHARD, plan_shards

Progress = Callable[[int, int], None]
"""Called with the number of ticks done and the number of all ticks."""

LOCAL_BELOW_TICKS = 100_000_000
"""`choose_engine` starts no cluster for fewer ticks: one process builds them while a cluster starts."""


class BarBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a build did: the files and how fast they came to be.

    Attributes
    ----------
    files : list of BarFile
        Ordered by instrument, timeframe, price.
    ticks : int
        Ticks read; equals the manifest's.
    shards : int
        Units of work.
    engine : str
        ``"local"`` or ``"ray"``.
    elapsed_s, ticks_per_s : float
        Wall time from planning to the last file, and its rate.
    data_hash : str
        Of the tick store.
    synthetic : bool
        True if the ticks were generated.
    ticks_outside : int
        Ticks outside the sessions asked for, which are in no bar.
    ticks_left_over : dict of str to int
        Renko bars: ``renko-5/bid`` to the ticks behind the last brick of each session, which are in no bar.
    """

    files: list[BarFile]
    ticks: int
    shards: int
    engine: str
    elapsed_s: float
    ticks_per_s: float
    data_hash: str
    synthetic: bool
    ticks_outside: int = 0
    ticks_left_over: dict[str, int] = {}


def build(
    ticks_dir: Path,
    out_dir: Path,
    request: BarRequest,
    *,
    engine: str | ShardEngine = "local",
    progress: Progress | None = None,
    rows_per_shard: int | None = None,
    verify: bool = True,
) -> BarBuild:
    """Build bar files from a tick store.

    Parameters
    ----------
    ticks_dir : Path
        Tick store; where an engine has several machines, on a path all of them see.
    out_dir : Path
        Folder of the bar files, written by this process.
    request : BarRequest
        Which bars.
    engine : {"local"} or ShardEngine
        Where shards are reduced: in this process, one after the other, or by an engine such as
        `cluster.bars.RayEngine`.  The files are the same, byte for byte.
    progress : callable, optional
        See `Progress`.
    rows_per_shard : int, optional
        Ticks of a unit of work; what suits the engine if absent.  The bars do not depend on it.
    verify : bool
        See `aiopt.ticks.shards.plan_shards`.

    Returns
    -------
    BarBuild

    Raises
    ------
    DataError
        If the store is not what its manifest says, or has no bar of a series; nothing is written then.
    ConfigError
        If the engine is none, or a size is between two price steps of the instrument.
    ClusterError
        If the engine is a cluster, and fails or is not connected.

    Examples
    --------
    >>> from aiopt.bars.rules import parse_bar_rules
    >>> request = BarRequest(parse_bar_rules("time", "1m,5m"), ("bid", "ask"))
    >>> build(Path("data/ticks/EURUSD"), Path("data/bars"), request).ticks  # doctest: +SKIP
    2880000
    """
    started = time.perf_counter()
    runner = _runner(engine)
    manifest = read_manifest(Path(ticks_dir))
    if rows_per_shard is None:
        rows_per_shard = ROWS_PER_SHARD if runner is None else runner.rows_per_shard(manifest.rows)
    shards = plan_shards(ticks_dir, manifest, rows_per_shard, verify=verify)
    total = sum(shard.rows for shard in shards)
    report = _counting(progress, total)
    if runner is None:
        found = run_in_order(shards, request, report)
    else:
        found = run_apart(shards, request, runner, report)
    files, left_over = write_bar_files(shards, found, request, Path(out_dir), manifest)
    elapsed_s = time.perf_counter() - started
    return BarBuild(
        files=files,
        ticks=total,
        shards=len(shards),
        engine="local" if runner is None else runner.name,
        elapsed_s=elapsed_s,
        ticks_per_s=total / elapsed_s,
        data_hash=manifest.data_hash,
        synthetic=manifest.synthetic,
        ticks_outside=sum(part.outside for part in found),
        ticks_left_over=left_over,
    )


def choose_engine(asked: str, manifest: Manifest, *, connected: bool) -> Literal["local", "ray"]:
    """Return where bars are built: ``"auto"`` takes Ray where it is connected or the ticks are very many.

    Parameters
    ----------
    asked : {"auto", "local", "ray"}
        What the user said.
    manifest : Manifest
        Of the ticks.
    connected : bool
        Whether a cluster is there already.

    Raises
    ------
    ConfigError
        If `asked` is none of these.
    """
    if asked not in ("auto", "local", "ray"):
        raise ConfigError(f"The engine must be auto, local or ray, but got {asked!r}.")
    if asked == "ray" or (asked == "auto" and (connected or manifest.rows >= LOCAL_BELOW_TICKS)):
        return "ray"
    return "local"


def _runner(engine: str | ShardEngine) -> ShardEngine | None:
    """Return the engine to hand shards to, None for this process."""
    if not isinstance(engine, str):
        return engine
    if engine == "local":
        return None
    msg = f'The engine must be "local" or an object that runs shards, but got {engine!r}.'
    raise ConfigError(msg + " For Ray give cluster.bars.RayEngine().")


def _counting(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Return a function that takes the ticks of each shard as it ends."""
    done = 0

    def report(ticks: int) -> None:
        nonlocal done
        done += ticks
        if progress is not None:
            progress(done, total)

    return report
