"""Build a dataset: rows of features, labels and charts, in Parquet files per split.

Owns which bars become rows, the layout of the folder, and going on after a kill.  Drawing is the caller's to
distribute: `build_dataset` takes the function that turns windows into PNGs.

Every file is written under a temporary name and renamed; ``dataset.json`` comes last, so a folder that has it
is complete.  A build that was killed goes on with the first file that is missing.  Equal bars, configuration
and library versions give equal bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.charts import PreparedChart, render_windows
from aiopt.charts.windows import Window, window_name
from aiopt.config import canonical_json, content_hash
from aiopt.dataset.conversation import VERSIONS, Conversations
from aiopt.dataset.dataset_config import SCHEMA_VERSION, DatasetConfig, ImageConfig
from aiopt.dataset.features import Features, compute_features
from aiopt.dataset.info import CHART_FOLDER, DATA_FOLDER, INFO_FILE, DatasetInfo, ShardFile, SplitInfo
from aiopt.dataset.labels import CLASS_NAMES, Labels, compute_labels
from aiopt.dataset.rows import METADATA_KEY, RowSource, table_of
from aiopt.dataset.splits import fit_scale, split_rows
from aiopt.dataset.stretches import stretch_features, stretch_starts
from aiopt.errors import ConfigError, DataError, RunExistsError, StorageError
from aiopt.files import atomic_path, atomic_write_bytes, file_lock, sha256_file, storage_error

ChartRenderer = Callable[[PreparedChart, Sequence[Window]], Iterator[bytes]]
"""Turns windows of a chart into PNGs, in their order."""

Progress = Callable[[int, int], None]
"""Called with the rows done and all rows."""

_KEY_FILE = "build.json"
_LOCK_FILE = ".lock"
_ROW_GROUP_IMAGES = 100
_ROW_GROUP = 20_000


@dataclass(frozen=True)
class _Shard:
    path: str
    split: str
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Which bars become rows, and where they go.

    Attributes
    ----------
    features, labels : Features, Labels
        Of every bar.
    chart : PreparedChart or None
        The bars with the charts' indicators.
    bars : ndarray of shape (n_rows,), int64
        Decision bars that pass every rule, before the splits.
    splits : dict of str to ndarray
        Positions in `bars` of each split.
    left_out : dict of str to int
        Bars that are no row, by reason.
    """

    features: Features
    labels: Labels
    chart: PreparedChart | None
    bars: NDArray[np.int64]
    splits: dict[str, NDArray[np.int64]]
    left_out: dict[str, int]

    @property
    def rows(self) -> int:
        """Rows of all splits."""
        return sum(rows.size for rows in self.splits.values())


def plan_rows(bars: BarSet, config: DatasetConfig) -> RowPlan:
    """Compute features and labels and decide which bars become rows.

    Raises
    ------
    ConfigError
        If no bar is left, a split is empty, or costs lack a spread.
    DataError
        If a bar breaks a rule of bars.
    """
    whole = config.across_gaps == "keep"
    features = (compute_features if whole else stretch_features)(bars, config.features)
    into = np.arange(len(bars)) - (0 if whole else stretch_starts(bars))
    labels = compute_labels(bars, features.atr, config.labels)
    n_bars = len(bars)
    left = np.ones(n_bars, bool)
    left_out: dict[str, int] = {}

    def leave_out(reason: str, keep: NDArray[np.bool_]) -> None:
        left_out[reason] = int((left & ~keep).sum())
        left[:] &= keep

    leave_out("warm_up", np.arange(n_bars) >= features.warm_up)
    if not whole:
        leave_out("feature_across_gap", features.ready | (into >= features.warm_up))
    leave_out("undefined_feature", features.ready)
    leave_out("label_incomplete", labels.complete)
    chart = None
    if config.images is not None or config.messages_horizon is not None:
        images = config.images or ImageConfig()
        prepared = PreparedChart(bars.bid, images.spec())
        ready = prepared.first_ready()
        first = n_bars if ready is None else ready + images.window - 1
        leave_out("window_warm_up", np.arange(n_bars) >= first)
        leave_out("window_across_gap", whole | (into >= first))
        chart = prepared if config.images is not None else None
    if config.labels.across_gaps == "drop":
        leave_out("label_across_gap", ~labels.breaks)
    usable = np.flatnonzero(left)
    if not usable.size:
        counts = ", ".join(f"{reason} {count}" for reason, count in left_out.items() if count)
        msg = f"A dataset must have rows, but of {n_bars} bars none is left ({counts}). Give more bars"
        if not whole and into[-1] < n_bars - 1:
            msg += ", look back less far (features.regime_window), or let features and windows span gaps and "
            msg += "weekends: --across-gaps keep"
        raise ConfigError(f"{msg}.")
    leave_out("stride", (np.arange(n_bars) - usable[0]) % config.stride == 0)
    chosen = np.flatnonzero(left)
    splits = split_rows(chosen, config.splits, labels.longest)
    left_out["purge_and_embargo"] = chosen.size - sum(rows.size for rows in splits.values())
    return RowPlan(features, labels, chart, chosen, splits, left_out)


