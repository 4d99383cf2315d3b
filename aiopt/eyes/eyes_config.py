"""The recipe of the eyes as data: charts, size, first sight, training, baseline.

Owns the settings and how the file is read.  Every section is the configuration of the part that does it, so
its keys are documented there.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from aiopt.config import content_hash, load_config
from aiopt.dataset.tasks.task_config import BarsSource, TaskSetConfig
from aiopt.errors import ConfigError
from aiopt.eyes.charts import Size
from aiopt.eyes.heads import HeadsConfig
from aiopt.training.small_base import SmallSize
from aiopt.training.training_config import TrainingConfig

ENVIRONMENT_PREFIX = "AIOPT_EYES"


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections."""


class SightConfig(_Struct, frozen=True, kw_only=True):
    """What the tower, and the baseline, learn from before and beside the words.

    Attributes
    ----------
    width, height : int
        Pixels as the model sees them: what the processor makes of a chart at the training's resolution.
    charts : int
        Most charts of each set, spread over it.
    tower, cnn : HeadsConfig
        How the tower and how the baseline are trained.
    """

    width: int = 280
    height: int = 168
    charts: int = 3000
    tower: HeadsConfig = HeadsConfig()
    cnn: HeadsConfig = HeadsConfig()

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            if value % 56 or value < 56:
                msg = (
                    f"`sight.{name}` must be a multiple of 56 (patches of 14, merged twice), but got {value}."
                )
                raise ConfigError(f"{msg} Try {max(56, round(value / 56) * 56)}.")

    @property
    def size(self) -> Size:
        """Of the pictures."""
        return Size(self.width, self.height)


class JudgingConfig(_Struct, frozen=True, kw_only=True):
    """How much is asked.

    Attributes
    ----------
    charts : int
        Most charts of a split, spread over it.
    controls : int
        Charts of these that are also asked mirrored, shuffled, blank and noisy.
    """

    charts: int = 600
    controls: int = 100


class EyesConfig(_Struct, frozen=True, kw_only=True):
    """Everything that decides what the eyes are.

    Attributes
    ----------
    seed : int
        Of the base.
    charts, shapes : TaskSetConfig
        What is planted and judged; more charts to learn definitions from.
    real : TaskSetConfig or None
        Real charts to judge on; paths of its sources are below the folder of bars that is given.
    size : SmallSize
        Of the model.
    sight : SightConfig
        First sight, and the baseline.
    training : TrainingConfig
        The training by questions.
    judging : JudgingConfig
        How much is asked.
    """

    charts: TaskSetConfig
    shapes: TaskSetConfig
    real: TaskSetConfig | None = None
    seed: int = 7
    size: SmallSize = SmallSize()
    sight: SightConfig = SightConfig()
    training: TrainingConfig = TrainingConfig()
    judging: JudgingConfig = JudgingConfig()

    @property
    def config_hash(self) -> str:
        """Hex SHA-256 of the canonical content."""
        return content_hash(self)

    def real_set(self, bars: Path) -> TaskSetConfig | None:
        """Return the set of real charts with its sources below a folder of bars."""
        if self.real is None:
            return None
        sources = tuple(
            msgspec.structs.replace(one, path=str(bars / one.path)) if isinstance(one, BarsSource) else one
            for one in self.real.sources
        )
        return msgspec.structs.replace(self.real, sources=sources)


def load_eyes_config(path: Path) -> EyesConfig:
    """Read a recipe: file < ``AIOPT_EYES__*``.

    Raises
    ------
    ConfigError
        Names the file, the key and the rule.
    """
    return load_config(path, EyesConfig, env_prefix=ENVIRONMENT_PREFIX)
