"""Rows of a dataset as Arrow tables.

Owns the columns, their types and the metadata that lets Hugging Face `datasets` see charts as images.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.dataset.conversation import Conversations
from aiopt.dataset.dataset_config import SCHEMA_VERSION, DatasetConfig
from aiopt.dataset.features import Features
from aiopt.dataset.labels import Labels
from aiopt.errors import DataError

METADATA_KEY = b"aiopt_dataset"
"""Key of the file metadata that says which build a file is of."""

IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
"""As Hugging Face `datasets` stores images."""

MESSAGES_TYPE = pa.list_(
    pa.struct(
        {
            "role": pa.string(),
            "content": pa.list_(pa.struct({"type": pa.string(), "text": pa.string()})),
        }
    )
)

_HUGGING_FACE = {"info": {"features": {"image": {"_type": "Image"}}}}


@dataclass(frozen=True, eq=False)
class RowSource:
    """What rows are cut from."""

    bars: BarSet
    config: DatasetConfig
    features: Features
    labels: Labels
    conversations: Conversations | None


def table_of(
    source: RowSource,
    rows: NDArray[np.int64],
    split: str,
    images: list[tuple[str, bytes]] | None,
    key: str,
) -> pa.Table:
    """Return the rows of some decision bars.

    Parameters
    ----------
    source : RowSource
        Bars, features and labels.
    rows : ndarray of int64
        Decision bars.
    split : str
        Split of them all.
    images : list of (str, bytes), optional
        File name and PNG of each row.
    key : str
        Hash that identifies the build, kept in the schema's metadata.

    Raises
    ------
    DataError
        If the serving grammar cannot write a row's answer: names the row.
    """
    bars, config = source.bars, source.config
    opened = bars.bid.ts_open_ns
    count = rows.size
    columns: dict[str, pa.Array] = {
        "sample": pa.array(
            [f"{bars.instrument.symbol}-{bars.timeframe.label}-{opened[bar]}" for bar in rows]
        ),
        "instrument": pa.array([bars.instrument.symbol] * count),
        "timeframe": pa.array([bars.timeframe.label] * count),
        "split": pa.array([split] * count),
        "bar": pa.array(rows),
        "ts_open_ns": pa.array(opened[rows]),
        "ts_decision_ns": pa.array(opened[rows] + bars.timeframe.ns),
        "ts_label_end_ns": pa.array(opened[rows + source.labels.longest] + bars.timeframe.ns),
    }
    for name, values in source.features.columns.items():
        columns[f"feature_{name}"] = pa.array(values[rows])
    for name, values in source.labels.columns.items():
        columns[f"label_{name}"] = pa.array(values[rows])
    if images is not None and config.images is not None:
        columns["image_sha256"] = pa.array([hashlib.sha256(png).hexdigest() for _, png in images])
        if config.images.store == "embed":
            embedded = [{"bytes": png, "path": name} for name, png in images]
            columns["image"] = pa.array(embedded, type=IMAGE_TYPE)
        else:
            columns["image_file"] = pa.array([f"charts/{name}" for name, _ in images])
    if source.conversations is not None:
        columns["messages"] = pa.array(_messages(source.conversations, rows), type=MESSAGES_TYPE)
    metadata = {METADATA_KEY: canonical_json({"key": key, "schema_version": SCHEMA_VERSION})}
    if "image" in columns:
        metadata[b"huggingface"] = canonical_json(_HUGGING_FACE)
    return pa.table(columns).replace_schema_metadata(metadata)


def _messages(conversations: Conversations, rows: NDArray[np.int64]) -> list[list[dict[str, Any]]]:
    found = []
    for number, bar in enumerate(rows):
        try:
            found.append(conversations.messages(int(bar)))
        except DataError as failure:
            raise DataError(f"Row {number}, of bar {bar}: {failure}") from failure
    return found
