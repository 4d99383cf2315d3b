"""What is retrained, on what, and by which rule it is proposed: settings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from aiopt.config import load_config
from aiopt.errors import ConfigError
from aiopt.promotion import PromotionConfig


class RetrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A retraining that a timer starts.

    Attributes
    ----------
    out : str
        Folder of the rounds.
    base : str
        Checkpoint of the first round: folder, training or hub id.  Later ones start from the last good one.
    data : tuple of str
        Datasets, or patterns in their last part such as ``data/datasets/trades-*``; what no finished round
        trained on is new.
    judge : str
        Set of tasks on which both are judged: by default later than all either has seen.
    training : str or None
        Configuration of `aiopt model train`; None: its defaults.
    rule : PromotionConfig
        When the new one is good without anybody looking, and which charts are asked.
    later : bool
        Refuse a judgement that is not later than everything seen; False for sets of generated charts alone,
        which have no time.
    calibrate : bool
        Measure on the validation split of the newest set trained on how sure the new one may be.
    device : {"auto", "cpu", "cuda"}
        Of the training.
    while_serving : {"auto", "share", "drain", "refuse"}
        What becomes of an endpoint that serves from the state folder while a round trains, as of
        `aiopt model train`; where ``auto`` would ask, the round is refused.

    Raises
    ------
    ConfigError
        If a value is missing or empty.
    """

    out: str
    base: str
    data: tuple[str, ...]
    judge: str
    training: str | None = None
    rule: PromotionConfig = PromotionConfig()
    later: bool = True
    calibrate: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    while_serving: Literal["auto", "share", "drain", "refuse"] = "auto"

    def __post_init__(self) -> None:
        for name in ("out", "base", "data", "judge"):
            if not getattr(self, name):
                raise ConfigError(f"`{name}` must be given, but is empty. Name it.")


def load_retrain_config(path: Path) -> RetrainConfig:
    """Read a configuration: file < ``AIOPT_RETRAIN__*``.

    Raises
    ------
    ConfigError
        Names the file, the key and the rule.
    """
    return load_config(path, RetrainConfig, env_prefix="AIOPT_RETRAIN")
