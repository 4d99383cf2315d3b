"""A small dataset whose answer is plain to see, and a quick configuration."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from aiopt.analyst.schema import closed_object
from aiopt.dataset.info import ShardFile
from aiopt.dataset.tasks.task_config import LAYOUT, TaskSetConfig
from aiopt.dataset.tasks.task_info import TaskFacts, TaskSetInfo, TaskSplit
from aiopt.files import GIB, sha256_file
from aiopt.training import TrainingConfig
from aiopt.training.training import TrainingJob

SIZE = (56, 56)
QUICK: dict[str, Any] = {
    "seed": 3,
    "stages": [{"steps": 8, "learning_rate": 2e-3}],
    "batch_size": 4,
    "micro_batch": 2,
    "optimizer": {"warmup_steps": 2},
    "image": {"scale_resolution": 56},
    "probe": {"rows": 4, "every_steps": 4},
    "save_every": 2,
}


def configured(**changes: Any) -> TrainingConfig:
    return msgspec.convert({**QUICK, **changes}, TrainingConfig)


def picture(up: bool, number: int, size: tuple[int, int] = SIZE) -> bytes:
    """A line that rises or falls, somewhere."""
    draw = np.random.default_rng(number)
    width, height = size
    image = np.full((height, width, 3), 255, np.uint8)
    image -= draw.integers(0, 20, image.shape, np.uint8)
    across = np.arange(width)
    rise = (across / width - 0.5) * height * 0.8 * (1 if up else -1)
    line = np.clip(height / 2 - rise + draw.normal(0, 3), 0, height - 9).astype(int)
    for thick in range(8):
        image[line + thick, across] = (20, 120, 60) if up else (180, 30, 30)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def messages(question: str, answer: str, *, image: bool = True) -> list[dict[str, Any]]:
    content = [{"type": "text", "text": question}]
    if image:
        content.insert(0, {"type": "image", "text": None})
    return [
        {"role": "system", "content": [{"type": "text", "text": "You read charts."}]},
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]


def dataset(folder: Path, *, rows: int = 24, column: str = "image", **changes: Any) -> Path:
    """Write a finished dataset; `changes` replace columns of all rows: a list, or a function of the row."""
    (folder / "data").mkdir(parents=True)
    files = []
    for split, count in (("train", rows), ("validation", 12)):
        offset = 0 if split == "train" else 1000
        ups = [number % 2 == 0 for number in range(count)]
        columns: dict[str, Any] = {
            "sample": [f"{split}-{number}" for number in range(count)],
            "task": ["trend"] * count,
            "messages": [messages("Trend?", '{"trend":"up"}' if up else '{"trend":"down"}') for up in ups],
        }
        pngs = [picture(up, offset + number) for number, up in enumerate(ups)]
        if column == "image":
            columns["image"] = [{"bytes": png, "path": f"{n}.png"} for n, png in enumerate(pngs)]
        elif column == "image_file":
            (folder / "charts").mkdir(exist_ok=True)
            columns["image_file"] = [f"charts/{split}-{n}.png" for n in range(count)]
            for name, png in zip(columns["image_file"], pngs, strict=True):
                (folder / name).write_bytes(png)
        for name, make in changes.items():
            columns[name] = [make(number) for number in range(count)]
        columns = {name: values for name, values in columns.items() if values[0] is not None}
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=5)
        files.append(
            {
                "path": f"data/{path.name}",
                "split": split,
                "rows": count,
                "bytes": 1,
                "sha256": sha256_file(path),
            }
        )
    (folder / "dataset.json").write_bytes(msgspec.json.encode(_info(files, rows)))
    return folder


def _info(files: list[dict[str, Any]], rows: int) -> TaskSetInfo:
    """The document of a set of tasks whose one question has two answers."""
    choices = {"type": "string", "enum": ["up", "down"]}
    schema = closed_object({"trend": choices})
    facts = TaskFacts(origin="definition", from_future=False, question="Trend?", answer_schema=schema)
    split = TaskSplit(
        rows=rows,
        charts=rows,
        balance={},
        majority={},
        spans={},
        kinds={},
        first_decision_ns=1_700_000_000 * 10**9,
        last_decision_ns=1_710_000_000 * 10**9,
    )
    config = {"sources": [{"type": "generator", "name": "templates", "charts": rows}], "tasks": ["trend"]}
    return TaskSetInfo(
        layout=LAYOUT,
        config=msgspec.convert(config, TaskSetConfig),
        key="key",
        versions={},
        bars_hashes={},
        synthetic=True,
        instrument="EURUSD",
        timeframe="5m",
        rows=rows + 12,
        charts=rows + 12,
        left_out={},
        tasks=dict.fromkeys(("trend", "easy", "hard"), facts),
        splits={"train": split},
        files=[msgspec.convert(file, ShardFile) for file in files],
    )


def job(config: TrainingConfig, data: Path, base: Path, out: Path, **changes: Any) -> TrainingJob:
    return TrainingJob(
        **{
            "config": config,
            "data": (data,),
            "base": str(base),
            "out": out,
            "device": "cpu",
            "device_bytes": 64 * GIB,
            **changes,
        }
    )
