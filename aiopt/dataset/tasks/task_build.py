"""Build a set of tasks: questions with their answers in Parquet files per split, charts as PNG, bars beside.

Owns the layout of the folder and its columns.  The folder appears complete or not at all; equal
configuration, bars and library versions give equal bytes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.analyst.answers import answer_text
from aiopt.analyst.rule_reader import RULES_VERSION
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json, content_hash
from aiopt.dataset.conversation import ANSWERS
from aiopt.dataset.info import CHART_FOLDER, DATA_FOLDER, INFO_FILE, ShardFile
from aiopt.dataset.rows import IMAGE_TYPE, MESSAGES_TYPE, METADATA_KEY
from aiopt.dataset.tasks.task_charts import PlacedChart, plan_charts
from aiopt.dataset.tasks.task_config import LAYOUT, PositionsSource, TaskSetConfig
from aiopt.dataset.tasks.task_info import (
    BARS_FOLDER,
    Majority,
    Span,
    TaskFacts,
    TaskSetInfo,
    TaskSplit,
    is_task_set,
    read_task_info,
)
from aiopt.dataset.tasks.task_kinds import TASK_VERSION, TASKS, Task
from aiopt.errors import DataError, RunExistsError, StorageError
from aiopt.files import atomic_write_bytes, file_lock, sha256_file, storage_error

VERSIONS = {"task": TASK_VERSION, "answers": ANSWERS, "rules": RULES_VERSION}
"""What decides wording and answers, besides configuration and bars."""

_BATCH_CHARTS = 200

_ROWS = pa.schema(
    [
        ("sample", pa.string()),
        ("split", pa.string()),
        ("task", pa.string()),
        ("origin", pa.string()),
        ("from_future", pa.bool_()),
        ("source", pa.string()),
        ("kind", pa.string()),
        ("noise", pa.float64()),
        ("instrument", pa.string()),
        ("timeframe", pa.string()),
        ("synthetic", pa.bool_()),
        ("ts_open_ns", pa.int64()),
        ("ts_decision_ns", pa.int64()),
        ("ts_label_end_ns", pa.int64()),
        ("chart_sha256", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("choice", pa.string()),
        ("messages", MESSAGES_TYPE),
    ]
)
_POSITION_COLUMNS = (
    *((name, pa.float64()) for name in ("weight", "r")),
    *((name, pa.string()) for name in ("r_from", "position_part", "position_origin", "account", "strategy")),
    ("reading_bias", pa.string()),
    ("reading_confidence", pa.float64()),
    *((name, pa.string()) for name in ("reading_source", "reading_revision")),
)
"""Further columns of sets made from closed positions."""
_BARS = pa.schema(
    [
        ("sample", pa.string()),
        ("instrument", pa.string()),
        ("timeframe", pa.string()),
        ("kind", pa.string()),
        ("generator", pa.string()),
        ("first_bar", pa.int32()),
        ("last_bar", pa.int32()),
        ("ts_open_ns", pa.list_(pa.int64())),
        *((name, pa.list_(pa.float64())) for name in ("open", "high", "low", "close")),
    ]
)


class Plan(Protocol):
    """Which charts a set has: `ChartPlan`, or one made of closed positions."""

    @property
    def counts(self) -> dict[str, int]:
        """Charts of each split, in the order of the files."""
        ...

    @property
    def left_out(self) -> dict[str, int]:
        """What is no chart, by reason."""
        ...

    @property
    def bars_hashes(self) -> dict[str, str]:
        """Of each series of bars."""
        ...

    def charts(self, split: str) -> Iterator[PlacedChart]:
        """Yield the charts of a split."""
        ...


@dataclass
class _Tally:
    """What is counted of a split while it is written."""

    rows: int = 0
    balance: dict[str, Counter[str]] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    decisions: list[int] = field(default_factory=list)
    instruments: set[str] = field(default_factory=set)
    timeframes: set[str] = field(default_factory=set)

    def chart(self, placed: PlacedChart) -> None:
        """Count a chart."""
        bars = placed.chart.bars
        if placed.kind:
            self.kinds[placed.kind] += 1
            return
        first, last = int(bars.ts_open_ns[0]), placed.ts_label_end_ns
        seen = self.spans.get(placed.source, Span(first_ns=first, last_ns=last))
        self.spans[placed.source] = Span(first_ns=min(first, seen.first_ns), last_ns=max(last, seen.last_ns))
        self.decisions.append(int(bars.ts_open_ns[-1]) + bars.timeframe.ns)
        self.instruments.add(bars.instrument)
        self.timeframes.add(bars.timeframe.label)


def build_tasks(
    config: TaskSetConfig,
    out_dir: Path,
    *,
    bars: Mapping[str, BarSet] | None = None,
    plan: Plan | None = None,
    progress: Callable[[int], None] | None = None,
) -> TaskSetInfo:
    """Build a set of tasks; one that is there already is read.

    Parameters
    ----------
    config : TaskSetConfig
        What to build.
    out_dir : Path
        The set's folder: new or empty.
    bars : mapping of str to BarSet, optional
        As `plan_charts`.
    plan : ChartPlan, optional
        Of `plan_charts` for the same configuration and bars, where the caller has it already.
    progress : callable, optional
        Called with the charts done.

    Returns
    -------
    TaskSetInfo
        Also written to ``dataset.json``.

    Raises
    ------
    ConfigError, DataError
        As `plan_charts`; or if the serving grammar cannot write an answer: names file and row.
    RunExistsError
        If the folder holds something else.
    StorageError
        If the disk is full or the folder cannot be written.
    """
    out_dir = Path(out_dir).absolute()
    plan = plan_charts(config, bars) if plan is None else plan
    key = content_hash({"config": config, "bars": plan.bars_hashes, "layout": LAYOUT, "versions": VERSIONS})
    if is_task_set(out_dir):
        found = read_task_info(out_dir)
        if found.key == key:
            return found
        msg = f"The folder holds a set of tasks of another configuration or other bars: {out_dir}."
        raise RunExistsError(f"{msg} Name another folder, or delete this one.")
    if out_dir.is_file() or (out_dir.is_dir() and any(out_dir.iterdir())):
        raise RunExistsError(f"{out_dir} holds something else. Choose a new or empty folder.")
    draft = out_dir.with_name(f".{out_dir.name}.building")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        busy = DataError("Another build is running for this folder. Wait for it to end.", file=out_dir)
        with file_lock(out_dir.with_name(f".{out_dir.name}.lock"), busy=busy):
            shutil.rmtree(draft, ignore_errors=True)
            info = _write(config, plan, draft, key, progress)
            if out_dir.is_dir():
                out_dir.rmdir()
            draft.rename(out_dir)
    except OSError as failure:
        msg = f"The set cannot be written to {out_dir}: {failure}. Choose another folder."
        raise storage_error(out_dir, failure) or StorageError(msg) from failure
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return info


def _write(
    config: TaskSetConfig, plan: Plan, folder: Path, key: str, progress: Callable[[int], None] | None
) -> TaskSetInfo:
    for name in (DATA_FOLDER, BARS_FOLDER, CHART_FOLDER):
        (folder / name).mkdir(parents=True)
    tallies: dict[str, _Tally] = {}
    files: list[ShardFile] = []
    done = 0
    for split, count in plan.counts.items():
        tally = tallies[split] = _Tally()
        rows_path = folder / DATA_FOLDER / f"{split}-00000-of-00001.parquet"
        bars_path = folder / BARS_FOLDER / f"{split}.parquet"
        rows_schema = _row_schema(config, key)
        with (
            pq.ParquetWriter(rows_path, rows_schema, compression="zstd") as rows_out,
            pq.ParquetWriter(bars_path, _BARS, compression="zstd") as bars_out,
        ):
            rows: list[dict[str, Any]] = []
            shown: list[dict[str, Any]] = []
            for number, placed in enumerate(plan.charts(split), 1):
                tally.chart(placed)
                try:
                    rows += _rows_of(config, placed, folder, tally)
                except DataError as failure:
                    raise DataError(failure.reason, file=rows_path.name, row=tally.rows) from failure
                shown.append(_bars_of(placed))
                if number % _BATCH_CHARTS == 0 or number == count:
                    rows_out.write_table(pa.Table.from_pylist(rows, schema=rows_schema))
                    bars_out.write_table(pa.Table.from_pylist(shown, schema=_BARS))
                    rows, shown = [], []
                done += 1
                if progress is not None:
                    progress(done)
        files.append(_file(folder, rows_path, split, tally.rows))
        # Not of the split's own name: whoever reads the files of a split wants its rows.
        files.append(_file(folder, bars_path, f"{split}_bars", count))
    info = _info(config, plan, key, tallies, files)
    text = msgspec.json.format(msgspec.json.encode(info), indent=1)
    atomic_write_bytes(folder / INFO_FILE, text + b"\n")
    return info


def _row_schema(config: TaskSetConfig, key: str) -> pa.Schema:
    rows = _ROWS
    if any(isinstance(source, PositionsSource) for source in config.sources):
        for column in _POSITION_COLUMNS:
            rows = rows.append(pa.field(*column))
    if config.pictures.store == "embed":
        schema = rows.append(pa.field("image", IMAGE_TYPE))
        features = canonical_json({"info": {"features": {"image": {"_type": "Image"}}}})
        extra = {b"huggingface": features}
    else:
        schema, extra = rows.append(pa.field("image_file", pa.string())), {}
    schema = schema.append(pa.field("image_sha256", pa.string()))
    return schema.with_metadata({METADATA_KEY: canonical_json({"key": key, "layout": LAYOUT}), **extra})


def _rows_of(config: TaskSetConfig, placed: PlacedChart, folder: Path, tally: _Tally) -> list[dict[str, Any]]:
    """Return a row per task that the chart answers; its picture is drawn once, where one is asked for."""
    bars = placed.chart.bars
    answers = [(TASKS[name], TASKS[name].answer(placed.chart)) for name in config.tasks]
    answered = [(task, answer) for task, answer in answers if answer is not None]
    image: dict[str, Any] = {}
    if any(task.pictured for task, _ in answered):
        image = _image(config, placed, folder)
    rows = []
    for task, answer in answered:
        found = task.choice(answer)
        if found is not None:
            tally.balance.setdefault(task.name, Counter())[found] += 1
        last = placed.ts_label_end_ns if task.from_future else int(bars.ts_open_ns[-1]) + bars.timeframe.ns
        text = answer_text(answer, task.schema(len(bars)))
        messages = task.messages(placed.chart, numbers=config.numbers)
        tally.rows += 1
        rows.append(
            {
                "sample": placed.sample,
                "split": placed.split,
                "task": task.name,
                "origin": task.origin,
                "from_future": task.from_future,
                "source": placed.source,
                "kind": placed.kind,
                "noise": placed.noise,
                "instrument": bars.instrument,
                "timeframe": bars.timeframe.label,
                "synthetic": bars.synthetic,
                "ts_open_ns": int(bars.ts_open_ns[0]),
                "ts_decision_ns": int(bars.ts_open_ns[-1]) + bars.timeframe.ns,
                "ts_label_end_ns": last,
                "chart_sha256": chart_hash(placed),
                "question": messages[-1]["content"][-1]["text"],
                "answer": text,
                "choice": found,
                "messages": [
                    *messages,
                    {"role": "assistant", "content": [{"type": "text", "text": text}]},
                ],
                **(image if task.pictured else {}),
                **placed.extra,
            }
        )
    return rows


def chart_hash(placed: PlacedChart) -> str:
    """Return the hex SHA-256 of what a chart shows: its prices, not where it lies in time."""
    bars = placed.chart.bars
    digest = hashlib.sha256()
    for name in ("open", "high", "low", "close"):
        digest.update(getattr(bars, name).tobytes())
    return digest.hexdigest()


def _image(config: TaskSetConfig, placed: PlacedChart, folder: Path) -> dict[str, Any]:
    png = config.pictures.draw(placed.chart.bars)
    name = f"{placed.sample}.png"
    image: dict[str, Any] = {"image_sha256": hashlib.sha256(png).hexdigest()}
    if config.pictures.store == "embed":
        return {**image, "image": {"bytes": png, "path": name}}
    (folder / CHART_FOLDER / name).write_bytes(png)
    return {**image, "image_file": f"{CHART_FOLDER}/{name}"}


def _bars_of(placed: PlacedChart) -> dict[str, Any]:
    bars, case = placed.chart.bars, placed.chart.case
    return {
        "sample": placed.sample,
        "instrument": bars.instrument,
        "timeframe": bars.timeframe.label,
        "kind": placed.kind,
        "generator": "" if case is None else case.generator,
        "first_bar": None if case is None else case.first_bar,
        "last_bar": None if case is None else case.last_bar,
        **{name: getattr(bars, name) for name in ("ts_open_ns", "open", "high", "low", "close")},
    }


# --- facts ------------------------------------------------------------------------------------------------


def _file(folder: Path, path: Path, split: str, rows: int) -> ShardFile:
    return ShardFile(
        path=str(path.relative_to(folder)),
        split=split,
        rows=rows,
        bytes=path.stat().st_size,
        sha256=sha256_file(path),
    )


def _info(
    config: TaskSetConfig, plan: Plan, key: str, tallies: dict[str, _Tally], files: list[ShardFile]
) -> TaskSetInfo:
    instruments = sorted(set().union(*(tally.instruments for tally in tallies.values())))
    timeframes = sorted(set().union(*(tally.timeframes for tally in tallies.values())))
    common = {
        name: min(counts, key=lambda choice: (-counts[choice], choice))
        for name, counts in tallies["train"].balance.items()
    }
    return TaskSetInfo(
        layout=LAYOUT,
        config=config,
        key=key,
        versions=VERSIONS,
        bars_hashes=plan.bars_hashes,
        synthetic=not instruments,
        instrument=",".join(instruments) or "generated",
        timeframe=",".join(timeframes) or "5m",
        rows=sum(tally.rows for tally in tallies.values()),
        charts=sum(plan.counts.values()),
        left_out=plan.left_out,
        tasks={name: _task_facts(TASKS[name], config.window) for name in config.tasks},
        splits={name: _split(plan.counts[name], tally, common) for name, tally in tallies.items()},
        files=files,
    )


def _task_facts(task: Task, n_bars: int) -> TaskFacts:
    return TaskFacts(
        origin=task.origin,
        from_future=task.from_future,
        question=task.question,
        answer_schema=task.schema(n_bars),
    )


def _split(charts: int, tally: _Tally, common: Mapping[str, str]) -> TaskSplit:
    majority = {
        name: Majority(choice=common[name], share=counts[common[name]] / sum(counts.values()))
        for name, counts in tally.balance.items()
        if name in common
    }
    return TaskSplit(
        rows=tally.rows,
        charts=charts,
        balance={name: dict(sorted(counts.items())) for name, counts in tally.balance.items()},
        majority=majority,
        spans=tally.spans,
        kinds=dict(sorted(tally.kinds.items())),
        first_decision_ns=min(tally.decisions, default=None),
        last_decision_ns=max(tally.decisions, default=None),
    )