def build_dataset(
    bars: BarSet,
    out_dir: Path,
    config: DatasetConfig,
    *,
    plan: RowPlan | None = None,
    render: ChartRenderer | None = None,
    progress: Progress | None = None,
) -> DatasetInfo:
    """Build a dataset, or finish one whose build was killed.

    Parameters
    ----------
    bars : BarSet
        Bid, and ask where spread or costs count.
    out_dir : Path
        The dataset's folder.
    config : DatasetConfig
        What to build.
    plan : RowPlan, optional
        Of `plan_rows` for the same bars and configuration, where the caller has it already.
    render : callable, optional
        Draws the charts; by default this process, one after the other.
    progress : callable, optional
        Called as rows are finished.

    Returns
    -------
    DatasetInfo
        Also written to ``dataset.json``.

    Raises
    ------
    ConfigError, DataError
        As `plan_rows`; or if another process builds in this folder.
    RunExistsError
        If the folder holds a dataset of another configuration or other bars.
    StorageError
        If the disk is full or the folder is not writable.
    """
    out_dir = Path(out_dir)
    plan = plan_rows(bars, config) if plan is None else plan
    bars_hash = hash_bars(bars)
    parts = {"config": config, "bars": bars_hash, "schema_version": SCHEMA_VERSION}
    if config.messages_horizon is not None:
        parts["messages"] = VERSIONS
    key = content_hash(parts)
    with _claimed(out_dir, key, config, bars_hash):
        shards = _shards(plan, config)
        missing = [shard for shard in shards if not _is_finished(out_dir, shard, key)]
        done = plan.rows - sum(shard.rows.size for shard in missing)

        def report(rows: int) -> None:
            if progress is not None:
                progress(rows, plan.rows)

        source = RowSource(bars, config, plan.features, plan.labels, _conversations(bars, config, plan))
        pngs = _charts(plan, config, missing, render)
        for shard in missing:
            images = None
            if plan.chart is not None and config.images is not None:
                images = _draw_shard(out_dir, shard, config.images, plan.chart.bars, pngs, done, report)
            _write_shard(out_dir, shard, source, images, key)
            done += shard.rows.size
            report(done)
        info = _info(out_dir, bars, bars_hash, config, plan, shards)
        text = msgspec.json.format(msgspec.json.encode(info), indent=1)
        atomic_write_bytes(out_dir / INFO_FILE, text + b"\n")
    return info


def hash_bars(bars: BarSet) -> str:
    """Return the hex SHA-256 of the bars' content, both sides."""
    digest = hashlib.sha256(f"{bars.instrument.symbol} {bars.timeframe.label} {bars.bid.price}".encode())
    for side in (bars.bid,) if bars.single_price else (bars.bid, bars.ask):
        for name in ("ts_open_ns", "open", "high", "low", "close", "volume"):
            digest.update(np.ascontiguousarray(getattr(side, name)).tobytes())
    return digest.hexdigest()


# --- the folder -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _claimed(out_dir: Path, key: str, config: DatasetConfig, bars_hash: str) -> Iterator[None]:
    """Hold the folder for this build alone; what a killed build left half-written is removed."""
    path = out_dir / _KEY_FILE
    if out_dir.exists() and not path.exists() and any(name for name in _names(out_dir) if name[0] != "."):
        msg = f"{out_dir} holds other files. Choose a new or empty folder, or one that holds a dataset."
        raise RunExistsError(msg + " Name another folder.")
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        msg = f"The folder {out_dir} cannot be written: {failure}. Choose another."
        raise storage_error(out_dir / _LOCK_FILE, failure) or StorageError(msg) from failure
    msg = "Another build is running in this folder. Wait for it to end."
    with file_lock(out_dir / _LOCK_FILE, busy=DataError(msg, file=out_dir)):
        _check_key(path, key, config, bars_hash)
        for folder in (out_dir, out_dir / DATA_FOLDER, out_dir / CHART_FOLDER):
            for left_over in folder.glob(".*.tmp"):
                left_over.unlink(missing_ok=True)
        yield


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file, and a dataset needs a folder. Choose another.")
    return [entry.name for entry in folder.iterdir()]


def _check_key(path: Path, key: str, config: DatasetConfig, bars_hash: str) -> None:
    """Write what the folder is for, or compare with what it says."""
    document = {"key": key, "config": config, "bars_hash": bars_hash}
    if not path.exists():
        atomic_write_bytes(path, canonical_json(document) + b"\n")
        return
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict)
    except msgspec.DecodeError:
        found = {}
    if found.get("key") != key:
        what = "other bars" if found.get("bars_hash") != bars_hash else "another configuration"
        msg = f"The folder holds a dataset of {what}: {path.parent}. Name another folder, or delete this one."
        raise RunExistsError(msg)


