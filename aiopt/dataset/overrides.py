"""The configuration of a dataset: file, then environment, then what a caller sets one by one.

Owns which setting each of those is.  Knows nothing of flags.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aiopt.config import environment_overrides, load_config, merge, read_mapping
from aiopt.dataset.dataset_config import DatasetConfig
from aiopt.errors import ConfigError

ENV_PREFIX = "AIOPT_DATASET"


class DatasetOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """Settings above file and environment; None leaves what they say.

    Attributes
    ----------
    horizons : str, optional
        Bars ahead, comma-separated.
    threshold, threshold_unit :
        Move from which on a label is BUY or SELL.
    costs : bool, optional
        Labels net of costs: those of the file where it has some.
    images : {"none", "embed", "files"}, optional
        A chart per row.
    stride, across_gaps, messages_horizon :
        As in `DatasetConfig`.
    """

    horizons: str | None = None
    threshold: float | None = None
    threshold_unit: str | None = None
    costs: bool | None = None
    images: str | None = None
    stride: int | None = None
    across_gaps: str | None = None
    messages_horizon: int | None = None


def load_dataset_config(path: Path | None, overrides: DatasetOverrides) -> DatasetConfig:
    """Return the configuration of a dataset.

    Raises
    ------
    ConfigError
        If the file cannot be read or a value breaks a rule.
    """
    given: dict[str, Any] = {} if path is None else read_mapping(path)
    given = merge(given, environment_overrides(ENV_PREFIX))
    names = ("threshold", "threshold_unit", "across_gaps")
    labels = {name: getattr(overrides, name) for name in names if getattr(overrides, name) is not None}
    if overrides.horizons is not None:
        labels["horizons"] = _whole_numbers(overrides.horizons)
    if overrides.costs is not None:
        # Switched on, costs of the file stay what they are.
        kept = (given.get("labels") or {}).get("costs") or {}
        labels["costs"] = kept if overrides.costs else None
    top: dict[str, Any] = {"labels": labels} if labels else {}
    for name in ("stride", "across_gaps", "messages_horizon"):
        if getattr(overrides, name) is not None:
            top[name] = getattr(overrides, name)
    if overrides.images is not None:
        top["images"] = None if overrides.images == "none" else {"store": overrides.images}
    return load_config(path, DatasetConfig, env_prefix=ENV_PREFIX, overrides=top)


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as failure:
        msg = f"Horizons must be whole numbers, but got {text!r}. Write e.g. 6,12,24."
        raise ConfigError(msg) from failure
