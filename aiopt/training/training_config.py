"""Settings of a training: typed, frozen, unknown keys refused.

Owns the keys of the YAML file, their defaults and their ranges.  Every key decides the result, so all of them
are part of a run's identity; what does not (folders, workers, progress) is no key.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from aiopt.config import load_config
from aiopt.errors import ConfigError

ENVIRONMENT_PREFIX = "AIOPT_TRAINING"

LANGUAGE_TARGETS = (
    r".*language_model\.layers\.\d+\."
    r"(linear_attn\.(in_proj_qkv|in_proj_z|in_proj_b|in_proj_a|out_proj)"
    r"|self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
)
"""Linear layers of MiniCPM-V 4.6's language model, its linear attention included."""


def _range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"`{least} <= {name} <= {most}` must hold, but got {name}={value}.")


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections."""


class PreferenceConfig(_Struct, frozen=True, kw_only=True):
    """A stage that trains on pairs of answers instead of single ones: an experiment.

    Attributes
    ----------
    beta : float
        How far the model may go from the weights the stage begins with: small goes far.
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        _range("stages.preference.beta", self.beta, 1e-4, 100.0)


class StageConfig(_Struct, frozen=True, kw_only=True):
    """One stage of a curriculum; a training is one or more, each with its own warm-up and decay.

    Attributes
    ----------
    name : str
        For progress and metrics.
    steps : int
        Optimizer steps, at most where early stopping is on.
    learning_rate : float
        Its highest value.
    tasks : tuple of str
        Only records whose column ``task`` is one of these; empty: all.
    data : tuple of str
        Only records of these datasets, by the name of their folder; empty: all.
    frozen : str
        Regular expression on the full names of weights that stay as they are in this stage; empty: none.
    preference : PreferenceConfig or None
        Train on pairs made of readings that later proved right or wrong (`aiopt dataset from-trades`): the
        proved answer is to become likelier than the other.  Batches count pairs, micro batches both answers
        of one; pictures are not augmented.
    """

    name: str = "train"
    steps: int = 1000
    learning_rate: float = 1e-5
    tasks: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    frozen: str = ""
    preference: PreferenceConfig | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.frozen)
        except re.error as failure:
            msg = f"`stages.frozen` must be a regular expression, but got {self.frozen!r}: {failure}."
            raise ConfigError(f"{msg} Try .*vision_tower.*") from failure
        _range("stages.steps", self.steps, 1, 10_000_000)
        _range("stages.learning_rate", self.learning_rate, 1e-9, 1.0)


class OptimizerConfig(_Struct, frozen=True, kw_only=True):
    """AdamW, its schedule and clipping.

    Attributes
    ----------
    beta1, beta2, epsilon, weight_decay : float
        Of AdamW; vectors (norms, offsets) do not decay.
    warmup_steps : int
        Steps of each stage over which the rate rises in a line from zero.
    decay : {"cosine", "linear", "constant"}
        From the end of the warm-up to the end of the stage.
    final_share : float
        Share of the highest rate that is left at the end of a stage.
    clip_norm : float
        Gradients are scaled to this norm where theirs is larger.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    warmup_steps: int = 50
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    final_share: float = 0.1
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2", "final_share"):
            _range(f"optimizer.{name}", getattr(self, name), 0.0, 1.0)
        _range("optimizer.warmup_steps", self.warmup_steps, 0, 10_000_000)
        _range("optimizer.weight_decay", self.weight_decay, 0.0, 10.0)
        _range("optimizer.clip_norm", self.clip_norm, 1e-6, 1e6)


class LoraConfig(_Struct, frozen=True, kw_only=True):
    """Low-rank adapters beside frozen weights.

    Attributes
    ----------
    rank, alpha : int
        Of the adapters; their output is scaled by alpha / rank.
    dropout : float
        Before the adapters.
    targets : str
        Regular expression on the full names of the linear layers that get one.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str = LANGUAGE_TARGETS

    def __post_init__(self) -> None:
        _range("lora.rank", self.rank, 1, 4096)
        _range("lora.alpha", self.alpha, 1, 65536)
        _range("lora.dropout", self.dropout, 0.0, 0.9)
        try:
            re.compile(self.targets)
        except re.error as failure:
            msg = f"`lora.targets` must be a regular expression, but got {self.targets!r}: {failure}."
            raise ConfigError(msg) from failure


class ImageConfig(_Struct, frozen=True, kw_only=True):
    """How the trained checkpoint sees pictures; None leaves what the base says.

    Attributes
    ----------
    scale_resolution, max_slice_nums : int or None
        See `aiopt.serving.checkpoint.geometry`.
    slice_mode : bool or None
        Likewise.
    adapt : bool
        Accept a geometry or picture sizes other than those a base trained here was trained with.
    """

    scale_resolution: int | None = None
    slice_mode: bool | None = None
    max_slice_nums: int | None = None
    adapt: bool = False

    def __post_init__(self) -> None:
        if self.scale_resolution is not None:
            _range("image.scale_resolution", self.scale_resolution, 56, 4096)
        if self.max_slice_nums is not None:
            _range("image.max_slice_nums", self.max_slice_nums, 1, 64)