def _shards(plan: RowPlan, config: DatasetConfig) -> list[_Shard]:
    shards = []
    for split, rows in plan.splits.items():
        count = -(-rows.size // config.shard_rows)
        for number, part in enumerate(np.array_split(plan.bars[rows], count)):
            shards.append(_Shard(f"{DATA_FOLDER}/{split}-{number:05d}-of-{count:05d}.parquet", split, part))
    return shards


def _is_finished(out_dir: Path, shard: _Shard, key: str) -> bool:
    """Tell whether a file is there, whole, and of this build."""
    path = out_dir / shard.path
    try:
        schema = pq.read_schema(path)
        rows = pq.read_metadata(path).num_rows
    except (FileNotFoundError, pa.ArrowInvalid):
        return False
    text = (schema.metadata or {}).get(METADATA_KEY, b"{}")
    return rows == shard.rows.size and msgspec.json.decode(text).get("key") == key


# --- rows -------------------------------------------------------------------------------------------------


def _charts(
    plan: RowPlan, config: DatasetConfig, missing: list[_Shard], render: ChartRenderer | None
) -> Iterator[bytes]:
    """Yield the PNGs of all rows to write, in order: one stream, so that drawing and writing overlap."""
    if plan.chart is None or config.images is None or not missing:
        return iter(())
    windows = [_window(int(bar), config.images) for shard in missing for bar in shard.rows]
    return render(plan.chart, windows) if render is not None else render_windows(plan.chart, windows)


def _conversations(bars: BarSet, config: DatasetConfig, plan: RowPlan) -> Conversations | None:
    if config.messages_horizon is None:
        return None
    return Conversations(
        bars,
        config.images or ImageConfig(),
        plan.labels.columns[f"class_{config.messages_horizon}"],
        plan.bars[plan.splits["train"]],
        pictured=config.images is not None,
    )


def _window(bar: int, config: ImageConfig) -> Window:
    """Return the window that ends with a decision bar."""
    return bar + 1 - config.window, bar + 1


def _draw_shard(
    out_dir: Path,
    shard: _Shard,
    config: ImageConfig,
    bars: BarArrays,
    pngs: Iterator[bytes],
    done: int,
    report: Callable[[int], None],
) -> list[tuple[str, bytes]]:
    """Take the charts of a shard's rows, and write them where they are to be files."""
    images = []
    for number, bar in enumerate(shard.rows, 1):
        name = f"{window_name(bars, _window(int(bar), config))}.png"
        png = next(pngs)
        if config.store == "files":
            atomic_write_bytes(out_dir / CHART_FOLDER / name, png)
        images.append((name, png))
        report(done + number)
    return images


def _write_shard(
    out_dir: Path, shard: _Shard, source: RowSource, images: list[tuple[str, bytes]] | None, key: str
) -> None:
    try:
        table = table_of(source, shard.rows, shard.split, images, key)
    except DataError as failure:
        raise DataError(failure.reason, file=out_dir / shard.path) from failure
    size = _ROW_GROUP if images is None else _ROW_GROUP_IMAGES
    with atomic_path(out_dir / shard.path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=size)


def _info(
    out_dir: Path,
    bars: BarSet,
    bars_hash: str,
    config: DatasetConfig,
    plan: RowPlan,
    shards: list[_Shard],
) -> DatasetInfo:
    features, labels = plan.features, plan.labels
    purge, embargo = config.splits.widths(labels.longest)
    files = []
    for shard in shards:
        path = out_dir / shard.path
        files.append(
            ShardFile(
                path=shard.path,
                split=shard.split,
                rows=int(shard.rows.size),
                bytes=path.stat().st_size,
                sha256=sha256_file(path),
            )
        )
    return DatasetInfo(
        schema_version=SCHEMA_VERSION,
        config=config,
        config_hash=config.config_hash,
        data_hash=bars.data_hash,
        bars_hash=bars_hash,
        instrument=bars.instrument.symbol,
        timeframe=bars.timeframe.label,
        synthetic=bars.synthetic,
        bars=len(bars),
        rows=sum(file.rows for file in files),
        left_out=plan.left_out,
        purge_bars=purge,
        embargo_bars=embargo,
        longest_label=labels.longest,
        messages=None if config.messages_horizon is None else VERSIONS,
        feature_columns=[f"feature_{name}" for name in features.columns],
        label_columns=[f"label_{name}" for name in labels.columns],
        class_columns=[f"label_{name}" for name in labels.classes],
        scale={
            f"feature_{name}": scale
            for name, scale in fit_scale(features.columns, plan.bars[plan.splits["train"]]).items()
        },
        splits={name: _split_info(bars, plan, rows) for name, rows in plan.splits.items()},
        files=files,
    )


def _split_info(bars: BarSet, plan: RowPlan, rows: NDArray[np.int64]) -> SplitInfo:
    chosen = plan.bars[rows]
    closes = bars.bid.ts_open_ns + bars.timeframe.ns
    balance = {}
    for name in plan.labels.classes:
        values = plan.labels.columns[name][chosen]
        balance[f"label_{name}"] = {text: int((values == code).sum()) for code, text in CLASS_NAMES.items()}
    return SplitInfo(
        rows=int(rows.size),
        first_decision_ns=int(closes[chosen[0]]),
        last_decision_ns=int(closes[chosen[-1]]),
        last_label_ns=int(closes[chosen[-1] + plan.labels.longest]),
        balance=balance,
    )