class ProbeConfig(_Struct, frozen=True, kw_only=True):
    """Rows the training is watched on: always the same, never trained on.

    Attributes
    ----------
    split : {"validation", "test"}
        Where they are from; ``test`` is refused: it is looked at once, by the evaluation.
    rows : int
        How many, evenly spread over the split; 0: no probe, and the last weights are kept.
    every_steps : int
        Steps between two looks.
    patience : int
        Looks without a better one after which a stage ends; 0: never.
    """

    split: Literal["validation", "test"] = "validation"
    rows: int = 64
    every_steps: int = 100
    patience: int = 0

    def __post_init__(self) -> None:
        if self.split == "test":
            raise ConfigError(
                "`probe.split` must not be the test split: early stopping on it would choose the model by "
                "the "
                "rows it is judged on. Use validation."
            )
        _range("probe.rows", self.rows, 0, 100_000)
        _range("probe.every_steps", self.every_steps, 1, 10_000_000)
        _range("probe.patience", self.patience, 0, 1_000_000)


class AugmentConfig(_Struct, frozen=True, kw_only=True):
    """Changes of training pictures under which every answer stays true.

    Attributes
    ----------
    invert : float
        Share of pictures whose brightness is turned round, hues kept: dark palettes from light ones.
    contrast : float
        Contrast and brightness vary by up to this share.
    noise : float
        Standard deviation of noise added to each pixel, in steps of 0 to 255, drawn up to this.
    """

    invert: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        _range("augment.invert", self.invert, 0.0, 1.0)
        _range("augment.contrast", self.contrast, 0.0, 0.9)
        _range("augment.noise", self.noise, 0.0, 64.0)

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        return bool(self.invert or self.contrast or self.noise)


class TrainingConfig(_Struct, frozen=True, kw_only=True):
    """A training.

    Attributes
    ----------
    name : str
        For the model card.
    seed : int
        Decides the order of the data, augmentation and dropout.
    method : {"full", "lora"}
        All weights, or adapters that are merged at the end.
    stages : tuple of StageConfig
        The curriculum, in order.
    batch_size : int
        Records per optimizer step, over all workers.
    micro_batch : int
        Records per forward pass; gradients of a batch are added up.
    precision : {"fp32", "bf16"}
        ``bf16``: autocast; weights, gradients and optimizer stay float32.
    gradient_checkpointing : bool
        Compute activations twice instead of keeping them.
    answer_logits : bool
        Compute logits for the answer alone; False: for every token, as a model's own forward does.
    balance : str or None
        Draw every class of answers equally often.  ``answer``: the whole text is the class; else a key of the
        JSON answer, e.g. ``bias`` or ``regime.trend``.
    max_tokens : int
        Longest record; a longer one is an error.
    template : dict
        Further variables of the chat template, e.g. ``enable_thinking: false``; service must send the same.
    save_every : int
        Steps between two states.
    keep : int
        States kept, besides that of the best probe.
    save_dtype : {"float32", "bfloat16"}
        Of the finished checkpoint.
    trust_remote_code : bool
        Run the Python files of a base that brings its own.
    optimizer, lora, image, probe, augment : structs
        Sections of their own.
    """

    name: str = "training"
    seed: int = 0
    method: Literal["full", "lora"] = "full"
    stages: tuple[StageConfig, ...] = (StageConfig(),)
    batch_size: int = 16
    micro_batch: int = 4
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    answer_logits: bool = True
    balance: str | None = None
    max_tokens: int = 4096
    template: dict[str, bool | int | float | str] = {}
    save_every: int = 100
    keep: int = 2
    save_dtype: Literal["float32", "bfloat16"] = "float32"
    trust_remote_code: bool = False
    optimizer: OptimizerConfig = OptimizerConfig()
    lora: LoraConfig = LoraConfig()
    image: ImageConfig = ImageConfig()
    probe: ProbeConfig = ProbeConfig()
    augment: AugmentConfig = AugmentConfig()

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("`stages` must hold at least one stage, but is empty. Give steps and a rate.")
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ConfigError(f"`stages` must have different names, but got {names}. Rename one.")
        _range("seed", self.seed, 0, 2**31 - 1)
        _range("batch_size", self.batch_size, 1, 65536)
        _range("micro_batch", self.micro_batch, 1, self.batch_size)
        _range("max_tokens", self.max_tokens, 8, 1_000_000)
        _range("save_every", self.save_every, 1, 10_000_000)
        _range("keep", self.keep, 1, 1000)
        if self.balance is not None and not re.fullmatch(r"\w+(\.\w+)*", self.balance):
            raise ConfigError(
                f"`balance` must be `answer` or a key of the answers such as regime.trend, but got "
                f"{self.balance!r}."
            )

    @property
    def steps(self) -> int:
        """Steps of all stages, if none ends early."""
        return sum(stage.steps for stage in self.stages)


def load_training_config(path: Path | None) -> TrainingConfig:
    """Read a configuration: defaults < file < ``AIOPT_TRAINING__*``.

    Raises
    ------
    ConfigError
        Names the file, the key and the rule.
    """
    return load_config(path, TrainingConfig, env_prefix=ENVIRONMENT_PREFIX)
